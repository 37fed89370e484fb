"""Who submits, asks again, cancels, and is called back. What they were told is written down for the audit."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import json
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import aiohttp
import psycopg
from aiohttp import web
from psycopg_pool import PoolTimeout

from genyard.errors import Code, GenyardError
from soak.pictures import a_picture
from soak.plan import CUSTOMERS, Order
from soak.world import World

Json = Any
#: A customer waits so long before asking again.
_PAUSE = 0.3
_PATIENCE = 1000


@dataclass(kw_only=True)
class Told:
    """What the outside world knows.

    accepted  order number → ids that were answered to it (more than one would be a job too many)
    refused   order number → code; nothing may be stored of these
    calls     delivery id → (job id, type) as often as it came
    """

    accepted: dict[int, set[UUID]] = field(default_factory=dict)
    refused: dict[int, str] = field(default_factory=dict)
    calls: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    replayed: int = 0
    asked_again: int = 0
    cancels: int = 0
    waits: Counter[str] = field(default_factory=Counter)


class Receiver:
    """A customer's server for callbacks: down for a while now and then, and every tenth answer is an error."""

    def __init__(self, told: Told) -> None:
        self._told = told
        self._count = 0
        self.down = False
        self.host = "127.0.0.1"
        self.url = ""

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[Receiver]:
        runner = web.ServerRunner(web.Server(self._handle), shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, self.host, 0).start()
        self.url = f"http://{self.host}:{runner.addresses[0][1]}/hook"
        try:
            yield self
        finally:
            await runner.cleanup()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        self._count += 1
        if self.down:
            return web.Response(status=503, headers={"Retry-After": "1"})
        if self._count % 10 == 3:
            return web.Response(status=500)
        if self._count % 50 == 7 and request.transport is not None:
            request.transport.abort()
        message = json.loads(body)
        seen = self._told.calls.setdefault(request.headers["webhook-id"], [])
        seen.append((message["data"]["id"], message["type"]))
        return web.Response(status=204)


class Customers:
    """`keys`: by customer; `pictures`: what each of them uploaded."""

    def __init__(self, world: World, receiver: Receiver, told: Told) -> None:
        self._world = world
        self._receiver = receiver
        self.told = told
        self.ids: dict[str, UUID] = {}
        self.keys: dict[str, str] = {}
        self.pictures: dict[str, UUID] = {}
        self._canceling: set[asyncio.Task[None]] = set()

    async def come(self) -> None:
        """Everybody gets a key, a tier, credits, and uploads a picture."""
        product = self._world.door
        for customer in CUSTOMERS:
            key, secret = await product.owners.create_key(customer.name, "", admin=False)
            await product.owners.set_tier(customer.name, customer.tier)
            owner_id = await product.studio.ledger.owner_named(customer.name)
            await product.studio.ledger.give(
                owner_id, "purchase", customer.credits, reason="the start", actor="soak", key=customer.name
            )
            self.ids[customer.name], self.keys[customer.name] = owner_id, secret
            picture = await product.studio.upload(a_picture(), owner_id=owner_id)
            self.pictures[customer.name] = picture.id
            assert key.owner == customer.name

    async def leave(self) -> None:
        await asyncio.gather(*self._canceling)

    async def order(self, order: Order) -> None:
        """Until it is accepted or refused for good; as somebody who asks again under the same key."""
        job_id = await self._insist(order)
        if job_id is None:
            return
        if order.asks_again:
            self.told.asked_again += 1
            await self._insist(order)
        if order.cancel_after is not None:
            task = asyncio.create_task(self._cancel(order, job_id, order.cancel_after))
            self._canceling.add(task)
            task.add_done_callback(self._canceling.discard)

    async def _insist(self, order: Order) -> UUID | None:
        for _ in range(_PATIENCE):
            try:
                job_id = await (self._by_http(order) if order.by_http else self._by_hand(order))
                self.told.accepted.setdefault(order.number, set()).add(job_id)
                return job_id
            except GenyardError as refused:
                if refused.code not in _AGAIN:
                    self.told.refused[order.number] = refused.code.value
                    return None
                self.told.waits[refused.code.value] += 1
            except _BROKEN as broken:
                self.told.waits[type(broken).__name__] += 1
            await asyncio.sleep(_PAUSE)
        raise TimeoutError(f"order {order.number} finds nobody who takes or refuses it: {self.told.waits}")

    def _body(self, order: Order) -> dict[str, Json]:
        body = copy.deepcopy(dict(order.body))
        for step in body.get("steps", [body]):
            if step.get("inputs", {}).get("image") == "@picture":
                step["inputs"]["image"] = str(self.pictures[order.customer])
        if order.called_back:
            body["webhook_url"] = self._receiver.url
        return body

    async def _by_hand(self, order: Order) -> UUID:
        submitted = await self._world.door.studio.submit(
            self._body(order),
            owner_id=self.ids[order.customer],
            idempotency_key=order.key,
            endpoint=order.endpoint,
        )
        self.told.replayed += submitted.replayed
        return submitted.job.id

    async def _by_http(self, order: Order) -> UUID:
        headers = {"Authorization": f"Bearer {self.keys[order.customer]}", "Idempotency-Key": order.key}
        url = f"{self._world.api_url}/v1/jobs"
        async with self._world.session.post(url, json=self._body(order), headers=headers) as answer:
            told = await answer.json()
            if answer.status >= 400:
                raise GenyardError.from_json(told["error"])
            self.told.replayed += answer.status == 200
            return UUID(told["id"])

    async def _cancel(self, order: Order, job_id: UUID, seconds: float) -> None:
        await asyncio.sleep(seconds)
        self.told.cancels += 1
        while True:
            with contextlib.suppress(*_BROKEN, GenyardError):
                await self._world.door.studio.cancel(job_id, owner_id=self.ids[order.customer])
                return
            await asyncio.sleep(_PAUSE)


_BROKEN = (aiohttp.ClientError, TimeoutError, psycopg.OperationalError, PoolTimeout, ConnectionError)
#: A full queue, a place that does not answer while the job is planned, a server whose database is away.
_AGAIN = frozenset({Code.limit_exceeded, Code.provider_unreachable, Code.provider_busy, Code.storage_failed})
