"""What genyard adds to a run on ComfyUI, side by side with a bare client, in one run.

    python bench/overhead.py [--url http://127.0.0.1:8188] [--jobs 150] [--burst 200] [--in-flight 50]

Without --url the emulator runs as a process of its own. The graph has no model (EmptyImage → ImageInvert →
SaveImage), its colour differs each time so that nothing is cached, and every returned PNG is looked at.

    lag    picture in hand minus the server's own end of execution
    ways   bare WebSocket client (the limit) · polling every 3 s (the plans' way) · genyard from Python ·
           genyard over HTTP; genyard's server, database and worker share the machine with all of it
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

ROOT_FOLDER = Path("/var/lib/genyard-bench")
_numbers = itertools.count(random.randrange(1 << 20))


def graph() -> dict[str, Any]:
    color = next(_numbers) % 0xFFFFFF
    return {
        "1": {
            "class_type": "EmptyImage",
            "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": color},
        },
        "2": {"class_type": "ImageInvert", "inputs": {"image": ["1", 0]}},
        "3": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "bench"}},
    }


@dataclass
class Shot:
    """One job as its caller saw it. `lag` in milliseconds; None where the server's end is not known."""

    ok: bool
    milliseconds: float
    lag: float | None


@dataclass
class Row:
    way: str
    shots: list[Shot] = field(default_factory=list)
    burst_seconds: float | None = None
    burst_ok: int = 0
    burst_jobs: int = 0


def is_png(data: bytes) -> bool:
    return data.startswith(b"\x89PNG") and data.endswith(b"IEND\xaeB`\x82")


def server_end(history: dict[str, Any]) -> float | None:
    for name, facts in history["status"]["messages"]:
        if name == "execution_success":
            return float(facts["timestamp"])
    return None


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

    async def submit(self) -> str:
        body = {"prompt": graph(), "client_id": self.client, "prompt_id": str(uuid.uuid4())}
        self.ends[body["prompt_id"]] = asyncio.Event()
        async with self.session.post(f"{self.url}/prompt", json=body) as answer:
            assert answer.status == 200, await answer.text()
        return str(body["prompt_id"])

    async def shoot(self) -> Shot:
        begun = time.time()
        prompt_id = await self.submit()
        await self.ends[prompt_id].wait()
        del self.ends[prompt_id]
        return await self.collect(prompt_id, begun)

    async def history(self, prompt_id: str) -> dict[str, Any] | None:
        async with self.session.get(f"{self.url}/history/{prompt_id}") as answer:
            found: dict[str, Any] | None = (await answer.json()).get(prompt_id)
            return found

    async def collect(self, prompt_id: str, begun: float) -> Shot:
        history = await self.history(prompt_id)
        assert history is not None
        image = history["outputs"]["3"]["images"][0]
        async with self.session.get(f"{self.url}/view", params=image) as answer:
            data = await answer.read()
        now, end = time.time(), server_end(history)
        return Shot(is_png(data), (now - begun) * 1e3, now * 1e3 - end if end else None)

    async def shoot_by_polling(self, interval: float) -> Shot:
        begun = time.time()
        prompt_id = await self.submit()
        while await self.history(prompt_id) is None:  # noqa: ASYNC110 (this is the way that is measured)
            await asyncio.sleep(interval)
        return await self.collect(prompt_id, begun)


class Over:
    """genyard; `ask` makes a job and waits for its picture. The server's end is read afterwards."""

    def __init__(self, bare: Bare, ask: Callable[[], Awaitable[bytes]]) -> None:
        self.bare, self.ask = bare, ask

    async def shoot(self) -> Shot:
        begun = time.time()
        data = await self.ask()
        now = time.time()
        return Shot(is_png(data), (now - begun) * 1e3, now * 1e3 - await self._end())

    async def _end(self) -> float:
        async with self.bare.session.get(f"{self.bare.url}/history", params={"max_items": 1}) as answer:
            [newest] = (await answer.json()).values()
        end = server_end(newest)
        assert end is not None
        return end


