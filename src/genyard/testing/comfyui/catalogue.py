"""The emulator's node catalogue: recorded node classes with the model files that the test wants to exist.

The data files hold the classes as real servers returned them; the lists of model and input files in them are
replaced. Nothing here runs a node.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Any, Final, Literal

from genyard.catalog import load_catalog
from genyard.comfy import load_template

Json = Any
Version = Literal["0.33.0", "0.3.64"]

#: node class, input -> the models folder whose files are its choices
FOLDERS: Final[Mapping[tuple[str, str], str]] = {
    ("CheckpointLoaderSimple", "ckpt_name"): "checkpoints",
    ("UNETLoader", "unet_name"): "diffusion_models",
    ("CLIPLoader", "clip_name"): "text_encoders",
    ("DualCLIPLoader", "clip_name1"): "text_encoders",
    ("DualCLIPLoader", "clip_name2"): "text_encoders",
    ("VAELoader", "vae_name"): "vae",
    ("LoraLoader", "lora_name"): "loras",
    ("LoraLoaderModelOnly", "lora_name"): "loras",
    ("ControlNetLoader", "control_net_name"): "controlnet",
    ("LoadBackgroundRemovalModel", "bg_removal_name"): "background_removal",
}

#: node class, input -> the choices are the files in input/
INPUT_FILES: Final = (("LoadImage", "image"), ("LoadImageMask", "image"), ("LoadVideo", "file"))

MODEL_FOLDERS: Final = (
    "checkpoints", "configs", "loras", "vae", "text_encoders", "diffusion_models", "clip_vision",
    "style_models", "embeddings", "diffusers", "vae_approx", "controlnet", "gligen", "upscale_models",
    "latent_upscale_models", "custom_nodes", "datasets", "hypernetworks", "photomaker", "classifiers",
    "model_patches", "audio_encoders", "background_removal", "frame_interpolation", "geometry_estimation",
    "optical_flow", "detection",
)  # fmt: skip

#: Beside what templates and bindings name: models of the live test servers, and some LoRAs.
_MORE_FILES: Final[Mapping[str, tuple[str, ...]]] = {
    "checkpoints": ("sd15-random.safetensors",),
    "diffusion_models": ("flux1-dev-kontext_fp8_scaled.safetensors",),
    "text_encoders": ("t5xxl_fp8_e4m3fn_scaled.safetensors",),
    "loras": ("flux-random-lora.safetensors", "pixel.safetensors", "sd15-random-lora.safetensors"),
    "controlnet": ("union.safetensors",),
}


@cache
def default_files() -> dict[str, tuple[str, ...]]:
    """models folder → files of a server that was set up for every template and binding of genyard."""
    found: dict[str, set[str]] = {folder: set(names) for folder, names in _MORE_FILES.items()}
    for binding in load_catalog().of("comfyui"):
        for name, file in binding.files.items():
            if name.startswith("controlnet."):
                found["controlnet"].add(file)
        for template in map(load_template, binding.templates):
            for name, model in template.files.items():
                decided = binding.files.get(name)
                names = (decided,) if decided else (model.default, *model.alternatives)
                found.setdefault(model.folder, set()).update(names)
    return {folder: tuple(sorted(names)) for folder, names in found.items()}


@cache
def _recorded(version: Version) -> bytes:
    name = "object_info-0.33.json.gz" if version == "0.33.0" else "object_info-0.3.64.json.gz"
    return gzip.decompress((resources.files("genyard.testing") / "data" / name).read_bytes())


def node_catalogue(
    version: Version, files: Mapping[str, Sequence[str]], absent: Sequence[str] = ()
) -> dict[str, Json]:
    """What `/object_info` returns, without the classes in `absent`."""
    catalogue: dict[str, Json] = json.loads(_recorded(version))
    for name in absent:
        catalogue.pop(name, None)
    for (class_type, name), folder in FOLDERS.items():
        extra = ["pixel_space"] if folder == "vae" and version == "0.33.0" else []
        set_choices(catalogue, class_type, name, [*files.get(folder, ()), *extra])
    return catalogue


def set_choices(catalogue: dict[str, Json], class_type: str, name: str, choices: Sequence[str]) -> None:
    """Replaces a combo's list of files, in whichever of the two encodings the class uses."""
    if class_type not in catalogue:
        return
    spec = catalogue[class_type]["input"]["required"][name]
    if isinstance(spec[0], list):
        spec[0] = list(choices)
    else:
        spec[1]["options"] = list(choices)


def inputs_of(
    node: Mapping[str, Json], given: Mapping[str, Json]
) -> dict[str, tuple[bool, Json, dict[str, Json]]]:
    """name -> (required, type, options), with the sub-inputs of the chosen dynamic combos, dotted."""
    found: dict[str, tuple[bool, Json, dict[str, Json]]] = {}

    def add(group: Mapping[str, Json], prefix: str) -> None:
        for required, part in ((True, "required"), (False, "optional")):
            for name, spec in (group.get(part) or {}).items():
                options = dict(spec[1]) if len(spec) > 1 else {}
                dynamic = spec[0] == "COMFY_DYNAMICCOMBO_V3"
                # The real server never misses a dynamic combo itself, only the plain inputs in its choices.
                alone = dynamic or spec[0] == "COMFY_AUTOGROW_V3"
                found[prefix + name] = (required and not alone, spec[0], options)
                if dynamic:
                    for choice in options["options"]:
                        if choice["key"] == given.get(prefix + name):
                            add(choice["inputs"], f"{prefix}{name}.")

    add(node["input"], "")
    return found
