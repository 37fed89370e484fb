"""One embedded PostgreSQL for the whole run; every test gets an empty database of its own on it."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from pathlib import Path

import pytest

from genyard.database import open_database
from genyard.settings import Settings, load_settings
from support.databases import Databases
from support.embedded import embedded_server, fresh_folder


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What collecting makes stays: to search it for garbage, again and again, took a third of the time."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.fixture
def data_folder() -> Iterator[Path]:
    """A folder in which an embedded PostgreSQL can live."""
    with fresh_folder() as folder:
        yield folder


@pytest.fixture(scope="session")
async def postgres() -> AsyncIterator[str]:
    """The URL of a server with one migrated database, the template of all others."""
    async with embedded_server() as (server, folder):
        settings = load_settings({"GENYARD_DATA": str(folder), "DATABASE_URL": server.url})
        async with open_database(settings, pool_size=2) as database:
            await database.execute("ALTER SYSTEM SET fsync = off")  # nobody pulls the plug of the machine
            await database.execute("SELECT pg_reload_conf()")
        yield server.url


MakeSettings = Callable[..., Settings]


@pytest.fixture(scope="session")
async def databases(postgres: str) -> AsyncIterator[Databases]:
    made = Databases(postgres)
    yield made
    await made.close()


@pytest.fixture
async def make_settings(databases: Databases, tmp_path: Path) -> AsyncIterator[MakeSettings]:
    """Settings with an empty database and an empty data folder; keywords are environment names."""
    async with databases.empty() as url:

        def make(**environ: str) -> Settings:
            return load_settings({"GENYARD_DATA": str(tmp_path), "DATABASE_URL": url, **environ}, tmp_path)

        yield make
