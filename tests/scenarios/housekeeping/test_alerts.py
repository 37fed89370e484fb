"""What somebody has to look at: seen, told once, over once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import SecretStr

from conftest import MakeSettings
from genyard.app import build, working
from genyard.jobs.housekeeping.alerts import Disk, Seen, judge
from genyard.jobs.housekeeping.keeper import Turnus
from genyard.settings import AlertSettings
from support.receiver import Receiver
from support.scripted import RUNNING, ScriptedProvider

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ALIVE = {"id": 1, "name": "a:1", "alive": True, "silent": 1.0, "running": 0}
CALM = {
    "endpoint": "gpu", "waiting": 0, "running": 0, "oldest": None, "paused_at": None, "suspects": 0
}  # fmt: skip


def codes(**changes: Any) -> list[str]:
    endpoint = changes.pop("endpoint", {})
    seen = {
        "workers": [ALIVE],
        "endpoints": [{**CALM, **endpoint}],
        "slow": [],
        "callbacks": {"dead": 0},
        "leaving": {},
        "disk": Disk(folder="/data", free=50, total=100),
    }
    alerts = judge(Seen(**{**seen, **changes}), AlertSettings(), ["gpu"], NOW)
    assert all(alert.message for alert in alerts)
    return [alert.code for alert in alerts]


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        ({}, []),
        ({"workers": []}, []),
        ({"workers": [], "endpoint": {"waiting": 1, "oldest": 1.0}}, ["worker.none"]),
        ({"workers": [{**ALIVE, "alive": False}], "endpoint": {"running": 1}}, ["worker.none"]),
        ({"workers": [{**ALIVE, "silent": 31.0}]}, ["worker.silent"]),
        ({"slow": [{"endpoint": "gpu", "count": 2, "oldest": 9000.0, "job_id": 7}]}, ["job.stuck"]),
        ({"endpoint": {"running": 1, "suspects": 1}}, ["job.crashing"]),
        ({"endpoint": {"endpoint": "old", "waiting": 1, "oldest": 5.0}}, ["endpoint.unknown"]),
        ({"endpoint": {"paused_at": NOW - timedelta(minutes=59)}}, []),
        ({"endpoint": {"paused_at": NOW - timedelta(minutes=61)}}, ["endpoint.paused"]),
        ({"endpoint": {"waiting": 4, "oldest": 3599.0}}, []),
        ({"endpoint": {"waiting": 4, "oldest": 3601.0}}, ["endpoint.waiting"]),
        ({"callbacks": {"dead": 3}}, ["callbacks.dead"]),
        ({"disk": Disk(folder="/data", free=4, total=100)}, ["disk.low"]),
        ({"disk": None}, []),
        ({"leaving": {NOW: 90_000.0}}, ["owner.leaving"]),
    ],
)
def test_what_is_worth_a_look(seen: dict[str, Any], expected: list[str]) -> None:
    assert codes(**seen) == expected


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver() as receiver:
        yield receiver


def product_with(make_settings: MakeSettings, place: ScriptedProvider, **rules: Any) -> Any:
    settings = make_settings().model_copy(update={"alerts": AlertSettings(**rules)})
    turnus = Turnus(alerts=0.0, books=0.0, retention=1e6)
    return build(settings, providers={"preview": lambda *_: place}, turnus=turnus)


async def test_an_alert_is_told_once_and_once_more_when_it_is_over(
    make_settings: MakeSettings, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    rules = {"url": receiver.url, "secret": SecretStr(SECRET)}
    async with product_with(make_settings, ScriptedProvider(), **rules) as product:
        receiver.answers = [500, 204]
        job = (await product.studio.submit({"operation": "txt2img", "parameters": {"prompt": "x"}})).job
        for _ in range(3):
            await product.studio.keeper.keep()
        assert [message.type for message in receiver.got] == ["alert.raised", "alert.raised"]
        assert receiver.got[0].id == receiver.got[1].id
        assert receiver.got[1].signed_with(SECRET)
        assert receiver.got[1].json["data"]["code"] == "worker.none"
        [alert] = (await product.studio.keeper.overseer.look()).alerts
        assert alert.since is not None
        receiver.answers = [503, 204]
        async with working(product):
            await asyncio.wait_for(product.studio.wait(job.id), 20)
        for _ in range(3):
            await product.studio.keeper.keep()
        assert [message.type for message in receiver.got[2:]] == ["alert.over", "alert.over"]
        assert receiver.got[2].id == receiver.got[3].id
        assert await product.jobs.database.rows("SELECT 1 FROM alerts") == []
        said = [one.getMessage() for one in caplog.records if "alert" in one.getMessage()]
        assert said == ["alert", "an alert reached nobody", "an alert reached nobody", "the alert is over"]


async def test_a_run_that_nothing_explains_is_told_with_its_job(make_settings: MakeSettings) -> None:
    place = ScriptedProvider(says=[RUNNING])
    async with product_with(make_settings, place) as product, working(product):
        job = (await product.studio.submit({"operation": "txt2img", "parameters": {"prompt": "x"}})).job
        await asyncio.wait_for(place.observing.wait(), 10)
        assert (await product.studio.keeper.overseer.look()).alerts == ()
        await product.jobs.database.execute(
            "UPDATE attempts SET created_at = created_at - interval '3 hours'"
        )
        [alert] = (await product.studio.keeper.overseer.look()).alerts
        assert (alert.code, alert.subject, alert.facts["job_id"]) == ("job.stuck", "preview", str(job.id))
        await product.studio.cancel(job.id)
        place.says = [type(RUNNING)(state=type(RUNNING.state).canceled)]


async def test_books_that_do_not_balance_are_seen_by_a_worker(make_settings: MakeSettings) -> None:
    async with product_with(make_settings, ScriptedProvider()) as product:
        await product.jobs.database.execute(
            "INSERT INTO balances (owner_id, available) VALUES (gen_random_uuid(), 5)"
        )
        assert (await product.studio.keeper.overseer.look()).alerts == ()
        await product.studio.keeper.keep()
        [alert] = (await product.studio.keeper.overseer.look()).alerts
        assert alert.code == "books.unbalanced"
        await product.jobs.database.execute("DELETE FROM balances")
        await product.studio.keeper.keep()
        assert (await product.studio.keeper.overseer.look()).alerts == ()


async def test_a_chore_that_fails_holds_up_no_other(make_settings: MakeSettings) -> None:
    async with product_with(make_settings, ScriptedProvider()) as product:
        database = product.jobs.database
        await database.execute("ALTER TABLE balances RENAME TO elsewhere")  # the proof of the books reads it
        try:
            await product.studio.keeper.keep()
            done = {row["name"] for row in await database.rows("SELECT name FROM chores")}
        finally:
            await database.execute("ALTER TABLE elsewhere RENAME TO balances")
        assert {"books", "retention"} <= done


async def test_one_worker_at_a_time_keeps_house(make_settings: MakeSettings) -> None:
    async with product_with(make_settings, ScriptedProvider()) as product:
        other = await product.jobs.database.connect()
        async with other:
            await other.execute("SELECT pg_advisory_lock(7265, 0)")
            assert await product.studio.keeper.keep() == ()
        async with asyncio.timeout(10):
            while not (done := await product.studio.keeper.keep()):  # noqa: ASYNC110 (until the lock is free)
                await asyncio.sleep(0.01)
        assert {"alerts", "books"} <= set(done)
