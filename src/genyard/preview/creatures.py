"""Animals and monsters with a body plan of their own; four-legged pets are in `beasts`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from genyard.preview import beasts, faces
from genyard.preview.goods import flame_shape
from genyard.preview.look import Look, hue_ink
from genyard.preview.paint import Pen
from genyard.preview.palette import Ink, ink
from genyard.preview.shapes import Outlines, ellipse, limb, mirrored, moved, polygon, spline, star, xy, xyr
from genyard.preview.wildlife import (
    DARK,
    IVORY,
    adorn,
    alien,
    bat_wing,
    butterfly,
    crab,
    fish,
    iris_of,
    octopus,
    snake,
    spider,
)


def _wings_behind(pen: Pen, look: Look, y: float, size: float, colour: Ink) -> None:
    if look.wish.has("wings"):
        bat_wing(pen, 0.3 * size, y, size, look.wish.colour("wings", colour.turned(20)))


def dragon(pen: Pen, look: Look) -> None:
    wish = look.wish
    body = look.main(*(hue_ink(h, light=0.58, material="scales") for h in (27, 145, 262, 305, 190)))
    belly = wish.second(wish.colour("belly", ink(0.88, 0.08, 88, "plain")))
    horn = wish.colour("horns", IVORY)
    small = "cute" in wish.styles or wish.size < 1
    bat_wing(
        pen,
        0.22,
        0.12,
        look.between(0.86, 1.02) * (0.8 if small else 1.0),
        wish.colour("wings", body.turned(-14).lighter(0.08).made_of("leather")),
        bone=body.darker(0.06),
    )
    side = look.pick((-1, 1))
    tail = xyr(".1 .8 .2, .6 .92 .15, .95 .72 .1, .98 .42 .055")
    pen.fill(limb([(x * side, y, r) for x, y, r in tail]), body)
    tip = polygon(xy(".98 .1, 1.14 .42, .97 .36, .82 .46"))
    pen.fill(tip if side > 0 else mirrored(tip), horn)
    pen.fill(spline(xy("-.34 .05, .34 .05, .5 .5, .44 .86, .2 .98, -.2 .98, -.44 .86, -.5 .5")), body)
    torso = pen.last
    pen.decal(spline(xy("-.2 0, .2 0, .29 .5, .22 .9, 0 1, -.22 .9, -.29 .5")), belly, on=torso, line=0.6)
    for i in range(5):
        y = 0.26 + i * 0.145
        pen.stroke(spline(xy("-.24 0, 0 .05, .24 0", at=(0, y)), closed=False), belly.darker(0.2), 0.022)
    for s in (-1, 1):
        pen.fill(spline(xy(".3 .55, .56 .62, .58 .9, .34 .98, .22 .8", side=s)), body)
        pen.fill(spline(xy(".2 .88, .6 .86, .66 1, .18 1.02", side=s)), body)
        for k in range(3):
            pen.fill(ellipse(s * (0.27 + 0.14 * k), 1.0, 0.055, 0.045), IVORY, line=0.7, shadow=0.2)
        pen.fill(limb(xyr(".32 .2 .11, .44 .42 .1, .3 .55 .085", side=s)), body)
        for k in range(3):
            pen.fill(
                polygon(
                    [
                        (s * (0.21 + 0.07 * k), 0.56),
                        (s * (0.26 + 0.07 * k), 0.56),
                        (s * (0.23 + 0.07 * k), 0.66),
                    ]
                ),
                IVORY,
                line=0.6,
                shadow=0,
            )
    _dragon_head(pen, look, body, belly, horn)


def _dragon_head(pen: Pen, look: Look, body: Ink, belly: Ink, horn: Ink) -> None:
    wish = look.wish
    for k, (y, h) in enumerate(((-0.66, 0.3), (-0.62, 0.22))):
        if k == 0:
            pen.fill(polygon([(-0.08, y + 0.1), (0, y - h), (0.08, y + 0.1)]), horn)
    pen.both(limb(xyr(".24 -.5 .1, .42 -.74 .08, .4 -1.04 .015")), horn)
    pen.both(spline(xy(".34 -.32, .62 -.48, .7 -.34, .58 -.24, .6 -.1, .36 -.12")), body.lighter(0.03))
    pen.fill(
        spline(xy("-.4 -.38, -.22 -.6, .22 -.6, .4 -.38, .42 -.12, .3 .1, 0 .17, -.3 .1, -.42 -.12")), body
    )
    mood = look.mood()
    faces.eyes(
        pen,
        0,
        -0.26,
        0.21,
        0.115,
        iris_of(look, ink(0.78, 0.17, 85, "eye"), ink(0.72, 0.18, 50, "eye"), ink(0.75, 0.18, 135, "eye")),
        mood="angry" if mood == "calm" and "cute" not in wish.styles else mood,
        slit=True,
        brow=body.darker(0.14),
    )
    pen.fill(
        spline(xy("-.29 -.08, 0 -.16, .29 -.08, .35 .08, .2 .2, 0 .22, -.2 .2, -.35 .08")),
        body.lighter(0.05),
        shadow=0.6,
    )
    for s in (-1, 1):
        pen.fill(ellipse(s * 0.11, -0.02, 0.035, 0.026, s * 25), DARK, puff=0, line=0, shadow=0)
    pen.stroke(spline(xy("-.28 .08, -.1 .14, 0 .11, .1 .14, .28 .08"), closed=False), DARK, 0.025)
    for s in (-1, 1):
        pen.fill(polygon(xy(".22 .1, .13 .125, .175 .22", side=s)), IVORY, line=0.6, shadow=0)
    if wish.substance("dragon") == "fire" or "flame" in wish.things:
        with pen.placed(0, 0.2, turn=180):
            flame_shape(pen, 0, 0, 0.2)


def slime(pen: Pen, look: Look) -> None:
    colour = look.main(*(hue_ink(h, light=0.68, material="slime") for h in (142, 250, 350, 305, 60, 190)))
    if colour.material == "plain":
        colour = colour.made_of("slime")
    w, sag = look.between(0.88, 1.0), look.between(0, 0.08)
    _wings_behind(pen, look, 0.3, 0.7, colour)
    body = spline(
        [
            (0, -0.5 - sag),
            (0.16, -0.42),
            (0.5, -0.26),
            (0.8 * w, 0.12),
            (w, 0.62),
            (0.86 * w, 0.9),
            (0.4, 0.97),
            (0, 0.94),
            (-0.4, 0.97),
            (-0.86 * w, 0.9),
            (-w, 0.62),
            (-0.8 * w, 0.12),
            (-0.5, -0.26),
            (-0.16, -0.42),
        ]
    )
    pen.fill(body, colour)
    jelly = pen.last
    pen.decal(
        spline(xy("-.7 .5, 0 .66, .7 .5, .66 .8, 0 .92, -.66 .8")), colour.lighter(0.12), on=jelly, alpha=0.55
    )
    for _ in range(6):
        r = look.between(0.03, 0.075)
        pen.decal(
            ellipse(look.between(-0.7, 0.7), look.between(0.1, 0.85), r),
            colour.lighter(0.2),
            on=jelly,
            alpha=0.7,
            line=0.3,
        )
    mood = look.mood()
    if look.chance(0.5) or mood == "angry":
        faces.eyes(pen, 0, 0.2, 0.27, 0.15, iris_of(look), mood=mood)
    else:
        faces.dots(pen, 0, 0.2, 0.27, 0.1, mood=mood)
    faces.cheeks(pen, 0, 0.42, 0.47, 0.1)
    faces.mouth(pen, 0, 0.46, 0.13, mood="happy" if mood == "calm" and look.chance(0.6) else mood)
    pen.fill(
        spline(xy("-.58 -.02, -.4 -.18, -.32 -.1, -.52 .16")),
        faces.WHITE,
        puff=0,
        line=0,
        shadow=0,
        alpha=0.8,
    )
    adorn(pen, look, -0.44, 0.55, colour)


def bat(pen: Pen, look: Look) -> None:
    colour = look.main(ink(0.42, 0.11, 300, "fur"), ink(0.4, 0.07, 30, "fur"), ink(0.36, 0.06, 270, "fur"))
    bat_wing(
        pen,
        0.3,
        0.1,
        look.between(0.8, 0.95),
        look.wish.colour("wings", colour.turned(12).lighter(0.06).made_of("leather")),
    )
    pen.both(spline(xy(".1 -.36, .3 -.92, .5 -.66, .46 -.2")), colour)
    pen.both(spline(xy(".2 -.38, .32 -.74, .42 -.58, .38 -.26")), ink(0.7, 0.11, 10), line=0, shadow=0)
    pen.both(limb(xyr(".16 .6 .07, .16 .78 .06")), colour.darker(0.06))
    pen.fill(ellipse(0, 0.12, 0.52, 0.58), colour)
    pen.decal(ellipse(0, 0.46, 0.32, 0.3), colour.lighter(0.18))
    faces.eyes(
        pen,
        0,
        0.0,
        0.21,
        0.14,
        iris_of(look, ink(0.65, 0.2, 30, "eye"), ink(0.8, 0.16, 95, "eye")),
        mood=look.mood(),
    )
    faces.mouth(pen, 0, 0.28, 0.15, fangs=True)


def ghost(pen: Pen, look: Look) -> None:
    colour = look.main(ink(0.95, 0.02, 260), ink(0.88, 0.05, 220), ink(0.86, 0.06, 300))
    pen.glow(0, 0.1, 1.5, colour.lighter(0.05).turned(0, chroma=2), strength=0.35)
    lean = look.between(-0.12, 0.12)
    hem = xy(".72 .7, .62 .96, .42 .74, .22 1, 0 .76, -.22 1, -.42 .74, -.62 .96, -.72 .7")
    pen.fill(
        spline(
            [
                (0, -0.9),
                (0.42, -0.74),
                (0.64, -0.3),
                (0.68, 0.2),
                *[(x + lean, y) for x, y in hem],
                (-0.68, 0.2),
                (-0.64, -0.3),
                (-0.42, -0.74),
            ]
        ),
        colour,
    )
    pen.both(spline(xy(".56 0, .86 -.12, .94 .1, .6 .3")), colour)
    mood = look.mood()
    if mood == "angry":
        for s in (-1, 1):
            pen.fill(
                spline(xy(".1 -.3, .4 -.52, .42 -.24, .22 -.16", side=s)), DARK, puff=0, line=0, shadow=0
            )
            pen.glow(s * 0.27, -0.28, 0.14, ink(0.65, 0.22, 27), strength=1)
        faces.mouth(pen, 0, 0.04, 0.26, mood="angry")
    else:
        faces.dots(pen, 0, -0.3, 0.24, 0.12, mood=mood)
        pen.fill(ellipse(0, 0.04, 0.11, 0.14), faces.MOUTH, puff=0, line=0.5, shadow=0)
        pen.decal(ellipse(0, 0.14, 0.09, 0.07), faces.TONGUE)
        faces.cheeks(pen, 0, -0.08, 0.42, 0.1)
    adorn(pen, look, -0.84, 0.5, colour)


def mushroom(pen: Pen, look: Look) -> None:
    cap = look.main(*(hue_ink(h, light=0.6) for h in (27, 305, 250, 60)))
    stem = ink(0.93, 0.035, 88)
    pen.both(spline(xy(".1 .84, .4 .82, .48 .98, .06 1")), ink(0.55, 0.09, 50, "leather"))
    pen.fill(spline(xy("-.34 -.1, .34 -.1, .4 .4, .46 .8, 0 .94, -.46 .8, -.4 .4")), stem)
    pen.both(limb(xyr(".38 .4 .09, .56 .52 .1")), stem)
    faces.eyes(pen, 0, 0.28, 0.17, 0.1, iris_of(look), mood=look.mood()) if look.chance(0.5) else faces.dots(
        pen, 0, 0.28, 0.17, 0.075, mood=look.mood()
    )
    faces.cheeks(pen, 0, 0.44, 0.29, 0.08)
    faces.mouth(pen, 0, 0.48, 0.09, mood=look.mood())
    pen.fill(
        spline(xy("-.95 0, -.8 -.5, -.36 -.86, 0 -.94, .36 -.86, .8 -.5, .95 0, .5 .1, 0 .04, -.5 .1")), cap
    )
    top = pen.last
    for x, y, rx, ry in (
        (-0.08, -0.58, 0.22, 0.17),
        (0.5, -0.4, 0.17, 0.2),
        (-0.58, -0.3, 0.17, 0.18),
        (0.12, -0.12, 0.13, 0.09),
        (-0.3, -0.84, 0.1, 0.06),
        (0.78, -0.08, 0.1, 0.12),
    ):
        pen.decal(ellipse(x + look.between(-0.04, 0.04), y, rx, ry), ink(0.96, 0.02, 90), on=top, line=0.5)
    adorn(pen, look, -0.88, 0.5, cap)


def golem(pen: Pen, look: Look) -> None:
    substance = look.wish.substance(look.wish.subject)
    colour = look.main(ink(0.58, 0.025, 250, "stone"), ink(0.6, 0.05, 80, "stone"))
    if colour.material == "plain":
        colour = colour.made_of("stone")
    glow = {
        "fire": ink(0.8, 0.18, 55, "glow"),
        "lava": ink(0.72, 0.2, 45, "glow"),
        "ice": ink(0.9, 0.08, 220, "glow"),
    }.get(
        substance or "",
        look.pick((ink(0.85, 0.13, 195, "glow"), ink(0.85, 0.15, 90, "glow"), ink(0.75, 0.18, 310, "glow"))),
    )
    for s in (-1, 1):
        pen.fill(_lump(s * 0.3, 0.76, 0.24, 0.27, 1), colour.darker(0.04), edge=0.08)
    for s in (-1, 1):
        pen.fill(_lump(s * 0.76, 0.06, 0.22, 0.28, 2), colour.darker(0.02), edge=0.08)
        pen.fill(_lump(s * 0.82, 0.5, 0.3, 0.32, 3), colour, edge=0.1)
    pen.fill(_lump(0, 0.1, 0.66, 0.56, 4), colour, edge=0.14)
    for a, b, c in (((-0.3, 0.3), (-0.1, 0.16), (0.06, 0.34)), ((0.1, -0.06), (0.26, 0.1), (0.2, 0.3))):
        pen.stroke([np.array([a, b, c])], glow, 0.035)
    pen.glow(0, 0.1, 0.4, glow, strength=0.35)
    pen.fill(polygon(xy("0 -.08, .11 .06, 0 .24, -.11 .06")), glow, line=0.8)
    for s in (-1, 1):
        pen.fill(_lump(s * 0.58, -0.28, 0.32, 0.27, 5), colour.lighter(0.03), edge=0.1)
        if substance in (None, "stone", "grass", "nature") and look.wish.word != "giant":
            pen.fill(
                spline(xy(".36 -.46, .6 -.6, .84 -.42, .7 -.34, .58 -.4, .46 -.33", side=s)),
                ink(0.56, 0.13, 135, "leaf"),
                line=0.8,
            )
    pen.fill(_lump(0, -0.5, 0.34, 0.31, 6), colour.lighter(0.02), edge=0.1)
    for s in (-1, 1):
        pen.glow(s * 0.14, -0.5, 0.2, glow, strength=0.7)
        pen.fill(
            polygon(xy(".05 -.48, .24 -.57, .22 -.44, .07 -.42", side=s)), glow, puff=0.3, line=0.7, shadow=0
        )
    pen.stroke(polygon(xy("-.12 -.32, -.04 -.3, .04 -.33, .13 -.3")), colour.darker(0.35), 0.03)
    adorn(pen, look, -0.78, 0.4, colour)


def _lump(x: float, y: float, rx: float, ry: float, seed: int) -> Outlines:
    return [points * np.array([rx, ry]) + np.array([x, y]) for points in _boulder(seed)]


def _boulder(seed: int) -> Outlines:
    generator = np.random.default_rng(seed)
    angle = np.arange(9) * 2 * np.pi / 9 + generator.uniform(-0.2, 0.2, 9)
    radius = generator.uniform(0.9, 1.12, 9)
    return [np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)]


def eyeball(pen: Pen, look: Look) -> None:
    colour = look.main(*(hue_ink(h, light=0.5, material="leather") for h in (305, 145, 20)))
    for s in (-1, 1):
        for a, b, c in (
            ((0.4, -0.5), (0.62, -0.82), (0.86, -0.86)),
            ((0.6, -0.3), (0.92, -0.44), (1.08, -0.3)),
            ((0.16, -0.66), (0.24, -0.96), (0.4, -1.12)),
        ):
            pen.fill(limb([(s * a[0], a[1], 0.07), (s * b[0], b[1], 0.055), (s * c[0], c[1], 0.05)]), colour)
            pen.fill(ellipse(s * c[0], c[1], 0.11), ink(0.95, 0.02, 95, "shell"))
            pen.fill(ellipse(s * c[0], c[1] + 0.01, 0.05), DARK, puff=0, line=0, shadow=0)
    pen.fill(ellipse(0, 0.1, 0.78), colour)
    pen.fill(ellipse(0, 0.06, 0.52, 0.5), ink(0.97, 0.015, 90, "shell"))
    ball = pen.last
    iris = look.wish.colour("eyes", look.pick((ink(0.7, 0.19, 50), ink(0.66, 0.2, 25), ink(0.7, 0.18, 145))))
    pen.decal(ellipse(0, 0.08, 0.3), iris, on=ball, line=0.7)
    pen.decal(ellipse(0, 0.15, 0.2), iris.lighter(0.14), on=ball)
    pen.decal(ellipse(0, 0.08, 0.08, 0.24), DARK, on=ball)
    pen.fill(ellipse(-0.16, -0.12, 0.1, 0.07, -30), faces.WHITE, puff=0, line=0, shadow=0)
    pen.fill(
        spline(xy("-.6 -.12, 0 -.5, .6 -.12, .3 -.26, 0 -.3, -.3 -.26")), colour.lighter(0.04), shadow=1.2
    )
    faces.teeth(pen, -0.36, 0.36, 0.66, 6, 0.13)


def plant_monster(pen: Pen, look: Look) -> None:
    head = look.main(ink(0.56, 0.21, 25, "shell"), ink(0.52, 0.2, 320, "shell"))
    leaf = ink(0.56, 0.15, 140)
    pen.fill(limb(xyr("0 .96 .1, .1 .6 .1, -.04 .2 .11")), leaf)
    for s in (-1, 1):
        pen.fill(spline(xy(".02 .92, .4 .56, .92 .62, .6 .9, .3 1", side=s)), leaf)
    pen.fill(ellipse(0, -0.32, 0.7, 0.6), head)
    for x, y, r in ((-0.4, -0.6, 0.13), (0.1, -0.76, 0.1), (0.46, -0.52, 0.12)):
        pen.decal(ellipse(x, y, r, r * 0.8), ink(0.96, 0.02, 90), line=0.5)
    pen.fill(
        spline(xy("-.62 -.24, 0 -.36, .62 -.24, .42 .14, 0 .22, -.42 .14")), faces.MOUTH, puff=0, shadow=0
    )
    faces.teeth(pen, -0.5, 0.5, -0.28, 6, 0.16)
    faces.teeth(pen, -0.38, 0.38, 0.16, 5, 0.14, up=True)
    for s in (-1, 1):
        pen.fill(
            limb([(s * 0.68, -0.2, 0.07), (0, -0.34 if s else 0, 0.08)]),
            ink(0.72, 0.16, 15),
            line=0.9,
            shadow=0.2,
        )


def monster(pen: Pen, look: Look) -> None:
    """A one-of-a-kind creature: body, eyes, horns, arms and marks all by the dice."""
    colour = look.main(*(hue_ink(h, light=0.64, material="fur") for h in (305, 190, 142, 27, 60, 262, 350)))
    other = look.wish.second(colour.turned(look.pick((150, 180, 210))).lighter(0.1))
    w, h = look.between(0.6, 0.82), look.between(0.72, 0.92)
    if look.wish.has("wings") or look.chance(0.25):
        bat_wing(pen, w * 0.5, 0.1, 0.7, other.made_of("leather"))
    if look.wish.has("tail") or look.chance(0.4):
        pen.fill(limb(xyr(".2 .8 .14, .9 .86 .1, 1.02 .5 .05")), colour)
    top = look.pick(("horns", "ears", "antennae", "spikes"))
    if top == "horns" and not look.wish.has("horns"):
        pen.both(
            limb([(w * 0.6, -h * 0.7, 0.12), (w * 0.98, -h * 0.95, 0.09), (w * 0.9, -h * 1.25, 0.015)]), IVORY
        )
    elif top == "ears":
        pen.both(spline([(w * 0.4, -h * 0.7), (w * 0.85, -h * 1.2), (w * 1.05, -h * 0.5)]), colour)
    elif top == "antennae":
        pen.both(limb([(w * 0.3, -h * 0.8, 0.04), (w * 0.4, -h * 1.2, 0.04)]), colour)
        pen.both(ellipse(w * 0.4, -h * 1.22, 0.1), other)
    else:
        for x in (-0.5, 0, 0.5):
            pen.fill(
                polygon(
                    [
                        (x * w - 0.13, -h * 0.74),
                        (x * w, -h * (1.24 - 0.2 * abs(x))),
                        (x * w + 0.13, -h * 0.74),
                    ]
                ),
                other,
            )
    pen.both(limb(xyr(".45 .7 .15, .48 .94 .16", side=w)), colour.darker(0.05))
    pen.fill(
        spline(
            [
                (0, -h),
                (w * 0.7, -h * 0.8),
                (w, -0.1),
                (w * 1.02, 0.5),
                (w * 0.7, 0.86),
                (0, 0.92),
                (-w * 0.7, 0.86),
                (-w * 1.02, 0.5),
                (-w, -0.1),
                (-w * 0.7, -h * 0.8),
            ]
        ),
        colour,
    )
    body = pen.last
    pen.decal(ellipse(0, 0.6, w * 0.62, 0.36), colour.lighter(0.2).turned(12), on=body)
    for _ in range(5):
        pen.decal(
            ellipse(look.between(-w, w), look.between(-h, 0.6), look.between(0.05, 0.12)),
            other,
            on=body,
            line=0.4,
        )
    pen.both(limb(xyr(".9 .12 .12, 1.2 .34 .11, 1.16 .6 .12", side=w)), colour)
    mood = look.mood()
    count = 1 if look.wish.has("one eye") else 3 if look.wish.has("three eyes") else look.pick((1, 2, 2, 3))
    size = {1: 0.27, 2: 0.18, 3: 0.14}[count]
    for i in range(count):
        x = (i - (count - 1) / 2) * size * 2.25
        faces.eye(
            pen,
            x,
            -0.2 - (0.08 if count == 3 and i == 1 else 0),
            size,
            iris_of(
                look, hue_ink(50, material="eye"), hue_ink(142, material="eye"), hue_ink(250, material="eye")
            ),
            mood=mood,
        )
    if mood == "angry" or look.chance(0.5):
        faces.mouth(pen, 0, 0.22, 0.24, mood="angry")
    else:
        faces.mouth(pen, 0, 0.22, 0.17, mood="happy" if mood == "calm" else mood)
    adorn(pen, look, -h + 0.04, w, colour)


def emblem(pen: Pen, look: Look) -> None:
    """For prompts without a known subject: a heraldic medallion by the dice, in the colours that were named."""
    colour = look.main(*(hue_ink(h, light=0.52, material="shell") for h in (262, 305, 20, 150, 190)))
    gold = look.wish.second(ink(0.8, 0.15, 84, "gold"))
    points = look.pick((6, 8, 10, 12))
    pen.fill(star(0, 0, 1.0, look.between(0.74, 0.86), points), gold, edge=0.12)
    pen.fill(ellipse(0, 0, 0.74), gold.darker(0.1), edge=0.08)
    pen.fill(ellipse(0, 0, 0.62), colour, puff=0.6, line=0.8)
    disc = pen.last
    for i in range(points):
        pen.decal(
            moved(polygon(xy("-.02 0, 0 -.66, .02 0")), 0, 0, turn=360 / points * i),
            colour.lighter(0.12),
            on=disc,
        )
    petals = look.pick((3, 4, 5, 6))
    for i in range(petals):
        shape = spline(xy("0 -.06, .16 -.26, 0 -.54, -.16 -.26"))
        pen.fill(moved(shape, 0, 0, turn=360 / petals * i), colour.turned(40).lighter(0.22), shadow=0.6)
    pen.fill(ellipse(0, 0, 0.16), ink(0.7, 0.16, (colour.hue + 150) % 360, "crystal"))


DRAWN: Final[dict[str, Callable[[Pen, Look], None]]] = {
    "dragon": dragon, "slime": slime, "bat": bat, "spider": spider, "fish": fish, "shark": fish,
        "whale": fish, "snake": snake,
    "ghost": ghost, "mushroom": mushroom, "golem": golem, "octopus": octopus, "crab": crab,
        "butterfly": butterfly, "bee": butterfly,
    "eyeball": eyeball, "alien": alien, "plant monster": plant_monster, "monster": monster, **beasts.DRAWN,
}  # fmt: skip


def draw_creature(pen: Pen, look: Look) -> None:
    DRAWN[look.wish.subject](pen, look)
