"""Everyday goods: food, light, clothing, odds and ends; each drawn around the origin, about ±1."""

from __future__ import annotations

from typing import Final

import numpy as np

from genyard.preview.look import Look, hue_ink
from genyard.preview.paint import Pen
from genyard.preview.palette import Ink, ink
from genyard.preview.shapes import arc, box, ellipse, limb, moved, polygon, spline, star, xy, xyr
from genyard.preview.weapons import GOLD, LEATHER, STEEL, WOOD

WHITE: Final = ink(0.985, 0.005, 100, "eye")


LEAF: Final = ink(0.62, 0.17, 138, "plain")


def gleam(pen: Pen, x: float, y: float, rx: float, ry: float, turn: float = 0.0, alpha: float = 0.75) -> None:
    pen.fill(ellipse(x, y, rx, ry, turn), WHITE, puff=0, line=0, shadow=0, alpha=alpha)


def apple(pen: Pen, look: Look) -> None:
    colour = look.main(ink(0.58, 0.21, 26, "shell"), ink(0.72, 0.19, 128, "shell"))
    pen.fill(limb(xyr(".02 -.55 .05, .06 -.75 .045, .16 -.92 .055")), WOOD)
    pen.fill(
        spline(
            xy(
                "0 -.5, .36 -.66, .78 -.44, .84 .1, .56 .72, .2 .9, 0 .84, -.2 .9, -.56 .72, "
                "-.84 .1, -.78 -.44, -.36 -.66"
            )
        ),
        colour,
    )
    pen.fill(spline(xy(".1 -.68, .34 -.94, .72 -.92, .52 -.66")), LEAF)
    gleam(pen, -0.46, -0.26, 0.13, 0.24, 24, 0.65)


def cherry(pen: Pen, look: Look) -> None:
    colour = look.main(ink(0.54, 0.21, 22, "shell"))
    for x in (-0.4, 0.42):
        pen.fill(limb([(0.1, -0.86, 0.035), (x * 0.6, -0.4, 0.035), (x, 0.1, 0.035)]), LEAF.darker(0.1))
    for x, y in ((-0.42, 0.45), (0.42, 0.5)):
        pen.fill(ellipse(x, y, 0.42), colour)
        gleam(pen, x - 0.14, y - 0.16, 0.1, 0.07, -35, 0.8)
    pen.fill(spline(xy(".1 -.86, .4 -1.06, .8 -.9, .45 -.72")), LEAF)


def bread(pen: Pen, look: Look) -> None:
    crust = look.main(ink(0.66, 0.12, 62, "plain"))
    pen.fill(spline(xy("-.92 .1, -.7 -.34, -.1 -.5, .6 -.36, .94 .08, .74 .44, 0 .54, -.74 .46")), crust)
    for x in (-0.5, -0.1, 0.3):
        pen.decal(spline(xy("-.1 -.34, .06 -.42, .26 0, .12 .06", at=(x, 0))), crust.lighter(0.18), line=0.5)


def meat(pen: Pen, look: Look) -> None:
    colour = look.main(ink(0.55, 0.14, 38, "shell"))
    bone = ink(0.93, 0.03, 90, "bone")
    pen.fill(limb(xyr(".3 .3 .1, .74 .72 .09")), bone)
    for dx, dy in ((0.84, 0.68), (0.7, 0.84)):
        pen.fill(ellipse(dx, dy, 0.13), bone)
    pen.fill(spline(xy("-.8 -.5, -.36 -.84, .2 -.6, .5 -.05, .46 .4, .1 .46, -.5 .26, -.86 -.1")), colour)
    gleam(pen, -0.4, -0.46, 0.2, 0.09, -30, 0.6)


def cake(pen: Pen, look: Look) -> None:
    icing = look.main(
        ink(0.82, 0.11, 355, "shell"), ink(0.85, 0.08, 190, "shell"), ink(0.5, 0.09, 50, "shell")
    )
    pen.fill(polygon(xy("-.6 .05, .6 .05, .44 .92, -.44 .92")), ink(0.76, 0.1, 60, "cloth"), edge=0.1)
    cup = pen.last
    for i in range(-2, 3):
        pen.decal(
            polygon([(i * 0.24 - 0.03, 0), (i * 0.24 + 0.03, 0), (i * 0.18 + 0.02, 1), (i * 0.18 - 0.02, 1)]),
            ink(0.62, 0.1, 50),
            on=cup,
        )
    for y, w in ((0.02, 0.74), (-0.28, 0.56), (-0.55, 0.34)):
        pen.fill(limb([(-w + 0.16, y, 0.2), (w - 0.16, y, 0.2)]), icing)
    pen.fill(ellipse(0, -0.84, 0.17), ink(0.56, 0.22, 22, "shell"))
    for _ in range(9):
        x, y = look.between(-0.5, 0.5), look.between(-0.45, 0.12)
        pen.fill(
            moved(box(-0.05, -0.015, 0.05, 0.015, 0.015), x, y, turn=look.between(0, 180)),
            hue_ink(look.between(0, 360), light=0.7),
            line=0,
            shadow=0,
            puff=0,
        )


