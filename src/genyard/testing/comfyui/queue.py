"""The emulator's queue, history and jobs view: what /queue, /history and /api/jobs tell.

One prompt runs at a time. Memory only: a restart makes a new one.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

Json = Any

MAX_HISTORY: Final = 10_000
STATUSES: Final = ("pending", "in_progress", "completed", "failed", "cancelled")


@dataclass(kw_only=True)
class Prompt:
    """One accepted submission; `row` is the 5-tuple of the queue and history answers."""

    number: float
    prompt_id: str
    graph: dict[str, Json]
    extra_data: dict[str, Json]
    outputs: list[str]
    interrupted: bool = False

    @property
    def row(self) -> list[Json]:
        return [self.number, self.prompt_id, self.graph, self.extra_data, self.outputs]

    @property
    def client_id(self) -> str | None:
        return self.extra_data.get("client_id")


class DuplicateInQueue(TypeError):
    """Same number and same id twice: the heap compares dictionaries, after the item went in."""


@dataclass(kw_only=True)
class Queue:
    pending: list[tuple[float, str, int, Prompt]] = field(default_factory=list)
    running: Prompt | None = None
    history: OrderedDict[str, dict[str, Json]] = field(default_factory=OrderedDict)
    _sequence: int = 0

    @property
    def remaining(self) -> int:
        return len(self.pending) + (self.running is not None)

    def known(self) -> list[str]:
        running = [self.running.prompt_id] if self.running else []
        return [*(item[1] for item in self.pending), *running, *self.history]

    def put(self, prompt: Prompt) -> None:
        twice = any((number, one) == (prompt.number, prompt.prompt_id) for number, one, *_ in self.pending)
        self._sequence += 1
        heapq.heappush(self.pending, (prompt.number, prompt.prompt_id, self._sequence, prompt))
        if twice:
            raise DuplicateInQueue("'<' not supported between instances of 'dict' and 'dict'")

    def take(self) -> Prompt:
        self.running = heapq.heappop(self.pending)[3]
        return self.running

    def remove(self, prompt_id: str) -> bool:
        """One pending item per call, as the real one does."""
        for place, item in enumerate(self.pending):
            if item[1] == prompt_id:
                self.pending.pop(place)
                heapq.heapify(self.pending)
                return True
        return False

    def finish(self, entry: dict[str, Json]) -> None:
        prompt = self.running
        assert prompt is not None
        self.running = None
        self.history.pop(prompt.prompt_id, None)
        self.history[prompt.prompt_id] = entry
        if len(self.history) > MAX_HISTORY:
            self.history.popitem(last=False)

    def as_json(self) -> dict[str, Json]:
        return {
            "queue_running": [self.running.row] if self.running else [],
            "queue_pending": [item[3].row for item in self.pending],
        }

    def jobs(self) -> list[dict[str, Json]]:
        """Newest first, as /api/jobs sorts by default."""
        rows = [_queue_job(item[3], "pending") for item in self.pending]
        if self.running is not None:
            rows.append(_queue_job(self.running, "in_progress"))
        rows += [_history_job(one, entry) for one, entry in self.history.items()]
        return sorted(rows, key=lambda row: row.get("create_time", 0), reverse=True)

    def job(self, prompt_id: str) -> dict[str, Json] | None:
        if (entry := self.history.get(prompt_id)) is not None:
            found = _history_job(prompt_id, entry)
            found["outputs"] = entry["outputs"]
            found["execution_status"] = entry["status"]
            found["workflow"] = {"prompt": entry["prompt"][2], "extra_data": entry["prompt"][3]}
            return found
        if self.running is not None and self.running.prompt_id == prompt_id:
            return _with_workflow(self.running, "in_progress")
        for item in self.pending:
            if item[1] == prompt_id:
                return _with_workflow(item[3], "pending")
        return None


def _with_workflow(prompt: Prompt, status: str) -> dict[str, Json]:
    job = _queue_job(prompt, status)
    job["workflow"] = {"prompt": prompt.graph, "extra_data": prompt.extra_data}
    return job


def _queue_job(prompt: Prompt, status: str) -> dict[str, Json]:
    return _without_none(
        {
            "id": prompt.prompt_id,
            "status": status,
            "priority": prompt.number,
            "create_time": prompt.extra_data.get("create_time"),
            "outputs_count": 0,
            "previewable_outputs_count": 0,
            "workflow_id": _workflow_id(prompt.extra_data),
        }
    )


def _history_job(prompt_id: str, entry: Mapping[str, Json]) -> dict[str, Json]:
    messages = dict(entry["status"]["messages"])
    failure = messages.get("execution_error")
    end = messages.get("execution_success") or failure or messages.get("execution_interrupted") or {}
    status = "completed"
    if entry["status"]["status_str"] == "error":
        status = "failed" if failure else "cancelled"
    files = [
        {**item, "nodeId": node_id, "mediaType": key}
        for node_id, output in entry["outputs"].items()
        for key, items in output.items()
        if isinstance(items, list)
        for item in items
        if isinstance(item, dict)
    ]
    extra_data = entry["prompt"][3]
    return _without_none(
        {
            "id": prompt_id,
            "status": status,
            "priority": entry["prompt"][0],
            "create_time": extra_data.get("create_time"),
            "execution_start_time": messages.get("execution_start", {}).get("timestamp"),
            "execution_end_time": end.get("timestamp"),
            "execution_error": failure,
            "outputs_count": len(files),
            "previewable_outputs_count": len(files),
            "preview_output": files[0] if files else None,
            "workflow_id": _workflow_id(extra_data),
        }
    )


def _workflow_id(extra_data: Mapping[str, Json]) -> Json:
    return extra_data.get("extra_pnginfo", {}).get("workflow", {}).get("id")


def _without_none(row: dict[str, Json]) -> dict[str, Json]:
    return {key: value for key, value in row.items() if value is not None}
