"""The database goes away for a while and comes back: workers and runs outlive it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import aiohttp
import psycopg
import pytest
from structlog.testing import capture_logs

from conftest import MakeSettings
from genyard.app import Product, build, working
from genyard.jobs.model import AttemptState, Job, JobState
from genyard.jobs.runner import Pace
from genyard.providers import Capabilities, Leave, Media, Plan, Ref
from genyard.testing.comfyui import ComfyUIEmulator
from scenarios.http.client import serving
from support.processes import until
from support.scripted import RUNNING, ScriptedProvider, succeeded

REQUEST: dict[str, Any] = {
    "operation": "txt2img",
    "parameters": {"prompt": "a red dragon", "width": 64, "height": 64},
}
DRAGON = {
    **REQUEST,
    "model": "sdxl",
    "parameters": {"prompt": "a red dragon", "width": 64, "height": 64, "steps": 4},
}
QUICK = Pace(first_retry=0.01, factor=1.0, stopping=0.05)


@dataclass(kw_only=True)
class Outage:
    """Of one database on the tests' server: nobody gets in, and who is in is thrown out."""

    url: str
    server: str
    over: asyncio.Event = field(default_factory=asyncio.Event)

    async def begin(self) -> None:
        name = urlsplit(self.url).path.strip("/")
        async with await psycopg.AsyncConnection.connect(self.server, autocommit=True) as admin:
            await admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")  # type: ignore[call-overload]
            await admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,)
            )

    async def read_only(self, on: bool) -> None:
        """As a standby that has just taken over, or a host that protects a disk which is full."""
        name = urlsplit(self.url).path.strip("/")
        async with await psycopg.AsyncConnection.connect(self.server, autocommit=True) as admin:
            await admin.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = {on}")  # type: ignore[call-overload]
            await admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,)
            )

    async def end(self) -> None:
        name = urlsplit(self.url).path.strip("/")
        async with await psycopg.AsyncConnection.connect(self.server, autocommit=True) as admin:
            await admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")  # type: ignore[call-overload]
            await admin.execute(f"ALTER DATABASE {name} RESET ALL")  # type: ignore[call-overload]
        self.over.set()


@contextlib.asynccontextmanager
async def product_with(
    make_settings: MakeSettings, place: ScriptedProvider, postgres: str
) -> AsyncIterator[tuple[Product, Outage]]:
    settings = make_settings()
    assert settings.database_url is not None
    outage = Outage(url=settings.database_url.get_secret_value(), server=postgres)
    async with build(settings, pace=QUICK, providers={"preview": lambda *_: place}) as product:
        try:
            yield product, outage
        finally:
            await outage.end()


async def noticed(logs: list[Any], times: int) -> None:
    """Until somebody has tried so often in vain to get back in."""
    await until(lambda: sum(one["event"] == "the listening connection broke" for one in logs) >= times)


async def ended_of(product: Product, job_id: UUID) -> Job:
    """As a client that asks again where a connection of the pool was dead."""
    async with asyncio.timeout(20):
        while True:
            with contextlib.suppress(psycopg.OperationalError):
                return await product.studio.wait(job_id)


async def test_a_worker_and_its_runs_outlive_an_outage(make_settings: MakeSettings, postgres: str) -> None:
    """The run goes on under the same attempt and the same runner; the next job starts as if nothing had been."""
    place = ScriptedProvider(says=[RUNNING])
    async with product_with(make_settings, place, postgres) as (product, outage):
        with capture_logs() as logs:
            async with working(product):
                first = (await product.studio.submit(REQUEST)).job
                await place.observing.wait()
                await outage.begin()
                await noticed(logs, 2)
                await outage.end()
                place.says = [succeeded()]
                ended = await ended_of(product, first.id)
                row = await product.jobs.database.row("SELECT epoch FROM stages")
                second = (await product.studio.submit(REQUEST)).job
                also = await ended_of(product, second.id)
    assert (ended.state, also.state) == (JobState.succeeded, JobState.succeeded)
    assert [one.state for one in ended.attempts] == [AttemptState.succeeded]
    assert len(place.submitted) == 2
    assert row == {"epoch": 1}, "nobody else had to take it up"


