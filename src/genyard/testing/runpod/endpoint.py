"""One emulated endpoint: its queue, its workers, what they do to a job, what that costs, what /health tells of it.

Routes, keys and rate limits are `server`'s business; what a worker makes of an input is the handler's.
"""

from __future__ import annotations

import asyncio
import itertools
import math
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal

from genyard.testing.runpod.faults import STANDSTILLS, Fault, FaultKind
from genyard.testing.runpod.jobs import Job
from genyard.testing.runpod.worker import Raised, settle
from genyard.testing.service import Changes, Clock, Faults

Json = Any
Kind = Literal["comfyui", "flux", "sdxl", "background", "layers", "video", "public"]
Shape = Literal["images", "message", "image_url", "image", "image_b64", "object", "string"]
Delivery = Literal["base64", "data_uri", "url"]
State = Literal["initializing", "idle", "running"]

TIMED_OUT_TEXT = "executionTimeout exceeded"
DAY = 86_400.0


@dataclass(frozen=True, kw_only=True)
class Setup:
    """How an endpoint is made.

    shape, delivery   how results are told: see `models` and `worker_comfyui`
    workers_max       how many machines at most; `warm` of them are there from the start and stay
    cold_start        seconds until a new machine is ready
    idle_timeout      seconds that a machine waits for work
    work              seconds that a model works on a job, besides making the picture
    steps             progress updates per job (single models only)
    price             US dollars per second
    scales_down       workers max falls after idle days, as in the cloud
    shows_output_on_failure   whether FAILED carries the rest of the handler's answer ([open] in the cloud)
    """

    kind: Kind
    shape: Shape = "images"
    delivery: Delivery = "base64"
    workers_max: int = 3
    warm: int = 0
    cold_start: float = 0.0
    idle_timeout: float = 5.0
    work: float = 0.01
    steps: int = 0
    price: float = 0.00031
    scales_down: bool = True
    shows_output_on_failure: bool = True


@dataclass(kw_only=True, eq=False)
class Worker:
    """`since` is when its present state began; a `kept` one never goes."""

    id: str
    since: float
    state: State = "initializing"
    kept: bool = False


class WorkerDied(Exception):
    """The machine is gone in the middle of a job."""


