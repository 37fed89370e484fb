"""Things one can own: each drawn around the origin, about ±1; weapons come from `weapons`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from genyard.preview import faces, weapons
from genyard.preview.goods import (
    WHITE,
    apple,
    bag,
    bomb,
    boots,
    bread,
    cake,
    candle,
    cherry,
    egg,
    feather,
    flame_item,
    flower,
    gear,
    gleam,
    lantern,
    meat,
    rocket,
    skull_item,
    trophy,
)
from genyard.preview.lexicon import CARRIED
from genyard.preview.look import Look, hue_ink
from genyard.preview.outfits import crown_shape
from genyard.preview.paint import Pen
from genyard.preview.palette import Ink, ink
from genyard.preview.shapes import (
    Outlines,
    Points,
    arc,
    box,
    ellipse,
    limb,
    moved,
    polygon,
    spline,
    star,
    xy,
    xyr,
)
from genyard.preview.weapons import GEMS, GOLD, STEEL, WOOD, gem

CORK: Final = ink(0.66, 0.08, 62, "wood")


def _sparkle(pen: Pen, x: float, y: float, r: float) -> None:
    pen.fill(star(x, y, r, r * 0.2, 4), WHITE, puff=0, line=0, shadow=0)


_BOTTLES: Final = {
    "round": xy(
"-.2 -.5, .2 -.5, .22 -.28, .62 .02, .72 .42, .52 .84, 0 .98, -.52 .84, -.72 .42, "
"-.62 .02, -.22 -.28"
),
    "cone": xy(
"-.2 -.5, .2 -.5, .22 -.2, .48 .3, .74 .8, .62 .96, 0 1, -.62 .96, -.74 .8, -.48 .3, "
"-.22 -.2"
),
    "tall": xy(
"-.18 -.5, .18 -.5, .2 -.36, .42 -.2, .46 .2, .46 .8, .34 .97, 0 1, -.34 .97, "
"-.46 .8, -.46 .2, -.42 -.2, -.2 -.36"
),
}  # fmt: skip


def potion(pen: Pen, look: Look) -> None:
    wish = look.wish
    hue = 25 if wish.has("health", "love") else 258 if wish.has("mana") else None
    drink = look.main(
        *([hue_ink(hue)] if hue else [hue_ink(h) for h in (25, 145, 258, 305, 350, 190)])
    ).made_of("slime")
    shape = spline(_BOTTLES[look.pick(("round", "round", "cone", "tall"))])
    pen.glow(0, 0.4, 1.0, drink, strength=0.28)
    pen.fill(box(-0.15, -0.86, 0.15, -0.5, 0.05), CORK)
    pen.fill(shape, ink(0.9, 0.025, 220, "glass"), puff=0.9)
    level = look.between(0.02, 0.18)
    inner = moved(shape, 0, 0.035, size=0.9)
    bottle = pen.last
    pen.fill([_cut_above(points, level) for points in inner], drink, line=0.5, shadow=0)
    pen.decal(ellipse(0, level + 0.02, 0.6, 0.07), drink.lighter(0.14), line=0.5)
    for _ in range(6):
        x, y, r = look.between(-0.35, 0.35), look.between(0.25, 0.8), look.between(0.025, 0.065)
        pen.fill(ellipse(x, y, r), drink.lighter(0.22), line=0.3, shadow=0, alpha=0.85)
    pen.decal(spline(xy("-.5 .12, -.38 .2, -.46 .62, -.58 .52")), WHITE, on=bottle, alpha=0.7)
    pen.fill(limb(xyr("-.22 -.52 .06, .22 -.52 .06")), ink(0.88, 0.03, 220, "glass"))
    if wish.has("health", "love"):
        with pen.placed(0.02, 0.5, size=0.26):
            pen.fill(HEART, WHITE, puff=0.3, line=0, shadow=0)


def _cut_above(points: Points, level: float) -> Points:
    return np.stack([points[:, 0], np.maximum(points[:, 1], level)], axis=1)


def facets(pen: Pen, rim: list[tuple[float, float]], centre: list[tuple[float, float]], colour: Ink) -> None:
    """A cut stone: planes between an outer and an inner outline of equally many points, lit by their angle."""
    pen.fill(polygon(rim), colour, puff=0)
    count = len(rim)
    for i in range(count):
        j = (i + 1) % count
        a, b, c, d = rim[i], rim[j], centre[j], centre[i]
        mx, my = (a[0] + b[0]) / 2 - (c[0] + d[0]) / 2, (a[1] + b[1]) / 2 - (c[1] + d[1]) / 2
        size = float(np.hypot(mx, my)) + 1e-6
        tone = 0.3 * (-0.6 * mx - 0.8 * my) / size + 0.07 * (-1) ** i
        pen.fill(polygon([a, b, c, d]), colour, puff=0, line=0.0, shadow=0, tone=tone)
    pen.fill(polygon(centre), colour.lighter(0.06), puff=0, line=0, shadow=0, tone=0.12)
    for i in range(count):
        pen.stroke(polygon([rim[i], centre[i]]), colour.lighter(0.22), 0.014, alpha=0.6)
    pen.stroke(polygon(centre), colour.lighter(0.25), 0.016, closed=True, alpha=0.7)


def gemstone(pen: Pen, look: Look) -> None:
    colour = look.main(*GEMS).made_of("crystal")
    cut = look.pick(("brilliant", "emerald", "round"))
    cut = {"diamond": "brilliant", "emerald": "emerald"}.get(look.wish.word, cut)
    pen.glow(0, 0, 1.25, colour, strength=0.25)
    if cut == "brilliant":
        rim = xy("-.55 -.62, 0 -.68, .55 -.62, .92 -.18, .46 .4, 0 .9, -.46 .4, -.92 -.18")
        inner = xy("-.36 -.42, 0 -.46, .36 -.42, .5 -.16, .22 .04, 0 .12, -.22 .04, -.5 -.16")
    elif cut == "emerald":
        rim = xy("-.38 -.9, .38 -.9, .68 -.6, .68 .6, .38 .9, -.38 .9, -.68 .6, -.68 -.6")
        inner = [(x * 0.58, y * 0.66) for x, y in rim]
    else:
        rim = [(0.85 * float(np.cos(a)), 0.85 * float(np.sin(a))) for a in np.arange(10) * np.pi / 5 + 0.3]
        inner = [(x * 0.55, y * 0.55) for x, y in rim]
    facets(pen, rim, inner, colour)
    _sparkle(pen, -0.42, -0.36, 0.24)


def crystal(pen: Pen, look: Look) -> None:
    colour = look.main(*GEMS).made_of("crystal")
    pen.glow(0, 0.1, 1.3, colour, strength=0.35)
    rows = [
        (-0.5, -26, 0.55),
        (0.52, 28, 0.6),
        (-0.22, -10, 0.86),
        (0.26, 12, 0.78),
        (0.0, look.between(-3, 3), 1.12),
    ]
    for x, turn, size in rows:
        h = size * look.between(0.9, 1.08)
        with pen.placed(x * 0.7, 0.75, turn=turn):
            w = 0.2 * size + 0.06
            pen.fill(
                polygon([(-w, 0.05), (-w, -h * 1.05), (0, -h * 1.5), (w, -h * 1.05), (w, 0.05)]),
                colour,
                puff=0,
            )
            pen.fill(
                polygon([(w * 0.3, 0.05), (w * 0.3, -h * 0.98), (0, -h * 1.5), (w, -h * 1.05), (w, 0.05)]),
                colour,
                puff=0,
                line=0,
                shadow=0,
                tone=-0.24,
            )
            pen.fill(
                polygon([(-w, -h * 1.05), (0, -h * 1.5), (w * 0.3, -h * 0.98)]),
                colour,
                puff=0,
                line=0,
                shadow=0,
                tone=0.26,
            )
            pen.stroke(
                polygon([(-w * 0.55, -0.1), (-w * 0.55, -h * 0.85)]), colour.lighter(0.3), 0.03, alpha=0.8
            )
    pen.fill(
        spline(xy("-.75 .86, -.5 .68, -.1 .76, .3 .66, .72 .84, .5 1, -.5 1")), ink(0.5, 0.02, 270, "stone")
    )


def coin(pen: Pen, look: Look) -> None:
    gold = look.wish.main(GOLD)
    pen.fill(ellipse(0.07, 0.04, 0.86, 0.9), gold.darker(0.16), edge=0.1)
    pen.fill(ellipse(0, 0, 0.86, 0.9), gold, edge=0.13, puff=1.3, shadow=0)
    pen.fill(ellipse(0, 0, 0.64, 0.68), gold.darker(0.07), puff=0.35, line=0.7, shadow=0)
    mark = look.pick(("star", "crown", "gem", "bar"))
    if mark == "star":
        pen.fill(star(0, 0.02, 0.44, 0.19), gold.lighter(0.07), edge=0.09, line=0.8)
    elif mark == "crown":
        with pen.placed(0, 0.12):
            crown_shape(pen, gold.lighter(0.06), 0.36)
    elif mark == "gem":
        pen.fill(polygon(xy("0 -.42, .3 0, 0 .42, -.3 0")), gold.lighter(0.06), edge=0.16, line=0.8)
    else:
        pen.fill(box(-0.11, -0.42, 0.11, 0.42, 0.05), gold.lighter(0.06), edge=0.08, line=0.8)
    gleam(pen, -0.5, -0.5, 0.17, 0.07, -45, 0.8)


def key(pen: Pen, look: Look) -> None:
    gold = look.wish.main(GOLD)
    pen.fill(box(-0.09, -0.4, 0.09, 0.95, 0.05), gold)
    for y, w in ((0.86, 0.36), (0.62, 0.26)):
        pen.fill(box(0.05, y - 0.09, w, y + 0.09, 0.03), gold)
    if look.chance(0.5):
        for dx, dy in ((-0.3, -0.6), (0.3, -0.6), (0, -0.88)):
            pen.fill(arc(dx, dy, 0.2, 0, 360, 0.085), gold)
    else:
        pen.fill(arc(0, -0.66, 0.33, 0, 360, 0.11), gold)
    gem(pen, 0, -0.6, 0.12, look.pick(GEMS))
    pen.fill(limb(xyr("-.16 -.24 .07, .16 -.24 .07")), gold)


def chest(pen: Pen, look: Look) -> None:
    wish = look.wish
    wood = look.main(WOOD, ink(0.46, 0.1, 40, "wood"))
    trim = GOLD if wood.material != "gold" else ink(0.52, 0.15, 27, "shell")
    is_open = wish.has("open") or wish.word in ("treasure", "treasure chest") or look.chance(0.3)
    if is_open:
        pen.fill(
            spline(xy("-.85 -.18, -.86 -.55, -.6 -.86, 0 -.95, .6 -.86, .86 -.55, .85 -.18")),
            wood.darker(0.14),
        )
        for side in (-1, 1):
            pen.fill(limb(xyr(".83 -.16 .07, .84 -.55 .07, .6 -.83 .07", side=side)), trim)
        pen.glow(0, -0.2, 1.0, ink(0.9, 0.14, 92), strength=0.55)
        for _ in range(16):
            x, y = look.between(-0.64, 0.64), look.between(-0.28, 0.0)
            pen.fill(ellipse(x, y - 0.12 * (1 - abs(x)), 0.15, 0.12), GOLD, line=0.7, shadow=0.4)
        for x, c in ((-0.3, GEMS[0]), (0.26, GEMS[1]), (0.02, GEMS[2])):
            gem(pen, x, -0.3, 0.11, c)
    pen.fill(box(-0.85, -0.06, 0.85, 0.85, 0.08), wood, edge=0.12)
    body = pen.last
    for y in (0.22, 0.52):
        pen.decal(box(-0.9, y, 0.9, y + 0.028), wood.darker(0.2), on=body)
    if not is_open:
        pen.fill(
            spline(xy("-.9 .02, -.9 -.3, -.62 -.66, 0 -.74, .62 -.66, .9 -.3, .9 .02, 0 .04")), wood, puff=0.8
        )
        lid = pen.last
        pen.decal(box(-1, -0.34, 1, -0.31), wood.darker(0.2), on=lid)
        for side in (-1, 1):
            pen.decal(box(side * 0.62 - 0.11, -1, side * 0.62 + 0.11, 0.2), trim, on=lid, line=0.8)
        pen.decal(box(-1, -0.08, 1, 0.2), trim, on=lid, line=0.8)
    for side in (-1, 1):
        pen.fill(
            box(side * 0.62 - 0.11, -0.08 if is_open else 0.03, side * 0.62 + 0.11, 0.87, 0.02),
            trim,
            edge=0.05,
        )
    pen.fill(box(-0.88, -0.09, 0.88, 0.07, 0.04), trim, edge=0.05)
    pen.fill(box(-0.16, -0.12, 0.16, 0.28, 0.06), trim.lighter(0.05), edge=0.05)
    pen.fill(ellipse(0, 0.05, 0.055), ink(0.2, 0.02, 60), puff=0, line=0.4, shadow=0)
    pen.fill(
        polygon(xy("-.025 .06, .025 .06, .045 .19, -.045 .19")), ink(0.2, 0.02, 60), puff=0, line=0, shadow=0
    )


HEART: Final = spline(xy(
"0 -.42, .28 -.76, .7 -.74, .94 -.36, .8 .12, .42 .55, 0 .9, -.42 .55, -.8 .12, "
"-.94 -.36, -.7 -.74, -.28 -.76"
))  # fmt: skip


def heart(pen: Pen, look: Look) -> None:
    colour = look.main(ink(0.6, 0.22, 22, "shell"), ink(0.62, 0.22, 8, "shell"))
    pen.fill(HEART, colour, puff=1.0)
    gleam(pen, -0.5, -0.42, 0.22, 0.12, -38, 0.85)
    gleam(pen, -0.72, -0.14, 0.06, 0.08, 0, 0.7)
    if look.wish.has("wings"):
        pass


def ring(pen: Pen, look: Look) -> None:
    jewel = (
        look.main(*GEMS).made_of("crystal")
        if look.wish.substance("ring") not in ("gold", "silver")
        else look.pick(GEMS)
    )
    metal = GOLD if look.wish.substance("ring") != "silver" else STEEL
    pen.fill(_hoop(0, 0.28, 0.62, 0.62, 0.13), metal)
    pen.fill(spline(xy("-.26 -.3, .26 -.3, .16 -.12, -.16 -.12")), metal)
    with pen.placed(0, -0.58, size=0.46):
        rim = xy("-.6 -.5, 0 -.62, .6 -.5, .8 0, .5 .62, 0 .8, -.5 .62, -.8 0")
        facets(pen, rim, [(x * 0.55, y * 0.55) for x, y in rim], jewel)
    _sparkle(pen, -0.2, -0.78, 0.2)


def _hoop(x: float, y: float, rx: float, ry: float, w: float) -> Outlines:
    angle = np.linspace(0, 2 * np.pi, 29)
    return limb([(x + rx * float(np.cos(a)), y + ry * float(np.sin(a)), w) for a in angle], steps=2)


def amulet(pen: Pen, look: Look) -> None:
    pen.fill(_hoop(0, -0.36, 0.5, 0.6, 0.045), GOLD)
    pen.fill(star(0, 0.46, 0.5, 0.36, 8), GOLD, edge=0.1)
    gem(pen, 0, 0.46, 0.28, look.main(*GEMS).made_of("crystal"))


def scroll(pen: Pen, look: Look) -> None:
    paper = look.main(ink(0.9, 0.055, 86, "cloth"))
    pen.fill(spline(xy("-.6 -.66, .6 -.66, .63 0, .6 .66, -.6 .66, -.57 0")), paper, puff=0.35)
    sheet = pen.last
    if look.wish.word in ("map", "treasure map"):
        pen.stroke(spline(xy("-.36 .36, -.2 .06, .1 .18, .2 -.2"), closed=False), ink(0.5, 0.17, 27), 0.04)
        for turn in (45, -45):
            pen.fill(
                moved(box(-0.14, -0.03, 0.14, 0.03), 0.26, -0.3, turn=turn),
                ink(0.52, 0.2, 27),
                puff=0,
                line=0.3,
                shadow=0,
            )
    else:
        for i in range(5):
            y = -0.4 + i * 0.17
            pen.decal(box(-0.42, y, look.between(0.2, 0.44), y + 0.035), ink(0.45, 0.06, 55), on=sheet)
        gem(pen, 0.3, 0.48, 0.12, ink(0.52, 0.2, 25, "shell"))
    for y in (-0.74, 0.74):
        pen.fill(limb(xyr("-.72 0 .14, .72 0 .14", at=(0, y))), paper.darker(0.05))
        for side in (-1, 1):
            pen.fill(ellipse(side * 0.82, y, 0.1, 0.12), ink(0.5, 0.12, 30, "wood"))


def book(pen: Pen, look: Look) -> None:
    cover = look.main(*(ink(0.46, 0.14, h, "leather") for h in (25, 262, 150, 305)))
    pen.fill(box(-0.62, -0.8, 0.76, 0.92, 0.06), cover.darker(0.08))
    pen.fill(box(-0.56, -0.74, 0.7, 0.84, 0.03), ink(0.92, 0.03, 88), puff=0, line=0.7)
    for i in range(3):
        pen.stroke(
            polygon([(0.655 + 0.018 * i - 0.02, -0.7), (0.655 + 0.018 * i - 0.02, 0.8)]),
            ink(0.75, 0.04, 80),
            0.008,
        )
    pen.fill(box(-0.72, -0.86, 0.6, 0.82, 0.07), cover, edge=0.1)
    face = pen.last
    pen.decal(box(-0.8, -1, -0.46, 1), cover.darker(0.1), on=face, line=0.6)
    for x, y in ((0.5, -0.76), (0.5, 0.72), (-0.36, -0.76), (-0.36, 0.72)):
        pen.decal(ellipse(x, y, 0.17), GOLD, on=face, line=0.7)
    pen.fill(star(0.08, -0.02, 0.36, 0.3, 8), GOLD, edge=0.06)
    gem(pen, 0.08, -0.02, 0.2, look.pick(GEMS))


def star_item(pen: Pen, look: Look) -> None:
    colour = look.main(ink(0.85, 0.16, 92, "shell"))
    pen.glow(0, 0, 1.3, colour, strength=0.35)
    points = star(0, 0.05, 0.98, 0.52)[0]
    pen.fill([_rounded(points, 0.22)], colour, puff=1.0)
    if look.chance(0.5) or "cute" in look.wish.styles:
        faces.dots(pen, 0, 0.05, 0.2, 0.075)
        faces.mouth(pen, 0, 0.26, 0.09)
    gleam(pen, -0.2, -0.44, 0.06, 0.13, 18, 0.8)


def _rounded(points: Points, by: float) -> Points:
    """Corners cut and smoothed."""
    n = len(points)
    out: list[tuple[float, float]] = []
    for i in range(n):
        before, here, after = points[i - 1], points[i], points[(i + 1) % n]
        for t in np.linspace(0, 1, 6):
            a, b = here + (before - here) * by, here + (after - here) * by
            out.append(tuple((1 - t) ** 2 * a + 2 * t * (1 - t) * here + t * t * b))
    return np.asarray(out)


def helmet(pen: Pen, look: Look) -> None:
    metal = look.main(STEEL)
    trim = GOLD if metal.material != "gold" else ink(0.5, 0.18, 27, "cloth")
    plume = ink(0.56, 0.2, 27, "feather")
    pen.fill(spline(xy("-.08 -.6, .1 -1.02, .6 -1.05, .98 -.6, .94 -.1, .72 -.5, .4 -.66")), plume)
    pen.fill(
        spline(xy("-.72 -.05, -.52 -.6, 0 -.82, .52 -.6, .72 -.05, .7 .6, .42 .86, 0 .94, -.42 .86, -.7 .6")),
        metal,
    )
    helm = pen.last
    pen.fill(
        spline(xy("-.54 -.02, 0 -.12, .54 -.02, .5 .2, .1 .22, .07 .8, -.07 .8, -.1 .22, -.5 .2")),
        ink(0.17, 0.02, 280),
        puff=0,
        line=0.9,
        shadow=0,
    )
    pen.decal(box(-0.07, -1, 0.07, -0.1), trim, on=helm, line=0.7)
    pen.decal(spline(xy("-.9 -.28, 0 -.4, .9 -.28, .9 -.14, 0 -.25, -.9 -.14")), trim, on=helm, line=0.7)
    for side in (-1, 1):
        for i in range(3):
            pen.fill(
                ellipse(side * (0.2 + 0.12 * i), 0.52, 0.03), ink(0.2, 0.02, 280), puff=0, line=0, shadow=0
            )


def crown_item(pen: Pen, look: Look) -> None:
    with pen.placed(0, 0.45):
        crown_shape(pen, look.wish.main(GOLD), 0.86)
    _sparkle(pen, -0.7, 0.1, 0.16)


def orb(pen: Pen, look: Look) -> None:
    colour = look.main(*GEMS).made_of("glass")
    pen.glow(0, -0.15, 1.3, colour, strength=0.4)
    pen.fill(spline(xy("-.56 .56, .56 .56, .72 .95, -.72 .95")), GOLD)
    pen.fill(ellipse(0, -0.1, 0.76), colour)
    ball = pen.last
    for turn in (20, 140, 260):
        swirl = moved(spline(xy("0 0, .24 -.1, .5 .1, .46 .4, .3 .12")), 0, -0.1, turn=turn)
        pen.decal(swirl, colour.lighter(0.2), on=ball, alpha=0.6)
    gleam(pen, -0.32, -0.42, 0.18, 0.1, -40, 0.85)


def lightning(pen: Pen, look: Look) -> None:
    colour = look.main(ink(0.87, 0.17, 95, "shell"))
    pen.glow(0, 0, 1.2, colour, strength=0.4)
    pen.fill(polygon(xy(".2 -1, -.6 .12, -.08 .12, -.3 1, .62 -.22, .08 -.22, .5 -1")), colour, edge=0.16)


_TOOLS: Final = {
    "sword": weapons.sword, "dagger": weapons.dagger, "axe": weapons.axe, "hammer": weapons.hammer,
        "spear": weapons.spear,
    "bow": weapons.bow, "arrow": weapons.arrow, "staff": weapons.staff, "pickaxe": weapons.pickaxe,
}  # fmt: skip
_HELD_ONLY: Final = {
    "katana": weapons.katana,
    "sabre": weapons.sabre,
    "scepter": weapons.scepter,
    "trident": weapons.spear,
    "shield": weapons.shield,
}
DRAWN: Final[dict[str, Callable[[Pen, Look], None]]] = {
    "potion": potion, "gem": gemstone, "crystal": crystal, "coin": coin, "key": key, "chest": chest,
        "heart": heart, "bomb": bomb,
    "ring": ring, "amulet": amulet, "scroll": scroll, "book": book, "apple": apple, "cherry": cherry,
        "bread": bread, "meat": meat,
    "cake": cake, "star": star_item, "helmet": helmet, "crown": crown_item, "boots": boots,
        "lantern": lantern, "candle": candle,
    "skull": skull_item, "feather": feather, "orb": orb, "bag": bag, "flower": flower, "trophy": trophy,
        "lightning": lightning,
    "flame": flame_item, "gear": gear, "rocket": rocket, "egg": egg,
}  # fmt: skip
HELD: Final = CARRIED


def draw_item(pen: Pen, look: Look) -> None:
    name = look.wish.subject
    accent = look.pick((ink(0.5, 0.17, 27), ink(0.48, 0.16, 262), ink(0.5, 0.12, 150)))
    if name == "shield":
        weapons.shield(pen, look, accent)
    elif name in _TOOLS:
        tool = (
            weapons.katana
            if look.wish.word == "katana"
            else weapons.sabre
            if look.wish.word == "saber"
            else _TOOLS[name]
        )
        if look.wish.has("magic") or look.wish.substance(name) in (
            "fire",
            "ice",
            "holy",
            "electric",
            "poison",
            "shadow",
        ):
            pen.glow(0.4, -0.5, 1.2, look.wish.main(ink(0.8, 0.12, 230)), strength=0.4)
        with pen.placed(0, 0, turn=8 if name == "bow" else 42):
            tool(pen, look, accent)
    else:
        DRAWN[name](pen, look)


def draw_held(pen: Pen, look: Look, name: str, accent: Ink) -> None:
    """In a hand at the origin; what has no handle is shown small above the palm."""
    if name in _TOOLS:
        _TOOLS[name](pen, look, accent)
    elif name in _HELD_ONLY:
        _HELD_ONLY[name](pen, look, accent)
    else:
        with pen.placed(0, -0.34, size=0.4):
            DRAWN[name](pen, look)
