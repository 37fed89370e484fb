"""What an array means in `imaging`, and the few things that alpha makes easy to get wrong.

Pictures are straight (not premultiplied) sRGB, 8 bits, row-major: `RGBA` is H×W×4, `RGB` H×W×3, `Mask` H×W
(255 = inside). Resizing and stacking go through premultiplied colour, so that the hidden colour of
transparent pixels never bleeds into an edge. No algorithm with an opinion lives here.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

RGBA: TypeAlias = NDArray[np.uint8]  # H×W×4, straight alpha
RGB: TypeAlias = NDArray[np.uint8]  # H×W×3
Mask: TypeAlias = NDArray[np.uint8]  # H×W, 0 outside … 255 inside
Floats: TypeAlias = NDArray[np.float32]


def as_uint8(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Rounded and clipped to 0..255."""
    rounded: NDArray[np.uint8] = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return rounded


def opaque(rgb: RGB) -> RGBA:
    """H×W×3 -> H×W×4 without a hole."""
    return np.dstack([rgb, np.full(rgb.shape[:2], 255, np.uint8)])


def is_opaque(rgba: RGBA) -> bool:
    return bool((rgba[..., 3] == 255).all())


def over(layers: Iterable[RGBA]) -> RGBA:
    """Layers of one size stacked back to front (Porter-Duff over) -> H×W×4."""
    remaining = iter(layers)
    colour, alpha = _premultiplied(next(remaining))
    for layer in remaining:
        top, top_alpha = _premultiplied(layer)
        colour = top + colour * (1 - top_alpha)
        alpha = top_alpha + alpha * (1 - top_alpha)
    return np.dstack([as_uint8(colour / np.maximum(alpha, 1e-6)), as_uint8(alpha * 255)])


def _premultiplied(rgba: RGBA) -> tuple[Floats, Floats]:
    alpha = rgba[..., 3:].astype(np.float32) / np.float32(255)
    return rgba[..., :3] * alpha, alpha


def flatten(rgba: RGBA, background: tuple[int, int, int] = (255, 255, 255)) -> RGB:
    """Over one colour -> H×W×3."""
    if is_opaque(rgba):
        return np.ascontiguousarray(rgba[..., :3])
    alpha = rgba[..., 3:].astype(np.float32) / 255
    return as_uint8(rgba[..., :3] * alpha + np.asarray(background, np.float32) * (1 - alpha))


def resize(rgba: RGBA, width: int, height: int) -> RGBA:
    """To width × height pixels: area average when shrinking, Lanczos when growing; premultiplied."""
    from PIL import Image

    shrinking = width <= rgba.shape[1] and height <= rgba.shape[0]
    method = Image.Resampling.BOX if shrinking else Image.Resampling.LANCZOS
    resized = Image.fromarray(rgba).resize((width, height), method)
    return np.asarray(resized, np.uint8)


def fit(rgba: RGBA, longer_side: int) -> RGBA:
    """Shrunk so that the longer side is at most `longer_side` pixels; never enlarged."""
    height, width = rgba.shape[:2]
    ratio = longer_side / max(height, width)
    if ratio >= 1:
        return rgba
    return resize(rgba, max(1, round(width * ratio)), max(1, round(height * ratio)))
