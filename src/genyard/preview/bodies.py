"""From neck to toe: what characters wear on their bodies, one function per cut, and the choices they share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from genyard.preview import faces
from genyard.preview.paint import Pen
from genyard.preview.palette import Ink, ink
from genyard.preview.shapes import box, ellipse, limb, polygon, spline, xy, xyr

SKINS: Final = (
    ink(0.87, 0.06, 58, "skin"),
    ink(0.8, 0.075, 60, "skin"),
    ink(0.68, 0.085, 55, "skin"),
    ink(0.52, 0.075, 48, "skin"),
)


STEEL: Final = ink(0.74, 0.022, 255, "metal")


GOLD: Final = ink(0.8, 0.15, 84, "gold")


LEATHER: Final = ink(0.44, 0.08, 50, "leather")


@dataclass(frozen=True, kw_only=True)
class Outfit:
    """A row of the table. `main` is what the prompt's colour replaces."""

    main: tuple[Ink, ...]
    second: tuple[Ink, ...] = (LEATHER,)
    body: str = "tunic"
    head: str = "face"
    skin: tuple[Ink, ...] = SKINS
    hair: tuple[str, ...] = ("short", "spiky", "bowl")
    wear: tuple[str, ...] = ()
    right: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    back: tuple[str, ...] = ()
    mood: str = "calm"
    ears: str = ""
    beard: bool = False
    wide: float = 1.0
    legs: Ink | None = None


def dye(light: float, chroma: float, hue: float, material: str = "cloth") -> Ink:
    return ink(light, chroma, hue, material)


TEAL, BROWN, BLACK, WHITE = (
    dye(0.55, 0.1, 195),
    dye(0.48, 0.08, 55),
    dye(0.3, 0.03, 285),
    dye(0.94, 0.015, 90),
)


@dataclass(kw_only=True)
class Person:
    """The choices made for one character, shared by the drawing steps below."""

    outfit: Outfit
    main: Ink
    second: Ink
    skin: Ink
    hair: Ink
    hair_style: str
    legs: Ink
    wear: tuple[str, ...]
    right: str
    left: str
    back: tuple[str, ...]
    beard: bool
    mood: str
    wide: float
    turn: float
    arm: float
    eye: Ink
    shirt: Ink = field(default=WHITE)


def _torso(w: float, hem: float, *, flare: float = 1.0, shoulder: float = 1.0) -> list[tuple[float, float]]:
    """Control points of a body from the shoulders (y -0.14) down to `hem`."""
    s, f = 0.29 * w * shoulder, 0.33 * w * flare
    return [
        (-s * 0.6, -0.17),
        (s * 0.6, -0.17),
        (s, -0.06),
        (s * 1.0, 0.2),
        (f, hem - 0.05),
        (f * 0.6, hem + 0.015),
        (0, hem + 0.03),
        (-f * 0.6, hem + 0.015),
        (-f, hem - 0.05),
        (-s * 1.0, 0.2),
        (-s, -0.06),
    ]


def _belt(pen: Pen, p: Person, y: float, colour: Ink = LEATHER, buckle: Ink | None = GOLD) -> None:
    pen.decal(spline(xy("-.6 -.05, 0 0, .6 -.05, .6 .035, 0 .09, -.6 .035", at=(0, y))), colour, line=0.7)
    if buckle is not None:
        x = p.turn
        pen.fill(box(x - 0.06, y - 0.015, x + 0.06, y + 0.1, 0.02), buckle, line=0.7, shadow=0.3)
        pen.fill(
            box(x - 0.028, y + 0.017, x + 0.028, y + 0.068, 0.01),
            colour.darker(0.15),
            line=0,
            puff=0,
            shadow=0,
        )


def _tunic(pen: Pen, p: Person) -> None:
    pen.fill(spline(_torso(p.wide, 0.58)), p.main)
    pen.decal(polygon([(-0.11 + p.turn, -0.3), (0.11 + p.turn, -0.3), (p.turn, 0.06)]), p.shirt, line=0.7)
    pen.decal(spline(xy("-.6 .5, 0 .53, .6 .5, .6 .8, -.6 .8")), p.main.darker(0.1), line=0.0)
    _belt(pen, p, 0.27)


def _ragged(pen: Pen, p: Person) -> None:
    pen.fill(
        polygon(
            xy(
                "-.26 -.15, .26 -.15, .3 .2, .34 .55, .22 .48, .16 .6, .05 .5, -.06 .61, -.16 .5, "
                "-.27 .58, -.32 .2"
            )
        ),
        p.main,
    )
    pen.decal(ellipse(0.13, 0.2, 0.1, 0.07, 20), p.skin, line=0.7)
    pen.decal(polygon([(-0.09 + p.turn, -0.3), (0.1 + p.turn, -0.3), (p.turn - 0.03, 0.0)]), p.skin, line=0.7)


