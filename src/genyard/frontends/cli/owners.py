"""Commands on owners: owners, owners set."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

import genyard.frontends.cli.options as o
from genyard.frontends.cli.exits import print_json, wrong
from genyard.frontends.cli.session import Session, perform
from genyard.frontends.cli.table import summary

if TYPE_CHECKING:
    from genyard.settings import Settings

owners_app = typer.Typer(invoke_without_command=True, help=summary("owners"))


def add_to(app: typer.Typer) -> None:
    app.add_typer(owners_app, name="owners")


@owners_app.callback()
def owners(context: typer.Context, json: o.Json = False) -> None:
    if context.invoked_subcommand is None:
        perform(context, _list)


@owners_app.command(name="set")
def set_(
    context: typer.Context,
    owner: Annotated[str, typer.Argument(metavar="NAME", help="As `owners` shows it.", show_default=False)],
    tier: Annotated[
        str, typer.Option("--tier", help="One of [tiers] in genyard.toml, or standard.", show_default=False)
    ],
    json: o.Json = False,
) -> None:
    """Put an owner into a tier, from its next job on."""
    perform(context, _set)


def require_tier(settings: Settings, tier: str) -> None:
    """`request.invalid` for one that the settings do not name: it would silently be the default."""
    from genyard.settings import DEFAULT_TIER

    priced = {row.tier for row in settings.credits.prices if row.tier}
    known = sorted({DEFAULT_TIER, *settings.tiers, *priced})
    if tier not in known:
        raise wrong(
            f"{tier!r} is not one of {', '.join(known)}; [tiers] in genyard.toml names them", "--tier"
        )


async def _list(session: Session) -> None:
    async with session.open() as product:
        found = await product.owners.list_owners()
    if session.as_json:
        print_json({"owners": [asdict(one) for one in found]})
        return
    from genyard.frontends.cli.screen import print_rows

    rows = [
        (one.name, one.tier, str(one.keys), str(one.queued), str(one.running), f"{one.created_at:%Y-%m-%d}")
        for one in found
    ]
    print_rows(("owner", "tier", "keys", "waiting", "running", "since"), rows, {})


async def _set(session: Session) -> None:
    owner, tier = session.options["owner"], session.options["tier"]
    require_tier(session.settings, tier)
    async with session.open() as product:
        await product.owners.set_tier(owner, tier)
    if session.as_json:
        print_json({"owner": owner, "tier": tier})
    else:
        typer.echo(f"{owner} is in the tier {tier}")
