"""A picture taken apart into layers, back to front."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from genyard.media import MediaKind
from genyard.operations._generation import Seed
from genyard.operations._model import InputRole, Operation, Parameters, Role


class DecomposeLayersParameters(Parameters):
    layers: Annotated[int, Field(ge=1, le=10, description="How many layers, back to front.")] = 4
    prompt: Annotated[str, Field(max_length=10_000, description="What the picture shows, if known.")] = ""
    steps: Annotated[int | None, Field(ge=1, le=150)] = None
    guidance: Annotated[float | None, Field(ge=0, le=30)] = None
    seed: Seed = None


DECOMPOSE_LAYERS = Operation(
    name="decompose_layers",
    summary="Take a picture apart into RGBA layers, back to front.",
    parameters=DecomposeLayersParameters,
    inputs=(InputRole(name="image", kind=MediaKind.image, summary="the picture to take apart"),),
    output=Role.layer,
    seeded=True,
)
