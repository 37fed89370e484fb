"""Routes of the person who runs genyard: what goes on, pauses of endpoints, owners. For keys of admins alone."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field

from genyard.frontends.http.bodies import Body
from genyard.frontends.http.caller import KEYS, Text, WithAdmin
from genyard.frontends.http.views import answers

router = APIRouter(prefix="/v1/admin", tags=["admin"], dependencies=KEYS)

EndpointName = Annotated[Text, Path(min_length=1, max_length=200, description="As the status shows it.")]
OwnerName = Annotated[Text, Path(min_length=1, max_length=200, description="As `genyard owners` shows it.")]


class WorkerView(BaseModel):
    """`silent`: seconds since it last said that it lives. `running`: how many submissions it follows."""

    id: int
    name: str
    started_at: datetime
    silent: float
    alive: bool
    running: int


class QueueView(BaseModel):
    """`running` and `capacity` are submissions; `waiting` those that wait for their turn, of so many `owners`, the
    `oldest` for so many seconds. `suspects`: those during which a worker died. `loaded_model`: of the last start."""

    endpoint: str
    kind: str
    capacity: int
    paused_at: datetime | None
    paused_why: str
    starts_per_minute: int | None
    loaded_model: str | None
    waiting: int
    owners: int
    oldest: float | None
    running: int
    suspects: int


class SpendingView(BaseModel):
    """US dollars of today (UTC), and the cap; of this month where it has a cap of its own, else null."""

    endpoint: str
    usd: float
    cap: float
    month_usd: float | None
    month_cap: float | None


class CallbacksView(BaseModel):
    """`dead`: of the last day. `oldest`: seconds."""

    waiting: int
    dead: int
    oldest: float | None


class DiskView(BaseModel):
    """Where the data lies: bytes."""

    folder: str
    free: int
    total: int


class AlertView(BaseModel):
    """`code` stays the same, `subject` is the endpoint, worker or job that it is about. `since`: when a worker first
    saw it; null: nobody has yet."""

    code: str
    subject: str
    message: str
    facts: dict[str, Any]
    since: datetime | None


class StatusView(BaseModel):
    """`ok`: there is no alert. `leaving`: how many owners are being deleted."""

    ok: bool
    alerts: list[AlertView]
    workers: list[WorkerView]
    endpoints: list[QueueView]
    spending: list[SpendingView]
    callbacks: CallbacksView
    disk: DiskView | None
    leaving: int


class PauseBody(Body):
    why: Annotated[str, Field(max_length=500, description="For whoever wonders.")] = ""


class PausedView(BaseModel):
    """What the endpoint is now."""

    endpoint: str
    paused: bool


class LeftView(BaseModel):
    """What is there still, and what stays: movements in the books, and how many have a reason that people wrote.
    `credits`: whole ones that nobody can spend any more."""

    jobs: int
    open: Annotated[int, Field(description="Jobs that have not ended; they are being canceled.")]
    followed: Annotated[int, Field(description="Runs at places that cannot stop them.")]
    assets: int
    movements: int
    written: int
    credits: int


class LeavingView(BaseModel):
    """An owner that is being deleted. `since`: when that began."""

    id: UUID
    name: str
    since: datetime
    left: LeftView


@router.get("/status", operation_id="get_status", responses=answers())
async def get_status(admin: WithAdmin) -> StatusView:
    """Workers, queues, oldest waits, spending, callbacks, disk, and what is wrong with them."""
    overview = await admin.studio.keeper.overseer.look()
    return StatusView.model_validate({**overview.as_json(), "ok": not overview.alerts})


@router.post("/endpoints/{name}/pause", operation_id="pause_endpoint", responses=answers(404))
async def pause_endpoint(name: EndpointName, admin: WithAdmin, body: PauseBody | None = None) -> PausedView:
    """Let nothing new start there; what runs goes on, what is asked for waits."""
    await admin.studio.pause(name, body.why if body else "")
    return PausedView(endpoint=name, paused=True)


@router.post("/endpoints/{name}/resume", operation_id="resume_endpoint", responses=answers(404))
async def resume_endpoint(name: EndpointName, admin: WithAdmin) -> PausedView:
    """Let work start there again."""
    await admin.studio.resume(name)
    return PausedView(endpoint=name, paused=False)


@router.delete(
    "/owners/{name:path}", operation_id="delete_owner", status_code=202, responses=answers(404, 409)
)
async def delete_owner(
    name: OwnerName,
    admin: WithAdmin,
    even_local: Annotated[bool, Query(description="Even the owner of what is made without a key.")] = False,
) -> LeavingView:
    """Delete an owner with everything of theirs, the books excepted. Its keys end at once; a worker does the rest, and
    asking again says what is left. 404 once that is done."""
    leaving = await admin.studio.keeper.removal.begin(name, even_local=even_local)
    return LeavingView.model_validate(leaving.as_json())
