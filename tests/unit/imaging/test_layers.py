"""Taking pictures apart: always that many layers, and stacked they are the picture again."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from genyard.errors import Code, GenyardError
from genyard.imaging.arrays import RGBA, as_uint8, opaque, over
from genyard.imaging.layers import Split, fill_holes, split_layers, take_apart
from genyard.imaging.portrait import sample_portrait


def landscape() -> RGBA:
    height, width = 180, 240
    ys, xs = np.mgrid[0:height, 0:width].astype(np.float32)
    ys, xs = ys / height, xs / width
    picture = np.dstack([90 + 150 * ys, 160 + 70 * ys, 230 - 10 * ys])
    tops = [0.5 + 0.06 * np.sin(xs * 9), 0.65 + 0.05 * np.sin(xs * 7 + 1), 0.82 + 0.04 * np.sin(xs * 13 + 2)]
    for top, colour in zip(tops, [(120, 150, 160), (80, 130, 90), (40, 70, 45)], strict=True):
        picture[ys > top] = colour
    return opaque(as_uint8(picture))


def sprite() -> RGBA:
    picture = np.zeros((160, 160, 4), np.uint8)
    cv2.circle(picture, (80, 100), 50, (200, 60, 60, 255), -1, cv2.LINE_AA)
    cv2.circle(picture, (80, 45), 30, (230, 200, 120, 255), -1, cv2.LINE_AA)
    picture[..., 3] = cv2.GaussianBlur(picture[..., 3], (0, 0), 1)
    picture[picture[..., 3] == 0] = 0
    return picture


PICTURES = {
    "landscape": landscape(),
    "sprite": sprite(),
    "portrait": sample_portrait(160, 1),
    "noise": opaque(np.random.default_rng(0).integers(0, 255, (60, 80, 3), dtype=np.uint8)),
    "plain": np.full((50, 30, 4), 200, np.uint8) | np.array([0, 0, 0, 255], np.uint8),
    "clear": np.zeros((20, 30, 4), np.uint8),
    "dot": np.full((1, 1, 4), 255, np.uint8),
}


@pytest.mark.parametrize("name", PICTURES)
@pytest.mark.parametrize("count", [1, 2, 4, 10])
def test_stacked_layers_are_the_picture(name: str, count: int) -> None:
    picture = PICTURES[name]
    layers = split_layers(picture, count)
    assert len(layers) == count
    assert all(layer.shape == picture.shape and layer.dtype == np.uint8 for layer in layers)
    again = over(layers).astype(int)
    visible = picture[..., 3] > 0
    assert np.abs(again[..., 3] - picture[..., 3]).max(initial=0) <= 1
    assert np.abs(again - picture)[visible].max(initial=0) <= 2


def test_flat_art_becomes_bands_from_sky_to_foreground() -> None:
    found = take_apart(landscape(), 4)
    assert found.split is Split.bands
    sky, hills, near, nearest = found.pictures
    assert (sky[..., 3] == 255).all()
    middles = [np.nonzero(layer[..., 3])[0].mean() for layer in (hills, near, nearest)]
    assert middles == sorted(middles)
    assert np.abs(sky[-20:, :, :3].astype(int) - sky[60, 120, :3]).max() < 60  # no hill is left in the sky


def test_a_subject_comes_before_a_filled_background() -> None:
    portrait = sample_portrait(256, 1)
    found = take_apart(portrait, 2)
    assert found.split is Split.subject
    ground, person = found.pictures
    assert (ground[..., 3] == 255).all()
    assert person[128, 128, 3] == 255
    assert person[10, 10, 3] == 0
    wall = portrait[20:60, 10:40, :3].mean(axis=(0, 1))
    assert np.abs(ground[120:140, 118:138, :3].mean(axis=(0, 1)) - wall).max() < 60  # no face is left in it


def test_transparency_makes_it_a_sprite() -> None:
    found = take_apart(sprite(), 2)
    assert found.split is Split.sprite
    assert all((layer[sprite()[..., 3] == 0] == 0).all() for layer in found.pictures)


@pytest.mark.parametrize("count", [0, 11, -1])
def test_other_counts_are_refused(count: int) -> None:
    with pytest.raises(GenyardError, match="1 to 10") as caught:
        split_layers(landscape(), count)
    assert caught.value.code is Code.request_invalid
    assert caught.value.field == "parameters.layers"


def test_the_same_picture_gives_the_same_layers() -> None:
    for one, other in zip(split_layers(landscape(), 5), split_layers(landscape(), 5), strict=True):
        assert np.array_equal(one, other)


def test_holes_are_filled_from_around() -> None:
    picture = np.zeros((64, 96, 3), np.uint8)
    picture[:, :48], picture[:, 48:] = (200, 40, 40), (40, 40, 200)
    known = np.full((64, 96), 255, np.uint8)
    known[20:44, 30:66] = 0
    picture[known == 0] = (0, 255, 0)
    filled = fill_holes(picture, known)
    assert np.array_equal(filled[known > 0], picture[known > 0])
    assert filled[known == 0][:, 1].max() < 60
    assert filled[32, 34, 0] > filled[32, 62, 0]
