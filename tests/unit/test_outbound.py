"""What Outbound fetches and what it refuses. Servers are on loopback: 127.0.0.2 plays the internet, 127.0.0.1 ours."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult

from genyard.errors import Code, GenyardError
from genyard.outbound import Address, Outbound, is_public

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 4
PUBLIC, PRIVATE = "127.0.0.2", "127.0.0.1"
SECRET = "X-Signature=do-not-tell"


def internet(address: Address) -> bool:
    return address == ipaddress.ip_address(PUBLIC)


@dataclass
class Names(AbstractResolver):
    """Answers of a name server, the last one for ever; counts how often it was asked."""

    answers: dict[str, list[list[str]]]
    asked: int = 0

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        self.asked += 1
        turns = self.answers[host]
        addresses = turns.pop(0) if len(turns) > 1 else turns[0]
        return [
            ResolveResult(hostname=host, host=address, port=port, family=socket.AF_INET, proto=0, flags=0)
            for address in addresses
        ]

    async def close(self) -> None:
        return


@dataclass
class Site:
    """One server: what it was asked with, and where it is."""

    origin: str
    port: int
    seen: list[web.BaseRequest] = field(default_factory=list)


Answer = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def site(host: str, answer: Answer | bytes) -> AsyncIterator[Site]:
    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        here.seen.append(request)
        return web.Response(body=answer) if isinstance(answer, bytes) else await answer(request)

    server = web.Server(handle)
    runner = web.ServerRunner(server)
    await runner.setup()
    await web.TCPSite(runner, host, 0).start()
    port = runner.addresses[0][1]
    here = Site(origin=f"http://{host}:{port}", port=port)
    try:
        yield here
    finally:
        await runner.cleanup()


@asynccontextmanager
async def raw(reply: bytes, *, then: asyncio.Event | None = None) -> AsyncIterator[str]:
    """A server that says exactly this and closes, or stays silent until `then`."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(reply)
        await writer.drain()
        if then is not None:
            await then.wait()
        writer.close()

    server = await asyncio.start_server(handle, PUBLIC, 0)
    try:
        yield f"http://{PUBLIC}:{server.sockets[0].getsockname()[1]}"
    finally:
        if then is not None:
            then.set()
        server.close()


def redirect(where: str, status: int = 302) -> Answer:
    async def answer(_: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=status, headers={"Location": where})

    return answer


@asynccontextmanager
async def outbound(
    *,
    trusted: tuple[str, ...] = (),
    names: Names | None = None,
    max_bytes: int = 10_000,
    silence: float = 30.0,
) -> AsyncIterator[Outbound]:
    door = Outbound(
        trusted=trusted, max_bytes=max_bytes, silence=silence, resolver=names, permits=internet, connect=5.0
    )
    try:
        yield door
    finally:
        await door.close()


async def body(door: Outbound, url: str, headers: dict[str, str] | None = None) -> bytes:
    return b"".join([piece async for piece in door.stream(url, headers=headers)])


async def refusal(door: Outbound, url: str, headers: dict[str, str] | None = None) -> GenyardError:
    with pytest.raises(GenyardError) as refused:
        await body(door, url, headers)
    told = refused.value
    assert "do-not-tell" not in f"{told} {told.context} {told!r} {told.__cause__!r}"
    assert told.__suppress_context__ or told.__context__ is None, "a traceback would quote the URL"
    return told


# --- addresses -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.8.9.1", "0.0.0.0", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1",  # private
        "169.254.169.254", "100.64.0.1", "100.100.100.200", "168.63.129.16",  # link-local, CGNAT, clouds' own
        "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255", "192.0.0.1", "192.0.2.1", "198.18.0.1",
        "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "fec0::1", "ff02::1", "2001:db8::1",
        "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1", "::ffff:0:127.0.0.1",
        "64:ff9b::10.0.0.1", "64:ff9b:1::1", "2002:7f00:1::1", "2002:a9fe:a9fe::", "2001:0:1::1",
    ],
)  # fmt: skip
def test_addresses_that_only_we_can_reach_are_not_public(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "address",
    ["1.1.1.1", "104.16.0.1", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::1.1.1.1", "100.128.0.1"],
)
def test_other_addresses_are_public(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "10.0.0.1", "169.254.169.254", "[::1]", "[::ffff:127.0.0.1]", "[fe80::1%25eth0]", "0.0.0.0",
        "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "017700000001", "127.1", "127.0.0.1.", "127%2e0.0.1",
        "１２７.0.0.1", "①27.0.0.1", "localhost", "LOCALHOST", "user@127.0.0.1", "example.com@127.0.0.1",
        "example.com:80@127.0.0.1", "example.com\\@127.0.0.1", "user:pass@1.1.1.1", "",
    ],
)  # fmt: skip
async def test_no_spelling_of_a_private_host_is_fetched(host: str) -> None:
    door = Outbound()  # its own judgement, the machine's own names
    try:
        told = await refusal(door, f"http://{host}/latest/meta-data?{SECRET}")
        assert told.code is Code.provider_bad_output
    finally:
        await door.close()


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd", "ftp://1.1.1.1/x", "gopher://1.1.1.1/x", "data:image/png;base64,AA", "unix:/run/x",
        "/files/x.png", "//1.1.1.1/x", "", "http://", "http://1.1.1.1:99999/", "http://a b/", "http://a/\r\nHost: b",
        "simulated_uploaded/87c8fee0.mp4",
    ],
)  # fmt: skip
async def test_what_is_no_web_address_is_refused(url: str) -> None:
    async with outbound() as door:
        assert (await refusal(door, url)).code is Code.provider_bad_output


