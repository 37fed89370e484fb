"""A single-model worker written with RunPod's SDK, driven through `RunPodProvider` by the catalogue's own bindings.

    GENYARD_LIVE_RUNPOD_PYTHON=/opt/worker/venv-1.12.0/bin/python make live

The handler is `runpod_single_model/handler.py`: the inputs and answers of worker-sdxl and of the seen handlers, with
the SDK's own validation, and Pillow for a GPU. Every test runs twice, by the two ways of `runpod_bridges`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import ClassVar, cast

import pytest
from aiohttp import web
from PIL import Image, ImageChops, ImageDraw

from conftest import MakeSettings
from genyard.app import build, working
from genyard.errors import Code
from genyard.jobs.model import JobState
from genyard.providers import BoundStep, Media, State
from genyard.testing.contract import Implementation, ProviderContract, Sample, an_image, media_of, read
from live.runpod_bridges import Bridge
from live.runpod_workers import DEVIATIONS, MODES, Mode, WorkerBench, as_png, bridged, gradient, opened
from support.runpod import bound, input_image

pytestmark = pytest.mark.live

HANDLER = str(Path(__file__).parent / "runpod_single_model" / "handler.py")


def sample(wanted: Sample) -> tuple[BoundStep, ...]:
    if wanted is Sample.edited:
        return (bound("img2img", image=an_image()),)
    prompts = {Sample.slow: "please be slow", Sample.failing: "please raise"}
    return (bound(prompt=prompts.get(wanted, "a red fox")),)


@asynccontextmanager
async def on(bridge: Bridge, mode: Mode) -> AsyncIterator[WorkerBench]:
    bench = WorkerBench(bridge=bridge, mode=mode, protocol="model", make_steps=sample)
    try:
        yield bench
    finally:
        await bench.close()


@pytest.fixture(scope="module", params=MODES)
async def mode(request: pytest.FixtureRequest) -> Mode:
    return cast(Mode, request.param)


@pytest.fixture(scope="module")
async def bridge(mode: Mode, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Bridge]:
    async with bridged(mode, HANDLER, tmp_path_factory.mktemp("worker")) as made:
        yield made


@pytest.fixture
async def bench(bridge: Bridge, mode: Mode) -> AsyncIterator[WorkerBench]:
    async with on(bridge, mode) as made:
        yield made


class TestContract(ProviderContract):
    implementation: ClassVar = Implementation(kind="runpod", open=lambda: pytest.skip("no worker"))

    @pytest.fixture(autouse=True)
    def on_the_worker(self, bridge: Bridge, mode: Mode, monkeypatch: pytest.MonkeyPatch) -> None:
        made = Implementation(
            kind="runpod",
            open=partial(on, bridge, mode),
            samples=frozenset(Sample) - {Sample.fused},
            deviations=DEVIATIONS,
            patience=60.0,
        )
        monkeypatch.setattr(type(self), "implementation", made)


def a_disc(side: int = 64) -> bytes:
    image = Image.new("RGB", (side, side), "white")
    ImageDraw.Draw(image).ellipse((side // 4, side // 4, side * 3 // 4, side * 3 // 4), fill=(200, 30, 30))
    return as_png(image)


class TestResults:
    @pytest.mark.parametrize("model", ["flux.1-dev", "sdxl"])
    async def test_txt2img(self, bench: WorkerBench, model: str) -> None:
        provider = bench.provider()
        step = bound("txt2img", model, width=128, height=64, count=2, guidance=7)
        end = (await bench.run(provider, step))[-1]
        assert end.state is State.succeeded, end.error
        pictures = [opened(await read(provider, one)) for one in end.outputs]
        assert [one.size for one in pictures] == [(128, 64)] * 2
        assert pictures[0].tobytes() != pictures[1].tobytes()

    async def test_a_picture_goes_within_the_request(self, bench: WorkerBench) -> None:
        provider = bench.provider()
        step = bound("img2img", "flux.1-dev", image=input_image(64, 48), strength=0.001)
        end = (await bench.run(provider, step))[-1]
        assert end.state is State.succeeded, end.error
        got = opened(await read(provider, end.outputs[0])).convert("RGB")
        bands = ImageChops.difference(got, opened(gradient())).getextrema()
        assert max(cast(tuple[int, int], band)[1] for band in bands) <= 1

    async def test_a_picture_goes_by_its_address(self, bench: WorkerBench) -> None:
        async with served(a_disc()) as (media, asked):
            provider = bench.provider()
            step = bound(
                "img2img", "sdxl", image=input_image(64, 64), strength=0.001, guidance=None, steps=20
            )
            end = (await bench.run(provider, step, media=media))[-1]
            assert end.state is State.succeeded, end.error
            got = opened(await read(provider, end.outputs[0])).convert("RGB")
        assert asked == ["GET"]
        assert got.size == (64, 64)
        assert got.getpixel((0, 0)) != got.getpixel((32, 32))

    @pytest.mark.parametrize("model", ["birefnet", "rembg"])
    async def test_remove_background(self, bench: WorkerBench, model: str) -> None:
        provider = bench.provider()
        step = bound("remove_background", model, image=input_image(64, 64))
        end = (await bench.run(provider, step, media=media_of("upload", a_disc())))[-1]
        assert end.state is State.succeeded, end.error
        (output,) = end.outputs
        cut = opened(await read(provider, output))
        assert (cut.mode, cut.size) == ("RGBA", (64, 64))
        assert cut.getpixel((0, 0))[3] == 0  # type: ignore[index]
        assert cut.getpixel((32, 32)) == (200, 30, 30, 255)

    async def test_progress(self, bench: WorkerBench) -> None:
        """The test server sends updates nowhere."""
        seen = await bench.run(bench.provider(), bound(prompt="please be slow"))
        told = [(one.progress, one.detail) for one in seen if one.state is State.running and one.detail]
        expected = [(0.25, "step 1/4"), (0.5, "step 2/4"), (0.75, "step 3/4")]
        assert told == ([] if bench.mode == "test-server" else expected)
        assert seen[-1].state is State.succeeded


class TestFailures:
    def not_on_the_test_server(self, bench: WorkerBench) -> None:
        if bench.mode == "test-server":
            pytest.skip("the SDK's test server answers this with HTTP 500")

    @pytest.mark.parametrize(
        ("prompt", "code", "reason"),
        [
            ("please raise", Code.provider_failed, "ValueError: the scheduler has no such step"),
            ("please fail", Code.provider_out_of_memory, "memory"),
        ],
    )
    async def test_a_handler_that_raises_or_returns_an_error(
        self, bench: WorkerBench, prompt: str, code: Code, reason: str
    ) -> None:
        end = (await bench.run(bench.provider(), bound(prompt=prompt)))[-1]
        assert end.state is State.failed
        assert end.error is not None
        assert end.error.code is code
        assert reason in end.error.message
        assert "handler.py" not in str(end.error.as_json())

    async def test_an_input_that_the_handler_does_not_take(self, bench: WorkerBench) -> None:
        """The SDK's validation answers with a list."""
        self.not_on_the_test_server(bench)
        provider = bench.provider()
        plan = provider.compile((bound(),), None)
        changed = replace(
            plan, payload={**plan.payload, "input": {**plan.payload["input"], "lightning": True}}
        )
        end = (await bench.run(provider, plan=changed))[-1]
        assert end.state is State.failed, end
        assert end.error is not None
        assert "lightning" in end.error.message

    async def test_a_result_that_is_empty(self, bench: WorkerBench) -> None:
        """The SDK drops an empty object, and the job has no output at all."""
        self.not_on_the_test_server(bench)
        end = (await bench.run(bench.provider(), bound(prompt="please be silent")))[-1]
        assert end.state is State.failed
        assert end.error is not None
        assert end.error.code is Code.provider_lost_output


