"""What takes its time: worker, serve, doctor, a slow place, Ctrl-C."""

from __future__ import annotations

import asyncio
import os
import pty
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from genyard.testing.comfyui import ComfyUIEmulator

from .conftest import ENTRY, Cli, end, read_until

WORKFLOW = {
    "1": {"class_type": "LoadImage", "inputs": {"image": "example.png"}},
    "2": {"class_type": "ImageInvert", "inputs": {"image": ["1", 0]}},
    "3": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "x"}},
}


def at(server: ComfyUIEmulator) -> dict[str, str]:
    return {"IMAGE_GENERATION_PROVIDER": "comfyui", "COMFYUI_ENDPOINT": server.url}


@pytest.mark.long
async def test_a_workflow_of_ones_own(
    cli: Cli, comfyui_emulator: ComfyUIEmulator, picture: Path, write_json: Callable[[str, Any], str]
) -> None:
    name = write_json("invert.json", WORKFLOW)
    arguments = ("run", name, "--media", f"photo={picture}@1.image", "--set", "3.filename_prefix=mine")
    planned = await cli(*arguments, "--dry-run", "--json", **at(comfyui_emulator))
    assert planned.status == 0, planned.err
    assert "ImageInvert" in planned.out
    assert comfyui_emulator.counts.total_runs == 0
    told = await cli(*arguments, **at(comfyui_emulator))
    assert told.status == 0, told.err
    assert told.lines == ["invert.png"]
    doctor = await cli("doctor", **at(comfyui_emulator))
    assert doctor.status == 0
    assert "NOT for commercial use" in doctor.out


async def test_a_worker_does_the_work_of_others(cli: Cli) -> None:
    worker = await cli.start("worker")
    try:
        await read_until(worker, "worker ready")
        job = (await cli("generate", "busy bee", "--size", "64x64", "--detach")).lines[0]
        told = await cli("jobs", "show", job, "--wait", "-o", "bee.png")
        assert told.lines == ["bee.png"]
    finally:
        worker.send_signal(signal.SIGTERM)
    ended = await end(worker)
    assert ended.status == 0
    assert "worker stopped" in ended.err


async def test_serve(cli: Cli) -> None:
    server = await cli.start("serve", "--port", "0")
    try:
        line = await read_until(server, "http://127.0.0.1:", of="stdout")
        address = next(word for word in line.split() if word.startswith("http://"))
        async with aiohttp.ClientSession() as client, client.get(f"{address}/health") as answer:
            assert (await answer.json())["provider"] == "preview"
        told = await cli("generate", "by the server", "--size", "64x64")
        assert told.status == 0, told.err
    finally:
        server.send_signal(signal.SIGTERM)
    assert (await end(server)).status == 0


async def test_doctor(cli: Cli) -> None:
    told = await cli("doctor", "--json")
    assert told.status == 0, told.err
    report = told.document
    assert report["usable"] is True
    assert report["storage_works"] is True
    assert report["settings"]["not_configured"]["comfyui"][0].startswith("COMFYUI_ENDPOINT")
    assert {one["operation"] for one in report["operations"] if one["can"]} >= {"txt2img", "animate_photo"}
    missing = await cli("doctor", IMAGE_GENERATION_PROVIDER="comfyui")
    assert missing.status == 7
    assert "but COMFYUI_ENDPOINT" in missing.out


async def test_interrupted_without_a_terminal_it_leaves_the_job(
    cli: Cli, comfyui_emulator: ComfyUIEmulator
) -> None:
    comfyui_emulator.faults.add("hang", node="KSampler")
    command = await cli.start("generate", "slow", "-m", "sdxl", "--json", **at(comfyui_emulator))
    await read_until(command, "running")
    await comfyui_emulator.changes.until(lambda: comfyui_emulator.counts.total_runs == 1)
    command.send_signal(signal.SIGINT)
    told = await end(command)
    assert told.status == 130
    assert told.document["state"] == "running"
    assert "genyard jobs show" in told.err
    canceled = await cli("cancel", told.document["id"], **at(comfyui_emulator))
    assert "cancel" in canceled.out
    ended = await cli("jobs", "show", told.document["id"], "--wait", "--json", **at(comfyui_emulator))
    assert ended.document["state"] == "canceled"
    assert ended.status == 9
    assert comfyui_emulator.counts.total_runs == 1


@pytest.mark.long
async def test_every_try_of_a_job_is_shown(cli: Cli, comfyui_emulator: ComfyUIEmulator) -> None:
    comfyui_emulator.faults.add("interrupt", node="KSampler")
    made = await cli("generate", "twice", "-m", "sdxl", "--json", **at(comfyui_emulator))
    assert made.status == 0, made.err
    first, second = made.document["attempts"]
    assert (first["number"], first["endpoint"], first["state"]) == (1, "comfyui", "failed")
    assert first["error"]["code"] == "provider.interrupted"
    assert first["seconds"] is not None
    assert first["created_at"] < first["finished_at"] < second["created_at"]
    shown = (await cli("jobs", "show", made.document["id"])).lines
    [line] = [number for number, line in enumerate(shown) if line.startswith("try 1 of stage 1 at comfyui (")]
    assert "): failed in " in shown[line]
    assert "provider.interrupted" in shown[line + 1]
    assert "): succeeded in " in shown[line + 2]


