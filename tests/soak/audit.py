"""Afterwards: what the database, the places, the store and the customers say, compared. Uses nothing of genyard.

Every check is a sentence that is promised, what was counted for it, and everything that contradicts it. Those of money
are in `money`, those of the runs at the places in `runs`.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from soak.evidence import Check, Evidence, Json, Row
from soak.money import caps_add_up, charged_what_was_delivered, statements_add_up
from soak.pictures import digest_of
from soak.runs import pictures_are_ones_own, runs_were_bought_once

ENDS: Final = ("succeeded", "failed", "canceled", "expired")


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
