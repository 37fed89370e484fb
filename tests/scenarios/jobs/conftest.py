"""Fixtures: products that send callbacks, and somebody who receives them."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from conftest import MakeSettings
from genyard.app import Product, build
from genyard.jobs.callbacks.sender import Tempo
from genyard.jobs.runner import Pace
from support.receiver import Receiver
from support.scripted import ScriptedProvider

QUICK = Tempo(sweep=0.02, grace=0.0)
TOML = '[webhooks]\nhosts = ["127.0.0.1"]\n'


@pytest.fixture
def open_product(make_settings: MakeSettings, tmp_path: Path) -> Any:
    """Products on one database; loopback is a listed host."""

    @contextlib.asynccontextmanager
    async def make(
        place: ScriptedProvider | None = None, toml: str = TOML, tempo: Tempo = QUICK, **environ: str
    ) -> AsyncIterator[Product]:
        (tmp_path / "genyard.toml").write_text(toml)
        place = place or ScriptedProvider()
        pace = Pace(first_retry=0.01, factor=1.0)
        async with build(
            make_settings(**environ), pace=pace, providers={"preview": lambda *_: place}, tempo=tempo
        ) as product:
            yield product

    return make


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver() as receiver:
        yield receiver
