"""Every statement on jobs, stages, attempts and events. The SQL is in `queries.sql`; states change nowhere else."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final
from uuid import UUID

import psycopg
from psycopg.types.json import Jsonb

from genyard.database import Connection, Database, Row, load_queries
from genyard.errors import Code, GenyardError
from genyard.jobs.assets import (
    NewOutput,
    asset_of,
    blob_of,
    delete_unused,
    from_json,
    output_values,
    refused_input,
    refused_owner,
)
from genyard.jobs.endpoints import Endpoints
from genyard.jobs.model import Asset, Event, Job, JobState, Standing
from genyard.jobs.records import (
    Claim,
    Finished,
    Given,
    NewJob,
    NewStage,
    Outcome,
    StageOutput,
    attempt_of,
    claim_of,
    job_of,
    job_values,
    no_job,
    queue_full,
    refused_by_money,
    unused,
)
from genyard.jobs.together import Together
from genyard.jobs.turns import Lane, Place, standing_of

_SQL = load_queries("genyard.jobs")

#: A stage that has crashed so many workers, each soon after it was taken up, is set aside.
MAX_CRASHES: Final = 5
_POISONED: Final = GenyardError(
    Code.internal,
    f"set aside: {MAX_CRASHES} workers crashed, each soon after it had taken this job up; their logs say more",
    context={"crashes": MAX_CRASHES},
)


def _told(message: str) -> Jsonb:
    return Jsonb(GenyardError(Code.canceled, message).as_json())


#: What a canceled job is told: one that was never submitted, and one that was.
_CANCELED: Final = (_told("canceled before it started"), _told("canceled on request"))
_ABANDONED: Final = (
    _told("canceled before it started: nobody watched it any more, and its on_disconnect is cancel"),
    _told("canceled: nobody watched it any more, and its on_disconnect is cancel"),
)


#: What there is to tell (job, number and kind of an event), and where places may be filled.
_Step = tuple[tuple[UUID, int | None, str | None] | None, frozenset[str]]


class Jobs:
    """The tables of jobs. Methods that take no connection are transactions of their own."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._standings = Together(self.standings, "genyard-standings")
        self._events = Together(self._events_of, "genyard-events")
        self._going_on = Together(self._all_go_on, "genyard-go-on")
        self.endpoints = Endpoints(database, self.go_on)

    async def insert(self, job: NewJob) -> Job | None:
        """Accepts the job and hands its first stage on. None when the idempotency key is taken; `limit.spend` when an
        endpoint's cap has no room for it, `limit.exceeded` when its owner's budget has none,
        `credits.insufficient` when its owner cannot pay it."""
        paid = [stage for stage in job.stages if stage.reserved_usd is not None]
        try:
            if paid:
                row = await self._insert_paid(job, paid)
            else:
                row = await self._row("insert_job", **job_values(job))
        except psycopg.Error as refused:
            why = await self._full(job, refused) if refused.sqlstate == "GY010" else refused_by_money(refused)
            if why is not None and await self._is_known(job):
                return None
            raise why or refused_owner(refused) or refused_input(refused) or refused from None
        if row is None:
            return None
        told = {"job_id": job.id, "event_seq": 1, "kind": "queued"}
        await self.go_on(job.stages[0].draft.endpoint, told=told)
        return job_of(row, [])

    async def _is_known(self, job: NewJob) -> bool:
        """Where it is there already, it was not a new one that had no room, or could not be paid."""
        key = job.idempotency_key
        return key is not None and await self.find_by_idempotency_key(job.owner_id, key) is not None

    async def _full(self, job: NewJob, refused: psycopg.Error) -> GenyardError:
        told = json.loads(refused.diag.message_detail or "{}")
        owner_id = job.owner_id if told["scope"] == "owner" else None
        first = await self._row("first_in_line", owner_id=owner_id)
        return queue_full(told, await self.standing(first["job_id"]) if first else None)

    async def standing(self, job_id: UUID) -> Standing | None:
        """Where a queued job stands; None for one that waits nowhere."""
        return await self._standings.of(job_id)

    async def _with_standing(self, job: Job) -> Job:
        return replace(job, queue=await self.standing(job.id))

    async def standings(self, job_ids: Sequence[UUID]) -> dict[UUID, Standing]:
        """Of those that wait. Without a worker nobody knows when anything starts."""
        if len(job_ids) == 1:
            rows = await self._rows("standing", job_id=job_ids[0])
        else:
            rows = await self._rows("standings", job_ids=list(job_ids))
        found = [Place(**row) for row in rows]
        if not found:
            return {}
        rows = await self._rows("lanes", endpoints=list({place.endpoint for place in found}))
        idle = not await self.any_worker()
        lanes = {row["name"]: Lane(**{**row, "took": () if idle else row["took"]}) for row in rows}
        return {place.job_id: standing_of(place, lanes[place.endpoint]) for place in found}

    async def _insert_paid(self, job: NewJob, paid: Sequence[NewStage]) -> Row | None:
        reserved = {
            "amounts": Jsonb([{"endpoint": one.draft.endpoint, "amount": one.reserved_usd} for one in paid]),
            "owner_id": job.owner_id,
            "daily_usd": job.budget.daily_usd,
            "monthly_usd": job.budget.monthly_usd,
        }
        async with self.database.transaction() as connection:
            await connection.execute(_SQL("reserve"), reserved)
            return await _one(connection, "insert_job", job_values(job))

    async def wake(self, endpoint: str, key: UUID) -> None:
        """A place says that something happened to the submission under this key."""
        await self._rows("wake_attempt", endpoint=endpoint, key=key)

    async def go_on(self, *endpoints: str | None, told: Mapping[str, Any] | None = None) -> None:
        """After a commit: watchers are told, free places of these endpoints are filled."""
        news = (told["job_id"], told["event_seq"], told["kind"]) if told else None
        await self._going_on.of((news, frozenset(one for one in endpoints if one is not None)))

    async def _all_go_on(self, steps: Sequence[_Step]) -> dict[_Step, None]:
        """One after the other in a process: whoever dispatches at an endpoint waits for all others who do."""
        told = [news for news, _ in steps if news is not None and news[1] is not None]
        await self._row(
            "go_on",
            job_ids=[job_id for job_id, _, _ in told],
            seqs=[seq for _, seq, _ in told],
            kinds=[kind for _, _, kind in told],
            endpoints=sorted(frozenset[str]().union(*(endpoints for _, endpoints in steps))),
        )
        return {}

    async def find_by_idempotency_key(self, owner_id: UUID, key: str) -> tuple[UUID, bytes] | None:
        row = await self._row("find_by_idempotency_key", owner_id=owner_id, idempotency_key=key)
        return (row["id"], bytes(row["request_hash"])) if row else None

    # ---- the attempt protocol; each call is fenced by the epoch ----

    async def claim(self, stage_id: UUID, epoch: int, worker_id: int, key: UUID) -> Claim | None:
        """None when the stage is somebody else's by now, or has ended."""
        row = await self._row("claim_stage", stage_id=stage_id, epoch=epoch, worker_id=worker_id, key=key)
        return claim_of(row, epoch) if row else None

    async def claim_detached(self, stage_id: UUID, epoch: int, worker_id: int) -> Claim | None:
        """The same for a stage that has ended while its attempt goes on at its place."""
        row = await self._row("claim_detached", stage_id=stage_id, epoch=epoch, worker_id=worker_id)
        return claim_of(row, epoch) if row else None

    async def leave(self, claim: Claim, *, durable: bool) -> bool:
        """Directly before the submission leaves. False when the fence does not hold: then it must not."""
        row = await self._row("leave", key=claim.key, epoch=claim.epoch, durable=durable)
        return row is not None

    async def record_ref(self, claim: Claim, ref: Mapping[str, Any], *, durable: bool) -> bool:
        """False when the fence does not hold."""
        row = await self._row(
            "record_ref",
            key=claim.key,
            epoch=claim.epoch,
            ref=Jsonb(dict(ref)),
            durable=durable,
            started_seq=claim.started_seq,
        )
        return row is not None

    async def record_progress(
        self,
        claim: Claim,
        *,
        progress: float | None,
        detail: str | None,
        preview_key: str | None,
        told: str,
        ran: float | None = None,
    ) -> bool:
        """`ran`: for how many seconds it has been seen running, if that is to be kept."""
        row = await self._row(
            "record_progress",
            stage_id=claim.stage_id,
            epoch=claim.epoch,
            progress=progress,
            detail=detail,
            preview_key=preview_key,
            told=told,
            key=claim.key,
            ran=ran,
        )
        return row is not None

    async def finish_stage(
        self, claim: Claim, outputs: Sequence[NewOutput], outcome: Outcome
    ) -> Finished | None:
        """None when the fence does not hold: then nothing of it was kept."""
        row = await self._row(
            "finish_stage",
            stage_id=claim.stage_id,
            epoch=claim.epoch,
            key=claim.key,
            outputs=Jsonb([output_values(output) for output in outputs]),
            **outcome.facts(),
        )
        if row is None:
            return None
        await self.go_on(claim.endpoint, row["next_endpoint"], told=row)
        return Finished(
            next_endpoint=row["next_endpoint"],
            job_state=JobState(row["kind"]) if row["kind"] else None,
            unused=unused(outputs, row["objects"]),
        )

    async def finish_detached(
        self, claim: Claim, outputs: Sequence[NewOutput], outcome: Outcome
    ) -> tuple[str, ...] | None:
        """What a detached attempt cost and made, booked and kept. The objects that are not needed; None when the
        fence does not hold."""
        row = await self._row(
            "finish_detached",
            stage_id=claim.stage_id,
            epoch=claim.epoch,
            key=claim.key,
            outputs=Jsonb([output_values(output) for output in outputs]),
            **outcome.facts(),
        )
        return unused(outputs, row["objects"]) if row else None

    async def end_job(self, claim: Claim, job_state: JobState, outcome: Outcome) -> bool:
        """The job ends as failed, canceled or expired, with everything open of it."""
        row = await self._row(
            "end_job",
            stage_id=claim.stage_id,
            epoch=claim.epoch,
            stage_state="failed" if job_state is JobState.failed else "canceled",
            job_state=job_state.value,
            **outcome.values(),
        )
        await self.go_on(claim.endpoint, told=row)
        return row is not None

    async def retry_stage(self, claim: Claim, outcome: Outcome, *, seconds_until: float, detail: str) -> bool:
        """False when the job is being canceled meanwhile, or the fence does not hold."""
        row = await self._row(
            "retry_stage",
            stage_id=claim.stage_id,
            epoch=claim.epoch,
            seconds_until=seconds_until,
            detail=detail,
            **outcome.values(),
        )
        await self.go_on(claim.endpoint, told=row)
        return row is not None

    async def hand_back(self, stage_id: UUID, epoch: int, worker_id: int) -> None:
        await self._row("hand_back", stage_id=stage_id, epoch=epoch, worker_id=worker_id)

    async def hand_on(self, given: Sequence[Given]) -> None:
        """Of a worker that stops."""
        told = [
            {
                "stage_id": str(one.stage_id),
                "epoch": one.epoch,
                "worker_id": one.worker_id,
                "unsent": str(one.unsent) if one.unsent else None,
            }
            for one in given
        ]
        await self._row("hand_on", given=Jsonb(told))

    # ---- what callers do ----

    async def cancel(
        self, job_id: UUID, owner_id: UUID, *, abandoned: bool = False
    ) -> tuple[JobState, JobState] | None:
        """The states before and after. `request.not_found` for a job that is not this owner's. `abandoned`: only if
        nobody watches it; None where somebody does."""
        early, late = _ABANDONED if abandoned else _CANCELED
        values = {
            "job_id": job_id,
            "owner_id": owner_id,
            "abandoned": abandoned,
            "early": early,
            "late": late,
        }
        async with self.database.transaction() as connection:
            row = await _one(connection, "cancel_job", values)
            if row is None and abandoned:
                return None
            if row is None:
                raise no_job(job_id)
            if row["is"] == "canceling":
                ended = await _one(connection, "cancel_between_attempts", {"job_id": job_id})
                if ended is not None:
                    row["is"] = "canceled"
        return JobState(row["was"]), JobState(row["is"] or row["was"])

    async def watched(self, job_id: UUID) -> float | None:
        """Somebody watches: where nobody does for the job's grace (the seconds that this returns), it is canceled. None
        for a job that goes on by itself, or has ended."""
        row = await self._row("watch_job", job_id=job_id)
        return row["grace"] if row else None

    async def get(self, job_id: UUID, owner_id: UUID) -> Job:
        row = await self._row("get_job", job_id=job_id, owner_id=owner_id)
        if row is None:
            raise no_job(job_id)
        outputs = [asset_of(from_json(one)) for one in row.pop("outputs") or ()]
        attempts = tuple(attempt_of(from_json(one)) for one in row.pop("attempts") or ())
        job = replace(job_of(row, outputs), attempts=attempts)
        return await self._with_standing(job) if job.state is JobState.queued else job

    async def state(self, job_id: UUID, owner_id: UUID) -> JobState:
        return (await self.watchable(job_id, owner_id))[0]

    async def watchable(self, job_id: UUID, owner_id: UUID) -> tuple[JobState, bool]:
        """The state, and whether it matters that somebody watches."""
        row = await self._row("job_state", job_id=job_id, owner_id=owner_id)
        if row is None:
            raise no_job(job_id)
        return JobState(row["state"]), row["grace"] is not None

    async def search(
        self,
        owner_id: UUID,
        *,
        limit: int = 20,
        before: UUID | None = None,
        state: str | None = None,
        operation: str | None = None,
        tag: str | None = None,
        search: str | None = None,
    ) -> list[Job]:
        rows = await self._rows(
            "list_jobs",
            owner_id=owner_id,
            limit=limit,
            before=before,
            state=state,
            operation=operation,
            tag=tag,
            search=search,
        )
        return await self._with_outputs(rows)

    async def _with_outputs(self, rows: Sequence[Row]) -> list[Job]:
        found = await self._rows("outputs_of_jobs", job_ids=[row["id"] for row in rows])
        by_job: dict[UUID, list[Asset]] = {}
        for one in found:
            by_job.setdefault(one["job_id"], []).append(asset_of(one))
        jobs = [job_of(row, by_job.get(row["id"], [])) for row in rows]
        queued = [job.id for job in jobs if job.state is JobState.queued]
        standings = await self.standings(queued) if queued else {}
        return [replace(job, queue=standings.get(job.id)) for job in jobs] if queued else jobs

    async def events(self, job_id: UUID, after: int) -> Sequence[Event]:
        return await self._events.of((job_id, after)) or ()

    async def _events_of(self, wanted: Sequence[tuple[UUID, int]]) -> dict[tuple[UUID, int], list[Event]]:
        """A thousand watchers of one job are told by one reading."""
        rows = await self._rows(
            "events_after", job_ids=[job_id for job_id, _ in wanted], afters=[after for _, after in wanted]
        )
        found: dict[tuple[UUID, int], list[Event]] = {}
        for row in rows:
            found.setdefault((row["job_id"], row.pop("after")), []).append(Event(**row))
        return found

    async def delete(self, job_id: UUID, owner_id: UUID) -> tuple[str, ...]:
        """For good. Returns the objects whose bytes nobody refers to any more."""
        async with self.database.transaction() as connection:
            row = await _one(connection, "delete_job", {"job_id": job_id, "owner_id": owner_id})
            unused = await delete_unused(connection, row["hashes"]) if row else ()
        if row is None or row["id"] is None:
            state = await self.state(job_id, owner_id)
            raise GenyardError(Code.request_conflict, f"the job is {state}; cancel it first", field="job_id")
        return unused

    async def stage_outputs(self, job_id: UUID) -> list[StageOutput]:
        rows = await self._rows("stage_outputs", job_id=job_id)
        return [
            StageOutput(
                step=row["step"],
                role=row["role"],
                blob=blob_of(row),
                width=row["width"],
                height=row["height"],
            )
            for row in rows
        ]

    # ---- workers ----

    async def workers(self) -> list[Row]:
        return await self._rows("all_workers")

    async def register_worker(self, name: str) -> int:
        row = await self._row("register_worker", name=name)
        assert row is not None
        number: int = row["id"]
        return number

    async def beat(self, connection: Connection, worker_id: int, name: str) -> None:
        await connection.execute(_SQL("beat"), {"id": worker_id, "name": name})

    async def forget_worker(self, worker_id: int) -> None:
        await self._row("forget_worker", id=worker_id)

    async def any_worker(self) -> bool:
        row = await self._row("any_worker")
        return bool(row and row["any"])

    async def sweep(self, lease: float, me: int | None = None) -> float | None:
        """Takes up what dead runners left, ends what is late or abandoned, dispatches what waits. Seconds until the
        next retry is due. `me`: the worker that sweeps; it is alive, whatever the tables say."""
        late = GenyardError(Code.expired, "its deadline passed before it could start")
        await self._rows("expire_jobs", error=Jsonb(late.as_json()))
        for one in await self._rows("abandoned_jobs"):
            await self.cancel(one["id"], one["owner_id"], abandoned=True)
        await self._rows("take_up", lease=lease, me=me, most=MAX_CRASHES, error=Jsonb(_POISONED.as_json()))
        await self._row("forget_dead_workers")
        for row in await self._rows("endpoints_with_ready_stages"):
            await self.go_on(row["endpoint"])
        waiting = await self._row("next_retry")
        return waiting["seconds"] if waiting else None

    async def _row(self, query: str, **values: Any) -> Row | None:
        async with self.database.connection() as connection:
            return await _one(connection, query, values)

    async def _rows(self, query: str, **values: Any) -> list[Row]:
        return await self.database.rows(_SQL(query), **values)


async def _one(connection: Connection, query: str, values: Mapping[str, Any]) -> Row | None:
    cursor = await connection.execute(_SQL(query), values)
    return await cursor.fetchone() if cursor.description else None
