"""A newer genyard migrates the database while older processes work: each job ends once, nobody waits long.

`test_two_versions_work_side_by_side` runs an older commit for real, beside this one.
"""

from __future__ import annotations

import asyncio
import io
import subprocess
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import psycopg
import pytest

from conftest import MakeSettings
from genyard.app import build, working
from genyard.database._migrate import Migration, migrate, shipped
from genyard.jobs.model import JobState
from genyard.settings import load_settings
from genyard.testing.comfyui import ComfyUIEmulator
from support.processes import environment, running, stopped, until
from support.scripted import ScriptedProvider

ROOT = Path(__file__).parents[3]
DRAGON: dict[str, Any] = {
    "operation": "txt2img",
    "parameters": {"prompt": "a red dragon", "width": 64, "height": 64},
}
SMALL = {**DRAGON, "model": "sdxl", "parameters": {**DRAGON["parameters"], "steps": 2}}


async def wider(connection: psycopg.AsyncConnection[Any]) -> list[Migration]:
    """One column more in each of our tables, a file each, and each of our functions made anew."""
    tables = await connection.execute(
        "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace "
        "AND relname NOT LIKE 'procrastinate%'"
    )
    functions = await connection.execute(
        "SELECT pg_get_functiondef(oid) FROM pg_proc WHERE proname LIKE 'genyard%' AND prokind = 'f'"
    )
    added = [
        Migration(
            name=f"9001_{row[0]}", sql=f"ALTER TABLE {row[0]} ADD COLUMN later text NOT NULL DEFAULT ''"
        )
        for row in await tables.fetchall()
    ]
    made = [row[0] for row in await functions.fetchall()]
    assert len(added) > 10
    assert len(made) > 10
    return [*added, Migration(name="9002_functions", sql=";\n".join(made))]


@pytest.mark.long
async def test_a_migration_under_a_running_worker(make_settings: MakeSettings) -> None:
    """Statements that were prepared before it go on, in every pool; nothing fails, nothing runs twice."""
    settings = make_settings()
    assert settings.database_url is not None
    url = settings.database_url.get_secret_value()
    place = ScriptedProvider()
    async with (
        build(settings, providers={"preview": lambda *_: place}) as product,
        working(product),
        await psycopg.AsyncConnection.connect(url, autocommit=True) as upgrade,
    ):
        over = asyncio.Event()

        async def submit_on_and_on() -> list[JobState]:
            states = []
            while not over.is_set():
                job = (await product.studio.submit(DRAGON)).job
                states.append((await asyncio.wait_for(product.studio.wait(job.id), 30)).state)
            return states

        asking = [asyncio.create_task(submit_on_and_on()) for _ in range(4)]
        await until_made(place, 40)
        await asyncio.wait_for(migrate(upgrade, migrations=[*shipped(), *await wider(upgrade)]), 60)
        await until_made(place, len(place.submitted) + 40)
        over.set()
        states = [state for states in await asyncio.gather(*asking) for state in states]
        listed = await product.studio.jobs(limit=10)
    assert set(states) == {JobState.succeeded}
    assert len(place.submitted) == len(set(place.submitted)) == len(states) >= 80
    assert len(listed) == 10


async def until_made(place: ScriptedProvider, count: int) -> None:
    async with asyncio.timeout(60):
        while len(place.submitted) < count:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def before(path: str) -> str | None:
    """The commit before the one that added a file; None where there is no history."""
    try:
        asked = ("git", "-C", str(ROOT), "log", "--diff-filter=A", "--format=%H", "--", path)
        added = subprocess.run(asked, capture_output=True, check=True, text=True).stdout.split()
        tree = ("git", "-C", str(ROOT), "rev-parse", "--verify", "--quiet", f"{added[-1]}^{{commit}}^")
        return subprocess.run(tree, capture_output=True, check=True, text=True).stdout.strip()
    except (OSError, IndexError, subprocess.CalledProcessError):
        return None


