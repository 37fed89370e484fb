"""Loaders and samplers of the emulator: a deterministic picture made from seed, prompt and size.

No model runs. What matters to a caller is kept: the same words and seed give the same picture, other ones
give another, an image that was given shows through, LoRAs and ControlNets change the result, steps are told.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any, Final

import numpy as np
from PIL import Image, ImageDraw

from genyard.testing.comfyui.values import (
    Conditioning,
    Latent,
    Mask,
    Model,
    NodeError,
    Pixels,
    Run,
    node,
    resize,
)

#: How much of the given image always shows through, so that a test can see it.
SHOWS_THROUGH: Final = 0.35


@node("CheckpointLoaderSimple")
def load_checkpoint(run: Run, ckpt_name: str) -> tuple[Model, Model, Model]:
    model = Model(name=ckpt_name)
    return model, model, model


@node(
    "UNETLoader",
    "CLIPLoader",
    "DualCLIPLoader",
    "VAELoader",
    "ControlNetLoader",
    "LoadBackgroundRemovalModel",
)
def load_model(run: Run, **names: Any) -> tuple[Model]:
    return (Model(name=str(next(iter(names.values())))),)


@node("LoraLoader")
def lora(
    run: Run, model: Model, clip: Model, lora_name: str, strength_model: float, strength_clip: float
) -> tuple[Model, Model]:
    return _with(model, f"{lora_name}:{strength_model}"), _with(clip, f"{lora_name}:{strength_clip}")


@node("LoraLoaderModelOnly")
def lora_model_only(run: Run, model: Model, lora_name: str, strength_model: float) -> tuple[Model]:
    return (_with(model, f"{lora_name}:{strength_model}"),)


@node("ModelSamplingFlux", "ModelSamplingAuraFlow")
def model_sampling(run: Run, model: Model, **_: Any) -> tuple[Model]:
    return (model,)


@node("SetUnionControlNetType")
def union_type(run: Run, control_net: Model, type: str) -> tuple[Model]:
    return (_with(control_net, type),)


def _with(model: Model, what: str) -> Model:
    return replace(model, applied=(*model.applied, what))


@node("CLIPTextEncode")
def encode_text(run: Run, text: str, clip: Model) -> tuple[Conditioning]:
    return (Conditioning(text=text, applied=clip.applied),)


@node("FluxGuidance")
def flux_guidance(run: Run, conditioning: Conditioning, guidance: float) -> tuple[Conditioning]:
    return (_and(conditioning, f"guidance:{guidance}"),)


@node("ConditioningZeroOut")
def zero_out(run: Run, conditioning: Conditioning) -> tuple[Conditioning]:
    return (Conditioning(text=""),)


@node("ReferenceLatent")
def reference_latent(
    run: Run, conditioning: Conditioning, latent: Latent | None = None
) -> tuple[Conditioning]:
    return (replace(conditioning, reference=None if latent is None else latent.pixels),)


@node("ControlNetApplyAdvanced", "ControlNetApplySD3")
def apply_control(
    run: Run,
    positive: Conditioning,
    negative: Conditioning,
    control_net: Model,
    image: Pixels,
    strength: float,
    **_: Any,
) -> tuple[Conditioning, Conditioning]:
    digest = hashlib.sha256(image.tobytes()).hexdigest()[:12]
    return _and(positive, f"{control_net.name}:{control_net.applied}:{strength}:{digest}"), negative


@node("InstructPixToPixConditioning")
def instruct(
    run: Run, positive: Conditioning, negative: Conditioning, vae: Model, pixels: Pixels
) -> tuple[Conditioning, Conditioning, Latent]:
    return positive, negative, encode_image(run, pixels, vae)[0]


def _and(conditioning: Conditioning, what: str) -> Conditioning:
    return replace(conditioning, applied=(*conditioning.applied, what))


@node("EmptyLatentImage", "EmptySD3LatentImage")
def empty_latent(run: Run, width: int, height: int, batch_size: int = 1) -> tuple[Latent]:
    return (Latent(width=width // 8 * 8, height=height // 8 * 8, batch=batch_size),)


@node("EmptyQwenImageLayeredLatentImage")
def empty_layered(run: Run, width: int, height: int, layers: int, batch_size: int = 1) -> tuple[Latent]:
    return (Latent(width=width // 8 * 8, height=height // 8 * 8, batch=batch_size, layers=layers),)


@node("RepeatLatentBatch")
def repeat_latent(run: Run, samples: Latent, amount: int) -> tuple[Latent]:
    pixels = samples.pixels
    repeated = None if pixels is None else np.concatenate([pixels] * amount)
    return (replace(samples, batch=samples.batch * amount, pixels=repeated),)


@node("VAEEncode")
def encode_image(run: Run, pixels: Pixels, vae: Model) -> tuple[Latent]:
    _, height, width, _ = pixels.shape
    height, width = height // 8 * 8, width // 8 * 8
    kept = pixels[:, :height, :width, :3]
    return (Latent(width=width, height=height, batch=len(kept), pixels=kept),)


@node("VAEDecode")
def decode_latent(run: Run, samples: Latent, vae: Model) -> tuple[Pixels]:
    if samples.pixels is None:
        return (np.full((samples.batch, samples.height, samples.width, 3), 127, np.uint8),)
    return (samples.pixels,)


@node("LatentCut")
def latent_cut(run: Run, samples: Latent, dim: str, index: int, amount: int) -> tuple[Latent]:
    assert samples.pixels is not None
    return (replace(samples, pixels=samples.pixels[index : index + amount]),)


@node("LatentCutToBatch")
def latent_cut_to_batch(run: Run, samples: Latent, dim: str, slice_size: int) -> tuple[Latent]:
    return (samples,)


@node("KSampler")
async def k_sampler(
    run: Run,
    model: Model,
    seed: int,
    steps: int,
    cfg: float,
    sampler_name: str,
    scheduler: str,
    positive: Conditioning,
    negative: Conditioning,
    latent_image: Latent,
    denoise: float = 1.0,
) -> tuple[Latent]:
    words = (model, seed, cfg, sampler_name, scheduler, positive.text, positive.applied, negative.text)
    return (await _sample(run, words, steps, positive, latent_image, denoise),)


@node("KSamplerAdvanced")
async def k_sampler_advanced(
    run: Run, model: Model, noise_seed: int, steps: int, cfg: float, positive: Conditioning,
    negative: Conditioning, latent_image: Latent, **_: Any,
) -> tuple[Latent]:  # fmt: skip
    words = (model, noise_seed, cfg, positive.text, positive.applied, negative.text)
    return (await _sample(run, words, steps, positive, latent_image, 1.0),)


@node("RandomNoise")
def random_noise(run: Run, noise_seed: int) -> tuple[int]:
    return (noise_seed,)


@node("KSamplerSelect")
def sampler_select(run: Run, sampler_name: str) -> tuple[str]:
    return (sampler_name,)


@node("BasicScheduler")
def basic_scheduler(
    run: Run, model: Model, scheduler: str, steps: int, denoise: float
) -> tuple[tuple[int, float]]:
    return ((steps, denoise),)


@node("BasicGuider")
def basic_guider(run: Run, model: Model, conditioning: Conditioning) -> tuple[tuple[Model, Conditioning]]:
    return ((model, conditioning),)


@node("SamplerCustomAdvanced")
async def sampler_custom(
    run: Run, noise: int, guider: Any, sampler: str, sigmas: Any, latent_image: Latent
) -> tuple[Latent, Latent]:
    (model, positive), (steps, denoise) = guider, sigmas
    words = (model, noise, sampler, positive.text, positive.applied)
    sampled = await _sample(run, words, steps, positive, latent_image, denoise)
    return sampled, sampled


async def _sample(
    run: Run, words: tuple[Any, ...], steps: int, positive: Conditioning, latent: Latent, denoise: float
) -> Latent:
    drawn = draw(repr(words), latent.width, latent.height, latent.batch)
    if latent.pixels is not None:
        share = denoise * (1 - SHOWS_THROUGH)
        drawn = _mix(latent.pixels, drawn, share)
    elif positive.reference is not None:
        reference = resize(positive.reference[:1, ..., :3], latent.width, latent.height)
        drawn = _mix(reference, drawn, 0.1)
    for done in range(1, steps + 1):
        await run.step(done, steps, drawn[0])
    if latent.layers is not None:
        drawn = split_layers(drawn[0], latent.layers)
    return replace(latent, pixels=drawn)


def _mix(given: Pixels, drawn: Pixels, share: float) -> Pixels:
    mixed = given.astype(np.float32) * (1 - share) + drawn[: len(given)].astype(np.float32) * share
    return mixed.astype(np.uint8)


def draw(words: str, width: int, height: int, batch: int) -> Pixels:
    """A soft background and one figure in the middle, all from a hash of the words."""
    pictures = []
    for place in range(batch):
        random = np.random.default_rng(
            int.from_bytes(hashlib.sha256(f"{words}{place}".encode()).digest()[:8], "big")
        )
        small = (random.integers(150, 220, (1, 1, 3)) + random.integers(-12, 12, (4, 4, 3))).astype(np.uint8)
        picture = Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)
        pen = ImageDraw.Draw(picture)
        for _ in range(int(random.integers(3, 7))):
            x, y = random.uniform(0.35, 0.65, 2)
            wide, high = random.uniform(0.08, 0.25, 2)
            colour = tuple(int(one) for one in random.integers(0, 110, 3))
            box = [(x - wide) * width, (y - high) * height, (x + wide) * width, (y + high) * height]
            pen.ellipse(box, fill=colour)
        pictures.append(np.asarray(picture))
    return np.stack(pictures)


def split_layers(picture: Pixels, layers: int) -> Pixels:
    """The whole picture, then `layers` RGBA layers, back to front, by brightness."""
    height, width, _ = picture.shape
    opaque = np.full((height, width, 1), 255, np.uint8)
    result = [np.concatenate([picture[..., :3], opaque], axis=-1)]
    light = picture[..., :3].mean(axis=-1)
    edges = np.quantile(light, np.linspace(1, 0, layers + 1))
    for place in range(layers):
        inside = (light <= edges[place]) if place else np.ones_like(light, bool)
        alpha = (inside * 255).astype(np.uint8)[..., None]
        result.append(np.concatenate([picture[..., :3], alpha], axis=-1))
    return np.stack(result)


@node("RemoveBackground")
def remove_background(run: Run, bg_removal_model: Model, image: Pixels) -> tuple[Mask]:
    return (subject(image),)


@node("RMBG", "BiRefNetRMBG")
def rmbg(
    run: Run, image: Pixels, model: str, background: str = "Alpha", **_: Any
) -> tuple[Pixels, Mask, Pixels]:
    mask = subject(image)
    plane = (mask * 255).astype(np.uint8)[..., None]
    cut = np.concatenate([image[..., :3], plane], axis=-1) if background == "Alpha" else image[..., :3]
    return cut, mask, np.repeat(plane, 3, axis=-1)


def subject(image: Pixels) -> Mask:
    """1 where a pixel is unlike the picture's border."""
    colours = image[..., :3].astype(np.float32)
    border = np.concatenate([colours[:, 0], colours[:, -1], colours[:, :, 0], colours[:, :, -1]], axis=1)
    away = np.abs(colours - border.mean(axis=1)[:, None, None]).max(axis=-1)
    mask: Mask = (away > 45).astype(np.float32)
    return mask


@node("PixelArtDetectorConverter")
def pixel_art(run: Run, images: Pixels, resize_w: int, resize_h: int, **_: Any) -> tuple[Pixels]:
    if not (images != images[:, :1, :1]).any():
        raise NodeError("ValueError", "cannot convert float NaN to integer")
    if not resize_w and not resize_h:
        return (images,)
    _, height, width, _ = images.shape
    wide = resize_w or max(1, round(width * resize_h / height))
    high = resize_h or max(1, round(height * wide / width))
    return (resize(images, wide, high, "nearest-exact"),)
