"""The books of credits: what owners have, every movement with its reason, and the proof that it all adds up.

Reserving at submit and settling at a job's end are not here: triggers on jobs do both, in the transaction that inserts
or ends the job (0004_credits.sql). What a job costs is `prices`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal
from uuid import UUID, uuid4

import psycopg

from genyard.database import Connection, Database, Row, load_queries
from genyard.errors import Code, GenyardError
from genyard.settings.money import MOST_CREDITS, Budget
from genyard.storable import require_storable

Kind = Literal[
    "reserve", "settle", "release", "refund", "grant", "purchase", "bonus", "opening", "correction"
]
Gift = Literal["grant", "purchase", "bonus", "correction"]

#: Movements that an admin makes → the account on the other side.
_GIVEN_FROM: Final[Mapping[str, str]] = {
    "grant": "grants",
    "purchase": "sales",
    "bonus": "bonuses",
    "opening": "opening",
    "correction": "corrections",
}
_MAX_TEXT: Final = 500
_SQL = load_queries("genyard.ledger")


@dataclass(frozen=True, kw_only=True)
class Balance:
    """`available` can be spent; `reserved` is held by open jobs."""

    available: int = 0
    reserved: int = 0


@dataclass(frozen=True, kw_only=True)
class Movement:
    """`amount` went from account `source` to `target`. `balance`: what was available after it, in statements."""

    id: int
    owner_id: UUID
    kind: Kind
    source: str
    target: str
    amount: int
    job_id: UUID | None
    reason: str
    actor: str
    key: str
    at: datetime
    balance: int | None = None

    @property
    def change(self) -> int:
        """Of what is available."""
        return self.amount * ((self.target == "available") - (self.source == "available"))

    def as_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "kind": self.kind,
            "amount": self.amount,
            "change": self.change,
            "balance": self.balance,
            "job_id": str(self.job_id) if self.job_id else None,
            "reason": self.reason,
            "actor": self.actor,
            "at": self.at.isoformat(),
        }


@dataclass(frozen=True, kw_only=True)
class Moved:
    """`replayed`: the key was known, and this is the movement that was made the first time."""

    movement: Movement
    replayed: bool


@dataclass(frozen=True, kw_only=True)
class Opening:
    """An owner's balance in another system. `key`: the row's own; one key is booked once."""

    owner: str
    credits: int
    key: str
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Report:
    """What `reconcile` found, at one moment. `totals` of all accounts add up to zero in any case."""

    totals: Mapping[str, int]
    counted: Mapping[str, int]
    problems: tuple[Mapping[str, Any], ...]

    @property
    def balanced(self) -> bool:
        return not self.problems and sum(self.totals.values()) == 0

    def as_json(self) -> dict[str, Any]:
        return {
            "balanced": self.balanced,
            "totals": dict(self.totals),
            "counted": dict(self.counted),
            "problems": [dict(one) for one in self.problems],
        }


@dataclass(frozen=True, kw_only=True)
class Standing:
    name: str
    tier: str


class Ledger:
    """Methods raise `credits.insufficient` where an owner's balance would fall below zero."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def standing(self, owner_id: UUID) -> Standing:
        row = await self._database.row(_SQL("standing"), owner_id=owner_id)
        if row is None:
            raise GenyardError(Code.not_found, "this owner is not there any more", field="owner")
        return Standing(**row)

    async def owner_named(self, name: str) -> UUID:
        require_storable(name, "owner")
        row = await self._database.row(_SQL("owner_named"), name=name)
        if row is None:
            raise GenyardError(
                Code.not_found, f"no owner is named {name!r}; `genyard keys create` makes one", field="owner"
            )
        found: UUID = row["id"]
        return found

    async def balance(self, owner_id: UUID) -> Balance:
        row = await self._database.row(_SQL("balance"), owner_id=owner_id)
        return Balance(**row) if row else Balance()

    async def statement(
        self, owner_id: UUID, *, limit: int = 50, before: int | None = None
    ) -> tuple[Movement, ...]:
        """Newest first, before the given movement."""
        rows = await self._database.rows(_SQL("statement"), owner_id=owner_id, limit=limit, before=before)
        return tuple(Movement(**row) for row in rows)

    # ---- what admins do ----

    async def give(
        self,
        owner_id: UUID,
        kind: Gift,
        credits: int,
        *,
        reason: str = "",
        actor: str,
        key: str | None = None,
    ) -> Moved:
        """A grant, a purchase, a bonus, or a correction (which may be negative). Under one `key` it is made once."""
        least = -MOST_CREDITS if kind == "correction" else 1
        if isinstance(credits, bool) or not isinstance(credits, int) or not least <= credits <= MOST_CREDITS:
            raise _wrong(f"a {kind} is a whole number from {least} to {MOST_CREDITS}", "credits")
        if credits == 0:
            raise _wrong("a correction of nothing corrects nothing", "credits")
        if kind == "correction" and not reason.strip():
            raise _wrong("a correction has a reason: it stays in the books", "reason")
        async with self._database.transaction() as connection:
            return await _move(connection, _values(owner_id, kind, credits, reason, actor, key))

    async def refund(
        self,
        job_id: UUID,
        credits: int | None = None,
        *,
        reason: str = "",
        actor: str,
        key: str | None = None,
    ) -> Moved:
        """Gives back what a job was charged, or a part of it. `request.conflict` for more than is left of it."""
        if credits is not None and (
            isinstance(credits, bool) or not isinstance(credits, int) or not 1 <= credits <= MOST_CREDITS
        ):
            raise _wrong("a refund is a whole number from 1; leave it out to give back everything", "credits")
        values = {
            "job_id": job_id,
            "amount": credits,
            "reason": _text(reason, "reason"),
            "actor": actor,
            "key": _key("refund", key),
        }
        try:
            async with self._database.transaction() as connection:
                row = await _row(connection, "refund", values)
                known = None if row else await _row(connection, "by_key", {"key": values["key"]})
        except psycopg.Error as refused:
            raise _not_refundable(job_id, refused) from None
        if row is not None:
            return Moved(movement=Movement(**row), replayed=False)
        assert known is not None
        found = Movement(**known)
        if found.job_id != job_id or credits not in (None, found.amount):
            raise _other(found)
        return Moved(movement=found, replayed=True)

    async def open(self, rows: Sequence[Opening], *, actor: str) -> list[Moved | None]:
        """Opening balances, all of them or none; owners that are not there yet are made. Rows that were booked before
        are told as replayed; None for a balance of zero, which needs no movement."""
        made: dict[int, Moved | None] = {}
        async with self._database.transaction() as connection:
            for number, one in sorted(enumerate(rows), key=lambda each: each[1].owner):
                owner = await _row(connection, "ensure_owner", {"id": uuid4(), "name": one.owner})
                if owner is None:
                    raise GenyardError(Code.request_conflict, f"{one.owner} is being deleted", field="owner")
                values = _values(owner["id"], "opening", one.credits, one.reason, actor, one.key)
                made[number] = await _move(connection, values) if one.credits else None
        return [made[number] for number in range(len(rows))]

    async def set_budget(self, owner_id: UUID, budget: Budget) -> None:
        """The owner's own, in place of what the settings say; None: as they say."""
        values = {"daily_usd": budget.daily_usd, "monthly_usd": budget.monthly_usd}
        if await self._database.row(_SQL("set_budget"), owner_id=owner_id, **values) is None:
            raise GenyardError(Code.not_found, "no such owner", field="owner")

    async def budget(self, owner_id: UUID) -> Mapping[str, Any]:
        """tier, daily_usd and monthly_usd (the owner's own, if any), spent_today and spent_this_month."""
        row = await self._database.row(_SQL("budget"), owner_id=owner_id)
        if row is None:
            raise GenyardError(Code.not_found, "no such owner", field="owner")
        return row

    # ---- the proof ----

    async def reconcile(self) -> Report:
        """Whether balances are what the movements say, and jobs and movements fit each other. Changes nothing."""
        async with self._database.transaction() as connection:
            await connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            totals = await (await connection.execute(_SQL("totals"))).fetchall()
            counted = await _row(connection, "counted", {})
            balances = await (await connection.execute(_SQL("wrong_balances"))).fetchall()
            jobs = await (await connection.execute(_SQL("wrong_jobs"))).fetchall()
        problems = [{"problem": "balance that is not the sum of its movements", **row} for row in balances]
        return Report(
            totals={row["account"]: row["amount"] for row in totals},
            counted=counted or {},
            problems=(*problems, *jobs),
        )


