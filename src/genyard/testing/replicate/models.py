"""The models that the emulated Replicate knows: versions, input schemas, prices, what they make.

Schemas follow the models' public pages (input names, ranges, defaults) as far as the bindings of genyard and the
official client need them. Version ids are the known ones where a model is called by one; others are made up. Nothing
here draws.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

Json = Any
Body = Mapping[str, Json]
Makes = Literal["picture", "cut_out", "layers", "portrait"]

LIVE_PORTRAIT: Final = "067dd98cc3e5cb396c4a9efb4bba3eec6c4a9d271211325c477518fc6485e146"


def string(
    *, choices: tuple[str, ...] = (), default: str | None = None, file: bool = False
) -> dict[str, Json]:
    told: dict[str, Json] = {"type": "string"}
    if choices:
        told["enum"] = list(choices)
    if default is not None:
        told["default"] = default
    if file:
        told["format"] = "uri"
    return told


def whole(
    default: int | None = None, low: int | None = None, high: int | None = None, choices: tuple[int, ...] = ()
) -> dict[str, Json]:
    return {**_number("integer", default, low, high), **({"enum": list(choices)} if choices else {})}


def decimal(
    default: float | None = None, low: float | None = None, high: float | None = None
) -> dict[str, Json]:
    return _number("number", default, low, high)


def flag(default: bool) -> dict[str, Json]:
    return {"type": "boolean", "default": default}


def _number(kind: str, default: float | None, low: float | None, high: float | None) -> dict[str, Json]:
    told = {"type": kind, "default": default, "minimum": low, "maximum": high}
    return {name: value for name, value in told.items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class Model:
    """`official` ones are called by name and say `hidden` for their version; `listed` is whether the output is a
    list; `seconds` is what `metrics.predict_time` says for one output."""

    owner: str
    name: str
    properties: Mapping[str, dict[str, Json]]
    makes: Makes
    required: tuple[str, ...] = ()
    listed: bool = True
    official: bool = True
    version: str = ""
    seconds: float = 2.0
    description: str = ""

    @property
    def key(self) -> str:
        return f"{self.owner}/{self.name}"

    @property
    def version_id(self) -> str:
        return self.version or hashlib.sha256(self.key.encode()).hexdigest()

    def schema(self) -> dict[str, Json]:
        item = {"type": "string", "format": "uri"}
        output: dict[str, Json] = {"title": "Output", "type": "array", "items": item} if self.listed else item
        properties = {
            name: {"title": name, "x-order": place, **told}
            for place, (name, told) in enumerate(self.properties.items())
        }
        return {
            "openapi": "3.0.2",
            "info": {"title": "Cog", "version": "0.1.0"},
            "paths": {},
            "components": {
                "schemas": {
                    "Input": {
                        "type": "object",
                        "title": "Input",
                        "required": list(self.required),
                        "properties": properties,
                    },
                    "Output": output,
                }
            },
        }


RATIOS: Final = ("1:1", "16:9", "21:9", "3:2", "2:3", "4:5", "5:4", "3:4", "4:3", "9:16", "9:21")
_FORMATS: Final = ("webp", "jpg", "png")

_FLUX: Final = {
    "prompt": string(),
    "aspect_ratio": string(choices=RATIOS, default="1:1"),
    "image": string(file=True),
    "prompt_strength": decimal(0.8, 0, 1),
    "num_outputs": whole(1, 1, 4),
    "num_inference_steps": whole(28, 1, 50),
    "guidance": decimal(3, 0, 10),
    "seed": whole(),
    "output_format": string(choices=_FORMATS, default="webp"),
    "output_quality": whole(80, 0, 100),
    "disable_safety_checker": flag(False),
    "go_fast": flag(True),
    "megapixels": string(choices=("1", "0.25"), default="1"),
}

_SDXL: Final = {
    "prompt": string(default="An astronaut riding a rainbow unicorn"),
    "negative_prompt": string(default=""),
    "image": string(file=True),
    "mask": string(file=True),
    "width": whole(1024),
    "height": whole(1024),
    "num_outputs": whole(1, 1, 4),
    "scheduler": string(
        choices=("DDIM", "DPMSolverMultistep", "HeunDiscrete", "KarrasDPM", "K_EULER_ANCESTRAL", "K_EULER", "PNDM"),
        default="K_EULER",
    ),
    "num_inference_steps": whole(50, 1, 500),
    "guidance_scale": decimal(7.5, 1, 50),
    "prompt_strength": decimal(0.8, 0, 1),
    "seed": whole(),
    "refine": string(
        choices=("no_refiner", "expert_ensemble_refiner", "base_image_refiner"), default="no_refiner"
    ),
    "high_noise_frac": decimal(0.8, 0, 1),
    "refine_steps": whole(),
    "apply_watermark": flag(True),
    "lora_scale": decimal(0.6, 0, 1),
    "replicate_weights": string(),
    "disable_safety_checker": flag(False),
}  # fmt: skip

_LIVE_PORTRAIT: Final = {
    "face_image": string(file=True),
    "driving_video": string(file=True),
    "video_frame_load_cap": whole(128, 0),
    "video_select_every_n_frames": whole(1, 0, 1000),
    "live_portrait_dsize": whole(512, 64, 2048),
    "live_portrait_scale": decimal(2.3, 1, 4),
    "live_portrait_vx_ratio": decimal(0, -1, 1),
    "live_portrait_vy_ratio": decimal(-0.12, -1, 1),
    "live_portrait_lip_zero": flag(True),
    "live_portrait_relative": flag(True),
    "live_portrait_stitching": flag(True),
    "live_portrait_eye_retargeting": flag(False),
    "live_portrait_lip_retargeting": flag(False),
    "live_portrait_eyes_retargeting_multiplier": decimal(1, 0.01, 10),
    "live_portrait_lip_retargeting_multiplier": decimal(1, 0.01, 10),
}

_LAYERS: Final = {
    "image": string(file=True),
    "num_layers": whole(4, 2, 8),
    "description": string(default="auto"),
    "go_fast": flag(True),
    "seed": whole(),
    "output_format": string(choices=("webp", "png"), default="webp"),
    "output_quality": whole(95, 0, 100),
    "disable_safety_checker": flag(False),
}

MODELS: Final[tuple[Model, ...]] = (
    Model(
        owner="black-forest-labs",
        name="flux-dev",
        properties=_FLUX,
        makes="picture",
        required=("prompt",),
        description="A 12 billion parameter rectified flow transformer",
    ),
    Model(
        owner="black-forest-labs",
        name="flux-schnell",
        properties={
            **{
                name: told
                for name, told in _FLUX.items()
                if name not in ("image", "prompt_strength", "guidance")
            },
            "num_inference_steps": whole(4, 1, 4),
        },
        makes="picture",
        required=("prompt",),
        seconds=0.5,
    ),
    Model(
        owner="stability-ai",
        name="sdxl",
        properties=_SDXL,
        makes="picture",
        official=False,
        version="7762fd07cf82c948538e41f63f77d685e02b063e37e496e96eefd46c929f9bdc",
        seconds=4.0,
    ),
    Model(
        owner="fofr",
        name="live-portrait",
        properties=_LIVE_PORTRAIT,
        makes="portrait",
        required=("face_image", "driving_video"),
        official=False,
        version=LIVE_PORTRAIT,
        seconds=47.0,
    ),
    Model(
        owner="bria",
        name="remove-background",
        properties={
            "image": string(file=True),
            "image_url": string(),
            "preserve_alpha": flag(True),
            "preserve_partial_alpha": flag(True),
            "content_moderation": flag(False),
        },
        makes="cut_out",
        listed=False,
    ),
    Model(
        owner="851-labs",
        name="background-remover",
        properties={
            "image": string(file=True),
            "format": string(choices=("png", "jpg"), default="png"),
            "reverse": flag(False),
            "threshold": decimal(0.0),
            "background_type": string(default="rgba"),
        },
        makes="cut_out",
        required=("image",),
        listed=False,
        official=False,
        version="a029dff38972b5fda4ec5d75d7d1cd25aeff621d2cf4946a41055d7db66b80bc",
    ),
    Model(
        owner="lucataco",
        name="remove-bg",
        properties={"image": string(file=True)},
        makes="cut_out",
        required=("image",),
        listed=False,
        official=False,
        version="95fcc2a26d3899cd6c2691c900465aaeff466285a65c14638cc5f36f34befaf1",
    ),
    Model(
        owner="qwen",
        name="qwen-image-layered",
        properties=_LAYERS,
        makes="layers",
        required=("image",),
        seconds=10.0,
    ),
)


def complaints(model: Model, given: Body) -> list[str]:
    """What the real one lists in `detail` of a 422, one line each. Unknown names pass: cog ignores them."""
    wrong = [
        f"- input: {name} is required"
        for name in model.required
        if given.get(name) is None or given.get(name) == ""
    ]
    for name, value in given.items():
        told = model.properties.get(name)
        if told is not None and value is not None and (reason := _misfit(told, value)):
            wrong.append(f"- input.{name}: {reason}")
    return wrong


def complete(model: Model, given: Body) -> dict[str, Json]:
    """The input with the defaults that the caller left open."""
    defaults = {name: told["default"] for name, told in model.properties.items() if "default" in told}
    return {**defaults, **{name: value for name, value in given.items() if value is not None}}


_KINDS: Final[Mapping[str, Callable[[Json], bool]]] = {
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
}


def _misfit(told: Mapping[str, Json], value: Json) -> str | None:
    if not _KINDS[told["type"]](value):
        return f"Invalid type. Expected: {told['type']}, given: {_json_type(value)}"
    if "enum" in told and value not in told["enum"]:
        choices = ", ".join(f'"{one}"' if isinstance(one, str) else str(one) for one in told["enum"])
        return f"must be one of the following: {choices}"
    if "minimum" in told and value < told["minimum"]:
        return f"Must be greater than or equal to {told['minimum']}"
    if "maximum" in told and value > told["maximum"]:
        return f"Must be less than or equal to {told['maximum']}"
    return None


def _json_type(value: Json) -> str:
    if isinstance(value, bool):
        return "boolean"
    return {str: "string", int: "integer", float: "number", list: "array", dict: "object"}.get(
        type(value), "null"
    )
