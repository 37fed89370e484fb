"""Routes of money: one's own balance and statement; for admins, movements and budgets of others and the proof of the
books."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal
from uuid import UUID

from fastapi import APIRouter, Header, Query, Response
from pydantic import BaseModel, Field

from genyard.frontends.http.bodies import Body
from genyard.frontends.http.caller import KEYS, Caller, Text, WithAdmin, WithCaller
from genyard.frontends.http.jobs import REPLAYED
from genyard.frontends.http.views import answers
from genyard.ledger import Moved, Movement
from genyard.settings.money import MOST_CREDITS, Budget, Dollars

router = APIRouter(prefix="/v1", tags=["credits"], dependencies=KEYS)

Limit = Annotated[int, Query(ge=1, le=500)]
Before = Annotated[int | None, Query(ge=1, lt=2**63, description="`next` of the page before.")]
Key = Annotated[
    str | None,
    Header(
        pattern="^[!-~]{1,255}$",
        description="The same key and body make one movement; another body is 409.",
    ),
]
Whose = Annotated[Text, Query(min_length=1, max_length=200, description="As `genyard owners` shows it.")]
OwnerName = Annotated[str, Field(min_length=1, max_length=200, description="As `genyard owners` shows it.")]
Reason = Annotated[str, Field(max_length=500, description="Stays in the books; the owner sees it.")]


class MovementView(BaseModel):
    """`amount` moved, in whole credits; `change` is what that did to what is available."""

    id: int
    kind: str
    amount: int
    change: int
    balance: Annotated[
        int | None, Field(description="What was available after it; told in statements, else null.")
    ]
    job_id: UUID | None
    reason: str
    actor: Annotated[str | None, Field(description="Who made it; told to admins only.")]
    at: str


class StatementView(BaseModel):
    """Whole credits. `enabled`: whether jobs are to be paid for. `next`: the `before` of the next page."""

    enabled: bool
    available: int
    reserved: Annotated[int, Field(description="Held by jobs that have not ended.")]
    movements: list[MovementView]
    next: int | None


class BookedView(BaseModel):
    """A movement, and what its owner has now."""

    movement: MovementView
    available: int
    reserved: int


#: What a made movement answers: the one made the first time, where the key is known.
MADE: Final[dict[int | str, dict[str, Any]]] = {
    201: {"description": "Booked."},
    200: {
        "model": BookedView,
        "description": "Booked earlier under this Idempotency-Key.",
        "headers": REPLAYED,
    },
}


class ReportView(BaseModel):
    """Of all accounts at one moment. `balanced`: there is no problem, and `totals` add up to zero."""

    balanced: bool
    totals: dict[str, int]
    counted: dict[str, int]
    problems: list[dict[str, Any]]


class MovementBody(Body):
    """What an admin books for an owner."""

    owner: OwnerName
    kind: Literal["grant", "purchase", "bonus", "correction"]
    credits: Annotated[
        int, Field(ge=-MOST_CREDITS, le=MOST_CREDITS, description="A correction may be negative.")
    ]
    reason: Reason = ""


class PeriodView(BaseModel):
    """US dollars. `own`: said of this owner alone, not by the settings."""

    budget_usd: Annotated[float | None, Field(description="Null: no limit but the endpoints' own.")]
    own: bool
    spent_usd: Annotated[float, Field(description="Spent, or held by jobs that have not ended.")]


class BudgetView(BaseModel):
    """What an owner may spend at paid places, by UTC days and months."""

    owner: str
    tier: str
    day: PeriodView
    month: PeriodView


class BudgetBody(Body):
    """The owner's own budgets in US dollars; null: as the settings say."""

    owner: OwnerName
    daily_usd: Dollars | None = None
    monthly_usd: Dollars | None = None


class RefundBody(Body):
    job_id: Annotated[UUID, Field(strict=False)]
    credits: Annotated[
        int | None, Field(ge=1, le=MOST_CREDITS, description="Null: all that the job was charged.")
    ] = None
    reason: Reason = ""


@router.get("/credits", operation_id="get_credits", responses=answers())
async def get_credits(caller: WithCaller, limit: Limit = 50, before: Before = None) -> StatementView:
    """What you have, and how it came about, the newest first."""
    return await _statement(caller, caller.owner_id, limit, before)


