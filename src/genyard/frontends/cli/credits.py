"""Commands on credits: what owners have and what admins book for them, budgets, the proof of the books."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final
from uuid import UUID

import typer

import genyard.frontends.cli.options as o
from genyard.frontends.cli.exits import print_json, wrong
from genyard.frontends.cli.session import Session, perform
from genyard.frontends.cli.table import summary

if TYPE_CHECKING:
    from genyard.frontends.cli.composition import Product
    from genyard.ledger import Gift, Moved

credits_app = typer.Typer(help=summary("credits"))

_ACTOR: Final = "cli"
#: The books do not balance: nothing failed, but somebody has to look.
_UNBALANCED: Final = 1

Owner = Annotated[str, typer.Argument(metavar="OWNER", help="As `owners` shows it.", show_default=False)]
Amount = Annotated[int, typer.Argument(metavar="CREDITS", help="Whole credits.", show_default=False)]
Reason = Annotated[str, typer.Option(help="Stays in the books.")]
Key = Annotated[
    str | None, typer.Option(help="What is done twice under one key is done once.", show_default=False)
]
Dollars = Annotated[
    str | None, typer.Option(metavar="USD", help="`none`: as genyard.toml says.", show_default=False)
]


def add_to(app: typer.Typer) -> None:
    app.add_typer(credits_app, name="credits")


@credits_app.command()
def balance(context: typer.Context, owner: Owner, json: o.Json = False) -> None:
    """What an owner has."""
    perform(context, _balance)


@credits_app.command()
def statement(
    context: typer.Context,
    owner: Owner,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many movements.")] = 50,
    json: o.Json = False,
) -> None:
    """Every movement on an owner's account, the newest first."""
    perform(context, _statement)


def _add_gift(kind: Gift, summary: str) -> None:
    def gift(
        context: typer.Context,
        owner: Owner,
        amount: Amount,
        reason: Reason = "",
        key: Key = None,
        json: o.Json = False,
    ) -> None:
        perform(context, lambda session: _give(session, kind, session.options["amount"]))

    credits_app.command(name=kind, help=summary)(gift)


_add_gift("grant", "Give credits for nothing.")
_add_gift("purchase", "Credits that were paid for; take the bill's number as --key.")
_add_gift("bonus", "Give credits for something: a referral, a voucher.")


@credits_app.command()
def correct(
    context: typer.Context,
    owner: Owner,
    by: Annotated[int, typer.Option("--by", help="May be negative.", show_default=False)],
    reason: Annotated[str, typer.Option(help="Stays in the books.", show_default=False)],
    key: Key = None,
    json: o.Json = False,
) -> None:
    """Put right what was booked wrong: movements are never changed."""
    perform(context, lambda session: _give(session, "correction", session.options["by"]))


@credits_app.command()
def refund(
    context: typer.Context,
    job: Annotated[UUID, typer.Argument(metavar="JOB", help="Its whole id.", show_default=False)],
    credits: Annotated[
        int | None, typer.Option(help="A part; left out: all that it was charged.", show_default=False)
    ] = None,
    reason: Reason = "",
    key: Key = None,
    json: o.Json = False,
) -> None:
    """Give back what a job was charged, never more."""
    perform(context, _refund)


@credits_app.command(name="import")
def import_(
    context: typer.Context,
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="CSV or JSON lines: owner, credits[, key, reason].", show_default=False
        ),
    ],
    json: o.Json = False,
) -> None:
    """Opening balances from another system, all of them or none; those that are in already are left alone."""
    perform(context, _import)


@credits_app.command()
def budget(
    context: typer.Context, owner: Owner, daily: Dollars = None, monthly: Dollars = None, json: o.Json = False
) -> None:
    """What an owner may spend at paid places, in US dollars; with an option, change it."""
    perform(context, _budget)


@credits_app.command()
def reconcile(context: typer.Context, json: o.Json = False) -> None:
    """Prove that the books balance and fit the jobs; status 1 where they do not. Changes nothing."""
    perform(context, _reconcile)


async def _balance(session: Session) -> None:
    async with session.open() as product:
        owner_id = await product.studio.ledger.owner_named(session.options["owner"])
        told = await product.studio.balance(owner_id=owner_id)
    if session.as_json:
        print_json(
            {"owner": session.options["owner"], "available": told.available, "reserved": told.reserved}
        )
    else:
        typer.echo(f"{told.available} available, {told.reserved} held by open jobs")


