"""What so many jobs a day need: a discrete-event simulation of a day. Pure: numbers in, numbers out.

Each kind of work has GPUs of its own. Jobs arrive at random (Poisson) at a rate that follows day and night; whoever
has a higher priority starts first, within one priority the older one; once somebody has lost patience, every eighth
start goes to whoever has waited longest (as in genyard's queue). GPUs never fail and are there all day.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

DAY: Final = 86_400.0
PATIENCE: Final = 600.0


@dataclass(frozen=True, kw_only=True)
class Work:
    """A kind of work. `spread`: standard deviation of the logarithm of its seconds; `usd`: of a GPU second."""

    name: str
    share: float
    seconds: float
    spread: float
    gpu: str
    usd: float
    megabytes: float


#: Seconds and prices are those of docs/explanation/costs.md: GPU seconds are estimates, prices RunPod's flex rates.
MIX: Final = (
    Work(name="SDXL picture", share=0.60, seconds=5.5, spread=0.25, gpu="4090", usd=0.00031, megabytes=1.6),
    Work(name="Flux picture", share=0.25, seconds=16.0, spread=0.25, gpu="4090", usd=0.00031, megabytes=1.6),
    Work(name="cut-out", share=0.13, seconds=2.0, spread=0.30, gpu="L4", usd=0.00019, megabytes=1.0),
    Work(name="video", share=0.02, seconds=90.0, spread=0.40, gpu="L40S", usd=0.00053, megabytes=4.0),
)


@dataclass(frozen=True, kw_only=True)
class Load:
    """`swing` 0.6: 1.6 times the mean at the busiest hour, 0.4 times at the quietest. `urgent`: who pays."""

    jobs_a_day: int
    swing: float = 0.6
    urgent: float = 0.2


@dataclass(frozen=True, kw_only=True)
class Waits:
    """Of one kind and one sizing: seconds, by tier; how many waited at most, and how many each ten minutes."""

    gpus: int
    scale: float
    urgent: Floats
    others: Floats
    most_waiting: float
    line: Floats


def rate(load: Load, at: Floats | float) -> Floats:
    """Arrivals a second, all kinds."""
    mean = load.jobs_a_day / DAY
    return np.asarray(mean * (1 - load.swing * np.cos(2 * np.pi * np.asarray(at) / DAY)))


def arrivals(load: Load, share: float, random: np.random.Generator) -> Floats:
    """Of one day and, before it, of the hour that fills the queue."""
    peak = share * load.jobs_a_day / DAY * (1 + load.swing)
    begin, end = -3600.0, DAY
    at = np.sort(random.uniform(begin, end, random.poisson(peak * (end - begin))))
    kept: Floats = at[random.uniform(0, peak, at.size) < share * rate(load, at)]
    return kept


def sized_for(load: Load, work: Work, *, peak: bool, use: float) -> int:
    """GPUs so that they are busy for `use` of the time: at the busiest hour, or on the mean of the day."""
    per_second = work.share * load.jobs_a_day / DAY * (1 + load.swing if peak else 1.0)
    return max(1, math.ceil(per_second * work.seconds / use))


def start_times(at: Floats, seconds: Floats, urgent: NDArray[np.bool_], gpus: int) -> Floats:
    """When each starts."""
    started = np.empty_like(at)
    free = gpus
    ends: list[float] = []
    lines: tuple[deque[int], deque[int]] = (deque(), deque())  # others, urgent
    contested = 0

    def next_one(now: float) -> int:
        nonlocal contested
        others, first = lines
        if first and others and now - at[others[0]] > PATIENCE:
            contested += 1
            if contested % 8 == 0:
                return (others if at[others[0]] < at[first[0]] else first).popleft()
        return (first or others).popleft()

    def start(one: int, now: float) -> None:
        started[one] = now
        heapq.heappush(ends, now + seconds[one])

    def until(now: float) -> None:
        nonlocal free
        while ends and ends[0] <= now:
            ended = heapq.heappop(ends)
            if lines[0] or lines[1]:
                start(next_one(ended), ended)
            else:
                free += 1

    for one in range(at.size):
        until(at[one])
        if free:
            free -= 1
            start(one, float(at[one]))
        else:
            lines[int(urgent[one])].append(one)
    until(math.inf)
    return started


def simulate(load: Load, work: Work, gpus: int, random: np.random.Generator, most: int) -> Waits:
    """A day that has more than `most` jobs of this kind is simulated at a smaller scale: so many times fewer jobs and
    GPUs. Larger pools wait less, so that overstates the waiting."""
    scale = max(1.0, work.share * load.jobs_a_day / most)
    small = Load(jobs_a_day=round(load.jobs_a_day / scale), swing=load.swing, urgent=load.urgent)
    servers = max(1, round(gpus / scale))
    at = arrivals(small, work.share, random)
    middle = math.log(work.seconds) - work.spread**2 / 2
    seconds = random.lognormal(middle, work.spread, at.size)
    urgent = random.uniform(size=at.size) < load.urgent
    started = start_times(at, seconds, urgent, servers)
    counted = at >= 0
    waits = started - at
    times = np.arange(0, DAY, 600.0)
    line = (np.searchsorted(at, times, "right") - np.searchsorted(np.sort(started), times, "right")) * scale
    return Waits(
        gpus=gpus,
        scale=scale,
        urgent=waits[counted & urgent],
        others=waits[counted & ~urgent],
        most_waiting=float(line.max(initial=0)),
        line=line,
    )


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Measured; per job unless it says otherwise. CPU in milliseconds; `database_active`: those in which a statement
    was under way, waiting for the disk or for a core included."""

    jobs: int
    worker_jobs_per_second: float
    worker_cpu: float
    api_submits_per_second: float
    api_cpu: float
    database_cpu: float
    database_active: float
    statements: float
    wal_bytes: float
    table_bytes: float
    waiting_kilobytes: float
    worker_megabytes: float


@dataclass(frozen=True, kw_only=True)
class Needs:
    """Of genyard itself, at the busiest hour."""

    jobs_per_second: float
    in_flight: float
    workers: int
    api_processes: int
    database_cores: float
    wal_megabytes_per_second: float
    connections: int


def needs(load: Load, mix: Sequence[Work], measured: Calibration, use: float = 0.6) -> Needs:
    """`use`: how busy a process may be."""
    peak = float(rate(load, DAY / 2))
    in_flight = peak * sum(work.share * work.seconds for work in mix)
    workers = max(
        2, math.ceil(peak / (measured.worker_jobs_per_second * use)), math.ceil(in_flight / (200 * 0.8))
    )
    api = max(2, math.ceil(peak / (measured.api_submits_per_second * use)))
    return Needs(
        jobs_per_second=peak,
        in_flight=in_flight,
        workers=workers,
        api_processes=api,
        database_cores=peak * measured.database_cpu / 1e3,
        wal_megabytes_per_second=peak * measured.wal_bytes / 1e6,
        connections=workers * 32 + api * 26,
    )


def percentile(waits: Floats, share: float) -> float:
    return float(np.percentile(waits, share)) if waits.size else 0.0


def money(load: Load, work: Work, gpus: int) -> Mapping[str, float]:
    """US dollars a day: for the seconds of execution alone, and for GPUs that are there all day."""
    seconds = load.jobs_a_day * work.share * work.seconds
    return {"executing": seconds * work.usd, "all day": gpus * DAY * work.usd}
