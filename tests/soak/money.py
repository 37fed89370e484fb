"""Of the audit: credits and dollars, counted again from what was delivered and from what the attempts cost."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from uuid import UUID

from soak.evidence import Check, Evidence, Json
from soak.plan import CUSTOMERS, PRICES, PRO_TXT2IMG, Order


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
