"""Callbacks without a database: signatures, the schedule, what messages leave out, whom `Outbound.post` refuses."""

from __future__ import annotations

import ipaddress
from collections.abc import AsyncIterator
from typing import Any, Final

import pytest
from aiohttp import web

from genyard.errors import Code, GenyardError
from genyard.jobs.callbacks.message import WORDS, without_words
from genyard.jobs.callbacks.sender import SCHEDULE, pause_after
from genyard.jobs.callbacks.signing import new_secret, read_secret, signed_headers, write_secret
from genyard.operations import OPERATIONS
from genyard.outbound import Outbound
from genyard.providers._http import seconds_of
from genyard.providers.replicate.signature import is_signed
from support.receiver import Receiver, hangs
from unit.test_outbound import PRIVATE, PUBLIC, Names, internet

#: What the PyPI package standardwebhooks 1.1.0 made of these.
RECORDED: Final = {
    "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "id": "6f1cbe43-33d7-4f04-9d6e-8dd1c2f1e4ab",
    "timestamp": 1780000000,
    "body": '{"type":"job.succeeded","timestamp":"2026-05-28T20:26:40+00:00","data":{"id":"0198c0de"}}',
    "signature": "v1,Mmp04usQ0y9LK7Dor+rPIsDBcWLQzbRbzxL7T0q4dyc=",
}


def test_signatures_are_those_of_the_specification() -> None:
    keys = [read_secret(RECORDED["secret"])]
    headers = signed_headers(keys, RECORDED["id"], RECORDED["timestamp"], RECORDED["body"].encode())
    assert headers == {
        "webhook-id": RECORDED["id"],
        "webhook-timestamp": "1780000000",
        "webhook-signature": RECORDED["signature"],
    }


def test_each_secret_in_force_has_its_signature() -> None:
    secrets = [new_secret(), new_secret()]
    headers = signed_headers(secrets, "m", 1, b"{}")
    for secret in secrets:
        assert is_signed(headers, b"{}", write_secret(secret))
        assert not is_signed(headers, b"{ }", write_secret(secret))
    assert not is_signed(headers, b"{}", write_secret(new_secret()))


@pytest.mark.parametrize("text", ["", "whsec_", "whsec_c2hvcnQ=", "whsec_%%%%", "nonsense"])
def test_what_is_no_secret_is_not_taken_for_one(text: str) -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        read_secret(text)


def test_pauses_follow_the_schedule_a_fifth_around_it() -> None:
    for tries, regular in enumerate(SCHEDULE, start=1):
        assert pause_after(tries, draw=lambda: 0.0) == pytest.approx(0.8 * regular)
        assert pause_after(tries, draw=lambda: 1.0) == pytest.approx(1.2 * regular)
    assert pause_after(99, draw=lambda: 0.5) == SCHEDULE[-1]
    assert pause_after(1, 60.0) == 60.0
    assert pause_after(1, 0.0) > 3
    assert pause_after(1, 1e12) == 86_400


@pytest.mark.parametrize(
    "told",
    [
        "Mon, 01 Jan 2026 00:00:00 +99999999999999999999",
        "Mon, 99999999999999999999 Jan 2026 00:00:00 GMT",
        "Fri, 31 Dec 9999 23:59:59 -9999",
        "nan",
    ],
)
async def test_a_pause_that_nobody_can_read_is_none(told: str) -> None:
    receiver = Receiver(answers=[web.Response(status=503, headers={"Retry-After": told})])
    async with receiver:
        outbound = Outbound(hosts=["127.0.0.1"])
        try:
            answer = await outbound.post(receiver.url, b"{}", headers={}, seconds=5)
        finally:
            await outbound.close()
    assert (answer.status, answer.retry_after) == (503, None)
    assert seconds_of(told, 0.0) is None


#: Parameters with text that are names of things, or numbers in a structure.
_NAMES: Final = {
    "aspect_ratio",
    "sampler",
    "scheduler",
    "loras",
    "controlnets",
    "media",
    "palette",
    "algorithm",
}


