"""Real servers for this folder: uvicorn on loopback, PostgreSQL, a worker in this process."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from conftest import MakeSettings
from genyard.app import Product, build, working
from genyard.settings import Settings, load_settings
from scenarios.http.client import MAX_UPLOAD, Client, KeyMaker, climbing, serving
from support.databases import Databases
from support.scripted import ScriptedProvider

_LIMITS = f"[limits]\nmax_bytes = {MAX_UPLOAD}\nmax_pixels = 4_000_000\n"


@pytest.fixture(scope="session")
async def http_settings(
    databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Settings]:
    """A database for all of this folder, and small limits, so that too large is quickly reached."""
    folder: Path = tmp_path_factory.mktemp("http")
    (folder / "genyard.toml").write_text(_LIMITS)
    async with databases.empty() as url:
        yield load_settings({"GENYARD_DATA": str(folder), "DATABASE_URL": url}, folder)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
async def product(http_settings: Settings) -> AsyncIterator[Product]:
    async with build(http_settings) as built, working(built):
        yield built


@pytest.fixture(scope="session")
async def server(product: Product) -> AsyncIterator[str]:
    async with serving(product) as address:
        yield address


@pytest.fixture(scope="session")
async def client(server: str) -> AsyncIterator[Client]:
    """Somebody at this machine, without a key, on the built-in renderer."""
    async with aiohttp.ClientSession() as session:
        yield Client(base=server, session=session)


@pytest.fixture
async def with_key(product: Product, client: Client) -> AsyncIterator[KeyMaker]:
    """Clients with keys. From the first of them on nobody gets in without; at the end there never was one."""

    async def make(owner: str) -> Client:
        _, key = await product.owners.create_key(owner)
        return Client(base=client.base, session=client.session, headers={"Authorization": f"Bearer {key}"})

    yield make
    await product.jobs.database.execute("DELETE FROM api_keys")


@pytest.fixture
def place() -> ScriptedProvider:
    """A place whose runs go on until they are told otherwise."""
    return ScriptedProvider(says=[climbing()])


@pytest.fixture
async def scripted(make_settings: MakeSettings, place: ScriptedProvider) -> AsyncIterator[Product]:
    """A product of its own, on `place`."""
    async with build(make_settings(), providers={"preview": lambda *_: place}) as built, working(built):
        yield built


@pytest.fixture
async def scripted_client(scripted: Product) -> AsyncIterator[Client]:
    async with serving(scripted) as address, aiohttp.ClientSession() as session:
        yield Client(base=address, session=session)
