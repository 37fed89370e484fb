"""Commands that make something, at the built-in renderer."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from .conftest import Cli

SMALL = ("--size", "96x64")


def size_of(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        image.load()
        return image.size


async def test_generate_saves_a_picture_and_says_what_it_is(cli: Cli) -> None:
    told = await cli("generate", "a green slime", *SMALL, "--seed", "7")
    assert told.status == 0, told.err
    assert told.lines == ["a-green-slime.png"]
    assert size_of(cli.folder / told.lines[0]) == (96, 64)
    assert "seed 7" in told.err
    assert "not AI" in told.err
    again = await cli("generate", "a green slime", *SMALL, "--seed", "7")
    assert again.lines == ["a-green-slime-2.png"]


async def test_a_cutout_that_found_nothing_says_so(cli: Cli) -> None:
    Image.new("RGB", (64, 64), (255, 255, 255)).save(cli.folder / "white.png")
    told = await cli("cutout", "white.png")
    assert told.status == 0, told.err
    assert "no subject stands out" in told.err


async def test_json_is_one_document(cli: Cli) -> None:
    told = await cli(
        "generate", "two slimes", *SMALL, "-n", "2", "-t", "pair", "--priority", "5", "--json", "-o", "made"
    )
    assert told.status == 0, told.err
    job = told.document
    assert job["state"] == "succeeded"
    assert (job["tags"], job["priority"]) == (["pair"], 5)
    assert job["files"] == ["made/two-slimes-1.png", "made/two-slimes-2.png"]
    assert all((cli.folder / name).exists() for name in job["files"])
    assert {one["facts"]["seed"] for one in job["outputs"]} == {job["steps"][0]["parameters"]["seed"]}
    assert job["attempts"][0]["endpoint"] == "preview"


@pytest.mark.parametrize(
    ("arguments", "files"),
    [
        (("edit", "{picture}", "a red ball", "--strength", "0.5"), ["a-red-ball.png"]),
        (("cutout", "{picture}"), ["round-thing-cutout.png"]),
        (("layers", "{picture}", "--layers", "2"), ["round-thing-layer-1.png", "…-2.png"]),
        (
            ("pixelate", "{picture}", "--cells", "16", "--colors", "4", "--scale", "2", "-o", "art.jpg"),
            ["art.png"],
        ),
    ],
)
async def test_work_on_a_picture(
    cli: Cli, picture: Path, arguments: tuple[str, ...], files: list[str]
) -> None:
    told = await cli(*(word.replace("{picture}", str(picture)) for word in arguments))
    assert told.status == 0, told.err
    assert len(told.lines) == len(files)
    assert told.lines[0] == files[0]
    assert all(min(size_of(cli.folder / name)) > 0 for name in told.lines)


async def test_a_photo_without_a_face(cli: Cli, picture: Path) -> None:
    told = await cli("animate", str(picture), "--json")
    assert told.status == 2
    assert told.document["error"]["code"] == "media.no_face"
    assert told.document["files"] == []
    assert "face" in told.err
    assert list(cli.folder.iterdir()) == []


async def test_a_request_of_several_steps(
    cli: Cli, picture: Path, write_json: Callable[[str, Any], str]
) -> None:
    request = {
        "steps": [
            {
                "name": "drawn",
                "operation": "img2img",
                "parameters": {"prompt": "a ball"},
                "inputs": {"image": str(picture)},
                "keep": True,
            },
            {"name": "cut", "operation": "remove_background", "inputs": {"image": "step:drawn"}},
        ],
        "tags": ["both"],
    }
    told = await cli("run", write_json("ball.json", request), "-o", "all.zip")
    assert told.status == 0, told.err
    with zipfile.ZipFile(cli.folder / "all.zip") as archive:
        assert len(archive.namelist()) == 3
        assert json.loads(archive.read("job.json"))["tags"] == ["both"]


async def test_a_dry_run_leaves_nothing(cli: Cli, picture: Path) -> None:
    before = (await cli("assets", "--json")).document
    told = await cli("edit", str(picture), "a ball", "--dry-run", "--json")
    assert told.status == 0, told.err
    [stage] = told.document["stages"]
    [step] = stage["steps"]
    assert (stage["endpoint"], step["model"], step["ai"]) == ("preview", "preview", False)
    assert step["licence"]["commercial"] is True
    assert stage["plan"]["parameters"]["prompt"] == "a ball"
    assert (await cli("assets", "--json")).document == before
    shown = await cli("generate", "x", "--dry-run")
    assert "nothing was run or stored" in shown.out
    assert list(cli.folder.iterdir()) == []
