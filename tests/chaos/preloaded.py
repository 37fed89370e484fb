"""What a worker loads when it needs it, loaded before it is forked."""

import gc

import numpy.random  # noqa: F401
from PIL import Image

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

Image.init()
load_catalog()
load_catalog(None)
gc.collect()
gc.freeze()  # what is shared with the forked ones stays shared
