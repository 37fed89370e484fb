"""What every figure drawer receives beside the pen: the wish, the dice, and the choices made from both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from genyard.preview.palette import Ink, ink
from genyard.preview.understanding import Wish

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Look:
    """`rng` is consumed in drawing order, so a drawer must ask it the same questions for every size."""

    wish: Wish
    rng: np.random.Generator

    def between(self, low: float, high: float) -> float:
        return float(self.rng.uniform(low, high))

    def pick(self, options: Sequence[T]) -> T:
        return options[int(self.rng.integers(len(options)))]

    def chance(self, odds: float) -> bool:
        return bool(self.rng.random() < odds)

    def main(self, *defaults: Ink) -> Ink:
        """The subject's colour: as asked, else one of the defaults, slightly varied."""
        drawn = self.varied(self.pick(defaults))
        return self.wish.main(drawn)

    def varied(self, colour: Ink, *, hue: float = 9.0, light: float = 0.025) -> Ink:
        return colour.turned(self.between(-hue, hue)).lighter(self.between(-light, light))

    def mood(self) -> str:
        if self.wish.has("angry") or "dark" in self.wish.styles:
            return "angry"
        return next((m for m in ("happy", "sad", "sleepy") if m in self.wish.features), "calm")


def hue_ink(hue: float, *, light: float = 0.6, chroma: float = 0.18, material: str = "plain") -> Ink:
    """A saturated colour of a hue, a little lighter where the eye expects it (yellow) and darker in blue."""
    lift = 0.16 * max(0.0, 1 - abs((hue - 100 + 180) % 360 - 180) / 60)
    return ink(min(0.95, light + lift), chroma, hue, material)
