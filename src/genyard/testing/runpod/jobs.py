"""One job of an emulated endpoint, and how the cloud tells of it. Who runs it when is `endpoint`'s business."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass, field
from typing import Any, Final

Json = Any

ENDED: Final = ("COMPLETED", "FAILED", "CANCELLED", "TIMED_OUT")
#: Milliseconds: [doc] what a submission without a policy gets.
EXECUTION_TIMEOUT, TTL = 600_000, 86_400_000
#: Seconds that a result can be read: [doc] after /run, after /runsync.
KEPT_AFTER_RUN, KEPT_AFTER_RUNSYNC = 1800.0, 60.0


def new_id(*, sync: bool = False) -> str:
    return f"{'sync-' if sync else ''}{uuid.uuid4()}-u1"


@dataclass(kw_only=True)
class Job:
    """`begun` and `ended` are None until then. `seconds` = billed, `usd` = what they cost."""

    id: str
    input: Json
    submitted: float
    webhook: str | None = None
    execution_timeout: float = EXECUTION_TIMEOUT / 1000
    ttl: float = TTL / 1000
    kept: float = KEPT_AFTER_RUN
    status: str = "IN_QUEUE"
    worker: str | None = None
    output: Json = None
    has_output: bool = False
    error: Json = None
    begun: float | None = None
    ended: float | None = None
    runs: int = 0
    seconds: int = 0
    usd: float = 0.0
    refresh_worker: bool = False
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    done: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def is_over(self) -> bool:
        return self.status in ENDED

    def gone(self, now: float) -> bool:
        """Deleted: `ttl` counts queue and run together [doc]; a result is kept for a while after the end."""
        return now >= (self.submitted + self.ttl if self.ended is None else self.ended + self.kept)

    def tell(self, output: Json) -> None:
        self.output, self.has_output = output, True

    def finish(self, status: str, now: float) -> None:
        self.status, self.ended = status, now
        self.done.set()

    def start_again(self) -> None:
        """Back in the queue, with the same id: what came out is cleared."""
        self.status, self.worker, self.begun, self.ended, self.error = "IN_QUEUE", None, None, None, None
        self.output, self.has_output = None, False
        self.stop, self.done = asyncio.Event(), asyncio.Event()

    def as_json(self) -> dict[str, Json]:
        told: dict[str, Json] = {"id": self.id, "status": self.status}
        if self.begun is not None:
            told["delayTime"] = round((self.begun - self.submitted) * 1000)
            told["workerId"] = self.worker
            if self.ended is not None:
                told["executionTime"] = round((self.ended - self.begun) * 1000)
        if self.has_output:
            told["output"] = self.output
        if self.error is not None:
            told["error"] = self.error
        return dict(sorted(told.items()))
