"""What RunPod's own words mean: a job becomes a snapshot, a worker's complaint becomes a `GenyardError`.

Pure. Matching on texts happens in `_SAMPLES` alone, each row from a recording or the vendor's source. Tracebacks, paths
and what addresses hide stay out.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from genyard.errors import Code, GenyardError
from genyard.operations import Role
from genyard.providers import Cost, Ref, RemoteOutput, Snapshot, State
from genyard.providers.comfyui.outcome import failure_of
from genyard.providers.runpod.comfyui import prefix_of
from genyard.providers.runpod.files import Found, files_in, walk
from genyard.providers.runpod.wire import Job

Json = Any

#: Words that were not known when this was written keep being read until our own deadline.
_STATES: Final[Mapping[str, State]] = {
    "IN_QUEUE": State.queued,
    "IN_PROGRESS": State.running,
    "RUNNING": State.running,
    "COMPLETED": State.succeeded,
    "FAILED": State.failed,
    "CANCELLED": State.canceled,
    "TIMED_OUT": State.failed,
}

_MEMORY: Final = "the GPU ran out of memory; try a smaller size"
_BUCKET: Final = (
    "the worker could not put its result into its bucket; check BUCKET_ENDPOINT_URL, BUCKET_ACCESS_KEY_ID and "
    "BUCKET_SECRET_ACCESS_KEY of the endpoint at RunPod"
)
_NOTHING_SAVED: Final = (
    "the workflow ran and saved nothing that the worker returns; save with SaveImage or SaveVideo"
)
_DIED: Final = "ComfyUI died in the worker while it ran, most likely for want of memory; try a smaller size"

#: What a complaint contains → code and what to tell. The rows of the failure catalogue are in brackets.
_SAMPLES: Final[tuple[tuple[re.Pattern[str], Code, str], ...]] = (
    (
        re.compile(r"executionTimeout exceeded"),
        Code.provider_timeout,
        "it ran out of RunPod's time for it",
    ),  # R2
    (re.compile(r"CUDA out of memory|OutOfMemoryError"), Code.provider_out_of_memory, _MEMORY),
    (re.compile(r"^Invalid parameter: "), Code.request_unsupported, ""),  # R14
    (
        re.compile(r"ComfyUI server \(127\.0\.0\.1:8188\) not reachable"),  # W1
        Code.provider_interrupted,
        "ComfyUI did not start in the worker; if it happens again, see the endpoint's logs at RunPod, and use "
        "worker-comfyui 5.8.5 or newer",
    ),
    (
        re.compile(r"not found\. The custom node may not be installed"),  # W8
        Code.provider_missing,
        "a node is not installed in the endpoint's image",
    ),
    (
        re.compile(
            r"'images' must be a list|Missing 'workflow' parameter|Please provide input|Invalid JSON format"
        ),
        Code.internal,  # W9
        "the worker did not understand genyard's request",
    ),
    (re.compile(r"^Error uploading .* to S3"), Code.provider_protocol, _BUCKET),  # W11
    (
        re.compile(  # W12
            r"^Connection closed and failed to reconnect|^ComfyUI HTTP unreachable during websocket reconnect"
            r"|^WebSocket communication error"
        ),
        Code.provider_interrupted,
        _DIED,
    ),
    (
        re.compile(r"Failed to upload one or more input images"),
        Code.provider_failed,
        "the worker could not take the input pictures",
    ),
    (
        re.compile(r"[Pp]rompt ID( \S+)? not found in history"),  # W6
        Code.provider_interrupted,
        "the worker looked for its result too early, and found none",
    ),
    (re.compile(r"^No outputs found in history"), Code.provider_lost_output, _NOTHING_SAVED),  # W2
)
_UNTOLD: Final = re.compile(r"^Job processing failed")  # W5

#: worker-comfyui's complaint about a node's run, and Python's repr of what ComfyUI's validation found (W7).
_EXECUTION: Final = re.compile(
    r"^Workflow execution error: Node Type: (?P<type>.+?), Node ID: (?P<id>.+?), Message: (?P<text>.*)",
    re.DOTALL,
)
_VALIDATION: Final = re.compile(r"^Workflow validation failed|^Prompt outputs failed validation")
_PROBLEM: Final = re.compile(r"'type': '(\w+)'")
_PROBLEM_TEXTS: Final = re.compile(
    r"'message': '(?P<message>[^']*)', 'details': (?:'(?P<single>[^']*)'|\"(?P<double>[^\"]*)\")"
)
_NODE: Final = re.compile(r"Node '([^']+)' not found")
_MISSING: Final = frozenset({"missing_node_type", "value_not_in_list"})

_FRACTION: Final = re.compile(r"(\d+)\s*(?:/|of)\s*(\d+)")
_ADDRESS: Final = re.compile(r"(https?://[^\s?'\"]+)\?[^\s'\"]*")
_FOLDER: Final = re.compile(r"(?<![\w.:/])/(?:[^\s'\":/]+/)+")


def snapshot_of(job: Job, ref: Ref) -> Snapshot:
    """Without what the endpoint's health adds to a job that waits."""
    state = _STATES.get(job.status)
    if state is None:
        started = job.workerId is not None or job.executionTime is not None
        return Snapshot(state=State.running if started else State.queued, word=job.status)
    known = Snapshot(
        state=state, word=job.status, waited=_seconds(job.delayTime), seconds=_seconds(job.executionTime)
    )
    if state is State.queued:
        return known
    if state is State.running:
        progress, detail = progress_of(job.output)
        return replace(known, progress=progress, detail=detail)
    known = replace(known, cost=cost_of(job, ref, succeeded=state is State.succeeded))
    if state is State.succeeded:
        return _completed(job, ref, known)
    if state is State.canceled:
        return replace(known, error=GenyardError(Code.canceled, "RunPod says that it was canceled"))
    if job.status == "TIMED_OUT":
        text = "it ran out of RunPod's time for it, or its worker never reported (TIMED_OUT)"
        return replace(known, error=GenyardError(Code.provider_timeout, text))
    if job.error == "Job ID not found":  # [ran] the SDK's local server
        error = GenyardError(Code.provider_lost, "RunPod does not know the job any more")
        return replace(known, state=State.lost, error=error)
    return replace(known, error=error_of_complaints(complaints_of(job)))


