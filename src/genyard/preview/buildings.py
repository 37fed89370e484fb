"""Buildings and vehicles; feet at y = 1."""

from __future__ import annotations

from typing import Final

from genyard.preview.look import Look
from genyard.preview.paint import Pen
from genyard.preview.palette import Ink, ink
from genyard.preview.shapes import box, ellipse, limb, polygon, spline, xy, xyr
from genyard.preview.weapons import GOLD

WOOD: Final = ink(0.54, 0.09, 60, "wood")


STONE: Final = ink(0.62, 0.02, 250, "stone")


WINDOW: Final = ink(0.88, 0.13, 88, "glow")


DARK: Final = ink(0.24, 0.03, 290)


def grass_tufts(pen: Pen, look: Look, half: float, y: float = 1.0) -> None:
    green = ink(0.6, 0.16, 135)
    for _ in range(7):
        x = look.between(-half, half)
        pen.fill(
            spline(xy("-.05 0, -.03 -.1, -.08 -.2, .01 -.09, .07 -.17, .05 0", at=(x, y))),
            green,
            line=0.6,
            shadow=0,
        )


def _window(pen: Pen, x: float, y: float, w: float, h: float) -> None:
    pen.fill(
        box(x - w - 0.04, y - h - 0.04, x + w + 0.04, y + h + 0.04, 0.03),
        WOOD.darker(0.08),
        line=0.8,
        shadow=0.4,
    )
    pen.fill(box(x - w, y - h, x + w, y + h, 0.02), WINDOW, puff=0.2, line=0.5, shadow=0)
    pen.stroke(polygon([(x, y - h), (x, y + h)]), WOOD.darker(0.12), 0.03)
    pen.stroke(polygon([(x - w, y), (x + w, y)]), WOOD.darker(0.12), 0.03)


def house(pen: Pen, look: Look) -> None:
    roof = look.main(*(ink(0.52, 0.15, h, "cloth") for h in (27, 262, 150, 300)))
    wall = ink(0.88, 0.045, 85, "earth")
    pen.fill(box(0.36, -0.96, 0.6, -0.3, 0.02), STONE)
    pen.fill(polygon(xy("-.78 1, -.78 0, 0 -.82, .78 0, .78 1")), wall, edge=0.1)
    front = pen.last
    for x0, y0, x1, y1 in (
        (-0.9, 0.04, 0.9, 0.14),
        (-0.8, 0.0, -0.68, 1.1),
        (0.68, 0.0, 0.8, 1.1),
        (-0.05, -0.9, 0.05, 0.1),
    ):
        pen.decal(box(x0, y0, x1, y1), WOOD.darker(0.1), on=front, line=0.7)
    pen.decal(box(-1, 0.84, 1, 1.1), STONE, on=front, line=0.7)
    side = polygon(xy("0 -1, -1.04 .1, -.9 .26, 0 -.68"))
    for outline, tone in ((side, 0.0), ([o * (-1, 1) for o in side], -0.1)):
        pen.fill(outline, roof, edge=0.06, tone=tone)
        slope = pen.last
        for k in range(4):
            pen.decal(
                limb(
                    [(0, -0.94 + 0.09 * k, 0.012), ((-1 if tone == 0 else 1) * 1.05, 0.17 + 0.05 * k, 0.012)]
                ),
                roof.darker(0.13),
                on=slope,
            )
    pen.fill(spline(xy("-.2 1, -.2 .56, 0 .42, .2 .56, .2 1")), WOOD.darker(0.04), edge=0.05)
    pen.fill(ellipse(0.12, 0.76, 0.03), GOLD, line=0.6, shadow=0)
    for x in (-0.46, 0.46):
        _window(pen, x, 0.5, 0.12, 0.14)
    pen.fill(ellipse(0, -0.22, 0.14), WOOD.darker(0.08), line=0.8)
    pen.fill(ellipse(0, -0.22, 0.1), WINDOW, puff=0.2, line=0.5, shadow=0)
    grass_tufts(pen, look, 0.95)


def _battlement(
    x0: float, x1: float, top: float, bottom: float, count: int, tooth: float
) -> list[tuple[float, float]]:
    points = [(x0, bottom)]
    step = (x1 - x0) / (2 * count - 1)
    for k in range(2 * count - 1):
        y = top if k % 2 == 0 else top + tooth
        points += [(x0 + k * step, y), (x0 + (k + 1) * step, y)]
    return [*points, (x1, bottom)]


