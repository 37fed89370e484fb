"""A worker process, seen from outside: what it says, and what is done to it."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, Final

from chaos.worker import Order, work

PATIENCE: Final = 60.0

_FORK = multiprocessing.get_context("forkserver")
_FORK.set_forkserver_preload(["chaos.worker", "chaos.preloaded"])


class Problem(Exception):
    """What a case must not show."""


class Watched:
    """A worker process, seen from outside."""

    def __init__(self, order: Order, does: Callable[[Order, Connection], None] = work) -> None:
        here, there = _FORK.Pipe()
        self._pipe: Connection = here
        self._process = _FORK.Process(target=does, args=(order, there), daemon=True)
        self._process.start()
        there.close()
        self._said: list[tuple[str, Any]] = []
        self._news = asyncio.Event()
        self.dead = False
        self.drew = 0
        self.tell_drawn: Any = None
        asyncio.get_running_loop().add_reader(here.fileno(), self._hear)

    def _hear(self) -> None:
        try:
            said = self._pipe.recv()
            if said[0] == "drew" and self.tell_drawn is not None:
                self.tell_drawn()
            self._said.append(said)
        except (EOFError, OSError):
            asyncio.get_running_loop().remove_reader(self._pipe.fileno())
            self.dead = True
        self._news.set()

    async def until(self, what: str, detail: Any = None, *, count: int = 1) -> None:
        """Until it has said this so often."""
        async with asyncio.timeout(PATIENCE):
            while sum(one[0] == what and detail in (None, one[1]) for one in self._said) < count:
                if self.dead or any(one[0] == "failed" for one in self._said):
                    raise Problem(f"a worker ended by itself: {self._said[-3:]}")
                self._news.clear()
                await self._news.wait()

    def said(self, what: str) -> list[Any]:
        return [detail for kind, detail in self._said if kind == what]

    def send(self, what: str) -> None:
        if not self.dead:
            self._pipe.send(what)

    def signal(self, number: int) -> None:
        assert self._process.pid is not None
        os.kill(self._process.pid, number)

    async def gone(self) -> None:
        while not self.dead:
            self._news.clear()
            await self._news.wait()

    async def end(self) -> None:
        """However it stands."""
        if not self.dead:
            self._process.kill()
            async with asyncio.timeout(PATIENCE):
                await self.gone()
        await asyncio.to_thread(self._process.join)
        self._pipe.close()
