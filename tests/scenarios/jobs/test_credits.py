"""What owners pay: reserved with the job, settled by what was delivered, given back otherwise, however it ends."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest

from conftest import MakeSettings
from genyard.app import Product, build, working
from genyard.errors import Code, GenyardError
from genyard.jobs.model import Credits, Job, JobState
from genyard.jobs.runner import Pace
from genyard.ledger import Balance
from genyard.providers import Canceled, Capabilities, Cost, Ref, Snapshot, State
from genyard.settings import Budget, BudgetSettings, CreditSettings, PriceRow
from support.scripted import RUNNING, ScriptedProvider, succeeded

QUICK = Pace(first_retry=0.01, factor=1.0)
#: A place that cannot be asked what became of a submission.
SILENT = Capabilities(cancel="running", progress="coarse", finds=False)
FAILED = Snapshot(state=State.failed, error=GenyardError(Code.provider_failed, "no"))
PRICES: tuple[dict[str, Any], ...] = (
    {"operation": "*", "credits": 5},
    {"operation": "txt2img", "credits": 2},
)
PIPELINE: dict[str, Any] = {
    "steps": [
        {"name": "draw", "operation": "txt2img", "parameters": {"prompt": "a fox"}, "keep": True},
        {"name": "cut", "operation": "remove_background", "inputs": {"image": "step:draw"}},
    ]
}


def drawing(**parameters: Any) -> dict[str, Any]:
    return {
        "operation": "txt2img",
        "parameters": {"prompt": "a fox", "width": 64, "height": 64, **parameters},
    }


@contextlib.asynccontextmanager
async def shop(
    make_settings: MakeSettings,
    place: ScriptedProvider | None = None,
    *,
    prices: tuple[dict[str, Any], ...] = PRICES,
    budgets: BudgetSettings | None = None,
    **credits: Any,
) -> AsyncIterator[Product]:
    rows = tuple(PriceRow(**row) for row in prices)
    told = CreditSettings(**{"enabled": bool(rows), "prices": rows, **credits})
    changes: dict[str, Any] = {"credits": told, "budgets": budgets or BudgetSettings()}
    providers = {"preview": lambda *_: place} if place else {}
    async with build(make_settings().model_copy(update=changes), pace=QUICK, providers=providers) as product:  # type: ignore[arg-type]
        yield product


async def customer(product: Product, credits: int = 0, name: str = "alice") -> UUID:
    await product.owners.create_key(name)
    owner = await product.studio.ledger.owner_named(name)
    if credits:
        await product.studio.ledger.give(owner, "purchase", credits, actor="test")
    return owner


async def submit(product: Product, owner: UUID, body: dict[str, Any] | None = None) -> Job:
    return (await product.studio.submit(body or drawing(), owner_id=owner)).job


async def ended(product: Product, job: Job) -> Job:
    return await asyncio.wait_for(product.studio.wait(job.id, owner_id=job.owner_id), 20)


async def balance(product: Product, owner: UUID) -> tuple[int, int]:
    told = await product.studio.balance(owner_id=owner)
    return told.available, told.reserved


async def kinds(product: Product, owner: UUID) -> list[str]:
    return [one.kind for one in reversed(await product.studio.statement(owner_id=owner))]


async def books_balance(product: Product) -> None:
    report = await product.studio.ledger.reconcile()
    assert report.balanced, report.problems


async def test_nothing_is_booked_where_credits_are_off(make_settings: MakeSettings) -> None:
    async with shop(make_settings, prices=()) as product, working(product):
        owner = await customer(product)
        job = await ended(product, await submit(product, owner))
        assert job.state is JobState.succeeded
        assert job.credits is None
        assert job.as_json()["credits"] is None
        assert await kinds(product, owner) == []


async def test_a_job_is_paid_when_it_has_delivered(make_settings: MakeSettings) -> None:
    async with shop(make_settings) as product:
        owner = await customer(product, 10)
        job = await submit(product, owner, drawing(count=3))
        assert job.credits == Credits(price=6, reserved=6, charged=0, refunded=0)
        assert (await product.studio.get(job.id, owner_id=owner)).credits == job.credits
        assert await balance(product, owner) == (4, 6)
        async with working(product):
            job = await ended(product, job)
        assert job.state is JobState.succeeded
        assert job.credits == Credits(price=6, reserved=0, charged=6, refunded=0)
        assert await balance(product, owner) == (4, 0)
        [listed] = await product.studio.jobs(owner_id=owner)
        assert listed.credits == job.credits
        told = await product.studio.statement(owner_id=owner)
        assert [(one.kind, one.change, one.balance, one.job_id) for one in told] == [
            ("settle", 0, 4, job.id),
            ("reserve", -6, 4, job.id),
            ("purchase", 10, 10, None),
        ]
        await books_balance(product)


async def test_the_price_is_told_beforehand(make_settings: MakeSettings) -> None:
    async with shop(make_settings) as product:
        owner = await customer(product)
        planned = await product.studio.estimate(drawing(count=4), owner_id=owner)
        assert planned.price is not None
        assert planned.price.credits == 8
        assert await kinds(product, owner) == []


async def test_without_enough_credits_nothing_is_stored(make_settings: MakeSettings) -> None:
    async with shop(make_settings) as product:
        owner = await customer(product, 5)
        with pytest.raises(GenyardError) as refused:
            await submit(product, owner, drawing(count=4))
        assert refused.value.code is Code.credits_insufficient
        assert refused.value.context == {"price": 8, "balance": 5, "missing": 3}
        assert "8 credits and 5 are there: 3 are missing" in refused.value.message
        for table in ("jobs", "stages", "events", "procrastinate_jobs"):
            assert await product.jobs.database.rows(f"SELECT 1 FROM {table}") == []
        assert await balance(product, owner) == (5, 0)
        with pytest.raises(GenyardError, match="2 credits and 0 are there"):
            await submit(product, await customer(product, name="poor"))


async def test_of_500_who_come_at_once_exactly_those_pass_who_can_be_paid(
    make_settings: MakeSettings,
) -> None:
    async with shop(make_settings) as product:
        owner = await customer(product, 2 * 123 + 1)
        told = await asyncio.gather(*(submit(product, owner) for _ in range(500)), return_exceptions=True)
        refused = [one for one in told if not isinstance(one, Job)]
        assert {one.code for one in refused if isinstance(one, GenyardError)} == {Code.credits_insufficient}
        assert len(told) - len(refused) == 123
        assert await balance(product, owner) == (1, 246)
        row = await product.jobs.database.row("SELECT count(*) AS n FROM jobs")
        assert row == {"n": 123}
        await books_balance(product)


async def test_a_repeated_request_is_paid_once(make_settings: MakeSettings) -> None:
    async with shop(make_settings) as product:
        owner = await customer(product, 10)
        again = [
            product.studio.submit(drawing(seed=1), owner_id=owner, idempotency_key="k") for _ in range(20)
        ]
        assert sorted(one.replayed for one in await asyncio.gather(*again)) == [False] + [True] * 19
        assert await balance(product, owner) == (8, 2)
        [job] = await product.studio.jobs(owner_id=owner)
        await product.studio.rerun(job.id, owner_id=owner)
        assert await balance(product, owner) == (6, 4)


# ---- every way in which a job can end ----


class Going(ScriptedProvider):
    """A run that goes on until it is canceled; `refuses`: it cannot be."""

    def __init__(self, refuses: bool = False) -> None:
        super().__init__(says=[RUNNING])
        self.refuses = refuses

    async def observe(self, ref: Ref, previous: Snapshot | None, wake: asyncio.Event) -> Snapshot:
        self.observing.set()
        if previous is not None and (self.refuses or not self.canceled):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(wake.wait(), 5)
        return Snapshot(state=State.canceled) if self.canceled and not self.refuses else RUNNING

    async def cancel(self, ref: Ref) -> Canceled:
        self.canceled.append(ref)
        return Canceled(reached=not self.refuses, refused=self.refuses)


@pytest.mark.parametrize(
    ("place", "state"),
    [
        (ScriptedProvider(says=[FAILED]), JobState.failed),
        (ScriptedProvider(says=[Snapshot(state=State.canceled)]), JobState.failed),
        (ScriptedProvider(says=[GenyardError(Code.provider_lost, "gone")]), JobState.failed),
        (
            ScriptedProvider(
                says=[Snapshot(state=State.lost, error=GenyardError(Code.provider_lost, "where?"))]
            ),
            JobState.failed,
        ),
        (
            ScriptedProvider(submits=[GenyardError(Code.provider_lost, "no answer")], capabilities=SILENT),
            JobState.failed,
        ),
        (ScriptedProvider(submits=[GenyardError(Code.provider_rejected, "wrong key")]), JobState.failed),
        (ScriptedProvider(submits=[GenyardError(Code.provider_busy, "later")]), JobState.succeeded),
        (ScriptedProvider(says=[succeeded(0)]), None),
    ],
    ids=[
        "failed",
        "interrupted",
        "lost",
        "lost as a state",
        "lost at submit",
        "rejected",
        "tried again",
        "nothing",
    ],
)
async def test_only_what_was_delivered_is_paid(
    make_settings: MakeSettings, place: ScriptedProvider, state: JobState | None
) -> None:
    async with shop(make_settings, place) as product, working(product):
        owner = await customer(product, 10)
        job = await ended(product, await submit(product, owner))
        assert state in (None, job.state)
        paid = 2 if job.state is JobState.succeeded and job.outputs else 0
        assert await balance(product, owner) == (10 - paid, 0)
        assert await kinds(product, owner) == ["purchase", "reserve", "settle" if paid else "release"]
        assert job.credits == Credits(price=2, reserved=0, charged=paid, refunded=0)
        await books_balance(product)


async def test_a_queued_job_that_is_canceled_costs_nothing(make_settings: MakeSettings) -> None:
    async with shop(make_settings) as product:
        owner = await customer(product, 10)
        job = await submit(product, owner)
        for _ in range(2):
            job = await product.studio.cancel(job.id, owner_id=owner)
        assert job.credits == Credits(price=2, reserved=0, charged=0, refunded=0)
        assert await balance(product, owner) == (10, 0)
        await books_balance(product)


@pytest.mark.parametrize("refuses", [False, True], ids=["stopped", "detached"])
async def test_a_running_job_that_is_canceled_costs_nothing(
    make_settings: MakeSettings, refuses: bool
) -> None:
    place = Going(refuses)
    async with shop(make_settings, place) as product, working(product):
        owner = await customer(product, 10)
        job = await submit(product, owner)
        await asyncio.wait_for(place.observing.wait(), 10)
        assert await balance(product, owner) == (8, 2)
        await product.studio.cancel(job.id, owner_id=owner)
        job = await ended(product, job)
        assert job.state is JobState.canceled
        assert await balance(product, owner) == (10, 0)
        await books_balance(product)


async def test_a_job_that_expires_costs_nothing(make_settings: MakeSettings) -> None:
    async with shop(make_settings) as product:
        owner = await customer(product, 10)
        job = await submit(product, owner, {**drawing(), "expires_in": 0.05})
        await asyncio.sleep(0.06)
        await asyncio.gather(*(product.jobs.sweep(10) for _ in range(4)))
        assert (await product.studio.get(job.id, owner_id=owner)).state is JobState.expired
        assert await balance(product, owner) == (10, 0)
        await books_balance(product)


async def test_three_of_four_pictures_cost_three_quarters(make_settings: MakeSettings) -> None:
    async with shop(make_settings, ScriptedProvider(says=[succeeded(3)])) as product, working(product):
        owner = await customer(product, 10)
        job = await ended(product, await submit(product, owner, drawing(count=4)))
        assert len(job.outputs) == 3
        assert job.credits == Credits(price=8, reserved=0, charged=6, refunded=0)
        assert await balance(product, owner) == (4, 0)
        assert await kinds(product, owner) == ["purchase", "reserve", "settle", "release"]
        await books_balance(product)


@pytest.mark.parametrize(("unfinished", "charged"), [("free", 0), ("delivered", 2)])
async def test_a_pipeline_that_fails_at_its_second_stage(
    make_settings: MakeSettings, unfinished: str, charged: int
) -> None:
    place = ScriptedProvider(says=[succeeded(step="draw"), FAILED])
    async with shop(make_settings, place, unfinished=unfinished) as product, working(product):
        owner = await customer(product, 10)
        job = await ended(product, await submit(product, owner, PIPELINE))
        assert job.state is JobState.failed
        assert [one.step for one in job.outputs] == ["draw"]
        assert job.credits == Credits(price=7, reserved=0, charged=charged, refunded=0)
        assert await balance(product, owner) == (10 - charged, 0)
        await books_balance(product)


async def test_a_pipeline_that_succeeds_pays_every_step(make_settings: MakeSettings) -> None:
    place = ScriptedProvider(says=[succeeded(step="draw"), succeeded(step="cut")])
    hidden = {"steps": [{**PIPELINE["steps"][0], "keep": False}, PIPELINE["steps"][1]]}
    async with shop(make_settings, place) as product, working(product):
        owner = await customer(product, 10)
        job = await ended(product, await submit(product, owner, hidden))
        assert [one.step for one in job.outputs] == ["cut"]
        assert job.credits == Credits(price=7, reserved=0, charged=7, refunded=0)


async def test_a_job_costs_what_was_told_even_if_prices_change(make_settings: MakeSettings) -> None:
    async with shop(make_settings) as product:
        owner = await customer(product, 10)
        job = await submit(product, owner)
    dearer = ({"operation": "*", "credits": 9},)
    async with shop(make_settings, prices=dearer, unfinished="delivered") as product, working(product):
        assert (await ended(product, job)).credits == Credits(price=2, reserved=0, charged=2, refunded=0)
        with pytest.raises(GenyardError, match="9 credits and 8 are there"):
            await submit(product, owner)
        await books_balance(product)
    async with shop(make_settings, prices=()) as product, working(product):
        assert (await ended(product, await submit(product, owner))).credits is None


async def test_what_was_charged_can_be_given_back_and_shows_on_the_job(make_settings: MakeSettings) -> None:
    async with shop(make_settings) as product, working(product):
        owner = await customer(product, 10)
        job = await ended(product, await submit(product, owner, drawing(count=4)))
        ledger = product.studio.ledger
        await ledger.refund(job.id, 3, reason="two tails", actor="test")
        assert (await product.studio.get(job.id, owner_id=owner)).credits == Credits(
            price=8, reserved=0, charged=8, refunded=3
        )
        await product.studio.delete(job.id, owner_id=owner)
        await ledger.refund(job.id, reason="the rest, although the job is gone", actor="test")
        with pytest.raises(GenyardError, match="of which 8 are refunded"):
            await ledger.refund(job.id, 1, actor="test")
        assert await balance(product, owner) == (10, 0)
        await books_balance(product)


async def test_an_output_that_was_taken_away_early_is_paid(make_settings: MakeSettings) -> None:
    """Delivered by the first stage, fetched, deleted while the second runs."""

    async def second(place: ScriptedProvider) -> Snapshot:
        [asset] = await product.studio.assets(owner_id=owner)
        await product.studio.delete_asset(asset.id, owner_id=owner)
        return succeeded(step="cut")

    place = ScriptedProvider(says=[succeeded(step="draw"), second])
    async with shop(make_settings, place) as product, working(product):
        owner = await customer(product, 10)
        job = await ended(product, await submit(product, owner, PIPELINE))
        assert [one.step for one in job.outputs] == ["cut"]
        assert job.credits == Credits(price=7, reserved=0, charged=7, refunded=0)


async def test_the_books_outlive_the_job_and_its_owner(make_settings: MakeSettings) -> None:
    async with shop(make_settings) as product, working(product):
        owner = await customer(product, 10)
        await ended(product, await submit(product, owner))
    async with shop(make_settings) as product:
        await submit(product, owner)  # still open
        database = product.jobs.database
        async with database.transaction() as connection:
            await connection.execute("DELETE FROM assets WHERE owner_id = %s", (owner,))
            await connection.execute("DELETE FROM jobs WHERE owner_id = %s", (owner,))
            await connection.execute("DELETE FROM owners WHERE id = %s", (owner,))
        assert await kinds(product, owner) == ["purchase", "reserve", "settle", "reserve", "release"]
        assert await product.studio.balance(owner_id=owner) == Balance(available=8)
        await books_balance(product)
        with pytest.raises(GenyardError) as refused:
            await submit(product, owner)
        assert refused.value.code is Code.not_found


# ---- who pays what ----


async def test_the_person_at_the_machine_pays_nothing_unless_the_settings_say_so(
    make_settings: MakeSettings,
) -> None:
    async with shop(make_settings) as product:
        assert (await product.studio.submit(drawing())).job.credits is None
    async with shop(make_settings, exempt=()) as product:
        with pytest.raises(GenyardError) as refused:
            await product.studio.submit(drawing())
        assert refused.value.code is Code.credits_insufficient


async def test_a_tier_has_prices_of_its_own(make_settings: MakeSettings) -> None:
    rows = (
        *PRICES,
        {"operation": "txt2img", "credits": 1, "tier": "pro"},
        {"operation": "pixelate", "credits": 0},
    )
    async with shop(make_settings, prices=rows) as product:
        owner = await customer(product, 10)
        await product.jobs.database.execute("UPDATE owners SET tier = 'pro' WHERE id = %(id)s", id=owner)
        assert (await submit(product, owner, drawing(count=3))).credits == Credits(
            price=3, reserved=3, charged=0, refunded=0
        )


async def test_what_is_free_moves_nothing(make_settings: MakeSettings) -> None:
    async with shop(make_settings, prices=({"operation": "*", "credits": 0},)) as product, working(product):
        owner = await customer(product)
        job = await ended(product, await submit(product, owner))
        assert job.credits == Credits(price=0, reserved=0, charged=0, refunded=0)
        assert await kinds(product, owner) == []
        await books_balance(product)


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        (({"operation": "txt2img", "credits": 1},), "nothing says what img2img"),
        (({"operation": "*", "credits": 1, "tier": "pro"},), "nothing says what txt2img"),
        (({"operation": "paint", "credits": 1},), "'paint' is not a known operation"),
        ((*PRICES, {"operation": "txt2img", "credits": 1, "model": "flux"}), "'flux' is not a known model"),
    ],
)
async def test_a_price_list_with_a_hole_stops_genyard_at_the_start(
    make_settings: MakeSettings, rows: tuple[dict[str, Any], ...], told: str
) -> None:
    with pytest.raises(GenyardError, match=told) as wrong:
        async with shop(make_settings, prices=rows):
            pass
    assert wrong.value.code is Code.settings_invalid


# ---- budgets: dollars at the places, credits or not ----


@contextlib.asynccontextmanager
async def paid_place(
    make_settings: MakeSettings, budgets: BudgetSettings, place: ScriptedProvider | None = None
) -> AsyncIterator[Product]:
    """A place whose runs are taken to cost 0.40 each, and whose own cap is far away."""
    settings = make_settings(IMAGE_GENERATION_PROVIDER="comfyui", COMFYUI_ENDPOINT="http://place")
    only = settings.endpoints["comfyui"].model_copy(update={"daily_cap_usd": 100.0, "assumed_usd": 0.4})
    settings = settings.model_copy(update={"endpoints": {"comfyui": only}, "budgets": budgets})
    provider = place or ScriptedProvider()
    provider.kind = "comfyui"
    async with build(settings, pace=QUICK, providers={"comfyui": lambda *_: provider}) as product:
        yield product


async def passed(product: Product, owner: UUID, times: int = 8) -> int:
    told = await asyncio.gather(*(submit(product, owner) for _ in range(times)), return_exceptions=True)
    refused = [one for one in told if not isinstance(one, Job)]
    assert {one.code for one in refused if isinstance(one, GenyardError)} <= {Code.limit_exceeded}, refused
    assert all(isinstance(one, GenyardError) for one in refused)
    return len(told) - len(refused)


async def test_a_budget_holds_for_requests_that_come_at_once(make_settings: MakeSettings) -> None:
    async with paid_place(make_settings, BudgetSettings(daily_usd=1.0)) as product:
        alice, bob = await customer(product), await customer(product, name="bob")
        assert await asyncio.gather(passed(product, alice), passed(product, bob)) == [2, 2]
        with pytest.raises(GenyardError) as refused:
            await submit(product, alice)
        assert refused.value.field == "budgets.daily_usd"
        assert 0 < refused.value.context["retry_after"] <= 86_400
        assert "$0.80 are spent or held" in refused.value.message
        assert len(await product.studio.jobs(owner_id=alice)) == 2


async def test_what_a_run_cost_counts_and_what_it_held_is_free(make_settings: MakeSettings) -> None:
    done = succeeded()
    cheap = Snapshot(state=done.state, outputs=done.outputs, cost=Cost(usd=0.25, source="reported"))
    budgets = BudgetSettings(monthly_usd=1.0)
    async with (
        paid_place(make_settings, budgets, ScriptedProvider(says=[cheap])) as product,
        working(product),
    ):
        owner = await customer(product)
        for _ in range(3):
            job = await ended(product, await submit(product, owner))
            assert job.state is JobState.succeeded
        with pytest.raises(GenyardError) as refused:
            await submit(product, owner)
        assert refused.value.field == "budgets.monthly_usd"
        told = await product.studio.ledger.budget(owner)
        assert told["spent_today"] == told["spent_this_month"] == pytest.approx(0.75)
        await product.jobs.database.execute("UPDATE owner_spending SET day = day - 40")
        await submit(product, owner)


async def test_what_never_left_holds_nothing_of_a_budget(make_settings: MakeSettings) -> None:
    place = ScriptedProvider(submits=[GenyardError(Code.provider_rejected, "wrong key")] * 3)
    async with (
        paid_place(make_settings, BudgetSettings(daily_usd=0.5), place) as product,
        working(product),
    ):
        owner = await customer(product)
        for _ in range(3):
            assert (await ended(product, await submit(product, owner))).state is JobState.failed
        assert (await product.studio.ledger.budget(owner))["spent_today"] == 0


async def test_tiers_and_owners_have_budgets_of_their_own(make_settings: MakeSettings) -> None:
    budgets = BudgetSettings(daily_usd=0.4, tiers={"pro": Budget(daily_usd=1.2)})
    async with paid_place(make_settings, budgets) as product:
        owners = [await customer(product, name=name) for name in ("plain", "pro", "own", "none")]
        _, pro, own, none = owners
        await product.jobs.database.execute("UPDATE owners SET tier = 'pro' WHERE id = %(id)s", id=pro)
        await product.studio.ledger.set_budget(own, Budget(daily_usd=2.0, monthly_usd=1.7))
        await product.studio.ledger.set_budget(none, Budget(daily_usd=0))
        assert [await passed(product, owner) for owner in owners] == [1, 3, 4, 0]