def _tower(pen: Pen, x: float, w: float, top: float, stone: Ink, roof: Ink | None, look: Look) -> None:
    pen.fill(box(x - w, top, x + w, 1.0, 0.0), stone, edge=0.3 * w, puff=1.0)
    body = pen.last
    for k in range(5):
        pen.decal(
            box(
                x + w * (-0.7 + 0.36 * (k % 4)),
                top + 0.2 + k * 0.22,
                x + w * (-0.3 + 0.36 * (k % 4)),
                top + 0.26 + k * 0.22,
            ),
            stone.darker(0.08),
            on=body,
        )
    pen.fill(
        polygon(_battlement(x - w * 1.2, x + w * 1.2, top - 0.14, top + 0.06, 3, 0.09)),
        stone.lighter(0.03),
        edge=0.04,
    )
    if roof is not None:
        pen.fill(
            polygon([(x - w * 1.3, top - 0.08), (x, top - w * 3.0), (x + w * 1.3, top - 0.08)]),
            roof,
            puff=1.0,
        )
        pen.stroke(polygon([(x, top - w * 2.95), (x, top - w * 4.1)]), DARK, 0.025)
        pen.fill(
            polygon([(x, top - w * 4.1), (x + w * 1.1, top - w * 3.8), (x, top - w * 3.5)]),
            roof.lighter(0.08),
            line=0.7,
        )
    pen.fill(
        spline(xy("-.24 .36, -.24 .2, 0 .12, .24 .2, .24 .36", side=w, at=(x, top))),
        WINDOW,
        puff=0.2,
        line=0.9,
        shadow=0,
    )


def castle(pen: Pen, look: Look) -> None:
    stone = look.main(ink(0.68, 0.02, 250, "stone"), ink(0.7, 0.035, 75, "stone"))
    roof = look.wish.second(
        look.pick((ink(0.5, 0.16, 262, "cloth"), ink(0.52, 0.17, 27, "cloth"), ink(0.46, 0.14, 305, "cloth")))
    )
    _tower(pen, 0.0, 0.2, -0.72, stone.darker(0.04), roof, look)
    for s in (-1, 1):
        _tower(pen, s * 0.46, 0.15, -0.3, stone.darker(0.03), roof, look)
    pen.fill(polygon(_battlement(-0.75, 0.75, 0.06, 1.0, 7, 0.1)), stone, edge=0.06)
    wall = pen.last
    for _ in range(9):
        x, y = look.between(-0.6, 0.6), look.between(0.3, 0.9)
        pen.decal(box(x, y, x + 0.14, y + 0.055, 0.01), stone.darker(0.09), on=wall)
    for s in (-1, 1):
        _tower(pen, s * 0.82, 0.2, -0.12, stone, roof, look)
    pen.fill(spline(xy("-.24 1, -.24 .56, 0 .36, .24 .56, .24 1")), stone.darker(0.2), line=0.9)
    pen.fill(spline(xy("-.17 1, -.17 .6, 0 .45, .17 .6, .17 1")), WOOD.darker(0.12), line=0.6, shadow=0)
    grass_tufts(pen, look, 1.0)


def tower(pen: Pen, look: Look) -> None:
    roof = ink(0.5, 0.15, look.pick((262.0, 27.0, 305.0)), "cloth")
    _tower(pen, 0, 0.36, -0.5, look.main(ink(0.66, 0.02, 250, "stone")), roof, look)
    pen.fill(spline(xy("-.16 1, -.16 .68, 0 .54, .16 .68, .16 1")), WOOD.darker(0.1))
    grass_tufts(pen, look, 0.5)


def well(pen: Pen, look: Look) -> None:
    for s in (-1, 1):
        pen.fill(box(s * 0.56 - 0.07, -0.6, s * 0.56 + 0.07, 0.5, 0.02), WOOD)
    pen.fill(
        polygon(xy("-.95 -.45, -.3 -1, .3 -1, .95 -.45")), look.main(ink(0.52, 0.16, 27, "cloth")), edge=0.08
    )
    pen.stroke(polygon([(0, -0.45), (0, 0.1)]), ink(0.7, 0.06, 80), 0.04)
    pen.fill(polygon(xy("-.14 .05, .14 .05, .1 .3, -.1 .3")), WOOD.darker(0.05), edge=0.04)
    pen.fill(spline(xy("-.8 .4, .8 .4, .76 .96, 0 1.04, -.76 .96")), STONE)
    body = pen.last
    for row in range(3):
        for k in range(5):
            x = -0.8 + k * 0.36 + 0.18 * (row % 2)
            pen.decal(
                box(x, 0.5 + row * 0.18, x + 0.31, 0.64 + row * 0.18, 0.05),
                STONE.lighter(0.05 - 0.04 * ((k + row) % 3)),
                on=body,
                line=0.5,
            )
    pen.fill(ellipse(0, 0.42, 0.8, 0.15), STONE.lighter(0.05), puff=0.4)
    pen.fill(ellipse(0, 0.42, 0.62, 0.1), ink(0.3, 0.08, 250), puff=0, line=0.6, shadow=0)


