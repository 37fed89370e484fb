"""Reads of many runs at one place within a budget of calls: for places that send no events.

One pump per provider decides whose turn it is; every observer of a run shares its reads. What a read means is the
provider's business, and so is how a run is stopped. Here are turns, back-off and the limits of time.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, replace
from typing import Any, Final

import aiohttp

from genyard.errors import Code, GenyardError
from genyard.providers import Canceled, Ref, Snapshot, State, lost_in_silence
from genyard.providers._http import FAILURES, BadStatus
from genyard.providers._watching import Budget, Watch

Clock = Callable[[], float]

#: Whoever is woken has to answer within this many seconds, read or not: a cancel may wait for it.
_WAKE_PATIENCE: Final = 0.5
#: Of `poll`: the first pause after a run was submitted or started; it grows to `poll`. Short runs are not kept waiting.
_FIRST_PAUSE: Final = 1 / 6
_GROWTH: Final = 1.5
#: Of `poll`: how often the place is asked for its counters, and of how many runs it is worth a call.
_COUNTING: Final = 1 / 3
_WORTH_COUNTING: Final = 4
#: The pump sleeps at least this many seconds: timers may fire a little early.
_TICK: Final = 0.001
_MAX_AT_ONCE: Final = 64
_MAX_WATCHES: Final = 20_000

#: Failures of a read that the next one may not have. Other `GenyardError`s are told to whoever observes.
_PASSING: Final = frozenset({Code.provider_unreachable, Code.provider_busy})


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Seconds.

    image, video  how long a run may execute; waiting and cold starts do not count
    queue         how long it may wait for a machine, cold starts included
    poll          how often a run is read; those that wait are read less often when the budget is short
    interval      how long one `observe` lasts at most
    silence       how long a place may be unreachable before its runs are lost
    """

    image: float = 200.0
    video: float = 400.0
    queue: float = 1800.0
    poll: float = 3.0
    interval: float = 20.0
    silence: float = 900.0


@dataclass(frozen=True, kw_only=True)
class Counts:
    """What a place can tell about all its runs in one call. `ended` only grows; None where it is not told."""

    waiting: int
    ended: int | None = None


