"""A place that delivers fewer pictures than it was asked for: what came is delivered and paid, the rest given back."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from genyard.app import working
from genyard.jobs.model import AttemptState, Credits, JobState
from genyard.ledger import Balance
from genyard.testing.emulators import Emulators
from scenarios.places.bench import Bench

CREDITS = """
[credits]
enabled = true
prices = [{ operation = "*", credits = 1 }]
"""


#: Provider → whose emulator, the trouble that takes one picture away, and what leads to it.
PLACES: Mapping[str, tuple[str, str, tuple[str, ...]]] = {
    "comfyui": ("runpod", "fewer_images", ("RUNPOD_API_KEY", "RUNPOD_COMFYUI_ENDPOINT_ID")),
    "replicate": ("replicate", "withheld", ("REPLICATE_API_TOKEN",)),
}


@pytest.mark.parametrize("provider", PLACES)
async def test_three_of_four_pictures_are_delivered_and_paid(
    bench: Bench, emulators: Emulators, provider: str
) -> None:
    whose, trouble, names = PLACES[provider]
    emulator = getattr(emulators, whose)
    emulator.faults.add(trouble)
    env = {name: emulators.environment[name] for name in names}
    async with bench.start({"IMAGE_GENERATION_PROVIDER": provider, **env}, CREDITS) as product:
        async with working(product):
            await product.owners.create_key("alice")
            owner = await product.studio.ledger.owner_named("alice")
            await product.studio.ledger.give(owner, "purchase", 10, actor="test")
            body = {"operation": "txt2img", "parameters": {"prompt": "a fox", "count": 4}}
            job = (await product.studio.submit(body, owner_id=owner)).job
            job = await asyncio.wait_for(product.studio.wait(job.id, owner_id=owner), 30)
        assert job.state is JobState.succeeded, job.error
        assert [one.facts["withheld"] for one in job.outputs] == [1, 1, 1]
        assert [one.state for one in job.attempts] == [AttemptState.succeeded]
        assert job.credits == Credits(price=4, reserved=0, charged=3, refunded=0)
        told = reversed(await product.studio.statement(owner_id=owner))
        assert [(one.kind, one.amount) for one in told] == [
            ("purchase", 10),
            ("reserve", 4),
            ("settle", 3),
            ("release", 1),
        ]
        assert await product.studio.balance(owner_id=owner) == Balance(available=7, reserved=0)
        assert (await product.studio.ledger.reconcile()).balanced
    assert emulator.counts.total_runs == 1
