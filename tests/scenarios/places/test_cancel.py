"""Cancels at every kind of place: how soon they get there, what the record says of the GPU, and that a cancel and an
end that come together have one outcome."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Final

import pytest

from genyard.app import working
from genyard.jobs.model import Attempt, AttemptState, Job, JobState
from genyard.providers import State
from genyard.testing.emulators import Emulators
from scenarios.places.bench import DRAWING, Bench, ended, until
from scenarios.places.failing import World
from scenarios.places.test_lifecycle import env
from support.often import often

#: A cancel reaches the GPU within so many seconds.
PROMISED: Final = 2.0

#: Endpoints of each kind of place that can stop a run → the fault that keeps it running.
STOPPABLE: Final[Mapping[str, Mapping[str, Any]]] = {
    "comfyui": {"kind": "hang"},
    "flux": {"kind": "hang", "endpoint": "emu-flux"},
    "worker": {"kind": "hang", "endpoint": "emu-worker"},
    "replicate": {"kind": "hang"},
}
#: … → the fault that keeps a submission waiting there.
WAITING: Final[Mapping[str, Mapping[str, Any]]] = {
    "flux": {"kind": "throttled", "endpoint": "emu-flux", "times": None},
    "worker": {"kind": "throttled", "endpoint": "emu-worker", "times": None},
    "replicate": {"kind": "wait"},
}
EVERYWHERE: Final = (*STOPPABLE, "scenario", "preview")
SMALL: Final = {"operation": "txt2img", "parameters": {"prompt": "a red dragon", "width": 512, "height": 512}}


def cancels(world: World, endpoint: str) -> Callable[[], int]:
    counts = world.emulator(endpoint).counts
    return lambda: int(counts.cancels if hasattr(counts, "cancels") else counts.canceled)


async def running(world: World, endpoint: str) -> Job:
    job = await world.submit(DRAWING, endpoint)
    await until(world.product, job.id, State.running)
    return job


def the_one_try(job: Job) -> Attempt:
    [attempt] = job.attempts
    return attempt


async def booked(world: World, job: Job) -> Job:
    """Once nothing of it is left at its place."""
    async with asyncio.timeout(20):
        while any(one.finished_at is None for one in job.attempts):
            await asyncio.sleep(0.02)
            job = await world.product.studio.get(job.id)
    return job


@pytest.mark.parametrize("endpoint", STOPPABLE)
async def test_a_cancel_reaches_the_gpu_and_the_record_says_what_it_has_spent(
    world: World, endpoint: str
) -> None:
    world.emulator(endpoint).faults.add(**STOPPABLE[endpoint])
    there = cancels(world, endpoint)
    before, runs = there(), world.runs(endpoint)
    try:
        job = await running(world, endpoint)
        seen_running, began = time.monotonic(), time.monotonic()
        await world.product.studio.cancel(job.id)
        await world.emulator(endpoint).changes.until(lambda: there() > before, timeout=PROMISED)
        assert time.monotonic() - began < PROMISED
        job = await ended(world.product, job.id)
    finally:
        world.clear()
    attempt = the_one_try(job)
    assert (job.state, attempt.state) == (JobState.canceled, AttemptState.canceled)
    assert job.error is not None
    assert job.error["code"] == "job.canceled"
    assert world.runs(endpoint) - runs == 1
    assert attempt.seconds is not None
    assert 0 < attempt.seconds < time.monotonic() - seen_running + 5
    told = job.as_json()["gpu_seconds"]
    assert told == {"seconds": attempt.seconds, "source": attempt.seconds_source, "complete": True}


@pytest.mark.parametrize(
    "endpoint", ["flux", *(pytest.param(name, marks=pytest.mark.long) for name in ("worker", "replicate"))]
)
async def test_what_is_canceled_before_it_runs_there_has_spent_nothing(world: World, endpoint: str) -> None:
    world.emulator(endpoint).faults.add(**WAITING[endpoint])
    runs = world.runs(endpoint)
    try:
        job = await world.submit(DRAWING, endpoint)
        await until(world.product, job.id, State.queued)
        await world.product.studio.cancel(job.id)
        job = await ended(world.product, job.id)
    finally:
        world.clear()
    assert job.state is JobState.canceled
    assert world.runs(endpoint) == runs
    assert (the_one_try(job).state, the_one_try(job).seconds) == (AttemptState.canceled, 0.0)


async def test_what_waits_behind_others_in_comfyui_is_taken_out(world: World) -> None:
    world.emulators.comfyui.faults.add("hang")
    runs = world.runs("comfyui")
    try:
        first = await running(world, "comfyui")
        second = await world.submit(DRAWING, "comfyui")
        await until(world.product, second.id, State.queued)
        await world.product.studio.cancel(second.id)
        second = await ended(world.product, second.id)
        await world.product.studio.cancel(first.id)
        await ended(world.product, first.id)
    finally:
        world.clear()
    assert the_one_try(second).seconds == 0.0
    assert world.runs("comfyui") - runs == 1


async def test_a_place_that_does_not_stop_is_watched_to_its_end_for_what_it_spends(world: World) -> None:
    world.emulators.scenario.faults.add("slow", seconds=0.5)
    job = await running(world, "scenario")
    began = time.monotonic()
    await world.product.studio.cancel(job.id)
    job = await ended(world.product, job.id)
    assert time.monotonic() - began < PROMISED
    assert (job.state, the_one_try(job).state) == (JobState.canceled, AttemptState.detached)
    assert not job.as_json()["gpu_seconds"]["complete"] or the_one_try(job).finished_at is not None
    job = await booked(world, job)
    assert (the_one_try(job).seconds or 0.0) >= 0.4
    assert job.as_json()["gpu_seconds"]["complete"]
    assert job.outputs == ()


async def test_a_cancel_that_is_refused_for_a_while_holds_out(world: World) -> None:
    """A rate limit, and a place that breaks down: the run is stopped all the same, and not left to itself."""
    replicate = world.emulators.replicate
    replicate.faults.add("hang")
    before = replicate.counts.canceled
    try:
        job = await running(world, "replicate")
        for status in (429, 500):
            replicate.faults.add("answer", route="POST /v1/predictions/", status=status, body="{}")
        await world.product.studio.cancel(job.id)
        job = await ended(world.product, job.id)
    finally:
        world.clear()
    assert (job.state, the_one_try(job).state) == (JobState.canceled, AttemptState.canceled)
    assert replicate.counts.canceled - before == 1


@pytest.mark.parametrize(
    "provider",
    ["comfyui", *(pytest.param(name, marks=pytest.mark.long) for name in ("runpod", "replicate"))],
)
async def test_a_cancel_while_no_worker_lives_is_carried_to_the_gpu_by_the_next_one(
    bench: Bench, emulators: Emulators, provider: str
) -> None:
    emulator = getattr(emulators, provider)
    emulator.faults.add("hang")
    there = {"COMFYUI_ENDPOINT": emulators.comfyui.url} if provider == "comfyui" else {}
    async with bench.start({**env(emulators, provider), **there}) as product:
        async with working(product):
            job = (await product.studio.submit(DRAWING)).job
            await until(product, job.id, State.running)
        assert (await product.studio.cancel(job.id)).state is JobState.canceling
        counts = emulator.counts
        assert not (counts.interrupted if provider == "comfyui" else counts.canceled)
        began = time.monotonic()
        async with working(product):
            job = await ended(product, job.id)
    assert time.monotonic() - began < 2 * PROMISED
    assert job.state is JobState.canceled
    assert (counts.interrupted if provider == "comfyui" else counts.canceled) == 1
    assert counts.total_runs == 1
    assert (the_one_try(job).seconds or 0) > 0


async def test_a_failed_run_says_how_long_it_ran(world: World) -> None:
    world.emulators.scenario.faults.add("fail", message="it broke")
    world.emulators.replicate.faults.add("fail", message="it broke")
    for endpoint in ("scenario", "replicate"):
        job = await world.make(DRAWING, endpoint)
        assert job.state is JobState.failed
        assert the_one_try(job).seconds is not None
    world.clear()


# ---- together with the end ----


async def race(world: World, endpoint: str, pause: float) -> Job:
    """Two cancels at once, some time after the start."""
    studio = world.product.studio
    job = await world.submit(SMALL, endpoint)
    await asyncio.sleep(pause)
    await asyncio.gather(studio.cancel(job.id), studio.cancel(job.id))
    return await booked(world, await ended(world.product, job.id))


async def has_one_outcome(world: World, job: Job) -> None:
    events = [event.kind for event in await world.product.jobs.events(job.id, 0)]
    ends = [kind for kind in events if kind in ("succeeded", "failed", "canceled", "expired")]
    assert ends == [job.state.value], events
    assert events[-1] == job.state.value
    assert job.state in (JobState.succeeded, JobState.canceled), job.error
    assert (job.error is None) == bool(job.outputs) == (job.state is JobState.succeeded)
    if job.error is not None:
        assert job.error["code"] == "job.canceled"
    assert len(job.attempts) <= 1
    shown = await world.product.studio.assets(limit=100)
    assert bool([asset for asset in shown if asset.job_id == job.id]) == bool(job.outputs)


async def races(world: World, endpoint: str, rounds: int) -> Counter[JobState]:
    """How they ended. Pauses from nothing to a little more than a whole run, as it is measured here."""
    runs = world.runs(endpoint) if endpoint != "preview" else 0
    began = time.monotonic()
    await world.make(SMALL, endpoint)
    whole = time.monotonic() - began
    draw = random.Random(endpoint)
    jobs = []
    for _ in range(rounds):
        job = await race(world, endpoint, draw.uniform(0.0, 1.2) * whole)
        await has_one_outcome(world, job)
        jobs.append(job)
    submitted = sum(one.submitted_at is not None for job in jobs for one in job.attempts)
    if endpoint != "preview":
        assert world.runs(endpoint) - runs - 1 <= submitted
    [left] = await world.product.jobs.database.rows(
        "SELECT (SELECT count(*) FROM jobs WHERE finished_at IS NULL) + (SELECT count(*) FROM stages WHERE finished_at "
        "IS NULL) + (SELECT count(*) FROM attempts WHERE finished_at IS NULL) AS open"
    )
    assert left["open"] == 0
    return Counter(job.state for job in jobs)


@pytest.mark.parametrize("endpoint", often(EVERYWHERE, ["comfyui", "replicate"]))
async def test_a_cancel_and_an_end_have_one_outcome(world: World, endpoint: str) -> None:
    await races(world, endpoint, 4)


@pytest.mark.long
@pytest.mark.parametrize("endpoint", EVERYWHERE)
async def test_many_cancels_and_ends_have_one_outcome_each(world: World, endpoint: str) -> None:
    ends = await races(world, endpoint, 60)
    assert len(ends) == 2, ends


@pytest.mark.long
@pytest.mark.parametrize("endpoint", STOPPABLE)
async def test_cancels_of_many_at_once_all_get_there_in_time(world: World, endpoint: str) -> None:
    world.emulator(endpoint).faults.add(**{**STOPPABLE[endpoint], "times": None})
    try:
        jobs = [await running(world, endpoint), *[await world.submit(SMALL, endpoint) for _ in range(7)]]
        began = time.monotonic()
        await asyncio.gather(*(world.product.studio.cancel(job.id) for job in jobs))
        ends = await asyncio.gather(*(ended(world.product, job.id) for job in jobs))
        took = time.monotonic() - began
    finally:
        world.clear()
        with contextlib.suppress(TimeoutError):
            await world.until_idle(endpoint)
    assert {job.state for job in ends} == {JobState.canceled}
    assert took < 2 * PROMISED
