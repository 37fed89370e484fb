"""Handlers of single-model endpoints: Flux, SDXL, background removal, layers, video; and RunPod's public ones.

There is no canonical shape for the first kind: an endpoint's setup says which one this is. Names and limits of the
public ones are the vendor's (docs of mid-2026), their prices the listed ones. Of their error texts only "must be
divisible by 64" is documented; the others, and every text of the first kind, are made up: nobody should match on them.
"""

from __future__ import annotations

import asyncio
import base64
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from genyard.testing import drawing
from genyard.testing.runpod.endpoint import Setup
from genyard.testing.runpod.worker import Call, Raised, data_uri

Json = Any

IMAGE_FIELDS: Final = ("image", "image_url", "image_b64", "image_base64", "input_image", "init_image")
MOST_PICTURES = 4


async def single_model(call: Call, setup: Setup) -> Json:
    """What a handler of the usual kind does: checks, progress, files, one of the shapes in use."""
    given = call.input
    if not isinstance(given, dict):
        return {"error": "input must be an object"}
    if setup.kind in ("flux", "sdxl") and not str(given.get("prompt") or "").strip():
        return {"error": "prompt is a required input."}
    if problem := wrong_size(given, multiple=8):
        return {"error": problem, "refresh_worker": False}
    for step in range(setup.steps):
        await call.work(setup.work * (step + 1) / setup.steps)
        call.progress({"progress": round((step + 1) / setup.steps * 100)})
    if not setup.steps:
        await call.work(setup.work)
    seed = seed_of(given)
    files = await made(call, setup.kind, seed)
    return shaped(call, setup, await call.spoil(files), seed)


async def made(call: Call, kind: str, seed: int) -> list[tuple[str, bytes]]:
    """(file name, bytes) of what this kind of model makes of the input."""
    given: Mapping[str, Json] = call.input
    image = next((given[name] for name in IMAGE_FIELDS if given.get(name)), None)
    source = await call.media(image) if image is not None else None
    try:
        if kind in ("background", "layers", "video"):
            if source is None:
                raise Raised("an image is required")
            if kind == "background":
                return [("cutout.png", await asyncio.to_thread(drawing.cut_out, source))]
            if kind == "video":
                return [("video.mp4", await asyncio.to_thread(drawing.video, source))]
            count = int(given.get("layers") or given.get("num_layers") or 4)
            rows = await asyncio.to_thread(drawing.layers, source, count)
            return [(f"layer_{place}.png", data) for place, data in enumerate(rows)]
        return await asyncio.to_thread(pictures, given, kind, seed, source)
    except drawing.NotAPicture as error:
        raise Raised(str(error), "<class 'PIL.UnidentifiedImageError'>") from None


def pictures(
    given: Mapping[str, Json], kind: str, seed: int, source: bytes | None
) -> list[tuple[str, bytes]]:
    width, height = size_of(given, source)
    count = min(int(given.get("num_images") or given.get("num_outputs") or 1), MOST_PICTURES)
    coded = {"jpeg": "JPEG", "jpg": "JPEG", "webp": "WEBP"}.get(
        str(given.get("image_format") or given.get("output_format") or "png"), "PNG"
    )
    words = [kind, given.get("prompt"), given.get("negative_prompt"), seed]
    strength = float(given.get("strength") or given.get("prompt_strength") or 0.8)
    return [
        (
            f"image_{place}.{'jpg' if coded == 'JPEG' else coded.lower()}",
            drawing.picture(
                (*words, place), width=width, height=height, given=source, strength=strength, kind=coded
            ),
        )
        for place in range(count)
    ]


def shaped(call: Call, setup: Setup, files: list[tuple[str, bytes]], seed: int) -> Json:
    """[doc] worker-sdxl: images, image_url, seed; [seen] the others."""
    told = [delivered(call, setup.delivery, name, data) for name, data in files]
    first = told[0]
    if setup.shape == "images":
        return {"images": told, "image_url": first, "seed": seed}
    if setup.shape == "string":
        return first
    if setup.shape == "object":
        rows = [{"url" if setup.delivery == "url" else "image": one, "seed": seed} for one in told]
        return {"result": rows[0] if len(rows) == 1 else rows, "status": "success"}
    if setup.shape == "message":
        return {"message": first, "status": "success"}
    answer: dict[str, str] = {setup.shape: first}
    if setup.kind == "background" and setup.shape != "image_url":
        alpha = drawing.mask(files[0][1]) if readable(files[0][1]) else b""
        answer["mask"] = delivered(call, setup.delivery, "mask.png", alpha)
    return answer


def delivered(call: Call, how: str, name: str, data: bytes) -> str:
    if how == "url":
        return call.link(name, data)
    return data_uri(data) if how == "data_uri" else base64.b64encode(data).decode()


