"""A RunPod worker of single models, after the shape of worker-sdxl: Pillow draws in place of a GPU.

Runs under the SDK in a process of its own, never inside genyard. What to do is told by the input: with `prompt` it
draws (over the input picture, if there is one), without it cuts out the background. A prompt may ask for trouble.
"""

import base64
import io
import time

import requests  # noqa: TID251 (as handlers do)
import runpod
from PIL import Image, ImageChops, ImageDraw
from runpod.serverless.utils import rp_validator

SCHEMA = {
    "prompt": {"type": str, "required": False, "default": None},
    "negative_prompt": {"type": str, "required": False, "default": None},
    "height": {"type": int, "required": False, "default": 1024},
    "width": {"type": int, "required": False, "default": 1024},
    "seed": {"type": int, "required": False, "default": None},
    "num_inference_steps": {"type": int, "required": False, "default": 25},
    "refiner_inference_steps": {"type": int, "required": False, "default": 50},
    "guidance_scale": {"type": float, "required": False, "default": 7.5},
    "strength": {"type": float, "required": False, "default": 0.3},
    "image": {"type": str, "required": False, "default": None},
    "image_url": {"type": str, "required": False, "default": None},
    "num_images": {"type": int, "required": False, "default": 1},
}


def picture_of(told):
    """The input picture: base64 with or without a data URI's head, or an address."""
    if told["image"]:
        data = base64.b64decode(told["image"].rpartition(",")[2])
    elif told["image_url"]:
        answer = requests.get(told["image_url"], timeout=30)
        answer.raise_for_status()
        data = answer.content
    else:
        return None
    return Image.open(io.BytesIO(data)).convert("RGB")


def drawn(told, seed, given):
    size = given.size if given else (told["width"], told["height"])
    red, green, blue = seed % 256, seed // 256 % 256, len(told["prompt"]) % 256
    picture = Image.new("RGB", size, (red, green, blue))
    ImageDraw.Draw(picture).ellipse((8, 8, size[0] - 8, size[1] - 8), fill=(255 - red, green, blue))
    return Image.blend(given, picture, told["strength"]) if given else picture


def cut_out(given):
    """Transparent is what looks like the corner."""
    ground = Image.new("RGB", given.size, given.getpixel((0, 0)))
    mask = ImageChops.difference(given, ground).convert("L").point(lambda value: 255 if value > 16 else 0)
    result = given.convert("RGBA")
    result.putalpha(mask)
    return result


def data_uri(picture):
    data = io.BytesIO()
    picture.save(data, "PNG")
    return "data:image/png;base64," + base64.b64encode(data.getvalue()).decode()


def handler(job):
    checked = rp_validator.validate(job["input"], SCHEMA)
    if "errors" in checked:
        return {"error": checked["errors"]}
    told = checked["validated_input"]
    given = picture_of(told)
    if told["prompt"] is None:
        return {"image": data_uri(cut_out(given)).partition(",")[2]}
    if "please raise" in told["prompt"]:
        raise ValueError("the scheduler has no such step")
    if "please fail" in told["prompt"]:
        return {"error": "CUDA out of memory. Tried to allocate 2.00 GiB.", "refresh_worker": True}
    if "please be silent" in told["prompt"]:
        return {}
    if "please be slow" in told["prompt"]:
        for step in range(1, 4):
            runpod.serverless.progress_update(job, f"step {step}/4")
            time.sleep(0.6)
    seed = told["seed"] if told["seed"] is not None else 1
    images = [data_uri(drawn(told, seed + number, given)) for number in range(told["num_images"])]
    return {"images": images, "image_url": images[0], "seed": seed}


if __name__ == "__main__":
    runpod.serverless.start({"handler": handler})
