"""The shape of the subject as a mask: for drawings that are to be shaded, collision shapes, previews.

It is the cut-out's alpha made hard and whole; where no subject is found, dark strokes on light ground are
taken for a drawing.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np

from genyard.imaging.arrays import RGBA, Mask, flatten
from genyard.imaging.cutout import USABLE, cut_out

_HALF: Final = 128


def silhouette(rgba: RGBA, *, fill_holes: bool = False) -> Mask:
    """H×W, 255 where the subject is, else 0. With `fill_holes` also what it encloses.

    All 255 when nothing can be told apart.
    """
    found = cut_out(rgba)
    if found.confidence >= USABLE:
        mask = np.where(found.pixels[..., 3] >= _HALF, 255, 0).astype(np.uint8)
    else:
        mask = _strokes(rgba)
    return _filled(mask) if fill_holes else mask


def _strokes(rgba: RGBA) -> Mask:
    grey = cv2.cvtColor(flatten(rgba), cv2.COLOR_RGB2GRAY)
    _, dark = cv2.threshold(grey, 0, 255, cv2.THRESH_BINARY_INV | cv2.THRESH_OTSU)
    share = float((dark > 0).mean())
    return np.asarray(dark, np.uint8) if 0.005 < share < 0.6 else np.full_like(dark, 255)


def _filled(mask: Mask) -> Mask:
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled = np.zeros_like(mask)
    cv2.drawContours(filled, contours, -1, 255, cv2.FILLED)
    return filled