def _armor(pen: Pen, p: Person) -> None:
    metal = p.second if p.second.material in ("metal", "gold") else STEEL
    pen.fill(
        spline(
            [
                (-0.33 * p.wide, 0.25),
                (0.33 * p.wide, 0.25),
                (0.38 * p.wide, 0.6),
                (0, 0.66),
                (-0.38 * p.wide, 0.6),
            ]
        ),
        p.main,
    )
    pen.decal(box(p.turn - 0.09, 0.2, p.turn + 0.09, 0.8), p.main.lighter(0.1), line=0.6)
    pen.fill(spline(_torso(p.wide, 0.34, flare=0.86, shoulder=1.08)), metal, puff=1.15)
    pen.decal(
        spline(
            [
                (-0.12 + p.turn, -0.3),
                (0.12 + p.turn, -0.3),
                (0.1 + p.turn, 0.05),
                (p.turn, 0.18),
                (-0.1 + p.turn, 0.05),
            ]
        ),
        p.main,
        line=0.7,
    )
    _belt(pen, p, 0.25)


def _robe(pen: Pen, p: Person) -> None:
    w = p.wide
    pen.fill(
        spline(
            [
                (-0.17, -0.17),
                (0.17, -0.17),
                (0.28 * w, 0.02),
                (0.34 * w, 0.45),
                (0.46 * w, 0.9),
                (0.25 * w, 0.975),
                (0, 0.95),
                (-0.25 * w, 0.975),
                (-0.46 * w, 0.9),
                (-0.34 * w, 0.45),
                (-0.28 * w, 0.02),
            ]
        ),
        p.main,
    )
    robe = pen.last
    pen.decal(spline(xy("-.8 .84, 0 .88, .8 .84, .8 1.1, -.8 1.1")), p.second, on=robe, line=0.7)
    pen.decal(
        spline(
            [
                (-0.075 + p.turn, -0.3),
                (0.075 + p.turn, -0.3),
                (0.08 + p.turn, 0.4),
                (0.13 + p.turn, 1.1),
                (-0.13 + p.turn, 1.1),
                (-0.08 + p.turn, 0.4),
            ]
        ),
        p.main.darker(0.13),
        on=robe,
        line=0.6,
    )
    pen.last = robe
    _belt(pen, p, 0.3, p.second, GOLD)


def _dress(pen: Pen, p: Person) -> None:
    w = p.wide
    pen.fill(
        spline(
            xy(
                "-.2 .2, .2 .2, .42 .55, .54 .88, .3 .95, .14 .91, 0 .96, -.14 .91, -.3 .95, "
                "-.54 .88, -.42 .55",
                side=w,
            )
        ),
        p.main,
    )
    skirt = pen.last
    for x in (-0.24, 0.0, 0.24):
        pen.decal(
            spline([(x * 0.4, 0.3), (x * 1.5 + 0.05, 0.9), (x * 1.5 - 0.05, 0.9)]),
            p.main.darker(0.07),
            on=skirt,
        )
    pen.decal(spline(xy("-.8 .79, 0 .85, .8 .79, .8 .86, 0 .91, -.8 .86")), p.second, on=skirt, line=0.6)
    pen.fill(
        spline(
            [
                (-0.17, -0.15),
                (0.17, -0.15),
                (0.25 * w, -0.04),
                (0.19 * w, 0.2),
                (0.24 * w, 0.34),
                (0, 0.38),
                (-0.24 * w, 0.34),
                (-0.19 * w, 0.2),
                (-0.25 * w, -0.04),
            ]
        ),
        p.main.darker(0.05),
    )
    pen.decal(ellipse(p.turn, -0.18, 0.15, 0.14), p.skin, line=0.7)
    _belt(pen, p, 0.21, p.second, None)


def _wrap(pen: Pen, p: Person) -> None:
    pen.fill(spline(_torso(p.wide, 0.52)), p.main)
    body = pen.last
    pen.decal(
        polygon([(-0.16 + p.turn, -0.3), (0.2 + p.turn, -0.3), (0.02 + p.turn, 0.3), (-0.04 + p.turn, 0.3)]),
        p.main.darker(0.1),
        on=body,
        line=0.7,
    )
    pen.decal(
        polygon([(-0.05 + p.turn, -0.3), (0.1 + p.turn, -0.3), (0.03 + p.turn, 0.0)]),
        p.skin,
        on=body,
        line=0.7,
    )
    pen.last = body
    _belt(pen, p, 0.26, p.second if p.second.material != "leather" else p.main.lighter(0.16), None)
    pen.fill(limb(xyr(".16 .32 .035, .22 .46 .045, .2 .6 .03")), p.second)


def _robot(pen: Pen, p: Person) -> None:
    pen.fill(box(-0.15, -0.2, 0.15, -0.05, 0.04), p.second)
    pen.fill(box(-0.32 * p.wide, -0.12, 0.32 * p.wide, 0.52, 0.13), p.main, puff=1.1)
    pen.fill(
        box(-0.17 + p.turn, -0.01, 0.17 + p.turn, 0.23, 0.05),
        p.second.darker(0.12),
        puff=0.5,
        line=0.8,
        shadow=0.3,
    )
    for i, hue in enumerate((25, 90, 150)):
        pen.fill(
            ellipse(-0.1 + 0.1 * i + p.turn, 0.06, 0.032), ink(0.76, 0.19, hue, "glow"), line=0.5, shadow=0
        )
    pen.fill(
        box(-0.11 + p.turn, 0.13, 0.11 + p.turn, 0.175, 0.02),
        ink(0.85, 0.12, 200, "glow"),
        line=0.5,
        shadow=0,
        puff=0.3,
    )
    for side in (-1, 1):
        pen.fill(ellipse(side * 0.24 * p.wide, 0.42, 0.03), p.second, line=0.6, shadow=0.2)


