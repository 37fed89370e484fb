"""Commands on API keys: keys create, keys list, keys revoke."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

import genyard.frontends.cli.options as o
from genyard.frontends.cli.exits import print_json
from genyard.frontends.cli.owners import require_tier
from genyard.frontends.cli.session import Session, perform
from genyard.frontends.cli.table import summary

keys_app = typer.Typer(help=summary("keys"))


def add_to(app: typer.Typer) -> None:
    app.add_typer(keys_app, name="keys")


@keys_app.command()
def create(
    context: typer.Context,
    owner: Annotated[
        str, typer.Argument(metavar="OWNER", help="Whose jobs and assets it sees.", show_default=False)
    ],
    label: Annotated[str, typer.Option(help="What it is for.")] = "",
    tier: Annotated[str | None, typer.Option(help="The owner's tier from now on; see [tiers].")] = None,
    admin: Annotated[
        bool, typer.Option("--admin", help="May also look after others and their credits.")
    ] = False,
    json: o.Json = False,
) -> None:
    """Make a key. It is shown this once."""
    perform(context, _create)


@keys_app.command(name="list")
def list_(context: typer.Context, json: o.Json = False) -> None:
    """List keys, by their first characters."""
    perform(context, _list)


@keys_app.command()
def revoke(
    context: typer.Context,
    prefix: Annotated[
        str, typer.Argument(metavar="PREFIX", help="As `keys list` shows it.", show_default=False)
    ],
    json: o.Json = False,
) -> None:
    """End a key for good."""
    perform(context, _revoke)


async def _create(session: Session) -> None:
    async with session.open() as product:
        owner, tier = session.options["owner"], session.options["tier"]
        if tier is not None:
            require_tier(session.settings, tier)
        key, secret = await product.owners.create_key(
            owner, session.options["label"], admin=session.options["admin"]
        )
        if tier is not None:
            await product.owners.set_tier(owner, tier)
    if session.as_json:
        print_json({**asdict(key), "key": secret})
        return
    typer.echo(secret)
    typer.echo("keep it: it is not shown again. Send it as `Authorization: Bearer …`", err=True)


async def _list(session: Session) -> None:
    async with session.open() as product:
        keys = await product.owners.list_keys()
    if session.as_json:
        print_json({"keys": [asdict(key) for key in keys]})
        return
    if not keys:
        typer.echo(
            "no keys: only this machine may use the API. `genyard keys create OWNER` makes one", err=True
        )
    for key in keys:
        since = f"revoked {key.revoked_at:%Y-%m-%d}" if key.revoked_at else "in use"
        what = f"{key.label or '-'}{', admin' if key.admin else ''}"
        typer.echo(f"{key.prefix}…  {key.owner}  {what}  made {key.created_at:%Y-%m-%d}  {since}")


async def _revoke(session: Session) -> None:
    prefix = session.options["prefix"].rstrip("…")
    async with session.open() as product:
        await product.owners.revoke_key(prefix)
    if session.as_json:
        print_json({"revoked": prefix})
    else:
        typer.echo(f"revoked {prefix}…")
