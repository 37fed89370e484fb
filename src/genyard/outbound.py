"""Fetches what somebody else's URL names, and tells it things; never what only we can reach.

A place answers with the URL of its result; whoever controls that answer must not be able to make us read our own
network. So addresses are judged after name resolution, and the connection goes to the very address that was judged;
each redirect is a new URL and judged again. What the bytes are worth is decided elsewhere (`jobs.outputs`); adapters'
own calls to their places are in `providers._http`.

A URL of a result is often all that it takes to read it, so messages tell its origin only. Causes are not chained:
the HTTP library's errors quote whole URLs.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final, NoReturn

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from genyard.errors import Code, GenyardError
from genyard.media import SNIFF_BYTES, sniff

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Origin = tuple[str, str, int]  # scheme, host, port

_MOST_REDIRECTS: Final = 5
_PIECE: Final = 64 * 1024
_REDIRECTS: Final = (301, 302, 303, 307, 308)

#: Before a job is accepted, a receiver's name may take so long to be looked up.
_NAMING: Final = 2.0

#: A whole download; silence is limited apart, but a byte now and then must not hold us for ever.
_LONGEST: Final = 1800.0

#: Inside other addresses: an IPv6 network in which an IPv4 address is wrapped, and where (bits from the right).
_WRAPPING: Final = (
    (ipaddress.IPv6Network("::ffff:0:0/96"), 0),  # mapped
    (ipaddress.IPv6Network("::/96"), 0),  # compatible, long out of use
    (ipaddress.IPv6Network("::ffff:0:0:0/96"), 0),  # translated
    (ipaddress.IPv6Network("64:ff9b::/96"), 0),  # NAT64
    (ipaddress.IPv6Network("2002::/16"), 80),  # 6to4
)
#: Not private by their numbers, yet answered by the machine's own cloud or network.
_OURS: Final = (
    ipaddress.ip_network("168.63.129.16/32"),  # Azure's platform services
    ipaddress.ip_network("64:ff9b:1::/48"),  # NAT64 within one network
    ipaddress.ip_network("2001::/32"),  # Teredo: a tunnel into somebody's private network
)


def is_public(address: Address) -> bool:
    """Whether anybody on the internet would reach the same machine there."""
    for network, shift in _WRAPPING:
        if address in network:
            return is_public(ipaddress.IPv4Address((int(address) >> shift) & 0xFFFFFFFF))
    if any(address in network for network in _OURS):
        return False
    site_local = isinstance(address, ipaddress.IPv6Address) and address.is_site_local
    return address.is_global and not (address.is_multicast or address.is_reserved or site_local)


@dataclass(frozen=True, kw_only=True)
class Posted:
    """What a receiver answered. `retry_after`: seconds, where it says so. `body`: as much of it as was asked for."""

    status: int
    retry_after: float | None
    body: bytes


class Outbound:
    """Fetches what somebody else's URL names; posts to it.

    trusted    origins ("http://127.0.0.1:8123") that may be private: the endpoint's own configured base URL, our
               own bucket. A redirect from elsewhere does not lead there.
    hosts      names and addresses that may be private, whatever the scheme and the port
    max_bytes  of one body; connect, silence: seconds to connect, and without a byte
    resolver   of names; permits: which addresses may be connected to
    """

    def __init__(
        self,
        *,
        trusted: Collection[str] = (),
        hosts: Collection[str] = (),
        max_bytes: int = 512 * 2**20,
        connect: float = 10.0,
        silence: float = 60.0,
        resolver: AbstractResolver | None = None,
        permits: Callable[[Address], bool] = is_public,
    ) -> None:
        self._trusted = frozenset(_origin(URL(origin)) for origin in trusted)
        self._hosts = frozenset(host.lower().rstrip(".") for host in hosts)
        self._max_bytes = max_bytes
        self._timeout = aiohttp.ClientTimeout(total=_LONGEST, sock_connect=connect, sock_read=silence)
        self._silence = silence
        self._resolver = resolver
        self._permits = permits
        self._sessions: dict[bool, aiohttp.ClientSession] = {}

    async def stream(self, url: str, *, headers: Mapping[str, str] | None = None) -> AsyncIterator[bytes]:
        """The body in pieces; an empty one yields nothing.

        `headers` go to the origin of `url` only, never along a redirect to another. Errors:

        provider.bad_output   a refused address, scheme or size, a web page, too many redirects, or a body that ends
                              early (then with `received` in the context: another try may get the rest)
        provider.lost_output  the answer is a 4xx: it is gone or never was
        provider.rejected     401 although `headers` were sent
        provider.busy         429, with `retry_after` where it is said
        provider.unreachable  no connection, a broken one, silence, or a 5xx
        """
        here = _parsed(url)
        ours = self._is_ours(here)
        sent = dict(headers or {})
        for _ in range(_MOST_REDIRECTS + 1):
            answer = await self._ask(here, ours, sent)
            async with answer:
                if answer.status in _REDIRECTS:
                    there = _target(here, answer)
                    ours = ours and self._is_ours(there)
                    sent = sent if _origin(there) == _origin(here) else {}
                    here = there
                    continue
                _check_status(here, answer, bool(sent))
                async for piece in self._body(here, answer):
                    yield piece
                return
        raise _refused(here, f"it redirects more than {_MOST_REDIRECTS} times")

    async def post(
        self, url: str, body: bytes, *, headers: Mapping[str, str], seconds: float, answer_bytes: int = 0
    ) -> Posted:
        """Whatever it is answered, redirects too: they are not followed. Errors:

        request.invalid       a refused address or scheme
        provider.unreachable  no connection, a broken one, or no answer within `seconds`
        """
        try:
            here = _parsed(url)
            ours = self._is_ours(here)
            self._require_public(here, ours)
            # A connection that had been kept might be closed by now, and then nobody knows whether it arrived.
            asked = {**headers, "Connection": "close"}
            async with (
                asyncio.timeout(seconds),
                self._session(ours).post(here, data=body, headers=asked, allow_redirects=False) as answer,
            ):
                told = await _start_of(answer, answer_bytes)
                return Posted(
                    status=answer.status, retry_after=_pause(answer.headers.get("Retry-After")), body=told
                )
        except _Refusal as refusal:
            raise _no_receiver(refusal.why) from None
        except TimeoutError:
            why = f"did not answer within {seconds:g} s"
        except (aiohttp.ClientError, OSError, ValueError) as failure:
            if isinstance(getattr(failure, "os_error", None), _PrivateName):
                raise _no_receiver("its name leads into a private network") from None
            if isinstance(failure, (aiohttp.InvalidURL, ValueError)):
                raise _no_receiver("it is no valid address") from None
            refused = isinstance(failure, aiohttp.ClientConnectorError)
            why = "does not accept a connection" if refused else "broke the connection"
        raise GenyardError(Code.provider_unreachable, f"{_shown(here)} {why}")

    async def require_receiver(self, url: str) -> str:
        """The host with its port. `request.invalid` for an address that `post` would refuse; a name that nobody can
        look up now may be known later."""
        try:
            here = _parsed(url)
            ours = self._is_ours(here)
            self._require_public(here, ours)
        except _Refusal as refusal:
            raise _no_receiver(refusal.why) from None
        host = here.raw_host or ""
        if not ours and _literal(host) is None:
            try:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_NAMING):
                        await self._judging().resolve(host, here.port or 0)
            except _PrivateName:
                raise _no_receiver("its name leads into a private network") from None
            except OSError:
                pass
        return here.host_port_subcomponent or host

    async def close(self) -> None:
        while self._sessions:
            await self._sessions.popitem()[1].close()

    def _is_ours(self, url: URL) -> bool:
        return _origin(url) in self._trusted or _origin(url)[1] in self._hosts

    def _require_public(self, url: URL, ours: bool) -> None:
        """Of what is an address already; names are judged when they are resolved."""
        address = _literal(url.raw_host or "")
        if not ours and address is not None and not self._permits(address):
            raise _refused(url, "it is an address of a private network")

    def _judging(self) -> _Judging:
        return _Judging(self._resolver or aiohttp.ThreadedResolver(), self._permits)

    async def _ask(self, url: URL, ours: bool, headers: Mapping[str, str]) -> aiohttp.ClientResponse:
        """`ours`: a trusted origin, to which nobody else led us."""
        self._require_public(url, ours)
        # Asked for as it is: a packed body would hide its length.
        asked = {"Accept-Encoding": "identity", **headers}
        try:
            return await self._session(ours).get(url, headers=asked, allow_redirects=False)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as failure:
            refusal = getattr(failure, "os_error", None)
            if isinstance(refusal, _PrivateName):
                raise _refused(url, "its name leads into a private network") from None
            _fail(url, failure, self._silence)

    async def _body(self, url: URL, answer: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
        length = answer.content_length
        if length is not None and length > self._max_bytes:
            raise self._too_large(url, f"it has {length:,} bytes")
        packed = "Content-Encoding" in answer.headers
        head: bytes | None = b""  # until there is enough of it to judge
        received = 0
        try:
            async for piece in answer.content.iter_chunked(_PIECE):
                received += len(piece)
                if received > self._max_bytes:
                    raise self._too_large(url, "it has more bytes")
                if head is not None:
                    head += piece
                    if len(head) < SNIFF_BYTES:
                        continue
                    _check_head(url, head, answer.content_type)
                    piece, head = head, None
                yield piece
        except aiohttp.ClientPayloadError:
            raise _cut(url, received, length) from None
        except (aiohttp.ClientError, TimeoutError, OSError) as failure:
            _fail(url, failure, self._silence)
        if length is not None and received < length and not packed:
            raise _cut(url, received, length)
        if head:
            _check_head(url, head, answer.content_type)
            yield head

    def _too_large(self, url: URL, what: str) -> GenyardError:
        return _refused(url, f"{what}; at most {self._max_bytes:,} are fetched")

    def _session(self, ours: bool) -> aiohttp.ClientSession:
        """Two, because a connection that was opened for us must not serve what somebody else named."""
        if ours not in self._sessions:
            resolver = (self._resolver or aiohttp.ThreadedResolver()) if ours else self._judging()
            self._sessions[ours] = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(resolver=resolver, limit=64),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=self._timeout,
                trust_env=False,
            )
        return self._sessions[ours]


class _Refusal(GenyardError):
    """`why`: the words without what it was about to be used for."""

    def __init__(self, message: str, why: str) -> None:
        super().__init__(Code.provider_bad_output, message)
        self.why = why


class _PrivateName(OSError):
    """A name of which no address may be connected to."""


class _Judging(AbstractResolver):
    """Leaves only addresses that may be connected to; the connection is made to what it returns."""

    def __init__(self, resolver: AbstractResolver, permits: Callable[[Address], bool]) -> None:
        self._resolver = resolver
        self._permits = permits

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._resolver.resolve(host, port, family)
        allowed = [result for result in found if self._permits(ipaddress.ip_address(result["host"]))]
        if not allowed:
            raise _PrivateName(f"{host} leads into a private network")
        return allowed

    async def close(self) -> None:
        await self._resolver.close()


# --- URLs ----------------------------------------------------------------------------------------


def _parsed(url: str) -> URL:
    """Exactly as it was given where possible: signatures are over what was written."""
    try:
        # What is not plain ASCII is quoted; host names become what a resolver would see.
        parsed = URL(url, encoded=url.isascii() and " " not in url)
        return _checked(parsed, url)
    except ValueError:
        raise _no_url() from None


def _target(here: URL, answer: aiohttp.ClientResponse) -> URL:
    where = answer.headers.get("Location") or answer.headers.get("URI") or ""
    if not where:
        raise _refused(here, f"it redirects (HTTP {answer.status}) without saying where to")
    try:
        there = _checked(here.join(URL(where, encoded=where.isascii() and " " not in where)), where)
    except ValueError:
        raise _refused(here, "it redirects to what is no URL") from None
    if here.scheme == "https" and there.scheme == "http":
        raise _refused(there, "a redirect leads from https to http")
    return there


def _checked(url: URL, written: str) -> URL:
    if url.scheme not in ("http", "https"):
        raise _Refusal(
            f"the place named a result by a {url.scheme or 'relative'} URL; only http and https are fetched",
            "it is no http or https URL",
        )
    host = url.raw_host
    if not host or " " in host or not written.isprintable():
        raise _no_url()
    if "@" in (url.raw_authority or ""):
        raise _refused(url, "it carries a user name")
    if _is_odd_number(host):
        raise _refused(url, "its host is a number that is no plain address")
    return url


def _literal(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None


def _is_odd_number(host: str) -> bool:
    """2130706433, 0x7f.1, 0177.0.0.1, 127%2e1: system libraries would make addresses of them."""
    if "%" in host and ":" not in host:
        return True
    last = host.rstrip(".").rpartition(".")[2].lower()
    numeric = last.isdigit() or (last.startswith("0x") and all(c in "0123456789abcdef" for c in last[2:]))
    return numeric and _literal(host) is None


def _origin(url: URL) -> Origin:
    return (url.scheme, (url.raw_host or "").lower().rstrip("."), url.port or 0)


def _shown(url: URL) -> str:
    return f"{url.scheme}://{url.host_port_subcomponent}"


# --- what an answer means -----------------------------------------------------------------------


def _check_status(url: URL, answer: aiohttp.ClientResponse, with_headers: bool) -> None:
    status = answer.status
    if 200 <= status < 300:
        return
    context: dict[str, Any] = {"status": status}
    if status == 429:
        wait = answer.headers.get("Retry-After", "")
        context |= {"retry_after": float(wait)} if wait.isdecimal() else {}
        raise GenyardError(Code.provider_busy, f"{_shown(url)} lets nobody download now", context=context)
    if status >= 500 or status == 408:
        code, what = Code.provider_unreachable, "has no result to give now"
    elif status == 401 and with_headers:
        code, what = Code.provider_rejected, "refused our key for a download"
    elif status >= 400:
        code, what = Code.provider_lost_output, "does not have the result any more"
    else:
        code, what = Code.provider_bad_output, "answered a download strangely"
    raise GenyardError(code, f"{_shown(url)} {what} (HTTP {status})", context=context)


def _check_head(url: URL, head: bytes, content_type: str) -> None:
    """A web page where a file should be. Buckets tell wrong types, so known bytes are believed before the label."""
    start = head[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<!doctype html", b"<html")) or (
        content_type in ("text/html", "application/xhtml+xml") and sniff(head[:SNIFF_BYTES]) is None
    ):
        raise _refused(url, "it is a web page")


def _refused(url: URL, why: str) -> _Refusal:
    return _Refusal(f"the result at {_shown(url)} is not fetched: {why}", why)


def _no_url() -> _Refusal:
    return _Refusal("the place named a result by what is no URL", "it is no URL")


def _no_receiver(why: str) -> GenyardError:
    return GenyardError(Code.request_invalid, f"nothing is sent to this address: {why}")


async def _start_of(answer: aiohttp.ClientResponse, most: int) -> bytes:
    told = b""
    while len(told) < most and (piece := await answer.content.read(most - len(told))):
        told += piece
    return told


def _pause(told: str | None) -> float | None:
    """Retry-After: seconds, or a date."""
    if told is None:
        return None
    if told.strip().isdecimal():
        return float(told[:9])
    try:
        until = parsedate_to_datetime(told)
    except (ValueError, OverflowError):
        return None
    until = until if until.tzinfo else until.replace(tzinfo=UTC)
    return max(0.0, (until - datetime.now(UTC)).total_seconds())


def _cut(url: URL, received: int, length: int | None) -> GenyardError:
    promised = f" of {length:,}" if length is not None else ""
    return GenyardError(
        Code.provider_bad_output,
        f"the result at {_shown(url)} ended early: {received:,}{promised} bytes came",
        context={"received": received, "expected": length},
    )


def _fail(url: URL, failure: BaseException, silence: float) -> NoReturn:
    if isinstance(failure, (aiohttp.InvalidURL, ValueError)):
        raise _refused(url, "its address is no valid one") from None
    if isinstance(failure, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError):
        why = "does not accept a connection"
    elif isinstance(failure, aiohttp.ServerTimeoutError):
        why = f"sent nothing for {silence:g} s"
    elif isinstance(failure, TimeoutError):
        why = f"is too slow: not done after {_LONGEST:g} s"
    else:
        why = "broke the connection"
    raise GenyardError(Code.provider_unreachable, f"{_shown(url)} {why} (while fetching a result)") from None
