"""Wild things with many legs, fins or coils, and visitors from elsewhere."""

from __future__ import annotations

from typing import Final

import numpy as np

from genyard.preview import faces
from genyard.preview.look import Look, hue_ink
from genyard.preview.outfits import GOLD, crown_shape
from genyard.preview.paint import Pen
from genyard.preview.palette import Ink, ink
from genyard.preview.shapes import ellipse, limb, polygon, spline, xy, xyr

IVORY: Final = ink(0.94, 0.035, 92, "bone")


DARK: Final = ink(0.2, 0.03, 290, "eye")


def iris_of(look: Look, *defaults: Ink) -> Ink:
    return look.wish.colour(
        "eyes",
        look.pick(
            defaults or (ink(0.5, 0.13, 250, "eye"), ink(0.55, 0.15, 145, "eye"), ink(0.6, 0.15, 60, "eye"))
        ),
    )


def adorn(pen: Pen, look: Look, top: float, half: float, colour: Ink) -> None:
    """Crown, horns, hat or halo that the prompt put on a creature whose head top is at (0, top)."""
    wish = look.wish
    if wish.has("horns"):
        pen.both(
            limb(xyr(".5 .1 .1, .8 -.12 .08, .74 -.42 .015", side=half, at=(0, top))),
            wish.colour("horns", IVORY),
        )
    if "crown" in wish.things:
        with pen.placed(0, top + 0.02):
            crown_shape(pen, wish.colour("crown", GOLD), half * 0.55)
    if wish.has("hat"):
        hat = wish.colour("hat", ink(0.42, 0.15, 300, "cloth"))
        pen.fill(
            spline([(-half * 0.9, top + 0.06), (0, top - 0.04), (half * 0.9, top + 0.06), (0, top + 0.16)]),
            hat,
        )
        pen.fill(
            spline(
                [
                    (-half * 0.5, top + 0.04),
                    (-0.02, top - 0.7),
                    (0.1, top - 0.7),
                    (half * 0.5, top + 0.04),
                    (0, top + 0.1),
                ]
            ),
            hat,
        )
    if wish.has("spikes"):
        for x in (-0.6, -0.2, 0.2, 0.6):
            pen.fill(
                polygon(
                    [(x * half - 0.09, top + 0.14), (x * half, top - 0.2), (x * half + 0.09, top + 0.14)]
                ),
                wish.colour("spikes", IVORY),
            )


def bat_wing(pen: Pen, x: float, y: float, size: float, colour: Ink, *, bone: Ink | None = None) -> None:
    """A pair of membranes rooted at (±x, y)."""
    bone = bone or colour.darker(0.12)
    knots = xy("0 .05, .3 -.62, .72 -.92, .98 -.48, 1.2 -.06, .94 -.1, .82 .24, .6 .06, .42 .36, .24 .16")
    fingers = ([(0.72, -0.9), (1.16, -0.08)], [(0.72, -0.9), (0.82, 0.2)], [(0.72, -0.9), (0.42, 0.32)])
    for flip in (False, True):
        with pen.placed(x if not flip else -x, y, size=size, flip=flip):
            pen.fill(spline(knots), colour, puff=0.45)
            skin = pen.last
            for a, b in fingers:
                pen.decal(
                    limb(
                        [(*a, 0.035), ((a[0] + b[0]) / 2 + 0.04, (a[1] + b[1]) / 2, 0.028), (*b, 0.012)],
                        steps=4,
                    ),
                    bone,
                    on=skin,
                    line=0.5,
                )
            pen.fill(limb(xyr("0 .04 .075, .32 -.55 .065, .72 -.9 .04")), bone)
            pen.fill(polygon(xy(".66 -.9, .78 -1.14, .8 -.86")), IVORY, line=0.8)


