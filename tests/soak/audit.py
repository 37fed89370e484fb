"""Afterwards: what the database, the places, the store and the customers say, compared. Uses nothing of genyard.

Every check is a sentence that is promised, what was counted for it, and everything that contradicts it.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import psycopg
from psycopg.rows import dict_row

from soak.customers import Told
from soak.pictures import digest_of
from soak.plan import CUSTOMERS, PRICES, PRO_TXT2IMG, Order

Json = Any
Row = dict[str, Any]

ENDS: Final = ("succeeded", "failed", "canceled", "expired")
#: endpoint → the emulator behind it; None: drawn by genyard itself.
PLACE_OF: Final[Mapping[str, str | None]] = {
    "comfyui": "comfyui",
    "comfyui-old": "comfyui-old",
    **dict.fromkeys(("flux", "links", "background", "worker", "public"), "runpod"),
    "scenario": "scenario",
    "replicate": "replicate",
    "preview": None,
}
#: Runs that may be bought for one stage: a place that costs money, one that does not.
MOST_PAID, MOST_FREE = 2, 3
#: What a place itself does twice; it is no run that we bought.
BY_ITSELF: Final = ("restart_worker", "runs_again")


@dataclass(frozen=True, kw_only=True)
class Check:
    """`wrong` is empty where the promise was kept."""

    promise: str
    counted: str
    wrong: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Findings:
    checks: Sequence[Check]
    ends: Mapping[str, int]
    codes: Mapping[str, int]
    second_runs: Mapping[tuple[str, str], int]
    facts: Mapping[str, Json]

    @property
    def clean(self) -> bool:
        return not any(check.wrong for check in self.checks)


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

CheckOf = Callable[[Evidence], Check]


def audit(evidence: Evidence) -> Findings:
    second_runs: Counter[tuple[str, str]] = Counter()
    checks = [
        every_job_ended_once(evidence),
        nothing_is_left(evidence),
        charged_what_was_delivered(evidence),
        statements_add_up(evidence),
        caps_add_up(evidence),
        *runs_were_bought_once(evidence, second_runs),
        outputs_are_there(evidence),
        pictures_are_ones_own(evidence),
        callbacks_came(evidence),
        orders_were_kept(evidence),
    ]
    return Findings(
        checks=checks,
        ends=Counter(job["state"] for job in evidence.jobs),
        codes=Counter(job["error"]["code"] for job in evidence.jobs if job["error"]),
        second_runs=second_runs,
        facts=facts_of(evidence),
    )


def every_job_ended_once(evidence: Evidence) -> Check:
    told = {job_id for ids in evidence.told.accepted.values() for job_id in ids}
    known = {job["id"]: job for job in evidence.jobs}
    kinds = defaultdict(list)
    for event in evidence.events:
        kinds[event["job_id"]].append(event["kind"])
    wrong = [f"job {job_id} was accepted and is gone" for job_id in told - known.keys()]
    wrong += [f"job {job_id} was never answered to anybody" for job_id in known.keys() - told]
    wrong += [
        f"order {n} became {len(ids)} jobs" for n, ids in evidence.told.accepted.items() if len(ids) > 1
    ]
    for job_id, job in known.items():
        ends = [kind for kind in kinds[job_id] if kind in ENDS]
        if job["state"] not in ENDS or ends != [job["state"]] or kinds[job_id][-1] != job["state"]:
            wrong.append(f"job {job_id} is {job['state']}, and its events are {kinds[job_id]}")
        if len(kinds[job_id]) != job["event_seq"]:
            wrong.append(f"job {job_id} has {len(kinds[job_id])} of {job['event_seq']} events")
    return Check(
        promise="Every accepted job ended exactly once.",
        counted=f"{len(known)} jobs, {sum(map(len, kinds.values()))} events",
        wrong=wrong,
    )


def nothing_is_left(evidence: Evidence) -> Check:
    return Check(
        promise="Nothing is held or open afterwards: no reservation, no stage, no attempt, no queued work.",
        counted=", ".join(f"{count} {name}" for name, count in evidence.left.items()),
        wrong=[f"{count} {name}" for name, count in evidence.left.items() if count],
    )


def price_of(step: Mapping[str, Json], tier: str) -> tuple[int, str]:
    credits, per = PRICES[step["operation"]]
    return (PRO_TXT2IMG if step["operation"] == "txt2img" and tier == "pro" else credits), per


def charge_of(order: Order, tier: str, came: Mapping[str, int]) -> tuple[int, int]:
    """What is reserved for it, and what it is charged if `came` (by step) was delivered."""
    most, due = 0, 0
    last = len(order.steps) - 1
    for place, step in enumerate(order.steps):
        credits, per = price_of(step, tier)
        count = step.get("parameters", {}).get("count", 1) if per == "output" else 1
        wanted = step.get("keep", place == last)
        delivered = (
            came.get(step.get("name", f"step{place + 1}"), 0) if wanted else max(came.values(), default=0)
        )
        most += credits * count
        due += credits * min(count, delivered)
    return most, due


def charged_what_was_delivered(evidence: Evidence) -> Check:
    tiers = {customer.name: customer.tier for customer in CUSTOMERS}
    came: dict[UUID, Counter[str]] = defaultdict(Counter)
    for output in evidence.outputs:
        if output["delivered"]:
            came[output["job_id"]][output["step"]] += 1
    moved: dict[UUID, Counter[str]] = defaultdict(Counter)
    entries: Counter[UUID] = Counter()
    for movement in evidence.movements:
        if movement["job_id"]:
            moved[movement["job_id"]][movement["kind"]] += movement["amount"]
            entries[movement["job_id"]] += 1
    states = {job["id"]: job["state"] for job in evidence.jobs}
    wrong, charged, partly = [], 0, 0
    for number, ids in evidence.told.accepted.items():
        order = evidence.orders[number]
        for job_id in ids & states.keys():
            state = states[job_id]
            most, due = charge_of(order, tiers[order.customer], came[job_id])
            due = due if state == "succeeded" else 0
            expected = {k: v for k, v in {"reserve": most, "settle": due, "release": most - due}.items() if v}
            charged, partly = charged + due, partly + (state == "succeeded" and due < most)
            if dict(moved[job_id]) != expected or entries[job_id] != len(expected):
                wrong.append(f"job {job_id} ({state}): {dict(moved[job_id])}, and it should be {expected}")
            if state != "succeeded" and came[job_id]:
                wrong.append(f"job {job_id} is {state} and delivered {sum(came[job_id].values())} files")
            if state == "succeeded" and not came[job_id]:
                wrong.append(f"job {job_id} succeeded and delivered nothing")
    return Check(
        promise="A job that delivered was charged its price, for what came; every other one nothing.",
        counted=f"{charged} credits charged; {partly} jobs delivered a part and paid for that part",
        wrong=wrong,
    )


def statements_add_up(evidence: Evidence) -> Check:
    bought = {evidence.owners[one.name]: one.credits for one in CUSTOMERS}
    settled, refunded = Counter[UUID](), Counter[UUID]()
    for movement in evidence.movements:
        if movement["kind"] == "settle":
            settled[movement["owner_id"]] += movement["amount"]
        if movement["kind"] == "refund":
            refunded[movement["owner_id"]] += movement["amount"]
    wrong = []
    for balance in evidence.balances:
        owner = balance["owner_id"]
        expected = bought.get(owner, 0) - settled[owner] + refunded[owner]
        if (balance["available"], balance["reserved"]) != (expected, 0):
            wrong.append(f"owner {owner} has {balance}, and bought less charged is {expected}")
    return Check(
        promise="What an owner has is what was bought less what was charged; nobody ever had less than nothing.",
        counted=f"{len(evidence.balances)} accounts, {len(evidence.movements)} movements",
        wrong=wrong,
    )


def caps_add_up(evidence: Evidence) -> Check:
    """An ended attempt counts what it cost; where nobody knows, what was held for it, if it may have left."""
    booked: Counter[str] = Counter()
    for one in evidence.attempts:
        if one["reserved_usd"] is None or one["finished_at"] is None:
            continue
        never_left = one["submitted_at"] is None and one["state"] != "lost"
        held = 0 if never_left else one["reserved_usd"]
        booked[one["endpoint"]] += one["cost_usd"] if one["cost_usd"] is not None else held
    spent = {row["endpoint"]: row["usd"] for row in evidence.spending}
    wrong = [
        f"{name}: spent {spent.get(name, 0)}, its attempts cost {booked[name]}"
        for name in spent.keys() | booked.keys()
        if abs(spent.get(name, 0) - booked[name]) > 0
    ]
    return Check(
        promise="What counts against the daily caps is what the attempts cost.",
        counted=f"${sum(spent.values()):.2f} at {len(spent)} paid endpoints",
        wrong=wrong,
    )


_ORDER: Final = re.compile(r"order (\d+) of")


def runs_were_bought_once(evidence: Evidence, second_runs: Counter[tuple[str, str]]) -> list[Check]:
    """Every run at a place belongs to one attempt, every attempt has one run at most, and a second attempt has a
    reason that can be read on the first."""
    wrong: list[str] = []
    found, strays, repeats = match_runs(evidence, wrong)
    for key, runs in found.items():
        if len(runs) > 1:
            wrong.append(f"attempt {key} was submitted {len(runs)} times: {[one['id'] for one in runs]}")
    by_stage = defaultdict(list)
    for attempt in evidence.attempts:
        by_stage[attempt["stage_id"]].append(attempt)
    for stage, attempts in by_stage.items():
        free = PLACE_OF[attempts[0]["endpoint"]] in ("comfyui", "comfyui-old", None)
        bought = [one for one in attempts if any(run["runs"] for run in found.get(one["id"], ()))]
        for former, later in pairwise(attempts):
            second_runs[attempts[0]["endpoint"], former["code"] or "none"] += (
                later in bought and former in bought
            )
            if not former["code"] or former["state"] not in ("failed", "lost"):
                wrong.append(f"stage {stage}: another attempt after one that is {former['state']}")
            if former["state"] == "lost" and not free:
                wrong.append(f"stage {stage}: bought again although nobody knows what became of the first")
        if len(bought) > (MOST_FREE if free else MOST_PAID):
            wrong.append(f"stage {stage} at {attempts[0]['endpoint']}: {len(bought)} runs")
    itself = sum(evidence.struck.get("runpod", {}).get(kind, 0) for kind in BY_ITSELF)
    if repeats > itself:
        wrong.append(
            f"{repeats} runs were repeated within a submission; the places did {itself} by themselves"
        )
    total = sum(run["runs"] for runs in evidence.submissions.values() for run in runs)
    second = sum(second_runs.values())
    counted = (
        f"{total} runs at the places, {sum(map(len, found.values()))} of {len(evidence.attempts)} attempts have one; "
        f"{second} second runs, each with a reason; {repeats} repeated by the place itself"
    )
    return [
        Check(promise="No run was bought twice.", counted=counted, wrong=wrong),
        Check(
            promise="Every run at a place belongs to an attempt that genyard knows of.",
            counted=f"{len(strays)} runs without one",
            wrong=strays,
        ),
    ]


def match_runs(
    evidence: Evidence, wrong: list[str]
) -> tuple[dict[UUID, list[Mapping[str, Json]]], list[str], int]:
    """Attempt → the submissions that belong to it, those that belong to none, and how many runs were repeats."""
    by_key = {str(one["id"]): one for one in evidence.attempts}
    by_ref = {one["ref"]["id"]: one for one in evidence.attempts if one["ref"] and "id" in one["ref"]}
    numbers = {job_id: number for number, ids in evidence.told.accepted.items() for job_id in ids}
    refless = defaultdict(list)
    for one in evidence.attempts:
        if one["ref"] is None and one["state"] == "lost":
            refless[numbers.get(one["job_id"]), PLACE_OF[one["endpoint"]]].append(one)
    found: dict[UUID, list[Mapping[str, Json]]] = defaultdict(list)
    strays, repeats = [], 0
    for place, submissions in evidence.submissions.items():
        for one in submissions:
            attempt = by_key.get(one["key"] or "") or by_ref.get(one["id"])
            if attempt is None and (match := _ORDER.search(one["prompt"] or "")):
                lost = refless[int(match[1]), place]
                attempt = lost.pop() if lost else None
            if attempt is None:
                strays.append(f"{place}: {one['id']} ({one['prompt']}), {one['runs']} runs")
                continue
            if attempt["id"] in found and one in found[attempt["id"]]:
                continue
            found[attempt["id"]].append(one)
            if place.startswith("comfyui") and one["runs"] > 1:
                wrong.append(f"attempt {attempt['id']} was run {one['runs']} times by {place}")
            repeats += max(0, one["runs"] - 1)
    return found, strays, repeats


def outputs_are_there(evidence: Evidence) -> Check:
    """Delivered ones, whose they should be, byte for byte, readable to the last row."""
    owners = {job["id"]: job["owner_id"] for job in evidence.jobs}
    wrong, size = [], 0
    delivered = [one for one in evidence.outputs if one["delivered"]]
    for one in delivered:
        name = f"output {one['id']} of job {one['job_id']}"
        if owners.get(one["job_id"]) != one["owner_id"]:
            wrong.append(f"{name} belongs to somebody else")
        try:
            data = (evidence.blobs / one["object"]).read_bytes()
        except OSError:
            wrong.append(f"{name} is not in the store")
            continue
        size += len(data)
        if hashlib.sha256(data).hexdigest() != one["sha256"] or len(data) != one["bytes"]:
            wrong.append(f"{name} is not what was stored")
        elif digest_of(data) == "broken":
            wrong.append(f"{name} cannot be read")
    return Check(
        promise="Every delivered output is in the store, byte for byte, can be read, and belongs to its job's owner.",
        counted=f"{len(delivered)} outputs, {size / 2**20:.0f} MiB",
        wrong=wrong,
    )


def pictures_are_ones_own(evidence: Evidence) -> Check:
    """Pixel for pixel what the run of that very job made: nothing was swapped between jobs or owners."""
    found, _, _ = match_runs(evidence, [])
    winners = {
        (one["job_id"], one["endpoint"]): one["id"]
        for one in evidence.attempts
        if one["state"] == "succeeded"
    }
    wrong, compared = [], 0
    for output in evidence.outputs:
        endpoint = output["facts"].get("endpoint")
        if not output["delivered"] or PLACE_OF.get(endpoint) is None:
            continue
        attempt = winners.get((output["job_id"], endpoint))
        made = [digest for run in found.get(attempt, ()) for digest in run["pictures"]] if attempt else []
        compared += 1
        try:
            mine = digest_of((evidence.blobs / output["object"]).read_bytes())
        except OSError:
            continue
        if mine not in made:
            wrong.append(
                f"job {output['job_id']} at {endpoint}: its picture is not among the {len(made)} of its run"
            )
    return Check(
        promise="Every delivered picture is, pixel for pixel, one that this job's own run made.",
        counted=f"{compared} pictures compared with what the places made",
        wrong=wrong,
    )


def callbacks_came(evidence: Evidence) -> Check:
    """At least once, under one id; exactly one message for an end."""
    calls = evidence.told.calls
    wanted = {job["id"]: job["state"] for job in evidence.jobs if job["webhook"]}
    wrong = []
    by_job = defaultdict(list)
    for one in evidence.deliveries:
        by_job[one["job_id"]].append(one)
        seen = set(calls.get(str(one["id"]), ()))
        if one["state"] == "delivered" and seen != {(str(one["job_id"]), f"job.{one['kind']}")}:
            wrong.append(
                f"message {one['id']} of job {one['job_id']} ({one['kind']}): the receiver saw {seen}"
            )
        if one["state"] != "delivered":
            wrong.append(f"message {one['id']} is {one['state']} after {one['tries']} tries: {one['error']}")
    for job_id, state in wanted.items():
        if [one["kind"] for one in by_job[job_id]] != [state]:
            wrong.append(f"job {job_id} is {state}; its messages: {[one['kind'] for one in by_job[job_id]]}")
    known = {str(one["id"]) for one in evidence.deliveries}
    wrong += [f"message {name} is known to nobody" for name in calls.keys() - known]
    more = sum(len(seen) - 1 for seen in calls.values())
    tries = sum(one["tries"] for one in evidence.deliveries)
    return Check(
        promise="Every end was told to the receiver that asked for it, at least once, under one id.",
        counted=f"{len(wanted)} jobs, {tries} tries, {more} came more than once",
        wrong=wrong,
    )


def orders_were_kept(evidence: Evidence) -> Check:
    """Asking again makes no second job; who was refused has none; what expired or was canceled before it began never
    left; nobody else's request was carried out."""
    jobs = {job["id"]: job for job in evidence.jobs}
    left = {one["job_id"] for one in evidence.attempts if one["submitted_at"] is not None}
    wrong = [
        f"order {number} was refused ({evidence.told.refused[number]}) and accepted"
        for number in evidence.told.refused.keys() & evidence.told.accepted.keys()
    ]
    wrong += [
        f"order {number} was neither accepted nor refused"
        for number in evidence.orders.keys() - evidence.told.refused.keys() - evidence.told.accepted.keys()
    ]
    for number, ids in evidence.told.accepted.items():
        order = evidence.orders[number]
        for job in (jobs[job_id] for job_id in ids & jobs.keys()):
            if job["owner_id"] != evidence.owners[order.customer]:
                wrong.append(f"job {job['id']} of order {number} belongs to somebody else")
            if not job["prompt"].startswith(f"order {number} "):
                wrong.append(f"job {job['id']} of order {number} draws {job['prompt']!r}")
            if job["state"] == "expired" and job["id"] in left:
                wrong.append(f"job {job['id']} expired, and was submitted all the same")
            if job["state"] == "canceled" and job["started_at"] is None and job["id"] in left:
                wrong.append(f"job {job['id']} was canceled while it waited, and was submitted all the same")
            if job["state"] == "canceled" and order.cancel_after is None:
                wrong.append(f"job {job['id']} was canceled by nobody")
    return Check(
        promise="An order is one job of its customer's, however often it was sent; what was refused is none.",
        counted=f"{len(evidence.told.accepted)} accepted, {len(evidence.told.refused)} refused, "
        f"{evidence.told.asked_again} sent again, {evidence.told.replayed} answered with the job there was, "
        f"{evidence.told.cancels} cancels",
        wrong=wrong,
    )


