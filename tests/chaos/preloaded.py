"""What a worker loads when it needs it, loaded before it is forked."""

import genyard.imaging.decode
import genyard.imaging.png_facts
import genyard.imaging.video
import genyard.preview
import genyard.providers.comfyui
import genyard.providers.preview
import genyard.providers.replicate
import genyard.providers.runpod
import genyard.providers.scenario  # noqa: F401
from genyard.catalog import load_catalog

load_catalog()
load_catalog(None)
