"""What characters wear: hair, hats, helmets, masks, capes and wings, and heads that are not flesh.

Everything is placed relative to the head's centre (x, y); the head is about ±0.42 wide and ±0.42 high.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from genyard.preview import faces
from genyard.preview.bodies import Person
from genyard.preview.heads import DARK
from genyard.preview.look import Look
from genyard.preview.paint import Pen
from genyard.preview.palette import Ink, ink
from genyard.preview.shapes import (
    Outlines,
    arc,
    box,
    ellipse,
    limb,
    mirrored,
    moved,
    polygon,
    spline,
    star,
    xy,
    xyr,
)

STEEL: Final = ink(0.76, 0.022, 255, "metal")
GOLD: Final = ink(0.8, 0.15, 84, "gold")
STRAW: Final = ink(0.82, 0.11, 85, "cloth")
HORN: Final = ink(0.88, 0.05, 85, "bone")


def knight_helm(pen: Pen, look: Look, p: Person, x: float, y: float) -> None:
    metal = look.wish.colour("helmet", p.second if p.second.material in ("metal", "gold") else STEEL)
    pen.fill(
        limb(xyr(".02 -.4 .09, .16 -.62 .12, .4 -.56 .09, .5 -.36 .03", at=(x, y))), p.main.made_of("feather")
    )
    pen.fill(
        spline(
            xy(
                "-.42 -.12, -.26 -.42, 0 -.5, .26 -.42, .42 -.12, .42 .22, .26 .4, 0 .44, -.26 .4, -.42 .22",
                at=(x, y),
            )
        ),
        metal,
    )
    helm = pen.last
    fx = x + p.turn * 1.6
    pen.fill(
        spline(xy("-.32 -.05, 0 -.1, .32 -.05, .29 .09, .06 .1, 0 .16, -.06 .1, -.29 .09", at=(fx, y))),
        ink(0.16, 0.02, 280),
        puff=0,
        line=0.9,
        shadow=0,
    )
    for side in (-1, 1):
        pen.fill(
            ellipse(fx + side * 0.15, y + 0.015, 0.055, 0.06),
            ink(0.95, 0.05, 95, "glow"),
            puff=0,
            line=0,
            shadow=0,
        )
    pen.decal(box(fx - 0.045, y - 0.6, fx + 0.045, y - 0.1), GOLD, on=helm, line=0.6)
    for side in (-1, 1):
        for i in range(3):
            pen.fill(ellipse(fx + side * (0.08 + 0.08 * i), y + 0.25, 0.02), DARK, puff=0, line=0, shadow=0)


def horned_helm(pen: Pen, look: Look, p: Person, x: float, y: float) -> None:
    metal = p.second if p.second.material == "metal" else STEEL
    pen.both(limb(xyr(".34 -.26 .09, .54 -.36 .075, .58 -.62 .02", at=(0, y))), HORN)
    pen.fill(
        spline(xy("-.44 -.1, -.4 -.34, -.18 -.54, .18 -.54, .4 -.34, .44 -.1, 0 -.16", at=(x, y))), metal
    )
    pen.decal(box(x - 0.06, y - 0.7, x + 0.06, y), GOLD, line=0.7)
    pen.fill(spline(xy("-.46 -.2, 0 -.26, .46 -.2, .45 -.07, 0 -.13, -.45 -.07", at=(x, y))), GOLD, line=0.9)


def kabuto(pen: Pen, look: Look, p: Person, x: float, y: float) -> None:
    dark = p.main.darker(0.1).made_of("leather")
    pen.both(spline(xy(".3 -.2, .5 -.1, .56 .2, .4 .2, .36 0", at=(0, y))), dark)
    pen.fill(spline(xy("-.46 -.08, -.38 -.38, 0 -.56, .38 -.38, .46 -.08, 0 -.2", at=(x, y))), dark)
    pen.fill(
        spline(
            xy(
                "0 -.24, .2 -.4, .32 -.76, .36 -.36, .1 -.14, -.1 -.14, -.36 -.36, -.32 -.76, -.2 -.4",
                at=(x, y),
            )
        ),
        GOLD,
    )
    pen.fill(ellipse(x, y - 0.2, 0.08), ink(0.58, 0.2, 27, "shell"))


def pointed_hat(pen: Pen, look: Look, p: Person, x: float, y: float) -> None:
    colour = look.wish.colour("hat", p.main)
    bend = 0.24 if p.turn > 0 else -0.24
    pen.fill(
        spline(xy("-.66 -.12, -.3 -.3, .3 -.3, .66 -.12, .36 -.06, 0 -.04, -.36 -.06", at=(x, y))),
        colour.darker(0.04),
    )
    pen.fill(
        spline(
            [
                (x - 0.38, y - 0.2),
                (x - 0.27, y - 0.52),
                (x - 0.1 + bend * 0.2, y - 0.88),
                (x + bend, y - 1.16),
                (x + bend * 1.5, y - 1.08),
                (x + 0.14 + bend * 0.3, y - 0.8),
                (x + 0.28, y - 0.52),
                (x + 0.38, y - 0.2),
                (x, y - 0.13),
            ]
        ),
        colour,
    )
    cone = pen.last
    pen.decal(
        spline(xy("-.6 -.34, 0 -.26, .6 -.34, .6 -.2, 0 -.1, -.6 -.2", at=(x, y))),
        p.second,
        on=cone,
        line=0.7,
    )
    if look.wish.subject == "witch":
        pen.fill(box(x - 0.07, y - 0.3, x + 0.07, y - 0.16, 0.02), GOLD, line=0.8)
    else:
        for dx, dy, r in ((-0.08, -0.5, 0.075), (0.12, -0.66, 0.05)):
            pen.fill(star(x + dx, y + dy, r, r * 0.45), GOLD, line=0.5, puff=0.5, shadow=0.2)


def hood(pen: Pen, look: Look, p: Person, x: float, y: float) -> None:
    colour = look.wish.colour("hood", p.main)
    outer = spline(
        xy(
            "-.5 .3, -.5 -.15, -.3 -.48, .02 -.62, .3 -.48, .5 -.15, .5 .3, .32 .42, .4 .1, "
            ".3 -.18, 0 -.29, -.3 -.18, -.4 .1, -.32 .42",
            at=(x, y),
        )
    )
    pen.fill(outer, colour)


def ninja_mask(pen: Pen, look: Look, p: Person, x: float, y: float) -> None:
    colour = look.wish.colour("mask", p.main)
    band = p.second if p.second.material != "leather" else ink(0.55, 0.2, 27, "cloth")
    pen.fill(limb(xyr(".38 -.16 .05, .6 -.22 .06, .76 -.08 .03", at=(0, y))), band)
    pen.fill(ellipse(x, y, 0.445, 0.44), colour, puff=0.9)
    fx = x + p.turn * 1.6
    pen.fill(
        spline(xy("-.33 -.07, 0 -.11, .33 -.07, .31 .15, 0 .13, -.31 .15", at=(fx, y))),
        p.skin,
        puff=0.4,
        line=0.8,
    )
    faces.eyes(pen, fx, y + 0.03, 0.16, 0.085, p.eye, mood=p.mood, look=p.turn * 6, brow=DARK)
    pen.fill(
        spline(xy("-.44 -.25, 0 -.2, .44 -.25, .445 -.13, 0 -.08, -.445 -.13", at=(x, y))),
        band,
        line=0.9,
        shadow=0.5,
    )
    pen.fill(box(fx - 0.14, y - 0.22, fx + 0.14, y - 0.1, 0.02), STEEL, line=0.7, shadow=0.2, puff=0.6)


def crown(pen: Pen, look: Look, p: Person, x: float, y: float) -> None:
    gold = look.wish.colour("crown", GOLD)
    with pen.placed(x, y - 0.36):
        crown_shape(pen, gold, 0.32)


def crown_shape(pen: Pen, gold: Ink, w: float) -> None:
    """A crown of half-width w standing on y = 0.1·w, about 1.2·w high."""
    s = w / 0.32
    pen.fill(
        polygon(
            [
                (-0.32 * s, 0.05 * s),
                (-0.38 * s, -0.3 * s),
                (-0.19 * s, -0.13 * s),
                (0, -0.38 * s),
                (0.19 * s, -0.13 * s),
                (0.38 * s, -0.3 * s),
                (0.32 * s, 0.05 * s),
                (0, 0.09 * s),
            ]
        ),
        gold,
        edge=0.09 * s,
    )
    pen.fill(
        spline(
            [
                (-0.34 * s, 0.0),
                (0, 0.045 * s),
                (0.34 * s, 0.0),
                (0.33 * s, 0.1 * s),
                (0, 0.15 * s),
                (-0.33 * s, 0.1 * s),
            ]
        ),
        gold,
        shadow=0.3,
    )
    for i, (dx, dy, hue) in enumerate(((0, 0.095, 20), (-0.2, 0.07, 260), (0.2, 0.07, 260))):
        pen.fill(
            ellipse(dx * s, dy * s, (0.045 - 0.01 * (i > 0)) * s),
            ink(0.58, 0.21, hue, "crystal"),
            line=0.6,
            shadow=0,
        )
    for dx, dy in ((-0.38, -0.32), (0, -0.4), (0.38, -0.32)):
        pen.fill(ellipse(dx * s, dy * s, 0.045 * s), gold, line=0.8, shadow=0.2)


def straw_hat(pen: Pen, look: Look, p: Person, x: float, y: float) -> None:
    colour = look.wish.colour("hat", STRAW)
    pen.fill(spline(xy("-.68 -.16, -.3 -.3, .3 -.3, .68 -.16, .3 -.08, -.3 -.08", at=(x, y))), colour)
    pen.fill(spline(xy("-.37 -.2, -.32 -.48, 0 -.58, .32 -.48, .37 -.2, 0 -.15", at=(x, y))), colour)
    pen.decal(
        spline(xy("-.6 -.34, 0 -.28, .6 -.34, .6 -.24, 0 -.17, -.6 -.24", at=(x, y))),
        ink(0.52, 0.18, 27, "cloth"),
        line=0.6,
    )


def cowboy_hat(pen: Pen, look: Look, p: Person, x: float, y: float) -> None:
    colour = look.wish.colour("hat", ink(0.46, 0.08, 52, "leather"))
    pen.fill(
        spline(
            xy("-.74 -.32, -.42 -.22, 0 -.26, .42 -.22, .74 -.32, .46 -.08, 0 -.08, -.46 -.08", at=(x, y))
        ),
        colour,
    )
    pen.fill(
        spline(
            xy("-.36 -.19, -.33 -.56, -.14 -.64, 0 -.57, .14 -.64, .33 -.56, .36 -.19, 0 -.14", at=(x, y))
        ),
        colour,
    )
    pen.decal(spline(xy("-.6 -.32, 0 -.26, .6 -.32, .6 -.23, 0 -.16, -.6 -.23", at=(x, y))), GOLD, line=0.6)


def tricorne(pen: Pen, look: Look, p: Person, x: float, y: float) -> None:
    colour = look.wish.colour("hat", ink(0.3, 0.05, 280, "cloth"))
    pen.fill(
        spline(
            xy(
                "-.62 -.14, -.56 -.42, -.22 -.62, 0 -.74, .22 -.62, .56 -.42, .62 -.14, .3 -.22, "
                "0 -.26, -.3 -.22",
                at=(x, y),
            )
        ),
        colour,
    )
    pen.stroke(
        spline(xy("-.6 -.16, -.3 -.25, 0 -.29, .3 -.25, .6 -.16", at=(x, y)), closed=False), GOLD, 0.035
    )
    pen.fill(ellipse(x, y - 0.47, 0.09, 0.085), ink(0.93, 0.02, 90, "bone"), line=0.6, shadow=0.2)
    pen.fill(
        box(x - 0.045, y - 0.42, x + 0.045, y - 0.36, 0.015), ink(0.93, 0.02, 90, "bone"), line=0.5, shadow=0
    )
    for side in (-1, 1):
        pen.fill(ellipse(x + side * 0.035, y - 0.47, 0.025), DARK, puff=0, line=0, shadow=0)


def bubble_helm(pen: Pen, look: Look, p: Person, x: float, y: float) -> None:
    pen.fill(limb(xyr("-.3 .4 .08, .3 .4 .08", at=(x, y))), p.main.darker(0.1))
    pen.fill(ellipse(x, y, 0.53, 0.52), ink(0.86, 0.05, 225, "glass"), alpha=0.34, shadow=0)
    pen.stroke(faces.arc_line(x, y, 0.42, 190, 250), faces.WHITE, 0.05)
    pen.stroke(faces.arc_line(x, y, 0.42, 258, 268), faces.WHITE, 0.05)


def eyepatch(pen: Pen, look: Look, p: Person, x: float, y: float) -> None:
    fx = x + p.turn * 1.6
    pen.stroke(polygon([(x - 0.4, y - 0.14), (x + 0.4, y + 0.1)]), DARK, 0.035)
    pen.fill(ellipse(fx + 0.17, y + 0.05, 0.125, 0.13), DARK, puff=0.5)


def glasses(pen: Pen, look: Look, p: Person, x: float, y: float) -> None:
    fx = x + p.turn * 1.6
    for side in (-1, 1):
        pen.fill(
            ellipse(fx + side * 0.17, y + 0.07, 0.14),
            ink(0.86, 0.05, 220, "glass"),
            alpha=0.35,
            shadow=0,
            line=0,
        )
        pen.stroke(ellipse(fx + side * 0.17, y + 0.07, 0.14), DARK, 0.03, closed=True)
    pen.stroke(polygon([(fx - 0.03, y + 0.06), (fx + 0.03, y + 0.06)]), DARK, 0.03)


def horns(pen: Pen, look: Look, p: Person, x: float, y: float) -> None:
    colour = look.wish.colour("horns", ink(0.35, 0.05, 30, "bone"))
    pen.both(limb(xyr(".2 -.34 .085, .36 -.5 .07, .33 -.78 .012", at=(0, y))), colour)


def halo(pen: Pen, look: Look, p: Person, x: float, y: float) -> None:
    pen.glow(x, y - 0.62, 0.4, GOLD, strength=0.5)
    ring = moved([o * (1, 0.32) for o in arc(0, 0, 0.26, 0, 360, 0.035)], x, y - 0.64)
    pen.fill(ring, ink(0.92, 0.11, 95, "glow"), line=0.7)


def circlet(pen: Pen, look: Look, p: Person, x: float, y: float) -> None:
    pen.fill(
        spline(xy("-.42 -.17, 0 -.1, .42 -.17, .42 -.12, 0 -.045, -.42 -.12", at=(x, y))), GOLD, line=0.7
    )
    pen.fill(ellipse(x + p.turn * 1.6, y - 0.08, 0.05), ink(0.65, 0.18, 160, "crystal"), line=0.6)


def scarf(pen: Pen, look: Look, p: Person, x: float, y: float) -> None:
    colour = (
        ink(0.58, 0.2, 27, "cloth")
        if abs((p.main.hue - 27 + 180) % 360 - 180) > 40
        else ink(0.88, 0.1, 92, "cloth")
    )
    side = 1 if p.turn < 0 else -1
    pen.fill(limb(xyr(".2 .42 .06, .4 .5 .085, .6 .42 .05", side=side, at=(0, y))), colour)
    pen.fill(limb(xyr("-.24 .36 .075, 0 .43 .085, .24 .36 .075", at=(x, y))), colour)


COVERING: Final = (
    "knight helm",
    "wizard hat",
    "witch hat",
    "hood",
    "crown",
    "straw hat",
    "cowboy hat",
    "tricorne",
    "horned helm",
    "kabuto",
    "bubble helm",
    "ninja mask",
)
WEAR: Final[dict[str, Callable[[Pen, Look, Person, float, float], None]]] = {
    "knight helm": knight_helm, "horned helm": horned_helm, "kabuto": kabuto, "wizard hat": pointed_hat,
        "witch hat": pointed_hat,
    "hood": hood, "ninja mask": ninja_mask, "crown": crown, "straw hat": straw_hat, "cowboy hat": cowboy_hat,
        "tricorne": tricorne,
    "bubble helm": bubble_helm, "eyepatch": eyepatch, "glasses": glasses, "horns": horns, "halo": halo,
        "circlet": circlet, "scarf": scarf,
}  # fmt: skip


def cape(pen: Pen, look: Look, p: Person) -> None:
    base = look.wish.colour(
        "cape", p.main.darker(0.06) if p.main.material == "cloth" else ink(0.5, 0.18, 27, "cloth")
    )
    sway = p.turn * 2
    pen.fill(
        spline(
            [
                (-0.26, -0.18),
                (0.26, -0.18),
                (0.42, 0.25),
                (0.56 - sway, 0.78),
                (0.38 - sway, 0.88),
                (0.2 - sway, 0.82),
                (0, 0.9),
                (-0.2 - sway, 0.82),
                (-0.38 - sway, 0.88),
                (-0.56 - sway, 0.78),
                (-0.42, 0.25),
            ]
        ),
        base,
    )


def high_cape(pen: Pen, look: Look, p: Person) -> None:
    cape(pen, look, p)
    pen.both(
        spline(xy(".08 -.1, .3 -.2, .56 -.56, .52 -.2, .38 .04")),
        look.wish.colour("cape", ink(0.5, 0.19, 22, "cloth")),
    )


def quiver(pen: Pen, look: Look, p: Person) -> None:
    with pen.placed(0.34, -0.08, turn=24):
        for dx in (-0.06, 0.02, 0.09):
            pen.fill(
                spline(xy("-.035 -.42, 0 -.5, .035 -.42, .03 -.25, -.03 -.25", at=(dx, 0))),
                ink(0.6, 0.18, 27, "feather"),
                line=0.7,
            )
        pen.fill(box(-0.12, -0.3, 0.12, 0.4, 0.06), ink(0.46, 0.08, 50, "leather"))


def pack(pen: Pen, look: Look, p: Person) -> None:
    pen.fill(box(-0.44, -0.2, 0.44, 0.42, 0.1), p.main.darker(0.16))


def wings(pen: Pen, look: Look, p: Person) -> None:
    colour = look.wish.colour("wings", ink(0.96, 0.015, 90, "feather"))
    for wing in (feather_wing(), mirrored(feather_wing())):
        for k, piece in enumerate(wing):
            pen.fill([piece], colour.darker(0.05 * (2 - k)), shadow=0.6)


def feather_wing() -> Outlines:
    return [
        spline(xy(".15 .06, .6 .12, .9 .5, .72 .42, .7 .6, .55 .45, .48 .58, .3 .34"))[0],
        spline(xy(".15 0, .6 -.14, 1.05 .14, .9 .14, .92 .32, .72 .24, .68 .36, .4 .22"))[0],
        spline(xy(".15 0, .45 -.42, .95 -.52, 1.16 -.26, .98 -.24, 1.06 -.06, .84 -.06, .8 .08, .45 .08"))[0],
    ]


def bat_wings(pen: Pen, look: Look, p: Person) -> None:
    colour = look.wish.colour("wings", ink(0.38, 0.1, 15, "leather"))
    pen.both(membrane(), colour, puff=0.7)
    pen.both(limb(xyr(".2 .05 .04, .55 -.35 .045, .92 -.5 .03")), colour.darker(0.06))


def membrane() -> Outlines:
    return spline(
        xy(".16 .1, .5 -.38, .92 -.54, 1.1 -.1, 1.12 .32, .92 .14, .8 .4, .62 .2, .46 .42, .34 .22")
    )


def tail(pen: Pen, look: Look, p: Person) -> None:
    colour = look.wish.colour("tail", p.skin.darker(0.05))
    pen.fill(limb(xyr(".1 .5 .06, .5 .72 .05, .72 .5 .04, .62 .24 .03")), colour)
    pen.fill(polygon(xy(".62 .04, .76 .26, .62 .22, .49 .3")), colour)


BACK: Final[dict[str, Callable[[Pen, Look, Person], None]]] = {
    "cape": cape, "high cape": high_cape, "quiver": quiver, "pack": pack, "wings": wings,
        "bat wings": bat_wings, "tail": tail,
}  # fmt: skip
