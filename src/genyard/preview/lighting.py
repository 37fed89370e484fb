"""Light on flat shapes: a mask is blown up like a cushion, and its slopes are lit.

All arrays are small (a shape is lit at low resolution and the smooth result enlarged), float32.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np

from genyard.preview.palette import FloatArray

#: Unit vector to the lamp: from the upper left, towards the viewer.
LAMP: Final = np.array([-0.45, -0.62, 0.64], np.float32) / np.float32(np.linalg.norm([-0.45, -0.62, 0.64]))
_HALF: Final = (LAMP + np.array([0, 0, 1], np.float32)) / np.linalg.norm(
    LAMP + np.array([0, 0, 1], np.float32)
)
_RIM_SIDE: Final = np.array([0.83, 0.55], np.float32)


@dataclass(frozen=True, kw_only=True)
class Light:
    """Per pixel: `tone` 0..1 (position in a ramp), `gloss` 0..1, `rim` 0..1."""

    tone: FloatArray
    gloss: FloatArray
    rim: FloatArray


def inflate(mask: FloatArray) -> FloatArray:
    """Height of a cushion over a mask (h, w) 0..1, in pixels; a disc becomes a half ball.

    Solves ∇²u = -1 with u = 0 outside, coarse to fine; the height is 2·√u.
    """
    height, width = mask.shape
    levels = max(1, int(np.log2(max(min(height, width), 8) / 6)) + 1)
    sizes = [(max(3, height >> k), max(3, width >> k)) for k in range(levels)][::-1]
    solved = np.zeros(sizes[0], np.float32)
    for step, (rows, columns) in enumerate(sizes):
        inside = (
            mask
            if (rows, columns) == mask.shape
            else cv2.resize(mask, (columns, rows), interpolation=cv2.INTER_AREA)
        )
        if step:
            solved = cv2.resize(solved, (columns, rows), interpolation=cv2.INTER_LINEAR) * 4
        for _ in range(28 if step == 0 else 9):
            solved = (cv2.blur(solved, (3, 3), borderType=cv2.BORDER_CONSTANT) + np.float32(1 / 3)) * inside
    return np.asarray(2 * np.sqrt(np.maximum(solved, 0)), dtype=np.float32)


def bevel(mask: FloatArray, width: float) -> FloatArray:
    """Height of a flat top with sloping edges `width` pixels wide, in pixels."""
    distance = cv2.distanceTransform((mask > 0.5).astype(np.uint8), cv2.DIST_L2, 5)
    return np.asarray(
        cv2.GaussianBlur(np.minimum(distance, width), (0, 0), max(width * 0.18, 0.6)), np.float32
    )


def light(height: FloatArray, mask: FloatArray, *, sharp: float, strength: float = 1.0) -> Light:
    """What the lamp makes of a height field."""
    slope_x = cv2.Sobel(height, cv2.CV_32F, 1, 0, ksize=3, scale=strength / 8)
    slope_y = cv2.Sobel(height, cv2.CV_32F, 0, 1, ksize=3, scale=strength / 8)
    norm = 1 / np.sqrt(slope_x**2 + slope_y**2 + 1)
    facing = (LAMP[2] - slope_x * LAMP[0] - slope_y * LAMP[1]) * norm
    shine = np.maximum((_HALF[2] - slope_x * _HALF[0] - slope_y * _HALF[1]) * norm, 0) ** sharp
    away = np.clip(-(slope_x * _RIM_SIDE[0] + slope_y * _RIM_SIDE[1]) * norm, 0, 1)
    tone = np.clip(0.57 + 0.6 * (facing - LAMP[2]), 0, 1)
    rim = np.clip((away - 0.72) / 0.2, 0, 1) * (1 - norm)
    return Light(tone=_spread(tone, mask), gloss=_spread(shine, mask), rim=rim.astype(np.float32))


def _spread(field: FloatArray, mask: FloatArray) -> FloatArray:
    """Carries values from inside the mask outwards, so that enlarging shows no fringe."""
    weight = cv2.blur(mask, (3, 3))
    near = cv2.blur(field * mask, (3, 3)) / np.maximum(weight, 1e-3)
    return np.where(mask > 0.9, field, np.where(weight > 1e-3, near, field)).astype(np.float32)
