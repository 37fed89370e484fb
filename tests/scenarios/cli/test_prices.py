"""What something costs, told before and after; and what doctor says of places that cost something."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest

from genyard.testing.replicate import ReplicateEmulator
from genyard.testing.runpod import RunPodEmulator
from genyard.testing.runpod.server import DEFAULT_ENDPOINTS
from genyard.testing.scenario import ScenarioEmulator

from .conftest import Cli

DRAWING: Final = ("generate", "a red dragon", "--size", "64x64", "-m", "sdxl")


def replicate(server: ReplicateEmulator, **more: str) -> dict[str, str]:
    return {
        "IMAGE_GENERATION_PROVIDER": "replicate",
        "REPLICATE_API_TOKEN": server.key,
        "REPLICATE_BASE_URL": server.base_url,
        **more,
    }


def runpod(server: RunPodEmulator, **more: str) -> dict[str, str]:
    return {
        "IMAGE_GENERATION_PROVIDER": "runpod",
        "RUNPOD_API_KEY": server.key,
        "RUNPOD_BASE_URL": f"{server.url}/v2",
        "RUNPOD_FLUX_ENDPOINT_ID": "emu-flux",
        **more,
    }


async def test_an_estimate_says_how_the_price_is_known(cli: Cli, picture: Path) -> None:
    assets = (await cli("assets", "--json")).document
    async with ReplicateEmulator() as server:
        several = await cli("estimate", "generate", "a red dragon", "-n", "4", "--json", **replicate(server))
        timed = await cli("estimate", *DRAWING, **replicate(server))
        cut = await cli("estimate", "cutout", str(picture), **replicate(server))
        planned = await cli(*DRAWING, "--dry-run", **replicate(server))
        assert sum(server.counts.runs.values()) == 0
    assert several.status == timed.status == cut.status == 0, several.err + timed.err + cut.err
    assert several.document["cost"] == {"usd": pytest.approx(0.1), "source": "estimated"}
    [stage] = several.document["stages"]
    assert stage["how"] == "list price $0.025 per output × 4"
    assert several.document["today"]["replicate"]["daily_cap_usd"] == 5.0
    assert several.document["today"]["replicate"]["default_cap"] is True
    assert "about 4.5 s at $0.000975 a second by the list price" in timed.out
    assert "$0.018 (list price $0.018 per request)" in cut.out
    assert "a low default" in cut.out
    assert "price: $0.0044 (about 4.5 s" in planned.out
    assert (await cli("assets", "--json")).document == assets


async def test_a_price_that_nobody_knows_is_never_zero(cli: Cli) -> None:
    async with RunPodEmulator() as server:
        told = await cli("estimate", "generate", "a red dragon", "--json", **runpod(server))
        words = await cli("estimate", "generate", "a red dragon", **runpod(server))
    assert told.status == 0, told.err
    assert told.document["cost"] is None
    [stage] = told.document["stages"]
    assert (stage["paid"], stage["cost"], stage["assumed_usd"]) == (True, None, 0.1)
    assert "not known: about 16 s; set endpoints.runpod-flux.usd_per_second" in words.out
    assert "the day's cap counts $0.10" in words.out


async def test_a_place_that_quotes_is_believed(cli: Cli) -> None:
    async with ScenarioEmulator() as server:
        endpoint = f"""[endpoints.scenario]
