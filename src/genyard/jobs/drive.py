"""One attempt from submission to its last snapshot: cancels, wake-ups, silence, and what watchers are told.

Knows one place and one claim. What comes of the last snapshot is the runner's business.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar
from uuid import UUID

from genyard.database import OUTAGES
from genyard.errors import Code, GenyardError
from genyard.jobs.hooks import Hooks
from genyard.jobs.inputs import Inputs
from genyard.jobs.live import Notice
from genyard.jobs.model import JobState
from genyard.jobs.records import Claim
from genyard.jobs.store import Jobs
from genyard.providers import Media, Plan, Provider, Ref, Snapshot, State, lost_in_silence
from genyard.storable import as_storable, number_within
from genyard.storage import Storage
from genyard.telemetry import get_logger

_log = get_logger(__name__)

#: A place that answers nothing for this long has lost the run, as far as anybody can tell.
GIVE_UP_SECONDS: Final = 900.0
_SILENCE_SECONDS: Final = 1.0
_ON_ITS_WAY_SECONDS: Final = 1.0
_TICK_SECONDS: Final = 0.2
_PREVIEW_SECONDS: Final = 1.0
#: A cancel that was not taken is tried again after so many seconds, and that often at most.
_CANCEL_PAUSE_SECONDS: Final = 1.0
_CANCEL_TRIES: Final = 30
#: A place that has said "stopped" and goes on is told again after so many seconds.
_CANCEL_AGAIN_SECONDS: Final = 10.0
#: The place may answer otherwise in a moment.
_ASK_AGAIN: Final = frozenset(
    {
        Code.provider_unreachable,
        Code.provider_busy,
        Code.provider_timeout,
        Code.provider_failed,
        Code.provider_protocol,
    }
)
_OUTAGE_SECONDS: Final = 0.5

T = TypeVar("T")

#: The last we want to know of a run at a place that cannot cancel: it goes on there, and is billed.
DETACHED: Final = Snapshot(state=State.canceled, word="detached")


class FenceLost(Exception):
    """Another runner has the stage."""


class _Canceled(Exception):
    """Before anything left."""


class Hold:
    """The lock in the database by which this process is known to live. From the moment that it is lost, others take its
    stages for a dead one's; whoever was about to submit has to look whether the stage is still his."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._there = asyncio.Event()
        self._there.set()
        self._since = float("-inf")

    def taken(self) -> None:
        self._since = self._clock()
        self._there.set()

    def lost(self) -> None:
        self._there.clear()

    async def since(self) -> float:
        """Since when it is held without a break; where it is not held, once it is again."""
        await self._there.wait()
        return self._since


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What every drive of a process shares."""

    jobs: Jobs
    storage: Storage
    inputs: Inputs
    hooks: Hooks
    clock: Callable[[], float]
    lease: float
    hold: Hold


async def even_if_stopped(work: Coroutine[Any, Any, T], seconds: float) -> T:
    """What is better done than begun again by somebody else: a worker that is stopped in the middle of it gives it so
    many seconds more, and stops then."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        try:
            await asyncio.wait({task}, timeout=seconds)
        finally:  # also where it is stopped again meanwhile
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        raise


class Meter:
    """How long a run has been seen running, for places that do not say it. `ran`: what was seen of it before."""

    def __init__(self, clock: Callable[[], float], ran: float | None = None) -> None:
        self._clock = clock
        self._since = None if ran is None else clock() - ran
        self._until: float | None = None
        self.began_kept = ran is not None
        self.never_ran = False

    def see(self, snapshot: Snapshot) -> None:
        self._until = self._clock()
        if snapshot.state is State.running and self._since is None:
            self._since = self._until

    @property
    def ran(self) -> float | None:
        """Seconds from when it was first seen running until now."""
        return None if self._since is None else self._clock() - self._since

    @property
    def seconds(self) -> float | None:
        """From when it was first seen running until it was seen last; zero where the place says that it never ran."""
        if self._since is None or self._until is None:
            return 0.0 if self.never_ran else None
        return max(0.0, self._until - self._since)


