"""Everything that a database holds, as one file: for backups, and to move to another server of any version.

The file is a ZIP: `manifest.json`, each table as PostgreSQL's COPY writes it (`tables/…`), and on request the bytes of
the store (`files/…`). It is one moment's truth, whatever runs meanwhile. It holds secrets: the key that signs links,
digests of API keys, secrets of callbacks. What only belongs to running processes is not in it.

COPY's text is the same in all versions of the server, which dumps of `pg_dump` are not; nothing needs to be installed.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any, BinaryIO, Final

import psycopg
from psycopg.rows import dict_row
from psycopg.sql import SQL, Composed, Identifier

from genyard.database import Database, applied, migrate, open_server, server_at, setting_of, shipped
from genyard.errors import Code, GenyardError
from genyard.settings import Settings
from genyard.storage import Storage, spool

_FORMAT: Final = 1
_MANIFEST: Final = "manifest.json"
_WRITE_BYTES: Final = 1024 * 1024
#: Of running processes, or made anew: not in the file.
_NOT_MOVED: Final = ("genyard_migrations", "workers", "starts", "alerts", "chores")
_ENGINE: Final = "procrastinate_"
#: What a database may hold that has only been started: configuration, which every start writes.
_CONFIGURATION: Final = ("endpoints", "tiers", "queue_rules", "secrets")

_TABLES: Final = """
SELECT c.relname AS name, array_agg(a.attname::text ORDER BY a.attnum) AS columns
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped
  AND a.attgenerated = '' GROUP BY c.relname ORDER BY c.relname
"""
_REFERENCES: Final = """
SELECT c.conrelid::regclass::text AS child, c.confrelid::regclass::text AS parent FROM pg_constraint c
WHERE c.contype = 'f' AND c.connamespace = current_schema()::regnamespace AND c.conrelid <> c.confrelid
"""
_SEQUENCES: Final = """
SELECT c.relname AS table, a.attname AS column,
       (SELECT last_value FROM pg_sequences s
        WHERE (quote_ident(s.schemaname) || '.' || quote_ident(s.sequencename))::regclass
              = pg_get_serial_sequence(quote_ident(c.relname), a.attname)::regclass) AS last
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attidentity <> ''
WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'r'
"""

Connection = psycopg.AsyncConnection[Any]


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a file says of itself. `migrations`: the schema that its tables have. `missing`: objects that were not there
    when they were to be read."""

    format: int
    made_at: str
    server: str
    migrations: tuple[str, ...]
    tables: Mapping[str, int]
    columns: Mapping[str, Sequence[str]]
    sequences: Mapping[str, int]
    files: int
    file_bytes: int
    missing: tuple[str, ...]

    @property
    def rows(self) -> int:
        return sum(self.tables.values())


