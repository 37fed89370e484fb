"""Heads: hair, ears, beards, and heads that are not flesh, relative to the centre (x, y); about ±0.42 wide and high."""

from __future__ import annotations

from typing import Final

from genyard.preview.bodies import Person
from genyard.preview.look import Look
from genyard.preview.paint import Pen
from genyard.preview.palette import ink
from genyard.preview.shapes import box, ellipse, limb, moved, polygon, spline, xy, xyr

DARK: Final = ink(0.25, 0.03, 280)


def back_hair(pen: Pen, p: Person) -> None:
    x, y = p.turn * 0.6, -0.52
    if p.hair_style == "pigtails":
        pen.both(limb(xyr(".36 .02 .1, .56 .2 .13, .56 .5 .05", at=(0, y))), p.hair)
        return
    pen.fill(
        spline(
            xy("-.4 -.2, 0 -.46, .4 -.2, .5 .3, .44 .72, .2 .62, 0 .72, -.2 .62, -.44 .72, -.5 .3", at=(x, y))
        ),
        p.hair.darker(0.05),
    )


_CAPS: Final[dict[str, list[tuple[float, float]]]] = {
    "short": xy(
"-.42 .02, -.45 -.22, -.28 -.46, .02 -.52, .3 -.45, .45 -.2, .42 .02, .34 -.14, "
".2 -.2, .05 -.13, -.14 -.22, -.33 -.12"
),
    "bowl": xy(
"-.44 .06, -.46 -.2, -.28 -.46, 0 -.52, .28 -.46, .46 -.2, .44 .06, .36 -.08, "
".18 -.11, 0 -.1, -.18 -.11, -.36 -.08"
),
    "slick": xy(
"-.42 0, -.44 -.24, -.26 -.46, .02 -.5, .28 -.45, .44 -.22, .42 0, .33 -.18, "
".16 -.26, 0 -.1, -.16 -.26, -.33 -.18"
),
    "long": xy(
"-.44 .3, -.48 -.2, -.28 -.47, 0 -.53, .28 -.47, .48 -.2, .44 .3, .37 -.02, "
".26 -.18, .06 -.24, -.12 -.16, -.3 -.15, -.37 0"
),
    "pigtails": xy(
"-.43 .02, -.46 -.2, -.28 -.47, 0 -.53, .28 -.47, .46 -.2, .43 .02, .34 -.12, "
".14 -.2, -.04 -.26, -.2 -.16, -.35 -.1"
),
    "bun": xy(
"-.42 .02, -.45 -.22, -.28 -.46, 0 -.52, .28 -.46, .45 -.22, .42 .02, .3 -.2, "
".05 -.27, -.2 -.2, -.34 -.08"
),
}  # fmt: skip


_SPIKES: Final[dict[str, list[tuple[float, float]]]] = {
    "spiky": xy(
"-.43 .08, -.56 -.12, -.44 -.2, -.5 -.46, -.27 -.42, -.2 -.7, .02 -.5, .22 -.72, "
".28 -.44, .52 -.46, .44 -.18, .55 -.06, .42 .06, .3 -.16, .2 -.04, .06 -.2, "
"-.08 -.03, -.2 -.2, -.31 -.04"
),
    "messy": xy(
"-.43 .1, -.53 -.05, -.45 -.2, -.5 -.36, -.32 -.42, -.22 -.58, -.02 -.49, .16 -.6, "
".28 -.44, .48 -.42, .44 -.2, .5 -.02, .42 .08, .33 -.1, .17 -.18, .12 -.05, "
"-.05 -.19, -.16 -.04, -.3 -.15"
),
    "topknot": xy(
"-.16 -.38, -.1 -.52, -.22 -.78, -.02 -.66, .14 -.84, .12 -.52, .16 -.38, 0 -.33"
),
}  # fmt: skip


def front_hair(pen: Pen, p: Person, x: float, y: float) -> None:
    if p.hair_style == "bun":
        pen.fill(ellipse(x, y - 0.55, 0.18, 0.16), p.hair)
    if p.hair_style in _SPIKES:
        pen.fill(moved(polygon(_SPIKES[p.hair_style]), x, y), p.hair, puff=0.9)
    elif p.hair_style in _CAPS:
        pen.fill(moved(spline(_CAPS[p.hair_style]), x, y), p.hair, puff=0.9)
        pen.decal(
            spline(xy("-.34 -.3, -.05 -.42, .2 -.38, -.05 -.34", at=(x, y))), p.hair.lighter(0.16), alpha=0.7
        )


