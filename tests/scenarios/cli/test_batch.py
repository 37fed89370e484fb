"""Many requests from one file: checked as a whole, stopped and gone on with, never bought twice."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from genyard.testing.comfyui import ComfyUIEmulator

from .conftest import Cli, end, read_until

SMALL = {"width": 64, "height": 64}


def at(server: ComfyUIEmulator) -> dict[str, str]:
    return {"IMAGE_GENERATION_PROVIDER": "comfyui", "COMFYUI_ENDPOINT": server.url}


def give(picture: Path, path: Path) -> None:
    path.write_bytes(picture.read_bytes())


def write(folder: Path, *rows: Any, name: str = "many.jsonl") -> Path:
    path = folder / name
    path.write_text("\n".join(one if isinstance(one, str) else json.dumps(one) for one in rows))
    return path


def results(folder: Path, name: str = "many.results.jsonl") -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / name).read_text().splitlines()]


async def test_rows_become_pictures_and_lines(cli: Cli, picture: Path) -> None:
    (cli.folder / "in").mkdir()
    give(picture, cli.folder / "in" / "ball.png")
    rows = [
        {"prompt": "a red dragon", **SMALL, "seed": 3, "tags": ["batch-a"]},
        "",
        {"operation": "remove_background", "image": "ball.png"},
        {"operation": "pixelate", "parameters": {"cells": 16}, "inputs": {"image": "ball.png"}},
    ]
    write(cli.folder / "in", *rows)
    told = await cli("run", "--batch", "in/many.jsonl", "-t", "batch-all")
    assert told.status == 0, told.err
    assert told.lines == ["in/many.results.jsonl"]
    assert "3 of 3 rows succeeded" in told.err
    lines = results(cli.folder / "in")
    assert [(one["row"], one["line"], one["state"]) for one in lines] == [
        (1, 1, "succeeded"),
        (2, 3, "succeeded"),
        (3, 4, "succeeded"),
    ]
    assert all((cli.folder / file).exists() for one in lines for file in one["files"])
    assert lines[0]["files"][0].startswith("in/many.results/0001-a-red-dragon-")
    with Image.open(cli.folder / lines[0]["files"][0]) as image:
        assert image.size == (64, 64)
    job = (await cli("jobs", "show", lines[0]["job_id"], "--json")).document
    assert job["tags"] == ["batch-a", "batch-all"]
    # one file, named by two rows, is stored once
    given = [(await cli("jobs", "show", one["job_id"], "--json")).document["steps"] for one in lines[1:]]
    assert given[0][0]["inputs"] == given[1][0]["inputs"]


@pytest.mark.long
async def test_a_csv_has_the_same_names_as_columns(cli: Cli) -> None:
    text = 'prompt,width,height,count,tags\n"a ""big""\nslime",64,64,,"one, two"\n007,64,64,2,\n'
    (cli.folder / "many.csv").write_text(text)
    told = await cli("run", "--batch", "many.csv", "--json")
    assert told.status == 0, told.err
    assert (told.document["rows"], told.document["succeeded"]) == (2, 2)
    first, second = results(cli.folder)
    assert (first["line"], second["line"]) == (2, 4)
    job = (await cli("jobs", "show", first["job_id"], "--json")).document
    assert (job["steps"][0]["parameters"]["prompt"], job["tags"]) == ('a "big"\nslime', ["one", "two"])
    assert len(second["files"]) == 2
    job = (await cli("jobs", "show", second["job_id"], "--json")).document
    assert job["steps"][0]["parameters"]["prompt"] == "007"


async def test_wrong_rows_are_all_told_and_nothing_is_submitted(cli: Cli, picture: Path) -> None:
    before = (await cli("jobs", "--json")).document
    assets = (await cli("assets", "--json")).document
    write(
        cli.folder,
        {"prompt": "fine", **SMALL},
        {"prompt": "too small", "width": 7},
        "{not json",
        {"operation": "remove_background", "image": "no-such.png"},
        {"prompt": "unknown", "model": "flux.9"},
        {"prompt": "odd", "colour": "red"},
        {"operation": "remove_background", "image": str(picture)},
        ["a", "list"],
    )
    told = await cli("run", "--batch", "many.jsonl", "--json")
    assert told.status == 2
    error = told.document["error"]
    assert error["code"] == "request.invalid"
    wrong = {(one["line"], one["field"]) for one in error["context"]["rows"]}
    assert wrong == {
        (2, "parameters.width"),
        (3, None),
        (4, "inputs.image"),
        (5, "model"),
        (6, "parameters.colour"),
        (8, None),
    }
    assert "line 4: inputs.image" in told.err
    assert (await cli("jobs", "--json")).document == before
    assert (await cli("assets", "--json")).document == assets
    assert [path.name for path in cli.folder.iterdir()] == ["many.jsonl"]


async def test_the_same_command_again_does_nothing_and_a_row_more_runs_alone(cli: Cli, picture: Path) -> None:
    give(picture, cli.folder / "ball.png")
    rows = [
        {"prompt": "same", **SMALL},
        {"prompt": "same", **SMALL},
        {"operation": "pixelate", "image": "ball.png"},
    ]
    write(cli.folder, *rows)
    assert (await cli("run", "--batch", "many.jsonl")).status == 0
    first = results(cli.folder)
    assert len({one["job_id"] for one in first}) == 3
    again = await cli("run", "--batch", "many.jsonl")
    assert (again.status, results(cli.folder)) == (0, first)
    assert "all 3 rows are done" in again.err

    # without the results, with another row in front, with the file under another name: the jobs are known by their rows
    (cli.folder / "many.results.jsonl").unlink()
    give(picture, cli.folder / "copy.png")
    write(cli.folder, {"prompt": "new", **SMALL}, *rows[:2], {"operation": "pixelate", "image": "copy.png"})
    third = await cli("run", "--batch", "many.jsonl", "--json")
    assert third.status == 0, third.err
    assert "1 row to run" not in third.err
    lines = results(cli.folder)
    assert [one["job_id"] for one in lines][1:] == [one["job_id"] for one in first]
    listed = (await cli("jobs", "--limit", "4", "--json")).document["jobs"]
    assert [one["id"] for one in listed] == [
        lines[0]["job_id"],
        *sorted((one["job_id"] for one in first), reverse=True),
    ]


@pytest.mark.long
async def test_killed_it_goes_on_without_buying_twice(cli: Cli, comfyui_emulator: ComfyUIEmulator) -> None:
    comfyui_emulator.faults.add("hang", node="KSampler", times=1)
    write(cli.folder, *({"prompt": f"row {number}", "model": "sdxl", "seed": number} for number in range(4)))
    command = await cli.start("run", "--batch", "many.jsonl", "--at-once", "1", **at(comfyui_emulator))
    await comfyui_emulator.changes.until(lambda: comfyui_emulator.counts.total_runs == 1)
    command.kill()
    await command.wait()
    # the killed command's results may end in the middle of a line
    with (cli.folder / "many.results.jsonl").open("a") as file:
        file.write('{"row": 1, "key": "ba')
    [open_job] = (await cli("jobs", "--limit", "1", "--json")).document["jobs"]
    going_on = await cli.start("run", "--batch", "many.jsonl", **at(comfyui_emulator))
    await read_until(going_on, "3 rows to run")
    await cli("cancel", open_job["id"], **at(comfyui_emulator))
    told = await end(going_on)
    assert told.status == 9, told.err
    lines = results(cli.folder)
    assert [one["state"] for one in lines] == ["canceled", "succeeded", "succeeded", "succeeded"]
    assert lines[0]["job_id"] == open_job["id"]
    assert comfyui_emulator.counts.total_runs == 4

    same = await cli("run", "--batch", "many.jsonl", **at(comfyui_emulator))
    assert (same.status, comfyui_emulator.counts.total_runs) == (9, 4)
    retried = await cli("run", "--batch", "many.jsonl", "--retry-failed", **at(comfyui_emulator))
    assert retried.status == 0, retried.err
    assert comfyui_emulator.counts.total_runs == 5
    assert results(cli.folder)[0]["job_id"] != open_job["id"]


@pytest.mark.long
async def test_interrupted_it_says_how_to_go_on(cli: Cli, comfyui_emulator: ComfyUIEmulator) -> None:
    comfyui_emulator.faults.add("hang", node="KSampler", times=None)
    write(cli.folder, *({"prompt": f"row {number}", "model": "sdxl"} for number in range(3)))
    command = await cli.start("run", "--batch", "many.jsonl", "--at-once", "2", **at(comfyui_emulator))
    await comfyui_emulator.changes.until(lambda: comfyui_emulator.counts.total_runs == 1)
    other = await cli("run", "--batch", "many.jsonl", **at(comfyui_emulator))
    assert other.status == 2
    assert "another command is at work" in other.err
    command.send_signal(signal.SIGINT)
    told = await end(command)
    assert told.status == 130, told.err
    assert "3 open" in told.err
    assert "the same command goes on" in told.err
    for job in (await cli("jobs", "--limit", "2", "--json")).document["jobs"]:
        await cli("cancel", job["id"], **at(comfyui_emulator))


async def test_a_failed_row_does_not_stop_the_others(cli: Cli, picture: Path) -> None:
    give(picture, cli.folder / "ball.png")
    write(cli.folder, {"operation": "animate_photo", "image": "ball.png"}, {"prompt": "fine", **SMALL})
    told = await cli("run", "--batch", "many.jsonl", "-o", "made", "--json")
    assert told.status == 2, told.err
    assert (told.document["succeeded"], told.document["failed"]) == (1, 1)
    failed, fine = results(cli.folder / "made")
    assert failed["error"]["code"] == "media.no_face"
    assert fine["files"][0].startswith("made/0002-fine-")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--batch", "no-such.jsonl"), "no such file"),
        (("--batch", "empty.jsonl"), "no rows"),
        (("--batch", "fine.jsonl", "request.json"), "does not go with --batch"),
        (("--batch", "fine.jsonl", "--detach"), "does not go with --batch"),
        (("--batch", "fine.jsonl", "-o", "other.jsonl"), "holds no results"),
        (("request.json", "--at-once", "2"), "add --batch"),
        ((), "--batch FILE"),
    ],
)
async def test_a_batch_that_cannot_be(cli: Cli, arguments: tuple[str, ...], words: str) -> None:
    write(cli.folder, name="empty.jsonl")
    write(cli.folder, {"prompt": "x", **SMALL}, name="fine.jsonl")
    write(cli.folder, {"prompt": "x"}, {"prompt": "y"}, name="other.jsonl")
    told = await cli("run", *arguments, "--json")
    assert told.status == 2
    assert words in told.document["error"]["message"]


async def test_a_dry_run_and_an_estimate_keep_nothing(cli: Cli, picture: Path) -> None:
    assets = (await cli("assets", "--json")).document
    give(picture, cli.folder / "ball.png")
    write(cli.folder, {"operation": "pixelate", "image": "ball.png"}, {"prompt": "x", **SMALL})
    for command in (("run", "--dry-run"), ("estimate", "run")):
        told = await cli(*command, "--batch", "many.jsonl", "--json")
        assert told.status == 0, told.err
        assert (told.document["rows"], told.document["paid_rows"]) == (2, 0)
    assert (await cli("assets", "--json")).document == assets
    assert sorted(path.name for path in cli.folder.iterdir()) == ["ball.png", "many.jsonl"]


@pytest.mark.long
async def test_a_long_batch_goes_on_under_another_working_command(cli: Cli) -> None:
    worker = await cli.start("worker")
    try:
        await read_until(worker, "worker ready")
        write(cli.folder, *({"prompt": f"row {number}", **SMALL} for number in range(12)))
        told = await cli("run", "--batch", "many.jsonl", "--at-once", "4")
        assert told.status == 0, told.err
        assert [one["row"] for one in results(cli.folder)] == list(range(1, 13))
    finally:
        worker.send_signal(signal.SIGTERM)
        await end(worker)
