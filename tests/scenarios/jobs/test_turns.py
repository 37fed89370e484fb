"""Who goes next: turns of owners, caps, priority, rates, loaded models, full queues, pauses, jobs that kill workers."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings, strategies

from conftest import MakeSettings
from genyard.app import Product, build, working
from genyard.database import open_database
from genyard.errors import Code, GenyardError
from genyard.jobs.model import AttemptState, Job, JobState
from genyard.jobs.runner import Pace
from genyard.jobs.store import MAX_CRASHES, Jobs
from genyard.settings import QueueSettings, TierSettings
from support.queue import Queue
from support.scripted import RUNNING, ScriptedProvider, succeeded

REQUEST: dict[str, Any] = {
    "operation": "txt2img",
    "parameters": {"prompt": "a red dragon", "width": 64, "height": 64},
}
QUICK = Pace(first_retry=0.01, factor=1.0)


@pytest.fixture
async def queue(make_settings: MakeSettings) -> AsyncIterator[Queue]:
    async with open_database(make_settings(), pool_size=8) as database:
        yield Queue(database=database)


@contextlib.asynccontextmanager
async def product_with(
    make_settings: MakeSettings,
    place: ScriptedProvider,
    *,
    tiers: dict[str, TierSettings] | None = None,
    rules: QueueSettings | None = None,
    **endpoint: Any,
) -> AsyncIterator[Product]:
    given = make_settings()
    preview = given.endpoints["preview"].model_copy(update=endpoint)
    changes = {"tiers": tiers or {}, "queue": rules or QueueSettings(), "endpoints": {"preview": preview}}
    given = given.model_copy(update=changes)
    async with build(given, pace=QUICK, providers={"preview": lambda *_: place}) as product:
        yield product


async def submit(product: Product, **more: Any) -> Job:
    return (await product.studio.submit({**REQUEST, **more})).job


async def standing(product: Product) -> Job:
    return await product.studio.get((await submit(product)).id)


def names(started: list[dict[str, Any]]) -> str:
    return "".join(row["owner"] for row in started)


# ---- turns of owners ----


async def test_owners_take_turns_however_many_jobs_each_has(queue: Queue) -> None:
    await queue.endpoint()
    for number, (name, count) in enumerate({"a": 500, "b": 3, "c": 1}.items(), 1):
        await queue.wait(await queue.owner(name, number=number), count)
    assert names(await queue.serve(9)) == "abcababaa"


async def test_who_comes_late_waits_for_no_backlog_of_others(queue: Queue) -> None:
    await queue.endpoint()
    await queue.wait(await queue.owner("a", number=1), 200)
    await queue.serve(5)
    await queue.wait(await queue.owner("z", number=9), 1)
    assert "z" in names(await queue.serve(2))


async def test_an_owner_s_own_jobs_start_in_the_order_in_which_they_came(queue: Queue) -> None:
    await queue.endpoint()
    asked = await queue.wait(await queue.owner("a"), 20)
    assert [row["job_id"] for row in await queue.serve(20)] == asked


async def test_the_turns_hold_across_many_places_at_once(queue: Queue) -> None:
    await queue.endpoint(capacity=6)
    for number, name in enumerate("abc", 1):
        await queue.wait(await queue.owner(name, number=number), 50)
    assert Counter(names(await queue.dispatch())) == {"a": 2, "b": 2, "c": 2}


async def test_a_retry_that_has_to_wait_does_not_hold_its_owner_s_turn(queue: Queue) -> None:
    await queue.endpoint()
    first, second = await queue.wait(await queue.owner("a"), 2)
    await queue.database.execute(
        "UPDATE stages SET not_before = now() + interval '1 hour' WHERE job_id = %(id)s", id=first
    )
    assert [row["job_id"] for row in await queue.serve(1)] == [second]
    assert await queue.dispatch() == []


# ---- priority ----


async def test_the_more_urgent_goes_first_even_behind_a_long_queue(queue: Queue) -> None:
    await queue.endpoint()
    await queue.wait(await queue.owner("a", number=1), 300)
    await queue.wait(await queue.owner("b", number=2), 1, priority=5)
    assert names(await queue.serve(2)) == "ba"


async def test_a_tier_adds_to_the_priority_and_bounds_what_its_owners_may_ask_for(queue: Queue) -> None:
    await queue.endpoint()
    await queue.tier("free", priority=-10, max_priority=0)
    await queue.tier("paid", priority=10)
    await queue.wait(await queue.owner("f", "free"), 1, priority=100)
    await queue.wait(await queue.owner("s"), 1)
    await queue.wait(await queue.owner("p", "paid"), 1)
    assert [(row["owner"], row["priority"]) for row in await queue.serve(3)] == [
        ("p", 10),
        ("s", 0),
        ("f", -10),
    ]


async def test_who_waits_beyond_patience_gets_an_eighth_of_the_starts(queue: Queue) -> None:
    await queue.endpoint()
    await queue.wait(await queue.owner("u"), 40, priority=50)
    await queue.wait(await queue.owner("p"), 5, waited=3600)
    assert names(await queue.serve(24)) == "uuuuuuup" * 3


async def test_nobody_who_is_patient_goes_before_the_urgent(queue: Queue) -> None:
    await queue.endpoint()
    await queue.wait(await queue.owner("u"), 20, priority=50)
    await queue.wait(await queue.owner("p"), 5, waited=60)
    assert names(await queue.serve(20)) == "u" * 20


# ---- caps ----


async def test_an_owner_runs_no_more_than_its_tier_allows_and_others_go_past(queue: Queue) -> None:
    await queue.endpoint(capacity=10)
    await queue.tier("free", at_once=2)
    await queue.wait(await queue.owner("f", "free", 1), 50)
    await queue.wait(await queue.owner("g", "free", 2), 1)
    await queue.wait(await queue.owner("s", number=3), 3)
    assert Counter(names(await queue.dispatch())) == {"f": 2, "g": 1, "s": 3}
    assert await queue.dispatch() == []
    await queue.finish((await queue.running())[:1])
    assert len(await queue.running()) + len(await queue.dispatch()) == 6


async def test_a_cap_holds_over_all_endpoints_when_they_dispatch_at_once(queue: Queue) -> None:
    await queue.tier("free", at_once=3)
    owner = await queue.owner("f", "free")
    places = [f"gpu{number}" for number in range(6)]
    for name in places:
        await queue.endpoint(name, capacity=4)
        await queue.wait(owner, 10, endpoint=name)
    for _ in range(5):
        await asyncio.gather(*(queue.dispatch(name) for name in places))
        assert len(await queue.running()) <= 3
    await queue.dispatch(places[0])
    assert len(await queue.running()) == 3


async def test_an_unknown_tier_has_the_rules_of_everybody(queue: Queue) -> None:
    await queue.endpoint(capacity=10)
    await queue.tier("standard", at_once=1)
    await queue.wait(await queue.owner("x", "gone"), 5)
    assert len(await queue.dispatch()) == 1


async def test_a_crash_leaks_no_place(queue: Queue) -> None:
    """Nothing is counted down at an end: whatever ends a stage frees its place."""
    await queue.endpoint(capacity=2)
    await queue.tier("free", at_once=1)
    await queue.wait(await queue.owner("f", "free"), 5)
    assert len(await queue.dispatch()) == 1
    await queue.database.execute(
        "DELETE FROM jobs WHERE id IN (SELECT job_id FROM stages WHERE state = 'running')"
    )
    assert len(await queue.dispatch()) == 1


async def test_a_free_cap_lets_the_next_job_of_the_owner_start_while_it_works(
    make_settings: MakeSettings,
) -> None:
    tiers = {"standard": TierSettings(at_once=1)}
    most = 0

    async def look(place: ScriptedProvider) -> Any:
        nonlocal most
        [row] = await seen.database.rows("SELECT count(*) AS n FROM stages WHERE state = 'running'")
        most = max(most, row["n"])
        return succeeded()

    async with product_with(
        make_settings, ScriptedProvider(says=[look]), tiers=tiers, concurrency=4
    ) as product:
        seen = product.jobs
        async with working(product):
            jobs = [await submit(product) for _ in range(6)]
            ended = [await asyncio.wait_for(product.studio.wait(job.id), 20) for job in jobs]
    assert {job.state for job in ended} == {JobState.succeeded}
    assert most == 1


# ---- rates ----


async def test_no_more_start_in_a_minute_than_the_endpoint_s_settings_say(queue: Queue) -> None:
    await queue.endpoint(capacity=10, starts_per_minute=3)
    await queue.wait(await queue.owner("a"), 20)
    assert len(await queue.serve(8)) == 3
    await queue.database.execute("UPDATE starts SET at = at - interval '61 seconds' WHERE ctid IN "
                                 "(SELECT ctid FROM starts LIMIT 2)")  # fmt: skip
    assert len(await queue.serve(8)) == 2


# ---- many who decide at the same moment ----

RUN = "SELECT count(*) AS n FROM stages WHERE state = 'running'"
END_ONE = """UPDATE stages SET state = 'succeeded', finished_at = now()
WHERE id = (SELECT id FROM stages WHERE state = 'running' LIMIT 1 FOR UPDATE SKIP LOCKED)"""


@pytest.mark.parametrize("tiered", [False, True])
async def test_places_that_many_fill_and_free_at_once_are_neither_overfilled_nor_forgotten(
    queue: Queue, tiered: bool
) -> None:
    """Nobody looks again: each commits, then dispatches once."""
    await queue.endpoint(capacity=3)
    if tiered:
        await queue.tier("standard", at_once=50)
    most = 0

    async def come_and_go(owner: UUID) -> None:
        nonlocal most
        for ending in (False, False, True) * 6:
            if ending:
                await queue.database.execute(END_ONE)
            else:
                await queue.wait(owner)
            await queue.database.row("SELECT genyard_dispatch('gpu')")
            most = max(most, (await queue.database.rows(RUN))[0]["n"])

    owners = [await queue.owner(str(number)) for number in range(6)]
    await asyncio.gather(*(come_and_go(owner) for owner in owners))
    assert most == 3
    assert (await queue.database.rows(RUN))[0]["n"] == 3
    while left := (await queue.database.rows("SELECT id FROM stages WHERE state = 'ready'")):
        await asyncio.gather(*(queue.database.execute(END_ONE) for _ in range(3)))
        await asyncio.gather(*(queue.database.row("SELECT genyard_dispatch('gpu')") for _ in range(3)))
        assert len(await queue.running()) == min(3, len(left))


async def test_who_finds_nothing_to_start_waits_for_nobody_s_decision(queue: Queue) -> None:
    await queue.endpoint(capacity=1)
    await queue.dispatch()
    await queue.wait(await queue.owner("a"), 2)
    assert len(await queue.dispatch()) == 1
    async with queue.database.transaction() as deciding:
        await deciding.execute("SELECT pg_advisory_xact_lock(72641, hashtext('gpu'))")
        async with asyncio.timeout(10):
            assert await queue.dispatch() == []


# ---- models ----


async def test_a_model_that_is_loaded_is_not_swapped_for_each_job(queue: Queue) -> None:
    await queue.endpoint(affinity_seconds=60, affinity_starts=4)
    await queue.wait(await queue.owner("a", number=1), 12, model="flux")
    await queue.wait(await queue.owner("b", number=2), 12, model="sdxl")
    models = [row["model"] for row in await queue.serve(24)]
    swaps = sum(one != other for one, other in itertools.pairwise(models))
    assert swaps <= 6
    assert max(len(run) for run in "".join(model[0] for model in models[:12]).split("s")) <= 5


async def test_without_affinity_owners_take_turns_whatever_is_loaded(queue: Queue) -> None:
    await queue.endpoint()
    await queue.wait(await queue.owner("a", number=1), 3, model="flux")
    await queue.wait(await queue.owner("b", number=2), 3, model="sdxl")
    assert names(await queue.serve(6)) == "ababab"


async def test_who_was_passed_over_goes_next_when_the_time_is_up(queue: Queue) -> None:
    await queue.endpoint(affinity_seconds=30, affinity_starts=1000)
    await queue.wait(await queue.owner("a", number=1), 50, model="flux")
    await queue.wait(await queue.owner("b", number=2), 50, model="sdxl")
    assert names(await queue.serve(4)) == "aaaa"
    await queue.database.execute("UPDATE endpoints SET passed_since = passed_since - interval '31 seconds'")
    assert names(await queue.serve(3)) == "bbb"


async def test_a_loaded_model_is_no_reason_to_let_the_urgent_wait(queue: Queue) -> None:
    await queue.endpoint(affinity_seconds=60, affinity_starts=8)
    await queue.wait(await queue.owner("a", number=1), 5, model="flux")
    assert names(await queue.serve(1)) == "a"
    await queue.wait(await queue.owner("b", number=2), 1, model="sdxl", priority=1)
    assert names(await queue.serve(1)) == "b"


Demand = strategies.lists(
    strategies.tuples(
        strategies.integers(0, 3),
        strategies.sampled_from(["flux", "sdxl", "qwen", None]),
        strategies.integers(0, 2),
    ),
    min_size=1,
    max_size=25,
)


@pytest.mark.long
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(demand=Demand, starts=strategies.integers(0, 3), capacity=strategies.integers(1, 3))
async def test_nobody_starves_and_nobody_starts_twice(
    queue: Queue, demand: list[tuple[int, str | None, int]], starts: int, capacity: int
) -> None:
    """Whatever is asked: as long as places get free, everybody starts, once; and of the most urgent, the owner whose
    turn it is waits for `starts` preferred ones at most, for each that goes before him."""
    await queue.database.execute("TRUNCATE jobs, stages, endpoints, turns, procrastinate_jobs CASCADE")
    await queue.database.execute("DELETE FROM owners")
    await queue.endpoint(capacity=capacity, affinity_seconds=3600, affinity_starts=starts)
    owners = [await queue.owner(str(number), number=number + 1) for number in range(4)]
    asked: list[UUID] = []
    for owner, model, priority in demand:
        asked += await queue.wait(owners[owner], model=model, priority=priority)
    served = await queue.serve(len(asked))
    assert sorted(row["job_id"] for row in served) == sorted(asked)
    priorities = [row["priority"] for row in served]
    assert priorities == sorted(priorities, reverse=True)
    since: dict[tuple[str, int], int] = {}
    for at, row in enumerate(served):
        key = (row["owner"], row["priority"])
        begun = since.get(key, priorities.index(row["priority"]) - 1)
        others = len({other["owner"] for other in served if other["priority"] == row["priority"]})
        assert at - begun <= others * (starts + 1) + starts
        since[key] = at


# ---- full queues ----


async def test_of_a_hundred_at_once_exactly_as_many_wait_as_may(make_settings: MakeSettings) -> None:
    tiers = {"standard": TierSettings(queue=7)}
    async with product_with(make_settings, ScriptedProvider(), tiers=tiers) as product:
        told = await asyncio.gather(*(submit(product) for _ in range(100)), return_exceptions=True)
        refused = [one for one in told if isinstance(one, GenyardError)]
        assert len(told) - len(refused) == 7
        assert {one.code for one in refused} == {Code.limit_exceeded}
        assert refused[0].context["position"] == 8
        assert refused[0].context["retry_after"] >= 1
        assert len(await product.studio.jobs(limit=100)) == 7


async def test_the_limit_of_all_owners_holds_too(make_settings: MakeSettings) -> None:
    async with product_with(make_settings, ScriptedProvider(), rules=QueueSettings(limit=5)) as product:
        owners = [(await product.owners.create_key(f"o{number}"))[1] for number in range(4)]
        ids = [await product.owners.owner_of(key) for key in owners]
        told = await asyncio.gather(
            *(product.studio.submit(REQUEST, owner_id=ids[number % 4]) for number in range(40)),
            return_exceptions=True,
        )
    refused = [one for one in told if isinstance(one, GenyardError)]
    assert len(told) - len(refused) == 5
    assert refused[0].context["scope"] == "all"


async def test_one_owner_s_full_queue_is_nobody_else_s_matter(make_settings: MakeSettings) -> None:
    tiers = {"standard": TierSettings(queue=1)}
    async with product_with(make_settings, ScriptedProvider(), tiers=tiers) as product:
        await submit(product)
        other = await product.owners.owner_of((await product.owners.create_key("other"))[1])
        await product.studio.submit(REQUEST, owner_id=other)
        with pytest.raises(GenyardError, match="the queue is full"):
            await submit(product)


async def test_a_full_queue_still_knows_what_it_has_accepted(make_settings: MakeSettings) -> None:
    tiers = {"standard": TierSettings(queue=1)}
    async with product_with(make_settings, ScriptedProvider(), tiers=tiers) as product:
        told = await asyncio.gather(
            *(product.studio.submit(REQUEST, idempotency_key="same") for _ in range(8)),
            return_exceptions=True,
        )
        assert len({one.job.id for one in told}) == 1  # type: ignore[union-attr]


async def test_a_canceled_job_makes_room_at_once(make_settings: MakeSettings) -> None:
    tiers = {"standard": TierSettings(queue=1)}
    async with product_with(make_settings, ScriptedProvider(), tiers=tiers) as product:
        await product.studio.cancel((await submit(product)).id)
        await submit(product)


# ---- position and start ----


async def test_a_queued_job_says_where_it_stands_as_dispatching_goes(queue: Queue) -> None:
    await queue.endpoint()
    asked = []
    for number, (name, count, priority) in enumerate(
        [("a", 5, 0), ("b", 2, 0), ("c", 3, 1), ("d", 1, -1)], 1
    ):
        asked += await queue.wait(await queue.owner(name, number=number), count, priority=priority)
    await queue.serve(3)
    found = await Jobs(queue.database).standings(asked)
    told = sorted(found, key=lambda job_id: found[job_id].position)
    assert [found[job_id].position for job_id in told] == list(range(1, 9))
    alone = [(await Jobs(queue.database).standings([job_id]))[job_id] for job_id in told]
    assert alone == [found[job_id] for job_id in told], "asked for one by one, and all together"
    assert [row["job_id"] for row in await queue.serve(8)] == told


async def test_nobody_knows_when_a_job_starts_until_runs_were_seen(make_settings: MakeSettings) -> None:
    async with product_with(make_settings, ScriptedProvider(), concurrency=1) as product:
        jobs = [await standing(product) for _ in range(3)]
        assert [job.queue.position if job.queue else None for job in jobs] == [None, 1, 2]
        told = (await product.studio.get(jobs[2].id)).as_json()["queue"]
    assert told == {"position": 2, "endpoint": "preview", "paused": False, "starts_in": None}


async def test_the_start_is_told_by_what_runs_took_of_late(make_settings: MakeSettings) -> None:
    hold = asyncio.Event()

    async def until_told(place: ScriptedProvider) -> Any:
        await hold.wait()
        return succeeded()

    place = ScriptedProvider(says=[succeeded(), succeeded(), succeeded(), until_told])
    async with product_with(make_settings, place, concurrency=1) as product, working(product):
        for _ in range(3):
            await asyncio.wait_for(product.studio.wait((await submit(product)).id), 20)
        await product.jobs.database.execute(
            "UPDATE attempts SET created_at = finished_at - (9 + number) * interval '1 second'"
        )
        await submit(product)
        second, third = await standing(product), await standing(product)
        assert second.queue is not None
        assert third.queue is not None
        assert second.queue.starts_in is not None
        assert third.queue.starts_in is not None
        least, most = second.queue.starts_in
        assert 5 < least <= 10 <= most < 13
        least, most = third.queue.starts_in
        assert 15 < least <= 20 <= most < 24
        [first_told] = [event async for event in one_progress(product, third.id)]
        assert first_told["detail"].startswith("number 2 in the queue, starts in ")
        assert first_told["queue"]["position"] == 2
        hold.set()
        await asyncio.wait_for(product.studio.wait(third.id), 20)
        assert (await product.studio.get(third.id)).queue is None


async def one_progress(product: Product, job_id: UUID) -> AsyncIterator[dict[str, Any]]:
    async for event in product.studio.watch(job_id):
        if event.kind == "progress":
            yield dict(event.data)
            return


# ---- pauses ----


async def test_nothing_starts_at_a_paused_endpoint_and_what_runs_goes_on(make_settings: MakeSettings) -> None:
    hold = asyncio.Event()

    async def until_told(place: ScriptedProvider) -> Any:
        await hold.wait()
        return succeeded()

    place = ScriptedProvider(says=[until_told])
    async with product_with(make_settings, place) as product, working(product):
        running = await submit(product)
        await asyncio.wait_for(place.observing.wait(), 10)
        await product.jobs.endpoints.pause("preview", "new GPU")
        waiting = await standing(product)
        assert waiting.queue is not None
        assert waiting.queue.paused
        hold.set()
        assert (await asyncio.wait_for(product.studio.wait(running.id), 10)).state is JobState.succeeded
        await product.jobs.sweep(10.0)
        assert (await product.studio.get(waiting.id)).state is JobState.queued
        assert len(place.submitted) == 1
        await product.jobs.endpoints.resume("preview")
        assert (await asyncio.wait_for(product.studio.wait(waiting.id), 10)).state is JobState.succeeded


async def test_a_pause_is_remembered_when_genyard_starts_again(make_settings: MakeSettings) -> None:
    async with product_with(make_settings, ScriptedProvider()) as product:
        await product.jobs.endpoints.pause("preview", "new GPU")
    async with product_with(make_settings, ScriptedProvider()) as product:
        assert (await product.jobs.endpoints.paused())["preview"]["paused_why"] == "new GPU"
        with pytest.raises(GenyardError, match="no endpoint 'nowhere'"):
            await product.jobs.endpoints.pause("nowhere")


# ---- deadlines ----


async def test_a_job_that_waits_too_long_expires_and_takes_nobody_s_turn(make_settings: MakeSettings) -> None:
    place = ScriptedProvider()
    async with product_with(make_settings, place, concurrency=1) as product:
        late = await submit(product, expires_in=3600)
        later = await submit(product, expires_in=3600)
        await submit(product)
        await product.jobs.database.execute("UPDATE jobs SET expires_at = now() WHERE expires_at IS NOT NULL")
        async with working(product):
            ended = [await asyncio.wait_for(product.studio.wait(job.id), 10) for job in (late, later)]
            [last] = [job for job in await product.studio.jobs() if job.expires_at is None]
            assert (await asyncio.wait_for(product.studio.wait(last.id), 10)).state is JobState.succeeded
    assert [job.state for job in ended] == [JobState.expired] * 2
    assert len(place.submitted) == 1


# ---- jobs that kill their worker ----


async def crash(product: Product, worker: str = "doomed") -> None:
    """A worker takes everything that was handed out, and is dead before the next beat."""
    number = await product.jobs.register_worker(worker)
    await product.jobs.database.execute(
        "UPDATE stages SET worker_id = %(number)s WHERE state = 'running' AND worker_id IS NULL",
        number=number,
    )
    await product.jobs.sweep(10.0)


async def test_a_job_that_always_crashes_its_worker_is_set_aside(make_settings: MakeSettings) -> None:
    place = ScriptedProvider(says=[RUNNING])
    async with product_with(make_settings, place) as product:
        job = await submit(product)
        async with working(product):
            await asyncio.wait_for(place.observing.wait(), 10)
        for _ in range(MAX_CRASHES):
            assert not (await product.studio.get(job.id)).state.ended
            await product.jobs.sweep(10.0)
            await crash(product)
        ended = await product.studio.get(job.id)
        events = [event.kind async for event in product.studio.watch(job.id)]
    assert ended.state is JobState.failed
    assert ended.error is not None
    assert ended.error["code"] == "internal"
    assert "set aside: 5 workers crashed" in ended.error["message"]
    assert [attempt.state for attempt in ended.attempts] == [AttemptState.lost]
    assert events == ["queued", "running", "failed"]


async def test_the_innocent_get_away_from_the_one_that_kills(make_settings: MakeSettings) -> None:
    """From the second crash on, ever fewer suspects run together; who ends before the next crash is out of it."""
    async with product_with(make_settings, ScriptedProvider(), concurrency=60) as product:
        jobs = [await submit(product) for _ in range(60)]
        at_once = []
        for _ in range(MAX_CRASHES - 1):
            await crash(product)
            rows = await product.jobs.database.rows(
                "SELECT job_id FROM stages WHERE state = 'running' AND worker_id IS NULL"
            )
            at_once.append(len(rows))
        assert at_once == [60, 32, 8, 1]
        assert not [job for job in jobs if (await product.studio.get(job.id)).state.ended]


async def test_a_worker_that_stops_in_order_is_no_crash(make_settings: MakeSettings) -> None:
    place = ScriptedProvider(says=[RUNNING])
    async with product_with(make_settings, place) as product:
        job = await submit(product)
        for _ in range(MAX_CRASHES + 1):
            place.observing.clear()
            async with working(product):
                await asyncio.wait_for(place.observing.wait(), 10)
        assert (await product.studio.get(job.id)).state is JobState.running
        [row] = await product.jobs.database.rows("SELECT crashes FROM stages")
    assert row["crashes"] == 0
    assert len(place.submitted) == 1
