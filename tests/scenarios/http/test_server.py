"""The server itself: which port, on which address, and how it ends."""

from __future__ import annotations

import asyncio
import os
import signal
import socket

import aiohttp
import pytest

from genyard.app import Product
from genyard.errors import Code, GenyardError
from genyard.frontends.http import bind, create_http_app, serve_http
from scenarios.http.client import KeyMaker


def refusal(host: str, port: int) -> GenyardError:
    with pytest.raises(GenyardError) as caught:
        bind(host, port).close()
    assert caught.value.code is Code.settings_invalid
    return caught.value


def test_a_taken_port_is_refused_with_words() -> None:
    with bind("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        error = refusal("127.0.0.1", port)
    assert error.field == "GENYARD_PORT"
    assert f"port {port}" in error.message
    assert "taken" in error.message


def test_a_port_that_another_program_listens_on() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        assert refusal("127.0.0.1", other.getsockname()[1]).field == "GENYARD_PORT"


@pytest.mark.parametrize("host", ["192.0.2.1", "no such host"])
def test_an_address_that_is_not_ours(host: str) -> None:
    error = refusal(host, 0)
    assert error.field == "GENYARD_HOST"
    assert host in error.message


def application(product: Product):  # type: ignore[no-untyped-def]
    return create_http_app(studio=product.studio, owners=product.owners, server=product.settings.server)


async def test_a_taken_port_is_found_before_anything_is_served(product: Product) -> None:
    with bind("127.0.0.1", 0) as taken, pytest.raises(GenyardError) as caught:
        await serve_http(application(product), "127.0.0.1", taken.getsockname()[1])
    assert caught.value.field == "GENYARD_PORT"


async def test_without_a_key_only_this_machine_is_listened_on(product: Product, with_key: KeyMaker) -> None:
    with pytest.raises(GenyardError) as caught:
        await serve_http(application(product), "0.0.0.0", 0)
    assert (caught.value.code, caught.value.field) == (Code.settings_invalid, "GENYARD_HOST")
    assert "genyard keys create" in caught.value.message
    await with_key("alice")
    up = asyncio.Event()
    task = asyncio.create_task(
        serve_http(application(product), "0.0.0.0", 0, lambda _: up.set(), handle_signals=False)
    )
    async with asyncio.timeout(10):
        await up.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_it_and_leaves_the_process_alone(
    product: Product, number: signal.Signals
) -> None:
    async with asyncio.timeout(10), aiohttp.ClientSession() as session:
        up: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(serve_http(application(product), "127.0.0.1", 0, up.set_result))
        async with session.get(await up + "/health") as response:
            assert response.status == 200
        os.kill(os.getpid(), number)
        await task
        with pytest.raises(aiohttp.ClientError):
            await session.get(up.result() + "/health")
