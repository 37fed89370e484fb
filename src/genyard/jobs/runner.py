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
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final
from uuid import UUID, uuid4

import psycopg

from genyard.errors import Code, GenyardError, Remedy
from genyard.jobs.assets import Assets, NewOutput
from genyard.jobs.hooks import Hooks
from genyard.jobs.live import Live, Notice
from genyard.jobs.model import Asset, AttemptState, JobState
from genyard.jobs.outputs import OutputStore
from genyard.jobs.store import Claim, Jobs, Outcome
from genyard.providers import Media, MediaInput, Plan, PlanInput, Provider, Ref, Snapshot, State, StepOutput
from genyard.storage import Blob, Storage
from genyard.telemetry import bind_trace, get_logger

_log = get_logger(__name__)

MAX_ATTEMPTS: Final = 3
#: A run that was paid for is bought once more at most.
MAX_PAID_RUNS: Final = 2
#: A place that says "not now" has taken nothing: it is asked again, more and more slowly.
MAX_BUSY_ATTEMPTS: Final = 20
#: A place that answers nothing for this long has lost the run, as far as anybody can tell.
GIVE_UP_SECONDS: Final = 900.0
_TICK_SECONDS: Final = 0.2
#: How long a place may take to fetch an input by itself: it may wait in its queue for long.
LINK_SECONDS: Final = 24 * 3600
_PREVIEW_SECONDS: Final = 1.0
_CANCEL_PAUSE_SECONDS: Final = 1.0


@dataclass(frozen=True, kw_only=True)
class Pace:
    """Seconds between tries: 1, 4, … with jitter. Tests pass a quicker one."""

    first_retry: float = 1.0
    factor: float = 4.0
    longest: float = 60.0

    def delay(self, number: int) -> float:
        grown = min(self.longest, self.first_retry * self.factor ** (number - 1))
        return grown * random.uniform(0.8, 1.2)  # noqa: S311


#: The last we want to know of a run at a place that cannot cancel: it goes on there, and is billed.
_DETACHED: Final = Snapshot(state=State.canceled, word="detached")


def _outcome(state: AttemptState, snapshot: Snapshot, error: GenyardError | None = None) -> Outcome:
    return Outcome(
        state=state,
        error=error,
        word=snapshot.word,
        seconds=snapshot.seconds,
        waited=snapshot.waited,
        cost=snapshot.cost,
    )


def _asked_to_wait(error: GenyardError) -> float:
    """Seconds that the place wants us to wait, if it said so."""
    wanted = error.context.get("retry_after", 0)
    return float(wanted) if isinstance(wanted, int | float) else 0.0


