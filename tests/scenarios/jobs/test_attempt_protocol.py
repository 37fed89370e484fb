"""What becomes of a job whatever its place does: each test is one thing that goes wrong, or right."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest

from conftest import MakeSettings
from genyard.app import Product, build, working
from genyard.errors import Code, GenyardError
from genyard.jobs.drive import GIVE_UP_SECONDS, FenceLost
from genyard.jobs.model import AttemptState, Job, JobState
from genyard.jobs.records import Given
from genyard.jobs.runner import Pace
from genyard.providers import Capabilities, Snapshot, State
from support.scripted import RUNNING, ScriptedProvider, png, succeeded

REQUEST: dict[str, Any] = {
    "operation": "txt2img",
    "parameters": {"prompt": "a red dragon", "width": 64, "height": 64},
}
QUICK = Pace(first_retry=0.01, factor=1.0, stopping=0.05)


@contextlib.asynccontextmanager
async def product_with(make_settings: MakeSettings, place: ScriptedProvider) -> AsyncIterator[Product]:
    settings = make_settings()
    async with build(settings, pace=QUICK, providers={"preview": lambda *_: place}) as product:
        yield product


async def run(make_settings: MakeSettings, place: ScriptedProvider) -> Job:
    async with product_with(make_settings, place) as product, working(product):
        submitted = await product.studio.submit(REQUEST)
        return await asyncio.wait_for(product.studio.wait(submitted.job.id), 20)


async def test_success_is_delivered_once_with_its_facts(make_settings: MakeSettings) -> None:
    place = ScriptedProvider()
    job = await run(make_settings, place)
    assert job.state is JobState.succeeded
    assert len(place.submitted) == 1
    [output] = job.outputs
    assert (output.width, output.height, output.media_type) == (8, 8, "image/png")
    assert output.facts["operation"] == "txt2img"
    assert output.facts["seed"] == job.steps[0]["parameters"]["seed"]
    [attempt] = job.attempts
    assert (attempt.state, attempt.word, attempt.seconds) == (AttemptState.succeeded, "done", 1.5)


async def test_a_place_that_cannot_be_reached_is_tried_three_times(make_settings: MakeSettings) -> None:
    down = [GenyardError(Code.provider_unreachable, "connection refused")] * 5
    place = ScriptedProvider(submits=[*down])
    job = await run(make_settings, place)
    assert job.state is JobState.failed
    assert job.error is not None
    assert job.error["code"] == "provider.unreachable"
    assert [attempt.state for attempt in job.attempts] == [AttemptState.failed] * 3
    assert len(set(place.submitted)) == 3, "each attempt has a key of its own"


async def test_a_second_try_may_succeed(make_settings: MakeSettings) -> None:
    stopped = Snapshot(
        state=State.failed, error=GenyardError(Code.provider_interrupted, "somebody stopped it")
    )
    job = await run(make_settings, ScriptedProvider(says=[stopped, succeeded()]))
    assert job.state is JobState.succeeded
    assert [attempt.state for attempt in job.attempts] == [AttemptState.failed, AttemptState.succeeded]
    assert job.attempts[0].error is not None
    assert job.attempts[0].error["code"] == "provider.interrupted"


@pytest.mark.parametrize(("paid", "runs"), [(True, 1), (False, 3)])
async def test_a_lack_of_memory_is_not_bought_twice(
    make_settings: MakeSettings, paid: bool, runs: int
) -> None:
    oom = Snapshot(state=State.failed, error=GenyardError(Code.provider_out_of_memory, "CUDA out of memory"))
    able = Capabilities(cancel="running", progress="coarse", finds=True, paid=paid)
    place = ScriptedProvider(says=[oom], capabilities=able)
    job = await run(make_settings, place)
    assert job.state is JobState.failed
    assert len(place.submitted) == runs


async def test_what_the_caller_must_fix_is_not_tried_again(make_settings: MakeSettings) -> None:
    place = ScriptedProvider(submits=[GenyardError(Code.workflow_invalid, "node 3: no such sampler")])
    job = await run(make_settings, place)
    assert job.state is JobState.failed
    assert len(place.submitted) == 1


LOST = Snapshot(state=State.lost, error=GenyardError(Code.provider_lost, "neither queued nor in the history"))


async def test_a_lost_run_is_tried_again_where_the_place_can_be_asked(make_settings: MakeSettings) -> None:
    place = ScriptedProvider(says=[LOST, succeeded()])
    job = await run(make_settings, place)
    assert job.state is JobState.succeeded
    assert [attempt.state for attempt in job.attempts] == [AttemptState.lost, AttemptState.succeeded]


@pytest.mark.parametrize("arrived", [True, False])
async def test_a_place_that_is_away_when_it_is_asked_is_asked_again(
    make_settings: MakeSettings, arrived: bool
) -> None:
    """Neither the answer to the submission comes nor that to the question: nobody buys another run meanwhile."""
    away = [GenyardError(code, "away") for code in (Code.provider_unreachable, Code.provider_busy)]
    lost = GenyardError(Code.provider_lost, "the answer never came")
    place = ScriptedProvider(submits=[lost], finds=[*away], found=arrived)
    job = await run(make_settings, place)
    assert job.state is JobState.succeeded
    assert len(place.asked) == 3
    states = [attempt.state for attempt in job.attempts]
    assert states == [AttemptState.succeeded] if arrived else [AttemptState.lost, AttemptState.succeeded]
    assert len(place.submitted) == len(states)


async def test_a_place_that_never_answers_again_has_lost_the_run_and_gets_no_other(
    make_settings: MakeSettings,
) -> None:
    away = [GenyardError(Code.provider_unreachable, "away")] * 100
    lost = GenyardError(Code.provider_lost, "the answer never came")
    place = ScriptedProvider(submits=[lost], finds=away)
    async with product_with(make_settings, place) as product:
        around = product.worker._runner._around
        object.__setattr__(around, "clock", lambda: time.monotonic() + len(place.asked) * GIVE_UP_SECONDS)
        async with working(product):
            submitted = await product.studio.submit(REQUEST)
            job = await asyncio.wait_for(product.studio.wait(submitted.job.id), 20)
    assert job.error is not None
    assert job.error["code"] == "provider.lost"
    assert "not answered for 900 s" in job.error["message"]
    assert [attempt.state for attempt in job.attempts] == [AttemptState.lost]
    assert len(place.submitted) == 1


async def test_who_cancels_while_the_place_is_away_is_heard_when_it_is_back(
    make_settings: MakeSettings,
) -> None:
    away = [GenyardError(Code.provider_unreachable, "away")] * 2
    lost = GenyardError(Code.provider_lost, "the answer never came")

    def canceled(place: ScriptedProvider) -> Snapshot:
        return Snapshot(state=State.canceled) if place.canceled else RUNNING

    place = ScriptedProvider(submits=[lost], finds=away, says=[canceled])
    async with product_with(make_settings, place) as product, working(product):
        submitted = await product.studio.submit(REQUEST)
        async with asyncio.timeout(10):
            await place.asking.wait()
        await product.studio.cancel(submitted.job.id)
        job = await asyncio.wait_for(product.studio.wait(submitted.job.id), 20)
    assert job.state is JobState.canceled
    assert len(place.canceled) == 1, "it had arrived"


async def test_a_lost_run_is_never_bought_again_where_it_cannot(make_settings: MakeSettings) -> None:
    blind = Capabilities(cancel="no", progress="none", finds=False)
    place = ScriptedProvider(says=[LOST], capabilities=blind)
    job = await run(make_settings, place)
    assert job.state is JobState.failed
    assert job.error is not None
    assert job.error["code"] == "provider.lost"
    assert [attempt.state for attempt in job.attempts] == [AttemptState.lost]
    assert len(place.submitted) == 1


async def test_a_result_that_is_no_picture_is_not_a_success(make_settings: MakeSettings) -> None:
    place = ScriptedProvider(files=lambda _: b"<html>502 Bad Gateway</html>")
    job = await run(make_settings, place)
    assert job.state is JobState.failed
    assert job.error is not None
    assert job.error["code"] == "provider.bad_output"
    assert not job.outputs


async def test_a_truncated_picture_is_not_a_success(make_settings: MakeSettings) -> None:
    job = await run(make_settings, ScriptedProvider(files=lambda _: png(side=64)[:-20]))
    assert job.error is not None
    assert job.error["code"] == "provider.bad_output"


async def test_a_defect_of_ours_ends_the_job_and_says_so(make_settings: MakeSettings) -> None:
    def explode(_: ScriptedProvider) -> Snapshot:
        raise ZeroDivisionError("oops")

    job = await run(make_settings, ScriptedProvider(says=[explode]))
    assert job.state is JobState.failed
    assert job.error is not None
    assert job.error["code"] == "internal"


async def test_a_broken_connection_does_not_abandon_the_run(make_settings: MakeSettings) -> None:
    broken = GenyardError(Code.provider_unreachable, "connection reset")
    place = ScriptedProvider(says=[RUNNING, broken, RUNNING, succeeded()])
    job = await run(make_settings, place)
    assert job.state is JobState.succeeded
    assert len(place.submitted) == 1


async def test_cancel_while_queued_never_submits(make_settings: MakeSettings) -> None:
    place = ScriptedProvider()
    async with product_with(make_settings, place) as product:
        submitted = await product.studio.submit(REQUEST)
        job = await product.studio.cancel(submitted.job.id)
        assert job.state is JobState.canceled
        again = await product.studio.cancel(submitted.job.id)
        assert again.state is JobState.canceled, "a second cancel is no error"
        async with working(product):
            other = await product.studio.submit(REQUEST)
            await asyncio.wait_for(product.studio.wait(other.job.id), 10)
    assert len(place.submitted) == 1, "only the other job was submitted"


async def test_cancel_while_running_reaches_the_place(make_settings: MakeSettings) -> None:
    def until_canceled(place: ScriptedProvider) -> Snapshot:
        return Snapshot(state=State.canceled, word="interrupted") if place.canceled else RUNNING

    place = ScriptedProvider(says=[until_canceled])
    async with product_with(make_settings, place) as product, working(product):
        submitted = await product.studio.submit(REQUEST)
        await asyncio.wait_for(place.observing.wait(), 10)
        await product.studio.cancel(submitted.job.id)
        job = await asyncio.wait_for(product.studio.wait(submitted.job.id), 10)
    assert job.state is JobState.canceled
    assert len(place.canceled) == 1
    assert [attempt.state for attempt in job.attempts] == [AttemptState.canceled]


async def test_a_run_that_ends_while_it_is_canceled_is_kept_but_not_delivered(
    make_settings: MakeSettings,
) -> None:
    def too_late(place: ScriptedProvider) -> Snapshot:
        return succeeded() if place.canceled else RUNNING

    place = ScriptedProvider(says=[too_late])
    async with product_with(make_settings, place) as product, working(product):
        submitted = await product.studio.submit(REQUEST)
        await asyncio.wait_for(place.observing.wait(), 10)
        await product.studio.cancel(submitted.job.id)
        job = await asyncio.wait_for(product.studio.wait(submitted.job.id), 10)
        assert not await product.studio.assets()
    assert job.state is JobState.canceled
    assert not job.outputs
    assert [attempt.state for attempt in job.attempts] == [AttemptState.succeeded]


async def test_a_place_that_cannot_cancel_goes_on_without_us(make_settings: MakeSettings) -> None:
    stubborn = Capabilities(cancel="no", progress="none")
    place = ScriptedProvider(says=[RUNNING], capabilities=stubborn)
    async with product_with(make_settings, place) as product, working(product):
        submitted = await product.studio.submit(REQUEST)
        await asyncio.wait_for(place.observing.wait(), 10)
        await product.studio.cancel(submitted.job.id)
        job = await asyncio.wait_for(product.studio.wait(submitted.job.id), 10)
    assert job.state is JobState.canceled
    assert [attempt.state for attempt in job.attempts] == [AttemptState.detached]


async def test_somebody_elses_interrupt_is_not_our_cancel(make_settings: MakeSettings) -> None:
    place = ScriptedProvider(says=[Snapshot(state=State.canceled), succeeded()])
    job = await run(make_settings, place)
    assert job.state is JobState.succeeded
    assert [attempt.state for attempt in job.attempts] == [AttemptState.failed, AttemptState.succeeded]


async def test_a_dead_workers_run_is_observed_on_by_another(make_settings: MakeSettings) -> None:
    place = ScriptedProvider(says=[RUNNING])
    async with product_with(make_settings, place) as product:
        first = asyncio.create_task(product.worker.serve())
        submitted = await product.studio.submit(REQUEST)
        await asyncio.wait_for(place.observing.wait(), 10)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        still = await product.studio.get(submitted.job.id)
        assert still.state is JobState.running
        place.says = [succeeded()]
        async with working(product):
            job = await asyncio.wait_for(product.studio.wait(submitted.job.id), 10)
    assert job.state is JobState.succeeded
    assert len(place.submitted) == 1
    assert len(job.attempts) == 1


@pytest.mark.parametrize(("arrived", "late"), [(True, 0), (True, 1), (False, 0)])
async def test_a_death_between_submit_and_record_asks_the_place_first(
    make_settings: MakeSettings, arrived: bool, late: int
) -> None:
    """The runner dies with the answer on the wire, or its request: the next one looks, twice, before it submits."""
    place = ScriptedProvider(found=arrived, found_after=late)
    hang = asyncio.Event()

    async def die(plan: Any, key: Any, media: Any, leave: Any, **_: Any) -> Any:
        await leave()
        place.submitted.append(key)
        hang.set()
        await asyncio.sleep(60)

    submit, place.submit = place.submit, die  # type: ignore[method-assign]
    async with product_with(make_settings, place) as product:
        first = asyncio.create_task(product.worker.serve())
        submitted = await product.studio.submit(REQUEST)
        await asyncio.wait_for(hang.wait(), 10)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        place.submit = submit  # type: ignore[method-assign]
        async with working(product):
            job = await asyncio.wait_for(product.studio.wait(submitted.job.id), 10)
    assert job.state is JobState.succeeded
    assert place.asked == place.submitted[:1] * (2 if late or not arrived else 1)
    assert len(place.submitted) == (1 if arrived else 2)
    assert len(set(place.submitted)) == 1, "the same key"


async def test_whose_worker_was_taken_for_dead_meanwhile_does_not_submit(make_settings: MakeSettings) -> None:
    """Its lock was lost while it uploaded: another runner has the stage, and has submitted."""
    place = ScriptedProvider(found=False)
    uploading, uploaded, left = asyncio.Event(), asyncio.Event(), asyncio.Event()
    raised: list[BaseException] = []

    async def upload(plan: Any, key: Any, media: Any, leave: Any, **_: Any) -> Any:
        first = not uploading.is_set()
        uploading.set()
        if first:
            await uploaded.wait()
        try:
            await leave()
        except BaseException as error:
            raised.append(error)
            left.set()
            raise
        place.submitted.append(key)
        return {"key": str(key)}

    place.submit = upload  # type: ignore[method-assign]
    async with product_with(make_settings, place) as product, working(product):
        database = product.jobs.database
        submitted = await product.studio.submit(REQUEST)
        await asyncio.wait_for(uploading.wait(), 10)
        await database.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND classid = 7264"
        )
        await database.execute("UPDATE stages SET worker_id = 0 WHERE state = 'running'")
        job = await asyncio.wait_for(product.studio.wait(submitted.job.id), 10)
        uploaded.set()
        await asyncio.wait_for(left.wait(), 10)
    assert job.state is JobState.succeeded
    assert len(place.submitted) == 1
    assert [type(one) for one in raised] == [FenceLost]


async def test_nobody_hands_on_what_another_worker_has(make_settings: MakeSettings) -> None:
    """A crash of the database undoes a dispatch that nobody has claimed yet; its epoch may come again."""
    place = ScriptedProvider(says=[RUNNING])
    sql = "SELECT id, epoch, worker_id, dispatched_at FROM stages"
    async with product_with(make_settings, place) as product, working(product):
        submitted = await product.studio.submit(REQUEST)
        await asyncio.wait_for(place.observing.wait(), 10)
        before = await product.jobs.database.row(sql)
        assert before is not None
        stage, epoch, other = before["id"], before["epoch"], before["worker_id"] + 1
        await product.jobs.hand_back(stage, epoch, other)
        await product.jobs.hand_on([Given(stage_id=stage, epoch=epoch, worker_id=other, unsent=None)])
        assert await product.jobs.database.row(sql) == before
        place.says = [succeeded()]
        job = await asyncio.wait_for(product.studio.wait(submitted.job.id), 10)
    assert job.state is JobState.succeeded
    assert len(place.submitted) == 1


async def test_a_frozen_runner_that_wakes_changes_nothing(make_settings: MakeSettings) -> None:
    release = asyncio.Event()

    async def frozen(place: ScriptedProvider) -> Snapshot:
        await release.wait()
        return succeeded(count=2)

    place = ScriptedProvider(says=[frozen, succeeded(count=1)])
    async with product_with(make_settings, place) as product, working(product):
        submitted = await product.studio.submit(REQUEST)
        await asyncio.wait_for(place.observing.wait(), 10)
        await product.jobs.database.execute("UPDATE stages SET worker_id = 0 WHERE state = 'running'")
        job = await asyncio.wait_for(product.studio.wait(submitted.job.id), 10)
        release.set()
        await asyncio.sleep(0.2)
        after = await product.studio.get(submitted.job.id)
    assert job.state is JobState.succeeded
    assert len(after.outputs) == 1
    assert after == job


async def test_a_database_that_breaks_off_does_not_end_the_job(make_settings: MakeSettings) -> None:
    def break_off(_: ScriptedProvider) -> Snapshot:
        raise psycopg.OperationalError("server closed the connection unexpectedly")

    place = ScriptedProvider(says=[break_off, succeeded()])
    job = await run(make_settings, place)
    assert job.state is JobState.succeeded
    assert len(place.submitted) == 1
    assert [attempt.state for attempt in job.attempts] == [AttemptState.succeeded]


async def test_a_deadline_that_passes_in_the_queue(make_settings: MakeSettings) -> None:
    place = ScriptedProvider()
    async with product_with(make_settings, place) as product:
        submitted = await product.studio.submit({**REQUEST, "expires_in": 0.01})
        await asyncio.sleep(0.05)
        async with working(product):
            job = await asyncio.wait_for(product.studio.wait(submitted.job.id), 10)
    assert job.state is JobState.expired
    assert not place.submitted
