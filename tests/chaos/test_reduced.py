"""The matrix in small: real worker processes that are killed, frozen, cut off. `make chaos` does all of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from chaos.cases import Case, Fault, cases
from chaos.kinds import KINDS
from chaos.matrix import run_all
from chaos.tally import Result

COMFYUI, BLIND = "comfyui 0.33.0", "replicate"
#: fault, kind, point, stage: where the steps of an attempt depend on each other most.
CHOSEN = (
    (Fault.kill, COMFYUI, "provider.submit arrived", 1),
    (Fault.kill, COMFYUI, "provider.find after", 2),
    (Fault.kill, COMFYUI, "jobs.go_on before", 1),
    (Fault.kill, BLIND, "provider.submit arrived", 2),
    (Fault.kill, BLIND, "jobs.finish_stage before", 2),
    (Fault.freeze, BLIND, "jobs.finish_stage before", 2),
    (Fault.database, BLIND, "jobs.record_ref before", 1),
    (Fault.network, COMFYUI, "provider.observe before", 1),
)


def chosen() -> list[list[Case]]:
    """In groups that share an emulator and a database."""
    groups: dict[tuple[str, bool], list[Case]] = {}
    for fault, kind, passing, stage in CHOSEN:
        [case] = [
            one
            for one in cases(KINDS[kind], fault)
            if (one.passing, one.stage) == (passing, stage) and one.play not in ("refused", "retried")
        ]
        groups.setdefault((kind, fault is Fault.kill), []).append(case)
    return list(groups.values())


CASES = {str(case): case for group in chosen() for case in group}


@pytest.fixture(scope="module")
async def results() -> AsyncIterator[dict[str, Result]]:
    async with asyncio.timeout(300):
        yield {str(one.case): one for one in await run_all(chosen(), lanes=2, tell=lambda *_: None)}


@pytest.mark.parametrize("name", CASES)
async def test_one_result_one_charge_one_run(results: dict[str, Result], name: str) -> None:
    assert results[name].problem == ""


async def test_what_a_killed_worker_had_is_taken_up_within_three_seconds(results: dict[str, Result]) -> None:
    took = {
        str(one.case): one.tally.taken_up
        for one in results.values()
        if one.tally and one.tally.taken_up is not None
    }
    assert len(took) > 3
    assert {name: seconds for name, seconds in took.items() if seconds > 3} == {}
