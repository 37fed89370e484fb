"""The renderer's promises: the same bits for the same words, variety otherwise, and honesty about both."""

import numpy as np
import pytest

from genyard.errors import Code, GenyardError
from genyard.preview import MARK_TEXT, RENDERER_VERSION, draw
from genyard.preview.lexicon import SUBJECTS, SUBSTANCES

pytestmark = pytest.mark.long

EVERY = [(kind, name) for kind, names in SUBJECTS.items() for name in names]


def small(prompt, *, seed=1, width=96, height=96, mark=False, **more):
    return draw(prompt, width=width, height=height, seed=seed, mark=mark, **more)


@pytest.mark.parametrize("prompt", ["red dragon", "pixel art knight", "forest background", 'button "Go"'])
def test_same_words_same_bits_other_seed_other_picture(prompt):
    first = small(prompt).pixels
    assert np.array_equal(first, small(prompt).pixels)
    for other in (small(prompt, seed=2).pixels, small(prompt, index=1).pixels):
        assert np.abs(first.astype(int) - other).mean() > 0.4


@pytest.mark.parametrize(("kind", "name"), EVERY, ids=[name for _, name in EVERY])
def test_every_subject_is_drawn_as_itself(kind, name):
    prompt = f"{name} background" if kind == "scene" else name
    drawing = small(prompt, width=256, height=256)
    assert drawing.subject == name
    assert drawing.ignored == ()
    assert drawing.pixels.shape == (256, 256, 4)
    assert drawing.pixels.dtype == np.uint8
    assert drawing.pixels[..., :3].std() > 8, "nothing to see"
    assert bool(drawing.layers) == (kind == "scene")


@pytest.mark.parametrize("kind", SUBJECTS)
@pytest.mark.parametrize(("width", "height"), [(333, 97), (64, 131)])
def test_odd_sizes(kind, width, height):
    name = next(iter(SUBJECTS[kind]))
    assert small(name, width=width, height=height).pixels.shape == (height, width, 4)


def test_odd_sizes_of_pixel_art():
    assert small("pixel art dragon", width=333, height=97).pixels.shape == (97, 333, 4)
    assert small("pixel art forest background", width=97, height=131).pixels.shape == (131, 97, 4)


@pytest.mark.parametrize("substance", SUBSTANCES)
def test_every_substance_makes_tiles(substance):
    drawing = small(f"{substance} tile")
    assert drawing.subject == "tile"
    assert drawing.ignored == ()


def test_large_and_wide_pictures():
    assert draw("key", width=2048, height=1200, seed=1).pixels.shape == (1200, 2048, 4)


@pytest.mark.parametrize(("width", "height", "field"), [(63, 64, "width"), (64, 5000, "height")])
def test_sizes_outside_the_limits_are_refused(width, height, field):
    with pytest.raises(GenyardError) as caught:
        draw("cat", width=width, height=height, seed=1)
    assert caught.value.code is Code.request_invalid
    assert caught.value.field == field


def test_unknown_words_are_told_and_stop_words_are_not():
    drawing = small("a red dragon of the glorptic zorn, by someone")
    assert drawing.ignored == ("glorptic", "zorn", "someone")
    assert drawing.understood == ("red", "dragon")


def test_a_second_subject_that_has_no_place_is_told():
    assert small("a cat and a dog").ignored == ("dog",)
    assert small("knight with an axe and a crown").ignored == ()


@pytest.mark.parametrize(
    ("prompt", "subject"),
    [
        ("skeleton warrior", "skeleton"),
        ("pirate ship", "boat"),
        ("dragon egg", "egg"),
        ("crystal sword", "sword"),
        ("castle background", "castle grounds"),
        ("sunset background", "mountains"),
        ('"Hello"', "title"),
    ],
)
def test_which_word_is_the_subject(prompt, subject):
    assert small(prompt).subject == subject


def test_nothing_known_still_gives_a_picture():
    drawing = small("xyzzy plugh")
    assert drawing.subject == "emblem"
    assert drawing.ignored == ("xyzzy", "plugh")
    assert drawing.pixels[..., :3].std() > 8
    assert small("").subject == "emblem"


def test_background_only_as_asked():
    plain = small("green slime").pixels
    assert (plain[..., 3] == 255).all()
    corners = plain[[0, 0, -1, -1], [0, -1, 0, -1], :3]
    assert (corners == corners[0]).all()
    assert corners.min() > 200
    for prompt in ("green slime, transparent background", "green slime no background"):
        clear = small(prompt).pixels
        assert (clear[[0, 0, -1, -1], [0, -1, 0, -1], 3] == 0).all()
        assert (clear[..., 3] == 255).any()
    assert (small("green slime", negative_prompt="background").pixels[..., 3] == 0).any()


def test_colours_are_obeyed():
    for word, channel in (("red", 0), ("green", 1), ("blue", 2)):
        pixels = small(f"{word} slime, transparent background").pixels
        mean = pixels[pixels[..., 3] > 200][:, :3].mean(axis=0)
        assert mean.argmax() == channel, word


def test_pixel_art_has_a_grid_and_few_colours():
    pixels = small("pixel art cat, transparent background", width=288, height=288).pixels
    cells = pixels.reshape(72, 4, 72, 4, 4)
    assert (cells == cells[:, :1, :, :1]).all()
    assert set(np.unique(pixels[..., 3])) == {0, 255}
    assert len(np.unique(pixels[pixels[..., 3] > 0], axis=0)) < 300


def test_negative_prompt_takes_things_away():
    with_hat = small("wizard with cape and glasses").pixels
    assert not np.array_equal(
        with_hat, small("wizard with cape and glasses", negative_prompt="glasses").pixels
    )


def test_the_mark_is_small_and_in_the_corner():
    marked, plain = small("heart", width=256, height=256, mark=True), small("heart", width=256, height=256)
    rows, columns, _ = np.nonzero(marked.pixels != plain.pixels)
    assert rows.size > 50
    assert rows.min() > 240
    assert columns.min() > 180
    assert "AI" in MARK_TEXT
    assert MARK_TEXT.isascii()
    assert RENDERER_VERSION
