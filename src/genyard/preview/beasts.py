"""Four-legged pets, birds, frogs, turtles: one sitting body, told apart by a table of ears, snouts and marks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from genyard.preview import faces
from genyard.preview.look import Look, hue_ink
from genyard.preview.outfits import GOLD, crown_shape, feather_wing
from genyard.preview.paint import Pen
from genyard.preview.palette import Ink, ink
from genyard.preview.shapes import Outlines, ellipse, limb, mirrored, polygon, spline, star, xy, xyr

CREAM: Final = ink(0.94, 0.03, 85, "fur")
NOSE: Final = ink(0.28, 0.04, 20, "shell")
PINK: Final = ink(0.76, 0.12, 12, "skin")
DARK: Final = ink(0.24, 0.03, 290, "eye")


@dataclass(frozen=True, kw_only=True)
class Pet:
    coats: tuple[Ink, ...]
    ears: str
    tail: str
    second: Ink = CREAM
    snout: str = "small"
    marks: tuple[str, ...] = ("belly",)
    wide: float = 1.0


def _f(light: float, chroma: float, hue: float) -> Ink:
    return ink(light, chroma, hue, "fur")


PETS: Final[dict[str, Pet]] = {
    "cat": Pet(coats=(_f(0.68, 0.13, 62), _f(0.55, 0.015, 260), _f(0.32, 0.02, 280), _f(0.92, 0.02, 80)),
        ears="point", tail="curl", marks=("belly", "stripes", "whiskers")),
    "dog": Pet(coats=(_f(0.66, 0.11, 65), _f(0.5, 0.09, 52), _f(0.9, 0.03, 80)), ears="flop", tail="up",
        snout="big", marks=("belly", "patch", "tongue")),
    "fox": Pet(coats=(_f(0.66, 0.17, 48), _f(0.62, 0.18, 40)), ears="tall", tail="bushy", snout="pointed",
        marks=("belly", "mask", "socks")),
    "wolf": Pet(coats=(_f(0.52, 0.02, 255), _f(0.4, 0.025, 265), _f(0.85, 0.01, 250)), ears="tall",
        tail="bushy", snout="pointed", second=_f(0.86, 0.01, 250), marks=("belly", "mask", "ruff", "fangs")),
    "bear": Pet(coats=(_f(0.46, 0.085, 52), _f(0.36, 0.06, 45)), ears="round", tail="", snout="big",
        second=_f(0.74, 0.08, 70), wide=1.14),
    "panda": Pet(coats=(_f(0.95, 0.01, 90),), ears="round dark", tail="", second=_f(0.97, 0.01, 90),
        marks=("eye patches", "dark limbs"), wide=1.14),
    "rabbit": Pet(coats=(_f(0.92, 0.02, 70), _f(0.72, 0.06, 65), _f(0.6, 0.015, 260)), ears="long",
        tail="puff", marks=("belly", "teeth")),
    "mouse": Pet(coats=(_f(0.66, 0.015, 260), _f(0.6, 0.06, 60)), ears="big round", tail="thin",
        marks=("belly", "teeth", "whiskers"), wide=0.95),
    "lion": Pet(coats=(_f(0.76, 0.13, 75),), ears="round", tail="tuft", snout="big", second=_f(0.92, 0.04,
        85), marks=("belly", "mane"), wide=1.05),
    "tiger": Pet(coats=(_f(0.7, 0.17, 55),), ears="round", tail="tuft", snout="big", marks=("belly",
        "stripes", "whiskers"), wide=1.08),
    "pig": Pet(coats=(ink(0.8, 0.1, 8, "skin"),), ears="flap", tail="curl", snout="disc", second=ink(0.86,
        0.08, 8, "skin"), wide=1.14),
    "cow": Pet(coats=(_f(0.94, 0.01, 80), _f(0.5, 0.09, 45)), ears="side", tail="thin", snout="muzzle",
        second=_f(0.36, 0.03, 40), marks=("blotches", "horns"), wide=1.1),
}  # fmt: skip


def _ears(pen: Pen, kind: str, coat: Ink, inner: Ink) -> None:
    dark = ink(0.26, 0.02, 280, "fur")
    shapes: dict[str, tuple[Outlines, Outlines | None]] = {
        "point": (polygon(xy(".14 -.62, .5 -1, .58 -.4")), polygon(xy(".26 -.64, .47 -.86, .5 -.5"))),
        "tall": (
            spline(xy(".12 -.6, .28 -.94, .48 -1.14, .6 -.8, .58 -.4")),
            spline(xy(".28 -.64, .36 -.86, .47 -.98, .5 -.6")),
        ),
        "round": (ellipse(0.42, -0.76, 0.2), ellipse(0.42, -0.74, 0.11)),
        "round dark": (ellipse(0.42, -0.78, 0.2), None),
        "big round": (ellipse(0.5, -0.78, 0.32), ellipse(0.5, -0.76, 0.21)),
        "flop": (spline(xy(".26 -.72, .58 -.78, .74 -.4, .62 .02, .46 -.06, .44 -.4")), None),
        "long": (
            limb(xyr(".2 -.6 .13, .28 -1 .15, .34 -1.4 .1")),
            limb(xyr(".22 -.66 .06, .29 -1 .08, .34 -1.34 .05")),
        ),
        "flap": (spline(xy(".2 -.66, .44 -.9, .66 -.7, .5 -.44")), None),
        "side": (
            spline(xy(".4 -.5, .86 -.62, .94 -.42, .7 -.3, .44 -.3")),
            spline(xy(".54 -.46, .82 -.53, .72 -.37")),
        ),
    }
    outer, hollow = shapes[kind]
    colour = dark if kind == "round dark" else coat.darker(0.08) if kind == "flop" else coat
    pen.both(outer, colour)
    if hollow is not None:
        pen.both(hollow, inner, line=0, shadow=0)


def _tail(pen: Pen, kind: str, coat: Ink, tip: Ink, side: int) -> None:
    paths = {
        "curl": xyr(".3 .8 .09, .78 .86 .09, .96 .5 .085, .8 .26 .06"),
        "up": xyr(".4 .7 .1, .72 .5 .09, .78 .2 .05"),
        "bushy": xyr(".3 .8 .1, .78 .84 .2, .98 .46 .24, .94 .08 .05"),
        "thin": xyr(".3 .84 .05, .82 .9 .045, 1.04 .6 .04, .96 .34 .03"),
        "tuft": xyr(".3 .82 .06, .82 .88 .055, .98 .5 .05, .92 .3 .05"),
        "puff": xyr(".5 .74 .14, .56 .72 .15"),
    }
    if kind not in paths:
        return
    pen.fill(
        limb([(x * side, y, r) for x, y, r in paths[kind]]),
        tip if kind == "puff" else PINK if kind == "thin" else coat,
    )
    if kind == "bushy":
        pen.decal(ellipse(0.96 * side, 0.08, 0.3, 0.24), tip, line=0.6)
    elif kind == "tuft":
        pen.fill(ellipse(0.91 * side, 0.22, 0.13, 0.16), coat.darker(0.22))


def pet(pen: Pen, look: Look) -> None:
    """Sitting, facing the viewer."""
    row = PETS[look.wish.subject]
    coat = look.main(*row.coats)
    if coat.material == "plain":
        coat = coat.made_of("fur")
    second = look.wish.second(
        look.wish.colour(
            "belly",
            row.second
            if abs(row.second.lightness - coat.lightness) > 0.1
            else coat.lighter(-0.16 if coat.lightness > 0.8 else 0.2),
        )
    )
    limbs = ink(0.26, 0.02, 280, "fur") if "dark limbs" in row.marks else coat
    w = row.wide * (1.12 if look.wish.has("fat") else 1)
    if look.wish.has("wings"):
        for wing in (feather_wing(), mirrored(feather_wing())):
            pen.fill(wing, look.wish.colour("wings", ink(0.96, 0.015, 90, "feather")))
    _tail(pen, row.tail, coat, second, look.pick((-1, 1)))
    pen.both(spline(xy(".24 .5, .56 .56, .62 .86, .3 .98", side=w)), limbs.darker(0.03))
    pen.fill(spline(xy("-.26 -.05, .26 -.05, .44 .5, .4 .9, 0 .98, -.4 .9, -.44 .5", side=w)), coat)
    body = pen.last
    if "belly" in row.marks:
        pen.decal(spline(xy("-.15 .05, .15 .05, .25 .5, 0 .86, -.25 .5")), second, on=body)
    _body_marks(pen, look, row, coat, second)
    for s in (-1, 1):
        pen.fill(limb(xyr(".19 .42 .115, .19 .84 .105", side=s)), limbs)
        pen.fill(
            ellipse(s * 0.19, 0.92, 0.15, 0.1),
            second
            if "socks" in row.marks or (row.second == CREAM and "dark limbs" not in row.marks)
            else limbs,
        )
        for d in (-0.045, 0.045):
            pen.stroke(polygon([(s * 0.19 + d, 0.92), (s * 0.19 + d, 0.98)]), limbs.darker(0.3), 0.014)
    if look.wish.has("cape"):
        pen.fill(
            limb(xyr("-.3 .1 .07, 0 .2 .08, .3 .1 .07")),
            look.wish.colour("cape", ink(0.58, 0.2, 27, "cloth")),
        )
    _head(pen, look, row, coat, second)


def _body_marks(pen: Pen, look: Look, row: Pet, coat: Ink, second: Ink) -> None:
    body = pen.last
    if ("stripes" in row.marks and (look.wish.subject == "tiger" or look.chance(0.5))) or look.wish.has(
        "stripes"
    ):
        for s in (-1, 1):
            for y in (0.3, 0.5, 0.7):
                pen.decal(spline(xy(".6 -.05, .26 0, .6 .07", side=s, at=(0, y))), coat.darker(0.25), on=body)
    if "blotches" in row.marks or look.wish.has("spots"):
        for x, y, r in ((0.28, 0.4, 0.16), (-0.3, 0.66, 0.18), (-0.1, 0.2, 0.1)):
            pen.decal(ellipse(x, y, r, r * 0.8), second, on=body)
    if "ruff" in row.marks:
        pen.fill(
            polygon(xy("-.42 -.02, .42 -.02, .36 .2, .2 .14, .12 .32, 0 .2, -.12 .32, -.2 .14, -.36 .2")),
            second,
        )


def _head(pen: Pen, look: Look, row: Pet, coat: Ink, second: Ink) -> None:
    w = row.wide
    if "mane" in row.marks:
        mane = ink(0.5, 0.13, 45, "fur")
        pen.fill(star(0, -0.3, 0.86, 0.68, 13), mane)
    _ears(pen, row.ears, coat, PINK)
    if "horns" in row.marks or look.wish.has("horns"):
        pen.both(limb(xyr(".26 -.64 .09, .44 -.82 .07, .4 -1.02 .015")), ink(0.92, 0.035, 92, "bone"))
    cheek = 0.62 if row.snout != "pointed" else 0.68
    pen.fill(
        spline(
            [
                (0, -0.76),
                (0.36 * w, -0.68),
                (0.58 * w, -0.34),
                (cheek * w, -0.08),
                (0.34 * w, 0.16),
                (0, 0.2),
                (-0.34 * w, 0.16),
                (-cheek * w, -0.08),
                (-0.58 * w, -0.34),
                (-0.36 * w, -0.68),
            ]
        ),
        coat,
    )
    head = pen.last
    if "mask" in row.marks:
        for s in (-1, 1):
            pen.decal(spline(xy(".03 0, .2 -.16, .5 -.12, .8 -.1, .5 .3, 0 .3", side=s)), second, on=head)
    if "patch" in row.marks and look.chance(0.6):
        pen.decal(ellipse(0.27, -0.28, 0.24, 0.28), coat.darker(0.17), on=head)
    if "blotches" in row.marks:
        pen.decal(ellipse(-0.32, -0.4, 0.26, 0.3), second, on=head)
    if "stripes" in row.marks or look.wish.has("stripes"):
        for x, end in ((0, 0.3), (-0.15, 0.22), (0.15, 0.22)):
            pen.decal(
                polygon([(x - 0.045, -0.9), (x + 0.045, -0.9), (x, -0.76 + end)]), coat.darker(0.25), on=head
            )
        for s in (-1, 1):
            pen.decal(polygon(xy(".8 -.16, .8 -.06, .44 -.1", side=s)), coat.darker(0.25), on=head)
    _muzzle(pen, look, row, coat, second)


def _muzzle(pen: Pen, look: Look, row: Pet, coat: Ink, second: Ink) -> None:
    mood = look.mood()
    snout = row.snout
    if snout in ("big", "small", "pointed") and "mask" not in row.marks:
        r = {"big": 0.26, "small": 0.19, "pointed": 0.2}[snout]
        pen.fill(ellipse(0, -0.02, r, r * 0.76), second, line=0.0, shadow=0.25)
    elif snout == "muzzle":
        pen.fill(ellipse(0, 0.0, 0.36, 0.22), PINK)
    if "eye patches" in row.marks:
        for s in (-1, 1):
            pen.fill(
                ellipse(s * 0.25, -0.24, 0.17, 0.21, s * 30),
                ink(0.26, 0.02, 280, "fur"),
                line=0,
                shadow=0,
                puff=0.5,
            )
    iris = look.wish.colour(
        "eyes",
        look.pick((ink(0.55, 0.15, 145, "eye"), ink(0.6, 0.14, 70, "eye"), ink(0.5, 0.13, 250, "eye"))),
    )
    if look.chance(0.6) or mood == "angry":
        faces.eyes(
            pen, 0, -0.24, 0.25, 0.125, iris, mood=mood, slit=look.wish.subject == "cat" and mood == "angry"
        )
    else:
        faces.dots(pen, 0, -0.24, 0.25, 0.095, mood=mood)
    if snout == "disc":
        pen.fill(ellipse(0, 0.0, 0.2, 0.15), PINK)
        for s in (-1, 1):
            pen.fill(ellipse(s * 0.075, 0.0, 0.035, 0.055), ink(0.5, 0.12, 10), puff=0, line=0, shadow=0)
    elif snout == "muzzle":
        for s in (-1, 1):
            pen.fill(ellipse(s * 0.13, -0.05, 0.035, 0.045), ink(0.45, 0.12, 10), puff=0, line=0, shadow=0)
    else:
        nose = PINK.darker(0.14) if look.wish.subject in ("cat", "rabbit", "mouse") else NOSE
        size = 0.06 if snout == "small" else 0.09
        pen.fill(
            spline([(-size, -0.1), (size, -0.1), (size * 0.5, -0.02), (0, 0.01), (-size * 0.5, -0.02)]),
            nose,
            line=0.7,
            shadow=0.2,
        )
    _mouth(pen, row, mood, look)


def _mouth(pen: Pen, row: Pet, mood: str, look: Look) -> None:
    y = 0.12 if row.snout in ("disc", "muzzle") else 0.02
    if mood == "angry" or look.wish.has("fangs"):
        faces.mouth(pen, 0, y + 0.04, 0.15, mood="angry")
    elif "tongue" in row.marks or mood == "happy":
        pen.fill(
            spline(xy("-.07 .06, .07 .06, .06 .2, -.06 .2", at=(0, y))),
            faces.TONGUE,
            line=0.6,
            shadow=0,
            puff=0.4,
        )
        for s in (-1, 1):
            pen.stroke(faces.arc_line(s * 0.08, y, 0.08, 20, 160), DARK, 0.022)
    else:
        for s in (-1, 1):
            pen.stroke(faces.arc_line(s * 0.065, y, 0.065, 15, 165), DARK, 0.022)
    if "teeth" in row.marks:
        pen.fill(
            polygon(xy("-.04 .05, .04 .05, .035 .14, -.035 .14", at=(0, y))),
            faces.WHITE,
            line=0.5,
            shadow=0,
            puff=0,
        )
    if "whiskers" in row.marks:
        for s in (-1, 1):
            for dy in (-0.05, 0.02):
                pen.stroke(
                    polygon([(s * 0.26, y + dy), (s * 0.62, y + dy * 2.6 - 0.04)]), ink(0.96, 0.01, 90), 0.014
                )
    if "crown" in look.wish.things:
        with pen.placed(0, -0.74):
            crown_shape(pen, GOLD, 0.3)


_BIRDS: Final[dict[str, tuple[tuple[Ink, ...], Ink, str]]] = {
    "bird": (tuple(hue_ink(h, light=0.66, material="feather") for h in (250, 27, 95, 190)), ink(0.95, 0.03,
        85), "short"),
    "owl": ((ink(0.5, 0.08, 55, "feather"), ink(0.6, 0.05, 70, "feather")), ink(0.88, 0.05, 80), "hook"),
    "chicken": ((ink(0.95, 0.015, 85, "feather"), ink(0.85, 0.14, 90, "feather"), ink(0.55, 0.12, 45,
        "feather")), ink(0.97, 0.02, 85), "short"),
    "duck": ((ink(0.87, 0.15, 95, "feather"), ink(0.95, 0.01, 90, "feather")), ink(0.95, 0.06, 95), "bill"),
    "penguin": ((ink(0.3, 0.04, 265, "feather"),), ink(0.97, 0.01, 90), "short"),
}  # fmt: skip


def bird(pen: Pen, look: Look) -> None:
    coats, pale, beak_kind = _BIRDS[look.wish.subject]
    coat = look.main(*coats)
    belly = look.wish.second(look.wish.colour("belly", pale))
    orange = ink(0.74, 0.17, 62, "shell")
    owl, chicken, penguin = (look.wish.subject == n for n in ("owl", "chicken", "penguin"))
    for s in (-1, 1):
        pen.fill(spline(xy(".1 .86, .34 .84, .46 1, .24 .96, .04 1", side=s)), orange)
    if not penguin and not owl:
        pen.fill(spline(xy("-.3 .5, -.9 .3, -1 .5, -.86 .62, -.94 .76, -.4 .8")), coat.darker(0.07))
    if owl:
        pen.both(polygon(xy(".2 -.66, .56 -1, .58 -.5")), coat)
    elif chicken:
        pen.fill(
            spline(xy("-.2 -.62, -.24 -.9, -.08 -.82, .02 -1.04, .12 -.84, .28 -.94, .24 -.62")),
            ink(0.58, 0.21, 25, "shell"),
        )
    elif look.wish.subject == "bird":
        pen.fill(spline(xy("-.06 -.64, -.2 -.98, .02 -.86, .16 -1.02, .14 -.64")), coat)
    pen.fill(
        spline(
            xy("0 -.74, .44 -.6, .56 -.16, .66 .36, .46 .8, 0 .92, -.46 .8, -.66 .36, -.56 -.16, -.44 -.6")
        ),
        coat,
    )
    body = pen.last
    pen.decal(spline(xy("0 0, .34 .14, .42 .5, 0 .9, -.42 .5, -.34 .14")), belly, on=body)
    if owl:
        for y in (0.3, 0.46, 0.62):
            for x in (-0.16, 0.0, 0.16):
                pen.decal(polygon(xy("-.06 0, .06 0, 0 .08", at=(x, y))), coat, on=body)
    if penguin or owl:
        for s in (-1, 1):
            pen.decal(ellipse(s * 0.22, -0.28, 0.25, 0.28), belly, on=body)
    pen.both(
        spline(xy(".5 -.06, .72 .1, .82 .5, .64 .66, .5 .34")), look.wish.colour("wings", coat.darker(0.05))
    )
    mood = look.mood()
    if owl:
        faces.eyes(pen, 0, -0.28, 0.23, 0.19, ink(0.78, 0.16, 80, "eye"), mood=mood, tall=1.0)
    else:
        faces.dots(pen, 0, -0.26, 0.25, 0.095, mood=mood)
        faces.cheeks(pen, 0, -0.06, 0.36, 0.08)
    if beak_kind == "bill":
        pen.fill(spline(xy("-.22 -.1, 0 -.18, .22 -.1, .26 0, 0 .07, -.26 0")), orange)
    else:
        pen.fill(polygon(xy("-.12 -.14, .12 -.14, 0 .06")), orange, puff=1.2)
    if chicken:
        pen.fill(spline(xy("-.05 .04, .05 .04, .08 .2, 0 .26, -.08 .2")), ink(0.58, 0.21, 25, "shell"))


def frog(pen: Pen, look: Look) -> None:
    coat = look.main(ink(0.7, 0.19, 138, "shell"), ink(0.66, 0.15, 160, "shell"))
    belly = ink(0.93, 0.07, 105)
    pen.both(spline(xy(".4 .3, .84 .36, .9 .8, .5 .92")), coat.darker(0.04))
    pen.fill(spline(xy("-.6 0, .6 0, .66 .6, .4 .92, -.4 .92, -.66 .6")), coat)
    pen.decal(ellipse(0, 0.66, 0.42, 0.4), belly)
    for s in (-1, 1):
        pen.fill(limb(xyr(".34 .4 .1, .34 .84 .09", side=s)), coat)
        for d in (-0.1, 0, 0.1):
            pen.fill(ellipse(s * 0.34 + d, 0.94, 0.065, 0.05), coat.lighter(0.05), line=0.8)
    pen.both(ellipse(0.4, -0.5, 0.26), coat)
    pen.fill(spline(xy("-.7 -.1, -.5 -.42, 0 -.48, .5 -.42, .7 -.1, .5 .2, 0 .28, -.5 .2")), coat)
    for s in (-1, 1):
        faces.eye(
            pen,
            s * 0.4,
            -0.52,
            0.17,
            look.wish.colour("eyes", ink(0.7, 0.16, 75, "eye")),
            mood=look.mood(),
            tall=1.05,
        )
    pen.stroke(spline(xy("-.44 -.02, -.2 .1, 0 .12, .2 .1, .44 -.02"), closed=False), DARK, 0.03)
    faces.cheeks(pen, 0, 0.02, 0.52, 0.1)
    if "crown" in look.wish.things:
        with pen.placed(0, -0.5):
            crown_shape(pen, GOLD, 0.24)


def turtle(pen: Pen, look: Look) -> None:
    skin = look.main(ink(0.7, 0.15, 135, "shell"))
    shell = look.wish.second(ink(0.5, 0.09, 60, "shell"))
    for x in (-0.5, 0.42):
        pen.fill(limb(xyr("0 .5 .16, -.04 .86 .15", at=(x, 0))), skin)
    pen.fill(polygon(xy(".7 .5, 1.06 .62, .7 .7")), skin)
    pen.fill(spline(xy("-.86 .5, -.7 -.2, 0 -.6, .6 -.26, .86 .5, 0 .66")), shell)
    dome = pen.last
    for x, y, r in (
        (-0.1, -0.16, 0.24),
        (-0.52, 0.16, 0.2),
        (0.36, 0.08, 0.22),
        (-0.08, 0.36, 0.18),
        (0.66, 0.4, 0.14),
    ):
        pen.decal(ellipse(x, y, r, r * 0.84, n=6), shell.lighter(0.12).turned(20), on=dome, line=0.6)
    pen.fill(limb(xyr("-.84 .5 .09, 0 .62 .1, .84 .5 .09")), shell.lighter(0.16))
    pen.fill(spline(xy("-.72 .3, -.66 -.2, -.92 -.46, -1.24 -.34, -1.32 0, -1.1 .18, -1 .44")), skin)
    faces.eye(pen, -1.02, -0.16, 0.11, ink(0.4, 0.08, 60, "eye"), mood=look.mood(), look=-0.4)
    pen.stroke(faces.arc_line(-1.16, 0.0, 0.12, 20, 120), DARK, 0.025)


def dinosaur(pen: Pen, look: Look) -> None:
    coat = look.main(*(hue_ink(h, light=0.66, material="scales") for h in (142, 190, 60, 305)))
    belly = look.wish.second(ink(0.92, 0.06, 95))
    pen.fill(limb(xyr(".2 .66 .28, .72 .8 .18, 1.12 .6 .05")), coat)
    for x, y in ((-0.02, -0.98), (0.3, -0.7), (0.42, -0.3), (0.5, 0.1), (0.72, 0.42)):
        pen.fill(
            polygon(xy("-.06 .16, .22 -.04, .16 .26", at=(x, y))),
            look.wish.colour("spikes", coat.turned(-90).lighter(0.05)),
        )
    pen.fill(spline(xy("-.3 -.1, .26 -.3, .5 .3, .44 .86, -.3 .9, -.5 .5")), coat)
    pen.decal(spline(xy("-.5 0, -.16 .1, -.06 .5, -.2 .86, -.6 .8")), belly)
    for x in (-0.3, 0.24):
        pen.fill(spline(xy("-.16 .6, .16 .6, .2 .98, -.26 .98", at=(x, 0))), coat.darker(0.02))
        for k in range(3):
            pen.fill(
                ellipse(x - 0.22 + 0.1 * k, 0.96, 0.05, 0.04), ink(0.94, 0.03, 92, "bone"), line=0.6, shadow=0
            )
    pen.fill(limb(xyr("-.34 .24 .08, -.6 .34 .065, -.64 .2 .05")), coat)
    pen.fill(spline(xy(".36 -.6, .1 -.96, -.4 -.86, -.88 -.62, -.92 -.32, -.5 -.16, .1 -.1, .36 -.24")), coat)
    pen.stroke(spline(xy("-.9 -.38, -.5 -.32, -.1 -.36"), closed=False), DARK, 0.03)
    faces.teeth(pen, -0.8, -0.2, -0.35, 5, 0.09)
    pen.fill(ellipse(-0.78, -0.56, 0.03), DARK, puff=0, line=0, shadow=0)
    faces.eye(
        pen,
        -0.22,
        -0.62,
        0.14,
        look.wish.colour("eyes", ink(0.72, 0.16, 75, "eye")),
        mood=look.mood(),
        slit=True,
        look=-0.4,
    )


DRAWN: Final[dict[str, Callable[[Pen, Look], None]]] = {
    **dict.fromkeys(PETS, pet), **dict.fromkeys(_BIRDS, bird), "frog": frog, "turtle": turtle,
        "dinosaur": dinosaur,
}  # fmt: skip
