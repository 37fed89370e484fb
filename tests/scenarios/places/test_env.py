"""Every place of the plans works from its `.env` alone: the names as they are, plus where the emulators listen."""

from __future__ import annotations

import pytest

from genyard.app import working
from genyard.errors import Code, GenyardError
from genyard.jobs.model import JobState
from genyard.testing.emulators import Emulators
from scenarios.places.bench import DRAWING, Bench, cut_out, made, went_to


def scenario_keys(emulators: Emulators) -> dict[str, str]:
    return {
        "SCENARIO_API_KEY": emulators.scenario.key,
        "SCENARIO_SECRET_API_KEY": emulators.scenario.secret,
    }


async def test_a_comfyui_server(bench: Bench, emulators: Emulators) -> None:
    env = {"IMAGE_GENERATION_PROVIDER": "comfyui", "COMFYUI_ENDPOINT": emulators.comfyui.url}
    async with bench.start(env) as product, working(product):
        went_to(await made(product, DRAWING), "comfyui")


@pytest.mark.long
async def test_a_comfyui_server_in_two_parts_with_its_own_times(bench: Bench, emulators: Emulators) -> None:
    env = {
        "IMAGE_GENERATION_PROVIDER": "comfyui",
        "COMFYUI_API_URL": "http://127.0.0.1",
        "COMFYUI_API_PORT": str(emulators.comfyui.port),
        "COMFYUI_TIMEOUT": "60",
        "COMFYUI_POLL_INTERVAL": "0.1",
    }
    async with bench.start(env) as product, working(product):
        went_to(await made(product, DRAWING), "comfyui")


@pytest.mark.parametrize("name", ["RUNPOD_COMFYUI_ENDPOINT_ID", "RUNPOD_ENDPOINT_ID"])
async def test_comfyui_on_runpod(bench: Bench, emulators: Emulators, name: str) -> None:
    env = {
        "IMAGE_GENERATION_PROVIDER": "comfyui",
        "RUNPOD_API_KEY": emulators.runpod.key,
        name: "emu-comfyui",
        "COMFYUI_POLL_INTERVAL": "0.1",
    }
    async with bench.start(env) as product, working(product):
        went_to(await made(product, DRAWING), "runpod-comfyui")


async def test_single_models_on_runpod(bench: Bench, emulators: Emulators) -> None:
    env = {
        "IMAGE_GENERATION_PROVIDER": "runpod",
        "RUNPOD_API_KEY": emulators.runpod.key,
        "RUNPOD_FLUX_ENDPOINT_ID": "emu-flux",
        "RUNPOD_SDXL_ENDPOINT_ID": "emu-sdxl",
        "RUNPOD_BG_REMOVAL_ENDPOINT_ID": "emu-background",
    }
    async with bench.start(env) as product, working(product):
        went_to(await made(product, DRAWING), "runpod-flux")
        went_to(await made(product, {**DRAWING, "model": "sdxl"}), "runpod-sdxl")
        went_to(await cut_out(product), "runpod-bg-removal")


async def test_a_public_endpoint_is_known_by_its_id(bench: Bench, emulators: Emulators) -> None:
    env = {
        "IMAGE_GENERATION_PROVIDER": "runpod",
        "RUNPOD_API_KEY": emulators.runpod.key,
        "RUNPOD_FLUX_ENDPOINT_ID": "black-forest-labs-flux-1-dev",
    }
    async with bench.start(env) as product, working(product):
        job = await made(product, DRAWING)
        went_to(job, "runpod-flux")
        cost = job.attempts[0].cost
        assert cost is not None
        assert (cost.source, cost.usd > 0) == ("reported", True)


async def test_scenario(bench: Bench, emulators: Emulators) -> None:
    env = {"IMAGE_GENERATION_PROVIDER": "scenario", **scenario_keys(emulators)}
    async with bench.start(env) as product, working(product):
        went_to(await made(product, DRAWING), "scenario")
        went_to(await cut_out(product), "scenario")


async def test_replicate(bench: Bench, emulators: Emulators) -> None:
    env = {"IMAGE_GENERATION_PROVIDER": "replicate", "REPLICATE_API_TOKEN": emulators.replicate.key}
    async with bench.start(env) as product, working(product):
        went_to(await made(product, DRAWING), "replicate")
        went_to(await cut_out(product), "replicate")


async def test_background_removal_stays_at_scenario_by_one_line(bench: Bench, emulators: Emulators) -> None:
    env = {
        "IMAGE_GENERATION_PROVIDER": "runpod",
        "RUNPOD_API_KEY": emulators.runpod.key,
        "RUNPOD_FLUX_ENDPOINT_ID": "emu-flux",
        **scenario_keys(emulators),
    }
    toml = '[routes]\nremove_background = "scenario"\n'
    async with bench.start(env, toml) as product, working(product):
        went_to(await made(product, DRAWING), "runpod-flux")
        went_to(await cut_out(product), "scenario")


async def test_two_places_serve_one_pipeline(bench: Bench, emulators: Emulators) -> None:
    env = {
        "IMAGE_GENERATION_PROVIDER": "replicate",
        "REPLICATE_API_TOKEN": emulators.replicate.key,
        **scenario_keys(emulators),
    }
    steps = [
        {"name": "draw", **DRAWING},
        {"name": "cut", "operation": "remove_background", "inputs": {"image": "step:draw"}},
    ]
    async with bench.start(env, '[routes]\nremove_background = "scenario"\n') as product, working(product):
        job = await made(product, {"steps": steps})
    assert job.state is JobState.succeeded, job.error
    assert [attempt.endpoint for attempt in job.attempts] == ["replicate", "scenario"]


async def test_nothing_is_stored_where_no_place_can(bench: Bench, emulators: Emulators) -> None:
    env = {
        "IMAGE_GENERATION_PROVIDER": "runpod",
        "RUNPOD_API_KEY": emulators.runpod.key,
        "RUNPOD_FLUX_ENDPOINT_ID": "emu-flux",
    }
    async with bench.start(env) as product:
        with pytest.raises(GenyardError, match="RUNPOD_BG_REMOVAL_ENDPOINT_ID") as refused:
            await cut_out(product)
        assert refused.value.code is Code.request_unsupported
        assert await product.studio.jobs() == []
        assert not emulators.runpod.counts.submitted


async def test_an_asset_of_scenarios_library_is_fetched_once(bench: Bench, emulators: Emulators) -> None:
    env = {"IMAGE_GENERATION_PROVIDER": "scenario", **scenario_keys(emulators)}
    async with bench.start(env) as product, working(product):
        first = await made(product, DRAWING)
        theirs = next(iter(emulators.scenario.assets))
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
    bench: Bench, emulators: Emulators, provider: str
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
