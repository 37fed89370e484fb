"""What ComfyUI's own words mean: a history entry becomes a snapshot, an error body becomes a `GenyardError`.

Pure. Matching on texts happens in `_SAMPLES` alone, each row from a recording. Tracebacks stay out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, Final

from genyard.errors import Code, GenyardError
from genyard.media import MEDIA_TYPES, MediaKind
from genyard.operations import Role
from genyard.providers import RemoteOutput, Snapshot, State

Json = Any

#: (part of exception_type, part of exception_message) → code and what to tell.
_SAMPLES: Final[tuple[tuple[str, str, Code, str], ...]] = (
    ("OutOfMemoryError", "", Code.provider_out_of_memory, "the GPU ran out of memory; try a smaller size"),
    (
        "",
        "Allocation on device",
        Code.provider_out_of_memory,
        "the GPU ran out of memory; try a smaller size",
    ),
    ("AcceleratorError", "out of memory", Code.provider_out_of_memory, "the GPU ran out of memory"),
    (
        "RuntimeError",
        "DefaultCPUAllocator: can't allocate memory",
        Code.provider_failed,
        "the server ran out of main memory, which another try does not change; give it more, or try a smaller size",
    ),
    (
        "",
        "Invalid data found when processing input",
        Code.media_invalid,
        "the uploaded file is not an image or video that ComfyUI can read",
    ),
    (
        "",
        "Error downloading model files",
        Code.provider_missing,
        "a node tried to download its model files and could not; install them on the server",
    ),
    (
        "RuntimeError",
        "mat1 and mat2 shapes cannot be multiplied",
        Code.provider_missing,
        "the text encoder does not fit the model; check the model files on the server",
    ),
    ("", "No face detected", Code.no_face, "no face was found in the photo"),
)

#: `error.type` of a refused prompt that says what is not installed.
_MISSING_TYPES: Final = frozenset({"missing_node_type", "value_not_in_list"})

_KEYS: Final[Mapping[str, Role]] = {"images": Role.image, "audio": Role.audio, "text": Role.text}
_SUFFIXES: Final = {suffix: name for name, (_, suffix) in MEDIA_TYPES.items()} | {
    ".jpeg": "image/jpeg",
    ".mkv": "video/x-matroska",
    ".m4v": "video/mp4",
}
_ROLE_OF_KIND: Final = {"image": Role.image, "video": Role.video, "audio": Role.audio}


def snapshot_of(
    entry: Mapping[str, Json], expected: Sequence[Mapping[str, Json]], *, asked: bool
) -> Snapshot:
    """The end of a run. `expected`: rows of step, role, where; `asked`: we asked for its cancellation."""
    status = entry.get("status") or {}
    messages = {name: data for name, data in status.get("messages") or [] if isinstance(data, Mapping)}
    outputs = tuple(_harvest(entry.get("outputs") or {}, expected))
    seconds = _seconds(messages)
    if (failure := messages.get("execution_error")) is not None:
        return Snapshot(
            state=State.failed, outputs=outputs, error=failure_of(failure), word="error", seconds=seconds
        )
    if "execution_interrupted" in messages:
        error = GenyardError(Code.canceled, "canceled while it ran") if asked else _interrupted_by_others()
        state = State.canceled if asked else State.failed
        return Snapshot(state=state, outputs=outputs, error=error, word="interrupted", seconds=seconds)
    if status.get("status_str") == "error":
        error = GenyardError(Code.provider_failed, "ComfyUI says that the run failed, and not why")
        return Snapshot(state=State.failed, outputs=outputs, error=error, word="error", seconds=seconds)
    got = {output.where["node"] for output in outputs}
    if missing := [row["where"] for row in expected if row["where"] not in got]:
        return Snapshot(
            state=State.failed,
            outputs=outputs,
            error=_no_output(missing, entry),
            word="success",
            seconds=seconds,
        )
    return Snapshot(state=State.succeeded, progress=1.0, outputs=outputs, word="success", seconds=seconds)


def _interrupted_by_others() -> GenyardError:
    return GenyardError(Code.provider_interrupted, "somebody else interrupted the run on the server")


def _no_output(missing: Sequence[str], entry: Mapping[str, Json]) -> GenyardError:
    temporary = any(
        item.get("type") == "temp"
        for output in (entry.get("outputs") or {}).values()
        for items in output.values()
        if isinstance(items, list)
        for item in items
        if isinstance(item, Mapping)
    )
    why = "only temporary previews" if temporary else "nothing"
    return GenyardError(
        Code.provider_lost_output,
        f"ComfyUI says that it succeeded, but node {', '.join(missing)} left {why}",
        context={"nodes": list(missing)},
    )


def _seconds(messages: Mapping[str, Mapping[str, Json]]) -> float | None:
    start = messages.get("execution_start", {}).get("timestamp")
    for name in ("execution_success", "execution_error", "execution_interrupted"):
        end = messages.get(name, {}).get("timestamp")
        if isinstance(start, int | float) and isinstance(end, int | float):
            return max(0.0, (end - start) / 1000)
    return None


def _harvest(
    outputs: Mapping[str, Mapping[str, Json]], expected: Sequence[Mapping[str, Json]]
) -> Iterator[RemoteOutput]:
    """Every file and text of the expected nodes, in the plan's order, but no temporary files."""
    counts: dict[tuple[str, str], int] = {}
    for row in expected:
        for key, items in outputs.get(row["where"], {}).items():
            if key in ("animated", "latents") or not isinstance(items, list):
                continue
            for item in items:
                where = _where(row["where"], key, item)
                if where is None:
                    continue
                media_type = _media_type(key, item)
                role = Role(row["role"]) if row["role"] else _role(key, media_type)
                counted = (row["step"], role)
                index = counts[counted] = counts.get(counted, -1) + 1
                yield RemoteOutput(
                    step=row["step"], role=role, index=index, where=where, media_type=media_type
                )


