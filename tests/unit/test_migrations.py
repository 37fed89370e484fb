"""Migrations that older processes survive: the rules, and that each file keeps to them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import procrastinate
import psycopg
import pytest

from conftest import MakeSettings
from genyard.database import open_database
from genyard.database._migrate import Migration, migrate, shipped
from genyard.errors import Code, GenyardError
from support.migration_rules import broken_rules, held_at_once

#: Before these nothing was in use anywhere.
BEFORE_THE_RULES = ("procrastinate", "0001_", "0002_", "0003_", "0004_", "0005_", "0006_")


@pytest.mark.parametrize(
    "migration",
    [one for one in shipped() if not one.name.startswith(BEFORE_THE_RULES)],
    ids=lambda one: str(one.name),
)
def test_a_migration_lets_older_processes_work(migration: Migration) -> None:
    told = (
        "; write `-- allowed: WHY` before a statement that is harmless all the same (docs/howto/upgrade.md)"
    )
    assert broken_rules(migration) == [], told


@pytest.mark.parametrize(
    "statement",
    [
        "DROP TABLE turns",
        "DROP FUNCTION genyard_dispatch(text)",
        "DROP TRIGGER jobs_admit ON jobs",
        "ALTER TABLE jobs DROP COLUMN tags",
        "ALTER TABLE jobs RENAME COLUMN tags TO labels",
        "ALTER TABLE jobs RENAME TO tasks",
        "ALTER TABLE jobs ALTER COLUMN priority TYPE bigint",
        "ALTER TABLE jobs ALTER tags SET NOT NULL",
        "ALTER TABLE jobs ADD COLUMN colour text NOT NULL",
        "ALTER TABLE jobs ADD COLUMN fine text, ADD COLUMN colour text NOT NULL",
        "ALTER TABLE jobs ADD COLUMN token uuid DEFAULT gen_random_uuid()",
        "ALTER TABLE jobs ADD CONSTRAINT small CHECK (priority < 100)",
        "CREATE INDEX jobs_by_colour ON jobs (colour)",
        "CREATE INDEX CONCURRENTLY jobs_by_colour ON jobs (colour)",
        "-- one by one\nCREATE INDEX CONCURRENTLY jobs_by_colour ON jobs (colour)",
        "UPDATE jobs SET priority = 0",
        "LOCK TABLE jobs",
    ],
)
def test_what_would_break_older_processes_or_stall_them_is_refused(statement: str) -> None:
    assert broken_rules(Migration(name="9001", sql=f"{statement};\n"))
    assert not broken_rules(Migration(name="9001", sql=f"-- breaks older: it does\n{statement};\n"))
    if "one by one" not in statement:
        assert not broken_rules(Migration(name="9001", sql=f"-- allowed: only here\n{statement};\n"))


@pytest.mark.parametrize(
    "sql",
    [
        "ALTER TABLE jobs ADD COLUMN colour text;",
        "ALTER TABLE jobs ADD COLUMN colour text NOT NULL DEFAULT 'red', ADD COLUMN shade numeric(14, 6);",
        "ALTER TABLE jobs ADD CONSTRAINT small CHECK (priority < 100) NOT VALID;",
        "CREATE TABLE shades (id integer NOT NULL);\nCREATE INDEX shades_by_id ON shades (id);",
        "CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $$\nBEGIN\n    UPDATE jobs SET x = 1;\nEND\n$$;",
        "DROP TRIGGER jobs_admit ON jobs;\nCREATE TRIGGER jobs_admit BEFORE INSERT ON jobs EXECUTE FUNCTION f();",
        "-- one by one\nDROP INDEX CONCURRENTLY IF EXISTS a;\nCREATE INDEX CONCURRENTLY a ON jobs (colour);",
    ],
)
def test_what_older_processes_do_not_notice_passes(sql: str) -> None:
    assert broken_rules(Migration(name="9001", sql=sql + "\n")) == []


@pytest.mark.parametrize(
    "migration",
    [one for one in shipped() if "0021_" <= one.name < "9"],
    ids=lambda one: str(one.name),
)
def test_a_migration_changes_one_busy_table(migration: Migration) -> None:
    assert len(held_at_once(migration)) <= 1, "two files: each holds all that it changes at once"


def test_busy_tables_that_a_file_holds_at_once_are_found() -> None:
    sql = (
        "ALTER TABLE jobs ADD COLUMN a text;\nALTER TABLE tiers ADD COLUMN a text;\n"
        "CREATE TRIGGER t AFTER INSERT OR UPDATE OF state ON stages\n    FOR EACH ROW EXECUTE FUNCTION f();\n"
        "CREATE TABLE notes (asset uuid REFERENCES assets);\n"
        "CREATE TRIGGER n AFTER INSERT ON notes EXECUTE FUNCTION f();\n"
    )
    assert held_at_once(Migration(name="9001", sql=sql)) == {"jobs", "stages", "assets"}
    assert not held_at_once(Migration(name="9001", sql=f"-- breaks older: it does\n{sql}"))


async def test_a_function_keeps_its_arguments(make_settings: MakeSettings) -> None:
    """`CREATE OR REPLACE` with other arguments makes a second function beside the first, and calls may mean either. One
    that is meant for another kind of thing says so by its first argument."""
    async with open_database(make_settings(), pool_size=1) as database:
        rows = await database.rows(
            "SELECT proname FROM pg_proc WHERE proname LIKE 'genyard%%' GROUP BY proname, proargtypes[0] "
            "HAVING count(*) > 1"
        )
    assert rows == []


def test_procrastinates_tables_are_those_of_the_locked_version() -> None:
    """Its schema is applied once. A version with a migration of its own needs a file of ours that carries it on."""
    folder = Path(procrastinate.__file__).parent / "sql" / "migrations"
    newest = max(file.name for file in folder.glob("*.sql"))
    assert newest == "03.04.00_50_post_add_retry_failed_job_procedure.sql"


async def connect(make_settings: MakeSettings) -> psycopg.AsyncConnection[tuple[object, ...]]:
    url = make_settings().database_url
    assert url is not None
    return await psycopg.AsyncConnection.connect(url.get_secret_value(), autocommit=True)


NEWER = Migration(name="9001_newer", sql="ALTER TABLE jobs ADD COLUMN colour text;")
BREAKING = Migration(
    name="9002_breaking", sql="-- breaks older: it has to\nALTER TABLE jobs DROP COLUMN tags;"
)
INDEX = Migration(
    name="9003_index",
    sql="-- one by one\nDROP INDEX CONCURRENTLY IF EXISTS a;\nCREATE INDEX CONCURRENTLY a ON jobs (detail);\n",
)


async def test_many_processes_that_start_at_once_apply_each_file_once(make_settings: MakeSettings) -> None:
    connections = [await connect(make_settings) for _ in range(5)]
    files = [*shipped(), NEWER, INDEX]
    await asyncio.gather(*(migrate(one, migrations=files) for one in connections))
    valid = await connections[0].execute("SELECT indisvalid FROM pg_index WHERE indexrelid = 'a'::regclass")
    assert await valid.fetchone() == (True,)
    for one in connections:
        await one.close()


async def test_an_older_genyard_starts_on_a_newer_database_that_it_can_use(
    make_settings: MakeSettings,
) -> None:
    async with await connect(make_settings) as connection:
        await migrate(connection, migrations=[*shipped(), NEWER])
    async with open_database(make_settings(), pool_size=1) as database:
        assert await database.row("SELECT 1 AS one") == {"one": 1}


async def test_an_older_genyard_says_what_to_do_about_a_database_that_is_too_new(
    make_settings: MakeSettings,
) -> None:
    async with await connect(make_settings) as connection:
        await migrate(connection, migrations=[*shipped(), BREAKING])
        await migrate(connection, migrations=[*shipped(), BREAKING])
    with pytest.raises(GenyardError, match=r"9002_breaking.*install the newer version") as caught:
        async with open_database(make_settings(), pool_size=1):
            pass
    assert (caught.value.code, caught.value.field) == (Code.settings_invalid, "DATABASE_URL")


async def test_a_file_that_breaks_older_processes_waits_until_they_are_stopped(
    make_settings: MakeSettings,
) -> None:
    async with await connect(make_settings) as connection, await connect(make_settings) as worker:
        added = await worker.execute("INSERT INTO workers (name) VALUES ('w:1') RETURNING id")
        await worker.execute("SELECT pg_advisory_lock(7264, %s)", await added.fetchone())
        with pytest.raises(GenyardError, match=r"workers run \(w:1\); stop every genyard worker"):
            await migrate(connection, migrations=[*shipped(), BREAKING])
        await worker.close()
        await migrate(connection, migrations=[*shipped(), BREAKING])


async def test_a_long_transaction_stalls_the_migration_and_nobody_else(make_settings: MakeSettings) -> None:
    async with (
        await connect(make_settings) as report,
        await connect(make_settings) as upgrade,
        await connect(make_settings) as busy,
    ):
        longest = 0.0
        async with report.transaction():
            await report.execute("SELECT count(*) FROM jobs")
            migrating = asyncio.create_task(migrate(upgrade, migrations=[*shipped(), NEWER]))
            clock = asyncio.get_running_loop().time
            until = clock() + 2.5
            while (begun := clock()) < until:
                await busy.execute("SELECT FROM jobs WHERE state = 'queued'")
                longest = max(longest, clock() - begun)
            assert not migrating.done()
        await asyncio.wait_for(migrating, 10)
        assert 0.1 < longest < 0.9, f"the others waited {longest:.2f} s at most"


async def test_a_table_that_stays_locked_ends_the_start_with_words(make_settings: MakeSettings) -> None:
    async with await connect(make_settings) as report, await connect(make_settings) as upgrade:
        async with report.transaction():
            await report.execute("SELECT count(*) FROM jobs")
            with pytest.raises(GenyardError, match="pg_stat_activity"):
                await migrate(upgrade, migrations=[*shipped(), NEWER], patience=0.0)
        await migrate(upgrade, migrations=[*shipped(), NEWER])