async def measure(
    way: str, shoot: Callable[[], Awaitable[Shot]], *, jobs: int, burst: int, in_flight: int,
    ask: Callable[[], Awaitable[Any]] | None = None,
) -> Row:  # fmt: skip
    row = Row(way)
    for _ in range(3):
        await shoot()
    for _ in range(jobs):
        row.shots.append(await shoot())
    if burst:
        gate = asyncio.Semaphore(in_flight)

        async def one() -> bool:
            async with gate:
                result = await (ask or shoot)()
                return is_png(result) if isinstance(result, bytes) else bool(result.ok)

        begun = time.perf_counter()
        done = await asyncio.gather(*(one() for _ in range(burst)))
        row.burst_seconds, row.burst_ok, row.burst_jobs = time.perf_counter() - begun, sum(done), burst
    return row


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
    with tempfile.TemporaryDirectory(dir=base) as name:
        Path(name).chmod(0o755)
        yield Path(name)


def start_times() -> None:
    """`genyard --help` in its own process, and the embedded database in a new folder and in a used one."""
    from genyard.database._embedded import EmbeddedServer

    def seconds(work: Callable[[], Any]) -> float:
        begun = time.perf_counter()
        work()
        return time.perf_counter() - begun

    command = [sys.executable, "-m", "genyard", "--help"]
    helps = [seconds(lambda: subprocess.run(command, capture_output=True, check=True)) for _ in range(9)]
    print(f"\ngenyard --help           {statistics.median(helps):.2f} s (median of 9)")

    async def start(folder: Path) -> float:
        begun = time.perf_counter()
        server = await EmbeddedServer.start(folder)
        taken = time.perf_counter() - begun
        await server.release()
        return taken

    with data_folder() as folder:
        first, again = asyncio.run(start(folder)), asyncio.run(start(folder))
    print(f"embedded database up     {first:.2f} s in a new folder, {again:.2f} s in a used one")


def environment(folder: Path, url: str, in_flight: int) -> dict[str, str]:
    config = folder / "genyard.toml"
    config.write_text(f"[endpoints.comfyui]\nkind = 'comfyui'\nconcurrency = {in_flight}\n")
    config.write_text(f"stage_concurrency = {max(200, in_flight)}\n" + config.read_text())
    return {
        **os.environ,  # noqa: TID251
        "GENYARD_CONFIG": str(config),
        "GENYARD_DATA": str(folder),
        "IMAGE_GENERATION_PROVIDER": "comfyui",
        "COMFYUI_ENDPOINT": url,
        "GENYARD_PORT": "0",
    }


