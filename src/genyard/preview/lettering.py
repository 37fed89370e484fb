"""Letters: big bevelled title art and the labels of buttons, from Pillow's built-in font."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from genyard.preview import items, weapons
from genyard.preview.look import Look
from genyard.preview.paint import Pen, Style, fallen, new_pen, over, thickened
from genyard.preview.palette import ByteArray, FloatArray, Ink, ink, rgb_of
from genyard.preview.shapes import star
from genyard.preview.skies import gradient

_FONT_SIDE: Final = 200


@lru_cache(maxsize=4)
def _font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont)
    return font


def word_mask(text: str, *, weight: float = 0.05, spacing: float = 0.02) -> ByteArray:
    """Coverage 0..255 of one line, cut to its ink; `weight` thickens strokes (share of the letter height)."""
    font = _font(_FONT_SIDE)
    stroke = round(weight * _FONT_SIDE)
    x, places = 0.0, []
    for letter in text:
        places.append(x)
        x += font.getlength(letter) + 2 * stroke * 0.75 + spacing * _FONT_SIDE
    picture = Image.new("L", (int(x) + 8 * stroke + 40, int(_FONT_SIDE * 1.7)), 0)
    pen = ImageDraw.Draw(picture)
    for letter, at in zip(text, places, strict=True):
        pen.text((at + 4 * stroke + 10, 20), letter, fill=255, font=font, stroke_width=stroke)
    mask = np.asarray(picture)
    rows, columns = np.nonzero(mask.max(axis=1))[0], np.nonzero(mask.max(axis=0))[0]
    if len(rows) == 0:
        return np.zeros((8, 8), np.uint8)
    return np.ascontiguousarray(mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])


def lines_of(text: str, aspect: float) -> list[str]:
    """The text broken into one to three lines that suit a width:height ratio."""
    words = text.split()
    best: tuple[float, list[str]] = (1e9, [text])
    for count in range(1, min(3, len(words)) + 1):
        lines, rest = [], list(words)
        goal = len(text) / count
        for k in range(count):
            line = [rest.pop(0)]
            while (
                rest
                and k < count - 1
                and len(" ".join([*line, rest[0]])) <= goal + 2
                and len(rest) > count - 1 - k
            ):
                line.append(rest.pop(0))
            if k == count - 1:
                line += rest
            lines.append(" ".join(line))
        ratio = max(len(x) for x in lines) * 0.62 / (count * 1.15)
        cost = abs(np.log(ratio / max(0.8, aspect * 1.25)))
        if cost < best[0]:
            best = (float(cost), lines)
    return best[1]


@dataclass(frozen=True, kw_only=True)
class Face:
    """Colours of letters from top to bottom, their edge, their outline and the glow around."""

    fill: tuple[Ink, ...]
    edge: Ink
    line: Ink
    glow: Ink


_GOLD: Final = Face(
    fill=(ink(0.97, 0.08, 98), ink(0.84, 0.16, 86), ink(0.62, 0.15, 58)),
    edge=ink(0.98, 0.06, 98),
    line=ink(0.26, 0.07, 30),
    glow=ink(0.8, 0.15, 75),
)
FACES: Final[dict[str, Face]] = {
    "gold": _GOLD,
    "fire": Face(fill=(ink(0.97, 0.12, 100), ink(0.76, 0.18, 62), ink(0.52, 0.21, 28)), edge=ink(0.97, 0.1,
        95), line=ink(0.2, 0.07, 20), glow=ink(0.66, 0.21, 40)),
    "ice": Face(fill=(ink(0.98, 0.02, 215), ink(0.84, 0.09, 220), ink(0.56, 0.15, 250)), edge=ink(0.99, 0.01,
        220), line=ink(0.26, 0.1, 262), glow=ink(0.82, 0.1, 215)),
    "nature": Face(fill=(ink(0.95, 0.13, 118), ink(0.76, 0.19, 135), ink(0.46, 0.13, 148)), edge=ink(0.97,
        0.08, 115), line=ink(0.24, 0.06, 150), glow=ink(0.75, 0.17, 130)),
    "metal": Face(fill=(ink(0.95, 0.01, 250), ink(0.7, 0.03, 255), ink(0.88, 0.015, 250), ink(0.45, 0.04,
        260)), edge=ink(0.99, 0.0, 0), line=ink(0.2, 0.03, 270), glow=ink(0.7, 0.08, 250)),
    "sci-fi": Face(fill=(ink(0.97, 0.04, 195), ink(0.8, 0.14, 205), ink(0.52, 0.2, 300)), edge=ink(0.98, 0.03,
        200), line=ink(0.18, 0.09, 290), glow=ink(0.72, 0.19, 320)),
    "dark": Face(fill=(ink(0.9, 0.03, 60), ink(0.64, 0.14, 27), ink(0.36, 0.14, 22)), edge=ink(0.88, 0.03,
        60), line=ink(0.13, 0.03, 20), glow=ink(0.45, 0.18, 25)),
    "candy": Face(fill=(ink(0.97, 0.04, 350), ink(0.78, 0.16, 355), ink(0.6, 0.2, 320)), edge=ink(0.99, 0.01,
        350), line=ink(0.32, 0.14, 330), glow=ink(0.86, 0.1, 350)),
    "stone": Face(fill=(ink(0.84, 0.01, 90), ink(0.66, 0.015, 250), ink(0.45, 0.02, 260)), edge=ink(0.9, 0.01,
        90), line=ink(0.2, 0.02, 270), glow=ink(0.7, 0.03, 250)),
    "space": Face(fill=(ink(0.96, 0.05, 320), ink(0.7, 0.19, 310), ink(0.45, 0.2, 280)), edge=ink(0.98, 0.03,
        320), line=ink(0.18, 0.09, 285), glow=ink(0.62, 0.2, 300)),
}  # fmt: skip
_SYNONYM: Final = {
    "lava": "fire",
    "snow": "ice",
    "grass": "nature",
    "wood": "gold",
    "silver": "metal",
    "crystal": "space",
    "glass": "ice",
    "poison": "nature",
    "shadow": "dark",
    "bone": "stone",
    "water": "ice",
}
_SCENE_FACE: Final = {
    "forest": "nature",
    "meadow": "nature",
    "swamp": "nature",
    "snowfield": "ice",
    "ocean": "ice",
    "underwater": "ice",
    "space": "space",
    "volcano": "fire",
    "city": "sci-fi",
    "cave": "space",
    "graveyard": "dark",
    "desert": "gold",
}


def face_of(look: Look) -> Face:
    wish = look.wish
    named = wish.substance("title") or next((s[0] for s in wish.substances.values()), None)
    if wish.colours.get("title"):
        c = wish.colours["title"][0]
        return Face(
            fill=(ink(0.95, min(0.1, c.chroma), c.hue + 12), c.lighter(0.08), c.darker(0.16).turned(-14)),
            edge=c.lighter(0.35),
            line=ink(0.22, 0.06, c.hue),
            glow=c,
        )
    key = _SYNONYM.get(named or "", named or "")
    if not key:
        key = (
            "dark"
            if "dark" in wish.styles
            else "candy"
            if "cute" in wish.styles
            else _SCENE_FACE.get(wish.scene or "", "gold")
        )
    return FACES.get(key, _GOLD)


def _curved(mask: ByteArray, bend: float) -> ByteArray:
    """Arched: the middle rises by `bend` of the height and grows a little."""
    height, width = mask.shape
    rise = int(abs(bend) * height)
    x = np.linspace(-1, 1, width, dtype=np.float32)
    lift = (1 - x**2) * rise * np.sign(bend)
    stretch = 1 + 0.22 * (1 - x**2)
    rows = np.arange(height + rise + int(0.24 * height), dtype=np.float32)[:, None]
    base = len(rows) - 1 - (0 if bend > 0 else rise)
    source_y = (
        height
        - 1
        - (base - lift[None, :] * (1 if bend > 0 else -1) * (1 if bend > 0 else 0) - rows) / stretch[None, :]
    )
    source_x = np.broadcast_to(np.arange(width, dtype=np.float32), source_y.shape)
    return np.asarray(
        cv2.remap(
            mask,
            np.ascontiguousarray(source_x),
            np.ascontiguousarray(source_y, dtype=np.float32),
            cv2.INTER_LINEAR,
        )
    )


def _chiselled(mask: ByteArray, face: Face, unit: float) -> FloatArray:
    """Lit letters (h, w, 3) from their coverage: vertical gradient, bevel by distance, a light upper half."""
    height = mask.shape[0]
    distance = cv2.distanceTransform((mask > 127).astype(np.uint8), cv2.DIST_L2, 5)
    rim = max(1.5, unit * 0.055)
    slope = cv2.GaussianBlur(np.minimum(distance, rim), (0, 0), max(0.6, rim * 0.22))
    gx, gy = cv2.Sobel(slope, cv2.CV_32F, 1, 0, scale=1 / 8), cv2.Sobel(slope, cv2.CV_32F, 0, 1, scale=1 / 8)
    light = -(gx * -0.5 + gy * -0.85) * -1.0
    rgb = np.repeat(gradient(face.fill, height)[:, None, :], mask.shape[1], axis=1)
    bright = np.clip(light, 0, 1)[..., None]
    lit = rgb + (rgb_of(face.edge) - rgb) * bright * np.float32(0.95)
    lit = lit * (1 - np.clip(-light, 0, 1)[..., None] * np.float32(0.5))
    half = np.clip((0.47 - np.linspace(0, 1, height)) * height / 3 + 0.5, 0, 1)[:, None, None].astype(
        np.float32
    )
    inner = np.clip((distance - rim * 1.15) / 1.5, 0, 1)[..., None]
    return np.asarray(lit + (1 - lit) * half * inner * np.float32(0.24), dtype=np.float32)


def set_lines(
    canvas: FloatArray,
    lines: list[str],
    face: Face,
    *,
    top: float,
    bottom: float,
    left: float,
    right: float,
    bend: float = 0.16,
) -> tuple[int, int, int, int]:
    """Writes big art lettering into a premultiplied canvas, in place; returns (top, left, bottom, right) used."""
    height, width = canvas.shape[:2]
    masks = [
        _curved(word_mask(line.upper() if len(line) > 2 else line, weight=0.045), bend if k == 0 else 0.0)
        if bend
        else word_mask(line, weight=0.04)
        for k, line in enumerate(lines)
    ]
    gap = 0.16 * _FONT_SIDE
    total_h = sum(m.shape[0] for m in masks) + gap * (len(masks) - 1)
    scale = min((right - left) * width / max(m.shape[1] for m in masks), (bottom - top) * height / total_h)
    y = (top + bottom) / 2 * height - total_h * scale / 2
    all_letters = np.zeros((height, width), np.uint8)
    boxes = []
    for mask in masks:
        size = (max(2, int(mask.shape[1] * scale)), max(2, int(mask.shape[0] * scale)))
        method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        small = np.asarray(cv2.resize(mask, size, interpolation=method), dtype=np.uint8)
        x = int((left + right) / 2 * width - size[0] / 2)
        top_row, left_column = max(0, int(y)), max(0, x)
        small = small[: height - top_row, : width - left_column]
        all_letters[top_row : top_row + small.shape[0], left_column : left_column + small.shape[1]] = small
        boxes.append((top_row, left_column, small))
        y += size[1] + gap * scale
    unit = scale * _FONT_SIDE
    _surround(canvas, all_letters, face, unit)
    for row, column, small in boxes:
        cover = small.astype(np.float32)[..., None] / 255
        roi = canvas[row : row + small.shape[0], column : column + small.shape[1]]
        roi *= 1 - cover
        roi[..., :3] += _chiselled(small, face, unit) * cover
        roi[..., 3:] += cover
    rows, columns = np.nonzero(all_letters.max(axis=1))[0], np.nonzero(all_letters.max(axis=0))[0]
    return int(rows[0]), int(columns[0]), int(rows[-1]), int(columns[-1])


def _surround(canvas: FloatArray, letters: ByteArray, face: Face, unit: float) -> None:
    """Glow, a thick extruded body below and two outlines."""
    quarter = cv2.resize(
        letters, (letters.shape[1] // 4, letters.shape[0] // 4), interpolation=cv2.INTER_AREA
    )
    glow = cv2.resize(
        cv2.GaussianBlur(quarter, (0, 0), max(1.0, unit * 0.06)), (letters.shape[1], letters.shape[0])
    )
    _add(canvas, np.asarray(glow, dtype=np.uint8), face.glow, 1.6)
    depth = max(2, round(unit * 0.075))
    wide, thin = thickened(letters, by=(max(2.0, unit * 0.062), max(1.0, unit * 0.03)))
    _add(canvas, fallen(wide, depth), face.line.darker(0.06), 1.0)
    _add(canvas, wide, face.line, 1.0)
    _add(canvas, fallen(thin, max(1, depth // 2)), face.fill[-1].darker(0.12), 1.0)
    _add(canvas, thin, face.fill[-1].darker(0.02), 1.0)


def _add(canvas: FloatArray, mask: ByteArray, colour: Ink, power: float) -> None:
    cover = np.clip(mask.astype(np.float32) * np.float32(power / 255), 0, 1)
    over(canvas, rgb_of(colour), cover)


def title(look: Look, *, height: int, width: int, style: Style) -> FloatArray:
    """Title art: the wished text (or a drawn name) large, with ornaments; premultiplied, transparent around."""
    text = look.wish.label or look.pick(
        ("Dragon Quest", "Star Legends", "Lost Kingdom", "Crystal Tales", "Shadow Realm")
    )
    canvas = np.zeros((height, width, 4), np.float32)
    face = face_of(look)
    lines = lines_of(text, width / height)
    ornament = _ornaments(look)
    if ornament is not None:
        unit = 0.42 * min(width, height)
        pen = new_pen(height, width, unit=unit, x=width / 2, y=height * 0.5, style=style)
        ornament(pen)
        canvas = pen.canvas
    top, left, bottom, right = set_lines(canvas, lines, face, top=0.15, bottom=0.84, left=0.06, right=0.94)
    pen = new_pen(height, width, unit=0.1 * (bottom - top + 8), x=0, y=0, style=style)
    pen.canvas = canvas
    _sparkles(pen, look, left, right, top, bottom)
    return pen.canvas


def burst(look: Look, *, height: int, width: int) -> FloatArray:
    """An opaque, dark backdrop with rays in the letters' own colours."""
    face = face_of(look)
    y = (np.arange(height, dtype=np.float32)[:, None] - height * 0.5) / (0.72 * min(height, width))
    x = (np.arange(width, dtype=np.float32)[None, :] - width * 0.5) / (0.72 * min(height, width))
    angle, far = np.arctan2(y, x), np.sqrt(x * x + y * y)
    rays = np.clip(np.sin(angle * 11 + look.between(0, 6)) * 4, -1, 1) * np.clip(far * 1.5, 0, 1)
    light = np.clip(0.62 - far * 0.45 + rays * 0.055, 0, 1)
    shades = gradient(
        (face.line.darker(0.1), face.line.lighter(0.04), face.glow.darker(0.24), face.glow.darker(0.08)), 256
    )
    table = np.concatenate([shades, np.ones((256, 1), np.float32)], axis=1).astype(np.float32)
    return np.asarray(np.take(table, (light * 255).astype(np.uint8), axis=0), dtype=np.float32)


