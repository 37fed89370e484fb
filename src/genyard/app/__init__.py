"""Composition root: settings in, a working product out. Concrete providers are made in `places`.

Entry points: `genyard.__main__` (the CLI), `Studio` (Python), `serve` (HTTP).
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from genyard.app.places import PROVIDERS, MakeProvider, make_place
from genyard.catalog import Catalog, load_catalog
from genyard.database import Database, open_database
from genyard.errors import Code, GenyardError
from genyard.jobs.assets import Assets
from genyard.jobs.callbacks.deliveries import Deliveries
from genyard.jobs.callbacks.message import Link
from genyard.jobs.callbacks.sender import Callbacks, Tempo
from genyard.jobs.callbacks.signing import read_secret
from genyard.jobs.drive import GIVE_UP_SECONDS, Hold, Surroundings
from genyard.jobs.hooks import Hooks
from genyard.jobs.housekeeping.keeper import Keeper, Turnus
from genyard.jobs.housekeeping.orphans import OrphanSweep
from genyard.jobs.housekeeping.overview import Overseer
from genyard.jobs.housekeeping.removal import Removal
from genyard.jobs.housekeeping.retention import Retention
from genyard.jobs.inputs import Inputs
from genyard.jobs.live import Live
from genyard.jobs.outputs import OutputStore
from genyard.jobs.runner import Pace, Runner
from genyard.jobs.store import Jobs
from genyard.jobs.worker import LEASE_SECONDS, Worker
from genyard.ledger import Ledger
from genyard.operations import OPERATIONS
from genyard.owners import Owners
from genyard.policy import Judge
from genyard.routing import Routes
from genyard.settings import (
    EndpointSettings,
    PolicySettings,
    ServerSettings,
    Settings,
    WebhookSettings,
    load_settings,
)
from genyard.storage import LinkSigner, Storage, open_storage
from genyard.studio import Studio as OpenStudio
from genyard.studio.links import Links
from genyard.studio.paying import Paying, sound
from genyard.studio.places import Places
from genyard.studio.policy import Policy, ask_function, ask_url
from genyard.studio.webhooks import Webhooks
from genyard.telemetry import configure_logging

if TYPE_CHECKING:
    from genyard.outbound import Outbound


@dataclass(frozen=True, kw_only=True)
class Product:
    """Everything that an entry point may need, wired."""

    settings: Settings
    studio: OpenStudio
    owners: Owners
    jobs: Jobs
    worker: Worker


def _incoming(settings: Settings) -> Path:
    """Where results lie while they come in: beside the data, because the system's own folder may be memory."""
    folder = settings.data / "incoming"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as wrong:
        raise GenyardError(
            Code.settings_invalid, f"GENYARD_DATA: {folder} cannot be made ({wrong})", field="GENYARD_DATA"
        ) from wrong
    return folder


def _routes(settings: Settings) -> Routes:
    for operation in settings.routes:
        if operation not in OPERATIONS:
            raise GenyardError(
                Code.settings_invalid,
                f"routes.{operation}: not an operation; known are {', '.join(OPERATIONS)}",
                field=f"genyard.toml: routes.{operation}",
            )
    rebuys = {operation for operation, route in settings.routes.items() if route.lost == "again"}
    return Routes(default=settings.provider, operations=settings.targets, rebuys=frozenset(rebuys))


class _Receivers:
    """Made when somebody is to be told something: the HTTP library takes its time to load."""

    def __init__(self, settings: WebhookSettings) -> None:
        self._settings = settings
        self._outbound: Outbound | None = None

    def __call__(self) -> Outbound:
        if self._outbound is None:
            from genyard.outbound import Outbound, is_public

            permits = (lambda _: True) if self._settings.allow_private else is_public
            self._outbound = Outbound(hosts=self._settings.hosts, permits=permits)
        return self._outbound

    async def close(self) -> None:
        if self._outbound is not None:
            await self._outbound.close()


def _policy(settings: PolicySettings, outbound: _Receivers, clock: Callable[[], float]) -> Policy | None:
    if not settings.asks:
        return None
    if settings.url:
        ask = ask_url(
            outbound,
            settings.url,
            secret=read_secret(settings.secret.get_secret_value()) if settings.secret else None,
            seconds=settings.time_limit,
            clock=clock,
        )
    else:
        ask = ask_function(_function(settings.python))
    return Policy(ask, time_limit=settings.time_limit, on_failure=settings.on_failure)


def _function(name: str) -> Judge:
    """`package.module:function`, from where Python finds its modules."""
    module, _, function = name.partition(":")
    try:
        found = getattr(import_module(module), function)
    except Exception as wrong:  # whatever somebody's own module does while it is imported
        raise GenyardError(
            Code.settings_invalid,
            f"before_submit.python: {name} cannot be imported ({type(wrong).__name__}: {wrong})",
            field="genyard.toml: before_submit.python",
        ) from wrong
    if not callable(found):
        raise GenyardError(
            Code.settings_invalid,
            f"before_submit.python: {name} is no function",
            field="genyard.toml: before_submit.python",
        )
    return cast(Judge, found)


def _links(signer: LinkSigner, server: ServerSettings, clock: Callable[[], float]) -> Link:
    """Where receivers of callbacks find files: nowhere, unless they can reach us."""
    if not server.public_url:
        return lambda _: None
    return Links(signer=signer, seconds=server.link_seconds, public_url=server.public_url, clock=clock).of


