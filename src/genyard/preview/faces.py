"""Eyes, mouths, brows, cheeks: what makes a shape somebody."""

from __future__ import annotations

from typing import Final

import numpy as np

from genyard.preview.paint import Pen
from genyard.preview.palette import Ink, ink
from genyard.preview.shapes import Outlines, ellipse, limb, polygon, spline

WHITE: Final = ink(0.985, 0.005, 100, "eye")
DARK: Final = ink(0.2, 0.03, 290, "eye")
MOUTH: Final = ink(0.36, 0.12, 18, "eye")
TONGUE: Final = ink(0.68, 0.16, 15, "eye")
IVORY: Final = ink(0.95, 0.03, 95, "bone")


def eye(
    pen: Pen,
    x: float,
    y: float,
    r: float,
    iris: Ink,
    *,
    mood: str = "calm",
    slit: bool = False,
    look: float = 0.0,
    white: Ink = WHITE,
    tall: float = 1.18,
) -> None:
    """A glossy eye of half-width r; `look` shifts the iris sideways (-1..1)."""
    if mood == "sleepy":
        pen.stroke(arc_line(x, y, r, 20, 160), DARK, r * 0.28)
        return
    pen.fill(ellipse(x, y, r, r * tall), white, puff=0.25, shadow=0.35, line=0.8)
    ball = pen.last
    ix, iy = x + look * r * 0.3, y + r * 0.1
    pen.decal(ellipse(ix, iy, r * 0.78, r * 0.76 * tall), iris, on=ball, line=0.5)
    pen.decal(ellipse(ix, iy + r * 0.34, r * 0.54, r * 0.38), iris.lighter(0.16), on=ball)
    pen.decal(
        ellipse(ix, iy, r * (0.17 if slit else 0.46), r * (0.64 if slit else 0.46) * tall), DARK, on=ball
    )
    pen.decal(ellipse(x, y - r * tall * 1.02, r * 1.15, r * 0.42), white.darker(0.28), on=ball, alpha=0.5)
    pen.fill(ellipse(ix - r * 0.25, iy - r * 0.34, r * 0.22), WHITE, puff=0, line=0, shadow=0)
    pen.fill(ellipse(ix + r * 0.26, iy + r * 0.3, r * 0.1), WHITE, puff=0, line=0, shadow=0)


def arc_line(x: float, y: float, r: float, start: float, end: float) -> Outlines:
    """An open, flat arc from `start` to `end` degrees: smiles, closed lids."""
    angle = np.deg2rad(np.linspace(start, end, 14))
    return [np.stack([x + r * np.cos(angle), y + r * 0.8 * np.sin(angle)], axis=1)]


def eyes(
    pen: Pen,
    x: float,
    y: float,
    gap: float,
    r: float,
    iris: Ink,
    *,
    mood: str = "calm",
    slit: bool = False,
    look: float = 0.0,
    white: Ink = WHITE,
    brow: Ink | None = None,
    tall: float = 1.18,
) -> None:
    """A pair around (x, y); an angry or sad mood tilts brows or lids."""
    for side in (-1, 1):
        eye(pen, x + side * gap, y, r, iris, mood=mood, slit=slit, look=look, white=white, tall=tall)
        if mood == "angry" and brow is None:
            brow = DARK
        if brow is not None and mood != "sleepy":
            tilt = {"angry": 0.5, "sad": -0.45}.get(mood, -0.12)
            lift = 1.05 if mood == "angry" else 1.75
            inner, outer = y - r * (lift - tilt), y - r * (lift + tilt * 0.6)
            pen.fill(
                limb(
                    [
                        (x + side * (gap + r * 0.95), outer, r * 0.14),
                        (x + side * gap, (inner + outer) / 2 - r * 0.12, r * 0.2),
                        (x + side * (gap - r * 0.75), inner, r * 0.16),
                    ]
                ),
                brow,
                puff=0,
                line=0.3,
                shadow=0,
            )


def dots(pen: Pen, x: float, y: float, gap: float, r: float, *, mood: str = "calm") -> None:
    """Simple, shiny button eyes."""
    for side in (-1, 1):
        if mood == "sleepy":
            pen.stroke(arc_line(x + side * gap, y, r, 20, 160), DARK, r * 0.4)
            continue
        pen.fill(ellipse(x + side * gap, y, r, r * 1.25), DARK, puff=0, line=0, shadow=0)
        pen.fill(ellipse(x + side * gap - r * 0.3, y - r * 0.45, r * 0.36), WHITE, puff=0, line=0, shadow=0)
        pen.fill(
            ellipse(x + side * gap + r * 0.3, y + r * 0.5, r * 0.16),
            WHITE,
            puff=0,
            line=0,
            shadow=0,
            alpha=0.8,
        )
        if mood == "angry":
            pen.fill(
                limb(
                    [
                        (x + side * (gap + r * 1.3), y - r * 1.7, r * 0.2),
                        (x + side * (gap - r * 1.0), y - r * 0.9, r * 0.28),
                    ]
                ),
                DARK,
                puff=0,
                line=0,
                shadow=0,
            )


def mouth(pen: Pen, x: float, y: float, w: float, *, mood: str = "calm", fangs: bool = False) -> None:
    """A mouth of half-width w: a small smile, a grin with tongue, or a snarl with teeth."""
    if mood == "angry" or fangs:
        pen.fill(
            spline(
                [
                    (x - w, y),
                    (x, y - w * 0.2),
                    (x + w, y),
                    (x + w * 0.6, y + w * 0.55),
                    (x - w * 0.6, y + w * 0.55),
                ]
            ),
            MOUTH,
            puff=0,
            line=0.8,
            shadow=0,
        )
        for side in (-1, 1):
            pen.fill(
                polygon(
                    [
                        (x + side * w * 0.72, y - w * 0.02),
                        (x + side * w * 0.3, y - w * 0.06),
                        (x + side * w * 0.5, y + w * 0.5),
                    ]
                ),
                IVORY,
                puff=0,
                line=0.35,
                shadow=0,
            )
    elif mood == "happy":
        pen.fill(
            spline(
                [
                    (x - w, y - w * 0.1),
                    (x, y + w * 0.06),
                    (x + w, y - w * 0.1),
                    (x + w * 0.62, y + w * 0.72),
                    (x, y + w * 0.98),
                    (x - w * 0.62, y + w * 0.72),
                ]
            ),
            MOUTH,
            puff=0,
            line=0.8,
            shadow=0,
        )
        pen.decal(ellipse(x, y + w * 0.95, w * 0.55, w * 0.42), TONGUE)
    elif mood == "sad":
        pen.stroke(arc_line(x, y + w * 0.8, w * 0.8, 200, 340), DARK, w * 0.2)
    else:
        pen.stroke(arc_line(x, y - w * 0.5, w * 0.85, 25, 155), DARK, w * 0.2)


def cheeks(pen: Pen, x: float, y: float, gap: float, r: float, colour: Ink | None = None) -> None:
    blush = colour or ink(0.7, 0.15, 15)
    for side in (-1, 1):
        pen.glow(x + side * gap, y, r * 1.8, blush, strength=0.5)


def teeth(
    pen: Pen,
    x0: float,
    x1: float,
    y: float,
    count: int,
    size: float,
    colour: Ink = IVORY,
    *,
    up: bool = False,
) -> None:
    step = (x1 - x0) / count
    for i in range(count):
        left = x0 + i * step
        pen.fill(
            polygon([(left, y), (left + step, y), (left + step / 2, y + (-size if up else size))]),
            colour,
            puff=0.4,
            line=0.5,
            shadow=0.2,
        )
