"""The pool survives tasks that are canceled at any moment."""

from __future__ import annotations

import asyncio
import random

from conftest import MakeSettings
from genyard.database import open_database


async def test_canceled_tasks_lose_no_connection(make_settings: MakeSettings) -> None:
    async with open_database(make_settings(), pool_size=8) as database:

        async def asked_and_canceled() -> None:
            task = asyncio.create_task(database.row("SELECT pg_sleep(0.002)"))
            await asyncio.sleep(random.random() * 0.006)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        for _ in range(15):
            await asyncio.gather(*(asked_and_canceled() for _ in range(40)))
        await asyncio.sleep(0.5)
        stats = database.pool.get_stats()
        assert stats["pool_available"] == stats["pool_size"]
