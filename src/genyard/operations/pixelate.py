"""Pixel art: a true pixel grid and a small palette."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from genyard.media import MediaKind
from genyard.operations._model import InputRole, Operation, Parameters, Role


class PixelateParameters(Parameters):
    cells: Annotated[int, Field(ge=8, le=512, description="Pixels of the art along its longer side.")] = 128
    colors: Annotated[int, Field(ge=2, le=256, description="Colours in the palette.")] = 32
    scale: Annotated[int, Field(ge=1, le=16, description="Each cell becomes scale × scale pixels.")] = 8


PIXELATE = Operation(
    name="pixelate",
    summary="Turn a picture into pixel art.",
    parameters=PixelateParameters,
    inputs=(InputRole(name="image", kind=MediaKind.image, summary="the picture to pixelate"),),
    output=Role.image,
)
