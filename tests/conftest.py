"""One embedded PostgreSQL for the whole run; every test gets an empty database of its own on it."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from genyard.database import open_database
from genyard.database._embedded import EmbeddedServer
from genyard.settings import Settings, load_settings
from support.databases import Databases

#: As root, PostgreSQL runs as another user and must be able to reach its data.
_ROOT_FOLDER = Path("/var/lib/genyard-tests")


@contextlib.contextmanager
def fresh_folder() -> Iterator[Path]:
    base = None
    if os.geteuid() == 0:
        _ROOT_FOLDER.mkdir(exist_ok=True)
        base = _ROOT_FOLDER
    folder = Path(tempfile.mkdtemp(dir=base, prefix="genyard-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def data_folder() -> Iterator[Path]:
    """A folder in which an embedded PostgreSQL can live."""
    with fresh_folder() as folder:
        yield folder


@pytest.fixture(scope="session")
async def postgres() -> AsyncIterator[str]:
    """The URL of a server with one migrated database, the template of all others."""
    with fresh_folder() as folder:
        server = await EmbeddedServer.start(folder)
        try:
            settings = load_settings({"GENYARD_DATA": str(folder), "DATABASE_URL": server.url})
            async with open_database(settings, pool_size=2):
                pass
            yield server.url
        finally:
            await server.release()


MakeSettings = Callable[..., Settings]


@pytest.fixture(scope="session")
def databases(postgres: str) -> Databases:
    return Databases(postgres)


@pytest.fixture
async def make_settings(databases: Databases, tmp_path: Path) -> AsyncIterator[MakeSettings]:
    """Settings with an empty database and an empty data folder; keywords are environment names."""
    async with databases.empty() as url:

        def make(**environ: str) -> Settings:
            return load_settings({"GENYARD_DATA": str(tmp_path), "DATABASE_URL": url, **environ}, tmp_path)

        yield make
