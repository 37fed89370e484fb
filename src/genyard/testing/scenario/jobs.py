"""Jobs, assets and uploads of the emulated Scenario, and how they are told as JSON."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from genyard.testing.scenario.models import Model

Json = Any

ENDED: Final = ("success", "failure", "canceled")
TEAM: Final = "team_emulated0000000000000"
PROJECT: Final = "proj_emulated0000000000000"
AUTHOR: Final = "apiu_emulated0000000000000"


def iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass(kw_only=True)
class Job:
    """`given` is the body as it came, `input` as the model read it. `words` are status words that stand for others."""

    id: str
    model: Model
    given: Mapping[str, Json]
    input: dict[str, Json]
    units: float
    created: float
    status: str = "queued"
    progress: float = 0.0
    history: list[tuple[str, float]] = field(default_factory=list)
    assets: list[str] = field(default_factory=list)
    error: str | None = None
    hint: str | None = None
    words: dict[str, str] = field(default_factory=dict)
    task: asyncio.Task[None] | None = None

    @property
    def ended(self) -> bool:
        return self.status in ENDED

    @property
    def facts(self) -> dict[str, Json]:
        """What a fault is matched with."""
        words = tuple(str(self.given.get("prompt") or self.given.get("description") or "").split())
        return {"model": self.model.id, "job": self.id, "prompt_word": words}

    def become(self, status: str, now: float) -> None:
        self.status = status
        self.history.append((status, now))

    def as_json(self) -> dict[str, Json]:
        def word(status: str) -> str:
            return self.words.get(status, status)

        return {
            "jobId": self.id,
            "jobType": self.model.job_type,
            "status": word(self.status),
            "progress": self.progress,
            "metadata": {
                "assetIds": list(self.assets),
                "input": self.input,
                "error": self.error,
                "hint": self.hint,
                "output": {},
            },
            "statusHistory": [{"status": word(status), "date": iso(date)} for status, date in self.history],
            "billing": {
                "cuCost": self.units,
                "cuDiscount": 0,
                "disableRefund": self.model.disable_refund,
            },
            "createdAt": iso(self.created),
            "updatedAt": iso(self.history[-1][1] if self.history else self.created),
            "ownerId": PROJECT,
            "authorId": AUTHOR,
        }


@dataclass(frozen=True, kw_only=True)
class Asset:
    """`made` is the vendor's word for how it came to be (`txt2img`, `uploaded`, …)."""

    id: str
    data: bytes
    media_type: str
    created: float
    made: str
    width: int | None = None
    height: int | None = None
    index: int = 0
    facts: Mapping[str, Json] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        return self.media_type.split("/")[0]

    def as_json(self, url: str) -> dict[str, Json]:
        size = {"width": self.width, "height": self.height} if self.width is not None else {}
        return {
            "id": self.id,
            "url": url,
            "mimeType": self.media_type,
            "kind": self.kind,
            "source": self.made,
            "status": "success",
            "privacy": "private",
            "outputIndex": self.index,
            "metadata": {"kind": self.kind, "type": self.made, **size, **self.facts},
            "properties": {"size": len(self.data), **size},
            "authorId": AUTHOR,
            "ownerId": PROJECT,
            "collectionIds": [],
            "editCapabilities": [],
            "tags": [],
            "createdAt": iso(self.created),
            "updatedAt": iso(self.created),
        }


@dataclass(kw_only=True)
class Upload:
    """A multi-part upload: `parts` by number, as they were put."""

    id: str
    name: str
    content_type: str
    kind: str
    size: int
    count: int
    created: float
    status: str = "pending"
    error: str | None = None
    asset: str | None = None
    parts: dict[int, bytes] = field(default_factory=dict)
