"""At the edges of the protocol: a server that is killed while it accepts a job, take-up with the real times."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import pytest

from chaos.cases import Fault, cases
from chaos.kinds import KINDS
from chaos.process import Watched
from chaos.trial import Lane, open_lane
from chaos.worker import Order, Trap, answer
from genyard.database._embedded import EmbeddedServer
from genyard.jobs.worker import LEASE_SECONDS
from support.embedded import embedded_server

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
async def server() -> AsyncIterator[tuple[EmbeddedServer, Path]]:
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent.parent), *sys.path])  # noqa: TID251
    async with embedded_server() as opened:
        yield opened


@pytest.fixture
async def lane(server: tuple[EmbeddedServer, Path]) -> AsyncIterator[Lane]:
    """At a place with a daily cap: money is reserved in the transaction, too."""
    running, folder = server
    async with open_lane(KINDS["replicate"], running, folder / f"lane{uuid4().hex}") as lane:
        yield lane
        await lane._tidy()


async def serving(lane: Lane, *traps: Trap) -> tuple[Watched, str]:
    process = Watched(
        Order(environ=lane.environ, folder=lane.folder, lease=LEASE_SECONDS, traps=traps), answer
    )
    lane.workers.append(process)
    await process.until("ready")
    [address] = process.said("ready")
    return process, str(address)


async def post(lane: Lane, address: str, key: str) -> tuple[int, Any]:
    headers = {"Authorization": f"Bearer {lane.key}", "Idempotency-Key": key}
    body = {"steps": [dict(lane.kind.first), dict(lane.kind.second)]}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.post(f"{address}/v1/jobs", json=body) as response,
    ):
        return response.status, await response.json()


@pytest.mark.parametrize(
    ("point", "accepted"),
    [
        ("jobs.insert before", False),
        ("insert_job done", False),
        ("jobs.go_on before", True),
        ("jobs.go_on after", True),
        ("jobs.insert after", True),
    ],
)
async def test_a_server_killed_while_it_accepts_has_reserved_if_and_only_if_it_accepted(
    lane: Lane, point: str, accepted: bool
) -> None:
    first, address = await serving(lane, Trap(point=point, stage=0))
    asking = asyncio.create_task(post(lane, address, "once"))
    await first.until("reached", point)
    first.signal(signal.SIGKILL)
    await first.gone()
    with pytest.raises(aiohttp.ClientError):
        await asking
    there = await lane._rows("SELECT id, credits FROM jobs")
    reserved = await lane._rows(
        "SELECT job_id AS id, amount AS credits FROM movements WHERE kind = 'reserve'"
    )
    assert there == reserved
    assert len(there) == int(accepted)

    _, address = await serving(lane)
    status, told = await post(lane, address, "once")
    assert status == (200 if accepted else 201), told
    assert [str(one["id"]) for one in await lane._rows("SELECT id FROM jobs")] == [told["id"]]
    assert not accepted or str(there[0]["id"]) == told["id"]
    assert len(await lane._rows("SELECT FROM movements WHERE kind = 'reserve'")) == 1

    await lane._worker()
    await lane._ended((await lane._rows("SELECT id FROM jobs"))[0]["id"])
    assert lane.place.runs == 2
    assert (await lane.product.studio.ledger.reconcile()).balanced


@pytest.mark.long
@pytest.mark.parametrize(("fault", "least", "most"), [(Fault.kill, 0.0, 3.0), (Fault.freeze, 5.0, 14.0)])
async def test_take_up_with_the_real_times(lane: Lane, fault: Fault, least: float, most: float) -> None:
    """A dead worker's lock is free at once; a frozen one keeps it, and its lease runs out."""
    [case] = [
        one for one in cases(lane.kind, fault) if (one.passing, one.stage) == ("provider.observe after", 1)
    ]
    job_id = await lane._submitted(case)
    victim = await lane._played(case, job_id)
    await lane._worker()
    victim.signal(signal.SIGKILL if fault is Fault.kill else signal.SIGSTOP)
    [struck] = await lane._rows("SELECT now() AS at")
    await lane._ended(job_id)
    [taken] = await lane._rows(
        "SELECT extract(epoch FROM dispatched_at - %(at)s)::float AS after FROM stages WHERE position = 0",
        **struck,
    )
    assert least <= taken["after"] <= most
    assert lane.place.runs == 2
