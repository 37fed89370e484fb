"""What Replicate's own words mean: a prediction becomes a snapshot, a refusal becomes a `GenyardError`.

Pure. Matching on texts happens in `_SAMPLES`, `_MISSING` and `_WAITS` alone. What a message says is told without
the input's own words: prompts stay out of errors.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any, Final

from yarl import URL

from genyard.errors import Code, GenyardError
from genyard.media import MEDIA_TYPES
from genyard.operations import Role
from genyard.providers import Cost, Ref, RemoteOutput, Snapshot, State
from genyard.providers._http import BadStatus, Place, error_of
from genyard.providers.replicate.wire import Prediction

Json = Any

#: Words that were not known when this was written keep being read until our own deadline.
_STATES: Final[Mapping[str, State]] = {
    "starting": State.queued,
    "processing": State.running,
    "succeeded": State.succeeded,
    "failed": State.failed,
    "canceled": State.canceled,
    "aborted": State.canceled,
}

_AGAIN: Final = "Replicate asks to try it again"

#: Part of a failed prediction's error → code and what to tell. Rows P3, P4, P5, P12 of the failure catalogue; the
#: longer NSFW texts are in the sources of cog-flux and cog-sdxl. E8765 and E9243 are not confirmed to mean this.
_SAMPLES: Final[tuple[tuple[re.Pattern[str], Code, str], ...]] = (
    (re.compile(r"\bNSFW\b"), Code.content_rejected, "the model's safety check refused the result"),
    (re.compile(r"\bE005\b"), Code.content_rejected, "the model's safety check refused the request"),
    (re.compile(r"flagged as sensitive"), Code.content_rejected, "it was flagged as sensitive"),
    (re.compile(r"content policy", re.I), Code.content_rejected, "it is against the model's content policy"),
    (
        re.compile(r"\bE1001\b"),
        Code.provider_out_of_memory,
        "the model ran out of memory; try a smaller size",
    ),
    (re.compile(r"CUDA out of memory"), Code.provider_out_of_memory, "the GPU ran out of memory"),
    (re.compile(r"\bE6716\b"), Code.provider_interrupted, "the model took too long to start"),
    (re.compile(r"\bE1000\b"), Code.provider_interrupted, f"an unknown error; {_AGAIN}"),
    (re.compile(r"\b(E8765|E9243)\b"), Code.provider_interrupted, _AGAIN),
    (re.compile(r"Prediction interrupted; please retry"), Code.provider_interrupted, _AGAIN),
    (re.compile(r"\bE4875\b"), Code.internal, "genyard gave an empty webhook address"),
    (re.compile(r"No face detected"), Code.no_face, "no face was found in the photo"),
)

#: A refusal (404, 422) that is about the model, not about the input.
_MISSING: Final = re.compile(r"version does not exist|Invalid version", re.I)

_WAITS: Final = (
    re.compile(r"available in (\d+(?:\.\d+)?) second"),
    re.compile(r"resets in ~?(\d+(?:\.\d+)?) ?s"),
)

#: As the official client reads it: a tqdm bar.
_PROGRESS: Final = re.compile(r"^\s*(\d+)%\s*\|.+?\|\s*(\d+)/(\d+)")
_LOG_TAIL: Final = 4_000

#: "If it lasts longer than a few seconds, a new worker is typically being started" (vendor's documentation).
_COLD_AFTER: Final = 10.0

#: Seconds by which the place's clock and its deadline may differ.
_DEADLINE_SLACK: Final = 1.0

_SUFFIXES: Final = {suffix: name for name, (_, suffix) in MEDIA_TYPES.items()} | {".jpeg": "image/jpeg"}


def snapshot_of(seen: Prediction, ref: Ref, now: float) -> Snapshot:
    """`now`: the wall clock, in seconds; only the time of waiting is measured by it."""
    state = _STATES.get(seen.status)
    if state is None:
        return Snapshot(state=State.running if seen.started_at else State.queued, word=seen.status)
    if state is State.queued:
        return _waiting(seen, now)
    known = Snapshot(
        state=state,
        word=seen.status,
        seconds=_seconds(seen),
        waited=_between(seen.created_at, seen.started_at),
    )
    if state is State.running:
        progress, detail = progress_of(seen.logs or "")
        # Output may be there already (P9): it is complete only when the state says so.
        return replace(known, progress=progress, detail=detail)
    if state is State.succeeded:
        return _succeeded(seen, ref, known)
    known = replace(known, cost=_cost(seen, ref, 0))
    if state is State.failed:
        return replace(known, error=failure_of(seen))
    if (error := _at_deadline(seen)) is not None:
        return replace(known, state=State.failed, error=error)
    return replace(known, error=GenyardError(Code.canceled, f"Replicate says that it was {seen.status}"))


def _waiting(seen: Prediction, now: float) -> Snapshot:
    created = _moment(seen.created_at)
    cold = created is not None and now - created > _COLD_AFTER
    detail = "waiting for a machine to start" if cold else None
    return Snapshot(state=State.queued, word=seen.status, cold=cold, detail=detail)


def _succeeded(seen: Prediction, ref: Ref, known: Snapshot) -> Snapshot:
    outputs = tuple(_outputs(seen, ref))
    expected = ref.get("expected", 1)
    if not outputs:
        cost = _cost(seen, ref, expected)
        return replace(known, state=State.failed, error=_no_output(seen), cost=cost)
    missing = max(0, expected - len(outputs))
    return replace(
        known,
        progress=1.0,
        detail=f"{missing} of {expected} were withheld by the model" if missing else None,
        outputs=outputs,
        cost=_cost(seen, ref, len(outputs)),
    )


def _no_output(seen: Prediction) -> GenyardError:
    if seen.data_removed:
        return GenyardError(
            Code.provider_lost_output,
            "it succeeded, but Replicate has removed the result (it keeps it for one hour)",
        )
    if not seen.output:
        return GenyardError(
            Code.provider_lost_output, "Replicate says that it succeeded, and gives no output"
        )
    return GenyardError(
        Code.provider_bad_output, "Replicate says that it succeeded, but there is no file in its output"
    )


def _outputs(seen: Prediction, ref: Ref) -> Iterator[RemoteOutput]:
    """Every address in the output, in its order. What came as data is not stored with the job: it is read again."""
    row, field = ref["outputs"][0], ref.get("field")
    files = list(files_of(seen.output, field))
    missing = ref.get("expected", 1) - len(files)
    for index, address in enumerate(files):
        inline = address.startswith("data:")
        media_type = _inline_type(address) if inline else _media_type(address)
        yield RemoteOutput(
            step=row["step"],
            role=Role(row["role"]) if row["role"] else _role(media_type),
            index=index,
            where={"id": seen.id, "number": index, "field": field} if inline else {"url": address},
            media_type=media_type,
            facts={"withheld": missing} if missing > 0 else {},
        )


def files_of(output: Json, field: str | None) -> Iterator[str]:
    """Addresses in an output that is a string, a list, an object, or nothing."""
    if field is not None and isinstance(output, Mapping):
        output = output.get(field)
    if isinstance(output, str):
        if output.startswith(("https://", "http://", "data:")):
            yield output
    elif isinstance(output, Mapping):
        for value in output.values():
            yield from files_of(value, None)
    elif isinstance(output, list):
        for value in output:
            yield from files_of(value, None)


def _inline_type(address: str) -> str | None:
    told = address[5:].partition(",")[0].partition(";")[0]
    return told if told in MEDIA_TYPES else None


def _media_type(address: str) -> str | None:
    """By the suffix: whoever stores the bytes sniffs them."""
    try:
        path = URL(address).path
    except ValueError:
        return None
    return _SUFFIXES.get(PurePosixPath(path).suffix.lower())


def _role(media_type: str | None) -> Role:
    return Role.video if (media_type or "").startswith("video/") else Role.image


def _at_deadline(seen: Prediction) -> GenyardError | None:
    """Replicate's own end by Cancel-After: `aborted` before the start, `canceled` while it ran."""
    deadline, ended = _moment(seen.deadline), _moment(seen.completed_at)
    if deadline is None or ended is None or ended < deadline - _DEADLINE_SLACK:
        return None
    if seen.status == "aborted" or seen.started_at is None:
        return GenyardError(
            Code.provider_no_capacity, "no machine took it up before its deadline at Replicate"
        )
    return GenyardError(
        Code.provider_timeout, "it ran until its deadline at Replicate, which then stopped it"
    )


