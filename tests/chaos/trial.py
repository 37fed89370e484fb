"""One case from its beginning to the verdict: place, database, workers, what is done to them, what came of it.

`Lane` is what the cases of one kind of place share, one after the other; `Lane.run` is one case.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import psycopg
from psycopg.rows import dict_row

from chaos.cases import Case, Fault, expected
from chaos.kinds import Held, Kind, Place
from chaos.process import PATIENCE, Problem, Watched
from chaos.tally import Result, Tally, difference, end_of
from chaos.worker import Order, Trap
from genyard.app import Product, build
from genyard.database._embedded import EmbeddedServer
from genyard.jobs.worker import LEASE_SECONDS
from genyard.settings import load_settings

#: Seconds, in place of ten, where a case waits for it.
LEASE: Final = 2.0
_AWAY: Final = 0.3
#: Where a place is asked whether a submission arrived, it is away for longer than a provider asks by itself.
_LONG_AWAY: Final = 4.5
_ASKS: Final = ("provider.submit arrived", "provider.find before")


@dataclass(kw_only=True)
class Lane:
    kind: Kind
    place: Place
    server: EmbeddedServer
    url: str
    folder: Path
    product: Product
    owner: UUID
    key: str
    environ: Mapping[str, str]
    lease: float = LEASE_SECONDS
    workers: list[Watched] = field(default_factory=list)
    taken_up: float | None = None
    restarted: bool = False

    # --- a case ---

    async def run(self, case: Case) -> Result:
        began = time.monotonic()
        tally, problem = None, ""
        try:
            async with asyncio.timeout(240):
                tally = await self._run(case)
            wanted = expected(case)
            if not tally.fits(wanted, case):
                problem = f"expected {wanted}; came {tally}"
        except (Problem, TimeoutError, psycopg.Error) as wrong:
            problem = f"{type(wrong).__name__}: {wrong}; {await self._state()}"
        finally:
            await self._tidy()
        return Result(case=case, tally=tally, problem=problem, seconds=time.monotonic() - began)

    async def _run(self, case: Case) -> Tally:
        before, orphans = self.place.runs, await self._orphans()
        self.taken_up, self.restarted = None, False
        self.lease = LEASE if case.fault is Fault.freeze else LEASE_SECONDS
        job_id = await self._submitted(case)
        victim = await self._played(case, job_id)
        await self._struck(case, victim, job_id)
        await self._ended(job_id)
        return await self._tally(job_id, before, orphans)

    async def _submitted(self, case: Case) -> UUID:
        body: dict[str, Any] = {"steps": [dict(self.kind.first), dict(self.kind.second)]}
        if case.play == "video":
            body = {"steps": [dict(self.kind.film or {})]}
        elif case.play == "previews":
            body = {"steps": [dict(self.kind.first)], "previews": True}
        job = (await self.product.studio.submit(body, owner_id=self.owner)).job
        faults = self.place.emulator.faults if self.place.emulator is not None else None
        if case.play == "refused":
            faults.add("answer", times=None, route=self.kind.route, status=401, body="no")
        elif case.play == "retried":
            await self.place.emulator.stop_listening()
        elif case.play == "previews":
            faults.add("slow", node="KSampler", times=2, seconds=0.6)
        elif faults is not None and (
            case.play in ("broken", "detached") or case.point.call == "jobs.record_progress"
        ):
            # Whoever comes back from an outage of the database has to find it running.
            outlasting = 6.0 if case.point.call == "jobs.state" else 0.6 if self.kind.forgets else 1.2
            faults.add("slow", seconds=outlasting)
        return job.id

    async def _played(self, case: Case, job_id: UUID) -> Watched:
        """A worker that stands at the case's point, or is about to."""
        stage, traps = case.stage, []
        if case.play == "canceled":
            calm = "provider.submit before" if self.kind.start is None else "provider.observe before"
            traps = [
                (Trap(point="jobs.claim after", stage=stage), "hang"),
                (Trap(point=calm, stage=stage), "cancel"),
            ]
        elif case.play == "detached":
            traps = [(Trap(point="provider.observe before", stage=1), "cancel")]
            if case.point.call == "jobs.claim_detached":
                traps.append((Trap(point="jobs.end_job after", stage=1), "kill"))
        elif case.play == "asked":
            traps = [(Trap(point="provider.submit after", stage=stage), "kill")]
        elif case.play == "broken":
            calm = (
                "jobs.finish_stage before"
                if case.point.call == "jobs.hand_back"
                else "provider.observe after"
            )
            traps = [(Trap(point=calm, stage=1), "database")]
        elif case.play == "stopped":
            traps = [(Trap(point="provider.observe after", stage=1), "stop")]
        if case.moment != "arrived":
            traps.append((Trap(point=case.passing, stage=stage), "case"))
        worker = await self._worker([trap for trap, _ in traps])
        for number, (trap, act) in enumerate(traps):
            await worker.until("reached", trap.point)
            if act == "case":
                break
            if act == "kill":
                worker.signal(signal.SIGKILL)
                await worker.gone()
                worker = await self._worker([trap for trap, _ in traps[number + 1 :]])
                continue
            await self._act(act, worker, job_id, stage)
            worker.send("go")
        if case.moment == "arrived":
            await self._until_arrived(case, worker)
        return worker

    async def _act(self, act: str, worker: Watched, job_id: UUID, stage: int) -> None:
        if act == "hang" and self.place.emulator is not None:
            self.place.emulator.faults.add("hang")
        elif act == "cancel":
            if self.place.emulator is not None:
                await self.place.until_run(stage + self._runs_before)
            await self.product.studio.cancel(job_id, owner_id=self.owner)
        elif act == "database":
            await self._restart_database()
        elif act == "stop":
            worker.send("stop")

    async def _until_arrived(self, case: Case, worker: Watched) -> None:
        """The answer to the stage's own submission is on its way."""
        for stage in range(1, case.stage + 1):
            self.place.held.arm()
            async with asyncio.timeout(PATIENCE):
                await self.place.held.arrived.wait()
            if stage < case.stage:
                self.place.held.release()

    # --- what is done ---

    async def _struck(self, case: Case, victim: Watched, job_id: UUID) -> None:
        match case.fault:
            case Fault.kill:
                await self._killed(victim, job_id)
            case Fault.freeze:
                await self._frozen(case, victim, job_id)
            case Fault.stop:
                await self._stopped(victim)
            case _:
                await self._disturbed(case, victim)

    async def _killed(self, victim: Watched, job_id: UUID) -> None:
        await self._worker()
        victim.signal(signal.SIGKILL)
        await victim.gone()
        [died] = await self._rows(
            "SELECT now() AS at, pg_postmaster_start_time() > now() - interval '6 seconds' AS restarted"
        )
        self.place.held.release()
        await self._back()
        await self._ended(job_id)
        [first] = await self._rows(
            "SELECT extract(epoch FROM min(dispatched_at) - %(died)s)::float AS after FROM stages "
            "WHERE job_id = %(id)s AND dispatched_at > %(died)s",
            id=job_id,
            died=died["at"],
        )
        self.taken_up, self.restarted = first["after"], died["restarted"]

    async def _stopped(self, victim: Watched) -> None:
        await self._worker()
        victim.send("stop")
        self.place.held.release()
        victim.send("go")
        await self._back()
        async with asyncio.timeout(PATIENCE):
            await victim.gone()

    async def _frozen(self, case: Case, victim: Watched, job_id: UUID) -> None:
        other = await self._worker()
        runs = len(victim.said("left"))
        at_work = len(victim.said("took")) > runs
        victim.signal(signal.SIGSTOP)
        self.place.held.release()
        await self._back()
        await self._ended(job_id)
        before = await self._everything()
        victim.signal(signal.SIGCONT)
        victim.send("go")
        if at_work:
            await victim.until("left", count=runs + 1)
        after = await self._everything()
        if (changed := difference(before, after)) and not (case.play == "stopped"):
            raise Problem(f"the frozen worker changed something when it woke: {changed}")
        await other.end()
        if case.play != "stopped":
            await self._serves_on(victim)

    async def _serves_on(self, victim: Watched) -> None:
        """The one that was frozen takes new jobs."""
        before = self.place.runs
        if self.place.emulator is not None:
            self.place.emulator.faults.clear()
        more = (await self.product.studio.submit({"steps": [dict(self.kind.first)]}, owner_id=self.owner)).job
        await self._ended(more.id)
        if (await self._job(more.id))["state"] != "succeeded" or not victim.said("took"):
            raise Problem(f"the worker that was frozen does not serve any more: {await self._state()}")
        self._runs_elsewhere += self.place.runs - before

    async def _disturbed(self, case: Case, victim: Watched) -> None:
        place = self.place.emulator
        struck = place.faults.struck["answer"] if place is not None else 0
        match case.fault:
            case Fault.database:
                await self._restart_database()
            case Fault.network:
                await place.stop_listening()
            case Fault.answer:
                place.faults.add("lose_answer", route=self.kind.route if case.is_sending else None)
            case Fault.restart if self.kind.forgets:
                if expected(case).runs > 2:
                    await self.place.until_run(case.stage + self._runs_before)
                await place.restart()
            case Fault.restart:
                route = self.kind.route if case.is_sending else "GET"
                place.faults.add("answer", times=None, route=route, status=503, body="Service Unavailable")
        self.place.held.release()
        victim.send("go")
        if case.play == "stopped":
            await self._worker()
        if case.fault in (Fault.network, Fault.restart) and not (
            case.fault is Fault.restart and self.kind.forgets
        ):
            await asyncio.sleep(_LONG_AWAY if case.passing in _ASKS else _AWAY)
            if case.fault is Fault.restart and case.is_sending:
                await place.changes.until(lambda: place.faults.struck["answer"] > struck, PATIENCE)
            place.faults.clear()
            await self._back()
        elif case.play == "retried":
            await self._back()

    async def _back(self) -> None:
        """The place can be reached again."""
        place = self.place.emulator
        if place is not None and place._site is None:
            await place.listen()

    async def _restart_database(self) -> None:
        server = self.server._server
        process = server._postmaster_info.process

        def restart() -> None:
            process.send_signal(signal.SIGQUIT)
            process.wait(10)
            server.ensure_postgres_running()

        await asyncio.to_thread(restart)
        await self.product.jobs.database.pool.check()

    # --- workers ---

    async def _worker(self, traps: Iterable[Trap] = ()) -> Watched:
        traps = tuple(traps)
        worker = Watched(Order(environ=self.environ, folder=self.folder, lease=self.lease, traps=traps))
        worker.tell_drawn = self._drawn
        self.workers.append(worker)
        if not traps:  # who has some may meet the first one before it is ready
            await worker.until("ready")
        return worker

    def _drawn(self) -> None:
        self.place.drawn += 1

    async def _tidy(self) -> None:
        self.place.held.release()
        for worker in self.workers:
            await worker.end()
        self.workers.clear()
        if self.place.emulator is not None:
            self.place.emulator.faults.clear()
            await self._back()
        await self._forget_open_jobs()
        self._runs_elsewhere = 0
        self._runs_before = self.place.runs

    # --- what came of it ---

    _runs_before: int = 0
    _runs_elsewhere: int = 0

    async def _rows(self, sql: str, **values: Any) -> list[dict[str, Any]]:
        async with await psycopg.AsyncConnection.connect(self.url, autocommit=True) as connection:
            cursor = connection.cursor(row_factory=dict_row)
            return await (await cursor.execute(sql, values)).fetchall()  # type: ignore[arg-type]

    async def _job(self, job_id: UUID) -> dict[str, Any]:
        [job] = await self._rows("SELECT * FROM jobs WHERE id = %(id)s", id=job_id)
        return job

    async def _ended(self, job_id: UUID) -> None:
        """The job, and every attempt of it."""
        sql = (
            "SELECT NOT EXISTS (SELECT FROM jobs WHERE id = %(id)s AND finished_at IS NULL) AND NOT EXISTS "
            "(SELECT FROM attempts a JOIN stages s ON s.id = a.stage_id "
            "WHERE s.job_id = %(id)s AND a.finished_at IS NULL) AS ended"
        )
        async with asyncio.timeout(PATIENCE):
            async with await psycopg.AsyncConnection.connect(self.url, autocommit=True) as connection:
                cursor = connection.cursor(row_factory=dict_row)
                while True:
                    [row] = await (await cursor.execute(sql, {"id": job_id})).fetchall()
                    if row["ended"]:
                        return
                    await asyncio.sleep(0.02)

    async def _everything(self) -> dict[str, Any]:
        """All that a worker must not change any more. Files that nobody refers to are its own: it may remove them."""
        told: dict[str, Any] = {}
        for table in (
            "jobs",
            "stages",
            "attempts",
            "events",
            "movements",
            "balances",
            "assets",
            "blobs",
            "deliveries",
        ):
            told[table] = await self._rows(f"SELECT * FROM {table} ORDER BY 1, 2")
        known = {row["object"] for row in told["blobs"]}
        told["files"] = [name for name in self._files() if name in known]
        return told

    def _files(self) -> list[str]:
        blobs = self.folder / "blobs"
        return sorted(str(file.relative_to(blobs)) for file in blobs.rglob("*") if file.is_file())

    async def _orphans(self) -> int:
        known = {row["object"] for row in await self._rows("SELECT object FROM blobs")}
        return len([name for name in self._files() if name not in known])

    async def _tally(self, job_id: UUID, runs: int, orphans: int) -> Tally:
        await self._settle_down()
        job = await self._job(job_id)
        moved = await self._rows("SELECT kind, amount FROM movements WHERE job_id = %(id)s", id=job_id)
        outputs = await self._rows("SELECT id FROM assets WHERE job_id = %(id)s AND delivered", id=job_id)
        attempts = await self._rows(
            "SELECT a.state FROM attempts a JOIN stages s ON s.id = a.stage_id WHERE s.job_id = %(id)s "
            "ORDER BY s.position, a.number",
            id=job_id,
        )
        report = await self.product.studio.ledger.reconcile()
        if not report.balanced or any(one["amount"] != job["credits"] for one in moved):
            raise Problem(f"the books do not balance: {report.problems} {moved}")
        kinds = [one["kind"] for one in moved]
        return Tally(
            end=end_of(job),
            runs=self.place.runs - runs - self._runs_elsewhere,
            reserved=kinds.count("reserve"),
            settled=kinds.count("settle"),
            released=kinds.count("release"),
            entries=2 * len(kinds),
            outputs=len(outputs),
            attempts=" ".join(one["state"] for one in attempts),
            orphans=await self._orphans() - orphans,
            taken_up=self.taken_up,
            restarted=self.restarted,
        )

    async def _settle_down(self) -> None:
        """Nothing is open, and nothing is left in the engine's tables."""
        sql = "SELECT count(*) AS n FROM stages WHERE state IN ('waiting', 'ready', 'running')"
        [row] = await self._rows(sql)
        if row["n"]:
            raise Problem(f"{row['n']} stages are open after the end of the job")

    async def _state(self) -> str:
        with contextlib.suppress(psycopg.Error):
            told = await self._rows(
                "SELECT j.state AS job, j.error->>'code' AS code, j.detail, s.state, s.worker_id, s.epoch, "
                "(SELECT string_agg(a.state, ' ') FROM attempts a WHERE a.stage_id = s.id) AS attempts "
                "FROM jobs j JOIN stages s ON s.job_id = j.id ORDER BY j.id DESC, s.position LIMIT 2"
            )
            said = [worker._said[-6:] for worker in self.workers]
            return f"{told} {said} runs {self.place.runs - self._runs_before}"
        return "the database does not answer"

    async def _forget_open_jobs(self) -> None:
        """A case that failed must not disturb the next one."""
        with contextlib.suppress(psycopg.Error):
            async with await psycopg.AsyncConnection.connect(self.url, autocommit=True) as connection:
                await connection.execute("DELETE FROM jobs WHERE finished_at IS NULL")
                await connection.execute("DELETE FROM procrastinate_jobs")


