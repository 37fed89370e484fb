"""Following runs: when to trust the events, when to ask, when to give up.

An end is read from the history. A run that is in neither list is lost only after it stayed away for a while:
a job that ends between two reads shows in neither, and its history entry is written after its end is told.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from genyard.errors import Code, GenyardError
from genyard.providers import Canceled, Ref, Snapshot, State, lost_in_silence
from genyard.providers._http import FAILURES
from genyard.providers.comfyui.outcome import snapshot_of
from genyard.providers.comfyui.watching import Clock, Events, Watch
from genyard.providers.comfyui.wire import Pending, SharedQueue, Wire

Json = Any

#: A run that ends sooner is told in one go, not as queued, running, step 1, step 2, …
_STATE_HOLD: Final = 0.02
_PROGRESS_HOLD: Final = 0.1

#: Pauses between reads of a history that an end event announced and that is not written yet.
_HISTORY_PAUSES: Final = (0.01, 0.02, 0.05, 0.1, 0.2, 0.4)

#: Reads that must find a run in neither list before it can be called lost.
_MISSING_READS: Final = 3

_MAX_WATCHES: Final = 10_000

#: `status` comes three times per run of anybody; runs of other processes are looked at this often at most.
_STATUS_PAUSE: Final = 0.2


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Seconds.

    image, video  how long a run may execute; waiting and cold starts do not count
    poll          how often a server is asked when no events come; it grows to four times as much
    safety        how often it is asked although events come
    interval      how long one `observe` lasts at most
    missing       how long a run must be in neither list before it is lost
    silence       how long a server may be unreachable before its runs are lost
    lookups       pauses before looking up a submission whose answer got lost
    """

    image: float = 200.0
    video: float = 400.0
    poll: float = 3.0
    safety: float = 12.0
    interval: float = 20.0
    missing: float = 2.0
    silence: float = 900.0
    lookups: tuple[float, ...] = (0.0, 0.3, 1.0, 2.0)


def lost(why: str) -> GenyardError:
    return GenyardError(Code.provider_lost, why)


