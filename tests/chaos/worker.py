"""A worker that is watched: the real product, whose calls stop at named points until something is done to the process.

At an armed point the whole process stands still (it reads a pipe): what is done to it, or around it, happens exactly
there. Forked from a process that has everything imported, so that a case costs a tenth of a second.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg

from genyard.app import Product, build, serve
from genyard.jobs import store
from genyard.jobs.runner import Pace
from genyard.settings import load_settings

QUICK = Pace(first_retry=0.05, factor=1.0)
#: Which stage of its job this task works on, as a number from 1; 0 outside any.
_STAGE: ContextVar[int] = ContextVar("stage", default=0)


@dataclass(frozen=True, kw_only=True)
class Trap:
    """The worker stands still when it first passes `point` in this stage; 0: whatever it works on."""

    point: str
    stage: int


@dataclass(frozen=True, kw_only=True)
class Order:
    """What a worker is started with."""

    environ: Mapping[str, str]
    folder: Path
    lease: float
    traps: tuple[Trap, ...] = ()


def work(order: Order, pipe: Connection) -> None:
    """The process."""
    with contextlib.suppress(asyncio.CancelledError, KeyboardInterrupt):
        asyncio.run(_work(order, pipe))
    pipe.close()


async def _work(order: Order, pipe: Connection) -> None:
    settings = load_settings(order.environ, order.folder)
    async with build(settings, pace=QUICK, lease=order.lease) as product:
        watched = _Watched(product, list(order.traps), pipe)
        watched.wrap()
        ready = asyncio.Event()
        serving = watched.serving = asyncio.create_task(product.worker.serve(ready))
        listening = asyncio.create_task(ready.wait())
        asyncio.get_running_loop().add_reader(pipe.fileno(), watched.hear)
        await asyncio.wait([serving, listening], return_when=asyncio.FIRST_COMPLETED)
        watched.say("ready")
        await asyncio.gather(serving, return_exceptions=True)
        failure = None if serving.cancelled() else serving.exception()
        asyncio.get_running_loop().remove_reader(pipe.fileno())
        if failure is not None:
            watched.say("failed", repr(failure))
        listening.cancel()


def answer(order: Order, pipe: Connection) -> None:
    """A process that serves the API, and nothing else; stands still in the middle of accepting a job."""
    with contextlib.suppress(asyncio.CancelledError, KeyboardInterrupt):
        asyncio.run(_answer(order, pipe))


async def _answer(order: Order, pipe: Connection) -> None:
    settings = load_settings(order.environ, order.folder)
    async with build(settings) as product:
        watched = _Watched(product, list(order.traps), pipe)
        watched.wrap_acceptance()
        await serve(product, "127.0.0.1", 0, lambda address: watched.say("ready", address))


class _Watched:
    """The calls of one product, wrapped."""

    def __init__(self, product: Product, traps: list[Trap], pipe: Connection) -> None:
        self._product = product
        self._traps = traps
        self._pipe = pipe
        self._positions: dict[UUID, int] = {}
        self.serving: asyncio.Task[None] | None = None

    def say(self, what: str, detail: Any = None) -> None:
        self._pipe.send((what, detail))

    def hear(self) -> None:
        """Outside a trap there is one thing to be told: to stop. Who was to go on is under way already."""
        if (told := self._told()) != "go":
            self._stop(told)

    def _told(self) -> str:
        try:
            told: str = self._pipe.recv()
        except EOFError:
            os._exit(1)  # the supervisor is gone
        return told

    def _stop(self, told: str) -> None:
        assert told == "stop"
        assert self.serving is not None
        self.serving.cancel()

    def passing(self, point: str) -> None:
        if self._traps and self._traps[0].point == point and self._traps[0].stage in (0, _STAGE.get()):
            self._traps.pop(0)
            self.say("reached", point)
            while (told := self._told()) != "go":
                self._stop(told)

    def wrap(self) -> None:
        worker: Any = self._product.worker
        runner, jobs = worker._runner, self._product.jobs
        around = runner._around
        for name in (
            "register_worker", "beat", "sweep", "forget_worker", "claim", "claim_detached", "leave", "record_ref",
            "record_progress", "finish_stage", "finish_detached", "end_job", "retry_stage", "hand_back", "hand_on",
            "state",
        ):  # fmt: skip
            self._around_call(jobs, name, f"jobs.{name}")
        self._around_call(jobs, "go_on", "jobs.go_on")
        self._around_call(jobs.database, "connect", "jobs.database.connect")
        self._around_call(around.inputs, "of", "inputs.of")
        for name in ("put", "put_file", "delete"):
            self._around_call(around.storage, name, f"storage.{name}")
        for name in ("take_over", "discard"):
            self._around_call(runner._outputs, name, f"outputs.{name}")
        for provider in runner._providers.values():
            for name in ("submit", "find", "observe", "cancel"):
                self._around_call(provider, name, f"provider.{name}")
            provider.fetch = self._fetching(provider.fetch)
        runner.run = self._running(runner.run)

    def wrap_acceptance(self) -> None:
        """Before anything, within the transaction, after its commit, before the answer."""
        jobs, insert = self._product.jobs, store._one
        self._around_call(jobs, "insert", "jobs.insert")
        self._around_call(jobs, "go_on", "jobs.go_on")

        async def one(connection: Any, query: str, values: Any) -> Any:
            row = await insert(connection, query, values)
            if query == "insert_job":
                self.passing("insert_job done")
            return row

        store._one = one

    def _around_call(self, owner: Any, name: str, point: str) -> None:
        inner = getattr(owner, name)

        async def call(*given: Any, **named: Any) -> Any:
            self.passing(f"{point} before")
            result = await inner(*given, **named)
            if point == "provider.submit" and owner.kind == "preview":
                self.say("drew")
            if point == "provider.observe" and result.state.ended:
                self.passing(f"{point} ended")
            self.passing(f"{point} after")
            return result

        object.__setattr__(owner, name, call)

    def _fetching(self, inner: Callable[..., AsyncIterator[bytes]]) -> Callable[..., AsyncIterator[bytes]]:
        async def fetch(output: Any) -> AsyncIterator[bytes]:
            self.passing("provider.fetch before")
            async for piece in inner(output):
                yield piece
                self.passing("provider.fetch begun")
            self.passing("provider.fetch after")

        return fetch

    def _running(self, inner: Any) -> Any:
        async def run(stage_id: UUID, epoch: int, worker_id: int) -> None:
            _STAGE.set(await self._number(stage_id))
            self.say("took", str(stage_id))
            try:
                await inner(stage_id, epoch, worker_id)
            finally:
                self.say("left", str(stage_id))

        return run

    async def _number(self, stage_id: UUID) -> int:
        if stage_id not in self._positions:
            with contextlib.suppress(psycopg.OperationalError):
                [row] = await self._product.jobs.database.rows(
                    "SELECT position + 1 AS number FROM stages WHERE id = %(id)s", id=stage_id
                )
                self._positions[stage_id] = row["number"]
        return self._positions.get(stage_id, 0)
