"""Every place of the plans works from its `.env` alone: the names as they are, plus where the emulators listen."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from conftest import MakeSettings
from genyard.app import Product, build, working
from genyard.errors import Code, GenyardError
from genyard.jobs.model import Job, JobState
from genyard.jobs.runner import Pace
from genyard.testing.comfyui import ComfyUIEmulator
from genyard.testing.replicate import ReplicateEmulator
from genyard.testing.runpod import RunPodEmulator
from genyard.testing.scenario import ScenarioEmulator

DRAWING = {"operation": "txt2img", "parameters": {"prompt": "a red dragon"}}
QUICK = Pace(first_retry=0.01, factor=1.0)


class Places:
    """One emulator of each kind, and the lines that lead to them."""

    async def __aenter__(self) -> Places:
        async with AsyncExitStack() as stack:
            self.comfyui = await stack.enter_async_context(ComfyUIEmulator())
            self.runpod = await stack.enter_async_context(RunPodEmulator())
            self.scenario = await stack.enter_async_context(ScenarioEmulator())
            self.replicate = await stack.enter_async_context(ReplicateEmulator())
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: Any) -> None:
        await self._stack.aclose()

    @property
    def addresses(self) -> dict[str, str]:
        return {
            "RUNPOD_BASE_URL": f"{self.runpod.url}/v2",
            "SCENARIO_BASE_URL": self.scenario.base_url,
            "REPLICATE_BASE_URL": self.replicate.base_url,
        }

    @property
    def scenario_keys(self) -> dict[str, str]:
        return {"SCENARIO_API_KEY": self.scenario.key, "SCENARIO_SECRET_API_KEY": self.scenario.secret}


@pytest.fixture
async def places() -> AsyncIterator[Places]:
    async with Places() as running:
        yield running


def picture(side: int = 256) -> bytes:
    image = Image.new("RGB", (side, side), "white")
    image.paste((200, 30, 30), (side // 4, side // 4, side * 3 // 4, side * 3 // 4))
    data = io.BytesIO()
    image.save(data, "PNG")
    return data.getvalue()


class Bench:
    """A product that was started in a folder where only a `.env` (and perhaps a genyard.toml) lies."""

    def __init__(self, make_settings: MakeSettings, folder: Path, places: Places) -> None:
        self._make_settings = make_settings
        self._folder = folder
        self._places = places

    def start(self, env: dict[str, str], toml: str = "") -> Any:
        lines = {**env, **self._places.addresses}
        (self._folder / ".env").write_text("".join(f"{name}={value}\n" for name, value in lines.items()))
        (self._folder / "genyard.toml").write_text(toml)
        return build(self._make_settings(), pace=QUICK)


@pytest.fixture
def bench(make_settings: MakeSettings, tmp_path: Path, places: Places) -> Bench:
    return Bench(make_settings, tmp_path, places)


async def made(product: Product, body: dict[str, Any]) -> Job:
    submitted = await product.studio.submit(body)
    return await asyncio.wait_for(product.studio.wait(submitted.job.id), 30)


async def cut_out(product: Product) -> Job:
    asset = await product.studio.upload(picture())
    return await made(product, {"operation": "remove_background", "inputs": {"image": str(asset.id)}})


def went_to(job: Job, endpoint: str) -> None:
    assert job.state is JobState.succeeded, job.error
    assert [attempt.endpoint for attempt in job.attempts] == [endpoint]
    assert job.outputs
    assert job.outputs[0].facts["endpoint"] == endpoint


async def test_a_comfyui_server(bench: Bench, places: Places) -> None:
    env = {"IMAGE_GENERATION_PROVIDER": "comfyui", "COMFYUI_ENDPOINT": places.comfyui.url}
    async with bench.start(env) as product, working(product):
        went_to(await made(product, DRAWING), "comfyui")


async def test_a_comfyui_server_in_two_parts_with_its_own_times(bench: Bench, places: Places) -> None:
    env = {
        "IMAGE_GENERATION_PROVIDER": "comfyui",
        "COMFYUI_API_URL": "http://127.0.0.1",
        "COMFYUI_API_PORT": str(places.comfyui.port),
        "COMFYUI_TIMEOUT": "60",
        "COMFYUI_POLL_INTERVAL": "0.1",
    }
    async with bench.start(env) as product, working(product):
        went_to(await made(product, DRAWING), "comfyui")


@pytest.mark.parametrize("name", ["RUNPOD_COMFYUI_ENDPOINT_ID", "RUNPOD_ENDPOINT_ID"])
async def test_comfyui_on_runpod(bench: Bench, places: Places, name: str) -> None:
    env = {
        "IMAGE_GENERATION_PROVIDER": "comfyui",
        "RUNPOD_API_KEY": places.runpod.key,
        name: "emu-comfyui",
        "COMFYUI_POLL_INTERVAL": "0.1",
    }
    async with bench.start(env) as product, working(product):
        went_to(await made(product, DRAWING), "runpod-comfyui")


async def test_single_models_on_runpod(bench: Bench, places: Places) -> None:
    env = {
        "IMAGE_GENERATION_PROVIDER": "runpod",
        "RUNPOD_API_KEY": places.runpod.key,
        "RUNPOD_FLUX_ENDPOINT_ID": "emu-flux",
        "RUNPOD_SDXL_ENDPOINT_ID": "emu-sdxl",
        "RUNPOD_BG_REMOVAL_ENDPOINT_ID": "emu-background",
    }
    async with bench.start(env) as product, working(product):
        went_to(await made(product, DRAWING), "runpod-flux")
        went_to(await made(product, {**DRAWING, "model": "sdxl"}), "runpod-sdxl")
        went_to(await cut_out(product), "runpod-bg-removal")


async def test_a_public_endpoint_is_known_by_its_id(bench: Bench, places: Places) -> None:
    env = {
        "IMAGE_GENERATION_PROVIDER": "runpod",
        "RUNPOD_API_KEY": places.runpod.key,
        "RUNPOD_FLUX_ENDPOINT_ID": "black-forest-labs-flux-1-dev",
    }
    async with bench.start(env) as product, working(product):
        job = await made(product, DRAWING)
        went_to(job, "runpod-flux")
        cost = job.attempts[0].cost
        assert cost is not None
        assert (cost.source, cost.usd > 0) == ("reported", True)


async def test_scenario(bench: Bench, places: Places) -> None:
    env = {"IMAGE_GENERATION_PROVIDER": "scenario", **places.scenario_keys}
    async with bench.start(env) as product, working(product):
        went_to(await made(product, DRAWING), "scenario")
        went_to(await cut_out(product), "scenario")


async def test_replicate(bench: Bench, places: Places) -> None:
    env = {"IMAGE_GENERATION_PROVIDER": "replicate", "REPLICATE_API_TOKEN": places.replicate.key}
    async with bench.start(env) as product, working(product):
        went_to(await made(product, DRAWING), "replicate")
        went_to(await cut_out(product), "replicate")


async def test_background_removal_stays_at_scenario_by_one_line(bench: Bench, places: Places) -> None:
    env = {
        "IMAGE_GENERATION_PROVIDER": "runpod",
        "RUNPOD_API_KEY": places.runpod.key,
        "RUNPOD_FLUX_ENDPOINT_ID": "emu-flux",
        **places.scenario_keys,
    }
    toml = '[routes]\nremove_background = "scenario"\n'
    async with bench.start(env, toml) as product, working(product):
        went_to(await made(product, DRAWING), "runpod-flux")
        went_to(await cut_out(product), "scenario")


async def test_two_places_serve_one_pipeline(bench: Bench, places: Places) -> None:
    env = {
        "IMAGE_GENERATION_PROVIDER": "replicate",
        "REPLICATE_API_TOKEN": places.replicate.key,
        **places.scenario_keys,
    }
    steps = [
        {"name": "draw", **DRAWING},
        {"name": "cut", "operation": "remove_background", "inputs": {"image": "step:draw"}},
    ]
    async with bench.start(env, '[routes]\nremove_background = "scenario"\n') as product, working(product):
        job = await made(product, {"steps": steps})
    assert job.state is JobState.succeeded, job.error
    assert [attempt.endpoint for attempt in job.attempts] == ["replicate", "scenario"]


async def test_nothing_is_stored_where_no_place_can(bench: Bench, places: Places) -> None:
    env = {
        "IMAGE_GENERATION_PROVIDER": "runpod",
        "RUNPOD_API_KEY": places.runpod.key,
        "RUNPOD_FLUX_ENDPOINT_ID": "emu-flux",
    }
    async with bench.start(env) as product:
        with pytest.raises(GenyardError, match="RUNPOD_BG_REMOVAL_ENDPOINT_ID") as refused:
            await cut_out(product)
        assert refused.value.code is Code.request_unsupported
        assert await product.studio.jobs() == []
        assert not places.runpod.counts.submitted


async def test_an_asset_of_scenarios_library_is_fetched_once(bench: Bench, places: Places) -> None:
    env = {"IMAGE_GENERATION_PROVIDER": "scenario", **places.scenario_keys}
    async with bench.start(env) as product, working(product):
        first = await made(product, DRAWING)
        theirs = next(iter(places.scenario.assets))
        body = {"operation": "remove_background", "inputs": {"image": f"scenario:{theirs}"}}
        went_to(await made(product, body), "scenario")
        went_to(await made(product, body), "scenario")
        uploads = [asset for asset in await product.studio.assets() if asset.job_id is None]
        assert [asset.name for asset in uploads] == [theirs]
        assert first.outputs
        body = {"operation": "remove_background", "inputs": {"image": "scenario:asset_gone"}}
        with pytest.raises(GenyardError) as unknown:
            await product.studio.submit(body)
        assert (unknown.value.code, unknown.value.field) == (Code.not_found, "inputs.image")


@pytest.mark.parametrize("provider", ["runpod", "scenario", "replicate"])
async def test_a_wrong_key_names_its_variable_and_costs_nothing(
    bench: Bench, places: Places, provider: str
) -> None:
    env = {
        "IMAGE_GENERATION_PROVIDER": provider,
        "RUNPOD_API_KEY": "wrong-key-runpod",
        "RUNPOD_FLUX_ENDPOINT_ID": "emu-flux",
        "SCENARIO_API_KEY": "wrong-key-scenario",
        "SCENARIO_SECRET_API_KEY": "wrong-key-scenario-secret",
        "REPLICATE_API_TOKEN": "wrong-key-replicate",
    }
    variable = {
        "runpod": "RUNPOD_API_KEY",
        "scenario": "SCENARIO_API_KEY",
        "replicate": "REPLICATE_API_TOKEN",
    }
    async with bench.start(env) as product, working(product):
        try:
            error = (await made(product, DRAWING)).error or {}
        except GenyardError as refused:
            error = refused.as_json()
        assert error["code"] == "provider.rejected", error
        assert variable[provider] in error["message"]
        assert "wrong-key" not in str(error)
        assert all(one.usd == 0 for one in await product.studio.spending())