def spider(pen: Pen, look: Look) -> None:
    colour = look.main(ink(0.34, 0.06, 290, "fur"), ink(0.4, 0.1, 25, "fur"), ink(0.36, 0.07, 150, "fur"))
    mark = look.wish.second(ink(0.62, 0.22, 27))
    for k, (kx, ky, fx, fy) in enumerate(
        (
            (0.62, -0.62, 0.86, -0.1),
            (0.9, -0.34, 1.12, 0.36),
            (0.92, 0.06, 1.1, 0.72),
            (0.72, 0.3, 0.78, 0.92),
        )
    ):
        y = 0.05 + 0.09 * k
        pen.both(limb([(0.2, y, 0.07), (kx, ky, 0.075), (fx, fy, 0.03)]), colour)
        pen.both(
            limb([((kx * 2 + fx) / 3, (ky * 2 + fy) / 3, 0.07), ((kx + fx) / 2, (ky + fy) / 2, 0.06)]),
            mark,
            line=0.6,
            shadow=0,
        )
    pen.fill(ellipse(0, -0.26, 0.56, 0.54), colour)
    pen.decal(polygon(xy("-.2 -.66, .2 -.66, 0 -.42, .2 -.16, -.2 -.16, 0 -.42")), mark, line=0.6)
    pen.fill(ellipse(0, 0.36, 0.44, 0.4), colour.lighter(0.04))
    faces.eyes(pen, 0, 0.34, 0.17, 0.13, iris_of(look, ink(0.6, 0.21, 27, "eye")), mood=look.mood())
    for s in (-1, 1):
        for x, y, r in ((0.34, 0.2, 0.06), (0.13, 0.12, 0.05)):
            pen.fill(ellipse(s * x, y, r), DARK, puff=0.5, line=0.4, shadow=0)
            pen.fill(ellipse(s * x - r * 0.3, y - r * 0.3, r * 0.35), faces.WHITE, puff=0, line=0, shadow=0)
        pen.fill(polygon(xy(".16 .6, .04 .62, .09 .82", side=s)), IVORY, line=0.8)


def fish(pen: Pen, look: Look) -> None:
    kind = look.wish.subject
    colour = look.main(
        *{"shark": (ink(0.58, 0.05, 240),), "whale": (ink(0.52, 0.12, 250),)}.get(
            kind, tuple(hue_ink(h, light=0.68, material="scales") for h in (55, 27, 250, 95, 190))
        )
    )
    belly = look.wish.second(ink(0.94, 0.025, 90))
    fin = colour.turned(-12).darker(0.06).made_of("plain")
    long = 1.0 if kind == "fish" else 1.16
    pen.fill(spline(xy(".62 0, .94 -.46, 1.16 -.52, 1.06 0, 1.16 .52, .92 .42", side=long)), fin)
    pen.fill(
        spline(
            xy("-.2 -.42, .1 -.88, .4 -.92, .34 -.4")
            if kind != "fish"
            else xy("-.34 -.44, -.1 -.84, .24 -.86, .44 -.6, .4 -.34")
        ),
        fin,
    )
    pen.fill(spline(xy("0 .42, .16 .76, .34 .7, .3 .36")), fin)
    pen.fill(
        spline(
            [
                (-0.92 * long, 0.06),
                (-0.66, -0.42),
                (-0.1, -0.58),
                (0.42, -0.36),
                (0.8 * long, -0.02),
                (0.42, 0.36),
                (-0.1, 0.56),
                (-0.66, 0.46),
            ]
        ),
        colour,
    )
    body = pen.last
    pen.decal(spline(xy("-1.1 .2, -.4 .24, .2 .22, .8 .1, .6 .7, -.8 .8")), belly, on=body, line=0.0)
    if kind == "fish" and (look.chance(0.5) or look.wish.has("stripes")):
        for x in (-0.12, 0.26):
            pen.decal(
                spline(xy("-.07 -.8, .1 -.8, .14 0, .07 .8, -.08 .8, -.02 0", at=(x, 0))),
                belly,
                on=body,
                line=0.5,
            )
    pen.fill(spline(xy("-.1 .06, .24 .16, .3 .42, 0 .3")), fin)
    faces.eye(pen, -0.52, -0.1, 0.15 if kind == "fish" else 0.09, iris_of(look), mood=look.mood(), look=-0.5)
    if kind == "shark":
        pen.fill(
            spline(xy("-1.02 .2, -.7 .2, -.4 .28, -.6 .42, -.9 .36")), faces.MOUTH, puff=0, line=0.8, shadow=0
        )
        faces.teeth(pen, -0.98, -0.46, 0.22, 5, 0.1)
        for x in (-0.28, -0.2, -0.12):
            pen.stroke(spline(xy("0 -.14, .03 0, 0 .14", at=(x, 0)), closed=False), colour.darker(0.2), 0.022)
    else:
        pen.stroke(faces.arc_line(-0.78, 0.14, 0.12, 10, 120), DARK, 0.03)