# --- names -----------------------------------------------------------------------------------------


async def test_a_name_that_leads_to_a_private_address_is_refused_without_connecting() -> None:
    async with site(PRIVATE, PNG) as ours, outbound(names=Names({"evil.example": [[PRIVATE]]})) as door:
        told = await refusal(door, f"http://evil.example:{ours.port}/x?{SECRET}")
        assert told.code is Code.provider_bad_output
        assert not ours.seen


async def test_only_the_public_ones_of_several_addresses_are_used() -> None:
    async with (
        site(PUBLIC, PNG) as theirs,
        outbound(names=Names({"mixed.example": [[PRIVATE, PUBLIC]]})) as door,
    ):
        assert await body(door, f"http://mixed.example:{theirs.port}/") == PNG


async def test_the_address_that_was_judged_is_the_one_connected_to() -> None:
    """A name server that answers first with a public, then with a private address gets nothing by it."""
    names = Names({"rebinding.example": [[PUBLIC], [PRIVATE]]})
    async with site(PUBLIC, PNG) as theirs, outbound(names=names) as door:
        assert await body(door, f"http://rebinding.example:{theirs.port}/") == PNG
        assert names.asked == 1
        assert len(theirs.seen) == 1
    async with site(PRIVATE, PNG) as ours, outbound(names=names) as door:
        assert (
            await refusal(door, f"http://rebinding.example:{ours.port}/")
        ).code is Code.provider_bad_output
        assert not ours.seen


async def test_a_name_that_nobody_knows_is_unreachable() -> None:
    async with outbound(names=Names({"nowhere.example": [[]]})) as door:
        told = await refusal(door, f"http://nowhere.example/?{SECRET}")
        assert told.code in (Code.provider_unreachable, Code.provider_bad_output)


# --- trusted origins -------------------------------------------------------------------------------


async def test_a_trusted_origin_may_be_private_and_only_that_one() -> None:
    async with (
        site(PRIVATE, PNG) as ours,
        site(PRIVATE, PNG) as other,
        outbound(trusted=(ours.origin,)) as door,
    ):
        assert await body(door, ours.origin + "/view?filename=a.png") == PNG
        assert (await refusal(door, other.origin + "/")).code is Code.provider_bad_output
        assert not other.seen


async def test_a_trusted_origin_may_be_a_private_name_and_a_path_in_it_does_not_matter() -> None:
    async with site(PRIVATE, PNG) as ours:
        trusted = f"http://Comfy.lan:{ours.port}/api"
        async with outbound(trusted=(trusted,), names=Names({"comfy.lan": [[PRIVATE]]})) as door:
            assert await body(door, f"http://comfy.lan:{ours.port}/view") == PNG


async def test_nobody_else_can_redirect_into_a_trusted_private_origin() -> None:
    async with (
        site(PRIVATE, PNG) as ours,
        site(PUBLIC, redirect(f"{ours.origin}/queue?clear=1")) as theirs,
        outbound(trusted=(ours.origin,)) as door,
    ):
        assert await body(door, ours.origin) == PNG  # and leaves an open connection
        assert (await refusal(door, theirs.origin)).code is Code.provider_bad_output
        assert len(ours.seen) == 1


async def test_a_trusted_origin_may_redirect_to_another_trusted_one() -> None:
    async with (
        site(PRIVATE, PNG) as bucket,
        site(PRIVATE, redirect(bucket.origin + "/blob")) as ours,
        outbound(trusted=(ours.origin, bucket.origin)) as door,
    ):
        assert await body(door, ours.origin) == PNG