def windmill(pen: Pen, look: Look) -> None:
    pen.fill(polygon(xy("-.5 1, -.3 -.2, .3 -.2, .5 1")), ink(0.88, 0.03, 85, "earth"), edge=0.12)
    pen.fill(
        spline(xy("-.4 -.16, -.3 -.46, 0 -.62, .3 -.46, .4 -.16")), look.main(ink(0.52, 0.16, 27, "cloth"))
    )
    _window(pen, 0, 0.3, 0.1, 0.12)
    pen.fill(box(-0.14, 0.66, 0.14, 1.0, 0.05), WOOD)
    start = look.between(10, 80)
    for k in range(4):
        with pen.placed(0, -0.3, turn=start + 90 * k):
            pen.fill(box(-0.03, -0.95, 0.03, 0, 0.01), WOOD, line=0.8)
            pen.fill(box(0.03, -0.92, 0.26, -0.2, 0.02), ink(0.95, 0.02, 85, "cloth"), puff=0.3, line=0.8)
    pen.fill(ellipse(0, -0.3, 0.09), WOOD)


def tent(pen: Pen, look: Look) -> None:
    cloth = look.main(*(ink(0.58, 0.15, h, "cloth") for h in (40, 262, 150)))
    pen.fill(polygon(xy("0 -.7, -1 .98, 1 .98")), cloth, edge=0.3)
    body = pen.last
    for x in (-0.66, 0.66):
        pen.decal(polygon([(0, -0.7), (x - 0.17, 1.1), (x + 0.17, 1.1)]), cloth.lighter(0.2), on=body)
    pen.fill(spline(xy("0 -.3, -.34 .98, .34 .98")), DARK, puff=0, line=0.8, shadow=0)
    pen.fill(polygon(xy("0 -.36, .36 .98, .6 .98")), cloth.darker(0.06), line=0.9)
    pen.fill(limb(xyr("0 -.66 .03, 0 -.96 .03")), WOOD)
    pen.fill(polygon(xy("0 -.98, .34 -.88, 0 -.76")), cloth.turned(180), line=0.8)


def car(pen: Pen, look: Look) -> None:
    paint = look.main(*(ink(0.58, 0.2, h, "shell") for h in (27, 262, 150, 55)))
    pen.fill(spline(xy("-.55 .3, -.4 -.2, -.1 -.34, .34 -.3, .6 .1, .66 .34")), paint.darker(0.03))
    pen.fill(
        spline(xy("-.42 .22, -.3 -.12, -.06 -.2, -.06 .22")),
        ink(0.85, 0.05, 225, "glass"),
        puff=0.4,
        line=0.8,
    )
    pen.fill(
        spline(xy(".04 .22, .04 -.2, .3 -.16, .48 .22")), ink(0.85, 0.05, 225, "glass"), puff=0.4, line=0.8
    )
    pen.fill(spline(xy("-1.05 .55, -1 .28, -.6 .16, .6 .16, 1 .26, 1.06 .6, .9 .74, -.95 .74")), paint)
    pen.fill(ellipse(0.96, 0.4, 0.08, 0.1), ink(0.94, 0.1, 95, "glow"), line=0.8)
    pen.fill(ellipse(-1.0, 0.42, 0.05, 0.09), ink(0.6, 0.22, 27, "glow"), line=0.8)
    for x in (-0.58, 0.6):
        pen.fill(ellipse(x, 0.72, 0.26), ink(0.26, 0.01, 270))
        pen.fill(ellipse(x, 0.72, 0.14), ink(0.78, 0.01, 250, "metal"), line=0.8, shadow=0)


def boat(pen: Pen, look: Look) -> None:
    wood = ink(0.5, 0.1, 50, "wood")
    sail = look.main(ink(0.96, 0.02, 88, "cloth"), ink(0.58, 0.19, 27, "cloth"))
    pen.fill(limb(xyr("0 .5 .06, 0 -.98 .045")), wood)
    pen.fill(spline(xy(".06 -.9, .5 -.5, .66 .1, .5 .34, .06 .3")), sail)
    pen.fill(spline(xy("-.07 -.66, -.5 0, -.6 .3, -.07 .3")), sail.darker(0.04))
    pen.fill(polygon(xy("0 -1, .3 -.92, 0 -.82")), ink(0.58, 0.2, 27), line=0.8)
    pen.fill(spline(xy("-1.05 .4, -.5 .52, .5 .52, 1.1 .36, .8 .9, .4 1.02, -.5 1.02, -.85 .86")), wood)
    hull = pen.last
    pen.decal(
        spline(xy("-1.2 .5, -.5 .62, .5 .62, 1.2 .46, 1.2 .56, .5 .73, -.5 .73, -1.2 .6")),
        GOLD,
        on=hull,
        line=0.6,
    )
