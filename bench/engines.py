"""How fast jobs start, run and stop: genyard beside a bare Procrastinate task and the plans' Redis list, in one run.

    python bench/engines.py [--only start,rate,cancel,urgent,memory,api,watchers] [--rounds 5] [--json]

All three send the same graph to the same emulator, a process of its own; workers and APIs are processes, too. What the
peers do, and what they leave out, is in `peers`; without `redis-server` on the PATH the Redis list is left out.
Everything shares the machine, so that only ratios count; the ways take turns, and medians of rounds are told.

    start     asked → the server has it (its own clock), and from the moment at which the caller was told that the job
              is accepted; one job at a time
    rate      jobs per second with one worker process and with two, 50 in flight at most, from the first submit until
              the books say that all have succeeded. The Redis list does one at a time per worker
    cancel    a running job: asked → the server stopped it
    urgent    asked → the server has it, while 10,000 wait and a worker is busy with them, 4 at once
    memory    of one worker: each of 5,000 jobs that wait at the place, over the worker when it was idle
    api       POSTs per second, 32 at once, without workers
    watchers  1,000 streams of one job over HTTP: its end → every one of them was told; and 1,000 streams of as many
              queued jobs: what the server costs while nothing happens. The peers have no such thing
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import statistics
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import psutil

from stand import Bare, emulator, graph, settled, told_at
from ways import Api, Way, bare_task, genyard, has_redis, redis_list

Open = Callable[[str, int], contextlib.AbstractAsyncContextManager[Any]]
WAYS: dict[str, Open] = {"bare task": bare_task, "genyard": genyard, "Redis list": redis_list}
IN_FLIGHT = 50
BUSY = 4


@dataclass
class Table:
    """`rows`: what → way → value. `aims`: what was promised of genyard, and whether it is so."""

    rows: dict[str, dict[str, float]] = field(default_factory=dict)
    aims: list[tuple[str, float, float, bool]] = field(default_factory=list)

    def put(self, what: str, way: str, value: float) -> None:
        self.rows.setdefault(what, {})[way] = round(value, 2)
        print(f"    {what:<40} {way:<10} {value:10.2f}", file=sys.stderr, flush=True)

    def aim(self, what: str, value: float, bound: float, *, at_least: bool = False) -> None:
        self.aims.append((what, round(value, 3), bound, value >= bound if at_least else value < bound))


class Stage:
    """The emulator and what is asked of it."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self.session, self.url = session, url
        self.place = Bare(session, url)

    async def submitted_at(self, prompt_id: str) -> float:
        """Milliseconds since 1970 at which the server took it, once it has run."""
        while (entry := await self.place.history(prompt_id)) is None:  # noqa: ASYNC110 (another process)
            await asyncio.sleep(0.02)
        return float(entry["prompt"][3]["create_time"]) + 0.5  # it is cut off, not rounded

    async def running(self) -> str:
        while True:
            async with self.session.get(f"{self.url}/queue") as answer:
                rows = (await answer.json())["queue_running"]
            if rows:
                return str(rows[0][1])
            await asyncio.sleep(0.02)

    async def stopped_at(self, prompt_id: str) -> float:
        while (entry := await self.place.history(prompt_id)) is None:  # noqa: ASYNC110 (another process)
            await asyncio.sleep(0.01)
        at = told_at(entry, "execution_interrupted")
        assert at is not None, entry["status"]
        return at + 0.5


async def until_done(way: Way, wanted: int) -> None:
    while await way.done() < wanted:  # noqa: ASYNC110 (it is another process)
        await asyncio.sleep(0.02)


async def one_by_one(way: Way, stage: Stage, jobs: int) -> list[tuple[float, float]]:
    """Milliseconds from asking, and from being told that it is accepted, until the server has it."""
    took = []
    for _ in range(jobs):
        prompt, before = graph(), await way.done()
        begun = time.time() * 1e3
        job_id = await way.submit(prompt)
        accepted = time.time() * 1e3
        await asyncio.sleep(0.03)
        await until_done(way, before + 1)
        started = await stage.submitted_at(await way.key(job_id))
        took.append((started - begun, max(0.0, started - accepted)))
    return took


async def rate(way: Way, jobs: int) -> float:
    gate, before = asyncio.Semaphore(IN_FLIGHT), await way.done()

    async def one() -> None:
        async with gate:
            await way.submit(graph())

    begun = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(jobs)))
    await until_done(way, before + jobs)
    return jobs / (time.perf_counter() - begun)


@contextlib.asynccontextmanager
async def opened(stage: Stage, names: list[str], at_once: int) -> AsyncIterator[dict[str, Way]]:
    async with contextlib.AsyncExitStack() as stack:
        yield {name: await stack.enter_async_context(WAYS[name](stage.url, at_once)) for name in names}


