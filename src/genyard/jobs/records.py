"""What goes into the tables of jobs and what comes back, typed. The statements are `store`'s."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import psycopg
from psycopg.types.json import Jsonb
from pydantic import TypeAdapter

from genyard.database import Row
from genyard.errors import Code, GenyardError
from genyard.jobs.assets import NewOutput
from genyard.jobs.model import Asset, Attempt, AttemptState, Credits, Job, JobState, Standing, new_id
from genyard.ledger import refusal
from genyard.ledger.prices import JobPrice
from genyard.pipelines import StageDraft
from genyard.providers import BoundStep, Cost, Plan
from genyard.settings.money import NO_BUDGET, Budget
from genyard.storable import as_storable, number_within
from genyard.storage import Blob

_PLAN = TypeAdapter(Plan)
_STEPS = TypeAdapter(tuple[BoundStep, ...])
#: Where nobody knows when there will be room.
_RETRY_SECONDS: Final = 10
#: What a place says beyond these is not believed: then it is not known.
_MOST_SECONDS: Final = 30 * 86_400.0
_MOST_USD: Final = 1_000_000.0
_LONGEST_WORD: Final = 200


@dataclass(frozen=True, kw_only=True)
class NewStage:
    """`reserved_usd`: what it holds of its endpoint's daily cap; None where nothing is paid. `rebuys`: a run whose
    outcome cannot be learnt is bought once more."""

    draft: StageDraft
    plan: Plan
    estimate: Cost | None = None
    reserved_usd: float | None = None
    rebuys: bool = False


@dataclass(frozen=True, kw_only=True)
class NewJob:
    """What `insert` stores. `expires_in`: seconds, by the database's clock. `price`: what its owner pays, in credits;
    None where nothing is to be paid. `budget`: what its owner may spend at the places, unless the owner's own row says
    otherwise. `grace`: seconds without a watcher after which it is canceled; None: it goes on by itself."""

    id: UUID
    owner_id: UUID
    steps: Sequence[Mapping[str, Any]]
    operation: str
    prompt: str
    trace_id: str
    stages: tuple[NewStage, ...]
    tags: tuple[str, ...] = ()
    priority: int = 0
    idempotency_key: str | None = None
    request_hash: bytes | None = None
    rerun_of: UUID | None = None
    previews: bool = False
    embed_prompt: bool = False
    expires_in: float | None = None
    webhook: Mapping[str, Any] | None = None
    policy: Mapping[str, Any] | None = None
    price: JobPrice | None = None
    budget: Budget = NO_BUDGET
    grace: float | None = None


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A stage that a runner has taken.

    fresh   the attempt was opened just now
    left    it may have been submitted before, as far as is written
    ran     seconds since the run was first seen running by whoever drove it before
    bought  how many former attempts have left, or may have
    rebuys  whether a run whose outcome cannot be learnt is bought once more
    """

    stage_id: UUID
    epoch: int
    job_id: UUID
    owner_id: UUID
    job_state: JobState
    trace_id: str
    prompt: str
    previews: bool
    endpoint: str
    plan: Plan
    key: UUID | None
    number: int
    ref: Mapping[str, Any] | None
    fresh: bool
    left: bool
    expired: bool
    started_seq: int | None
    ran: float | None
    bought: int
    rebuys: bool


@dataclass(frozen=True, kw_only=True)
class Given:
    """A stage that its runner leaves to others. `unsent`: the key of an attempt of which nothing has left."""

    stage_id: UUID
    epoch: int
    worker_id: int
    unsent: UUID | None


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How an attempt ended. `word`, `waited`, `cost` are the place's own, see `providers.Snapshot`; so is `seconds`
    unless it was `measured` by us."""

    state: AttemptState
    error: GenyardError | None = None
    word: str | None = None
    seconds: float | None = None
    measured: bool = False
    waited: float | None = None
    cost: Cost | None = None

    def values(self) -> dict[str, Any]:
        return {
            "attempt_state": self.state.value,
            "error": Jsonb(as_storable(self.error.as_json())) if self.error else None,
            **self.facts(),
        }

    def facts(self) -> dict[str, Any]:
        usd = number_within(self.cost.usd, 0, _MOST_USD) if self.cost else None
        seconds = number_within(self.seconds, 0, _MOST_SECONDS)
        return {
            "word": as_storable(self.word)[:_LONGEST_WORD] if self.word is not None else None,
            "seconds": seconds,
            "seconds_source": None if seconds is None else "measured" if self.measured else "reported",
            "waited": number_within(self.waited, 0, _MOST_SECONDS),
            "cost_usd": usd,
            "cost_source": self.cost.source if self.cost and usd is not None else None,
        }


@dataclass(frozen=True, kw_only=True)
class Spending:
    """US dollars of today (UTC): spent or held by open stages, and the cap; the same of this month, if it has one."""

    endpoint: str
    usd: float
    cap: float
    month_usd: float | None = None
    month_cap: float | None = None


@dataclass(frozen=True, kw_only=True)
class Finished:
    """What `finish_stage` did. `unused`: objects whose bytes were stored before under another name."""

    next_endpoint: str | None
    job_state: JobState | None
    unused: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class StageOutput:
    step: str
    role: str
    blob: Blob
    width: int | None
    height: int | None


def job_values(job: NewJob) -> dict[str, Any]:
    return {
        "id": job.id,
        "owner_id": job.owner_id,
        "request": Jsonb(list(job.steps)),
        "operation": job.operation,
        "prompt": job.prompt,
        "tags": list(job.tags),
        "trace_id": job.trace_id,
        "priority": job.priority,
        "idempotency_key": job.idempotency_key,
        "request_hash": job.request_hash,
        "rerun_of": job.rerun_of,
        "previews": job.previews,
        "embed_prompt": job.embed_prompt,
        "webhook": Jsonb(dict(job.webhook)) if job.webhook else None,
        "policy": Jsonb(dict(job.policy)) if job.policy else None,
        "expires_in": job.expires_in,
        "grace": job.grace,
        "credits": job.price.credits if job.price else None,
        "credit_terms": Jsonb(dict(job.price.terms)) if job.price else None,
        "stages": Jsonb(
            [
                {
                    "id": str(new_id()),
                    "endpoint": stage.draft.endpoint,
                    "model": model_of(stage.draft),
                    "steps": _STEPS.dump_python(stage.draft.steps, mode="json"),
                    "plan": _PLAN.dump_python(stage.plan, mode="json"),
                    "reserved_usd": stage.reserved_usd,
                    "rebuys": stage.rebuys,
                }
                for stage in job.stages
            ]
        ),
    }


def model_of(draft: StageDraft) -> str | None:
    """What must be loaded for it. A workflow of the caller's own loads whatever it names: nobody knows."""
    models = {step.binding.model for step in draft.steps if step.operation != "run_workflow"}
    return "+".join(sorted(models)) or None


