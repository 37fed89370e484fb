"""What is kept of endpoints: their limits and what may be spent there, pauses, queues, and what their servers told."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from psycopg.types.json import Jsonb
from pydantic import TypeAdapter

from genyard.database import Database, Row, load_queries
from genyard.errors import Code, GenyardError
from genyard.jobs.records import Spending
from genyard.providers import Facts

_SQL = load_queries("genyard.jobs")
_FACTS = TypeAdapter(Facts)


class Endpoints:
    """The tables of endpoints and of the queue's rules."""

    def __init__(self, database: Database, fill: Callable[[str], Awaitable[None]]) -> None:
        """`fill`: free places of an endpoint are filled."""
        self._database = database
        self._fill = fill

    async def save(
        self,
        name: str,
        kind: str,
        capacity: int,
        daily_cap_usd: float | None = None,
        *,
        monthly_cap_usd: float | None = None,
        starts_per_minute: int | None = None,
        affinity: tuple[float, int] = (0.0, 0),
    ) -> None:
        """`daily_cap_usd` None: runs cost nothing there. `affinity`: for how many seconds, and starts, the model that
        is loaded may come before somebody's turn."""
        await self._database.execute(
            _SQL("save_endpoint"),
            name=name,
            kind=kind,
            capacity=capacity,
            daily_cap_usd=daily_cap_usd,
            monthly_cap_usd=monthly_cap_usd,
            starts_per_minute=starts_per_minute,
            affinity_seconds=affinity[0],
            affinity_starts=affinity[1],
        )

    async def save_rules(
        self, tiers: Sequence[Mapping[str, Any]], *, queue: int | None, patience: int
    ) -> None:
        """Tiers have name, at_once, queue, priority and max_priority. `queue`: jobs that may wait in all."""
        await self._database.execute(
            _SQL("save_queue_rules"), tiers=Jsonb(list(tiers)), queue=queue, patience=patience
        )

    async def pause(self, endpoint: str, why: str = "") -> None:
        """Nothing new starts there; what runs goes on."""
        if await self._database.row(_SQL("pause_endpoint"), name=endpoint, why=why) is None:
            raise GenyardError(Code.not_found, f"no endpoint {endpoint!r}", field="endpoint")

    async def resume(self, endpoint: str) -> None:
        if await self._database.row(_SQL("resume_endpoint"), name=endpoint) is None:
            raise GenyardError(Code.not_found, f"no endpoint {endpoint!r}", field="endpoint")
        await self._fill(endpoint)

    async def paused(self) -> dict[str, Row]:
        """Endpoint → since when, and why."""
        return {row.pop("name"): row for row in await self._database.rows(_SQL("paused"))}

    async def queues(self, endpoints: Sequence[str]) -> list[Row]:
        """These endpoints, and others at which something is left."""
        return await self._database.rows(_SQL("all_queues"), endpoints=list(endpoints))

    async def save_facts(self, name: str, facts: Facts, of: str) -> None:
        """`of`: which server they are facts of."""
        told = Jsonb(_FACTS.dump_python(facts, mode="json"))
        await self._database.execute(_SQL("save_facts"), name=name, facts=told, of=of)

    async def load_facts(self, name: str, of: str) -> Facts | None:
        row = await self._database.row(_SQL("load_facts"), name=name, of=of)
        return _FACTS.validate_python(row["facts"]) if row else None

    async def spending(self) -> list[Spending]:
        return [Spending(**row) for row in await self._database.rows(_SQL("spending"))]
