"""Colour: OKLCH inks, materials as data, and the 256-step ramps that light is looked up in.

Angles are OKLCH hues in degrees (red 27, orange 58, yellow 100, green 142, teal 190, blue 262, purple 305).
No picture is drawn here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
ByteArray = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Ink:
    """A colour with the material it is made of: lightness 0..1, chroma 0..0.33, hue in degrees."""

    lightness: float
    chroma: float
    hue: float
    material: str = "plain"

    def made_of(self, material: str) -> Ink:
        return replace(self, material=material)

    def lighter(self, by: float) -> Ink:
        return replace(self, lightness=float(np.clip(self.lightness + by, 0.06, 0.985)))

    def darker(self, by: float) -> Ink:
        return self.lighter(-by)

    def turned(self, degrees: float, *, chroma: float = 1.0) -> Ink:
        return replace(self, hue=(self.hue + degrees) % 360, chroma=self.chroma * chroma)


def ink(lightness: float, chroma: float, hue: float, material: str = "plain") -> Ink:
    return Ink(lightness=lightness, chroma=chroma, hue=hue, material=material)


@dataclass(frozen=True, kw_only=True)
class Material:
    """How light meets a surface.

    stops  (light 0..1, shift): shift < 0 darkens towards black, > 0 lightens towards white
    gloss  strength of the highlight, sharp its exponent; rim the light along the far edge
    bands  0 smooth … 1 hard cel steps; texture and grain: which pattern and how strong
    glow   light of its own, added everywhere
    """

    stops: tuple[tuple[float, float], ...]
    gloss: float = 0.12
    sharp: float = 18.0
    rim: float = 0.22
    bands: float = 0.55
    texture: str = "grain"
    grain: float = 0.02
    glow: float = 0.0


_SOFT: Final = ((0.0, -0.56), (0.25, -0.36), (0.48, -0.1), (0.6, 0.0), (0.8, 0.16), (1.0, 0.42))
_MATT: Final = ((0.0, -0.5), (0.3, -0.3), (0.5, -0.08), (0.6, 0.0), (0.85, 0.12), (1.0, 0.24))
_METAL: Final = (
    (0.0, -0.7),
    (0.2, -0.44),
    (0.34, -0.12),
    (0.44, -0.3),
    (0.56, 0.0),
    (0.72, 0.42),
    (0.83, 0.2),
    (1.0, 0.9),
)
_GLASS: Final = ((0.0, -0.6), (0.25, -0.2), (0.45, -0.3), (0.62, 0.05), (0.78, 0.3), (1.0, 0.85))
_GLOW: Final = ((0.0, -0.3), (0.35, -0.05), (0.6, 0.1), (0.8, 0.35), (1.0, 0.75))

MATERIALS: Final[dict[str, Material]] = {
    "plain": Material(stops=_SOFT),
    "skin": Material(stops=_MATT, gloss=0.1, sharp=10, grain=0.0, bands=0.4),
    "cloth": Material(stops=_MATT, gloss=0.0, texture="cloth", grain=0.03, bands=0.6),
    "leather": Material(stops=_SOFT, gloss=0.14, sharp=9, grain=0.06),
    "metal": Material(stops=_METAL, gloss=0.5, sharp=26, rim=0.4, bands=0.5, texture="brushed", grain=0.025),
    "gold": Material(stops=_METAL, gloss=0.6, sharp=22, rim=0.4, bands=0.5, texture="brushed", grain=0.02),
    "wood": Material(stops=_MATT, gloss=0.04, sharp=8, texture="wood", grain=0.16, bands=0.4),
    "stone": Material(stops=_MATT, gloss=0.03, sharp=6, texture="stone", grain=0.2, bands=0.35),
    "bone": Material(stops=_MATT, gloss=0.12, sharp=10, grain=0.05, bands=0.45),
    "fur": Material(stops=_SOFT, gloss=0.0, texture="fur", grain=0.1, bands=0.4),
    "feather": Material(stops=_SOFT, gloss=0.05, texture="fur", grain=0.06, bands=0.5),
    "scales": Material(stops=_SOFT, gloss=0.2, sharp=14, texture="scales", grain=0.11, bands=0.4),
    "slime": Material(stops=_GLASS, gloss=0.85, sharp=34, rim=0.5, grain=0.0, bands=0.35),
    "glass": Material(stops=_GLASS, gloss=0.9, sharp=40, rim=0.6, grain=0.0, bands=0.3),
    "crystal": Material(stops=_GLASS, gloss=0.8, sharp=30, rim=0.5, grain=0.02, bands=0.5),
    "ice": Material(stops=_GLASS, gloss=0.8, sharp=24, rim=0.6, texture="stone", grain=0.09, bands=0.4),
    "fire": Material(stops=_GLOW, gloss=0.0, rim=0.0, grain=0.05, bands=0.7, glow=0.35),
    "glow": Material(stops=_GLOW, gloss=0.2, rim=0.2, grain=0.0, bands=0.3, glow=0.45),
    "leaf": Material(stops=_SOFT, gloss=0.05, texture="leaf", grain=0.14, bands=0.6),
    "snow": Material(stops=((0.0, -0.24), (0.4, -0.1), (0.6, 0.0), (1.0, 0.3)), gloss=0.1, grain=0.03),
    "earth": Material(stops=_MATT, gloss=0.0, texture="stone", grain=0.13, bands=0.5),
    "shell": Material(stops=_SOFT, gloss=0.45, sharp=20, rim=0.3, grain=0.02),
    "eye": Material(stops=_MATT, gloss=0.0, rim=0.0, grain=0.0, bands=0.0),
}

_OKLAB_TO_LMS: Final = np.array(
    [[1, 0.3963377774, 0.2158037573], [1, -0.1055613458, -0.0638541728], [1, -0.0894841775, -1.2914855480]],
    dtype=np.float64,
)
_LMS_TO_RGB: Final = np.array(
    [
        [4.0767416621, -3.3077115913, 0.2309699292],
        [-1.2684380046, 2.6097574011, -0.3413193965],
        [-0.0041960863, -0.7034186147, 1.7076147010],
    ],
    dtype=np.float64,
)


def _linear_rgb(
    lightness: NDArray[np.float64], chroma: NDArray[np.float64], hue: NDArray[np.float64]
) -> NDArray[np.float64]:
    angle = np.deg2rad(hue)
    lab = np.stack([lightness, chroma * np.cos(angle), chroma * np.sin(angle)], axis=-1)
    return np.asarray(((lab @ _OKLAB_TO_LMS.T) ** 3) @ _LMS_TO_RGB.T)


def oklch_to_srgb(lightness: object, chroma: object, hue: object) -> FloatArray:
    """OKLCH (broadcast together) to sRGB 0..1, float32 (..., 3); chroma is lowered until the colour exists."""
    light, want, angle = np.broadcast_arrays(
        *(np.asarray(v, dtype=np.float64) for v in (lightness, chroma, hue))
    )
    low, high = np.zeros_like(want), want.copy()
    rgb = _linear_rgb(light, want, angle)
    outside = np.any((rgb < -1e-4) | (rgb > 1.0001), axis=-1)
    if outside.any():
        for _ in range(9):
            middle = (low + high) / 2
            rgb = _linear_rgb(light, middle, angle)
            bad = np.any((rgb < -1e-4) | (rgb > 1.0001), axis=-1)
            low, high = np.where(bad, low, middle), np.where(bad, middle, high)
        rgb = _linear_rgb(light, np.where(outside, low, want), angle)
    linear = np.clip(rgb, 0, 1)
    coded = np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
    return coded.astype(np.float32)


def srgb_to_oklab(pixels: ByteArray) -> FloatArray:
    """uint8 sRGB (..., 3) to Oklab float32 (..., 3)."""
    coded = np.linspace(0, 1, 256)
    table = np.where(coded <= 0.04045, coded / 12.92, ((coded + 0.055) / 1.055) ** 2.4)
    linear = table.astype(np.float32)[pixels]
    lms = np.cbrt(np.maximum(linear @ np.linalg.inv(_LMS_TO_RGB).T.astype(np.float32), 0))
    return np.asarray(lms @ np.linalg.inv(_OKLAB_TO_LMS).T.astype(np.float32), dtype=np.float32)


def ink_of(rgb: ByteArray, material: str = "plain") -> Ink:
    """The ink of one uint8 sRGB colour of shape (3,)."""
    light, a, b = (float(v) for v in srgb_to_oklab(np.asarray(rgb, dtype=np.uint8)))
    return ink(light, float(np.hypot(a, b)), float(np.degrees(np.arctan2(b, a)) % 360), material)


@lru_cache(maxsize=1024)
def rgb_of(colour: Ink) -> FloatArray:
    """sRGB 0..1 of shape (3,)."""
    return oklch_to_srgb(colour.lightness, colour.chroma, colour.hue)


def outline_of(colour: Ink) -> Ink:
    """The colour of the line around something: dark, of the same family, leaning to violet."""
    return Ink(
        lightness=0.17 + 0.1 * colour.lightness,
        chroma=min(0.075, colour.chroma * 0.55),
        hue=_towards(colour.hue, 290, 18),
    )


def _towards(hue: float, target: float, at_most: float) -> float:
    gap = (target - hue + 180) % 360 - 180
    return float((hue + np.clip(gap, -at_most, at_most)) % 360)


def _banded(light: NDArray[np.float64], amount: float) -> NDArray[np.float64]:
    steps = 4
    scaled = light * steps
    whole = np.floor(scaled)
    part = np.clip((scaled - whole - 0.38) / 0.24, 0, 1)
    hard = (whole + part * part * (3 - 2 * part)) / steps
    return np.asarray(light * (1 - amount) + hard * amount)


@lru_cache(maxsize=512)
def ramp(colour: Ink, flat: bool = False) -> FloatArray:
    """(256, 4) float32 sRGB 0..1 and alpha 1: the colour under light 0 … 255.

    Shadows turn towards violet, lights towards yellow, as painters do; `flat` keeps only two tones.
    """
    material = MATERIALS[colour.material]
    light = np.linspace(0, 1, 256)
    if flat:
        edge = np.clip((light - 0.4) / 0.03, 0, 1)
        light = 0.3 + edge * 0.33
        shift = np.interp(light, [0.3, 0.63], [-0.22, 0.03])
    else:
        light = _banded(light, material.bands)
        at, by = zip(*material.stops, strict=True)
        shift = np.interp(light, at, by)
    lightness = np.where(
        shift < 0, colour.lightness * (1 + shift), colour.lightness + (0.99 - colour.lightness) * shift
    )
    warm, cool = _towards(colour.hue, 95, 26), _towards(colour.hue, 285, 34)
    to_warm = (warm - colour.hue + 180) % 360 - 180
    to_cool = (cool - colour.hue + 180) % 360 - 180
    hue = colour.hue + np.where(
        shift > 0, np.minimum(shift * 1.5, 1) * to_warm, np.minimum(-shift * 1.4, 1) * to_cool
    )
    chroma = colour.chroma * (1 - 0.25 * np.abs(shift)) + np.where(shift < 0, -shift * 0.022, 0)
    rgb = oklch_to_srgb(np.clip(lightness + material.glow * 0.1, 0.03, 0.995), chroma, hue)
    return np.asarray(np.concatenate([rgb, np.ones((256, 1), np.float32)], axis=1), dtype=np.float32)
