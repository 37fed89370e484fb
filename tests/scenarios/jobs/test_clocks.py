"""Clocks that are wrong: of a host, of the database's host, and time zones. The database's clock decides; when that one
jumps, nothing is bought twice and nothing is lost."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from conftest import MakeSettings
from genyard.app import Product, build, working
from genyard.errors import Code, GenyardError
from genyard.jobs.callbacks.sender import Tempo
from genyard.jobs.model import JobState
from genyard.owners import LOCAL_OWNER
from genyard.settings import BudgetSettings, CreditSettings, PriceRow
from scenarios.http.client import Client, serving
from support.paid import QUICK, paid_place
from support.receiver import Message, Receiver
from support.scripted import RUNNING, ScriptedProvider, Snapshot, succeeded

DAY = 86_400.0
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
BODY: dict[str, Any] = {
    "operation": "txt2img",
    "parameters": {"prompt": "a fox", "width": 64, "height": 64},
}
CREDITS = CreditSettings(enabled=True, exempt=(), prices=(PriceRow(operation="*", credits=2),))


# ---- a host ----


@pytest.fixture(params=[DAY, -DAY], ids=["a day ahead", "a day behind"])
def wrong_by(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> float:
    """This host believes that it is another day; its monotonic clock, and the database, know nothing of it."""
    seconds: float = request.param
    wall, nanoseconds = time.time, time.time_ns
    monkeypatch.setattr(time, "time", lambda: wall() + seconds)
    monkeypatch.setattr(time, "time_ns", lambda: nanoseconds() + int(seconds * 1e9))
    return seconds


async def database_time(product: Product) -> float:
    row = await product.jobs.database.row("SELECT extract(epoch FROM now())::float AS now")
    assert row is not None
    now: float = row["now"]
    return now


def signed_at(message: Message) -> int:
    assert message.signed_with(SECRET) or message.headers["webhook-signature"].startswith("v1,")
    return int(message.headers["webhook-timestamp"])


async def test_a_host_may_be_wrong_about_the_date(
    make_settings: MakeSettings, tmp_path: Path, wrong_by: float
) -> None:
    """Deadlines, leases, signatures of callbacks and to the policy hook, links: all go by the database's clock."""
    async with Receiver(answers=[allowing]) as policy, Receiver() as receiver:
        (tmp_path / "genyard.toml").write_text(
            f'[webhooks]\nhosts = ["127.0.0.1"]\n[before_submit]\nurl = "{policy.url}"\nsecret = "{SECRET}"\n'
        )
        settings = make_settings(GENYARD_PUBLIC_URL="https://pictures.example")
        place = ScriptedProvider()
        async with (
            build(
                settings, pace=QUICK, tempo=Tempo(sweep=0.05), providers={"preview": lambda *_: place}
            ) as product,
            working(product),
            serving(product, public_url="") as address,
            aiohttp.ClientSession() as session,
        ):
            now = await database_time(product)
            asked = {**BODY, "expires_in": 3600.0, "webhook_url": receiver.url}
            job = (await product.studio.submit(asked)).job
            assert job.expires_at is not None
            assert abs(job.expires_at.timestamp() - now - 3600) < 20
            ended = await asyncio.wait_for(product.studio.wait(job.id), 20)
            assert ended.state is JobState.succeeded
            [message] = await receiver.until(1)
            [judged] = policy.got
            assert abs(signed_at(message) - now) < 20
            assert abs(signed_at(judged) - now) < 20
            [output] = message.json["data"]["outputs"]
            expires = datetime.fromisoformat(output["url_expires_at"]).timestamp()
            lasts = settings.server.link_seconds
            assert 0 < expires - now <= lasts + max(60, lasts // 4) + 20
            client = Client(base=address, session=session)
            link = output["url"].removeprefix("https://pictures.example")
            assert (await client.get(link)).status == 200
            assert await product.studio.has_worker()


async def allowing(_message: Message) -> aiohttp.web.StreamResponse:
    return aiohttp.web.json_response({"decision": "allow"})


async def test_a_deadline_is_the_database_s_to_judge(make_settings: MakeSettings, wrong_by: float) -> None:
    place = ScriptedProvider()
    async with build(make_settings(), pace=QUICK, providers={"preview": lambda *_: place}) as product:
        late = (await product.studio.submit({**BODY, "expires_in": 0.001})).job
        early = (await product.studio.submit({**BODY, "expires_in": 3600})).job
        async with working(product):
            told = [(await asyncio.wait_for(product.studio.wait(one.id), 20)).state for one in (late, early)]
        assert told == [JobState.expired, JobState.succeeded]
        assert len(place.submitted) == 1


# ---- the database's host ----


async def jump(product: Product, seconds: float) -> None:
    """The database's clock is set so far ahead: everything that was written lies so much longer ago."""
    async with product.jobs.database.transaction() as connection:
        await connection.execute("SET LOCAL session_replication_role = replica")
        columns = await connection.execute(
            "SELECT c.table_name, c.column_name FROM information_schema.columns c JOIN information_schema.tables t "
            "USING (table_schema, table_name) WHERE t.table_type = 'BASE TABLE' AND t.table_schema = 'public' "
            "AND c.data_type = 'timestamp with time zone' AND c.table_name NOT LIKE 'genyard_migr%'"
        )
        for row in await columns.fetchall():
            name = f'"{row["column_name"]}"'
            await connection.execute(
                f"UPDATE \"{row['table_name']}\" SET {name} = {name} - %s * interval '1 second'",  # type: ignore[call-overload]
                (seconds,),
            )


class Held(ScriptedProvider):
    """A run that goes on until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.go = asyncio.Event()

    async def observe(self, ref: Any, previous: Snapshot | None, wake: asyncio.Event) -> Snapshot:
        self.observing.set()
        if previous is None:
            return RUNNING
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.go.wait(), 0.2)
        return succeeded() if self.go.is_set() else previous


@contextlib.asynccontextmanager
async def shop(make_settings: MakeSettings, place: ScriptedProvider) -> AsyncIterator[Product]:
    async with paid_place(make_settings, place, {"credits": CREDITS}, daily_cap_usd=100.0) as product:
        await product.studio.ledger.give(LOCAL_OWNER, "grant", 100, actor="test")
        yield product


async def books_balance(product: Product) -> None:
    report = await product.studio.ledger.reconcile()
    assert report.balanced, report.problems
    assert (await product.studio.balance()).reserved == 0


@pytest.mark.parametrize("seconds", [DAY, -DAY], ids=["ahead", "back"])
async def test_what_runs_while_the_database_s_clock_jumps_is_neither_lost_nor_bought_twice(
    make_settings: MakeSettings, seconds: float
) -> None:
    """Ahead: every worker looks frozen for a moment, and its stages are taken up: whoever has them now, the place is
    asked and nothing is submitted again. Back: nothing happens."""
    place = Held()
    async with shop(make_settings, place) as product, working(product):
        job = (await product.studio.submit(BODY)).job
        await asyncio.wait_for(place.observing.wait(), 20)
        place.observing.clear()
        await jump(product, seconds)
        await product.jobs.sweep(10.0)
        await asyncio.wait_for(place.observing.wait(), 20)
        place.go.set()
        ended = await asyncio.wait_for(product.studio.wait(job.id), 20)
        assert ended.state is JobState.succeeded
        assert len(place.submitted) == 1
        assert len(ended.attempts) == 1
        kinds = [one.kind for one in await product.jobs.events(job.id, 0)]
        assert kinds == ["queued", "running", "succeeded"]
        after = (await product.studio.submit(BODY)).job
        assert (await asyncio.wait_for(product.studio.wait(after.id), 20)).state is JobState.succeeded
        await books_balance(product)


async def test_when_it_jumps_ahead_deadlines_are_over_and_retries_are_due(
    make_settings: MakeSettings,
) -> None:
    later = GenyardError(Code.provider_busy, "later", context={"retry_after": 3000.0})
    place = ScriptedProvider(submits=[later])
    async with shop(make_settings, place) as product:
        retried = (await product.studio.submit(BODY)).job
        async with working(product):
            async for event in product.studio.watch(retried.id):
                if event.kind == "retrying":
                    break
        waiting = (await product.studio.submit({**BODY, "expires_in": 3600})).job
        await jump(product, DAY)
        async with working(product):
            assert (await asyncio.wait_for(product.studio.wait(waiting.id), 20)).state is JobState.expired
            assert (await asyncio.wait_for(product.studio.wait(retried.id), 20)).state is JobState.succeeded
        assert len(place.submitted) == 2
        await books_balance(product)


async def test_when_it_jumps_back_what_was_to_wait_waits_longer_and_everybody_else_goes_on(
    make_settings: MakeSettings,
) -> None:
    """A retry is due by the clock of before; until then it can be canceled. Nothing else stands still, not even where
    only so many may start in a minute."""
    place = ScriptedProvider(
        submits=[GenyardError(Code.provider_busy, "later", context={"retry_after": 30.0})]
    )
    limited = {"starts_per_minute": 3}
    async with paid_place(
        make_settings, place, {"credits": CREDITS}, daily_cap_usd=100.0, **limited
    ) as product:
        await product.studio.ledger.give(LOCAL_OWNER, "grant", 100, actor="test")
        async with working(product):
            retried = (await product.studio.submit(BODY)).job
            async for event in product.studio.watch(retried.id):
                if event.kind == "retrying":
                    break
            for _ in range(2):
                job = (await product.studio.submit({**BODY, "expires_in": 3600})).job
                await asyncio.wait_for(product.studio.wait(job.id), 20)
            await jump(product, -DAY)
            for _ in range(2):
                job = (await product.studio.submit({**BODY, "expires_in": 3600})).job
                assert (await asyncio.wait_for(product.studio.wait(job.id), 20)).state is JobState.succeeded
            told = await product.studio.get(retried.id)
            assert told.state is JobState.running
            assert (await product.studio.cancel(retried.id)).state is JobState.canceled
        await books_balance(product)


# ---- time zones ----


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Etc/GMT+12", "America/New_York"])
async def test_a_day_is_a_day_of_utc_whatever_zone_the_database_is_in(
    make_settings: MakeSettings, zone: str
) -> None:
    """At any moment it is another date than that of UTC in one of the first two."""
    budgets = {"budgets": BudgetSettings(daily_usd=1.0)}
    async with paid_place(make_settings, ScriptedProvider(), budgets, daily_cap_usd=100.0) as before:
        row = await before.jobs.database.row("SELECT current_database() AS name")
        assert row is not None
        name = row["name"]
        await before.jobs.database.execute(f"ALTER DATABASE {name} SET timezone TO '{zone}'")
    try:
        async with paid_place(make_settings, ScriptedProvider(), budgets, daily_cap_usd=100.0) as product:
            database, today = product.jobs.database, datetime.now(UTC).date()
            for day in (today - timedelta(days=1), today + timedelta(days=1)):
                await database.execute(
                    "INSERT INTO owner_spending VALUES (%(owner)s, %(day)s, 0.55)", owner=LOCAL_OWNER, day=day
                )
            await database.execute("DELETE FROM owner_spending WHERE day > %(day)s", day=today)
            job = (await product.studio.submit({**BODY, "expires_in": 3600})).job
            await product.studio.submit(BODY)
            with pytest.raises(GenyardError) as refused:
                await product.studio.submit(BODY)
            assert refused.value.context["spent"] == pytest.approx(0.8)
            midnight = datetime.combine(today + timedelta(days=1), datetime.min.time(), UTC)
            left = (midnight - datetime.now(UTC)).total_seconds()
            assert refused.value.context["retry_after"] == pytest.approx(left, abs=20)
            async with working(product):
                told = (await asyncio.wait_for(product.studio.wait(job.id), 20)).as_json()
            for text in (
                told["created_at"],
                told["outputs"][0]["created_at"],
                told["attempts"][0]["created_at"],
            ):
                assert text.endswith("+00:00")
                assert abs((datetime.fromisoformat(text) - datetime.now(UTC)).total_seconds()) < 30
            assert (datetime.fromisoformat(told["expires_at"]) - datetime.now(UTC)).total_seconds() > 3500
    finally:
        async with paid_place(make_settings, ScriptedProvider()) as product:
            await product.jobs.database.execute(f"ALTER DATABASE {name} RESET timezone")
