"""Who gets in, and who sees what."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from genyard.app import Product
from genyard.frontends.http.access import is_loopback
from scenarios.http.client import Client, KeyMaker, picture, small


async def test_without_any_key_this_machine_needs_none(client: Client) -> None:
    assert (await client.get("/v1/jobs")).status == 200
    for host in ("localhost", "localhost:8000", "127.0.0.1:1", "[::1]:8000"):
        assert (await client.get("/v1/jobs", headers={"Host": host})).status == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:8000", "10.0.0.1"]
)
async def test_without_any_key_only_localhost_is_served(client: Client, host: str) -> None:
    """A page of another site that lets its name point here (DNS rebinding) gets nothing."""
    answer = await client.get("/v1/jobs", headers={"Host": host})
    assert (answer.status, answer.error["code"]) == (403, "access.forbidden")
    assert "genyard keys create" in answer.error["message"]


@pytest.mark.parametrize(
    "header",
    ["X-Forwarded-For", "X-Forwarded-Host", "Forwarded", "Via", "CF-Connecting-IP", "CF-Ray", "X-Real-IP"],
)
async def test_without_any_key_nothing_forwarded_is_served(client: Client, header: str) -> None:
    for path in ("/v1/jobs", "/v1/operations", f"/assets/{uuid4()}.png"):
        answer = await client.get(path, headers={header: "203.0.113.7"})
        assert (answer.status, answer.error["code"]) == (403, "access.forbidden"), path


async def test_with_a_key_it_may_be_forwarded_from_anywhere(with_key: KeyMaker) -> None:
    alice = await with_key("alice")
    headers = {"Host": "api.example.com", "X-Forwarded-For": "203.0.113.7"}
    assert (await alice.get("/v1/jobs", headers=headers)).status == 200


async def test_once_there_is_a_key_everybody_needs_one(client: Client, with_key: KeyMaker) -> None:
    alice = await with_key("alice")
    key = alice.headers["Authorization"].removeprefix("Bearer ")
    refused = await client.get("/v1/jobs")
    assert (refused.status, refused.error["code"]) == (401, "access.unauthorized")
    assert refused.headers["WWW-Authenticate"].startswith("Bearer")
    assert (await client.get("/v1/jobs", headers={"X-API-Key": key})).status == 200
    assert (await client.get("/v1/jobs", headers={"Authorization": f"bearer {key}"})).status == 200
    for wrong in ("Bearer gy_wrong", f"Basic {key}", "Bearer", key, f"Bearer {key}x"):
        answer = await client.get("/v1/jobs", headers={"Authorization": wrong})
        assert (answer.status, answer.error["code"]) == (401, "access.unauthorized"), wrong
    assert (await client.get("/health")).status == 200
    assert (await client.get("/")).status == 200


async def test_a_revoked_key_is_refused_at_once(product: Product, with_key: KeyMaker) -> None:
    await with_key("alice")
    listed, key = await product.owners.create_key("bob")
    client = await with_key("carol")
    bob = Client(base=client.base, session=client.session, headers={"X-API-Key": key})
    assert (await bob.get("/v1/jobs")).status == 200
    await product.owners.revoke_key(listed.prefix)
    assert (await bob.get("/v1/jobs")).status == 401


async def test_revoking_the_last_key_opens_no_door(
    product: Product, client: Client, with_key: KeyMaker
) -> None:
    """Behind a proxy on the same machine everybody seems to be at this machine."""
    alice = await with_key("alice")
    [listed] = await product.owners.list_keys()
    await product.owners.revoke_key(listed.prefix)
    for refused in (await alice.get("/v1/jobs"), await client.get("/v1/jobs")):
        assert (refused.status, refused.error["code"]) == (401, "access.unauthorized")


async def test_owners_do_not_see_each_others_things(with_key: KeyMaker) -> None:
    alice, bob = await with_key("alice"), await with_key("bob")
    asset = await alice.uploaded(picture())
    job = await alice.made(**small("a secret potion"))
    [output] = job["outputs"]
    taking: dict[str, Any] = {"operation": "pixelate", "inputs": {"image": asset["id"]}}
    for method, path, body in (
        ("GET", f"/v1/jobs/{job['id']}", None),
        ("POST", f"/v1/jobs/{job['id']}/cancel", None),
        ("POST", f"/v1/jobs/{job['id']}/rerun", {}),
        ("GET", f"/v1/jobs/{job['id']}/events", None),
        ("GET", f"/v1/jobs/{job['id']}/preview", None),
        ("GET", f"/v1/jobs/{job['id']}/zip", None),
        ("DELETE", f"/v1/jobs/{job['id']}", None),
        ("GET", f"/v1/assets/{asset['id']}", None),
        ("DELETE", f"/v1/assets/{asset['id']}", None),
        ("GET", f"/assets/{output['id']}.png", None),
        ("POST", "/v1/jobs", taking),
        ("POST", "/v1/estimate", taking),
    ):
        answer = await bob.call(method, path, json=body) if body is not None else await bob.call(method, path)
        assert (answer.status, answer.error["code"]) == (404, "request.not_found"), (method, path)
    for path in ("/v1/jobs?search=secret", "/v1/assets?search=secret", "/v1/assets"):
        listed = (await bob.get(path)).json
        mine = {one["id"] for one in listed.get("jobs", []) + listed.get("assets", [])}
        assert not mine & {job["id"], asset["id"], output["id"]}, path
    assert (await alice.get(f"/v1/jobs/{job['id']}")).status == 200


async def test_the_same_idempotency_key_of_two_owners_is_two_jobs(with_key: KeyMaker) -> None:
    alice, bob = await with_key("alice"), await with_key("bob")
    key = {"Idempotency-Key": "the-same"}
    first = await alice.post("/v1/jobs", json=small(), headers=key)
    second = await bob.post("/v1/jobs", json=small("another"), headers=key)
    assert (first.status, second.status) == (201, 201)
    assert first.json["id"] != second.json["id"]


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
async def test_pages_of_other_sites_can_change_nothing(client: Client, headers: dict[str, str]) -> None:
    for method, path in (("POST", "/v1/jobs"), ("POST", "/v1/assets"), ("DELETE", f"/v1/jobs/{uuid4()}")):
        body = small() if path == "/v1/jobs" else {"data": "aGk="}
        answer = await client.call(method, path, headers=headers, json=body)
        assert (answer.status, answer.error["code"]) == (403, "access.forbidden"), path


async def test_our_own_page_can(client: Client) -> None:
    headers = {"Origin": client.base, "Sec-Fetch-Site": "same-origin"}
    assert (await client.post("/v1/jobs", json=small(), headers=headers)).status == 201


async def test_no_other_site_may_read(client: Client) -> None:
    answer = await client.call(
        "OPTIONS",
        "/v1/jobs",
        headers={"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"},
    )
    assert answer.status == 405
    assert not [name for name in answer.headers if name.lower().startswith("access-control")]


@pytest.mark.parametrize(
    ("host", "local"),
    [("127.0.0.1", True), ("127.8.8.8", True), ("::1", True), ("[::1]", True), ("localhost", True),
     ("::ffff:127.0.0.1", True), ("0.0.0.0", False), ("::", False), ("192.168.1.4", False), ("example.com", False)],
)  # fmt: skip
def test_which_addresses_are_of_this_machine(host: str, local: bool) -> None:
    assert is_loopback(host) is local
