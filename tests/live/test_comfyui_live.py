"""The contract suite and the model layouts on real ComfyUI servers. Never part of `make test`.

    GENYARD_LIVE_COMFYUI=http://127.0.0.1:8188,http://127.0.0.1:8189 make live

The servers need the nodes of `comfyui_test_pack` (copy the folder into custom_nodes). Model tests run where
the files are: random weights of the right layout do. `GENYARD_LIVE_COMFYUI_START=/path/script` is called with
a port, runs a server in the foreground, and is killed and called again for the restart.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, ClassVar
from uuid import uuid4

import pytest

from genyard.catalog import load_catalog
from genyard.errors import Code
from genyard.providers import BoundStep, Facts, Plan, Provider, Snapshot, State, StepOutput
from genyard.testing.comfyui.bench import ComfyUIBench, own_step, sample_steps
from genyard.testing.contract import (
    Implementation,
    ProviderContract,
    Sample,
    Trouble,
    an_image,
    follow,
    media_of,
    read,
)

pytestmark = pytest.mark.live

URLS = [url for url in os.environ.get("GENYARD_LIVE_COMFYUI", "").split(",") if url]  # noqa: TID251
START = os.environ.get("GENYARD_LIVE_COMFYUI_START", "")  # noqa: TID251

#: Model files of the bindings → what a test server may have in their place.
STAND_INS = {
    "v1-5-pruned-emaonly.safetensors": "sd15-random.safetensors",
}

PATIENCE = 600.0


@asynccontextmanager
async def real(url: str, **options: Any) -> AsyncIterator[ComfyUIBench]:
    bench = ComfyUIBench(url=url, slow_seconds=1.5, **options)
    try:
        yield bench
    finally:
        await bench.close()


def first_url() -> str:
    if not URLS:
        pytest.skip("GENYARD_LIVE_COMFYUI names no server")
    return URLS[0]


@pytest.fixture(params=URLS or [None])
def url(request: pytest.FixtureRequest) -> str:
    if request.param is None:
        pytest.skip("GENYARD_LIVE_COMFYUI names no server")
    return str(request.param)


class TestContract(ProviderContract):
    """On every server in turn."""

    implementation: ClassVar = Implementation(kind="comfyui", open=partial(real, ""), patience=60.0)

    @pytest.fixture(autouse=True)
    def on_each_server(self, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        made = Implementation(kind="comfyui", open=partial(real, url), troubles=frozenset(), patience=60.0)
        monkeypatch.setattr(type(self), "implementation", made)


class Live:
    """One server with its facts, and the moves of the model tests."""

    def __init__(self, bench: ComfyUIBench, provider: Provider, facts: Facts) -> None:
        self.bench, self.provider, self.facts = bench, provider, facts

    def step(self, name: str, operation: str, model: str, **parameters: Any) -> BoundStep:
        binding = load_catalog().find("comfyui", operation, model)
        assert binding is not None
        inputs = parameters.pop("inputs", {})
        keep = parameters.pop("keep", True)
        given = {**binding.defaults, **parameters}
        return BoundStep(
            name=name,
            operation=operation,
            binding=binding,
            parameters=given,
            inputs=inputs,
            keep=keep,
            previews=True,
        )

    def compile(self, *steps: BoundStep) -> Plan:
        return self.provider.compile(steps, self.facts)

    async def run(self, plan: Plan) -> list[Snapshot]:
        media = {one.name: media_of(one.name, self.bench.picture()) for one in plan.inputs}
        ref = await self.provider.submit(plan, uuid4(), media)
        return [one async for one in follow(self.provider, ref, PATIENCE)]

    async def picture_of(self, end: Snapshot) -> tuple[int, int]:
        assert end.state is State.succeeded, end.error
        data = await read(self.provider, end.outputs[0])
        assert data.startswith(b"\x89PNG")
        width, height = struct.unpack(">II", data[16:24])
        return width, height


@pytest.fixture
async def live(url: str) -> AsyncIterator[Live]:
    async with real(url) as bench:
        provider = bench.provider(renamed=STAND_INS)
        health = await provider.check()
        assert health.error is None, health.error
        yield Live(bench, provider, health.facts)


def needs(live: Live, class_type: str, name: str, file: str) -> None:
    catalogue = live.facts.catalogue or {}
    spec = catalogue.get(class_type, {}).get("input", {}).get("required", {}).get(name, [[]])
    choices = spec[0] if isinstance(spec[0], list) else spec[1].get("options", [])
    if file not in choices:
        pytest.skip(f"{live.bench.url} has no {file}")


SMALL = {"prompt": "a red dragon, game icon", "width": 64, "height": 64, "steps": 3, "seed": 5}


class TestModels:
    async def test_txt2img_sd15(self, live: Live) -> None:
        needs(live, "CheckpointLoaderSimple", "ckpt_name", "sd15-random.safetensors")
        seen = await live.run(live.compile(live.step("draw", "txt2img", "sd1.5", **SMALL)))
        assert any(one.detail and one.detail.startswith("step ") for one in seen)
        if not (live.facts.version or "").startswith("0.3."):  # there only the command line turns them on
            assert any(one.preview and one.preview.startswith(b"\xff\xd8") for one in seen)
        assert await live.picture_of(seen[-1]) == (64, 64)

    async def test_count_gives_as_many_pictures(self, live: Live) -> None:
        needs(live, "CheckpointLoaderSimple", "ckpt_name", "sd15-random.safetensors")
        plan = live.compile(live.step("draw", "txt2img", "sd1.5", **SMALL, count=2))
        end = (await live.run(plan))[-1]
        assert [one.index for one in end.outputs] == [0, 1]

    async def test_img2img_sd15(self, live: Live) -> None:
        needs(live, "CheckpointLoaderSimple", "ckpt_name", "sd15-random.safetensors")
        inputs = {"image": (an_image(),)}
        plan = live.compile(live.step("edit", "img2img", "sd1.5", **SMALL, strength=0.6, inputs=inputs))
        assert await live.picture_of((await live.run(plan))[-1]) == (64, 64)

    async def test_img2img_fused_with_pixelate(self, live: Live) -> None:
        needs(live, "CheckpointLoaderSimple", "ckpt_name", "sd15-random.safetensors")
        first = live.step(
            "edit", "img2img", "sd1.5", **SMALL, strength=0.6, inputs={"image": (an_image(),)}, keep=False
        )
        wired = {"image": (StepOutput(step="edit"),)}
        second = live.step("pixel", "pixelate", "pixel-grid", cells=32, colors=8, scale=4, inputs=wired)
        end = (await live.run(live.compile(first, second)))[-1]
        assert {one.step for one in end.outputs} == {"pixel"}
        assert await live.picture_of(end) == (128, 128)

    async def test_txt2img_flux(self, live: Live) -> None:
        needs(live, "UNETLoader", "unet_name", "flux1-dev.safetensors")
        seen = await live.run(live.compile(live.step("draw", "txt2img", "flux.1-dev", **SMALL)))
        assert await live.picture_of(seen[-1]) == (64, 64)

    async def test_cancel_a_sampler(self, live: Live) -> None:
        needs(live, "CheckpointLoaderSimple", "ckpt_name", "sd15-random.safetensors")
        long = {**SMALL, "steps": 150}
        plan = live.compile(live.step("draw", "txt2img", "sd1.5", **long))
        ref = await live.provider.submit(plan, uuid4(), {})
        async for seen in follow(live.provider, ref, PATIENCE):
            if seen.detail and seen.detail.startswith("step "):
                break
        assert (await live.provider.cancel(ref)).reached
        end = [one async for one in follow(live.provider, ref, PATIENCE)][-1]
        assert end.state is State.canceled

    async def test_out_of_memory(self, live: Live) -> None:
        needs(live, "GenyardRaise", "kind", "cuda_oom")
        (step,) = sample_steps(Sample.failing, 0)
        graph = {**step.parameters["workflow"]}
        graph["2"] = {**graph["2"], "inputs": {**graph["2"]["inputs"], "kind": "cuda_oom"}}
        end = (await live.run(live.compile(own_step(graph))))[-1]
        assert end.error is not None
        assert end.error.code is Code.provider_out_of_memory


class StartedServer:
    """A server of our own, so that killing it hurts nobody."""

    def __init__(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self, probe: Provider) -> None:
        self.process = await asyncio.create_subprocess_exec(
            START, str(self.port), stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
        async with asyncio.timeout(120):
            while not (await probe.check()).reachable:
                assert self.process.returncode is None, "the start script ended"
                await asyncio.sleep(0.3)

    async def kill(self) -> None:
        if self.process is not None and self.process.returncode is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            await self.process.wait()


@pytest.mark.skipif(not START, reason="GENYARD_LIVE_COMFYUI_START names no script")
async def test_a_restart_in_the_middle() -> None:
    server = StartedServer()
    async with real(server.url) as bench:
        provider = bench.provider()

        async def restart(trouble: Trouble) -> None:
            await server.kill()
            await server.start(provider)

        bench.provoke_real = restart
        try:
            await server.start(provider)
            step = sample_steps(Sample.slow, 30.0)
            ref = await provider.submit(provider.compile(step, None), uuid4(), {})
            async for seen in follow(provider, ref, 60):
                if seen.state is State.running:
                    break
            await bench.provoke(Trouble.restart)
            end = [one async for one in follow(provider, ref, 60)][-1]
            assert end.state is State.lost
            assert end.error is not None
            assert end.error.code is Code.provider_lost
            ref = await provider.submit(provider.compile(sample_steps(Sample.quick, 0), None), uuid4(), {})
            end = [one async for one in follow(provider, ref, 60)][-1]
            assert end.state is State.succeeded
        finally:
            await server.kill()