def snake(pen: Pen, look: Look) -> None:
    colour = look.main(*(hue_ink(h, light=0.64, material="scales") for h in (142, 95, 305, 190)))
    belly = look.wish.second(ink(0.9, 0.08, 95))
    pen.fill(limb(xyr(".5 .86 .1, .9 .78 .09, 1.02 .52 .05, .96 .4 .02")), colour)
    pen.fill(limb(xyr("-.7 .72 .2, -.1 .86 .23, .5 .74 .2, .62 .52 .16")), colour)
    coil = pen.last
    for x in np.arange(-0.7, 0.7, 0.22):
        pen.decal(polygon(xy("-.1 .4, .02 .4, -.02 1.1, -.12 1.1", at=(x, 0))), colour.darker(0.13), on=coil)
    pen.fill(limb(xyr(".5 .58 .18, -.1 .46 .2, -.62 .5 .2, -.76 .66 .18")), colour)
    pen.fill(limb(xyr(".42 .56 .2, .3 .2 .2, 0 0 .2, -.14 -.3 .19")), colour)
    neck = pen.last
    pen.decal(limb(xyr(".36 .62 .1, .22 .22 .1, -.08 .02 .1, -.24 -.3 .09")), belly, on=neck, line=0.5)
    if look.wish.word == "cobra":
        pen.fill(spline(xy("-.14 -.7, .36 -.3, .24 .1, -.1 .2, -.5 .1, -.62 -.3")), colour.darker(0.05))
    pen.fill(limb(xyr("-.2 -.32 .025, -.22 -.08 .022")), ink(0.6, 0.21, 20), line=0.6, shadow=0)
    pen.both(limb(xyr("0 0 .001, 0 0 .001")), colour, line=0, shadow=0)
    pen.fill(
        spline(xy("-.52 -.42, -.44 -.72, -.14 -.86, .18 -.72, .26 -.42, .06 -.22, -.16 -.16, -.4 -.24")),
        colour,
    )
    faces.eyes(
        pen,
        -0.13,
        -0.52,
        0.19,
        0.11,
        iris_of(look, ink(0.78, 0.17, 90, "eye"), ink(0.65, 0.2, 40, "eye")),
        slit=True,
        mood=look.mood(),
    )
    pen.stroke(faces.arc_line(-0.14, -0.36, 0.22, 30, 150), DARK, 0.025)
    with pen.placed(-0.14, -0.8):
        adorn(pen, look, 0, 0.35, colour)


def octopus(pen: Pen, look: Look) -> None:
    colour = look.main(*(hue_ink(h, light=0.62, material="shell") for h in (305, 20, 190, 340)))
    for x, bend in ((0.72, 0.34), (0.46, 0.2), (0.2, 0.1)):
        for s in (-1, 1):
            pen.fill(
                limb(
                    [
                        (s * x * 0.5, 0.2, 0.15),
                        (s * x, 0.62, 0.13),
                        (s * (x + bend), 0.9, 0.1),
                        (s * (x + bend * 1.7), 0.72, 0.05),
                    ]
                ),
                colour,
            )
    pen.fill(spline(xy("-.5 .3, -.66 -.2, -.54 -.68, 0 -.94, .54 -.68, .66 -.2, .5 .3, 0 .44")), colour)
    for x, y, r in ((0.36, -0.6, 0.08), (0.2, -0.74, 0.05), (-0.42, -0.5, 0.06)):
        pen.decal(ellipse(x, y, r), colour.lighter(0.14))
    faces.eyes(pen, 0, -0.08, 0.25, 0.16, iris_of(look), mood=look.mood())
    faces.cheeks(pen, 0, 0.1, 0.44, 0.09)
    faces.mouth(pen, 0, 0.2, 0.1, mood=look.mood())
    adorn(pen, look, -0.86, 0.5, colour)


def crab(pen: Pen, look: Look) -> None:
    colour = look.main(
        ink(0.6, 0.2, 32, "shell"), ink(0.66, 0.17, 50, "shell"), ink(0.56, 0.16, 255, "shell")
    )
    for k in range(3):
        pen.both(
            limb([(0.5, 0.4 + 0.1 * k, 0.07), (0.86, 0.4 + 0.16 * k, 0.065), (0.98, 0.66 + 0.13 * k, 0.025)]),
            colour.darker(0.05),
        )
    pen.both(limb(xyr(".56 .16 .1, .86 0 .09, .86 -.24 .1")), colour)
    pen.both(
        spline(xy(".7 -.24, .66 -.6, .86 -.84, .84 -.52, .98 -.8, 1.16 -.56, 1.08 -.24, .9 -.12")), colour
    )
    pen.both(limb(xyr(".2 -.1 .055, .22 -.36 .055")), colour)
    pen.fill(spline(xy("-.72 .2, -.5 -.12, 0 -.2, .5 -.12, .72 .2, .56 .6, 0 .72, -.56 .6")), colour)
    for x, y, r in ((-0.3, 0.02, 0.07), (0.36, 0.08, 0.05), (0.1, -0.06, 0.045)):
        pen.decal(ellipse(x, y, r), colour.lighter(0.14))
    faces.eyes(pen, 0, -0.42, 0.22, 0.14, iris_of(look), mood=look.mood())
    faces.mouth(pen, 0, 0.34, 0.16, mood="happy" if look.mood() == "calm" else look.mood())


