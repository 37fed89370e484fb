"""A job that kills its worker, with real processes: set aside after a few, paid back, and nobody else's matter."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest

from conftest import MakeSettings
from genyard.app import build
from genyard.jobs.model import JobState
from genyard.jobs.store import MAX_CRASHES
from genyard.settings import CreditSettings, PriceRow
from support.scripted import ScriptedProvider

TESTS = Path(__file__).parents[2]
CREDITS = CreditSettings(enabled=True, prices=(PriceRow(operation="*", credits=2),))


def asking(prompt: str) -> dict[str, Any]:
    return {"operation": "txt2img", "parameters": {"prompt": prompt, "width": 64, "height": 64}}


@pytest.mark.long
async def test_a_job_that_kills_every_worker_is_set_aside_and_paid_back(
    make_settings: MakeSettings, tmp_path: Path
) -> None:
    settings = make_settings().model_copy(update={"credits": CREDITS})
    assert settings.database_url is not None
    environ = {
        "DATABASE_URL": settings.database_url.get_secret_value(),
        "GENYARD_DATA": str(tmp_path),
        "PYTHONPATH": f"{TESTS.parent / 'src'}:{TESTS}",
    }
    async with build(settings, providers={"preview": lambda *_: ScriptedProvider()}) as product:
        await product.owners.create_key("alice")
        owner = await product.studio.ledger.owner_named("alice")
        await product.studio.ledger.give(owner, "grant", 12, actor="test")
        poison = (await product.studio.submit(asking("poison"), owner_id=owner)).job
        others = [(await product.studio.submit(asking(f"fox {n}"), owner_id=owner)).job for n in range(5)]
        killed = 0

        async def workers() -> None:
            """As a supervisor does: whenever it dies, another one."""
            nonlocal killed
            while True:
                process = await asyncio.create_subprocess_exec(
                    sys.executable, "-m", "support.deadly", env=environ, cwd=tmp_path
                )
                try:
                    assert await process.wait() == -9
                    killed += 1
                finally:
                    if process.returncode is None:
                        process.kill()
                        await process.wait()

        supervising = asyncio.create_task(workers())
        try:
            jobs = [poison, *others]
            waits = (product.studio.wait(one.id, owner_id=owner) for one in jobs)
            first, *rest = await asyncio.wait_for(asyncio.gather(*waits), 100)
        finally:
            supervising.cancel()
            await asyncio.gather(supervising, return_exceptions=True)
        assert first.state is JobState.failed
        assert first.error is not None
        assert "set aside" in first.error["message"]
        assert {one.state for one in rest} == {JobState.succeeded}
        assert killed == MAX_CRASHES
        balance = await product.studio.balance(owner_id=owner)
        assert (balance.available, balance.reserved) == (2, 0)
        assert (await product.studio.ledger.reconcile()).balanced
        assert all(len(one.attempts) == 1 for one in rest)