def boots(pen: Pen, look: Look) -> None:
    colour = look.main(LEATHER)
    for x in (-0.42, 0.42):
        pen.fill(spline(xy("-.3 -.8, .22 -.8, .2 .2, .56 .46, .58 .76, -.3 .78, -.34 .2", at=(x, 0))), colour)
        pen.decal(box(x - 0.5, 0.66, x + 0.8, 1), colour.darker(0.16), line=0.7)
        pen.fill(box(x - 0.35, -0.9, x + 0.28, -0.6, 0.08), colour.lighter(0.14))
    if look.wish.has("wings"):
        pen.fill(spline(xy("-.75 -.2, -1.2 -.6, -1.1 -.1, -.72 .1")), ink(0.96, 0.01, 90, "feather"))


def lantern(pen: Pen, look: Look) -> None:
    light = look.main(ink(0.88, 0.14, 85)).made_of("glow")
    iron = ink(0.36, 0.02, 270, "metal")
    pen.glow(0, 0.15, 1.5, light, strength=0.6)
    pen.fill(arc(0, -0.62, 0.26, 180, 360, 0.05), iron)
    pen.fill(box(-0.4, -0.34, 0.4, 0.62, 0.06), light.lighter(0.03), puff=0.4)
    pen.fill(
        spline(xy("0 -.2, .18 .16, .1 .42, -.1 .42, -.18 .16")),
        ink(0.75, 0.18, 55, "fire"),
        line=0.5,
        shadow=0,
    )
    pen.fill(
        spline(xy("0 .04, .09 .24, .04 .4, -.04 .4, -.09 .24")), ink(0.96, 0.09, 98, "fire"), line=0, shadow=0
    )
    for x in (-0.4, 0, 0.4):
        pen.fill(limb(xyr("0 -.34 .04, 0 .62 .04", at=(x, 0))), iron)
    pen.fill(polygon(xy("-.52 -.3, -.22 -.6, .22 -.6, .52 -.3")), iron, edge=0.08)
    pen.fill(box(-0.5, 0.58, 0.5, 0.8, 0.05), iron, edge=0.06)


def candle(pen: Pen, look: Look) -> None:
    wax = look.main(ink(0.93, 0.04, 92))
    pen.glow(0, -0.62, 0.8, ink(0.88, 0.14, 80), strength=0.6)
    pen.fill(ellipse(0, 0.82, 0.6, 0.16), GOLD)
    pen.fill(box(-0.26, -0.3, 0.26, 0.82, 0.08), wax)
    pen.fill(limb(xyr("-.2 -.25 .08, -.2 .15 .07")), wax.lighter(0.02), line=0.5, shadow=0.2)
    flame_shape(pen, 0, -0.38, 0.26)


def flame_shape(pen: Pen, x: float, y: float, size: float, colour: Ink | None = None) -> None:
    """A flame standing on (x, y), about 2·size high."""
    outer = colour or ink(0.66, 0.21, 40)
    layers = (
        (1.0, outer.made_of("fire")),
        (0.68, outer.turned(30).lighter(0.12).made_of("fire")),
        (0.38, outer.turned(55, chroma=0.6).lighter(0.27).made_of("fire")),
    )
    shape = xy(
        "0 -2, .16 -1.4, .5 -1.05, .62 -.5, .4 -.04, 0 .08, -.4 -.04, -.62 -.5, -.44 -.98, "
        "-.26 -.84, -.2 -1.4"
    )
    for k, (scale, tint) in enumerate(layers):
        pen.fill(
            [o * (size * scale, size * scale) + (x, y) for o in spline(shape)],
            tint,
            puff=0.5,
            line=0.9 if k == 0 else 0,
            shadow=0.3 if k == 0 else 0,
        )


