"""A worker for as long as a command needs one: somebody else's, or its own."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Final

from genyard.frontends.cli.composition import Product
from genyard.frontends.cli.session import Session

_LOOK_SECONDS: Final = 3.0


@dataclass(kw_only=True)
class Hands:
    """Who works: `own` is set once this process does."""

    own: asyncio.Event = field(default_factory=asyncio.Event)


@contextlib.asynccontextmanager
async def worker_at_hand(session: Session, product: Product) -> AsyncIterator[Hands]:
    """While the block lasts, somebody works: another process, or this one from the moment that nobody does."""
    hands = Hands()
    async with contextlib.AsyncExitStack() as stack:
        if not await product.jobs.any_worker():
            await stack.enter_async_context(session.composition.working(product))
            hands.own.set()
        task = asyncio.create_task(_step_in(session, product, hands), name="genyard-step-in")
        try:
            yield hands
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def _step_in(session: Session, product: Product, hands: Hands) -> None:
    """The worker that was there may end before the job does."""
    if hands.own.is_set():
        return
    while await product.jobs.any_worker():  # noqa: ASYNC110 (another process tells no event here)
        await asyncio.sleep(_LOOK_SECONDS)
    async with session.composition.working(product):
        hands.own.set()
        await asyncio.Event().wait()
