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
import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final
from uuid import UUID, uuid4

from genyard.database import OUTAGES
from genyard.errors import Code, GenyardError
from genyard.jobs.assets import NewOutput
from genyard.jobs.drive import DETACHED, Drive, FenceLost, Meter, Surroundings, even_if_stopped, to_the_end
from genyard.jobs.handover import Handover
from genyard.jobs.live import Live
from genyard.jobs.model import AttemptState, JobState
from genyard.jobs.outputs import OutputStore
from genyard.jobs.records import Claim, Given, Outcome
from genyard.jobs.tries import may_try_again
from genyard.providers import Plan, Provider, Snapshot, State
from genyard.storable import as_storable
from genyard.telemetry import bind_trace, get_logger

_log = get_logger(__name__)

#: A place may ask for a longer pause than we would make; one that asks for days is looked at again sooner.
LONGEST_PAUSE: Final = 3600.0


@dataclass(frozen=True, kw_only=True)
class Pace:
    """Seconds between tries: 1, 4, … with jitter. Tests pass a quicker one.

    stopping   how long a runner that is stopped may go on with what it is just sending or fetching
    """

    first_retry: float = 1.0
    factor: float = 4.0
    longest: float = 60.0
    stopping: float = 5.0

    def delay(self, number: int) -> float:
        grown = min(self.longest, self.first_retry * self.factor ** (number - 1))
        return grown * random.uniform(0.8, 1.2)  # noqa: S311


def _outcome(
    state: AttemptState, snapshot: Snapshot, meter: Meter, error: GenyardError | None = None
) -> Outcome:
    measured = snapshot.seconds is None
    return Outcome(
        state=state,
        error=error,
        word=snapshot.word,
        seconds=meter.seconds if measured else snapshot.seconds,
        measured=measured,
        waited=snapshot.waited,
        cost=snapshot.cost,
    )


_UNSEEN: Final = Snapshot(state=State.failed)


def _asked_to_wait(error: GenyardError) -> float:
    """Seconds that the place wants us to wait, if it said so. It may have said so by a date, and our clock be off."""
    wanted = error.context.get("retry_after", 0)
    return min(float(wanted), LONGEST_PAUSE) if isinstance(wanted, int | float) and wanted > 0 else 0.0