def readable(data: bytes) -> bool:
    try:
        drawing.size(data)
    except drawing.NotAPicture:
        return False
    return True


def seed_of(given: Mapping[str, Json]) -> int:
    seed = given.get("seed")
    return secrets.randbelow(2**32) if seed in (None, -1) else int(seed)


def size_of(given: Mapping[str, Json], source: bytes | None) -> tuple[int, int]:
    """Width and height, `size` as "1024*768", or the given picture's own."""
    if isinstance(size := given.get("size"), str):
        width, _, height = size.partition("*")
        return int(width), int(height)
    if given.get("width") or given.get("height") or source is None:
        return int(given.get("width") or 1024), int(given.get("height") or 1024)
    return drawing.size(source)


def wrong_size(given: Mapping[str, Json], *, multiple: int, low: int = 64, high: int = 4096) -> str | None:
    for name in ("width", "height"):
        value = given.get(name)
        if value is None:
            continue
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            return f"Invalid parameter: {name} must be between {low} and {high}"
        if value % multiple:
            return f"Invalid parameter: {name} must be divisible by {multiple}"
    return None


# --- public endpoints ----------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Public:
    """`usd` per picture (or megapixel where `per_megapixel`), or per second of video."""

    usd: float
    makes: Literal["picture", "video"] = "picture"
    per_megapixel: bool = False
    sized: Literal["sides", "size", "none"] = "size"
    image: Literal["no", "may", "must"] = "no"
    most_steps: int | None = None
    seconds: float = 5.0


PUBLIC: Final[dict[str, Public]] = {
    "black-forest-labs-flux-1-dev": Public(usd=0.02, per_megapixel=True, sized="sides", most_steps=50),
    "black-forest-labs-flux-1-schnell": Public(usd=0.0024, per_megapixel=True, sized="sides", most_steps=50),
    "black-forest-labs-flux-1-kontext-dev": Public(usd=0.025, image="must"),
    "qwen-image-t2i": Public(usd=0.02),
    "qwen-image-edit": Public(usd=0.02, image="must"),
    "qwen-image-edit-2511": Public(usd=0.02, image="must"),
    "z-image-turbo": Public(usd=0.005, image="may"),
    "p-image-t2i": Public(usd=0.005),
    "p-image-edit": Public(usd=0.01, image="must"),
    "wan-2-2-i2v-720": Public(usd=0.06, makes="video", image="must"),
    "wan-2-6-i2v": Public(usd=0.10, makes="video", image="must"),
    "p-video": Public(usd=0.02, makes="video", image="must"),
}


async def public_model(call: Call, endpoint: str, setup: Setup) -> Json:
    """One of RunPod's own endpoints: a link and what it cost."""
    model = PUBLIC.get(endpoint, Public(usd=0.02, image="may"))
    given = call.input
    if not isinstance(given, dict) or (problem := public_problem(model, given)):
        return {"error": problem if isinstance(given, dict) else "Invalid parameter: input must be an object"}
    await call.work(setup.work)
    seed = seed_of(given)
    images = given.get("images")
    if isinstance(images, list) and images:
        call.job.input = given = {**given, "image": images[0]}
    if model.makes == "video":
        seconds = float(given.get("duration") or model.seconds)
        [(name, data)] = await call.spoil(await made(call, "video", seed))
        return {"video_url": call.link(name, data), "cost": round(model.usd * seconds, 6)}
    files = await call.spoil(await made(call, endpoint, seed))
    name, data = files[0]
    size = size_of(given, None) if model.sized != "none" else (1024, 1024)
    area = size[0] * size[1] / 1_000_000 if model.per_megapixel else 1.0
    return {"image_url": call.link(name, data), "cost": round(model.usd * area, 6)}


def public_problem(model: Public, given: Mapping[str, Json]) -> str | None:
    if not str(given.get("prompt") or "").strip():
        return "Invalid parameter: prompt is required"
    if model.image == "must" and not (given.get("image") or given.get("images")):
        return "Invalid parameter: image is required"
    for image in (given.get("image"), *(given.get("images") or [])):
        if image is not None and not str(image).startswith(("http://", "https://")):
            return "Invalid parameter: image must be a URL"
    steps = given.get("num_inference_steps")
    if model.most_steps is not None and steps is not None and not 1 <= steps <= model.most_steps:
        return f"Invalid parameter: num_inference_steps must be between 1 and {model.most_steps}"
    if model.sized == "sides":
        return wrong_size(given, multiple=64, low=256, high=1536)
    size = given.get("size")
    if size is not None and not all(side.isdigit() for side in str(size).split("*")):
        return "Invalid parameter: size must be like 1024*1024"
    return None
