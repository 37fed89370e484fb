"""The mark that says what a preview is: a tiny bitmap font in the lower right corner."""

from __future__ import annotations

from typing import Final

import numpy as np

from genyard.preview.palette import ByteArray

#: What the mark says, and what facts and front ends should say too.
MARK_TEXT: Final = "preview - not AI"

#: 3×5 glyphs, rows top to bottom, bit 2 is the left column.
_GLYPHS: Final[dict[str, tuple[int, int, int, int, int]]] = {
    "P": (7, 5, 7, 4, 4), "R": (6, 5, 6, 5, 5), "E": (7, 4, 6, 4, 7), "V": (5, 5, 5, 5, 2), "I": (7, 2, 2, 2,
        7), "W": (5, 5, 5, 7, 5),
    "-": (0, 0, 7, 0, 0), "N": (6, 5, 5, 5, 5), "O": (7, 5, 5, 5, 7), "T": (7, 2, 2, 2, 2), "A": (7, 5, 7, 5,
        5), " ": (0, 0, 0, 0, 0),
}  # fmt: skip


def _bitmap(text: str) -> ByteArray:
    """The text as 0/1, 5 rows."""
    columns: list[list[int]] = []
    for letter in text.upper():
        rows = _GLYPHS[letter]
        width = 2 if letter == " " else 3
        columns.extend([[(row >> (2 - x)) & 1 for row in rows] for x in range(width)])
        columns.append([0] * 5)
    return np.asarray(columns[:-1], dtype=np.uint8).T


def stamp(pixels: ByteArray) -> None:
    """Writes the mark into RGBA pixels (H, W, 4), in place: a shade lighter or darker than what lies there.

    On a plain backdrop the shade differs so little that cutting the backdrop away takes the mark along;
    on transparency it is written in translucent grey. Pictures too narrow for it (< 70 px) get its first word.
    """
    height, width = pixels.shape[:2]
    text = MARK_TEXT if width >= 70 else "preview"
    bits = _bitmap(text)
    zoom = max(1, min(round(min(height, width) / 512), (width - 4) // bits.shape[1]))
    glyphs = np.kron(bits, np.ones((zoom, zoom), np.uint8)).astype(bool)
    margin = 2 + min(height, width) // 90
    top, left = height - margin - glyphs.shape[0], width - margin - glyphs.shape[1]
    if top < 0 or left < 0:
        return
    area = pixels[top : top + glyphs.shape[0], left : left + glyphs.shape[1]]
    solid = area[..., 3] > 127
    bright = float(area[..., :3].mean()) if solid.any() else 255.0
    plain = float(area[..., :3].std(axis=(0, 1)).max()) < 4
    step = (26 if plain else 80) * (-1 if bright > 110 else 1)
    shifted = np.clip(area[..., :3].astype(np.int16) + step, 0, 255).astype(np.uint8)
    area[..., :3] = np.where((glyphs & solid)[..., None], shifted, area[..., :3])
    clear = glyphs & ~solid
    area[clear] = (128, 128, 136, 150)
