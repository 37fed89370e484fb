"""Surface patterns: periodic tiles of float32 in about -1..1, made once and kept.

They are added to the light before it is looked up in a ramp, so a pattern never leaves its palette.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import cv2
import numpy as np

from genyard.preview.palette import FloatArray

#: Side of every tile, pixels.
TILE: Final = 512


def noise(
    cells_y: int, cells_x: int, seed: int, *, octaves: int = 4, height: int = TILE, width: int = TILE
) -> FloatArray:
    """Periodic fractal value noise, height×width, mean 0, spread about ±1; cells are those of the first octave."""
    generator = np.random.default_rng(seed)
    total = np.zeros((height, width), np.float32)
    weight = 1.0
    for octave in range(octaves):
        rows, columns = min(cells_y << octave, height), min(cells_x << octave, width)
        grid = generator.standard_normal((rows, columns)).astype(np.float32)
        padded = np.pad(grid, 2, mode="wrap")
        step_y, step_x = height / rows, width / columns
        ys, xs = round(2 * step_y), round(2 * step_x)
        big = cv2.resize(padded, (width + 2 * xs, height + 2 * ys), interpolation=cv2.INTER_CUBIC)
        total += weight * big[ys : ys + height, xs : xs + width]
        weight *= 0.55
    return np.asarray(total / (float(total.std()) * 1.8 + 1e-6), dtype=np.float32)


def _grid() -> tuple[FloatArray, FloatArray]:
    y, x = np.mgrid[0:TILE, 0:TILE].astype(np.float32) / TILE
    return y, x


def _scales() -> FloatArray:
    y, x = _grid()
    rows = 16
    best = np.full((TILE, TILE), -1.0, np.float32)
    for row_shift in (0, 1):
        cy = y * rows / 2 + row_shift * 0.5
        cx = x * rows / 2 + row_shift * 0.5
        dy, dx = cy - np.floor(cy) - 0.35, cx - np.floor(cx) - 0.5
        distance = np.sqrt(dx * dx * 1.1 + dy * dy) / 0.62
        height = np.where(distance < 1, 0.9 - distance**3 * 1.5 - dy * 0.7, -1)
        best = np.maximum(best, height.astype(np.float32))
    return best


def _fur() -> FloatArray:
    return np.asarray(noise(10, 42, 21, octaves=3) * 0.9 + noise(4, 4, 22) * 0.3, dtype=np.float32)


def _wood() -> FloatArray:
    y, _ = _grid()
    warp = noise(3, 2, 31, octaves=3) * 0.018
    rings = np.sin((y + warp) * 2 * np.pi * 14) * 0.45
    fibres = noise(70, 3, 32, octaves=2) * 0.55
    return np.asarray(rings + fibres, dtype=np.float32)


def _stone() -> FloatArray:
    base = noise(6, 6, 41, octaves=5)
    field = noise(4, 4, 42, octaves=3)
    cracks = np.clip(1 - np.abs(field) / 0.045, 0, 1)
    pits = np.clip(noise(34, 34, 43, octaves=2) - 0.9, 0, 1)
    return np.asarray(base * 0.5 - cracks * 1.1 - pits * 1.0, dtype=np.float32)


def _brushed() -> FloatArray:
    return np.asarray(noise(6, 120, 51, octaves=2) * 0.4 + noise(3, 5, 52) * 0.6, dtype=np.float32)


def _leaf() -> FloatArray:
    blobs = noise(18, 18, 61, octaves=2)
    return np.asarray(np.tanh(blobs * 2.2) * 0.8 + noise(4, 4, 62) * 0.35, dtype=np.float32)


def _cloth() -> FloatArray:
    y, x = _grid()
    weave = np.sin(x * 2 * np.pi * 90) * np.sin(y * 2 * np.pi * 90) * 0.5
    return np.asarray(weave + noise(4, 3, 71) * 0.9, dtype=np.float32)


def _grain() -> FloatArray:
    return noise(12, 12, 81, octaves=5)


_MAKERS: Final = {
    "scales": _scales,
    "fur": _fur,
    "wood": _wood,
    "stone": _stone,
    "brushed": _brushed,
    "leaf": _leaf,
    "cloth": _cloth,
    "grain": _grain,
}


@lru_cache(maxsize=64)
def tile(name: str, side: int = TILE) -> FloatArray:
    """The pattern at side×side pixels."""
    full = _MAKERS[name]() if side == TILE else tile(name)
    if side == TILE:
        return full
    shrink = side < TILE
    return np.asarray(
        cv2.resize(full, (side, side), interpolation=cv2.INTER_AREA if shrink else cv2.INTER_CUBIC),
        dtype=np.float32,
    )


def window(name: str, side: int, top: int, left: int, height: int, width: int) -> FloatArray:
    """height×width of the endless pattern with period `side` pixels, from (top, left)."""
    pattern = tile(name, side)
    rows = np.arange(top, top + height) % side
    columns = np.arange(left, left + width) % side
    return pattern[np.ix_(rows, columns)]
