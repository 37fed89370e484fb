"""Things with a handle: the grip lies at the origin, the business end points up (y = -1.3 or so)."""

from __future__ import annotations

from typing import Final

from genyard.preview.look import Look
from genyard.preview.paint import Pen
from genyard.preview.palette import Ink, ink
from genyard.preview.shapes import arc, box, ellipse, limb, polygon, spline, star, xy, xyr

STEEL: Final = ink(0.8, 0.02, 250, "metal")
GOLD: Final = ink(0.8, 0.15, 84, "gold")
LEATHER: Final = ink(0.42, 0.08, 45, "leather")
WOOD: Final = ink(0.5, 0.09, 58, "wood")
GEMS: Final = (
    ink(0.6, 0.21, 20, "crystal"),
    ink(0.6, 0.18, 255, "crystal"),
    ink(0.68, 0.19, 150, "crystal"),
    ink(0.62, 0.2, 310, "crystal"),
)


def gem(pen: Pen, x: float, y: float, r: float, colour: Ink) -> None:
    pen.fill(ellipse(x, y, r), colour, line=0.8, shadow=0.3)
    pen.fill(
        ellipse(x - r * 0.3, y - r * 0.35, r * 0.26),
        ink(0.98, 0.01, 90, "eye"),
        puff=0,
        line=0,
        shadow=0,
        alpha=0.9,
    )


def _handle(pen: Pen, low: float, high: float, r: float, colour: Ink) -> None:
    pen.fill(limb([(0, high, r), (0, low, r)]), colour)
    grip = pen.last
    y = high + r
    while y < low - r:
        pen.decal(
            polygon([(-0.2, y), (0.2, y + r * 0.7), (0.2, y + r * 1.25), (-0.2, y + r * 0.55)]),
            colour.darker(0.13),
            on=grip,
        )
        y += r * 1.5


def _blade(pen: Pen, length: float, half: float, colour: Ink, look: Look) -> None:
    """A double-edged blade as two facets and a groove."""
    tip, base = -0.16 - length, -0.14
    wave = look.between(0, 0.02) if look.wish.has("ornate", "magic") else 0.0
    mid = (tip + base) / 2
    left = [(0.0, tip), (-half * 0.86, tip + half * 1.7), (-half - wave, mid), (-half, base), (0.0, base)]
    right = [(0.0, tip), (half * 0.86, tip + half * 1.7), (half + wave, mid), (half, base), (0.0, base)]
    pen.fill(polygon([*left[:-1], *right[-2:0:-1]]), colour, edge=half * 0.6, puff=1.2)
    blade = pen.last
    pen.decal(polygon(right), colour.darker(0.09), on=blade, tone=-0.12)
    pen.decal(
        spline(
            [
                (-half * 0.2, tip + half * 3),
                (half * 0.2, tip + half * 3),
                (half * 0.28, base - 0.05),
                (-half * 0.28, base - 0.05),
            ]
        ),
        colour.darker(0.2),
        on=blade,
        tone=-0.1,
    )
    pen.decal(
        polygon(
            [
                (-half * 0.95, mid),
                (-half * 0.55, mid - 0.25),
                (-half * 0.5, tip + 0.3),
                (-half * 0.9, tip + 0.34),
            ]
        ),
        colour.lighter(0.2),
        on=blade,
        tone=0.25,
    )
    if look.wish.has("broken"):
        pen.decal(
            polygon(xy("1.1 -.1, .3 0, 1.1 .08", side=half, at=(0, mid))), ink(0.3, 0.02, 270), on=blade
        )


