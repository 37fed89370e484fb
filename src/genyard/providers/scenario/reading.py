"""What Scenario's words mean: a job as a snapshot, creative units as money, a refusal as an error. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from genyard.catalog.pricing import Rates
from genyard.errors import Code, GenyardError
from genyard.operations import Role
from genyard.providers import Cost, Ref, RemoteOutput, Snapshot, State
from genyard.providers._http import BadStatus, Place, error_of
from genyard.providers.scenario.wire import KEYS, Job

Json = Any

#: The schema's words, and those that were told or seen beside them.
STATES: Final[Mapping[str, State]] = {
    "pending": State.queued,
    "queued": State.queued,
    "warming-up": State.queued,
    "in-progress": State.running,
    "processing": State.running,
    "finalizing": State.running,
    "success": State.succeeded,
    "succeeded": State.succeeded,
    "completed": State.succeeded,
    "failure": State.failed,
    "failed": State.failed,
    "error": State.failed,
    "canceled": State.canceled,
    "cancelled": State.canceled,
}

_DETAILS: Final[Mapping[str, str]] = {"warming-up": "cold start", "finalizing": "finishing"}

#: Exact names in the body of a 403 that is about the plan, not the key. Seen in October 2026 with `requiredPlan`.
_PLAN_NAMES: Final = frozenset({"ModelAccessRestrictedError"})

_LONGEST: Final = 300
_LINK_QUERY: Final = re.compile(r"(https?://[^\s?#\"']+)[?#][^\s\"']*")


def snapshot_of(job: Job, ref: Ref, rates: Rates, place: Place) -> Snapshot:
    state = _state(job)
    seconds, waited = _times(job)
    progress = min(max(job.progress or 0.0, 0.0), 1.0)
    common: dict[str, Json] = {"word": job.status, "seconds": seconds, "waited": waited}
    if not state.ended:
        return Snapshot(
            state=state,
            progress=progress if state is State.running else None,
            detail=_DETAILS.get(job.status)
            or (None if job.status in STATES else f"Scenario says {job.status[:40]!r}"),
            cold=job.status == "warming-up",
            **common,
        )
    cost, units = cost_of(job, state, ref, rates), _units(job, ref)
    if state is State.canceled:
        return Snapshot(
            state=state, cost=cost, error=GenyardError(Code.canceled, "canceled at Scenario"), **common
        )
    if state is State.failed:
        return Snapshot(state=state, cost=cost, error=_failure(job, units, place), **common)
    outputs = tuple(_outputs(job, ref, units))
    if not outputs:
        nothing = GenyardError(
            Code.provider_lost_output,
            "Scenario says that it succeeded, and names no file",
            context=_context(job, units),
        )
        return Snapshot(state=State.failed, cost=cost, error=nothing, **common)
    return Snapshot(state=state, progress=1.0, cost=cost, outputs=outputs, **common)


def _state(job: Job) -> State:
    """A word that nobody knows keeps it waiting or running, whichever it was."""
    known = STATES.get(job.status)
    return known or (State.running if _moment(job, State.running) is not None else State.queued)


def _outputs(job: Job, ref: Ref, units: float | None) -> Iterator[RemoteOutput]:
    row = ref["outputs"][0]
    facts = {} if units is None else {"creative_units_of_run": units}
    for index, asset_id in enumerate((job.metadata and job.metadata.asset_ids) or ()):
        yield RemoteOutput(
            step=row["step"], role=Role(row["role"]), index=index, where={"asset_id": asset_id}, facts=facts
        )


def _failure(job: Job, units: float | None, place: Place) -> GenyardError:
    metadata = job.metadata
    told = [_text(one) for one in (metadata.error, metadata.hint) if one] if metadata is not None else []
    given = metadata.input if metadata is not None else None
    why = clean("; ".join(told), place, hidden=_strings(given)) or "it does not say why"
    return GenyardError(
        Code.provider_failed, f"the run failed at Scenario: {why}", context=_context(job, units)
    )


def _context(job: Job, units: float | None) -> dict[str, Json]:
    context: dict[str, Json] = {"job_id": job.job_id}
    return context if units is None else {**context, "creative_units": units}


# --- money ---------------------------------------------------------------------------------------


def cost_of(job: Job, state: State, ref: Ref, rates: Rates) -> Cost | None:
    """Failed runs are refunded, unless the job says that they are not. What a canceled one gives back is not
    documented, so what it says that it costs is booked."""
    billing = job.billing
    if state is State.failed and billing is not None and not billing.disable_refund:
        return Cost(usd=0.0, source="computed")
    if state is State.failed and billing is None:
        return None
    return money(_units(job, ref), rates)


def money(units: float | None, rates: Rates) -> Cost | None:
    """None where nobody has said what a unit costs: unknown, which is not zero."""
    if units == 0:
        return Cost(usd=0.0, source="computed")
    if units is None or rates.usd_per_unit is None:
        return None
    return Cost(usd=units * rates.usd_per_unit, source="computed")


def _units(job: Job, ref: Ref) -> float | None:
    """After discount: what the submission answered with, unless the job knows better."""
    billing = job.billing
    if billing is None or billing.cu_cost is None:
        return ref.get("units")
    return billing.cu_cost + sum(extra or 0.0 for extra in (billing.cu_cost_details or {}).values())


# --- time ----------------------------------------------------------------------------------------


def _times(job: Job) -> tuple[float | None, float | None]:
    """Seconds of execution, and before it began."""
    start, end = _moment(job, State.running), _moment(job, State.succeeded, State.failed, State.canceled)
    created = _date(job.created_at)
    seconds = (end - start).total_seconds() if start and end else None
    waited = (start - created).total_seconds() if start and created else None
    return _not_negative(seconds), _not_negative(waited)


def _moment(job: Job, *states: State) -> datetime | None:
    for one in job.status_history or ():
        if STATES.get(one.status) in states and (date := _date(one.date)) is not None:
            return date
    return None


def _date(text: str | None) -> datetime | None:
    try:
        date = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return date if date.tzinfo is not None else None


def _not_negative(seconds: float | None) -> float | None:
    return None if seconds is None else max(0.0, seconds)


# --- refusals ------------------------------------------------------------------------------------


def refusal(refused: BadStatus, place: Place, doing: str, *, hidden: Iterable[str] = ()) -> GenyardError:
    """What an answer outside 2xx means. `hidden`: texts of the request that the answer may quote."""
    body = refused.json if isinstance(refused.json, Mapping) else {}
    reason = clean(
        _text(body.get("reason") or body.get("message") or body.get("error")), place, hidden=hidden
    )
    said = f": {reason}" if reason else ""
    context: dict[str, Json] = {"status": refused.status, "doing": doing}
    if refused.status == 429:
        return _busy(body, context, said)
    if refused.status == 401:
        return GenyardError(
            Code.provider_rejected,
            f"Scenario refused {KEYS} (HTTP 401, while {doing}){said}",
            context=context,
        )
    if refused.status == 403:
        return _forbidden(body, context, said, doing)
    if refused.status == 402:
        text = f"Scenario wants to be paid first: are creative units left? (HTTP 402){said}"
        return GenyardError(Code.provider_rejected, text, context=context)
    if refused.status in (400, 409, 422):
        text = f"Scenario refused the request (HTTP {refused.status}, while {doing}){said}"
        return GenyardError(Code.request_invalid, text, context=context)
    return error_of(refused, place, doing)


def _busy(body: Mapping[str, Json], context: dict[str, Json], said: str) -> GenyardError:
    """The team's own limit of runs at once, or a pause that was asked for. Nothing was accepted."""
    action, limit, wait = (_find(body, name) for name in ("actionName", "actionLimit", "remainingSeconds"))
    if isinstance(wait, int | float) and not isinstance(wait, bool):
        context["retry_after"] = max(0.0, float(wait))
    if isinstance(action, str):
        context |= {"action": action, "limit": limit}
        text = f"the Scenario team is at its limit of {limit} at once for {action[:60]!r} (HTTP 429)"
    elif "retry_after" in context:
        text = f"Scenario asks for a pause of {context['retry_after']:g} seconds (HTTP 429)"
    else:
        text = f"Scenario has no capacity now (HTTP 429){said}"
    return GenyardError(Code.provider_busy, text, context=context)


