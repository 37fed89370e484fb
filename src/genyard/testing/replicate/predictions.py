"""Predictions and uploaded files of the emulated Replicate: what was asked, how far it is, how it is told as JSON."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from genyard.testing.replicate.models import Model

Json = Any

ENDED: Final = ("succeeded", "failed", "canceled", "aborted")
EVENTS: Final = ("start", "output", "logs", "completed")


def iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass(kw_only=True)
class Prediction:
    """`given` is the input as it came, `input` with the model's defaults. `files` are the names of its outputs."""

    id: str
    model: Model
    given: Mapping[str, Json]
    input: Mapping[str, Json]
    created: float
    deployment: str | None = None
    webhook: str | None = None
    events: tuple[str, ...] = ()
    deadline: float | None = None
    status: str = "starting"
    started: float | None = None
    completed: float | None = None
    output: Json = None
    error: str | None = None
    logs: str = ""
    seconds: float | None = None
    removed: bool = False
    word: str | None = None
    files: list[str] = field(default_factory=list)
    task: asyncio.Task[None] | None = None

    @property
    def ended(self) -> bool:
        return self.status in ENDED

    @property
    def facts(self) -> dict[str, Json]:
        """What a fault is matched with."""
        words = tuple(str(self.given.get("prompt", "")).split())
        return {"model": self.model.key, "prediction": self.id, "prompt_word": words}

    def log_step(self, step: int, steps: int) -> None:
        """A line as the samplers of the real models write it."""
        bar = "█" * (10 * step // steps)
        self.logs += f"{100 * step // steps:3}%|{bar:<10}| {step}/{steps} [00:00<00:00, 16.9it/s]\n"

    def as_json(self, api: str) -> dict[str, Json]:
        here = f"{api}/v1/predictions/{self.id}"
        told: dict[str, Json] = {
            "id": self.id,
            "model": self.model.key,
            "version": "hidden" if self.model.official else self.model.version_id,
            "input": {} if self.removed else dict(self.given),
            "logs": "" if self.removed else self.logs,
            "output": None if self.removed else self.output,
            "data_removed": self.removed,
            "error": self.error,
            "source": "api",
            "status": self.word if self.word is not None and not self.ended else self.status,
            "created_at": iso(self.created),
            "urls": {
                "cancel": f"{here}/cancel",
                "get": here,
                "stream": f"{api}/v1/streams/{self.id}",
                "web": f"https://replicate.com/p/{self.id}",
            },
        }
        if self.deployment is not None:
            told["deployment"] = self.deployment
        if self.deadline is not None:
            told["deadline"] = iso(self.deadline)
        if self.started is not None:
            told["started_at"] = iso(self.started)
        if self.completed is not None:
            told["completed_at"] = iso(self.completed)
            told["metrics"] = {"total_time": round(self.completed - self.created, 6)}
            if self.seconds is not None:
                told["metrics"]["predict_time"] = self.seconds
        return told


@dataclass(frozen=True, kw_only=True)
class Upload:
    id: str
    name: str
    content_type: str
    data: bytes
    created: float
    metadata: Json
