"""The box of what is visible, and cutting to it.

No decision about what is subject and what is background is made here (see `cutout`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from genyard.imaging.arrays import RGBA

VISIBLE: Final = 8  #: alpha below this counts as empty


@dataclass(frozen=True, kw_only=True)
class Box:
    """Pixels x … x+width-1, y … y+height-1."""

    x: int
    y: int
    width: int
    height: int


def visible_box(rgba: RGBA) -> Box | None:
    """The smallest box around all visible pixels; None when nothing is visible."""
    visible = rgba[..., 3] >= VISIBLE
    rows, columns = np.flatnonzero(visible.any(axis=1)), np.flatnonzero(visible.any(axis=0))
    if not len(rows):
        return None
    return Box(
        x=int(columns[0]),
        y=int(rows[0]),
        width=int(columns[-1] - columns[0] + 1),
        height=int(rows[-1] - rows[0] + 1),
    )


def trim(rgba: RGBA, padding: int = 0) -> tuple[RGBA, Box]:
    """Cut to the visible box, then `padding` clear pixels on each side -> picture, and the box it came from.

    A picture without a visible pixel becomes one clear pixel (plus padding).
    """
    box = visible_box(rgba) or Box(x=0, y=0, width=1, height=1)
    cut = rgba[box.y : box.y + box.height, box.x : box.x + box.width]
    sides = (padding, padding)
    return np.pad(cut, (sides, sides, (0, 0))), box