def _completed(job: Job, ref: Ref, known: Snapshot) -> Snapshot:
    """A usable result, or a failure: COMPLETED alone says little."""
    read = ref["read"]
    if job.output is None or job.output in ({}, [], ""):
        return _failed(
            known,
            Code.provider_lost_output,
            "RunPod says that it succeeded, and gives no output: most likely the result was too large to be handed "
            "over; let the worker put results into a bucket",
        )
    outputs = tuple(_outputs(job, ref))
    complaints = [
        text for path in ("errors", "error", *read["errors"]) for text in _texts_at(job.output, path)
    ]
    if complaints:
        return replace(known, state=State.failed, outputs=outputs, error=error_of_complaints(complaints))
    got, wanted, rows = Counter(one.step for one in outputs), Counter[str](), Counter[str]()
    for row in ref["rows"]:
        rows[row["step"]] += 1
        wanted[row["step"]] += row["least"]
    missing = {step: count - got[step] for step, count in wanted.items() if got[step] < count}
    if any(not got[step] or rows[step] > 1 for step in missing):
        return replace(
            known, state=State.failed, outputs=outputs, error=_incomplete(job, ref, missing, len(outputs))
        )
    if missing:  # of several files of one output: those that came are of use, and the rest is not paid
        outputs = tuple(
            replace(one, facts={**one.facts, "withheld": missing[one.step]}) if one.step in missing else one
            for one in outputs
        )
        lacking = f"{sum(missing.values())} of {wanted.total()} files did not come"
        return replace(known, progress=1.0, detail=lacking, outputs=outputs)
    return replace(known, progress=1.0, outputs=outputs)


