"""Runs of which nobody can say whether they were bought: never bought again, unless the route allows it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from genyard.app import working
from genyard.jobs.model import AttemptState, Job, JobState
from genyard.jobs.runner import Pace
from genyard.testing.emulators import Emulators
from scenarios.places.bench import DRAWING, Bench, ended, made
from scenarios.places.test_lifecycle import env, runs

PROVIDERS = ["runpod", *(pytest.param(name, marks=pytest.mark.long) for name in ("scenario", "replicate"))]
AGAIN = '[routes.txt2img]\nlost = "again"\n'
LOST, SUCCEEDED = AttemptState.lost, AttemptState.succeeded


def states(job: Job) -> list[AttemptState]:
    return [one.state for one in job.attempts]


def bought(emulators: Emulators, provider: str) -> int:
    """Submissions that were taken in."""
    name = {"runpod": "submitted", "scenario": "jobs", "replicate": "created"}[provider]
    return int(getattr(getattr(emulators, provider).counts, name))


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_a_lost_answer_is_bought_again_where_the_route_says_so(
    bench: Bench, emulators: Emulators, provider: str
) -> None:
    getattr(emulators, provider).faults.add("lose_answer", route="POST")
    async with bench.start(env(emulators, provider), AGAIN) as product, working(product):
        assert product.studio.routes()[0]["lost"] == "again"
        job = await made(product, DRAWING)
        [spending] = [one for one in await product.studio.spending() if one.usd]
    assert job.state is JobState.succeeded, job.error
    assert states(job) == [LOST, SUCCEEDED]
    assert [one.number for one in job.attempts] == [1, 2]
    first, second = job.attempts
    assert first.error is not None
    assert first.error["code"] == "provider.lost"
    assert first.cost is None
    assert runs(emulators, provider) <= 2
    told = job.as_json()
    assert told["cost"]["complete"] is told["gpu_seconds"]["complete"] is False, (
        "nobody knows what the first one cost"
    )
    assert spending.usd >= (second.cost.usd if second.cost else 0)
    assert spending.usd > 0


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_two_lost_answers_are_the_end_of_it(bench: Bench, emulators: Emulators, provider: str) -> None:
    getattr(emulators, provider).faults.add("lose_answer", route="POST", times=None)
    async with bench.start(env(emulators, provider), AGAIN) as product, working(product):
        job = await made(product, DRAWING)
    assert job.error is not None
    assert job.error["code"] == "provider.lost"
    assert states(job) == [LOST, LOST]
    assert bought(emulators, provider) <= 2


@pytest.mark.parametrize(("allowed", "tries"), [(False, [LOST]), (True, [LOST, SUCCEEDED])])
@pytest.mark.parametrize("provider", PROVIDERS)
async def test_a_crash_before_the_answer_is_kept(
    bench: Bench, emulators: Emulators, provider: str, allowed: bool, tries: list[AttemptState]
) -> None:
    """The submission has arrived, its answer has not been kept, and the worker is gone."""
    async with bench.start(env(emulators, provider), AGAIN if allowed else "") as product:
        record, reached = product.jobs.record_ref, asyncio.Event()

        async def never(*_: Any, **__: Any) -> bool:
            reached.set()
            await asyncio.Event().wait()
            return False

        product.jobs.record_ref = never  # type: ignore[method-assign]
        product.worker._runner._pace = Pace(first_retry=0.01, stopping=0.0)
        worker = asyncio.create_task(product.worker.serve())
        job = (await product.studio.submit(DRAWING)).job
        await asyncio.wait_for(reached.wait(), 20)
        worker.cancel()
        await asyncio.gather(worker, return_exceptions=True)
        product.jobs.record_ref = record  # type: ignore[method-assign]
        await product.jobs.database.execute(
            "UPDATE stages SET worker_id = 0 WHERE state = 'running' AND worker_id IS NULL"
        )
        async with working(product):
            job = await ended(product, job.id)
    assert states(job) == tries
    assert bought(emulators, provider) == len(tries)
    if not allowed:
        assert job.error is not None
        assert job.error["code"] == "provider.lost"