class Observer:
    """All runs that this process follows on one server."""

    def __init__(self, *, wire: Wire, client_id: str, limits: Limits, clock: Clock) -> None:
        self._wire, self._limits, self._clock = wire, limits, clock
        self._queue = SharedQueue(wire, clock)
        self._watches: dict[str, Watch] = {}
        self._asked: dict[str, None] = {}
        self._status_at = float("-inf")
        self._events = Events(
            wire.http,
            wire.socket_url(client_id),
            on_event=self._on_event,
            on_preview=self._on_preview,
            on_gap=self._on_gap,
        )

    async def close(self) -> None:
        await self._events.close()
        self._queue.close()

    async def ready(self) -> None:
        """Tries the socket before a submission, so that no event is missed; goes on without it."""
        await self._events.ready(timeout=2.0)

    def expect(self, ref: Ref, workflow: Mapping[str, Json]) -> None:
        """Our own submission is about to leave."""
        watch = self._new_watch(ref, ours=True)
        watch.classes = {
            sys.intern(node_id): sys.intern(node["class_type"]) for node_id, node in workflow.items()
        }
        watch.known = self._events.connected
        watch.poll_at = watch.known_at + (self._limits.poll if watch.known else 0.0)

    def forget(self, prompt_id: str) -> None:
        self._watches.pop(prompt_id, None)

    def _new_watch(self, ref: Ref, *, ours: bool) -> Watch:
        now = self._clock()
        watch = Watch(
            prompt_id=ref["prompt_id"],
            expected=tuple(ref["outputs"]),
            video=bool(ref["video"]),
            ours=ours,
            known_at=now,
            contact_at=now,
            dirty_since=now,
        )
        watch.cancel_asked = watch.prompt_id in self._asked
        _make_room(self._watches)
        self._watches[watch.prompt_id] = watch
        return watch

    # Events

    def _on_event(self, event: str, data: Mapping[str, Json]) -> None:
        now = self._clock()
        if event == "status":
            if now - self._status_at < _STATUS_PAUSE:
                return
            self._status_at = now
            for watch in self._watches.values():
                if not watch.ours and watch.poll_at > now + 0.05:
                    watch.poll_at = now + 0.05
                    watch.touch(now)
            return
        if (mine := self._watches.get(str(data.get("prompt_id")))) is not None:
            mine.contact_at = now
            mine.hear(event, data, now)

    def _on_preview(self, prompt_id: str | None, picture: bytes) -> None:
        if prompt_id is None:
            running = [one for one in self._watches.values() if one.ours and one.state is State.running]
            prompt_id = running[0].prompt_id if len(running) == 1 else None
        watch = self._watches.get(prompt_id or "")
        if watch is not None:
            watch.preview = picture
            watch.touch(self._clock())

    def _on_gap(self) -> None:
        """Events may have been missed: everything is asked for again."""
        now = self._clock()
        for watch in self._watches.values():
            watch.poll_at = min(watch.poll_at, now)
            watch.pause = 0.0
            watch.touch(now)

    # Observation

    async def observe(self, ref: Ref, previous: Snapshot | None, wake: asyncio.Event) -> Snapshot:
        """Raises a transport failure only when there is nothing to return."""
        self._events.start()
        watch = self._watches.get(ref["prompt_id"]) or self._new_watch(ref, ours=False)
        until = self._clock() + self._limits.interval
        while True:
            await self._look(watch)
            now = self._clock()
            if watch.final is not None:
                self.forget(watch.prompt_id)
                return watch.final
            seen = watch.snapshot()
            tell_at = self._tell_at(watch, seen, previous)
            if tell_at <= now or (watch.known and wake.is_set()):
                watch.dirty_since = None
                return seen
            if now >= until or wake.is_set():
                break
            await watch.wait(wake, min(tell_at, until, self._look_at(watch)) - now)
        if previous is not None:
            return previous
        if watch.failure is not None:
            raise watch.failure
        return watch.snapshot()

    @staticmethod
    def _tell_at(watch: Watch, seen: Snapshot, previous: Snapshot | None) -> float:
        """When the caller is to hear of it: at once, after it has settled, or never."""
        if not watch.known:
            return float("inf")
        since = watch.dirty_since if watch.dirty_since is not None else float("-inf")
        if previous is None or seen.state is not previous.state:
            return since + (_STATE_HOLD if watch.ours else 0.0)
        if (seen.progress, seen.detail, seen.preview) != (
            previous.progress,
            previous.detail,
            previous.preview,
        ):
            return since + _PROGRESS_HOLD
        return float("inf")

    def _look_at(self, watch: Watch) -> float:
        times = [watch.poll_at]
        if watch.read_at is not None:
            times.append(watch.read_at)
        if watch.started_at is not None:
            times.append(watch.started_at + self._limit(watch))
        return min(times)

    def _limit(self, watch: Watch) -> float:
        return self._limits.video if watch.video else self._limits.image

    async def _look(self, watch: Watch) -> None:
        """Asks the server if it is time to; one observer at a time does it for all of the same run."""
        if self._look_at(watch) > self._clock():
            return
        async with watch.lock:
            now = self._clock()
            if watch.final is not None or self._look_at(watch) > now:
                return
            try:
                if watch.read_at is not None and watch.read_at <= now:
                    await self._read_end(watch)
                elif watch.started_at is not None and watch.started_at + self._limit(watch) <= now:
                    await self._time_out(watch)
                else:
                    await self._poll(watch)
            except FAILURES as failure:
                watch.failure = failure
                self._suffer(watch)
            else:
                watch.failure = None
                watch.contact_at = self._clock()

    def _suffer(self, watch: Watch) -> None:
        """The server cannot be asked: later, and not for ever."""
        now = self._clock()
        watch.pause = min(4 * self._limits.poll, max(0.2, watch.pause * 2))
        watch.poll_at = now + watch.pause
        watch.read_at = None
        if watch.started_at is not None and watch.started_at + self._limit(watch) <= now:
            watch.started_at = now  # it cannot be judged now, nor stopped
        if now - watch.contact_at > self._limits.silence:
            watch.final = Snapshot(state=State.lost, error=lost_in_silence(self._limits.silence))

    async def _read_end(self, watch: Watch) -> None:
        """An end was announced: the entry is there, or will be in a moment."""
        entry = await self._wire.history(watch.prompt_id)
        if entry is not None:
            await self._finish(watch, entry)
        elif watch.tries < len(_HISTORY_PAUSES):
            watch.read_at = self._clock() + _HISTORY_PAUSES[watch.tries]
            watch.tries += 1
        else:
            watch.read_at, watch.tries = None, 0
            watch.poll_at = self._clock()

    async def _finish(self, watch: Watch, entry: Mapping[str, Json]) -> None:
        watch.final = snapshot_of(entry, watch.expected, asked=watch.cancel_asked)
        watch.touch(self._clock())
        if watch.final.error is not None and watch.final.error.code is Code.provider_out_of_memory:
            try:
                await self._wire.free()
            except FAILURES:
                return  # the next run will tell

    async def _poll(self, watch: Watch) -> None:
        """Queue, then history: in this order an end between the two reads is seen."""
        now = self._clock()
        newest = max(now - min(1.0, self._limits.poll / 3), min(self._status_at, now - 0.1))
        pending = await self._queue.read(max(watch.known_at, newest))
        if watch.prompt_id in pending:
            self._place(watch, pending)
        elif (entry := await self._wire.history(watch.prompt_id)) is not None:
            await self._finish(watch, entry)
        else:
            self._miss(watch)

    def _place(self, watch: Watch, pending: Pending) -> None:
        now = self._clock()
        before = (watch.known, watch.state, watch.detail)
        watch.missing_since, watch.missing_reads = None, 0
        if watch.prompt_id in pending.running:
            watch.run(now)
        elif watch.state is State.queued:
            watch.known = True
            watch.detail = _in_line(pending.waiting[watch.prompt_id])
        if before != (watch.known, watch.state, watch.detail):
            watch.touch(now)
        if watch.ours and self._events.connected:
            wanted = self._limits.poll if watch.state is State.queued else self._limits.safety
        else:
            wanted = max(min(self._limits.poll, 0.5), min(watch.pause * 1.5, self._limits.poll))
        watch.pause = wanted
        watch.poll_at = now + wanted

    def _miss(self, watch: Watch) -> None:
        """In neither list: between them, not yet written, deleted while it waited, or forgotten."""
        now = self._clock()
        if watch.missing_since is None:
            watch.missing_since = now
        watch.missing_reads += 1
        away = now - watch.missing_since
        if watch.missing_reads >= _MISSING_READS and away >= self._limits.missing:
            watch.final = _gone(watch)
            watch.touch(now)
        watch.poll_at = now + min(0.5, max(0.02, self._limits.missing / 5))

    async def _time_out(self, watch: Watch) -> None:
        """Over its time: stopped, unless it has just ended by itself."""
        entry = await self._wire.history(watch.prompt_id)
        if entry is not None:
            await self._finish(watch, entry)
            return
        stopped = await self.stop(watch.prompt_id)
        limit = self._limit(watch)
        error = GenyardError(
            Code.provider_timeout,
            f"it ran for longer than {limit:g} seconds and was stopped; COMFYUI_TIMEOUT sets the limit",
            context={"limit_seconds": limit, "stopped": stopped.reached},
        )
        watch.final = Snapshot(state=State.failed, error=error, word="timeout", seconds=limit)

    # Cancellation

    async def cancel(self, ref: Ref) -> Canceled:
        """Remembered, so that the interruption is later known as ours."""
        watch = self._watches.get(ref["prompt_id"])
        if watch is not None:
            watch.cancel_asked = True
        _make_room(self._asked)
        self._asked[ref["prompt_id"]] = None
        canceled = await self.stop(ref["prompt_id"])
        if watch is not None and watch.final is None and canceled.reached:
            if canceled.was_running is False:
                watch.final = _canceled_while_waiting()
            watch.poll_at = min(watch.poll_at, self._clock() + 0.5)
            watch.touch(self._clock())
        return canceled

    async def stop(self, prompt_id: str) -> Canceled:
        """Both ways: /api/jobs where the server has it, else queue and interrupt. Repeats do no harm."""
        before = await self._wire.queue()
        if prompt_id not in before:
            return await self._too_late(prompt_id)
        was_running = prompt_id in before.running
        told = await self._wire.cancel_job(prompt_id) if self._wire.has_jobs else None
        if told is None:
            await self._wire.delete_pending(prompt_id)
            await self._wire.interrupt(prompt_id)
        after = await self._wire.queue()
        if prompt_id in after.waiting:
            return Canceled(reached=False, was_running=False)
        if prompt_id in after.running or was_running:
            return Canceled(reached=True, was_running=True)
        # It left the waiting line: because we took it out, or because it ran in that moment.
        entry = await self._wire.history(prompt_id)
        return Canceled(reached=entry is None or _interrupted(entry), was_running=entry is not None)

    async def _too_late(self, prompt_id: str) -> Canceled:
        entry = await self._wire.history(prompt_id)
        if entry is None:
            return Canceled(reached=True)
        return Canceled(reached=_interrupted(entry), was_running=True)


def _make_room(known: dict[str, Any]) -> None:
    while len(known) >= _MAX_WATCHES:
        del known[next(iter(known))]


def _interrupted(entry: Mapping[str, Json]) -> bool:
    messages = (entry.get("status") or {}).get("messages") or []
    return any(name == "execution_interrupted" for name, _ in messages)


def _canceled_while_waiting() -> Snapshot:
    error = GenyardError(Code.canceled, "canceled before it started")
    return Snapshot(state=State.canceled, error=error, word="deleted")


def _gone(watch: Watch) -> Snapshot:
    if watch.cancel_asked:
        return _canceled_while_waiting()
    error = lost("the server does not know the run any more: it was restarted, or somebody deleted it")
    return Snapshot(state=State.lost, error=error)


def _in_line(place: int) -> str:
    if place == 1:
        return "next in the queue"
    suffix = "th" if 10 <= place % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(place % 10, "th")
    return f"{place}{suffix} in the queue"
