"""RunPod workers as processes, each behind a bridge, and the bench that drives one through `RunPodProvider`.

GENYARD_LIVE_RUNPOD_PYTHON   a Python with the SDK and what the handler needs (requests, websocket-client, Pillow)
GENYARD_LIVE_RUNPOD_WORKER   worker-comfyui's handler.py, unmodified; or http://… where it already serves under the
                             SDK's test server. Its address for ComfyUI is fixed: 127.0.0.1:8188
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal
from uuid import UUID, uuid4

import aiohttp
import pytest
from PIL import Image

from genyard.catalog.pricing import Rates
from genyard.outbound import Outbound
from genyard.providers import BoundStep, Media, Plan, Provider, Snapshot
from genyard.providers._http import Timeouts
from genyard.providers._polling import Limits
from genyard.providers.runpod import RunPodProvider
from genyard.testing.contract import Sample, Trouble, follow, media_of
from live.runpod_bridges import Bridge, JobTakeBridge, LocalServerBridge

PYTHON: Final = os.environ.get("GENYARD_LIVE_RUNPOD_PYTHON", "")  # noqa: TID251
WORKER: Final = os.environ.get("GENYARD_LIVE_RUNPOD_WORKER", "")  # noqa: TID251

Mode = Literal["test-server", "job-take"]
MODES: Final[tuple[Mode, ...]] = ("test-server", "job-take")
LIMITS: Final = Limits(image=500.0, video=500.0, poll=0.1, interval=2.0)
PATIENCE: Final = 300.0

CANCELS_NOTHING: Final = "canceling is the cloud's doing, not the worker's; the emulator proves it"
DEVIATIONS: Final = {
    "test_cancel_while_it_runs": CANCELS_NOTHING,
    "test_cancel_while_it_waits": CANCELS_NOTHING,
}


@asynccontextmanager
async def bridged(mode: Mode, handler: str, folder: Path, **environment: str) -> AsyncIterator[Bridge]:
    """The worker in one of the two ways, and its bridge. It runs and leaves its log in `folder`."""
    if handler.startswith("http://"):
        if mode == "job-take" or environment:
            pytest.skip("a worker that serves under the SDK's test server already is used as it is")
        async with LocalServerBridge(handler) as bridge:
            yield bridge
        return
    if not (handler and PYTHON):
        pytest.skip("GENYARD_LIVE_RUNPOD_PYTHON and GENYARD_LIVE_RUNPOD_WORKER name no worker")
    if mode == "job-take":
        taking = JobTakeBridge()
        async with taking, _worker(handler, [], {**taking.environment, **environment}, folder):
            yield taking
        return
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    serve = ["--rp_serve_api", "--rp_api_host", "127.0.0.1", "--rp_api_port", str(port)]
    async with _worker(handler, serve, environment, folder) as process:
        await _up(f"http://127.0.0.1:{port}/", process, folder)
        async with LocalServerBridge(f"http://127.0.0.1:{port}") as bridge:
            yield bridge


@asynccontextmanager
async def _worker(
    handler: str, arguments: list[str], environment: dict[str, str], folder: Path
) -> AsyncIterator[asyncio.subprocess.Process]:
    path = Path(handler)
    known = {name: value for name, value in os.environ.items() if not name.startswith(("RUNPOD", "BUCKET"))}  # noqa: TID251
    with (folder / "worker.log").open("wb") as written:
        process = await asyncio.create_subprocess_exec(
            PYTHON, "-u", path, *arguments, cwd=folder,
            env={**known, "PYTHONPATH": str(path.parent / "src"), **environment},
            stdout=written, stderr=written, start_new_session=True,
        )  # fmt: skip
        try:
            yield process
        finally:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()


async def _up(url: str, process: asyncio.subprocess.Process, folder: Path) -> None:
    async with asyncio.timeout(60), aiohttp.ClientSession() as session:
        while True:
            assert process.returncode is None, (folder / "worker.log").read_text()
            try:
                async with session.get(url):
                    return
            except aiohttp.ClientConnectionError:
                await asyncio.sleep(0.1)


@dataclass(kw_only=True)
class WorkerBench:
    """One worker behind its bridge. `make_steps` says what the contract suite's samples are there."""

    bridge: Bridge
    mode: Mode
    protocol: Literal["comfyui", "model"]
    make_steps: Callable[[Sample], tuple[BoundStep, ...]]
    options: dict[str, Any] = field(default_factory=dict)
    _steps: dict[Sample, tuple[BoundStep, ...]] = field(default_factory=dict)
    _closables: list[Any] = field(default_factory=list)

    def provider(self, **options: Any) -> RunPodProvider:
        outbound = Outbound(connect=2, silence=5)
        made = RunPodProvider(
            **{
                "endpoint_id": "live",
                "key": "unused",
                "protocol": self.protocol,
                "base_url": self.bridge.url,
                "timeouts": Timeouts(connect=2, answer=60, download=30),
                "limits": LIMITS,
                "outbound": outbound,
                "rates": Rates(),
                "calls_per_second": 100.0,
                **self.options,
                **options,
            }
        )
        self._closables += [made, outbound]
        return made

    def steps(self, sample: Sample) -> tuple[BoundStep, ...]:
        return self._steps.setdefault(sample, self.make_steps(sample))

    def picture(self) -> bytes:
        return gradient()

    def runs(self, key: UUID) -> int | None:
        """Only a workflow carries our key, in the names of its files."""
        if self.protocol == "model":
            return None
        return sum(str(key) in json.dumps(run.sent) for run in self.bridge.runs.values())

    async def provoke(self, trouble: Trouble) -> None:
        raise NotImplementedError(trouble)

    async def run(
        self, provider: Provider, *steps: BoundStep, plan: Plan | None = None, media: Media | None = None
    ) -> list[Snapshot]:
        """Every snapshot. `plan` in place of what the steps become; `media` for every input in place of a picture."""
        plan = plan or provider.compile(steps, None)
        given = {one.name: media or media_of(one.name, self.picture()) for one in plan.inputs}
        ref = await provider.submit(plan, uuid4(), given)
        return [one async for one in follow(provider, ref, PATIENCE)]

    async def close(self) -> None:
        await asyncio.gather(*(one.close() for one in self._closables))


def gradient(width: int = 64, height: int = 48) -> bytes:
    return as_png(Image.radial_gradient("L").resize((width, height)).convert("RGB"))


def as_png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image
