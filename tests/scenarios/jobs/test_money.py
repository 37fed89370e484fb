"""What runs cost, what a place may spend in a day, and runs that go on after a cancel."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID, uuid4

import pytest

from conftest import MakeSettings
from genyard.app import Product, working
from genyard.errors import Code, GenyardError
from genyard.jobs.model import AttemptState, Job, JobState
from genyard.owners import LOCAL_OWNER
from genyard.providers import Canceled, Cost, Ref, Snapshot, State
from genyard.settings import BudgetSettings
from support.paid import paid_place
from support.scripted import RUNNING, ScriptedProvider, succeeded

REQUEST: dict[str, Any] = {
    "operation": "txt2img",
    "parameters": {"prompt": "a red dragon", "width": 64, "height": 64},
}


def charged(usd: float | None) -> Snapshot:
    cost = None if usd is None else Cost(usd=usd, source="reported")
    done = succeeded()
    return Snapshot(state=done.state, outputs=done.outputs, word=done.word, cost=cost)


async def submit(product: Product) -> Job:
    return (await product.studio.submit(REQUEST)).job


async def ended(product: Product, job: Job) -> Job:
    return await asyncio.wait_for(product.studio.wait(job.id), 20)


async def spent(product: Product) -> float:
    [one] = await product.studio.spending()
    return one.usd


async def test_an_attempt_says_what_it_cost_and_how_that_is_known(make_settings: MakeSettings) -> None:
    async with (
        paid_place(make_settings, ScriptedProvider(says=[charged(0.021)])) as product,
        working(product),
    ):
        job = await ended(product, await submit(product))
        assert await spent(product) == pytest.approx(0.021)
    [attempt] = job.attempts
    assert attempt.cost == Cost(usd=0.021, source="reported")
    assert job.as_json()["cost"] == {"usd": pytest.approx(0.021), "complete": True}


async def test_an_unknown_cost_is_never_zero(make_settings: MakeSettings) -> None:
    async with paid_place(make_settings, ScriptedProvider(says=[charged(None)])) as product, working(product):
        job = await ended(product, await submit(product))
        assert await spent(product) == pytest.approx(0.4)
    assert job.attempts[0].cost is None
    assert job.as_json()["cost"] == {"usd": None, "complete": False}


async def test_the_cap_holds_for_requests_that_come_at_once(make_settings: MakeSettings) -> None:
    async with paid_place(make_settings, ScriptedProvider()) as product:
        told = await asyncio.gather(*(submit(product) for _ in range(8)), return_exceptions=True)
        refused = [one for one in told if isinstance(one, GenyardError)]
        assert len(told) - len(refused) == 2
        assert {one.code for one in refused} == {Code.spend_capped}
        assert "daily_cap_usd" in refused[0].message
        assert len(await product.studio.jobs()) == 2


async def test_a_month_has_a_cap_of_its_own(make_settings: MakeSettings) -> None:
    place = ScriptedProvider(says=[charged(0.4)])
    async with paid_place(make_settings, place, daily_cap_usd=50.0, monthly_cap_usd=1.0) as product:
        async with working(product):
            await ended(product, await submit(product))
        database = product.jobs.database
        await database.execute("UPDATE spending SET day = date_trunc('month', genyard_today())::date")
        told = await asyncio.gather(*(submit(product) for _ in range(4)), return_exceptions=True)
        refused = [one for one in told if isinstance(one, GenyardError)]
        assert len(told) - len(refused) == 1
        assert refused[0].field == "endpoints.comfyui.monthly_cap_usd"
        assert 0 < refused[0].context["retry_after"] <= 31 * 86400
        [one] = await product.studio.spending()
        assert (one.month_usd, one.month_cap) == (pytest.approx(0.8), 1.0)
        await database.execute("UPDATE spending SET day = day - 1")  # the month before
        await submit(product)


async def test_what_a_run_did_not_need_is_free_for_others(make_settings: MakeSettings) -> None:
    async with paid_place(make_settings, ScriptedProvider(says=[charged(0.05)])) as product, working(product):
        for _ in range(6):
            await ended(product, await submit(product))
        assert await spent(product) == pytest.approx(0.30)


async def test_a_deleted_job_does_not_give_money_back(make_settings: MakeSettings) -> None:
    async with paid_place(make_settings, ScriptedProvider(says=[charged(0.5)])) as product, working(product):
        job = await ended(product, await submit(product))
        await product.studio.delete(job.id)
        assert await spent(product) == pytest.approx(0.5)


async def test_what_never_left_costs_nothing(make_settings: MakeSettings) -> None:
    place = ScriptedProvider(submits=[GenyardError(Code.provider_rejected, "wrong key")])
    async with paid_place(make_settings, place) as product:
        waiting = await submit(product)
        await product.studio.cancel(waiting.id)
        async with working(product):
            failed = await ended(product, await submit(product))
        assert await spent(product) == 0
    assert failed.state is JobState.failed


async def test_a_failed_run_costs_and_is_bought_once_more_at_most(make_settings: MakeSettings) -> None:
    error = GenyardError(Code.provider_interrupted, "the machine was taken away")
    failing = Snapshot(state=State.failed, error=error, cost=Cost(usd=0.1, source="computed"))
    place = ScriptedProvider(says=[failing])
    async with paid_place(make_settings, place) as product, working(product):
        job = await ended(product, await submit(product))
        assert await spent(product) == pytest.approx(0.2)
    assert job.state is JobState.failed
    assert len(place.submitted) == 2
    assert job.as_json()["cost"] == {"usd": pytest.approx(0.2), "complete": True}


async def test_a_busy_place_is_asked_until_it_takes_the_work(make_settings: MakeSettings) -> None:
    busy = GenyardError(Code.provider_busy, "2 at once", context={"retry_after": 0.01})
    place = ScriptedProvider(submits=[busy] * 3, says=[charged(0.1)])
    async with paid_place(make_settings, place) as product, working(product):
        job = await ended(product, await submit(product))
        assert await spent(product) == pytest.approx(0.1)
    assert job.state is JobState.succeeded
    assert len(place.submitted) == 4


class Unstoppable(ScriptedProvider):
    """A place that refuses to cancel; what it runs ends when `finish` is set."""

    def __init__(self) -> None:
        self.finish = asyncio.Event()
        super().__init__()

    async def observe(self, ref: Ref, previous: Snapshot | None, wake: asyncio.Event) -> Snapshot:
        self.observing.set()
        if previous is None:
            return RUNNING
        waits = [asyncio.ensure_future(self.finish.wait()), asyncio.ensure_future(wake.wait())]
        await asyncio.wait(waits, timeout=5, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        return charged(0.07) if self.finish.is_set() else previous

    async def cancel(self, ref: Ref) -> Canceled:
        self.canceled.append(ref)
        return Canceled(reached=False, refused=True)


async def settled(product: Product, job_id: UUID) -> Job:
    async with asyncio.timeout(20):
        while True:
            job = await product.studio.get(job_id)
            if job.attempts and job.attempts[0].finished_at is not None:
                return job
            await asyncio.sleep(0.05)


async def canceled_while_it_runs(product: Product, place: Unstoppable) -> Job:
    before = len(place.submitted)
    job = await submit(product)
    async with asyncio.timeout(20):
        while len(place.submitted) == before:  # noqa: ASYNC110 (those of before are observed, too: an event says nothing)
            await asyncio.sleep(0.01)
    await product.studio.cancel(job.id)
    return await ended(product, job)


async def test_a_run_that_cannot_be_stopped_is_detached_booked_and_kept_from_the_caller(
    make_settings: MakeSettings,
) -> None:
    place = Unstoppable()
    async with paid_place(make_settings, place) as product, working(product):
        job = await canceled_while_it_runs(product, place)
        assert job.state is JobState.canceled
        assert job.attempts[0].state is AttemptState.detached
        assert job.as_json()["cost"] == {"usd": None, "complete": False}
        assert await spent(product) == pytest.approx(0.4)
        place.finish.set()
        job = await settled(product, job.id)
        assert job.as_json()["cost"] == {"usd": pytest.approx(0.07), "complete": True}
        assert await spent(product) == pytest.approx(0.07)
        assert job.outputs == ()
        assert await product.studio.assets() == []
        [kept] = await product.jobs.database.rows("SELECT delivered FROM assets")
        assert kept == {"delivered": False}


async def test_what_goes_on_after_a_cancel_holds_its_owners_budget(make_settings: MakeSettings) -> None:
    """Whoever cancels and submits again, at a place that cannot stop, spends no more than the budget allows."""
    place = Unstoppable()
    budgets = {"budgets": BudgetSettings(daily_usd=1.0)}
    async with paid_place(make_settings, place, budgets, daily_cap_usd=100.0) as product, working(product):
        for _ in range(2):
            await canceled_while_it_runs(product, place)
        with pytest.raises(GenyardError) as refused:
            await submit(product)
        assert refused.value.field == "budgets.daily_usd"
        assert refused.value.context["spent"] == pytest.approx(0.8)
        place.finish.set()
        for job in await product.studio.jobs():
            await settled(product, job.id)
        told = await product.studio.ledger.budget(LOCAL_OWNER)
        assert told["spent_today"] == pytest.approx(0.14)
        await submit(product)


async def test_another_worker_follows_a_detached_run_to_its_end(make_settings: MakeSettings) -> None:
    place = Unstoppable()
    async with paid_place(make_settings, place) as product:
        async with working(product):
            job = await canceled_while_it_runs(product, place)
        assert (await product.studio.get(job.id)).attempts[0].finished_at is None
        place.finish.set()
        async with working(product):
            job = await settled(product, job.id)
    assert job.attempts[0].cost == Cost(usd=0.07, source="reported")


async def test_a_hook_wakes_the_one_that_it_names(make_settings: MakeSettings) -> None:
    place = Unstoppable()
    async with paid_place(make_settings, place) as product, working(product):
        job = await submit(product)
        await asyncio.wait_for(place.observing.wait(), 10)
        place.observing.clear()
        [key] = place.submitted
        address = place.webhooks[0]
        assert address is not None
        token = address.rpartition("/")[2]
        assert address == f"https://genyard.example/hooks/comfyui/{key}/{token}"
        await product.studio.hook("comfyui", key, token, {}, b"")
        await asyncio.wait_for(place.observing.wait(), 10)
        for endpoint, other, secret in (
            ("comfyui", key, "guess"),
            ("comfyui", uuid4(), token),
            ("other", key, token),
        ):
            with pytest.raises(GenyardError) as refused:
                await product.studio.hook(endpoint, other, secret, {}, b"")
            assert refused.value.code is Code.not_found
        place.signed = False
        with pytest.raises(GenyardError) as unsigned:
            await product.studio.hook("comfyui", key, token, {}, b"")
        assert unsigned.value.code is Code.forbidden
        place.finish.set()
        await ended(product, job)