async def _statement(session: Session) -> None:
    async with session.open() as product:
        owner_id = await product.studio.ledger.owner_named(session.options["owner"])
        told = await product.studio.statement(owner_id=owner_id, limit=session.options["limit"])
    if session.as_json:
        print_json({"owner": session.options["owner"], "movements": [one.as_json() for one in told]})
        return
    from genyard.frontends.cli.screen import print_rows

    rows = [
        (
            f"{one.at.astimezone():%Y-%m-%d %H:%M}",
            one.kind,
            str(one.amount),
            f"{one.change:+d}" if one.change else "",
            str(one.balance),
            str(one.job_id or ""),
            one.reason,
            one.actor,
        )
        for one in told
    ]
    print_rows(("when", "what", "credits", "change", "balance", "job", "reason", "by"), rows, {})


async def _give(session: Session, kind: Gift, credits: int) -> None:
    options = session.options
    async with session.open() as product:
        ledger = product.studio.ledger
        moved = await ledger.give(
            await ledger.owner_named(options["owner"]),
            kind,
            credits,
            reason=options["reason"],
            actor=_ACTOR,
            key=options["key"],
        )
        await _print_moved(session, product, moved)


async def _refund(session: Session) -> None:
    options = session.options
    async with session.open() as product:
        moved = await product.studio.ledger.refund(
            options["job"],
            options["credits"],
            reason=options["reason"],
            actor=_ACTOR,
            key=options["key"],
        )
        await _print_moved(session, product, moved)


async def _print_moved(session: Session, product: Product, moved: Moved) -> None:
    has = await product.studio.balance(owner_id=moved.movement.owner_id)
    if session.as_json:
        told: dict[str, Any] = {"available": has.available, "reserved": has.reserved}
        print_json({"movement": moved.movement.as_json(), "replayed": moved.replayed, **told})
        return
    again = " (booked before under this key)" if moved.replayed else ""
    typer.echo(f"{moved.movement.kind} of {moved.movement.amount}{again}; {has.available} available")


async def _import(session: Session) -> None:
    from genyard.ledger.opening import parse_openings

    path = session.options["file"]
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as unreadable:
        raise wrong(f"{path}: {unreadable}", "FILE") from unreadable
    rows = parse_openings(text)
    async with session.open() as product:
        moved = await product.studio.ledger.open(rows, actor=_ACTOR)
    told = {
        "rows": len(rows),
        "booked": sum(one is not None and not one.replayed for one in moved),
        "known": sum(one is not None and one.replayed for one in moved),
        "empty": sum(one is None for one in moved),
        "credits": sum(one.movement.amount for one in moved if one is not None and not one.replayed),
    }
    if session.as_json:
        print_json(told)
    else:
        typer.echo(
            f"{told['booked']} of {told['rows']} balances booked, {told['credits']} credits; "
            f"{told['known']} were in already, {told['empty']} are zero"
        )


async def _budget(session: Session) -> None:
    from genyard.frontends.cli.prices import money
    from genyard.settings import Budget

    owner, options = session.options["owner"], session.options
    async with session.open() as product:
        studio = product.studio
        owner_id = await studio.ledger.owner_named(owner)
        told = await studio.budget(owner_id=owner_id)
        if options["daily"] is not None or options["monthly"] is not None:
            own = {name: one["budget_usd"] if one["own"] else None for name, one in told["periods"].items()}
            new = Budget(
                daily_usd=_dollars(options["daily"], "--daily", own["day"]),
                monthly_usd=_dollars(options["monthly"], "--monthly", own["month"]),
            )
            await studio.ledger.set_budget(owner_id, new)
            told = await studio.budget(owner_id=owner_id)
    if session.as_json:
        print_json({"owner": owner, "tier": told["tier"], **told["periods"]})
        return
    for period, one in told["periods"].items():
        most = "no budget" if one["budget_usd"] is None else f"of {money(one['budget_usd'])}"
        typer.echo(f"this {period}: {money(one['spent_usd'])} spent or held, {most}")


def _dollars(given: str | None, option: str, before: float | None) -> float | None:
    if given is None or given == "none":
        return before if given is None else None
    try:
        usd = float(given)
    except ValueError:
        usd = -1.0
    if not 0 <= usd < 10_000_000:
        raise wrong("this is a number of US dollars from 0, or `none`", option)
    return usd


async def _reconcile(session: Session) -> int:
    async with session.open() as product:
        report = await product.studio.ledger.reconcile()
    if session.as_json:
        print_json(report.as_json())
        return 0 if report.balanced else _UNBALANCED
    for account, amount in report.totals.items():
        typer.echo(f"{account:>12} {amount:>14}")
    for one in report.problems:
        facts = ", ".join(f"{name} {value}" for name, value in one.items() if name != "problem")
        typer.echo(f"{one['problem']}: {facts}")
    counted = ", ".join(f"{number} {name}" for name, number in report.counted.items())
    typer.echo(f"{'the books balance' if report.balanced else 'THE BOOKS DO NOT BALANCE'} ({counted})")
    return 0 if report.balanced else _UNBALANCED
