"""What the person who runs genyard may do over HTTP: with an admin's key alone."""

from __future__ import annotations

import asyncio

import pytest

from genyard.app import Product
from scenarios.http.client import Client, KeyMaker, small
from support.scripted import ScriptedProvider

ROUTES = [
    ("GET", "/v1/admin/status"),
    ("POST", "/v1/admin/endpoints/preview/pause"),
    ("POST", "/v1/admin/endpoints/preview/resume"),
    ("DELETE", "/v1/admin/owners/somebody"),
]


@pytest.mark.parametrize(("method", "path"), ROUTES, ids=lambda value: value.rpartition("/")[2])
async def test_other_keys_may_do_none_of_it(with_key: KeyMaker, method: str, path: str) -> None:
    answer = await (await with_key("somebody")).call(method, path)
    assert (answer.status, answer.error["code"]) == (403, "access.forbidden")


async def test_an_endpoint_is_paused_and_the_status_tells_what_waits(scripted_client: Client) -> None:
    paused = await scripted_client.post("/v1/admin/endpoints/preview/pause", json={"why": "new GPU"})
    assert paused.json == {"endpoint": "preview", "paused": True}
    await scripted_client.post("/v1/jobs", json=small())
    status = (await scripted_client.get("/v1/admin/status")).json
    [endpoint] = status["endpoints"]
    assert (endpoint["paused_why"], endpoint["waiting"], endpoint["running"]) == ("new GPU", 1, 0)
    assert (status["ok"], status["alerts"], len(status["workers"])) == (True, [], 1)
    assert status["disk"]["free"] > 0
    await scripted_client.post("/v1/admin/endpoints/preview/resume")
    assert (await scripted_client.get("/v1/admin/status")).json["endpoints"][0]["paused_at"] is None
    unknown = await scripted_client.post("/v1/admin/endpoints/nowhere/pause")
    assert (unknown.status, unknown.error["code"]) == (404, "request.not_found")


async def test_an_owner_is_deleted_by_an_admin(
    scripted: Product, scripted_client: Client, place: ScriptedProvider
) -> None:
    _, boss = await scripted.owners.create_key("boss", admin=True)
    _, key = await scripted.owners.create_key("a/b c")
    admin, theirs = ({"X-API-Key": one} for one in (boss, key))
    made = await scripted_client.post("/v1/jobs", json=small(), headers=theirs)
    assert made.status == 201
    await asyncio.wait_for(place.observing.wait(), 10)
    answer = await scripted_client.delete("/v1/admin/owners/a%2Fb%20c", headers=admin)
    assert answer.status == 202
    assert (answer.json["name"], answer.json["left"]["jobs"]) == ("a/b c", 1)
    for path in ("/v1/jobs", f"/v1/jobs/{made.json['id']}"):
        assert (await scripted_client.get(path, headers=theirs)).status == 401
    refused = await scripted_client.delete("/v1/admin/owners/local", headers=admin)
    assert (refused.status, refused.error["code"]) == (409, "request.conflict")
    unknown = await scripted_client.delete("/v1/admin/owners/nobody", headers=admin)
    assert (unknown.status, unknown.error["code"]) == (404, "request.not_found")