def butterfly(pen: Pen, look: Look) -> None:
    colour = look.main(*(hue_ink(h, light=0.66) for h in (55, 262, 330, 190)))
    bee = look.wish.subject == "bee"
    wing = look.wish.colour("wings", ink(0.92, 0.03, 220, "glass") if bee else colour)
    if bee:
        pen.both(spline(xy(".1 -.3, .5 -.9, .95 -.86, .9 -.4, .4 -.1")), wing, puff=0.5)
        body = look.main(ink(0.85, 0.16, 90))
        pen.fill(polygon(xy("-.1 .8, .1 .8, 0 1.02")), DARK)
        pen.fill(ellipse(0, 0.24, 0.58, 0.64), body)
        for y in (0.3, 0.58):
            pen.decal(
                spline(xy("-.8 0, 0 .08, .8 0, .8 .14, 0 .22, -.8 .14", at=(0, y))), ink(0.28, 0.03, 60)
            )
        faces.eyes(pen, 0, 0.0, 0.22, 0.14, iris_of(look), mood=look.mood())
        faces.mouth(pen, 0, 0.2, 0.09, mood=look.mood())
        pen.both(limb(xyr(".14 -.34 .03, .24 -.56 .03, .36 -.62 .05")), DARK)
        return
    pen.both(spline(xy(".06 .1, .5 .16, .82 .44, .66 .86, .36 .8, .1 .4")), wing.darker(0.06), puff=0.5)
    pen.both(spline(xy(".06 .05, .3 -.5, .8 -.86, 1.08 -.6, .92 -.02, .5 .2")), wing, puff=0.5)
    for s in (-1, 1):
        for x, y, r, d in (
            (0.74, -0.46, 0.2, 0.16),
            (0.74, -0.46, 0.1, -0.2),
            (0.52, 0.5, 0.14, 0.16),
            (0.44, -0.16, 0.08, 0.2),
        ):
            pen.fill(ellipse(s * x, y, r), wing.turned(40).lighter(d), puff=0.3, line=0.6, shadow=0)
    pen.both(limb(xyr(".04 -.4 .022, .2 -.74 .022, .3 -.8 .04")), DARK)
    pen.fill(limb(xyr("0 -.3 .1, 0 .2 .09, 0 .66 .04")), ink(0.36, 0.06, 50, "fur"))
    pen.fill(ellipse(0, -0.38, 0.16), ink(0.4, 0.07, 50, "fur"))
    faces.dots(pen, 0, -0.38, 0.07, 0.04)


def alien(pen: Pen, look: Look) -> None:
    colour = look.main(
        hue_ink(142, light=0.72, material="skin"), hue_ink(305, light=0.7, chroma=0.12, material="skin")
    )
    suit = ink(0.5, 0.1, 262, "cloth")
    pen.both(limb(xyr(".12 .66 .1, .14 .92 .1")), suit.darker(0.08))
    pen.both(limb(xyr(".22 .32 .075, .46 .46 .07, .5 .68 .07")), colour)
    pen.fill(spline(xy("-.2 .16, .2 .16, .3 .72, 0 .8, -.3 .72")), suit)
    pen.decal(limb(xyr("-.3 .5 .04, .3 .5 .04")), ink(0.85, 0.13, 195, "glow"), line=0.5)
    pen.both(limb(xyr(".2 -.7 .03, .34 -1 .03")), colour)
    pen.both(ellipse(0.35, -1.04, 0.085), ink(0.8, 0.17, 100, "glow"))
    pen.fill(spline(xy("0 -.86, .5 -.7, .64 -.3, .4 .06, 0 .24, -.4 .06, -.64 -.3, -.5 -.7")), colour)
    for s in (-1, 1):
        pen.fill(
            spline(xy(".08 -.12, .24 -.4, .5 -.42, .44 -.16, .22 0", side=s)),
            ink(0.16, 0.04, 290, "glass"),
            line=0.6,
            shadow=0,
        )
        pen.fill(ellipse(s * 0.34, -0.32, 0.05, 0.035, s * -30), faces.WHITE, puff=0, line=0, shadow=0)
    pen.stroke(faces.arc_line(0, 0.02, 0.09, 30, 150), DARK, 0.025)