@router.get("/admin/credits", operation_id="get_owner_credits", responses=answers(404))
async def get_owner_credits(
    admin: WithAdmin,
    owner: Whose,
    limit: Limit = 50,
    before: Before = None,
) -> StatementView:
    """An owner's balance and statement."""
    return await _statement(admin, await admin.studio.ledger.owner_named(owner), limit, before, actors=True)


@router.post(
    "/admin/credits",
    operation_id="book_credits",
    status_code=201,
    responses=answers(402, 404, 409) | MADE,
)
async def book_credits(
    body: MovementBody, admin: WithAdmin, response: Response, idempotency_key: Key = None
) -> BookedView:
    """Grant, sell, give as a bonus, or correct what an owner has."""
    ledger = admin.studio.ledger
    moved = await ledger.give(
        await ledger.owner_named(body.owner),
        body.kind,
        body.credits,
        reason=body.reason,
        actor=admin.actor,
        key=idempotency_key,
    )
    return await _booked(admin, moved, response)


@router.post(
    "/admin/credits/refunds",
    operation_id="refund_job",
    status_code=201,
    responses=answers(409) | MADE,
)
async def refund_job(
    body: RefundBody, admin: WithAdmin, response: Response, idempotency_key: Key = None
) -> BookedView:
    """Give back what a job was charged, or a part of it; never more."""
    moved = await admin.studio.ledger.refund(
        body.job_id, body.credits, reason=body.reason, actor=admin.actor, key=idempotency_key
    )
    return await _booked(admin, moved, response)


@router.get("/admin/budgets", operation_id="get_owner_budget", responses=answers(404))
async def get_owner_budget(owner: Whose, admin: WithAdmin) -> BudgetView:
    """What an owner may spend at paid places, and has spent."""
    return await _budget(admin, owner, await admin.studio.ledger.owner_named(owner))


@router.put("/admin/budgets", operation_id="set_owner_budget", responses=answers(404))
async def set_owner_budget(body: BudgetBody, admin: WithAdmin) -> BudgetView:
    """Give an owner budgets of its own, or take them away."""
    owner_id = await admin.studio.ledger.owner_named(body.owner)
    new = Budget(daily_usd=body.daily_usd, monthly_usd=body.monthly_usd)
    await admin.studio.ledger.set_budget(owner_id, new)
    return await _budget(admin, body.owner, owner_id)


@router.get("/admin/credits/reconciliation", operation_id="reconcile_credits", responses=answers())
async def reconcile_credits(admin: WithAdmin) -> ReportView:
    """Whether the books balance, and fit the jobs."""
    return ReportView.model_validate((await admin.studio.ledger.reconcile()).as_json())


async def _budget(admin: Caller, owner: str, owner_id: UUID) -> BudgetView:
    told = await admin.studio.budget(owner_id=owner_id)
    return BudgetView.model_validate({"owner": owner, "tier": told["tier"], **told["periods"]})


async def _statement(
    caller: Caller, owner_id: UUID, limit: int, before: int | None, *, actors: bool = False
) -> StatementView:
    balance = await caller.studio.balance(owner_id=owner_id)
    found: Sequence[Movement] = await caller.studio.statement(
        owner_id=owner_id, limit=limit + 1, before=before
    )
    shown = found[:limit]
    return StatementView(
        enabled=caller.studio.credits_enabled,
        available=balance.available,
        reserved=balance.reserved,
        movements=[_movement(one, actors=actors) for one in shown],
        next=shown[-1].id if len(found) > limit else None,
    )


async def _booked(admin: Caller, moved: Moved, response: Response) -> BookedView:
    if moved.replayed:
        response.status_code = 200
        response.headers["Idempotent-Replayed"] = "true"
    balance = await admin.studio.balance(owner_id=moved.movement.owner_id)
    return BookedView(
        movement=_movement(moved.movement, actors=True),
        available=balance.available,
        reserved=balance.reserved,
    )


def _movement(one: Movement, *, actors: bool) -> MovementView:
    told = one.as_json()
    return MovementView.model_validate(told if actors else {**told, "actor": None})