def flame_item(pen: Pen, look: Look) -> None:
    colour = look.main(ink(0.64, 0.22, 38))
    pen.glow(0, 0.1, 1.4, colour.lighter(0.1), strength=0.4)
    flame_shape(pen, 0.36, 0.86, 0.55, colour)
    flame_shape(pen, -0.4, 0.88, 0.5, colour)
    flame_shape(pen, 0, 0.92, 0.92, colour)


def feather(pen: Pen, look: Look) -> None:
    colour = look.main(ink(0.9, 0.02, 240, "feather"), ink(0.6, 0.17, 262, "feather"))
    with pen.placed(0, 0, turn=32):
        pen.fill(spline(xy("0 -1, .3 -.6, .32 .1, .06 .6, -.2 .34, -.32 -.2, -.22 -.7")), colour)
        pen.decal(spline(xy(".02 -1, .4 -.6, .4 .1, .02 .7")), colour.darker(0.08))
        pen.fill(limb(xyr("0 -.86 .012, .02 0 .024, .02 1 .03")), colour.lighter(0.06), line=0.6, shadow=0)


def bag(pen: Pen, look: Look) -> None:
    colour = look.main(LEATHER.lighter(0.1))
    pen.fill(spline(xy("-.36 -.5, -.46 -.86, -.14 -.74, .1 -.9, .3 -.74, .5 -.82, .36 -.5")), colour)
    pen.fill(spline(xy("-.3 -.5, .3 -.5, .78 .1, .8 .66, .5 .92, -.5 .92, -.8 .66, -.78 .1")), colour)
    pen.fill(limb(xyr("-.34 -.5 .07, 0 -.46 .075, .34 -.5 .07")), GOLD)
    pen.fill(ellipse(0, 0.3, 0.3), GOLD, edge=0.07)
    pen.fill(star(0, 0.3, 0.17, 0.07), GOLD.lighter(0.1), line=0.6, puff=0.4, shadow=0)


def flower(pen: Pen, look: Look) -> None:
    petal = look.main(*(hue_ink(h, light=0.68) for h in (355, 25, 305, 95, 262)))
    pen.fill(limb(xyr("0 1 .05, -.04 .5 .05, 0 -.2 .05")), LEAF.darker(0.08))
    pen.fill(spline(xy("0 .72, .3 .36, .62 .4, .36 .68")), LEAF)
    pen.fill(spline(xy("0 .86, -.3 .5, -.6 .52, -.36 .8")), LEAF)
    count = look.pick((5, 6, 8))
    for i in range(count):
        pen.fill(
            moved(ellipse(0, -0.36, 0.24 if count < 8 else 0.17, 0.34), 0, -0.34, turn=360 / count * i),
            petal,
            shadow=0.5,
        )
    pen.fill(ellipse(0, -0.34, 0.2), ink(0.82, 0.16, 85, "shell"))


def trophy(pen: Pen, look: Look) -> None:
    gold = look.wish.main(GOLD)
    pen.both(arc(0.46, -0.42, 0.3, -90, 120, 0.06), gold)
    pen.fill(box(-0.42, 0.72, 0.42, 0.95, 0.04), ink(0.42, 0.08, 45, "wood"))
    pen.fill(spline(xy("-.12 .1, .12 .1, .12 .5, .36 .74, -.36 .74, -.12 .5")), gold)
    pen.fill(spline(xy("-.6 -.86, .6 -.86, .56 -.3, .3 .16, 0 .26, -.3 .16, -.56 -.3")), gold)
    pen.fill(ellipse(0, -0.86, 0.6, 0.1), gold.darker(0.2), puff=0.2, line=0.8)
    pen.fill(star(0, -0.36, 0.24, 0.1), gold.lighter(0.1), edge=0.05, line=0.7)


def gear(pen: Pen, look: Look) -> None:
    metal = look.main(STEEL.darker(0.08))
    teeth = 8
    points = []
    for i in range(teeth):
        for k, r in ((-0.3, 0.72), (-0.2, 0.95), (0.2, 0.95), (0.3, 0.72)):
            a = 2 * np.pi * (i + k) / teeth
            points.append((r * float(np.cos(a)), r * float(np.sin(a))))
    pen.fill(polygon(points), metal, edge=0.12)
    pen.fill(ellipse(0, 0, 0.42), metal.lighter(0.06), edge=0.08)
    pen.fill(ellipse(0, 0, 0.2), ink(0.2, 0.02, 270), puff=0, line=0.8, shadow=0)


