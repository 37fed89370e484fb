"""Commands on stored media: assets, assets get, assets add, assets delete."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

import genyard.frontends.cli.options as o
from genyard.frontends.cli.exits import print_json, wrong
from genyard.frontends.cli.jobs import confirm
from genyard.frontends.cli.session import Session, find_asset, perform, short
from genyard.frontends.cli.table import summary

if TYPE_CHECKING:
    from genyard.jobs.model import Asset

assets_app = typer.Typer(invoke_without_command=True, help=summary("assets"))


def add_to(app: typer.Typer) -> None:
    app.add_typer(assets_app, name="assets")


@assets_app.callback()
def assets(
    context: typer.Context,
    tag: Annotated[str | None, typer.Option("--tag", "-t", help="Assets with this tag.")] = None,
    role: Annotated[str | None, typer.Option(help="image, mask, layer, video, …")] = None,
    fact: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="For example seed=7 or model=sdxl; repeatable."),
    ] = None,
    search: o.Search = None,
    limit: o.Limit = 50,
    json: o.Json = False,
) -> None:
    if context.invoked_subcommand is None:
        perform(context, _list)


@assets_app.command()
def get(context: typer.Context, asset_id: o.AssetId, output: o.Output = None, json: o.Json = False) -> None:
    """Save one as a file."""
    perform(context, _get)


@assets_app.command()
def add(
    context: typer.Context,
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="A picture, video or sound.", show_default=False)
    ],
    tag: o.Tag = None,
    json: o.Json = False,
) -> None:
    """Store a file, to be used as asset:ID."""
    perform(context, _add)


@assets_app.command()
def delete(context: typer.Context, asset_id: o.AssetId, yes: o.Yes = False, json: o.Json = False) -> None:
    """Delete one for good."""
    perform(context, _delete)


async def _list(session: Session) -> None:
    from genyard.operations import Role

    options = session.options
    if options["role"] and options["role"] not in Role.__members__:
        raise wrong(f"{options['role']!r} is not one of {', '.join(Role)}", "--role")
    filters: dict[str, Any] = {name: options[name] for name in ("tag", "role", "search")}
    filters["facts"] = dict(_fact(text) for text in options["fact"] or ()) or None
    async with session.open() as product:
        found = await product.studio.assets(limit=options["limit"], **filters)
    if session.as_json:
        print_json({"assets": [asset.as_json() for asset in found]})
    else:
        _print_table(found)


def _fact(text: str) -> tuple[str, Any]:
    """Facts are typed: seed=7 means the number, model=sdxl the text."""
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise wrong(f"{text!r} is not NAME=VALUE, for example model=sdxl", "--fact")
    return name, o.parse_value(value, "--fact")


async def _get(session: Session) -> None:
    from genyard.frontends.cli.files import choose_target, save_asset

    target = choose_target(session.options["output"])
    if target.archive:
        raise wrong(
            "one asset is one file; `genyard jobs show ID -o all.zip` packs those of a job", "--output"
        )
    async with session.open() as product:
        asset = await find_asset(product, session.options["asset_id"])
        path = await save_asset(product, asset, target)
    if session.as_json:
        print_json({**asset.as_json(), "files": [str(path)]})
    else:
        typer.echo(str(path))


async def _add(session: Session) -> None:
    from genyard.frontends.cli.inputs import read_file, upload

    name = session.options["file"]
    data = read_file(name, "FILE")
    async with session.open() as product:
        asset = await upload(product, name, data, "FILE", session.options["tag"] or ())
    if session.as_json:
        print_json(asset.as_json())
    else:
        typer.echo(str(asset.id))


async def _delete(session: Session) -> None:
    async with session.open() as product:
        asset = await find_asset(product, session.options["asset_id"])
        confirm(session, f"Delete {asset.role} {short(asset.id)} ({asset.name}) for good?")
        await product.studio.delete_asset(asset.id)
    if session.as_json:
        print_json({"deleted": str(asset.id)})
    else:
        typer.echo(f"deleted asset {short(asset.id)}")


def _print_table(found: Sequence[Asset]) -> None:
    from genyard.frontends.cli.screen import print_rows

    if not found:
        typer.echo("no assets fit", err=True)
        return
    rows = [
        (
            short(asset.id),
            asset.role,
            f"{asset.width}×{asset.height}" if asset.width else "",
            f"{asset.bytes:,}",
            "/".join(str(asset.facts[name]) for name in ("endpoint", "model") if name in asset.facts)
            or "uploaded",
            str(asset.facts.get("seed", "")),
            " ".join(asset.tags),
            asset.name,
        )
        for asset in found
    ]
    print_rows(("id", "role", "size", "bytes", "made by", "seed", "tags", "name"), rows, {})
