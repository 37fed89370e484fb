"""The hidden grid of pictures that imitate pixel art: cell size and offset, fractional and per axis.

A spectral comb: the gradient along an axis peaks at cell borders, so its spectrum has lines at 1/T, 2/T,
3/T; their common phase is the offset. Making pixel art out of a picture is `pixelate`'s business.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from genyard.imaging.arrays import RGBA, flatten

SMALLEST: Final = 3.0  #: cell, pixels
LARGEST: Final = 64.0
_FEWEST: Final = 6  # cells along an axis, below which a comb is a coincidence
_STRENGTH: Final = 0.30  # of the comb, 1 = all gradient lies on the grid
_EDGE: Final = 24  # grey levels: weaker steps are noise or compression

Profile = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Cell size in pixels and the position of the first border (0 ≤ offset < cell); `strength` 0..1."""

    cell_x: float
    cell_y: float
    offset_x: float
    offset_y: float
    strength: float

    def columns(self, width: int) -> NDArray[np.float64]:
        """Borders of all cells that are at least half inside 0..width, first and last included."""
        return _borders(width, self.cell_x, self.offset_x)

    def rows(self, height: int) -> NDArray[np.float64]:
        return _borders(height, self.cell_y, self.offset_y)


def detect_grid(rgba: RGBA) -> Grid | None:
    """The grid of a picture whose cells are 3..64 pixels wide, or None when it has none."""
    if min(rgba.shape[:2]) <= _FEWEST * SMALLEST:
        return None
    grey = flatten(rgba).astype(np.int16)
    found = [_comb(_profile(grey, axis)) for axis in (1, 0)]
    if found[0] is None or found[1] is None:
        return None
    (cell_x, offset_x, strong_x), (cell_y, offset_y, strong_y) = found[0], found[1]
    if not 0.9 < cell_x / cell_y < 1.11:
        return None
    return Grid(
        cell_x=cell_x,
        cell_y=cell_y,
        offset_x=offset_x,
        offset_y=offset_y,
        strength=min(strong_x, strong_y),
    )


def _profile(rgb: NDArray[np.int16], axis: int) -> Profile:
    """How much changes at each position along `axis`; only steps that stand out from their surroundings."""
    steps = np.abs(np.diff(rgb, axis=axis)).max(axis=2).astype(np.float32)
    steps[steps < _EDGE] = 0
    along = steps.sum(axis=1 - axis).astype(np.float64)
    local = cv2.blur(along.reshape(-1, 1), (1, 5), borderType=cv2.BORDER_REFLECT).ravel()
    return np.asarray(np.maximum(along - local * 0.8, 0), np.float64)


def _comb(profile: Profile) -> tuple[float, float, float] | None:
    """(cell, offset, strength) of the best comb through the profile."""
    if profile.sum() <= 0:
        return None
    weights = profile / profile.sum()
    # Even steps in frequency, fine enough that the comb does not slip by a pixel over the whole length.
    steps = 6 * len(profile)
    largest = min(LARGEST, (len(profile) + 1) / _FEWEST)
    lines = np.arange(int(np.ceil(steps / largest)), int(steps / SMALLEST) + 1)
    lengths = np.abs(np.fft.fft(weights, steps))
    strengths = _strengths(weights, lengths[lines], lengths[2 * lines])
    if strengths.max() < _STRENGTH:
        return None
    # Half the cell fits as well (every second tooth): the largest cell that is nearly as good is meant.
    coarse = float((steps / lines)[strengths >= 0.9 * strengths.max()].max())
    around = coarse * np.linspace(0.985, 1.015, 121)
    waves = [np.exp(2j * np.pi * n * np.outer(1 / around, np.arange(len(weights)))) for n in (1, 2)]
    strengths = _strengths(weights, *(np.abs(wave @ weights) for wave in waves))
    fine = float(around[strengths.argmax()])
    return fine, _offset(profile, fine), float(strengths.max())


def _strengths(weights: Profile, first: Profile, second: Profile) -> Profile:
    """0..1 for each cell size: mean length of the first two harmonics, less what chance gives."""
    chance = float(np.sqrt((weights**2).sum()))
    return np.maximum(0.6 * first + 0.4 * second - chance, 0) / max(1 - chance, 1e-6)


def _offset(profile: Profile, cell: float) -> float:
    """Where borders lie: between pixel i and i+1 is position i + 1."""
    wave = (profile * np.exp(2j * np.pi * np.arange(1, len(profile) + 1) / cell)).sum()
    return float(np.angle(wave) / (2 * np.pi) * cell % cell)


def _borders(length: int, cell: float, offset: float) -> NDArray[np.float64]:
    first = offset - cell if offset > cell / 2 else offset
    inner = np.arange(first, length + cell / 2, cell)
    return inner if len(inner) > 1 else np.array([0.0, float(length)])
