"""What goes by age: jobs, events, outputs, uploads, messages. Nothing that is not asked for.

A tag keeps (`keep`, unless the settings name others). An asset stays while a job that stays was given it. Ages are read
from ids, which begin with the time at which they were made.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from genyard.database import Database, Row, load_queries
from genyard.jobs.housekeeping.removal import PAUSE_SECONDS, Removal
from genyard.settings import RetentionSettings
from genyard.telemetry import get_logger

_log = get_logger(__name__)
_SQL = load_queries("genyard.jobs.housekeeping")

_BATCH: Final = 200
_FIRST: Final = UUID(int=0)


class Retention:
    """`batch`: rows that one transaction looks at."""

    def __init__(
        self, *, database: Database, removal: Removal, settings: RetentionSettings, batch: int = _BATCH
    ) -> None:
        self._batch = batch
        self._database = database
        self._removal = removal
        self._settings = settings

    async def would_go(self, now: datetime | None = None) -> Mapping[str, int]:
        """What `go` would remove now: counts and bytes."""
        now = now or self._database.clock.surely()
        days = self._days()
        row = await self._database.row(
            _SQL("would_go"),
            **{kind: _bound(now, days[kind]) for kind in days},
            keep=list(self._settings.keep_tags),
            callbacks_before=_before(now, days["callbacks"]),
        )
        assert row is not None
        return row

    async def go(self, now: datetime | None = None) -> Mapping[str, int]:
        """Removes it, batch by batch; jobs first, because they keep what they were given. How many of each went."""
        now = now or self._database.clock.surely()
        days, keep = self._days(), list(self._settings.keep_tags)
        jobs = _bound(now, days["jobs"])
        gone = {
            "jobs": await self._all("retire_jobs", jobs, keep=keep),
            "outputs": await self._all(
                "retire_assets", _bound(now, days["outputs"]), keep=keep, jobs_bound=jobs, outputs=True
            ),
            "uploads": await self._all(
                "retire_assets", _bound(now, days["uploads"]), keep=keep, jobs_bound=jobs, outputs=False
            ),
            "events": await self._events(_bound(now, days["events"])),
            "callbacks": await self._all(
                "retire_callbacks", _bound(now, days["callbacks"]), before=_before(now, days["callbacks"])
            ),
        }
        await self._database.execute(_SQL("retire_the_rest"))
        if any(gone.values()):
            _log.info("retention", **gone)
        return gone

    async def _all(self, query: str, bound: UUID | None, **values: Any) -> int:
        return sum([row["count"] async for row in self._batches(query, bound, _FIRST, **values)])

    async def _events(self, bound: UUID | None) -> int:
        """From where the last sweep came to: jobs stay for longer than their events, and may be many."""
        before = await self._database.row(_SQL("reached"))
        count, whole = 0, True
        async for row in self._batches("retire_events", bound, (before and before["reached"]) or _FIRST):
            count += row["count"]
            whole = whole and not row["open"]
            if whole and row["last"] is not None:
                await self._database.execute(_SQL("reach"), reached=row["last"])
        return count

    async def _batches(
        self, query: str, bound: UUID | None, after: UUID, **values: Any
    ) -> AsyncIterator[Row]:
        """Rows of what was looked at, by id; to the first one that looked at nothing."""
        while bound is not None:
            row = await self._removal.batch(query, after=after, bound=bound, limit=self._batch, **values)
            yield row
            if row["last"] is None:
                return
            after = row["last"]
            await asyncio.sleep(PAUSE_SECONDS)

    def _days(self) -> dict[str, int | None]:
        given = self._settings
        return {
            "jobs": given.jobs,
            "outputs": given.outputs,
            "uploads": given.uploads,
            "events": given.events,
            "callbacks": given.callbacks,
        }


def _before(now: datetime, days: int | None) -> datetime | None:
    return None if days is None else now - timedelta(days=days)


def _bound(now: datetime, days: int | None) -> UUID | None:
    """The first id of that moment."""
    before = _before(now, days)
    return None if before is None else UUID(int=max(0, int(before.timestamp() * 1000)) << 80)
