"""A worker that is told to stop hands on what it does: real processes, real places, and nothing is done twice."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from conftest import MakeSettings
from genyard.app import Product, build, working
from genyard.jobs.model import AttemptState, JobState
from genyard.jobs.runner import Pace
from genyard.providers import Capabilities
from genyard.testing.comfyui import ComfyUIEmulator
from genyard.testing.runpod import RunPodEmulator
from scenarios.places.bench import picture
from support.processes import environment, heard, until, worker
from support.scripted import RUNNING, ScriptedProvider, succeeded

DRAGON: dict[str, Any] = {
    "operation": "txt2img",
    "model": "sdxl",
    "parameters": {"prompt": "a red dragon", "width": 64, "height": 64, "steps": 60},
}
CUTOUT: dict[str, Any] = {"operation": "remove_background"}
TOML = """
[routes]
txt2img = "comfyui"
remove_background = "runpod"
"""
UNASKABLE = Capabilities(cancel="running", progress="coarse", finds=False)
SOON = 1.0


@contextlib.asynccontextmanager
async def product_with(
    make_settings: MakeSettings, place: ScriptedProvider, stopping: float = 5.0
) -> AsyncIterator[Product]:
    pace = Pace(first_retry=0.01, factor=1.0, stopping=stopping)
    async with build(make_settings(), pace=pace, providers={"preview": lambda *_: place}) as product:
        yield product


async def has_both(product: Product, worker_id: int) -> bool:
    rows = await product.jobs.database.rows("SELECT worker_id FROM stages WHERE state = 'running'")
    return [row["worker_id"] for row in rows] == [worker_id] * 2


async def test_a_stopped_worker_hands_its_runs_on_at_once(
    make_settings: MakeSettings,
    comfyui_emulator: ComfyUIEmulator,
    runpod_emulator: RunPodEmulator,
    tmp_path: Any,
) -> None:
    (tmp_path / "genyard.toml").write_text(TOML)
    comfyui_emulator.faults.add("slow", node="KSampler", seconds=0.2, times=None)
    runpod_emulator.faults.add("slow", endpoint="emu-background", seconds=3.0)
    places = {
        "GENYARD_CONFIG": str(tmp_path / "genyard.toml"),
        "COMFYUI_ENDPOINT": comfyui_emulator.url,
        "RUNPOD_API_KEY": runpod_emulator.key,
        "RUNPOD_BASE_URL": f"{runpod_emulator.url}/v2",
        "RUNPOD_BG_REMOVAL_ENDPOINT_ID": "emu-background",
    }
    settings = make_settings(**places)
    environ = environment(settings, places)
    async with build(settings) as product, worker(environ) as first, worker(environ) as second:
        ids = [row["id"] for row in await product.jobs.workers()]
        photo = await product.studio.upload(picture())
        cutout = CUTOUT | {"inputs": {"image": str(photo.id)}}
        second.send_signal(signal.SIGSTOP)  # so that all of it is the first one's
        jobs = [(await product.studio.submit(body)).job.id for body in (DRAGON, cutout)]
        await until(lambda: comfyui_emulator.counts.total_runs == runpod_emulator.counts.total_runs == 1)
        await until(lambda: has_both(product, ids[0]))
        second.send_signal(signal.SIGCONT)
        told = time.perf_counter()
        first.terminate()
        await until(lambda: has_both(product, ids[1]))
        taken = time.perf_counter() - told
        assert await first.wait() == 0
        comfyui_emulator.faults.clear()
        ended = [await asyncio.wait_for(product.studio.wait(job), 30) for job in jobs]
        alive = [row["id"] for row in await product.jobs.workers()]
    print(f"taken up after {taken:.3f} s")
    assert [job.state for job in ended] == [JobState.succeeded] * 2, [job.error for job in ended]
    assert [len(job.attempts) for job in ended] == [1, 1]
    assert comfyui_emulator.counts.total_runs == runpod_emulator.counts.total_runs == 1
    assert comfyui_emulator.counts.interrupted == runpod_emulator.counts.canceled == 0
    assert alive == ids[1:], "who stops in order leaves no row behind"
    assert taken < SOON, f"taken up after {taken:.2f} s"


@contextlib.asynccontextmanager
async def mute_place(asked: asyncio.Event) -> AsyncIterator[str]:
    """A server that is well, takes every submission, and never answers one."""

    async def handle(request: web.BaseRequest) -> web.Response:
        if request.method == "POST":
            asked.set()
            await asyncio.Event().wait()
        return web.json_response({"jobs": {}, "workers": {}})

    runner = web.ServerRunner(web.Server(handle), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def test_a_second_signal_ends_it_at_once(make_settings: MakeSettings) -> None:
    """It has submitted and waits for the answer: so does the first signal, but not the second."""
    asked = asyncio.Event()
    async with mute_place(asked) as url:
        places = {
            "IMAGE_GENERATION_PROVIDER": "runpod",
            "RUNPOD_API_KEY": "rpa_" + "A" * 40,
            "RUNPOD_BASE_URL": url,
            "RUNPOD_SDXL_ENDPOINT_ID": "sdxl",
        }
        settings = make_settings(**places)
        async with build(settings) as product, worker(environment(settings, places)) as process:
            await product.studio.submit(DRAGON)
            await asyncio.wait_for(asked.wait(), 20)
            process.send_signal(signal.SIGTERM)
            await heard(process, "stopping")
            process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(1):
                assert await process.wait() == -signal.SIGTERM


@pytest.mark.long
async def test_what_is_on_the_wire_arrives_before_the_stage_goes_to_others(
    make_settings: MakeSettings,
) -> None:
    """The place cannot be asked whether a submission arrived: cut off, the run would be lost."""
    place = ScriptedProvider(says=[RUNNING], capabilities=UNASKABLE)
    sending, answer = asyncio.Event(), asyncio.Event()
    submit = place.submit

    async def slowly(*given: Any, **more: Any) -> Any:
        sending.set()
        await answer.wait()
        return await submit(*given, **more)

    place.submit = slowly  # type: ignore[method-assign]
    async with product_with(make_settings, place) as product:
        first = asyncio.create_task(product.worker.serve())
        job = (await product.studio.submit(DRAGON)).job
        await asyncio.wait_for(sending.wait(), 10)
        first.cancel()
        await asyncio.sleep(0.3)
        assert not first.done()
        answer.set()
        await asyncio.wait_for(asyncio.gather(first, return_exceptions=True), 10)
        place.says = [succeeded()]
        async with working(product):
            job = await asyncio.wait_for(product.studio.wait(job.id), 10)
    assert job.state is JobState.succeeded, job.error
    assert [attempt.state for attempt in job.attempts] == [AttemptState.succeeded]
    assert len(place.submitted) == 1


@pytest.mark.long
async def test_a_place_that_does_not_answer_holds_nobody_up_for_long(make_settings: MakeSettings) -> None:
    place = ScriptedProvider(capabilities=UNASKABLE)
    sending = asyncio.Event()

    async def forever(*_: Any, leave: Any, **__: Any) -> Any:
        await leave()
        sending.set()
        await asyncio.Event().wait()

    place.submit = forever  # type: ignore[method-assign]
    async with product_with(make_settings, place, stopping=0.2) as product:
        first = asyncio.create_task(product.worker.serve())
        job = (await product.studio.submit(DRAGON)).job
        await asyncio.wait_for(sending.wait(), 10)
        first.cancel()
        await asyncio.wait_for(asyncio.gather(first, return_exceptions=True), 3)
        async with working(product):
            job = await asyncio.wait_for(product.studio.wait(job.id), 10)
    assert (job.state, job.error and job.error["code"]) == (JobState.failed, "provider.lost")


async def test_what_never_left_is_submitted_by_the_next_one(make_settings: MakeSettings) -> None:
    """Stopped between the claim and the wire: the attempt is as if it had never been, and nothing counts as lost."""
    place = ScriptedProvider(capabilities=UNASKABLE)
    async with product_with(make_settings, place) as product:
        photo = await product.studio.upload(picture())
        job = (await product.studio.submit(CUTOUT | {"inputs": {"image": str(photo.id)}})).job
        async with product.jobs.database.transaction() as blocking:
            await blocking.execute("LOCK TABLE assets IN ACCESS EXCLUSIVE MODE")
            first = asyncio.create_task(product.worker.serve())
            await until(lambda: waits_for_the_lock(product))
            first.cancel()
            await asyncio.wait_for(asyncio.gather(first, return_exceptions=True), 5)
        assert await product.jobs.database.row("SELECT FROM attempts") is None
        async with working(product):
            job = await asyncio.wait_for(product.studio.wait(job.id), 10)
    assert job.state is JobState.succeeded, job.error
    assert [attempt.number for attempt in job.attempts] == [1]
    assert len(place.submitted) == 1


async def waits_for_the_lock(product: Product) -> bool:
    waiting = "SELECT FROM pg_locks WHERE NOT granted AND relation = 'assets'::regclass"
    return await product.jobs.database.row(waiting) is not None