def _bones(pen: Pen, p: Person) -> None:
    bone = p.main if p.main.material == "bone" else p.main.made_of("bone")
    pen.fill(limb(xyr("0 -.15 .05, 0 .45 .055")), bone.darker(0.06))
    for i, half in enumerate((0.25, 0.24, 0.2)):
        y = -0.06 + i * 0.13
        pen.fill(
            spline(
                [
                    (-half, y - 0.01),
                    (0, y + 0.035),
                    (half, y - 0.01),
                    (half, y + 0.05),
                    (0, y + 0.1),
                    (-half, y + 0.05),
                ]
            ),
            bone,
        )
    pen.fill(spline(xy("-.24 .36, 0 .42, .24 .36, .2 .52, .07 .56, 0 .5, -.07 .56, -.2 .52")), bone)


def _coat(pen: Pen, p: Person) -> None:
    pen.fill(spline(_torso(p.wide, 0.72, flare=1.2)), p.main)
    coat = pen.last
    pen.decal(
        polygon(
            [
                (-0.12 + p.turn, -0.3),
                (0.12 + p.turn, -0.3),
                (0.08 + p.turn, 0.4),
                (0.16 + p.turn, 1),
                (-0.16 + p.turn, 1),
                (-0.08 + p.turn, 0.4),
            ]
        ),
        p.shirt,
        on=coat,
        line=0.7,
    )
    for side in (-1, 1):
        pen.decal(
            polygon(
                [
                    (side * 0.1 + p.turn, -0.3),
                    (side * 0.22 + p.turn, -0.3),
                    (side * 0.18 + p.turn, 0.06),
                    (side * 0.05 + p.turn, 0.2),
                ]
            ),
            p.second,
            on=coat,
            line=0.6,
        )
    pen.last = coat
    _belt(pen, p, 0.3)


def _fur(pen: Pen, p: Person) -> None:
    _tunic(pen, p)
    pen.fill(
        spline(
            [
                (-0.36 * p.wide, -0.03),
                (-0.2, -0.2),
                (0.2, -0.2),
                (0.36 * p.wide, -0.03),
                (0.24, 0.07),
                (0.1, 0.03),
                (0, 0.1),
                (-0.1, 0.03),
                (-0.24, 0.07),
            ]
        ),
        ink(0.72, 0.05, 70, "fur"),
    )


def _bare(pen: Pen, p: Person) -> None:
    pen.fill(spline(_torso(p.wide, 0.46, flare=0.85, shoulder=1.1)), p.skin)
    chest = pen.last
    pen.stroke(faces.arc_line(-0.13 * p.wide + p.turn, 0.0, 0.12, 30, 140), p.skin.darker(0.22), 0.018)
    pen.stroke(faces.arc_line(0.13 * p.wide + p.turn, 0.0, 0.12, 40, 150), p.skin.darker(0.22), 0.018)
    pen.decal(limb(xyr("-.3 -.15 .045, .3 .4 .045")), p.second, on=chest, line=0.7)
    pen.fill(
        spline(
            [
                (-0.3 * p.wide, 0.3),
                (0.3 * p.wide, 0.3),
                (0.34 * p.wide, 0.6),
                (0.14, 0.56),
                (0, 0.66),
                (-0.14, 0.56),
                (-0.34 * p.wide, 0.6),
            ]
        ),
        p.main,
    )
    _belt(pen, p, 0.3)


def _suit(pen: Pen, p: Person) -> None:
    pen.fill(spline(_torso(p.wide * 1.12, 0.6)), p.main)
    pen.decal(spline(xy("-.6 .34, .6 .34, .6 .4, -.6 .4")), p.second, line=0.6)
    pen.fill(box(-0.14 + p.turn, 0.0, 0.14 + p.turn, 0.2, 0.04), p.main.darker(0.14), line=0.7, shadow=0.3)
    for i, hue in enumerate((27, 140, 240)):
        pen.fill(
            ellipse(-0.08 + 0.08 * i + p.turn, 0.1, 0.026), ink(0.7, 0.18, hue, "glow"), line=0.4, shadow=0
        )


BODIES: Final[dict[str, Callable[[Pen, Person], None]]] = {
    "tunic": _tunic, "ragged": _ragged, "armor": _armor, "robe": _robe, "dress": _dress, "wrap": _wrap,
        "robot": _robot,
    "bones": _bones, "coat": _coat, "fur": _fur, "bare": _bare, "suit": _suit,
}  # fmt: skip
