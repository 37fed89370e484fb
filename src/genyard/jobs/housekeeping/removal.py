"""Owners that are deleted, with everything of theirs, and the bytes that nobody needs any more.

An owner is marked first: from then on nobody gets in as this owner and nothing new comes. The rest goes in batches, by
whoever asked for it or by any worker's keeper, and goes on after a crash. The books stay: they know owners by a number
alone, which nobody has any more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import psycopg

from genyard.database import Connection, Database, Row, load_queries
from genyard.errors import Code, GenyardError
from genyard.jobs.assets import delete_unused
from genyard.jobs.store import Jobs
from genyard.owners import LOCAL_OWNER
from genyard.storable import require_storable
from genyard.storage import Storage
from genyard.telemetry import get_logger

_log = get_logger(__name__)
_SQL = load_queries("genyard.jobs.housekeeping")

_BATCH: Final = 100
#: Between two batches: whoever else works has the database to itself.
PAUSE_SECONDS: Final = 0.02
_OBJECTS: Final = 500


@dataclass(frozen=True, kw_only=True)
class Leaving:
    """An owner that is being deleted. `left`: jobs, open (ones that have not ended), followed (runs that go on at a
    place that cannot stop them), assets; movements, written (those of them with a reason that people wrote) and
    credits are what stays in the books."""

    id: UUID
    name: str
    since: datetime
    left: Mapping[str, int]

    def as_json(self) -> dict[str, Any]:
        told = asdict(self)
        return {**told, "id": str(self.id), "since": self.since.isoformat(), "left": dict(self.left)}


class Removal:
    def __init__(self, *, database: Database, jobs: Jobs, storage: Storage) -> None:
        self._database = database
        self._jobs = jobs
        self._storage = storage

    # ---- owners ----

    async def begin(self, name: str, *, even_local: bool = False) -> Leaving:
        """Marks the owner, ends its keys, cancels what waits. `request.not_found`; `request.conflict` for the owner of
        the machine itself, unless it is meant."""
        require_storable(name, "owner")
        known = await self._database.row("SELECT id FROM owners WHERE name = %(name)s", name=name)
        if known is None:
            raise GenyardError(Code.not_found, f"no owner {name!r}", field="owner")
        if known["id"] == LOCAL_OWNER and not even_local:
            raise GenyardError(
                Code.request_conflict,
                f"{name} is the owner of whatever is made on this machine without a key; "
                "say that you mean it (even_local, --even-local)",
                field="owner",
            )
        marked = await self._database.row(_SQL("mark_owner"), name=name)
        if marked is None:
            raise GenyardError(Code.not_found, f"no owner {name!r}", field="owner")
        await self._cancel(marked["id"])
        return await self._leaving(marked)

    async def leaving(self) -> list[Leaving]:
        """Who is being deleted just now, the earliest first."""
        return [await self._leaving(row) for row in await self._database.rows(_SQL("owners_to_delete"))]

    async def _leaving(self, row: Row) -> Leaving:
        left = await self._database.row(_SQL("left_of_owner"), owner_id=row["id"])
        assert left is not None
        return Leaving(
            id=row["id"],
            name=row["name"],
            since=row["deleting_at"],
            left={name: number or 0 for name, number in left.items()},
        )

    async def go_on(self, owner_id: UUID) -> bool:
        """Removes what can be removed now. True when nothing is left of the owner, False where something has to end
        first."""
        await self._cancel(owner_id)
        await self._database.execute(_SQL("give_up_following"), owner_id=owner_id)
        for query in ("delete_jobs_of_owner", "delete_assets_of_owner"):
            more = True
            while more:
                more = bool((await self.batch(query, owner_id=owner_id, limit=_BATCH))["count"])
                await asyncio.sleep(PAUSE_SECONDS if more else 0)
        await self.sweep_objects()
        try:
            async with self._database.transaction() as connection:
                for query in ("forget_turns", "forget_preference", "forget_spending"):
                    await connection.execute(_SQL(query), {"owner_id": owner_id})
                values = {"owner_id": owner_id, "local": LOCAL_OWNER}
                await self._require_empty(connection, owner_id)
                await connection.execute(_SQL("delete_owner"), values)
        except (psycopg.errors.ForeignKeyViolation, _NotYet):
            return False
        _log.info("an owner was deleted", owner=str(owner_id))
        return True

    async def _require_empty(self, connection: Connection, owner_id: UUID) -> None:
        """For the owner that stays; of others the tables themselves know."""
        found = await connection.execute(_SQL("left_of_owner"), {"owner_id": owner_id})
        left = await found.fetchone()
        if left is None or left["jobs"] or left["assets"]:
            raise _NotYet

    async def _cancel(self, owner_id: UUID) -> None:
        """What waits ends at once; what runs is stopped at its place, by its runner."""
        while found := await self._database.rows(_SQL("jobs_to_cancel"), owner_id=owner_id, limit=_BATCH):
            for row in found:
                await self._jobs.cancel(row["id"], owner_id)

    # ---- batches, and their bytes ----

    async def batch(self, query: str, **values: Any) -> Row:
        """One statement of `queries.sql` that removes rows and tells `count` and `hashes`; bytes that nobody else
        refers to are unwanted from its commit on."""
        async with self._database.transaction() as connection:
            row = await (await connection.execute(_SQL(query), values)).fetchone()
            assert row is not None
            await delete_unused(connection, row["hashes"])
        return row

    async def sweep_objects(self) -> int:
        """Deletes from the store what nobody needs any more. How many objects that were."""
        count = 0
        while rows := await self._database.rows(_SQL("unwanted"), limit=_OBJECTS):
            names = [row["object"] for row in rows]
            await self._storage.delete_many(names)
            await self._database.execute(_SQL("forget_unwanted"), objects=names)
            count += len(names)
        return count


class _NotYet(Exception):
    """Something of the owner has not ended."""
