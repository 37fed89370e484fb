"""A picture from a picture and words: a silhouette becomes a sprite."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from genyard.media import MediaKind
from genyard.operations._generation import CONTROL_INPUT, GenerationParameters
from genyard.operations._model import InputRole, Operation, Role


class Img2ImgParameters(GenerationParameters):
    strength: Annotated[
        float,
        Field(gt=0, le=1, description="How far from the given image: 1 ignores it. ComfyUI's denoise."),
    ] = 0.95


IMG2IMG = Operation(
    name="img2img",
    summary="Redraw an image under a prompt.",
    parameters=Img2ImgParameters,
    inputs=(
        InputRole(name="image", kind=MediaKind.image, summary="the image to start from"),
        CONTROL_INPUT,
    ),
    output=Role.image,
    seeded=True,
)
