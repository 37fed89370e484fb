"""The tables of callbacks. Methods that take no connection are transactions of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal, get_args
from uuid import UUID

from genyard.database import Database, load_queries
from genyard.errors import Code, GenyardError
from genyard.jobs.callbacks.signing import new_secret
from genyard.jobs.model import JobState

_SQL = load_queries("genyard.jobs.callbacks")

EventName = Literal[
    "queued", "running", "retrying", "canceling", "succeeded", "failed", "canceled", "expired"
]
#: What happens to a job, and what is told of it unless the job says otherwise.
EVENTS: Final[tuple[str, ...]] = get_args(EventName)
ENDS: Final = tuple(state.value for state in JobState if state.ended)

DeliveryState = Literal["waiting", "sending", "delivered", "dead"]


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """One message, as it can be listed. `status`, `error`: of the last try. `next_at`: of the next one."""

    id: UUID
    job_id: UUID
    kind: str
    host: str
    state: DeliveryState
    tries: int
    status: int | None
    error: str | None
    created_at: datetime
    next_at: datetime | None
    finished_at: datetime | None

    def as_json(self) -> dict[str, Any]:
        return {
            "id": str(self.id),
            "job_id": str(self.job_id),
            "type": f"job.{self.kind}",
            "host": self.host,
            "state": self.state,
            "tries": self.tries,
            "status": self.status,
            "error": self.error,
            "created_at": self.created_at.isoformat(),
            "next_at": self.next_at.isoformat() if self.next_at else None,
            "finished_at": self.finished_at.isoformat() if self.finished_at else None,
        }


@dataclass(frozen=True, kw_only=True)
class Due:
    """A message that a sender has taken. `keys`: the owner's secrets in force, the newest first."""

    id: UUID
    job_id: UUID
    owner_id: UUID
    kind: str
    host: str
    tries: int
    created_at: datetime
    url: str = field(repr=False)
    trace_id: str
    prompts: bool
    keys: tuple[bytes, ...] = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """How many messages are on their way at a time: of one worker, to a host, of an owner."""

    at_once: int = 64
    per_host: int = 8
    per_owner: int = 32


class Deliveries:
    def __init__(self, database: Database) -> None:
        self._database = database
        self.clock = database.clock

    # ---- for senders ----

    async def take_up(self, lease: float) -> None:
        await self._database.execute(_SQL("take_up_deliveries"), lease=lease)

    async def claim(self, worker_id: int, places: int, bounds: Bounds) -> list[Due]:
        rows = await self._database.rows(
            _SQL("claim_deliveries"),
            worker_id=worker_id,
            places=places,
            per_host=bounds.per_host,
            per_owner=bounds.per_owner,
        )
        for row in rows:
            self.clock.learn(row.pop("now"))
        found = [Due(**{**row, "keys": tuple(bytes(key) for key in row["keys"])}) for row in rows]
        return sorted(found, key=lambda due: due.created_at)

    async def finish(
        self,
        due: Due,
        worker_id: int,
        *,
        delivered: bool,
        stop: bool,
        status: int | None,
        error: str | None,
        pause: float,
    ) -> DeliveryState | None:
        """None when it is somebody else's by now, or deleted."""
        row = await self._database.row(
            _SQL("finish_delivery"),
            id=due.id,
            tries=due.tries,
            worker_id=worker_id,
            delivered=delivered,
            stop=stop,
            status=status,
            error=error,
            pause=pause,
        )
        return row["state"] if row else None

    async def stop(self, due: Due, worker_id: int, error: str) -> None:
        """Nothing more is sent for its job. Before `finish`."""
        values = {"job_id": due.job_id, "id": due.id, "tries": due.tries, "worker_id": worker_id}
        async with self._database.transaction() as connection:
            stopped = await (await connection.execute(_SQL("stop_webhook"), values)).fetchone()
            if stopped is not None:
                await connection.execute(_SQL("drop_waiting"), {"job_id": due.job_id, "error": error})

    async def key_of(self, owner_id: UUID) -> bytes:
        """The owner's secret, made now where there is none."""
        made = await self._database.row(
            _SQL("make_secret"), owner_id=owner_id, secret=new_secret(), shown=False
        )
        row = made or await self._database.row(_SQL("current_secret"), owner_id=owner_id)
        assert row is not None
        return bytes(row["secret"])

    # ---- for owners ----

    async def search(
        self,
        owner_id: UUID,
        *,
        limit: int,
        before: UUID | None = None,
        state: str | None = None,
        job_id: UUID | None = None,
    ) -> Sequence[Delivery]:
        rows = await self._database.rows(
            _SQL("list_deliveries"), owner_id=owner_id, limit=limit, before=before, state=state, job_id=job_id
        )
        return [Delivery(**row) for row in rows]

    async def resend(self, delivery_id: UUID, owner_id: UUID) -> Delivery:
        row = await self._database.row(_SQL("resend_delivery"), id=delivery_id, owner_id=owner_id)
        if row is None:
            raise GenyardError(Code.not_found, f"no delivery {delivery_id}", field="delivery_id")
        del row["told"]
        return Delivery(**row)

    async def show_secret(self, owner_id: UUID) -> bytes | None:
        """Made where there is none; None once it has been shown."""
        made = await self._database.row(
            _SQL("make_secret"), owner_id=owner_id, secret=new_secret(), shown=True
        )
        row = made or await self._database.row(_SQL("show_secret"), owner_id=owner_id)
        return bytes(row["secret"]) if row else None

    async def rotate_secret(self, owner_id: UUID, overlap: float) -> bytes:
        """A new one. Messages are signed with the old one, too, for `overlap` seconds."""
        secret = new_secret()
        async with self._database.transaction() as connection:
            await connection.execute(_SQL("retire_secret"), {"owner_id": owner_id, "overlap": overlap})
            values = {"owner_id": owner_id, "secret": secret, "shown": True}
            made = await (await connection.execute(_SQL("make_secret"), values)).fetchone()
        if made is None:
            raise GenyardError(Code.request_conflict, "the secret is being changed elsewhere; try again")
        return secret
