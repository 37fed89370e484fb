"""Owners and each other's things: every route is in a table here that says whose things it touches, and what is
somebody else's looks exactly like what is not there. A new route that nobody has put into the table fails."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID, uuid4

import aiohttp
import pytest
from fastapi import FastAPI

from genyard.app import Product, build, working
from genyard.database import load_queries
from genyard.errors import Code, GenyardError
from genyard.frontends.http import create_http_app
from genyard.settings import load_settings
from genyard.studio import Studio
from genyard.studio.webhooks import Webhooks
from scenarios.http.client import Answer, Client, picture, serving, small
from support.databases import Databases
from support.receiver import Receiver

#: For everybody, without a key: nothing of any owner.
OPEN: Final = {
    ("GET", "/"), ("HEAD", "/"), ("GET", "/static/{name}"), ("HEAD", "/static/{name}"), ("GET", "/health"),
    ("GET", "/openapi.json"), ("HEAD", "/openapi.json"),
}  # fmt: skip
#: An owner's thing in the path: what it is, and what else is sent.
THINGS: Final[Mapping[tuple[str, str], tuple[str, Any]]] = {
    ("GET", "/v1/jobs/{job_id}"): ("job", None),
    ("POST", "/v1/jobs/{job_id}/cancel"): ("job", None),
    ("POST", "/v1/jobs/{job_id}/rerun"): ("job", {"new_seed": True}),
    ("DELETE", "/v1/jobs/{job_id}"): ("job", None),
    ("GET", "/v1/jobs/{job_id}/preview"): ("job", None),
    ("GET", "/v1/jobs/{job_id}/zip"): ("job", None),
    ("GET", "/v1/jobs/{job_id}/events"): ("job", None),
    ("GET", "/v1/assets/{asset_id}"): ("asset", None),
    ("DELETE", "/v1/assets/{asset_id}"): ("asset", None),
    ("GET", "/assets/{key}"): ("file", None),
    ("HEAD", "/assets/{key}"): ("file", None),
    ("POST", "/v1/webhooks/deliveries/{delivery_id}/resend"): ("delivery", None),
}
#: Requests whose body may name things of an owner.
BODIES: Final = (("POST", "/v1/estimate"), ("POST", "/v1/jobs"))
#: Lists: the caller's own, whatever is asked of them.
LISTS: Final = {
    ("GET", "/v1/jobs"): ("before", "tag", "search", "state"),
    ("GET", "/v1/assets"): ("before", "tag", "search", "facts"),
    ("GET", "/v1/webhooks/deliveries"): ("before", "job_id", "state"),
}
#: About the caller alone, or about nobody's things: there is nothing to name.
OWN: Final = {
    ("POST", "/v1/assets"),
    ("GET", "/v1/operations"),
    ("GET", "/v1/credits"),
    ("POST", "/v1/webhooks/secret"),
}
#: For keys of admins; with what is sent.
ADMIN: Final[Mapping[tuple[str, str], Any]] = {
    ("GET", "/v1/admin/credits"): None,
    ("POST", "/v1/admin/credits"): {"owner": "OWNER", "kind": "grant", "credits": 5},
    ("POST", "/v1/admin/credits/refunds"): {"job_id": "JOB"},
    ("GET", "/v1/admin/credits/reconciliation"): None,
    ("GET", "/v1/admin/budgets"): None,
    ("PUT", "/v1/admin/budgets"): {"owner": "OWNER", "daily_usd": 5},
    ("GET", "/v1/admin/status"): None,
    ("POST", "/v1/admin/endpoints/{name}/pause"): None,
    ("POST", "/v1/admin/endpoints/{name}/resume"): None,
    ("DELETE", "/v1/admin/owners/{name:path}"): None,
}
#: The path itself is the permission: a secret that nobody can guess.
SECRET: Final = {("POST", "/hooks/{endpoint}/{attempt_id}/{token}")}

EVERY: Final = {*OPEN, *THINGS, *BODIES, *LISTS, *OWN, *ADMIN, *SECRET}


def routes_of(app: Any) -> Iterator[tuple[str, str]]:
    for route in app.routes:
        inner = getattr(route, "original_router", None)
        if inner is not None:
            yield from routes_of(inner)
        else:
            assert getattr(route, "methods", None), f"{route}: what is it?"
            yield from ((method, route.path) for method in route.methods)


def test_every_route_is_in_the_table(app: FastAPI) -> None:
    found = set(routes_of(app))
    assert found - EVERY == set(), "say in this table whose things they touch"
    assert EVERY - found == set(), "these are gone"
    assert len(EVERY) == sum(len(one) for one in (OPEN, THINGS, BODIES, LISTS, OWN, ADMIN, SECRET))


@dataclass(frozen=True, kw_only=True)
class Town:
    """`alice` has one of everything, `bob` nothing; `revoked` had a key of hers, `boss` is an admin."""

    product: Product
    app: FastAPI
    alice: Client
    bob: Client
    boss: Client
    nobody: Client
    revoked: Client
    things: Mapping[str, str]
    queued: str


@pytest.fixture(scope="module")
async def town(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Town]:
    folder = tmp_path_factory.mktemp("town")
    (folder / "genyard.toml").write_text('[webhooks]\nhosts = ["127.0.0.1"]\n')
    async with databases.empty() as url, Receiver() as receiver:
        settings = load_settings({"GENYARD_DATA": str(folder), "DATABASE_URL": url}, folder)
        async with (
            build(settings) as product,
            working(product),
            serving(product) as address,
            aiohttp.ClientSession() as session,
        ):

            async def client(owner: str, *, admin: bool = False) -> Client:
                _, key = await product.owners.create_key(owner, admin=admin)
                return Client(base=address, session=session, headers={"X-API-Key": key})

            alice, bob, boss = await client("alice"), await client("bob"), await client("boss", admin=True)
            listed, key = await product.owners.create_key("alice")
            await product.owners.revoke_key(listed.prefix)
            uploaded = await alice.uploaded(picture())
            body = {**small("a secret potion"), "webhook_url": receiver.url, "tags": ["mine"]}
            made = await alice.made(**body)
            await receiver.until(1)
            [delivery] = (await alice.get("/v1/webhooks/deliveries")).json["deliveries"]
            await product.studio.pause("preview", "so that a job waits")
            queued = await alice.post(
                "/v1/jobs", json=small("a secret queue"), headers={"Idempotency-Key": "k"}
            )
            assert queued.status == 201
            yield Town(
                product=product,
                app=create_http_app(studio=product.studio, owners=product.owners, server=settings.server),
                alice=alice,
                bob=bob,
                boss=boss,
                nobody=Client(base=address, session=session),
                revoked=Client(base=address, session=session, headers={"Authorization": f"Bearer {key}"}),
                things={
                    "job": made["id"],
                    "asset": uploaded["id"],
                    "file": f"{made['outputs'][0]['id']}.png",
                    "delivery": delivery["id"],
                },
                queued=queued.json["id"],
            )


@pytest.fixture(scope="module")
def app(town: Town) -> FastAPI:
    return town.app


async def ask(client: Client, method: str, path: str, body: Any = None) -> Answer:
    return await client.call(method, path, **({} if body is None else {"json": body}))


def filled(path: str, thing: str) -> str:
    return re.sub(r"\{[a-z_:]+\}", thing, path)


def unknown(thing: str) -> str:
    return thing.replace(thing.partition(".")[0], str(uuid4()))


def shape(answer: Answer, thing: str) -> Any:
    """All of an answer that could tell anything, without the id that was asked for."""
    told = answer.body.decode().replace(thing.partition(".")[0], "ID")
    told = re.sub(r'"trace_id":"[0-9a-f]{32}"', "", told)
    headers = {
        name.lower(): value.replace(thing.partition(".")[0], "ID")
        for name, value in answer.headers.items()
        if name.lower() not in ("x-trace-id", "date")
    }
    return answer.status, headers, told


@pytest.mark.parametrize(("method", "path"), THINGS, ids=lambda one: str(one))
async def test_somebody_else_s_thing_looks_like_none(town: Town, method: str, path: str) -> None:
    kind, body = THINGS[method, path]
    owned = [town.things[kind], *([town.queued] if kind == "job" else [])]
    for thing in owned:
        other = unknown(thing)
        stolen = await ask(town.bob, method, filled(path, thing), body)
        nothing = await ask(town.bob, method, filled(path, other), body)
        assert stolen.status == 404
        if method != "HEAD":
            assert stolen.error["code"] == "request.not_found"
        assert shape(stolen, thing) == shape(nothing, other)
        admin = await ask(town.boss, method, filled(path, thing), body)
        assert shape(admin, thing) == shape(nothing, other), (
            "an admin's key is no key to the things of others"
        )


async def test_a_file_under_another_ending_is_no_way_to_learn_of_it(town: Town) -> None:
    thing = town.things["file"]
    for ending in ("", ".txt", ".png.png"):
        mine, none = thing.replace(".png", ending), unknown(thing).replace(".png", ending)
        assert shape(await town.bob.get(f"/assets/{mine}"), mine) == shape(
            await town.bob.get(f"/assets/{none}"), none
        )


@pytest.mark.parametrize(
    ("method", "path"), sorted({*THINGS, *BODIES, *LISTS, *OWN, *ADMIN}), ids=lambda one: str(one)
)
async def test_without_a_key_in_use_nobody_learns_anything(town: Town, method: str, path: str) -> None:
    """Neither what is there nor what a request should look like."""
    kind, body = THINGS.get((method, path), ("job", ADMIN.get((method, path))))
    wrong = Client(base=town.bob.base, session=town.bob.session, headers={"X-API-Key": "gy_guess"})
    for client in (town.nobody, town.revoked, wrong):
        shapes = set()
        for thing in (town.things[kind], unknown(town.things[kind])):
            answer = await ask(client, method, filled(path, thing), body)
            assert answer.status == 401
            assert answer.headers["WWW-Authenticate"].startswith("Bearer")
            if method != "HEAD":
                assert answer.error["code"] == "access.unauthorized"
            shapes.add(str(shape(answer, thing)))
        assert len(shapes) == 1


@pytest.mark.parametrize(("method", "path"), ADMIN, ids=lambda one: str(one))
async def test_an_ordinary_key_is_none_of_an_admin_s(town: Town, method: str, path: str) -> None:
    """Whether those things are there or not."""
    told = set()
    for owner, job in (("alice", town.things["job"]), ("nobody-of-this-name", str(uuid4()))):
        body = json.loads(json.dumps(ADMIN[method, path]).replace("OWNER", owner).replace("JOB", job))
        for query in ("", f"?owner={owner}"):
            answer = await ask(town.bob, method, filled(path, owner) + query, body)
            assert (answer.status, answer.error["code"]) == (403, "access.forbidden")
            told.add(answer.error["message"])
    assert len(told) == 1


@pytest.mark.parametrize(("method", "path"), BODIES, ids=lambda one: str(one))
async def test_what_a_body_names_must_be_the_caller_s_own(town: Town, method: str, path: str) -> None:
    asset, output = town.things["asset"], town.things["file"].partition(".")[0]

    def bodies(named: str) -> list[Any]:
        own_step = {"operation": "txt2img", "name": "draw", "parameters": {"prompt": "a fox"}}
        return [
            {"operation": "pixelate", "inputs": {"image": named}},
            {"operation": "pixelate", "inputs": {"image": [named]}},
            {"operation": "img2img", "parameters": {"prompt": "a fox"}, "inputs": {"image": named}},
            {"steps": [own_step, {"operation": "pixelate", "inputs": {"image": named}}]},
        ]

    for thing in (asset, output):
        other = str(uuid4())
        for mine, none in zip(bodies(thing), bodies(other), strict=True):
            stolen, nothing = await ask(town.bob, method, path, mine), await ask(town.bob, method, path, none)
            assert (stolen.status, stolen.error["code"]) == (404, "request.not_found")
            assert shape(stolen, thing) == shape(nothing, other)
    assert (await town.bob.get("/v1/jobs")).json["jobs"] == []


async def test_a_key_of_somebody_else_s_request_is_free(town: Town) -> None:
    answer = await town.bob.post(
        "/v1/estimate", json=small("mine"), headers={"Idempotency-Key": "k"}
    )  # nothing is kept of it
    assert answer.status == 200
    made = await town.bob.post("/v1/jobs", json=small("mine"), headers={"Idempotency-Key": "k"})
    assert made.status == 201
    assert made.json["id"] != town.queued
    assert (await town.bob.post(f"/v1/jobs/{made.json['id']}/cancel")).status == 200
    assert (await town.bob.delete(f"/v1/jobs/{made.json['id']}")).status == 204


@pytest.mark.parametrize(("method", "path"), LISTS, ids=lambda one: str(one))
async def test_lists_hold_the_caller_s_own(town: Town, method: str, path: str) -> None:
    alices = {town.queued, *(one.partition(".")[0] for one in town.things.values())}
    values = {
        "before": [*alices, str(uuid4())],
        "job_id": [town.things["job"], str(uuid4())],
        "tag": ["mine"],
        "search": ["secret"],
        "facts": ["{}"],
        "state": ["delivered" if "deliveries" in path else "succeeded"],
    }
    for query in ["", *(f"?{name}={value}" for name in LISTS[method, path] for value in values[name])]:
        answer = await ask(town.bob, method, path + query)
        assert answer.status == 200, answer.body
        assert not any(one in answer.body.decode() for one in alices), query
        [listed] = [told for told in answer.json.values() if isinstance(told, list)]
        assert listed == []


async def test_what_is_one_s_own_says_nothing_of_others(town: Town) -> None:
    theirs = (await town.alice.get("/v1/operations")).json
    assert (await town.bob.get("/v1/operations")).json == theirs
    assert (await town.bob.get("/v1/credits")).json["movements"] == []
    first, second = [
        await one.post("/v1/webhooks/secret", json={"rotate": True}) for one in (town.alice, town.bob)
    ]
    assert first.json["secret"] != second.json["secret"]


async def test_a_signature_opens_one_file_for_a_while_and_no_other(town: Town) -> None:
    output = (await town.alice.get(f"/v1/jobs/{town.things['job']}")).json["outputs"][0]
    asset = (await town.alice.get(f"/v1/assets/{town.things['asset']}")).json
    link, other = output["url"].partition("/assets/")[2], asset["url"].partition("/assets/")[2]
    assert (await town.nobody.get(f"/assets/{link}")).status == 200
    key, _, signed = link.partition("?")
    swapped = f"{other.partition('?')[0]}?{signed}"
    later = re.sub(r"expires=(\d+)", lambda found: f"expires={int(found[1]) + 60}", link)
    for wrong in (
        swapped,
        later,
        key + "?" + signed.replace("signature=", "signature=0"),
        f"{uuid4()}.png?{signed}",
    ):
        for client in (town.nobody, town.bob):
            answer = await client.get(f"/assets/{wrong}")
            assert (answer.status, answer.error["code"]) == (403, "access.forbidden"), wrong


async def test_a_guessed_hook_is_none(town: Town) -> None:
    [attempt] = await town.product.jobs.database.rows("SELECT id FROM attempts")
    for client in (town.nobody, town.bob, town.boss):
        for endpoint, key in (("preview", attempt["id"]), ("preview", uuid4()), ("elsewhere", uuid4())):
            answer = await client.post(f"/hooks/{endpoint}/{key}/{'0' * 64}", json={})
            assert (answer.status, answer.error["message"]) == (404, "no such hook")


# ---- Python ----

#: Methods that take the id of an owner's thing, or things that name them.
_ID: Final = {
    "get": "job", "cancel": "job", "wait": "job", "delete": "job", "preview": "job", "rerun": "job", "watch": "job",
    "zip": "job", "asset": "asset", "delete_asset": "asset", "resend": "delivery",
}  # fmt: skip
#: Those that only ever see the owner's own, or none of it.
_NO_ID: Final = {
    "estimate", "submit", "make", "jobs", "assets", "upload", "balance", "budget", "statement", "deliveries", "secret",
    "rotate_secret",
}  # fmt: skip


def test_every_method_with_an_owner_is_in_the_table() -> None:
    found = {
        name
        for one in (Studio, Webhooks)
        for name, method in inspect.getmembers(one, inspect.isfunction)
        if "owner_id" in inspect.signature(method).parameters and not name.startswith("_")
    }
    assert found == {*_ID, *_NO_ID}


@pytest.mark.parametrize(("method", "kind"), _ID.items())
async def test_python_tells_no_more(town: Town, method: str, kind: str) -> None:
    bob = (await town.product.studio.ledger.owner_named("bob"),)
    target = town.product.studio.webhooks if method == "resend" else town.product.studio
    told = []
    for thing in (UUID(town.things[kind]), uuid4()):
        with pytest.raises(GenyardError) as refused:
            answer = getattr(target, method)(thing, owner_id=bob[0])
            if inspect.isasyncgen(answer):
                await anext(answer)
            else:
                await answer
        assert refused.value.code is Code.not_found
        told.append((refused.value.message.replace(str(thing), "ID"), refused.value.field))
    assert told[0] == told[1]


@pytest.mark.parametrize(
    ("package", "name"),
    [
        *(
            ("genyard.jobs", one)
            for one in (
                "get_job", "job_state", "list_jobs", "cancel_job", "delete_job", "get_asset", "get_assets",
                "list_assets", "delete_asset", "find_import", "find_by_idempotency_key",
            )
        ),
        *(("genyard.jobs.callbacks", one) for one in ("list_deliveries", "resend_delivery", "show_secret")),
        *(("genyard.ledger", one) for one in ("balance", "statement")),
    ],
)  # fmt: skip
def test_the_owner_is_asked_for_in_the_same_statement(package: str, name: str) -> None:
    """Not looked up first and judged afterwards: that would take another time for what is there."""
    assert "owner_id = %(owner_id)s" in load_queries(package)(name)


async def test_at_the_end_alice_still_has_everything(town: Town) -> None:
    """The last test of this file: nothing that others tried has changed anything."""
    job = (await town.alice.get(f"/v1/jobs/{town.things['job']}")).json
    assert (job["state"], len(job["outputs"])) == ("succeeded", 1)
    assert (await town.alice.get(f"/v1/jobs/{town.queued}")).json["state"] == "queued"
    assert len((await town.alice.get("/v1/jobs")).json["jobs"]) == 2
    assert (await town.alice.get(f"/v1/assets/{town.things['asset']}")).status == 200
    [delivery] = (await town.alice.get("/v1/webhooks/deliveries")).json["deliveries"]
    assert (delivery["state"], delivery["tries"]) == ("delivered", 1)
    assert set(await town.product.studio.paused()) == {"preview"}
