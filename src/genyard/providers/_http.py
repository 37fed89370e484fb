"""Transport that provider adapters share: one session, one key, time-outs, and one table of errors.

What an answer means is the adapter's business. Nothing is retried here. Messages name the place and the
setting that a person would change; they never carry the key, nor what a URL may hide.
"""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, Final, NoReturn

import aiohttp
from aiohttp.payload import AsyncIterablePayload
from yarl import URL

from genyard.errors import Code, GenyardError
from genyard.providers import Media

Json = Any

#: How much of a body is read to find out what answered.
BODY_HEAD: Final = 2_000

#: An answer below this size is parsed at once; a thread would take longer.
_INLINE_BYTES: Final = 256 * 1024

#: The connection never opened: nothing can have been accepted.
NEVER_OPENED: Final = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL)

#: It broke, or nothing came in time: what was sent may have arrived.
BROKEN: Final = (aiohttp.ClientError, TimeoutError, ConnectionError)

_STATUS_CODES: Final[Mapping[int, Code]] = {
    401: Code.provider_rejected,
    402: Code.provider_rejected,
    403: Code.provider_rejected,
    404: Code.provider_protocol,
    408: Code.provider_timeout,
    413: Code.provider_rejected,
    429: Code.provider_busy,
    502: Code.provider_unreachable,
    503: Code.provider_unreachable,
    504: Code.provider_unreachable,
}


@dataclass(frozen=True, kw_only=True)
class Place:
    """Whom we talk to, and what a person would look at when it fails.

    title         "ComfyUI": what should be answering there
    url_setting   the environment name of the URL, `key_setting` of the key
    """

    title: str
    url: str
    url_setting: str
    key_setting: str
    key: str | None = None

    def __repr__(self) -> str:
        return f"Place({self.title} at {self.shown_url})"

    @property
    def shown_url(self) -> str:
        """Without user, password and query."""
        url = URL(self.url)
        return str(url.with_user(None).with_query(None)) if url.absolute else self.url

    @property
    def base(self) -> URL:
        """What calls are made to. A key leaves no room for a user in the URL: both are one header."""
        url = URL(self.url.rstrip("/"))
        return url.with_user(None) if self.key and url.absolute else url

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"} if self.key else {}

    def redact(self, text: str) -> str:
        hidden = text.replace(self.key, "***") if self.key else text
        return hidden.replace(self.url, self.shown_url)


@dataclass(frozen=True, kw_only=True)
class Timeouts:
    """Seconds. `answer` is for one ordinary call, `download` for the silence within a download."""

    connect: float = 10.0
    answer: float = 30.0
    download: float = 60.0


