"""Commands of the person who runs genyard: admin, admin pause, admin resume, admin clean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

import genyard.frontends.cli.options as o
from genyard.frontends.cli.exits import ALERTS, print_json, wrong
from genyard.frontends.cli.session import Session, perform
from genyard.frontends.cli.table import summary

if TYPE_CHECKING:
    from genyard.jobs.housekeeping.alerts import Alert
    from genyard.jobs.records import Spending

admin_app = typer.Typer(invoke_without_command=True, help=summary("admin"))

Endpoint = Annotated[str, typer.Argument(metavar="ENDPOINT", help="As `admin` shows it.", show_default=False)]
Row = Mapping[str, Any]


def add_to(app: typer.Typer) -> None:
    app.add_typer(admin_app, name="admin")


@admin_app.callback()
def admin(
    context: typer.Context,
    check: Annotated[
        bool,
        typer.Option("--check", help=f"For monitoring: alerts alone; status {ALERTS} where there are any."),
    ] = False,
    json: o.Json = False,
) -> None:
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


@admin_app.command()
def clean(
    context: typer.Context,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    orphans: Annotated[
        bool, typer.Option("--orphans", help="Objects of the store that no row names, too.")
    ] = False,
    adopt: Annotated[
        bool,
        typer.Option(
            "--adopt", help="With --orphans: the store was another database's, which is not used any more."
        ),
    ] = False,
    json: o.Json = False,
) -> None:
    """Let go now what [retention] in genyard.toml says, and what nobody needs."""
    perform(context, _clean)


async def _overview(session: Session) -> int:
    async with session.open() as product:
        overview = await product.studio.keeper.overseer.look()
    check = session.options["check"]
    if session.as_json:
        print_json({"ok": not overview.alerts, **overview.as_json()})
    elif not check:
        _print_workers(overview.workers)
        _print_queues(overview.endpoints, {one.endpoint: _spent(one) for one in overview.spending})
    if not session.as_json:
        _print_alerts(overview.alerts, check)
    return ALERTS if check and overview.alerts else 0


def _print_alerts(alerts: Sequence[Alert], check: bool) -> None:
    for alert in alerts:
        since = f" (since {alert.since.astimezone():%d %b %H:%M})" if alert.since else ""
        typer.secho(f"{alert.code}: ", nl=False, fg="red")
        typer.echo(f"{alert.message}{since}")
    if check and not alerts:
        typer.echo("ok")


async def _clean(session: Session) -> None:
    dry, with_orphans = session.options["dry_run"], session.options["orphans"]
    if session.options["adopt"] and not with_orphans:
        raise wrong("--adopt is about the store: give --orphans, too", "--adopt")
    async with session.open() as product:
        keeper = product.studio.keeper
        gone: dict[str, Any] = dict(await (keeper.retention.would_go() if dry else keeper.retention.go()))
        if not dry:
            gone["objects"] = await keeper.removal.sweep_objects()
        if with_orphans:
            swept = await (
                keeper.orphans.look() if dry else keeper.orphans.go(adopt=session.options["adopt"])
            )
            gone["orphans"] = swept.as_json()
    if session.as_json:
        print_json({"dry_run": dry, **gone})
        return
    _print_gone(gone, "would go" if dry else "went")


def _print_gone(gone: Mapping[str, Any], how: str) -> None:
    for name, number in gone.items():
        if name == "orphans":
            typer.echo(
                f"orphans: {number['objects']} objects ({_size(number['bytes'])}) and {number['files']} unfinished "
                f"files {how}; {number['missing']} files of assets are missing"
            )
            for one in number["examples"]:
                typer.echo(f"  missing: {one}")
        elif not name.endswith("_bytes"):
            size = gone.get(f"{name.removesuffix('s')}_bytes")
            typer.echo(f"{name}: {number} {how}" + (f", {_size(size)}" if size is not None else ""))


def _size(count: int) -> str:
    return f"{count / 2**20:.1f} MiB" if count >= 2**20 else f"{count / 2**10:.1f} KiB"


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
    for row in queues:
        if row["paused_why"]:
            typer.echo(f"{row['endpoint']} is paused: {row['paused_why']}")


def _spent(one: Spending) -> str:
    from genyard.frontends.cli.prices import money

    today = f"{money(one.usd)} of {money(one.cap)}"
    if one.month_usd is None or one.month_cap is None:
        return today
    return f"{today}, month {money(one.month_usd)} of {money(one.month_cap)}"


def _span(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


async def _pause(session: Session) -> None:
    name = session.options["endpoint"]
    async with session.open() as product:
        await product.studio.pause(name, session.options["why"])
    if session.as_json:
        print_json({"endpoint": name, "paused": True})
    else:
        typer.echo(f"{name} is paused: nothing new starts there; `genyard admin resume {name}` goes on")


async def _resume(session: Session) -> None:
    name = session.options["endpoint"]
    async with session.open() as product:
        await product.studio.resume(name)
    if session.as_json:
        print_json({"endpoint": name, "paused": False})
    else:
        typer.echo(f"{name} is open again")
