"""What `genyard try` asks for: the cheapest request of each operation that an endpoint's binding takes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from genyard.errors import Code, GenyardError

if TYPE_CHECKING:
    from genyard.jobs.model import Asset
    from genyard.studio import Studio
    from genyard.studio.planning import Planned

_PROMPT: Final = "a small red dragon, game icon, plain background"
_SIDE: Final = 512
_STEPS: Final = 4
_SEED: Final = 20_26
_CLIP_SECONDS: Final = 2.0

#: Every ComfyUI has these two nodes: no model is loaded.
_WORKFLOW: Final = {
    "1": {
        "class_type": "EmptyImage",
        "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 12_091_408},
    },
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "genyard-try"}},
}
_DRAWING: Final = {"prompt": _PROMPT, "width": _SIDE, "height": _SIDE, "steps": _STEPS, "seed": _SEED}


@dataclass(frozen=True, kw_only=True)
class Sample:
    """`parameters`: those beyond `needed` are left out where a binding does not take them."""

    parameters: Mapping[str, Any] = field(default_factory=dict)
    needed: frozenset[str] = frozenset()
    inputs: tuple[str, ...] = ()


SAMPLES: Final[Mapping[str, Sample]] = {
    "txt2img": Sample(parameters=_DRAWING, needed=frozenset({"prompt"})),
    "img2img": Sample(
        parameters={**_DRAWING, "prompt": f"{_PROMPT}, watercolour"},
        needed=frozenset({"prompt"}),
        inputs=("image",),
    ),
    "remove_background": Sample(inputs=("image",)),
    "decompose_layers": Sample(
        parameters={"layers": 2, "prompt": "a portrait", "steps": _STEPS, "seed": _SEED}, inputs=("image",)
    ),
    "animate_photo": Sample(inputs=("image",)),
    "pixelate": Sample(parameters={"cells": 32, "colors": 16, "scale": 2}, inputs=("image",)),
    "run_workflow": Sample(parameters={"workflow": _WORKFLOW}, needed=frozenset({"workflow"})),
}


def _portrait() -> bytes:
    """A drawn person: there is a face in it, and a background to remove. Nobody's photo leaves the house."""
    from genyard.imaging.decode import encode_png
    from genyard.imaging.portrait import sample_portrait

    return encode_png(sample_portrait(_SIDE))


def _clip() -> bytes:
    from genyard.imaging.animate import animate_to_mp4
    from genyard.imaging.portrait import sample_portrait

    return animate_to_mp4(sample_portrait(256), _CLIP_SECONDS)


_MADE: Final[Mapping[str, tuple[str, Callable[[], bytes]]]] = {
    "image": ("portrait.png", _portrait),
    "video": ("motion.mp4", _clip),
}


class Sampler:
    """Fits samples to one endpoint. Inputs are stored once and shared; `made` are those."""

    def __init__(self, studio: Studio, endpoint: str) -> None:
        self.made: list[Asset] = []
        self._studio = studio
        self._endpoint = endpoint
        self._ids: dict[str, str] = {}

    async def fit(self, operation: str, model: str | None) -> tuple[dict[str, Any], Planned]:
        """The request and its plan. What the place refuses by name is left out, or given, and asked again."""
        sample = SAMPLES.get(operation, Sample())
        parameters, roles = dict(sample.parameters), list(sample.inputs)
        while True:
            inputs = {role: await self._input(role) for role in roles}
            body: dict[str, Any] = {
                "operation": operation,
                "parameters": parameters,
                "inputs": inputs,
                "tags": ["try"],
            }
            if model is not None:
                body["model"] = model
            try:
                return body, await self._studio.estimate(body, endpoint=self._endpoint)
            except GenyardError as error:
                if not _give_in(error, parameters, roles, sample.needed):
                    raise

    async def _input(self, role: str) -> str:
        if role not in self._ids:
            name, make = _MADE[role]
            asset = await self._studio.upload(await asyncio.to_thread(make), name=name, tags=["try"])
            self.made.append(asset)
            self._ids[role] = str(asset.id)
        return self._ids[role]


def _give_in(
    error: GenyardError, parameters: dict[str, Any], roles: list[str], needed: frozenset[str]
) -> bool:
    """Whether the request is another one now."""
    if error.code is not Code.request_unsupported or error.field is None:
        return False
    kind, _, name = error.field.partition(".")
    if kind == "inputs" and name in _MADE and name not in roles:
        roles.append(name)
        return True
    names = ("width", "height") if name in ("width", "height") else (name,)
    refused = [one for one in names if one in parameters and one not in needed]
    for one in refused:
        del parameters[one]
    return bool(refused)
