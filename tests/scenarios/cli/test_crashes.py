"""Commands that are killed in the middle."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from genyard.database import Database, open_database
from genyard.settings import load_settings

from .conftest import Cli, end

_COUNT = 3000


async def fill(database: Database, owner: str) -> None:
    """So many jobs that have ended, each with an output."""
    await database.execute(
        "INSERT INTO blobs (sha256, object, bytes, media_type) "
        "SELECT md5(n::text) || md5(n::text), 'aa/' || md5(n::text) || md5(n::text) || '-00000000', 1, 'image/png' "
        "FROM generate_series(1, %(count)s) n",
        count=_COUNT,
    )
    await database.execute(
        """
        WITH job AS (
            INSERT INTO jobs (id, owner_id, state, request, operation, trace_id, prompt)
            SELECT gen_random_uuid(), o.id, 'succeeded', '[]', 'txt2img', 't', 'prompt ' || n
            FROM owners o, generate_series(1, %(count)s) n WHERE o.name = %(owner)s RETURNING id, owner_id, prompt
        )
        INSERT INTO assets (id, owner_id, sha256, role, step, job_id, position)
        SELECT gen_random_uuid(), owner_id, md5(substr(prompt, 8)) || md5(substr(prompt, 8)), 'image', 'step1', id, 0
        FROM job
        """,
        count=_COUNT,
        owner=owner,
    )


async def left(database: Database) -> int:
    row = await database.row("SELECT count(*) AS n FROM jobs WHERE prompt LIKE 'prompt %%'")
    assert row is not None
    return int(row["n"])


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


@pytest.mark.long
async def test_a_worker_goes_on_with_an_owner_whose_deletion_was_killed(cli: Cli, data: Path) -> None:
    key = await cli("keys", "create", "killed", "--json")
    assert key.status == 0
    async with open_database(load_settings({"GENYARD_DATA": str(data)}), pool_size=2) as database:
        await fill(database, "killed")
        deleting = await cli.start("owners", "delete", "killed", "--yes")
        async with asyncio.timeout(60):
            while await left(database) == _COUNT:  # noqa: ASYNC110 (another process tells no event here)
                await asyncio.sleep(0.01)
        deleting.kill()
        await deleting.wait()
        assert 0 < await left(database) < _COUNT
        worker = await cli.start("worker")
        async with asyncio.timeout(120):
            while await database.rows("SELECT 1 FROM owners WHERE name = 'killed'"):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        worker.terminate()
        await end(worker)
        assert await left(database) == 0
        assert await database.rows("SELECT 1 FROM unwanted_objects") == []
        assert await database.rows("SELECT 1 FROM blobs WHERE object LIKE 'aa/%%-00000000'") == []


@pytest.mark.long
async def test_an_export_that_is_killed_leaves_no_file_that_looks_whole(cli: Cli, data: Path) -> None:
    async with open_database(load_settings({"GENYARD_DATA": str(data)}), pool_size=2) as database:
        await database.execute(
            "INSERT INTO secrets (name, value) SELECT 'big ' || n, convert_to(repeat(md5(n::text), 30000), 'UTF8') "
            "FROM generate_series(1, 60) n"
        )
        try:
            exporting = await cli.start("db", "export", "killed.genyard")
            partial = cli.folder / ".killed.genyard.partial"
            async with asyncio.timeout(60):
                while not partial.exists() or partial.stat().st_size == 0:  # noqa: ASYNC110
                    await asyncio.sleep(0.005)
            exporting.kill()
            await exporting.wait()
            assert names(cli.folder) == [".killed.genyard.partial"]
            assert (await cli("db", "export", "killed.genyard")).status == 0
            assert names(cli.folder) == ["killed.genyard"]
        finally:
            await database.execute("DELETE FROM secrets WHERE name LIKE 'big %%'")
