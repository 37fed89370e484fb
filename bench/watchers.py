"""A thousand watchers over HTTP, for `engines`: how soon all of them hear of an end; what they cost while they wait.

The streams are opened by this process; `genyard serve` is one of its own, without a worker, and the endpoint rests.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import aiohttp
import psutil

from stand import graph, process
from ways import Genyard, request

QUIET_SECONDS = 10.0


class Stream:
    """One watcher. `told`: when it heard of the end."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session, self._url = session, url
        self.open = asyncio.Event()
        self.over = asyncio.Event()
        self.told = 0.0

    async def read(self) -> None:
        async with self._session.get(self._url) as answer:
            assert answer.status == 200, await answer.text()
            async for line in answer.content:
                self.open.set()
                if line.startswith(b"event: canceled"):
                    self.told = time.perf_counter()
                    self.over.set()
                    return
        raise RuntimeError("a stream ended before its job")


@asynccontextmanager
async def streams(url: str, jobs: Sequence[str]) -> AsyncIterator[list[Stream]]:
    """One stream each; all are open."""
    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=None, sock_read=120)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        watching = [Stream(session, f"{url}/v1/jobs/{job}/events") for job in jobs]
        tasks = [asyncio.create_task(one.read()) for one in watching]
        try:
            await asyncio.gather(*(one.open.wait() for one in watching))
            yield watching
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def api(way: Genyard) -> AsyncIterator[tuple[str, psutil.Process]]:
    command = ("-m", "genyard", "serve", "--no-worker")
    async with process(*command, env=way.environ, until="http://") as (started, line):
        yield line[line.index("http://") :].split()[0].rstrip("/"), psutil.Process(started.pid)


async def submit(way: Genyard, jobs: int) -> list[str]:
    gate = asyncio.Semaphore(20)

    async def one() -> str:
        async with gate:
            return str((await way.product.studio.submit(request(graph()))).job.id)

    return list(await asyncio.gather(*(one() for _ in range(jobs))))


def spent(server: psutil.Process) -> float:
    times = server.cpu_times()
    return float(times.user + times.system)


async def fan_out(way: Genyard, count: int) -> dict[str, float]:
    """Milliseconds from the cancel of one job until the first, the middle and the last of its watchers heard of it."""
    found: dict[str, list[float]] = {"first": [], "median": [], "all": []}
    async with api(way) as (url, server):
        for _ in range(4):
            [job] = await submit(way, 1)
            before, opening = server.memory_info().rss, time.perf_counter()
            async with streams(url, [job] * count) as watching:
                opened = time.perf_counter() - opening
                memory = (server.memory_info().rss - before) / 1024 / count
                await asyncio.sleep(1)
                begun = time.perf_counter()
                await way.cancel(job)
                await asyncio.gather(*(one.over.wait() for one in watching))
                took = sorted((one.told - begun) * 1e3 for one in watching)
            found["first"].append(took[0])
            found["median"].append(took[len(took) // 2])
            found["all"].append(took[-1])
            if len(found["all"]) == 1:
                first = {
                    f"{count} streams open, s": opened,
                    "each watcher, kB": memory,
                }
    return first | {
        f"{which} of {count} watchers told, ms": sorted(values)[len(values) // 2]
        for which, values in found.items()
    }


async def many_queues(way: Genyard, count: int) -> dict[str, float]:
    """As many queued jobs, a watcher each: the share of a core that the server needs while nothing happens, and how
    long another caller waits for a job's state meanwhile."""
    jobs = await submit(way, count)
    async with api(way) as (url, server), streams(url, jobs), aiohttp.ClientSession() as session:
        await asyncio.sleep(2)
        begun, cpu = time.perf_counter(), spent(server)
        took = []
        while time.perf_counter() - begun < QUIET_SECONDS:
            asked = time.perf_counter()
            async with session.get(f"{url}/v1/jobs/{jobs[0]}") as answer:
                assert answer.status == 200
                await answer.read()
            took.append((time.perf_counter() - asked) * 1e3)
            await asyncio.sleep(0.1)
        share = (spent(server) - cpu) / (time.perf_counter() - begun)
    return {
        f"{count} queued and watched: of a core, %": 100 * share,
        "a GET meanwhile, ms": sorted(took)[len(took) // 2],
    }
