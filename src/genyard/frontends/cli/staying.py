"""A server or a worker until it is told to stop."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import typer

from genyard.frontends.cli.composition import Product
from genyard.frontends.cli.session import Session
from genyard.frontends.stopping import on_stop


async def serve(session: Session) -> None:
    options, settings = session.options, session.settings
    host = options["host"] or settings.server.host
    port = settings.server.port if options["port"] is None else options["port"]
    up = asyncio.Event()

    def say(address: str) -> None:
        typer.echo(f"genyard is up at {address}  (Ctrl-C ends it)")
        up.set()

    async with session.open() as product:
        tasks = [
            asyncio.create_task(session.composition.serve(product, host, port, say), name="genyard-serve")
        ]
        if not options["no_worker"]:
            tasks.append(asyncio.create_task(_work_from(up, product), name="genyard-worker"))
        await _until_first_ends(tasks)


async def _work_from(up: asyncio.Event, product: Product) -> None:
    """Not before the port is ours: a second server that fails to start takes no job."""
    await up.wait()
    await product.worker.serve()


async def _until_first_ends(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Then stops the others; whatever ended by a failure of its own raises it."""
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()


async def work(session: Session) -> None:
    """Ends by a signal, handing on what runs."""
    stop = asyncio.Event()
    with on_stop(lambda: _stopping(stop)):
        async with session.open() as product:
            ready = asyncio.Event()
            say = asyncio.create_task(_say_ready(ready, product.studio.provider))
            try:
                await _until_first_ends(
                    [
                        asyncio.create_task(product.worker.serve(ready), name="genyard-worker"),
                        asyncio.create_task(_wait(stop)),
                    ]
                )
            finally:
                say.cancel()
    typer.echo("worker stopped; what it had begun goes on with the next one", err=True)


def _stopping(stop: asyncio.Event) -> None:
    typer.echo("stopping: what is begun goes to others; a second signal ends it at once", err=True)
    stop.set()


async def _wait(stop: asyncio.Event) -> None:
    await stop.wait()


async def _say_ready(ready: asyncio.Event, provider: str) -> None:
    await ready.wait()
    typer.echo(f"worker ready (IMAGE_GENERATION_PROVIDER={provider}); Ctrl-C ends it", err=True)
