"""Finding the face in a picture: OpenCV's Haar cascade for frontal faces (part of its wheel, below 5.0).

Frontal human faces only; eyes and mouths are not looked for, because the cascades for them cannot tell
glasses from eyes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from genyard.errors import Code, GenyardError
from genyard.imaging.arrays import RGB

_SEARCH_SIDE: Final = 480  # pixels; larger finds no more and takes longer
_SMALLEST: Final = 0.08  # of the shorter side


@dataclass(frozen=True, kw_only=True)
class Face:
    """A square around eyes, nose and mouth, in pixels."""

    x: float
    y: float
    size: float

    @property
    def centre(self) -> tuple[float, float]:
        return self.x + self.size / 2, self.y + self.size / 2


def find_face(rgb: RGB) -> Face | None:
    """The largest frontal face of an H×W×3 picture, or None."""
    height, width = rgb.shape[:2]
    ratio = min(1.0, _SEARCH_SIDE / max(height, width))
    size = (max(1, round(width * ratio)), max(1, round(height * ratio)))
    grey = cv2.cvtColor(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
    least = max(20, round(_SMALLEST * min(size)))
    found = _cascade().detectMultiScale(cv2.equalizeHist(grey), 1.08, 5, minSize=(least, least))
    if len(found) == 0:
        return None
    x, y, side, _ = (
        float(value) / ratio for value in max(np.asarray(found).tolist(), key=lambda box: box[2])
    )
    return Face(x=x, y=y, size=side)


def require_face(rgb: RGB) -> Face:
    """As `find_face`; raises media.no_face."""
    face = find_face(rgb)
    if face is None:
        raise GenyardError(
            Code.no_face,
            "no face was found; send a photo in which one person looks at the camera, "
            "with the face at least a tenth of the picture's width",
            field="inputs.image",
        )
    return face


def _cascade() -> cv2.CascadeClassifier:
    """A new one each time: a classifier must not be shared between threads."""
    folder = Path(cv2.__file__).parent / "data"
    return cv2.CascadeClassifier(str(folder / "haarcascade_frontalface_alt2.xml"))
