"""Workers, queues, callbacks, disk and what is wrong with them, at one moment: for people and for monitoring."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from genyard.database import Database, load_queries
from genyard.jobs.housekeeping.alerts import BOOKS, Alert, Disk, Row, Seen, judge
from genyard.jobs.records import Spending
from genyard.jobs.store import Jobs
from genyard.settings import AlertSettings

_SQL = load_queries("genyard.jobs.housekeeping")


@dataclass(frozen=True, kw_only=True)
class Overview:
    """`leaving`: how many owners are being deleted."""

    workers: Sequence[Row]
    endpoints: Sequence[Row]
    spending: Sequence[Spending]
    callbacks: Row
    leaving: int
    disk: Disk | None
    alerts: tuple[Alert, ...]

    def as_json(self) -> dict[str, Any]:
        return {
            "workers": [dict(row) for row in self.workers],
            "endpoints": [dict(row) for row in self.endpoints],
            "spending": [asdict(one) for one in self.spending],
            "callbacks": dict(self.callbacks),
            "leaving": self.leaving,
            "disk": asdict(self.disk) if self.disk else None,
            "alerts": [alert.as_json() for alert in self.alerts],
        }


class Overseer:
    """`limits`: endpoint → seconds after which nothing explains why a run still goes on. `folder`: where data lies."""

    def __init__(
        self,
        *,
        database: Database,
        jobs: Jobs,
        limits: Mapping[str, float],
        folder: Path,
        rules: AlertSettings,
    ) -> None:
        self._database = database
        self._jobs = jobs
        self._limits = limits
        self._folder = folder
        self._rules = rules

    async def look(self, now: datetime | None = None) -> Overview:
        now = now or datetime.fromtimestamp(self._database.clock(), UTC)
        seen = await self._see(now)
        rows = {(row["code"], row["subject"]): row for row in await self._database.rows(_SQL("alert_rows"))}
        found = [
            Alert(
                code=one.code,
                subject=one.subject,
                message=one.message,
                facts=one.facts,
                since=rows[one.code, one.subject]["since"] if (one.code, one.subject) in rows else None,
            )
            for one in judge(seen, self._rules, self._limits, now)
        ]
        # the proof of the books reads all of them: workers do that now and then
        found += [_alert_of(row) for row in rows.values() if row["code"] == BOOKS]
        return Overview(
            workers=seen.workers,
            endpoints=seen.endpoints,
            spending=await self._jobs.endpoints.spending(),
            callbacks=seen.callbacks,
            leaving=len(seen.leaving),
            disk=seen.disk,
            alerts=tuple(found),
        )

    async def _see(self, now: datetime) -> Seen:
        limits = [{"endpoint": name, "seconds": seconds} for name, seconds in self._limits.items()]
        callbacks = await self._database.row(_SQL("callbacks_now"))
        assert callbacks is not None
        leaving: dict[UUID, float] = {
            row["id"]: (now - row["deleting_at"]).total_seconds()
            for row in await self._database.rows(_SQL("owners_to_delete"))
        }
        return Seen(
            workers=await self._jobs.workers(),
            endpoints=await self._jobs.endpoints.queues(list(self._limits)),
            slow=await self._database.rows(_SQL("slow_stages"), limits=Jsonb(limits)),
            callbacks=callbacks,
            leaving=leaving,
            disk=await asyncio.to_thread(_disk, self._folder),
        )


def _alert_of(row: Row) -> Alert:
    return Alert(
        code=row["code"],
        subject=row["subject"],
        message=row["message"],
        facts=row["facts"],
        since=row["since"],
    )


def _disk(folder: Path) -> Disk | None:
    try:
        usage = shutil.disk_usage(folder)
    except OSError:
        return None
    return Disk(folder=str(folder), free=usage.free, total=usage.total)