def rocket(pen: Pen, look: Look) -> None:
    body = look.main(ink(0.94, 0.01, 250, "shell"))
    trim = (
        ink(0.58, 0.21, 27, "shell")
        if abs((body.hue - 27 + 180) % 360 - 180) > 40 or body.chroma < 0.05
        else ink(0.9, 0.02, 90, "shell")
    )
    with pen.placed(0, 0, turn=32):
        flame_shape(pen, 0, 0.0, 0.0001)
        with pen.placed(0, 0.62, turn=180):
            flame_shape(pen, 0, 0, 0.32)
        pen.both(spline(xy(".2 .1, .56 .42, .58 .82, .24 .58")), trim)
        pen.fill(spline(xy("0 -1.1, .26 -.72, .36 -.1, .25 .62, -.25 .62, -.36 -.1, -.26 -.72")), body)
        pen.decal(polygon(xy("-1 -1.2, 1 -1.2, 1 -.66, -1 -.66")), trim, line=0.7)
        pen.fill(ellipse(0, -0.22, 0.2), GOLD, line=0.9)
        pen.fill(ellipse(0, -0.22, 0.13), ink(0.72, 0.1, 225, "glass"), line=0.6, shadow=0)
        pen.fill(spline(xy("-.05 .16, .05 .16, .06 .8, -.06 .8")), trim)


def egg(pen: Pen, look: Look) -> None:
    colour = look.main(*(hue_ink(h, light=0.78, chroma=0.1, material="shell") for h in (90, 150, 240, 305)))
    pen.fill(spline(xy("0 -.95, .44 -.6, .68 .1, .6 .62, 0 .94, -.6 .62, -.68 .1, -.44 -.6")), colour)
    shell = pen.last
    for _ in range(9):
        pen.decal(
            ellipse(
                look.between(-0.6, 0.6),
                look.between(-0.8, 0.8),
                look.between(0.07, 0.17),
                look.between(0.06, 0.14),
            ),
            colour.darker(0.14),
            on=shell,
            line=0.4,
        )
    gleam(pen, -0.26, -0.4, 0.1, 0.18, 25, 0.7)


def bomb(pen: Pen, look: Look) -> None:
    colour = look.main(ink(0.32, 0.03, 275, "shell"))
    pen.fill(limb(xyr(".3 -.6 .045, .5 -.88 .045, .72 -.84 .04")), ink(0.78, 0.06, 80, "cloth"))
    pen.fill(ellipse(0, 0.15, 0.82), colour)
    with pen.placed(0.34, -0.55, turn=30):
        pen.fill(box(-0.22, -0.14, 0.22, 0.12, 0.04), colour.lighter(0.14))
    pen.glow(0.76, -0.86, 0.42, ink(0.85, 0.16, 75), strength=0.9)
    pen.fill(star(0.76, -0.86, 0.25, 0.1, 7), ink(0.72, 0.19, 50, "fire"), puff=0.3, line=0.6)
    pen.fill(star(0.76, -0.86, 0.13, 0.06, 7), ink(0.93, 0.13, 95, "fire"), puff=0, line=0, shadow=0)
    gleam(pen, -0.34, -0.22, 0.2, 0.12, -38, 0.6)


def skull_item(pen: Pen, look: Look) -> None:
    bone = look.main(ink(0.92, 0.035, 92, "bone"))
    pen.fill(box(-0.42, 0.3, 0.42, 0.86, 0.14), bone.darker(0.05))
    pen.fill(spline(xy("-.86 -.2, -.5 -.82, .5 -.82, .86 -.2, .76 .34, .46 .56, -.46 .56, -.76 .34")), bone)
    for side in (-1, 1):
        pen.fill(ellipse(side * 0.35, 0.06, 0.25, 0.27), ink(0.2, 0.03, 300), puff=0, line=0.7, shadow=0)
        if look.wish.has("magic", "angry") or look.wish.substance("skull"):
            pen.glow(side * 0.35, 0.08, 0.28, ink(0.8, 0.18, 40), strength=1.0)
    pen.fill(spline(xy("0 .24, .1 .44, 0 .4, -.1 .44")), ink(0.2, 0.03, 300), puff=0, line=0.4, shadow=0)
    for i in range(5):
        x = -0.28 + i * 0.14
        pen.stroke(polygon([(x, 0.6), (x, 0.8)]), ink(0.3, 0.03, 60), 0.03)
