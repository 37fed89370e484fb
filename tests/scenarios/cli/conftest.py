"""The real CLI in processes of its own, all on one data folder whose PostgreSQL stays up for the session."""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from support.embedded import embedded_server
from support.processes import outside

ENTRY: Final = [sys.executable, "-m", "genyard"]


@dataclass(frozen=True, kw_only=True)
class Ended:
    """What a command said and how it ended."""

    status: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The one JSON document on stdout."""
        return json.loads(self.out)

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


class Cli:
    """`await cli("generate", "a slime", "--json")` in `folder`; keywords are environment names.

    `start` begins a command that goes on; it and nothing else is a wholly new process.
    """

    def __init__(self, data: Path, folder: Path, forking: Process) -> None:
        self.folder = folder
        self._forking = forking
        self.environment = {**outside(), "GENYARD_DATA": str(data), "NO_COLOR": "1"}

    async def start(self, *arguments: str, **environ: str) -> Process:
        return await asyncio.create_subprocess_exec(
            *ENTRY,
            *arguments,
            cwd=self.folder,
            env={**self.environment, **environ},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=PIPE,
            stderr=PIPE,
        )

    async def __call__(self, *arguments: str, **environ: str) -> Ended:
        assert self._forking.stdin is not None
        assert self._forking.stdout is not None
        with tempfile.TemporaryDirectory() as folder:
            out, err = Path(folder) / "out", Path(folder) / "err"
            environment = {**self.environment, **environ}
            request = {"arguments": arguments, "cwd": self.folder, "env": environment, "out": out, "err": err}
            self._forking.stdin.write(json.dumps(request, default=str).encode() + b"\n")
            async with asyncio.timeout(30):
                status = int(await self._forking.stdout.readline())
            return Ended(status=status, out=out.read_text(), err=err.read_text())


async def end(process: Process) -> Ended:
    async with asyncio.timeout(30):
        out, err = await process.communicate()
    assert process.returncode is not None
    return Ended(status=process.returncode, out=out.decode(), err=err.decode())


async def read_until(process: Process, text: str, *, of: str = "stderr") -> str:
    """Lines up to the first that has `text` in it; fails when the process ends without it."""
    stream = process.stderr if of == "stderr" else process.stdout
    assert stream is not None
    read = ""
    async with asyncio.timeout(20):
        while line := (await stream.readline()).decode():
            read += line
            if text in line:
                return read
    raise AssertionError(f"{text!r} did not come; instead: {read}")


@pytest.fixture(scope="session")
async def data() -> AsyncIterator[Path]:
    """Kept up by the tests' own handle: commands adopt the server in place of starting it."""
    async with embedded_server() as (_, folder):
        yield folder


@pytest.fixture(scope="session")
async def forking() -> AsyncIterator[Process]:
    script = str(Path(__file__).with_name("forking.py"))
    process = await asyncio.create_subprocess_exec(sys.executable, script, stdin=PIPE, stdout=PIPE)
    yield process
    assert process.stdin is not None
    process.stdin.close()
    await process.wait()


@pytest.fixture
def cli(data: Path, forking: Process, tmp_path: Path) -> Cli:
    return Cli(data, tmp_path, forking)


@pytest.fixture(scope="session")
def picture(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A round thing on plain ground: something to cut out."""
    from PIL import Image, ImageDraw

    path = tmp_path_factory.mktemp("given") / "round thing.png"
    image = Image.new("RGB", (128, 96), (240, 240, 235))
    ImageDraw.Draw(image).ellipse((36, 20, 92, 76), (200, 40, 30))
    image.save(path)
    return path


@pytest.fixture(scope="session")
def write_json(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str, Any], str]]:
    folder = tmp_path_factory.mktemp("documents")

    def write(name: str, document: Any) -> str:
        path = folder / name
        path.write_text(json.dumps(document))
        return str(path)

    yield write
