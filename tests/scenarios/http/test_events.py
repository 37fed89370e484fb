"""Live events: complete, resumable, and closed when there is nothing more to come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest

from genyard.app import Product
from genyard.frontends.http.events import stream
from genyard.jobs.model import Event, new_id
from scenarios.http.client import Client, serving, small
from support.scripted import ScriptedProvider, succeeded


async def test_a_stream_tells_everything_and_ends(scripted_client: Client, place: ScriptedProvider) -> None:
    job = (await scripted_client.post("/v1/jobs", json=small())).json
    async with asyncio.timeout(10):
        await place.observing.wait()
    watching = asyncio.create_task(scripted_client.events(job["id"]))
    place.says.append(succeeded())
    events = await watching
    kept = [event for event in events if event.kind != "progress"]
    assert [(event.kind, event.id) for event in kept] == [("queued", 1), ("running", 2), ("succeeded", 3)]
    assert all(event.data["job_id"] == job["id"] and event.data["kind"] == event.kind for event in events)
    assert all(event.id is None and event.data["seq"] is None for event in events if event.kind == "progress")


async def test_progress_is_told_while_it_runs(scripted_client: Client, place: ScriptedProvider) -> None:
    job = (await scripted_client.post("/v1/jobs", json=small())).json
    path = f"{scripted_client.base}/v1/jobs/{job['id']}/events"
    async with asyncio.timeout(10), scripted_client.session.get(path) as response:
        async for line in response.content:
            if line.startswith(b"event: progress"):
                break
        data = await response.content.readline()
    assert b'"progress": 0.' in data
    assert b'"detail": "half"' in data


async def test_whoever_comes_late_is_told_how_far_it_is(
    scripted_client: Client, place: ScriptedProvider
) -> None:
    job = (await scripted_client.post("/v1/jobs", json=small())).json
    assert (await scripted_client.events_until(job["id"], "progress"))[-1] == "progress"
    for query in ("", "?after=2"):
        kinds = await scripted_client.events_until(job["id"], "progress", query)
        assert kinds == (["queued", "running", "progress"] if not query else ["progress"])


async def test_a_stream_is_taken_up_where_it_broke(client: Client) -> None:
    job = await client.made()
    everything = await client.events(job["id"])
    numbers = [event.id for event in everything if event.id]
    assert numbers == [1, 2, 3]
    for resumed in (
        await client.events(job["id"], **{"Last-Event-ID": "2"}),
        await client.events(job["id"], "?after=2"),
        await client.events(job["id"], "?after=0", **{"Last-Event-ID": "2"}),
    ):
        assert [(event.kind, event.id) for event in resumed] == [("succeeded", 3)]


async def test_whoever_has_seen_the_end_is_told_not_to_come_back(client: Client) -> None:
    job = await client.made()
    answer = await client.get(f"/v1/jobs/{job['id']}/events?after=3")
    assert (answer.status, answer.body) == (204, b"")


@pytest.mark.parametrize("wrong", ["x", "-1", "99999999999999999999"])
async def test_a_wrong_event_number_is_refused(client: Client, wrong: str) -> None:
    job = await client.made()
    answer = await client.get(f"/v1/jobs/{job['id']}/events", headers={"Last-Event-ID": wrong})
    assert (answer.status, answer.error["field"]) == (422, "last-event-id")


async def test_a_failure_is_told_with_its_error(scripted_client: Client, place: ScriptedProvider) -> None:
    from genyard.errors import Code, GenyardError

    place.says = [GenyardError(Code.content_rejected, "refused by the place")]
    job = (await scripted_client.post("/v1/jobs", json=small())).json
    events = await scripted_client.events(job["id"])
    assert events[-1].kind == "failed"
    assert events[-1].data["data"]["error"]["code"] == "content.rejected"


async def test_silence_is_filled_with_comments() -> None:
    async def silent() -> AsyncIterator[Event]:
        await asyncio.Event().wait()
        yield Event(job_id=new_id(), kind="queued", seq=1, data={})

    stopping = asyncio.Event()
    texts = []
    async for text in stream(silent(), stopping, heartbeat=0.01):
        texts.append(text)
        if len(texts) == 4:
            stopping.set()
    assert all(text.startswith(":") for text in texts)


async def test_the_server_stops_although_somebody_watches(scripted: Product) -> None:
    async with aiohttp.ClientSession() as session, asyncio.timeout(8):
        async with serving(scripted) as address:
            client = Client(base=address, session=session)
            job = (await client.post("/v1/jobs", json=small())).json
            watching = asyncio.create_task(client.events(job["id"]))
            waiting = asyncio.create_task(client.get(f"/v1/jobs/{job['id']}?wait=60"))
            await client.get("/health")
        events, waited = await asyncio.gather(watching, waiting)
    assert waited.json["state"] in ("queued", "running")
    assert all(event.kind != "succeeded" for event in events)
