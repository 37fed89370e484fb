"""A portrait that moves."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from genyard.media import MediaKind
from genyard.operations._model import InputRole, Operation, Parameters, Role


class AnimatePhotoParameters(Parameters):
    seconds: Annotated[
        float | None,
        Field(ge=10, le=20, description="Length of the clip; a shorter driving clip is repeated to fill it."),
    ] = None


ANIMATE_PHOTO = Operation(
    name="animate_photo",
    summary="Animate the face in a photo: an MP4.",
    parameters=AnimatePhotoParameters,
    inputs=(
        InputRole(name="image", kind=MediaKind.image, summary="a photo with one clear face"),
        InputRole(
            name="video",
            kind=MediaKind.video,
            required=False,
            summary="a driving clip whose motion is copied; without one a default motion is used",
        ),
    ),
    output=Role.video,
)