async def export(
    database: Database, file: Path, *, storage: Storage | None, now: datetime | None = None
) -> Manifest:
    """Writes a new file, readable by nobody else. `storage`: its bytes go in, too."""
    if await asyncio.to_thread(file.exists):
        raise _wrong(f"{file} is there already; name a new file")
    partial = file.with_name(f".{file.name}.partial")
    try:
        handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "wb") as raw:
            async with await database.connect() as connection:
                with zipfile.ZipFile(raw, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
                    manifest = await _write(connection, archive, storage, now or datetime.now(UTC))
            raw.flush()
            os.fsync(raw.fileno())
        partial.rename(file)
    except OSError as wrong:
        raise _wrong(f"{file} cannot be written: {wrong.strerror or wrong}") from wrong
    finally:
        partial.unlink(missing_ok=True)
    return manifest


async def _write(
    connection: Connection, archive: zipfile.ZipFile, storage: Storage | None, now: datetime
) -> Manifest:
    async with connection.transaction():
        await connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        columns = await _tables(connection)
        counts = {name: await _copy_out(connection, archive, name, columns[name]) for name in columns}
        sequences = await _rows(connection, _SEQUENCES)
        done = await applied(connection)
        objects = (
            await _rows(connection, "SELECT object, bytes FROM blobs ORDER BY object") if storage else []
        )
    missing = []
    for row in objects:
        assert storage is not None
        if not await _pack(archive, storage, row["object"]):
            missing.append(row["object"])
    manifest = Manifest(
        format=_FORMAT,
        made_at=now.isoformat(),
        server=str(connection.info.server_version // 10000),
        migrations=tuple(sorted(done)),
        tables=counts,
        columns=columns,
        sequences={f"{row['table']}.{row['column']}": row["last"] for row in sequences if row["last"]},
        files=len(objects) - len(missing),
        file_bytes=sum(row["bytes"] for row in objects if row["object"] not in missing),
        missing=tuple(missing),
    )
    archive.writestr(_MANIFEST, json.dumps(asdict(manifest), indent=1))
    return manifest


async def _copy_out(
    connection: Connection, archive: zipfile.ZipFile, table: str, columns: Sequence[str]
) -> int:
    names = SQL(", ").join(map(Identifier, columns))
    sql = SQL("COPY (SELECT {} FROM {}) TO STDOUT").format(names, Identifier(table))
    held = bytearray()
    with archive.open(f"tables/{table}", "w", force_zip64=True) as out:
        async with connection.cursor() as cursor:
            async with cursor.copy(sql) as copy:
                async for piece in copy:
                    held += piece
                    if len(held) >= _WRITE_BYTES:
                        await asyncio.to_thread(out.write, bytes(held))
                        held.clear()
            out.write(bytes(held))
            return cursor.rowcount


async def _pack(archive: zipfile.ZipFile, storage: Storage, name: str) -> bool:
    """Pictures and videos are packed already. False for one that went away meanwhile."""
    if not await storage.exists(name):
        return False
    told = zipfile.ZipInfo(f"files/{name}")
    with archive.open(told, "w", force_zip64=True) as out:
        async for piece in storage.stream(name):
            await asyncio.to_thread(out.write, piece)
    return True


def read_manifest(file: Path) -> Manifest:
    """`request.invalid` for what is no file of ours, or of a version that this one does not know."""
    try:
        with zipfile.ZipFile(file) as archive:
            told = json.loads(archive.read(_MANIFEST))
        if told["format"] != _FORMAT:
            raise _wrong(f"{file} is of format {told['format']}; this genyard reads {_FORMAT}")
        manifest = Manifest(
            **{**told, "migrations": tuple(told["migrations"]), "missing": tuple(told["missing"])}
        )
    except OSError as wrong:
        raise _wrong(f"{file} cannot be read: {wrong.strerror or wrong}") from wrong
    except (zipfile.BadZipFile, ValueError, KeyError, TypeError) as wrong:
        raise _wrong(f"{file} is no export of genyard") from wrong
    unknown = sorted(set(manifest.migrations) - {one.name for one in shipped()})
    if unknown:
        raise _wrong(
            f"{file} was made by a newer genyard (it has {unknown[-1]}); take that one or a later one"
        )
    return manifest


async def load(settings: Settings, file: Path, *, storage: Storage) -> Manifest:
    """Puts everything into an empty database, in one transaction, and then brings the schema up to date. Bytes that are
    in the file go to the store first. `request.conflict` for a database that is in use."""
    manifest = read_manifest(file)
    with zipfile.ZipFile(file) as archive:
        async with open_server(settings) as url, server_at(url, settings) as connection:
            if await _require_empty(connection, manifest):
                then = [one for one in shipped() if one.name in manifest.migrations]
                await migrate(connection, setting_of(settings), then)
            await _unpack(archive, storage)
            async with connection.transaction():
                await _fill(connection, archive, manifest)
            await migrate(connection, setting_of(settings))
    return manifest


async def _require_empty(connection: Connection, manifest: Manifest) -> bool:
    """True where genyard has never been. One that was only started is empty, too, if its schema is the file's."""
    known = await applied(connection)
    if not known:
        return True
    for table in await _tables(connection):
        found = await _rows(
            connection,
            SQL("SELECT count(*) AS n FROM (SELECT FROM {} LIMIT 100) t").format(Identifier(table)),
        )
        allowed = {**dict.fromkeys(_CONFIGURATION, 100), "owners": 1}.get(table, 0)
        if found[0]["n"] > allowed:
            raise GenyardError(
                Code.request_conflict,
                f"this database is in use (there are rows in {table}): import into an empty one",
                field="DATABASE_URL",
            )
    if known != set(manifest.migrations):
        raise GenyardError(
            Code.request_conflict,
            "this database has tables of another version than the file; import into one that genyard has never used",
            field="DATABASE_URL",
        )
    return False


async def _fill(connection: Connection, archive: zipfile.ZipFile, manifest: Manifest) -> None:
    """Without triggers: what they would do has been done. References are checked as ever."""
    order = await _parents_first(connection, list(manifest.tables))
    for table in order:
        await connection.execute(SQL("ALTER TABLE {} DISABLE TRIGGER USER").format(Identifier(table)))
    for table in reversed(order):
        await connection.execute(SQL("DELETE FROM {}").format(Identifier(table)))
    for table in order:
        count = await _copy_in(connection, archive, table, manifest.columns[table])
        if count != manifest.tables[table]:
            raise _wrong(
                f"{table} has {count} rows where {manifest.tables[table]} were written: the file is damaged"
            )
    # who sweeps a store looks first whether it is its own
    await connection.execute("DELETE FROM secrets WHERE name = 'store'")
    for table in order:
        await connection.execute(SQL("ALTER TABLE {} ENABLE TRIGGER USER").format(Identifier(table)))
    for name, last in manifest.sequences.items():
        table, _, column = name.partition(".")
        await connection.execute(
            "SELECT setval(pg_get_serial_sequence(quote_ident(%s), %s)::regclass, %s)", (table, column, last)
        )


async def _copy_in(
    connection: Connection, archive: zipfile.ZipFile, table: str, columns: Sequence[str]
) -> int:
    names = SQL(", ").join(map(Identifier, columns))
    sql = SQL("COPY {} ({}) FROM STDIN").format(Identifier(table), names)
    try:
        with archive.open(f"tables/{table}") as rows:
            async with connection.cursor() as cursor:
                async with cursor.copy(sql) as copy:
                    while piece := await asyncio.to_thread(rows.read, _WRITE_BYTES):
                        await copy.write(piece)
                return cursor.rowcount
    except (zipfile.BadZipFile, KeyError, psycopg.DataError) as wrong:
        raise _wrong(f"the file is damaged: {table} cannot be read") from wrong


async def _unpack(archive: zipfile.ZipFile, storage: Storage) -> None:
    for entry in archive.infolist():
        if not entry.filename.startswith("files/"):
            continue
        name = entry.filename.removeprefix("files/")
        with spool() as file:
            digest = await asyncio.to_thread(_spill, archive, entry, file)
            if not name[3:].startswith(digest):
                raise _wrong(f"the file is damaged: {name} is not what it was")
            await storage.write(name, file)


def _spill(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, file: BinaryIO) -> str:
    digest = hashlib.sha256()
    try:
        with archive.open(entry) as packed:
            while piece := packed.read(_WRITE_BYTES):
                digest.update(piece)
                file.write(piece)
    except zipfile.BadZipFile as wrong:
        raise _wrong(f"the file is damaged: {entry.filename}") from wrong
    file.seek(0)
    return digest.hexdigest()


async def _tables(connection: Connection) -> dict[str, list[str]]:
    """Those that are moved → their columns."""
    return {
        row["name"]: row["columns"]
        for row in await _rows(connection, _TABLES)
        if row["name"] not in _NOT_MOVED and not row["name"].startswith(_ENGINE)
    }


async def _parents_first(connection: Connection, tables: Sequence[str]) -> list[str]:
    parents: dict[str, set[str]] = {table: set() for table in tables}
    for row in await _rows(connection, _REFERENCES):
        if row["child"] in parents and row["parent"] in parents:
            parents[row["child"]].add(row["parent"])
    return list(TopologicalSorter(parents).static_order())


async def _rows(connection: Connection, sql: str | Composed) -> list[dict[str, Any]]:
    async with connection.cursor(row_factory=dict_row) as cursor:
        return await (await cursor.execute(sql)).fetchall()


def _wrong(message: str) -> GenyardError:
    return GenyardError(Code.request_invalid, message, field="FILE")
