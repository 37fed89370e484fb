"""What a job, an attempt and an asset are, and which states may follow which."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, Literal
from uuid import UUID

from genyard.providers import Cost


class JobState(StrEnum):
    queued = "queued"
    running = "running"
    canceling = "canceling"
    succeeded = "succeeded"
    failed = "failed"
    canceled = "canceled"
    expired = "expired"

    @property
    def ended(self) -> bool:
        return not JOB_TRANSITIONS[self]


class StageState(StrEnum):
    waiting = "waiting"
    ready = "ready"
    running = "running"
    succeeded = "succeeded"
    failed = "failed"
    canceled = "canceled"
    superseded = "superseded"


class AttemptState(StrEnum):
    submitting = "submitting"
    running = "running"
    succeeded = "succeeded"
    failed = "failed"
    canceled = "canceled"
    lost = "lost"
    detached = "detached"


#: Drawn in docs/explanation/states.md; the statements in queries.sql follow them.
JOB_TRANSITIONS: Final[Mapping[JobState, frozenset[JobState]]] = {
    JobState.queued: frozenset({JobState.running, JobState.canceled, JobState.expired, JobState.failed}),
    JobState.running: frozenset({JobState.canceling, JobState.succeeded, JobState.failed, JobState.canceled}),
    JobState.canceling: frozenset({JobState.canceled, JobState.failed}),
    JobState.succeeded: frozenset(),
    JobState.failed: frozenset(),
    JobState.canceled: frozenset(),
    JobState.expired: frozenset(),
}
STAGE_TRANSITIONS: Final[Mapping[StageState, frozenset[StageState]]] = {
    StageState.waiting: frozenset({StageState.ready, StageState.canceled}),
    StageState.ready: frozenset({StageState.running, StageState.canceled}),
    StageState.running: frozenset(
        {
            StageState.ready,
            StageState.succeeded,
            StageState.failed,
            StageState.canceled,
            StageState.superseded,
        }
    ),
    StageState.succeeded: frozenset(),
    StageState.failed: frozenset(),
    StageState.canceled: frozenset(),
    StageState.superseded: frozenset(),
}
ATTEMPT_TRANSITIONS: Final[Mapping[AttemptState, frozenset[AttemptState]]] = {
    AttemptState.submitting: frozenset(
        {AttemptState.running, AttemptState.failed, AttemptState.canceled, AttemptState.lost}
    ),
    AttemptState.running: frozenset(
        {
            AttemptState.succeeded,
            AttemptState.failed,
            AttemptState.canceled,
            AttemptState.lost,
            AttemptState.detached,
        }
    ),
    AttemptState.succeeded: frozenset(),
    AttemptState.failed: frozenset(),
    AttemptState.canceled: frozenset(),
    AttemptState.lost: frozenset(),
    AttemptState.detached: frozenset(),
}


@dataclass(frozen=True, kw_only=True)
class Asset:
    """An owner's reference to stored bytes. Outputs of a job have job_id, step, role and position."""

    id: UUID
    owner_id: UUID
    sha256: str
    object: str
    bytes: int
    media_type: str
    role: str
    name: str
    width: int | None
    height: int | None
    seconds: float | None
    facts: Mapping[str, Any]
    prompt: str
    tags: tuple[str, ...]
    job_id: UUID | None
    step: str | None
    position: int | None
    created_at: datetime

    def as_json(self) -> dict[str, Any]:
        """For programs. Where the bytes lie in the store is nobody's business."""
        return {
            "id": str(self.id),
            "role": self.role,
            "media_type": self.media_type,
            "bytes": self.bytes,
            "sha256": self.sha256,
            "width": self.width,
            "height": self.height,
            "seconds": self.seconds,
            "name": self.name,
            "tags": list(self.tags),
            "facts": dict(self.facts),
            "job_id": str(self.job_id) if self.job_id else None,
            "step": self.step,
            "position": self.position,
            "created_at": self.created_at.isoformat(),
        }


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One try, as it can be seen on the job. `paid` runs whose `cost` is None cost something that nobody has told.
    `seconds` of execution are what the place reported, else measured from when it was first seen running."""

    stage: int
    number: int
    endpoint: str
    state: AttemptState
    word: str | None
    seconds: float | None
    seconds_source: Literal["reported", "measured"] | None
    waited: float | None
    paid: bool
    cost: Cost | None
    error: Mapping[str, Any] | None
    created_at: datetime
    submitted_at: datetime | None
    finished_at: datetime | None

    @property
    def may_have_run(self) -> bool:
        """Whether it has left, as far as anybody knows: what is lost may have."""
        return self.submitted_at is not None or self.state is AttemptState.lost

    def as_json(self) -> dict[str, Any]:
        return {
            "stage": self.stage,
            "number": self.number,
            "endpoint": self.endpoint,
            "state": self.state.value,
            "word": self.word,
            "seconds": self.seconds,
            "seconds_source": self.seconds_source,
            "waited": self.waited,
            "cost": None if self.cost is None else {"usd": self.cost.usd, "source": self.cost.source},
            "error": self.error,
            "created_at": self.created_at.isoformat(),
            "submitted_at": _iso(self.submitted_at),
            "finished_at": _iso(self.finished_at),
        }


@dataclass(frozen=True, kw_only=True)
class Credits:
    """What a job costs its owner: told at submit, held while it is open, charged at its end, given back."""

    price: int
    reserved: int
    charged: int
    refunded: int


@dataclass(frozen=True, kw_only=True)
class Standing:
    """Where a queued job stands at its endpoint: 1 is the next. `starts_in`: seconds, from … to, by what runs took of
    late; None where nobody can know, as while the endpoint is paused."""

    position: int
    endpoint: str
    paused: bool
    starts_in: tuple[float, float] | None

    @property
    def words(self) -> str:
        """For people."""
        if self.paused:
            return f"number {self.position} in the queue of {self.endpoint}, which is paused"
        if self.starts_in is None:
            return f"number {self.position} in the queue"
        return f"number {self.position} in the queue, starts in {_range(*self.starts_in)}"

    def as_json(self) -> dict[str, Any]:
        told = None if self.starts_in is None else {"least": self.starts_in[0], "most": self.starts_in[1]}
        return {
            "position": self.position,
            "endpoint": self.endpoint,
            "paused": self.paused,
            "starts_in": told,
        }


@dataclass(frozen=True, kw_only=True)
class Job:
    """What was asked, where it stands, what came of it."""

    id: UUID
    owner_id: UUID
    state: JobState
    operation: str
    steps: tuple[Mapping[str, Any], ...]
    prompt: str
    tags: tuple[str, ...]
    trace_id: str
    priority: int
    rerun_of: UUID | None
    previews: bool
    embed_prompt: bool
    detail: str | None
    progress: float | None
    preview_key: str | None
    error: Mapping[str, Any] | None
    event_seq: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    expires_at: datetime | None
    credits: Credits | None = None
    webhook: Mapping[str, Any] | None = None
    policy: Mapping[str, Any] | None = None
    grace: float | None = None
    outputs: tuple[Asset, ...] = ()
    attempts: tuple[Attempt, ...] = ()
    queue: Standing | None = None

    def as_json(self) -> dict[str, Any]:
        return {
            "id": str(self.id),
            "state": self.state.value,
            "operation": self.operation,
            "steps": list(self.steps),
            "tags": list(self.tags),
            "trace_id": self.trace_id,
            "priority": self.priority,
            "rerun_of": str(self.rerun_of) if self.rerun_of else None,
            "previews": self.previews,
            "embed_prompt": self.embed_prompt,
            "detail": self.detail,
            "progress": self.progress,
            "error": self.error,
            "created_at": self.created_at.isoformat(),
            "started_at": _iso(self.started_at),
            "finished_at": _iso(self.finished_at),
            "expires_at": _iso(self.expires_at),
            "webhook_url": self.webhook["url"] if self.webhook else None,
            "webhook_events": list(self.webhook["events"]) if self.webhook else [],
            "webhook_prompts": self.webhook["prompts"] if self.webhook else False,
            "policy": self.policy,
            "on_disconnect": "continue" if self.grace is None else "cancel",
            "queue": self.queue.as_json() if self.queue else None,
            "cost": self._cost(),
            "gpu_seconds": self._gpu_seconds(),
            "credits": asdict(self.credits) if self.credits else None,
            "outputs": [asset.as_json() for asset in self.outputs],
            "attempts": [attempt.as_json() for attempt in self.attempts],
        }

    def _cost(self) -> dict[str, Any] | None:
        """Of all attempts: the known sum, and whether some part of it is not known. None where nothing was paid."""
        left = [one for one in self.attempts if one.paid and one.may_have_run]
        if not left:
            return None
        known = [one.cost.usd for one in left if one.cost is not None]
        return {"usd": sum(known) if known else None, "complete": len(known) == len(left)}

    def _gpu_seconds(self) -> dict[str, Any] | None:
        """Of all attempts that may have left: the known sum, whether a part of it is only measured, or not known."""
        left = [one for one in self.attempts if one.may_have_run]
        if not left:
            return None
        known = [one.seconds for one in left if one.seconds is not None]
        sources = {one.seconds_source for one in left if one.seconds is not None}
        source = "measured" if "measured" in sources else "reported" if known else None
        return {
            "seconds": sum(known) if known else None,
            "source": source,
            "complete": len(known) == len(left),
        }


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that happened to a job. `seq` is None for progress, which is not kept.

    kinds: queued running retrying canceling succeeded failed canceled expired, and progress
    """

    job_id: UUID
    kind: str
    seq: int | None = None
    at: datetime | None = None
    data: Mapping[str, Any]


def new_id() -> UUID:
    """A UUID of version 7: ids sort by the time at which they were made."""
    milliseconds = time.time_ns() // 1_000_000
    value = (milliseconds << 80) | int.from_bytes(os.urandom(10))
    value = (value & ~(0xF << 76)) | (0x7 << 76)
    value = (value & ~(0x3 << 62)) | (0x2 << 62)
    return UUID(int=value)


def _range(least: float, most: float) -> str:
    """`20–40 s`, `3–8 min`: no closer than anybody knows."""
    unit, name = (1.0, "s") if most < 90 else (60.0, "min") if most < 5400 else (3600.0, "h")
    first, last = math.floor(least / unit), math.ceil(most / unit)
    return f"{first}–{last} {name}" if first < last else f"{last} {name}"


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None
