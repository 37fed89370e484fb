"""What the emulators have in common: a server on a loopback port, a script of faults, a clock, counts, waiting.

    class Mine(Service[Fault]):
        def rows(self) -> list[Row]: return [("GET", "/v1/things/{id}", self.get_thing)]

What a place answers, and which faults it knows, is the emulator's own. Pictures are made in `drawing`.
"""

from __future__ import annotations

import asyncio
import socket as sockets_module
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from aiohttp import web

Json = Any
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Row = tuple[str, str, Handler]


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One thing that goes wrong `times` times (None: always). Emulators add what they match and need.

    Two kinds are known to every emulator, matched by `route` (`"METHOD /path"` as a prefix):
    `answer` (`status`, `body`, `headers` in place of the real answer; nothing is carried out) and `lose_answer`
    (carried out, then the connection breaks).
    """

    kind: StrEnum
    times: int | None = 1
    route: str | None = None
    seconds: float = 0.0
    status: int = 500
    body: str = ""
    content_type: str = "text/plain"
    headers: tuple[tuple[str, str], ...] = ()

    def strikes(self, **facts: Any) -> bool:
        """Every fact that the fault names, too, must agree: a route begins so, a tuple contains it."""
        for name, fact in facts.items():
            mine = getattr(self, name)
            if mine is None:
                continue
            if name == "route":
                if not str(fact).startswith(mine):
                    return False
            elif (mine not in fact) if isinstance(fact, tuple) else (mine != fact):
                return False
        return True


F = TypeVar("F", bound=Fault)


class Faults(Generic[F]):
    """The script of one emulator. `struck` counts what really went wrong, by kind."""

    def __init__(
        self, kinds: type[StrEnum], row: type[F], *, changed: Callable[[], None] = lambda: None
    ) -> None:
        self._kinds = kinds
        self._row = row
        self._changed = changed
        self._waiting: list[F] = []
        self.struck: Counter[str] = Counter()

    def add(self, kind: StrEnum | str, *, times: int | None = 1, **details: Any) -> F:
        fault = self._row(kind=self._kinds(kind), times=times, **details)
        self._waiting.append(fault)
        self._changed()
        return fault

    def clear(self, kind: StrEnum | str | None = None) -> None:
        self._waiting = [one for one in self._waiting if kind is not None and one.kind != kind]
        self._changed()

    def find(self, kind: StrEnum | str, **facts: Any) -> F | None:
        """The first that would strike here: for states that last; it counts as nothing."""
        return next((one for one in self._waiting if one.kind == kind and one.strikes(**facts)), None)

    def take(self, kind: StrEnum | str, **facts: Any) -> F | None:
        """The first fault of this kind that strikes here; it counts as having happened once."""
        fault = self.find(kind, **facts)
        if fault is None:
            return None
        if fault.times is not None:
            place = next(place for place, one in enumerate(self._waiting) if one is fault)
            left = replace(fault, times=fault.times - 1)
            self._waiting[place : place + 1] = [left] if left.times else []
        self.struck[fault.kind] += 1
        return fault


class Changes:
    """Lets a test wait until something is true of the emulator, without sleeping."""

    def __init__(self) -> None:
        self._changed = asyncio.Event()

    def notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def until(self, predicate: Callable[[], bool], timeout: float = 20.0) -> None:
        async with asyncio.timeout(timeout):
            while not predicate():
                await self._changed.wait()


class Clock:
    """The emulator's time: the real one, and what a test put on top. Half an hour passes at once."""

    def __init__(self) -> None:
        self._added = 0.0
        self._moved = Changes()

    def now(self) -> float:
        """Seconds since 1970."""
        return time.time() + self._added

    def advance(self, seconds: float) -> None:
        self._added += seconds
        self._moved.notify()

    async def sleep(self, seconds: float) -> None:
        await self.sleep_until(self.now() + seconds)

    async def sleep_until(self, moment: float) -> None:
        """What lasts is best counted from its begin: a test may move the clock before the sleeper has lain down."""
        while (left := moment - self.now()) > 0:
            try:
                await self._moved.until(lambda: self.now() >= moment, left)
            except TimeoutError:
                continue


