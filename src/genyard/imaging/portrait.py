"""A drawn person: something to show and test photo animation on without anybody's photo.

It is painted from soft ellipses and curves, looks at the camera, and is found by the face detector. It is
no renderer (see `genyard.preview`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from genyard.imaging.arrays import RGBA, Floats, as_uint8, opaque

Colour = tuple[float, float, float]  # sRGB 0..255

#: Skin and hair that go together, and set brows and eyes off well enough to be found.
_PEOPLE: Final[tuple[tuple[Colour, Colour], ...]] = (
    ((238, 198, 172), (150, 96, 48)),
    ((236, 194, 166), (120, 48, 30)),
    ((230, 184, 152), (64, 42, 32)),
    ((214, 164, 126), (44, 32, 28)),
    ((198, 144, 106), (34, 26, 26)),
    ((168, 114, 80), (26, 22, 24)),
)
_SHIRTS: Final[tuple[Colour, ...]] = (
    (58, 92, 132),
    (128, 58, 66),
    (66, 104, 84),
    (92, 78, 126),
    (70, 74, 84),
)
_WALLS: Final[tuple[Colour, ...]] = ((150, 172, 182), (178, 164, 146), (150, 160, 140), (164, 154, 174))
#: Outlines in units of the picture's side.
_LONG_HAIR: Final = (
    "0.500 0.115, 0.655 0.160, 0.735 0.320, 0.735 0.500, 0.755 0.800, 0.620 0.820, 0.500 0.740, 0.380 0.820,"
    "0.245 0.800, 0.265 0.500, 0.265 0.320, 0.345 0.160"
)
_SHORT_HAIR: Final = (
    "0.500 0.115, 0.655 0.160, 0.728 0.300, 0.728 0.440, 0.700 0.545, 0.640 0.570, 0.500 0.540, 0.360 0.570,"
    "0.300 0.545, 0.272 0.440, 0.272 0.300, 0.345 0.160"
)
_SHOULDERS: Final = (
    "0.500 0.765, 0.620 0.775, 0.800 0.835, 0.900 0.930, 0.940 1.080, 0.500 1.120, 0.060 1.080, 0.100 0.930,"
    "0.200 0.835, 0.380 0.775"
)
_NECK: Final = "0.415 0.600, 0.585 0.600, 0.592 0.740, 0.655 0.795, 0.500 0.925, 0.345 0.795, 0.408 0.740"
_FACE: Final = (
    "0.500 0.185, 0.590 0.205, 0.650 0.275, 0.668 0.380, 0.660 0.480, 0.632 0.575, 0.580 0.650, 0.500 0.690,"
    "0.420 0.650, 0.368 0.575, 0.340 0.480, 0.332 0.380, 0.350 0.275, 0.410 0.205"
)
_FRINGE: Final = (
    "0.500 0.105, 0.610 0.125, 0.695 0.215, 0.712 0.345, 0.690 0.455, 0.664 0.385, 0.630 0.290, 0.560 0.235,"
    "0.470 0.262, 0.395 0.275, 0.352 0.345, 0.330 0.455, 0.290 0.345, 0.306 0.215, 0.390 0.125"
)
_NOSE_SIDE: Final = "0.522 0.420, 0.530 0.470, 0.541 0.515, 0.534 0.533, 0.516 0.524, 0.514 0.470"
_UPPER_LIP: Final = (
    "0.432 0.589, 0.466 0.586, 0.488 0.582, 0.500 0.585, 0.512 0.582, 0.534 0.586, 0.568 0.589, 0.532 0.602,"
    "0.500 0.606, 0.468 0.602"
)
_LOWER_LIP: Final = (
    "0.434 0.590, 0.468 0.602, 0.500 0.606, 0.532 0.602, 0.566 0.590, 0.540 0.617, 0.500 0.627, 0.460 0.617"
)
_MOUTH_LINE: Final = (
    "0.426 0.586, 0.466 0.5995, 0.500 0.6045, 0.534 0.5995, 0.574 0.586, 0.534 0.6035, 0.500 0.6085,"
    "0.466 0.6035"
)
#: Thousandths around the middle of an eye.
_LENS: Final = "-40 4, -20 -14, 4 -19, 26 -12, 40 4, 20 15, -4 17, -24 13"
_LID: Final = "-44 6, -22 -17, 4 -23, 28 -16, 44 2, 27 -11, 4 -17, -20 -12"
_CREASE: Final = "-38 -20, 0 -37, 38 -20, 0 -33"
_BROW: Final = "-44 -52, 12 -67, 54 -48, 14 -54, -44 -38"
_IRISES: Final[tuple[Colour, ...]] = ((86, 120, 150), (92, 116, 70), (98, 66, 38), (66, 46, 34))


@dataclass(frozen=True, kw_only=True)
class _Look:
    skin: Colour
    hair: Colour
    shirt: Colour
    wall: Colour
    iris: Colour
    long_hair: bool


def sample_portrait(size: int = 640, seed: int = 1) -> RGBA:
    """A portrait, size × size × 4, opaque. The same size and seed give the same pixels."""
    rng = np.random.default_rng(seed)

    def pick(choices: Sequence[Colour]) -> Colour:
        return choices[int(rng.integers(len(choices)))]

    skin, hair = _PEOPLE[int(rng.integers(len(_PEOPLE)))]
    look = _Look(
        skin=skin,
        hair=hair,
        shirt=pick(_SHIRTS),
        wall=pick(_WALLS),
        iris=pick(_IRISES),
        long_hair=bool(rng.integers(2)),
    )
    easel = _Easel(size)
    _paint_wall(easel, look, rng)
    _paint_hair_behind(easel, look, rng)
    _paint_body(easel, look)
    _paint_head(easel, look)
    for side in (-1, 1):
        _paint_eye(easel, look, side)
    _paint_nose(easel, look)
    _paint_mouth(easel, look)
    _paint_fringe(easel, look, rng)
    return easel.finished(rng)


class _Easel:
    """A canvas in units of its own side: (0, 0) top left, (1, 1) bottom right."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.side = 2 * max(size, 8)  # painted at twice the size, then averaged
        axis = (np.arange(self.side, dtype=np.float32) + 0.5) / self.side
        self.x, self.y = np.meshgrid(axis, axis)
        self.canvas: Floats = np.zeros((self.side, self.side, 3), np.float32)

    def blend(self, colour: Colour | Floats, amount: Floats) -> None:
        """`colour` (one, or H×W×3) over the canvas where `amount` (H×W, 0..1) says so."""
        left, top, width, height = cv2.boundingRect((amount > 0).astype(np.uint8))
        box = slice(top, top + height), slice(left, left + width)
        painted = np.asarray(colour, np.float32)
        painted = painted[box] if painted.ndim == 3 else painted
        self.canvas[box] += (painted - self.canvas[box]) * amount[box][..., None]

    def blob(self, x: float, y: float, rx: float, ry: float, softness: float = 0.02) -> Floats:
        """An ellipse with a soft rim -> H×W, 0..1."""
        amount = np.zeros((self.side, self.side), np.float32)
        reach = 1 + softness / 2
        box = self._span(y, ry * reach), self._span(x, rx * reach)
        distance = np.sqrt(((self.x[box] - x) / rx) ** 2 + ((self.y[box] - y) / ry) ** 2)
        amount[box] = np.clip((1 - distance) / max(softness, 1e-3) + 0.5, 0, 1)
        return amount

    def _span(self, centre: float, reach: float) -> slice:
        first, last = (centre - reach) * self.side, (centre + reach) * self.side
        return slice(max(0, int(first)), max(1, min(self.side, int(last) + 2)))

    def shape(self, points: str, softness: float = 0.002) -> Floats:
        """A closed smooth curve through points ("x y, x y, …"), filled -> H×W, 0..1."""
        mask = np.zeros((self.side, self.side), np.float32)
        corners = np.array([point.split() for point in points.split(",")], np.float64)
        outline = np.rint(_smooth(corners) * self.side * 16).astype(np.int32)
        cv2.fillPoly(mask, [outline], 1.0, cv2.LINE_8, 4)
        spread = max(0.6, softness * self.side)
        left, top = np.maximum(outline.min(axis=0) // 16 - int(4 * spread) - 2, 0)
        right, bottom = outline.max(axis=0) // 16 + int(4 * spread) + 2
        box = slice(int(top), int(bottom)), slice(int(left), int(right))
        mask[box] = cv2.GaussianBlur(mask[box], (0, 0), spread)
        return mask

    def strands(self, rng: np.random.Generator, stretch: float = 40) -> Floats:
        """Streaks that run downwards, about -1..1 -> H×W."""
        noise = rng.standard_normal((96, 384)).astype(np.float32)
        blurred = cv2.GaussianBlur(noise, (0, 0), sigmaX=0.8, sigmaY=stretch / 4)
        streaks = blurred / np.maximum(blurred.std(), 1e-6)
        wide = cv2.resize(streaks, (self.side, self.side), interpolation=cv2.INTER_CUBIC)
        return np.asarray(np.tanh(wide * 0.7), np.float32)

    def finished(self, rng: np.random.Generator) -> RGBA:
        small = cv2.resize(self.canvas, (self.size, self.size), interpolation=cv2.INTER_AREA)
        noise = np.asarray(rng.normal(0, 3.0, (self.size, self.size, 3)), np.float32)
        return opaque(as_uint8(small + cv2.GaussianBlur(noise, (0, 0), 0.7)))


def _smooth(points: NDArray[np.float64], steps: int = 16) -> NDArray[np.float64]:
    """A closed Catmull-Rom curve: N points -> N·steps points."""
    before, after, later = (np.roll(points, shift, axis=0) for shift in (1, -1, -2))
    t = np.linspace(0, 1, steps, endpoint=False)[None, :, None]
    p0, p1, p2, p3 = (p[:, None, :] for p in (before, points, after, later))
    curve = 2 * p1 + (p2 - p0) * t + (2 * p0 - 5 * p1 + 4 * p2 - p3) * t**2
    curve = curve + (3 * p1 - p0 - 3 * p2 + p3) * t**3
    return np.asarray(curve.reshape(-1, 2) / 2, np.float64)


def _tone(colour: Colour, factor: float) -> Colour:
    return colour[0] * factor, colour[1] * factor, colour[2] * factor


def _warm(colour: Colour, red: float, rest: float) -> Colour:
    return colour[0] * red, colour[1] * rest, colour[2] * rest


def _lit(easel: _Easel, colour: Colour, x: float, y: float, rx: float, ry: float) -> Floats:
    """`colour` on an ellipsoid lit from the upper left, with warm shadows -> H×W×3."""
    nx, ny = (easel.x - x) / rx, (easel.y - y) / ry
    nz = np.sqrt(np.clip(1 - nx * nx - ny * ny, 0.02, 1))
    light = np.clip(-0.42 * nx - 0.45 * ny + 0.79 * nz, 0, 1)
    shade = (0.50 + 0.56 * light)[..., None] ** np.array([0.85, 1.0, 1.1], np.float32)
    return np.asarray(np.asarray(colour, np.float32) * shade, np.float32)


def _paint_wall(easel: _Easel, look: _Look, rng: np.random.Generator) -> None:
    glow = easel.blob(0.36, 0.30, 0.85, 0.85, softness=1.6)
    easel.blend(_tone(look.wall, 0.55), np.ones_like(easel.x))
    easel.blend(_tone(look.wall, 1.12), glow)
    for _ in range(7):
        x, y, r = rng.uniform(0, 1), rng.uniform(0.05, 0.8), rng.uniform(0.04, 0.11)
        easel.blend(_tone(look.wall, 1.3), 0.16 * easel.blob(x, y, r, r, softness=0.25))


def _paint_hair_behind(easel: _Easel, look: _Look, rng: np.random.Generator) -> None:
    colour = _lit(easel, _tone(look.hair, 0.85), 0.5, 0.42, 0.42, 0.62)
    mask = easel.shape(_LONG_HAIR if look.long_hair else _SHORT_HAIR, 0.004)
    easel.blend(colour * (1 + 0.22 * easel.strands(rng))[..., None], mask)


def _paint_body(easel: _Easel, look: _Look) -> None:
    easel.blend(_lit(easel, look.shirt, 0.5, 1.12, 0.55, 0.42), easel.shape(_SHOULDERS, 0.003))
    neck = easel.shape(_NECK, 0.003)
    easel.blend(_lit(easel, _tone(look.skin, 0.90), 0.48, 0.76, 0.17, 0.34), neck)
    easel.blend(
        _warm(look.skin, 0.56, 0.46), 0.62 * neck * easel.blob(0.505, 0.665, 0.115, 0.085, softness=0.7)
    )
    easel.blend(_tone(look.shirt, 1.22), easel.shape("0.400 0.765, 0.325 0.790, 0.470 0.965, 0.504 0.925"))
    easel.blend(_tone(look.shirt, 0.85), easel.shape("0.600 0.765, 0.675 0.790, 0.530 0.965, 0.496 0.925"))


def _paint_head(easel: _Easel, look: _Look) -> None:
    for side in (-1, 1):
        ear = _lit(easel, _warm(look.skin, 0.94, 0.84), 0.5 + side * 0.168, 0.455, 0.04, 0.08)
        easel.blend(ear, easel.blob(0.5 + side * 0.168, 0.455, 0.028, 0.058, softness=0.12))
    face = easel.shape(_FACE, 0.0025)
    easel.blend(_lit(easel, look.skin, 0.495, 0.43, 0.215, 0.315), face)
    easel.blend(_tone(look.skin, 1.12), 0.40 * face * easel.blob(0.47, 0.29, 0.11, 0.07, softness=1.2))
    for side in (-1, 1):
        cheek = easel.blob(0.5 + side * 0.098, 0.53, 0.058, 0.045, softness=1.1)
        easel.blend(_warm(look.skin, 1.04, 0.80), 0.36 * face * cheek)
        socket = easel.blob(0.5 + side * 0.073, 0.405, 0.062, 0.040, softness=0.9)
        easel.blend(_warm(look.skin, 0.62, 0.50), 0.55 * socket)
    easel.blend(_tone(look.skin, 1.14), 0.35 * easel.blob(0.498, 0.645, 0.035, 0.022, softness=1.0))


def _paint_eye(easel: _Easel, look: _Look, side: int) -> None:
    x, y = 0.5 + side * 0.073, 0.417
    lens = easel.shape(_at(x, y, _LENS), 0.0012)
    easel.blend((236, 232, 228), lens)
    easel.blend(_tone(look.iris, 0.55), lens * easel.blob(x, y - 0.001, 0.0195, 0.0195, softness=0.10))
    easel.blend(_tone(look.iris, 1.20), lens * easel.blob(x, y + 0.002, 0.0165, 0.0165, softness=0.5))
    easel.blend((14, 10, 10), lens * easel.blob(x, y - 0.001, 0.0085, 0.0085, softness=0.2))
    easel.blend(
        (90, 70, 64), 0.55 * lens * easel.blob(x, y - 0.022, 0.05, 0.014, softness=0.6)
    )  # lid's shadow
    easel.blend((255, 255, 255), easel.blob(x - 0.006, y - 0.008, 0.0040, 0.0040, softness=0.3))
    easel.blend((38, 24, 22), 0.9 * easel.shape(_at(x, y, _LID), 0.0013))
    easel.blend(_warm(look.skin, 0.55, 0.42), 0.5 * easel.shape(_at(x, y, _CREASE), 0.0016))
    easel.blend(_tone(look.hair, 0.50), 0.90 * easel.shape(_at(x, y, _BROW, side), 0.0026))


def _at(x: float, y: float, points: str, side: int = 1) -> str:
    """Points in thousandths around (x, y); mirrored for side -1."""
    pairs = (point.split() for point in points.split(","))
    return ",".join(f"{x + side * int(dx) / 1000} {y + int(dy) / 1000}" for dx, dy in pairs)


def _paint_nose(easel: _Easel, look: _Look) -> None:
    easel.blend(_warm(look.skin, 0.74, 0.64), 0.55 * easel.shape(_NOSE_SIDE, 0.007))
    easel.blend(_tone(look.skin, 1.18), 0.55 * easel.blob(0.496, 0.455, 0.011, 0.065, softness=1.0))
    easel.blend(_warm(look.skin, 0.62, 0.50), 0.55 * easel.blob(0.502, 0.541, 0.040, 0.012, softness=0.9))
    easel.blend(_tone(look.skin, 1.20), 0.65 * easel.blob(0.494, 0.513, 0.014, 0.013, softness=0.9))
    for flank in (-1, 1):
        nostril = easel.blob(0.5 + flank * 0.0165, 0.5345, 0.0085, 0.0045, softness=0.5)
        easel.blend(_warm(look.skin, 0.34, 0.24), 0.8 * nostril)


def _paint_mouth(easel: _Easel, look: _Look) -> None:
    red = (look.skin[0] * 0.80, look.skin[1] * 0.50, look.skin[2] * 0.50)
    easel.blend(_warm(look.skin, 0.70, 0.60), 0.4 * easel.blob(0.5, 0.638, 0.048, 0.010, softness=0.9))
    easel.blend(_tone(red, 0.86), 0.9 * easel.shape(_UPPER_LIP, 0.0016))
    easel.blend(_tone(red, 1.10), 0.9 * easel.shape(_LOWER_LIP, 0.0018))
    easel.blend(_tone(look.skin, 1.22), 0.40 * easel.blob(0.492, 0.615, 0.022, 0.005, softness=1.0))
    easel.blend(_tone(red, 0.36), 0.85 * easel.shape(_MOUTH_LINE, 0.0014))


def _paint_fringe(easel: _Easel, look: _Look, rng: np.random.Generator) -> None:
    mask = easel.shape(_FRINGE, 0.0022)
    below = np.roll(mask, round(0.016 * easel.side), axis=0)
    shadow = np.asarray(cv2.GaussianBlur(below, (0, 0), 0.010 * easel.side), np.float32)
    easel.blend(_warm(look.skin, 0.50, 0.40), 0.45 * shadow * easel.shape(_FACE))
    colour = _lit(easel, look.hair, 0.46, 0.33, 0.27, 0.30) * 1.12
    sheen = easel.blob(0.45, 0.185, 0.16, 0.030, softness=1.0)[..., None]
    easel.blend((colour + 46 * sheen) * (1 + 0.26 * easel.strands(rng, 26))[..., None], mask)
