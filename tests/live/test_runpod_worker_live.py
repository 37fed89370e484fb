"""worker-comfyui, unmodified, with a real ComfyUI behind it, driven through `RunPodProvider` and the whole product.

    GENYARD_LIVE_RUNPOD_PYTHON=/opt/worker/venv-1.12.0/bin/python \
    GENYARD_LIVE_RUNPOD_WORKER=/opt/worker/worker-comfyui/handler.py make live

The handler talks to 127.0.0.1:8188: a ComfyUI with the nodes of `comfyui_test_pack` must be there; models of random
weights do. Every test runs twice, by the two ways of `runpod_bridges`, which also says what this does not prove.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, cast

import aiohttp
import pytest
from moto.server import ThreadedMotoServer
from PIL import Image, ImageChops

from conftest import MakeSettings
from genyard.app import build, working
from genyard.catalog import load_catalog
from genyard.errors import Code, GenyardError
from genyard.jobs.model import Job, JobState
from genyard.outbound import Outbound
from genyard.providers import BoundStep, Snapshot, State, StepOutput
from genyard.testing.comfyui.bench import chain, edit, own_step, sample_steps
from genyard.testing.contract import Implementation, ProviderContract, an_image, media_of, read
from live.runpod_bridges import Bridge
from live.runpod_workers import DEVIATIONS, MODES, WORKER, Mode, WorkerBench, bridged, gradient, opened

pytestmark = pytest.mark.live

#: Model files of the templates → what the server has in their place.
STAND_INS = {
    "v1-5-pruned-emaonly.safetensors": "sd15-random.safetensors",
    "sd_xl_base_1.0.safetensors": "sd15-random.safetensors",
}
FILES = [
    "sd15-random.safetensors",
    "flux1-dev.safetensors",
    "clip_l.safetensors",
    "t5xxl_fp8_e4m3fn.safetensors",
    "ae.safetensors",
]
SMALL = {"prompt": "a red dragon, game icon", "width": 64, "height": 64, "steps": 2, "seed": 5}


@asynccontextmanager
async def on(bridge: Bridge, mode: Mode) -> AsyncIterator[WorkerBench]:
    bench = WorkerBench(
        bridge=bridge,
        mode=mode,
        protocol="comfyui",
        make_steps=partial(sample_steps, slow_seconds=1.5),
        options={"renamed": STAND_INS, "declared_files": FILES},
    )
    try:
        yield bench
    finally:
        await bench.close()


@pytest.fixture(scope="module", params=MODES)
async def mode(request: pytest.FixtureRequest) -> Mode:
    return cast(Mode, request.param)


@pytest.fixture(scope="module")
async def bridge(mode: Mode, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Bridge]:
    async with bridged(mode, WORKER, tmp_path_factory.mktemp("worker")) as made:
        yield made


@pytest.fixture
async def bench(bridge: Bridge, mode: Mode) -> AsyncIterator[WorkerBench]:
    async with on(bridge, mode) as made:
        yield made


class TestContract(ProviderContract):
    implementation: ClassVar = Implementation(kind="runpod", open=lambda: pytest.skip("no worker"))

    @pytest.fixture(autouse=True)
    def on_the_worker(self, bridge: Bridge, mode: Mode, monkeypatch: pytest.MonkeyPatch) -> None:
        differs = dict(DEVIATIONS)
        if mode == "test-server":
            differs["test_a_failing_run_fails_with_words_for_a_person"] = "the test server drops the details"
        made = Implementation(
            kind="runpod", open=partial(on, bridge, mode), deviations=differs, patience=60.0
        )
        monkeypatch.setattr(type(self), "implementation", made)


def bound(name: str, operation: str, model: str, *, keep: bool = True, **parameters: Any) -> BoundStep:
    binding = load_catalog().find("comfyui", operation, model)
    assert binding is not None
    inputs = parameters.pop("inputs", {})
    given = {**binding.defaults, **parameters}
    return BoundStep(
        name=name, operation=operation, binding=binding, parameters=given, inputs=inputs, keep=keep
    )


async def only_file(bench: WorkerBench, *steps: BoundStep, **more: Any) -> bytes:
    provider = bench.provider()
    end = (await bench.run(provider, *steps, **more))[-1]
    assert end.state is State.succeeded, end.error
    (output,) = end.outputs
    return await read(provider, output)


def assert_inverted(one: Image.Image, other: Image.Image) -> None:
    """By all but the rounding."""
    turned = ImageChops.invert(other.convert("RGB"))
    bands = ImageChops.difference(one.convert("RGB"), turned).getextrema()
    assert max(cast(tuple[int, int], band)[1] for band in bands) <= 1


class TestResults:
    @pytest.mark.parametrize("model", ["sd1.5", "sdxl", "flux.1-dev"])
    async def test_txt2img(self, bench: WorkerBench, model: str) -> None:
        assert opened(await only_file(bench, bound("draw", "txt2img", model, **SMALL))).size == (64, 64)

    async def test_count_gives_as_many_pictures(self, bench: WorkerBench) -> None:
        provider = bench.provider()
        end = (await bench.run(provider, bound("draw", "txt2img", "sd1.5", **SMALL, count=3)))[-1]
        assert [one.index for one in end.outputs] == [0, 1, 2]
        assert len({await read(provider, one) for one in end.outputs}) == 3

    async def test_an_uploaded_picture_is_the_one_that_is_worked_on(self, bench: WorkerBench) -> None:
        step = own_step(edit(), media={"image": "1.image"}, inputs={"image": (an_image(),)})
        inverted = opened(await only_file(bench, step))
        assert_inverted(inverted, opened(gradient()))

    async def test_img2img(self, bench: WorkerBench) -> None:
        step = bound("edit", "img2img", "sd1.5", **SMALL, strength=0.6, inputs={"image": (an_image(),)})
        assert opened(await only_file(bench, step)).size == (64, 64)

    async def test_img2img_fused_with_an_own_workflow(self, bench: WorkerBench) -> None:
        first = bound(
            "edit", "img2img", "sd1.5", **SMALL, strength=0.6, inputs={"image": (an_image(),)}, keep=False
        )
        second = own_step(
            edit(), name="invert", media={"image": "1.image"}, inputs={"image": (StepOutput(step="edit"),)}
        )
        before = opened(await only_file(bench, replace(first, keep=True)))
        assert_inverted(opened(await only_file(bench, first, second)), before)

    async def test_a_video(self, bench: WorkerBench) -> None:
        graph = chain(("RepeatImageBatch", {"amount": 4}))
        graph["save"] = {
            "class_type": "SaveVideo",
            "inputs": {"video": ["film", 0], "filename_prefix": "v", "format": "mp4", "codec": "h264"},
        }
        graph["film"] = {"class_type": "CreateVideo", "inputs": {"images": ["2", 0], "fps": 8.0}}
        provider = bench.provider()
        end = (await bench.run(provider, own_step(graph)))[-1]
        assert end.state is State.succeeded, end.error
        (output,) = end.outputs
        assert (output.role, output.media_type) == ("video", "video/mp4")
        assert (await read(provider, output))[4:8] == b"ftyp"

    async def test_two_outputs_of_one_workflow_are_told_apart(self, bench: WorkerBench) -> None:
        provider = bench.provider()
        first = own_step(chain(("ImageInvert", {})), name="draw")
        wired: Any = {"image": (StepOutput(step="draw"),)}
        second = own_step(edit(), name="back", media={"image": "1.image"}, inputs=wired)
        end = (await bench.run(provider, first, second))[-1]
        assert end.state is State.succeeded, end.error
        by_step = {one.step: opened(await read(provider, one)) for one in end.outputs}
        assert_inverted(by_step["back"], by_step["draw"])


class TestFailures:
    async def failed(
        self, bench: WorkerBench, *steps: BoundStep, **more: Any
    ) -> tuple[Snapshot, GenyardError]:
        end = (await bench.run(bench.provider(), *steps, **more))[-1]
        assert end.state is State.failed, end
        assert end.error is not None
        told = end.error.message
        assert "Traceback" not in told
        assert "\n" not in told
        return end, end.error

    @pytest.mark.parametrize(
        ("kind", "code", "reason"),
        [
            ("value", Code.provider_failed, "genyard test: bad value"),
            ("runtime", Code.provider_failed, "genyard test: something broke"),
            ("cuda_oom", Code.provider_out_of_memory, "memory"),
        ],
    )
    async def test_a_failing_node(self, bench: WorkerBench, kind: str, code: Code, reason: str) -> None:
        """The test server drops `output.details`, where the reason is; so it is not known there."""
        _, error = await self.failed(bench, own_step(chain(("GenyardRaise", {"kind": kind}))))
        if bench.mode == "test-server":
            assert error.code is Code.provider_interrupted
        else:
            assert error.code is code
            assert reason in error.message
            assert error.context["node_type"] == "GenyardRaise"

    async def test_an_unknown_node(self, bench: WorkerBench) -> None:
        _, error = await self.failed(bench, own_step(chain(("NoSuchNode", {}))))
        assert error.code is Code.provider_missing
        assert "NoSuchNode" in error.message

    async def test_a_missing_model_file(self, bench: WorkerBench) -> None:
        missing = {"v1-5-pruned-emaonly.safetensors": "not-there.safetensors"}
        provider = bench.provider(renamed=missing, declared_files=())
        end = (await bench.run(provider, bound("draw", "txt2img", "sd1.5", **SMALL)))[-1]
        assert end.error is not None
        assert end.error.code is Code.provider_missing
        assert "not-there.safetensors" in end.error.message

    async def test_a_missing_input_file(self, bench: WorkerBench) -> None:
        graph = edit()
        graph["1"]["inputs"]["image"] = "nobody-put-this-here.png"
        _, error = await self.failed(bench, own_step(graph))
        assert error.code is Code.provider_failed
        assert "nobody-put-this-here.png" in error.message

    async def test_an_input_that_is_no_picture(self, bench: WorkerBench) -> None:
        step = own_step(edit(), media={"image": "1.image"}, inputs={"image": (an_image(),)})
        broken = media_of("upload", gradient()[:16] + bytes(64))
        _, error = await self.failed(bench, step, media=broken)
        assert error.code in (Code.provider_failed, Code.provider_interrupted)

    async def test_a_missing_setting(self, bench: WorkerBench) -> None:
        graph = chain(("ImageScale", {"width": 64}))
        _, error = await self.failed(bench, own_step(graph))
        assert error.code is Code.workflow_invalid

    @pytest.mark.parametrize("shows", ["PreviewImage", "SaveImageWebsocket"])
    async def test_nothing_saved(self, bench: WorkerBench, shows: str) -> None:
        """A node that only shows: genyard knows ComfyUI's own ones, so the graph is changed behind its back."""
        plan = bench.provider().compile((own_step(chain(("ImageInvert", {}))),), None)
        graph = {**plan.payload["workflow"]}
        save = next(name for name, node in graph.items() if node["class_type"] == "SaveImage")
        graph[save] = {"class_type": shows, "inputs": {"images": graph[save]["inputs"]["images"]}}
        hidden = replace(plan, payload={**plan.payload, "workflow": graph, "prefixes": []})
        end, error = await self.failed(bench, plan=hidden)
        if error.code is Code.provider_missing:
            pytest.skip(f"the server has no {shows}")
        if shows == "SaveImageWebsocket" and bench.mode == "test-server":
            assert error.code is Code.provider_interrupted  # why is in the details, which it drops
        else:
            assert end.word == ("COMPLETED" if shows == "PreviewImage" else "FAILED")
            assert error.code is Code.provider_lost_output
            assert "saved nothing" in error.message

    async def test_a_failure_after_a_picture_was_saved(self, bench: WorkerBench) -> None:
        """COMPLETED with `errors`; or FAILED where the worker asks ComfyUI's history too early, which is a race."""
        for _ in range(10):
            graph = chain(("ImageInvert", {}))
            graph["wait"] = {"class_type": "GenyardSleep", "inputs": {"image": ["2", 0], "seconds": 0.3}}
            graph["bad"] = {"class_type": "GenyardRaise", "inputs": {"image": ["wait", 0], "kind": "value"}}
            graph["also"] = {
                "class_type": "SaveImage",
                "inputs": {"images": ["bad", 0], "filename_prefix": "also"},
            }
            end, error = await self.failed(bench, own_step(graph))
            if end.word == "COMPLETED":
                break
        assert end.word == "COMPLETED"
        assert error.code is Code.provider_failed
        assert "genyard test: bad value" in error.message
        assert len(end.outputs) == 1


