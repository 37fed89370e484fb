"""What the tests of this folder share: products started with nothing but a `.env`, and small jobs."""

from __future__ import annotations

import asyncio
import io
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any
from uuid import UUID

from PIL import Image

from conftest import MakeSettings
from genyard.app import Product, build
from genyard.jobs.model import Job, JobState
from genyard.jobs.runner import Pace
from genyard.providers import State
from genyard.testing.emulators import Emulators

DRAWING: dict[str, Any] = {"operation": "txt2img", "parameters": {"prompt": "a red dragon"}}
QUICK = Pace(first_retry=0.01, factor=1.0)


def picture(side: int = 256) -> bytes:
    image = Image.new("RGB", (side, side), "white")
    image.paste((200, 30, 30), (side // 4, side // 4, side * 3 // 4, side * 3 // 4))
    data = io.BytesIO()
    image.save(data, "PNG")
    return data.getvalue()


class Bench:
    """A folder where only a `.env` (and perhaps a genyard.toml) lies, and the emulators that it leads to."""

    def __init__(self, make_settings: MakeSettings, folder: Path, emulators: Emulators) -> None:
        self._make_settings = make_settings
        self._folder = folder
        self.emulators = emulators

    def start(self, env: dict[str, str], toml: str = "") -> AbstractAsyncContextManager[Product]:
        lines = {**env, **self.emulators.addresses}
        (self._folder / ".env").write_text("".join(f"{name}={value}\n" for name, value in lines.items()))
        (self._folder / "genyard.toml").write_text(toml)
        return build(self._make_settings(), pace=QUICK)


async def ended(product: Product, job_id: UUID) -> Job:
    return await asyncio.wait_for(product.studio.wait(job_id), 30)


async def made(product: Product, body: dict[str, Any]) -> Job:
    return await ended(product, (await product.studio.submit(body)).job.id)


async def cut_out(product: Product) -> Job:
    asset = await product.studio.upload(picture())
    return await made(product, {"operation": "remove_background", "inputs": {"image": str(asset.id)}})


async def until(product: Product, job_id: UUID, state: State) -> None:
    """Returns once the place has told that the job's run is in this state."""
    async with asyncio.timeout(30):
        async for event in product.studio.watch(job_id):
            if event.kind == "progress" and event.data["state"] == state.value:
                return
    raise AssertionError(f"it ended before it was seen {state}")


def went_to(job: Job, endpoint: str) -> None:
    assert job.state is JobState.succeeded, job.error
    assert [attempt.endpoint for attempt in job.attempts] == [endpoint]
    assert job.outputs
    assert job.outputs[0].facts["endpoint"] == endpoint
