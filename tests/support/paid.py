"""A place at which runs cost money, and which may spend so much in a day."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from conftest import MakeSettings
from genyard.app import Product, build
from genyard.jobs.runner import Pace
from support.scripted import ScriptedProvider

QUICK = Pace(first_retry=0.01, factor=1.0)


@contextlib.asynccontextmanager
async def paid_place(
    make_settings: MakeSettings,
    place: ScriptedProvider,
    settings_too: dict[str, Any] | None = None,
    **endpoint: Any,
) -> AsyncIterator[Product]:
    """A place with a cap of a dollar, where nobody knows beforehand what a run costs: taken to be 0.40."""
    settings = make_settings(
        IMAGE_GENERATION_PROVIDER="comfyui",
        COMFYUI_ENDPOINT="http://place",
        GENYARD_PUBLIC_URL="https://genyard.example",
    )
    changes = {"daily_cap_usd": 1.0, "assumed_usd": 0.4, **endpoint}
    only = settings.endpoints["comfyui"].model_copy(update=changes)
    settings = settings.model_copy(update={"endpoints": {"comfyui": only}, **(settings_too or {})})
    async with build(settings, pace=QUICK, providers={"comfyui": lambda *_: place}) as product:
        yield product
