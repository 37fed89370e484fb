"""Bad input and bad surroundings: a stable code, the field, what would be right; nothing half-written."""

from __future__ import annotations

import math
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .conftest import Cli

NOWHERE = {"IMAGE_GENERATION_PROVIDER": "comfyui", "COMFYUI_ENDPOINT": "http://127.0.0.1:9"}


@pytest.mark.parametrize(
    ("arguments", "status", "code", "words"),
    [
        (("generate", "x", "--model", "flux.9"), 2, "request.invalid", "flux.1-dev"),
        (("generate", "x", "--size", "huge"), 2, "request.invalid", "768x512"),
        (("generate", "x", "--steps", "0"), 2, "request.invalid", "greater than or equal to 1"),
        (("generate", "x", "--aspect", "5:1"), 2, "request.invalid", "16:9"),
        (("generate", "x", "--stepz", "3"), 2, "request.invalid", "--steps"),
        (("generate", "x", "--lora", "pixel.safetensors"), 2, "request.unsupported", "loras"),
        (("generate", "x", "-o", "/proc/x/y.png"), 2, "request.invalid", "cannot write"),
        (("cutout", "no-such.png"), 2, "request.invalid", "no such file"),
        (("cutout", __file__), 2, "media.invalid", "test_refusals.py"),
        (("layers", "{picture}", "--layers", "11"), 2, "request.invalid", "less than or equal to 10"),
        (("assets", "--fact", "seed"), 2, "request.invalid", "NAME=VALUE"),
        (("assets", "--fact", "seed=NaN"), 2, "request.invalid", "finite"),
        (("assets", "--fact", 'seed="\\u0000"'), 2, "request.invalid", "NUL"),
        (("assets", "--role", "hero"), 2, "request.invalid", "layer"),
        (("jobs", "--operation", "paint"), 2, "request.invalid", "txt2img"),
        (("jobs", "--search", "\udcff"), 2, "request.invalid", "UTF-8"),
        (("generate", "x", "--tag", "\udcff"), 2, "request.invalid", "UTF-8"),
        (("generate", "x", "--expires-in", "0"), 2, "request.invalid", "expires_in"),
        (("generate", "x", "--size", ""), 2, "request.invalid", "768x512"),
        (("cancel", "00000000-0000-7000-8000-000000000000"), 3, "request.not_found", "no job"),
    ],
)
async def test_a_request_that_is_wrong(
    cli: Cli, picture: Path, arguments: tuple[str, ...], status: int, code: str, words: str
) -> None:
    told = await cli(*(word.replace("{picture}", str(picture)) for word in arguments), "--json")
    assert told.status == status, told.err
    error = told.document["error"]
    assert error["code"] == code
    assert words in error["message"]
    assert len(told.err.splitlines()) == 2
    assert code in told.err
    assert list(cli.folder.iterdir()) == []


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"nodes": [], "links": []}, "Export (API)"),
        ({"3": {"inputs": {}}}, "class_type"),
        ({"operation": "txt3img"}, "txt2img"),
        ({"steps": "many"}, "list"),
        ({"operation": "txt2img", "parameters": {"prompt": "a\x00b"}}, "NUL"),
        ({"operation": "txt2img", "parameters": {"prompt": "x"}, "tags": ["\x00"]}, "NUL"),
        ({"operation": "txt2img", "parameters": {"prompt": "x", "guidance": math.nan}}, "finite"),
        ({"operation": "img2img", "parameters": {"prompt": "x"}, "inputs": {"image": None}}, "asset id"),
        ([], "object"),
    ],
)
async def test_a_document_that_is_no_workflow(
    cli: Cli, write_json: Callable[[str, Any], str], document: Any, words: str
) -> None:
    told = await cli("run", write_json("wrong.json", document), "--json")
    assert told.status == 2
    assert words in told.document["error"]["message"]


async def test_a_document_that_is_too_deep(cli: Cli, tmp_path_factory: pytest.TempPathFactory) -> None:
    deep = tmp_path_factory.mktemp("deep") / "deep.json"
    for levels, words in ((100, "50 levels"), (100_000, "not JSON")):
        deep.write_text('{"1": ' * levels + "{}" + "}" * levels)
        told = await cli("run", str(deep), "--json")
        assert (told.status, told.document["error"]["code"]) == (2, "request.invalid")
        assert words in told.document["error"]["message"]


async def test_the_file_that_is_wrong_is_named(cli: Cli) -> None:
    added = await cli("assets", "add", __file__, "--json")
    assert (added.status, added.document["error"]["field"]) == (2, "FILE")
    cut = await cli("cutout", __file__, "--json")
    assert (cut.status, cut.document["error"]["field"]) == (2, "inputs.image")
    assert cut.err.startswith("genyard: IMAGE: ")


async def test_a_wrong_part_of_an_option_is_told_by_the_option(cli: Cli, picture: Path) -> None:
    told = await cli("generate", "x", "--control", f"magic:{picture}")
    assert told.status == 2
    assert told.err.startswith("genyard: --control: kind: input should be 'canny'")


async def test_a_server_that_is_down(cli: Cli) -> None:
    told = await cli("generate", "x", "--json", **NOWHERE)
    assert told.status == 5
    assert told.document["error"]["code"] == "provider.unreachable"
    assert "127.0.0.1:9" in told.err
    doctor = await cli("doctor", "--json", **NOWHERE)
    assert doctor.status == 5
    assert doctor.document["endpoints"]["comfyui"]["reachable"] is False
    assert doctor.document["usable"] is False


async def test_an_unwritable_data_folder(cli: Cli) -> None:
    told = await cli("jobs", GENYARD_DATA="/proc/genyard")
    assert told.status == 7
    assert "GENYARD_DATA" in told.err
    assert "settings.invalid" in told.err
    assert "Traceback" not in told.err


async def test_settings_that_are_wrong(cli: Cli) -> None:
    told = await cli("jobs", "--json", IMAGE_GENERATION_PROVIDER="dalle")
    assert told.status == 7
    assert told.document["error"]["field"] == "IMAGE_GENERATION_PROVIDER"
    missing = await cli("generate", "x", IMAGE_GENERATION_PROVIDER="comfyui")
    assert missing.status == 7
    assert "COMFYUI_ENDPOINT" in missing.err


async def test_a_busy_port(cli: Cli) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        told = await cli("serve", "--port", str(taken.getsockname()[1]))
    assert told.status == 7
    assert "taken" in told.err
    assert len(told.err.splitlines()) == 2