@contextlib.asynccontextmanager
async def serving(environ: dict[str, str], session: aiohttp.ClientSession) -> AsyncIterator[str]:
    """`genyard serve` as a process: API and worker; its URL is what it prints."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "genyard", "serve", env=environ,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        while True:
            line = (await asyncio.wait_for(process.stdout.readline(), 60)).decode()
            if not line:
                raise RuntimeError("genyard serve ended")
            if "http://" in line:
                yield line[line.index("http://") :].split()[0].rstrip("/")
                break
    finally:
        process.terminate()
        await process.wait()


def http_ask(session: aiohttp.ClientSession, url: str) -> Callable[[], Awaitable[bytes]]:
    async def ask() -> bytes:
        body = {"operation": "run_workflow", "parameters": {"workflow": graph()}}
        async with session.post(f"{url}/v1/jobs", params={"wait": "60"}, json=body) as answer:
            job = await answer.json()
            assert job.get("state") == "succeeded", job
        async with session.get(url + job["outputs"][0]["url"].removeprefix(url)) as answer:
            return await answer.read()

    return ask


async def genyard_rows(url: str, bare: Bare, options: argparse.Namespace) -> list[Row]:
    from genyard import Studio
    from genyard.settings import load_settings

    rows = []
    sizes = {"jobs": options.jobs, "burst": options.burst, "in_flight": options.in_flight}
    with data_folder() as folder:
        environ = environment(folder, url, options.in_flight)
        async with Studio(load_settings(environ)) as studio:

            async def ask() -> bytes:
                job = await studio.make("run_workflow", workflow=graph())
                return await studio.read(job.outputs[0])

            rows.append(await measure("genyard, Python", Over(bare, ask).shoot, ask=ask, **sizes))
        if options.skip_http:
            return rows
        async with serving(environ, bare.session) as server:
            ask_http = http_ask(bare.session, server)
            rows.append(await measure("genyard, HTTP", Over(bare, ask_http).shoot, ask=ask_http, **sizes))
    return rows


async def memory_per_waiting_job(
    url: str, session: aiohttp.ClientSession, waiting: int
) -> tuple[float, float]:
    """Resident kB of a worker that does nothing, and what each job adds that waits at the place (emulator only)."""
    import psutil

    from genyard.app import build
    from genyard.settings import load_settings

    faults = [{"kind": "hang", "node": "ImageInvert"}]
    async with session.post(f"{url}/_emulator/faults", json=faults) as answer:
        assert answer.status < 300, await answer.text()
    with data_folder() as folder:
        environ = environment(folder, url, waiting)
        async with build(load_settings(environ)) as product:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "genyard", "worker", env=environ, stdin=asyncio.subprocess.DEVNULL
            )
            worker = psutil.Process(process.pid)
            try:
                body = {"operation": "run_workflow", "parameters": {"workflow": graph()}}
                await product.studio.submit(body)
                await settled(session, url, 1)
                idle = worker.memory_info().rss
                for _ in range(waiting - 1):
                    body = {"operation": "run_workflow", "parameters": {"workflow": graph()}}
                    await product.studio.submit(body)
                await settled(session, url, waiting)
                return idle / 1024, (worker.memory_info().rss - idle) / 1024 / (waiting - 1)
            finally:
                process.kill()
                await process.wait()


async def settled(session: aiohttp.ClientSession, url: str, jobs: int) -> None:
    while True:
        async with session.get(f"{url}/prompt") as answer:
            if (await answer.json())["exec_info"]["queue_remaining"] >= jobs:
                await asyncio.sleep(2)
                return
        await asyncio.sleep(0.2)


def show(rows: list[Row]) -> None:
    best = rows[0]
    bare_lag = statistics.median(shot.lag for shot in best.shots if shot.lag is not None)
    print(
        f"\n{'way':<18} {'ok':>9} {'ms':>8} {'lag':>8} {'p95':>8} {'over bare':>10} {'jobs/s':>8} {'of bare':>8}"
    )
    for row in rows:
        lags = sorted(shot.lag for shot in row.shots if shot.lag is not None)
        lag, p95 = statistics.median(lags), lags[int(len(lags) * 0.95)]
        ok = f"{sum(shot.ok for shot in row.shots)}/{len(row.shots)}"
        rate = row.burst_ok / row.burst_seconds if row.burst_seconds else None
        of_bare = rate * best.burst_seconds / best.burst_ok if rate and best.burst_seconds else None
        print(
            f"{row.way:<18} {ok:>9} {statistics.median(s.milliseconds for s in row.shots):>8.1f} {lag:>8.1f}"
            f" {p95:>8.1f} {lag - bare_lag:>+10.1f} {f'{rate:.0f}' if rate else '-':>8}"
            f" {f'{of_bare:.0%}' if of_bare else '-':>8}"
            + (f"   burst {row.burst_ok}/{row.burst_jobs}" if row.burst_jobs else "")
        )


async def main(options: argparse.Namespace) -> None:
    with contextlib.ExitStack() as stack:
        url = options.url or stack.enter_context(emulator())
        connector = aiohttp.TCPConnector(limit=200)
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            Bare(session, url).connected() as bare,
        ):
            sizes = {"jobs": options.jobs, "burst": options.burst, "in_flight": options.in_flight}
            rows = [await measure("bare WebSocket", bare.shoot, **sizes)]
            rows.append(
                await measure("polling 3 s", lambda: bare.shoot_by_polling(3.0), jobs=3, burst=0, in_flight=1)
            )
            rows += await genyard_rows(url, bare, options)
    show(rows)
    if options.waiting:
        with emulator() as url:
            async with aiohttp.ClientSession() as session:
                idle, each = await memory_per_waiting_job(url, session, options.waiting)
        print(f"\nworker, idle             {idle / 1024:.0f} MB")
        print(f"each waiting job         {each:.1f} kB (of {options.waiting} that wait at the place)")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--url", help="a real ComfyUI; without it the emulator is started")
    parser.add_argument("--jobs", type=int, default=150)
    parser.add_argument("--burst", type=int, default=200)
    parser.add_argument("--in-flight", type=int, default=50)
    parser.add_argument("--skip-http", action="store_true")
    parser.add_argument("--waiting", type=int, default=1000, help="0: leave the memory out")
    arguments = parser.parse_args()
    asyncio.run(main(arguments))
    start_times()
