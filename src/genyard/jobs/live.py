"""LISTEN: what other processes tell about jobs reaches this one within milliseconds.

Nothing is learnt here that is not in the tables too: a notification only says where to look. When the
connection breaks it is opened again, and everybody is woken to look for himself.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import psycopg

from genyard.database import Connection, Database
from genyard.telemetry import get_logger

_log = get_logger(__name__)
_SILENCE_SECONDS: Final = 5.0


@dataclass(frozen=True, kw_only=True)
class Notice:
    """kind: event, progress, cancel, callback; or `look` after a gap. `text` is the rest of the payload."""

    kind: str
    text: str


Heard = Callable[[Notice], None]


class Live:
    """One listening connection for the whole process, opened with the first subscriber."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._heard: dict[UUID, list[Heard]] = {}
        self._task: asyncio.Task[None] | None = None
        self._listening = asyncio.Event()

    @contextlib.asynccontextmanager
    async def listening(self, job_id: UUID, heard: Heard) -> AsyncIterator[None]:
        """Calls `heard` with every notice about a job from now on, in the event loop; it must not block."""
        if self._task is None:
            self._task = asyncio.create_task(self._listen(), name="genyard-live")
        await self._listening.wait()
        self._heard.setdefault(job_id, []).append(heard)
        try:
            yield
        finally:
            others = self._heard[job_id]
            others.remove(heard)
            if not others:
                del self._heard[job_id]

    @contextlib.asynccontextmanager
    async def subscribe(self, job_id: UUID) -> AsyncIterator[asyncio.Queue[Notice]]:
        """The same as a queue. Whoever subscribes and then reads the tables misses nothing."""
        queue: asyncio.Queue[Notice] = asyncio.Queue(maxsize=1000)
        async with self.listening(job_id, functools.partial(_offer, queue)):
            yield queue

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _listen(self) -> None:
        broken_off = False
        while True:
            try:
                connection = await self._database.connect()
                async with connection:
                    await connection.execute("LISTEN genyard")
                    if broken_off:
                        await self._wake_pool()
                    self._listening.set()
                    self._everybody(Notice(kind="look", text=""))
                    await self._read(connection)
            except (psycopg.Error, ValueError) as broken:
                _log.warning("the listening connection broke", error=str(broken))
                broken_off = True
                await asyncio.sleep(0.5)

    async def _wake_pool(self) -> None:
        """Its connections are dead, too, and each would cost somebody a failure. Who waits for one is served now."""
        await self._database.pool.check()
        await self._database.row("SELECT 1")

    async def _read(self, connection: Connection) -> None:
        async for notification in connection.notifies():
            kind, _, rest = notification.payload.partition(" ")
            job, _, text = rest.partition(" ")
            for heard in self._heard.get(UUID(job), ()):
                heard(Notice(kind=kind, text=text))

    def _everybody(self, notice: Notice) -> None:
        for every in list(self._heard.values()):
            for heard in every:
                heard(notice)


async def next_notice(queue: asyncio.Queue[Notice]) -> Notice:
    """The next one; after a long silence a reason to look, in case a notification was lost in a crash."""
    try:
        # not wait_for: until Python 3.12 it forgets a cancel that comes together with what it waits for
        async with asyncio.timeout(_SILENCE_SECONDS):
            return await queue.get()
    except TimeoutError:
        return Notice(kind="look", text="")


def _offer(queue: asyncio.Queue[Notice], notice: Notice) -> None:
    """A watcher too slow to read a thousand notices loses the oldest: the tables still have the events."""
    if queue.full():
        queue.get_nowait()
    queue.put_nowait(notice)