def test_no_parameter_that_may_hold_somebodys_words_is_told() -> None:
    """A new one has to be put on one side or the other."""
    for operation in OPERATIONS.values():
        for name, schema in operation.json_schema()["properties"].items():
            kinds = {one.get("type", "object") for one in schema.get("anyOf", [schema])}
            if kinds & {"string", "object", "array"}:
                assert name in WORDS | _NAMES, f"{operation.name}.{name}"


def test_words_are_left_out_everywhere() -> None:
    step = {"name": "a", "parameters": {"prompt": "w", "negative_prompt": "w", "workflow": {}, "seed": 1}}
    told = without_words({"id": 1, "steps": [step], "outputs": [{"facts": {"prompt": "w", "seed": 1}}]})
    assert told == {
        "id": 1,
        "steps": [{"name": "a", "parameters": {"seed": 1}}],
        "outputs": [{"facts": {"seed": 1}}],
    }
    assert "prompt" in step["parameters"]  # a copy


# ---- Outbound.post: 127.0.0.2 plays the internet, 127.0.0.1 is ours ----


@pytest.fixture
async def names() -> Names:
    return Names({"good.test": [[PUBLIC]], "bad.test": [[PRIVATE]], "turning.test": [[PUBLIC], [PRIVATE]]})


@pytest.fixture
async def outbound(names: Names) -> AsyncIterator[Outbound]:
    outbound = Outbound(permits=internet, resolver=names)
    yield outbound
    await outbound.close()


async def post(outbound: Outbound, url: str, **more: Any) -> Any:
    return await outbound.post(url, b"{}", headers={"X": "y"}, seconds=more.pop("seconds", 5.0), **more)


@pytest.mark.parametrize(
    "url",
    [
        "http://bad.test/",
        f"http://{PRIVATE}:9/",
        "file:///etc/passwd",
        "http://a:b@good.test/",
        "http://0x7f.1/",
    ],
)
async def test_private_receivers_are_refused_and_told_nothing(outbound: Outbound, url: str) -> None:
    for refused in (post(outbound, url), outbound.require_receiver(url)):
        with pytest.raises(GenyardError) as caught:
            await refused
        assert caught.value.code is Code.request_invalid


async def test_a_name_that_turns_private_after_it_was_judged_is_refused(outbound: Outbound) -> None:
    assert await outbound.require_receiver("http://turning.test:81/x?token=t") == "turning.test:81"
    with pytest.raises(GenyardError) as caught:
        await post(outbound, "http://turning.test:81/x?token=t")
    assert caught.value.code is Code.request_invalid
    assert "token" not in caught.value.message


async def test_the_answer_is_told_and_redirects_are_answers() -> None:
    outbound = Outbound(hosts=["127.0.0.1"])
    async with Receiver(
        answers=[web.Response(status=302, headers={"Location": "http://good.test/"})]
    ) as receiver:
        assert (await post(outbound, receiver.url)).status == 302
        receiver.answers = [web.Response(status=503, text="x" * 100, headers={"Retry-After": "7"})]
        answer = await post(outbound, receiver.url, answer_bytes=10)
        assert (answer.status, answer.retry_after, answer.body) == (503, 7.0, b"x" * 10)
        receiver.answers = [web.Response(headers={"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"})]
        assert (await post(outbound, receiver.url)).retry_after == 0.0
        receiver.answers = [web.Response(headers={"Retry-After": "soon"})]
        assert (await post(outbound, receiver.url)).retry_after is None
        receiver.answers = [hangs]
        with pytest.raises(GenyardError, match="did not answer") as caught:
            await post(outbound, receiver.url, seconds=0.05)
        assert caught.value.code is Code.provider_unreachable
        assert receiver.got[0].headers["x"] == "y"
    with pytest.raises(GenyardError, match="does not accept"):
        await post(outbound, receiver.url)
    await outbound.close()


async def test_nothing_is_private_by_default() -> None:
    outbound = Outbound()
    for address in ("127.0.0.1", "10.0.0.1", "169.254.169.254", "[::1]", "[fd00::1]"):
        with pytest.raises(GenyardError):
            await outbound.require_receiver(f"http://{address}/")
    assert ipaddress.ip_address("8.8.8.8").is_global
    assert await outbound.require_receiver("https://8.8.8.8/") == "8.8.8.8"
    await outbound.close()
