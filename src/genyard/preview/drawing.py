"""From a prompt to a finished picture: reads it, picks the right drawer, applies the style, sets the mark."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np

from genyard.errors import Code, GenyardError
from genyard.preview import controls, lettering, scenery, styles
from genyard.preview import mark as marks
from genyard.preview.figures import DRAWN_SIDE, dice, figures
from genyard.preview.look import Look
from genyard.preview.paint import opaque_pixels, pixels_of
from genyard.preview.palette import ByteArray, FloatArray, rgb_of
from genyard.preview.understanding import Wish, read

#: Rises whenever the same words may give other pixels.
RENDERER_VERSION: Final = "1"
MIN_SIDE: Final = 64
MAX_SIDE: Final = 4096


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """A picture and what is true of it.

    pixels      uint8 RGBA (H, W, 4), straight alpha
    subject     what was drawn, e.g. "dragon"; "emblem" where no word was known
    understood  words and phrases of the prompt that were taken up, in order
    ignored     words that were not; stop words count as neither
    layers      backgrounds only: RGBA arrays of the picture's size, back to front, each tileable sideways
    """

    pixels: ByteArray
    subject: str
    understood: tuple[str, ...]
    ignored: tuple[str, ...]
    layers: tuple[ByteArray, ...] = ()


def draw(
    prompt: str,
    *,
    width: int,
    height: int,
    seed: int,
    index: int = 0,
    negative_prompt: str = "",
    mark: bool = True,
) -> Drawing:
    """A picture of width×height pixels (64..4096 each) from words.

    Sprites stand on a plain pale backdrop, or on nothing when the prompt says "transparent background".
    Raises `request.invalid` for other sizes.
    """
    for name, side in (("width", width), ("height", height)):
        if not MIN_SIDE <= side <= MAX_SIDE:
            message = f"{name} is {side}; the preview draws {MIN_SIDE} to {MAX_SIDE} pixels a side"
            raise GenyardError(Code.request_invalid, message, field=name)
    wish = read(prompt, negative_prompt)
    key = (prompt, seed, index)
    pixels, layers = _picture(wish, key, height, width)
    if mark:
        marks.stamp(pixels)
    return Drawing(
        pixels=pixels, subject=wish.subject, understood=wish.understood, ignored=wish.ignored, layers=layers
    )


def _picture(
    wish: Wish, key: tuple[object, ...], height: int, width: int
) -> tuple[ByteArray, tuple[ByteArray, ...]]:
    """(pixels, layers) at full size; drawn smaller and enlarged where the picture is very large."""
    shrink = min(1.0, DRAWN_SIDE / min(height, width), 1.6 * DRAWN_SIDE / max(height, width))
    rows, columns = max(32, round(height * shrink)), max(32, round(width * shrink))
    if "pixel" in wish.styles:
        return _pixel_art(wish, key, height, width)
    if wish.kind == "scene":
        return _scene(wish, key, (rows, columns), (height, width))
    canvas = _canvas(wish, key, rows, columns)
    pixels = pixels_of(canvas) if wish.transparent else opaque_pixels(canvas, _ground(wish, canvas))
    return _resized(pixels, height, width), ()


def _ground(wish: Wish, canvas: FloatArray) -> FloatArray:
    return rgb_of(styles.backdrop(wish, styles.mean_hue(canvas)))


def _scene(
    wish: Wish, key: tuple[object, ...], drawn: tuple[int, int], wanted: tuple[int, int]
) -> tuple[ByteArray, tuple[ByteArray, ...]]:
    layers = scenery.layers(wish, key, *drawn)
    pixels = scenery.flattened(layers)
    if drawn != wanted:
        layers = tuple(_resized(layer, *wanted) for layer in layers)
        pixels = _resized(pixels, *wanted)
    return pixels, layers


def _canvas(wish: Wish, key: tuple[object, ...], rows: int, columns: int) -> FloatArray:
    """Premultiplied; transparent around the figure unless a scene stands behind it."""
    style = styles.style_of(wish)
    if wish.kind == "ui":
        drawn = controls.control(Look(wish=wish, rng=dice(*key)), height=rows, width=columns, style=style)
    elif wish.kind == "title":
        drawn = lettering.title(Look(wish=wish, rng=dice(*key)), height=rows, width=columns, style=style)
        if wish.scene is None and not wish.transparent and wish.backdrop is None:
            ground = lettering.burst(Look(wish=wish, rng=dice(*key)), height=rows, width=columns)
            return np.asarray(drawn + ground * (1 - drawn[..., 3:]), dtype=np.float32)
    else:
        drawn = figures(wish, key, height=rows, width=columns, style=style)
    canvas = drawn if wish.kind == "title" else styles.tinted(drawn, wish.styles)
    if wish.scene is None or wish.transparent:
        return canvas
    return scenery.behind(wish, key, canvas)


def _pixel_art(
    wish: Wish, key: tuple[object, ...], height: int, width: int
) -> tuple[ByteArray, tuple[ByteArray, ...]]:
    rows, columns, cell = styles.grid_of(height, width)
    if wish.kind == "scene":
        fine = scenery.layers(wish, key, rows * 2, columns * 2)
        small = tuple(
            styles.pixelated(_premultiplied(layer), rows, columns, colours=14, outline=False)
            for layer in fine
        )
        layers = tuple(styles.enlarged(layer, cell, height, width) for layer in small)
        return styles.enlarged(scenery.flattened(small), cell, height, width), layers
    canvas = _canvas(wish, key, rows * 4, columns * 4)
    scenic = wish.scene is not None and not wish.transparent
    pixels = styles.pixelated(canvas, rows, columns, colours=40 if scenic else 22, outline=not scenic)
    if not wish.transparent and not scenic:
        pixels = opaque_pixels(_premultiplied(pixels), _ground(wish, canvas))
    return styles.enlarged(pixels, cell, height, width), ()


def _premultiplied(pixels: ByteArray) -> FloatArray:
    canvas = pixels.astype(np.float32) / 255
    canvas[..., :3] *= canvas[..., 3:]
    return np.asarray(canvas, dtype=np.float32)


def _resized(pixels: ByteArray, height: int, width: int) -> ByteArray:
    """Enlarged with premultiplied alpha, so that no hidden colour bleeds in."""
    if pixels.shape[:2] == (height, width):
        return pixels
    if bool((pixels[..., 3] == 255).all()):
        return np.asarray(cv2.resize(pixels, (width, height), interpolation=cv2.INTER_CUBIC), dtype=np.uint8)
    small = cv2.convertScaleAbs(_premultiplied(pixels), alpha=255)
    big = np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR), dtype=np.uint8)
    alpha = big[..., 3]
    edges = cv2.inRange(alpha, np.array([1]), np.array([254])) > 0
    soft = big[edges].astype(np.float32)
    big[edges, :3] = np.clip(soft[:, :3] * 255 / soft[:, 3:] + 0.5, 0, 255).astype(np.uint8)
    return big
