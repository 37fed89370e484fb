"""Drives one stage to its end: the attempt protocol.

    1 claim     the attempt with its key is in the database before anything leaves
    2 submit    once; a runner that finds an attempt without a ref asks `find` first
    3 record    the ref
    4 observe   to the end; cancels and webhooks wake it
    5 take over the outputs into our own storage
    6 finish    attempt, stage and next stage in one transaction; the last one ends the job

Every write is fenced by the stage's epoch: a runner that lost its stage changes nothing and stops. Retries
happen here, by remedy, and nowhere below.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final
from uuid import UUID, uuid4

import psycopg

from genyard.errors import Code, GenyardError, Remedy
from genyard.jobs.assets import Assets
from genyard.jobs.live import Live, Notice
from genyard.jobs.model import Asset, AttemptState, JobState
from genyard.jobs.outputs import OutputStore
from genyard.jobs.store import Claim, Jobs
from genyard.providers import Media, MediaInput, Plan, PlanInput, Provider, Ref, Snapshot, State, StepOutput
from genyard.storage import Blob, Storage
from genyard.telemetry import bind_trace, get_logger

_log = get_logger(__name__)

MAX_ATTEMPTS: Final = 3
#: A place that answers nothing for this long has lost the run, as far as anybody can tell.
GIVE_UP_SECONDS: Final = 900.0
_TICK_SECONDS: Final = 0.2
_PREVIEW_SECONDS: Final = 1.0


@dataclass(frozen=True, kw_only=True)
class Pace:
    """Seconds between tries: 1, 4, … with jitter. Tests pass a quicker one."""

    first_retry: float = 1.0
    factor: float = 4.0

    def delay(self, number: int) -> float:
        return self.first_retry * self.factor ** (number - 1) * random.uniform(0.8, 1.2)  # noqa: S311


#: The last we want to know of a run at a place that cannot cancel: it goes on there, and is billed.
_DETACHED: Final = Snapshot(state=State.canceled, word="detached")


class _FenceLost(Exception):
    """Another runner has the stage."""


class Runner:
    """Runs stages in one process; `run` may be called for many at once."""

    def __init__(
        self,
        *,
        jobs: Jobs,
        assets: Assets,
        live: Live,
        storage: Storage,
        outputs: OutputStore,
        providers: Mapping[str, Provider],
        clock: Callable[[], float],
        pace: Pace | None = None,
    ) -> None:
        self._jobs = jobs
        self._assets = assets
        self._live = live
        self._storage = storage
        self._outputs = outputs
        self._providers = providers
        self._clock = clock
        self._pace = pace or Pace()

    async def run(self, stage_id: UUID, epoch: int, worker_id: int) -> None:
        """Ends when the stage has ended, waits for its next try, or belongs to somebody else. Errors of the
        database are raised: they say nothing about the run, which goes on at its place."""
        claim = await self._jobs.claim(stage_id, epoch, worker_id, uuid4())
        if claim is None:
            return
        unsent = [claim.plan]
        claim = replace(claim, plan=replace(claim.plan, payload={}))
        bind_trace(claim.trace_id)
        try:
            await self._run(claim, unsent)
        except _FenceLost:
            _log.warning("another runner has taken the stage over", stage=str(stage_id))
        except GenyardError as error:
            await self._failed(claim, error, AttemptState.failed)
        except psycopg.OperationalError:
            raise
        except Exception as defect:  # noqa: BLE001 (a defect must end the job, not leave it open)
            _log.exception("a defect ended the job", stage=str(stage_id), job=str(claim.job_id))
            told = GenyardError(Code.internal, f"genyard failed ({type(defect).__name__}); see its log")
            await self._failed(claim, told, AttemptState.failed)

    async def _run(self, claim: Claim, unsent: list[Plan]) -> None:
        if claim.expired:
            error = GenyardError(Code.expired, "its deadline passed before it could start")
            await self._end(claim, JobState.expired, AttemptState.canceled, error)
            return
        if claim.key is None:
            error = GenyardError(Code.canceled, "canceled before it was submitted")
            await self._end(claim, JobState.canceled, AttemptState.canceled, error)
            return
        provider = self._providers.get(claim.endpoint)
        if provider is None:
            raise GenyardError(
                Code.settings_invalid, f"the endpoint {claim.endpoint!r} is no longer configured here"
            )
        drive = _Drive(self, claim, provider, claim.key, unsent)
        if claim.job_state is JobState.canceling:
            drive.want_cancel()
        async with self._live.listening(claim.job_id, drive.hear):
            snapshot = await drive.to_the_end()
        await self._ended(claim, provider, snapshot)

    async def _ended(self, claim: Claim, provider: Provider, snapshot: Snapshot) -> None:
        word, seconds = snapshot.word, snapshot.seconds
        if snapshot.state is State.succeeded:
            await self._succeeded(claim, provider, snapshot)
        elif snapshot.state is State.canceled:
            state = AttemptState.detached if snapshot == _DETACHED else AttemptState.canceled
            error = GenyardError(Code.canceled, "canceled on request")
            await self._end(claim, JobState.canceled, state, error, word=word, seconds=seconds)
        else:
            error = snapshot.error or GenyardError(Code.provider_failed, "the place gave no reason")
            state = AttemptState.lost if snapshot.state is State.lost else AttemptState.failed
            await self._failed(claim, error, state, word=word, seconds=seconds)

    async def _succeeded(self, claim: Claim, provider: Provider, snapshot: Snapshot) -> None:
        kept = frozenset(step for step, facts in claim.plan.facts.items() if facts.get("delivered", True))
        plan = replace(
            claim.plan,
            facts={
                step: {name: value for name, value in facts.items() if name != "delivered"}
                for step, facts in claim.plan.facts.items()
            },
        )
        outputs = await self._outputs.take_over(provider, plan, snapshot.outputs, kept)
        finished = await self._jobs.finish_stage(claim, outputs, word=snapshot.word, seconds=snapshot.seconds)
        if finished is None:
            await self._outputs.discard(tuple(one.blob.object for one in outputs))
            raise _FenceLost
        await self._outputs.discard(finished.unused)

    async def _failed(
        self,
        claim: Claim,
        error: GenyardError,
        attempt_state: AttemptState,
        *,
        word: str | None = None,
        seconds: float | None = None,
    ) -> None:
        if error.code is Code.provider_lost:
            attempt_state = AttemptState.lost
        if self._may_retry(claim, error):
            retried = await self._jobs.retry_stage(
                claim,
                attempt_state=attempt_state,
                error=error,
                seconds_until=self._pace.delay(claim.number),
                detail=f"try {claim.number} of {MAX_ATTEMPTS} failed: {error.message}"[:300],
                word=word,
                seconds=seconds,
            )
            if retried:
                return
        await self._end(claim, JobState.failed, attempt_state, error, word=word, seconds=seconds)

    def _may_retry(self, claim: Claim, error: GenyardError) -> bool:
        """A lost run is tried again only where the place was asked and knows nothing of it any more."""
        if error.code is Code.provider_lost:
            provider = self._providers.get(claim.endpoint)
            if provider is None or not provider.capabilities.finds:
                return False
            return claim.number < (2 if provider.capabilities.paid else MAX_ATTEMPTS)
        return error.remedy is Remedy.retry_here and claim.number < MAX_ATTEMPTS

    async def _end(
        self,
        claim: Claim,
        job_state: JobState,
        attempt_state: AttemptState,
        error: GenyardError,
        *,
        word: str | None = None,
        seconds: float | None = None,
    ) -> None:
        await self._jobs.end_job(
            claim, job_state=job_state, attempt_state=attempt_state, error=error, word=word, seconds=seconds
        )
        _log.info("the job ended", job=str(claim.job_id), state=job_state.value, code=error.code.value)

    # ---- used by _Drive ----

    async def media(self, claim: Claim) -> dict[str, Media]:
        """The bytes behind the plan's inputs: assets of the owner, outputs of earlier stages."""
        asset_ids = [UUID(one.source.name) for one in claim.plan.inputs if isinstance(one.source, MediaInput)]
        assets = await self._assets.get_many(asset_ids, claim.owner_id) if asset_ids else {}
        made: dict[str, Blob] = {}
        if any(isinstance(one.source, StepOutput) for one in claim.plan.inputs):
            for output in reversed(await self._jobs.stage_outputs(claim.job_id)):
                made[output.step] = output.blob
        media: dict[str, Media] = {}
        for one in claim.plan.inputs:
            source = one.source
            found: Asset | Blob | None = (
                made.get(source.step) if isinstance(source, StepOutput) else assets.get(UUID(source.name))
            )
            media[one.name] = self._as_media(one, found)
        return media

    def _as_media(self, wanted: PlanInput, blob: Blob | Asset | None) -> Media:
        if blob is None:
            raise GenyardError(
                Code.not_found, "an input was deleted before the job could use it", field="inputs"
            )
        name = blob.object
        return Media(
            name=wanted.name,
            media_type=blob.media_type,
            size=blob.bytes,
            sha256=blob.sha256,
            open=lambda: self._storage.stream(name),
        )

    async def is_canceling(self, claim: Claim) -> bool:
        return await self._jobs.state(claim.job_id, claim.owner_id) is JobState.canceling

    async def record_ref(self, claim: Claim, ref: Ref) -> None:
        durable = not self._providers[claim.endpoint].capabilities.finds
        if not await self._jobs.record_ref(claim, ref, durable=durable):
            raise _FenceLost

    async def publish(self, claim: Claim, snapshot: Snapshot, old_preview: str | None) -> str | None:
        """Tells watchers; returns the object name of the newest unfinished picture."""
        preview = old_preview
        if snapshot.preview is not None:
            preview = (await self._storage.put(snapshot.preview, "image/jpeg")).object
        told = json.dumps(
            {
                "state": snapshot.state.value,
                "progress": snapshot.progress,
                "detail": (snapshot.detail or "")[:500],
                "preview": preview is not None,
            }
        )
        kept = await self._jobs.record_progress(
            claim, progress=snapshot.progress, detail=snapshot.detail, preview_key=preview, told=told
        )
        if preview != old_preview and old_preview is not None:
            await self._storage.delete(old_preview)
        return preview if kept else None

    async def drop_preview(self, name: str | None) -> None:
        if name is not None:
            await self._storage.delete(name)

    def now(self) -> float:
        return self._clock()


