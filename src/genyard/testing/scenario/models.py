"""The models that the emulated team has, as `GET /models/{id}` tells them: inputs, prices, who may use them.

Names, ranges and defaults are those of docs and plug-ins (July to October 2026). What a generation costs in creative
units is modelled on the few numbers that were seen (9 for a Flux picture of 1344x768 and 28 steps), not the vendor's
formula. Nothing here draws.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

Json = Any
Body = Mapping[str, Json]
#: What the emulator makes of it: `drawing` knows how.
Makes = Literal["picture", "pixels", "cut_out", "layers", "video"]

#: The vendor's numbers of plans (`accessRestrictions`): 0 free, 25 starter, 50 pro, 75 max, 100 enterprise.
PRO: Final = 50
NEEDED: Final = {"always": True}


@dataclass(frozen=True, kw_only=True)
class Model:
    """One row. `units` says what a body costs; `plan` is the least plan that may use it."""

    id: str
    name: str
    inputs: tuple[dict[str, Json], ...]
    makes: Makes
    units: Callable[[Body], float]
    capabilities: tuple[str, ...] = ("txt2img",)
    plan: int = 0
    disable_refund: bool = False
    cancelable: bool = False
    type: str = "custom"
    job_type: str = "custom"

    def input(self, name: str) -> dict[str, Json] | None:
        return next((one for one in self.inputs if one["name"] == name), None)

    def as_json(self, *, now: str, owner: str, full: bool) -> dict[str, Json]:
        told: dict[str, Json] = {
            "id": self.id,
            "name": self.name,
            "type": self.type,
            "custom": self.type == "custom",
            "capabilities": list(self.capabilities),
            "privacy": "public",
            "source": "scenario",
            "status": "trained",
            "accessRestrictions": self.plan,
            "collectionIds": [],
            "exampleAssetIds": [],
            "tags": [],
            "trainingImagesNumber": 0,
            "ownerId": owner,
            "createdAt": now,
            "updatedAt": now,
        }
        if self.disable_refund:
            told["disableRefund"] = True
        if full:
            told["inputs"] = [dict(one) for one in self.inputs]
        return told


def number(
    name: str, *, default: Json = None, low: float | None = None, high: float | None = None, **more: Json
) -> dict[str, Json]:
    return _input(name, "number", default=default, min=low, max=high, **more)


def string(name: str, **more: Json) -> dict[str, Json]:
    return _input(name, "string", **more)


def boolean(name: str, default: bool) -> dict[str, Json]:
    return _input(name, "boolean", default=default)


def file(name: str, *, kind: str = "image", required: bool = False, **more: Json) -> dict[str, Json]:
    return {**_input(name, "file", required=NEEDED if required else None, **more), "kind": kind}


def _input(name: str, type_: str, **more: Json) -> dict[str, Json]:
    return {"name": name, "type": type_, **{key: value for key, value in more.items() if value is not None}}


def _flux(steps: int) -> tuple[dict[str, Json], ...]:
    return (
        string("prompt", required=NEEDED, prompt=True, maxLength=2048),
        number("width", default=1104, low=128, high=2048, step=16, costImpact=True),
        number("height", default=832, low=128, high=2048, step=16, costImpact=True),
        number("numOutputs", default=1, low=1, high=4, step=1, costImpact=True),
        number("numInferenceSteps", default=steps, low=1, high=50, step=1, costImpact=True),
        number("guidance", default=3.5, low=0, high=10),
        # The public example gives the seed as text; which of the two a team's `inputs[]` say is not confirmed.
        string("seed"),
        file("image", parent=True),
        number("strength", default=0.8, low=0.01, high=1),
        file("controlImage"),
        string(
            "controlModality", allowedValues=["canny", "depth", "pose", "blur", "gray", "low-quality", "tile"]
        ),
        number("controlStrength", default=0.6, low=0.01, high=1),
        _input("loras", "model_array", maxLength=6, modelTypes=["flux.1-lora"]),
        _input("lorasScale", "number_array", maxLength=6),
    )


def _picture_units(body: Body) -> float:
    width, height = body.get("width", 1104), body.get("height", 832)
    steps, count = body.get("numInferenceSteps", 28), body.get("numOutputs", 1)
    return float(max(1, round(9 * width * height / (1344 * 768) * steps / 28)) * count)


def flat(units: float) -> Callable[[Body], float]:
    return lambda body: units * float(body.get("numOutputs", 1))


_PIXEL_ART: Final = (
    string("prompt", required=NEEDED, prompt=True, maxLength=2048),
    number("width", default=256, low=16, high=512, step=1),
    number("height", default=256, low=16, high=512, step=1),
    number("numOutputs", default=1, low=1, high=4, step=1, costImpact=True),
    string("style"),
    boolean("removeBackground", False),
    string("seed"),
    file("image", parent=True),
    number("strength", default=0.8, low=0.01, high=1),
)

MODELS: Final[tuple[Model, ...]] = (
    Model(
        id="model_bfl-flux-1-dev",
        name="FLUX.1 [dev]",
        inputs=_flux(28),
        makes="picture",
        units=_picture_units,
        capabilities=("txt2img", "img2img", "controlnet"),
    ),
    Model(
        id="model_bfl-flux-1-schnell",
        name="FLUX.1 [schnell]",
        inputs=_flux(4),
        makes="picture",
        units=_picture_units,
        capabilities=("txt2img", "img2img"),
    ),
    Model(
        id="model_retrodiffusion-plus",
        name="Retro Diffusion Plus",
        inputs=_PIXEL_ART,
        makes="pixels",
        units=flat(5),
        capabilities=("txt2img", "img2img"),
    ),
    Model(
        id="model_retrodiffusion-tile",
        name="Retro Diffusion Tile",
        inputs=_PIXEL_ART,
        makes="pixels",
        units=flat(5),
        capabilities=("txt2img", "img2img"),
    ),
    Model(
        id="model_photoroom-background-removal",
        name="Photoroom Background Removal",
        inputs=(
            file("image", required=True, parent=True, maxSize=30_000_000),
            string("backgroundColor", color=True),
            string("shadowMode"),
            boolean("hdBackgroundRemoval", False),
            boolean("keepExistingTransparency", False),
        ),
        makes="cut_out",
        units=flat(5),
        capabilities=("img2img",),
    ),
    Model(
        id="model_pixa-background-removal",
        name="Pixa Background Removal",
        inputs=(file("image", required=True, parent=True),),
        makes="cut_out",
        units=flat(4),
        capabilities=("img2img",),
    ),
    Model(
        id="model_qwen-image-layered",
        name="Qwen Image Layered",
        inputs=(
            file("image", required=True, parent=True),
            string("description", maxLength=2048),
            number("numLayers", default=4, low=2, high=8, step=1, costImpact=True),
            boolean("goFast", True),
            string("seed"),
        ),
        makes="layers",
        units=lambda body: 3.0 * float(body.get("numLayers", 4)),
        capabilities=("img2img",),
    ),
    Model(
        id="model_emulated-image-to-video",
        name="A photo to video model (the id is ours: those of the vendor vary)",
        inputs=(
            file("image", required=True, parent=True),
            string("prompt", prompt=True, maxLength=2048),
            number("duration", default=5, low=1, high=10, costImpact=True),
            string("aspectRatio", allowedValues=["1:1", "16:9", "9:16"]),
        ),
        makes="video",
        units=lambda body: 40.0 * float(body.get("duration", 5)),
        capabilities=("img2video",),
    ),
    Model(
        id="model_enterprise-only",
        name="A model that this team's plan does not have",
        inputs=(string("prompt", required=NEEDED, prompt=True),),
        makes="picture",
        units=flat(10),
        plan=100,
    ),
    Model(
        id="flux.1-dev",
        name="FLUX.1 [dev], as the routes of before 2026 know it",
        inputs=(),
        makes="picture",
        units=flat(5),
        capabilities=("txt2img", "img2img"),
        type="flux.1",
    ),
)

_LEGACY_PICTURE: Final = (
    string("modelId", required=NEEDED),
    string("prompt", required=NEEDED),
    string("negativePrompt"),
    number("numSamples", default=4, low=1, high=128, step=1),
    number("guidance", default=3.5, low=0, high=20),
    number("numInferenceSteps", default=30, low=1, high=150, step=1),
    number("width", default=1024, low=64, high=2048, step=8),
    number("height", default=1024, low=64, high=2048, step=8),
    string("seed"),
    string("scheduler"),
)

#: What stood under /generate/ until 2025; whether it is still alive is not confirmed.
LEGACY: Final[Mapping[str, Model]] = {
    "txt2img": Model(
        id="txt2img",
        name="txt2img",
        inputs=_LEGACY_PICTURE,
        makes="picture",
        units=lambda body: 5.0 * float(body.get("numSamples", 4)),
        cancelable=True,
        job_type="inference",
    ),
    "img2img": Model(
        id="img2img",
        name="img2img",
        inputs=(
            *_LEGACY_PICTURE,
            file("image", required=True),
            number("strength", default=0.75, low=0.01, high=1),
        ),
        makes="picture",
        units=lambda body: 5.0 * float(body.get("numSamples", 4)),
        cancelable=True,
        job_type="inference",
    ),
    "remove-background": Model(
        id="remove-background",
        name="remove-background",
        inputs=(
            file("image", required=True),
            string("backgroundColor"),
            string("format", allowedValues=["png", "jpeg"], default="png"),
        ),
        makes="cut_out",
        units=flat(5),
        job_type="remove-background",
    ),
}


def problems(model: Model, body: Body) -> tuple[dict[str, Json], list[str]]:
    """The body as the model reads it (defaults filled in, a bare value for an array gone), and what is wrong."""
    wrong: list[str] = []
    read: dict[str, Json] = {}
    for name, value in body.items():
        told = model.input(name)
        if told is None:
            # What the real one says of an unknown name is not confirmed; silence would hide a misspelt binding.
            wrong.append(f'"{name}" is not an input of {model.id}')
        elif told["type"].endswith("_array") and not isinstance(value, list):
            continue
        elif reason := _misfit(told, value):
            wrong.append(f'"{name}" {reason}')
        else:
            read[name] = value
    for told in model.inputs:
        if told["name"] in read:
            continue
        if told.get("required", {}).get("always"):
            wrong.append(f'"{told["name"]}" is required')
        elif "default" in told:
            read[told["name"]] = told["default"]
    return read, wrong


def _misfit(told: Mapping[str, Json], value: Json) -> str | None:
    kind = told["type"]
    if kind.endswith("_array"):
        return _too_many(told, value)
    fits: Mapping[str, Callable[[Json], bool]] = {
        "number": lambda one: isinstance(one, int | float) and not isinstance(one, bool),
        "boolean": lambda one: isinstance(one, bool),
    }
    if not fits.get(kind, lambda one: isinstance(one, str))(value):
        return f"must be a {'string' if kind == 'file' else kind}"
    if kind == "number":
        return _out_of_range(told, value)
    if "maxLength" in told and len(value) > told["maxLength"]:
        return f"must have at most {told['maxLength']} characters"
    if "allowedValues" in told and value not in told["allowedValues"]:
        return f"must be one of {', '.join(map(str, told['allowedValues']))}"
    return None


def _out_of_range(told: Mapping[str, Json], value: float) -> str | None:
    if "min" in told and value < told["min"]:
        return f"must be at least {told['min']}"
    if "max" in told and value > told["max"]:
        return f"must be at most {told['max']}"
    step = told.get("step")
    if step is not None and step >= 1 and value % step:
        return f"must be a multiple of {step}" if step > 1 else "must be an integer"
    return None


def _too_many(told: Mapping[str, Json], value: Sequence[Json]) -> str | None:
    if "maxLength" in told and len(value) > told["maxLength"]:
        return f"must have at most {told['maxLength']} items"
    return None