async def _to_the_end(provider: Provider, ref: Ref) -> Snapshot:
    previous: Snapshot | None = None
    silent_since = time.monotonic()
    while True:
        try:
            previous = await provider.observe(ref, previous, asyncio.Event())
            silent_since = time.monotonic()
        except GenyardError as error:
            if (
                error.code is not Code.provider_unreachable
                or time.monotonic() - silent_since > GIVE_UP_SECONDS
            ):
                return Snapshot(state=State.lost, error=error)
            await asyncio.sleep(1.0)
            continue
        if previous.state.ended:
            return previous


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
        hooks: Hooks,
        clock: Callable[[], float],
        pace: Pace | None = None,
    ) -> None:
        self._jobs = jobs
        self._assets = assets
        self._live = live
        self._storage = storage
        self._outputs = outputs
        self._providers = providers
        self._hooks = hooks
        self._clock = clock
        self._pace = pace or Pace()

    async def run(self, stage_id: UUID, epoch: int, worker_id: int) -> None:
        """Ends when the stage has ended, waits for its next try, or belongs to somebody else. Errors of the
        database are raised: they say nothing about the run, which goes on at its place."""
        claim = await self._jobs.claim(stage_id, epoch, worker_id, uuid4())
        if claim is None:
            detached = await self._jobs.claim_detached(stage_id, epoch, worker_id)
            if detached is not None:
                await self._follow(detached)
            return
        unsent = [claim.plan]
        claim = replace(claim, plan=replace(claim.plan, payload={}))
        bind_trace(claim.trace_id)
        try:
            await self._run(claim, unsent)
        except _FenceLost:
            _log.warning("another runner has taken the stage over", stage=str(stage_id))
        except GenyardError as error:
            await self._failed(claim, Outcome(state=AttemptState.failed, error=error), error)
        except psycopg.OperationalError:
            raise
        except Exception as defect:  # noqa: BLE001 (a defect must end the job, not leave it open)
            _log.exception("a defect ended the job", stage=str(stage_id), job=str(claim.job_id))
            told = GenyardError(Code.internal, f"genyard failed ({type(defect).__name__}); see its log")
            await self._failed(claim, Outcome(state=AttemptState.failed, error=told), told)

    async def _run(self, claim: Claim, unsent: list[Plan]) -> None:
        if claim.expired:
            error = GenyardError(Code.expired, "its deadline passed before it could start")
            await self._end(claim, JobState.expired, Outcome(state=AttemptState.canceled, error=error))
            return
        if claim.key is None:
            error = GenyardError(Code.canceled, "canceled before it was submitted")
            await self._end(claim, JobState.canceled, Outcome(state=AttemptState.canceled, error=error))
            return
        provider = self._provider(claim)
        drive = _Drive(self, claim, provider, claim.key, unsent)
        if claim.job_state is JobState.canceling:
            drive.want_cancel()
        async with self._live.listening(claim.job_id, drive.hear):
            snapshot = await drive.to_the_end()
        await self._ended(replace(claim, ref=drive.ref), provider, snapshot)

    def _provider(self, claim: Claim) -> Provider:
        provider = self._providers.get(claim.endpoint)
        if provider is None:
            raise GenyardError(
                Code.settings_invalid, f"the endpoint {claim.endpoint!r} is no longer configured here"
            )
        return provider

    async def _ended(self, claim: Claim, provider: Provider, snapshot: Snapshot) -> None:
        if snapshot.state is State.succeeded:
            await self._succeeded(claim, provider, snapshot)
        elif snapshot is _DETACHED:
            error = GenyardError(
                Code.canceled, "canceled on request; it goes on at the place, which cannot stop it"
            )
            await self._end(claim, JobState.canceled, Outcome(state=AttemptState.detached, error=error))
            await self._follow(claim)
        elif snapshot.state is State.canceled:
            error = GenyardError(Code.canceled, "canceled on request")
            await self._end(claim, JobState.canceled, _outcome(AttemptState.canceled, snapshot, error))
        else:
            error = snapshot.error or GenyardError(Code.provider_failed, "the place gave no reason")
            state = AttemptState.lost if snapshot.state is State.lost else AttemptState.failed
            await self._failed(claim, _outcome(state, snapshot, error), error)

    async def _succeeded(self, claim: Claim, provider: Provider, snapshot: Snapshot) -> None:
        outcome = _outcome(AttemptState.succeeded, snapshot)
        try:
            outputs = await self._take_over(claim, provider, snapshot)
        except GenyardError as error:
            await self._failed(claim, replace(outcome, state=AttemptState.failed, error=error), error)
            return
        finished = await self._jobs.finish_stage(claim, outputs, outcome)
        if finished is None:
            await self._outputs.discard(tuple(one.blob.object for one in outputs))
            raise _FenceLost
        await self._outputs.discard(finished.unused)

    async def _take_over(self, claim: Claim, provider: Provider, snapshot: Snapshot) -> list[NewOutput]:
        kept = frozenset(step for step, facts in claim.plan.facts.items() if facts.get("delivered", True))
        plan = replace(
            claim.plan,
            facts={
                step: {name: value for name, value in facts.items() if name != "delivered"}
                for step, facts in claim.plan.facts.items()
            },
        )
        return await self._outputs.take_over(provider, plan, snapshot.outputs, kept)

    async def _follow(self, claim: Claim) -> None:
        """A canceled run that its place could not stop: to its end, for what it costs; what it makes is kept, but
        delivered to nobody."""
        assert claim.ref is not None
        provider = self._provider(claim)
        snapshot = await _to_the_end(provider, claim.ref)
        outputs: list[NewOutput] = []
        if snapshot.state is State.succeeded:
            try:
                outputs = await self._take_over(claim, provider, snapshot)
            except GenyardError as error:
                _log.info("a detached run left nothing usable", job=str(claim.job_id), code=error.code.value)
        unused = await self._jobs.finish_detached(claim, outputs, _outcome(AttemptState.detached, snapshot))
        await self._outputs.discard(tuple(one.blob.object for one in outputs) if unused is None else unused)

    async def _failed(self, claim: Claim, outcome: Outcome, error: GenyardError) -> None:
        if error.code is Code.provider_lost:
            outcome = replace(outcome, state=AttemptState.lost)
        if self._may_retry(claim, error):
            retried = await self._jobs.retry_stage(
                claim,
                outcome,
                seconds_until=max(self._pace.delay(claim.number), _asked_to_wait(error)),
                detail=f"try {claim.number} failed: {error.message}"[:300],
            )
            if retried:
                return
        await self._end(claim, JobState.failed, outcome)

    def _may_retry(self, claim: Claim, error: GenyardError) -> bool:
        """A lost run is tried again only where the place was asked and knows nothing of it any more."""
        provider = self._providers.get(claim.endpoint)
        if provider is None:
            return False
        paid_runs = MAX_PAID_RUNS if provider.capabilities.paid else MAX_ATTEMPTS
        if error.code is Code.provider_lost:
            return provider.capabilities.finds and claim.number < paid_runs
        if error.code is Code.provider_busy:
            return claim.number < MAX_BUSY_ATTEMPTS
        if error.code is Code.provider_unreachable:
            return claim.number < MAX_ATTEMPTS
        return error.remedy is Remedy.retry_here and claim.number < paid_runs

    async def _end(self, claim: Claim, job_state: JobState, outcome: Outcome) -> None:
        await self._jobs.end_job(claim, job_state, outcome)
        code = outcome.error.code.value if outcome.error else ""
        _log.info("the job ended", job=str(claim.job_id), state=job_state.value, code=code)

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
            link=(lambda: self._link(name)) if self._storage.gives_links else None,
        )

    async def _link(self, name: str) -> str:
        link = await self._storage.link(name, LINK_SECONDS)
        assert link is not None
        return link

    def webhook(self, claim: Claim, provider: Provider) -> str | None:
        """Where the place may say that something happened to this attempt."""
        if claim.key is None or not provider.capabilities.webhooks:
            return None
        return self._hooks.url(claim.endpoint, claim.key)

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
                "cold": snapshot.cold,
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
        self.ref: Ref | None = None
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
        elif notice.kind == "wake":
            self._wake.set()
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
        ref = self.ref = await self._submitted()
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
        webhook = self._runner.webhook(claim, provider)
        ref = await provider.submit(self._unsent[0], self._key, media, webhook=webhook)
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
            try:
                snapshot = await self._provider.observe(ref, previous, self._wake)
                self._wake.clear()
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
            canceled = await self._provider.cancel(ref)
        except GenyardError as error:
            if error.code is not Code.provider_unreachable:
                raise
            await asyncio.sleep(_CANCEL_PAUSE_SECONDS)
            self._wake.set()
            return None
        self._cancel_sent = True
        return _DETACHED if canceled.refused else None

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
