"""What txt2img and img2img share: prompts, seeds, LoRAs, ControlNets, sizes."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field, model_validator

from genyard.media import MediaKind
from genyard.operations._model import MAX_SEED, InputRole, Parameters

AspectRatio = Literal["1:1", "16:9", "9:16", "4:3", "3:4", "3:2", "2:3", "21:9"]

#: Width and height at about one megapixel, multiples of 64: the sizes that SDXL was trained on, good for Flux too.
ASPECT_SIZES: Final[dict[str, tuple[int, int]]] = {
    "1:1": (1024, 1024),
    "16:9": (1344, 768),
    "9:16": (768, 1344),
    "4:3": (1152, 896),
    "3:4": (896, 1152),
    "3:2": (1216, 832),
    "2:3": (832, 1216),
    "21:9": (1536, 640),
}

ControlKind = Literal["canny", "depth", "openpose", "lineart", "scribble", "normal", "segment", "tile"]

Seed = Annotated[int | None, Field(ge=0, le=MAX_SEED, description="Drawn when not given; always reported.")]

CONTROL_INPUT: Final = InputRole(
    name="control",
    kind=MediaKind.image,
    required=False,
    max_count=4,
    summary="one image per entry of `controlnets`, in the same order",
)


class Lora(Parameters):
    """A small model added to the big one."""

    name: Annotated[
        str, Field(min_length=1, max_length=200, description="File name as the endpoint knows it.")
    ]
    strength: Annotated[float, Field(ge=-10, le=10)] = 1.0


class ControlNet(Parameters):
    """Guides the picture by an image: the i-th entry uses the i-th input in the role `control`."""

    kind: ControlKind
    strength: Annotated[float, Field(ge=0, le=10)] = 1.0


class GenerationParameters(Parameters):
    """None means: the default of the model that serves the request."""

    prompt: Annotated[str, Field(min_length=1, max_length=10_000)]
    negative_prompt: Annotated[str, Field(max_length=10_000)] = ""
    width: Annotated[int | None, Field(ge=64, le=4096, description="Pixels.")] = None
    height: Annotated[int | None, Field(ge=64, le=4096, description="Pixels.")] = None
    aspect_ratio: Annotated[
        AspectRatio | None, Field(description="In place of width and height: about one megapixel.")
    ] = None
    steps: Annotated[int | None, Field(ge=1, le=150)] = None
    guidance: Annotated[
        float | None, Field(ge=0, le=30, description="Flux guidance, or cfg for models that use it.")
    ] = None
    sampler: Annotated[str | None, Field(max_length=60)] = None
    scheduler: Annotated[str | None, Field(max_length=60)] = None
    seed: Seed = None
    count: Annotated[int, Field(ge=1, le=16, description="How many pictures.")] = 1
    loras: Annotated[tuple[Lora, ...], Field(max_length=8)] = ()
    controlnets: Annotated[tuple[ControlNet, ...], Field(max_length=4)] = ()

    @model_validator(mode="after")
    def _one_way_to_say_the_size(self) -> GenerationParameters:
        if self.aspect_ratio is not None and (self.width is not None or self.height is not None):
            raise ValueError("give either aspect_ratio, or width and height, not both")
        return self