class Poller:
    """Turns: whoever was woken first; then running ones, the longest unread first (of equals the oldest start);
    then those that wait, every other turn the oldest and every other turn the longest unread, so that nobody is
    forgotten.

    read    one read of one run. Raises what is in `_http.FAILURES`, or a `GenyardError`: `provider.unreachable` and
            `provider.busy` (context `retry_after`, seconds) mean "later", any other one is told to the observers
    stop    asks the place to stop a run that is over its time
    counts  the place's own counters: when fewer wait there than we believe, the oldest of ours are read first, and
            when some have ended, the longest unread running ones
    """

    def __init__(
        self,
        *,
        read: Callable[[Ref], Awaitable[Snapshot]],
        stop: Callable[[Ref], Awaitable[Canceled]],
        limits: Limits,
        calls_per_second: float,
        clock: Clock = time.monotonic,
        counts: Callable[[], Awaitable[Counts | None]] | None = None,
    ) -> None:
        self._read, self._stop, self._counts = read, stop, counts
        self._limits, self._clock = limits, clock
        self._budget = Budget(calls_per_second)
        self._watches: dict[str, Watch] = {}
        self._woken: dict[str, Watch] = {}
        self._running: dict[str, Watch] = {}
        self._waiting: dict[str, Watch] = {}
        self._unread: OrderedDict[str, Watch] = OrderedDict()
        self._likely: dict[str, Watch] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._pump: asyncio.Task[None] | None = None
        self._nudged = asyncio.Event()
        self._planned = float("-inf")
        self._quiet_until = float("-inf")
        self._troubles = 0
        self._counted_at = float("-inf")
        self._ended: int | None = None
        self._oldest_next = True

    async def close(self) -> None:
        tasks = [*self._tasks, *([self._pump] if self._pump is not None else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def soon(self, ref: Ref) -> None:
        """Something happened to this run (a cancel, a webhook): it is read first."""
        watch = self._watches.get(str(ref["id"]))
        if watch is not None and not watch.ended:
            self._woken[watch.name] = watch
            self._nudged.set()

    # Observation

    async def observe(self, ref: Ref, previous: Snapshot | None, wake: asyncio.Event) -> Snapshot:
        """As `Provider.observe`: a failure is raised only when there is nothing to return."""
        watch = self._watch(ref)
        watch.observers += 1
        until, wanted = self._clock() + self._limits.interval, None
        try:
            while True:
                if watch.refusal is not None:
                    raise watch.refusal
                seen, now = watch.latest, self._clock()
                if seen is not None and (seen.state.ended or _differs(seen, previous)):
                    return seen
                if wake.is_set() and wanted is None:
                    wanted, until = watch.reads, min(until, now + _WAKE_PATIENCE)
                    self.soon(ref)
                if seen is not None and wanted is not None and watch.answered > wanted:
                    return seen
                if now >= until:
                    return _what_is_known(watch, previous)
                self._attend(watch)
                await watch.rest(until - now, wake if wanted is None else None)
        finally:
            watch.observers -= 1
            if watch.ended or watch.refusal is not None:
                self._forget(watch)

    def _watch(self, ref: Ref) -> Watch:
        name = str(ref["id"])
        watch = self._watches.get(name)
        if watch is None:
            now = self._clock()
            watch = Watch(ref=ref, since=now, due=now, contact=now, pause=self._limits.poll * _FIRST_PAUSE)
            if len(self._watches) >= _MAX_WATCHES:
                self._forget(next((one for one in self._watches.values() if not one.observers), None))
            self._watches[name] = self._waiting[name] = self._unread[name] = watch
        return watch

    def _forget(self, watch: Watch | None) -> None:
        if watch is not None and self._watches.get(watch.name) is watch:
            for line in (
                self._watches,
                self._woken,
                self._running,
                self._waiting,
                self._unread,
                self._likely,
            ):
                line.pop(watch.name, None)

    def _attend(self, watch: Watch) -> None:
        """The pump runs, and knows of this run if it is due before anything that the pump has planned."""
        if self._pump is None or self._pump.done():
            self._pump = asyncio.create_task(self._keep_reading(), name="genyard-poll")
        if watch.due < self._planned:
            self._nudged.set()

    # Turns

    async def _keep_reading(self) -> None:
        while True:
            self._nudged.clear()
            now = self._clock()
            self._planned = max(self._take_turns(now), self._quiet_until)
            with contextlib.suppress(TimeoutError):
                pause = None if self._planned == float("inf") else max(_TICK, self._planned - now)
                async with asyncio.timeout(pause):
                    await self._nudged.wait()

    def _take_turns(self, now: float) -> float:
        """Begins all reads that may begin now. → when to look again."""
        while True:
            if self._quiet_until > now:
                return self._quiet_until
            if len(self._tasks) >= _MAX_AT_ONCE:
                return float("inf")  # the end of a read is a nudge
            urgent = self._next_woken()
            if urgent is not None:
                if (free_at := self._budget.free_at(urgent=True)) > now:
                    return free_at
                self._begin(urgent, now)
                continue
            if (free_at := self._budget.free_at(urgent=False)) > now:
                return free_at
            if self._counts is not None and self._should_count(now):
                self._counted_at = now
                self._spawn(self._count(self._counts), now)
            elif (chosen := self._next_due(now)) is not None:
                self._begin(chosen, now)
            else:
                return self._next_time(now)

    def _next_woken(self) -> Watch | None:
        for name, watch in list(self._woken.items()):
            if watch.ended:
                del self._woken[name]
            elif not watch.reading:
                return watch
        return None

    def _next_due(self, now: float) -> Watch | None:
        running = [one for one in self._running.values() if one.due <= now and _may_be_read(one)]
        if running:
            return min(running, key=lambda one: (one.due, one.started))
        self._oldest_next = not self._oldest_next
        lines = (self._likely, self._waiting) if self._oldest_next else (self._unread,)
        ready = (one for line in lines for one in line.values() if one.due <= now and _may_be_read(one))
        return next(ready, None)

    def _next_time(self, now: float) -> float:
        times = [one.due for one in self._watches.values() if _may_be_read(one)]
        if times and self._counts is not None and len(times) >= _WORTH_COUNTING:
            times.append(self._counted_at + self._limits.poll * _COUNTING)
        return max(now, min(times, default=float("inf")))

    def _begin(self, watch: Watch, now: float) -> None:
        self._woken.pop(watch.name, None)
        self._likely.pop(watch.name, None)
        if watch.name in self._unread:
            self._unread.move_to_end(watch.name)
        watch.reading, watch.read_at = True, now
        watch.reads += 1
        self._spawn(self._look(watch), now)

    def _spawn(self, work: Coroutine[Any, Any, None], now: float) -> None:
        self._budget.spend(now)
        task = asyncio.create_task(work, name="genyard-read")
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._nudged.set()

    # Counters

    def _should_count(self, now: float) -> bool:
        if self._counted_at + self._limits.poll * _COUNTING > now:
            return False
        return sum(map(_may_be_read, self._watches.values())) >= _WORTH_COUNTING

    async def _count(self, counts: Callable[[], Awaitable[Counts | None]]) -> None:
        try:
            told = await counts()
        except (*FAILURES, GenyardError):
            return
        if told is None:
            return
        now = self._clock()
        stale = now - self._limits.poll * _COUNTING
        waiting = [one for one in self._waiting.values() if one.observers]
        for one in waiting[: max(0, len(waiting) - told.waiting)]:
            if one.read_at < stale:
                self._likely[one.name], one.due = one, min(one.due, now)
        if told.ended is not None:
            gone = 0 if self._ended is None else max(0, told.ended - self._ended)
            self._ended = told.ended
            running = [one for one in self._running.values() if one.observers and one.read_at < stale]
            for one in sorted(running, key=lambda one: one.started or 0.0)[:gone]:
                one.due = min(one.due, now)

    # Reads

    async def _look(self, watch: Watch) -> None:
        number = watch.reads
        try:
            await self._learn(watch, await self._read(watch.ref))
        except GenyardError as error:
            if error.code in _PASSING:
                self._suffer(watch, error)
            else:
                watch.refusal = error
        except FAILURES as failure:
            self._suffer(watch, failure)
        except Exception as defect:  # noqa: BLE001 (else the observers would wait for nothing)
            watch.refusal = GenyardError(
                Code.internal, f"genyard failed while it read a run ({type(defect).__name__})"
            )
            watch.refusal.__cause__ = defect
        finally:
            watch.reading, watch.answered = False, number
            watch.tell()

    async def _learn(self, watch: Watch, seen: Snapshot) -> None:
        now = self._clock()
        watch.contact, watch.failure, self._troubles = now, None, 0
        if seen.state is State.running and watch.started is None:
            watch.started = now - (seen.seconds or 0.0)
            watch.pause = self._limits.poll * _FIRST_PAUSE
            self._line_up(watch)
        elif seen.state is State.queued and watch.started is not None:
            watch.started = None  # it was taken back
            self._line_up(watch)
        if not seen.state.ended and self._deadline(watch) <= now:
            seen = await self._end(watch, seen)
        watch.latest = seen
        watch.due = min(now + watch.pause, max(now, self._deadline(watch)))
        watch.pause = min(self._limits.poll, watch.pause * _GROWTH)

    def _line_up(self, watch: Watch) -> None:
        if self._watches.get(watch.name) is not watch:
            return
        for line in (self._running, self._waiting, self._unread, self._likely):
            line.pop(watch.name, None)
        if watch.started is not None:
            self._running[watch.name] = watch
        else:
            self._waiting[watch.name] = self._unread[watch.name] = watch

    def _limit(self, watch: Watch) -> float:
        if watch.started is None:
            return self._limits.queue
        return self._limits.video if watch.ref.get("video") else self._limits.image

    def _deadline(self, watch: Watch) -> float:
        return (watch.since if watch.started is None else watch.started) + self._limit(watch)

    async def _end(self, watch: Watch, seen: Snapshot) -> Snapshot:
        """Over its time: stopped, unless it has just ended by itself. What it has cost stays with it."""
        stopped = await self._stop(watch.ref)
        self._budget.spend(self._clock())
        after = await self._read(watch.ref)
        self._budget.spend(self._clock())
        if after.state.ended and after.state is not State.canceled:
            return after
        return replace(after, state=State.failed, outputs=(), error=self._too_late(watch, seen, stopped))

    def _too_late(self, watch: Watch, seen: Snapshot, stopped: Canceled) -> GenyardError:
        limit = self._limit(watch)
        context = {"limit_seconds": limit, "stopped": stopped.reached}
        if watch.started is None:
            why = f" ({seen.detail})" if seen.detail else ""
            text = f"no machine took it up within {limit:g} seconds{why}"
            return GenyardError(Code.provider_no_capacity, text, context=context)
        how = "was stopped" if stopped.reached else "could not be stopped: it goes on there"
        text = f"it ran for longer than {limit:g} seconds and {how}"
        return GenyardError(Code.provider_timeout, text, context=context)

    def _suffer(self, watch: Watch, failure: Exception) -> None:
        """It cannot be read now: later, and not for ever. Where the place itself is away, nobody is read."""
        now = self._clock()
        watch.failure = failure
        watch.pause = min(4 * self._limits.poll, watch.pause * 2)
        watch.due = now + watch.pause
        if now - watch.contact > self._limits.silence:
            watch.latest = Snapshot(state=State.lost, error=lost_in_silence(self._limits.silence))
        if _concerns_all(failure) and now >= self._quiet_until:
            pause = self._limits.poll * _FIRST_PAUSE * 2**self._troubles
            self._troubles = min(self._troubles + 1, 10)
            asked = failure.context.get("retry_after") if isinstance(failure, GenyardError) else None
            asked = float(asked) if isinstance(asked, int | float) else 0.0
            self._quiet_until = now + max(min(pause, 4 * self._limits.poll), asked)


def _may_be_read(watch: Watch) -> bool:
    return bool(watch.observers) and not watch.reading and not watch.ended


def _concerns_all(failure: Exception) -> bool:
    """Not an answer about one run, but the connection, the rate limit, the proxy in front."""
    if isinstance(failure, BadStatus):
        return failure.status in (429, 502, 503, 504)
    return isinstance(failure, GenyardError | aiohttp.ClientConnectionError | ConnectionError)


def _differs(seen: Snapshot, previous: Snapshot | None) -> bool:
    if previous is None:
        return True
    return (seen.state, seen.progress, seen.detail, seen.preview) != (
        previous.state,
        previous.progress,
        previous.detail,
        previous.preview,
    )


def _what_is_known(watch: Watch, previous: Snapshot | None) -> Snapshot:
    """Nothing new within the interval. A run that was never read may just not have had its turn."""
    if (known := watch.latest or previous) is not None:
        return known
    if watch.failure is None:
        return Snapshot(state=State.queued)
    told = watch.failure.message if isinstance(watch.failure, GenyardError) else type(watch.failure).__name__
    error = GenyardError(Code.provider_unreachable, f"the place cannot be asked about the run: {told}")
    raise error from watch.failure