@pytest.mark.long
async def test_interrupted_where_the_job_is_to_end_with_it_it_cancels(
    cli: Cli, comfyui_emulator: ComfyUIEmulator
) -> None:
    comfyui_emulator.faults.add("hang", node="KSampler")
    drawing = ("generate", "slow", "-m", "sdxl", "--on-disconnect", "cancel", "--json")
    command = await cli.start(*drawing, **at(comfyui_emulator))
    await comfyui_emulator.changes.until(lambda: comfyui_emulator.counts.total_runs == 1)
    command.send_signal(signal.SIGINT)
    told = await end(command)
    assert told.status == 130
    assert told.document["state"] == "canceled"
    assert told.document["gpu_seconds"]["seconds"] > 0
    assert comfyui_emulator.counts.interrupted == 1
    shown = await cli("jobs", "show", told.document["id"])
    assert "execution: " in shown.out
    assert "canceled in " in shown.out


@pytest.mark.long
async def test_killed_with_its_terminal_it_takes_the_job_with_it(
    cli: Cli, comfyui_emulator: ComfyUIEmulator
) -> None:
    """Nobody is left to cancel it but a worker elsewhere, which learns of it from the job's own row."""
    (cli.folder / "genyard.toml").write_text("[server]\ndisconnect_seconds = 1\n")
    comfyui_emulator.faults.add("hang", node="KSampler")
    worker = await cli.start("worker", **at(comfyui_emulator))
    try:
        await read_until(worker, "worker ready")
        drawing = ("generate", "slow", "-m", "sdxl", "--on-disconnect", "cancel")
        command = await cli.start(*drawing, **at(comfyui_emulator))
        await comfyui_emulator.changes.until(lambda: comfyui_emulator.counts.total_runs == 1)
        await asyncio.sleep(2.0)  # longer than its grace: it is there, and says so
        assert comfyui_emulator.counts.interrupted == 0
        command.kill()
        await command.wait()
        await comfyui_emulator.changes.until(lambda: comfyui_emulator.counts.interrupted == 1, timeout=10)
    finally:
        worker.send_signal(signal.SIGTERM)
        await end(worker)
    [job] = (await cli("jobs", "--limit", "1", "--json")).document["jobs"]
    shown = await cli("jobs", "show", job["id"], "--wait", "--json", **at(comfyui_emulator))
    assert shown.document["state"] == "canceled"
    assert "nobody watched" in shown.document["error"]["message"]


@pytest.mark.long
async def test_interrupted_at_a_terminal_it_asks(cli: Cli, comfyui_emulator: ComfyUIEmulator) -> None:
    comfyui_emulator.faults.add("hang", node="KSampler", times=None)
    for answer, words in (("l", "left job"), ("c", "canceled")):
        runs = comfyui_emulator.counts.total_runs
        async with Terminal(cli, "generate", "slow", "-m", "sdxl", **at(comfyui_emulator)) as screen:
            await comfyui_emulator.changes.until(lambda runs=runs: comfyui_emulator.counts.total_runs > runs)
            screen.type("\x03")
            await screen.until("[c/l]")
            screen.type(f"{answer}\n")
            assert await screen.status() == 130
            assert words in screen.text
        [left] = (await cli("jobs", "--limit", "1", "--json")).document["jobs"]
        assert left["state"] == ("running" if answer == "l" else "canceled")
        if answer == "l":
            assert (await cli("cancel", left["id"])).status == 0
            done = await cli("jobs", "show", left["id"], "--wait", "--json", **at(comfyui_emulator))
            assert done.document["state"] == "canceled"


class Terminal:
    """A command on a pseudo-terminal of its own, whose Ctrl-C reaches it as a signal."""

    def __init__(self, cli: Cli, *arguments: str, **environ: str) -> None:
        self._cli = cli
        self._arguments = arguments
        self._environ = environ
        self.text = ""
        self._new = asyncio.Event()

    async def __aenter__(self) -> Terminal:
        self._master, slave = pty.openpty()
        self._process = await asyncio.create_subprocess_exec(
            "setsid",
            "--ctty",
            "--wait",
            *ENTRY,
            *self._arguments,
            cwd=self._cli.folder,
            env={**self._cli.environment, **self._environ, "TERM": "xterm-256color"},
            stdin=slave,
            stdout=slave,
            stderr=slave,
        )
        os.close(slave)
        asyncio.get_running_loop().add_reader(self._master, self._read)
        return self

    async def __aexit__(self, *failure: object) -> None:
        asyncio.get_running_loop().remove_reader(self._master)
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()
        os.close(self._master)

    def _read(self) -> None:
        try:
            self.text += os.read(self._master, 65536).decode(errors="replace")
        except OSError:
            asyncio.get_running_loop().remove_reader(self._master)
        self._new.set()

    def type(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    async def until(self, words: str) -> None:
        async with asyncio.timeout(20):
            while words not in self.text:
                self._new.clear()
                await self._new.wait()

    async def status(self) -> int:
        async with asyncio.timeout(20):
            return await self._process.wait()
