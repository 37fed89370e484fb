"""Numbered SQL files, each applied once, in order, under a lock; Procrastinate's own tables first."""

from __future__ import annotations

from importlib import resources
from typing import Any

import psycopg

#: Any number that no other program on this database would choose.
_LOCK = 7_264_918_221


async def migrate(connection: psycopg.AsyncConnection[Any]) -> None:
    """Brings the schema up to date. Safe from several processes at once; each file is one transaction."""
    await connection.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))
    try:
        await _apply_missing(connection)
    finally:
        await connection.execute("SELECT pg_advisory_unlock(%s)", (_LOCK,))


async def _apply_missing(connection: psycopg.AsyncConnection[Any]) -> None:
    await connection.execute(
        "CREATE TABLE IF NOT EXISTS genyard_migrations "
        "(name text PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())"
    )
    found = await (await connection.execute("SELECT name FROM genyard_migrations")).fetchall()
    applied = {row[0] for row in found}
    for name, sql in [("procrastinate", _procrastinate_schema()), *_own()]:
        if name in applied:
            continue
        async with connection.transaction():
            await connection.execute(sql.encode())
            await connection.execute("INSERT INTO genyard_migrations (name) VALUES (%s)", (name,))


def _procrastinate_schema() -> str:
    return (resources.files("procrastinate") / "sql" / "schema.sql").read_text()


def _own() -> list[tuple[str, str]]:
    folder = resources.files("genyard.database") / "migrations"
    files = sorted((file for file in folder.iterdir() if file.name.endswith(".sql")), key=lambda f: f.name)
    return [(file.name.removesuffix(".sql"), file.read_text()) for file in files]
