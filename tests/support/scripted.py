"""A place that does exactly what a test tells it to, and counts what it was asked."""

from __future__ import annotations

import asyncio
import contextlib
import struct
import zlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from genyard.errors import GenyardError
from genyard.operations import Role
from genyard.providers import (
    BoundStep,
    Canceled,
    Capabilities,
    Facts,
    Health,
    Leave,
    Media,
    Plan,
    PlanInput,
    PlanOutput,
    Ref,
    RemoteOutput,
    Snapshot,
    State,
)


def png(shade: int = 0, side: int = 8) -> bytes:
    """A grey PNG made by hand: real bytes for tests that do not care what they show."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = (b"\x00" + bytes([shade]) * side) * side
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def succeeded(count: int = 1, step: str = "step1") -> Snapshot:
    outputs = tuple(
        RemoteOutput(step=step, role=Role.image, index=number, where={"number": number})
        for number in range(count)
    )
    return Snapshot(state=State.succeeded, outputs=outputs, word="done", seconds=1.5)


RUNNING = Snapshot(state=State.running, progress=0.5, detail="half")
_ABLE = Capabilities(cancel="running", progress="coarse", finds=True, webhooks=True)
Say = Snapshot | GenyardError | Callable[["ScriptedProvider"], Any]


@dataclass(kw_only=True)
class ScriptedProvider:
    """`submits`, `finds` and `says` are scripts: each call takes the next entry; the last `says` stays, and `found` is
    what `find` comes to after its script, and after `found_after` questions.

    An entry that is an error is raised; a callable is called and its result taken (awaited where needed).
    """

    says: list[Say] = field(default_factory=lambda: [succeeded()])
    submits: list[GenyardError | None] = field(default_factory=list)
    finds: list[GenyardError] = field(default_factory=list)
    found: bool = True
    found_after: int = 0
    files: Callable[[int], bytes] = png
    capabilities: Capabilities = _ABLE
    kind: str = "preview"
    submitted: list[UUID] = field(default_factory=list)
    asked: list[UUID] = field(default_factory=list)
    canceled: list[Ref] = field(default_factory=list)
    webhooks: list[str | None] = field(default_factory=list)
    signed: bool = True
    media: list[Mapping[str, bytes]] = field(default_factory=list)
    asking: asyncio.Event = field(default_factory=asyncio.Event)
    observing: asyncio.Event = field(default_factory=asyncio.Event)

    def compile(self, steps: Sequence[BoundStep], facts: Facts | None) -> Plan:
        return Plan(
            payload={"prompt": steps[-1].parameters.get("prompt")},
            inputs=tuple(
                PlanInput(name=f"{role}.{number}", source=source)
                for step in steps
                for role, given in step.inputs.items()
                for number, source in enumerate(given)
            ),
            outputs=tuple(PlanOutput(step=step.name, role=None, where=step.name) for step in steps),
            facts={step.name: {} for step in steps},
        )

    async def quote(self, plan: Plan) -> None:
        return None

    async def submit(
        self,
        plan: Plan,
        key: UUID,
        media: Mapping[str, Media],
        *,
        webhook: str | None = None,
        leave: Leave | None = None,
    ) -> Ref:
        self.submitted.append(key)
        self.webhooks.append(webhook)
        if leave is not None:
            await leave()
        error = self.submits.pop(0) if self.submits else None
        if error is not None:
            raise error
        return {"key": str(key)}

    async def find(self, key: UUID) -> Ref | None:
        self.asked.append(key)
        self.asking.set()
        if self.finds:
            raise self.finds.pop(0)
        return {"key": str(key)} if self.found and len(self.asked) > self.found_after else None

    async def observe(self, ref: Ref, previous: Snapshot | None, wake: asyncio.Event) -> Snapshot:
        self.observing.set()
        said = self.says.pop(0) if len(self.says) > 1 else self.says[0]
        if callable(said):
            said = said(self)
            if asyncio.iscoroutine(said):
                said = await said
        if isinstance(said, GenyardError):
            raise said
        if said == previous and not wake.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(wake.wait(), timeout=0.05)
        assert isinstance(said, Snapshot)
        return said

    async def hook(self, headers: Mapping[str, str], body: bytes) -> bool:
        return self.signed

    async def cancel(self, ref: Ref) -> Canceled:
        self.canceled.append(ref)
        return Canceled(reached=True, was_running=True)

    async def fetch(self, output: RemoteOutput) -> AsyncIterator[bytes]:
        yield self.files(output.where["number"])

    async def check(self) -> Health:
        return Health(reachable=True, version="scripted")

    async def close(self) -> None:
        return None
