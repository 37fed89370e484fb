"""Small real files for the emulators that run no graphs: pictures, cut-outs, layers, videos, as bytes.

No model runs. The same words and seed give the same picture, other ones another, a picture that was given shows
through. `NotAPicture` says that what was sent is none, as a decoder there would.
"""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, UnidentifiedImageError

from genyard.imaging.video import encode_mp4
from genyard.testing.comfyui.nodes_model import SHOWS_THROUGH, draw, split_layers, subject
from genyard.testing.comfyui.values import Pixels, encode, resize


class NotAPicture(ValueError):
    """The bytes are no picture."""


def picture(
    words: object,
    *,
    width: int,
    height: int,
    given: bytes | None = None,
    strength: float = 0.8,
    kind: str = "PNG",
) -> bytes:
    """One picture of these words (prompt, seed, …: anything with a repr). `given` shows through, the more the lower
    `strength` (0…1) is; `kind` as Pillow calls it: PNG, JPEG, WEBP."""
    drawn = draw(repr(words), width, height, 1)[0]
    if given is not None:
        under = resize(pixels(given)[None, ..., :3], width, height)[0]
        share = min(max(strength, 0.0), 1.0) * (1 - SHOWS_THROUGH)
        drawn = (under.astype(np.float32) * (1 - share) + drawn.astype(np.float32) * share).astype(np.uint8)
    return encode(drawn, kind)


def cut_out(given: bytes, *, kind: str = "PNG") -> bytes:
    """RGBA of the same size: transparent where the picture is like its border."""
    shown = pixels(given)[..., :3]
    return encode(np.dstack([shown, (subject(shown[None])[0] * 255).astype(np.uint8)]), kind)


def mask(given: bytes) -> bytes:
    """The cut-out's alpha alone, as a grey PNG."""
    return encode((subject(pixels(given)[None, ..., :3])[0] * 255).astype(np.uint8))


def layers(given: bytes, count: int) -> list[bytes]:
    """`count` RGBA PNGs of the picture's size, back to front."""
    return [encode(one) for one in split_layers(pixels(given)[..., :3], count)[1:]]


def pixel_art(
    words: object, *, width: int, height: int, colours: int = 16, transparent: bool = False
) -> bytes:
    """A picture of few colours; with `transparent` its ground is cut away."""
    drawn = Image.fromarray(draw(repr(words), width, height, 1)[0])
    flat = encode(np.asarray(drawn.quantize(colours, dither=Image.Dither.NONE).convert("RGB")))
    return cut_out(flat) if transparent else flat


def video(given: bytes, *, seconds: float = 0.5, fps: int = 8, side: int = 96) -> bytes:
    """An MP4 (H.264) in which the picture sways; at most `side` pixels wide and high, so that it stays small."""
    shown = pixels(given)[..., :3]
    height, width = shown.shape[:2]
    scale = min(1.0, side / max(height, width))
    small = resize(shown[None], max(2, round(width * scale)), max(2, round(height * scale)))[0]
    frames = (
        np.roll(small, round(3 * np.sin(place)), axis=1) for place in range(max(1, round(seconds * fps)))
    )
    return encode_mp4(frames, fps)


def halved(given: bytes) -> bytes:
    """The same picture at half its size: what came out is not what was asked for."""
    height, width = pixels(given).shape[:2]
    return encode(resize(pixels(given)[None], max(1, width // 2), max(1, height // 2))[0])


def without_alpha(given: bytes) -> bytes:
    """The same picture as RGB."""
    return encode(pixels(given)[..., :3])


def pixels(given: bytes) -> Pixels:
    """H×W×3 or H×W×4. Raises NotAPicture."""
    try:
        with Image.open(io.BytesIO(given)) as opened:
            return np.asarray(opened.convert("RGBA" if opened.has_transparency_data else "RGB"))
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
        raise NotAPicture("cannot identify image file") from error


def size(given: bytes) -> tuple[int, int]:
    """Width and height. Raises NotAPicture."""
    height, width = pixels(given).shape[:2]
    return width, height
