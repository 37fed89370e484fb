"""The subject of a picture on a transparent background."""

from __future__ import annotations

from genyard.media import MediaKind
from genyard.operations._model import InputRole, Operation, Parameters, Role


class RemoveBackgroundParameters(Parameters):
    pass


REMOVE_BACKGROUND = Operation(
    name="remove_background",
    summary="Cut the subject out: a PNG with transparency.",
    parameters=RemoveBackgroundParameters,
    inputs=(InputRole(name="image", kind=MediaKind.image, summary="the picture to cut out from"),),
    output=Role.image,
)
