"""Composition root: settings in, a working product out. The only module that names concrete providers.

Entry points: `genyard.__main__` (the CLI), `Studio` (Python), `serve` (HTTP).
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from genyard.catalog import load_catalog
from genyard.database import open_database
from genyard.jobs.assets import Assets
from genyard.jobs.live import Live
from genyard.jobs.outputs import OutputStore
from genyard.jobs.runner import Pace, Runner
from genyard.jobs.store import Jobs
from genyard.jobs.worker import Worker
from genyard.owners import Owners
from genyard.providers import Provider
from genyard.settings import EndpointSettings, Settings, load_settings
from genyard.storage import LinkSigner, open_storage
from genyard.studio import Studio as OpenStudio
from genyard.studio.places import Place, Places
from genyard.telemetry import configure_logging

MakeProvider = Callable[[EndpointSettings, Settings], Provider]


def _comfyui(endpoint: EndpointSettings, settings: Settings) -> Provider:
    from genyard.providers._http import Timeouts
    from genyard.providers.comfyui import ComfyUIProvider, Limits

    seconds = endpoint.timeouts
    return ComfyUIProvider(
        url=endpoint.url,
        key=endpoint.api_key.get_secret_value() if endpoint.api_key else None,
        timeouts=Timeouts(connect=seconds.connect, download=seconds.download),
        limits=Limits(image=seconds.image, video=seconds.video, poll=seconds.poll),
        renamed=endpoint.files,
    )


def _preview(endpoint: EndpointSettings, settings: Settings) -> Provider:
    from genyard.providers.preview import PreviewProvider

    return PreviewProvider(at_once=endpoint.concurrency, limits=settings.limits)


#: kind → how an endpoint of it is made. A new kind of place is one more row.
PROVIDERS: Mapping[str, MakeProvider] = {
    "comfyui": _comfyui,
    "preview": _preview,
}


@dataclass(frozen=True, kw_only=True)
class Product:
    """Everything that an entry point may need, wired."""

    settings: Settings
    studio: OpenStudio
    owners: Owners
    jobs: Jobs
    worker: Worker


@contextlib.asynccontextmanager
async def build(
    settings: Settings, *, pace: Pace | None = None, providers: Mapping[str, MakeProvider] | None = None
) -> AsyncIterator[Product]:
    """Opens database and storage, makes the providers, wires the rest; closes it all at the end.

    `providers` replaces kinds of `PROVIDERS`: for people who bring a place of their own, and for tests.
    """
    kinds = {**PROVIDERS, **(providers or {})}
    async with open_database(settings) as database:
        jobs = Jobs(database)
        assets = Assets(database)
        owners = Owners(database)
        await owners.ensure_local()
        live = Live(database)
        storage = open_storage(settings)
        places = Places(
            [
                Place(
                    name=name,
                    provider=kinds[endpoint.kind](endpoint, settings),
                    capacity=endpoint.concurrency,
                )
                for name, endpoint in settings.endpoints.items()
            ],
            jobs,
            time.monotonic,
        )
        await places.save()
        runner = Runner(
            jobs=jobs,
            assets=assets,
            live=live,
            storage=storage,
            outputs=OutputStore(storage, settings.limits),
            providers=places.providers,
            clock=time.monotonic,
            pace=pace,
        )
        studio = OpenStudio(
            jobs=jobs,
            assets=assets,
            live=live,
            storage=storage,
            places=places,
            catalog=load_catalog(),
            provider=settings.provider,
            limits=settings.limits,
            signer=LinkSigner(secret=await assets.secret("links", secrets.token_bytes(32))),
        )
        worker = Worker(jobs=jobs, runner=runner, concurrency=settings.stage_concurrency)
        try:
            yield Product(settings=settings, studio=studio, owners=owners, jobs=jobs, worker=worker)
        finally:
            await places.close()
            await live.close()


@contextlib.asynccontextmanager
async def working(product: Product) -> AsyncIterator[None]:
    """Runs a worker in this process for as long as the block lasts."""
    ready = asyncio.Event()
    task = asyncio.create_task(product.worker.serve(ready), name="genyard-worker")
    started = asyncio.create_task(ready.wait())
    await asyncio.wait([task, started], return_when=asyncio.FIRST_COMPLETED)
    try:
        if task.done():
            task.result()
        yield
    finally:
        started.cancel()
        task.cancel()
        await asyncio.gather(task, started, return_exceptions=True)


class Studio:
    """`async with Studio() as studio:` for Python programs: works by itself, no server needed.

    Without `settings`, the environment and `genyard.toml` decide, as for the CLI.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        self._settings = settings
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> OpenStudio:
        async with contextlib.AsyncExitStack() as stack:
            product = await stack.enter_async_context(build(self._settings or load_settings()))
            await stack.enter_async_context(working(product))
            self._stack = stack.pop_all()
        return product.studio

    async def __aexit__(self, *failure: Any) -> None:
        await self._stack.aclose()


async def serve(product: Product, host: str, port: int, up: Callable[[str], None]) -> None:
    """The HTTP API and its page, until SIGINT or SIGTERM. `up` is called with the address once it answers."""
    from genyard.frontends.http import create_http_app, serve_http

    app = create_http_app(
        studio=product.studio,
        owners=product.owners,
        server=product.settings.server,
        limits=product.settings.limits,
    )
    await serve_http(app, host, port, up)


def setup_logging(settings: Settings) -> None:
    configure_logging(settings.log_level, as_json=settings.log_json)