def facts_of(evidence: Evidence) -> dict[str, Json]:
    """What is worth knowing and promised by nobody."""
    kept = {row["object"] for row in evidence.objects}
    stored = {str(path.relative_to(evidence.blobs)) for path in evidence.blobs.rglob("*") if path.is_file()}
    return {
        "attempts": dict(Counter(one["state"] for one in evidence.attempts)),
        "objects in the store": len(stored),
        "orphans": len(stored - kept),
        "rows without an object": len(kept - stored),
    }


async def across_owners(
    evidence: Evidence, get: Callable[[str, str], Awaitable[int]], sample: Iterable[Row]
) -> Check:
    """`get(path, customer)` → HTTP status. Everybody sees what is theirs; nobody else does."""
    names = {owner_id: name for name, owner_id in evidence.owners.items()}
    wrong, count = [], 0
    for one in sample:
        owner = names[one["owner_id"]]
        other = next(name for name in names.values() if name != owner)
        paths = (f"/v1/jobs/{one['job_id']}", f"/v1/assets/{one['id']}", f"/assets/{one['id']}")
        for path in paths:
            mine, theirs = await asyncio.gather(get(path, owner), get(path, other))
            count += 1
            if (mine, theirs) != (200, 404):
                wrong.append(f"{path}: {mine} for its owner, {theirs} for somebody else")
    return Check(
        promise="Over HTTP an owner gets what is theirs, and nobody else does.",
        counted=f"{count} addresses asked for by both",
        wrong=wrong,
    )
