"""How soon genyard knows that a run on RunPod has ended, while thousands wait, and what it asks for that.

    python bench/polling.py [--jobs 2000] [--workers 20] [--work 4] [--seconds 45]

One emulated endpoint, in this process: `workers` machines that take `work` seconds a job, each beginning at a moment
of its own; all other jobs wait in its queue; each job is observed. Two runs: by polling alone, and with webhooks that
wake. Printed as ratios:

    calls    status and health calls per second over the budget; `most` is the busiest second
    latency  from the place's end of a job to our knowing it, over the interval at which a running job is polled
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import time
from dataclasses import dataclass, field
from uuid import UUID, uuid4

from aiohttp import web

from genyard.catalog import load_catalog
from genyard.catalog.pricing import Rates
from genyard.outbound import Outbound
from genyard.providers import BoundStep, Ref, Snapshot, State
from genyard.providers._http import Timeouts
from genyard.providers._polling import Limits
from genyard.providers.runpod import RunPodProvider
from genyard.testing.runpod import FaultKind, RunPodEmulator, Setup

ENDPOINT = "emu-flux"
READS = ("GET /v2/{endpoint}/status/{id}", "GET /v2/{endpoint}/health")
SUBMISSIONS_AT_ONCE = 64


@dataclass(kw_only=True)
class Found:
    """Seconds of latency; calls in each second."""

    latencies: list[float] = field(default_factory=list)
    calls: list[int] = field(default_factory=list)
    waiting: int = 0

    def row(self, budget: float, poll: float) -> dict[str, float | int]:
        ordered = sorted(self.latencies)
        return {
            "ended": len(ordered),
            "waiting": self.waiting,
            "calls_per_second": round(statistics.mean(self.calls), 1),
            "most_in_a_second": max(self.calls),
            "calls/budget": round(statistics.mean(self.calls) / budget, 2),
            "median_ms": round(1000 * statistics.median(ordered), 1),
            "p95_ms": round(1000 * ordered[int(len(ordered) * 0.95)], 1),
            "median/poll": round(statistics.median(ordered) / poll, 4),
            "p95/poll": round(ordered[int(len(ordered) * 0.95)] / poll, 4),
        }


class Hooks:
    """Wakes whoever observes the job that a webhook is about."""

    def __init__(self) -> None:
        self.wakes: dict[str, asyncio.Event] = {}
        self._app = web.Application()
        self._app.router.add_post("/{key}", self._hear)

    async def __aenter__(self) -> Hooks:
        self._runner = web.AppRunner(self._app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    def url(self, key: UUID) -> str:
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}/{key}"

    async def _hear(self, request: web.Request) -> web.Response:
        if (wake := self.wakes.get(request.match_info["key"])) is not None:
            wake.set()
        return web.Response()


def a_step() -> BoundStep:
    binding = load_catalog().find("runpod", "txt2img", "flux.1-dev")
    assert binding is not None
    parameters = {"prompt": "a red fox", "width": 64, "height": 64, "steps": 4, "seed": 1}
    return BoundStep(name="draw", operation="txt2img", binding=binding, parameters=parameters, inputs={})


async def measure(arguments: argparse.Namespace, *, hooks: Hooks | None) -> Found:
    setup = Setup(kind="flux", workers_max=arguments.workers, work=arguments.work)
    found = Found()
    async with RunPodEmulator(endpoints={ENDPOINT: setup}, limits={"run": 10**6}) as server:
        for _ in range(arguments.workers):  # machines do not work in step
            server.faults.add(FaultKind.slow, seconds=random.uniform(0, arguments.work))
        provider = RunPodProvider(
            endpoint_id=ENDPOINT,
            key=server.key,
            protocol="model",
            base_url=f"{server.url}/v2",
            timeouts=Timeouts(),
            limits=Limits(poll=arguments.poll),
            outbound=Outbound(),
            rates=Rates(),
            calls_per_second=arguments.budget,
        )
        plan = provider.compile([a_step()], None)
        gate = asyncio.Semaphore(SUBMISSIONS_AT_ONCE)

        async def submit() -> Ref:
            key = uuid4()
            async with gate:
                return await provider.submit(plan, key, {}, webhook=hooks.url(key) if hooks else None)

        async def follow(ref: Ref) -> None:
            wake, previous = asyncio.Event(), None
            if hooks is not None:
                hooks.wakes[ref["key"]] = wake
            while previous is None or not previous.state.ended:
                seen: Snapshot = await provider.observe(ref, previous, wake)
                wake.clear()
                previous = seen
            assert previous.state is State.succeeded, previous.error
            ended = server.job(ref["id"]).ended
            assert ended is not None
            found.latencies.append(time.time() - ended)

        refs = await asyncio.gather(*(submit() for _ in range(arguments.jobs)))
        tasks = [asyncio.create_task(follow(ref)) for ref in refs]
        before = sum(server.requests[name] for name in READS)
        until = time.monotonic() + arguments.seconds
        while time.monotonic() < until:
            await asyncio.sleep(1.0)
            now = sum(server.requests[name] for name in READS)
            found.calls.append(now - before)
            before = now
        found.waiting = len(server.endpoints[ENDPOINT].queue)
        failed = [task.exception() for task in tasks if task.done() and task.exception() is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await provider.close()
    if failed:
        raise SystemExit(f"{len(failed)} observers failed: {failed[0]!r}")
    return found


async def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--jobs", type=int, default=2_000)
    parser.add_argument("--workers", type=int, default=20)
    parser.add_argument("--work", type=float, default=4.0)
    parser.add_argument("--seconds", type=float, default=45.0)
    parser.add_argument("--poll", type=float, default=3.0)
    parser.add_argument("--budget", type=float, default=20.0)
    arguments = parser.parse_args()
    rows = {"polling": (await measure(arguments, hooks=None)).row(arguments.budget, arguments.poll)}
    async with Hooks() as hooks:
        rows["webhooks"] = (await measure(arguments, hooks=hooks)).row(arguments.budget, arguments.poll)
    print(f"{arguments.jobs} jobs on {arguments.workers} machines, {arguments.work:g} s each; ", end="")
    print(f"budget {arguments.budget:g} calls/s, a running job is polled every {arguments.poll:g} s")
    for name in rows["polling"]:
        print(f"{name:>18}  " + "  ".join(f"{way} {row[name]:>8}" for way, row in rows.items()))
    print(json.dumps(rows))


if __name__ == "__main__":
    asyncio.run(main())
