"""Ground to stand on: floating platforms and square tiles, by what they are made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from genyard.preview.items import facets
from genyard.preview.look import Look
from genyard.preview.paint import Patch, Pen
from genyard.preview.palette import Ink, ink
from genyard.preview.shapes import box, ellipse, limb, moved, polygon, spline, wobbly, xy


@dataclass(frozen=True, kw_only=True)
class Ground:
    """top: what grows on it (or nothing), body: what it is, built: how it is put together."""

    body: Ink
    top: Ink | None = None
    built: str = "earth"


GROUNDS: Final[dict[str, Ground]] = {
    "grass": Ground(body=ink(0.5, 0.075, 55, "earth"), top=ink(0.66, 0.18, 135, "leaf")),
    "nature": Ground(body=ink(0.5, 0.075, 55, "earth"), top=ink(0.62, 0.16, 140, "leaf")),
    "dirt": Ground(body=ink(0.48, 0.075, 58, "earth"), top=ink(0.56, 0.08, 62, "earth")),
    "snow": Ground(body=ink(0.55, 0.05, 250, "stone"), top=ink(0.97, 0.012, 230, "snow")),
    "ice": Ground(body=ink(0.8, 0.08, 225, "ice"), top=ink(0.95, 0.03, 220, "ice"), built="ice"),
    "sand": Ground(body=ink(0.72, 0.1, 72, "earth"), top=ink(0.86, 0.1, 88, "earth")),
    "stone": Ground(body=ink(0.58, 0.02, 255, "stone"), built="bricks"),
    "lava": Ground(body=ink(0.34, 0.03, 20, "stone"), top=ink(0.72, 0.2, 45, "fire"), built="lava"),
    "fire": Ground(body=ink(0.34, 0.03, 20, "stone"), top=ink(0.72, 0.2, 45, "fire"), built="lava"),
    "wood": Ground(body=ink(0.55, 0.09, 60, "wood"), built="planks"),
    "metal": Ground(body=ink(0.62, 0.02, 250, "metal"), built="metal"),
    "sci-fi": Ground(body=ink(0.45, 0.04, 255, "metal"), top=ink(0.84, 0.13, 200, "glow"), built="metal"),
    "gold": Ground(body=ink(0.8, 0.15, 84, "gold"), built="bricks"),
    "crystal": Ground(body=ink(0.5, 0.08, 290, "stone"), top=ink(0.7, 0.17, 305, "crystal")),
    "candy": Ground(body=ink(0.62, 0.1, 50, "earth"), top=ink(0.8, 0.12, 355, "shell")),
    "poison": Ground(body=ink(0.42, 0.07, 310, "earth"), top=ink(0.7, 0.2, 130, "slime"), built="lava"),
}  # fmt: skip


def ground_of(look: Look) -> Ground:
    wish = look.wish
    named = wish.substance(wish.subject)
    if named is None and wish.word == "brick":
        named = "stone"
    ground = GROUNDS.get(named or "", GROUNDS["grass" if not wish.coloured(wish.subject) else "stone"])
    if wish.subject in wish.colours:
        tint = wish.colours[wish.subject][0]
        if ground.top is not None:
            return Ground(body=ground.body, top=tint.made_of(ground.top.material), built=ground.built)
        return Ground(body=tint.made_of(ground.body.material), built=ground.built)
    return ground


def _pebbles(
    pen: Pen, look: Look, body: Ink, on: Patch | None, x0: float, y0: float, x1: float, y1: float, count: int
) -> None:
    for _ in range(count):
        x, y, r = look.between(x0, x1), look.between(y0, y1), look.between(0.05, 0.13)
        pen.decal(
            wobbly(x, y, r, r * 0.75, look.rng, rough=0.18),
            body.lighter(look.between(-0.12, 0.1)),
            on=on,
            line=0.5,
        )


def _bricks(pen: Pen, look: Look, body: Ink, x0: float, y0: float, x1: float, y1: float, rows: int) -> None:
    height = (y1 - y0) / rows
    for row in range(rows):
        x = x0 - (height * 0.9 if row % 2 else 0)
        while x < x1 - 0.02:
            wide = height * look.between(1.5, 2.0)
            left, right = max(x, x0), min(x + wide, x1)
            if x1 - right < height * 0.5:
                right = x1
            if right - left > height * 0.3:
                pen.fill(
                    box(
                        left + 0.008,
                        y0 + row * height + 0.008,
                        right - 0.008,
                        y0 + (row + 1) * height - 0.008,
                        height * 0.14,
                    ),
                    body.lighter(look.between(-0.06, 0.05)),
                    edge=height * 0.2,
                    line=0.7,
                    shadow=0.4,
                )
            x = right if right == x1 else x + wide


def _fringe(
    look: Look, x0: float, x1: float, y: float, depth: float, step: float
) -> list[tuple[float, float]]:
    """The lower edge of grass, snow or sweet icing, from right to left."""
    points = []
    x, low = x1, False
    while x > x0 + step * 0.5:
        points.append((x, y + (depth * look.between(0.7, 1.3) if low else 0.0)))
        x -= step * look.between(0.8, 1.2)
        low = not low
    return [*points, (x0, y + depth * 0.4)]


def _cap(pen: Pen, look: Look, top: Ink, x0: float, x1: float, y: float, thick: float) -> None:
    """What lies on top, hanging over the edges."""
    fringe = _fringe(look, x0 - 0.03, x1 + 0.03, y + thick, thick * 0.9, 0.13)
    grassy = top.material == "leaf"
    outline = [
        (x0 - 0.04, y + thick * 0.4),
        (x0, y - thick * 0.35),
        (x1, y - thick * 0.35),
        (x1 + 0.04, y + thick * 0.4),
    ]
    pen.fill(
        polygon([*outline, *fringe]) if grassy else spline([*outline, *fringe], steps=5),
        top,
        edge=thick * 0.5,
        puff=1.1,
    )
    pen.decal(box(x0 - 0.1, y - thick, x1 + 0.1, y - thick * 0.02), top.lighter(0.1), alpha=0.8)
    if grassy:
        blade_count = int((x1 - x0) / 0.16)
        for _ in range(blade_count):
            x = look.between(x0 + 0.05, x1 - 0.05)
            pen.fill(
                spline(
                    [
                        (x - 0.045, y - thick * 0.2),
                        (x - 0.06, y - 0.11),
                        (x, y - 0.06),
                        (x + 0.05, y - 0.13),
                        (x + 0.045, y - thick * 0.2),
                    ]
                ),
                top.lighter(0.03),
                line=0.5,
                shadow=0,
            )


def platform(pen: Pen, look: Look) -> None:
    """About 3.2 wide; a floating island when the prompt says so."""
    ground = ground_of(look)
    half = 1.5
    if look.wish.word in ("island", "floating island"):
        pen.fill(
            spline(
                xy("-1.2 -.1, 1.2 -.1, .96 .3, .62 .44, .44 .8, .1 1.05, -.16 .84, -.5 .6, -.7 .36, -1 .28")
            ),
            ground.body,
        )
        _pebbles(pen, look, ground.body, pen.last, -0.9, 0.05, 0.9, 0.8, 12)
        _cap(pen, look, ground.top or GROUNDS["grass"].top or ground.body, -1.24, 1.24, -0.12, 0.2)
        return
    if ground.built == "planks":
        for x in (-1.1, 1.1):
            pen.fill(box(x - 0.1, -0.1, x + 0.1, 0.55, 0.03), ground.body.darker(0.12), edge=0.04)
        for k, x in enumerate((-1.12, -0.37, 0.37, 1.12)):
            pen.fill(
                box(x - 0.37, -0.26, x + 0.37, 0.16, 0.05), ground.body.lighter(0.03 * (k % 2)), edge=0.06
            )
            for s in (-0.28, 0.28):
                pen.fill(ellipse(x + s, -0.05, 0.035), ink(0.45, 0.02, 260, "metal"), line=0.5, shadow=0.2)
        return
    pen.fill(
        spline(
            [
                (-half, -0.2),
                (half, -0.2),
                (half + 0.02, 0.24),
                (half - 0.2, 0.48),
                (0.7, 0.44),
                (0.3, 0.56),
                (-0.3, 0.46),
                (-0.8, 0.56),
                (-half + 0.2, 0.46),
                (-half - 0.02, 0.24),
            ],
            steps=5,
        ),
        ground.body,
        edge=0.14,
    )
    slab = pen.last
    _body(pen, look, ground, slab, -half, -0.2, half, 0.42)
    if ground.top is not None and ground.built != "metal":
        _cap(pen, look, ground.top, -half, half, -0.2, 0.14)


def _body(
    pen: Pen, look: Look, ground: Ground, slab: Patch | None, x0: float, y0: float, x1: float, y1: float
) -> None:
    body = ground.body
    if ground.built == "bricks":
        _bricks(pen, look, body, x0, y0, x1, y1 + 0.02, 2 if y1 - y0 < 1 else 4)
    elif ground.built == "metal":
        for x in (x0 + 0.12, x1 - 0.12):
            for y in (y0 + 0.14, y1 - 0.1):
                pen.fill(ellipse(x, y, 0.05), body.lighter(0.14), line=0.7, shadow=0.3)
        if ground.top is not None:
            pen.fill(
                box(x0 + 0.26, (y0 + y1) / 2 - 0.05, x1 - 0.26, (y0 + y1) / 2 + 0.05, 0.05),
                ground.top,
                puff=0.4,
                line=0.8,
                shadow=0,
            )
    elif ground.built == "lava" and ground.top is not None:
        for _ in range(4):
            x = look.between(x0, x1)
            crack = [
                (x, y0),
                (x + look.between(-0.1, 0.1), (y0 * 2 + y1) / 3),
                (x + look.between(-0.2, 0.2), y1),
            ]
            pen.decal(
                limb([(*p, r) for p, r in zip(crack, (0.045, 0.035, 0.015), strict=True)]),
                ground.top,
                on=slab,
                tone=0.15,
            )
    elif ground.built == "ice":
        for _ in range(5):
            x, y = look.between(x0, x1), look.between(y0, y1)
            pen.decal(
                moved(polygon(xy("-.2 .02, .2 -.02, .2 .02, -.2 .05")), x, y, turn=-35),
                body.lighter(0.16),
                on=slab,
            )
    else:
        _pebbles(pen, look, body, slab, x0 + 0.1, y0 + 0.2, x1 - 0.1, y1, 12)


def tile(pen: Pen, look: Look) -> None:
    """A square block of side 2."""
    ground = ground_of(look)
    if ground.built == "planks":
        for k in range(4):
            pen.fill(
                box(-1, -1 + 0.5 * k, 1, -0.5 + 0.5 * k, 0.04), ground.body.lighter(0.03 * (k % 2)), edge=0.06
            )
            for x in (-0.88, 0.88):
                pen.fill(
                    ellipse(x, -0.75 + 0.5 * k, 0.035), ink(0.45, 0.02, 260, "metal"), line=0.5, shadow=0.2
                )
        return
    if ground.body.material == "crystal":
        facets(pen, xy("-1 -1, 1 -1, 1 1, -1 1"), xy("-.6 -.6, .6 -.6, .6 .6, -.6 .6"), ground.body)
        return
    pen.fill(box(-1, -1, 1, 1, 0.06), ground.body, edge=0.12)
    slab = pen.last
    _body(pen, look, ground, slab, -1, -1, 1, 1)
    if ground.top is not None and ground.built != "metal":
        _cap(pen, look, ground.top, -1, 1, -0.92, 0.2)


def draw_tile(pen: Pen, look: Look) -> None:
    (platform if look.wish.subject == "platform" else tile)(pen, look)
