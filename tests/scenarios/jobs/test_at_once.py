"""Many who want the same at the same moment: exactly those pass for whom there is room, and nothing is left of the
others."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Sequence
from typing import Any
from uuid import UUID

import aiohttp
import pytest

from conftest import MakeSettings
from genyard.app import Product, working
from genyard.errors import Code, GenyardError
from genyard.jobs.model import Job
from genyard.providers import Snapshot, State
from genyard.settings import BudgetSettings, CreditSettings, PriceRow, QueueSettings, TierSettings
from scenarios.http.client import Client, serving
from support.often import often
from support.paid import paid_place
from support.scripted import RUNNING, ScriptedProvider

BODY: dict[str, Any] = {
    "operation": "txt2img",
    "parameters": {"prompt": "a fox", "width": 64, "height": 64, "seed": 1},
}
CANCELED = Snapshot(state=State.canceled)
CREDITS = CreditSettings(enabled=True, prices=(PriceRow(operation="*", credits=2),))
#: What there is room for is told in jobs; a job costs 2 credits and is taken to cost 0.40 dollars.
LIMITS: dict[str, tuple[Code, dict[str, Any]]] = {
    "credits": (Code.credits_insufficient, {}),
    "the day's cap of the place": (Code.spend_capped, {"daily_cap_usd": 0.4}),
    "the day's budget of the owner": (Code.limit_exceeded, {"budgets": {"daily_usd": 0.4}}),
    "the month's budget of the owner": (Code.limit_exceeded, {"budgets": {"monthly_usd": 0.4}}),
    "the owner's queue": (Code.limit_exceeded, {"tiers": 1}),
    "everybody's queue": (Code.limit_exceeded, {"queue": 1}),
}


@contextlib.asynccontextmanager
async def room_for(jobs: int, limit: str, make_settings: MakeSettings) -> AsyncIterator[tuple[Product, UUID]]:
    """A product without a worker, and an owner for whom there is room for so many jobs."""
    _, how = LIMITS[limit]
    budget = {name: each * jobs for name, each in how.get("budgets", {}).items()}
    settings: dict[str, Any] = {"credits": CREDITS, "budgets": BudgetSettings(**budget)}
    if "tiers" in how:
        settings["tiers"] = {"standard": TierSettings(queue=jobs)}
    if "queue" in how:
        settings["queue"] = QueueSettings(limit=jobs)
    cap = jobs * how.get("daily_cap_usd", 100.0)
    async with paid_place(make_settings, ScriptedProvider(), settings, daily_cap_usd=cap) as product:
        await product.owners.create_key("alice")
        owner = await product.studio.ledger.owner_named("alice")
        credits = 2 * jobs + 1 if limit == "credits" else 1_000_000
        await product.studio.ledger.give(owner, "purchase", credits, actor="test")
        yield product, owner


async def at_once(wanted: Sequence[Awaitable[Any]]) -> tuple[list[Any], Counter[Code]]:
    """What came of it, and how often which error."""
    told = await asyncio.gather(*wanted, return_exceptions=True)
    strange = [one for one in told if isinstance(one, BaseException) and not isinstance(one, GenyardError)]
    assert strange == []
    codes = Counter(one.code for one in told if isinstance(one, GenyardError))
    return [one for one in told if not isinstance(one, GenyardError)], codes


async def stored(product: Product) -> dict[str, int]:
    counted = {}
    for table in ("jobs", "stages", "events"):
        row = await product.jobs.database.row(f"SELECT count(*) AS n FROM {table}")
        assert row is not None
        counted[table] = row["n"]
    return counted


async def books_hold(product: Product, owner: UUID, jobs: int) -> None:
    report = await product.studio.ledger.reconcile()
    assert report.balanced, report.problems
    assert (await product.studio.balance(owner_id=owner)).reserved == 2 * jobs


@pytest.mark.parametrize("limit", often(LIMITS, ["credits", "the day's cap of the place"]))
@pytest.mark.parametrize(("count", "room"), [(60, 7), pytest.param(500, 123, marks=pytest.mark.long)])
async def test_exactly_as_many_pass_as_there_is_room_for(
    make_settings: MakeSettings, limit: str, count: int, room: int
) -> None:
    async with room_for(room, limit, make_settings) as (product, owner):
        passed, refused = await at_once(
            [product.studio.submit({**BODY, "tags": [str(n)]}, owner_id=owner) for n in range(count)]
        )
        assert len(passed) == room
        assert refused == {LIMITS[limit][0]: count - room}
        assert await stored(product) == {"jobs": room, "stages": room, "events": room}
        await books_hold(product, owner, room)
        if limit == "credits":
            assert (await product.studio.balance(owner_id=owner)).available == 1


@pytest.mark.parametrize(("count", "room"), [(60, 7), pytest.param(500, 123, marks=pytest.mark.long)])
async def test_the_same_over_http(make_settings: MakeSettings, count: int, room: int) -> None:
    async with (
        room_for(room, "credits", make_settings) as (product, owner),
        serving(product) as address,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=count)) as session,
    ):
        _, key = await product.owners.create_key("alice")
        client = Client(base=address, session=session, headers={"X-API-Key": key})
        answers = await asyncio.gather(*(client.post("/v1/jobs", json=BODY) for _ in range(count)))
        assert Counter(one.status for one in answers) == {201: room, 402: count - room}
        refused = [one.error for one in answers if one.status == 402]
        assert {one["code"] for one in refused} == {"credits.insufficient"}
        assert refused[-1]["context"]["price"] == 2
        assert (await stored(product))["jobs"] == room
        await books_hold(product, owner, room)


@pytest.mark.parametrize("limit", often(LIMITS, ["credits", "the day's cap of the place"]))
async def test_a_key_makes_one_job_even_where_there_is_room_for_one_alone(
    make_settings: MakeSettings, limit: str
) -> None:
    """Whoever repeats is told of the job that there is, not that a second one would not fit."""
    async with room_for(1, limit, make_settings) as (product, owner):
        again = [product.studio.submit(BODY, owner_id=owner, idempotency_key="k") for _ in range(100)]
        passed, refused = await at_once(again)
        assert refused == {}
        assert len({one.job.id for one in passed}) == 1
        assert Counter(one.replayed for one in passed) == {False: 1, True: 99}
        await books_hold(product, owner, 1)


async def test_of_two_requests_under_one_key_one_is_a_conflict(make_settings: MakeSettings) -> None:
    async with room_for(1000, "credits", make_settings) as (product, owner):
        other = {**BODY, "tags": ["other"]}
        passed, refused = await at_once(
            [
                product.studio.submit(other if n % 2 else BODY, owner_id=owner, idempotency_key="k")
                for n in range(100)
            ]
        )
        assert refused == {Code.request_conflict: 50}
        assert len({one.job.id for one in passed}) == 1
        assert await stored(product) == {"jobs": 1, "stages": 1, "events": 1}
        await books_hold(product, owner, 1)


async def test_over_http_a_key_with_another_body_is_409(make_settings: MakeSettings) -> None:
    async with (
        room_for(9, "credits", make_settings) as (product, _),
        serving(product) as address,
        aiohttp.ClientSession() as session,
    ):
        _, key = await product.owners.create_key("alice")
        client = Client(base=address, session=session, headers={"X-API-Key": key, "Idempotency-Key": "k"})
        first = await client.post("/v1/jobs", json=BODY)
        again = await client.post("/v1/jobs", json=BODY)
        assert (first.status, again.status) == (201, 200)
        assert first.json["id"] == again.json["id"]
        for other in ({**BODY, "priority": 1}, {**BODY, "parameters": {**BODY["parameters"], "seed": 2}}):
            refused = await client.post("/v1/jobs", json=other)
            assert (refused.status, refused.error["code"]) == (409, "request.conflict")
            assert refused.error["field"] == "Idempotency-Key"
            assert first.json["id"] in refused.error["message"]


@pytest.mark.parametrize("started", [False, True], ids=["queued", "running"])
async def test_cancels_at_once_end_a_job_once(make_settings: MakeSettings, started: bool) -> None:
    place = ScriptedProvider(says=[RUNNING])
    async with (
        paid_place(make_settings, place, {"credits": CREDITS}) as product,
        contextlib.AsyncExitStack() as stack,
    ):
        await product.owners.create_key("alice")
        owner = await product.studio.ledger.owner_named("alice")
        await product.studio.ledger.give(owner, "grant", 2, actor="test")
        if started:
            await stack.enter_async_context(working(product))
        job = (await product.studio.submit(BODY, owner_id=owner)).job
        if started:
            await asyncio.wait_for(place.observing.wait(), 20)
            place.says = [lambda self: CANCELED if self.canceled else RUNNING]
        told = await asyncio.gather(*(product.studio.cancel(job.id, owner_id=owner) for _ in range(50)))
        assert all(isinstance(one, Job) for one in told)
        ended = await asyncio.wait_for(product.studio.wait(job.id, owner_id=owner), 20)
        again = await product.studio.cancel(job.id, owner_id=owner)
        assert (ended.state.value, again.state.value) == ("canceled", "canceled")
        kinds = [one.kind for one in await product.jobs.events(job.id, 0)]
        assert kinds.count("canceled") == 1
        assert len(place.canceled) == int(started)
        assert [one.kind for one in await product.studio.statement(owner_id=owner)] == [
            "release",
            "reserve",
            "grant",
        ]
        await books_hold(product, owner, 0)


async def test_refunds_at_once_give_back_what_was_charged_once(make_settings: MakeSettings) -> None:
    async with (
        paid_place(make_settings, ScriptedProvider(), {"credits": CREDITS}) as product,
        working(product),
    ):
        await product.owners.create_key("alice")
        owner = await product.studio.ledger.owner_named("alice")
        ledger = product.studio.ledger
        await ledger.give(owner, "grant", 2, actor="test")
        job = (await product.studio.submit(BODY, owner_id=owner)).job
        passed, refused = await at_once([ledger.refund(job.id, actor="test") for _ in range(10)])
        assert len(passed) + refused[Code.request_conflict] == 10
        await asyncio.wait_for(product.studio.wait(job.id, owner_id=owner), 20)
        whole = [ledger.refund(job.id, actor="test") for _ in range(30)]
        keyed = [ledger.refund(job.id, actor="test", key="mail 7") for _ in range(30)]
        after, refused = await at_once([*whole, *keyed])
        given = [one for one in (*passed, *after) if not one.replayed]
        assert [one.movement.amount for one in given] == [2]
        assert set(refused) <= {Code.request_conflict}
        assert (await product.studio.balance(owner_id=owner)).available == 2
        await books_hold(product, owner, 0)
