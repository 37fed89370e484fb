"""Fixtures: running emulators, and a bench beside them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from conftest import MakeSettings
from genyard.testing.emulators import Emulators
from scenarios.places.bench import Bench


@pytest.fixture
async def emulators() -> AsyncIterator[Emulators]:
    async with Emulators() as running:
        yield running


@pytest.fixture
def bench(make_settings: MakeSettings, tmp_path: Path, emulators: Emulators) -> Bench:
    return Bench(make_settings, tmp_path, emulators)
