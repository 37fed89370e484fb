"""User interface pieces that fill the picture's shape: panels, buttons, bars, slots."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from genyard.preview import lettering
from genyard.preview.items import HEART
from genyard.preview.look import Look, hue_ink
from genyard.preview.paint import Pen, Style, new_pen
from genyard.preview.palette import FloatArray, Ink, ink
from genyard.preview.shapes import Outlines, box, ellipse, limb, polygon, spline, star, xy, xyr
from genyard.preview.weapons import GOLD

STEEL: Final = ink(0.72, 0.025, 255, "metal")


WHITE: Final = ink(0.97, 0.03, 90)


@dataclass(frozen=True, kw_only=True)
class Make:
    """What a control is made of: its field, its frame, its corners."""

    field: Ink
    frame: Ink
    corner: str = "rivet"
    trim: Ink = GOLD
    text: Ink = WHITE


MAKES: Final[dict[str, Make]] = {
    "wood": Make(field=ink(0.5, 0.08, 58, "wood"), frame=ink(0.62, 0.1, 62, "wood")),
    "metal": Make(field=ink(0.46, 0.02, 258, "metal"), frame=ink(0.7, 0.025, 252, "metal"), trim=ink(0.82,
        0.015, 250, "metal")),
    "stone": Make(field=ink(0.5, 0.015, 255, "stone"), frame=ink(0.66, 0.018, 250, "stone"), trim=ink(0.6,
        0.02, 250, "metal")),
    "paper": Make(field=ink(0.89, 0.055, 86, "cloth"), frame=ink(0.5, 0.09, 55, "wood"), corner="curl",
        text=ink(0.36, 0.06, 50)),
    "gold": Make(field=ink(0.4, 0.11, 25, "cloth"), frame=GOLD, corner="gem"),
    "glass": Make(field=ink(0.72, 0.08, 225, "glass"), frame=ink(0.9, 0.03, 220, "glass"), corner="none"),
    "ice": Make(field=ink(0.76, 0.09, 228, "ice"), frame=ink(0.9, 0.05, 220, "ice"), corner="gem"),
    "sci-fi": Make(field=ink(0.27, 0.05, 255, "glass"), frame=ink(0.45, 0.05, 250, "metal"), corner="cut",
        trim=ink(0.84, 0.14, 200, "glow"), text=ink(0.9, 0.1, 200)),
    "leather": Make(field=ink(0.42, 0.08, 45, "leather"), frame=ink(0.34, 0.07, 42, "leather"), corner="gem"),
    "crystal": Make(field=ink(0.42, 0.13, 300, "crystal"), frame=ink(0.7, 0.15, 305, "crystal"), corner="gem"),
    "candy": Make(field=ink(0.93, 0.05, 350, "plain"), frame=ink(0.76, 0.15, 355, "shell"), corner="none",
        text=ink(0.5, 0.17, 350)),
    "grass": Make(field=ink(0.5, 0.08, 58, "wood"), frame=ink(0.6, 0.15, 135, "leaf"), corner="none"),
}  # fmt: skip
_ALIKE: Final = {
    "silver": "metal",
    "bronze": "gold",
    "bone": "paper",
    "snow": "ice",
    "dirt": "wood",
    "sand": "paper",
    "lava": "stone",
    "fire": "gold",
    "holy": "gold",
    "nature": "grass",
    "water": "glass",
    "poison": "stone",
    "shadow": "stone",
    "electric": "sci-fi",
}
_LABEL_HINTS: Final = {
    "play": 142,
    "start": 142,
    "ok": 142,
    "yes": 142,
    "exit": 27,
    "quit": 27,
    "no": 27,
    "cancel": 27,
    "buy": 85,
    "shop": 85,
    "settings": 255,
    "options": 255,
}


def make_of(look: Look) -> Make:
    wish = look.wish
    named = wish.substance(wish.subject)
    key = _ALIKE.get(named or "", named or "")
    make = (
        MAKES.get(key)
        or MAKES[look.pick(("wood", "stone", "gold", "metal")) if wish.subject == "panel" else "gold"]
    )
    if wish.subject in wish.colours:
        tint = wish.colours[wish.subject][0]
        return Make(
            field=tint.made_of(make.field.material),
            frame=make.frame if key else tint.darker(0.12).made_of("shell"),
            corner=make.corner,
            trim=make.trim,
        )
    return make


def _frame_shape(w: float, h: float, inset: float, corner: str) -> Outlines:
    x, y = w - inset, h - inset
    if corner == "cut":
        c = 0.16
        return polygon([(-x + c, -y), (x, -y), (x, y - c), (x - c, y), (-x, y), (-x, -y + c)])
    return box(-x, -y, x, y, 0.02 if inset > 0.09 else 0.07)


def panel(pen: Pen, look: Look, w: float, h: float) -> None:
    """A window of half-size w×h: field, frame, corners, maybe a headline plate."""
    make = make_of(look)
    bar = 0.1
    pen.fill(_frame_shape(w, h, 0, make.corner), make.frame.darker(0.1), edge=0.05)
    pen.fill(_frame_shape(w, h, bar, make.corner), make.field, puff=0.1, line=0.9)
    field = pen.last
    if make.field.material == "wood":
        step = 0.3
        y = -h + bar + step
        while y < h - bar - 0.08:
            pen.decal(box(-w, y, w, y + 0.014), make.field.darker(0.2), on=field)
            pen.decal(box(-w, y + 0.014, w, y + 0.03), make.field.lighter(0.1), on=field, alpha=0.6)
            y += step
    _inner_shadow(pen, w, h, bar)
    for x0, y0, x1, y1 in (
        (-w, -h, w, -h + bar),
        (-w, h - bar, w, h),
        (-w, -h, -w + bar, h),
        (w - bar, -h, w, h),
    ):
        pen.fill(box(x0, y0, x1, y1, 0.04), make.frame, edge=0.035, puff=1.2, shadow=0.7)
    _corners(pen, look, make, w, h, bar)
    if look.wish.label or look.wish.word in ("window", "dialog", "menu", "dialog box", "dialogue box"):
        plate = min(w * 0.62, 0.16 + 0.075 * len(look.wish.label or "MENU") + 0.12)
        pen.fill(
            box(-plate, -h - 0.1, plate, -h + 0.2, 0.08),
            make.trim if make.trim.material != "glow" else make.frame,
            edge=0.06,
        )
        pen.fill(
            box(-plate + 0.06, -h - 0.07, plate - 0.06, -h + 0.14, 0.05),
            make.field.darker(0.1),
            puff=0.3,
            line=0.8,
            shadow=0,
        )


def _inner_shadow(pen: Pen, w: float, h: float, bar: float) -> None:
    dark = ink(0.12, 0.02, 290)
    for k in range(5):
        inset = bar + 0.012 * k
        pen.stroke(
            box(-w + inset, -h + inset, w - inset, h - inset, 0.03), dark, 0.028, closed=True, alpha=0.16
        )


def _corners(pen: Pen, look: Look, make: Make, w: float, h: float, bar: float) -> None:
    rich = look.wish.has("ornate")
    for sx in (-1, 1):
        for sy in (-1, 1):
            x, y = sx * (w - bar / 2), sy * (h - bar / 2)
            if make.corner == "gem" or rich:
                pen.fill(
                    box(x - 0.1, y - 0.1, x + 0.1, y + 0.1, 0.04),
                    make.trim if make.trim.material != "glow" else make.frame,
                    edge=0.05,
                )
                pen.fill(
                    ellipse(x, y, 0.055),
                    hue_ink(look.between(0, 1) * 0 + 20, light=0.56, chroma=0.21, material="crystal"),
                    line=0.7,
                    shadow=0.2,
                )
            elif make.corner == "rivet":
                pen.fill(box(x - 0.085, y - 0.085, x + 0.085, y + 0.085, 0.03), make.trim, edge=0.04)
                pen.fill(ellipse(x, y, 0.042), make.trim.lighter(0.05), line=0.7, shadow=0.3)
            elif make.corner == "curl":
                pen.fill(ellipse(x, y, 0.085), make.frame, line=0.9)
                pen.fill(ellipse(x, y, 0.04), GOLD, line=0.7, shadow=0.2)
            elif make.corner == "cut":
                pen.fill(
                    limb(xyr("-.02 0 .022, -.3 0 .022", side=sx, at=(x, y))), make.trim, line=0.6, shadow=0
                )
                pen.fill(
                    limb([(x, y - sy * 0.02, 0.022), (x, y - sy * 0.24, 0.022)]),
                    make.trim,
                    line=0.6,
                    shadow=0,
                )


def button(pen: Pen, look: Look, w: float, h: float) -> None:
    wish = look.wish
    hint = _LABEL_HINTS.get((wish.label or "").lower())
    make = make_of(look)
    plain = wish.substance("button") is None
    colour = (
        wish.colours["button"][0]
        if "button" in wish.colours
        else hue_ink(hint if hint is not None else look.pick((142, 255, 55, 305)), light=0.62, chroma=0.18)
    )
    face = colour.made_of("shell") if plain else make.field
    r = h * (0.5 if look.wish.has("round") else look.pick((0.36, 0.5, 0.95)) if plain else 0.25)
    pressed = wish.has("pressed")
    drop = 0.04 if pressed else 0.11 * h + 0.03
    pen.fill(box(-w, -h + drop, w, h, r), face.darker(0.26), edge=0.06, puff=0.8)
    frame = make.frame if not plain else face.darker(0.1)
    pen.fill(box(-w, -h, w, h - drop, r), frame, edge=0.06, line=0.9, shadow=0.2)
    inset = 0.075 * min(1.0, h * 2)
    pen.fill(
        box(-w + inset, -h + inset, w - inset, h - drop - inset, r * 0.86),
        face,
        edge=0.16 * h,
        puff=0.9,
        line=0.6,
        shadow=0,
        tone=-0.1 if pressed else 0.03,
    )
    top = pen.last
    pen.decal(box(-w, -h, w, -h + (2 * h - drop) * 0.48), face.lighter(0.1), on=top, alpha=0.75)
    if plain:
        pen.fill(
            ellipse(-w + inset + r * 0.5, -h + inset + h * 0.2, h * 0.13, h * 0.06, -18),
            ink(1, 0, 0, "eye"),
            puff=0,
            line=0,
            shadow=0,
            alpha=0.75,
        )
    elif make.corner in ("rivet", "gem"):
        for s in (-1, 1):
            pen.fill(ellipse(s * (w - inset * 2.4), -drop / 2, 0.05), make.trim, line=0.8, shadow=0.3)
    if wish.label is None:
        _glyph(pen, look, h * 0.5, -drop / 2)


def _glyph(pen: Pen, look: Look, size: float, y: float) -> None:
    """A sign for a button without a label."""
    white = ink(0.98, 0.01, 90)
    with pen.placed(0, y, size=size):
        if "gear" in look.wish.things:
            pen.fill(star(0, 0, 0.9, 0.66, 8), white, puff=0.4)
        elif "heart" in look.wish.things:
            pen.fill(HEART, white, puff=0.4)
        elif "star" in look.wish.things:
            pen.fill(star(0, 0.05, 0.95, 0.42), white, puff=0.4)
        else:
            pen.fill(polygon(xy("-.5 -.75, .8 0, -.5 .75")), white, edge=0.12, puff=0.6)


def bar(pen: Pen, look: Look, w: float, h: float) -> None:
    wish = look.wish
    make = make_of(look) if wish.substance("bar") else MAKES["gold" if look.chance(0.5) else "metal"]
    kind = (
        "health"
        if wish.has("health", "love")
        else "mana"
        if wish.has("mana", "magic")
        else "energy"
        if "lightning" in wish.things
        else ""
    )
    colour = (
        wish.colours["bar"][0]
        if "bar" in wish.colours
        else {"health": hue_ink(25), "mana": hue_ink(258), "energy": hue_ink(95)}.get(
            kind, hue_ink(look.pick((25, 142, 258, 95)))
        )
    )
    level = 0.35 if wish.has("broken", "sad") else look.between(0.6, 0.85)
    pen.fill(box(-w, -h, w, h, h * 0.9), make.frame, edge=0.05, puff=1.2)
    inset = h * 0.24
    pen.fill(
        box(-w + inset, -h + inset, w - inset, h - inset, h * 0.7),
        ink(0.2, 0.02, 280),
        puff=0.3,
        line=0.7,
        shadow=0,
    )
    trough = pen.last
    end = -w + inset + 2 * (w - inset) * level
    pen.fill(
        box(-w + inset, -h + inset, end, h - inset, h * 0.7),
        colour.made_of("glass"),
        puff=0.9,
        line=0.6,
        shadow=0,
    )
    pen.decal(
        box(-w, -h + inset * 1.5, end - h * 0.3, -h + inset * 2.6, 0.02), ink(0.99, 0.01, 90), alpha=0.45
    )
    for k in range(1, 10):
        x = -w + inset + 2 * (w - inset) * k / 10
        pen.decal(box(x - 0.006, -h, x + 0.006, h), ink(0.15, 0.02, 280), on=trough, alpha=0.6)
    with pen.placed(-w, 0, size=h * 1.5):
        pen.fill(ellipse(0, 0, 1.0), make.frame, edge=0.15)
        pen.fill(ellipse(0, 0, 0.74), ink(0.3, 0.04, 280), puff=0.4, line=0.8, shadow=0)
        if kind == "mana":
            pen.fill(
                spline(xy("0 -.58, .34 .04, .3 .36, 0 .5, -.3 .36, -.34 .04")),
                colour.made_of("glass"),
                line=0.8,
            )
        elif kind == "energy":
            pen.fill(
                polygon(xy(".12 -.55, -.34 .08, -.05 .08, -.14 .55, .34 -.1, .05 -.1")), colour, line=0.8
            )
        else:
            pen.fill([o * 0.5 for o in HEART], colour.made_of("shell"), line=0.8)


def slot(pen: Pen, look: Look, w: float, h: float) -> None:
    half = min(w, h)
    make = make_of(look)
    pen.fill(box(-half, -half, half, half, 0.12), make.frame, edge=0.1, puff=1.2)
    pen.fill(
        box(-half + 0.14, -half + 0.14, half - 0.14, half - 0.14, 0.08), make.field.darker(0.18), puff=0.3
    )
    _inner_shadow(pen, half, half, 0.14)
    _corners(pen, look, make, half, half, 0.14)


#: control -> (drawer, widest and narrowest width:height it takes, share of the picture it fills)
_CONTROLS: Final[dict[str, tuple[Callable[[Pen, Look, float, float], None], float, float, float]]] = {
    "panel": (panel, 4.0, 0.3, 0.88), "button": (button, 4.0, 2.2, 0.84), "bar": (bar, 12.0, 5.5, 0.72),
        "slot": (slot, 1.0, 1.0, 0.84),
}  # fmt: skip


def control(look: Look, *, height: int, width: int, style: Style) -> FloatArray:
    """Premultiplied canvas with the wished control in its middle."""
    draw, widest, narrowest, share = _CONTROLS[look.wish.subject]
    if look.wish.has("round") and look.wish.subject == "button" and not look.wish.label:
        widest = narrowest = 1.0
    aspect = min(widest, max(narrowest, width / height))
    pixels_w = min(width * share, height * share * aspect)
    pixels_h = pixels_w / aspect
    unit = min(pixels_w, pixels_h * 2.2) / 2.2
    half_w, half_h = pixels_w / unit / 2, pixels_h / unit / 2
    pen = new_pen(
        height, width, unit=unit, x=width / 2, y=height / 2, style=style, seed=int(look.rng.integers(512))
    )
    draw(pen, look, half_w, half_h)
    text = look.wish.label
    if text and look.wish.subject in ("button", "panel", "bar"):
        make = make_of(look)
        middle, room, wide = {
            "button": (height / 2 - 0.05 * half_h * unit, 0.8 * half_h * unit, 1.7 * half_w * unit),
            "panel": (height / 2 - (half_h - 0.035) * unit, 0.12 * unit, 1.1 * half_w * unit),
            "bar": (height / 2, 0.8 * half_h * unit, 1.2 * half_w * unit),
        }[look.wish.subject]
        lettering.label(
            pen.canvas,
            text,
            x=width / 2,
            y=middle,
            height=room,
            width=wide,
            colour=make.text if look.wish.subject == "panel" else ink(0.99, 0.01, 90),
            line=ink(0.2, 0.04, 280),
        )
    return pen.canvas