kind = "scenario"
url = "{server.url}/v1"
usd_per_unit = 0.01
daily_cap_usd = 2.0
"""
        (cli.folder / "genyard.toml").write_text(endpoint)
        told = await cli(
            "estimate",
            "generate",
            "a red dragon",
            IMAGE_GENERATION_PROVIDER="scenario",
            SCENARIO_API_KEY="api_emulated",
            SCENARIO_SECRET_API_KEY="emulated-secret",
        )
    assert told.status == 0, told.err
    assert "(the place says, in units of its own at $0.01)" in told.out
    assert "of $2.00 spent or held\n" in told.out


@pytest.mark.long
async def test_a_job_shows_what_each_try_has_cost(cli: Cli) -> None:
    async with ReplicateEmulator() as server:
        made = await cli(*DRAWING, "--json", **replicate(server))
        assert made.status == 0, made.err
        shown = await cli("jobs", "show", made.document["id"], **replicate(server))
    assert "(computed)" in shown.out
    async with RunPodEmulator() as server:
        told = await cli("generate", "a red dragon", "--size", "256x256", **runpod(server))
        assert told.status == 0, told.err
        assert "cost not known" in told.err
        [job] = (await cli("jobs", "--limit", "1", "--json")).document["jobs"]
        assert "cost not known" in (await cli("jobs", "show", job["id"])).out


@pytest.mark.long
async def test_a_batch_that_costs_needs_a_word(cli: Cli) -> None:
    rows = [{"prompt": f"dragon {number}", "model": "flux.1-dev"} for number in range(3)]
    (cli.folder / "many.jsonl").write_text("\n".join(json.dumps(one) for one in rows))
    async with ReplicateEmulator() as server:
        environment = replicate(server)
        silent = await cli("run", "--batch", "many.jsonl", "--json", **environment)
        assert (silent.status, silent.document["error"]["field"]) == (2, "--yes")
        little = await cli("run", "--batch", "many.jsonl", "--max-usd", "0.05", "--json", **environment)
        assert (little.status, little.document["error"]["code"]) == (5, "limit.spend")
        assert sum(server.counts.runs.values()) == 0
        asked = await cli("estimate", "run", "--batch", "many.jsonl", **environment)
        assert "3 rows to run at replicate: about $0.075" in asked.out
        told = await cli("run", "--batch", "many.jsonl", "--max-usd", "0.08", "--json", **environment)
        assert told.status == 0, told.err
        assert told.document["cost"] == {"usd": pytest.approx(0.075), "complete": True}
        again = await cli("run", "--batch", "many.jsonl", **environment)
        assert again.status == 0, again.err
        assert sum(server.counts.runs.values()) == 3


@pytest.mark.long
async def test_rows_beyond_the_days_cap_are_refused_and_run_later(cli: Cli) -> None:
    rows = [{"prompt": f"kitten {number}", "model": "flux.1-dev"} for number in range(3)]
    (cli.folder / "many.jsonl").write_text("\n".join(json.dumps(one) for one in rows))
    config = cli.folder / "genyard.toml"
    # an endpoint of its own, so that nothing was spent there today
    settings = '[endpoints.mine]\nkind = "replicate"\ndaily_cap_usd = {cap}\n[routes]\ntxt2img = "mine"\n'
    config.write_text(settings.format(cap=0.06))
    async with ReplicateEmulator() as server:
        told = await cli("run", "--batch", "many.jsonl", "--yes", "--at-once", "1", **replicate(server))
        assert told.status == 5, told.err
        assert "cap has no room for all of it" in told.err
        assert "2 of 3 rows succeeded, 1 failed" in told.err
        config.write_text(settings.format(cap=1))
        later = await cli("run", "--batch", "many.jsonl", "--yes", **replicate(server))
        assert later.status == 0, later.err
        assert sum(server.counts.runs.values()) == 3


@pytest.mark.long
async def test_a_killed_batch_at_a_paid_place_pays_once(cli: Cli) -> None:
    """RunPod cannot be asked what arrived: the jobs' own records carry the run on."""
    rows = [{"prompt": f"puppy {number}", "width": 256, "height": 256} for number in range(3)]
    (cli.folder / "many.jsonl").write_text("\n".join(json.dumps(one) for one in rows))
    command = ("run", "--batch", "many.jsonl", "--yes", "--at-once", "1")
    setup = replace(DEFAULT_ENDPOINTS["emu-flux"], work=1.0)
    async with RunPodEmulator(endpoints={"emu-flux": setup}) as server:
        first = await cli.start(*command, **runpod(server))
        await server.changes.until(lambda: any("/status/" in one for one in server.requests))
        first.kill()
        await first.wait()
        told = await cli(*command, **runpod(server))
        assert told.status == 0, told.err
        assert "2 rows to run" in told.err
        assert (server.counts.submitted, server.counts.total_runs) == (3, 3)


async def test_doctor_asks_no_place_whose_key_is_missing(cli: Cli) -> None:
    async with RunPodEmulator() as server:
        environment = runpod(server, SCENARIO_API_KEY="only-half", SCENARIO_BASE_URL="http://127.0.0.1:9/v1")
        told = await cli("doctor", "--json", **environment)
        assert told.status == 0, told.err
        report: dict[str, Any] = told.document
        words = await cli("doctor", **environment)
        # a route to it makes it a problem, named by the variable
        (cli.folder / "genyard.toml").write_text('[routes]\nremove_background = "scenario"\n')
        routed = await cli("doctor", "--json", **environment)
        del environment["RUNPOD_API_KEY"]
        keyless = await cli("doctor", "--json", **environment)
    assert report["usable"] is True
    scenario = report["endpoints"]["scenario"]
    assert (scenario["asked"], scenario["missing"]) == (False, ["SCENARIO_SECRET_API_KEY"])
    assert report["endpoints"]["runpod-flux"]["reachable"] is True
    money = report["endpoints"]["runpod-flux"]["money"]
    assert (money["daily_cap_usd"], money["default_cap"]) == (5.0, True)
    routes = {one["operation"]: one for one in report["routes"]}
    assert (routes["txt2img"]["endpoint"], routes["txt2img"]["can"]) == ("runpod-flux", True)
    assert routes["pixelate"]["endpoint"] is None
    drawing = next(one for one in report["operations"] if one["endpoint"] == "runpod-flux")
    assert drawing["price"]["usd"] is None
    assert "set endpoints.runpod-flux.usd_per_second" in words.out
    assert "a low default" in words.out
    assert "SCENARIO_SECRET_API_KEY is not set; it was not asked" in words.out
    assert "only-half" not in told.out + words.out
    assert routed.status == 7
    assert routed.document["problems"][0]["field"] == "SCENARIO_SECRET_API_KEY"
    assert keyless.status == 7
    assert {one["field"] for one in keyless.document["problems"]} == {
        "RUNPOD_API_KEY",
        "SCENARIO_SECRET_API_KEY",
    }


async def test_doctor_tells_a_route_that_leads_to_nothing(cli: Cli) -> None:
    (cli.folder / "genyard.toml").write_text('[routes]\nremove_background = "replicate"\n')
    told = await cli("doctor", "--json")
    assert told.status == 7
    [problem] = told.document["problems"]
    assert problem["field"] == "genyard.toml: routes.remove_background"
    assert "REPLICATE_API_TOKEN is not set" in problem["message"]
