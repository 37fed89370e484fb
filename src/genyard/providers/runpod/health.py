"""What an endpoint's counters say about those that wait: a cold start, no GPU, machines that crash, or no machines.

`/health` is an open dictionary: only `completed`, `failed`, `inProgress`, `inQueue`, `retried`, `idle` and `running`
are documented, the others were seen. What is not told counts as zero.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from genyard.errors import GenyardError
from genyard.providers._http import FAILURES
from genyard.providers._polling import Clock, Counts
from genyard.providers.runpod.wire import Wire

Json = Any

COLD_START: Final = "cold start: a machine is being started"
NO_GPU: Final = "no GPU free at RunPod"
UNHEALTHY: Final = "RunPod's machines crash while they start; see the endpoint's logs in RunPod's console"
NO_MACHINES: Final = (
    "the endpoint has no machines: RunPod sets its workers max to 0 after 7 days without a request; "
    "raise workers max in RunPod's console"
)

#: Seconds without any machine, while a job waits, after which it is no mere delay. A guess: a machine that is on its
#: way shows as `initializing` or `throttled` within a few.
SCALED_DOWN_AFTER: Final = 30.0


@dataclass(frozen=True, kw_only=True)
class Vitals:
    """`able`: machines that work or could; the others are counted by what keeps them."""

    waiting: int
    ended: int
    able: int
    initializing: int
    throttled: int
    unhealthy: int

    @classmethod
    def of(cls, told: Mapping[str, Json]) -> Vitals:
        jobs, workers = _counters(told.get("jobs")), _counters(told.get("workers"))
        return cls(
            waiting=jobs("inQueue"),
            ended=jobs("completed") + jobs("failed"),
            able=max(workers("ready"), workers("idle") + workers("running")),
            initializing=workers("initializing"),
            throttled=workers("throttled"),
            unhealthy=workers("unhealthy"),
        )

    @property
    def no_machines(self) -> bool:
        return not (self.able or self.initializing or self.throttled or self.unhealthy)

    def why_waiting(self, waited: float) -> tuple[str | None, bool]:
        """(for a person, whether it is a cold start) about a job that has waited for so many seconds."""
        if self.able:
            return (f"{self.waiting} in RunPod's queue" if self.waiting > 1 else None), False
        if self.unhealthy:
            return UNHEALTHY, False
        if self.initializing:
            return COLD_START, True
        if self.throttled:
            return NO_GPU, False
        return (NO_MACHINES, False) if waited >= SCALED_DOWN_AFTER else (COLD_START, True)

    def problem(self) -> str | None:
        """What would keep any job from starting, however long it waits. Without machines an endpoint that nobody
        uses may just be asleep: only a job that waits shows the difference."""
        if self.able:
            return None
        if self.unhealthy:
            return UNHEALTHY
        return NO_MACHINES if self.waiting and self.no_machines else None


class HealthReader:
    """One reading serves everybody who does not need a newer one."""

    def __init__(self, *, wire: Wire, endpoint: str, clock: Clock) -> None:
        self._wire, self._endpoint, self._clock = wire, endpoint, clock
        self._lock = asyncio.Lock()
        self._read_at = float("-inf")
        self._seen: Vitals | None = None

    async def read(self) -> Vitals:
        return Vitals.of(await self._wire.health(self._endpoint))

    async def recent(self, max_age: float) -> Vitals | None:
        """None where it cannot be had: it is told beside the truth, never instead of it."""
        async with self._lock:
            if self._clock() - self._read_at >= max_age:
                self._read_at = self._clock()
                try:
                    self._seen = await self.read()
                except (*FAILURES, GenyardError):
                    self._seen = None
            return self._seen

    async def counts(self) -> Counts | None:
        seen = await self.recent(0.0)
        return None if seen is None else Counts(waiting=seen.waiting, ended=seen.ended)


def _counters(told: Json) -> Callable[[str], int]:
    rows = told if isinstance(told, Mapping) else {}

    def count(name: str) -> int:
        value = rows.get(name, 0)
        return int(value) if isinstance(value, int | float) and not isinstance(value, bool) else 0

    return count
