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
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from stand import Bare, data_folder, emulator, environment, graph, is_png, serving, settled, told_at


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


class Shots(Bare):
    """One job after the other, looked at."""

    async def shoot(self) -> Shot:
        begun = time.time()
        history = await self.end(await self.submit(graph()))
        return await self._collect(history, begun)

    async def _collect(self, history: dict[str, Any], begun: float) -> Shot:
        data = await self.picture(history)
        now, end = time.time(), told_at(history, "execution_success")
        return Shot(is_png(data), (now - begun) * 1e3, now * 1e3 - end if end else None)

    async def shoot_by_polling(self, interval: float) -> Shot:
        begun = time.time()
        prompt_id = await self.submit(graph())
        while (history := await self.history(prompt_id)) is None:  # noqa: ASYNC110 (this is what is measured)
            await asyncio.sleep(interval)
        return await self._collect(history, begun)


class Over:
    """genyard; `ask` makes a job and waits for its picture. The server's end is read afterwards."""

    def __init__(self, bare: Shots, ask: Callable[[], Awaitable[bytes]]) -> None:
        self.bare, self.ask = bare, ask

    async def shoot(self) -> Shot:
        begun = time.time()
        data = await self.ask()
        now = time.time()
        return Shot(is_png(data), (now - begun) * 1e3, now * 1e3 - await self._end())

    async def _end(self) -> float:
        newest = await self.bare.newest()
        end = told_at(newest, "execution_success") if newest else None
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


def http_ask(session: aiohttp.ClientSession, url: str) -> Callable[[], Awaitable[bytes]]:
    async def ask() -> bytes:
        body = {"operation": "run_workflow", "parameters": {"workflow": graph()}}
        async with session.post(f"{url}/v1/jobs", params={"wait": "60"}, json=body) as answer:
            job = await answer.json()
            assert job.get("state") == "succeeded", job
        async with session.get(url + job["outputs"][0]["url"].removeprefix(url)) as answer:
            return await answer.read()

    return ask


async def genyard_rows(url: str, bare: Shots, options: argparse.Namespace) -> list[Row]:
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
        async with serving(environ) as server:
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


@contextlib.asynccontextmanager
async def _shots(session: aiohttp.ClientSession, url: str) -> AsyncIterator[Shots]:
    shots = Shots(session, url)
    async with shots.connected():
        yield shots


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
            _shots(session, url) as bare,
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