class _Drive:
    """One attempt from submission to its last snapshot. Thousands may wait: `unsent` holds the plan with its payload
    until the place has it, and nobody else keeps that."""

    def __init__(
        self, runner: Runner, claim: Claim, provider: Provider, key: UUID, unsent: list[Plan]
    ) -> None:
        self.claim = claim
        self._unsent = unsent
        self._runner = runner
        self._provider = provider
        self._key = key
        self._wake = asyncio.Event()
        self._cancel_wanted = False
        self._cancel_sent = False
        self._preview: str | None = None
        self._told_at = runner.now()
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
        elif notice.kind == "look" and self._looking is None:
            self._looking = asyncio.create_task(self._look(), name="genyard-look")

    async def _look(self) -> None:
        """Notices may have been missed: was it canceled meanwhile?"""
        if await self._runner.is_canceling(self.claim):
            self.want_cancel()
        self._looking = None

    def want_cancel(self) -> None:
        self._cancel_wanted = True
        self._wake.set()

    async def to_the_end(self) -> Snapshot:
        ref = await self._submitted()
        self._unsent.clear()
        if ref is None:
            return Snapshot(state=State.canceled)
        try:
            snapshot = await self._observe(ref)
            if self._recording is not None:
                await self._recording
            return snapshot
        finally:
            self._over.set_result(None)
            tasks = [task for task in (self._saying, self._looking, self._recording) if task is not None]
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._runner.drop_preview(self._preview)

    async def _submitted(self) -> Ref | None:
        """None: it was canceled before anything left."""
        claim, provider = self.claim, self._provider
        if claim.ref is not None:
            return claim.ref
        if not claim.fresh:
            found = await self._find()
            if found is not None:
                await self._runner.record_ref(claim, found)
                return found
        if self._cancel_wanted:
            return None
        media = await self._runner.media(claim)
        ref = await provider.submit(self._unsent[0], self._key, media)
        self._recording = asyncio.create_task(self._record(ref), name="genyard-record")
        if not provider.capabilities.finds:
            await self._recording
        return ref

    async def _record(self, ref: Ref) -> None:
        await self._runner.record_ref(self.claim, ref)
        self._recording = None

    async def _find(self) -> Ref | None:
        if not self._provider.capabilities.finds:
            raise GenyardError(
                Code.provider_lost,
                "genyard stopped while it submitted this job, and the place cannot be asked whether it arrived",
            )
        return await self._provider.find(self._key)

    async def _observe(self, ref: Ref) -> Snapshot:
        previous: Snapshot | None = None
        silent_since: float | None = None
        while True:
            if self._cancel_wanted and not self._cancel_sent:
                detached = await self._cancel(ref)
                if detached is not None:
                    return detached
            self._wake.clear()
            if self._cancel_wanted and not self._cancel_sent:
                self._wake.set()
            try:
                snapshot = await self._provider.observe(ref, previous, self._wake)
                silent_since = None
            except GenyardError as error:
                if error.code is not Code.provider_unreachable:
                    raise
                silent_since = silent_since or self._runner.now()
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
        """A last snapshot where the place cannot cancel: the run goes on there without us."""
        if self._provider.capabilities.cancel == "no":
            return _DETACHED
        try:
            await self._provider.cancel(ref)
            self._cancel_sent = True
        except GenyardError as error:
            if error.code is not Code.provider_unreachable:
                raise
        return None

    async def _wait_in_silence(self, error: GenyardError, since: float) -> None:
        if self._runner.now() - since > GIVE_UP_SECONDS:
            raise GenyardError(
                Code.provider_lost, f"no answer for {GIVE_UP_SECONDS:.0f} s: {error.message}"
            ) from error
        self._tell(Snapshot(state=State.running, detail=f"{error.message}; still trying"))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), timeout=1.0)

    def _tell(self, snapshot: Snapshot) -> None:
        """Watchers hear at most one tick per `_TICK_SECONDS`, and always the newest; nobody waits for it here."""
        self._unsaid = snapshot
        if self._saying is None or self._saying.done():
            self._saying = asyncio.create_task(self._say(), name="genyard-progress")

    async def _say(self) -> None:
        while self._unsaid is not None:
            pause = max(0.0, self._told_at + _TICK_SECONDS - self._runner.now())
            await asyncio.wait({self._over}, timeout=pause)
            if self._over.done():
                return
            snapshot, self._unsaid = self._unsaid, None
            now = self._runner.now()
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
            self._preview = await self._runner.publish(self.claim, snapshot, self._preview)
        self._saying = None
