"""genyard's own commands as processes: workers and servers, as an operator starts them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from genyard.settings import Settings

_FOREIGN = ("GENYARD_", "IMAGE_GENERATION_", "DATABASE_URL", "R2_", "S3_", "AWS_", "COMFYUI_", "RUNPOD_")
_FOREIGN += ("SCENARIO_", "REPLICATE_")


def outside() -> dict[str, str]:
    """The environment of this process without what a developer may have set for genyard."""
    return {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}  # noqa: TID251


def environment(settings: Settings, given: Mapping[str, str] | None = None) -> dict[str, str]:
    """For processes on the same database and folder."""
    assert settings.database_url is not None
    return {
        **outside(),
        "GENYARD_DATA": str(settings.data),
        "DATABASE_URL": settings.database_url.get_secret_value(),
        **(given or {}),
    }


@contextlib.asynccontextmanager
async def running(
    *arguments: str, environ: Mapping[str, str], until: str, cwd: Path | None = None
) -> AsyncIterator[Process]:
    """`genyard ARGUMENTS`, once it has said `until` on either stream; killed at the end if it still lives."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "genyard", *arguments),
        env=dict(environ),
        cwd=cwd,
        stdin=DEVNULL,
        stdout=PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        said = await heard(process, until)
        process.first_words = said  # type: ignore[attr-defined]
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGKILL)
        await process.communicate()


def free_port() -> int:
    """On loopback; nothing keeps it from others."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


async def heard(process: Process, text: str) -> str:
    """The first line with `text` in it; fails when the process ends without it."""
    assert process.stdout is not None
    before = ""
    async with asyncio.timeout(60):
        while line := (await process.stdout.readline()).decode():
            if text in line:
                return line
            before += line
    raise AssertionError(f"{text!r} did not come; instead: {before}")


async def until(found: Callable[[], Awaitable[Any] | bool], seconds: float = 20) -> None:
    """Asks every 5 ms."""
    async with asyncio.timeout(seconds):
        while True:
            answer = found()
            if answer if isinstance(answer, bool) else await answer:
                return
            await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def worker(environ: Mapping[str, str]) -> AsyncIterator[Process]:
    async with running("worker", environ=environ, until="worker ready") as process:
        yield process


async def stopped(process: Process) -> int:
    """By SIGTERM, in order. → its status."""
    process.terminate()
    async with asyncio.timeout(30):
        return await process.wait()
