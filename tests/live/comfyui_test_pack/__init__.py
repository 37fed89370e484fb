"""Copy this folder into custom_nodes of a ComfyUI server that `tests/live` is to drive.

Nodes that are slow, that fail, that kill the server. Runs inside ComfyUI, never inside genyard.
"""

import os
import time

import comfy.model_management
import comfy.utils
import torch

OUT_OF_MEMORY = (
    "CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of 23.65 GiB "
    "of which 1.02 GiB is free."
)


class GenyardSleep:
    """Waits in slices of 0.1 s, tells progress, and gives way to interrupts."""

    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "run"
    CATEGORY = "genyard/test"

    @classmethod
    def INPUT_TYPES(cls):
        seconds = {"default": 1.0, "min": 0.0, "max": 3600.0, "step": 0.1}
        return {"required": {"image": ("IMAGE",), "seconds": ("FLOAT", seconds)}}

    def run(self, image, seconds):
        slices = max(1, int(seconds / 0.1))
        bar = comfy.utils.ProgressBar(slices)
        start = time.monotonic()
        for done in range(1, slices + 1):
            comfy.model_management.throw_exception_if_processing_interrupted()
            time.sleep(max(0.0, start + seconds * done / slices - time.monotonic()))
            bar.update(1)
        comfy.model_management.throw_exception_if_processing_interrupted()
        return (image,)


class GenyardRaise:
    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "run"
    CATEGORY = "genyard/test"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"image": ("IMAGE",), "kind": (["value", "runtime", "cuda_oom", "none"],)}}

    def run(self, image, kind):
        if kind == "value":
            raise ValueError("genyard test: bad value")
        if kind == "runtime":
            raise RuntimeError("genyard test: something broke")
        if kind == "cuda_oom":
            raise torch.cuda.OutOfMemoryError(OUT_OF_MEMORY)
        return (image,)


class GenyardExit:
    """Kills the server process: a lost job, a dropped socket."""

    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "run"
    CATEGORY = "genyard/test"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"image": ("IMAGE",), "confirm": (["no", "yes"],)}}

    def run(self, image, confirm):
        if confirm == "yes":
            os._exit(137)
        return (image,)


NODE_CLASS_MAPPINGS = {one.__name__: one for one in (GenyardSleep, GenyardRaise, GenyardExit)}
NODE_DISPLAY_NAME_MAPPINGS = {name: name for name in NODE_CLASS_MAPPINGS}
