"""The soak in a small form, and two workers of which one is killed. `make soak` is the large form."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from conftest import MakeSettings
from soak.plan import Order, Plan, Trouble, make_plan
from soak.report import said
from soak.soaking import Result, Soak
from soak.world import Setting
from support.embedded import fresh_folder

#: One place that can be asked whether something arrived, one that costs money and cannot.
TWO_PLACES: Mapping[str, Sequence[str]] = {"comfyui": ("comfyui",), "runpod": ("links", "flux")}


@pytest.fixture
def place() -> Iterator[Path]:
    with fresh_folder() as made:
        yield made


def test_a_seed_makes_the_same_plan_again() -> None:
    assert make_plan(7, 50) == make_plan(7, 50)
    assert make_plan(7, 50) != make_plan(8, 50)


def orders(jobs: int) -> tuple[Order, ...]:
    """At those two; nobody cancels, nothing expires, nobody runs out of credits: every one must be delivered."""
    wanted = [name for names in TWO_PLACES.values() for name in names]
    found = (one for one in make_plan(3, jobs * 4).orders if one.endpoint in wanted)
    plain = (replace(one, body=_patient(one.body), cancel_after=None, by_http=False) for one in found)
    sound = (replace(one, customer="emil") if one.customer == "fay" else one for one in plain)
    single = (one for one in sound if "steps" not in one.body or one.endpoint == "comfyui")
    return tuple(one for one, _ in zip(single, range(jobs), strict=False))


def _patient(body: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if name != "expires_in"}


async def one_worker_killed(place: Path, jobs: int, setting: Setting) -> Result:
    """Both workers are busy when the second one dies; half a second later another one takes its place."""
    killed = Trouble(after=jobs // 2, kind="kill", facts={"who": 0.0})
    plan = Plan(seed=3, orders=orders(jobs), troubles=(killed,))
    result = await Soak(plan=plan, folder=place, setting=setting, most_open=jobs).run()
    assert len(result.told.accepted) == jobs
    assert result.deaths == {"worker-1": 0, "worker-2": 1}
    assert result.findings.clean, said(result)
    ends, lost = result.findings.ends, result.findings.codes.get("provider.lost", 0)
    assert ends["succeeded"] == jobs - lost, said(result)
    assert not any(result.findings.second_runs.values()), "one GPU run each"
    return result


@pytest.mark.long
async def test_two_workers_one_killed_under_load(place: Path, make_settings: MakeSettings) -> None:
    url = make_settings().database_url
    assert url is not None
    setting = Setting(
        workers=2, kinds=tuple(TWO_PLACES), api=False, apart=False, database=url.get_secret_value()
    )
    await one_worker_killed(place, 40, setting)


@pytest.mark.long
async def test_two_workers_on_an_external_postgresql_one_killed_under_a_load_of_500_jobs(place: Path) -> None:
    """A PostgreSQL that genyard did not start, places in processes of their own."""
    await one_worker_killed(place, 500, Setting(workers=2, kinds=tuple(TWO_PLACES), api=False))


@pytest.mark.long
async def test_a_soak_of_300_jobs_with_random_faults_is_clean(place: Path) -> None:
    result = await Soak(plan=make_plan(1, 300), folder=place, setting=Setting(workers=2)).run()
    assert result.findings.clean, said(result)
