"""The part of a worker that sends callbacks. Any worker sends any; what a dead one left, the next sweep takes up.

At least once: a message whose answer was not seen is sent again, under the same id.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from uuid import UUID

import psycopg

from genyard.errors import Code, GenyardError
from genyard.jobs.callbacks.deliveries import Bounds, Deliveries, Due
from genyard.jobs.callbacks.message import Link, write_message
from genyard.jobs.callbacks.signing import signed_headers
from genyard.jobs.live import Live, Notice
from genyard.jobs.store import Jobs
from genyard.telemetry import bind_trace, get_logger, words_of

if TYPE_CHECKING:
    from genyard.outbound import Outbound, Posted

_log = get_logger(__name__)

#: Notices that are about no job in particular.
EVERYBODY: Final = UUID(int=0)

#: Seconds after the first, second, … failure; the last one repeats until the day is over.
SCHEDULE: Final = (5.0, 30.0, 120.0, 600.0, 3600.0, 7200.0, 14_400.0, 28_800.0)
_JITTER: Final = 0.2
_LONGEST_PAUSE: Final = 86_400.0


@dataclass(frozen=True, kw_only=True)
class Tempo:
    """Seconds. `limit`: of one try. `lease`: a sender that is silent for so long has lost its message. `grace`: what is
    on its way when the worker stops may take so long."""

    sweep: float = 1.0
    limit: float = 10.0
    lease: float = 30.0
    grace: float = 2.0


def pause_after(
    tries: int, retry_after: float | None = None, draw: Callable[[], float] = random.random
) -> float:
    """Seconds until the next try. A receiver may ask for longer, never for shorter."""
    regular = SCHEDULE[min(tries, len(SCHEDULE)) - 1] * (1 + _JITTER * (2 * draw() - 1))
    return max(regular, min(retry_after or 0.0, _LONGEST_PAUSE))


class Callbacks:
    """`link`: where a file can be fetched from outside."""

    def __init__(
        self,
        *,
        deliveries: Deliveries,
        jobs: Jobs,
        live: Live,
        outbound: Callable[[], Outbound],
        link: Link,
        bounds: Bounds | None = None,
        tempo: Tempo | None = None,
    ) -> None:
        self._deliveries = deliveries
        self._jobs = jobs
        self._live = live
        self._outbound = outbound
        self._link = link
        self._bounds = bounds or Bounds()
        self._tempo = tempo or Tempo()

    async def serve(self, worker_id: int) -> None:
        """Sends what is due until it is canceled. Whatever goes wrong here, the worker's jobs go on."""
        wake = asyncio.Event()
        sending: set[asyncio.Task[None]] = set()

        def heard(_notice: Notice | asyncio.Task[None]) -> None:
            wake.set()

        try:
            async with self._live.listening(EVERYBODY, heard):
                swept = float("-inf")
                while True:
                    wake.clear()
                    try:
                        if time.monotonic() - swept >= self._tempo.sweep:
                            await self._deliveries.take_up(self._tempo.lease)
                            swept = time.monotonic()
                        for due in await self._claim(worker_id, len(sending)):
                            task = asyncio.create_task(self._deliver(due, worker_id), name="genyard-callback")
                            sending.add(task)
                            task.add_done_callback(sending.discard)
                            task.add_done_callback(heard)
                    except psycopg.Error as broken:
                        _log.warning("callbacks wait for the database", error=words_of(broken))
                    # not wait_for: until Python 3.12 it forgets a cancel that comes together with what it waits for
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(self._tempo.sweep):
                            await wake.wait()
        finally:
            if sending:
                await asyncio.wait(sending, timeout=self._tempo.grace)
            for task in sending:
                task.cancel()
            await asyncio.gather(*sending, return_exceptions=True)

    async def _claim(self, worker_id: int, busy: int) -> list[Due]:
        places = self._bounds.at_once - busy
        return await self._deliveries.claim(worker_id, places, self._bounds) if places > 0 else []

    async def _deliver(self, due: Due, worker_id: int) -> None:
        bind_trace(due.trace_id)
        status, error, pause = None, None, pause_after(due.tries)
        try:
            answer = await self._send(due)
            status = answer.status
            error = None if 200 <= status < 300 else _problem(status)
            pause = pause_after(due.tries, answer.retry_after)
        except GenyardError as wrong:
            if wrong.code is Code.not_found:
                return  # the job was deleted, and its messages with it
            error = wrong.message
        except psycopg.Error as broken:
            _log.warning("a callback is given back: the database broke off", error=words_of(broken))
            return
        except Exception as defect:  # noqa: BLE001 (callbacks never stop a worker)
            _log.exception("a callback could not be written")
            error = f"a defect of genyard: {type(defect).__name__}"
        await self._finish(due, worker_id, status, error, pause)

    async def _send(self, due: Due) -> Posted:
        job = await self._jobs.get(due.job_id, due.owner_id)
        body = write_message(due.kind, due.created_at, job, prompts=due.prompts, link=self._link)
        keys = due.keys or (await self._deliveries.key_of(due.owner_id),)
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "genyard",
            **signed_headers(keys, str(due.id), int(self._deliveries.clock()), body),
        }
        return await self._outbound().post(due.url, body, headers=headers, seconds=self._tempo.limit)

    async def _finish(
        self, due: Due, worker_id: int, status: int | None, error: str | None, pause: float
    ) -> None:
        gone = status == 410
        try:
            if gone:
                await self._deliveries.stop(due, worker_id, _problem(410))
            state = await self._deliveries.finish(
                due,
                worker_id,
                delivered=error is None,
                stop=gone,
                status=status,
                error=error,
                pause=pause,
            )
        except psycopg.Error as broken:
            _log.warning("the outcome of a callback was not noted; it comes again", error=words_of(broken))
            return
        if error is not None:
            _log.warning("a callback failed", delivery=str(due.id), host=due.host, state=state, error=error)


def _problem(status: int) -> str:
    if status == 410:
        return "HTTP 410: nothing more is wanted for this job"
    if 300 <= status < 400:
        return f"HTTP {status}: redirects are not followed"
    return f"HTTP {status}"
