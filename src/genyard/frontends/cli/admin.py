"""Commands of the person who runs genyard: admin, admin pause, admin resume."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

import genyard.frontends.cli.options as o
from genyard.frontends.cli.exits import print_json
from genyard.frontends.cli.session import Session, perform
from genyard.frontends.cli.table import summary

admin_app = typer.Typer(invoke_without_command=True, help=summary("admin"))

Endpoint = Annotated[str, typer.Argument(metavar="ENDPOINT", help="As `admin` shows it.", show_default=False)]
Row = Mapping[str, Any]


def add_to(app: typer.Typer) -> None:
    app.add_typer(admin_app, name="admin")


@admin_app.callback()
def admin(context: typer.Context, json: o.Json = False) -> None:
    if context.invoked_subcommand is None:
        perform(context, _overview)


@admin_app.command()
def pause(
    context: typer.Context,
    endpoint: Endpoint,
    why: Annotated[str, typer.Option(help="For whoever wonders.")] = "",
    json: o.Json = False,
) -> None:
    """Let nothing new start there; what runs goes on, what is asked for waits."""
    perform(context, _pause)


@admin_app.command()
def resume(context: typer.Context, endpoint: Endpoint, json: o.Json = False) -> None:
    """Let work start there again."""
    perform(context, _resume)


async def _overview(session: Session) -> None:
    from dataclasses import asdict

    async with session.open() as product:
        workers = await product.jobs.workers()
        queues = await product.jobs.queues(list(product.studio.endpoints))
        spending = await product.studio.spending()
    if session.as_json:
        print_json({"workers": workers, "endpoints": queues, "spending": [asdict(one) for one in spending]})
        return
    _print_workers(workers)
    _print_queues(queues, {one.endpoint: f"${one.usd:.2f} of ${one.cap:.2f}" for one in spending})


def _print_workers(workers: Sequence[Row]) -> None:
    from genyard.frontends.cli.screen import print_rows

    if not workers:
        typer.echo("no worker is running: jobs wait until one does (`genyard serve`, `genyard worker`)")
        return
    rows = [
        (
            str(row["id"]),
            row["name"],
            "alive" if row["alive"] else "gone",
            f"{row['silent']:.0f} s ago",
            str(row["running"]),
            f"{row['started_at'].astimezone():%d %b %H:%M}",
        )
        for row in workers
    ]
    print_rows(("worker", "name", "is", "beat", "running", "since"), rows, {"gone": "red"})


def _print_queues(queues: Sequence[Row], spending: Mapping[str, str]) -> None:
    from genyard.frontends.cli.screen import print_rows

    rows = [
        (
            row["endpoint"],
            "paused" if row["paused_at"] else "open",
            f"{row['running']} of {row['capacity']}",
            str(row["waiting"]),
            str(row["owners"]),
            _span(row["oldest"]),
            str(row["suspects"] or ""),
            spending.get(row["endpoint"], ""),
            row["loaded_model"] or "",
        )
        for row in queues
    ]
    names = ("endpoint", "is", "running", "waiting", "owners", "oldest", "suspects", "today", "model")
    print_rows(names, rows, {"paused": "yellow"})


def _span(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


async def _pause(session: Session) -> None:
    name = session.options["endpoint"]
    async with session.open() as product:
        await product.jobs.pause(name, session.options["why"])
    if session.as_json:
        print_json({"endpoint": name, "paused": True})
    else:
        typer.echo(f"{name} is paused: nothing new starts there; `genyard admin resume {name}` goes on")


async def _resume(session: Session) -> None:
    name = session.options["endpoint"]
    async with session.open() as product:
        await product.jobs.resume(name)
    if session.as_json:
        print_json({"endpoint": name, "paused": False})
    else:
        typer.echo(f"{name} is open again")
