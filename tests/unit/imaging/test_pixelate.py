"""Pixel art: exact grid, exact palette; and hidden grids found again."""

from __future__ import annotations

import tracemalloc
from io import BytesIO

import cv2
import numpy as np
import pytest
from PIL import Image

from genyard.errors import Code, GenyardError
from genyard.imaging import oklab
from genyard.imaging.arrays import RGB, RGBA, as_uint8, opaque
from genyard.imaging.grid import detect_grid
from genyard.imaging.pixelate import pixel_art, pixelate
from genyard.imaging.portrait import sample_portrait

PALETTE = np.array([[20, 20, 40], [200, 60, 60], [240, 220, 120], [60, 140, 80], [70, 90, 200]], np.uint8)


def art(cells: int) -> RGB:
    """Pixel art of `cells` × `cells`: patches with single pixels in between."""
    rng = np.random.default_rng(4)
    patches = rng.integers(0, 5, (cells // 5 + 1,) * 2).repeat(5, axis=0).repeat(5, axis=1)[:cells, :cells]
    return PALETTE[np.where(rng.random((cells, cells)) < 0.25, rng.integers(0, 5, (cells, cells)), patches)]


def imitation(
    cells: int, cell: float, *, offset: float = 0, blur: float = 0, noise: float = 0, jpeg: int = 0
) -> RGBA:
    """What an image model makes of pixel art: cells of a fractional size, blurred, with noise."""
    length = int(cells * cell)
    index = np.clip(((np.arange(length) + 0.5 - offset) // cell).astype(int), 0, cells - 1)
    picture = art(cells)[index][:, index].astype(np.float32)
    if blur:
        picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), blur), np.float32)
    picture = picture + np.random.default_rng(1).normal(0, noise, picture.shape) if noise else picture
    pixels = as_uint8(picture)
    if jpeg:
        target = BytesIO()
        Image.fromarray(pixels).save(target, "JPEG", quality=jpeg)
        pixels = np.asarray(Image.open(target))
    return opaque(pixels)


@pytest.mark.parametrize(
    ("cell", "faults"),
    [
        (8, {}),
        (5.12, {"blur": 0.6}),
        (7.3, {"noise": 6}),
        (10, {"jpeg": 80}),
        (12.6, {"blur": 1, "offset": 4.2}),
        (16, {"offset": 5, "blur": 1, "noise": 5, "jpeg": 80}),
        (32, {}),
    ],
)
def test_a_hidden_grid_is_found(cell: float, faults: dict[str, float]) -> None:
    grid = detect_grid(imitation(int(400 / cell), cell, **faults))  # type: ignore[arg-type]
    assert grid is not None
    assert grid.cell_x == pytest.approx(cell, abs=0.03)
    assert grid.cell_y == pytest.approx(cell, abs=0.03)
    error = (grid.offset_x - faults.get("offset", 0)) % cell
    assert min(error, cell - error) < 0.6


@pytest.mark.parametrize("name", ["portrait", "noise", "plain", "gradient", "tiny"])
def test_other_pictures_have_no_grid(name: str) -> None:
    pictures = {
        "portrait": sample_portrait(256, 2),
        "noise": opaque(np.random.default_rng(0).integers(0, 255, (200, 200, 3), dtype=np.uint8)),
        "plain": np.full((100, 100, 4), 255, np.uint8),
        "gradient": opaque(np.dstack([np.arange(200, dtype=np.uint8)[None].repeat(200, axis=0)] * 3)),
        "tiny": np.full((2, 2, 4), 255, np.uint8),
    }
    assert detect_grid(pictures[name]) is None


def test_size_palette_and_hard_edges() -> None:
    portrait = sample_portrait(300, 1)[:, :200].copy()
    portrait[:40, :40, 3] = 0
    portrait[40:80, :40, 3] = 100
    made = pixel_art(portrait, 60, 12, 5)
    assert (made.columns, made.rows) == (40, 60)
    assert made.pixels.shape == (300, 200, 4)
    assert made.grid is None
    cells = made.pixels[::5, ::5]
    assert np.array_equal(cells.repeat(5, axis=0).repeat(5, axis=1), made.pixels)
    assert set(np.unique(cells[..., 3])) == {0, 255}
    assert (cells[:16, :8, 3] == 0).all()
    assert 2 <= len(made.palette) <= 12
    seen = np.unique(cells[cells[..., 3] > 0][:, :3], axis=0)
    assert np.array_equal(seen, made.palette)


def test_the_same_picture_gives_the_same_art() -> None:
    portrait = sample_portrait(200, 5)
    assert np.array_equal(pixelate(portrait, 64, 16, 2), pixel_art(portrait, 64, 16, 2).pixels)


@pytest.mark.parametrize(("asked", "cells"), [(64, 64), (70, 64), (128, 128), (200, 192)])
def test_a_picture_with_a_grid_is_read_along_it(asked: int, cells: int) -> None:
    made = pixel_art(imitation(64, 6.4, blur=0.7, jpeg=88), asked, 16, 2)
    assert made.grid is not None
    assert made.columns == made.rows == cells
    times = cells // 64
    read = made.pixels[:: 2 * times, :: 2 * times, :3].astype(int)
    wrong = np.abs(read - art(64)).max(axis=2) > 40
    assert wrong.mean() < 0.01


def test_a_finer_grid_than_asked_and_no_snapping_are_sampled_anew() -> None:
    picture = imitation(64, 6)
    assert pixel_art(picture, 32, 8, 1).grid is None
    assert pixel_art(picture, 32, 8, 1).columns == 32
    assert pixel_art(picture, 100, 8, 1, snap=False).columns == 100


def test_true_pixel_art_comes_back_unchanged() -> None:
    made = pixel_art(opaque(art(48).repeat(8, axis=0).repeat(8, axis=1)), 48, 32, 1)
    assert np.array_equal(made.pixels[..., :3], art(48))


def test_nothing_visible_stays_nothing() -> None:
    made = pixel_art(np.zeros((64, 32, 4), np.uint8), 16, 8, 2)
    assert made.pixels.shape == (32, 16, 4)
    assert not made.pixels.any()
    assert len(made.palette) == 0


@pytest.mark.parametrize("wrong", [{"cells": 0}, {"colors": 0}, {"colors": 257}, {"scale": 0}, {"scale": 65}])
def test_out_of_range(wrong: dict[str, int]) -> None:
    values = {"cells": 32, "colors": 8, "scale": 1} | wrong
    with pytest.raises(GenyardError) as caught:
        pixel_art(sample_portrait(64), values["cells"], values["colors"], values["scale"])
    assert caught.value.code is Code.request_invalid
    assert caught.value.field == f"parameters.{next(iter(wrong))}"


def test_oklab_there_and_back() -> None:
    colours = np.random.default_rng(0).integers(0, 256, (500, 3), dtype=np.uint8)
    assert np.abs(oklab.to_rgb(oklab.from_rgb(colours)).astype(int) - colours).max() <= 1
    white = oklab.from_rgb(np.array([[255, 255, 255]], np.uint8))[0]
    assert white == pytest.approx([1, 0, 0], abs=1e-3)


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (2, 1), (19, 19)])
def test_the_smallest_pictures(size: tuple[int, int]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (*size, 4), dtype=np.uint8)
    art = pixel_art(noise, cells=8, colors=2, scale=1)
    assert max(art.pixels.shape[:2]) == 8


def test_a_large_photo_needs_no_gigabytes() -> None:
    """The search for a grid was quadratic in the longer side: 16,384 pixels would have taken 8 GB."""
    long = np.random.default_rng(0).integers(0, 256, (16_384, 20, 4), dtype=np.uint8)
    tracemalloc.start()
    detect_grid(long)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200 * 1024 * 1024
