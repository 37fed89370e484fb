"""What 10^5 to 10^7 jobs a day need: GPUs, workers, API processes, database, bucket, and how long jobs wait.

python bench/capacity.py [--calibration FILE] [--save FILE] [--jobs 400] [--plot FILE] [--skip-validation]

First it measures genyard on this machine (or takes a FILE that an earlier run saved): `genyard serve --no-worker` and
`genyard worker` as processes of their own, the emulated ComfyUI, the embedded PostgreSQL. Then it runs a small queue
for real and through the simulation: predicted and measured waiting side by side. Then it simulates days
(`capacity_model.py`). All inputs are printed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import statistics
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import psutil

from capacity_model import (
    DAY,
    MIX,
    Calibration,
    Load,
    Waits,
    money,
    needs,
    percentile,
    simulate,
    sized_for,
    start_times,
)
from capacity_plot import plot
from genyard.database import Database, open_database
from genyard.settings import load_settings
from stand import data_folder, emulator, environment, graph, process, serving, settled

DAYS = (100_000, 1_000_000, 10_000_000)


@dataclass(frozen=True)
class Stand:
    """Everything but the worker runs."""

    environ: dict[str, str]
    session: aiohttp.ClientSession
    url: str
    place: str
    database: Database

    async def submit(self, count: int, at_once: int = 20, sleep: float = 0.0) -> None:
        gate = asyncio.Semaphore(at_once)

        async def one() -> None:
            async with gate:
                await self.submit_one(graph(sleep))

        await asyncio.gather(*(one() for _ in range(count)))

    async def submit_one(self, workflow: dict[str, Any], priority: int = 0) -> None:
        body = {"operation": "run_workflow", "parameters": {"workflow": workflow}, "priority": priority}
        async with self.session.post(f"{self.url}/v1/jobs", json=body) as answer:
            assert answer.status < 300, await answer.text()

    async def until_done(self) -> None:
        left = "SELECT count(*) AS n FROM jobs WHERE state IN ('queued', 'running')"
        while True:
            row = await self.database.row(left)
            if not row or not row["n"]:
                return
            await asyncio.sleep(0.1)

    def database_cpu(self) -> dict[int, float]:
        """Seconds, by process of the server."""
        first = (Path(self.environ["GENYARD_DATA"]) / "postgres" / "postmaster.pid").read_text().split()[0]
        return {one.pid: cpu(one.pid) for one in psutil.Process(int(first)).children()}

    def worker(self) -> Any:
        return process("-m", "genyard", "worker", env=self.environ, until="worker ready")

    async def facts(self) -> dict[str, float]:
        """What the database has done so far."""
        await asyncio.sleep(1.1)  # backends report once a second
        row = await self.database.row(
            "SELECT xact_commit AS statements, active_time AS active, pg_current_wal_lsn() - '0/0'::pg_lsn AS wal, "
            "(SELECT sum(pg_total_relation_size(oid)) FROM pg_class WHERE relkind = 'r' "
            " AND relnamespace = 'public'::regnamespace) AS bytes "
            "FROM pg_stat_database WHERE datname = current_database()"
        )
        assert row is not None
        return {name: float(value) for name, value in row.items()}


@asynccontextmanager
async def stand(in_flight: int) -> AsyncIterator[Stand]:
    with data_folder() as folder, emulator() as place:
        environ = environment(folder, place, in_flight)
        async with (
            open_database(load_settings(environ), pool_size=4) as database,
            serving(environ, "--no-worker") as url,
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=100)) as session,
        ):
            yield Stand(environ, session, url, place, database)


def cpu(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system


def serving_process() -> int:
    """The API that this program has started."""
    children = psutil.Process().children()
    return next(one.pid for one in children if "serve" in one.cmdline())


async def calibrate(jobs: int, waiting: int) -> Calibration:
    async with stand(in_flight=100) as place:
        api = serving_process()
        async with place.worker():  # everybody has done everything once
            await place.submit(20)
            await place.until_done()
        before, api_before = await place.facts(), cpu(api)
        backends, begun = place.database_cpu(), time.perf_counter()
        await place.submit(jobs)
        submits = jobs / (time.perf_counter() - begun)
        api_cpu = cpu(api) - api_before
        async with place.worker() as (worker, _):
            worker_before, begun = cpu(worker.pid), time.perf_counter()
            await place.until_done()
            rate = jobs / (time.perf_counter() - begun)
            worker_cpu = cpu(worker.pid) - worker_before
            database_cpu = sum(now - backends.get(pid, 0.0) for pid, now in place.database_cpu().items())
        after = await place.facts()
        spent = {name: (after[name] - before[name]) / jobs for name in after}
    idle, each = await memory(waiting)
    return Calibration(
        jobs=jobs,
        worker_jobs_per_second=rate,
        worker_cpu=worker_cpu / jobs * 1e3,
        api_submits_per_second=submits,
        api_cpu=api_cpu / jobs * 1e3,
        database_cpu=database_cpu / jobs * 1e3,
        database_active=spent["active"],
        statements=spent["statements"],
        wal_bytes=spent["wal"],
        table_bytes=spent["bytes"],
        waiting_kilobytes=each,
        worker_megabytes=idle,
    )


async def memory(waiting: int) -> tuple[float, float]:
    """MB of a worker that does next to nothing, kB for each job more that waits at the place."""
    async with stand(in_flight=waiting) as place, place.worker() as (worker, _):
        resident = psutil.Process(worker.pid).memory_info
        await place.submit_one(graph(600.0))
        await settled(place.session, place.place, 1)
        idle = resident().rss
        await place.submit(waiting - 1, sleep=600.0)
        await settled(place.session, place.place, waiting)
        return idle / 1e6, (resident().rss - idle) / 1e3 / (waiting - 1)


async def validate(jobs: int, use: float) -> list[dict[str, float]]:
    """One GPU, jobs at random, a third of them urgent: for real, and through the simulation. Predicted from
    what a run takes on an idle machine, and from what the runs took, with the gap between two of them."""
    async with stand(in_flight=1) as place, place.worker():
        dice = random.Random(7)
        for _ in range(12):
            await place.submit_one(graph(0.2))
            await place.until_done()
        took = "SELECT extract(epoch FROM finished_at - started_at)::float AS s FROM jobs"
        own = statistics.median(row["s"] for row in await place.database.rows(took)) - 0.2
        sleeps = [dice.lognormvariate(-1.3, 0.4) for _ in range(jobs)]
        gap = (statistics.fmean(sleeps) + own) / use
        urgent = [dice.random() < 0.3 for _ in range(jobs)]
        since = datetime.now(UTC)
        sent: list[asyncio.Task[None]] = []
        due = time.perf_counter()
        for sleep, first in zip(sleeps, urgent, strict=True):
            due += dice.expovariate(1 / gap)
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            sent.append(asyncio.create_task(place.submit_one(graph(sleep), 10 if first else 0)))
        await asyncio.gather(*sent)
        await place.until_done()
        rows = await place.database.rows(
            "SELECT extract(epoch FROM created_at)::float AS at, extract(epoch FROM started_at)::float AS started, "
            "extract(epoch FROM finished_at)::float AS finished, priority > 0 AS urgent, "
            "(request#>>'{0,parameters,workflow,2,inputs,seconds}')::float AS sleep "
            "FROM jobs WHERE created_at > %(since)s ORDER BY created_at",
            since=since,
        )
    at = np.array([row["at"] for row in rows])
    first = np.array([row["urgent"] for row in rows])
    seconds = np.array([row["sleep"] for row in rows]) + own
    started = np.array([row["started"] for row in rows])
    finished = np.array([row["finished"] for row in rows])
    order = np.argsort(started)
    before, after = order[:-1], order[1:]
    turned = (started[after] - finished[before])[at[after] < finished[before]]
    gap_between = float(np.median(turned)) if turned.size else 0.0
    print(
        f"  (a run takes {own * 1e3:.0f} ms over its work; the next one starts {gap_between * 1e3:.0f} ms after it)"
    )
    results = {
        "measured": started - at,
        "predicted": start_times(at, seconds, first, 1) - at,
        "… with the gap": start_times(at, finished - started + gap_between, first, 1) - at,
    }
    told = []
    for name, of in (("urgent", first), ("others", ~first)):
        for what, waits in results.items():
            told.append(
                {"tier": name, "what": what, "jobs": int(of.sum()), "mean": float(waits[of].mean()),
                 "p50": percentile(waits[of], 50), "p95": percentile(waits[of], 95)}
            )  # fmt: skip
    return told  # type: ignore[return-value]


def show_calibration(measured: Calibration) -> None:
    print(
        "\nMeasured, per job (one worker, one API process, on a machine that also ran the database and the place)"
    )
    for name, value in asdict(measured).items():
        print(f"  {name:<24} {value:>12,.2f}")


def show_inputs(mix: Sequence[Any]) -> None:
    print(
        "\nAssumed: the mix of work (seconds are estimates, dollars RunPod's flex rates: docs/explanation/costs.md)"
    )
    print(f"  {'work':<14}{'share':>7}{'seconds':>9}{'spread':>8}{'GPU':>7}{'$/s':>9}{'MB':>6}")
    for one in mix:
        facts = f"{one.share:>7.0%}{one.seconds:>9}{one.spread:>8}{one.gpu:>7}{one.usd:>9}{one.megabytes:>6}"
        print(f"  {one.name:<14}{facts}")
    print(
        f"  load: 1 ± {Load(jobs_a_day=1).swing} of the mean over the day; {Load(jobs_a_day=1).urgent:.0%} urgent"
    )


def show_day(
    load: Load, measured: Calibration, days: dict[tuple[str, str], Waits], retention_days: int
) -> None:
    print(f"\n{load.jobs_a_day:,} jobs a day")
    print(
        f"  {'work':<14}{'sized for':>10}{'GPUs':>7}{'urgent p50':>12}{'p95 s':>8}{'others p50':>12}{'p95 s':>9}"
        f"{'most waiting':>14}{'$/day, executing':>18}{'there all day':>15}"
    )
    for work in MIX:
        for policy in ("peak", "mean"):
            waits = days[work.name, policy]
            usd = money(load, work, waits.gpus)
            print(
                f"  {work.name:<14}{policy:>10}{waits.gpus:>7,}{percentile(waits.urgent, 50):>12.1f}"
                f"{percentile(waits.urgent, 95):>8.1f}{percentile(waits.others, 50):>12.1f}"
                f"{percentile(waits.others, 95):>9.0f}{waits.most_waiting:>14,.0f}"
                f"{usd['executing']:>18,.0f}{usd['all day']:>15,.0f}"
            )
    show_needs(load, measured, sum(days[work.name, "mean"].most_waiting for work in MIX), retention_days)


def show_needs(load: Load, measured: Calibration, backlog: float, retention_days: int) -> None:
    need = needs(load, MIX, measured)
    jobs = load.jobs_a_day
    memory = need.workers * measured.worker_megabytes + need.in_flight * measured.waiting_kilobytes / 1e3
    tables = jobs * measured.table_bytes / 1e9
    wal = jobs * measured.wal_bytes / 1e9
    bucket = jobs * sum(work.share * work.megabytes for work in MIX) / 1e3
    rows = {
        "at the busiest hour": f"{need.jobs_per_second:,.1f} jobs/s, {need.in_flight:,.0f} at places",
        "worker processes": f"{need.workers}, with {need.in_flight / need.workers:,.0f} runs each; "
        f"{memory / 1e3:,.1f} GB of memory",
        "API processes": f"{need.api_processes}",
        "database": f"{need.database_cores:,.2f} cores busy, {need.wal_megabytes_per_second:,.2f} MB/s of WAL, "
        f"{need.connections} connections at most",
        "tables": f"{tables:,.2f} GB a day, {tables * retention_days:,.0f} GB after {retention_days} days; "
        f"{wal:,.1f} GB of WAL a day",
        "longest queue": f"{backlog:,.0f} rows, where GPUs are sized for the mean",
        "bucket": f"{bucket:,.0f} GB a day, {bucket * 30 / 1e3:,.1f} TB a month",
    }
    for name, told in rows.items():
        print(f"  {name:<22} {told}")


async def main(options: argparse.Namespace) -> None:
    if options.calibration:
        measured = Calibration(**json.loads(options.calibration.read_text()))
        print(f"measured before: {options.calibration}")
    else:
        measured = await calibrate(options.jobs, options.waiting)
    if options.save:
        options.save.write_text(json.dumps(asdict(measured), indent=1) + "\n")
    print(f"{os.cpu_count()} cores; load of the machine {os.getloadavg()[0]:.1f}")
    show_calibration(measured)
    if not options.skip_validation:
        print(
            f"\nThe simulation against a real run: one GPU, {options.runs} jobs, 80 % busy; seconds of waiting"
        )
        for row in await validate(options.runs, 0.8):
            print(
                f"  {row['tier']:<8}{row['what']:<21}{row['jobs']:>5} jobs   mean {row['mean']:6.2f}"
                f"   p50 {row['p50']:6.2f}   p95 {row['p95']:6.2f}"
            )
    show_inputs(MIX)
    for jobs in DAYS:
        load = Load(jobs_a_day=jobs)
        dice = np.random.default_rng(11)
        days = {
            (work.name, policy): simulate(
                load, work, sized_for(load, work, peak=policy == "peak", use=0.9), dice, options.most
            )
            for work in MIX
            for policy in ("peak", "mean")
        }
        show_day(load, measured, days, options.retention)
        if options.plot and jobs == DAYS[1]:
            plot(options.plot, load, MIX, days)
    print(
        f"\nGPUs are busy for 90 % of the {'busiest hour (peak) or of the day (mean)'}; a day has {DAY:,.0f} s"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--calibration", type=Path, help="what an earlier run saved, in place of measuring")
    parser.add_argument("--save", type=Path)
    parser.add_argument("--jobs", type=int, default=400, help="that are measured")
    parser.add_argument("--waiting", type=int, default=300, help="at the place, for the memory")
    parser.add_argument("--runs", type=int, default=150, help="of the validation")
    parser.add_argument("--most", type=int, default=300_000, help="jobs of a kind in one simulation")
    parser.add_argument("--retention", type=int, default=30, help="days that rows are kept")
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--skip-validation", action="store_true")
    asyncio.run(main(parser.parse_args()))