def sword(pen: Pen, look: Look, accent: Ink) -> None:
    wish = look.wish
    steel = wish.colour("sword", STEEL)
    gold = GOLD if steel.material != "gold" else ink(0.5, 0.13, 30, "leather")
    length, half = look.between(1.05, 1.3), look.between(0.1, 0.145)
    _handle(pen, 0.24, -0.1, 0.05, look.pick((LEATHER, accent.made_of("leather").darker(0.08))))
    _blade(pen, length, half, steel, look)
    span = look.between(0.26, 0.36)
    if look.chance(0.5):
        pen.fill(
            spline(
                [
                    (-span, -0.2),
                    (-span * 0.5, -0.13),
                    (0, -0.16),
                    (span * 0.5, -0.13),
                    (span, -0.2),
                    (span * 0.95, -0.1),
                    (span * 0.4, -0.04),
                    (-span * 0.4, -0.04),
                    (-span * 0.95, -0.1),
                ]
            ),
            gold,
        )
    else:
        pen.fill(limb([(-span, -0.08, 0.055), (0, -0.11, 0.075), (span, -0.08, 0.055)]), gold)
    jewel = look.pick(GEMS)
    gem(pen, 0, -0.1, 0.062, jewel)
    pen.fill(ellipse(0, 0.3, 0.078), gold)


def katana(pen: Pen, look: Look, accent: Ink) -> None:
    steel = look.wish.colour("sword", STEEL)
    _handle(pen, 0.3, -0.1, 0.05, accent.made_of("leather").darker(0.1))
    pen.fill(
        spline(xy("-.055 -.13, -.04 -.7, .06 -1.32, .2 -1.5, .17 -1.28, .08 -.7, .055 -.13")),
        steel,
        edge=0.05,
        puff=1.2,
    )
    pen.decal(
        spline(xy(".02 -.1, .03 -.7, .13 -1.3, .3 -1.5, .3 -.7, .2 -.1")), steel.darker(0.12), tone=-0.1
    )
    pen.fill(ellipse(0, -0.11, 0.14, 0.05), GOLD)


def sabre(pen: Pen, look: Look, accent: Ink) -> None:
    steel = look.wish.colour("sword", STEEL)
    _handle(pen, 0.2, -0.1, 0.05, LEATHER)
    pen.fill(
        spline(xy("-.07 -.12, -.04 -.5, .08 -.9, .33 -1.24, .3 -.85, .2 -.45, .1 -.12")),
        steel,
        edge=0.06,
        puff=1.2,
    )
    pen.fill(arc(0.04, 0.05, 0.17, -90, 90, 0.03), GOLD)
    pen.fill(limb(xyr("-.16 -.1 .04, .16 -.1 .04")), GOLD)


def dagger(pen: Pen, look: Look, accent: Ink) -> None:
    steel = look.wish.colour("dagger", STEEL)
    _handle(pen, 0.22, -0.1, 0.06, LEATHER)
    pen.fill(spline(xy("-.1 -.13, -.13 -.4, 0 -.85, .13 -.4, .1 -.13")), steel, edge=0.07, puff=1.2)
    pen.decal(polygon(xy("0 -.9, .2 -.4, .2 -.1, 0 -.1")), steel.darker(0.1), tone=-0.12)
    pen.fill(limb(xyr("-.19 -.1 .05, .19 -.1 .05")), GOLD)
    gem(pen, 0, 0.26, 0.075, look.pick(GEMS))


def axe(pen: Pen, look: Look, accent: Ink) -> None:
    wish = look.wish
    steel = wish.colour("axe", STEEL)
    wood = WOOD
    pen.fill(limb(xyr("0 .45 .055, .02 -.3 .05, 0 -1.02 .055")), wood)
    double = look.chance(0.55)
    for side in (-1, 1) if double else (1,):
        pen.fill(
            spline(xy(".03 -.96, .22 -.98, .44 -1.16, .54 -.8, .44 -.42, .22 -.64, .03 -.62", side=side)),
            steel,
            edge=0.09,
            puff=1.1,
        )
        pen.decal(
            spline(xy(".4 -1.2, .62 -1.2, .62 -.35, .4 -.38, .47 -.8", side=side)),
            steel.lighter(0.12),
            line=0.5,
            tone=0.1,
        )
    if not double:
        pen.fill(polygon(xy("-.03 -.9, -.26 -.82, -.26 -.74, -.03 -.68")), steel, edge=0.05)
    pen.fill(box(-0.085, -1.02, 0.085, -0.56, 0.04), GOLD if wish.has("ornate") else steel.darker(0.25))
    pen.fill(limb(xyr("0 .1 .07, 0 .3 .07")), LEATHER)


