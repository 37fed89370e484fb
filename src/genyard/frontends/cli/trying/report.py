"""What came of a request, as JSON and in a few lines: where its time went, what it cost, what was sent, what came.

No secret gets in: known ones are looked for, and whatever has the name or the length of one is left out.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from genyard.frontends.cli.prices import cost_json, price_line, stage_json, told_cost

if TYPE_CHECKING:
    from genyard.jobs.model import Attempt, Event, Job
    from genyard.settings import EndpointSettings, Settings
    from genyard.studio.planning import Planned

_SECRET_NAME: Final = re.compile(
    r"(api_?key|token|secret|password|authorization|credential)s?$", re.IGNORECASE
)
_BASE64: Final = re.compile(r"(data:[\w/+.-]+;base64,)?([A-Za-z0-9+/_-]{200,}={0,2})\Z")
_USER: Final = re.compile(r"(?<=://)[^/@\s]+@")
_HIDDEN: Final = "…"


@dataclass(kw_only=True)
class Watched:
    """What was seen of a run while it went on: when it began at its place, how long it waited for a cold machine.

    Ticks come at most five times a second: what ran from the first of them on has not waited, as far as can be seen.
    """

    began: datetime | None = None
    waited: bool = False
    cold_seconds: float = 0.0
    _cold_since: datetime | None = field(default=None)

    def see(self, event: Event) -> None:
        if event.kind != "progress":
            return
        now = datetime.now(UTC)
        if self._cold_since is not None:
            self.cold_seconds += (now - self._cold_since).total_seconds()
        self._cold_since = now if event.data.get("cold") else None
        if event.data.get("state") == "queued":
            self.waited = True
        elif event.data.get("state") == "running" and self.began is None:
            self.began = now


def latency(job: Job, watched: Watched) -> dict[str, Any]:
    """Seconds, of the last attempt. `told`: by whom each is known; what nobody can tell apart is null.

    ours      from the request until the submission began
    submit    inputs read and uploaded, the place's answer
    queue     waiting there, without the cold start
    run       as the place counts it
    download  learning that it has ended, fetching, checking, storing
    """
    attempt = job.attempts[-1] if job.attempts else None
    total = _between(job.created_at, job.finished_at)
    if attempt is None or attempt.submitted_at is None:
        return {"total": total, "told": {}}
    first = job.attempts[0]
    waited, waited_by = _waited(attempt, watched)
    cold = None if waited is None else min(waited, watched.cold_seconds)
    there = _between(attempt.submitted_at, attempt.finished_at)
    rest = None
    if there is not None and waited is not None and attempt.seconds is not None:
        left = there - waited - attempt.seconds
        rest = left if left >= 0 else None  # the place's own count may be longer than all of it
    return {
        "total": total,
        "ours": _between(job.created_at, first.created_at),
        "earlier_attempts": _between(first.created_at, attempt.created_at) if attempt is not first else None,
        "submit": _between(attempt.created_at, attempt.submitted_at),
        "queue": None if waited is None or cold is None else waited - cold,
        "cold_start": cold,
        "run": attempt.seconds,
        "download": rest,
        "at_the_place": there,
        "told": {
            "queue": waited_by,
            "cold_start": "seen" if cold else None,
            "run": "place" if attempt.seconds is not None else None,
        },
    }


def _waited(attempt: Attempt, watched: Watched) -> tuple[float | None, str | None]:
    if attempt.waited is not None:
        return attempt.waited, "place"
    if watched.began is not None and not watched.waited:
        return 0.0, "seen"
    if watched.began is not None and attempt.submitted_at is not None:
        return max(0.0, (watched.began - attempt.submitted_at).total_seconds()), "seen"
    return None, None


def _between(begin: datetime | None, end: datetime | None) -> float | None:
    return None if begin is None or end is None else (end - begin).total_seconds()


def planned_json(planned: Planned, settings: Settings) -> dict[str, Any]:
    """What is to be sent, and for how much. The prompt is part of it, as asked."""
    return {
        "model": planned.bindings[-1].model,
        "estimate": {
            "cost": cost_json(planned.cost),
            "stages": [stage_json(stage, settings) for stage in planned.stages],
        },
        "request": [
            {
                "parameters": {
                    name: value
                    for step in stage.draft.steps
                    for name, value in step.parameters.items()
                    if value not in (None, "", [], (), {})
                },
                "payload": dict(stage.plan.payload),
                "inputs": [one.name for one in stage.plan.inputs],
                "outputs": [{"role": one.role, "where": one.where} for one in stage.plan.outputs],
            }
            for stage in planned.stages
        ],
    }


def job_json(job: Job, watched: Watched, files: Sequence[str]) -> dict[str, Any]:
    told = job.as_json()
    return {
        "job_id": told["id"],
        "trace_id": told["trace_id"],
        "state": told["state"],
        "latency": latency(job, watched),
        "cost": told["cost"],
        "attempts": told["attempts"],
        "outputs": [
            {
                "file": file,
                "role": one.role,
                "media_type": one.media_type,
                "width": one.width,
                "height": one.height,
                "seconds": one.seconds,
                "bytes": one.bytes,
                "sha256": one.sha256,
                "facts": dict(one.facts),
            }
            for one, file in zip(job.outputs, files, strict=False)
        ],
        "error": job.error,
    }


def secrets_of(endpoint: EndpointSettings) -> frozenset[str]:
    given = (endpoint.api_key, endpoint.api_secret, endpoint.webhook_secret)
    return frozenset(one.get_secret_value() for one in given if one is not None and one.get_secret_value())


def masked(value: Any, secrets: Collection[str]) -> Any:
    """The same without secrets, and with a note in place of media."""
    if isinstance(value, Mapping):
        return {
            name: _HIDDEN
            if one and isinstance(one, str) and _SECRET_NAME.search(str(name))
            else masked(one, secrets)
            for name, one in value.items()
        }
    if isinstance(value, list | tuple):
        return [masked(one, secrets) for one in value]
    if not isinstance(value, str):
        return value
    for secret in secrets:
        value = value.replace(secret, _HIDDEN)
    media = _BASE64.match(value)
    if media is not None:
        return f"{media[1] or ''}… {len(media[2])} characters of base64"
    return _USER.sub(f"{_HIDDEN}@", value)


def lines(one: Mapping[str, Any]) -> list[str]:
    """A tried operation, for a person."""
    if one["state"] == "succeeded":
        said = [f"✓ {one['operation']} ({one['model']}) · {_split(one['latency'])}"]
        said.append(f"  cost: {_cost(one)}")
    else:
        error = one["error"]
        said = [f"✗ {one['operation']}: {error['message']} · {error['code']} ({error['remedy']})"]
        if one.get("cost"):
            said.append(f"  cost: {_cost(one)}")
    for output in one.get("outputs", ()):
        size = f"{output['width']}×{output['height']} " if output["width"] else ""
        said.append(f"  {output['file']}: {size}{output['media_type']}, {output['bytes']:,} bytes")
    return said


def _cost(one: Mapping[str, Any]) -> str:
    sources = dict.fromkeys(try_["cost"]["source"] for try_ in one["attempts"] if try_["cost"])
    told = told_cost(one["cost"]).removeprefix("cost ") or "nothing is charged"
    how = f" ({', '.join(sources)})" if sources and one["cost"] else ""
    stages = one["estimate"]["stages"]
    before = "; ".join(price_line(stage) for stage in stages)
    return f"{told}{how}" + (
        f" · estimated before: {before}" if any(stage["paid"] for stage in stages) else ""
    )


def _split(told: Mapping[str, Any]) -> str:
    names = ("ours", "earlier_attempts", "submit", "queue", "cold_start", "run", "download")
    parts = [f"{name.replace('_', ' ')} {told[name]:.2f}" for name in names if told.get(name)]
    if told.get("download") is None and (left := told.get("at_the_place")) is not None:
        unsplit = [name for name in ("queue", "run", "download") if told.get(name) is None]
        left -= sum(told.get(name) or 0.0 for name in ("queue", "cold_start", "run"))
        parts += [f"{' + '.join(unsplit)} {left:.2f}"] if left > 0 else []
    return f"{told['total']:.2f} s: {', '.join(parts)}" if told["total"] is not None else ""
