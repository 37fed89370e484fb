"""Styles of the whole picture: how the pen draws in them, and what is done to the finished pixels."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np

from genyard.preview.paint import Style
from genyard.preview.palette import ByteArray, FloatArray, Ink, ink, oklch_to_srgb, srgb_to_oklab
from genyard.preview.understanding import Wish

_NORMAL: Final = Style()
_FLAT: Final = Style(flat=True, line=0.0, occlusion=0.35)
_PIXEL: Final = Style(line=0.0, grain=0.5, occlusion=0.8, shade=1.1)
_DARK: Final = Style(line=1.1, occlusion=1.3, shade=1.2)
_CUTE: Final = Style(line=0.9, occlusion=0.7, shade=0.85)


def style_of(wish: Wish) -> Style:
    """How the pen draws this wish."""
    chosen = wish.styles
    if "pixel" in chosen:
        return _PIXEL
    if "flat" in chosen:
        return _FLAT
    base = _DARK if "dark" in chosen else _CUTE if "cute" in chosen else _NORMAL
    if "lineless" in chosen:
        return Style(line=0.0, grain=base.grain, shade=base.shade, occlusion=base.occlusion)
    return base


def backdrop(wish: Wish, hue: float) -> Ink:
    """The plain colour behind a figure: as asked, else pale and faintly opposite to the figure's hue."""
    if wish.backdrop is not None:
        return wish.backdrop
    if "dark" in wish.styles:
        return ink(0.3, 0.018, (hue + 180) % 360)
    return ink(0.945, 0.012, (hue + 180) % 360)


def mean_hue(canvas: FloatArray) -> float:
    """The hue in degrees towards which a premultiplied picture leans."""
    small = cv2.resize(canvas, (48, 48), interpolation=cv2.INTER_AREA)
    seen = small[small[..., 3] > 0.3]
    if len(seen) == 0:
        return 90.0
    lab = srgb_to_oklab(np.clip(seen[:, :3] / seen[:, 3:] * 255, 0, 255).astype(np.uint8))
    return float(np.degrees(np.arctan2(lab[:, 2].mean(), lab[:, 1].mean())) % 360)


def tinted(canvas: FloatArray, styles: frozenset[str]) -> FloatArray:
    """Gloom or sweetness over premultiplied colour (H, W, 4)."""
    mix = np.zeros((4, 4), np.float32)
    mix[3, 3] = 1
    if "dark" in styles:
        for row, tint in enumerate((0.97, 0.94, 1.08)):
            mix[row, :3] = 0.4 / 3 * 0.72 * tint
            mix[row, row] += 0.6 * 0.72 * tint
    elif "cute" in styles:
        for row, tint in enumerate((1.0, 0.94, 0.97)):
            mix[row, row], mix[row, 3] = 0.86, 0.14 * tint
    else:
        return canvas
    return np.asarray(cv2.transform(canvas, mix), dtype=np.float32)


def grid_of(height: int, width: int) -> tuple[int, int, int]:
    """(rows, columns, pixels per cell) of a pixel-art picture: about 72 cells along its short side."""
    cell = max(1, round(min(height, width) / 72))
    return -(-height // cell), -(-width // cell), cell


def quantised(rgb: ByteArray, weight: FloatArray, colours: int) -> ByteArray:
    """Few colours, chosen in Oklab among the pixels with weight > 0.5; rgb is uint8 (h, w, 3)."""
    inside = weight > 0.5
    if int(inside.sum()) <= colours:
        return rgb
    lab = srgb_to_oklab(rgb)
    samples = np.ascontiguousarray(lab[inside])
    cv2.setRNGSeed(7)
    stop = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 12, 0.002)
    step = max(1, len(samples) // 4000)
    thin = np.ascontiguousarray(samples[::step])
    labels = np.zeros((len(thin), 1), np.int32)
    _, _, centres = cv2.kmeans(thin, min(colours, len(thin)), labels, stop, 1, cv2.KMEANS_PP_CENTERS)
    centres = np.asarray(centres, dtype=np.float32)
    flat = lab.reshape(-1, 3)
    scores = (centres**2).sum(axis=1) - 2 * flat @ centres.T
    nearest = np.argmin(scores, axis=1)
    table = oklch_to_srgb(
        centres[:, 0],
        np.hypot(centres[:, 1], centres[:, 2]),
        np.degrees(np.arctan2(centres[:, 2], centres[:, 1])),
    )
    return np.asarray((table * 255 + 0.5).astype(np.uint8)[nearest].reshape(rgb.shape), dtype=np.uint8)


def pixelated(
    canvas: FloatArray, rows: int, columns: int, *, colours: int = 20, outline: bool = True
) -> ByteArray:
    """Premultiplied canvas to rows×columns RGBA with hard alpha, few colours and a dark one-pixel line."""
    small = cv2.resize(canvas, (columns, rows), interpolation=cv2.INTER_AREA)
    solid = small[..., 3] > 0.5
    rgb = np.clip(small[..., :3] / np.maximum(small[..., 3:], 1e-3) * 255 + 0.5, 0, 255).astype(np.uint8)
    rgb = quantised(rgb, solid.astype(np.float32), colours)
    out: ByteArray = np.zeros((rows, columns, 4), np.uint8)
    if outline:
        cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
        ring = cv2.dilate(solid.astype(np.uint8), cross) > 0
        nearby = cv2.blur(np.where(solid[..., None], rgb, 0).astype(np.float32), (3, 3))
        count = cv2.blur(solid.astype(np.float32), (3, 3))[..., None]
        out[ring, :3] = (nearby / np.maximum(count, 1e-3) * 0.3).astype(np.uint8)[ring]
        out[ring, 3] = 255
    out[solid, :3] = rgb[solid]
    out[solid, 3] = 255
    return out


def enlarged(pixels: ByteArray, cell: int, height: int, width: int) -> ByteArray:
    """Every pixel as a cell×cell block, cut to the wanted size."""
    big = np.repeat(np.repeat(pixels, cell, axis=0), cell, axis=1)
    return np.ascontiguousarray(big[:height, :width])
