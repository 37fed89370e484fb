"""img2img: shading stays inside the figure, keeps alpha and background, and obeys strength and words."""

import cv2
import numpy as np
import pytest

from genyard.errors import Code, GenyardError
from genyard.preview import draw, shade


def disc(*, figure=(20, 20, 24), ground=(255, 255, 255), side=160):
    """A filled circle with two ears; with ground None on transparency."""
    mask = np.zeros((side, side), np.uint8)
    cv2.circle(mask, (side // 2, side * 5 // 9), side // 3, (255,), -1, cv2.LINE_AA)
    for x in (side // 4, side * 3 // 4):
        cv2.circle(mask, (x, side // 4), side // 9, (255,), -1, cv2.LINE_AA)
    if ground is None:
        return np.dstack([np.full((side, side, 3), figure, np.uint8), mask]), mask
    cover = mask[..., None] / 255
    return (np.array(figure) * cover + np.array(ground) * (1 - cover)).astype(np.uint8), mask


@pytest.mark.parametrize("ground", [None, (255, 255, 255), (18, 20, 30), (90, 160, 90)])
def test_shading_stays_inside(ground):
    figure = (240, 240, 240) if ground == (18, 20, 30) else (20, 20, 24)
    picture, mask = disc(ground=ground, figure=figure)
    shaded = shade(picture, "red monster", seed=1, mark=False).pixels
    outside = cv2.dilate(mask, np.ones((3, 3), np.uint8)) == 0
    assert np.array_equal(shaded[outside][:, :3], picture[outside][:, :3])
    inside = shaded[mask == 255][:, :3].astype(int)
    assert inside.std(axis=0).max() > 20
    assert inside.mean(axis=0).argmax() == 0
    alpha = mask if ground is None else np.full_like(mask, 255)
    assert np.array_equal(shaded[..., 3], alpha)


def test_deterministic_and_varied():
    picture, _ = disc()
    first = shade(picture, "furry creature", seed=1).pixels
    assert np.array_equal(first, shade(picture, "furry creature", seed=1).pixels)
    assert np.abs(first.astype(int) - shade(picture, "furry creature", seed=2).pixels).mean() > 0.5


def test_strength_runs_from_nothing_to_everything():
    picture, _ = disc()
    steps = [
        np.abs(
            shade(picture, "gold coin", seed=1, strength=s, mark=False).pixels[..., :3].astype(int) - picture
        ).mean()
        for s in (0.0, 0.4, 1.0)
    ]
    assert steps[0] == 0
    assert steps[0] < steps[1] < steps[2]


@pytest.mark.parametrize(
    "prompt", ["knight", "ice crystal", "stone golem", "pixel art dragon", "blue gothic cat", "", "castle"]
)
def test_any_words(prompt):
    picture, _ = disc(ground=None)
    assert shade(picture, prompt, seed=4).pixels.shape == picture.shape


def test_coloured_figures_keep_their_colours_unless_told_otherwise():
    sprite = draw("green slime, transparent background", width=160, height=160, seed=1, mark=False).pixels
    seen = sprite[..., 3] == 255
    kept = shade(sprite, "slime", seed=1, mark=False).pixels[seen][:, :3].mean(axis=0)
    assert kept.argmax() == 1
    turned = shade(sprite, "red slime", seed=1, mark=False).pixels[seen][:, :3].mean(axis=0)
    assert turned.argmax() == 0


@pytest.mark.parametrize("prompt", ["at sunset", "pixel art", "blue forest", "dark"])
def test_full_pictures_are_restyled(prompt):
    picture = draw("forest background", width=160, height=120, seed=1, mark=False).pixels
    result = shade(picture, prompt, seed=1, mark=False).pixels
    assert result.shape == picture.shape
    assert not np.array_equal(result, picture)


def test_wrong_arrays_are_refused():
    with pytest.raises(GenyardError) as caught:
        shade(np.zeros((20, 20), np.uint8), "cat", seed=1)
    assert caught.value.code is Code.media_invalid


def test_a_picture_that_is_too_small() -> None:
    with pytest.raises(GenyardError, match="3 × 5 pixels; at least 8 × 8") as caught:
        shade(np.zeros((5, 3, 4), np.uint8), "a knight", seed=1)
    assert (caught.value.code, caught.value.field) == (Code.media_invalid, "inputs.image")
