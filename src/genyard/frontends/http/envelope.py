"""What is around every request and response: trace id, security headers, body limits, the last catch.

Pure ASGI, outside of routing. Who may ask is decided in `access`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from genyard.database import OUTAGES
from genyard.errors import Code, GenyardError
from genyard.frontends.http.errors import HttpError, answer
from genyard.telemetry import bind_trace, get_logger, new_trace_id

_log = get_logger(__name__)

#: W3C: version, trace id, parent id, flags.
_TRACEPARENT: Final = re.compile(r"[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}(-.*)?")

_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}


class _TooLarge(HttpError, HTTPException):
    """Also an HTTPException: FastAPI hides what else is raised while it reads a body."""

    def __init__(self, limit: int) -> None:
        HttpError.__init__(
            self,
            413,
            Code.limit_exceeded,
            f"the body of this request may have at most {limit:,} bytes",
            context={"max_bytes": limit},
            response_headers={"Connection": "close"},
        )
        self.status_code = 413


class Envelope:
    """`body_limit` tells how many bytes a request may send, by method and path."""

    def __init__(self, app: ASGIApp, body_limit: Callable[[str, str], int]) -> None:
        self._app = app
        self._body_limit = body_limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        trace_id = _trace_id(Headers(scope=scope))
        bind_trace(trace_id)
        started = False

        async def send_with_headers(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                headers["X-Trace-Id"] = trace_id
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        limited = _limited(receive, Headers(scope=scope), self._body_limit(scope["method"], scope["path"]))
        try:
            await self._app(scope, limited, send_with_headers)
        except Exception as defect:
            if started:
                raise
            await answer(_told(defect, scope["path"]))(scope, receive, send_with_headers)


def _told(defect: Exception, path: str) -> GenyardError:
    """What is said of a failure that nobody expected. The log is not told a hook's path: who knows it may call it."""
    where = "/hooks" if path.startswith("/hooks/") else path
    if isinstance(defect, OUTAGES):
        _log.warning("the database did not answer", path=where, error=str(defect))
        return GenyardError(
            Code.storage_failed,
            "genyard's database does not answer just now; ask again in a moment",
            context={"retry_after": 2},
        )
    _log.error("a defect while answering", path=where, exc_info=defect)
    return GenyardError(
        Code.internal, "genyard failed while answering; its log says more under this trace id"
    )


def _trace_id(headers: Headers) -> str:
    given = _TRACEPARENT.fullmatch(headers.get("traceparent", ""))
    return given[1] if given else new_trace_id()


def _limited(receive: Receive, headers: Headers, limit: int) -> Receive:
    """Counts while reading: what is too large is refused before it is held."""
    announced = headers.get("content-length", "")
    taken = 0

    async def limited() -> Message:
        nonlocal taken
        if announced.isdecimal() and int(announced) > limit:
            raise _TooLarge(limit)
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > limit:
            raise _TooLarge(limit)
        return message

    return limited
