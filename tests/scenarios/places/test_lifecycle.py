"""What goes wrong in the middle, at places that are paid: nothing is bought twice, nothing is left open."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from conftest import MakeSettings
from genyard.app import Product, serve, working
from genyard.errors import Code
from genyard.jobs.model import AttemptState, JobState
from genyard.providers import State
from genyard.testing.emulators import Emulators
from genyard.testing.runpod import FaultKind as RunPodFault
from genyard.testing.scenario import FaultKind as ScenarioFault
from scenarios.places.bench import DRAWING, Bench, ended, made, until
from support.often import often
from support.processes import free_port

PROVIDERS = ("runpod", "scenario", "replicate")


def env(emulators: Emulators, provider: str, **more: str) -> dict[str, str]:
    chosen = {
        name: value
        for name, value in emulators.environment.items()
        if name.startswith(provider.upper()) and "COMFYUI" not in name
    }
    return {"IMAGE_GENERATION_PROVIDER": provider, **chosen, **more}


def hang(emulators: Emulators, provider: str) -> Any:
    return getattr(emulators, provider).faults.add("hang", times=None)


def runs(emulators: Emulators, provider: str) -> int:
    count: int = getattr(emulators, provider).counts.total_runs
    return count


@pytest.mark.parametrize("provider", ["runpod", "replicate"])
async def test_a_cancel_reaches_the_run(bench: Bench, emulators: Emulators, provider: str) -> None:
    hang(emulators, provider)
    async with bench.start(env(emulators, provider)) as product, working(product):
        job = (await product.studio.submit(DRAWING)).job
        await until(product, job.id, State.running)
        await product.studio.cancel(job.id)
        job = await ended(product, job.id)
    assert job.state is JobState.canceled
    assert [one.state for one in job.attempts] == [AttemptState.canceled]
    assert getattr(emulators, provider).counts.canceled == 1


async def test_scenario_does_not_stop_and_the_cost_is_booked(bench: Bench, emulators: Emulators) -> None:
    slow = emulators.scenario.faults.add(ScenarioFault.slow, seconds=1.0)
    toml = "[endpoints.scenario]\nkind = 'scenario'\nusd_per_unit = 0.01\n"
    async with bench.start(env(emulators, "scenario"), toml) as product, working(product):
        job = (await product.studio.submit(DRAWING)).job
        await until(product, job.id, State.running)
        await product.studio.cancel(job.id)
        job = await ended(product, job.id)
        assert job.state is JobState.canceled
        assert [one.state for one in job.attempts] == [AttemptState.detached]
        async with asyncio.timeout(30):
            while job.attempts[0].finished_at is None:
                await asyncio.sleep(0.05)
                job = await product.studio.get(job.id)
        [attempt] = job.attempts
        assert attempt.cost is not None
        assert attempt.cost.source == "computed"
        assert attempt.cost.usd > 0
        assert job.outputs == ()
    assert slow


@pytest.mark.parametrize("provider", often(PROVIDERS, ["runpod"]))
async def test_another_worker_goes_on_and_nothing_is_bought_again(
    bench: Bench, emulators: Emulators, provider: str
) -> None:
    getattr(emulators, provider).faults.add("slow", seconds=1.5)
    async with bench.start(env(emulators, provider)) as product:
        async with working(product):
            job = (await product.studio.submit(DRAWING)).job
            await until(product, job.id, State.running)
        async with working(product):
            job = await ended(product, job.id)
    assert job.state is JobState.succeeded, job.error
    assert len(job.attempts) == runs(emulators, provider) == 1


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_a_lost_answer_is_never_bought_again(bench: Bench, emulators: Emulators, provider: str) -> None:
    getattr(emulators, provider).faults.add("lose_answer", route="POST")
    async with bench.start(env(emulators, provider)) as product, working(product):
        job = await made(product, DRAWING)
        [spending] = [one for one in await product.studio.spending() if one.usd]
    assert job.error is not None
    assert job.error["code"] == Code.provider_lost
    assert [one.state for one in job.attempts] == [AttemptState.lost]
    assert runs(emulators, provider) <= 1
    assert spending.usd > 0
    assert job.as_json()["cost"] is None or not job.as_json()["cost"]["complete"]


@contextlib.asynccontextmanager
async def served(product: Product, port: int) -> AsyncIterator[None]:
    up = asyncio.Event()
    task = asyncio.create_task(serve(product, "127.0.0.1", port, lambda _: up.set()))
    await asyncio.wait_for(up.wait(), 10)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("provider", ["runpod", "replicate"])
async def test_a_webhook_comes_before_the_next_poll(
    bench: Bench, emulators: Emulators, provider: str
) -> None:
    """With an hour between polls, only the webhook can tell."""
    port = free_port()
    name = {"runpod": "runpod-flux", "replicate": "replicate"}[provider]
    toml = f"[endpoints.{name}]\nkind = '{provider}'\ntimeouts = {{ poll = 3600 }}\n"
    more = {"GENYARD_PUBLIC_URL": f"http://127.0.0.1:{port}"}
    async with (
        bench.start(env(emulators, provider, **more), toml) as product,
        served(product, port),
        working(product),
    ):
        job = await made(product, DRAWING)
        assert job.state is JobState.succeeded, job.error
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"http://127.0.0.1:{port}/hooks/{name}/{job.id}/guess", json={}) as refused,
        ):
            assert refused.status == 404


async def test_a_cold_start_is_a_detail_and_no_failure(bench: Bench, emulators: Emulators) -> None:
    standstill = emulators.runpod.faults.add(RunPodFault.initializing, times=None)
    toml = "[endpoints.runpod-flux]\nkind = 'runpod'\ntimeouts = { poll = 0.1 }\n"
    async with bench.start(env(emulators, "runpod"), toml) as product, working(product):
        job = (await product.studio.submit(DRAWING)).job
        async with asyncio.timeout(20):
            async for event in product.studio.watch(job.id):
                if event.kind == "progress" and event.data.get("cold"):
                    break
        assert "cold start" in event.data["detail"]
        emulators.runpod.faults.clear()
        job = await ended(product, job.id)
    assert standstill
    assert job.state is JobState.succeeded, job.error


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_no_key_and_no_prompt_is_left_anywhere(
    bench: Bench, emulators: Emulators, provider: str, caplog: pytest.LogCaptureFixture
) -> None:
    secret_prompt = "zebra-quartz-lantern"
    getattr(emulators, provider).faults.add("fail", times=1)
    body = {"operation": "txt2img", "parameters": {"prompt": secret_prompt}}
    keys = [value for name, value in emulators.environment.items() if "KEY" in name or "TOKEN" in name]
    async with bench.start(env(emulators, provider)) as product, working(product):
        failed = await made(product, body)
        job = await made(product, body)
        rows = await product.jobs.database.rows(
            "SELECT ref, error, word FROM attempts UNION ALL SELECT plan, NULL, NULL FROM stages"
        )
    told = str([failed.as_json(), job.as_json(), rows, caplog.text])
    assert not [key for key in keys if key in told]
    assert secret_prompt not in caplog.text
    assert failed.error is not None
    assert secret_prompt not in str(failed.error)


async def test_the_limit_of_a_scenario_team_is_our_own(make_settings: MakeSettings, tmp_path: Path) -> None:
    """More than the team may have open wait here: nothing is refused there."""
    async with Emulators(scenario={"parallel_custom_jobs": 2, "run_seconds": 0.2}) as emulators:
        bench = Bench(make_settings, tmp_path, emulators)
        async with bench.start(env(emulators, "scenario")) as product, working(product):
            jobs = [(await product.studio.submit(DRAWING)).job for _ in range(5)]
            ends = [await ended(product, job.id) for job in jobs]
    assert [job.state for job in ends] == [JobState.succeeded] * 5
    assert [len(job.attempts) for job in ends] == [1] * 5
