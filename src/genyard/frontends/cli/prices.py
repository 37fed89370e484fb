"""What something will cost or has cost, in words and as JSON. Unknown is said as unknown, never as $0.

A price always comes with how it is known: the place says so, a list price, or seconds at a rate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from genyard.catalog import Price
    from genyard.jobs.model import Attempt, Credits, Job
    from genyard.jobs.records import NewStage, Spending
    from genyard.providers import BoundStep, Cost
    from genyard.settings import EndpointSettings, Settings

UNKNOWN = "not known"


def money(usd: float) -> str:
    """`$0.025`, `$1.50`: two digits at least, four at most."""
    if 0 < usd < 0.0001:
        return "less than $0.0001"
    whole, _, digits = f"{usd:.4f}".partition(".")
    return f"${whole}.{digits.rstrip('0').ljust(2, '0')}"


def cost_json(cost: Cost | None) -> dict[str, Any] | None:
    return None if cost is None else {"usd": cost.usd, "source": cost.source}


# ---- before ----


def stage_json(stage: NewStage, settings: Settings) -> dict[str, Any]:
    """`how`: how the price is known, or why it is not; `assumed_usd`: what the day's cap counts meanwhile."""
    endpoint = settings.endpoints.get(stage.draft.endpoint)
    paid = stage.reserved_usd is not None
    return {
        "paid": paid,
        "cost": cost_json(stage.estimate),
        "how": _how(stage, endpoint, paid),
        "notes": [price.note for step in stage.draft.steps if (price := step.binding.price) and price.note],
        "assumed_usd": stage.reserved_usd if stage.estimate is None else None,
    }


def today_json(
    spending: Sequence[Spending], settings: Settings, endpoints: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Of those endpoints that cost anything: what is spent or held today, and what may be."""
    return {
        one.endpoint: {
            "spent_usd": one.usd,
            "daily_cap_usd": one.cap,
            "month_usd": one.month_usd,
            "monthly_cap_usd": one.month_cap,
            "default_cap": is_default_cap(settings.endpoints.get(one.endpoint)),
        }
        for one in spending
        if one.endpoint in endpoints
    }


def is_default_cap(endpoint: EndpointSettings | None) -> bool:
    return endpoint is not None and "daily_cap_usd" not in endpoint.model_fields_set


def price_line(price: Mapping[str, Any]) -> str:
    """From `stage_json`: `$0.10 (list price $0.025 per output × 4)`."""
    if price["cost"] is not None:
        return f"{money(price['cost']['usd'])} ({price['how']})" if price["paid"] else price["how"]
    assumed = f"; the day's cap counts {money(price['assumed_usd'])}" if price["assumed_usd"] else ""
    return f"{UNKNOWN}: {price['how']}{assumed}"


def today_line(endpoint: str, today: Mapping[str, Any]) -> str:
    default = (
        f", a low default: endpoints.{endpoint}.daily_cap_usd in genyard.toml raises it"
        if today["default_cap"]
        else ""
    )
    month = (
        f", this month {money(today['month_usd'])} of {money(today['monthly_cap_usd'])}"
        if today["monthly_cap_usd"] is not None
        else ""
    )
    return (
        f"{endpoint} today (UTC): {money(today['spent_usd'])} of {money(today['daily_cap_usd'])} spent or held"
        f"{month}{default}"
    )


def _how(stage: NewStage, endpoint: EndpointSettings | None, paid: bool) -> str:
    if stage.estimate is not None and stage.estimate.source == "reported":
        return "the place says"
    if stage.estimate is not None and stage.estimate.source == "computed":
        rate = endpoint.usd_per_unit if endpoint else None
        return "the place says, in units of its own" + (f" at ${rate:g}" if rate is not None else "")
    if stage.estimate is not None and not paid and not stage.estimate.usd:
        return "nothing is charged"
    told = dict.fromkeys(_how_step(step, stage.draft.endpoint, endpoint, paid) for step in stage.draft.steps)
    return "; ".join(told)


def _how_step(step: BoundStep, name: str, endpoint: EndpointSettings | None, paid: bool) -> str:
    return how_price(step.binding.price, name, endpoint, paid=paid, count=step.parameters.get("count") or 1)


def how_price(
    price: Price | None, name: str, endpoint: EndpointSettings | None, *, paid: bool, count: int = 1
) -> str:
    """How a binding's price is known at the endpoint `name`, or what is missing."""
    per_second = endpoint.usd_per_second if endpoint else None
    if price is None:
        return "nobody has said what it costs there" if paid else "a place of your own"
    times = f" × {count}" if count != 1 and price.per != "request" else ""
    if price.per == "second":
        rate = per_second if per_second is not None else price.usd
        whose = "the endpoint's settings" if per_second is not None else "the list price"
        if rate is None:
            return f"about {price.seconds:g} s; set endpoints.{name}.usd_per_second for what a second costs"
        return f"about {price.seconds:g} s at ${rate:g} a second by {whose}{times}"
    if price.units is not None:
        each = endpoint.usd_per_unit if endpoint else None
        if each is None:
            return (
                f"{price.units:g} units per {price.per}; set endpoints.{name}.usd_per_unit for what one costs"
            )
        return f"{price.units:g} units per {price.per} at ${each:g}{times}"
    if price.usd is None:
        return price.note.rstrip(".") or "nobody has said what it costs there"
    return f"list price ${price.usd:g} per {price.per}{times}"


# ---- after ----


def attempt_line(attempt: Attempt) -> str:
    """`$0.025 (reported)`; empty where nothing was paid or nothing left."""
    if attempt.cost is not None and (attempt.paid or attempt.cost.usd):
        return f"{money(attempt.cost.usd)} ({attempt.cost.source})"
    return f"cost {UNKNOWN}" if attempt.paid and attempt.may_have_run else ""


def job_line(job: Job) -> str:
    """What a job has cost, of all its attempts; empty where nothing was paid."""
    return told_cost(job.as_json()["cost"])


def told_cost(cost: Mapping[str, Any] | None) -> str:
    if cost is None:
        return ""
    if cost["usd"] is None:
        return f"cost {UNKNOWN}"
    return money(cost["usd"]) + ("" if cost["complete"] else f" and a part that is {UNKNOWN}")


def seconds_told(seconds: float | None, source: str | None) -> str:
    """`3.2 s`, `about 3.2 s (measured)`; empty where nobody knows."""
    if seconds is None:
        return ""
    return f"about {seconds:.1f} s (measured)" if source == "measured" else f"{seconds:.1f} s"


def gpu_line(job: Job) -> str:
    """How long all attempts of a job have run at their places; empty where nothing has left."""
    told = job.as_json()["gpu_seconds"]
    if told is None:
        return ""
    known = seconds_told(told["seconds"], told["source"]) or UNKNOWN
    return known + ("" if told["complete"] or told["seconds"] is None else f" and a part that is {UNKNOWN}")


def credits_line(credits: Credits) -> str:
    """`credits: 6 of 8 charged, 2 refunded`."""
    if credits.reserved:
        return f"credits: {credits.reserved} held until it ends"
    back = f", {credits.refunded} refunded" if credits.refunded else ""
    return f"credits: {credits.charged} of {credits.price} charged{back}"
