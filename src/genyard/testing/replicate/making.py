"""What a prediction of the emulated Replicate makes of its input: real files, from real inputs."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, cast

import av
import numpy as np
from PIL import Image

from genyard.testing import drawing
from genyard.testing.comfyui.values import encode
from genyard.testing.replicate.models import Model

Json = Any

#: Inputs that name a file.
FILES: Final = ("image", "image_url", "mask", "face_image", "driving_video")
_SIZES: Final[Mapping[str, tuple[int, int]]] = {
    "1:1": (1024, 1024), "16:9": (1344, 768), "21:9": (1536, 640), "3:2": (1216, 832), "2:3": (832, 1216),
    "4:5": (896, 1088), "5:4": (1088, 896), "3:4": (896, 1152), "4:3": (1152, 896), "9:16": (768, 1344),
    "9:21": (640, 1536),
}  # fmt: skip
_PILLOW: Final = {"png": "PNG", "webp": "WEBP", "jpg": "JPEG"}


class CannotUse(Exception):
    """The model's own complaint: status failed, with these words."""


def make(model: Model, wanted: Mapping[str, Json], files: Mapping[str, bytes]) -> list[tuple[str, bytes]]:
    """File names and bytes, in the order of the output. Raises CannotUse."""
    try:
        return _MAKERS[model.makes](wanted, files)
    except drawing.NotAPicture as wrong:
        raise CannotUse(f"{wrong} <_io.BytesIO object at 0x7f1c>") from wrong
    except (ValueError, KeyError) as wrong:
        raise CannotUse(f"{type(wrong).__name__}: {wrong}") from wrong


def _pictures(wanted: Mapping[str, Json], files: Mapping[str, bytes]) -> list[tuple[str, bytes]]:
    kind = str(wanted.get("output_format", "png"))
    width, height = _size(wanted)
    given = files.get("image")
    made = []
    for place in range(int(wanted.get("num_outputs", 1))):
        words = (wanted.get("prompt"), wanted.get("negative_prompt"), wanted.get("seed"), place)
        strength = float(wanted.get("prompt_strength", 0.8))
        data = drawing.picture(
            words, width=width, height=height, given=given, strength=strength, kind=_PILLOW[kind]
        )
        made.append((f"out-{place}.{kind}", data))
    return made


def _size(wanted: Mapping[str, Json]) -> tuple[int, int]:
    if "width" in wanted:
        return int(wanted["width"]), int(wanted["height"])
    width, height = _SIZES[str(wanted.get("aspect_ratio", "1:1"))]
    return (width, height) if wanted.get("megapixels", "1") == "1" else (width // 2, height // 2)


def _cut_out(wanted: Mapping[str, Json], files: Mapping[str, bytes]) -> list[tuple[str, bytes]]:
    given = files.get("image") or files.get("image_url")
    if given is None:
        raise CannotUse("Either image or image_url must be provided.")
    if wanted.get("format") == "jpg":
        flat = Image.open(io.BytesIO(drawing.cut_out(given))).convert("RGB")
        return [("out.jpg", encode(np.asarray(flat), "JPEG"))]
    return [("out.png", drawing.cut_out(given))]


def _layers(wanted: Mapping[str, Json], files: Mapping[str, bytes]) -> list[tuple[str, bytes]]:
    """The first one is the background, as the model's page shows it."""
    kind = str(wanted.get("output_format", "webp"))
    made = drawing.layers(files["image"], int(wanted.get("num_layers", 4)))
    if kind != "png":
        made = [encode(drawing.pixels(one), "WEBP", lossless=True) for one in made]
    return [(f"out-{place}.{kind}", one) for place, one in enumerate(made)]


def _portrait(wanted: Mapping[str, Json], files: Mapping[str, bytes]) -> list[tuple[str, bytes]]:
    try:
        with av.open(io.BytesIO(files["driving_video"])) as container:
            count = len(list(cast("Any", container).decode(video=0)))
    except (av.FFmpegError, IndexError, ValueError) as wrong:
        raise CannotUse("Could not read the driving video") from wrong
    if count == 0:
        raise CannotUse("The driving video has no frames")
    cap = int(wanted.get("video_frame_load_cap") or count)
    return [("R8_IP_00001.mp4", drawing.video(files["face_image"], seconds=min(count, cap, 64) / 8))]


_Maker = Callable[[Mapping[str, Json], Mapping[str, bytes]], list[tuple[str, bytes]]]
_MAKERS: Final[Mapping[str, _Maker]] = {
    "picture": _pictures,
    "cut_out": _cut_out,
    "layers": _layers,
    "portrait": _portrait,
}


def steps_of(wanted: Mapping[str, Json]) -> int:
    return int(wanted.get("num_inference_steps", 4))


def names_of(given: Mapping[str, Json]) -> Sequence[str]:
    return [name for name in FILES if isinstance(given.get(name), str) and given[name]]
