"""The table of landscapes: each a sky and bands of land, water or buildings, back to front."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from genyard.preview.palette import Ink, ink


@dataclass(frozen=True, kw_only=True)
class Band:
    """One layer of land. y: its mean top (share of the height), swing: how far that varies, shape: the kind of
    line, colour: near the top; deep: how much darker at the bottom; stamps: (subject, how many, size)."""

    y: float
    swing: float
    shape: str
    colour: Ink
    deep: float = 0.14
    stamps: tuple[tuple[str, int, float], ...] = ()
    far: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Theme:
    bands: tuple[Band, ...]
    sky: str | None = None
    horizon: float = 0.72
    clouds: int = 4
    lights: bool = True
    haze: float = 0.5


_PINE, _LEAF = ink(0.42, 0.09, 155), ink(0.55, 0.14, 138)


_SAND, _ROCK, _SNOW = ink(0.8, 0.1, 78), ink(0.55, 0.04, 260), ink(0.94, 0.02, 235)


THEMES: Final[dict[str, Theme]] = {
    "forest": Theme(bands=(
        Band(y=0.56, swing=0.07, shape="peaks", colour=ink(0.6, 0.06, 200), far=0.75),
        Band(y=0.64, swing=0.03, shape="hills", colour=_PINE, far=0.62, stamps=(("pine", 15, 0.2),)),
        Band(y=0.74, swing=0.03, shape="hills", colour=_PINE, far=0.34, stamps=(("pine", 8, 0.3), ("tree", 4,
            0.28))),
        Band(y=0.88, swing=0.025, shape="hills", colour=_LEAF, stamps=(("tree", 2, 0.56), ("pine", 1, 0.5),
            ("bush", 5, 0.13))))),
    "mountains": Theme(bands=(
        Band(y=0.4, swing=0.2, shape="peaks", colour=ink(0.66, 0.05, 255), far=0.6),
        Band(y=0.54, swing=0.2, shape="peaks", colour=ink(0.52, 0.06, 262), far=0.3),
        Band(y=0.74, swing=0.05, shape="hills", colour=ink(0.48, 0.1, 150), far=0.24, stamps=(("pine", 14,
            0.14),)),
        Band(y=0.88, swing=0.04, shape="hills", colour=_LEAF, stamps=(("pine", 5, 0.3), ("boulder", 3, 0.1),
            ("bush", 3, 0.1))))),
    "desert": Theme(clouds=2, bands=(
        Band(y=0.58, swing=0.1, shape="mesas", colour=ink(0.62, 0.12, 45), far=0.5),
        Band(y=0.68, swing=0.05, shape="dunes", colour=_SAND, far=0.25),
        Band(y=0.78, swing=0.05, shape="dunes", colour=_SAND.darker(0.03), stamps=(("cactus", 4, 0.15),
            ("boulder", 3, 0.08)), far=0.12),
        Band(y=0.9, swing=0.04, shape="dunes", colour=_SAND.darker(0.07), stamps=(("cactus", 2, 0.34),
            ("boulder", 3, 0.12))))),
    "snowfield": Theme(bands=(
        Band(y=0.46, swing=0.2, shape="peaks", colour=ink(0.72, 0.05, 250), far=0.4),
        Band(y=0.66, swing=0.04, shape="hills", colour=_SNOW.darker(0.06), far=0.35, stamps=(("pine", 12,
            0.18),)),
        Band(y=0.78, swing=0.04, shape="hills", colour=_SNOW.darker(0.02), far=0.15, stamps=(("pine", 7,
            0.3),)),
        Band(y=0.9, swing=0.03, shape="hills", colour=_SNOW, stamps=(("pine", 3, 0.46), ("boulder", 2, 0.1))))),
    "city": Theme(clouds=2, bands=(
        Band(y=0.42, swing=0.16, shape="city", colour=ink(0.5, 0.05, 265), far=0.55),
        Band(y=0.54, swing=0.18, shape="city", colour=ink(0.42, 0.06, 275), far=0.3),
        Band(y=0.68, swing=0.16, shape="city", colour=ink(0.34, 0.06, 285)),
        Band(y=0.93, swing=0.0, shape="road", colour=ink(0.3, 0.02, 280)))),
    "cave": Theme(sky="cave", clouds=0, lights=False, haze=0.25, bands=(
        Band(y=0.7, swing=0.12, shape="cave", colour=ink(0.3, 0.05, 280), far=0.25),
        Band(y=0.8, swing=0.1, shape="cave", colour=ink(0.24, 0.04, 285), stamps=(("crystal", 6, 0.13),
            ("mushroom", 3, 0.1))),
        Band(y=0.91, swing=0.07, shape="cave", colour=ink(0.17, 0.03, 290), stamps=(("crystal", 3, 0.2),
            ("boulder", 3, 0.12))))),
    "ocean": Theme(horizon=0.56, bands=(
        Band(y=0.535, swing=0.045, shape="isles", colour=ink(0.55, 0.08, 165), far=0.5),
        Band(y=0.56, swing=0.0, shape="sea", colour=ink(0.6, 0.12, 235), deep=0.24, stamps=(("boat", 2,
            0.14),)),
        Band(y=0.76, swing=0.016, shape="waves", colour=ink(0.54, 0.13, 238)),
        Band(y=0.9, swing=0.04, shape="dunes", colour=ink(0.86, 0.08, 85), stamps=(("palm", 3, 0.42),
            ("boulder", 2, 0.09), ("crab", 1, 0.08))))),
    "underwater": Theme(sky="underwater", horizon=1.0, clouds=0, lights=False, haze=0.6, bands=(
        Band(y=0.66, swing=0.12, shape="peaks", colour=ink(0.4, 0.1, 245), far=0.5),
        Band(y=0.76, swing=0.06, shape="hills", colour=ink(0.42, 0.09, 240), far=0.35, stamps=(("coral", 8,
            0.18), ("fish", 5, 0.08))),
        Band(y=0.88, swing=0.03, shape="dunes", colour=ink(0.66, 0.07, 95), far=0.2, stamps=(("coral", 7,
            0.26), ("boulder", 3, 0.12), ("fish", 3, 0.13))))),
    "space": Theme(sky="space", horizon=1.0, clouds=0, lights=False, haze=0.0, bands=(
        Band(y=2.0, swing=0.0, shape="planets", colour=ink(0.6, 0.14, 300)),
        Band(y=0.86, swing=0.06, shape="peaks", colour=ink(0.36, 0.06, 300), far=0.2),
        Band(y=0.93, swing=0.03, shape="hills", colour=ink(0.28, 0.05, 290), stamps=(("boulder", 4, 0.1),
            ("crystal", 2, 0.14))))),
    "castle grounds": Theme(bands=(
        Band(y=0.5, swing=0.14, shape="peaks", colour=ink(0.62, 0.06, 255), far=0.6),
        Band(y=0.68, swing=0.04, shape="hills", colour=ink(0.56, 0.1, 150), far=0.3, stamps=(("castle", 1,
            0.46), ("pine", 7, 0.13))),
        Band(y=0.8, swing=0.03, shape="hills", colour=ink(0.58, 0.13, 140), far=0.1, stamps=(("tree", 6,
            0.22), ("house", 2, 0.16))),
        Band(y=0.91, swing=0.02, shape="hills", colour=_LEAF, stamps=(("bush", 5, 0.11), ("flag", 2, 0.26),
            ("fence", 3, 0.12))))),
    "volcano": Theme(sky="ember", clouds=0, lights=False, bands=(
        Band(y=0.5, swing=0.1, shape="peaks", colour=ink(0.34, 0.07, 20), far=0.35),
        Band(y=0.58, swing=0.0, shape="volcano", colour=ink(0.27, 0.04, 10), far=0.1),
        Band(y=0.79, swing=0.0, shape="lava", colour=ink(0.68, 0.2, 42), deep=0.1),
        Band(y=0.9, swing=0.05, shape="peaks", colour=ink(0.17, 0.025, 330), stamps=(("dead tree", 3, 0.3),
            ("boulder", 3, 0.12))))),
    "meadow": Theme(bands=(
        Band(y=0.52, swing=0.08, shape="peaks", colour=ink(0.64, 0.06, 240), far=0.7),
        Band(y=0.62, swing=0.06, shape="hills", colour=ink(0.64, 0.13, 140), far=0.4, stamps=(("tree", 8,
            0.1),)),
        Band(y=0.74, swing=0.06, shape="hills", colour=ink(0.66, 0.15, 136), far=0.16, stamps=(("tree", 5,
            0.2), ("house", 1, 0.16), ("windmill", 1, 0.24))),
        Band(y=0.88, swing=0.04, shape="hills", colour=ink(0.64, 0.17, 134), stamps=(("bush", 4, 0.12),
            ("flower", 9, 0.07), ("fence", 2, 0.13), ("tree", 2, 0.42))))),
    "swamp": Theme(sky="gloom", clouds=0, haze=0.85, bands=(
        Band(y=0.6, swing=0.05, shape="hills", colour=ink(0.42, 0.06, 160), far=0.6, stamps=(("dead tree", 9,
            0.26),)),
        Band(y=0.74, swing=0.0, shape="sea", colour=ink(0.42, 0.07, 150), deep=0.16),
        Band(y=0.78, swing=0.02, shape="isles", colour=ink(0.36, 0.07, 140), far=0.2, stamps=(("dead tree", 4,
            0.42), ("bush", 4, 0.1))),
        Band(y=0.92, swing=0.02, shape="hills", colour=ink(0.32, 0.07, 138), stamps=(("mushroom", 4, 0.1),
            ("bush", 4, 0.13))))),
    "graveyard": Theme(haze=0.7, bands=(
        Band(y=0.6, swing=0.06, shape="hills", colour=ink(0.36, 0.04, 280), far=0.45, stamps=(("dead tree", 5,
            0.26), ("castle", 1, 0.36))),
        Band(y=0.76, swing=0.03, shape="hills", colour=ink(0.32, 0.05, 200), far=0.2, stamps=(("grave", 8,
            0.12), ("fence", 4, 0.11))),
        Band(y=0.89, swing=0.02, shape="hills", colour=ink(0.27, 0.05, 170), stamps=(("grave", 4, 0.2),
            ("dead tree", 2, 0.5))))),
    "sky": Theme(horizon=1.0, clouds=9, bands=(Band(y=2.0, swing=0.0, shape="islands", colour=_LEAF,
        stamps=(("floating island", 3, 0.26),)),)),
}  # fmt: skip