class Runner:
    """Runs stages in one process; `run` may be called for many at once."""

    def __init__(
        self,
        *,
        around: Surroundings,
        live: Live,
        outputs: OutputStore,
        providers: Mapping[str, Provider],
        pace: Pace | None = None,
    ) -> None:
        self._around = around
        self._jobs = around.jobs
        self._live = live
        self._outputs = outputs
        self._providers = providers
        self._pace = pace or Pace()
        self._handover = Handover(around.jobs)

    async def run(self, stage_id: UUID, epoch: int, worker_id: int) -> None:
        """Ends when the stage has ended, waits for its next try, or belongs to somebody else. Errors of the
        database are raised: they say nothing about the run, which goes on at its place. Where it is canceled, the
        stage goes to others: nothing is canceled at the place."""
        key = uuid4()
        driven: list[Drive] = []
        try:
            await self._claimed(stage_id, epoch, worker_id, key, driven)
        except asyncio.CancelledError:
            sent = any(drive.sent for drive in driven)
            unsent = None if sent else key
            self._handover.give(Given(stage_id=stage_id, epoch=epoch, worker_id=worker_id, unsent=unsent))
            raise

    async def handed_on(self) -> None:
        """After runs were stopped: returns once others know of their stages."""
        await self._handover.done()

    async def _claimed(
        self, stage_id: UUID, epoch: int, worker_id: int, key: UUID, driven: list[Drive]
    ) -> None:
        since = self._around.clock()
        claim = await self._jobs.claim(stage_id, epoch, worker_id, key)
        if claim is None:
            detached = await self._jobs.claim_detached(stage_id, epoch, worker_id)
            if detached is not None:
                await self._follow(detached, Meter(self._around.clock, detached.ran))
            return
        unsent = [claim.plan]
        claim = replace(claim, plan=replace(claim.plan, payload={}))
        bind_trace(claim.trace_id)
        try:
            await self._run(claim, unsent, driven, since)
        except FenceLost:
            _log.warning("another runner has taken the stage over", stage=str(stage_id))
        except GenyardError as error:
            failed = self._failed(claim, Outcome(state=AttemptState.failed, error=error), error)
            await even_if_stopped(failed, self._pace.stopping)  # nobody else knows that nothing runs
        except OUTAGES:
            raise
        except Exception as defect:  # noqa: BLE001 (a defect must end the job, not leave it open)
            _log.exception("a defect ended the job", stage=str(stage_id), job=str(claim.job_id))
            told = GenyardError(Code.internal, f"genyard failed ({type(defect).__name__}); see its log")
            await self._failed(claim, Outcome(state=AttemptState.failed, error=told), told)

    async def _run(self, claim: Claim, unsent: list[Plan], driven: list[Drive], since: float) -> None:
        if claim.expired:
            error = GenyardError(Code.expired, "its deadline passed before it could start")
            await self._end(claim, JobState.expired, Outcome(state=AttemptState.canceled, error=error))
            return
        if claim.key is None:
            error = GenyardError(Code.canceled, "canceled before it was submitted")
            await self._end(claim, JobState.canceled, Outcome(state=AttemptState.canceled, error=error))
            return
        provider = self._provider(claim)
        drive = Drive(self._around, claim, provider, claim.key, unsent, self._pace.stopping, since)
        driven.append(drive)
        if claim.job_state is JobState.canceling:
            drive.want_cancel()
        try:
            async with self._live.listening(claim.job_id, drive.hear):
                snapshot = await drive.to_the_end()
        except GenyardError as error:
            await self._failed(claim, _outcome(AttemptState.failed, _UNSEEN, drive.meter, error), error)
            return
        await self._ended(replace(claim, ref=drive.ref), provider, snapshot, drive.meter)

    def _provider(self, claim: Claim) -> Provider:
        provider = self._providers.get(claim.endpoint)
        if provider is None:
            raise GenyardError(
                Code.settings_invalid, f"the endpoint {claim.endpoint!r} is no longer configured here"
            )
        return provider

    async def _ended(self, claim: Claim, provider: Provider, snapshot: Snapshot, meter: Meter) -> None:
        if snapshot.state is State.succeeded:
            await even_if_stopped(self._succeeded(claim, provider, snapshot, meter), self._pace.stopping)
        elif snapshot is DETACHED:
            error = GenyardError(
                Code.canceled, "canceled on request; it goes on at the place, which cannot stop it"
            )
            if await self._end(claim, JobState.canceled, Outcome(state=AttemptState.detached, error=error)):
                await self._follow(claim, meter)
        elif snapshot.state is State.canceled:
            error = GenyardError(Code.canceled, "canceled on request")
            await self._end(claim, JobState.canceled, _outcome(AttemptState.canceled, snapshot, meter, error))
        else:
            error = snapshot.error or GenyardError(Code.provider_failed, "the place gave no reason")
            state = AttemptState.lost if snapshot.state is State.lost else AttemptState.failed
            await self._failed(claim, _outcome(state, snapshot, meter, error), error)

    async def _succeeded(self, claim: Claim, provider: Provider, snapshot: Snapshot, meter: Meter) -> None:
        outcome = _outcome(AttemptState.succeeded, snapshot, meter)
        try:
            outputs = await self._take_over(claim, provider, snapshot)
        except GenyardError as error:
            await self._failed(claim, replace(outcome, state=AttemptState.failed, error=error), error)
            return
        finished = await self._jobs.finish_stage(claim, outputs, outcome)
        if finished is None:
            await self._outputs.discard(tuple(one.blob.object for one in outputs))
            raise FenceLost
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

    async def _follow(self, claim: Claim, meter: Meter) -> None:
        """A canceled run that its place could not stop: to its end, for what it costs; what it makes is kept, but
        delivered to nobody."""
        assert claim.ref is not None
        provider = self._provider(claim)
        snapshot = await to_the_end(provider, claim.ref, self._around.clock, meter)
        outputs: list[NewOutput] = []
        if snapshot.state is State.succeeded:
            try:
                outputs = await self._take_over(claim, provider, snapshot)
            except GenyardError as error:
                _log.info("a detached run left nothing usable", job=str(claim.job_id), code=error.code.value)
        unused = await self._jobs.finish_detached(
            claim, outputs, _outcome(AttemptState.detached, snapshot, meter)
        )
        await self._outputs.discard(tuple(one.blob.object for one in outputs) if unused is None else unused)

    async def _failed(self, claim: Claim, outcome: Outcome, error: GenyardError) -> None:
        if error.code is Code.provider_lost:
            outcome = replace(outcome, state=AttemptState.lost)
        if self._may_retry(claim, error):
            retried = await self._jobs.retry_stage(
                claim,
                outcome,
                seconds_until=max(self._pace.delay(claim.number), _asked_to_wait(error)),
                detail=as_storable(f"try {claim.number} failed: {error.message}")[:300],
            )
            if retried:
                return
        await self._end(claim, JobState.failed, outcome)

    def _may_retry(self, claim: Claim, error: GenyardError) -> bool:
        provider = self._providers.get(claim.endpoint)
        return provider is not None and may_try_again(error, claim, provider.capabilities)

    async def _end(self, claim: Claim, job_state: JobState, outcome: Outcome) -> bool:
        """False when the stage is another runner's by now."""
        ended = await self._jobs.end_job(claim, job_state, outcome)
        code = outcome.error.code.value if outcome.error else ""
        if ended:
            _log.info("the job ended", job=str(claim.job_id), state=job_state.value, code=code)
        return ended
