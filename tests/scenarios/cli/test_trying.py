"""`genyard try`: a real request per operation at one endpoint, and a report that holds no secret."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from genyard.frontends.cli.trying.report import masked
from genyard.operations import OPERATIONS
from genyard.testing.comfyui import ComfyUIEmulator
from genyard.testing.replicate import ReplicateEmulator
from genyard.testing.runpod import RunPodEmulator

from .conftest import Cli


def report(folder: Path) -> dict[str, Any]:
    told: dict[str, Any] = json.loads((folder / "report.json").read_text())
    return told


def on_replicate(server: ReplicateEmulator) -> dict[str, str]:
    return {"REPLICATE_API_TOKEN": server.key, "REPLICATE_BASE_URL": server.base_url}


@pytest.mark.long
async def test_everything_that_the_built_in_renderer_serves(cli: Cli) -> None:
    told = await cli("try", "preview")
    assert told.status == 0, told.err
    assert told.lines[-1] == "out/try-preview/report.json"
    kept = report(cli.folder / "out" / "try-preview")
    assert kept["fine"] is True
    assert kept["cost"] is None
    tried = {one["operation"]: one for one in kept["operations"]}
    assert set(tried) == set(OPERATIONS) - {"run_workflow"}
    for one in tried.values():
        assert one["latency"]["total"] > 0
        assert all(
            (cli.folder / output["file"]).stat().st_size == output["bytes"] for output in one["outputs"]
        )
    assert tried["animate_photo"]["outputs"][0]["media_type"] == "video/mp4"
    [output] = tried["txt2img"]["outputs"]
    with Image.open(cli.folder / output["file"]) as image:
        assert image.size == (output["width"], output["height"]) == (512, 512)
    assert tried["txt2img"]["request"][0]["payload"]["parameters"]["prompt"].startswith("a small red dragon")


@pytest.mark.long
async def test_a_server_of_ones_own(cli: Cli, comfyui_emulator: ComfyUIEmulator) -> None:
    environment = {"COMFYUI_ENDPOINT": comfyui_emulator.url, "COMFYUI_API_KEY": "comfy-secret-key"}
    told = await cli("try", "comfyui", "txt2img", "run_workflow", "-m", "sdxl", "--json", **environment)
    # run_workflow has no model sdxl: it is told, and the rest goes on
    assert told.status == 2, told.err
    drawn, refused = told.document["operations"]
    assert (drawn["state"], drawn["model"], refused["state"]) == ("succeeded", "sdxl", "refused")
    assert refused["error"]["field"] == "model"
    assert comfyui_emulator.counts.total_runs == 1
    samplers = [
        one for one in drawn["request"][0]["payload"]["workflow"].values() if one["class_type"] == "KSampler"
    ]
    assert samplers[0]["inputs"]["steps"] == 4

    both = await cli("try", "comfyui", "pixelate", "run_workflow", "-o", "there", **environment)
    assert both.status == 0, both.err
    assert report(cli.folder / "there")["fine"] is True


@pytest.mark.long
async def test_a_cold_start_and_an_unknown_price(cli: Cli) -> None:
    async with RunPodEmulator() as server:
        environment = {
            "RUNPOD_API_KEY": server.key,
            "RUNPOD_BASE_URL": f"{server.url}/v2",
            "RUNPOD_FLUX_ENDPOINT_ID": "emu-flux",
        }
        told = await cli("try", "runpod-flux", "txt2img", "--json", **environment)
    assert told.status == 0, told.err
    [one] = told.document["operations"]
    assert one["cost"] == {"usd": None, "complete": False}
    assert one["estimate"]["cost"] is None
    assert "usd_per_second" in one["estimate"]["stages"][0]["how"]
    latency = one["latency"]
    assert latency["told"]["run"] == latency["told"]["queue"] == "place"
    parts = [latency[name] for name in ("ours", "submit", "queue", "cold_start", "run", "download")]
    assert sum(parts) == pytest.approx(latency["total"], abs=0.05)
    assert server.key not in told.out + (cli.folder / "out/try-runpod-flux/report.json").read_text()


@pytest.mark.long
async def test_a_paid_place_needs_a_word_for_more_than_a_little(cli: Cli) -> None:
    async with ReplicateEmulator() as server:
        refused = await cli("try", "replicate", "--max-usd", "0.1", **on_replicate(server))
        assert refused.status == 5
        assert "more than --max-usd" in refused.err
        assert "raise --max-usd" in refused.err
        assert sum(server.counts.runs.values()) == 0
        told = await cli(
            "try", "replicate", "remove_background", "animate_photo", "--json", **on_replicate(server)
        )
        assert sum(server.counts.runs.values()) == 2
    assert told.status == 0, told.err
    cut, moved = told.document["operations"]
    assert cut["attempts"][0]["cost"]["source"] == "computed"
    assert told.document["cost"]["usd"] == pytest.approx(cut["cost"]["usd"] + moved["cost"]["usd"])
    # what this model cannot do without was made for it
    assert len(moved["request"][0]["inputs"]) == 2


async def test_a_wrong_key_is_told_with_its_variable(cli: Cli) -> None:
    async with ReplicateEmulator() as server:
        environment = {**on_replicate(server), "REPLICATE_API_TOKEN": "r8_wrong_key_of_mine"}
        told = await cli("try", "replicate", "txt2img", **environment)
    assert told.status == 7
    assert "REPLICATE_API_TOKEN" in told.err
    assert "r8_wrong" not in told.out + told.err


@pytest.mark.parametrize(
    ("arguments", "environment", "status", "words"),
    [
        (("nowhere",), {}, 2, "configured are preview"),
        (("preview", "txt3img"), {}, 2, "it serves txt2img"),
        (("preview", "txt2img", "-o", "/proc/x"), {}, 2, "cannot write"),
        (("scenario",), {"SCENARIO_API_KEY": "half"}, 7, "SCENARIO_SECRET_API_KEY"),
        (("comfyui",), {"COMFYUI_ENDPOINT": "http://127.0.0.1:9"}, 5, "127.0.0.1:9"),
    ],
)
async def test_a_try_that_cannot_be(
    cli: Cli, arguments: tuple[str, ...], environment: dict[str, str], status: int, words: str
) -> None:
    told = await cli("try", *arguments, "--json", **environment)
    assert told.status == status
    assert words in told.document["error"]["message"]
    assert list(cli.folder.iterdir()) == []


def test_secrets_and_media_are_left_out() -> None:
    given = {
        "api_key": "hidden",
        "nested": [{"Authorization": "Bearer hidden"}, "with hidden inside", "http://me:hidden@place/x"],
        "image": "A" * 300,
        "uri": "data:image/png;base64," + "B" * 400,
        "prompt": "a long prompt " * 40,
        "steps": 4,
    }
    told = masked(given, {"hidden"})
    assert "hidden" not in json.dumps(told)
    assert told["image"].endswith("300 characters of base64")
    assert told["uri"].startswith("data:image/png;base64,…")
    assert (told["prompt"], told["steps"]) == (given["prompt"], 4)
