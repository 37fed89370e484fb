"""Fixtures: running emulators, and a bench beside them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from conftest import MakeSettings
from genyard.testing.emulators import Emulators
from scenarios.places.bench import Bench
from scenarios.places.failing import World, world_of
from support.databases import Databases


@pytest.fixture
async def emulators() -> AsyncIterator[Emulators]:
    async with Emulators() as running:
        yield running


@pytest.fixture
def bench(make_settings: MakeSettings, tmp_path: Path, emulators: Emulators) -> Bench:
    return Bench(make_settings, tmp_path, emulators)


@pytest.fixture(scope="module")
async def world(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """One product with all places for a whole module: its cases are told apart by what has changed since they began."""
    folder: Path = tmp_path_factory.mktemp("world")
    async with databases.empty() as url:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("genyard.jobs.worker._SWEEP_SECONDS", 0.05)  # how soon a second try begins
            async with world_of(url, folder) as made:
                yield made
