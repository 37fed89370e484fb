"""A picture in any terminal with colours: two pixels per character, transparency left as it is."""

from __future__ import annotations

import io
from typing import Final

from rich.color import Color
from rich.console import Console
from rich.segment import Segment, Segments
from rich.style import Style

_OPAQUE: Final = 96
_MOST_COLUMNS: Final = 44
_MOST_ROWS: Final = 24

Pixel = tuple[int, int, int, int]


def fits(console: Console) -> bool:
    """Half blocks need colours, and characters beyond ASCII."""
    return console.is_terminal and console.color_system is not None and console.encoding.startswith("utf")


def as_blocks(data: bytes, console: Console, *, columns: int = _MOST_COLUMNS) -> Segments:
    """The picture in `data` (PNG, JPEG, WebP or GIF), with room left for a few lines."""
    from PIL import Image

    # premultiplied, so that what is transparent does not darken the edges
    image = Image.open(io.BytesIO(data)).convert("RGBA").convert("RGBa")
    box = (min(columns, console.width - 2), 2 * min(_MOST_ROWS, max(8, console.height - 8)))
    scale = min(box[0] / image.width, box[1] / image.height)
    width, height = max(1, round(image.width * scale)), max(2, round(image.height * scale / 2) * 2)
    small = image.resize((width, height), Image.Resampling.BOX).convert("RGBA")
    raw = small.tobytes()
    segments: list[Segment] = []
    for y in range(0, height, 2):
        segments += [_cell(_pixel(raw, width, x, y), _pixel(raw, width, x, y + 1)) for x in range(width)]
        segments.append(Segment.line())
    return Segments(segments)


def _pixel(raw: bytes, width: int, x: int, y: int) -> Pixel:
    start = (y * width + x) * 4
    red, green, blue, alpha = raw[start : start + 4]
    return red, green, blue, alpha


def _cell(upper: Pixel, lower: Pixel) -> Segment:
    if upper[3] < _OPAQUE and lower[3] < _OPAQUE:
        return Segment(" ")
    if upper[3] < _OPAQUE:
        return Segment("▄", Style(color=_color(lower)))
    if lower[3] < _OPAQUE:
        return Segment("▀", Style(color=_color(upper)))
    return Segment("▀", Style(color=_color(upper), bgcolor=_color(lower)))


def _color(pixel: Pixel) -> Color:
    return Color.from_rgb(*pixel[:3])
