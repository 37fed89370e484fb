"""What somebody has to look at, judged from what the tables and the disk say. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from genyard.settings import AlertSettings

Row = Mapping[str, Any]

#: What these mean is in docs/howto/look-after.md.
BOOKS: Final = "books.unbalanced"
CODES: Final = (
    "worker.none",
    "worker.silent",
    "job.stuck",
    "job.crashing",
    "endpoint.unknown",
    "endpoint.paused",
    "endpoint.waiting",
    "callbacks.dead",
    "disk.low",
    "owner.leaving",
    BOOKS,
)
#: A worker beats every 2 s; its runs are taken from it after 10.
_SILENT_SECONDS: Final = 30.0
_LEAVING_SECONDS: Final = 86_400.0


@dataclass(frozen=True, kw_only=True)
class Alert:
    """`subject`: which endpoint, worker, owner. `since`: when it was first seen by a worker; None: just now."""

    code: str
    message: str
    subject: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    since: datetime | None = None

    def as_json(self) -> dict[str, Any]:
        return {
            "code": self.code,
            "subject": self.subject,
            "message": self.message,
            "facts": dict(self.facts),
            "since": self.since.isoformat() if self.since else None,
        }


@dataclass(frozen=True, kw_only=True)
class Disk:
    folder: str
    free: int
    total: int


@dataclass(frozen=True, kw_only=True)
class Seen:
    """At one moment. `slow`: of `slow_stages`; `endpoints`: of `all_queues`; `leaving`: owner → seconds."""

    workers: Sequence[Row]
    endpoints: Sequence[Row]
    slow: Sequence[Row]
    callbacks: Row
    leaving: Mapping[UUID, float]
    disk: Disk | None


def judge(seen: Seen, rules: AlertSettings, configured: Collection[str], now: datetime) -> list[Alert]:
    """`configured`: the endpoints that the settings name."""
    return [
        *_of_workers(seen),
        *_of_jobs(seen),
        *(alert for row in seen.endpoints for alert in _of_endpoint(row, rules, configured, now)),
        *_of_the_rest(seen, rules),
    ]


def _of_workers(seen: Seen) -> Iterator[Alert]:
    alive = [row for row in seen.workers if row["alive"]]
    work = sum(row["waiting"] + row["running"] for row in seen.endpoints)
    if work and not alive:
        yield Alert(
            code="worker.none",
            message=f"{work} submissions wait or run, and no worker is alive: start `genyard worker`",
            facts={"work": work},
        )
    for row in alive:
        if row["silent"] > _SILENT_SECONDS:
            yield Alert(
                code="worker.silent",
                subject=row["name"],
                message=f"worker {row['name']} is there, but has said nothing for {row['silent']:.0f} s: it hangs; "
                "others have its work",
                facts={"seconds": round(row["silent"])},
            )


def _of_jobs(seen: Seen) -> Iterator[Alert]:
    for row in seen.slow:
        yield Alert(
            code="job.stuck",
            subject=row["endpoint"],
            message=f"{row['count']} runs at {row['endpoint']} last longer than its time limits explain, the oldest "
            f"{_span(row['oldest'])} (job {row['job_id']}); cancel it, look at the worker's log",
            facts={"count": row["count"], "job_id": str(row["job_id"]), "seconds": round(row["oldest"])},
        )


def _of_endpoint(
    row: Row, rules: AlertSettings, configured: Collection[str], now: datetime
) -> Iterator[Alert]:
    name, waiting, oldest = row["endpoint"], row["waiting"], row["oldest"] or 0.0
    facts = {"waiting": waiting, "seconds": round(oldest)}
    if row["suspects"]:
        yield Alert(
            code="job.crashing",
            subject=name,
            message=f"{row['suspects']} runs at {name} crashed their worker and are tried again",
            facts={"count": row["suspects"]},
        )
    if name not in configured and waiting + row["running"]:
        yield Alert(
            code="endpoint.unknown",
            subject=name,
            message=f"{waiting} submissions wait for {name}, which is not configured any more; configure it again, or "
            "cancel them",
            facts=facts,
        )
    if row["paused_at"] is not None:
        paused = (now - row["paused_at"]).total_seconds()
        if paused > rules.paused_minutes * 60:
            yield Alert(
                code="endpoint.paused",
                subject=name,
                message=f"{name} has been paused for {_span(paused)}, {waiting} wait; `genyard admin resume {name}`",
                facts={**facts, "paused_seconds": round(paused)},
            )
    elif waiting and oldest > rules.waiting_minutes * 60:
        yield Alert(
            code="endpoint.waiting",
            subject=name,
            message=f"{waiting} wait at {name}, the oldest for {_span(oldest)}: it takes less than it is given",
            facts=facts,
        )


def _of_the_rest(seen: Seen, rules: AlertSettings) -> Iterator[Alert]:
    if seen.callbacks["dead"]:
        yield Alert(
            code="callbacks.dead",
            message=f"{seen.callbacks['dead']} callbacks of the last day reached nobody; `genyard webhooks` shows them",
            facts={"count": seen.callbacks["dead"]},
        )
    disk = seen.disk
    if disk is not None and disk.free * 100 < disk.total * rules.disk_percent:
        yield Alert(
            code="disk.low",
            subject=disk.folder,
            message=f"{disk.free / 2**30:.1f} GiB are free of {disk.total / 2**30:.1f} where {disk.folder} lies",
            facts={"free": disk.free, "total": disk.total},
        )
    for owner_id, seconds in seen.leaving.items():
        if seconds > _LEAVING_SECONDS:
            yield Alert(
                code="owner.leaving",
                subject=str(owner_id),
                message=f"an owner has been leaving for {_span(seconds)}: something of it does not end",
                facts={"seconds": round(seconds)},
            )


def _span(seconds: float) -> str:
    for unit, name in ((86_400.0, "days"), (3600.0, "h"), (60.0, "min")):
        if seconds >= 2 * unit:
            return f"{seconds / unit:.0f} {name}"
    return f"{seconds:.0f} s"
