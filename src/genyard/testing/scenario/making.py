"""What a job of the emulated Scenario makes of its input: real files, from real assets."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
from PIL import Image, ImageColor

from genyard.testing import drawing
from genyard.testing.comfyui.values import encode
from genyard.testing.scenario.models import Model

Json = Any
Files = Mapping[str, bytes]


class CannotUse(Exception):
    """The job ends as failure, with these words."""


def make(model: Model, read: Mapping[str, Json], files: Files) -> tuple[str, list[tuple[str, bytes]]]:
    """The vendor's word for how it was made, and the media type and bytes of each output. Raises CannotUse."""
    try:
        return _MAKERS[model.makes](read, files)
    except drawing.NotAPicture as wrong:
        raise CannotUse("The image could not be decoded") from wrong
    except (ValueError, KeyError) as wrong:
        raise CannotUse(f"The generation failed: {wrong}") from wrong


def _pictures(read: Mapping[str, Json], files: Files) -> tuple[str, list[tuple[str, bytes]]]:
    """An `image` shows through; a `controlImage` only decides on another picture."""
    given, control = files.get("image"), files.get("controlImage")
    words = [read.get(name) for name in ("prompt", "negativePrompt", "seed", "loras", "lorasScale")]
    if control is not None:
        words += ["control", read.get("controlModality"), _hash(control)]
    made = []
    for place in range(int(read.get("numOutputs") or read.get("numSamples") or 1)):
        data = drawing.picture(
            (*words, place),
            width=int(read.get("width") or 512),
            height=int(read.get("height") or 512),
            given=given,
            strength=float(read.get("strength") or 0.8),
        )
        made.append(("image/png", data))
    return "img2img" if given is not None else "txt2img", made


def _pixels(read: Mapping[str, Json], files: Files) -> tuple[str, list[tuple[str, bytes]]]:
    made = []
    for place in range(int(read.get("numOutputs") or 1)):
        words = (
            read.get("prompt"),
            read.get("style"),
            read.get("seed"),
            _hash(files.get("image", b"")),
            place,
        )
        data = drawing.pixel_art(
            words,
            width=int(read.get("width") or 256),
            height=int(read.get("height") or 256),
            transparent=bool(read.get("removeBackground")),
        )
        made.append(("image/png", data))
    return "img2img" if "image" in files else "txt2img", made


def _cut_out(read: Mapping[str, Json], files: Files) -> tuple[str, list[tuple[str, bytes]]]:
    data = drawing.cut_out(files["image"])
    if colour := read.get("backgroundColor"):
        shown = Image.open(io.BytesIO(data))
        ground = Image.new("RGBA", shown.size, (*ImageColor.getrgb(str(colour))[:3], 255))
        ground.alpha_composite(shown)
        data = encode(np.asarray(ground.convert("RGB")))
    if read.get("format") == "jpeg":
        flat = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
        return "background-removal", [("image/jpeg", encode(flat, "JPEG"))]
    return "background-removal", [("image/png", data)]


def _layers(read: Mapping[str, Json], files: Files) -> tuple[str, list[tuple[str, bytes]]]:
    made = drawing.layers(files["image"], int(read.get("numLayers") or 4))
    return "img2img", [("image/png", one) for one in made]


def _video(read: Mapping[str, Json], files: Files) -> tuple[str, list[tuple[str, bytes]]]:
    seconds = min(float(read.get("duration") or 5), 2.0)
    return "img2video", [("video/mp4", drawing.video(files["image"], seconds=seconds))]


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


_Maker = Callable[[Mapping[str, Json], Files], tuple[str, list[tuple[str, bytes]]]]
_MAKERS: Final[Mapping[str, _Maker]] = {
    "picture": _pictures,
    "pixels": _pixels,
    "cut_out": _cut_out,
    "layers": _layers,
    "video": _video,
}
