"""Commands on callbacks: webhooks list, webhooks resend, webhooks secret."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

import typer

import genyard.frontends.cli.options as o
from genyard.frontends.cli.composition import Product
from genyard.frontends.cli.exits import print_json, wrong
from genyard.frontends.cli.session import Session, find_job, perform, short
from genyard.frontends.cli.table import summary

webhooks_app = typer.Typer(help=summary("webhooks"))

Owner = Annotated[str | None, typer.Option(metavar="NAME", help="Whose. [default: this machine's own]")]

_STYLE = {"delivered": "green", "dead": "red"}


def add_to(app: typer.Typer) -> None:
    app.add_typer(webhooks_app, name="webhooks")


@webhooks_app.command(name="list")
def list_(
    context: typer.Context,
    state: Annotated[str | None, typer.Option(help="waiting, sending, delivered or dead.")] = None,
    job: Annotated[str | None, typer.Option(metavar="ID", help="Of this job.")] = None,
    owner: Owner = None,
    limit: o.Limit = 20,
    json: o.Json = False,
) -> None:
    """What was told to receivers, newest first."""
    perform(context, _list)


@webhooks_app.command()
def resend(
    context: typer.Context,
    delivery_id: Annotated[
        str, typer.Argument(metavar="ID", help="As `webhooks list --json` shows it.", show_default=False)
    ],
    owner: Owner = None,
    json: o.Json = False,
) -> None:
    """Send a message again, under the same id; a worker does it at once."""
    perform(context, _resend)


@webhooks_app.command()
def secret(
    context: typer.Context,
    rotate: Annotated[bool, typer.Option("--rotate", help="Take a new one.")] = False,
    overlap: Annotated[
        float, typer.Option(min=0, metavar="HOURS", help="Messages are signed with the old one, too.")
    ] = 24.0,
    owner: Owner = None,
    json: o.Json = False,
) -> None:
    """By which receivers know that it is us. It is shown once."""
    perform(context, _secret)


async def _list(session: Session) -> None:
    options = session.options
    wanted: dict[str, Any] = {"state": options["state"], "limit": options["limit"]}
    async with session.open() as product:
        whose = await _whose(session, product)
        if options["job"]:
            wanted["job_id"] = (await find_job(product, options["job"], **whose)).id
        found = await product.studio.webhooks.deliveries(**wanted | whose)
    if session.as_json:
        print_json({"deliveries": [one.as_json() for one in found]})
        return
    if not found:
        typer.echo("nothing was told to anybody; `--webhook URL` on a job asks for it", err=True)
        return
    from genyard.frontends.cli.screen import print_rows

    rows = [
        (
            str(one.id),
            one.state,
            f"job.{one.kind}",
            short(one.job_id),
            one.host,
            str(one.tries),
            one.error or "",
        )
        for one in found
    ]
    print_rows(("id", "state", "type", "job", "host", "tries", "error"), rows, _STYLE)


async def _resend(session: Session) -> None:
    try:
        wanted = UUID(session.options["delivery_id"])
    except ValueError:
        raise wrong(f"{session.options['delivery_id']!r} is no id of a delivery", "ID") from None
    async with session.open() as product:
        again = await product.studio.webhooks.resend(wanted, **await _whose(session, product))
    if session.as_json:
        print_json(again.as_json())
    else:
        typer.echo(f"{again.id} is {again.state}")


async def _secret(session: Session) -> None:
    async with session.open() as product:
        whose = await _whose(session, product)
        webhooks = product.studio.webhooks
        if session.options["rotate"]:
            told = await webhooks.rotate_secret(overlap=session.options["overlap"] * 3600, **whose)
        else:
            told = await webhooks.secret(**whose)
    if session.as_json:
        print_json({"secret": told})
        return
    typer.echo(told)
    typer.echo("keep it: it is not shown again. Receivers verify messages with it", err=True)


async def _whose(session: Session, product: Product) -> dict[str, UUID]:
    name = session.options["owner"]
    return {} if name is None else {"owner_id": await product.studio.ledger.owner_named(name)}
