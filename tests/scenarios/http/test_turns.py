"""Who goes next, as HTTP tells it: full queues, where a job stands, endpoints that are paused."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest

from conftest import MakeSettings
from genyard.app import Product, build
from genyard.settings import TierSettings
from scenarios.http.client import Client, serving, small
from support.scripted import ScriptedProvider


@pytest.fixture
async def waiting(make_settings: MakeSettings) -> AsyncIterator[tuple[Product, Client]]:
    """A server without a worker; three jobs of an owner may wait, and one place is free."""
    settings = make_settings()
    preview = settings.endpoints["preview"].model_copy(update={"concurrency": 1})
    changes = {"tiers": {"standard": TierSettings(queue=3)}, "endpoints": {"preview": preview}}
    settings = settings.model_copy(update=changes)
    place = ScriptedProvider()
    async with (
        build(settings, providers={"preview": lambda *_: place}) as product,
        serving(product) as address,
        aiohttp.ClientSession() as session,
    ):
        yield product, Client(base=address, session=session)


async def test_a_full_queue_is_429_with_the_time_to_try_again(waiting: tuple[Product, Client]) -> None:
    _, client = waiting
    for _ in range(3):
        assert (await client.post("/v1/jobs", json=small())).status == 201
    refused = await client.post("/v1/jobs", json=small())
    assert refused.status == 429
    error = refused.json["error"]
    assert error["code"] == "limit.exceeded"
    assert error["context"]["position"] == 4
    assert int(refused.headers["Retry-After"]) == error["context"]["retry_after"] >= 1


async def test_a_job_says_where_it_stands(waiting: tuple[Product, Client]) -> None:
    _, client = waiting
    jobs = [(await client.post(f"/v1/jobs{more}", json=small())).json for more in ("", "", "?wait=0.01")]
    standing = {"position": 2, "endpoint": "preview", "paused": False, "starts_in": None}
    assert (await client.get(f"/v1/jobs/{jobs[2]['id']}")).json["queue"] == standing
    listed = (await client.get("/v1/jobs")).json["jobs"]
    assert [job["queue"] and job["queue"]["position"] for job in listed] == [2, 1, None]
    assert jobs[1]["queue"] is None, "an answer that waits for nothing does not look at the queue either"
    assert jobs[2]["queue"] == standing


async def test_health_tells_what_is_paused(waiting: tuple[Product, Client]) -> None:
    product, client = waiting
    assert (await client.get("/health")).json["endpoints"][0]["paused"] is False
    await product.jobs.endpoints.pause("preview")
    told = (await client.get("/health")).json
    assert told["endpoints"][0]["paused"] is True
    assert told["status"] == "degraded"
