"""Numbered SQL files, each applied once, in order, under a lock; Procrastinate's own tables first.

Older processes go on working while a newer one applies a file, and afterwards: what a file may do so that they can is
said in `docs/howto/upgrade.md` and kept by `tests/unit/test_migrations.py`. A file whose head says otherwise:

    -- breaks older: WHY    an older genyard cannot work with the result; applied while no worker runs
    -- one by one           its statements run outside a transaction (CREATE INDEX CONCURRENTLY) and can be repeated
"""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata, resources
from typing import Any, Final

import psycopg
from psycopg.errors import DeadlockDetected, LockNotAvailable
from psycopg.rows import tuple_row

from genyard.errors import Code, GenyardError
from genyard.telemetry import get_logger

_log = get_logger(__name__)

#: Any number that no other program on this database would choose.
_LOCK: Final = 7_264_918_221
#: Who waits for a table's lock makes everybody wait who comes after. Longer than any statement of ours, hardly felt.
_LOCK_WAIT: Final = "500ms"
_PAUSE_SECONDS: Final = (0.5, 1.5)
#: Backups and reports may hold a table for a while.
PATIENCE_SECONDS: Final = 600.0

_Connection = psycopg.AsyncConnection[Any]


@dataclass(frozen=True, kw_only=True)
class Migration:
    name: str
    sql: str

    @property
    def breaks_older(self) -> bool:
        return re.search(r"^-- breaks older: \S", self.sql, re.MULTILINE) is not None

    @property
    def one_by_one(self) -> bool:
        return re.search(r"^-- one by one$", self.sql, re.MULTILINE) is not None

    @property
    def statements(self) -> list[str]:
        return [one.strip() for one in re.split(r";[ \t]*$", self.sql, flags=re.MULTILINE) if one.strip()]


def shipped() -> list[Migration]:
    """All of them, in order."""
    schema = (resources.files("procrastinate") / "sql" / "schema.sql").read_text()
    folder = resources.files("genyard.database") / "migrations"
    files = sorted((file for file in folder.iterdir() if file.name.endswith(".sql")), key=lambda f: f.name)
    return [
        Migration(name="procrastinate", sql=schema),
        *(Migration(name=file.name.removesuffix(".sql"), sql=file.read_text()) for file in files),
    ]


async def migrate(
    connection: _Connection,
    setting: str = "DATABASE_URL",
    migrations: Sequence[Migration] | None = None,
    patience: float = PATIENCE_SECONDS,
) -> None:
    """Brings the schema up to date. Safe from several processes at once, and under load: nobody waits long for it.
    `settings.invalid` (which names `setting`) where a newer genyard has made a database that this one cannot use, where
    workers run that a file would break, and where a table stays locked for longer than `patience`."""
    migrations = shipped() if migrations is None else migrations
    refuse = _Refusals(setting)
    if not _missing(migrations, await _applied(connection, migrations, refuse)):
        return
    deadline = asyncio.get_running_loop().time() + patience
    await _lock(connection, deadline, refuse)
    try:
        await connection.execute(
            "CREATE TABLE IF NOT EXISTS genyard_migrations "
            "(name text PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())"
        )
        for one in _missing(migrations, await _applied(connection, migrations, refuse)):
            if one.breaks_older:
                await _require_no_workers(connection, one, refuse)
            await _apply_patiently(connection, one, deadline, refuse)
    finally:
        await connection.execute("RESET lock_timeout")
        await connection.execute("SELECT pg_advisory_unlock(%s)", (_LOCK,))


async def applied(connection: _Connection) -> set[str]:
    """The names of what has been applied; none where genyard has never been."""
    async with connection.cursor(row_factory=tuple_row) as cursor:
        await cursor.execute("SELECT to_regclass('genyard_migrations') IS NOT NULL")
        if await cursor.fetchone() == (False,):
            return set()
        await cursor.execute("SELECT name FROM genyard_migrations")
        return {name for (name,) in await cursor.fetchall()}


def _missing(migrations: Sequence[Migration], applied: set[str]) -> list[Migration]:
    return [one for one in migrations if one.name not in applied]