# --- redirects -------------------------------------------------------------------------------------

KEY = {"Authorization": "Bearer top-secret"}


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_headers_go_along_within_one_origin(status: int) -> None:
    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/first":
            return web.Response(status=status, headers={"Location": "second?a=b%2Fc"})
        return web.Response(body=PNG)

    async with site(PUBLIC, answer) as theirs, outbound() as door:
        assert await body(door, theirs.origin + "/first", KEY) == PNG
        assert [request.headers.get("Authorization") for request in theirs.seen] == ["Bearer top-secret"] * 2
        assert theirs.seen[1].raw_path == "/second?a=b%2Fc"


async def test_headers_never_reach_another_origin_nor_come_back_from_it() -> None:
    async with site(PUBLIC, PNG) as last:

        async def first_answer(request: web.BaseRequest) -> web.StreamResponse:
            where = other.origin if request.path == "/start" else last.origin
            return web.Response(status=302, headers={"Location": where})

        async with (
            site(PUBLIC, first_answer) as first,
            site(PUBLIC, redirect(f"{first.origin}/again")) as other,
            outbound() as door,
        ):
            assert await body(door, first.origin + "/start", KEY) == PNG
        assert "Authorization" in first.seen[0].headers
        for request in (*first.seen[1:], *other.seen, *last.seen):
            assert "Authorization" not in request.headers


@pytest.mark.parametrize(
    "where", ["http://127.0.0.1:{port}/", "//127.0.0.1:{port}/", "http://[::ffff:127.0.0.1]:{port}/"]
)
async def test_a_redirect_to_a_private_address_is_refused(where: str) -> None:
    async with (
        site(PRIVATE, PNG) as ours,
        site(PUBLIC, redirect(where.format(port=ours.port))) as theirs,
        outbound() as door,
    ):
        assert (await refusal(door, f"{theirs.origin}/?{SECRET}")).code is Code.provider_bad_output
        assert not ours.seen


@pytest.mark.parametrize(
    "where", ["file:///etc/passwd", "ftp://127.0.0.2/", "http://a@127.0.0.2/", "", "http://:x"]
)
async def test_a_redirect_to_what_is_no_web_address_is_refused(where: str) -> None:
    async with site(PUBLIC, redirect(where)) as theirs, outbound() as door:
        assert (await refusal(door, theirs.origin)).code is Code.provider_bad_output


async def test_redirects_end() -> None:
    async with site(PUBLIC, redirect("/round?X-Signature=do-not-tell")) as theirs, outbound() as door:
        assert (await refusal(door, theirs.origin)).code is Code.provider_bad_output
        assert len(theirs.seen) == 6


def test_a_redirect_from_https_to_http_is_refused() -> None:
    """Without a certificate for a test server, the rule itself."""
    from types import SimpleNamespace

    from yarl import URL

    from genyard.outbound import _target

    answer = SimpleNamespace(headers={"Location": "http://bucket.example/x"}, status=302)
    with pytest.raises(GenyardError) as refused:
        _target(URL("https://api.example/x"), answer)  # type: ignore[arg-type]
    assert refused.value.code is Code.provider_bad_output
    assert str(_target(URL("http://api.example/x"), answer)) == "http://bucket.example/x"  # type: ignore[arg-type]


# --- bodies ----------------------------------------------------------------------------------------


async def test_the_url_is_asked_for_exactly_as_it_was_written() -> None:
    """Signatures are over what was written."""
    async with site(PUBLIC, PNG) as theirs, outbound() as door:
        path = "/out/a%20b%2Fc+d.png?X-Amz-Credential=a%2Fb&x=~%7E&y=%5b%5D"
        assert await body(door, theirs.origin + path) == PNG
        assert theirs.seen[0].raw_path == path
        assert await body(door, theirs.origin + "/größe und.png") == PNG
        assert theirs.seen[1].raw_path == "/gr%C3%B6%C3%9Fe%20und.png"


@pytest.mark.parametrize("content_type", ["text/html; charset=utf-8", "image/png"])
@pytest.mark.parametrize(
    "page", [b"<!DOCTYPE html><p>gone</p>", b"\n  <HTML><head>", b"\xef\xbb\xbf<html lang='en'>"]
)
async def test_a_web_page_is_not_a_result(content_type: str, page: bytes) -> None:
    async def answer(_: web.BaseRequest) -> web.StreamResponse:
        return web.Response(body=page, headers={"Content-Type": content_type})

    async with site(PUBLIC, answer) as theirs, outbound() as door:
        told = await refusal(door, f"{theirs.origin}/?{SECRET}")
        assert told.code is Code.provider_bad_output
        assert "web page" in told.message