@pytest.mark.long
async def test_work_goes_on_soon_after_a_long_outage(make_settings: MakeSettings, postgres: str) -> None:
    """However long it lasted, and whoever waits for the database: nobody asks for it ever more rarely."""
    async with (
        product_with(make_settings, ScriptedProvider(), postgres) as (product, outage),
        working(product),
    ):
        await outage.begin()
        waiting = [asyncio.create_task(product.studio.jobs()) for _ in range(3)]
        await asyncio.sleep(18)
        await outage.end()
        async with asyncio.timeout(6):
            await asyncio.gather(*waiting, return_exceptions=True)
            job = (await product.studio.submit(REQUEST)).job
            assert (await ended_of(product, job.id)).state is JobState.succeeded


@pytest.mark.long
async def test_connections_that_keep_breaking_buy_no_second_run(
    make_settings: MakeSettings, postgres: str
) -> None:
    """Locks, hearts, claims, notes and answers are cut off at any moment; two workers take each other for dead."""
    async with ComfyUIEmulator(step_seconds=0.02) as server:
        settings = make_settings(IMAGE_GENERATION_PROVIDER="comfyui", COMFYUI_ENDPOINT=server.url)
        assert settings.database_url is not None
        name = urlsplit(settings.database_url.get_secret_value()).path.strip("/")
        async with (
            build(settings, pace=QUICK) as product,
            build(settings, pace=QUICK) as other,
            working(product),
            working(other),
            await psycopg.AsyncConnection.connect(postgres, autocommit=True) as admin,
        ):
            keys: list[str] = []

            async def break_off() -> None:
                for _ in range(40):
                    await asyncio.sleep(0.25)
                    await admin.execute(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,)
                    )

            breaking = asyncio.create_task(break_off())
            while not breaking.done():
                keys.append(str(len(keys)))
                with contextlib.suppress(psycopg.Error):
                    await product.studio.submit(DRAGON, idempotency_key=keys[-1])
                await asyncio.sleep(0.05)
            await breaking
            await product.jobs.database.pool.check()
            ids = [(await product.studio.submit(DRAGON, idempotency_key=key)).job.id for key in keys]
            jobs = [await asyncio.wait_for(product.studio.wait(id), 60) for id in ids]
    assert {job.state for job in jobs} == {JobState.succeeded}
    attempts = [attempt.state for job in jobs for attempt in job.attempts]
    assert attempts == [AttemptState.succeeded] * len(jobs)
    assert server.counts.total_runs == len(jobs) > 40


@pytest.mark.long
async def test_a_worker_that_is_stopped_while_the_database_is_away_ends_soon_and_calls_it_no_error(
    make_settings: MakeSettings, postgres: str, caplog: pytest.LogCaptureFixture
) -> None:
    place = ScriptedProvider(says=[RUNNING])
    async with product_with(make_settings, place, postgres) as (product, outage):
        serving = asyncio.create_task(product.worker.serve())
        first = (await product.studio.submit(REQUEST)).job
        await place.observing.wait()
        await outage.begin()
        serving.cancel()
        async with asyncio.timeout(15):
            await asyncio.gather(serving, return_exceptions=True)
        await outage.end()
        place.says = [succeeded()]
        async with working(product):
            ended = await ended_of(product, first.id)
    assert ended.state is JobState.succeeded
    assert len(place.submitted) == 1
    assert [one.message for one in caplog.records if one.levelname in ("ERROR", "CRITICAL")] == []


async def test_a_worker_and_its_runs_outlive_a_database_that_takes_nothing(
    make_settings: MakeSettings, postgres: str
) -> None:
    """Neither its engine, its heart, its sweeps nor its ear end; what came back from the place meanwhile is kept."""
    place = ScriptedProvider(says=[RUNNING])
    async with product_with(make_settings, place, postgres) as (product, outage):
        with capture_logs() as logs:
            async with working(product):
                first = (await product.studio.submit(REQUEST)).job
                await place.observing.wait()
                await outage.read_only(True)
                events = ("the sweep failed; it comes again", "the worker's lock was lost; taking it again")
                await until(lambda: all(sum(one["event"] == what for one in logs) >= 2 for what in events))
                place.says = [succeeded()]
                await outage.read_only(False)
                ended = await ended_of(product, first.id)
                second = (await product.studio.submit(REQUEST)).job
                also = await ended_of(product, second.id)
                [worker] = await product.jobs.workers()
    assert (ended.state, also.state) == (JobState.succeeded, JobState.succeeded)
    assert worker["alive"]
    assert len(place.submitted) == 2


