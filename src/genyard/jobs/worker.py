"""A process that runs stages.

Procrastinate brings the stages that may start now. A session-level advisory lock says that this process is
alive: it is freed the moment the process dies, and whoever sweeps next takes its stages up.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from functools import partial
from typing import Any, Final, LiteralString, TypeVar
from uuid import UUID

import procrastinate
import psycopg
from procrastinate.connector import Notify
from psycopg_pool import AsyncConnectionPool

from genyard.database import OUTAGES, RECONNECT_SECONDS, Connection
from genyard.jobs.callbacks.sender import Callbacks
from genyard.jobs.drive import Hold
from genyard.jobs.housekeeping.keeper import Keeper
from genyard.jobs.runner import Runner
from genyard.jobs.store import Jobs
from genyard.telemetry import get_logger

_log = get_logger(__name__)
T = TypeVar("T")

LEASE_SECONDS: Final = 10.0
_BEATS_PER_LEASE: Final = 5
_SWEEP_SECONDS: Final = 1.0
_LOOK_SECONDS: Final = 2.0
_ECHO_SECONDS: Final = 0.05
_OUTAGE_SECONDS: Final = 0.5
_LOCK_CLASS: Final = 7264
#: A worker that is stopped while the database is away does not wait for it.
_FAREWELL_SECONDS: Final = 5.0


class Worker:
    """Register, run, sweep; `serve` ends when it is canceled, handing what runs to others."""

    def __init__(
        self,
        *,
        jobs: Jobs,
        runner: Runner,
        concurrency: int,
        callbacks: Callbacks,
        keeper: Keeper,
        hold: Hold,
        lease: float = LEASE_SECONDS,
    ) -> None:
        """`lease`: the same for all workers of a database; after so long without a beat one counts as frozen."""
        self._jobs = jobs
        self._keeper = keeper
        self._runner = runner
        self._concurrency = concurrency
        self._callbacks = callbacks
        self._hold = hold
        self._lease = lease

    async def serve(self, ready: asyncio.Event | None = None) -> None:
        name = f"{socket.gethostname()}:{os.getpid()}"
        worker_id = await _outlasting(lambda: self._jobs.register_worker(name))
        try:
            async with self._alive(worker_id, name):
                await _outlasting(lambda: self._jobs.sweep(self._lease, worker_id))
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._sweep(worker_id))
                    group.create_task(self._callbacks.serve(worker_id))
                    group.create_task(self._keeper.serve())
                    group.create_task(self._drive(worker_id, ready or asyncio.Event()))
        except Exception:
            _log.exception("a defect ended the worker; what it had begun goes on with others")
            raise
        finally:
            with contextlib.suppress(psycopg.Error, TimeoutError):  # then whoever sweeps next finds out
                async with asyncio.timeout(_FAREWELL_SECONDS):
                    await self._runner.handed_on()
                    await self._jobs.forget_worker(worker_id)

    async def _drive(self, worker_id: int, ready: asyncio.Event) -> None:
        """The engine gives up where the database is not as it left it (its own row was pruned while this process was
        frozen, say); what it ran goes to others, and it begins anew."""
        while True:
            try:
                await self._engine(worker_id, ready)
                _log.warning("the engine stopped; it starts anew")
            except (procrastinate.exceptions.ConnectorException, psycopg.Error) as broken:
                _log.warning("the engine broke off; it starts anew", error=str(broken.__cause__ or broken))
            await asyncio.sleep(_OUTAGE_SECONDS)

    async def _engine(self, worker_id: int, ready: asyncio.Event) -> None:
        connector = _Connector(
            ready,
            pool_factory=_pool,
            configure=_configured(worker_id),
            conninfo=self._jobs.database.url,
            min_size=1,
            max_size=4,
        )
        app = procrastinate.App(connector=connector)

        @app.task(name="run_stage", queue="stages")
        async def run_stage(stage_id: str, epoch: int) -> None:
            await self._run(UUID(stage_id), epoch, worker_id)

        async with app.open_async():
            running = asyncio.create_task(
                app.run_worker_async(
                    queues=["stages"],
                    concurrency=self._concurrency,
                    install_signal_handlers=False,
                    shutdown_graceful_timeout=0.1,
                    delete_jobs="always",
                    fetch_job_polling_interval=_LOOK_SECONDS,
                )
            )
            try:
                await asyncio.shield(running)
            finally:
                connector.patient = False
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)

    async def _run(self, stage_id: UUID, epoch: int, worker_id: int) -> None:
        try:
            await self._runner.run(stage_id, epoch, worker_id)
        except OUTAGES as broken:
            _log.warning(
                "the database broke off; the stage is handed back", stage=str(stage_id), error=str(broken)
            )
            while True:
                try:
                    return await self._jobs.hand_back(stage_id, epoch, worker_id)
                except OUTAGES:
                    await asyncio.sleep(_SWEEP_SECONDS)

    async def _sweep(self, worker_id: int) -> None:
        """Not without the lock: this worker would count as dead, and take its own runs away from itself."""
        while True:
            await self._hold.since()
            try:
                due = await self._jobs.sweep(self._lease, worker_id)
            except psycopg.Error as broken:
                _log.warning("the sweep failed; it comes again", error=str(broken))
                due = None
            await asyncio.sleep(min(_SWEEP_SECONDS, max(0.02, due if due is not None else _SWEEP_SECONDS)))

    @contextlib.asynccontextmanager
    async def _alive(self, worker_id: int, name: str) -> AsyncIterator[None]:
        first = await _outlasting(lambda: self._lock(worker_id))
        task = asyncio.create_task(self._beat(worker_id, name, first), name="genyard-alive")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _lock(self, worker_id: int) -> Connection:
        connection = await self._jobs.database.connect()
        try:
            await connection.execute("SELECT pg_advisory_lock(%s, %s)", (_LOCK_CLASS, worker_id))
        except BaseException:
            await connection.close()
            raise
        self._hold.taken()
        return connection

    async def _beat(self, worker_id: int, name: str, connection: Connection) -> None:
        """On the connection that holds the lock: when it breaks, the lock is gone and must be taken again."""
        try:
            while True:
                try:
                    await self._jobs.beat(connection, worker_id, name)
                    async for _ in connection.notifies(timeout=self._lease / _BEATS_PER_LEASE):
                        pass  # nobody tells it anything: this sleep ends at once when the connection breaks
                except psycopg.Error as broken:
                    self._hold.lost()
                    await connection.close()
                    _log.warning("the worker's lock was lost; taking it again", error=str(broken))
                    await asyncio.sleep(0.5)
                    with contextlib.suppress(psycopg.Error):
                        connection = await self._lock(worker_id)
        finally:
            await connection.close()


async def _outlasting(work: Callable[[], Awaitable[T]]) -> T:
    """A worker that is only starting waits for the database like one that runs."""
    while True:
        try:
            return await work()
        except OUTAGES as broken:
            _log.warning("the worker waits for the database", error=str(broken))
            await asyncio.sleep(_OUTAGE_SECONDS)


class _Connector(procrastinate.PsycopgConnector):
    """Procrastinate's own, but no wake-up gets lost.

    It fetches once before it listens, and forgets a notification that comes while a fetch is under way: in both
    cases the job would wait for the next look. So it is woken once when it listens, and again a moment after each
    notification. `listening` is set when jobs start at once.

    While it is `patient` an outage of the database is waited for: the engine would end, and with it the runs that go on
    at their places all the same.
    """

    def __init__(self, listening: asyncio.Event, **options: Any) -> None:
        super().__init__(**options)
        self.patient = True
        self._listening = listening
        self._echo: asyncio.Task[None] | None = None

    async def execute_query_async(self, query: LiteralString, **arguments: Any) -> None:
        with self._unless_moot():
            await self._patiently(partial(super().execute_query_async, query, **arguments))

    async def execute_query_one_async(self, query: LiteralString, **arguments: Any) -> dict[str, Any]:
        return await self._patiently(partial(super().execute_query_one_async, query, **arguments))

    async def execute_query_all_async(self, query: LiteralString, **arguments: Any) -> list[dict[str, Any]]:
        return await self._patiently(partial(super().execute_query_all_async, query, **arguments))

    async def listen_notify(self, on_notification: Notify, channels: Iterable[str]) -> None:
        with self._unless_moot():
            await self._patiently(partial(super().listen_notify, on_notification, channels))

    @contextlib.contextmanager
    def _unless_moot(self) -> Iterator[None]:
        """What is gone needs no end; and what an engine that closes cannot say, a sweep finds."""
        try:
            yield
        except procrastinate.exceptions.ConnectorException as refused:
            why = refused.__cause__
            closing = not self.patient and isinstance(why, OUTAGES)
            if not (closing or isinstance(why, psycopg.errors.RaiseException)):
                raise
            _log.info("the engine was not heard", error=str(why))

    async def _patiently(self, work: Callable[[], Awaitable[T]]) -> T:
        while True:
            try:
                return await work()
            except procrastinate.exceptions.ConnectorException as broken:
                if not self.patient or not isinstance(broken.__cause__, OUTAGES):
                    raise
                await asyncio.sleep(_OUTAGE_SECONDS)

    async def _loop_notify(
        self, on_notification: Notify, connection: psycopg.AsyncConnection[Any], timeout: float = 30.0
    ) -> None:
        async def repeat(channel: str, payload: str) -> None:
            await asyncio.sleep(_ECHO_SECONDS)
            await on_notification(channel=channel, payload=payload)

        async def twice(*, channel: str, payload: str) -> None:
            await on_notification(channel=channel, payload=payload)
            if self._echo is None or self._echo.done():
                self._echo = asyncio.create_task(repeat(channel, payload), name="genyard-echo")

        await on_notification(
            channel="procrastinate_any_queue_v1", payload='{"type": "job_inserted", "job_id": 0}'
        )
        self._listening.set()
        await super()._loop_notify(twice, connection, timeout)


def _pool(*, check: Any, **options: Any) -> AsyncConnectionPool[Any]:
    """Without the question "are you there?" before each use: a broken connection shows itself. Who waits for one asks
    anew now and then, or the pool would not begin anew."""
    return AsyncConnectionPool(**options, timeout=2 * RECONNECT_SECONDS, reconnect_timeout=RECONNECT_SECONDS)


def _configured(worker_id: int) -> Callable[[psycopg.AsyncConnection[Any]], Awaitable[None]]:
    """Procrastinate's rows are only a hint that work may start; our own tables are the truth. Its worker is known as
    ours by its connections: whoever sweeps knows then that what it had taken has nobody any more."""

    async def configure(connection: psycopg.AsyncConnection[Any]) -> None:
        await connection.set_autocommit(True)
        await connection.execute("SET synchronous_commit TO off")
        await connection.execute("SET jit TO off")
        await connection.execute("SELECT set_config('genyard.worker', %s, false)", (str(worker_id),))

    return configure