def _forbidden(body: Mapping[str, Json], context: dict[str, Json], said: str, doing: str) -> GenyardError:
    plan = _find(body, "requiredPlan")
    if body.get("name") in _PLAN_NAMES or plan is not None:
        needed = f" (it needs {plan[:60]})" if isinstance(plan, str) else ""
        text = f"the Scenario plan of this team does not include the model{needed}{said}"
        return GenyardError(Code.provider_rejected, text, context={**context, "required_plan": plan})
    text = f"Scenario does not allow it with {KEYS} (HTTP 403, while {doing}){said}"
    return GenyardError(Code.provider_rejected, text, context=context)


def _find(body: Mapping[str, Json], name: str) -> Json:
    """At the top, or one level down: where exactly is not documented."""
    if name in body:
        return body[name]
    return next((one[name] for one in body.values() if isinstance(one, Mapping) and name in one), None)


def _text(told: Json) -> str:
    if isinstance(told, Mapping):
        told = told.get("message") or told.get("reason") or ""
    return told if isinstance(told, str) else ""


def clean(text: str, place: Place, *, hidden: Iterable[str] = ()) -> str:
    """One line for a person, without keys, prompts, what signs a link, and a program's own trace."""
    for one in hidden:
        text = text.replace(one, "…")
    line = " ".join(place.redact(text).partition("Traceback (most recent")[0].split())
    return _LINK_QUERY.sub(r"\1", line)[:_LONGEST]


def _strings(given: Json) -> Iterator[str]:
    """Texts of a request that are somebody's own words."""
    if isinstance(given, Mapping):
        for value in given.values():
            if isinstance(value, str) and len(value) > 3:
                yield value


def words_of(body: Mapping[str, Json]) -> tuple[str, ...]:
    return tuple(sorted(_strings(body), key=len, reverse=True))