class BadStatus(Exception):
    """An answer outside 2xx, before anybody decided what it means. `body` is the beginning of it; `retry_after` are
    the seconds that the place wants us to wait, if it says so in the header of that name."""

    def __init__(self, status: int, body: str, content_type: str, retry_after: float | None = None) -> None:
        super().__init__(f"HTTP {status}")
        self.status = status
        self.body = body
        self.content_type = content_type
        self.retry_after = retry_after

    @property
    def json(self) -> Json:
        """The body as JSON, or None."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None


class NotJson(Exception):
    """2xx, but not the JSON that the call returns."""

    def __init__(self, body: str, content_type: str) -> None:
        super().__init__(f"{content_type}: {body[:80]}")
        self.body = body
        self.content_type = content_type


#: Everything that `Http` raises.
Failure = aiohttp.ClientError | TimeoutError | ConnectionError | BadStatus | NotJson
FAILURES: Final = (aiohttp.ClientError, TimeoutError, ConnectionError, BadStatus, NotJson)


class Http:
    """One aiohttp session, opened at the first call. Raises what is in `FAILURES`."""

    def __init__(self, place: Place, timeouts: Timeouts) -> None:
        self.place = place
        self.timeouts = timeouts
        self._session: aiohttp.ClientSession | None = None

    @property
    def session(self) -> aiohttp.ClientSession:
        if self._session is None or self._session.closed:
            self._session = aiohttp.ClientSession(
                headers=self.place.headers,
                connector=aiohttp.TCPConnector(limit=64, keepalive_timeout=60),
                timeout=aiohttp.ClientTimeout(
                    total=None,
                    sock_connect=self.timeouts.connect,
                    connect=None,
                    sock_read=self.timeouts.answer,
                ),
            )
        return self._session

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def get(self, url: URL, **options: Any) -> Json:
        return await self.call("GET", url, **options)

    async def post(self, url: URL, **options: Any) -> Json:
        return await self.call("POST", url, **options)

    async def call(self, method: str, url: URL, *, patience: float | None = None, **options: Any) -> Json:
        """The JSON of the answer; None for an empty one. `patience`: seconds, for calls that carry much."""
        async with (
            asyncio.timeout(patience or self.timeouts.answer),
            self.session.request(method, url, **options) as answer,
        ):
            body = await answer.read()
            if not 200 <= answer.status < 300:
                raise _bad_status(answer, body)
            if not body:
                return None
            try:
                if len(body) < _INLINE_BYTES:
                    return json.loads(body)
                return await asyncio.to_thread(json.loads, body)
            except ValueError:
                raise NotJson(_text(body), answer.content_type) from None

    @asynccontextmanager
    async def stream(self, url: URL, **options: Any) -> AsyncIterator[aiohttp.ClientResponse]:
        """An answer whose body is read in pieces."""
        timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=self.timeouts.connect, sock_read=self.timeouts.download
        )
        async with self.session.get(url, timeout=timeout, **options) as answer:
            if not 200 <= answer.status < 300:
                raise _bad_status(answer, await answer.content.read(BODY_HEAD))
            yield answer


class SizedPayload(AsyncIterablePayload):
    """A stream whose length is known, so that the upload carries a Content-Length."""

    def __init__(self, media: Media) -> None:
        super().__init__(media.open(), content_type=media.media_type)
        self._size = media.size


def _bad_status(answer: aiohttp.ClientResponse, body: bytes) -> BadStatus:
    wait = seconds_of(answer.headers.get("Retry-After"), time.time())
    return BadStatus(answer.status, _text(body), answer.content_type, wait)


def seconds_of(retry_after: str | None, now: float) -> float | None:
    """Of a Retry-After header: seconds, or a date. `now`: the wall clock."""
    if retry_after is None:
        return None
    try:
        seconds = float(retry_after)
        return max(0.0, seconds) if math.isfinite(seconds) else None
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(retry_after).timestamp() - now)
    except (ValueError, OverflowError):
        return None


def _text(body: bytes) -> str:
    return body[:BODY_HEAD].decode("utf-8", "replace")


def error_of(failure: Failure, place: Place, doing: str) -> GenyardError:
    """What a failure means where nobody knows better. `doing` completes "while …"."""
    where = f"{place.title} at {place.shown_url}"
    context: dict[str, Json] = {"url": place.shown_url, "doing": doing}
    if isinstance(failure, BadStatus):
        code = _STATUS_CODES.get(failure.status, _by_class(failure.status))
        context["status"] = failure.status
        if failure.retry_after is not None:
            context["retry_after"] = failure.retry_after
        return GenyardError(code, f"{where} {_told(failure, place)} (while {doing})", context=context)
    if isinstance(failure, NotJson):
        return GenyardError(
            Code.provider_protocol,
            f"what answers at {place.shown_url} is not {place.title}: it sent {_kind(failure)} "
            f"while {doing}; check {place.url_setting}",
            context=context,
        )
    if isinstance(failure, NEVER_OPENED):
        why = (
            "did not accept a connection"
            if not isinstance(failure, TimeoutError)
            else "did not answer in time"
        )
        reason = place.redact(_reason(failure))
        return GenyardError(
            Code.provider_unreachable,
            f"{where} {why} ({reason}); check {place.url_setting} and that it is running",
            context=context,
        )
    late = isinstance(failure, TimeoutError)
    text = "did not answer in time" if late else "broke the connection"
    return GenyardError(Code.provider_unreachable, f"{where} {text} while {doing}", context=context)


def raise_for(failure: Failure, place: Place, doing: str) -> NoReturn:
    raise error_of(failure, place, doing) from failure


def _by_class(status: int) -> Code:
    if status >= 500:
        return Code.provider_failed
    return Code.provider_rejected if status >= 400 else Code.provider_protocol


def _told(failure: BadStatus, place: Place) -> str:
    status = failure.status
    if status in (401, 403):
        what = "the key in" if place.key else "a key; set"
        verb = "refused" if place.key else "wants"
        return f"{verb} {what} {place.key_setting} (HTTP {status})"
    if status == 413:
        return f"refused a body as too large (HTTP {status})"
    if status == 429:
        return f"has no capacity now (HTTP {status})"
    if status in (502, 503, 504):
        return f"is not up behind its proxy (HTTP {status})"
    if status == 404:
        return f"does not know that address (HTTP {status}); check {place.url_setting}"
    return f"answered HTTP {status}"


def _kind(failure: NotJson) -> str:
    return (
        "a web page"
        if "html" in failure.content_type or "<html" in failure.body.lower()
        else "something else"
    )


def _reason(failure: BaseException) -> str:
    system = getattr(failure, "os_error", None)
    return str(getattr(system, "strerror", None) or type(failure).__name__)
