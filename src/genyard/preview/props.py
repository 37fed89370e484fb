"""Things that stand in a world: plants, stones, buildings, furniture; feet at y = 1."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from genyard.preview.buildings import (
    DARK,
    STONE,
    WOOD,
    boat,
    car,
    castle,
    grass_tufts,
    house,
    tent,
    tower,
    well,
    windmill,
)
from genyard.preview.goods import flame_shape
from genyard.preview.look import Look
from genyard.preview.paint import Pen
from genyard.preview.palette import Ink, ink
from genyard.preview.shapes import box, ellipse, limb, moved, polygon, spline, star, wobbly, xy, xyr
from genyard.preview.weapons import GOLD

BARK: Final = ink(0.44, 0.07, 55, "wood")
IRON: Final = ink(0.42, 0.02, 260, "metal")


def _greens(look: Look) -> Ink:
    if look.wish.weather == "autumn":
        return look.pick(
            (ink(0.66, 0.17, 50, "leaf"), ink(0.74, 0.15, 75, "leaf"), ink(0.56, 0.18, 32, "leaf"))
        )
    if look.wish.substance(look.wish.subject) in ("snow", "ice"):
        return ink(0.93, 0.02, 230, "snow")
    return look.main(ink(0.58, 0.15, 138, "leaf"), ink(0.62, 0.16, 128, "leaf"), ink(0.54, 0.13, 150, "leaf"))


def tree(pen: Pen, look: Look) -> None:
    leaf = _greens(look)
    lean = look.between(-0.08, 0.08)
    pen.fill(limb(xyr("0 .3 .12, .34 .06 .07")), BARK)
    pen.fill(
        spline(
            [
                (-0.3, 1.0),
                (-0.15, 0.84),
                (-0.13, 0.4),
                (-0.12 + lean, -0.1),
                (0.12 + lean, -0.1),
                (0.13, 0.4),
                (0.16, 0.84),
                (0.32, 1.0),
                (0, 0.94),
            ]
        ),
        BARK,
    )
    blobs = xyr("-.46 0 .42, .48 -.02 .4, -.3 -.44 .42, .34 -.46 .42, 0 -.7 .42, .02 -.2 .5")
    for i, (x, y, r) in enumerate(blobs):
        r *= look.between(0.92, 1.1)
        pen.fill(
            wobbly(x + lean, y, r, r * 0.88, look.rng, rough=0.09),
            leaf.lighter(0.025 * (i % 3) - 0.03),
            shadow=0.8,
        )
    if look.wish.has("magic") or look.chance(0.25):
        fruit = look.pick((ink(0.58, 0.21, 27, "shell"), ink(0.8, 0.16, 85, "shell")))
        for _ in range(6):
            pen.fill(
                ellipse(look.between(-0.6, 0.6), look.between(-0.8, 0.15), 0.065), fruit, line=0.8, shadow=0.4
            )


def pine(pen: Pen, look: Look) -> None:
    leaf = _greens(look)
    snowy = leaf.material == "snow"
    green = ink(0.48, 0.09, 165, "leaf") if snowy else leaf.darker(0.08).turned(12)
    pen.fill(limb(xyr("0 .62 .11, 0 .97 .12")), BARK)
    tiers = 4
    for i in range(tiers):
        y, w = 0.72 - i * 0.42, 0.66 - i * 0.13
        zig = [(-w + 2 * w * k / 6, y + (0.07 if k % 2 else -0.03)) for k in range(7)]
        pen.fill(
            polygon([*zig, (0.12, y - 0.62), (0, y - 0.72), (-0.12, y - 0.62)]),
            green.lighter(0.02 * i),
            puff=0.9,
        )
        if snowy:
            pen.decal(
                polygon(
                    [
                        (-w, y - 0.5),
                        (0, y - 0.95),
                        (w, y - 0.5),
                        (0.2, y - 0.3),
                        (0.08, y - 0.42),
                        (-0.06, y - 0.24),
                        (-0.2, y - 0.38),
                    ]
                ),
                ink(0.97, 0.012, 230),
                line=0.4,
            )
    if look.wish.word == "christmas tree":
        for _ in range(14):
            y = look.between(-0.5, 0.65)
            pen.fill(
                ellipse(look.between(-0.5, 0.5) * (y + 0.8) / 1.5, y, 0.055),
                ink(0.66, 0.2, look.between(0, 360), "shell"),
                line=0.7,
                shadow=0.3,
            )
        pen.fill(star(0, -1.28, 0.17, 0.07), GOLD)


def palm(pen: Pen, look: Look) -> None:
    pen.fill(limb(xyr("-.14 1 .13, -.1 .4 .1, .06 -.2 .08, .14 -.5 .07")), BARK.lighter(0.1))
    trunk = pen.last
    for y in np.arange(-0.4, 0.95, 0.14):
        pen.decal(box(-0.4, y, 0.4, y + 0.03), BARK.darker(0.04), on=trunk)
    leaf = ink(0.6, 0.16, 138)
    for angle in (-168, -12, -140, -40, -112, -66, 172, 10):
        a = np.deg2rad(angle)
        dx, dy = float(np.cos(a)), float(np.sin(a))
        tip = (0.14 + dx * 0.92, -0.5 + dy * 0.62 + 0.34)
        mid = (0.14 + dx * 0.5, -0.62 + dy * 0.44)
        pen.fill(
            spline([(0.14, -0.5), (mid[0] - 0.02, mid[1] - 0.1), tip, (mid[0], mid[1] + 0.1)]),
            leaf.lighter(look.between(-0.05, 0.05)),
            shadow=0.6,
        )
    for x in (0.05, 0.22):
        pen.fill(ellipse(x, -0.42, 0.1), ink(0.46, 0.08, 50, "shell"))


def dead_tree(pen: Pen, look: Look) -> None:
    bark = look.main(ink(0.36, 0.03, 300, "wood"))
    for branch in (
        xyr("0 .1 .11, -.34 -.26 .07, -.42 -.7 .02"),
        xyr("-.28 -.2 .05, -.62 -.3 .015"),
        xyr(".02 0 .1, .4 -.34 .06, .5 -.84 .02"),
        xyr(".3 -.24 .05, .66 -.36 .015"),
        xyr("0 -.1 .1, .06 -.55 .06, -.08 -1 .02"),
    ):
        pen.fill(limb(branch), bark)
    pen.fill(spline(xy("-.34 1, -.16 .8, -.12 .3, -.14 -.1, .12 -.1, .13 .4, .18 .8, .36 1, 0 .92")), bark)
    pen.fill(ellipse(0.0, 0.34, 0.06, 0.1), DARK, puff=0, line=0.6, shadow=0)


def rock(pen: Pen, look: Look) -> None:
    stone = look.main(STONE, ink(0.56, 0.03, 60, "stone"))
    if stone.material == "plain":
        stone = stone.made_of("stone")
    for x, y, rx, ry in ((0.5, 0.66, 0.4, 0.34), (-0.62, 0.74, 0.28, 0.24), (-0.06, 0.36, 0.66, 0.62)):
        n = 9
        angle = np.arange(n) * 2 * np.pi / n + look.between(0, 0.6)
        points = [
            (
                x + rx * look.between(0.86, 1.1) * float(np.cos(a)),
                min(1.0, y + ry * look.between(0.86, 1.1) * float(np.sin(a))),
            )
            for a in angle
        ]
        pen.fill(polygon(points), stone, edge=0.16, puff=1.1)
    bare = look.wish.word == "boulder"
    if (look.chance(0.5) and not bare) or look.wish.substance("rock") == "grass":
        pen.fill(
            spline(xy("-.56 0, -.3 -.24, .1 -.27, .44 -.06, .3 .06, .1 -.04, -.1 .12, -.3 .02")),
            ink(0.58, 0.14, 135, "leaf"),
            shadow=0.5,
        )
    if not bare:
        grass_tufts(pen, look, 0.8)


def bush(pen: Pen, look: Look) -> None:
    leaf = _greens(look)
    for i, (x, y, r) in enumerate(
        ((-0.56, 0.6, 0.4), (0.58, 0.62, 0.38), (-0.2, 0.34, 0.46), (0.3, 0.38, 0.42), (0.0, 0.68, 0.42))
    ):
        pen.fill(
            wobbly(x, y, r, r * 0.9, look.rng, rough=0.08), leaf.lighter(0.025 * (i % 3) - 0.02), shadow=0.8
        )
    berry = look.pick(
        (ink(0.58, 0.21, 25, "shell"), ink(0.55, 0.2, 300, "shell"), ink(0.95, 0.03, 350, "shell"))
    )
    for _ in range(8):
        pen.fill(
            ellipse(look.between(-0.7, 0.7), look.between(0.15, 0.85), 0.05), berry, line=0.7, shadow=0.3
        )


def crate(pen: Pen, look: Look) -> None:
    wood = look.main(WOOD)
    pen.fill(box(-0.9, -0.8, 0.9, 1.0, 0.06), wood.darker(0.13), edge=0.06)
    for i in range(4):
        x = -0.72 + i * 0.48
        pen.fill(
            box(x - 0.2, -0.66, x + 0.2, 0.86, 0.03),
            wood.darker(0.03 + 0.03 * (i % 2)),
            edge=0.04,
            line=0.7,
            shadow=0.3,
        )
    pen.fill(
        moved(box(-1.02, -0.13, 1.02, 0.13, 0.03), 0, 0.1, turn=look.pick((-45, 45))),
        wood,
        edge=0.05,
        line=0.8,
    )
    for x0, y0, x1, y1 in (
        (-0.96, -0.86, 0.96, -0.56),
        (-0.96, 0.76, 0.96, 1.06),
        (-0.96, -0.86, -0.66, 1.06),
        (0.66, -0.86, 0.96, 1.06),
    ):
        pen.fill(box(x0, y0, x1, y1, 0.04), wood.lighter(0.04), edge=0.05)
    for x in (-0.81, 0.81):
        for y in (-0.71, 0.91):
            pen.fill(ellipse(x, y, 0.06), IRON, line=0.7, shadow=0.3)


def barrel(pen: Pen, look: Look) -> None:
    wood = look.main(WOOD.darker(0.02))
    pen.fill(
        spline(xy("-.6 -.86, .6 -.86, .8 -.3, .84 .1, .8 .5, .6 1, 0 1.05, -.6 1, -.8 .5, -.84 .1, -.8 -.3")),
        wood,
        puff=0.9,
    )
    body = pen.last
    for x in (-0.5, -0.17, 0.17, 0.5):
        pen.decal(
            spline(
                [
                    (x * 0.8 - 0.012, -1),
                    (x * 1.15 - 0.014, 0.1),
                    (x * 0.8 - 0.012, 1.1),
                    (x * 0.8 + 0.012, 1.1),
                    (x * 1.15 + 0.014, 0.1),
                    (x * 0.8 + 0.012, -1),
                ]
            ),
            wood.darker(0.2),
            on=body,
        )
    for y in (-0.56, 0.6):
        pen.decal(
            spline(xy("-1 -.08, 0 0, 1 -.08, 1 .1, 0 .18, -1 .1", at=(0, y))),
            IRON.lighter(0.12),
            on=body,
            line=0.8,
        )
    pen.fill(ellipse(0, -0.86, 0.6, 0.16), wood.darker(0.1), puff=0.2)
    pen.fill(ellipse(0, -0.86, 0.48, 0.11), wood.darker(0.02), puff=0.2, line=0.5, shadow=0)


def torch(pen: Pen, look: Look) -> None:
    pen.glow(0, -0.4, 1.1, ink(0.86, 0.15, 75), strength=0.5)
    pen.fill(limb(xyr("0 1 .09, 0 .1 .13")), WOOD)
    pen.fill(polygon(xy("-.24 -.1, .24 -.1, .16 .18, -.16 .18")), IRON, edge=0.06)
    flame_shape(pen, 0, -0.06, 0.46, look.main(ink(0.66, 0.21, 40)))


def campfire(pen: Pen, look: Look) -> None:
    pen.glow(0, 0.1, 1.4, ink(0.86, 0.15, 70), strength=0.45)
    for turn in (62, -62):
        pen.fill(moved(limb(xyr("0 -.6 .13, 0 .6 .13")), 0, 0.78, turn=turn), WOOD.darker(0.06))
    flame_shape(pen, 0, 0.8, 0.72, look.main(ink(0.66, 0.21, 40)))
    for k in range(7):
        pen.fill(wobbly(-0.84 + 0.28 * k, 0.92, 0.17, 0.13, look.rng), STONE.darker(0.04 * (k % 2)))


def flag(pen: Pen, look: Look) -> None:
    cloth = look.main(
        ink(0.55, 0.2, 27, "cloth"), ink(0.5, 0.18, 262, "cloth"), ink(0.56, 0.14, 150, "cloth")
    )
    pen.fill(limb(xyr("-.6 1 .06, -.6 -.9 .055")), WOOD)
    pen.fill(
        spline(xy("-.58 -.8, -.1 -.92, .3 -.72, .84 -.84, .7 -.45, .84 -.02, .3 .1, -.1 -.1, -.58 .02")),
        cloth,
    )
    banner = pen.last
    pen.decal(star(0.12, -0.42, 0.26, 0.11), look.wish.second(GOLD), on=banner, line=0.7)
    pen.fill(ellipse(-0.6, -0.98, 0.1), GOLD)


def cactus(pen: Pen, look: Look) -> None:
    green = look.main(ink(0.58, 0.13, 145))
    pen.fill(limb(xyr(".2 .5 .15, .6 .42 .15, .62 -.1 .14")), green)
    pen.fill(limb(xyr("-.2 .3 .14, -.58 .2 .14, -.58 -.2 .13")), green)
    pen.fill(limb(xyr("0 1 .26, 0 .2 .28, 0 -.62 .24")), green)
    for x in (-0.12, 0.0, 0.12):
        pen.stroke(
            spline([(x, 0.9), (x * 1.2, 0.2), (x * 0.8, -0.7)], closed=False), green.darker(0.14), 0.025
        )
    for _ in range(14):
        x, y = look.between(-0.22, 0.22), look.between(-0.7, 0.9)
        pen.stroke(polygon([(x, y), (x + 0.05, y - 0.05)]), ink(0.95, 0.04, 95), 0.018)
    for k in range(5):
        pen.fill(
            moved(ellipse(0, -0.1, 0.07, 0.12), 0, -0.88, turn=72 * k),
            ink(0.72, 0.19, 350),
            line=0.7,
            shadow=0.3,
        )
    pen.fill(ellipse(0, -0.88, 0.06), GOLD, line=0.6)


def sign(pen: Pen, look: Look) -> None:
    wood = look.main(WOOD)
    pen.fill(limb(xyr("0 1 .1, 0 -.7 .1")), wood.darker(0.1))
    for y, s in ((-0.42, 1), (0.1, -1)):
        pen.fill(polygon(xy("-.74 -.2, .6 -.2, .92 0, .6 .2, -.74 .2", side=s, at=(0, y))), wood, edge=0.06)
        for k in range(2):
            pen.stroke(
                polygon([(-0.5 * s, y - 0.05 + 0.1 * k), (look.between(0.1, 0.45) * s, y - 0.05 + 0.1 * k)]),
                wood.darker(0.25),
                0.04,
            )
    grass_tufts(pen, look, 0.4)


def fence(pen: Pen, look: Look) -> None:
    wood = look.main(WOOD)
    for y in (0.1, 0.6):
        pen.fill(box(-1.0, y - 0.08, 1.0, y + 0.08, 0.03), wood.darker(0.06), edge=0.03)
    for x in (-0.75, -0.25, 0.25, 0.75):
        pen.fill(polygon(xy("-.15 1, -.15 -.2, 0 -.42, .15 -.2, .15 1", at=(x, 0))), wood, edge=0.05)
    grass_tufts(pen, look, 0.9)


def grave(pen: Pen, look: Look) -> None:
    stone = look.main(ink(0.58, 0.015, 260, "stone"))
    pen.fill(
        spline(xy("-.6 .96, -.6 .2, -.58 -.4, -.3 -.8, 0 -.88, .3 -.8, .58 -.4, .6 .2, .6 .96")),
        stone,
        edge=0.14,
    )
    for x0, y0, x1, y1 in ((-0.06, -0.5, 0.06, 0.1), (-0.2, -0.34, 0.2, -0.22)):
        pen.decal(box(x0, y0, x1, y1), stone.darker(0.2))
    pen.stroke(polygon(xy(".3 -.6, .2 -.3, .34 -.1, .26 .1")), stone.darker(0.3), 0.025)
    pen.fill(spline(xy("-.86 1, -.6 .8, 0 .86, .6 .8, .86 1")), ink(0.42, 0.06, 60, "earth"))
    grass_tufts(pen, look, 0.8)


def portal(pen: Pen, look: Look) -> None:
    magic = look.main(ink(0.64, 0.2, 300, "glow"), ink(0.72, 0.15, 200, "glow"), ink(0.7, 0.19, 145, "glow"))
    pen.glow(0, 0, 1.4, magic, strength=0.45)
    pen.fill(ellipse(0, -0.02, 0.74, 0.96), magic.darker(0.16), puff=0.2, line=0)
    disc = pen.last
    for turn in range(0, 360, 72):
        swirl = [
            o * (0.78, 1.0)
            for o in moved(spline(xy("0 0, .3 -.12, .66 .06, .78 .4, .5 .22, .24 .1")), 0, 0, turn=turn)
        ]
        pen.decal(swirl, magic.lighter(0.12), on=disc, alpha=0.85)
    pen.fill(ellipse(0, 0, 0.18, 0.22), magic.lighter(0.26), puff=0.2, line=0, shadow=0)
    count = 15
    for k in range(count):
        a = np.pi * (0.62 + 1.76 * k / (count - 1))
        with pen.placed(0.84 * float(np.cos(a)), 1.02 * float(np.sin(a)), turn=float(np.rad2deg(a)) + 90):
            pen.fill(box(-0.15, -0.15, 0.15, 0.15, 0.04), STONE.lighter(look.between(-0.06, 0.04)), edge=0.05)
    pen.fill(box(-0.7, 0.86, 0.7, 1.06, 0.03), STONE, edge=0.05)


def pillar(pen: Pen, look: Look) -> None:
    stone = look.main(ink(0.86, 0.02, 85, "stone"))
    pen.fill(box(-0.36, -0.8, 0.36, 0.86, 0.02), stone, puff=1.0)
    shaft = pen.last
    for x in (-0.22, -0.07, 0.08, 0.23):
        pen.decal(box(x - 0.025, -1, x + 0.025, 1), stone.darker(0.14), on=shaft)
    for y0, y1, w in ((-1.0, -0.78, 0.56), (0.8, 1.0, 0.56), (-0.8, -0.7, 0.45), (0.72, 0.82, 0.45)):
        pen.fill(box(-w, y0, w, y1, 0.04), stone.lighter(0.02), edge=0.05)


DRAWN: Final[dict[str, Callable[[Pen, Look], None]]] = {
    "tree": tree, "pine": pine, "palm": palm, "dead tree": dead_tree, "rock": rock, "bush": bush,
        "crate": crate, "barrel": barrel,
    "house": house, "castle": castle, "tower": tower, "torch": torch, "campfire": campfire, "flag": flag,
        "cactus": cactus,
    "sign": sign, "fence": fence, "well": well, "grave": grave, "portal": portal, "windmill": windmill,
        "tent": tent,
    "pillar": pillar, "car": car, "boat": boat,
}  # fmt: skip


def draw_prop(pen: Pen, look: Look) -> None:
    DRAWN[look.wish.subject](pen, look)
