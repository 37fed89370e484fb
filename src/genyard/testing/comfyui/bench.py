"""The sample steps of the contract suite on a ComfyUI server: graphs without models, real or emulated.

`GenyardSleep` and `GenyardRaise` are test nodes: the emulator has them, a real server needs the small pack
that `tests/live` describes.
"""

from __future__ import annotations

import asyncio
import io
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import numpy as np
from PIL import Image

from genyard.catalog import Binding, Licence
from genyard.providers import BoundStep, Provider, Source, StepOutput
from genyard.providers._http import Timeouts
from genyard.providers.comfyui import ComfyUIProvider, Limits
from genyard.testing.comfyui.faults import FaultKind
from genyard.testing.comfyui.server import ComfyUIEmulator
from genyard.testing.contract import Sample, Trouble, an_image

Json = Any

#: Patient enough for a busy machine, quick enough for tests.
QUICK_LIMITS = Limits(poll=0.1, safety=0.5, interval=2.0, missing=0.3, silence=10.0, lookups=(0.0, 0.05, 0.2))

OWN_WORKFLOW = Binding(
    kind="comfyui",
    operation="run_workflow",
    model="own-workflow",
    title="your own workflow",
    licence=Licence(name="yours", commercial=True),
)


def own_step(
    workflow: Json,
    *,
    name: str = "step",
    media: dict[str, str] | None = None,
    inputs: dict[str, tuple[Source, ...]] | None = None,
    keep: bool = True,
) -> BoundStep:
    return BoundStep(
        name=name,
        operation="run_workflow",
        binding=OWN_WORKFLOW,
        parameters={"workflow": workflow, "media": media or {}, "values": {}},
        inputs=inputs or {},
        keep=keep,
    )


def chain(*nodes: tuple[str, dict[str, Json]], prefix: str = "genyard_test") -> dict[str, Json]:
    """EmptyImage (of a colour that was not used before) → nodes → SaveImage."""
    colour = random.randrange(2**24)  # noqa: S311 (only keeps the server's cache out)
    graph: dict[str, Json] = {
        "1": {
            "class_type": "EmptyImage",
            "inputs": {"width": 64, "height": 48, "batch_size": 1, "color": colour},
        }
    }
    for place, (class_type, inputs) in enumerate(nodes, 2):
        graph[str(place)] = {"class_type": class_type, "inputs": {"image": [str(place - 1), 0], **inputs}}
    last = str(len(graph))
    graph["save"] = {"class_type": "SaveImage", "inputs": {"images": [last, 0], "filename_prefix": prefix}}
    return graph


def edit(prefix: str = "genyard_test") -> dict[str, Json]:
    return {
        "1": {"class_type": "LoadImage", "inputs": {"image": "given"}},
        "2": {"class_type": "ImageInvert", "inputs": {"image": ["1", 0]}},
        "save": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": prefix}},
    }


def sample_steps(sample: Sample, slow_seconds: float) -> tuple[BoundStep, ...]:
    if sample is Sample.quick:
        return (own_step(chain(("ImageInvert", {}))),)
    if sample is Sample.slow:
        return (own_step(chain(("GenyardSleep", {"seconds": slow_seconds}))),)
    if sample is Sample.failing:
        return (own_step(chain(("GenyardRaise", {"kind": "value"}))),)
    if sample is Sample.edited:
        return (own_step(edit(), media={"image": "1.image"}, inputs={"image": (an_image(),)}),)
    return (
        own_step(chain(("ImageInvert", {})), name="draw", keep=False),
        own_step(
            edit(), name="change", media={"image": "1.image"}, inputs={"image": (StepOutput(step="draw"),)}
        ),
    )


def a_picture(width: int = 64, height: int = 48) -> bytes:
    rows = np.linspace(0, 255, height, dtype=np.uint8)[:, None, None]
    buffer = io.BytesIO()
    Image.fromarray(np.broadcast_to(rows, (height, width, 3)).copy()).save(buffer, "PNG")
    return buffer.getvalue()


@dataclass(kw_only=True)
class ComfyUIBench:
    """`server` is None for a real one, whose troubles `provoke_real` makes, if anybody can."""

    url: str
    server: ComfyUIEmulator | None = None
    limits: Limits = QUICK_LIMITS
    slow_seconds: float = 0.8
    provoke_real: Callable[[Trouble], Any] | None = None
    _steps: dict[Sample, tuple[BoundStep, ...]] = field(default_factory=dict)
    _providers: list[ComfyUIProvider] = field(default_factory=list)

    def provider(self, **options: Any) -> Provider:
        made = ComfyUIProvider(
            **{"url": self.url, "limits": self.limits, "timeouts": Timeouts(connect=2, answer=10), **options}
        )
        self._providers.append(made)
        return made

    def steps(self, sample: Sample) -> tuple[BoundStep, ...]:
        return self._steps.setdefault(sample, sample_steps(sample, self.slow_seconds))

    def picture(self) -> bytes:
        return a_picture()

    def runs(self, key: UUID) -> int | None:
        return self.server.counts.runs[str(key)] if self.server is not None else None

    async def provoke(self, trouble: Trouble) -> None:
        if self.server is None:
            assert self.provoke_real is not None
            await self.provoke_real(trouble)
        elif trouble is Trouble.dead:
            await self.server.stop_listening()
        elif trouble is Trouble.lost_answer:
            self.server.faults.add(FaultKind.lose_answer, route="POST /prompt")
        elif trouble is Trouble.broken_events:
            self.server.sockets.drop()
        elif trouble is Trouble.restart:
            await self.server.restart()
        elif trouble is Trouble.missing_output:
            self.server.faults.add(FaultKind.delete_outputs)

    async def close(self) -> None:
        await asyncio.gather(*(provider.close() for provider in self._providers))


@asynccontextmanager
async def emulated(path: str = "", **options: Any) -> AsyncIterator[ComfyUIBench]:
    """A bench on an emulator of its own."""
    async with ComfyUIEmulator(**options) as server:
        bench = ComfyUIBench(url=server.url + path, server=server)
        try:
            yield bench
        finally:
            await bench.close()