def ears(pen: Pen, p: Person, x: float, y: float) -> None:
    kind = p.outfit.ears
    if kind == "long":
        pen.both(spline(xy(".34 -.05, .6 -.22, .82 -.26, .64 .04, .36 .14", at=(0, y))), p.skin)
        pen.both(
            spline(xy(".42 0, .6 -.13, .72 -.19, .58 .01", at=(0, y))), p.skin.darker(0.12), line=0, shadow=0
        )
    elif kind == "point":
        pen.both(spline(xy(".36 -.04, .6 -.2, .5 .1, .36 .12", at=(0, y))), p.skin)
    elif p.outfit.head == "face":
        pen.both(ellipse(0.42, y + 0.06, 0.075, 0.1), p.skin)


def beard(pen: Pen, look: Look, p: Person, x: float, y: float) -> None:
    long = look.wish.subject in ("wizard", "dwarf") or look.wish.has("tall")
    end = 0.86 if long else 0.56
    colour = look.wish.colour("beard", ink(0.9, 0.015, 250) if look.wish.subject == "wizard" else p.hair)
    pen.fill(
        spline(
            [
                (x - 0.4, y + 0.08),
                (x - 0.27, y + 0.17),
                (x - 0.1, y + 0.19),
                (x, y + 0.2),
                (x + 0.1, y + 0.19),
                (x + 0.27, y + 0.17),
                (x + 0.4, y + 0.08),
                (x + 0.37, y + 0.36),
                (x + 0.18, y + end * 0.82),
                (x + 0.02, y + end),
                (x - 0.17, y + end * 0.8),
                (x - 0.37, y + 0.36),
            ]
        ),
        colour,
    )
    fx = x + p.turn * 1.6
    pen.fill(
        spline(xy("0 .19, .14 .17, .25 .26, .1 .28, 0 .25, -.1 .28, -.25 .26, -.14 .17", at=(fx, y))),
        colour.lighter(0.04),
        line=0.8,
    )


def skull(pen: Pen, p: Person, x: float, y: float) -> None:
    pen.fill(box(x - 0.2, y + 0.14, x + 0.2, y + 0.38, 0.08), p.main.darker(0.05))
    pen.fill(
        spline(xy("-.4 -.16, -.2 -.41, .2 -.41, .4 -.16, .36 .12, .22 .26, -.22 .26, -.36 .12", at=(x, y))),
        p.main,
    )
    fx = x + p.turn
    for side in (-1, 1):
        pen.fill(
            ellipse(fx + side * 0.16, y + 0.01, 0.115, 0.13, side * 12),
            ink(0.2, 0.04, 300),
            puff=0,
            line=0.6,
            shadow=0,
        )
        pen.glow(fx + side * 0.16, y + 0.03, 0.13, ink(0.78, 0.17, 30), strength=0.9)
    pen.fill(polygon(xy("0 .1, .05 .19, -.05 .19", at=(fx, y))), DARK, puff=0, line=0.3, shadow=0)
    for i in range(4):
        pen.stroke(polygon([(fx - 0.12 + 0.08 * i, y + 0.27), (fx - 0.12 + 0.08 * i, y + 0.35)]), DARK, 0.018)


def robot_head(pen: Pen, look: Look, p: Person, x: float, y: float) -> None:
    pen.fill(limb(xyr("0 -.3 .03, 0 -.56 .025", at=(x, y))), p.second)
    pen.fill(ellipse(x, y - 0.6, 0.075), ink(0.65, 0.21, 27, "glow"))
    pen.both(box(0.36, y - 0.1, 0.5, y + 0.16, 0.05), p.second)
    pen.fill(box(x - 0.42, y - 0.36, x + 0.42, y + 0.32, 0.14), p.main, puff=1.0)
    fx = x + p.turn
    pen.fill(
        box(fx - 0.33, y - 0.2, fx + 0.33, y + 0.17, 0.12), ink(0.24, 0.04, 265, "glass"), puff=0.5, line=0.8
    )
    glow = look.wish.colour("eyes", ink(0.86, 0.13, 195)).made_of("glow")
    for side in (-1, 1):
        pen.glow(fx + side * 0.15, y - 0.02, 0.17, glow, strength=0.7)
        pen.fill(
            box(fx + side * 0.15 - 0.075, y - 0.1, fx + side * 0.15 + 0.075, y + 0.06, 0.06),
            glow,
            puff=0.3,
            line=0,
            shadow=0,
        )
    pen.fill(
        box(fx - 0.12, y + 0.21, fx + 0.12, y + 0.27, 0.02),
        p.second.darker(0.2),
        puff=0.2,
        line=0.6,
        shadow=0,
    )
