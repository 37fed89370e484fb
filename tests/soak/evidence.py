"""What is compared afterwards, gathered at one moment; and the form of what a comparison found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import psycopg
from psycopg.rows import dict_row

from soak.customers import Told
from soak.plan import Order

Json = Any
Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Check:
    """`wrong` is empty where the promise was kept."""

    promise: str
    counted: str
    wrong: Sequence[str] = ()


@dataclass(kw_only=True)
class Evidence:
    """What is compared. `submissions`, `struck`: by place."""

    orders: Mapping[int, Order]
    told: Told
    owners: Mapping[str, UUID]
    blobs: Path
    submissions: Mapping[str, Sequence[Mapping[str, Json]]]
    struck: Mapping[str, Mapping[str, int]]
    jobs: Sequence[Row] = ()
    events: Sequence[Row] = ()
    stages: Sequence[Row] = ()
    attempts: Sequence[Row] = ()
    outputs: Sequence[Row] = ()
    movements: Sequence[Row] = ()
    balances: Sequence[Row] = ()
    deliveries: Sequence[Row] = ()
    objects: Sequence[Row] = ()
    spending: Sequence[Row] = ()
    left: Mapping[str, int] = field(default_factory=dict)

    async def gather(self, url: str) -> None:
        """At one moment."""
        async with await psycopg.AsyncConnection.connect(url, row_factory=dict_row) as connection:
            await connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")

            async def rows(sql: str) -> list[Row]:
                return await (await connection.execute(sql)).fetchall()

            self.jobs = await rows("SELECT * FROM jobs")
            self.events = await rows("SELECT job_id, seq, kind FROM events ORDER BY job_id, seq")
            self.stages = await rows("SELECT id, job_id, position, state, endpoint, reserved_usd FROM stages")
            self.attempts = await rows(
                "SELECT a.*, a.error->>'code' AS code, s.job_id, s.position FROM attempts a "
                "JOIN stages s ON s.id = a.stage_id ORDER BY a.stage_id, a.number"
            )
            self.outputs = await rows(
                "SELECT a.*, b.object, b.bytes FROM assets a JOIN blobs b USING (sha256) WHERE job_id IS NOT NULL"
            )
            self.movements = await rows("SELECT * FROM movements ORDER BY id")
            self.balances = await rows("SELECT * FROM balances")
            self.deliveries = await rows("SELECT * FROM deliveries")
            self.objects = await rows("SELECT object FROM blobs")
            self.spending = await rows("SELECT endpoint, sum(usd) AS usd FROM spending GROUP BY endpoint")
            self.left = {
                name: (await rows(f"SELECT count(*) AS n FROM {what}"))[0]["n"] for name, what in LEFT.items()
            }


#: What must be none once all has ended → where to look for it.
LEFT: Final[Mapping[str, str]] = {
    "reservations of credits": "balances WHERE reserved <> 0",
    "reservations of endpoints' caps and owners' budgets": "stages WHERE reserved_usd IS NOT NULL "
    "AND state IN ('waiting', 'ready', 'running')",
    "runs that go on after a cancel": "attempts WHERE state = 'detached' AND finished_at IS NULL",
    "open attempts": "attempts WHERE state IN ('submitting', 'running')",
    "open stages": "stages WHERE state IN ('waiting', 'ready', 'running')",
    "work in the queue": "procrastinate_jobs",
}