def unpack(commit: str, folder: Path) -> Path:
    asked = ("git", "-C", str(ROOT), "archive", commit, "src")
    packed = subprocess.run(asked, capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        archive.extractall(folder, filter="data")
    return folder / "src"


@pytest.fixture
async def empty_database(postgres: str) -> AsyncIterator[str]:
    """Not even our tables."""
    name = f"t{uuid4().hex}"
    async with await psycopg.AsyncConnection.connect(postgres, autocommit=True) as admin:
        await admin.execute(f"CREATE DATABASE {name} TEMPLATE template0")  # type: ignore[call-overload]
        yield postgres.replace("/postgres?", f"/{name}?")
        await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")  # type: ignore[call-overload]


async def ask(session: aiohttp.ClientSession, url: str, count: int) -> list[str]:
    ids = []
    for _ in range(count):
        async with session.post(f"{url}/v1/jobs", json=SMALL) as answer:
            told = await answer.json()
            assert answer.status == 201, told
            ids.append(told["id"])
    return ids


def address(process: Any) -> str:
    return next(word for word in process.first_words.split() if word.startswith("http://")).rstrip("/")


@pytest.mark.long
@pytest.mark.parametrize("newest_of_the_older", ["0006_callbacks", "0004_credits"])
async def test_two_versions_work_side_by_side(
    newest_of_the_older: str, empty_database: str, tmp_path: Path, comfyui_emulator: ComfyUIEmulator
) -> None:
    """The older one makes the database and works; the newer one migrates it, both take and do jobs; then the older one
    is stopped with runs in flight, starts again on the newer database, and does jobs again."""
    commit = before(f"src/genyard/database/migrations/{newest_of_the_older}.sql")
    if commit is None:
        pytest.skip("no history of git here")
    comfyui_emulator.step_seconds = 0.02
    given = {
        "IMAGE_GENERATION_PROVIDER": "comfyui",
        "COMFYUI_ENDPOINT": comfyui_emulator.url,
        "GENYARD_PORT": "0",
        "GENYARD_LOG_LEVEL": "error",
    }
    settings = load_settings({"GENYARD_DATA": str(tmp_path), "DATABASE_URL": empty_database}, tmp_path)
    newer = environment(settings, {**given, "PYTHONPATH": str(ROOT / "src")})
    older = {**newer, "PYTHONPATH": str(unpack(commit, tmp_path / "older"))}
    up, ready = "is up at", "worker ready"
    async with (
        aiohttp.ClientSession() as session,
        await psycopg.AsyncConnection.connect(empty_database, autocommit=True) as database,
    ):

        async def names() -> list[str]:
            rows = await database.execute("SELECT name FROM genyard_migrations ORDER BY name")
            return [row[0] for row in await rows.fetchall()]

        seen: set[int] = set()

        async def all_over() -> bool:
            rows = await database.execute("SELECT DISTINCT worker_id FROM stages WHERE state = 'running'")
            seen.update(row[0] for row in await rows.fetchall() if row[0] is not None)
            left = await database.execute(
                "SELECT FROM jobs WHERE state IN ('queued', 'running', 'canceling') LIMIT 1"
            )
            return await left.fetchone() is None

        async with (
            running("serve", "--no-worker", environ=older, until=up) as old_api,
            running("worker", environ=older, until=ready) as old_worker,
        ):
            assert newest_of_the_older not in await names()
            jobs = await ask(session, address(old_api), 30)
            async with (
                running("worker", environ=newer, until=ready),
                running("serve", "--no-worker", environ=newer, until=up) as new_api,
            ):
                assert await names() == sorted(one.name for one in shipped())
                asked = await asyncio.gather(
                    ask(session, address(old_api), 40), ask(session, address(new_api), 40)
                )
                jobs += [job for some in asked for job in some]
                assert await stopped(old_worker) == 0
                await until(all_over, 120)
                async with running("worker", environ=older, until=ready):
                    asked = await asyncio.gather(
                        ask(session, address(old_api), 20), ask(session, address(new_api), 20)
                    )
                    jobs += [job for some in asked for job in some]
                    seen.clear()
                    await until(all_over, 120)
                    assert len(seen) == 2, "both versions do jobs"
        failed = await database.execute("SELECT error FROM jobs WHERE state <> 'succeeded'")
        assert await failed.fetchall() == []
        attempts = await database.execute("SELECT count(*), count(DISTINCT stage_id) FROM attempts")
        assert await attempts.fetchone() == (len(jobs), len(jobs))
        ends = await database.execute("SELECT count(*) FROM events WHERE kind = 'succeeded'")
        assert await ends.fetchone() == (len(jobs),)
    assert comfyui_emulator.counts.total_runs == len(jobs) == 150
