"""A place that says what no database can hold, or nobody should believe: the job ends all the same, once, and what is
not known is not made up."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from math import inf, nan
from typing import Any

import pytest

from conftest import MakeSettings
from genyard.app import working
from genyard.errors import Code, GenyardError
from genyard.jobs.model import JobState
from genyard.jobs.runner import LONGEST_PAUSE
from genyard.providers import Cost, Snapshot, State
from support.paid import paid_place
from support.scripted import RUNNING, ScriptedProvider, succeeded

NASTY = "it says \x00 and \ud800"
BODY = {"operation": "txt2img", "parameters": {"prompt": "a fox", "width": 64, "height": 64}}
DONE = succeeded()


def failing(message: str = "no", **context: Any) -> Snapshot:
    error = GenyardError(Code.provider_failed, message, context=context)
    return Snapshot(state=State.failed, error=error)


def costing(usd: Any) -> Snapshot:
    return replace(DONE, cost=Cost(usd=usd, source="reported"))


@pytest.mark.parametrize(
    ("says", "state"),
    [
        ([failing(NASTY)], "failed"),
        ([failing(log=NASTY, deep={NASTY: [NASTY]}, number=nan, more=inf, big=10**400)], "failed"),
        ([GenyardError(Code.provider_rejected, NASTY)], "failed"),
        ([GenyardError(Code.provider_failed, NASTY), DONE], "succeeded"),
        ([replace(DONE, word=NASTY)], "succeeded"),
        ([replace(RUNNING, detail=NASTY), DONE], "succeeded"),
        ([replace(RUNNING, progress=nan), replace(RUNNING, progress=-inf), DONE], "succeeded"),
        ([replace(DONE, seconds=nan, waited=inf)], "succeeded"),
        ([replace(DONE, seconds=1e300, waited=-1e300)], "succeeded"),
        ([replace(DONE, outputs=(replace(DONE.outputs[0], facts={"n": nan, NASTY: NASTY}),))], "succeeded"),
        ([costing(nan)], "succeeded"),
        ([costing(inf)], "succeeded"),
        ([costing(1e12)], "succeeded"),
        ([costing(-5.0)], "succeeded"),
    ],
    ids=[
        "message", "context", "error", "asked again", "word", "detail", "progress", "seconds", "long", "facts",
        "nan", "inf", "dear", "negative",
    ],
)  # fmt: skip
async def test_whatever_a_place_says_the_job_ends_once(
    make_settings: MakeSettings, says: list[Any], state: str
) -> None:
    place = ScriptedProvider(says=says)
    async with paid_place(make_settings, place) as product, working(product):
        job = (await product.studio.submit(BODY)).job
        job = await asyncio.wait_for(product.studio.wait(job.id), 20)
        assert job.state is JobState(state)
        told = json.dumps(job.as_json(), allow_nan=False)
        assert "\\u0000" not in told
        assert "\\ud800" not in told
        assert all(one.cost is None for one in job.attempts)
        events = [event.kind for event in await product.jobs.events(job.id, 0)]
        assert events[-1] == state
        assert [one for one in events if one in ("succeeded", "failed")] == [state]


async def test_what_a_place_cannot_mean_takes_nothing_off_what_it_spent(make_settings: MakeSettings) -> None:
    """Booked is then what had been held for the run."""
    place = ScriptedProvider()
    async with (
        paid_place(make_settings, place, daily_cap_usd=10.0, assumed_usd=0.25) as product,
        working(product),
    ):
        for number, usd in enumerate((-5.0, nan, inf, 1e12), start=1):
            place.says = [costing(usd)]
            job = (await product.studio.submit(BODY)).job
            await asyncio.wait_for(product.studio.wait(job.id), 20)
            [spending] = await product.studio.spending()
            assert spending.usd == pytest.approx(number * 0.25)


async def test_no_place_makes_a_job_wait_for_days(make_settings: MakeSettings) -> None:
    """A pause may be told by a date, and somebody's clock be wrong."""
    days = GenyardError(Code.provider_busy, "later", context={"retry_after": 400_000.0})
    place = ScriptedProvider(submits=[days])
    async with paid_place(make_settings, place) as product, working(product):
        job = (await product.studio.submit(BODY)).job
        async for event in product.studio.watch(job.id):
            if event.kind == "retrying":
                break
        row = await product.jobs.database.row(
            "SELECT extract(epoch FROM not_before - now())::float AS seconds FROM stages"
        )
        assert row is not None
        assert LONGEST_PAUSE - 60 < row["seconds"] <= LONGEST_PAUSE