def _incomplete(job: Job, ref: Ref, missing: Mapping[str, int], got: int) -> GenyardError:
    context = {"missing": dict(missing), "found": got}
    images = job.output.get("images") if isinstance(job.output, Mapping) else None
    rows = [one for one in images or () if isinstance(one, Mapping)] if isinstance(images, list) else []
    if any(row.get("type") == "s3_url" and not _is_address(row.get("data")) for row in rows):  # W10
        text = "the worker has a bucket and no keys to it: what it returns is no address; check its BUCKET_ settings"
        return GenyardError(Code.provider_protocol, text, context=context)
    if isinstance(job.output, Mapping) and job.output.get("status") == "success_no_images":  # W2
        return GenyardError(Code.provider_lost_output, _NOTHING_SAVED, context=context)
    if got:  # W4
        text = f"RunPod says that it succeeded, but {sum(missing.values())} of the expected files are missing"
        return GenyardError(Code.provider_lost_output, text, context=context)
    text = (
        "RunPod says that it succeeded, but there is no file in its output: neither an address nor a picture"
    )
    return GenyardError(Code.provider_bad_output, text, context=context)


def _outputs(job: Job, ref: Ref) -> Iterator[RemoteOutput]:
    """In the output's order. What came as data is not stored with the job: it is read again when it is fetched."""
    read = ref["read"]
    counts: dict[tuple[str, Role], int] = {}
    for found in files_in(job.output, read["paths"], read["encoding"]):
        row = _row_of(found, ref)
        if row is None:
            continue
        role = Role(row["role"]) if row["role"] else _role(found.media_type)
        counted = (row["step"], role)
        index = counts[counted] = counts.get(counted, -1) + 1
        inline = {"id": ref["id"], "endpoint": ref["endpoint"], "path": list(found.path)}
        yield RemoteOutput(
            step=row["step"],
            role=role,
            index=index,
            where={"url": found.text} if found.encoding == "url" else inline,
            media_type=found.media_type,
        )


def _row_of(found: Found, ref: Ref) -> Mapping[str, Json] | None:
    """Whose file it is: by the name that its save node was given. A file without such a name belongs to the only
    output, or to the one whose name could not be set."""
    rows: Sequence[Mapping[str, Json]] = ref["rows"]
    for row in rows:
        if row["prefix"] is not None and (found.name or "").startswith(
            f"{prefix_of(ref['key'], row['prefix'])}_"
        ):
            return row
    if len(rows) == 1:
        return rows[0]
    return next((row for row in rows if row["prefix"] is None), None)


def _role(media_type: str | None) -> Role:
    return Role.video if (media_type or "").startswith("video/") else Role.image


def _failed(known: Snapshot, code: Code, text: str) -> Snapshot:
    return replace(known, state=State.failed, error=GenyardError(code, text))


def _is_address(text: Json) -> bool:
    return isinstance(text, str) and text.startswith(("https://", "http://"))


# Why it failed


def complaints_of(job: Job) -> list[str]:
    """Everything that a failed job says, the details first: they say more."""
    return [
        *_texts_at(job.output, "details"),
        *_texts_at(job.output, "errors"),
        *_texts(job.error),
        *_texts_at(job.output, "error"),
    ]


def _texts_at(output: Json, dotted: str) -> list[str]:
    try:
        return _texts(walk(output, dotted.split(".")))
    except LookupError:
        return []


def _texts(told: Json) -> list[str]:
    """[doc] What a handler raised is JSON within a string: type and message are shown, the rest is not."""
    if isinstance(told, list):
        return [text for one in told for text in _texts(one)]
    if isinstance(told, str) and told.lstrip().startswith("{"):
        try:
            told = json.loads(told)
        except ValueError:
            return [told]
    if isinstance(told, Mapping):
        kind = re.sub(r"^<class '(.*)'>$", r"\1", str(told.get("error_type") or told.get("type") or ""))
        text = str(told.get("error_message") or told.get("message") or told.get("error") or "")
        kind = kind.rpartition(".")[2]
        return [f"{kind}: {text}" if kind and text else kind or text] if kind or text else []
    return [told] if isinstance(told, str) and told.strip() else []


