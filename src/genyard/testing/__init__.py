"""For people who build on genyard, and for its own tests: emulators of the places with fault switches.

`comfyui` emulates a ComfyUI server; `plugin` is the pytest plugin with the fixtures. Nothing heavy is
imported here: the plugin is loaded into every pytest run of an environment where genyard is installed.
"""