class Endpoint:
    """`run` makes a `Call` of a job and lets the handler answer; `ended` is told of each job that is over."""

    def __init__(
        self,
        *,
        id: str,
        setup: Setup,
        clock: Clock,
        faults: Faults[Fault],
        changes: Changes,
        run: Callable[[Endpoint, Job, float], Awaitable[Json]],
        ended: Callable[[Endpoint, Job], None],
        later: Callable[[Any], asyncio.Task[Any]],
        counted: Counter[str],
    ) -> None:
        self.id = id
        self.setup = setup
        self.jobs: dict[str, Job] = {}
        self.queue: deque[Job] = deque()
        self.workers: list[Worker] = []
        self.workers_max = setup.workers_max
        self.ends: Counter[str] = Counter()
        self.retried = 0
        self.cold_starts = 0
        self._clock = clock
        self._faults = faults
        self._changes = changes
        self._work = run
        self._ended = ended
        self._later = later
        self._counted = counted
        self._moved = Changes()
        self._closed = False
        self._numbers = itertools.count(1)
        self._last_request = clock.now()

    # What a test does to it

    def raise_workers(self, most: int) -> None:
        """As by hand in the console, after RunPod has set it to 0."""
        self.workers_max = most
        self.scale()

    # What the routes use

    def touch(self) -> None:
        """Any request resets the timer of the idle scale-down [doc]; what it did before stays."""
        idle = self._clock.now() - self._last_request
        if self.setup.scales_down and idle >= 3 * DAY:
            self.workers_max = 0 if idle >= 7 * DAY else min(2, self.workers_max)
        self._last_request = self._clock.now()

    def submit(self, job: Job) -> None:
        self.jobs[job.id] = job
        self.queue.append(job)
        self.scale()

    def find(self, job_id: str) -> Job | None:
        job = self.jobs.get(job_id)
        if job is not None and job.gone(self._clock.now()):
            self.forget(job)
            return None
        return job

    def forget(self, job: Job) -> None:
        """Deleted, also while it runs."""
        self.jobs.pop(job.id, None)
        if job in self.queue:
            self.queue.remove(job)
        job.stop.set()
        job.done.set()
        self._changes.notify()

    def cancel(self, job: Job) -> None:
        if job.is_over:
            return
        if job in self.queue:
            self.queue.remove(job)
            if self._faults.take(FaultKind.runs_again, endpoint=self.id):
                self._count_run(job)
        job.stop.set()
        self._finish(job, "CANCELLED")

    def purge(self) -> int:
        count = len(self.queue)
        for job in list(self.queue):
            self.cancel(job)
        return count

    def retry(self, job: Job) -> None:
        job.start_again()
        self.retried += 1
        self.queue.append(job)
        self.scale()

    def scale(self) -> None:
        """Starts as many machines as waiting jobs need, and lets idle ones look again."""
        self._moved.notify()
        if self._closed or self._stands_still():
            return
        most = 1 if self._faults.find(FaultKind.one_machine, endpoint=self.id) else self.workers_max
        free = sum(worker.state != "running" for worker in self.workers)
        wanted = min(len(self.queue) - free, most - len(self.workers))
        for _ in range(max(wanted, self.setup.warm - len(self.workers))):
            worker = Worker(
                id=f"{self.id}-w{next(self._numbers)}",
                since=self._clock.now(),
                kept=len(self.workers) < self.setup.warm,
            )
            self.workers.append(worker)
            self._later(self._live(worker))

    def health(self) -> dict[str, Json]:
        states = Counter(worker.state for worker in self.workers)
        told: dict[str, int] = {
            "idle": states["idle"],
            "initializing": states["initializing"],
            "ready": states["idle"] + states["running"],
            "running": states["running"],
            "throttled": 0,
            "unhealthy": 0,
        }
        for kind in STANDSTILLS:
            if kind in told and self._faults.find(kind, endpoint=self.id):
                told.update(
                    {"idle": 0, "ready": states["running"], kind.value: max(1, min(len(self.queue), 3))}
                )
        jobs = {
            "completed": self.ends["COMPLETED"],
            "failed": self.ends["FAILED"] + self.ends["TIMED_OUT"],
            "inProgress": sum(job.status == "IN_PROGRESS" for job in self.jobs.values()),
            "inQueue": len(self.queue),
            "retried": self.retried,
        }
        return {"jobs": jobs, "workers": told}

    @property
    def running(self) -> int:
        return sum(worker.state == "running" for worker in self.workers)

    # Machines

    def _stands_still(self) -> bool:
        return any(self._faults.find(kind, endpoint=self.id) for kind in STANDSTILLS)

    async def _live(self, worker: Worker) -> None:
        try:
            await self._start(worker)
            while True:
                job = self._next()
                if job is None:
                    if not await self._find_work(worker):
                        return
                    continue
                if await self._run(job, worker):
                    await self._start(worker)
        except WorkerDied:
            return
        except asyncio.CancelledError:
            self._closed = True  # only the emulator's end cancels a machine; no other one takes its place
            raise
        finally:
            self.workers.remove(worker)
            self.scale()
            self._changes.notify()

    async def _start(self, worker: Worker) -> None:
        worker.state = "initializing"
        self.cold_starts += 1
        self._changes.notify()
        await self._clock.sleep_until(worker.since + self.setup.cold_start)
        worker.state, worker.since = "idle", self._clock.now()
        self._changes.notify()

    def _next(self) -> Job | None:
        """The job that has waited longest; those that expired in the queue are gone."""
        while self.queue and not self._stands_still():
            job = self.queue.popleft()
            if not job.gone(self._clock.now()):
                return job
            self.forget(job)
        return None

    async def _find_work(self, worker: Worker) -> bool:
        """False once the machine has waited in vain."""

        def is_over() -> bool:
            return bool(self.queue) and not self._stands_still()

        patience = 365 * DAY if worker.kept else self.setup.idle_timeout
        await first(
            asyncio.ensure_future(self._moved.until(is_over, 365 * DAY)),
            asyncio.ensure_future(self._clock.sleep_until(worker.since + patience)),
        )
        return is_over()

    async def _run(self, job: Job, worker: Worker) -> bool:
        """Takes it to its end. True: the machine is started anew afterwards."""
        started = self._clock.now()
        worker.state, worker.since = "running", started
        job.status, job.worker, job.begun = "IN_PROGRESS", worker.id, started
        job.runs += 1
        self._count_run(job)
        limit = min(job.execution_timeout, job.submitted + job.ttl - started)
        work = asyncio.ensure_future(self._outcome(job, worker))
        stopped = asyncio.ensure_future(job.stop.wait())
        late = asyncio.ensure_future(self._clock.sleep_until(started + limit))
        try:
            await first(work, stopped, late)
            worker.state, worker.since = "idle", self._clock.now()
            self._bill(job, started)
            if job.stop.is_set():
                if self._faults.take(FaultKind.runs_again, endpoint=self.id):
                    self._count_run(job)
                return True
            if not work.done() or work.cancelled():
                if job.gone(self._clock.now()):
                    self.forget(job)
                else:
                    job.error = TIMED_OUT_TEXT
                    self._finish(job, "FAILED")
                return True
            self._finish(job, work.result())
            return job.refresh_worker
        except WorkerDied:
            self.retried += 1
            job.start_again()
            self.queue.appendleft(job)
            raise

    async def _outcome(self, job: Job, worker: Worker) -> str:
        """The final status; the job has got its output and error."""
        since = job.begun or self._clock.now()
        if (fault := self._take(FaultKind.slow)) is not None:
            since += fault.seconds
            await self._clock.sleep_until(since)
        if self._take(FaultKind.hang):
            await asyncio.Event().wait()
        if self._take(FaultKind.restart_worker):
            raise WorkerDied
        if (fault := self._take(FaultKind.fail)) is not None:
            job.error = fault.text or "something went wrong"
            return "FAILED"
        try:
            if (fault := self._take(FaultKind.raise_error)) is not None:
                raise Raised(fault.text or "genyard test: bad value", fault.error_type)
            answer = await self._work(self, job, since)
        except Raised as error:
            job.error, job.has_output = error.as_json(worker.id), False
            return "FAILED"
        status = settle(job, answer, shows_output=self.setup.shows_output_on_failure)
        if self._take(FaultKind.lose_output):
            job.has_output = False
        elif self._take(FaultKind.execution_timeout):
            job.error, job.has_output = TIMED_OUT_TEXT, False
            return "FAILED"
        elif self._take(FaultKind.time_out):
            job.has_output = False
            return "TIMED_OUT"
        return status

    def _take(self, kind: FaultKind) -> Fault | None:
        return self._faults.take(kind, endpoint=self.id)

    def _count_run(self, job: Job) -> None:
        self._counted[job.id] += 1
        self._changes.notify()

    def _bill(self, job: Job, started: float) -> None:
        """Rounded up to a second; the machine's start is billed, too [doc]."""
        seconds = max(1, math.ceil(self._clock.now() - started + self.setup.cold_start))
        job.seconds += seconds
        if self.setup.kind != "public":
            job.usd += seconds * self.setup.price
        elif job.has_output and isinstance(job.output, dict):
            job.usd += float(job.output.get("cost", 0.0))

    def _finish(self, job: Job, status: str) -> None:
        self.ends[status] += 1
        job.finish(status, self._clock.now())
        self._ended(self, job)
        self._changes.notify()


async def first(*waits: asyncio.Future[Any]) -> None:
    """Until one of them is over; the others are canceled, and their end is awaited."""
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            if not wait.done():
                wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)