def refusal(error: psycopg.Error) -> GenyardError | None:
    """What the books or a budget say against a request, in words; None for what is none of theirs."""
    told = json.loads(error.diag.message_detail or "{}") if error.sqlstate in ("GY002", "GY004") else {}
    if error.sqlstate == "GY002":
        return GenyardError(
            Code.credits_insufficient,
            f"this takes {told['price']} credits and {told['balance']} are there: {told['missing']} are missing",
            field="credits",
            context={name: told[name] for name in ("price", "balance", "missing")},
        )
    if error.sqlstate == "GY004":
        return GenyardError(
            Code.limit_exceeded,
            f"the {told['period']} budget of ${told['budget']:.2f} is used up: ${told['spent']:.2f} are spent or held, "
            f"and this would take ${told['amount']:.4f} more; it starts anew at {told['until'].partition('.')[0]} UTC",
            field=f"budgets.{told['period']}_usd",
            context=told,
        )
    return None


async def _move(connection: Connection, values: Mapping[str, Any]) -> Moved:
    try:
        row = await _row(connection, "move", values)
    except psycopg.Error as refused:
        raise refusal(refused) or refused from None
    if row is not None:
        return Moved(movement=Movement(**row), replayed=False)
    known = await _row(connection, "by_key", {"key": values["key"]})
    assert known is not None
    found = Movement(**known)
    if any(known[name] != values[name] for name in ("owner_id", "source", "target", "amount")):
        raise _other(found)
    return Moved(movement=found, replayed=True)


