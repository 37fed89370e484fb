"""Somebody's server to which callbacks are sent: real, on loopback, as good or as bad as a test wants it."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from aiohttp import web


@dataclass(frozen=True, kw_only=True)
class Message:
    headers: Mapping[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def type(self) -> str:
        return str(self.json["type"])

    def signed_with(self, secret: str) -> bool:
        """As the specification says, written from it alone."""
        key = base64.b64decode(secret.removeprefix("whsec_"))
        signed = b".".join((self.id.encode(), self.headers["webhook-timestamp"].encode(), self.body))
        wanted = "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
        return wanted in self.headers["webhook-signature"].split(" ")


Answer = int | web.Response | Callable[[Message], Awaitable[web.StreamResponse]]


@dataclass(kw_only=True)
class Receiver:
    """`answers`: a script; the last entry stays. `got`: what came, answered or not."""

    answers: list[Answer] = field(default_factory=lambda: [204])
    got: list[Message] = field(default_factory=list)
    open: int = 0
    most_open: int = 0
    url: str = ""
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    _runner: web.ServerRunner | None = None

    async def __aenter__(self) -> Self:
        self._runner = web.ServerRunner(web.Server(self._handle), shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/hook"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.die()

    async def die(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def until(self, count: int) -> list[Message]:
        """Once so many have come."""
        async with asyncio.timeout(20), self._changed:
            await self._changed.wait_for(lambda: len(self.got) >= count)
        return self.got

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        message = Message(headers=dict(request.headers), body=await request.read())
        message = Message(headers={k.lower(): v for k, v in message.headers.items()}, body=message.body)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        async with self._changed:
            self.got.append(message)
            self._changed.notify_all()
        try:
            if isinstance(answer, int):
                return web.Response(status=answer)
            return answer if isinstance(answer, web.Response) else await answer(message)
        finally:
            self.open -= 1


async def hangs(_message: Message) -> web.StreamResponse:
    await asyncio.Event().wait()
    raise AssertionError
