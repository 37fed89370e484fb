"""A queue made by hand: owners, waiting stages and what dispatching starts, without a worker and without waiting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from genyard.database import Database


@dataclass(frozen=True, kw_only=True)
class Queue:
    """`now` of the database cannot be moved; so what lies in the past is written with a date in the past."""

    database: Database

    async def owner(self, name: str, tier: str = "standard", number: int | None = None) -> UUID:
        """`number`: owners take turns in the order of their ids."""
        owner_id = uuid4() if number is None else UUID(int=number)
        await self.database.execute(
            "INSERT INTO owners (id, name, tier) VALUES (%(id)s, %(name)s, %(tier)s)",
            id=owner_id,
            name=name,
            tier=tier,
        )
        return owner_id

    async def tier(self, name: str, **rules: Any) -> None:
        given = {"at_once": None, "queue": None, "priority": 0, "max_priority": 100, **rules}
        await self.database.execute(
            "INSERT INTO tiers VALUES (%(name)s, %(at_once)s, %(queue)s, %(priority)s, %(max_priority)s)",
            name=name,
            **given,
        )

    async def endpoint(self, name: str = "gpu", capacity: int = 1, **given: Any) -> None:
        columns = {"name": name, "kind": "preview", "capacity": capacity, **given}
        named = ", ".join(columns)
        values = ", ".join(f"%({one})s" for one in columns)
        await self.database.execute(f"INSERT INTO endpoints ({named}) VALUES ({values})", **columns)

    async def wait(
        self,
        owner_id: UUID,
        count: int = 1,
        *,
        endpoint: str = "gpu",
        model: str | None = None,
        priority: int = 0,
        waited: float = 0.0,
        expires_in: float | None = None,
    ) -> list[UUID]:
        """So many jobs of one stage each, the first the oldest. → the ids of the jobs."""
        rows = await self.database.rows(
            """
            WITH job AS (
                INSERT INTO jobs (id, owner_id, state, request, operation, trace_id, priority, expires_at)
                SELECT gen_random_uuid(), %(owner_id)s, 'queued', '[]', 'txt2img', 't', %(priority)s,
                       now() + %(expires_in)s::float * interval '1 second'
                FROM generate_series(1, %(count)s) RETURNING *
            ), numbered AS (SELECT *, row_number() OVER () AS n FROM job)
            INSERT INTO stages (id, job_id, owner_id, position, state, endpoint, steps, plan, priority, model, ready_at)
            SELECT gen_random_uuid(), id, owner_id, 0, 'ready', %(endpoint)s, '[]', '{}', urgency, %(model)s,
                   clock_timestamp() - %(waited)s * interval '1 second' + n * interval '1 microsecond'
            FROM numbered ORDER BY n RETURNING job_id
            """,
            owner_id=owner_id,
            count=count,
            endpoint=endpoint,
            model=model,
            priority=priority,
            waited=waited,
            expires_in=expires_in,
        )
        return [row["job_id"] for row in rows]

    async def dispatch(self, endpoint: str = "gpu") -> list[dict[str, Any]]:
        """What starts now."""
        before = {row["id"] for row in await self.running()}
        await self.database.row("SELECT genyard_dispatch(%(name)s)", name=endpoint)
        return [row for row in await self.running() if row["id"] not in before]

    async def running(self) -> list[dict[str, Any]]:
        return await self.database.rows(
            "SELECT s.id, s.job_id, s.owner_id, o.name AS owner, s.model, s.endpoint, s.priority "
            "FROM stages s JOIN owners o ON o.id = s.owner_id "
            "JOIN procrastinate_jobs p ON p.args->>'stage_id' = s.id::text WHERE s.state = 'running' ORDER BY p.id"
        )

    async def finish(self, started: Sequence[dict[str, Any]] | None = None) -> None:
        """These stages, or all that run, end well."""
        ids = [row["id"] for row in (await self.running() if started is None else started)]
        await self.database.execute(
            "UPDATE stages SET state = 'succeeded', finished_at = now() WHERE id = ANY(%(ids)s)", ids=ids
        )

    async def serve(self, count: int, endpoint: str = "gpu") -> list[dict[str, Any]]:
        """One after the other: what starts, in order, each ending before the next."""
        served = []
        for _ in range(count):
            started = await self.dispatch(endpoint)
            served += started
            await self.finish(started)
        return served