class TestBucket:
    """Results in a bucket of the worker's own: addresses instead of data."""

    @pytest.fixture
    def moto(self) -> Iterator[str]:
        server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        server.start()
        yield "http://{}:{}".format(*server.get_host_and_port())
        server.stop()

    async def test_results_are_fetched_from_the_bucket(self, mode: Mode, moto: str, tmp_path: Path) -> None:
        async with (
            aiohttp.ClientSession() as session,
            session.put(f"{moto}/{time.strftime('%m-%y')}") as made,
        ):
            assert made.status == 200
        keys = {"BUCKET_ACCESS_KEY_ID": "key", "BUCKET_SECRET_ACCESS_KEY": "secret"}
        async with (
            bridged(mode, WORKER, tmp_path, BUCKET_ENDPOINT_URL=moto, **keys) as bridge,
            on(bridge, mode) as bench,
        ):
            provider = bench.provider(outbound=Outbound(trusted=[moto]))
            end = (await bench.run(provider, own_step(chain(("ImageInvert", {})))))[-1]
            assert end.state is State.succeeded, end.error
            (output,) = end.outputs
            assert output.where["url"].startswith(moto)
            assert opened(await read(provider, output)).size == (64, 48)

    async def test_a_bucket_that_cannot_be_reached(self, mode: Mode, tmp_path: Path) -> None:
        """Why is in the details, which the test server drops."""
        keys = {"BUCKET_ACCESS_KEY_ID": "key", "BUCKET_SECRET_ACCESS_KEY": "secret"}
        nowhere = "http://127.0.0.1:9"
        async with (
            bridged(mode, WORKER, tmp_path, BUCKET_ENDPOINT_URL=nowhere, **keys) as bridge,
            on(bridge, mode) as bench,
        ):
            end = (await bench.run(bench.provider(), own_step(chain(("ImageInvert", {})))))[-1]
        assert end.state is State.failed
        assert end.error is not None
        known = Code.provider_protocol if mode == "job-take" else Code.provider_interrupted
        assert end.error.code is known, end.error

    async def test_a_bucket_without_keys(self, mode: Mode, tmp_path: Path) -> None:
        """The SDK writes the file into the worker's own folder and gives its path for an address."""
        async with (
            bridged(mode, WORKER, tmp_path, BUCKET_ENDPOINT_URL="http://127.0.0.1:9") as bridge,
            on(bridge, mode) as bench,
        ):
            end = (await bench.run(bench.provider(), own_step(chain(("ImageInvert", {})))))[-1]
        assert end.state is State.failed
        assert end.error is not None
        assert end.error.code is Code.provider_protocol
        assert "BUCKET_" in end.error.message


