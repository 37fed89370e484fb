"""The store and the tables compared: objects that no row names, rows whose object is not there.

Only objects that are named as ours are looked at, and only old ones are deleted: results that are just coming in have
no row yet. A store belongs to one database: a mark in it says to which, so that a second database on the same folder or
bucket deletes nothing of the first one's.
"""

from __future__ import annotations

import asyncio
import io
import secrets
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from genyard.database import Database, load_queries
from genyard.errors import Code, GenyardError
from genyard.jobs.assets import Assets
from genyard.storage import Page, Storage, Stored, age_of
from genyard.telemetry import get_logger

_log = get_logger(__name__)
_SQL = load_queries("genyard.jobs.housekeeping")

_MARK: Final = "genyard-store"
_SHOWN: Final = 20


@dataclass(frozen=True, kw_only=True)
class Orphans:
    """`objects` without a row, that have been there for long; `files` that were never finished; `missing`: rows without
    an object, a few of them by name."""

    objects: int = 0
    bytes: int = 0
    files: int = 0
    missing: int = 0
    examples: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "examples": list(self.examples)}


class OrphanSweep:
    """`incoming`: the folder in which results lie while they come in."""

    def __init__(self, *, database: Database, storage: Storage, incoming: Path, hours: int) -> None:
        self._database = database
        self._storage = storage
        self._incoming = incoming
        self._age = timedelta(hours=hours)

    async def look(self, now: datetime | None = None) -> Orphans:
        """Changes nothing."""
        return await self._sweep(now or self._database.clock.surely(), delete=False)

    async def go(self, now: datetime | None = None, *, adopt: bool = False) -> Orphans:
        """Deletes objects and files. `request.conflict` for a store that is another database's, unless `adopt`."""
        await self._require_own(adopt=adopt)
        found = await self._sweep(now or self._database.clock.surely(), delete=True)
        if found.objects or found.files or found.missing:
            _log.warning("the store was swept", **{**found.as_json(), "examples": ", ".join(found.examples)})
        return found

    async def _sweep(self, now: datetime, *, delete: bool) -> Orphans:
        objects = size = missing = 0
        examples: list[str] = []
        async for page in self._storage.pages():
            orphans, lost = await self._compare(page, now)
            objects += len(orphans)
            size += sum(one.bytes for one in orphans)
            missing += len(lost)
            examples += lost[: _SHOWN - len(examples)]
            if delete and orphans:
                await self._storage.delete_many([one.object for one in orphans])
        files = await self._old_files(delete=delete)
        return Orphans(
            objects=objects, bytes=size, files=files, missing=missing, examples=tuple(sorted(examples))
        )

    async def _compare(self, page: Page, now: datetime) -> tuple[list[Stored], list[str]]:
        """The store was listed first: what came between the two looks has a row and no object here, and is new."""
        listed = {one.object for one in page.objects}
        known = await self._known(page)
        old = [one for one in page.objects if one.object not in known and now - one.at > self._age]
        if old:
            watched = {row["object"] for row in await self._database.rows(_SQL("previews"))}
            old = [one for one in old if one.object not in watched]
        lost = [name for name in known - listed if not await self._storage.exists(name)]
        return old, sorted(await self._known(page) & set(lost)) if lost else []

    async def _known(self, page: Page) -> set[str]:
        hashes = [one.sha256 for one in page.objects]
        rows = await self._database.rows(_SQL("blobs_of"), first=page.first, last=page.last, hashes=hashes)
        return {row["object"] for row in rows}

    async def _old_files(self, *, delete: bool) -> int:
        def sweep(paths: list[Path]) -> int:
            old = [path for path in paths if path.is_file() and age_of(path) > self._age]
            for path in old if delete else ():
                path.unlink(missing_ok=True)
            return len(old)

        unfinished = await self._storage.unfinished()
        return await asyncio.to_thread(lambda: sweep([*unfinished, *self._incoming.glob("*")]))

    async def _require_own(self, *, adopt: bool) -> None:
        ours = await Assets(self._database).secret("store", secrets.token_bytes(16))
        if await self._storage.exists(_MARK):
            theirs = await self._storage.read(_MARK)
            if theirs == ours.hex().encode():
                return
            if not adopt:
                raise GenyardError(
                    Code.request_conflict,
                    f"{self._storage.where} was last swept by another database, and what that one knows of would be "
                    "deleted; say that it is not used any more, or leave the store as it is",
                    field="store",
                )
        await self._storage.write(_MARK, io.BytesIO(ours.hex().encode()))
