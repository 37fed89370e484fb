"""The RunPod provider on real handlers under the RunPod SDK's local server. Never part of `make test`.

    GENYARD_LIVE_RUNPOD_PYTHON=/opt/worker/venv-1.12.0/bin/python \\
    GENYARD_LIVE_RUNPOD_WORKER=/opt/worker/worker-comfyui/handler.py make live

WORKER is the unmodified worker-comfyui, which wants a ComfyUI on port 8188; PYTHON has the SDK and what the worker
needs (and Pillow, for `runpod_handler.py`). The local server proves request and answer bodies only: its `/run` does not
run and its `/status` can be read once, so a bridge here makes a cloud of its `/runsync`.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import socket
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from PIL import Image, ImageChops, ImageOps

from genyard.catalog.pricing import Rates
from genyard.errors import Code
from genyard.outbound import Outbound
from genyard.providers import BoundStep, Snapshot, State
from genyard.providers._http import Timeouts
from genyard.providers._polling import Limits
from genyard.providers.runpod import RunPodProvider
from genyard.testing.comfyui.bench import chain, edit, own_step, sample_steps
from genyard.testing.contract import Sample, an_image, media_of, read
from support.runpod import a_picture, bound, ended, input_image

pytestmark = pytest.mark.live

PYTHON = os.environ.get("GENYARD_LIVE_RUNPOD_PYTHON", "")  # noqa: TID251
WORKER = os.environ.get("GENYARD_LIVE_RUNPOD_WORKER", "")  # noqa: TID251
HANDLER = Path(__file__).parent / "runpod_handler.py"
PATIENCE = 120.0


class Bridge:
    """The cloud's routes, on a local server that can only be waited for."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._jobs: dict[str, dict[str, Any]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        app = web.Application(client_max_size=2**25)
        app.router.add_post("/v2/{endpoint}/run", self._run)
        app.router.add_get("/v2/{endpoint}/status/{id}", self._status)
        app.router.add_get("/v2/{endpoint}/health", self._health)
        self.server = TestServer(app, host="127.0.0.1")

    async def _run(self, request: web.Request) -> web.Response:
        body, name = await request.json(), f"{uuid.uuid4()}-u1"
        self._jobs[name] = {"id": name, "status": "IN_PROGRESS"}
        task = asyncio.create_task(self._work(name, body))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return web.json_response({"id": name, "status": "IN_QUEUE"})

    async def _work(self, name: str, body: Any) -> None:
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{self._url}/runsync", json=body) as answer,
        ):
            self._jobs[name] = {**await answer.json(), "id": name, "delayTime": 5, "executionTime": 100}

    async def _status(self, request: web.Request) -> web.Response:
        return web.json_response(self._jobs[request.match_info["id"]])

    async def _health(self, request: web.Request) -> web.Response:
        return web.json_response({"jobs": {"inQueue": 0}, "workers": {"idle": 1, "running": 0}})


def free_port() -> int:
    with socket.socket() as bound_here:
        bound_here.bind(("127.0.0.1", 0))
        return int(bound_here.getsockname()[1])


@asynccontextmanager
async def serving(handler: str | Path, protocol: Any) -> AsyncIterator[RunPodProvider]:
    if not PYTHON or not handler:
        pytest.skip("GENYARD_LIVE_RUNPOD_PYTHON and GENYARD_LIVE_RUNPOD_WORKER name no worker")
    port = free_port()
    command = (
        PYTHON,
        str(handler),
        "--rp_serve_api",
        "--rp_api_host",
        "127.0.0.1",
        "--rp_api_port",
        str(port),
    )
    folder = Path(handler).parent  # the image has the worker's `src` beside its handler
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder / "src")},  # noqa: TID251
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    bridge = Bridge(f"http://127.0.0.1:{port}")
    outbound = Outbound()
    try:
        await _listening(port)
        await bridge.server.start_server()
        provider = RunPodProvider(
            endpoint_id="local",
            key="unused",
            protocol=protocol,
            base_url=f"http://127.0.0.1:{bridge.server.port}/v2",
            timeouts=Timeouts(),
            limits=Limits(poll=0.2),
            outbound=outbound,
            rates=Rates(usd_per_second=0.00031),
        )
        yield provider
        await provider.close()
    finally:
        await bridge.server.close()
        await outbound.close()
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def _listening(port: int) -> None:
    async with asyncio.timeout(60):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.2)
                continue
            writer.close()
            return


async def run(provider: RunPodProvider, *steps: BoundStep) -> Snapshot:
    plan = provider.compile(steps, None)
    media = {one.name: media_of(one.name, a_picture()) for one in plan.inputs}
    return await ended(provider, await provider.submit(plan, uuid.uuid4(), media), PATIENCE)


async def picture(provider: RunPodProvider, end: Snapshot, number: int = 0) -> Image.Image:
    assert end.state is State.succeeded, end.error
    return Image.open(io.BytesIO(await read(provider, end.outputs[number])))


class TestWorkerComfyUI:
    @pytest.fixture
    async def provider(self) -> AsyncIterator[RunPodProvider]:
        async with serving(WORKER, "comfyui") as made:
            yield made

    async def test_bodies(self, provider: RunPodProvider) -> None:
        """One worker for all of them: it takes a while to start."""
        end = await run(provider, own_step(chain(("ImageInvert", {}))))
        assert (await picture(provider, end)).size == (64, 48)

        step = own_step(edit(), media={"image": "1.image"}, inputs={"image": (an_image(),)})
        made = await picture(provider, await run(provider, step))
        inverted = ImageOps.invert(Image.open(io.BytesIO(a_picture())).convert("RGB"))
        difference = ImageChops.difference(made.convert("RGB"), inverted)
        assert max(difference.tobytes()) <= 2  # it is counted in floats there

        end = await run(provider, *sample_steps(Sample.fused, 0.1))
        assert {one.step for one in end.outputs} == {"change"}

        graph = chain(("ImageInvert", {}))
        graph["second"] = {**graph["save"], "inputs": {**graph["save"]["inputs"], "images": ["1", 0]}}
        end = await run(provider, own_step(graph))
        assert [one.index for one in end.outputs] == [0, 1]
        assert await read(provider, end.outputs[0]) != await read(provider, end.outputs[1])

        for nodes, code in (
            ((("NoSuchNode", {}),), Code.provider_missing),
            ((("ImageScale", {"width": 32, "height": 32, "crop": "disabled"}),), Code.workflow_invalid),
            ((("ImageScale", _HUGE),), None),
        ):
            end = await run(provider, own_step(chain(*nodes)))
            assert end.state is State.failed
            assert end.error is not None
            assert code is None or end.error.code is code, end.error


_HUGE = {"width": 16_384, "height": 16_384, "crop": "nonsense", "upscale_method": "bilinear"}


class TestOneModel:
    @pytest.fixture
    async def provider(self) -> AsyncIterator[RunPodProvider]:
        async with serving(HANDLER, "model") as made:
            yield made

    async def test_bodies(self, provider: RunPodProvider) -> None:
        end = await run(provider, bound(count=2))
        assert (await picture(provider, end, 1)).size == (64, 64)
        assert end.cost is not None
        assert (await picture(provider, await run(provider, bound("img2img", image=input_image())))).size == (
            64,
            48,
        )
        refused = await run(provider, bound(prompt=""))
        assert refused.error is not None
        assert "prompt is a required input" in refused.error.message
        raised = await run(provider, bound(prompt="raise"))
        assert raised.error is not None
        assert raised.error.code is Code.provider_failed
        assert "a bad value" in raised.error.message
        assert "/workspace" not in raised.error.message
