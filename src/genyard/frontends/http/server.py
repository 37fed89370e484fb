"""Runs the HTTP application: takes the port first, serves, and lets go of open streams when told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from collections.abc import Callable, Iterator
from typing import Any, Final

import uvicorn
from fastapi import FastAPI

from genyard.errors import Code, GenyardError
from genyard.frontends.http.access import is_loopback
from genyard.frontends.http.caller import Parts
from genyard.frontends.stopping import on_stop

#: Longer than clients and proxies keep an idle connection (aiohttp 15 s, nginx and AWS 60 s): who closes last never
#: cuts a request off that is just being sent.
_KEEP_ALIVE_SECONDS: Final = 75
_GRACE_SECONDS: Final = 10
_BACKLOG: Final = 1024


def bind(host: str, port: int) -> socket.socket:
    """Takes the port, before anything else is started. `settings.invalid` says why it cannot be had."""
    listening: socket.socket | None = None
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, kind, protocol)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(_BACKLOG)
    except OSError as wrong:
        if listening is not None:
            listening.close()
        raise _cannot_bind(host, port, wrong) from wrong
    listening.setblocking(False)
    return listening


async def serve_http(
    app: FastAPI,
    host: str,
    port: int,
    ready: Callable[[str], object] | None = None,
    *,
    listening: socket.socket | None = None,
    handle_signals: bool = True,
) -> None:
    """Serves until SIGINT, SIGTERM or cancellation; then finishes what is being answered and returns.

    ready      called with the address once requests are answered
    listening  what `bind` returned, where the port was taken before the product was built
    """
    parts: Parts = app.state.parts
    with listening or bind(host, port) as taken:
        await _require_keys(parts, host)
        server = _Server(app, parts.stopping, handle_signals=handle_signals)
        task = asyncio.create_task(server.serve([taken]), name="genyard-http")
        try:
            await server.up.wait()
            if ready is not None:
                ready(_url(host, taken))
            await asyncio.shield(task)
        finally:
            server.should_exit = True
            await task
            await parts.board.close()


class _Server(uvicorn.Server):
    """Tells those who wait (streams, long polls) that the end has come; leaves the process to its owner."""

    def __init__(self, app: FastAPI, stopping: asyncio.Event, *, handle_signals: bool) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                loop="none",
                lifespan="off",
                ws="none",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                timeout_graceful_shutdown=_GRACE_SECONDS,
                timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            )
        )
        self._stopping = stopping
        self._handle_signals = handle_signals
        self.up = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.up.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._stopping.set()
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """uvicorn raises them again at the end, which would kill the process before the database is released."""
        with on_stop(self._stop) if self._handle_signals else contextlib.nullcontext():
            yield

    def _stop(self) -> None:
        self.should_exit = True


async def _require_keys(parts: Parts, host: str) -> None:
    if is_loopback(host) or await parts.access.owners.has_keys():
        return
    raise GenyardError(
        Code.settings_invalid,
        f"without an API key genyard listens on this machine only, not on {host}; "
        "make a key first (`genyard keys create NAME`), or set GENYARD_HOST to 127.0.0.1",
        field="GENYARD_HOST",
    )


def _cannot_bind(host: str, port: int, wrong: OSError) -> GenyardError:
    if wrong.errno == errno.EADDRINUSE:
        message = (
            f"port {port} on {host} is taken by another program; stop it, or name a free port by GENYARD_PORT"
        )
        return GenyardError(Code.settings_invalid, message, field="GENYARD_PORT", context={"port": port})
    if wrong.errno == errno.EACCES:
        message = f"port {port} may not be used by this user; name one above 1023 by GENYARD_PORT"
        return GenyardError(Code.settings_invalid, message, field="GENYARD_PORT", context={"port": port})
    return GenyardError(
        Code.settings_invalid,
        f"{host} is not an address of this machine ({wrong.strerror or wrong}); name one by GENYARD_HOST",
        field="GENYARD_HOST",
        context={"host": host},
    )


def _url(host: str, taken: socket.socket) -> str:
    port: Any = taken.getsockname()[1]
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{port}"