def slow(way: str) -> bool:
    return way == "Redis list"


async def start_and_rate(stage: Stage, names: list[str], options: argparse.Namespace, table: Table) -> None:
    async with opened(stage, names, IN_FLIGHT) as ways, contextlib.AsyncExitStack() as workers:
        rates: dict[tuple[str, int], list[float]] = {}
        starts: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
        for count in (1, 2):
            for way in ways.values():
                await workers.enter_async_context(way.worker())
            await asyncio.sleep(3)
            for way in ways.values():
                await rate(way, 2 if slow(way.name) else 200)
            for number in range(options.rounds):
                for name, way in ways.items():
                    if slow(name) and number > 1:
                        continue
                    if count == 1 and "start" in options.only:
                        starts[name] += await one_by_one(way, stage, 2 if slow(name) else 20)
                    if "rate" in options.only:
                        jobs = 3 * count if slow(name) else options.jobs
                        rates.setdefault((name, count), []).append(await rate(way, jobs))
        if "start" in options.only:
            for place, what in enumerate(("asked → started, ms", "accepted → started, ms")):
                for name, pairs in starts.items():
                    took = sorted(pair[place] for pair in pairs)
                    table.put(what, name, statistics.median(took))
                    table.put(f"{what}, p95", name, took[int(len(took) * 0.95)])
            if "genyard" in names:
                table.aim("accepted → started, ms", table.rows["accepted → started, ms"]["genyard"], 10)
        for (name, count), found in rates.items():
            table.put(f"jobs/s, {count} worker{'s' if count > 1 else ''}", name, statistics.median(found))
        for count in (1, 2):
            pairs = zip(rates.get(("genyard", count), ()), rates.get(("bare task", count), ()), strict=True)
            shares = [ours / theirs for ours, theirs in pairs]
            if shares:
                table.put(f"share of the bare task, {count}", "genyard", statistics.median(shares))
                if count == 1:
                    table.aim("jobs/s of the bare task's", statistics.median(shares), 0.6, at_least=True)


async def cancels(stage: Stage, names: list[str], options: argparse.Namespace, table: Table) -> None:
    async with opened(stage, names, BUSY) as ways, contextlib.AsyncExitStack() as workers:
        for name, way in ways.items():
            await workers.enter_async_context(way.worker())
            await way.submit(graph())
            await until_done(way, 1)
            took = []
            for _ in range(3 if slow(name) else 15):
                job_id = await way.submit(graph(sleep=60))
                prompt_id = await stage.running()
                await asyncio.sleep(0.2)
                begun = time.time() * 1e3
                await way.cancel(job_id)
                took.append(await stage.stopped_at(prompt_id) - begun)
            table.put("cancel, ms", name, statistics.median(took))


async def urgent(stage: Stage, names: list[str], options: argparse.Namespace, table: Table) -> None:
    for name in names:
        if slow(name):
            continue  # it has no priorities: behind all others, 3 s each
        async with opened(stage, [name], BUSY) as ways:
            way = ways[name]
            await way.fill(options.queued)
            async with way.worker():
                await until_done(way, 50)
                took = []
                for _ in range(30):
                    prompt = graph()
                    begun = time.time() * 1e3
                    job_id = await way.submit(prompt, urgent=True)
                    took.append(await stage.submitted_at(await way.key(job_id)) - begun)
                left = options.queued - await way.done()
        what = f"urgent job, {options.queued} queued, ms"
        table.put(what, name, statistics.median(took))
        table.put("urgent job, p95", name, sorted(took)[int(len(took) * 0.95)])
        table.put("still queued at the end", name, left)
    if "genyard" in names:
        table.aim("urgent job, ms", table.rows[what]["genyard"], 100)


async def memory(names: list[str], options: argparse.Namespace, table: Table) -> None:
    for name in names:
        if slow(name):
            continue  # one at a time: nothing is in flight
        with emulator() as url:
            async with aiohttp.ClientSession() as session:
                faults = [{"kind": "hang", "node": "ImageInvert"}]
                async with session.post(f"{url}/_emulator/faults", json=faults) as answer:
                    assert answer.status < 300, await answer.text()
                async with WAYS[name](url, options.waiting) as way, way.worker() as pid:
                    await way.submit(graph())
                    await settled(session, url, 1)
                    idle = psutil.Process(pid).memory_info().rss
                    begun = time.perf_counter()
                    gate = asyncio.Semaphore(IN_FLIGHT)

                    async def one(way: Way = way, gate: asyncio.Semaphore = gate) -> None:
                        async with gate:
                            await way.submit(graph())

                    await asyncio.gather(*(one() for _ in range(options.waiting - 1)))
                    await settled(session, url, options.waiting)
                    seconds = time.perf_counter() - begun - 2
                    each = (psutil.Process(pid).memory_info().rss - idle) / 1024 / (options.waiting - 1)
        table.put("idle worker, MB", name, idle / 1024 / 1024)
        table.put(f"each of {options.waiting} in flight, kB", name, each)
        table.put(f"until {options.waiting} are in flight, s", name, seconds)
        if name == "genyard":
            table.aim("each waiting job, kB", each, 20)