async def test_the_whole_product(bridge: Bridge, make_settings: MakeSettings, tmp_path: Path) -> None:
    """One pipeline over two endpoints, which are the same worker here: drawn at one, cut out at the other."""
    (tmp_path / ".env").write_text(
        "IMAGE_GENERATION_PROVIDER=runpod\nRUNPOD_API_KEY=unused\nRUNPOD_FLUX_ENDPOINT_ID=flux\n"
        f"RUNPOD_BG_REMOVAL_ENDPOINT_ID=background\nRUNPOD_BASE_URL={bridge.url}\n"
    )
    steps = [
        {
            "name": "draw",
            "operation": "txt2img",
            "parameters": {"prompt": "a fox", "width": 64, "height": 64},
        },
        {"name": "cut", "operation": "remove_background", "inputs": {"image": "step:draw"}},
    ]
    async with build(make_settings()) as product, working(product):
        job = await product.studio.wait((await product.studio.submit({"steps": steps})).job.id)
        assert job.state is JobState.succeeded, job.error
        pictures = [opened(await product.studio.read(one)) for one in job.outputs]
    assert [one.endpoint for one in job.attempts] == ["runpod-flux", "runpod-bg-removal"]
    assert "RGBA" in [one.mode for one in pictures]


@asynccontextmanager
async def served(data: bytes) -> AsyncIterator[tuple[Media, list[str]]]:
    """A medium with an address that the handler can fetch, and what was asked there."""
    asked: list[str] = []

    async def give(request: web.Request) -> web.Response:
        asked.append(request.method)
        return web.Response(body=data, content_type="image/png")

    app = web.Application()
    app.router.add_get("/disc.png", give)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()

    async def link() -> str:
        return f"http://127.0.0.1:{runner.addresses[0][1]}/disc.png"

    try:
        yield replace(media_of("upload", data), link=link), asked
    finally:
        await runner.cleanup()
