"""Pixel art: a true grid, a small palette, hard edges.

Each cell takes the palette colour that most of it has (an average would be mud at edges); the palette is
found in Oklab on a small copy. A picture that already imitates pixel art is read along its own grid
(`grid`). Dithering and outlines are not drawn.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from genyard.errors import Code, GenyardError
from genyard.imaging import oklab
from genyard.imaging.arrays import RGB, RGBA, Mask, resize
from genyard.imaging.grid import Grid, detect_grid

_PALETTE_SIDE: Final = 128  # the palette is found on a copy of this size
_SHADE: Final = 0.02  # Oklab distance below which colours are counted as one
_VOTES: Final = 4  # along each side of a cell


@dataclass(frozen=True, kw_only=True)
class PixelArt:
    """`pixels` H×W×4 with every cell `scale` pixels wide; `columns` × `rows` cells; `palette` N×3 sRGB.

    `grid` is the grid that the picture already had, if it was read along one.
    """

    pixels: RGBA
    columns: int
    rows: int
    palette: RGB
    grid: Grid | None


def pixelate(rgba: RGBA, cells: int, colors: int, scale: int) -> RGBA:
    """The pixels of `pixel_art`. Raises request.invalid out of range."""
    return pixel_art(rgba, cells, colors, scale).pixels


def pixel_art(rgba: RGBA, cells: int, colors: int, scale: int, *, snap: bool = True) -> PixelArt:
    """Pixel art of `cells` along the longer side, at most `colors` colours, cells `scale` pixels wide.

    With `snap`, a picture with a grid of its own that is not finer than asked is read along it; its cells
    then become as many whole cells as fit into `cells`. Raises request.invalid out of range.
    """
    _check(cells=(cells, 1, 2048), colors=(colors, 1, 256), scale=(scale, 1, 64))
    grid = detect_grid(rgba) if snap else None
    art = _along(rgba, grid) if grid is not None else None
    if art is None or max(art.shape[:2]) > cells:
        grid, art = None, _voted(rgba, *_cells_of(rgba, cells), colors)
    else:
        times = max(1, cells // max(art.shape[:2]))
        art = _reduced(art, colors).repeat(times, axis=0).repeat(times, axis=1)
    seen = art[art[..., 3] > 0][:, :3]
    return PixelArt(
        pixels=art.repeat(scale, axis=0).repeat(scale, axis=1),
        columns=art.shape[1],
        rows=art.shape[0],
        palette=np.unique(seen, axis=0) if len(seen) else np.zeros((0, 3), np.uint8),
        grid=grid,
    )


def _check(**ranges: tuple[int, int, int]) -> None:
    for name, (value, lowest, highest) in ranges.items():
        if not lowest <= value <= highest:
            raise GenyardError(
                Code.request_invalid,
                f"{name} is {value}; it must be {lowest} to {highest}",
                field=f"parameters.{name}",
            )


def _cells_of(rgba: RGBA, cells: int) -> tuple[int, int]:
    """(columns, rows) in the picture's proportions."""
    height, width = rgba.shape[:2]
    ratio = cells / max(height, width)
    return max(1, round(width * ratio)), max(1, round(height * ratio))


def _voted(rgba: RGBA, columns: int, rows: int, colors: int) -> RGBA:
    """rows×columns×4: each cell votes over 16 samples of it."""
    fine = resize(rgba, columns * _VOTES, rows * _VOTES)
    palette = _palette(fine, colors)
    if not len(palette):
        return np.zeros((rows, columns, 4), np.uint8)
    chosen = oklab.nearest(oklab.from_rgb(fine[..., :3]).reshape(-1, 3), palette)
    cell_y, cell_x = np.indices(fine.shape[:2]) // _VOTES
    cell = (cell_y * columns + cell_x).ravel()
    weight = fine[..., 3].ravel() / 255
    votes = np.bincount(cell * len(palette) + chosen, weight, minlength=rows * columns * len(palette))
    winner = votes.reshape(rows * columns, -1).argmax(axis=1)
    covered = np.bincount(cell, weight, minlength=rows * columns) / _VOTES**2
    return _painted(oklab.to_rgb(palette)[winner].reshape(rows, columns, 3), covered.reshape(rows, columns))


def _reduced(art: RGBA, colors: int) -> RGBA:
    """The same cells with at most `colors` colours."""
    palette = _palette(art, colors)
    if not len(palette):
        return np.zeros_like(art)
    chosen = oklab.nearest(oklab.from_rgb(art[..., :3]).reshape(-1, 3), palette)
    return _painted(oklab.to_rgb(palette)[chosen].reshape(*art.shape[:2], 3), art[..., 3] / 255)


def _palette(rgba: RGBA, colors: int) -> NDArray[np.float32]:
    """At most `colors` × 3 Oklab centres of what is visible."""
    height, width = rgba.shape[:2]
    ratio = min(1.0, _PALETTE_SIDE / max(height, width))
    small = rgba if ratio == 1 else resize(rgba, max(1, round(width * ratio)), max(1, round(height * ratio)))
    visible = small[small[..., 3] > 127][:, :3]
    if not len(visible):
        return np.zeros((0, 3), np.float32)
    colours = oklab.from_rgb(visible)
    # Like colours count by the square root of their number, so that a face holds out against a wall.
    _, shade, number = np.unique(np.rint(colours / _SHADE), axis=0, return_inverse=True, return_counts=True)
    shade = shade.ravel()
    means = np.stack([np.bincount(shade, colours[:, axis]) / number for axis in range(3)], axis=-1)
    samples = np.repeat(means.astype(np.float32), np.ceil(np.sqrt(number)).astype(int), axis=0)
    return oklab.cluster(samples if len(number) > colors else colours, colors)[1]


def _painted(rgb: RGB, covered: NDArray[np.float64]) -> RGBA:
    solid: Mask = np.where(covered >= 0.5, 255, 0).astype(np.uint8)
    return np.dstack([np.where(solid[..., None] > 0, rgb, 0).astype(np.uint8), solid])


def _along(rgba: RGBA, grid: Grid) -> RGBA:
    """One pixel per cell of the grid: the mean of the cell's middle, premultiplied."""
    height, width = rgba.shape[:2]
    columns, rows = grid.columns(width), grid.rows(height)
    left, right = _middles(columns, width)
    top, bottom = _middles(rows, height)
    alpha = rgba[..., 3:].astype(np.float64)
    stacked = np.dstack([rgba[..., :3] * (alpha / 255), alpha])
    sums = np.dstack([cv2.integral(np.ascontiguousarray(stacked[..., i])) for i in range(4)])
    cell = sums[bottom][:, right] - sums[top][:, right] - sums[bottom][:, left] + sums[top][:, left]
    mean = cell / ((bottom - top)[:, None, None] * (right - left)[None, :, None])
    colour = mean[..., :3] / np.maximum(mean[..., 3:] / 255, 1e-6)
    return np.clip(np.rint(np.dstack([colour, mean[..., 3]])), 0, 255).astype(np.uint8)


def _middles(borders: NDArray[np.float64], length: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First and one-past-last pixel of the middle half of each cell."""
    quarter = np.diff(borders) / 4
    first = np.clip(np.rint(borders[:-1] + quarter), 0, length - 1).astype(np.int64)
    last = np.clip(np.rint(borders[1:] - quarter), 1, length).astype(np.int64)
    return first, np.maximum(last, first + 1)