async def api(stage: Stage, names: list[str], options: argparse.Namespace, table: Table) -> None:
    async with opened(stage, names, BUSY) as ways, contextlib.AsyncExitStack() as stack:
        apis = {name: await stack.enter_async_context(way.api()) for name, way in ways.items()}
        found: dict[str, list[float]] = {name: [] for name in names}
        waits: dict[str, list[float]] = {name: [] for name in names}
        for number in range(options.rounds + 1):
            for name, one in apis.items():
                rate, each = await posts(stage.session, one, 50 if number == 0 else 300)
                if number:
                    found[name].append(rate)
                    waits[name] += each
        for name in names:
            table.put("API, POSTs/s", name, statistics.median(found[name]))
            table.put("API, ms each, 32 at once", name, statistics.median(waits[name]))


async def posts(session: aiohttp.ClientSession, to: Api, jobs: int) -> tuple[float, list[float]]:
    gate, took = asyncio.Semaphore(32), []

    async def one() -> None:
        async with gate:
            begun = time.perf_counter()
            async with session.post(to.url, json=to.body(graph())) as answer:
                assert answer.status == 201, await answer.text()
                await answer.read()
            took.append((time.perf_counter() - begun) * 1e3)

    begun = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(jobs)))
    return jobs / (time.perf_counter() - begun), took


async def watchers(stage: Stage, options: argparse.Namespace, table: Table) -> None:
    from watchers import fan_out, many_queues

    async with genyard(stage.url, BUSY) as way:
        await way.product.jobs.endpoints.pause("comfyui")
        for what, value in (await fan_out(way, options.watchers)).items():
            table.put(what, "genyard", value)
        for what, value in (await many_queues(way, options.watchers)).items():
            table.put(what, "genyard", value)


def show(table: Table, names: list[str]) -> None:
    print(f"\n{'':<40}" + "".join(f"{name:>12}" for name in names) + f"{'of the bare':>14}")
    for what, row in table.rows.items():
        values = "".join(f"{row[name]:>12.1f}" if name in row else f"{'-':>12}" for name in names)
        ours, theirs = row.get("genyard"), row.get("bare task")
        print(f"{what:<40}{values}" + (f"{ours / theirs:>13.2f}x" if ours and theirs else ""))
    print()
    for what, value, bound, met in table.aims:
        print(f"{what:<40}{value:>12.2f}   aim {bound:g}   {'met' if met else 'NOT MET'}")


async def main(options: argparse.Namespace) -> Table:
    table = Table()
    names = [
        name for name in WAYS if name in options.ways.split(",") and (name != "Redis list" or has_redis())
    ]
    if not has_redis():
        print("no redis-server on the PATH: the Redis list is left out", file=sys.stderr)
    parts: dict[str, Callable[[Stage], Awaitable[None]]] = {
        "start": lambda stage: start_and_rate(stage, names, options, table),
        "cancel": lambda stage: cancels(stage, names, options, table),
        "urgent": lambda stage: urgent(stage, names, options, table),
        "api": lambda stage: api(stage, names, options, table),
        "watchers": lambda stage: watchers(stage, options, table),
    }
    for part, work in parts.items():
        if part in options.only or (part == "start" and "rate" in options.only):
            with emulator() as url:
                async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=200)) as session:
                    await work(Stage(session, url))
    if "memory" in options.only:
        await memory(names, options, table)
    return table


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default="start,rate,cancel,urgent,memory,api,watchers")
    parser.add_argument("--ways", default=",".join(WAYS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=200, help="of a round of `rate`")
    parser.add_argument("--queued", type=int, default=10_000)
    parser.add_argument("--waiting", type=int, default=5_000)
    parser.add_argument("--watchers", type=int, default=1_000)
    parser.add_argument("--json", action="store_true", help="one line for programs")
    given = parser.parse_args()
    given.only = given.only.split(",")
    result = asyncio.run(main(given))
    if given.json:
        print(json.dumps({"rows": result.rows, "aims": result.aims}))
    else:
        show(result, given.ways.split(","))
