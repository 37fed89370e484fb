"""A cancel at every moment of a job's life: it ends once, at once where it can, and the record says what ran."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest

from conftest import MakeSettings
from genyard.app import Product, build, working
from genyard.errors import Code, GenyardError
from genyard.jobs.model import AttemptState, Job, JobState
from genyard.jobs.runner import Pace
from genyard.providers import Canceled, Capabilities, Ref, Snapshot, State
from support.scripted import RUNNING, ScriptedProvider, png, succeeded

REQUEST: dict[str, Any] = {
    "operation": "txt2img",
    "parameters": {"prompt": "a red dragon", "width": 64, "height": 64},
}
#: So long that nobody waits for a second try by chance.
SLOW = Pace(first_retry=60.0, factor=1.0)
CANCELED = Snapshot(state=State.canceled, word="interrupted")
INTERRUPTED = GenyardError(Code.provider_interrupted, "somebody else stopped it")


def until_canceled(place: ScriptedProvider) -> Snapshot:
    return CANCELED if place.canceled else RUNNING


@contextlib.asynccontextmanager
async def product_with(
    make_settings: MakeSettings, place: ScriptedProvider, **settings: Any
) -> AsyncIterator[Product]:
    async with build(make_settings(), pace=SLOW, providers={"preview": lambda *_: place}) as product:
        yield product


async def ended(product: Product, job_id: UUID) -> Job:
    return await asyncio.wait_for(product.studio.wait(job_id), 10)


async def events(product: Product, job: Job) -> list[str]:
    return [event.kind for event in await product.jobs.events(job.id, 0)]


async def test_while_it_waits_for_another_try(make_settings: MakeSettings) -> None:
    place = ScriptedProvider(says=[Snapshot(state=State.failed, error=INTERRUPTED)])
    async with product_with(make_settings, place) as product, working(product):
        job = (await product.studio.submit(REQUEST)).job
        async with asyncio.timeout(10):
            async for event in product.studio.watch(job.id):
                if event.kind == "retrying":
                    break
        job = await product.studio.cancel(job.id)
    assert job.state is JobState.canceled
    assert job.error is not None
    assert job.error["code"] == "job.canceled"
    assert job.detail is None
    assert len(place.submitted) == 1


async def test_at_the_moment_of_the_decision_to_try_again(make_settings: MakeSettings) -> None:
    """Whoever comes first: it never waits a minute for a try that nobody wants."""
    place = ScriptedProvider(says=[Snapshot(state=State.failed, error=INTERRUPTED)])
    async with product_with(make_settings, place) as product, working(product):

        async def one(delay: float) -> Job:
            job = (await product.studio.submit(REQUEST)).job
            await asyncio.sleep(delay)
            await product.studio.cancel(job.id)
            return await ended(product, job.id)

        jobs = await asyncio.gather(*(one(0.002 * number) for number in range(25)))
        for job in jobs:
            kinds = await events(product, job)
            assert (job.state, kinds[-1]) == (JobState.canceled, "canceled"), kinds
            assert kinds.count("canceled") == 1


async def test_between_two_stages(make_settings: MakeSettings) -> None:
    """The second one is never submitted; what the first one made is delivered to nobody."""
    place = ScriptedProvider()
    steps = [
        {**REQUEST, "name": "draw", "keep": True},
        {"operation": "remove_background", "name": "cut", "inputs": {"image": "step:draw"}},
    ]
    async with product_with(make_settings, place) as product:
        place.says = [succeeded(step="draw"), RUNNING]
        place.capabilities = Capabilities(cancel="running", progress="coarse", finds=True, fuses=False)
        async with working(product):
            await product.jobs.endpoints.pause("preview")
            job = (await product.studio.submit({"steps": steps})).job
            await product.jobs.database.execute("UPDATE stages SET endpoint = 'elsewhere' WHERE position = 1")
            await product.jobs.endpoints.resume("preview")
            async with asyncio.timeout(10):
                while not await product.jobs.database.rows(  # noqa: ASYNC110
                    "SELECT FROM stages WHERE state = 'succeeded'"
                ):
                    await asyncio.sleep(0.01)
            assert (await product.studio.get(job.id)).state is JobState.running
            job = await product.studio.cancel(job.id)
            [shown] = await product.studio.assets()
    assert job.state is JobState.canceled
    assert len(place.submitted) == 1
    assert [one.id for one in job.outputs] == [shown.id], "it was delivered before the cancel came"


async def test_while_the_result_is_fetched(make_settings: MakeSettings) -> None:
    """One outcome, with a reason: canceled, although the run has succeeded."""
    fetching, go_on = asyncio.Event(), asyncio.Event()
    place = ScriptedProvider()
    fetch = place.fetch

    async def slowly(output: Any) -> AsyncIterator[bytes]:
        fetching.set()
        await go_on.wait()
        async for piece in fetch(output):
            yield piece

    place.fetch = slowly  # type: ignore[method-assign]
    async with product_with(make_settings, place) as product, working(product):
        job = (await product.studio.submit(REQUEST)).job
        await asyncio.wait_for(fetching.wait(), 10)
        both = await asyncio.gather(*(product.studio.cancel(job.id) for _ in range(2)))
        assert {one.state for one in both} == {JobState.canceling}
        go_on.set()
        job = await ended(product, job.id)
        assert await events(product, job) == ["queued", "running", "canceling", "canceled"]
        assert not await product.studio.assets()
    assert job.state is JobState.canceled
    assert job.error is not None
    assert (job.error["code"], job.error["message"]) == ("job.canceled", "canceled on request")
    assert [(one.state, one.seconds) for one in job.attempts] == [(AttemptState.succeeded, 1.5)]


async def test_while_a_result_that_is_unusable_is_fetched(make_settings: MakeSettings) -> None:
    """The job was canceled; what was wrong with the result stays with the attempt."""
    place = ScriptedProvider(says=[until_canceled], files=lambda _: png()[:20])
    place.says = [lambda place: succeeded() if place.canceled else RUNNING]
    async with product_with(make_settings, place) as product, working(product):
        job = (await product.studio.submit(REQUEST)).job
        await asyncio.wait_for(place.observing.wait(), 10)
        await product.studio.cancel(job.id)
        job = await ended(product, job.id)
    assert job.state is JobState.canceled
    assert job.error is not None
    assert job.error["code"] == "job.canceled"
    [attempt] = job.attempts
    assert attempt.error is not None
    assert attempt.error["code"] == "provider.bad_output"


async def test_after_its_worker_died_the_next_one_carries_it_to_the_place(
    make_settings: MakeSettings,
) -> None:
    place = ScriptedProvider(says=[until_canceled])
    async with product_with(make_settings, place) as product:
        async with working(product):
            job = (await product.studio.submit(REQUEST)).job
            await asyncio.wait_for(place.observing.wait(), 10)
            async with asyncio.timeout(10):
                while (await product.studio.get(job.id)).progress is None:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
        await product.jobs.database.execute("UPDATE attempts SET began_at = now() - interval '30 seconds'")
        assert (await product.studio.cancel(job.id)).state is JobState.canceling
        assert not place.canceled
        async with working(product):
            job = await ended(product, job.id)
    assert job.state is JobState.canceled
    assert len(place.canceled) == len(place.submitted) == 1
    [attempt] = job.attempts
    assert attempt.seconds_source == "measured"
    assert 30 <= (attempt.seconds or 0) < 40, "what the first worker saw counts, too"


async def test_a_place_that_says_stopped_and_goes_on_is_told_again(
    make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("genyard.jobs.drive._CANCEL_AGAIN_SECONDS", 0.1)
    place = ScriptedProvider(says=[lambda place: CANCELED if len(place.canceled) > 2 else RUNNING])
    async with product_with(make_settings, place) as product, working(product):
        job = (await product.studio.submit(REQUEST)).job
        await asyncio.wait_for(place.observing.wait(), 10)
        await product.studio.cancel(job.id)
        job = await ended(product, job.id)
    assert job.state is JobState.canceled
    assert len(place.canceled) == 3


async def test_a_cancel_that_the_place_refuses_for_good_leaves_the_run_to_itself(
    make_settings: MakeSettings,
) -> None:
    place = ScriptedProvider(says=[RUNNING])

    async def refuse(ref: Ref) -> Canceled:
        place.canceled.append(ref)
        raise GenyardError(Code.provider_rejected, "the key is not valid any more")

    place.cancel = refuse  # type: ignore[method-assign]
    async with product_with(make_settings, place) as product, working(product):
        job = (await product.studio.submit(REQUEST)).job
        await asyncio.wait_for(place.observing.wait(), 10)
        await product.studio.cancel(job.id)
        job = await ended(product, job.id)
        assert job.state is JobState.canceled
        assert job.as_json()["gpu_seconds"] == {"seconds": None, "source": None, "complete": False}
        place.says = [succeeded()]
        async with asyncio.timeout(10):
            while job.attempts[0].finished_at is None:
                await asyncio.sleep(0.02)
                job = await product.studio.get(job.id)
    [attempt] = job.attempts
    assert (attempt.state, attempt.seconds, attempt.seconds_source) == (
        AttemptState.detached,
        1.5,
        "reported",
    )


async def test_a_run_that_fails_is_measured_where_the_place_does_not_say(make_settings: MakeSettings) -> None:
    broken = Snapshot(state=State.failed, error=GenyardError(Code.provider_failed, "it broke"))
    place = ScriptedProvider(says=[RUNNING, RUNNING, broken])
    async with product_with(make_settings, place) as product, working(product):
        job = await ended(product, (await product.studio.submit(REQUEST)).job.id)
    [attempt] = job.attempts
    assert attempt.seconds_source == "measured"
    assert 0 < (attempt.seconds or 0) < 10
    told = job.as_json()["gpu_seconds"]
    assert told == {"seconds": attempt.seconds, "source": "measured", "complete": True}