class Service(Generic[F]):
    """`async with Mine() as server: … server.url …`

    `rows` are the routes; `/_emulator/faults` (POST a list of `{"kind": …}`, DELETE all or those of `?kind=`),
    `/_emulator/counts` and `/_emulator/clock` (POST `{"advance": seconds}`) are there for an emulator that runs as a
    process of its own.
    """

    faults: Faults[F]

    def __init__(self, *, port: int = 0, max_body: int = 128 * 2**20) -> None:
        self.port = port
        self.max_body = max_body
        self.changes = Changes()
        self.clock = Clock()
        self.requests: Counter[str] = Counter()
        self._background: set[asyncio.Task[Any]] = set()
        self._site: web.SockSite | None = None
        self._runner: web.AppRunner | None = None

    # What an emulator says of itself

    def rows(self) -> Sequence[Row]:
        raise NotImplementedError

    def counted(self) -> dict[str, Json]:
        """What `/_emulator/counts` tells."""
        return {"requests": dict(self.requests), "struck": dict(self.faults.struck)}

    def refuse(self, request: web.Request) -> web.Response | None:
        """The answer to who may not come in (a wrong key, too many calls), before anything else."""
        return None

    def path_of(self, path: str) -> str:
        """The path as faults and counts know it, where a place serves one thing under several."""
        return path

    async def begin(self) -> None:
        """Before the first connection."""

    async def end(self) -> None:
        """After the last one; what was started with `later` has been canceled."""

    # Life

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        app = web.Application(middlewares=[self._guard()], client_max_size=self.max_body)
        for method, path, handler in [*self.rows(), *self.own_rows()]:
            app.router.add_route(method, path, handler)
        self._runner = web.AppRunner(app, shutdown_timeout=0.01, access_log=None, handle_signals=False)
        await self._runner.setup()
        await self.begin()
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._background:
            tasks = list(self._background)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._background.difference_update(tasks)
        await self.end()
        if self._runner is not None:
            await self._runner.cleanup()

    async def open(self) -> None:
        """Takes the first connections; one that starts slowly does so later."""
        await self.listen()

    async def stop_listening(self) -> None:
        """Connections break, new ones are refused; what runs goes on (a cut network). `listen` ends it."""
        site, self._site = self._site, None
        if site is not None:
            await site.stop()
        server = self._runner.server if self._runner is not None else None
        for connection in list(server.connections) if server is not None else []:
            if connection.transport is not None:
                connection.transport.abort()

    async def listen(self) -> None:
        await self._listen(self._bind())

    def reserve_port(self) -> None:
        """So that `url` is known before anybody listens there."""
        self._bind().close()

    def later(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Goes on by itself until it ends or the emulator does."""
        task = asyncio.ensure_future(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task

    def _bind(self) -> sockets_module.socket:
        bound = sockets_module.socket(sockets_module.AF_INET, sockets_module.SOCK_STREAM)
        bound.setsockopt(sockets_module.SOL_SOCKET, sockets_module.SO_REUSEADDR, 1)
        bound.bind(("127.0.0.1", self.port))
        self.port = bound.getsockname()[1]
        return bound

    async def _listen(self, bound: sockets_module.socket) -> None:
        assert self._runner is not None
        self._site = web.SockSite(self._runner, bound)
        await self._site.start()

    # On the wire

    def _guard(self) -> Any:
        @web.middleware
        async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
            if request.path.startswith("/_emulator"):
                return await handler(request)
            route = f"{request.method} {self.path_of(request.path)}"
            resource = request.match_info.route.resource
            canonical = resource.canonical if resource is not None else request.path
            self.requests[f"{request.method} {self.path_of(canonical)}"] += 1
            if (refused := self.refuse(request)) is not None:
                await request.read()
                return refused
            if (fault := self.faults.take("answer", route=route)) is not None:
                await request.read()
                return answer_of(fault)
            response = await handler(request)
            if self.faults.take("lose_answer", route=route) and request.transport is not None:
                request.transport.abort()
            return response

        return guard

    def own_rows(self) -> Sequence[Row]:
        return [
            ("POST", "/_emulator/faults", self._add_faults),
            ("DELETE", "/_emulator/faults", self._clear_faults),
            ("GET", "/_emulator/counts", self._tell_counts),
            ("POST", "/_emulator/clock", self._move_clock),
        ]

    async def _add_faults(self, request: web.Request) -> web.Response:
        for row in await request.json():
            self.faults.add(row.pop("kind"), **row)
        return web.Response()

    async def _clear_faults(self, request: web.Request) -> web.Response:
        self.faults.clear(request.query.get("kind"))
        return web.Response()

    async def _tell_counts(self, request: web.Request) -> web.Response:
        return web.json_response(self.counted())

    async def _move_clock(self, request: web.Request) -> web.Response:
        self.clock.advance(float((await request.json())["advance"]))
        return web.Response()


def answer_of(fault: Fault) -> web.Response:
    return web.Response(
        status=fault.status, text=fault.body, content_type=fault.content_type, headers=dict(fault.headers)
    )
