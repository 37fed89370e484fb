"""The Replicate provider held against what the official client, 1.0.7, sent and was answered (`recordings/`).

A place that replays an exchange takes the provider's call: method, path, body and the headers that matter must be the
client's, and the answer must be read as the client read it. Where we differ on purpose is said here, in `_OURS`.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import pytest
from aiohttp import web

from genyard.catalog.pricing import Rates
from genyard.errors import Code, GenyardError
from genyard.outbound import Outbound
from genyard.providers import BoundStep, Ref, Snapshot, State
from genyard.providers._http import Timeouts
from genyard.providers.replicate import ReplicateProvider
from genyard.providers.replicate.outcome import snapshot_of
from genyard.providers.replicate.wire import Prediction
from genyard.testing.contract import media_of
from support.replicate import QUICK_LIMITS, sdxl

Json = Any
RECORDINGS: Final = Path(__file__).parent / "recordings" / "replicate-1.0.7"
CALLS: Final = {path.stem: json.loads(path.read_text()) for path in sorted(RECORDINGS.glob("*.json"))}
KEY: Final = "r8_replayed"

#: Headers that carry meaning to Replicate.
_MATTER: Final = ("authorization", "content-type", "prefer", "cancel-after")
#: The client waits in the connection; we never do, and give a deadline instead (see `wire`).
_OURS: Final = ("prefer", "cancel-after")

REF: Final[dict[str, Json]] = {
    "id": "", "key": "", "video": False, "price": {}, "expected": 1, "field": None, "free_before_start": True,
    "outputs": [{"step": "step", "role": None, "where": "output"}],
}  # fmt: skip


def exchanges(method: str, part: str) -> Iterator[Any]:
    """All recorded exchanges of a kind, as pytest parameters."""
    for name, call in CALLS.items():
        for place, exchange in enumerate(call["exchanges"]):
            request = exchange["request"]
            if request["method"] == method and part in request["path"]:
                yield pytest.param(exchange, id=f"{name}-{place}")


CREATED: Final = [
    one
    for one in exchanges("POST", "/predictions")
    if not one.values[0]["request"]["path"].endswith("/cancel")
]


class Replay:
    """Answers everything with one recorded response, and keeps what it was asked."""

    def __init__(self, exchange: Json) -> None:
        self.exchange = exchange
        self.asked: list[dict[str, Json]] = []
        self.parts: list[tuple[str | None, str | None, bytes]] = []

    async def handle(self, request: web.Request) -> web.Response:
        if request.content_type.startswith("multipart/"):
            async for part in await request.multipart():
                self.parts.append((part.name, part.filename, await part.read()))  # type: ignore[union-attr]
            body = None
        else:
            body = await request.text()
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.asked.append(
            {
                "method": request.method,
                "path": request.path,
                "headers": headers,
                "json": json.loads(body) if body else None,
            }
        )
        answer = self.exchange["response"]
        return web.Response(
            status=answer["status"],
            body=json.dumps(answer["json"]).encode(),
            content_type=answer["headers"]["content-type"].partition(";")[0],
        )


@asynccontextmanager
async def replaying(exchange: Json) -> AsyncIterator[tuple[Replay, ReplicateProvider]]:
    replay = Replay(exchange)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", replay.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.01)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    outbound = Outbound()
    provider = ReplicateProvider(
        key=KEY,
        base_url=f"http://127.0.0.1:{runner.addresses[0][1]}/v1",
        timeouts=Timeouts(connect=2, answer=5),
        limits=QUICK_LIMITS,
        outbound=outbound,
        rates=Rates(),
    )
    try:
        yield replay, provider
    finally:
        await provider.close()
        await outbound.close()
        await runner.cleanup()


def assert_same(asked: Json, recorded: Json) -> None:
    """Method, path, body, and the headers that matter."""
    assert (asked["method"], asked["path"]) == (recorded["method"], recorded["path"])
    for name in _MATTER:
        ours, theirs = asked["headers"].get(name), recorded["headers"].get(name)
        if name == "authorization":
            assert ours == theirs.replace("***", KEY)
        elif name not in _OURS:
            assert (ours or "").partition(";")[0] == (theirs or "").partition(";")[0], name


def saying(recorded: Json) -> BoundStep:
    """A step whose binding says exactly what the client said."""
    path, body = recorded["path"], recorded["json"]
    owner_and_name = "/".join(path.split("/")[3:5])
    if path.startswith("/v1/models/"):
        wire = {"model": owner_and_name}
    elif path.startswith("/v1/deployments/"):
        wire = {"deployment": owner_and_name}
    else:
        wire = {"version": f"owner/name:{body['version']}"}
    step = sdxl()
    fields = step.binding.fields.model_copy(update={"constants": body["input"]})
    binding = step.binding.model_copy(update={"wire": wire, "fields": fields})
    return replace(step, binding=binding, parameters={}, inputs={})


@pytest.mark.parametrize("exchange", CREATED)
async def test_a_submission_is_the_clients_and_its_answer_is_understood(exchange: Json) -> None:
    recorded, answer = exchange["request"], exchange["response"]
    webhook = recorded["json"].get("webhook")
    async with replaying(exchange) as (replay, provider):
        plan = provider.compile([saying(recorded)], None)
        if answer["status"] in (201, 202):
            ref = await provider.submit(plan, uuid4(), {}, webhook=webhook)
            assert ref["id"] == answer["json"]["id"]
        else:
            with pytest.raises(GenyardError) as refused:
                await provider.submit(plan, uuid4(), {}, webhook=webhook)
            assert refused.value.code is _REFUSALS[answer["status"], "version" in recorded["json"]]
    (asked,) = replay.asked
    assert_same(asked, recorded)
    assert asked["json"] == recorded["json"]
    assert "prefer" not in asked["headers"]
    assert asked["headers"]["cancel-after"].endswith("s")


#: (status, by version) → code. A 422 by version is the unknown one.
_REFUSALS: Final = {
    (402, False): Code.provider_rejected,
    (422, False): Code.request_invalid,
    (422, True): Code.provider_missing,
    (429, False): Code.provider_busy,
}

_READ: Final = {"starting": State.queued, "processing": State.running, "succeeded": State.succeeded,
    "failed": State.failed, "canceled": State.canceled}  # fmt: skip


def ref_of(exchange: Json) -> Ref:
    return {**REF, "id": exchange["request"]["path"].removesuffix("/cancel").rsplit("/", 1)[1]}


@pytest.mark.parametrize("exchange", list(exchanges("GET", "/v1/predictions/")))
async def test_a_read_is_the_clients_and_its_answer_is_understood(exchange: Json) -> None:
    async with replaying(exchange) as (replay, provider):
        seen = await provider.observe(ref_of(exchange), None, asyncio.Event())
    assert_same(replay.asked[0], exchange["request"])
    assert replay.asked[0]["json"] is None
    answer = exchange["response"]
    if answer["status"] == 404:
        assert (seen.state, seen.error and seen.error.code) == (State.lost, Code.provider_lost)
    else:
        assert_read(seen, answer["json"])


@pytest.mark.parametrize("exchange", list(exchanges("POST", "/cancel")))
async def test_a_cancel_is_the_clients_and_its_answer_is_understood(exchange: Json) -> None:
    async with replaying(exchange) as (replay, provider):
        canceled = await provider.cancel(ref_of(exchange))
    assert_same(replay.asked[0], exchange["request"])
    answer = exchange["response"]["json"]
    assert canceled.reached is (answer["status"] == "canceled")
    assert canceled.was_running is ("started_at" in answer)


def assert_read(seen: Snapshot, told: Json) -> None:
    assert (seen.state, seen.word) == (_READ[told["status"]], told["status"])
    output = told["output"] or []
    if seen.state is State.succeeded:
        assert [one.where["url"] for one in seen.outputs] == ([output] if isinstance(output, str) else output)
        assert seen.seconds == told["metrics"]["predict_time"]


def test_every_recorded_prediction_is_read() -> None:
    count = 0
    for call in CALLS.values():
        for exchange in call["exchanges"]:
            told = exchange["response"].get("json")
            listed = told.get("results", [told]) if isinstance(told, dict) else []
            for one in listed:
                if isinstance(one, dict) and "status" in one and "urls" in one and "logs" in one:
                    assert_read(snapshot_of(Prediction.model_validate(one), REF, 1_790_000_000.0), one)
                    count += 1
    assert count > 20


def test_progress_is_what_the_client_made_of_it() -> None:
    call = CALLS["predictions-create-wait"]
    done, total = call["progress"]
    told = {**call["exchanges"][-1]["response"]["json"], "status": "processing"}
    seen = snapshot_of(Prediction.model_validate(told), REF, 1_790_000_000.0)
    assert (seen.progress, seen.detail) == (done / total, f"step {done} of {total}")


@pytest.mark.parametrize("exchange", list(exchanges("POST", "/v1/files")))
async def test_an_upload_is_the_clients(exchange: Json) -> None:
    recorded = exchange["request"]
    (content,) = (one for one in recorded["form"] if one["name"] == "content")
    data = base64.b64decode(content["base64"])
    async with replaying(exchange) as (replay, provider):
        url = await provider._wire.upload(media_of("given", data))
    assert_same(replay.asked[0], recorded)
    ((name, filename, sent),) = replay.parts
    assert (name, sent) == ("content", data)
    assert filename
    assert url == exchange["response"]["json"]["urls"]["get"]


@pytest.mark.parametrize("exchange", list(exchanges("GET", "/v1/account")))
async def test_the_account_is_asked_for_as_the_client_does(exchange: Json) -> None:
    async with replaying(exchange) as (replay, provider):
        health = await provider.check()
    assert_same(replay.asked[0], exchange["request"])
    told = {200: None, 401: Code.provider_rejected, 429: Code.provider_busy}
    assert (health.error and health.error.code) is told[exchange["response"]["status"]]
    assert health.reachable


async def test_a_webhook_that_the_client_believed_is_believed() -> None:
    (exchange,) = (one.values[0] for one in exchanges("GET", "/v1/webhooks/default/secret"))
    delivery = CALLS["webhook"]["delivery"]
    body = delivery["body"].encode()
    async with replaying(exchange) as (replay, provider):
        provider._now = lambda: float(delivery["headers"]["webhook-timestamp"]) + 5
        assert await provider.hook(delivery["headers"], body)
        assert not await provider.hook(delivery["headers"], body + b" ")
        provider._now = lambda: float(delivery["headers"]["webhook-timestamp"]) + 500
        assert not await provider.hook(delivery["headers"], body)
    (asked,) = replay.asked
    assert_same(asked, exchange["request"])


async def test_the_client_takes_its_key_to_any_host_and_we_do_not() -> None:
    """Recorded at a delivery host that is no host of Replicate's."""
    (output, *_) = (one.values[0] for one in exchanges("GET", "/out"))
    assert output["request"]["headers"]["authorization"] == "Bearer ***"
    async with replaying(output) as (_, provider):
        assert provider._headers_for("https://files.example/out-0.png") == {}