async def test_a_picture_with_a_wrong_label_is_a_picture() -> None:
    async def answer(_: web.BaseRequest) -> web.StreamResponse:
        return web.Response(body=PNG, content_type="text/html")

    async with site(PUBLIC, answer) as theirs, outbound() as door:
        assert await body(door, theirs.origin) == PNG


async def test_an_empty_body_yields_nothing() -> None:
    async with site(PUBLIC, b"") as theirs, outbound() as door:
        assert [piece async for piece in door.stream(theirs.origin)] == []


async def test_a_short_body_comes_whole() -> None:
    async with site(PUBLIC, b"tiny") as theirs, outbound() as door:
        assert await body(door, theirs.origin) == b"tiny"


async def test_a_body_that_says_it_is_too_large_is_not_read() -> None:
    async with (
        raw(b"HTTP/1.1 200 OK\r\nContent-Length: 10001\r\n\r\n", then=asyncio.Event()) as url,
        outbound() as door,
    ):
        told = await refusal(door, f"{url}/?{SECRET}")
        assert told.code is Code.provider_bad_output
        assert "10,001" in told.message


async def test_a_body_that_grows_too_large_is_given_up() -> None:
    async with (
        raw(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + bytes(20_000)) as url,
        outbound() as door,
    ):
        assert (await refusal(door, url)).code is Code.provider_bad_output


async def test_a_packed_body_is_limited_by_what_it_unpacks_to() -> None:
    import gzip

    packed = gzip.compress(bytes(5_000_000))
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(packed)}\r\n\r\n".encode()
    async with raw(head + packed) as url, outbound() as door:
        told = await refusal(door, url)
        assert "at most" in told.message
    packed = gzip.compress(PNG)
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(packed)}\r\n\r\n".encode()
    async with raw(head + packed) as url, outbound() as door:
        assert await body(door, url) == PNG


@pytest.mark.parametrize(
    "reply",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + PNG,
        b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10\r\n0123456789abcdef\r\n",
    ],
)
async def test_a_body_that_ends_early_is_told_with_how_much_came(reply: bytes) -> None:
    async with raw(reply) as url, outbound() as door:
        told = await refusal(door, f"{url}/?{SECRET}")
        assert told.code is Code.provider_bad_output
        assert "received" in told.context


@pytest.mark.parametrize("reply", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + PNG])
async def test_silence_ends_a_download(reply: bytes) -> None:
    async with raw(reply, then=asyncio.Event()) as url, outbound(silence=0.05) as door:
        told = await refusal(door, f"{url}/?{SECRET}")
        assert told.code is Code.provider_unreachable


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (403, Code.provider_lost_output),
        (404, Code.provider_lost_output),
        (410, Code.provider_lost_output),
        (400, Code.provider_lost_output),
        (401, Code.provider_rejected),
        (429, Code.provider_busy),
        (500, Code.provider_unreachable),
        (503, Code.provider_unreachable),
        (304, Code.provider_bad_output),
    ],
)
async def test_what_a_status_means(status: int, code: Code) -> None:
    async def answer(_: web.BaseRequest) -> web.StreamResponse:
        return web.Response(
            status=status, text="<Error><Key>do-not-tell</Key></Error>", headers={"Retry-After": "7"}
        )

    async with site(PUBLIC, answer) as theirs, outbound() as door:
        told = await refusal(door, f"{theirs.origin}/?{SECRET}", KEY)
        assert told.code is code
        assert "top-secret" not in f"{told} {told.context}"
        assert told.context["status"] == status
        assert told.context.get("retry_after") == (7.0 if status == 429 else None)


async def test_a_closed_port_is_unreachable() -> None:
    async with site(PUBLIC, PNG) as theirs:
        pass
    async with outbound() as door:
        assert (await refusal(door, f"{theirs.origin}/?{SECRET}")).code is Code.provider_unreachable


async def test_an_answer_that_is_no_http_is_unreachable_and_keeps_the_query_to_itself() -> None:
    async with raw(b"SSH-2.0-OpenSSH_9.6\r\n\r\n") as url, outbound() as door:
        assert (await refusal(door, f"{url}/?{SECRET}")).code is Code.provider_unreachable


async def test_closing_is_repeatable_and_stopping_early_frees_the_connection() -> None:
    async with site(PUBLIC, bytes(9_000)) as theirs:
        door = Outbound(permits=internet)
        await door.close()
        stream = door.stream(theirs.origin)
        await anext(aiter(stream))
        await stream.aclose()  # type: ignore[attr-defined]
        await door.close()
        await door.close()
