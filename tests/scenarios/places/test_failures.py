"""Each row of the failure catalogue, through the whole product: the emulator provokes it, the job ends as it should,
nothing is bought twice, nothing is left open, nothing secret is told. The rows are in `failures`."""

from __future__ import annotations

import contextlib
import json
import logging

import pytest

from genyard.jobs.model import Job
from scenarios.places.failing import World
from scenarios.places.failures import CASES, CATALOGUE, NOT_PROVOKED, STATES, Case

pytestmark = pytest.mark.long


def rows() -> list[object]:
    return [
        pytest.param(
            case,
            id=case.name,
            marks=[pytest.mark.xfail(reason=case.wrong, strict=True)] if case.wrong else [],
        )
        for case in CASES
    ]


def test_every_row_of_the_catalogue_is_here() -> None:
    here = {case.row for case in CASES}
    assert set(CATALOGUE) == here | set(NOT_PROVOKED)
    assert not here & set(NOT_PROVOKED)
    assert len({case.name for case in CASES}) == len(CASES)


@pytest.mark.parametrize("case", rows())
async def test_a_row(world: World, case: Case, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    before = (world.bought(case.at), world.runs(case.at), await spent(world, case.at))
    struck = dict(world.emulator(case.at).faults.struck)
    with case.prepare(world) if case.prepare is not None else contextlib.nullcontext():
        for fault in case.faults:
            world.emulator(case.at).faults.add(**fault)
        try:
            job = await case.play(world, case)
            await world.until_idle(case.at)
        finally:
            world.clear()
    for kind in {fault["kind"] for fault in case.faults} - STATES:
        assert world.emulator(case.at).faults.struck[kind] > struck.get(kind, 0), f"{kind} never happened"
    ends_right(case, job)
    assert world.bought(case.at) - before[0] == case.bought
    assert world.runs(case.at) - before[1] == (case.bought if case.runs is None else case.runs)
    await costs_right(world, case, job, await spent(world, case.at) - before[2])
    await leaves_nothing_open(world)
    await tells_no_secret(world, job, caplog.text)
    if case.check is not None:
        await case.check(world, job)


async def test_the_log_that_is_searched_for_secrets_is_genyards(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    case = next(case for case in CASES if case.row == "R8")
    world.emulators.runpod.faults.add(**case.faults[0])
    await case.play(world, case)
    await world.make(case.request, case.at)
    assert "the job ended" in caplog.text


def ends_right(case: Case, job: Job) -> None:
    assert job.state is case.state, job.error
    assert len(job.attempts) == case.attempts, [one.error for one in job.attempts]
    assert {one.endpoint for one in job.attempts} == {case.at}
    if case.code is None:
        assert job.error is None
        assert job.outputs
        return
    assert job.error is not None
    assert (job.error["code"], job.error["remedy"]) == (case.code, case.remedy), job.error
    assert all(part in job.error["message"] for part in case.says), job.error["message"]
    assert job.outputs == ()


async def spent(world: World, endpoint: str) -> float:
    return sum(one.usd for one in await world.product.studio.spending() if one.endpoint == endpoint)


async def costs_right(world: World, case: Case, job: Job, booked: float) -> None:
    """What the job says that it cost, and what was booked against the day's cap: where nobody knows, what a run is
    taken to cost."""
    cost = job.as_json()["cost"]
    known = sum(one.cost.usd for one in job.attempts if one.cost is not None)
    if case.cost in ("free", "nothing"):
        assert cost is None
        assert booked == 0
    elif case.cost == "unknown":
        assert cost is None or not cost["complete"]
        assert booked > 0
    elif case.bought > case.attempts:  # of several jobs
        assert booked >= known > 0
    else:
        assert cost == {"usd": pytest.approx(known), "complete": True}
        assert booked == pytest.approx(known, abs=1e-5)
        if case.cost == "zero":
            assert known == 0
        elif world.emulator(case.at) is not world.emulators.runpod:  # where a failure may take no millisecond
            assert known > 0


async def leaves_nothing_open(world: World) -> None:
    [row] = await world.product.jobs.database.rows(
        """
        SELECT (SELECT count(*) FROM jobs WHERE state IN ('queued', 'running', 'canceling')) AS jobs,
               (SELECT count(*) FROM stages WHERE state IN ('waiting', 'ready', 'running')) AS stages,
               (SELECT count(*) FROM attempts WHERE state IN ('submitting', 'running') OR finished_at IS NULL)
               AS attempts
        """
    )
    assert dict(row) == {"jobs": 0, "stages": 0, "attempts": 0}


async def tells_no_secret(world: World, job: Job, log: str) -> None:
    rows = await world.product.jobs.database.rows(
        """
        SELECT to_jsonb(a)::text AS told FROM attempts a JOIN stages s ON s.id = a.stage_id WHERE s.job_id = %(id)s
        UNION ALL SELECT to_jsonb(s)::text FROM stages s WHERE s.job_id = %(id)s
        UNION ALL SELECT to_jsonb(e)::text FROM events e WHERE e.job_id = %(id)s
        UNION ALL SELECT to_jsonb(j)::text FROM jobs j WHERE j.id = %(id)s
        """,
        id=job.id,
    )
    told = "\n".join([json.dumps(job.as_json()), *(row["told"] for row in rows), log])
    assert rows
    assert not [secret for secret in world.secrets if secret in told]
    assert "X-Amz-Signature" not in json.dumps(job.as_json())
    assert "zebra-quartz-lantern" not in json.dumps(job.error)
    assert "zebra-quartz-lantern" not in log
