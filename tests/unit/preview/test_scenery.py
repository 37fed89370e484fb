"""Backgrounds: layers from back to front that continue from the right edge to the left."""

import numpy as np
import pytest

from genyard.preview import draw
from genyard.preview.lexicon import SUBJECTS

WEATHER = ["night", "rain", "snowing", "fog", "sunset"]


def scene(name, **size):
    return draw(f"{name} background", seed=3, mark=False, **(size or {"width": 320, "height": 180}))


def seam(pixels):
    """Mean step across the seam, and the largest mean step between neighbouring columns."""
    columns = pixels.astype(int)
    inner = np.abs(np.diff(columns, axis=1)).mean(axis=(0, 2))
    return np.abs(columns[:, 0] - columns[:, -1]).mean(), inner.max()


@pytest.mark.parametrize("name", SUBJECTS["scene"])
def test_layers_tile_sideways(name):
    drawing = scene(name)
    assert (drawing.pixels[..., 3] == 255).all()
    assert (drawing.layers[0][..., 3] == 255).all()
    for layer in (drawing.pixels, *drawing.layers):
        step, largest = seam(layer)
        assert step <= largest * 1.2 + 1.5


@pytest.mark.parametrize("weather", WEATHER)
def test_weather_and_hours_tile_too(weather):
    for layer in scene(f"meadow {weather}").layers:
        step, largest = seam(layer)
        assert step <= largest * 1.2 + 1.5


def test_layers_together_are_the_picture():
    drawing = scene("mountains")
    picture = drawing.layers[0][..., :3].astype(float)
    for layer in drawing.layers[1:]:
        cover = layer[..., 3:] / 255
        picture = picture * (1 - cover) + layer[..., :3] * cover
    assert np.abs(picture - drawing.pixels[..., :3]).max() <= 4


def test_hours_differ():
    day, night = (
        draw(f"forest at {hour}", width=160, height=96, seed=1, mark=False).pixels
        for hour in ("noon", "night")
    )
    assert day[:30, :, :3].mean() > night[:30, :, :3].mean() + 60


def test_a_subject_stands_before_its_scene():
    drawing = draw("a knight in a forest", width=128, height=128, seed=1)
    assert drawing.subject == "knight"
    assert (drawing.pixels[..., 3] == 255).all()
    assert drawing.pixels[:8, :, :3].std() > 2