async def to_the_end(provider: Provider, ref: Ref, clock: Callable[[], float], meter: Meter) -> Snapshot:
    """Only watching: nobody is told, nothing is canceled."""
    previous: Snapshot | None = None
    silent_since = clock()
    while True:
        try:
            previous = await provider.observe(ref, previous, asyncio.Event())
            meter.see(previous)
            silent_since = clock()
        except GenyardError as error:
            if error.code not in _ASK_AGAIN or clock() - silent_since > GIVE_UP_SECONDS:
                return Snapshot(state=State.lost, error=error)
            await asyncio.sleep(1.0)
            continue
        if previous.state.ended:
            return previous


class Drive:
    """One attempt from submission to its last snapshot. Thousands may wait: `unsent` holds the plan with its payload
    until the place has it, and nobody else keeps that."""

    def __init__(
        self,
        around: Surroundings,
        claim: Claim,
        provider: Provider,
        key: UUID,
        unsent: list[Plan],
        stopping: float,
        since: float,
    ) -> None:
        """`since`: before it was claimed, by the clock."""
        self.ref: Ref | None = None
        self.sent = claim.left or (provider.capabilities.finds and not claim.fresh)
        self.meter = Meter(around.clock, claim.ran)
        self._since = since
        self._around = around
        self._claim = claim
        self._unsent = unsent
        self._provider = provider
        self._key = key
        self._stopping = stopping
        self._wake = asyncio.Event()
        self._cancel_wanted = False
        self._cancel_sent = False
        self._cancel_again_at = float("-inf")
        self._cancel_tries = 0
        self._preview: str | None = None
        self._told_at = around.clock()
        self._told: tuple[object, ...] = ()
        self._preview_at = float("-inf")
        self._unsaid: Snapshot | None = None
        self._saying: asyncio.Task[None] | None = None
        self._looking: asyncio.Task[None] | None = None
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._recording: asyncio.Task[None] | None = None

    def hear(self, notice: Notice) -> None:
        if notice.kind == "cancel":
            self.want_cancel()
        elif notice.kind == "wake":
            self._wake.set()
        elif notice.kind == "look" and self._looking is None:
            self._looking = asyncio.create_task(self._look(), name="genyard-look")

    async def _look(self) -> None:
        """Notices may have been missed: was it canceled meanwhile? Until the database has answered."""
        while True:
            try:
                state = await self._around.jobs.state(self._claim.job_id, self._claim.owner_id)
                break
            except OUTAGES:
                await asyncio.sleep(_OUTAGE_SECONDS)
        if state is JobState.canceling:
            self.want_cancel()
        self._looking = None

    def want_cancel(self) -> None:
        self._cancel_wanted = True
        self._wake.set()

    async def to_the_end(self) -> Snapshot:
        try:
            ref = self.ref = await self._submitted()
            self._unsent.clear()
            if ref is None:
                return Snapshot(state=State.canceled)
            snapshot = await self._observe(ref)
            if self._recording is not None:
                await self._recording
            return snapshot
        finally:
            self._over.set_result(None)
            if self._looking is not None:
                self._looking.cancel()
            tasks = [task for task in (self._saying, self._looking, self._recording) if task is not None]
            await asyncio.gather(*tasks, return_exceptions=True)
            if self._preview is not None:
                await self._around.storage.delete(self._preview)

    async def _submitted(self) -> Ref | None:
        """None: it was canceled before anything left."""
        claim = self._claim
        if claim.ref is not None:
            return claim.ref
        if self.sent:
            found = await self._find() or await self._find_later()
            if found is not None:
                await self._record(found)
                return found
        if self._cancel_wanted:
            return None
        media = await self._around.inputs.of(claim)
        try:
            return await even_if_stopped(self._send(media), self._stopping)
        except _Canceled:
            return None

    async def _send(self, media: Mapping[str, Media]) -> Ref:
        provider, claim = self._provider, self._claim
        able = provider.capabilities.webhooks
        webhook = self._around.hooks.url(claim.endpoint, self._key) if able else None
        try:
            ref = await provider.submit(self._unsent[0], self._key, media, webhook=webhook, leave=self._leave)
        except GenyardError as error:
            found = (
                await self._find()
                if error.code is Code.provider_lost and provider.capabilities.finds
                else None
            )
            if found is None:
                raise
            ref = found
        self._recording = asyncio.create_task(self._record(ref), name="genyard-record")
        if not provider.capabilities.finds:
            await self._recording
        return ref

    async def _leave(self) -> None:
        """Directly before the wire. Where the place cannot be asked, it is written first that the submission may have
        left. Where it can, that is asked later; only who was held up for long (or frozen, even here), or whose worker
        was taken for dead meanwhile, makes sure that the stage is still his."""
        blind = not self._provider.capabilities.finds
        known_at, written = self._since, not blind
        while True:
            alive_since = await self._around.hold.since()
            if self._cancel_wanted:
                raise _Canceled
            asked_at = self._around.clock()
            if written and known_at >= alive_since and asked_at - known_at <= self._around.lease / 2:
                break
            try:
                ours = await self._around.jobs.leave(self._claim, durable=blind)
            except OUTAGES as broken:
                # Whoever gave up here would leave the note, and nobody could know that nothing left.
                _log.warning("a submission waits for the database", key=str(self._key), error=str(broken))
                await asyncio.sleep(_OUTAGE_SECONDS)
                continue
            if not ours:
                raise FenceLost
            known_at, written = asked_at, True
        self.sent = True

    async def _record(self, ref: Ref) -> None:
        """However long the database is away: nobody else knows what this place calls it."""
        durable = not self._provider.capabilities.finds
        while True:
            try:
                recorded = await self._around.jobs.record_ref(self._claim, ref, durable=durable)
                break
            except OUTAGES as broken:
                _log.warning("a submission waits to be noted", key=str(self._key), error=str(broken))
                await asyncio.sleep(_OUTAGE_SECONDS)
        if not recorded:
            raise FenceLost
        self._recording = None

    async def _find(self) -> Ref | None:
        """None: the place knows nothing of it. Until it says so nobody submits again: that would be another run."""
        if not self._provider.capabilities.finds:
            raise GenyardError(
                Code.provider_lost,
                "genyard stopped while it submitted this job, and the place cannot be asked whether it arrived",
            )
        since = self._around.clock()
        while True:
            try:
                return await self._provider.find(self._key)
            except GenyardError as error:
                if error.code not in _ASK_AGAIN:
                    raise
                await self._wait_in_silence(error, since)

    async def _find_later(self) -> Ref | None:
        """What a former runner sent in its last moment may be on its way yet."""
        await asyncio.sleep(_ON_ITS_WAY_SECONDS)
        return await self._find()

    async def _observe(self, ref: Ref) -> Snapshot:
        previous: Snapshot | None = None
        silent_since: float | None = None
        while True:
            if self._cancel_wanted and self._around.clock() >= self._cancel_again_at:
                detached = await self._cancel(ref)
                if detached is not None:
                    return detached
            try:
                snapshot = await self._provider.observe(ref, previous, self._wake)
                self._wake.clear()
                self.meter.see(snapshot)
                silent_since = None
            except GenyardError as error:
                if error.code not in _ASK_AGAIN:
                    raise
                silent_since = silent_since or self._around.clock()
                await self._wait_in_silence(error, silent_since)
                continue
            if snapshot.state.ended:
                return self._as_wanted(snapshot)
            self._tell(snapshot)
            previous = snapshot

    def _as_wanted(self, snapshot: Snapshot) -> Snapshot:
        """A run that somebody else interrupted has failed; one that we canceled has not."""
        if snapshot.state is State.canceled and not self._cancel_wanted:
            error = GenyardError(Code.provider_interrupted, "somebody else interrupted the run at the place")
            return replace(snapshot, state=State.failed, error=error)
        if snapshot.state is State.failed and self._cancel_sent:
            return replace(snapshot, state=State.canceled)
        return snapshot

    async def _cancel(self, ref: Ref) -> Snapshot | None:
        """A last snapshot where the place cannot, or will not, cancel: the run goes on there without us."""
        if self._provider.capabilities.cancel == "no":
            return DETACHED
        try:
            canceled = await self._provider.cancel(ref)
        except GenyardError as error:
            if error.code is not Code.provider_unreachable:  # how long that may last, `_observe` says
                self._cancel_tries += 1
            if error.code not in _ASK_AGAIN or self._cancel_tries >= _CANCEL_TRIES:
                _log.warning("a cancel was refused; the run goes on at its place", code=error.code.value)
                return DETACHED
            asked = error.context.get("retry_after") or 0.0
            await asyncio.sleep(min(max(_CANCEL_PAUSE_SECONDS, asked), _CANCEL_AGAIN_SECONDS))
            self._wake.set()
            return None
        self._cancel_sent = True
        self._cancel_again_at = self._around.clock() + _CANCEL_AGAIN_SECONDS
        self.meter.never_ran = canceled.was_running is False
        return DETACHED if canceled.refused else None

    async def _wait_in_silence(self, error: GenyardError, since: float) -> None:
        if self._around.clock() - since > GIVE_UP_SECONDS:
            raise lost_in_silence(GIVE_UP_SECONDS, error) from error
        self._tell(Snapshot(state=State.running, detail=f"{error.message}; still trying"))
        # not wait_for: until Python 3.12 it forgets a cancel that comes together with what it waits for
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_SILENCE_SECONDS):
                await self._wake.wait()
        self._wake.clear()

    def _tell(self, snapshot: Snapshot) -> None:
        """Watchers hear at most one tick per `_TICK_SECONDS`, and always the newest; nobody waits for it here."""
        self._unsaid = snapshot
        if self._saying is None or self._saying.done():
            self._saying = asyncio.create_task(self._say(), name="genyard-progress")

    async def _say(self) -> None:
        while self._unsaid is not None:
            pause = max(0.0, self._told_at + _TICK_SECONDS - self._around.clock())
            await asyncio.wait({self._over}, timeout=pause)
            if self._over.done():
                return
            snapshot, self._unsaid = self._unsaid, None
            now = self._around.clock()
            self._told_at = now
            with_preview = snapshot.preview is not None and now - self._preview_at >= _PREVIEW_SECONDS
            saying = (snapshot.state, snapshot.progress, snapshot.detail)
            if saying == self._told and not with_preview:
                continue
            self._told = saying
            if with_preview:
                self._preview_at = now
            else:
                snapshot = replace(snapshot, preview=None)
            with contextlib.suppress(*OUTAGES):  # the next tick says it again
                self._preview = await self._publish(snapshot, self._preview)
        self._saying = None

    async def _publish(self, snapshot: Snapshot, old_preview: str | None) -> str | None:
        """Tells watchers; returns the object name of the newest unfinished picture."""
        preview = old_preview
        if snapshot.preview is not None:
            preview = (await self._around.storage.put(snapshot.preview, "image/jpeg")).object
        progress, detail = number_within(snapshot.progress, 0, 1), as_storable(snapshot.detail or "")[:500]
        told = json.dumps(
            {
                "state": snapshot.state.value,
                "progress": progress,
                "detail": detail,
                "cold": snapshot.cold,
                "preview": preview is not None,
            }
        )
        ran = None if self.meter.began_kept else self.meter.ran
        kept = await self._around.jobs.record_progress(
            self._claim,
            progress=progress,
            detail=detail or None,
            preview_key=preview,
            told=told,
            ran=ran,
        )
        self.meter.began_kept = self.meter.began_kept or ran is not None
        if preview != old_preview and old_preview is not None:
            await self._around.storage.delete(old_preview)
        return preview if kept else None
