"""Commands on owners: owners, owners set, owners delete."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Final

import typer

import genyard.frontends.cli.options as o
from genyard.frontends.cli.exits import print_json, wrong
from genyard.frontends.cli.session import Session, perform
from genyard.frontends.cli.table import summary

if TYPE_CHECKING:
    from genyard.settings import Settings

_PATIENCE_SECONDS: Final = 60.0
_LOOK_SECONDS: Final = 0.2

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


@owners_app.command()
def delete(
    context: typer.Context,
    owner: Annotated[str, typer.Argument(metavar="NAME", help="As `owners` shows it.", show_default=False)],
    yes: o.Yes = False,
    even_local: Annotated[
        bool, typer.Option("--even-local", help="Even the owner of what is made here without a key.")
    ] = False,
    json: o.Json = False,
) -> None:
    """Delete an owner for good: keys, jobs, pictures, everything but the books."""
    perform(context, _delete)


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
        (
            one.name,
            "leaving" if one.deleting else one.tier,
            str(one.keys),
            str(one.queued),
            str(one.running),
            f"{one.created_at:%Y-%m-%d}",
        )
        for one in found
    ]
    print_rows(("owner", "tier", "keys", "waiting", "running", "since"), rows, {"leaving": "yellow"})


async def _delete(session: Session) -> None:
    """Waits a while for what has to end first; a worker goes on with what is left."""
    from genyard.frontends.cli.hands import worker_at_hand
    from genyard.frontends.cli.jobs import confirm

    owner = session.options["owner"]
    if not session.options["yes"]:
        confirm(session, f"Delete {owner} with everything of theirs, for good?")
    async with session.open() as product:
        removal = product.studio.keeper.removal
        leaving = await removal.begin(owner, even_local=session.options["even_local"])
        done = await removal.go_on(leaving.id)
        if not done:
            async with worker_at_hand(session, product):
                until = time.monotonic() + _PATIENCE_SECONDS
                while not done and time.monotonic() < until:
                    await asyncio.sleep(_LOOK_SECONDS)
                    done = await removal.go_on(leaving.id)
    if session.as_json:
        print_json({**leaving.as_json(), "done": done})
        return
    if done:
        typer.echo(f"{owner} is deleted")
    else:
        typer.echo(
            f"{owner} gets in no more; what still runs is followed to its end, then the rest goes, too"
        )
    _tell_books(leaving.left)


def _tell_books(left: Mapping[str, int]) -> None:
    if left["movements"]:
        written = f", {left['written']} with a reason that somebody wrote" if left["written"] else ""
        typer.echo(
            f"{left['movements']} movements{written} stay in the books, under a number without a name",
            err=True,
        )
    if left["credits"]:
        typer.echo(f"{left['credits']} credits were left and are nobody's now", err=True)


async def _set(session: Session) -> None:
    owner, tier = session.options["owner"], session.options["tier"]
    require_tier(session.settings, tier)
    async with session.open() as product:
        await product.owners.set_tier(owner, tier)
    if session.as_json:
        print_json({"owner": owner, "tier": tier})
    else:
        typer.echo(f"{owner} is in the tier {tier}")