def _values(
    owner_id: UUID, kind: str, credits: int, reason: str, actor: str, key: str | None
) -> dict[str, Any]:
    accounts = (_GIVEN_FROM[kind], "available")
    source, target = accounts if credits > 0 else accounts[::-1]
    return {
        "owner_id": owner_id,
        "kind": kind,
        "source": source,
        "target": target,
        "amount": abs(credits),
        "reason": _text(reason, "reason"),
        "actor": actor,
        "key": _key(kind, key),
    }


def _key(kind: str, key: str | None) -> str:
    """Keys of different kinds never meet."""
    return f"{kind}:{_text(key, 'Idempotency-Key') if key else uuid4()}"


def _text(text: str, field: str) -> str:
    require_storable(text, field)
    if len(text) > _MAX_TEXT:
        raise _wrong(f"{field} has at most {_MAX_TEXT} characters", field)
    return text


async def _row(connection: Connection, query: str, values: Mapping[str, Any]) -> Row | None:
    return await (await connection.execute(_SQL(query), values)).fetchone()


def _wrong(message: str, field: str) -> GenyardError:
    return GenyardError(Code.request_invalid, message, field=field)


def _other(found: Movement) -> GenyardError:
    return GenyardError(
        Code.request_conflict,
        f"under this key another movement was made ({found.kind} of {found.amount}, number {found.id}); take a new key",
        field="Idempotency-Key",
        context={"movement": found.id},
    )


def _not_refundable(job_id: UUID, refused: psycopg.Error) -> Exception:
    if refused.sqlstate != "GY003":
        return refused
    told = json.loads(refused.diag.message_detail or "{}")
    charged, refunded = told["charged"], told["refunded"]
    why = (
        f"cannot be refunded so much: it was charged {charged}, of which {refunded} are refunded"
        if charged
        else "was charged nothing"
    )
    return GenyardError(
        Code.request_conflict,
        f"job {job_id} {why}",
        field="credits",
        context={"charged": charged, "refunded": refunded},
    )
