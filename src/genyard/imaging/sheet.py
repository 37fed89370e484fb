"""Contact sheets: many pictures on one, with captions.

For people to look at. Atlases that an engine reads are packed elsewhere.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from genyard.imaging.arrays import RGBA, fit, over

if TYPE_CHECKING:
    from PIL import ImageDraw, ImageFont

_PAPER: Final = (27, 29, 34)
_CARD: Final = (38, 41, 48)
_INK: Final = (226, 229, 235)
_FAINT: Final = (142, 149, 161)
_PLAIN: Final = str.maketrans({"—": "-", "–": "-", "×": "x", "→": ">", "·": "-"})
_LIGHT, _DARK, _CHECK = 78, 62, 12  # checkerboard behind transparency: two greys, side in pixels


def contact_sheet(
    pictures: Sequence[tuple[str, RGBA]],
    *,
    title: str = "",
    columns: int | None = None,
    tile: int = 288,
) -> RGBA:
    """H×W×4, opaque: a uniform grid of `tile` px squares, each picture fitted in over a checkerboard.

    A caption may have a second, fainter line behind a line break. Small pictures are enlarged in whole
    steps, so that pixel art stays sharp. Without pictures only the title is there.
    """
    from PIL import Image, ImageDraw, ImageFont

    across = max(1, columns or _columns(len(pictures)))
    down = -(-len(pictures) // across)
    gap, text, head = tile // 16, tile // 5, (tile // 4 if title else tile // 16)
    width = gap + across * (tile + gap)
    height = head + down * (tile + text + gap) + gap // 2
    sheet = Image.new("RGB", (width, height), _PAPER)
    draw = ImageDraw.Draw(sheet)
    if title:
        big = ImageFont.load_default(tile // 10)
        draw.text((gap, head // 2), _shown(title, big, width - 2 * gap), _INK, big, anchor="lm")
    for index, (caption, picture) in enumerate(pictures):
        left, top = gap + index % across * (tile + gap), head + index // across * (tile + text + gap)
        draw.rounded_rectangle((left, top, left + tile - 1, top + tile + text - 1), tile // 28, _CARD)
        sheet.paste(Image.fromarray(_tile(picture, tile)[..., :3]), (left, top))
        _caption(draw, caption, left + gap // 2, top + tile, tile - gap, text)
    return np.dstack([np.asarray(sheet, np.uint8), np.full((height, width), 255, np.uint8)])


def checkerboard(width: int, height: int, side: int = _CHECK) -> RGBA:
    """What shows through transparency, height×width×4, opaque."""
    ys, xs = np.indices((height, width)) // side
    grey = np.where((ys + xs) % 2 == 0, _LIGHT, _DARK).astype(np.uint8)
    return np.dstack([grey, grey, grey, np.full_like(grey, 255)])


def _columns(count: int) -> int:
    """About 4:3, without a nearly empty last row."""
    if count <= 4:
        return max(1, count)
    choices = range(3, min(count, 8) + 1)
    return min(choices, key=lambda across: abs(across / -(-count // across) - 1.5) + -count % across / across)


def _tile(picture: RGBA, side: int) -> RGBA:
    times = max(1, side // max(picture.shape[:2]))
    shown = fit(picture.repeat(times, axis=0).repeat(times, axis=1), side)
    canvas = checkerboard(side, side)
    height, width = shown.shape[:2]
    top, left = (side - height) // 2, (side - width) // 2
    around = np.ones((side, side), np.bool_)
    around[top : top + height, left : left + width] = False
    canvas[around] = (*_CARD, 255)
    inner = canvas[top : top + height, left : left + width]
    canvas[top : top + height, left : left + width] = over([inner, shown])
    return canvas


def _caption(draw: ImageDraw.ImageDraw, caption: str, left: int, top: int, width: int, height: int) -> None:
    from PIL import ImageFont

    lines = caption.split("\n")[:2]
    for row, (line, colour) in enumerate(zip(lines, (_INK, _FAINT), strict=False)):
        font = ImageFont.load_default(round(height * (0.29 if row == 0 else 0.24)))
        middle = top + height * (0.5 if len(lines) == 1 else 0.32 + 0.38 * row)
        draw.text((left, middle), _shown(line, font, width), colour, font, anchor="lm")


def _shown(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: float) -> str:
    """Shortened with dots until it fits. The built-in font draws boxes for what is not ASCII."""
    plain = text.translate(_PLAIN)
    text = unicodedata.normalize("NFKD", plain).encode("ascii", "ignore").decode()
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "...") > width:
        text = text[:-1]
    return text.rstrip() + "..."