def hammer(pen: Pen, look: Look, accent: Ink) -> None:
    steel = look.wish.colour("hammer", ink(0.62, 0.02, 255, "metal"))
    pen.fill(limb(xyr("0 .45 .058, 0 -.9 .055")), WOOD)
    pen.fill(box(-0.4, -1.12, 0.4, -0.68, 0.07), steel, edge=0.09, puff=1.1)
    for side in (-1, 1):
        pen.fill(
            box(min(side * 0.32, side * 0.47), -1.16, max(side * 0.32, side * 0.47), -0.64, 0.05),
            steel.darker(0.08),
            edge=0.05,
        )
    pen.fill(box(-0.1, -1.16, 0.1, -0.64, 0.03), GOLD)
    pen.fill(limb(xyr("0 .12 .072, 0 .36 .072")), LEATHER)


def pickaxe(pen: Pen, look: Look, accent: Ink) -> None:
    steel = look.wish.colour("pickaxe", ink(0.66, 0.02, 255, "metal"))
    pen.fill(limb(xyr("0 .45 .06, 0 -.95 .055")), WOOD)
    pen.fill(
        spline(xy("0 -1.12, .36 -1.02, .66 -.66, .34 -.84, 0 -.9, -.34 -.84, -.66 -.66, -.36 -1.02")),
        steel,
        edge=0.06,
    )
    pen.fill(box(-0.11, -1.16, 0.11, -0.84, 0.04), steel.darker(0.2))


def _shaft(pen: Pen, low: float, high: float, colour: Ink) -> None:
    pen.fill(limb([(0, low, 0.05), (0.015, (low + high) / 2, 0.045), (0, high, 0.05)]), colour)


def spear(pen: Pen, look: Look, accent: Ink) -> None:
    steel = look.wish.colour("spear", STEEL)
    _shaft(pen, 0.85, -0.95, WOOD)
    if look.wish.word == "trident" or look.wish.subject == "demon":
        pen.fill(
            spline(xy("-.3 -1.35, -.24 -.98, 0 -.88, .24 -.98, .3 -1.35, .37 -.9, 0 -.76, -.37 -.9")),
            steel,
            edge=0.04,
        )
    pen.fill(spline(xy("0 -1.45, .13 -1.12, .05 -.88, -.05 -.88, -.13 -1.12")), steel, edge=0.07)
    pen.fill(limb(xyr("-.06 -.86 .04, .06 -.86 .04")), accent)


def bow(pen: Pen, look: Look, accent: Ink) -> None:
    wood = look.wish.colour("bow", WOOD)
    pen.stroke(polygon([(-0.16, -0.93), (-0.16, 0.93)]), ink(0.9, 0.02, 90), 0.022)
    pen.fill(
        limb(
            xyr(
                "-.2 -.98 .03, -.05 -.82 .045, .14 -.45 .06, .06 0 .07, .14 .45 .06, -.05 .82 .045, "
                "-.2 .98 .03"
            )
        ),
        wood,
    )
    pen.fill(limb(xyr(".065 -.14 .085, .065 .14 .085")), LEATHER)
    for side in (-1, 1):
        pen.fill(limb([(0.12, side * 0.34, 0.066), (0.135, side * 0.42, 0.066)]), GOLD, line=0.7)


def arrow(pen: Pen, look: Look, accent: Ink) -> None:
    feather = look.wish.colour("arrow", ink(0.6, 0.2, 27, "feather"))
    _shaft(pen, 0.8, -0.8, WOOD)
    pen.fill(polygon(xy("0 -1.15, .16 -.78, 0 -.84, -.16 -.78")), STEEL, edge=0.06)
    for side in (-1, 1):
        pen.fill(spline(xy(".03 .42, .2 .56, .2 .96, .03 .8", side=side)), feather)


