"""Jobs tell a URL what becomes of them: signed, in order, at least once, for a day, and never into our own network."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import Any
from uuid import UUID, uuid4

import pytest
from aiohttp import web

from genyard.app import Product, working
from genyard.errors import Code, GenyardError
from genyard.jobs.callbacks.deliveries import Delivery
from genyard.jobs.callbacks.sender import SCHEDULE, Tempo
from genyard.jobs.model import Job, JobState
from support.receiver import Receiver, hangs
from support.scripted import RUNNING, ScriptedProvider, succeeded

PROMPT = "a purple gryphon"


def asking(receiver: Receiver | None = None, **more: Any) -> dict[str, Any]:
    hook = {} if receiver is None else {"webhook_url": receiver.url}
    parameters = {"prompt": PROMPT, "negative_prompt": "blurred", "width": 64, "height": 64}
    return {"operation": "txt2img", "parameters": parameters, **hook, **more}


async def run(product: Product, body: dict[str, Any]) -> Job:
    job = (await product.studio.submit(body)).job
    return await asyncio.wait_for(product.studio.wait(job.id), 20)


async def settled(product: Product, *states: str, count: int = 1) -> list[Delivery]:
    """The deliveries, newest first, once so many are in one of these states."""
    async with asyncio.timeout(20):
        while True:
            found = list(await product.studio.webhooks.deliveries(limit=100))
            if sum(one.state in states for one in found) >= count:
                return found
            await asyncio.sleep(0.01)


async def tried(product: Product, tries: int) -> Delivery:
    """The only delivery, once it has failed so often."""
    async with asyncio.timeout(20):
        while True:
            for one in await product.studio.webhooks.deliveries():
                if one.tries >= tries and one.state != "sending":
                    return one
            await asyncio.sleep(0.01)


async def pass_time(product: Product, seconds: float) -> None:
    """For deliveries and secrets alone: everything that is written of them lies so much longer ago."""
    await product.jobs.database.execute(
        "UPDATE deliveries SET created_at = created_at - %(s)s * interval '1 second', "
        "next_at = next_at - %(s)s * interval '1 second', give_up_at = give_up_at - %(s)s * interval '1 second'",
        s=seconds,
    )
    await product.jobs.database.execute(
        "UPDATE webhook_secrets SET retires_at = retires_at - %(s)s * interval '1 second'", s=seconds
    )


# ---- what is told ----


async def test_the_end_of_a_job_is_told_signed_and_without_its_prompt(
    open_product: Any, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with open_product(GENYARD_PUBLIC_URL="https://pictures.example") as product, working(product):
        secret = await product.studio.webhooks.secret()
        job = await run(product, asking(receiver, embed_prompt=True))
        [message] = await receiver.until(1)
        [delivery] = await settled(product, "delivered")
        events = await product.jobs.events(job.id, 0)
    assert message.signed_with(secret)
    assert abs(int(message.headers["webhook-timestamp"]) - time.time()) < 60
    assert message.id == str(delivery.id)
    assert message.headers["content-type"] == "application/json"
    told = message.json
    assert (told["type"], told["timestamp"]) == ("job.succeeded", events[-1].at.isoformat())
    assert told["data"]["id"] == str(job.id)
    assert told["data"]["state"] == "succeeded"
    assert told["data"]["steps"][0]["parameters"]["width"] == 64
    assert told["data"]["outputs"][0]["url"].startswith("https://pictures.example/assets/")
    assert told["data"]["attempts"][0]["state"] == "succeeded"
    for secret_word in (PROMPT, "blurred"):
        assert secret_word.encode() not in message.body
    assert PROMPT not in caplog.text
    assert "whsec_" not in caplog.text
    assert (delivery.status, delivery.tries, delivery.error) == (204, 1, None)


async def test_prompts_are_told_to_those_who_ask_for_them(open_product: Any, receiver: Receiver) -> None:
    async with open_product() as product, working(product):
        await run(product, asking(receiver, webhook_prompts=True))
        [message] = await receiver.until(1)
    assert message.json["data"]["steps"][0]["parameters"]["prompt"] == PROMPT
    assert "url" not in message.json["data"]["outputs"][0]  # nobody outside could reach us


async def test_chosen_events_come_in_their_order(open_product: Any, receiver: Receiver) -> None:
    """Also where the receiver is down for a while in between."""
    receiver.answers = [204, 500, 204]
    place = ScriptedProvider(
        submits=[GenyardError(Code.provider_busy, "later"), None], says=[RUNNING, succeeded()]
    )
    events = ["succeeded", "queued", "retrying", "running"]
    async with open_product(place) as product, working(product):
        await run(product, asking(receiver, webhook_events=events))
        await receiver.until(2)
        async with asyncio.timeout(20):
            while len(receiver.got) < 5:
                await pass_time(product, 10)
                await asyncio.sleep(0.02)
        found = await settled(product, "delivered", count=4)
    assert [one.type for one in receiver.got] == [
        "job.queued",
        "job.running",
        "job.running",
        "job.retrying",
        "job.succeeded",
    ]
    assert len({one.id for one in receiver.got}) == 4
    assert [one.kind for one in sorted(found, key=lambda one: one.created_at)] == [
        "queued",
        "running",
        "retrying",
        "succeeded",
    ]


async def test_a_message_that_keeps_failing_does_not_hold_up_the_next_for_a_day(
    open_product: Any, receiver: Receiver
) -> None:
    async def dislikes_running(message: Any) -> web.StreamResponse:
        return web.Response(status=400 if message.type == "job.running" else 204)

    receiver.answers = [dislikes_running]
    async with open_product() as product, working(product):
        await run(product, asking(receiver, webhook_events=["running", "succeeded"]))
        await receiver.until(1)
        async with asyncio.timeout(20):
            while receiver.got[-1].type != "job.succeeded":
                await pass_time(product, 40)
                await asyncio.sleep(0.02)
        assert [one.type for one in receiver.got] == ["job.running"] * 3 + ["job.succeeded"]


async def test_every_end_is_told_also_where_nothing_ran(open_product: Any, receiver: Receiver) -> None:
    failing = ScriptedProvider(submits=[GenyardError(Code.provider_rejected, "wrong key")] * 2)
    async with open_product(failing) as product:
        canceled = (await product.studio.submit(asking(receiver))).job
        late = (await product.studio.submit(asking(receiver, expires_in=0.001))).job
        await product.studio.cancel(canceled.id)
        await product.studio.submit(asking())  # asks for no callback
        await asyncio.sleep(0.01)
        async with working(product):
            failed = await run(product, asking(receiver))
            await receiver.until(3)
            found = await settled(product, "delivered", count=3)
    told = {one.json["data"]["id"]: one.type for one in receiver.got}
    assert failed.state is JobState.failed
    assert told == {
        str(canceled.id): "job.canceled",
        str(late.id): "job.expired",
        str(failed.id): "job.failed",
    }
    assert len(found) == 3


async def test_a_delivery_is_written_with_its_event_or_not_at_all(
    open_product: Any, receiver: Receiver
) -> None:
    async with open_product() as product:
        job = (await product.studio.submit(asking(receiver))).job
        statement = "UPDATE jobs SET state = 'failed', event_seq = event_seq + 1 WHERE id = %(id)s"

        class Undone(Exception):
            pass

        with contextlib.suppress(Undone):
            async with product.jobs.database.transaction() as connection:
                await connection.execute(statement, {"id": job.id})
                raise Undone
        assert not await product.studio.webhooks.deliveries()
        await product.jobs.database.execute(statement, id=job.id)
        [one] = await product.studio.webhooks.deliveries()
        assert (one.job_id, one.kind, one.state) == (job.id, "failed", "waiting")


async def test_a_rerun_tells_the_same_receiver(open_product: Any, receiver: Receiver) -> None:
    async with open_product() as product, working(product):
        first = await run(product, asking(receiver, webhook_events=["succeeded"]))
        again = await product.studio.rerun(first.id)
        await receiver.until(2)
        assert again.as_json()["webhook_url"] == receiver.url
        assert {one.json["data"]["id"] for one in receiver.got} == {str(first.id), str(again.id)}


# ---- receivers that fail ----


async def test_a_failure_is_tried_again_under_the_same_id(open_product: Any, receiver: Receiver) -> None:
    receiver.answers = [500, 204]
    async with open_product() as product, working(product):
        await run(product, asking(receiver))
        one = await tried(product, 1)
        assert (one.state, one.status, one.error) == ("waiting", 500, "HTTP 500")
        assert one.next_at is not None
        assert 3.5 < (one.next_at - one.created_at).total_seconds() < 8
        await pass_time(product, 7)
        await settled(product, "delivered")
    assert len(receiver.got) == 2
    assert len({one.id for one in receiver.got}) == 1


async def test_retry_after_is_honoured(open_product: Any, receiver: Receiver) -> None:
    receiver.answers = [web.Response(status=429, headers={"Retry-After": "600"})]
    async with open_product() as product, working(product):
        await run(product, asking(receiver))
        one = await tried(product, 1)
    assert one.next_at is not None
    assert 595 < (one.next_at - one.created_at).total_seconds() < 620


async def test_after_a_day_it_is_a_dead_letter_and_can_be_sent_again(
    open_product: Any, receiver: Receiver
) -> None:
    """The clock is moved to each next try; nobody sleeps."""
    receiver.answers = [503]
    gaps: list[float] = []
    async with open_product() as product, working(product):
        job = await run(product, asking(receiver))
        for tries in range(1, 40):
            one = await tried(product, tries)
            if one.state == "dead":
                break
            assert one.next_at is not None
            [row] = await product.jobs.database.rows(
                "SELECT extract(epoch FROM next_at - now())::float AS left FROM deliveries"
            )
            gaps.append(row["left"])
            await pass_time(product, row["left"])
        assert one.state == "dead"
        assert 86_000 < sum(gaps) < 86_500
        for gap, regular in zip(gaps[: len(SCHEDULE)], SCHEDULE, strict=False):
            assert 0.79 * regular - 1 < gap < 1.21 * regular + 1
        assert len(receiver.got) == len(gaps) + 1
        assert [d.id for d in await product.studio.webhooks.deliveries(state="dead")] == [one.id]

        receiver.answers = [200]
        again = await product.studio.webhooks.resend(one.id)
        assert again.state == "waiting"
        [delivered] = await settled(product, "delivered")
        assert (delivered.id, delivered.tries, delivered.job_id) == (one.id, 1, job.id)
        await product.studio.webhooks.resend(one.id)  # delivered ones, too
        await receiver.until(len(gaps) + 3)
    assert {message.id for message in receiver.got} == {str(one.id)}


async def test_410_ends_it_for_the_whole_job(open_product: Any, receiver: Receiver) -> None:
    receiver.answers = [410]
    place = ScriptedProvider(says=[RUNNING])
    async with open_product(place) as product, working(product):
        events = ["queued", "running", "canceled"]
        job = (await product.studio.submit(asking(receiver, webhook_events=events))).job
        await settled(product, "dead")
        await asyncio.wait_for(place.observing.wait(), 20)
        place.says = [succeeded()]
        await product.studio.wait(job.id)
        found = await product.studio.webhooks.deliveries()
        assert {one.state for one in found} == {"dead"}
        assert "nothing more is wanted" in (found[-1].error or "")
        assert len(receiver.got) == 1


async def test_redirects_are_not_followed(open_product: Any, receiver: Receiver) -> None:
    async with Receiver() as elsewhere:
        receiver.answers = [web.Response(status=307, headers={"Location": elsewhere.url})]
        async with open_product() as product, working(product):
            await run(product, asking(receiver))
            one = await tried(product, 1)
        assert (one.state, one.error) == ("waiting", "HTTP 307: redirects are not followed")
        assert not elsewhere.got


async def test_a_receiver_that_is_not_there_or_dies_is_tried_again(
    open_product: Any, receiver: Receiver
) -> None:
    async def breaks(_message: Any) -> web.StreamResponse:
        raise asyncio.CancelledError  # the connection is closed without an answer

    receiver.answers = [breaks]
    async with open_product() as product, working(product):
        await run(product, asking(receiver))
        one = await tried(product, 1)
        assert (one.state, one.status) == ("waiting", None)
        assert "broke the connection" in (one.error or "")
        await receiver.die()
        await pass_time(product, 10)
        one = await tried(product, 2)
        assert "does not accept a connection" in (one.error or "")


async def test_a_slow_receiver_delays_nobody_else(open_product: Any, receiver: Receiver) -> None:
    async with Receiver(answers=[hangs]) as slow, open_product() as product, working(product):
        jobs = [await product.studio.submit(asking(slow)) for _ in range(30)]
        await asyncio.gather(*(product.studio.wait(one.job.id) for one in jobs))
        await slow.until(8)
        began = time.monotonic()
        for count in range(1, 4):
            await run(product, asking(receiver))
            await receiver.until(count)
        assert time.monotonic() - began < 5
        assert slow.most_open == 8


async def test_a_try_has_a_time_limit(open_product: Any, receiver: Receiver) -> None:
    receiver.answers = [hangs]
    async with (
        open_product(tempo=Tempo(sweep=0.02, grace=0.0, limit=0.1)) as product,
        working(product),
    ):
        await run(product, asking(receiver))
        one = await tried(product, 1)
    assert "did not answer within 0.1 s" in (one.error or "")


# ---- whom nothing is sent to ----


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:9/hook",
        "http://[::1]/hook",
        "http://169.254.169.254/latest",
        "http://10.1.2.3/",
        "http://localhost/hook",
        "http://2130706433/",
        "ftp://example.com/x",
        "https://user:pass@example.com/",
        "nonsense",
        "",
        7,
        "https://example.com/" + "x" * 2000,
    ],
)
async def test_private_and_wrong_addresses_are_refused_before_anything_is_stored(
    open_product: Any, url: Any
) -> None:
    async with open_product(toml="") as product:
        with pytest.raises(GenyardError) as refused:
            await product.studio.submit(asking(webhook_url=url))
        assert (refused.value.code, refused.value.field) == (Code.request_invalid, "webhook_url")
        assert "pass" not in refused.value.message
        assert not await product.studio.jobs()


async def test_an_address_that_became_private_is_refused_when_it_is_sent_to(
    open_product: Any, receiver: Receiver
) -> None:
    async with open_product() as lenient:
        await lenient.studio.submit(asking(receiver))
    async with open_product(toml="") as product, working(product):
        one = await tried(product, 1)
    assert not receiver.got
    assert "private network" in (one.error or "")
    assert one.state == "waiting"


async def test_private_addresses_can_be_allowed(open_product: Any, receiver: Receiver) -> None:
    toml = "[webhooks]\nallow_private = true\n"
    async with open_product(toml=toml) as product, working(product):
        await run(product, asking(receiver))
        await receiver.until(1)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"webhook_events": ["succeeded"]}, "webhook_events"),
        ({"webhook_prompts": True}, "webhook_prompts"),
        ({"webhook_url": "https://example.com/", "webhook_events": []}, "webhook_events"),
        ({"webhook_url": "https://example.com/", "webhook_events": ["done"]}, "webhook_events"),
        ({"webhook_url": "https://example.com/", "webhook_events": "succeeded"}, "webhook_events"),
        ({"webhook_url": "https://example.com/", "webhook_prompts": 1}, "webhook_prompts"),
    ],
)
async def test_what_makes_no_sense_is_named(open_product: Any, body: dict[str, Any], field: str) -> None:
    async with open_product() as product:
        with pytest.raises(GenyardError) as refused:
            await product.studio.submit(asking(**body))
        assert (refused.value.code, refused.value.field) == (Code.request_invalid, field)


# ---- owners ----


async def test_the_secret_is_shown_once_and_changed_with_an_overlap(
    open_product: Any, receiver: Receiver
) -> None:
    async with open_product() as product, working(product):
        webhooks = product.studio.webhooks
        old = await webhooks.secret()
        with pytest.raises(GenyardError) as refused:
            await webhooks.secret()
        assert refused.value.code is Code.request_conflict
        new = await webhooks.rotate_secret(overlap=3600)
        assert new != old
        await run(product, asking(receiver))
        await receiver.until(1)
        await pass_time(product, 3601)
        await run(product, asking(receiver))
        await receiver.until(2)
        last = await webhooks.rotate_secret(overlap=0)
        await run(product, asking(receiver))
        both, only_new, only_last = await receiver.until(3)
        for wrong in (-1, 31 * 86_400):
            with pytest.raises(GenyardError, match="overlap"):
                await webhooks.rotate_secret(overlap=wrong)
    assert both.signed_with(old) and both.signed_with(new)
    assert only_new.signed_with(new) and not only_new.signed_with(old)
    assert only_last.signed_with(last) and not only_last.signed_with(new)


async def test_a_secret_that_was_made_for_the_first_message_can_still_be_seen(
    open_product: Any, receiver: Receiver
) -> None:
    async with open_product() as product, working(product):
        await run(product, asking(receiver))
        [message] = await receiver.until(1)
        assert message.signed_with(await product.studio.webhooks.secret())


async def test_deliveries_are_their_owners_and_go_with_their_job(
    open_product: Any, receiver: Receiver
) -> None:
    async with open_product() as product, working(product):
        job = await run(product, asking(receiver))
        [one] = await settled(product, "delivered")
        stranger = uuid4()
        webhooks = product.studio.webhooks
        assert not await webhooks.deliveries(owner_id=stranger)
        with pytest.raises(GenyardError) as refused:
            await webhooks.resend(one.id, owner_id=stranger)
        assert refused.value.code is Code.not_found
        assert not await webhooks.deliveries(job_id=UUID(int=1))
        assert [d.id for d in await webhooks.deliveries(job_id=job.id)] == [one.id]
        await product.studio.delete(job.id)
        assert not await webhooks.deliveries()
        with pytest.raises(GenyardError) as refused:
            await webhooks.resend(one.id)
        assert refused.value.code is Code.not_found


async def test_the_list_goes_on_where_it_ended(open_product: Any, receiver: Receiver) -> None:
    async with open_product() as product, working(product):
        for _ in range(5):
            await run(product, asking(receiver))
        await settled(product, "delivered", count=5)
        webhooks = product.studio.webhooks
        everything = [one.id for one in await webhooks.deliveries()]
        first = [one.id for one in await webhooks.deliveries(limit=2)]
        rest = [one.id for one in await webhooks.deliveries(limit=10, before=first[-1])]
        assert first + rest == everything
        with pytest.raises(GenyardError) as refused:
            await webhooks.deliveries(state="lost")
        assert refused.value.field == "state"