def _keeper(
    settings: Settings,
    database: Database,
    jobs: Jobs,
    storage: Storage,
    outbound: _Receivers,
    turnus: Turnus | None,
) -> Keeper:
    removal = Removal(database=database, jobs=jobs, storage=storage)
    keeping = settings.retention
    return Keeper(
        database=database,
        removal=removal,
        retention=Retention(database=database, removal=removal, settings=keeping),
        orphans=OrphanSweep(
            database=database,
            storage=storage,
            incoming=_incoming(settings),
            hours=keeping.orphan_hours,
        ),
        overseer=Overseer(
            database=database,
            jobs=jobs,
            limits={name: _longest(one) for name, one in settings.endpoints.items()},
            folder=settings.data,
            rules=settings.alerts,
        ),
        ledger=Ledger(database),
        rules=settings.alerts,
        keeping=keeping,
        outbound=outbound,
        turnus=turnus,
    )


def _longest(endpoint: EndpointSettings) -> float:
    """Seconds after which nothing explains why a run goes on: its queue, its run, its files, and a silence each."""
    seconds = endpoint.timeouts
    limits = (seconds.queue, max(seconds.image, seconds.video), seconds.download)
    return sum(limits) + 2 * GIVE_UP_SECONDS


async def _open_places(
    settings: Settings, kinds: Mapping[str, MakeProvider], catalog: Catalog, jobs: Jobs
) -> Places:
    """The database learns which there are, and who may start how much there."""
    places = Places(
        [
            make_place(name, endpoint, kinds[endpoint.kind](endpoint, settings), catalog)
            for name, endpoint in settings.endpoints.items()
        ],
        jobs,
        time.monotonic,
    )
    await places.save()
    await jobs.endpoints.save_rules(
        [{"name": name, **tier.model_dump()} for name, tier in settings.tiers.items()],
        queue=settings.queue.limit,
        patience=settings.queue.patience,
    )
    return places


def _worker(
    settings: Settings,
    around: Surroundings,
    places: Places,
    live: Live,
    callbacks: Callbacks,
    keeper: Keeper,
    pace: Pace | None,
) -> Worker:
    runner = Runner(
        around=around,
        live=live,
        outputs=OutputStore(around.storage, settings.limits, folder=_incoming(settings)),
        providers=places.providers,
        pace=pace,
    )
    return Worker(
        jobs=around.jobs,
        runner=runner,
        concurrency=settings.stage_concurrency,
        callbacks=callbacks,
        keeper=keeper,
        hold=around.hold,
        lease=around.lease,
    )


@contextlib.asynccontextmanager
async def build(
    settings: Settings,
    *,
    pace: Pace | None = None,
    providers: Mapping[str, MakeProvider] | None = None,
    tempo: Tempo | None = None,
    turnus: Turnus | None = None,
    lease: float = LEASE_SECONDS,
) -> AsyncIterator[Product]:
    """Opens database and storage, makes the providers, wires the rest; closes it all at the end.

    `providers` replaces kinds of `PROVIDERS`: for people who bring a place of their own, and for tests. `lease`:
    seconds after which a worker that does not beat counts as frozen; the same for all workers of a database.
    """
    async with open_database(settings) as database:
        jobs = Jobs(database)
        assets = Assets(database)
        owners = Owners(database)
        ledger = Ledger(database)
        await owners.ensure_local()
        live = Live(database)
        storage = open_storage(settings)
        catalog = load_catalog(settings.bindings)
        places = await _open_places(settings, {**PROVIDERS, **(providers or {})}, catalog, jobs)
        secret = await assets.secret("links", secrets.token_bytes(32))
        signer = LinkSigner(secret=secret)
        hooks = Hooks(secret=secret, base=settings.server.public_url)
        deliveries, outbound = Deliveries(database), _Receivers(settings.webhooks)
        asking = _Receivers(WebhookSettings(allow_private=True))  # the operator's own hook
        around = Surroundings(
            jobs=jobs,
            storage=storage,
            inputs=Inputs(jobs=jobs, assets=assets, storage=storage),
            hooks=hooks,
            clock=time.monotonic,
            lease=lease,
            hold=Hold(time.monotonic),
        )
        keeper = _keeper(settings, database, jobs, storage, asking, turnus)
        studio = OpenStudio(
            jobs=jobs,
            assets=assets,
            live=live,
            storage=storage,
            places=places,
            catalog=catalog,
            routes=_routes(settings),
            limits=settings.limits,
            signer=signer,
            hooks=hooks,
            ledger=ledger,
            paying=Paying(ledger, sound(settings.credits, catalog), settings.budgets),
            webhooks=Webhooks(deliveries=deliveries, outbound=outbound),
            keeper=keeper,
            policy=_policy(settings.before_submit, asking, database.clock),
            grace=settings.server.disconnect_seconds,
        )
        callbacks = Callbacks(
            deliveries=deliveries,
            jobs=jobs,
            live=live,
            outbound=outbound,
            link=_links(signer, settings.server, database.clock),
            tempo=tempo,
        )
        worker = _worker(settings, around, places, live, callbacks, keeper, pace)
        try:
            yield Product(settings=settings, studio=studio, owners=owners, jobs=jobs, worker=worker)
        finally:
            await places.close()
            await live.close()
            await outbound.close()
            await asking.close()


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
