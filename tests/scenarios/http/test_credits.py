"""Credits over HTTP: one's own, and those of others for admins alone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import uuid4

import aiohttp
import pytest

from conftest import MakeSettings
from genyard.app import Product, build, working
from genyard.settings import CreditSettings, PriceRow
from scenarios.http.client import Client, serving, small

CREDITS = CreditSettings(enabled=True, prices=(PriceRow(operation="*", credits=2),))
ADMIN_ROUTES = [
    ("GET", "/v1/admin/credits?owner=alice", None),
    ("POST", "/v1/admin/credits", {"owner": "alice", "kind": "grant", "credits": 5}),
    ("POST", "/v1/admin/credits/refunds", {"job_id": str(uuid4())}),
    ("GET", "/v1/admin/credits/reconciliation", None),
    ("GET", "/v1/admin/budgets?owner=alice", None),
    ("PUT", "/v1/admin/budgets", {"owner": "alice", "daily_usd": 1}),
]


@pytest.fixture
async def shop(make_settings: MakeSettings) -> AsyncIterator[Product]:
    settings = make_settings().model_copy(update={"credits": CREDITS})
    async with build(settings) as product, working(product):
        yield product


@pytest.fixture
async def local(shop: Product) -> AsyncIterator[Client]:
    async with serving(shop) as address, aiohttp.ClientSession() as session:
        yield Client(base=address, session=session)


async def keyed(shop: Product, local: Client, owner: str, *, admin: bool = False) -> Client:
    _, key = await shop.owners.create_key(owner, admin=admin)
    return Client(base=local.base, session=local.session, headers={"X-API-Key": key})


async def test_a_job_is_paid_from_what_was_bought(shop: Product, local: Client) -> None:
    alice, boss = await keyed(shop, local, "alice"), await keyed(shop, local, "boss", admin=True)
    bought = {"owner": "alice", "kind": "purchase", "credits": 5, "reason": "bill 7"}
    answer = await boss.post("/v1/admin/credits", json=bought, headers={"Idempotency-Key": "bill-7"})
    assert answer.status == 201
    assert (answer.json["available"], answer.json["movement"]["change"]) == (5, 5)
    again = await boss.post("/v1/admin/credits", json=bought, headers={"Idempotency-Key": "bill-7"})
    assert (again.status, again.headers["Idempotent-Replayed"]) == (200, "true")
    assert again.json["movement"] == answer.json["movement"]
    other = await boss.post(
        "/v1/admin/credits", json={**bought, "credits": 6}, headers={"Idempotency-Key": "bill-7"}
    )
    assert (other.status, other.error["code"], other.error["field"]) == (
        409,
        "request.conflict",
        "Idempotency-Key",
    )

    assert (await alice.post("/v1/estimate", json=small(count=2))).json["credits"] == 4
    refused = await alice.post("/v1/jobs", json=small(count=3))
    assert (refused.status, refused.error["code"]) == (402, "credits.insufficient")
    assert refused.error["context"] == {"price": 6, "balance": 5, "missing": 1}
    job = await alice.made(**small(count=2))
    assert job["credits"] == {"price": 4, "reserved": 0, "charged": 4, "refunded": 0}

    own = (await alice.get("/v1/credits")).json
    assert (own["enabled"], own["available"], own["reserved"]) == (True, 1, 0)
    assert [one["kind"] for one in own["movements"]] == ["settle", "reserve", "purchase"]
    assert [one["balance"] for one in own["movements"]] == [1, 1, 5]
    assert {one["actor"] for one in own["movements"]} == {None}
    page = (await alice.get("/v1/credits?limit=1")).json
    rest = (await alice.get(f"/v1/credits?before={page['next']}")).json
    assert page["movements"] + rest["movements"] == own["movements"]
    assert rest["next"] is None

    back = await boss.post(
        "/v1/admin/credits/refunds", json={"job_id": job["id"], "credits": 3, "reason": "blurred"}
    )
    assert (back.status, back.json["available"]) == (201, 4)
    too_much = await boss.post("/v1/admin/credits/refunds", json={"job_id": job["id"], "credits": 3})
    assert (too_much.status, too_much.error["code"]) == (409, "request.conflict")
    told = (await boss.get("/v1/admin/credits?owner=alice")).json
    assert (told["movements"][0]["reason"], told["available"]) == ("blurred", 4)
    assert told["movements"][0]["actor"].startswith("key gy_")
    report = (await boss.get("/v1/admin/credits/reconciliation")).json
    assert report["balanced"] is True
    assert report["totals"]["sales"] == -5
    assert sum(report["totals"].values()) == 0


async def test_a_refund_is_booked_once_and_only_of_what_was_charged(shop: Product, local: Client) -> None:
    alice, boss = await keyed(shop, local, "alice"), await keyed(shop, local, "boss", admin=True)
    await boss.post("/v1/admin/credits", json={"owner": "alice", "kind": "grant", "credits": 4})
    job = await alice.made(**small(count=2))
    path, key = "/v1/admin/credits/refunds", {"Idempotency-Key": "ticket-9"}
    part = await boss.post(path, json={"job_id": job["id"], "credits": 1}, headers=key)
    assert (part.status, part.json["available"]) == (201, 1)
    again = await boss.post(path, json={"job_id": job["id"], "credits": 1}, headers=key)
    assert (again.status, again.headers["Idempotent-Replayed"], again.json["available"]) == (200, "true", 1)
    assert again.json["movement"] == part.json["movement"]
    other = await boss.post(path, json={"job_id": job["id"], "credits": 2}, headers=key)
    assert (other.status, other.error["code"]) == (409, "request.conflict")
    rest = await boss.post(path, json={"job_id": job["id"]})
    assert (rest.status, rest.json["movement"]["amount"], rest.json["available"]) == (201, 3, 4)
    more = await boss.post(path, json={"job_id": job["id"]})
    assert (more.status, more.error["code"]) == (409, "request.conflict")
    told = (await alice.get(f"/v1/jobs/{job['id']}")).json
    assert told["credits"] == {"price": 4, "reserved": 0, "charged": 4, "refunded": 4}
    never = await boss.post(path, json={"job_id": str(uuid4())})
    assert (never.status, never.error["code"]) == (409, "request.conflict")
    assert "was charged nothing" in never.error["message"]
    assert (await boss.get("/v1/admin/credits/reconciliation")).json["balanced"] is True


async def test_an_owner_has_a_budget_of_its_own_until_it_is_taken_away(shop: Product, local: Client) -> None:
    await keyed(shop, local, "alice")
    boss = await keyed(shop, local, "boss", admin=True)
    given = await boss.call("PUT", "/v1/admin/budgets", json={"owner": "alice", "daily_usd": 1.5})
    assert given.json["day"] == {"budget_usd": 1.5, "own": True, "spent_usd": 0}
    assert given.json["month"] == {"budget_usd": None, "own": False, "spent_usd": 0}
    assert (await boss.get("/v1/admin/budgets?owner=alice")).json == given.json
    await boss.call("PUT", "/v1/admin/budgets", json={"owner": "alice"})
    assert (await boss.get("/v1/admin/budgets?owner=alice")).json["day"]["own"] is False
    negative = await boss.call("PUT", "/v1/admin/budgets", json={"owner": "alice", "daily_usd": -1})
    assert (negative.status, negative.error["field"]) == (422, "daily_usd")
    assert (await boss.get("/v1/admin/budgets?owner=nobody")).status == 404


@pytest.mark.parametrize(("method", "path", "body"), ADMIN_ROUTES)
async def test_only_admins_look_after_others(
    shop: Product, local: Client, method: str, path: str, body: object
) -> None:
    alice = await keyed(shop, local, "alice")
    refused = await alice.call(method, path, json=body)
    assert (refused.status, refused.error["code"]) == (403, "access.forbidden")
    assert (await local.call(method, path, json=body)).status == 401
    own = (await alice.get("/v1/credits")).json
    assert (own["available"], own["movements"]) == (0, [])


async def test_whoever_is_at_the_machine_is_an_admin_until_there_are_keys(
    shop: Product, local: Client
) -> None:
    job = await local.made()
    assert job["credits"] is None
    gift = {"owner": "local", "kind": "bonus", "credits": 1}
    given = await local.post("/v1/admin/credits", json=gift)
    assert (given.status, given.json["movement"]["actor"]) == (201, "this machine")
    await keyed(shop, local, "alice")
    assert (await local.post("/v1/admin/credits", json=gift)).status == 401


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({"owner": "nobody", "kind": "grant", "credits": 1}, 404, "owner"),
        ({"owner": "local", "kind": "grant", "credits": 0}, 422, "credits"),
        ({"owner": "local", "kind": "grant", "credits": 1.5}, 422, "credits"),
        ({"owner": "local", "kind": "grant", "credits": 10**12}, 422, "credits"),
        ({"owner": "local", "kind": "reserve", "credits": 1}, 422, "kind"),
        ({"owner": "local", "kind": "correction", "credits": -1}, 422, "reason"),
        ({"owner": "local", "kind": "correction", "credits": -1, "reason": "why"}, 402, "credits"),
    ],
)
async def test_movements_that_cannot_be(
    local: Client, body: dict[str, object], status: int, field: str
) -> None:
    answer = await local.post("/v1/admin/credits", json=body)
    assert (answer.status, answer.error["field"].removeprefix("body.")) == (status, field)
