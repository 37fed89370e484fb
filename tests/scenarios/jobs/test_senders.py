"""Workers that send callbacks, many at once, and that are killed, frozen and stopped while they do."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

from aiohttp import web

from genyard.app import working
from genyard.jobs.callbacks.sender import Tempo
from scenarios.jobs.test_callbacks import (
    asking,
    run,
    settled,
)
from support.receiver import Receiver, hangs


async def test_what_a_dead_worker_was_sending_is_sent_by_the_next(
    open_product: Any, receiver: Receiver
) -> None:
    receiver.answers = [hangs, 204]
    async with open_product() as product:
        async with working(product):
            await run(product, asking(receiver))
            await receiver.until(1)
        [one] = await product.studio.webhooks.deliveries()
        assert one.state == "sending"
        async with working(product):
            [one] = await settled(product, "delivered")
    assert one.tries == 2
    assert [message.id for message in receiver.got] == [str(one.id)] * 2


async def test_a_killed_process_leaves_its_message_to_others(
    open_product: Any, receiver: Receiver, tmp_path: Path
) -> None:
    """SIGKILL while it sends: nobody could tidy up."""
    receiver.answers = [hangs, 204]
    async with open_product() as product:
        url = product.settings.database_url
        environ = {
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": os.pathsep.join(sys.path),
            "GENYARD_DATA": str(tmp_path),
            "DATABASE_URL": url.get_secret_value(),
        }
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "genyard",
            "worker",
            cwd=tmp_path,
            env=environ,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            await product.studio.submit(asking(receiver))
            await receiver.until(1)
        finally:
            process.kill()
            await process.wait()
        async with working(product):
            [one] = await settled(product, "delivered")
    assert one.tries == 2
    assert [message.id for message in receiver.got] == [str(one.id)] * 2


async def test_what_a_frozen_worker_was_sending_is_taken_up_after_the_lease_and_it_changes_nothing(
    open_product: Any, receiver: Receiver
) -> None:
    thawed = asyncio.Event()

    async def frozen(_message: Any) -> web.StreamResponse:
        await thawed.wait()
        return web.Response(status=410)

    receiver.answers = [frozen, 204]
    tempo = Tempo(sweep=0.02, grace=0.0, lease=0.2)
    async with open_product(tempo=tempo) as product, working(product):
        await run(product, asking(receiver))
        [one] = await settled(product, "delivered")
        thawed.set()
        await asyncio.sleep(0.05)
        [same] = await product.studio.webhooks.deliveries()
    assert (same.state, same.tries, same.status) == ("delivered", 2, 204)
    assert same == one


async def test_many_workers_send_each_message_once(open_product: Any, receiver: Receiver) -> None:
    async with open_product() as one, open_product() as other, working(one), working(other):
        jobs = [await one.studio.submit(asking(receiver)) for _ in range(40)]
        await asyncio.gather(*(one.studio.wait(job.job.id) for job in jobs))
        await settled(one, "delivered", count=40)
    assert len({message.id for message in receiver.got}) == len(receiver.got) == 40


async def test_a_worker_that_stops_finishes_what_is_on_its_way(open_product: Any, receiver: Receiver) -> None:
    begun = asyncio.Event()

    async def slowly(_message: Any) -> web.StreamResponse:
        begun.set()
        await asyncio.sleep(0.1)
        return web.Response(status=204)

    receiver.answers = [slowly]
    async with open_product(tempo=Tempo(sweep=0.02, grace=5.0)) as product:
        async with working(product):
            await run(product, asking(receiver))
            await asyncio.wait_for(begun.wait(), 20)
        [one] = await product.studio.webhooks.deliveries()
    assert one.state == "delivered"
