"""Image, mask and saving nodes of the emulator: real pixels, real file names and `ui` answers."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from PIL import Image, ImageSequence, PngImagePlugin, UnidentifiedImageError

from genyard.testing.comfyui.files import SERVER_ROOT, fill_placeholders
from genyard.testing.comfyui.values import (
    Latent,
    Mask,
    NodeError,
    Output,
    Pixels,
    Run,
    crop_to,
    encode,
    node,
    resize,
)


@node("EmptyImage")
def empty_image(run: Run, width: int, height: int, batch_size: int, color: int) -> tuple[Pixels]:
    if width * height * batch_size > 1_000_000_000:
        wanted = width * height * batch_size * 12
        raise NodeError(
            "RuntimeError",
            "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: "
            f"you tried to allocate {wanted} bytes. Error code 12 (Cannot allocate memory)",
        )
    picture = np.empty((batch_size, height, width, 3), np.uint8)
    picture[:] = (color >> 16 & 255, color >> 8 & 255, color & 255)
    return (picture,)


@node("LoadImage")
def load_image(run: Run, image: str) -> tuple[Pixels, Mask]:
    path = run.files.read_path(image)
    if path is None:
        raise NodeError(
            "FileNotFoundError", f"[Errno 2] No such file or directory: '{SERVER_ROOT}/input/{image}'"
        )
    try:
        with Image.open(path) as opened:
            frames = [frame.convert("RGBA") for frame in ImageSequence.Iterator(opened)]
    except (UnidentifiedImageError, OSError, ValueError):
        raise NodeError(
            "av.error.InvalidDataError",
            f"[Errno 1094995529] Invalid data found when processing input: '{SERVER_ROOT}/input/{image}'",
        ) from None
    pixels = np.stack([np.asarray(frame) for frame in frames])
    if (pixels[..., 3] == 255).all():
        return pixels[..., :3], np.zeros((1, 64, 64), np.float32)
    return pixels[..., :3], np.float32(1) - pixels[..., 3].astype(np.float32) / np.float32(255)


@node("LoadImageMask")
def load_image_mask(run: Run, image: str, channel: str) -> tuple[Mask]:
    path = run.files.read_path(image)
    assert path is not None
    with Image.open(path) as opened:
        pixels = np.asarray(opened.convert("RGBA"))[None].astype(np.float32) / np.float32(255)
    plane = pixels[..., ("red", "green", "blue", "alpha").index(channel)]
    return (np.float32(1) - plane if channel == "alpha" else plane,)


@node("ImageInvert")
def image_invert(run: Run, image: Pixels) -> tuple[Pixels]:
    if isinstance(image, str):
        raise NodeError("TypeError", "unsupported operand type(s) for -: 'float' and 'str'")
    inverted = 255 - image
    inverted[..., 3:] = image[..., 3:]
    return (inverted,)


@node("ImageScale")
def image_scale(
    run: Run, image: Pixels, upscale_method: str, width: int, height: int, crop: str
) -> tuple[Pixels]:
    _, old_height, old_width, _ = image.shape
    if not width and not height:
        return (image,)
    width = width or max(1, round(old_width * height / old_height))
    height = height or max(1, round(old_height * width / old_width))
    return (
        resize(crop_to(image, width, height) if crop == "center" else image, width, height, upscale_method),
    )


@node("ImageScaleToMaxDimension")
def image_scale_to_max(run: Run, image: Pixels, upscale_method: str, largest_size: int) -> tuple[Pixels]:
    _, height, width, _ = image.shape
    scale = largest_size / max(width, height)
    return (resize(image, max(1, round(width * scale)), max(1, round(height * scale)), upscale_method),)


@node("FluxKontextImageScale")
def kontext_scale(run: Run, image: Pixels) -> tuple[Pixels]:
    _, height, width, _ = image.shape
    scale = (1024 * 1024 / (width * height)) ** 0.5
    return (resize(image, round(width * scale / 16) * 16, round(height * scale / 16) * 16, "lanczos"),)


@node("GetImageSize")
def get_image_size(run: Run, image: Pixels) -> Output:
    batch, height, width, _ = image.shape
    return Output(
        slots=(width, height, batch), ui={"text": [f"width: {width}, height: {height}\n batch size: {batch}"]}
    )


@node("ImageBatch")
def image_batch(run: Run, image1: Pixels, image2: Pixels) -> tuple[Pixels]:
    _, height, width, _ = image1.shape
    return (np.concatenate([image1, resize(image2, width, height)]),)


@node("RepeatImageBatch")
def repeat_image_batch(run: Run, image: Pixels, amount: int) -> tuple[Pixels]:
    if image.nbytes * amount > 4_000_000_000:
        raise NodeError(
            "RuntimeError",
            "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: "
            f"you tried to allocate {image.size * amount * 4} bytes. Error code 12 (Cannot allocate memory)",
        )
    return (np.concatenate([image] * amount),)


@node("ImageFromBatch")
def image_from_batch(run: Run, image: Pixels, batch_index: int, length: int) -> tuple[Pixels]:
    first = min(batch_index, len(image) - 1)
    return (image[first : first + length],)


@node("SplitImageWithAlpha")
def split_image_with_alpha(run: Run, image: Pixels) -> tuple[Pixels, Mask]:
    if image.shape[-1] < 4:
        return image, np.zeros(image.shape[:3], np.float32)
    return image[..., :3], np.float32(1) - image[..., 3].astype(np.float32) / np.float32(255)


@node("ResizeImageMaskNode")
def resize_image(run: Run, input: Pixels, resize_type: str, **options: Any) -> tuple[Pixels]:
    _, height, width, _ = input.shape
    multiple = int(options.get("resize_type_multiple", 1))
    if resize_type != "scale to multiple" or multiple < 2:
        return (input,)
    return (input[:, : height // multiple * multiple, : width // multiple * multiple],)


@node("ImageQuantize")
def image_quantize(run: Run, image: Pixels, colors: int, dither: str) -> tuple[Pixels]:
    diffusion = Image.Dither.NONE if dither == "none" else Image.Dither.FLOYDSTEINBERG
    return (
        np.stack(
            [
                np.asarray(Image.fromarray(one[..., :3]).quantize(colors, dither=diffusion).convert("RGB"))
                for one in image
            ]
        ),
    )


@node("Canny")
def canny(run: Run, image: Pixels, low_threshold: float, high_threshold: float) -> tuple[Pixels]:
    grey = image[..., :3].astype(np.float32).mean(axis=-1) / 255
    edges = np.hypot(np.gradient(grey, axis=1), np.gradient(grey, axis=2)) > low_threshold / 4
    return (np.repeat((edges * 255).astype(np.uint8)[..., None], 3, axis=-1),)


@node("InvertMask")
def invert_mask(run: Run, mask: Mask) -> tuple[Mask]:
    return (1 - mask,)


@node("MaskToImage")
def mask_to_image(run: Run, mask: Mask) -> tuple[Pixels]:
    return (np.repeat((mask * 255).astype(np.uint8)[..., None], 3, axis=-1),)


@node("JoinImageWithAlpha")
def join_image_with_alpha(run: Run, image: Pixels, alpha: Mask) -> tuple[Pixels]:
    """The mask says what becomes transparent."""
    _, height, width, _ = image.shape
    plane = resize(((1 - alpha) * 255).astype(np.uint8)[..., None].repeat(3, -1), width, height)[..., :1]
    count = max(len(image), len(plane))
    return (np.concatenate([_cycled(image[..., :3], count), _cycled(plane, count)], axis=-1),)


def _cycled(pixels: Pixels, count: int) -> Pixels:
    return pixels[np.arange(count) % len(pixels)]


@node("SaveImage")
def save_image(run: Run, images: Pixels, filename_prefix: str = "ComfyUI", **_: Any) -> Output:
    return Output(slots=(images,), ui={"images": _save_pictures(run, images, filename_prefix, "output")})


@node("PreviewImage")
def preview_image(run: Run, images: Pixels) -> Output:
    return Output(
        slots=(images,), ui={"images": _save_pictures(run, images, "ComfyUI_temp_emulator", "temp")}
    )


def _save_pictures(run: Run, images: Pixels, prefix: str, kind: str) -> list[dict[str, str]]:
    _, height, width, _ = images.shape
    filled = fill_placeholders(prefix, {"width": width, "height": height})
    rows = []
    for batch, picture in enumerate(images):
        saved = run.files.next(kind, filled, ".png", batch=batch)
        saved.path.write_bytes(encode(picture, pnginfo=_metadata(run), compress_level=1))
        rows.append(saved.as_json())
    return rows


def _metadata(run: Run) -> PngImagePlugin.PngInfo | None:
    """ComfyUI embeds the whole graph in every picture."""
    if not run.metadata:
        return None
    info = PngImagePlugin.PngInfo()
    info.add_text("prompt", json.dumps(run.graph))
    return info


@node("SaveImageWebsocket")
async def save_image_websocket(run: Run, images: Pixels) -> Output:
    for place, picture in enumerate(images):
        await run.step(place, len(images), encode(picture))
    return Output()


@node("SaveAnimatedWEBP")
def save_animated_webp(
    run: Run, images: Pixels, filename_prefix: str, fps: float, lossless: bool, quality: int, method: str
) -> Output:
    saved = run.files.next("output", filename_prefix, ".webp")
    first, *rest = [Image.fromarray(one) for one in images]
    first.save(
        saved.path,
        save_all=True,
        append_images=rest,
        duration=int(1000 / fps),
        lossless=lossless,
        quality=quality,
    )
    return Output(slots=(images,), ui={"images": [saved.as_json()], "animated": [len(images) != 1]})


@node("SaveAnimatedPNG")
def save_animated_png(
    run: Run, images: Pixels, filename_prefix: str, fps: float, compress_level: int
) -> Output:
    saved = run.files.next("output", filename_prefix, ".png")
    first, *rest = [Image.fromarray(one) for one in images]
    first.save(
        saved.path, save_all=True, append_images=rest, duration=int(1000 / fps), compress_level=compress_level
    )
    return Output(slots=(images,), ui={"images": [saved.as_json()], "animated": [True]})


@node("SaveLatent")
def save_latent(run: Run, samples: Latent, filename_prefix: str) -> Output:
    saved = run.files.next("output", filename_prefix, ".latent")
    saved.path.write_bytes(b"\0" * 64)
    return Output(slots=(samples,), ui={"latents": [saved.as_json()]})


@node("PreviewAny")
def preview_any(run: Run, source: Any) -> Output:
    text = source if isinstance(source, str) else str(source)
    return Output(slots=(text,), ui={"text": [text]})


@node("GenyardSleep")
async def genyard_sleep(run: Run, image: Pixels, seconds: float) -> tuple[Pixels]:
    """The test node of the live servers: `seconds`, in slices of a tenth."""
    slices = max(1, int(seconds / 0.1))
    for done in range(slices):
        await run.pause(seconds / slices)
        await run.step(done + 1, slices, None)
    return (image,)


@node("GenyardRaise")
def genyard_raise(run: Run, image: Pixels, kind: str) -> tuple[Pixels]:
    told = {
        "value": ("ValueError", "genyard test: bad value"),
        "runtime": ("RuntimeError", "genyard test: something broke"),
        "cuda_oom": (
            "torch.OutOfMemoryError",
            "CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of 23.65 GiB of "
            "which 1.02 GiB is free.\nThis error means you ran out of memory on your GPU.\n\nTIPS: If the "
            "workflow worked before you might have accidentally set the batch_size to a large number.",
        ),
    }
    if kind in told:
        raise NodeError(*told[kind])
    return (image,)
