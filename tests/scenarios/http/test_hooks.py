"""The addresses that places call: whoever guesses one is not listened to."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit
from uuid import uuid4

from scenarios.http.client import Client


async def test_what_is_sent_to_a_wrong_address_is_not_even_read(client: Client) -> None:
    """Answered after the head alone: nobody makes us hold 32 MB by guessing."""
    address = urlsplit(client.base)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    try:
        writer.write(
            f"POST /hooks/preview/{uuid4()}/guess HTTP/1.1\r\nHost: {address.netloc}\r\n"
            "Content-Type: application/json\r\nContent-Length: 30000000\r\n\r\n".encode()
        )
        await writer.drain()
        async with asyncio.timeout(5):
            status = await reader.readline()
    finally:
        writer.close()
    assert status.startswith(b"HTTP/1.1 404")
