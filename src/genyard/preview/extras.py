"""Things that only scenery has: planets and corals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from genyard.preview.look import Look, hue_ink
from genyard.preview.paint import Pen
from genyard.preview.palette import ink
from genyard.preview.shapes import ellipse, limb, moved, spline


def planet(pen: Pen, look: Look) -> None:
    colour = hue_ink(look.between(0, 360), light=0.6, chroma=0.14)
    ringed = look.chance(0.6)
    pen.glow(0, 0, 1.25, colour.lighter(0.2), strength=0.3)
    angle = np.linspace(np.pi, 2 * np.pi, 20)
    half = [(1.35 * float(np.cos(a)), 0.34 * float(np.sin(a)), 0.05) for a in angle]
    if ringed:
        pen.fill(moved(limb(half, steps=2), 0, 0, turn=-18), colour.turned(40).lighter(0.2), line=0.5)
    pen.fill(ellipse(0, 0, 0.85), colour, line=0.6)
    ball = pen.last
    for _ in range(6):
        y = look.between(-0.8, 0.8)
        band = spline(
            [
                (-1, y),
                (-0.3, y + look.between(-0.06, 0.06)),
                (0.4, y),
                (1, y + 0.05),
                (1, y + 0.16),
                (0.2, y + 0.12),
                (-1, y + 0.14),
            ]
        )
        pen.decal(
            moved(band, 0, 0, turn=-18),
            colour.lighter(look.between(-0.1, 0.14)).turned(look.between(-20, 20)),
            on=ball,
            alpha=0.8,
        )
    if ringed:
        pen.fill(
            moved(limb([(x, -y, r) for x, y, r in half], steps=2), 0, 0, turn=-18),
            colour.turned(40).lighter(0.24),
            line=0.5,
        )


def coral(pen: Pen, look: Look) -> None:
    colour = hue_ink(look.pick((15.0, 340.0, 50.0, 305.0, 150.0)), light=0.64, chroma=0.17)
    if look.chance(0.4):
        for _ in range(5):
            x, h = look.between(-0.5, 0.5), look.between(0.9, 1.8)
            w = look.between(-0.2, 0.2)
            pen.fill(
                limb([(x, 1, 0.09), (x + w, 1 - h * 0.5, 0.08), (x - w * 0.4, 1 - h, 0.02)]),
                ink(0.56, 0.13, look.between(130, 165)),
            )
        return
    for angle in (-58, -26, 4, 32, 60):
        a = np.deg2rad(angle + look.between(-8, 8) - 90)
        length = look.between(0.9, 1.6)
        x, y = float(np.cos(a)) * length * 0.8, 1 + float(np.sin(a)) * length
        pen.fill(limb([(0, 0.98, 0.14), (x * 0.5, (y + 1) / 2 + 0.1, 0.11), (x, y, 0.1)]), colour)
        pen.fill(limb([(x * 0.55, (y + 1) / 2, 0.08), (x * 0.55 + 0.2, (y + 1) / 2 - 0.26, 0.08)]), colour)


DRAWN: Final[dict[str, Callable[[Pen, Look], None]]] = {"planet": planet, "coral": coral}
