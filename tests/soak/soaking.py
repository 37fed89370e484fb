"""One soak from beginning to end: orders go in while troubles come, all of it ends, everything is compared."""

from __future__ import annotations

import asyncio
import contextlib
import platform
import random
import sys
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import aiohttp
import psycopg

from soak.audit import Findings, across_owners, audit
from soak.customers import Customers, Receiver, Told
from soak.evidence import Check, Evidence
from soak.machines import command, until
from soak.plan import Order, Plan
from soak.trouble import Troublemaker
from soak.world import Setting, World, ended_by_itself, logged, world_of

Json = Any


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Of one moment: `memory` is resident bytes by process."""

    at: float
    accepted: int
    open: int
    connections: int
    memory: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class Result:
    """All that a report tells. `tables`: bytes by table at the end."""

    plan: Plan
    findings: Findings
    told: Told
    troubles: Mapping[str, int]
    struck: Mapping[str, Mapping[str, int]]
    samples: list[Sample]
    tables: Mapping[str, int]
    deaths: Mapping[str, int]
    seconds_of_orders: float
    seconds: float
    begun: datetime
    versions: Mapping[str, str]


@dataclass(kw_only=True)
class Soak:
    """`at_once`: orders on their way in; `most_open`: jobs that may be open before more are ordered; `tells`: how far
    it is, on stderr; `most_seconds`: after so long nothing more is ordered."""

    plan: Plan
    folder: Path
    setting: Setting = field(default_factory=Setting)
    at_once: int = 150
    most_open: int = 300
    patience: float = 600.0
    most_seconds: float = float("inf")
    tells: bool = False
    told: Told = field(default_factory=Told)
    samples: list[Sample] = field(default_factory=list)
    _ordered: dict[int, Order] = field(default_factory=dict)
    _begun: float = 0.0
    _open: int = 0

    async def run(self) -> Result:
        begun = datetime.now(UTC)
        self._begun = time.monotonic()
        receiver = Receiver(self.told)
        async with receiver.open(), world_of(self.folder, receiver.host, self.setting) as world:
            customers = Customers(world, receiver, self.told)
            await customers.come()
            await until(lambda: _answers(world), 120, "the API")
            self._begun = time.monotonic()
            trouble = Troublemaker(world, receiver)
            async with self._watching(world):
                await self._order(customers, trouble)
                ordered = time.monotonic() - self._begun
                await customers.leave()
                await trouble.over()
                await until(lambda: self._ended(world), self.patience, "the end of all jobs")
                seconds = time.monotonic() - self._begun
            evidence = await self._evidence(world, customers)
            findings = await self._judge(world, customers, evidence)
            done = Check(
                promise="Every trouble of the plan was made.",
                counted=f"{sum(trouble.made.values())} made, the others would have hit what was down already",
                wrong=trouble.failures,
            )
            findings = replace(findings, checks=[*findings.checks, done])
            return Result(
                plan=self.plan,
                findings=findings,
                told=self.told,
                troubles=trouble.made,
                struck=evidence.struck,
                samples=self.samples,
                tables=await _tables(world),
                deaths={one.name: one.deaths for one in world.machines},
                seconds_of_orders=ordered,
                seconds=seconds,
                begun=begun,
                versions=await _versions(world),
            )

    async def _order(self, customers: Customers, trouble: Troublemaker) -> None:
        """Every order of the plan, and each trouble once as many jobs are accepted as it says."""
        waiting, coming = deque(self.plan.orders), deque(self.plan.troubles)

        async def order_on() -> None:
            while waiting and time.monotonic() - self._begun < self.most_seconds:
                order = waiting.popleft()
                await until(self._has_room, self.patience, "room for more orders")
                self._ordered[order.number] = order
                await customers.order(order)
                while coming and coming[0].after <= len(self.told.accepted):
                    trouble.make(coming.popleft())

        await asyncio.gather(*(order_on() for _ in range(self.at_once)))

    async def _has_room(self) -> bool:
        return self._open < self.most_open

    @contextlib.asynccontextmanager
    async def _watching(self, world: World) -> AsyncIterator[None]:
        task = asyncio.create_task(self._watch(world))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _watch(self, world: World) -> None:
        """Twice a second how many are open, so that orders wait; every second how the processes are."""
        while True:
            with contextlib.suppress(psycopg.OperationalError, OSError):
                async with await psycopg.AsyncConnection.connect(
                    world.postgres.url, autocommit=True
                ) as connection:
                    while True:
                        await self._look(world, connection)
                        await asyncio.sleep(0.5)
            await asyncio.sleep(0.5)

    async def _look(self, world: World, connection: psycopg.AsyncConnection[Any]) -> None:
        row = await (
            await connection.execute(
                "SELECT (SELECT count(*) FROM jobs WHERE finished_at IS NULL), (SELECT count(*) FROM pg_stat_activity)"
            )
        ).fetchone()
        assert row is not None
        self._open = row[0]
        memory = {one.name: size for one in world.machines if (size := one.resident()) is not None}
        now = time.monotonic() - self._begun
        sample = Sample(
            at=now, accepted=len(self.told.accepted), open=row[0], connections=row[1], memory=memory
        )
        self.samples.append(sample)
        if self.tells and len(self.samples) % 20 == 0:
            print(
                f"{now:6.0f} s: {sample.accepted} accepted, {sample.open} open", file=sys.stderr, flush=True
            )

    async def _ended(self, world: World) -> bool:
        """Jobs, runs that go on after a cancel, and callbacks; those that would wait minutes for another try are due
        now, because nobody has to wait for that schedule here."""
        with contextlib.suppress(psycopg.OperationalError):
            async with await psycopg.AsyncConnection.connect(world.postgres.url) as connection:
                await connection.execute(
                    "UPDATE deliveries SET next_at = now() "
                    "WHERE state = 'waiting' AND next_at > now() + interval '20 s'"
                )
                row = await (
                    await connection.execute(
                        "SELECT EXISTS (SELECT FROM jobs WHERE finished_at IS NULL) "
                        "OR EXISTS (SELECT FROM deliveries WHERE state IN ('waiting', 'sending')) "
                        "OR EXISTS (SELECT FROM attempts WHERE state = 'detached' AND finished_at IS NULL) "
                        "OR EXISTS (SELECT FROM procrastinate_jobs)"
                    )
                ).fetchone()
                return row is not None and not row[0]
        return False

    async def _evidence(self, world: World, customers: Customers) -> Evidence:
        evidence = Evidence(
            orders=self._ordered,
            told=self.told,
            owners=customers.ids,
            blobs=world.folder / "data" / "blobs",
            submissions={name: await place.submissions() for name, place in world.places.items()},
            struck={name: (await place.counts())["struck"] for name, place in world.places.items()},
        )
        await evidence.gather(world.postgres.url)
        return evidence

    async def _judge(self, world: World, customers: Customers, evidence: Evidence) -> Findings:
        findings = await asyncio.to_thread(audit, evidence)
        delivered = [one for one in evidence.outputs if one["delivered"]]
        sample = random.Random(self.plan.seed).sample(delivered, min(60, len(delivered)))

        async def get(path: str, customer: str) -> int:
            headers = {"Authorization": f"Bearer {customers.keys[customer]}"}
            async with world.session.get(f"{world.api_url}{path}", headers=headers) as answer:
                await answer.read()
                return answer.status

        more = [await _books(world), _logs(world)]
        if world.api is not None:
            await until(lambda: _answers(world), 120, "the API")
            more.insert(0, await across_owners(evidence, get, sample))
        return replace(findings, checks=[*findings.checks, *more])


async def _answers(world: World) -> bool:
    if world.api is None:
        return True
    with contextlib.suppress(aiohttp.ClientError):
        async with world.session.get(f"{world.api_url}/livez") as answer:
            return answer.status < 500
    return False


async def _books(world: World) -> Check:
    promise = "`genyard credits reconcile` finds the books in balance."
    if not world.setting.apart:  # the command's own start is for the large form
        report = await world.door.studio.ledger.reconcile()
        counted = ", ".join(f"{count} {name}" for name, count in report.counted.items())
        return Check(promise=promise, counted=counted, wrong=[str(one) for one in report.problems])
    status, said = await command(world.folder, world.environment, "credits", "reconcile")
    last = said.strip().splitlines()[-1] if said.strip() else "nothing"
    return Check(promise=promise, counted=last, wrong=[] if status == 0 else [said])


def _logs(world: World) -> Check:
    defects = [
        f"{one.name}: {told}" for one in world.machines for told in logged(one, "error", "critical", "defect")
    ]
    warnings = Counter(
        told["event"].partition(":")[0] for one in world.machines for told in logged(one, "warning")
    )
    said = ", ".join(f"{count} × {event}" for event, count in warnings.most_common(6)) or "no warnings"
    defects += [
        f"{one.name} ended by itself: exit {one.exits}" for one in world.machines if ended_by_itself(one) > 0
    ]
    return Check(promise="No process met a defect of genyard's own.", counted=said, wrong=defects)


async def _tables(world: World) -> dict[str, int]:
    async with await psycopg.AsyncConnection.connect(world.postgres.url) as connection:
        rows = await (
            await connection.execute(
                "SELECT relname, pg_total_relation_size(relid) FROM pg_stat_user_tables "
                "ORDER BY 2 DESC, 1 LIMIT 12"
            )
        ).fetchall()
    return dict(rows)


async def _versions(world: World) -> dict[str, str]:
    async with await psycopg.AsyncConnection.connect(world.postgres.url) as connection:
        row = await (await connection.execute("SHOW server_version")).fetchone()
    assert row is not None
    return {
        "genyard": version("genyard"),
        "Python": platform.python_version(),
        "PostgreSQL": row[0].split()[0],
        "procrastinate": version("procrastinate"),
    }