async def test_a_worker_that_was_forgotten_while_it_was_away_is_known_again(
    make_settings: MakeSettings, postgres: str
) -> None:
    """After an outage of minutes another one sweeps first: what this one runs is not taken from it for ever."""
    place = ScriptedProvider(says=[RUNNING])
    async with product_with(make_settings, place, postgres) as (product, _), working(product):
        await product.jobs.database.execute("DELETE FROM workers")
        async with asyncio.timeout(10):
            while not await product.jobs.workers():  # noqa: ASYNC110 (its heart tells nobody)
                await asyncio.sleep(0.05)
        job = (await product.studio.submit(REQUEST)).job
        await place.observing.wait()
        await product.jobs.sweep(10.0)
        place.says = [succeeded()]
        ended = await ended_of(product, job.id)
        row = await product.jobs.database.row("SELECT epoch FROM stages")
    assert ended.state is JobState.succeeded
    assert row == {"epoch": 1}, "nobody took it for a dead worker's"


@dataclass(kw_only=True)
class CutOff(ScriptedProvider):
    """The database goes away while the submission is on its way, and comes back later."""

    outage: Outage | None = None

    async def submit(
        self,
        plan: Plan,
        key: UUID,
        media: Mapping[str, Media],
        *,
        webhook: str | None = None,
        leave: Leave | None = None,
    ) -> Ref:
        assert self.outage is not None
        assert leave is not None
        await leave()
        await self.outage.begin()
        return await super().submit(plan, key, media, webhook=webhook)


async def test_what_a_place_accepted_during_an_outage_is_noted_afterwards(
    make_settings: MakeSettings, postgres: str
) -> None:
    """The place cannot be asked for it: whoever forgot the answer would have lost a run that was paid."""
    able = Capabilities(cancel="running", progress="none", finds=False)
    place = CutOff(capabilities=able)
    async with product_with(make_settings, place, postgres) as (product, outage):
        place.outage = outage
        with capture_logs() as logs:
            async with working(product):
                job = (await product.studio.submit(REQUEST)).job
                await noticed(logs, 2)
                await outage.end()
                ended = await ended_of(product, job.id)
    assert ended.state is JobState.succeeded, ended.error
    assert [one.state for one in ended.attempts] == [AttemptState.succeeded]
    assert len(place.submitted) == 1


async def test_an_engine_whose_row_was_pruned_begins_anew(make_settings: MakeSettings, postgres: str) -> None:
    """As after a freeze of minutes, when another worker has started meanwhile."""
    place = ScriptedProvider()
    async with product_with(make_settings, place, postgres) as (product, _), working(product):
        await product.jobs.database.execute("DELETE FROM procrastinate_workers")
        jobs = [(await product.studio.submit(REQUEST)).job for _ in range(2)]
        ended = [await ended_of(product, one.id) for one in jobs]
    assert [one.state for one in ended] == [JobState.succeeded] * 2
    assert len(place.submitted) == 2


async def test_the_api_says_that_the_database_is_away_and_when_to_ask_again(
    make_settings: MakeSettings, postgres: str
) -> None:
    """A known failure of the machine, not a defect; and the secret path of a hook stays out of the log."""
    async with (
        product_with(make_settings, ScriptedProvider(), postgres) as (product, outage),
        serving(product) as address,
        aiohttp.ClientSession() as session,
    ):
        await outage.begin()
        with capture_logs() as logs:
            async with session.get(f"{address}/v1/jobs") as answer:
                told = await answer.json()
        assert (answer.status, told["error"]["code"]) == (503, "storage.failed")
        assert answer.headers["Retry-After"] == "2"
        assert [one["log_level"] for one in logs if one["event"] == "the database did not answer"] == [
            "warning"
        ]


async def test_what_a_dead_engine_had_taken_does_not_stay_in_the_queue(
    make_settings: MakeSettings, postgres: str
) -> None:
    """Nobody has to start a worker for it. What a living one has taken stays."""
    async with product_with(make_settings, ScriptedProvider(), postgres) as (product, _):
        await product.jobs.database.execute(
            "WITH engine AS (INSERT INTO procrastinate_workers (last_heartbeat) "
            "VALUES (now() - interval '2 minutes'), (now()) RETURNING id) "
            "INSERT INTO procrastinate_jobs (queue_name, task_name, status, worker_id) "
            "SELECT 'stages', 'run_stage', 'doing', id FROM engine"
        )
        await product.jobs.sweep(10.0)
        rows = await product.jobs.database.rows("SELECT worker_id FROM procrastinate_jobs")
        living = await product.jobs.database.row("SELECT max(id) AS worker_id FROM procrastinate_workers")
    assert rows == [living]