# Money and time


def _cost(seen: Prediction, ref: Ref, outputs: int) -> Cost | None:
    """By the binding's price. What a failed run of a model that is priced by the picture costs is not documented:
    unknown. An aborted prediction of a public model is documented to cost nothing."""
    price: Mapping[str, float] = ref.get("price") or {}
    if seen.status == "aborted":
        return Cost(usd=0.0, source="computed") if ref.get("free_before_start") else None
    if "second" in price:
        seconds = _seconds(seen)
        return None if seconds is None else Cost(usd=seconds * price["second"], source="computed")
    if "output" in price:
        told = (seen.metrics or {}).get("image_output_count", (seen.metrics or {}).get("image_count"))
        count = told if isinstance(told, int) else outputs
        return Cost(usd=count * price["output"], source="computed") if count else None
    if "run" in price and seen.status == "succeeded":
        return Cost(usd=price["run"], source="computed")
    return None


def _seconds(seen: Prediction) -> float | None:
    told = (seen.metrics or {}).get("predict_time")
    if isinstance(told, int | float):
        return float(told)
    return _between(seen.started_at, seen.completed_at)


def _between(start: str | None, end: str | None) -> float | None:
    first, last = _moment(start), _moment(end)
    return None if first is None or last is None else max(0.0, last - first)


