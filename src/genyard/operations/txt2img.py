"""A picture from words."""

from __future__ import annotations

from genyard.operations._generation import CONTROL_INPUT, GenerationParameters
from genyard.operations._model import Operation, Role

TXT2IMG = Operation(
    name="txt2img",
    summary="Draw a picture from a prompt.",
    parameters=GenerationParameters,
    inputs=(CONTROL_INPUT,),
    output=Role.image,
    seeded=True,
)