async def _applied(connection: _Connection, migrations: Sequence[Migration], refuse: _Refusals) -> set[str]:
    """Refuses a database that is too new."""
    there = await (
        await connection.execute("SELECT to_regclass('genyard_migrations') IS NOT NULL")
    ).fetchone()
    assert there is not None
    if not there[0]:
        return set()
    query = "SELECT name, coalesce((to_jsonb(m)->>'breaks_older')::boolean, false) FROM genyard_migrations m"
    found = dict(await (await connection.execute(query)).fetchall())
    known = {one.name for one in migrations}
    newer = sorted(name for name, breaks in found.items() if breaks and name not in known)
    if newer:
        raise refuse.too_new(newer)
    return set(found)


async def _lock(connection: _Connection, deadline: float, refuse: _Refusals) -> None:
    """Asks again and again: who waits inside the server is a transaction that CREATE INDEX CONCURRENTLY waits for."""
    while True:
        row = await (await connection.execute("SELECT pg_try_advisory_lock(%s)", (_LOCK,))).fetchone()
        assert row is not None
        if row[0]:
            return
        if asyncio.get_running_loop().time() > deadline:
            raise refuse.locked("another process's migration")
        await asyncio.sleep(0.05)


async def _apply_patiently(
    connection: _Connection, one: Migration, deadline: float, refuse: _Refusals
) -> None:
    while True:
        try:
            return await _apply(connection, one)
        except (LockNotAvailable, DeadlockDetected) as busy:
            if asyncio.get_running_loop().time() > deadline:
                raise refuse.locked(one.name) from busy
            _log.warning("a migration waits: somebody holds a table; trying again", migration=one.name)
            await asyncio.sleep(random.uniform(*_PAUSE_SECONDS))  # noqa: S311


async def _apply(connection: _Connection, one: Migration) -> None:
    if one.one_by_one:
        await connection.execute(f"SET lock_timeout TO '{_LOCK_WAIT}'")
        for statement in one.statements:
            await connection.execute(statement.encode())
        await connection.execute("RESET lock_timeout")
    async with connection.transaction():
        await connection.execute(f"SET LOCAL lock_timeout TO '{_LOCK_WAIT}'")
        if not one.one_by_one:
            await connection.execute(one.sql.encode())
        if one.breaks_older:
            await connection.execute(
                "ALTER TABLE genyard_migrations ADD COLUMN IF NOT EXISTS breaks_older boolean NOT NULL DEFAULT false"
            )
        await connection.execute("INSERT INTO genyard_migrations (name) VALUES (%s)", (one.name,))
        if one.breaks_older:
            await connection.execute(
                "UPDATE genyard_migrations SET breaks_older = true WHERE name = %s", (one.name,)
            )


async def _require_no_workers(connection: _Connection, one: Migration, refuse: _Refusals) -> None:
    there = await (await connection.execute("SELECT to_regclass('workers') IS NOT NULL")).fetchone()
    if there is None or not there[0]:
        return
    rows = await (
        await connection.execute(
            "SELECT w.name FROM workers w JOIN pg_locks l ON l.locktype = 'advisory' AND l.classid = 7264 "
            "AND l.objid = w.id::oid AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) "
            "ORDER BY w.id"
        )
    ).fetchall()
    if rows:
        raise refuse.workers(one.name, [row[0] for row in rows])


@dataclass(frozen=True)
class _Refusals:
    setting: str

    def too_new(self, newer: Sequence[str]) -> GenyardError:
        return self._refusal(
            f"a newer genyard has changed this database ({', '.join(newer)}), and {metadata.version('genyard')} cannot "
            "work with it; install the newer version here too, or go back to the backup from before the upgrade",
            migrations=list(newer),
        )

    def workers(self, name: str, workers: Sequence[str]) -> GenyardError:
        return self._refusal(
            f"{name} changes the database so that older processes cannot go on, and workers run "
            f"({', '.join(workers)}); stop every genyard worker and server, then start this one",
            migration=name,
        )

    def locked(self, name: str) -> GenyardError:
        return self._refusal(
            f"{name} could not be applied: a long transaction holds a table that it needs (see pg_stat_activity for "
            "the oldest xact_start); end it, or wait for it, and start again",
            migration=name,
        )

    def _refusal(self, message: str, **context: Any) -> GenyardError:
        return GenyardError(
            Code.settings_invalid, f"{self.setting}: {message}", field=self.setting, context=context
        )