class TestWholeProduct:
    """Settings as a user writes them, a job of the studio, files in its storage."""

    @pytest.fixture
    def started(self, bridge: Bridge, make_settings: MakeSettings, tmp_path: Path) -> Any:
        (tmp_path / ".env").write_text(
            "IMAGE_GENERATION_PROVIDER=comfyui\nRUNPOD_API_KEY=unused\n"
            f"RUNPOD_COMFYUI_ENDPOINT_ID=live\nRUNPOD_BASE_URL={bridge.url}\n"
        )
        renamed = ", ".join(f'"{name}" = "{file}"' for name, file in STAND_INS.items())
        (tmp_path / "genyard.toml").write_text(
            "[endpoints.runpod-comfyui]\nkind = 'runpod'\nprotocol = 'comfyui'\nusd_per_second = 0.001\n"
            f"timeouts = {{ poll = 0.2 }}\nfiles = {{ {renamed} }}\nmodel_files = {FILES}\n"
        )
        return build(make_settings())

    async def made(self, started: Any, *, uploads: bool = False, **body: Any) -> tuple[Job, list[bytes]]:
        async with started as product, working(product):
            if uploads:
                asset = await product.studio.upload(gradient(256, 256))
                body["steps"][0]["inputs"] = {"image": str(asset.id)}
            job = await product.studio.wait((await product.studio.submit(body)).job.id)
            files = [await product.studio.read(one) for one in job.outputs]
        return job, files

    async def test_a_picture_from_words(self, started: Any, mode: Mode) -> None:
        job, (data,) = await self.made(started, operation="txt2img", model="sd1.5", parameters=SMALL)
        assert job.state is JobState.succeeded, job.error
        assert [one.endpoint for one in job.attempts] == ["runpod-comfyui"]
        assert opened(data).size == (64, 64)
        cost = job.attempts[0].cost
        assert (cost is not None) == (mode == "job-take")  # the test server tells no execution time

    async def test_an_upload_through_two_steps_in_one_run(self, started: Any, bridge: Bridge) -> None:
        before = len(bridge.runs)
        steps = [
            {
                "name": "edit",
                "operation": "img2img",
                "model": "sd1.5",
                "parameters": {**SMALL, "strength": 0.6},
            },
            {
                "name": "pixel",
                "operation": "pixelate",
                "model": "pixel-grid",
                "parameters": {"cells": 32, "colors": 8, "scale": 4},
                "inputs": {"image": "step:edit"},
            },
        ]
        job, files = await self.made(started, uploads=True, steps=steps)
        assert job.state is JobState.succeeded, job.error
        assert len(bridge.runs) == before + 1
        assert (128, 128) in [opened(data).size for data in files]

    async def test_a_failure(self, started: Any, mode: Mode) -> None:
        graph = chain(("NoSuchNode", {}))
        job, _ = await self.made(started, operation="run_workflow", parameters={"workflow": graph})
        assert job.state is JobState.failed
        assert job.error is not None
        assert job.error["code"] == Code.provider_missing
        assert len(job.attempts) == 1
