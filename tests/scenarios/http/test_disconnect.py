"""What becomes of a job when whoever watches it goes away: nothing, unless the job says that it is to be canceled."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import aiohttp
import pytest

from conftest import MakeSettings
from genyard.app import Product, build, working
from genyard.jobs.model import JobState
from scenarios.http.client import Client, climbing, serving, small
from support.scripted import ScriptedProvider, succeeded

GRACE = 0.3
WATCHED = {**small(), "on_disconnect": "cancel"}


@contextlib.asynccontextmanager
async def patient(
    make_settings: MakeSettings, place: ScriptedProvider, grace: float = GRACE
) -> AsyncIterator[Product]:
    settings = make_settings()
    server = settings.server.model_copy(update={"disconnect_seconds": grace})
    settings = settings.model_copy(update={"server": server})
    async with build(settings, providers={"preview": lambda *_: place}) as product:
        yield product


@pytest.fixture
async def product(make_settings: MakeSettings, place: ScriptedProvider) -> AsyncIterator[Product]:
    async with patient(make_settings, place) as built, working(built):
        yield built


@pytest.fixture
async def server(product: Product) -> AsyncIterator[Client]:
    async with serving(product) as address, aiohttp.ClientSession() as session:
        yield Client(base=address, session=session)


@contextlib.asynccontextmanager
async def watching(server: Client, job_id: str) -> AsyncIterator[None]:
    """An open stream of events, which breaks off at the end of the block."""
    async with server.session.get(f"{server.base}/v1/jobs/{job_id}/events") as response:
        await response.content.readline()
        reading = asyncio.create_task(response.content.read())
        try:
            yield
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)


async def ended(product: Product, job_id: str) -> Any:
    """By looking alone: whoever waits is a watcher."""
    async with asyncio.timeout(10):
        while not (job := await product.studio.get(UUID(job_id))).state.ended:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    return job


async def test_the_last_watcher_of_a_stream_takes_the_job_with_it(
    product: Product, server: Client, place: ScriptedProvider
) -> None:
    async with aiohttp.ClientSession() as other:
        job = (await server.post("/v1/jobs", json=WATCHED)).json
        assert job["on_disconnect"] == "cancel"
        async with watching(Client(base=server.base, session=other), job["id"]):
            async with watching(server, job["id"]):
                await asyncio.wait_for(place.observing.wait(), 10)
            await asyncio.sleep(3 * GRACE)  # somebody is still there for much longer than the grace
            assert (await server.get(f"/v1/jobs/{job['id']}")).json["state"] == "running"
    done = await ended(product, job["id"])
    assert done.state is JobState.canceled
    assert "nobody watched" in done.error["message"]
    assert len(place.canceled) == 1


async def test_a_waiting_request_that_is_given_up_takes_the_job_with_it(
    product: Product, server: Client, place: ScriptedProvider
) -> None:
    waiting = asyncio.create_task(server.post("/v1/jobs?wait=30", json=WATCHED))
    await asyncio.wait_for(place.observing.wait(), 10)
    [job] = await product.studio.jobs()
    assert job.state is JobState.running
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert (await ended(product, str(job.id))).state is JobState.canceled
    assert len(place.canceled) == 1


@pytest.mark.long
async def test_a_job_goes_on_by_itself_unless_it_says_otherwise(
    product: Product, server: Client, place: ScriptedProvider
) -> None:
    waiting = asyncio.create_task(server.post("/v1/jobs?wait=30", json=small()))
    await asyncio.wait_for(place.observing.wait(), 10)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    [job] = await product.studio.jobs()
    await asyncio.sleep(3 * GRACE)
    assert (await product.studio.get(job.id)).state is JobState.running
    place.says = [succeeded()]
    assert (await ended(product, str(job.id))).state is JobState.succeeded


@pytest.mark.long
async def test_whoever_comes_back_in_time_keeps_the_job(
    make_settings: MakeSettings, place: ScriptedProvider
) -> None:
    async with (
        patient(make_settings, place, grace=2.0) as product,
        working(product),
        serving(product) as address,
        aiohttp.ClientSession() as session,
    ):
        server = Client(base=address, session=session)
        job = (await server.post("/v1/jobs", json=WATCHED)).json
        for _ in range(3):
            async with watching(server, job["id"]):
                await asyncio.wait_for(place.observing.wait(), 10)
        place.says = [succeeded()]
        assert (await ended(product, job["id"])).state is JobState.succeeded


async def test_nobody_has_to_be_alive_to_notice(make_settings: MakeSettings, place: ScriptedProvider) -> None:
    """The process that served the watcher dies without a word, before any worker was there: the next one cancels the
    job, and its place never hears of it."""
    async with patient(make_settings, place) as product:
        job = (await product.studio.submit(WATCHED)).job
        waiting = asyncio.create_task(product.studio.wait(job.id))
        await asyncio.sleep(2 * GRACE)
        await product.jobs.sweep(10.0)
        assert (await product.studio.get(job.id)).state is JobState.queued, "it is being watched"

        async def dead(job_id: UUID) -> float:
            return GRACE

        product.jobs.watched = dead  # type: ignore[method-assign]
        await asyncio.sleep(2 * GRACE)
        await product.jobs.sweep(10.0)
        assert (await asyncio.wait_for(waiting, 10)).state is JobState.canceled
        assert not place.submitted


async def test_what_is_neither_continue_nor_cancel_is_refused(server: Client) -> None:
    answer = await server.post("/v1/jobs", json={**small(), "on_disconnect": "explode"})
    assert (answer.status, answer.error["field"]) == (422, "on_disconnect")


@pytest.mark.long
async def test_a_rerun_asks_for_the_same(product: Product, server: Client, place: ScriptedProvider) -> None:
    place.says = [succeeded()]
    job = (await server.post("/v1/jobs?wait=30", json=WATCHED)).json
    assert job["state"] == "succeeded"
    place.says = [climbing()]
    again = (await server.post(f"/v1/jobs/{job['id']}/rerun")).json
    assert again["on_disconnect"] == "cancel"
    assert (await ended(product, again["id"])).state is JobState.canceled