def _where(node_id: str, key: str, item: Json) -> dict[str, Json] | None:
    if isinstance(item, str) and key == "text":
        return {"node": node_id, "text": item}
    if (
        not isinstance(item, Mapping)
        or not isinstance(item.get("filename"), str)
        or item.get("type") == "temp"
    ):
        return None
    return {
        "node": node_id,
        "filename": item["filename"],
        "subfolder": item.get("subfolder", ""),
        "type": item.get("type", "output"),
    }


def _media_type(key: str, item: Json) -> str | None:
    """By the suffix: names come from the server, the bytes are sniffed by whoever stores them."""
    if isinstance(item, str):
        return "text/plain" if key == "text" else None
    return _SUFFIXES.get(PurePosixPath(item["filename"]).suffix.lower())


def _role(key: str, media_type: str | None) -> Role:
    kind = (media_type or "").partition("/")[0]
    if kind == MediaKind.video or media_type in ("image/gif",):
        return Role.video
    return _KEYS.get(key) or _ROLE_OF_KIND.get(kind, Role.image)


def failure_of(told: Mapping[str, Json]) -> GenyardError:
    """An `execution_error`, without its traceback."""
    kind = str(told.get("exception_type") or "")
    text = str(told.get("exception_message") or "")
    node_type, node_id = str(told.get("node_type")), str(told.get("node_id"))
    first = _without_paths(text.strip().split("\n", 1)[0])[:300]
    context = {"node": node_id, "node_type": node_type, "exception_type": kind, "exception": first}
    for kind_part, text_part, code, meaning in _SAMPLES:
        if kind_part in kind and text_part in text:
            return GenyardError(code, f"{node_type} failed: {meaning}", context=context)
    return GenyardError(
        Code.provider_failed, f"{node_type} (node {node_id}) failed: {first or kind}", context=context
    )


def _without_paths(text: str) -> str:
    """The server's folders are nobody's business."""
    return re.sub(r"(?<![\w.])/(?:[^\s'\":]+/)+", "", text)


def refusal_of(body: Json) -> GenyardError:
    """A prompt that the server did not accept (400), in any of the shapes that versions of it use."""
    error = body.get("error") if isinstance(body, Mapping) else None
    node_errors = body.get("node_errors") if isinstance(body, Mapping) else None
    if isinstance(error, str):
        return GenyardError(Code.workflow_invalid, f"ComfyUI refused the workflow: {error[:300]}")
    if not isinstance(error, Mapping):
        return GenyardError(Code.provider_protocol, "ComfyUI refused the workflow, and did not say why")
    problems = list(_problems(node_errors if isinstance(node_errors, Mapping) else {}))
    kind = str(error.get("type", ""))
    if not problems:
        problems = [{"type": kind, "message": str(error.get("message", kind))}]
        if "does not exist" in problems[0]["message"]:  # 0.3.64 has no type of its own for a missing node
            problems[0]["type"] = "missing_node_type"
    code = _refusal_code(problems)
    return GenyardError(
        code,
        "ComfyUI refused the workflow: " + "; ".join(problem["message"] for problem in problems),
        context={"problems": problems},
    )


def _refusal_code(problems: Sequence[Mapping[str, str]]) -> Code:
    if all(problem["type"] in _MISSING_TYPES for problem in problems):
        return Code.provider_missing
    if all(problem["type"] == "custom_validation_failed" for problem in problems):
        return Code.provider_interrupted  # the upload is not there any more: the next try uploads it again
    return Code.workflow_invalid


def node_errors_of(node_errors: Mapping[str, Json]) -> GenyardError:
    """Accepted (200), but parts of the graph were dropped."""
    problems = list(_problems(node_errors))
    return GenyardError(
        Code.workflow_invalid,
        "ComfyUI would have run only a part of the workflow: "
        + "; ".join(one["message"] for one in problems),
        context={"problems": problems},
    )


def _problems(node_errors: Mapping[str, Json]) -> Iterator[dict[str, str]]:
    for node_id, told in node_errors.items():
        class_type = told.get("class_type", "?")
        for error in told.get("errors") or []:
            text = f"{class_type} (node {node_id}): {error.get('message')}"
            if details := str(error.get("details") or ""):
                text += f": {_without_paths(details)[:200]}"
            yield {"node": str(node_id), "type": str(error.get("type")), "message": text}
