"""The pen: lays lit, textured, outlined shapes over one another, back to front.

Figures are drawn in figure units (see `shapes`) through the pen's transform; what is drawn where is the
business of the figure modules, colours come as inks.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from genyard.preview.lighting import Light, bevel, inflate, light
from genyard.preview.palette import MATERIALS, ByteArray, FloatArray, Ink, outline_of, ramp, rgb_of
from genyard.preview.shapes import Outlines, mirrored
from genyard.preview.textures import window

#: Fractional bits of cv2 coordinates.
_SHIFT: Final = 4
#: Longest side at which a shape is lit.
_LIT_SIDE: Final = 128
_WHITE: Final = np.ones(3, np.float32)
#: The cool light from behind that rims show.
_FAR: Final = rgb_of(Ink(lightness=0.82, chroma=0.06, hue=235))


@dataclass(frozen=True, kw_only=True)
class Style:
    """How everything is drawn. Line and shade are factors; `flat` means two tones without texture."""

    line: float = 1.0
    flat: bool = False
    grain: float = 1.0
    shade: float = 1.0
    occlusion: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Patch:
    """Where a shape landed: its top-left corner on the canvas, coverage 0..1 and light 0..1, both (h, w)."""

    top: int
    left: int
    mask: FloatArray
    tone: FloatArray


@dataclass(kw_only=True)
class Pen:
    """Draws on `canvas`: float32 (height, width, 4), premultiplied sRGB 0..1."""

    canvas: FloatArray
    matrix: NDArray[np.float64]
    style: Style = field(default_factory=Style)
    texture_seed: int = 0
    last: Patch | None = None
    #: when set, nothing is drawn and the extremes of every shape are collected here
    bounds: list[NDArray[np.float64]] | None = None

    @property
    def unit(self) -> float:
        """Pixels per figure unit."""
        (a, b), (c, d) = self.matrix[0, :2].tolist(), self.matrix[1, :2].tolist()
        return float(abs(a * d - b * c) ** 0.5)

    @contextmanager
    def placed(
        self, x: float, y: float, *, turn: float = 0.0, size: float = 1.0, flip: bool = False
    ) -> Iterator[None]:
        """Draws what follows at (x, y), turned clockwise by degrees, scaled, perhaps mirrored."""
        before = self.matrix
        cos, sin = np.cos(np.deg2rad(turn)) * size, np.sin(np.deg2rad(turn)) * size
        inner = np.array([[cos, -sin, x], [sin, cos, y], [0, 0, 1]])
        if flip:
            inner = inner @ np.diag([-1.0, 1.0, 1.0])
        self.matrix = before @ inner
        try:
            yield
        finally:
            self.matrix = before

    def fill(
        self,
        outlines: Outlines,
        colour: Ink,
        *,
        puff: float = 1.0,
        edge: float | None = None,
        line: float = 1.0,
        tone: float = 0.0,
        shadow: float = 1.0,
        grain: float = 1.0,
        alpha: float = 1.0,
    ) -> Patch | None:
        """One shape. `puff` is its roundness (0 = flat), `edge` a bevel width in figure units instead,
        `line` the outline factor, `tone` moves the light, `shadow` what it casts on things below."""
        stroke = self._stroke(line)
        placed = self._mask(outlines, margin=int(stroke + 2 + 0.08 * self.unit * min(shadow, 1)))
        if placed is None:
            return None
        return self.lay(
            *placed,
            colour,
            puff=puff,
            edge=edge,
            line=line,
            tone=tone,
            shadow=shadow,
            grain=grain,
            alpha=alpha,
        )

    def lay(
        self,
        top: int,
        left: int,
        mask: ByteArray,
        colour: Ink,
        *,
        puff: float = 1.0,
        edge: float | None = None,
        line: float = 1.0,
        tone: float = 0.0,
        shadow: float = 1.0,
        grain: float = 1.0,
        alpha: float = 1.0,
    ) -> Patch:
        """Like `fill`, for a mask of coverage 0..255 whose corner lies at pixel (top, left) of the canvas."""
        stroke = self._stroke(line)
        roi = self.canvas[top : top + mask.shape[0], left : left + mask.shape[1]]
        around = grown(mask, stroke) if stroke else mask
        if shadow * self.style.occlusion > 0 and alpha == 1:
            self._cast(roi, around, 0.42 * shadow * self.style.occlusion)
        if stroke:
            over(roi, rgb_of(outline_of(colour)), around.astype(np.float32) * np.float32(alpha / 255))
        cover = mask.astype(np.float32) * np.float32(1 / 255)
        lit = self._lit(cover, colour, puff, edge)
        lit_tone = lit.tone + np.float32(tone)
        over(roi, self._coloured(lit_tone, lit, colour, top, left, grain), cover * np.float32(alpha))
        self.last = Patch(top=top, left=left, mask=cover, tone=lit_tone)
        return self.last

    def _stroke(self, line: float) -> float:
        """Outline width in pixels."""
        width = line * self.style.line
        return 0.0 if width <= 0 else max(1.0, 0.0125 * self._line_unit() * width)

    def both(self, outlines: Outlines, colour: Ink, **how: float) -> None:
        """The shape and its mirror image."""
        self.fill(outlines, colour, **how)
        self.fill(mirrored(outlines), colour, **how)

    def decal(
        self,
        outlines: Outlines,
        colour: Ink,
        *,
        on: Patch | None = None,
        alpha: float = 1.0,
        line: float = 0.0,
        tone: float = 0.0,
    ) -> None:
        """Recolours part of an earlier shape (the last one) and keeps its light: bellies, stripes, spots."""
        if self.bounds is None and (on or self.last) is not None:
            placed = self._mask(outlines, margin=2)
            if placed is not None:
                self.recolour(*placed, colour, on=on, alpha=alpha, line=line, tone=tone)

    def recolour(
        self,
        top: int,
        left: int,
        mask: ByteArray,
        colour: Ink,
        *,
        on: Patch | None = None,
        alpha: float = 1.0,
        line: float = 0.0,
        tone: float = 0.0,
    ) -> None:
        """Like `decal`, for a mask of coverage 0..255 whose corner lies at pixel (top, left) of the canvas."""
        under = on or self.last
        assert under is not None
        y0, x0 = max(top, under.top), max(left, under.left)
        y1 = min(top + mask.shape[0], under.top + under.mask.shape[0])
        x1 = min(left + mask.shape[1], under.left + under.mask.shape[1])
        if y0 >= y1 or x0 >= x1:
            return
        inner = (slice(y0 - under.top, y1 - under.top), slice(x0 - under.left, x1 - under.left))
        own = np.ascontiguousarray(mask[y0 - top : y1 - top, x0 - left : x1 - left])
        roi, inside = self.canvas[y0:y1, x0:x1], under.mask[inner]
        if line > 0 and self.style.line > 0:
            ring = grown(own, self._stroke(line))
            over(roi, rgb_of(outline_of(colour)), ring.astype(np.float32) * np.float32(1 / 255) * inside)
        cover = own.astype(np.float32) * np.float32(alpha / 255) * inside
        lit = Light(tone=under.tone[inner], gloss=np.zeros_like(cover), rim=np.zeros_like(cover))
        over(roi, self._coloured(lit.tone + np.float32(tone), lit, colour, y0, x0, 1.0), cover)

    def stroke(
        self, points: Outlines, colour: Ink, width: float, *, closed: bool = False, alpha: float = 1.0
    ) -> None:
        """A plain line of `width` figure units."""
        if self.bounds is not None:
            return
        thick = max(1, round(width * self.unit))
        pixels = [self._pixels(p) for p in points]
        placed = self._window(np.concatenate(pixels), thick + 2)
        if placed is None:
            return
        top, left, height, wide = placed
        mask: ByteArray = np.zeros((height, wide), np.uint8)
        for path in pixels:
            whole = np.round((path - (left, top)) * (1 << _SHIFT)).astype(np.int32)
            cv2.polylines(mask, [whole], closed, (255,), thick, cv2.LINE_AA, _SHIFT)
        over(
            self.canvas[top : top + height, left : left + wide],
            rgb_of(colour),
            mask.astype(np.float32) * np.float32(alpha / 255),
        )

    def glow(self, x: float, y: float, radius: float, colour: Ink, *, strength: float = 0.6) -> None:
        """Light in the air: adds colour that fades out from (x, y)."""
        if self.bounds is not None:
            return
        centre = self._pixels(np.array([[x, y]]))[0]
        reach = radius * self.unit
        placed = self._window(np.array([centre - reach, centre + reach]), 1)
        if placed is None:
            return
        top, left, height, wide = placed
        rows = (np.arange(top, top + height, dtype=np.float32) - centre[1])[:, None] / reach
        columns = (np.arange(left, left + wide, dtype=np.float32) - centre[0])[None, :] / reach
        fade = np.clip(1 - np.sqrt(rows**2 + columns**2), 0, 1).astype(np.float32) ** 2 * np.float32(strength)
        over(self.canvas[top : top + height, left : left + wide], rgb_of(colour), fade)

    def _line_unit(self) -> float:
        return float(self.unit**0.6 * self._base_unit() ** 0.4)

    def _base_unit(self) -> float:
        return 0.4 * float(min(self.canvas.shape[:2]))

    def _pixels(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(points @ self.matrix[:2, :2].T + self.matrix[:2, 2])

    def _window(self, points: NDArray[np.float64], margin: int) -> tuple[int, int, int, int] | None:
        rows, columns = self.canvas.shape[:2]
        left, top = np.maximum(np.floor(points.min(axis=0)).astype(int) - margin, 0)
        right, bottom = np.minimum(np.ceil(points.max(axis=0)).astype(int) + margin + 1, (columns, rows))
        if right <= left or bottom <= top:
            return None
        return int(top), int(left), int(bottom - top), int(right - left)

    def _mask(self, outlines: Outlines, margin: int) -> tuple[int, int, ByteArray] | None:
        pixels = [self._pixels(points) for points in outlines]
        if self.bounds is not None:
            self.bounds.extend(pixels)
            return None
        placed = self._window(np.concatenate(pixels), margin)
        if placed is None:
            return None
        top, left, height, wide = placed
        mask: ByteArray = np.zeros((height, wide), np.uint8)
        for path in pixels:
            whole = np.round((path - (left, top)) * (1 << _SHIFT)).astype(np.int32)
            cv2.fillPoly(mask, [whole], (255,), cv2.LINE_AA, _SHIFT)
        return top, left, mask

    def _lit(self, cover: FloatArray, colour: Ink, puff: float, edge: float | None) -> Light:
        """Light at low resolution, enlarged to the shape's."""
        height, wide = cover.shape
        shrink = min(1.0, _LIT_SIDE / max(height, wide))
        if puff <= 0 and edge is None:
            flat = np.full(cover.shape, 0.57, np.float32)
            return Light(tone=flat, gloss=np.zeros_like(cover), rim=np.zeros_like(cover))
        size = (max(6, round(wide * shrink)), max(6, round(height * shrink)))
        small = np.asarray(cv2.resize(cover, size, interpolation=cv2.INTER_AREA), dtype=np.float32)
        height_field = inflate(small) if edge is None else bevel(small, max(1.2, edge * self.unit * shrink))
        lit = light(
            height_field, small, sharp=MATERIALS[colour.material].sharp, strength=puff * self.style.shade
        )
        fields = np.dstack([lit.tone, lit.gloss, lit.rim])
        stacked = np.asarray(
            cv2.resize(fields, (wide, height), interpolation=cv2.INTER_LINEAR), dtype=np.float32
        )
        return Light(tone=stacked[..., 0], gloss=stacked[..., 1], rim=stacked[..., 2])

    def _coloured(
        self, tone: FloatArray, lit: Light, colour: Ink, top: int, left: int, grain: float
    ) -> FloatArray:
        material = MATERIALS[colour.material]
        amount = material.grain * grain * self.style.grain
        if amount > 0 and not self.style.flat:
            side = max(64, int(self._base_unit() * 1.1) // 16 * 16)
            tone = tone + window(
                material.texture, side, top + self.texture_seed, left, *tone.shape
            ) * np.float32(amount)
        index = np.clip(tone * 255, 0, 255).astype(np.uint8)
        rgb = np.take(ramp(colour, self.style.flat), index, axis=0)
        if self.style.flat:
            return rgb
        if material.gloss > 0:
            _lighten(rgb, _WHITE, np.clip((lit.gloss - 0.35) * 2, 0, 1) * np.float32(material.gloss))
        if material.rim > 0:
            _lighten(rgb, _FAR, lit.rim * np.float32(material.rim))
        return rgb

    def _cast(self, roi: FloatArray, mask: ByteArray, strength: float) -> None:
        """Darkens what lies below, around the shape and to its lower right."""
        height, wide = mask.shape
        small = cv2.resize(mask, (max(2, wide // 4), max(2, height // 4)), interpolation=cv2.INTER_AREA)
        reach = max(0.8, self.unit * 0.035 / 4)
        soft = cv2.GaussianBlur(small, (0, 0), reach)
        offset = np.array([[1, 0, reach * 0.7], [0, 1, reach]], np.float32)
        soft = cv2.warpAffine(soft, offset, (small.shape[1], small.shape[0]))
        shade = cv2.resize(soft, (wide, height), interpolation=cv2.INTER_LINEAR).astype(np.float32)
        keep = 1 - shade * np.float32(strength / 255)
        cv2.multiply(
            roi, cv2.merge([keep, keep, keep * np.float32(0.75) + np.float32(0.25), np.ones_like(keep)]), roi
        )


def grown(mask: ByteArray, by: float) -> ByteArray:
    size = max(1, round(by))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * size + 1, 2 * size + 1))
    return np.asarray(cv2.dilate(mask, kernel), dtype=np.uint8)


def _lighten(rgb: FloatArray, colour: FloatArray, cover: FloatArray) -> None:
    """Like `over`, for light that falls on a small part only."""
    box = cv2.boundingRect((cover > 0.004).astype(np.uint8))
    if box[2] and box[3]:
        part = (slice(box[1], box[1] + box[3]), slice(box[0], box[0] + box[2]))
        over(rgb[part], colour, cover[part])


def over(roi: FloatArray, rgb: FloatArray, cover: FloatArray) -> None:
    """Premultiplied "over", in place; rgb is one colour (3,) or a picture (h, w, 4) whose alpha is 1."""
    picture = flat(rgb, *roi.shape[:2]) if rgb.ndim == 1 else rgb
    cv2.blendLinear(picture, roi, cover, 1 - cover, roi)


def flat(rgb: FloatArray, height: int, width: int) -> FloatArray:
    """An opaque picture of one colour. One 16-byte store per pixel: three times as fast as broadcasting."""
    pixel = np.array([*rgb, 1], np.float32)
    return np.full((height, width, 1), pixel.view(np.complex128)[0]).view(np.float32)


def thickened(mask: ByteArray, *, by: tuple[float, ...]) -> tuple[ByteArray, ...]:
    """A mask grown by each of several widths in pixels; for wide lines, where `grown` would be slow."""
    away = cv2.distanceTransform((mask < 128).astype(np.uint8), cv2.DIST_L2, 5)
    return tuple(
        np.asarray(cv2.convertScaleAbs(np.clip(width - away + 1, 0, 1), alpha=255), np.uint8) for width in by
    )


def fallen(mask: ByteArray, by: int) -> ByteArray:
    """A mask smeared `by` pixels downwards."""
    return np.asarray(cv2.dilate(mask, np.ones((by + 1, 1), np.uint8), anchor=(0, by)), dtype=np.uint8)


def new_pen(height: int, width: int, *, unit: float, x: float, y: float, style: Style, seed: int = 0) -> Pen:
    """A pen on an empty canvas whose figure origin lies at pixel (x, y), `unit` pixels per figure unit."""
    matrix = np.array([[unit, 0, x], [0, unit, y], [0, 0, 1]], dtype=np.float64)
    return Pen(
        canvas=np.zeros((height, width, 4), np.float32), matrix=matrix, style=style, texture_seed=seed % 512
    )


def pixels_of(canvas: FloatArray) -> ByteArray:
    """Premultiplied float canvas to straight RGBA uint8."""
    alpha = np.clip(canvas[..., 3], 0, 1)
    inverse = np.float32(1) / np.maximum(alpha, np.float32(1e-4))
    straight = cv2.multiply(canvas, cv2.merge([inverse, inverse, inverse, np.ones_like(inverse)]))
    return np.asarray(cv2.convertScaleAbs(straight, alpha=255), dtype=np.uint8)


def opaque_pixels(canvas: FloatArray, ground: FloatArray) -> ByteArray:
    """Premultiplied float canvas over one colour (3,), as opaque RGBA uint8."""
    clear = 1 - canvas[..., 3]
    below = cv2.merge([clear * np.float32(c) for c in (*ground, 1)])
    return np.asarray(cv2.convertScaleAbs(cv2.add(canvas, below), alpha=255), dtype=np.uint8)