@contextlib.asynccontextmanager
async def open_lane(kind: Kind, server: EmbeddedServer, folder: Path) -> AsyncIterator[Lane]:
    """An empty database on the server, an emulator of the kind, an owner with credits."""
    folder.mkdir()  # noqa: ASYNC240
    name = f"chaos_{folder.name}".replace("-", "_")
    async with await psycopg.AsyncConnection.connect(server.url, autocommit=True) as admin:
        await admin.execute(f"CREATE DATABASE {name}")  # type: ignore[call-overload]
    url = server.url.replace("/postgres?", f"/{name}?")
    held = Held(kind.paid)
    async with contextlib.AsyncExitStack() as stack:
        emulator = None
        if kind.start is not None:
            emulator = kind.start()
            held.around(emulator)
            await stack.enter_async_context(emulator)
        (folder / "genyard.toml").write_text(_toml(kind, emulator))
        environ = {"GENYARD_DATA": str(folder), "DATABASE_URL": url, "GENYARD_LOG_LEVEL": "critical"}
        product = await stack.enter_async_context(build(load_settings(environ, folder)))
        _, key = await product.owners.create_key("alice")
        owner = await product.studio.ledger.owner_named("alice")
        await product.studio.ledger.give(owner, "purchase", 10_000_000, actor="chaos")
        yield Lane(
            kind=kind,
            place=Place(kind=kind, emulator=emulator, held=held),
            server=server,
            url=url,
            folder=folder,
            product=product,
            owner=owner,
            key=key,
            environ=environ,
        )


def _toml(kind: Kind, emulator: Any) -> str:
    head = [
        "[credits]",
        "enabled = true",
        'prices = [{ operation = "*", credits = 5 }]',
        "[routes]",
        f'{kind.first["operation"]} = "first"',
        f'{kind.second["operation"]} = "second"',
    ]
    if kind.film is not None:
        head.append(f'{kind.film["operation"]} = "first"')
    return "\n".join((*head, kind.toml(emulator)))
