"""Owners who are deleted while a job of theirs is at each step of its life: a real worker, an emulated place."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any
from uuid import UUID

import pytest

from genyard.app import Product, working
from genyard.jobs.model import Job, JobState
from genyard.ledger import Balance
from genyard.providers import State
from genyard.testing.emulators import Emulators
from scenarios.housekeeping.test_owners import BOOKS, NAME, WORDS, owner_named, stored, tables_with
from scenarios.places.bench import Bench
from support.receiver import Receiver, hangs

TOML = """
[credits]
enabled = true
prices = [{ operation = "*", credits = 2 }]
[webhooks]
hosts = ["127.0.0.1"]
"""


async def submitted(product: Product, owner: UUID, **more: Any) -> Job:
    body = {"operation": "txt2img", "parameters": {"prompt": WORDS, "width": 64, "height": 64}, **more}
    return (await product.studio.submit(body, owner_id=owner)).job


async def until_waits(product: Product, statement: str) -> None:
    """Until somebody waits for a lock with such a statement."""
    async with asyncio.timeout(20):
        while not await product.jobs.database.row(  # noqa: ASYNC110 (nobody tells who waits)
            "SELECT true FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' "
            "AND strpos(query, %(statement)s) > 0",
            statement=statement,
        ):
            await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def queued(product: Product, emulators: Emulators, owner: UUID) -> AsyncIterator[None]:
    await product.jobs.database.execute("UPDATE endpoints SET paused_at = now()")
    await submitted(product, owner)
    yield
    await product.jobs.database.execute("UPDATE endpoints SET paused_at = NULL")


@contextlib.asynccontextmanager
async def claimed(product: Product, emulators: Emulators, owner: UUID) -> AsyncIterator[None]:
    """Its runner is just claiming it, before anything has left."""
    async with product.jobs.database.transaction() as connection:
        await connection.execute("LOCK TABLE attempts IN SHARE MODE")
        await submitted(product, owner)
        await until_waits(product, "INSERT INTO attempts")
        yield


@contextlib.asynccontextmanager
async def observed(product: Product, emulators: Emulators, owner: UUID) -> AsyncIterator[None]:
    emulators.comfyui.faults.add("hang")
    job = await submitted(product, owner)
    async for event in product.studio.watch(job.id, owner_id=owner):
        if event.kind == "progress" and event.data["state"] == State.running.value:
            break
    yield


@contextlib.asynccontextmanager
async def being_stored(product: Product, emulators: Emulators, owner: UUID) -> AsyncIterator[None]:
    """Its picture lies in the store, and its rows are just being written."""
    async with product.jobs.database.transaction() as connection:
        await connection.execute("LOCK TABLE blobs IN SHARE MODE")
        await submitted(product, owner)
        await until_waits(product, "INSERT INTO blobs")
        assert len(stored(product)) == 1
        yield


@contextlib.asynccontextmanager
async def being_told(product: Product, emulators: Emulators, owner: UUID) -> AsyncIterator[None]:
    """It has ended, and its callback is on its way to somebody who does not answer."""
    async with Receiver(answers=[hangs]) as receiver:
        await submitted(product, owner, webhook_url=receiver.url)
        await receiver.until(1)
        yield


@pytest.mark.parametrize(
    ("moment", "runs", "stopped", "charged"),
    [
        (queued, 0, 0, 0),
        (claimed, 0, 0, 0),
        (observed, 1, 1, 0),
        (being_stored, 1, 0, 0),
        (being_told, 1, 0, 2),
    ],
    ids=["queued", "claimed", "observed", "being stored", "being told"],
)
async def test_nothing_of_theirs_stays_or_runs_whatever_their_job_is_doing(
    bench: Bench,
    emulators: Emulators,
    moment: Callable[[Product, Emulators, UUID], AbstractAsyncContextManager[None]],
    runs: int,
    stopped: int,
    charged: int,
) -> None:
    env = {"IMAGE_GENERATION_PROVIDER": "comfyui", "COMFYUI_ENDPOINT": emulators.comfyui.url}
    async with bench.start(env, TOML) as product, working(product):
        removal, ledger = product.studio.keeper.removal, product.studio.ledger
        ada, key = await owner_named(product, NAME)
        bob, _ = await owner_named(product, "bob")
        async with moment(product, emulators, ada):
            begun = asyncio.create_task(removal.begin(NAME))
            await asyncio.wait({begun}, timeout=5)
        await begun
        async with asyncio.timeout(20):
            while not await removal.go_on(ada):  # noqa: ASYNC110 (as its keeper does)
                await asyncio.sleep(0.02)

        assert await tables_with(product, [WORDS, NAME, str(ada), key[:9]]) == BOOKS
        assert stored(product) == []
        assert (emulators.comfyui.counts.total_runs, emulators.comfyui.counts.cancels) == (runs, stopped)
        assert await ledger.balance(ada) == Balance(available=100 - charged, reserved=0)
        assert (await ledger.reconcile()).balanced

        job = await submitted(product, bob)
        other = await asyncio.wait_for(product.studio.wait(job.id, owner_id=bob), 20)
        assert other.state is JobState.succeeded, other.error
        assert len(stored(product)) == 1
