"""One model behind a handler, as people write them with the RunPod SDK: a picture from words, or a changed one.

python runpod_handler.py --rp_serve_api --rp_api_port 8000      (needs runpod and Pillow)
"""

import base64
import io

import runpod
from PIL import Image, ImageOps


def handler(job):
    given = job["input"]
    if not given.get("prompt"):
        return {"error": "prompt is a required input.", "refresh_worker": False}
    if given["prompt"] == "raise":
        raise ValueError("a bad value in /workspace/handler.py")
    runpod.serverless.progress_update(job, "step 1/2")
    if given.get("image"):
        picture = ImageOps.invert(Image.open(io.BytesIO(base64.b64decode(given["image"]))).convert("RGB"))
    else:
        picture = Image.new("RGB", (given["width"], given["height"]), (given["seed"] % 256, 0, 0))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return {"images": [base64.b64encode(buffer.getvalue()).decode()] * given.get("num_images", 1)}


runpod.serverless.start({"handler": handler})