def staff(pen: Pen, look: Look, accent: Ink) -> None:
    wish = look.wish
    crystal = (
        wish.colour("staff", look.pick(GEMS))
        if wish.coloured("staff") and wish.substance("staff") != "wood"
        else look.pick(GEMS)
    )
    pen.glow(0, -1.12, 0.55, crystal, strength=0.5)
    _shaft(pen, 0.85, -0.85, WOOD)
    kind = look.pick(("curl", "claw", "ring"))
    if kind == "curl":
        pen.fill(limb(xyr("0 -.8 .055, -.16 -1 .055, -.14 -1.28 .05, .08 -1.38 .045, .22 -1.22 .035")), WOOD)
    elif kind == "claw":
        for side in (-1, 1):
            pen.fill(limb(xyr("0 -.82 .055, .2 -1 .05, .16 -1.28 .025", side=side)), GOLD)
    else:
        pen.fill([p for part in (arc(0, -1.12, 0.25, 100, 440, 0.045),) for p in part], GOLD)
    pen.fill(ellipse(0, -1.12, 0.165), crystal.made_of("glass"))
    pen.fill(star(-0.05, -1.17, 0.07, 0.02, 4), ink(0.99, 0.01, 90, "eye"), puff=0, line=0, shadow=0)
    pen.fill(box(-0.08, -0.86, 0.08, -0.74, 0.03), GOLD)


def scepter(pen: Pen, look: Look, accent: Ink) -> None:
    _shaft(pen, 0.75, -0.7, GOLD)
    pen.fill(ellipse(0, -0.86, 0.17), GOLD)
    gem(pen, 0, -0.86, 0.1, look.pick(GEMS))
    pen.fill(star(0, -1.1, 0.13, 0.05, 4), GOLD)


def shield(pen: Pen, look: Look, accent: Ink) -> None:
    """Centred at the origin, about ±0.9."""
    wish = look.wish
    face = wish.colour(
        "shield",
        accent if wish.subject != "shield" else look.main(*(ink(0.52, 0.18, h) for h in (262, 27, 150, 300))),
    )
    rim = ink(0.74, 0.022, 255, "metal") if face.material not in ("metal",) else GOLD
    shape = look.pick(("heater", "heater", "round", "kite"))
    if wish.has("round"):
        shape = "round"
    outlines = {
        "heater": spline(
            xy(
                "-.74 -.82, -.36 -.76, 0 -.86, .36 -.76, .74 -.82, .76 -.2, .52 .44, 0 .95, "
                "-.52 .44, -.76 -.2"
            )
        ),
        "round": ellipse(0, 0, 0.85),
        "kite": spline(xy("-.6 -.6, 0 -.92, .6 -.6, .58 0, .3 .6, 0 1.02, -.3 .6, -.58 0")),
    }[shape]
    pen.fill(outlines, rim, edge=0.12, puff=1.2)
    pen.fill([o * 0.82 for o in outlines], face, edge=0.3, puff=0.9, line=0.8)
    panel = pen.last
    pattern = (
        look.pick(("cross", "half", "chevron", "star"))
        if face.material != "wood"
        else look.pick(("cross", "planks"))
    )
    mark = face.lighter(0.22) if face.material != "wood" else rim
    if pattern == "cross":
        pen.decal(box(-0.12, -1, 0.12, 1), mark, on=panel, line=0.7)
        pen.decal(box(-1, -0.27, 1, -0.03), mark, on=panel, line=0.7)
    elif pattern == "half":
        pen.decal(box(0, -1, 1, 1), mark, on=panel, line=0.7)
    elif pattern == "chevron":
        pen.decal(polygon(xy("-.9 .3, 0 -.35, .9 .3, .9 .62, 0 0, -.9 .62")), mark, on=panel, line=0.7)
    elif pattern == "star":
        pen.fill(star(0, -0.08, 0.42, 0.17), GOLD, edge=0.08)
    for x, y in ((-0.62, -0.66), (0.62, -0.66), (0, 0.84)) if shape == "heater" else ():
        pen.fill(ellipse(x, y, 0.055), GOLD, line=0.8, shadow=0.2)
    if pattern in ("cross", "half", "chevron", "planks"):
        pen.fill(ellipse(0, -0.14, 0.17), GOLD if rim.material == "metal" else rim)