def _ornaments(look: Look) -> Callable[[Pen], None] | None:
    things = [t for t in look.wish.things if t in items.HELD]
    accent = ink(0.5, 0.17, 27)

    def swords(pen: Pen) -> None:
        for turn in (-52, 52):
            with pen.placed(0, 0, turn=turn), pen.placed(0, 0.55, size=0.95):
                weapons.sword(pen, look, accent)

    def crest(pen: Pen) -> None:
        with pen.placed(0, -0.1, size=0.9):
            items.draw_held(pen, look, things[0], accent)

    if things:
        return swords if things[0] == "sword" else crest
    return swords if look.chance(0.6) and "cute" not in look.wish.styles and look.wish.scene is None else None


def _sparkles(pen: Pen, look: Look, left: int, right: int, top: int, bottom: int) -> None:
    unit = pen.unit
    for _ in range(5):
        x, y = look.between(left, right) / unit, look.between(top, (top + bottom) / 2) / unit
        size = look.between(0.25, 0.6)
        pen.glow(x, y, size * 1.2, ink(0.98, 0.04, 95), strength=0.5)
        pen.fill(star(x, y, size, size * 0.16, 4), ink(0.995, 0.01, 95, "eye"), puff=0, line=0, shadow=0)


def label(
    canvas: FloatArray, text: str, *, x: float, y: float, height: float, width: float, colour: Ink, line: Ink
) -> None:
    """A line of plain, outlined text centred at pixel (x, y), at most `height`×`width` pixels, in place."""
    mask = word_mask(text, weight=0.035, spacing=0.03)
    scale = min(height / mask.shape[0], width / mask.shape[1])
    size = (max(2, int(mask.shape[1] * scale)), max(2, int(mask.shape[0] * scale)))
    small = np.asarray(cv2.resize(mask, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    letters: ByteArray = np.zeros(canvas.shape[:2], np.uint8)
    top, left = int(y - size[1] / 2), int(x - size[0] / 2)
    if top < 0 or left < 0 or top + size[1] > letters.shape[0] or left + size[0] > letters.shape[1]:
        return
    letters[top : top + size[1], left : left + size[0]] = small
    reach = max(1.0, size[1] * 0.075)
    (ring,) = thickened(letters, by=(reach,))
    _add(canvas, fallen(ring, max(1, round(reach / 2))), line, 0.9)
    _add(canvas, ring, line, 1.0)
    _add(canvas, letters, colour, 1.0)
    shine = letters.copy()
    shine[top + size[1] // 2 :] = 0
    _add(canvas, shine, Ink(lightness=1.0, chroma=0.0, hue=0), 0.35)
