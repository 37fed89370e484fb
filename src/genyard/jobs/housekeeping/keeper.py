"""The part of a worker that keeps house: one worker at a time, whatever is due, in small batches.

Commands and HTTP use the same parts (`removal`, `retention`, `orphans`, `overview`) on their own.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import psycopg
from psycopg.types.json import Jsonb

from genyard.database import Database, Row, load_queries
from genyard.errors import GenyardError
from genyard.jobs.callbacks.signing import read_secret, signed_headers
from genyard.jobs.housekeeping.alerts import BOOKS, CODES, Alert
from genyard.jobs.housekeeping.orphans import OrphanSweep
from genyard.jobs.housekeeping.overview import Overseer
from genyard.jobs.housekeeping.removal import Removal
from genyard.jobs.housekeeping.retention import Retention
from genyard.ledger import Ledger
from genyard.settings import AlertSettings, RetentionSettings
from genyard.telemetry import get_logger, words_of

if TYPE_CHECKING:
    from genyard.outbound import Outbound

_log = get_logger(__name__)
_SQL = load_queries("genyard.jobs.housekeeping")

_LOCK: Final = (7265, 0)
_ANSWER_SECONDS: Final = 10.0


@dataclass(frozen=True, kw_only=True)
class Turnus:
    """Seconds between two times. `look`: whether anything is due."""

    look: float = 5.0
    alerts: float = 60.0
    engine: float = 60.0
    retention: float = 3600.0
    books: float = 3600.0
    orphans: float = 86_400.0

    def periods(self, *, orphans: bool) -> Mapping[str, float]:
        told = {
            "alerts": self.alerts,
            "engine": self.engine,
            "retention": self.retention,
            "books": self.books,
        }
        return {**told, "orphans": self.orphans} if orphans else told


class Keeper:
    def __init__(
        self,
        *,
        database: Database,
        removal: Removal,
        retention: Retention,
        orphans: OrphanSweep,
        overseer: Overseer,
        ledger: Ledger,
        rules: AlertSettings,
        keeping: RetentionSettings,
        outbound: Callable[[], Outbound],
        turnus: Turnus | None = None,
    ) -> None:
        self.removal = removal
        self.retention = retention
        self.orphans = orphans
        self.overseer = overseer
        self._database = database
        self._ledger = ledger
        self._rules = rules
        self._outbound = outbound
        self._turnus = turnus or Turnus()
        self._periods = self._turnus.periods(orphans=keeping.orphans)
        self._chores: Mapping[str, Callable[[], Awaitable[object]]] = {
            "owners": self._owners,
            "objects": removal.sweep_objects,
            "alerts": self._alerts,
            "engine": self._engine,
            "books": self._books,
            "retention": retention.go,
            "orphans": orphans.go,
        }

    async def serve(self) -> None:
        """Until it is canceled. Nothing that goes wrong here stops a worker."""
        while True:
            await asyncio.sleep(self._turnus.look)
            try:
                await self.keep()
            except (psycopg.Error, GenyardError) as wrong:
                _log.warning("housekeeping failed; it comes again", error=words_of(wrong))
            except Exception:  # noqa: BLE001 (a defect here must not end the worker)
                _log.exception("housekeeping failed")

    async def keep(self) -> Sequence[str]:
        """Does what is due now, unless another worker is at it. What it did."""
        if not await self._due():
            return ()
        async with self._alone() as mine:
            if not mine:
                return ()
            due = await self._due()
            for name in self._chores:
                if name in due:
                    await self._do(name)
            return sorted(due)

    async def _do(self, name: str) -> None:
        """One that fails holds up no other; it comes again in its turn."""
        try:
            await self._chores[name]()
        except (psycopg.Error, GenyardError) as wrong:
            _log.warning("housekeeping failed; it comes again", chore=name, error=words_of(wrong))
        if name in self._periods:
            await self._database.execute(_SQL("done"), name=name)

    async def _due(self) -> set[str]:
        periods = Jsonb([{"name": name, "seconds": seconds} for name, seconds in self._periods.items()])
        return {row["name"] for row in await self._database.rows(_SQL("due"), periods=periods)}

    @contextlib.asynccontextmanager
    async def _alone(self) -> AsyncIterator[bool]:
        """Whether nobody else keeps house. The lock goes with its connection, whatever becomes of this process."""
        async with await self._database.connect() as connection:
            found = await connection.execute("SELECT pg_try_advisory_lock(%s, %s) AS mine", _LOCK)
            row = await found.fetchone()
            yield bool(row and row["mine"])

    async def _owners(self) -> None:
        for one in await self.removal.leaving():
            await self.removal.go_on(one.id)

    async def _engine(self) -> None:
        await self._database.execute(_SQL("forget_work"))

    # ---- alerts ----

    async def _alerts(self) -> None:
        found = (await self.overseer.look()).alerts
        await self._note([one for one in found if one.code != BOOKS], [one for one in CODES if one != BOOKS])

    async def _books(self) -> None:
        report = await self._ledger.reconcile()
        wrong = Alert(
            code=BOOKS,
            message=f"the books do not balance ({len(report.problems)} problems); `genyard credits reconcile`",
            facts={"problems": len(report.problems)},
        )
        await self._note([] if report.balanced else [wrong], [BOOKS])

    async def _note(self, lasting: Sequence[Alert], codes: Sequence[str]) -> None:
        """Each is logged once when it comes and once when it is over, and told to the address of the settings."""
        for one in lasting:
            values = {"code": one.code, "subject": one.subject, "message": one.message}
            row = await self._database.row(_SQL("raise_alert"), **values, facts=Jsonb(dict(one.facts)))
            if row is not None and row["new"]:
                _log.warning("alert", code=one.code, subject=one.subject, what=one.message)
        there = Jsonb([{"code": one.code, "subject": one.subject} for one in lasting])
        for row in await self._database.rows(_SQL("alerts_over"), codes=list(codes), lasting=there):
            await self._end(row)
        if self._rules.url:
            for row in await self._database.rows(_SQL("alert_rows")):
                if row["told_at"] is None and await self._tell("alert.raised", row):
                    await self._database.execute(_SQL("told_alert"), code=row["code"], subject=row["subject"])

    async def _end(self, row: Row) -> None:
        """Who was told that it came is told that it is over, or it stays."""
        told = self._rules.url and row["told_at"] is not None
        if not told or await self._tell("alert.over", row):
            await self._database.execute(_SQL("end_alert"), code=row["code"], subject=row["subject"])
            _log.warning("the alert is over", code=row["code"], subject=row["subject"])

    async def _tell(self, kind: str, row: Row) -> bool:
        """False where it did not arrive: it is told again with the next look."""
        alert = {name: row[name] for name in ("code", "subject", "message", "facts")}
        told = {"type": kind, "timestamp": row["since"].isoformat(), "data": alert}
        body = json.dumps(told, ensure_ascii=False).encode()
        headers: dict[str, str] = {"Content-Type": "application/json", "User-Agent": "genyard"}
        if self._rules.secret is not None:
            identity = hashlib.sha256(f"{kind} {row['code']} {row['subject']} {row['since']}".encode())
            keys = [read_secret(self._rules.secret.get_secret_value())]
            headers |= signed_headers(keys, identity.hexdigest()[:32], int(self._database.clock()), body)
        try:
            posted = await self._outbound().post(
                self._rules.url, body, headers=headers, seconds=_ANSWER_SECONDS
            )
        except GenyardError as wrong:
            _log.warning("an alert reached nobody", code=row["code"], error=wrong.message)
            return False
        if not 200 <= posted.status < 300:
            _log.warning("an alert reached nobody", code=row["code"], error=f"HTTP {posted.status}")
        return 200 <= posted.status < 300
