"""What the benches share: the emulator and `genyard serve` as processes of their own, a graph without a model, the
least that a client of ComfyUI can do, folders, memory. Nothing is measured here.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import random
import subprocess
import sys
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp

ROOT_FOLDER = Path("/var/lib/genyard-bench")
_numbers = itertools.count(random.randrange(1 << 20))


def graph(sleep: float = 0.0) -> dict[str, Any]:
    """EmptyImage → ImageInvert → SaveImage; the colour differs each time, so that nothing is cached. `sleep`: seconds
    that the emulator's own node takes before the end."""
    color = next(_numbers) % 0xFFFFFF
    nodes: dict[str, Any] = {
        "1": {
            "class_type": "EmptyImage",
            "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": color},
        },
        "2": {"class_type": "ImageInvert", "inputs": {"image": ["1", 0]}},
    }
    if sleep:
        nodes["2"] = {"class_type": "GenyardSleep", "inputs": {"image": ["1", 0], "seconds": sleep}}
    return nodes | {
        "3": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "bench"}}
    }


def is_png(data: bytes) -> bool:
    return data.startswith(b"\x89PNG") and data.endswith(b"IEND\xaeB`\x82")


class Bare:
    """The least that a client can do: one socket, wait for the end, read history and picture."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self.session, self.url, self.client = session, url, uuid.uuid4().hex
        self.ends: dict[str, asyncio.Event] = {}

    @contextlib.asynccontextmanager
    async def connected(self) -> AsyncIterator[Bare]:
        async with self.session.ws_connect(f"{self.url}/ws?clientId={self.client}") as socket:
            task = asyncio.create_task(self._read(socket))
            yield self
            task.cancel()

    async def _read(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        async for message in socket:
            if message.type is aiohttp.WSMsgType.TEXT and '"executing"' in message.data:
                data = json.loads(message.data)["data"]
                if data["node"] is None and data["prompt_id"] in self.ends:
                    self.ends[data["prompt_id"]].set()

    async def submit(self, prompt: dict[str, Any], prompt_id: str | None = None) -> str:
        body = {"prompt": prompt, "client_id": self.client, "prompt_id": prompt_id or str(uuid.uuid4())}
        self.ends[body["prompt_id"]] = asyncio.Event()
        async with self.session.post(f"{self.url}/prompt", json=body) as answer:
            assert answer.status == 200, await answer.text()
        return str(body["prompt_id"])

    async def end(self, prompt_id: str) -> dict[str, Any]:
        """The history's entry, as soon as the socket tells of the end."""
        await self.ends[prompt_id].wait()
        del self.ends[prompt_id]
        found = await self.history(prompt_id)
        assert found is not None
        return found

    async def history(self, prompt_id: str) -> dict[str, Any] | None:
        async with self.session.get(f"{self.url}/history/{prompt_id}") as answer:
            found: dict[str, Any] | None = (await answer.json()).get(prompt_id)
            return found

    async def picture(self, history: dict[str, Any]) -> bytes:
        image = history["outputs"]["3"]["images"][0]
        async with self.session.get(f"{self.url}/view", params=image) as answer:
            return await answer.read()

    async def interrupt(self, prompt_id: str) -> None:
        async with self.session.post(f"{self.url}/interrupt", json={"prompt_id": prompt_id}):
            pass

    async def newest(self) -> dict[str, Any] | None:
        async with self.session.get(f"{self.url}/history", params={"max_items": 1}) as answer:
            found: dict[str, dict[str, Any]] = await answer.json()
        return next(iter(found.values()), None)


def told_at(history: dict[str, Any], message: str) -> float | None:
    """When the server said so, in milliseconds since 1970."""
    for name, facts in history["status"]["messages"]:
        if name == message:
            return float(facts["timestamp"])
    return None


@contextlib.contextmanager
def emulator() -> Iterator[str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "genyard.testing.comfyui", "--port", "0"], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait(10)


@contextlib.contextmanager
def data_folder() -> Iterator[Path]:
    base = ROOT_FOLDER if os.geteuid() == 0 else None
    if base:
        base.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=base, ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        yield Path(name)


def environment(folder: Path, url: str, in_flight: int) -> dict[str, str]:
    config = folder / "genyard.toml"
    config.write_text(
        f"stage_concurrency = {max(200, in_flight)}\n"
        f"[endpoints.comfyui]\nkind = 'comfyui'\nconcurrency = {in_flight}\n"
    )
    return {
        **os.environ,  # noqa: TID251
        "GENYARD_CONFIG": str(config),
        "GENYARD_DATA": str(folder),
        "IMAGE_GENERATION_PROVIDER": "comfyui",
        "COMFYUI_ENDPOINT": url,
        "GENYARD_PORT": "0",
    }


@contextlib.asynccontextmanager
async def process(
    *command: str, env: dict[str, str] | None = None, until: str | None = None
) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """A Python program, and the line of its output that has `until` in it. In the end it is stopped."""
    started = await asyncio.create_subprocess_exec(
        sys.executable, *command, env=env, stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE if until else None, stderr=asyncio.subprocess.STDOUT if until else None,
    )  # fmt: skip
    rest: asyncio.Task[bytes] | None = None
    try:
        line = ""
        while until and until not in line:
            assert started.stdout is not None
            line = (await asyncio.wait_for(started.stdout.readline(), 60)).decode()
            if not line:
                raise RuntimeError(f"{' '.join(command)} ended")
        if until:
            assert started.stdout is not None
            rest = asyncio.create_task(started.stdout.read())  # a full pipe would stop it
        yield started, line
    finally:
        with contextlib.suppress(ProcessLookupError):
            started.terminate()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(started.wait(), 10)
            started.kill()  # a job engine waits for jobs that never end
        await started.wait()
        if rest is not None:
            await rest


@contextlib.asynccontextmanager
async def serving(environ: dict[str, str], *options: str) -> AsyncIterator[str]:
    """`genyard serve` as a process: API and worker; its URL is what it prints."""
    async with process("-m", "genyard", "serve", *options, env=environ, until="http://") as (_, line):
        yield line[line.index("http://") :].split()[0].rstrip("/")


async def settled(session: aiohttp.ClientSession, url: str, jobs: int) -> None:
    """Until so many wait or run at the emulator, and a moment more."""
    while True:
        async with session.get(f"{url}/prompt") as answer:
            if (await answer.json())["exec_info"]["queue_remaining"] >= jobs:
                await asyncio.sleep(2)
                return
        await asyncio.sleep(0.2)
