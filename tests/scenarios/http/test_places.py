"""What can be done and by whom; and whether it works."""

from __future__ import annotations

import asyncio
from time import monotonic

import aiohttp

from conftest import MakeSettings
from genyard.app import build
from genyard.operations import OPERATIONS
from genyard.providers import Health
from scenarios.http.client import Client, serving
from support.processes import until
from support.scripted import ScriptedProvider


async def every_place_is_seen(client: Client) -> bool:
    """The first look at one may outlast a request's patience with it."""
    return all(one["reachable"] is not None for one in (await client.get("/health")).json["endpoints"])


async def test_operations_with_schemas_and_who_serves_them(client: Client) -> None:
    await until(lambda: every_place_is_seen(client))
    told = {one["name"]: one for one in (await client.get("/v1/operations")).json["operations"]}
    assert set(told) == set(OPERATIONS)
    schema = told["txt2img"]["parameters"]
    assert schema["properties"]["count"]["default"] == 1
    assert schema["required"] == ["prompt"]
    [serving_now] = [one for one in told["txt2img"]["served_by"] if one["routed"]]
    assert (serving_now["endpoint"], serving_now["can"], serving_now["default"]) == ("preview", True, True)
    assert serving_now["licence"]["commercial"] is True
    [image, driving] = told["animate_photo"]["inputs"]
    assert (image["role"], image["required"], driving["kind"]) == ("image", True, "video")


async def test_health_says_who_serves(client: Client) -> None:
    await until(lambda: every_place_is_seen(client))
    answer = await client.get("/health")
    assert answer.status == 200
    told = answer.json
    assert (told["status"], told["provider"], told["database"], told["worker"]) == (
        "ok",
        "preview",
        True,
        True,
    )
    assert {"operation": "txt2img", "endpoint": "preview", "model": "preview", "lost": "fail"} in told[
        "routes"
    ]
    assert [(one["name"], one["reachable"]) for one in told["endpoints"]] == [("preview", True)]


class Silent(ScriptedProvider):
    """A place whose check hangs until the test is over."""

    async def check(self) -> Health:
        await asyncio.Event().wait()
        raise AssertionError


async def test_health_and_operations_answer_although_a_place_hangs(make_settings: MakeSettings) -> None:
    async with (
        build(make_settings(), providers={"preview": lambda *_: Silent()}) as product,
        serving(product) as address,
        aiohttp.ClientSession() as session,
    ):
        client = Client(base=address, session=session)
        start = monotonic()
        health, operations = await asyncio.gather(client.get("/health"), client.get("/v1/operations"))
        assert monotonic() - start < 3
    assert (health.status, health.json["status"], health.json["worker"]) == (200, "degraded", False)
    assert health.json["endpoints"][0]["reachable"] is None
    [one] = [one for one in operations.json["operations"] if one["name"] == "txt2img"]
    assert [(by["can"], len(by["problems"])) for by in one["served_by"]] == [(False, 1)]
