"""Contact sheets."""

from __future__ import annotations

import numpy as np
import pytest

from genyard.imaging.portrait import sample_portrait
from genyard.imaging.sheet import checkerboard, contact_sheet

PICTURES = [
    ("portrait\nseed 1, 96 × 96", sample_portrait(96, 1)),
    (
        "a caption that is far too long for its tile and therefore ends in dots",
        np.zeros((10, 300, 4), np.uint8),
    ),
    ("pixel art — 8 cells", np.full((8, 8, 4), 255, np.uint8)),
    ("", np.full((1, 1, 4), 255, np.uint8)),
    ("Käse → 奶酪", np.full((700, 20, 4), 90, np.uint8)),
]


@pytest.mark.parametrize("count", [0, 1, 2, 5])
@pytest.mark.parametrize("title", ["", "genyard demo"])
def test_any_number_of_pictures(count: int, title: str) -> None:
    sheet = contact_sheet(PICTURES[:count], title=title, tile=96)
    assert sheet.dtype == np.uint8
    assert (sheet[..., 3] == 255).all()
    assert np.array_equal(sheet, contact_sheet(PICTURES[:count], title=title, tile=96))


def test_pictures_are_shown_and_columns_obeyed() -> None:
    narrow, wide = (contact_sheet(PICTURES[:4], columns=n, tile=96) for n in (1, 4))
    assert narrow.shape[0] > 3 * wide.shape[0]
    assert wide.shape[1] > 3 * narrow.shape[1]
    one = contact_sheet([("", PICTURES[0][1])], tile=96)
    gap = 96 // 16
    assert np.array_equal(one[gap : gap + 96, gap : gap + 96], PICTURES[0][1])


def test_transparency_shows_a_checkerboard() -> None:
    board = checkerboard(40, 24, side=8)
    assert board.shape == (24, 40, 4)
    assert len(np.unique(board[..., 0])) == 2
    assert board[0, 0, 0] != board[0, 8, 0]
    clear = contact_sheet([("", np.zeros((96, 96, 4), np.uint8))], tile=96)
    assert np.array_equal(clear[6:102, 6:102], checkerboard(96, 96))
