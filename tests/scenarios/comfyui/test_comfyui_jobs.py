"""Jobs on a ComfyUI server, from the request to the stored picture, against the emulator."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from conftest import MakeSettings
from genyard.app import Product, build, working
from genyard.errors import Code, GenyardError
from genyard.imaging.png_facts import chunks, read_png_facts
from genyard.jobs.model import AttemptState, JobState
from genyard.jobs.runner import Pace
from genyard.media import sniff
from genyard.testing.comfyui import ComfyUIEmulator, FaultKind
from support.scripted import png

DRAGON: dict[str, Any] = {
    "operation": "txt2img",
    "model": "sdxl",
    "parameters": {"prompt": "a red dragon", "width": 64, "height": 64, "steps": 4, "seed": 11},
}


@contextlib.asynccontextmanager
async def product_on(make_settings: MakeSettings, server: str, **environ: str) -> AsyncIterator[Product]:
    settings = make_settings(IMAGE_GENERATION_PROVIDER="comfyui", COMFYUI_ENDPOINT=server, **environ)
    async with build(settings, pace=Pace(first_retry=0.05, factor=1.0)) as product:
        yield product


async def until(true: Callable[[], bool], seconds: float = 15.0) -> None:
    async with asyncio.timeout(seconds):
        while not true():  # noqa: ASYNC110 (the emulator's counters are plain numbers)
            await asyncio.sleep(0.01)


async def test_a_prompt_becomes_a_stored_picture(make_settings: MakeSettings) -> None:
    async with (
        ComfyUIEmulator() as server,
        product_on(make_settings, server.url) as product,
        working(product),
    ):
        submitted = await product.studio.submit(DRAGON)
        job = await asyncio.wait_for(product.studio.wait(submitted.job.id), 20)
        assert job.state is JobState.succeeded, job.error
        [output] = job.outputs
        data = await product.studio.read(output)
    assert (output.width, output.height) == (64, 64)
    facts = read_png_facts(data)
    assert facts is not None
    expected = {"operation": "txt2img", "model": "sdxl", "seed": 11, "endpoint": "comfyui", "ai": True}
    assert {name: facts[name] for name in expected} == expected
    assert facts["template"] == "sdxl-txt2img"
    texts = [chunk for chunk in chunks(data) if chunk.kind in (b"tEXt", b"iTXt", b"zTXt")]
    assert len(texts) == 1, "the workflow that ComfyUI embeds is stripped, ours is there"
    assert b"KSampler" not in data
    assert server.counts.total_runs == 1


async def test_a_server_that_is_away_with_the_work_that_it_took_does_it_once(
    make_settings: MakeSettings,
) -> None:
    """The answer to the submission is lost, and for longer than the submission itself asks there is nobody to ask."""
    async with (
        ComfyUIEmulator() as server,
        product_on(make_settings, server.url) as product,
        working(product),
    ):
        server.faults.add(FaultKind.hang)
        server.faults.add(FaultKind.lose_answer, route="POST /prompt")
        for path in ("queue", "history", "jobs", "api/queue", "api/history", "api/jobs"):
            server.faults.add(FaultKind.answer, times=None, route=f"GET /{path}", status=503, body="away")
        submitted = await product.studio.submit(DRAGON)
        async with asyncio.timeout(20):
            async for event in product.studio.watch(submitted.job.id):
                if "still trying" in (event.data.get("detail") or ""):
                    break
        server.faults.clear(FaultKind.answer)
        await product.studio.cancel(submitted.job.id)
        job = await asyncio.wait_for(product.studio.wait(submitted.job.id), 20)
    assert job.state is JobState.canceled
    assert [attempt.state for attempt in job.attempts] == [AttemptState.canceled]
    assert server.counts.total_runs == 1


async def test_silhouette_to_sprite_is_one_submission(make_settings: MakeSettings) -> None:
    async with (
        ComfyUIEmulator() as server,
        product_on(make_settings, server.url) as product,
        working(product),
    ):
        silhouette = await product.studio.upload(png(side=64), name="silhouette.png")
        body = {
            "steps": [
                {
                    "name": "draw",
                    "operation": "img2img",
                    "model": "sdxl",
                    "parameters": {"prompt": "a knight", "steps": 2, "width": 64, "height": 64},
                    "inputs": {"image": str(silhouette.id)},
                },
                {"name": "cut", "operation": "remove_background", "inputs": {"image": "step:draw"}},
            ]
        }
        job = await product.studio.wait((await product.studio.submit(body)).job.id)
        assert job.state is JobState.succeeded, job.error
        assert [(asset.step, asset.role) for asset in job.outputs] == [("cut", "image")]
        assert len(job.attempts) == 1
        assert server.counts.total_runs == 1
        body["steps"][0]["keep"] = True  # type: ignore[index]
        kept = await product.studio.wait((await product.studio.submit(body)).job.id)
        assert [asset.step for asset in kept.outputs] == ["draw", "cut"]


async def test_steps_of_the_sampler_reach_watchers(make_settings: MakeSettings) -> None:
    async with (
        ComfyUIEmulator(step_seconds=0.5) as server,
        product_on(make_settings, server.url) as product,
        working(product),
    ):
        body = {**DRAGON, "previews": True}
        submitted = await product.studio.submit(body)
        ticks, unfinished = [], []
        async for event in product.studio.watch(submitted.job.id):
            if event.kind == "progress":
                ticks.append(event.data)
                if event.data["preview"]:
                    unfinished.append(await product.studio.preview(submitted.job.id))
        with pytest.raises(GenyardError):
            await product.studio.preview(submitted.job.id)
    fractions = [tick["progress"] for tick in ticks if tick["progress"] is not None]
    assert fractions == sorted(fractions)
    assert any("step" in (tick["detail"] or "") for tick in ticks)
    assert sniff(unfinished[0]) in ("image/jpeg", "image/png")


@pytest.mark.parametrize("running", [False, True])
async def test_cancel_reaches_the_server(make_settings: MakeSettings, running: bool) -> None:
    async with (
        ComfyUIEmulator() as server,
        product_on(make_settings, server.url) as product,
        working(product),
    ):
        server.faults.add(FaultKind.hang, node="KSampler")
        first = (await product.studio.submit(DRAGON)).job
        await until(lambda: server.counts.total_runs == 1)
        second = (
            await product.studio.submit({**DRAGON, "parameters": {**DRAGON["parameters"], "seed": 2}})
        ).job
        await until(lambda: server.counts.requests["POST /prompt"] == 2)
        target = first if running else second
        await product.studio.cancel(target.id)
        ended = await asyncio.wait_for(product.studio.wait(target.id), 10)
        assert ended.state is JobState.canceled
        if not running:
            await product.studio.cancel(first.id)
        rest = await asyncio.wait_for(product.studio.wait((second if running else first).id), 10)
        assert rest.state is (JobState.succeeded if running else JobState.canceled)
        assert server.counts.cancels == (1 if running else 2)


async def test_a_restart_in_the_middle_is_one_more_try(make_settings: MakeSettings) -> None:
    async with (
        ComfyUIEmulator() as server,
        product_on(make_settings, server.url) as product,
        working(product),
    ):
        server.faults.add(FaultKind.restart, node="KSampler", seconds=0.2)
        job = await asyncio.wait_for(product.studio.wait((await product.studio.submit(DRAGON)).job.id), 30)
    assert job.state is JobState.succeeded, job.error
    assert [attempt.state for attempt in job.attempts] == [AttemptState.lost, AttemptState.succeeded]


async def test_kill_minus_nine_of_the_worker_in_the_middle_of_a_run(make_settings: MakeSettings) -> None:
    """The job ends once, and the server ran the graph once."""
    async with ComfyUIEmulator(step_seconds=0.4) as server, product_on(make_settings, server.url) as product:
        settings = product.settings
        assert settings.database_url is not None
        environ = {
            **os.environ,  # noqa: TID251
            "GENYARD_DATA": str(settings.data),
            "DATABASE_URL": settings.database_url.get_secret_value(),
            "IMAGE_GENERATION_PROVIDER": "comfyui",
            "COMFYUI_ENDPOINT": server.url,
        }
        submitted = await product.studio.submit(DRAGON)
        command = (sys.executable, "-m", "genyard", "worker")
        first = await asyncio.create_subprocess_exec(*command, env=environ, stdin=asyncio.subprocess.DEVNULL)
        await until(lambda: server.counts.total_runs == 1)
        first.send_signal(signal.SIGKILL)
        await first.wait()
        second = await asyncio.create_subprocess_exec(*command, env=environ, stdin=asyncio.subprocess.DEVNULL)
        try:
            job = await asyncio.wait_for(product.studio.wait(submitted.job.id), 30)
        finally:
            second.terminate()
            await second.wait()
        events = await product.jobs.events(submitted.job.id, 0)
    assert job.state is JobState.succeeded, job.error
    assert len(job.outputs) == 1
    assert server.counts.total_runs == 1
    assert [attempt.state for attempt in job.attempts] == [AttemptState.succeeded]
    assert [event.kind for event in events] == ["queued", "running", "succeeded"]


async def test_the_callers_own_workflow(make_settings: MakeSettings) -> None:
    workflow = {
        "1": {"class_type": "LoadImage", "inputs": {"image": "example.png"}},
        "2": {"class_type": "ImageInvert", "inputs": {"image": ["1", 0]}},
        "3": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "mine"}},
    }
    async with (
        ComfyUIEmulator() as server,
        product_on(make_settings, server.url) as product,
        working(product),
    ):
        photo = await product.studio.upload(png(shade=200, side=32), name="grey.png")
        parameters = {"workflow": workflow, "media": {"photo": "1.image"}}
        body = {"operation": "run_workflow", "parameters": parameters, "inputs": {"photo": str(photo.id)}}
        job = await product.studio.wait((await product.studio.submit(body)).job.id)
        assert job.state is JobState.succeeded, job.error
        again = await product.studio.wait((await product.studio.submit(body)).job.id)
        assert again.state is JobState.succeeded, "a cached graph still gives a file of its own"
        with pytest.raises(GenyardError) as caught:
            broken = {**workflow, "2": {"class_type": "ImageInvertt", "inputs": {"image": ["1", 0]}}}
            await product.studio.submit({**body, "parameters": {**parameters, "workflow": broken}})
    assert caught.value.code in (Code.workflow_invalid, Code.provider_missing)
    assert "ImageInvert" in str(caught.value)


async def test_a_missing_model_names_the_nearest_file(make_settings: MakeSettings) -> None:
    files = {"checkpoints": ["sdxl/sd_xl_base_1.0_0.9vae.safetensors"]}
    async with ComfyUIEmulator(files=files) as server, product_on(make_settings, server.url) as product:
        with pytest.raises(GenyardError, match=r"sd_xl_base_1\.0_0\.9vae") as caught:
            await product.studio.submit(DRAGON)
        assert caught.value.code is Code.provider_missing
        assert not await product.studio.jobs()


async def test_a_model_that_is_installed_meanwhile_is_found(make_settings: MakeSettings) -> None:
    async with (
        ComfyUIEmulator(files={"checkpoints": []}) as server,
        product_on(make_settings, server.url) as product,
    ):
        with pytest.raises(GenyardError):
            await product.studio.submit(DRAGON)
        full = ComfyUIEmulator()
        server.catalogue = full.catalogue
        product.studio._places._health.clear()
        assert (await product.studio.submit(DRAGON)).job.state is JobState.queued


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ({"route": "GET /system_stats", "status": 200, "body": "<html>hello</html>"}, Code.provider_protocol),
        ({"route": "GET /system_stats", "status": 401, "body": "no"}, Code.provider_rejected),
        ({"route": "GET /system_stats", "status": 404, "body": "nginx"}, Code.provider_protocol),
    ],
)
async def test_a_server_that_is_not_comfyui(
    make_settings: MakeSettings, fault: dict[str, Any], code: Code
) -> None:
    async with ComfyUIEmulator() as server, product_on(make_settings, server.url) as product:
        server.faults.add(FaultKind.answer, times=None, **fault)
        with pytest.raises(GenyardError, match="COMFYUI_") as caught:
            await product.studio.submit(DRAGON)
        assert caught.value.code is code
        assert not await product.studio.jobs()


async def test_a_server_that_is_down_is_named_before_anything_is_stored(make_settings: MakeSettings) -> None:
    async with product_on(make_settings, "http://127.0.0.1:9") as product:
        with pytest.raises(GenyardError, match="COMFYUI_ENDPOINT") as caught:
            await product.studio.submit(DRAGON)
        assert caught.value.code is Code.provider_unreachable
        assert not await product.studio.jobs()