def _moment(told: str | None) -> float | None:
    try:
        return datetime.fromisoformat(told).timestamp() if told else None
    except ValueError:
        return None


def progress_of(logs: str) -> tuple[float | None, str | None]:
    """Of the newest progress bar in the logs."""
    for line in reversed(re.split(r"[\r\n]+", logs[-_LOG_TAIL:])):
        if (found := _PROGRESS.match(line)) is not None:
            percent, done, total = (int(one) for one in found.groups())
            return min(1.0, percent / 100), f"step {done} of {total}"
    return None, None


# Errors


def failure_of(seen: Prediction) -> GenyardError:
    """A failed prediction, in words for a person."""
    text = seen.error if isinstance(seen.error, str) else str(seen.error or "")
    first = _tidy(text, seen.input)
    context = {"error": first} if first else {}
    for pattern, code, meaning in _SAMPLES:
        if pattern.search(text):
            return GenyardError(code, f"Replicate: {meaning}", context=context)
    told = first or "it does not say why"
    return GenyardError(Code.provider_failed, f"the prediction failed: {told}", context=context)


def refusal_of(refused: BadStatus, place: Place, doing: str, *, name: str, given: Json) -> GenyardError:
    """A call that was answered outside 2xx, and was surely not accepted. `given`: the input, whose words are not
    repeated."""
    problem = refused.json if isinstance(refused.json, Mapping) else {}
    detail = _tidy(place.redact(str(problem.get("detail") or problem.get("title") or "")), given)
    told = f": {detail}" if detail else ""
    context = {"status": refused.status, "doing": doing}
    if refused.status == 429:
        context["retry_after"] = wait_of(refused)
        return GenyardError(Code.provider_busy, f"Replicate's rate limit is reached{told}", context=context)
    if refused.status == 402:
        text = (
            f"Replicate has no credit left for {place.key_setting}: add some at replicate.com/account/billing"
        )
        return GenyardError(Code.provider_rejected, text, context=context)
    if refused.status == 404 or (refused.status == 422 and _MISSING.search(refused.body)):
        text = f"Replicate does not know {name}, or {place.key_setting} may not use it{told}"
        return GenyardError(Code.provider_missing, text, context=context)
    if refused.status in (400, 422):
        return GenyardError(
            Code.request_invalid, f"{name} on Replicate refused the input{told}", context=context
        )
    if refused.status == 413:
        return GenyardError(
            Code.request_unsupported, f"the request is too large for Replicate{told}", context=context
        )
    return error_of(refused, place, doing)


def wait_of(refused: BadStatus) -> float | None:
    """Seconds until a rate limit lets us in again: by the header, else by the text."""
    if refused.retry_after is not None:
        return refused.retry_after
    for pattern in _WAITS:
        if (found := pattern.search(refused.body)) is not None:
            return float(found.group(1))
    return None


def _tidy(text: str, given: Json) -> str:
    """One line without tracebacks, folders, or what the caller wrote."""
    for word in sorted(_texts(given), key=len, reverse=True):
        text = text.replace(word, "…")
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    if any(line.startswith("Traceback") for line in lines):
        lines = lines[-1:]
    line = lines[0] if lines else ""
    return re.sub(r"(?<![\w.:/])/(?:[^\s'\":/]+/)+", "", line)[:300]


def _texts(given: Json) -> Iterator[str]:
    """What the caller wrote, in the ways in which an error may quote it."""
    if isinstance(given, str):
        ways = {
            given,
            json.dumps(given)[1:-1],
            json.dumps(given, ensure_ascii=False)[1:-1],
            *given.splitlines(),
        }
        yield from (one for one in ways if len(one) > 3)
    elif isinstance(given, Mapping):
        for value in given.values():
            yield from _texts(value)
    elif isinstance(given, list):
        for value in given:
            yield from _texts(value)
