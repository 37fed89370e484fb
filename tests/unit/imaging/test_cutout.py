"""Cutting out, silhouettes and trimming, against drawings whose true outline is known."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from genyard.imaging.arrays import RGBA, as_uint8, flatten, opaque, over, resize
from genyard.imaging.cutout import USABLE, Method, cut_out
from genyard.imaging.portrait import sample_portrait
from genyard.imaging.silhouette import silhouette
from genyard.imaging.trim import Box, trim, visible_box

SIDE = 320
YS, XS = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32) / SIDE


def subject() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """A jug with a ring for a handle: colour H×W×3, true alpha 0..1."""
    big = np.zeros((SIDE * 4, SIDE * 4), np.uint8)
    cv2.ellipse(big, (SIDE * 2, SIDE * 2), (SIDE, SIDE * 5 // 4), 0, 0, 360, 255, -1)
    cv2.ellipse(big, (SIDE * 3, SIDE * 2), (SIDE // 2, SIDE // 2), 0, 0, 360, 255, SIDE // 8)
    alpha = cv2.resize(big, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    return np.dstack([210 - 60 * YS, 60 + 60 * XS, 50 + 40 * YS]), alpha


COLOUR, ALPHA = subject()
NOISE = np.random.default_rng(2)
GROUNDS = {
    "white": np.full((SIDE, SIDE, 3), 255, np.float32),
    "grey": 120 + NOISE.normal(0, 2, (SIDE, SIDE, 3)),
    "gradient": np.dstack([90 + 120 * YS, 140 + 80 * YS, 230 - 40 * XS]),
    "radial": np.dstack([230 - 300 * ((XS - 0.5) ** 2 + (YS - 0.5) ** 2)] * 3),
    "meadow": np.dstack([70 + 0 * XS, 140 + 20 * np.sin(30 * XS), 60 + 0 * XS])
    + NOISE.normal(0, 14, (SIDE, SIDE, 3)),
}


def on(ground: str) -> RGBA:
    return opaque(as_uint8(COLOUR * ALPHA[..., None] + GROUNDS[ground] * (1 - ALPHA[..., None])))


def agreement(mask: NDArray[np.bool_]) -> float:
    truth = ALPHA > 0.5
    return float((mask & truth).sum() / (mask | truth).sum())


@pytest.mark.parametrize(
    ("ground", "method", "error"),
    [("white", Method.flat, 1.0), ("grey", Method.flat, 1.5), ("gradient", Method.gradient, 1.0)],
)
def test_simple_grounds_are_cut_exactly(ground: str, method: Method, error: float) -> None:
    found = cut_out(on(ground))
    assert found.method is method
    assert found.confidence > 0.8
    assert np.abs(found.pixels[..., 3] / 255 - ALPHA).mean() * 255 < error
    assert agreement(found.pixels[..., 3] > 127) > 0.985


@pytest.mark.parametrize("ground", ["radial", "meadow"])
def test_harder_grounds_are_cut_well(ground: str) -> None:
    found = cut_out(on(ground))
    assert found.confidence >= USABLE
    assert agreement(found.pixels[..., 3] > 127) > 0.9


def test_edges_are_free_of_the_background() -> None:
    pixels = cut_out(on("white")).pixels
    edge = (pixels[..., 3] > 40) & (pixels[..., 3] < 215)
    assert edge.sum() > 200
    assert np.abs(pixels[edge][:, :3] - COLOUR[edge]).mean() < 25  # white would be about 100 away
    assert (pixels[pixels[..., 3] == 0] == 0).all()


def test_existing_alpha_is_kept() -> None:
    picture = np.dstack([as_uint8(COLOUR), as_uint8(ALPHA * 255)])
    found = cut_out(picture)
    assert found.method is Method.alpha
    assert found.confidence == 1.0
    assert found.pixels is picture


@pytest.mark.parametrize("pattern", ["noise", "plain", "stripes"])
def test_where_there_is_no_subject_the_picture_is_unchanged(pattern: str) -> None:
    picture = {
        "noise": NOISE.integers(0, 255, (SIDE, SIDE, 3), dtype=np.uint8),
        "plain": np.full((SIDE, SIDE, 3), 90, np.uint8),
        "stripes": as_uint8(np.dstack([127 + 120 * np.sin(XS * 60)] * 3)),
    }[pattern]
    found = cut_out(opaque(picture))
    assert (found.method, found.confidence) == (Method.none, 0.0)
    assert np.array_equal(found.pixels, opaque(picture))


def test_a_white_belly_on_white_stays() -> None:
    picture = on("white")
    cv2.circle(picture, (SIDE // 2, SIDE // 2), 20, (255, 255, 255, 255), -1)
    cv2.circle(picture, (SIDE // 2, SIDE // 2), 6, (0, 0, 0, 255), -1)  # an eye
    assert cut_out(picture).pixels[SIDE // 2, SIDE // 2 + 12, 3] == 255


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (8, 8)])
def test_tiny_pictures_do_no_harm(size: tuple[int, int]) -> None:
    assert cut_out(np.full((*size, 4), 255, np.uint8)).pixels.shape == (*size, 4)


def test_the_same_picture_gives_the_same_cutout() -> None:
    portrait = sample_portrait(256, 3)
    assert np.array_equal(cut_out(portrait).pixels, cut_out(portrait).pixels)


def test_silhouette() -> None:
    mask = silhouette(on("white"))
    assert set(np.unique(mask)) == {0, 255}
    assert agreement(mask > 0) > 0.985
    filled = silhouette(on("white"), fill_holes=True)
    assert filled[SIDE // 2, SIDE * 3 // 4 + 20] == 255
    assert mask[SIDE // 2, SIDE * 3 // 4 + 20] == 0


def test_silhouette_of_strokes_and_of_nothing() -> None:
    paper = np.full((200, 200, 3), 240, np.uint8) - NOISE.integers(0, 30, (200, 200, 1), dtype=np.uint8)
    for start in range(0, 200, 25):
        cv2.line(paper, (0, start), (199, 199 - start), (20, 20, 20), 2)
    drawn = silhouette(opaque(paper))
    assert 0.02 < (drawn > 0).mean() < 0.6
    assert (silhouette(np.full((40, 40, 4), 255, np.uint8)) == 255).all()


def test_trim() -> None:
    picture = np.zeros((40, 60, 4), np.uint8)
    picture[10:22, 5:35] = (10, 20, 30, 255)
    picture[30, 50, 3] = 3  # dust
    assert visible_box(picture) == Box(x=5, y=10, width=30, height=12)
    cut, box = trim(picture, padding=2)
    assert cut.shape == (16, 34, 4)
    assert (box.x, box.y) == (5, 10)
    assert (cut[:2] == 0).all()
    assert np.array_equal(cut[2:-2, 2:-2], picture[10:22, 5:35])
    empty, _ = trim(np.zeros((9, 9, 4), np.uint8), padding=1)
    assert visible_box(np.zeros((9, 9, 4), np.uint8)) is None
    assert empty.shape == (3, 3, 4)


def test_resizing_and_stacking_do_not_bleed_hidden_colour() -> None:
    picture = np.zeros((64, 64, 4), np.uint8)
    picture[...] = (255, 0, 255, 0)
    picture[16:48, 16:48] = (0, 200, 0, 255)
    small = resize(picture, 21, 21)
    seen = small[small[..., 3] > 30]
    assert seen[:, 0].max() < 8
    assert np.array_equal(over([opaque(flatten(picture)), picture])[..., :3], flatten(picture))
