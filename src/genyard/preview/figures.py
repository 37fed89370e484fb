"""From a wish to one drawn figure: measures it, fits it into its frame, draws it (several times if asked)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Final

import numpy as np

from genyard.preview import characters, creatures, items, props, tiles
from genyard.preview.look import Look
from genyard.preview.paint import Pen, Style, new_pen
from genyard.preview.palette import FloatArray
from genyard.preview.understanding import Wish

Drawer = Callable[[Pen, Look], None]
#: Longest side at which a figure is drawn; larger pictures are enlarged from it.
DRAWN_SIDE: Final = 1152


def drawer_of(wish: Wish) -> Drawer:
    return _DRAWERS[wish.kind]


_DRAWERS: Final[dict[str, Drawer]] = {
    "character": characters.draw_character,
    "creature": creatures.draw_creature,
    "item": items.draw_item,
    "prop": props.draw_prop,
    "tile": tiles.draw_tile,
    "unknown": creatures.emblem,
}


def dice(*parts: object) -> np.random.Generator:
    """The dice of a picture: the same parts always fall the same way."""
    digest = hashlib.blake2b("|".join(map(str, parts)).encode(), digest_size=8).digest()
    return np.random.default_rng(int.from_bytes(digest, "little"))


def figure(
    wish: Wish,
    key: tuple[object, ...],
    *,
    height: int,
    width: int,
    style: Style,
    fill: float = 0.84,
    drawer: Drawer | None = None,
) -> FloatArray:
    """A premultiplied float canvas (height, width, 4) with the wish's figure fitted into its middle."""
    draw = drawer or drawer_of(wish)
    measure = new_pen(64, 64, unit=1, x=0, y=0, style=style)
    measure.bounds = []
    draw(measure, Look(wish=wish, rng=dice(*key)))
    corners = np.concatenate(measure.bounds)
    low, high = corners.min(axis=0), corners.max(axis=0)
    span = np.maximum(high - low, 1e-3)
    unit = min(width * fill / span[0], height * fill / span[1], 0.62 * min(width, height) * fill)
    middle = (low + high) / 2
    pen = new_pen(
        height,
        width,
        unit=float(unit),
        x=width / 2 - unit * middle[0],
        y=height / 2 - unit * middle[1],
        style=style,
        seed=int(dice(*key, "texture").integers(1 << 16)),
    )
    draw(pen, Look(wish=wish, rng=dice(*key)))
    return pen.canvas


def figures(wish: Wish, key: tuple[object, ...], *, height: int, width: int, style: Style) -> FloatArray:
    """As many figures as the wish counts (at most six), in rows that suit the picture's shape."""
    drawer = drawer_of(wish)
    fill = min(0.95, 0.84 * wish.size)
    count = min(6, max(1, wish.count))
    if count == 1:
        return figure(wish, key, height=height, width=width, style=style, fill=fill, drawer=drawer)
    columns = min(range(1, count + 1), key=lambda n: abs(np.log((width / n) / (height / -(-count // n)))))
    rows = -(-count // columns)
    canvas = np.zeros((height, width, 4), np.float32)
    cell_h, cell_w = height // rows, width // columns
    for i in range(count):
        row, column = divmod(i, columns)
        in_row = min(columns, count - row * columns)
        left = column * cell_w + (columns - in_row) * cell_w // 2
        one = figure(wish, (*key, i), height=cell_h, width=cell_w, style=style, fill=fill, drawer=drawer)
        canvas[row * cell_h : (row + 1) * cell_h, left : left + cell_w] = one
    return canvas