def error_of_complaints(complaints: Sequence[str]) -> GenyardError:
    """By the first complaint that is understood; else the first one's own words."""
    for text in complaints:
        if (run := _EXECUTION.match(text)) is not None:
            return _execution_error(run)
        if _VALIDATION.match(text):
            return _validation_error(text)
    for pattern, code, meaning in _SAMPLES:
        for text in complaints:
            if pattern.search(text):
                return _error(code, meaning or _clean(text), text)
    if not complaints:
        return GenyardError(Code.provider_failed, "RunPod says that the job failed, and not why")
    first = complaints[0]
    words = "the worker says that it failed, and not why" if _UNTOLD.match(first) else ""
    code = Code.provider_interrupted if any(map(_UNTOLD.match, complaints)) else Code.provider_failed
    return _error(code, words or f"the worker failed: {_clean(first)}", first)


def _error(code: Code, message: str, text: str) -> GenyardError:
    if (node := _NODE.search(text)) is not None:
        message = f"the node {node[1]} is not installed in the endpoint's image"
    return GenyardError(code, message, context={"told": _clean(text.partition("Raw response")[0])})


def _execution_error(run: re.Match[str]) -> GenyardError:
    """The worker leaves the exception's type out; the samples that need one are RuntimeErrors."""
    memory = "CUDA out of memory" in run["text"]
    error = failure_of(
        {
            "node_type": run["type"],
            "node_id": run["id"],
            "exception_type": "torch.OutOfMemoryError" if memory else "RuntimeError",
            "exception_message": _clean(run["text"]),
        }
    )
    context = {name: value for name, value in error.context.items() if name != "exception_type"}
    return GenyardError(error.code, error.message, context=context)


def _validation_error(text: str) -> GenyardError:
    kinds = _PROBLEM.findall(text)
    found = [
        ": ".join(part for part in (row["message"], row["single"] or row["double"]) if part)
        for row in _PROBLEM_TEXTS.finditer(text)
    ]
    told = "; ".join(dict.fromkeys(map(_clean, found))) or _clean(text)
    missing = bool(kinds) and all(kind in _MISSING for kind in kinds)
    upload = bool(kinds) and all(kind == "custom_validation_failed" for kind in kinds)
    code = Code.provider_missing if missing else Code.provider_failed if upload else Code.workflow_invalid
    return GenyardError(code, f"ComfyUI refused the workflow: {told}", context={"problems": kinds})


def _clean(text: str) -> str:
    """The first line, without the worker's folders and what an address hides behind its question mark."""
    first = text.strip().split("\n", 1)[0]
    return _FOLDER.sub("", _ADDRESS.sub(r"\1", first))[:300]


# Progress, time and money


def progress_of(told: Json) -> tuple[float | None, str | None]:
    """What a worker's `progress_update` shows as `output`: a number (a share or per cent), a text, or an object."""
    detail = None
    if isinstance(told, Mapping):
        detail = next(
            (told[name] for name in ("detail", "message", "status") if isinstance(told.get(name), str)), None
        )
        told = next((told[name] for name in ("progress", "percent", "percentage") if name in told), None)
    if isinstance(told, str):
        detail = detail or told
        fraction = _FRACTION.search(told)
        if fraction is not None and int(fraction[2]):
            told = int(fraction[1]) / int(fraction[2])
        else:
            told = told.strip().removesuffix("%")
            told = float(told) if re.fullmatch(r"\d+(\.\d+)?", told) else None
    if not isinstance(told, int | float) or isinstance(told, bool):
        return None, _clean(detail) if detail else None
    share = told / 100 if told > 1 else float(told)
    return min(0.999, max(0.0, share)), _clean(detail) if detail else None


def cost_of(job: Job, ref: Ref, *, succeeded: bool) -> Cost | None:
    """[doc] Public endpoints state US dollars; own ones bill seconds, whatever came of them."""
    told = job.output.get("cost") if isinstance(job.output, Mapping) else None
    if isinstance(told, int | float) and not isinstance(told, bool):
        return Cost(usd=float(told), source="reported")
    price: Mapping[str, float] = ref.get("price") or {}
    seconds = _seconds(job.executionTime)
    if "second" in price and seconds is not None:
        return Cost(usd=seconds * price["second"], source="computed")
    if "run" in price and succeeded:
        return Cost(usd=price["run"], source="estimated")
    return None


def _seconds(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else max(0.0, milliseconds / 1000)