def claim_of(row: Row, epoch: int) -> Claim:
    started = row["job_state"] == "queued" and row["new_key"] is not None
    return Claim(
        stage_id=row["stage_id"],
        epoch=epoch,
        job_id=row["job_id"],
        owner_id=row["owner_id"],
        job_state=JobState.running if started else JobState(row["job_state"]),
        trace_id=row["trace_id"],
        prompt=row["prompt"],
        previews=row["previews"],
        endpoint=row["endpoint"],
        plan=_PLAN.validate_python(row["plan"]),
        key=row["open_key"] or row["new_key"],
        number=row["open_number"] or row["new_number"] or 0,
        ref=row["open_ref"],
        fresh=row["new_key"] is not None,
        left=row["new_key"] is None and not row["open_here"],
        expired=bool(row["expired"]),
        started_seq=row["started_seq"],
        ran=row["ran"],
        bought=row["bought"],
        rebuys=row["rebuys"],
    )


def unused(outputs: Sequence[NewOutput], objects: Mapping[str, str] | None) -> tuple[str, ...]:
    """The objects whose bytes were stored before under another name."""
    kept = objects or {}
    return tuple(one.blob.object for one in outputs if kept.get(one.blob.sha256) != one.blob.object)


#: period of a cap → now, and when the next one begins
_PERIODS: Final[Mapping[str, tuple[str, str]]] = {
    "daily": ("today", "midnight"),
    "monthly": ("this month", "the first of the next"),
}


def refused_by_money(error: psycopg.Error) -> GenyardError | None:
    """An endpoint's cap, an owner's budget or credits; None for what is none of theirs."""
    if error.sqlstate == "GY001":
        return capped(json.loads(error.diag.message_detail or "{}"))
    return refusal(error)


def capped(told: Mapping[str, Any]) -> GenyardError:
    endpoint, spent, amount, cap = (told.get(name) for name in ("endpoint", "spent", "amount", "cap"))
    now, then = _PERIODS[told["period"]]
    setting = f"endpoints.{endpoint}.{told['period']}_cap_usd"
    return GenyardError(
        Code.spend_capped,
        f"{endpoint} has spent or holds ${spent:.2f} of the ${cap:.2f} that it may spend {now} (UTC), and this would "
        f"take ${amount:.4f} more; raise {setting} in genyard.toml or wait until {then}",
        field=setting,
        context=dict(told),
    )


def queue_full(told: Mapping[str, Any], standing: Standing | None) -> GenyardError:
    """`retry_after`: when the first of those who wait is likely to have started."""
    starts = standing.starts_in if standing else None
    seconds = min(3600, max(1, math.ceil(starts[1]))) if starts else _RETRY_SECONDS
    whose = "you have" if told["scope"] == "owner" else "there are"
    return GenyardError(
        Code.limit_exceeded,
        f"the queue is full: {whose} {told['waiting']} waiting jobs, and {told['limit']} may wait; "
        f"try again in {seconds} s",
        context={**told, "position": told["waiting"] + 1, "retry_after": seconds},
    )


def job_of(row: Row, outputs: Sequence[Asset]) -> Job:
    given = dict(row)
    given["steps"] = tuple(given.pop("request"))
    given["state"] = JobState(given["state"])
    given["tags"] = tuple(given["tags"])
    given["credits"] = Credits(**given["credits"]) if given["credits"] else None
    return Job(**given, outputs=_in_step_order(given["steps"], outputs))


def _in_step_order(steps: Sequence[Mapping[str, Any]], outputs: Sequence[Asset]) -> tuple[Asset, ...]:
    order = {step["name"]: position for position, step in enumerate(steps)}
    return tuple(sorted(outputs, key=lambda one: (order.get(one.step or "", 0), one.role, one.position or 0)))


def attempt_of(row: Row) -> Attempt:
    usd, source = row.pop("cost_usd"), row.pop("cost_source")
    cost = None if usd is None else Cost(usd=usd, source=source)
    how = row["seconds_source"] or (None if row["seconds"] is None else "reported")
    return Attempt(**{**row, "state": AttemptState(row["state"]), "cost": cost, "seconds_source": how})


def no_job(job_id: UUID) -> GenyardError:
    return GenyardError(Code.not_found, f"no job {job_id}", field="job_id")
