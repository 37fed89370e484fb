"""An emulated Replicate with providers on it: for the contract suite and the tests of its faults."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from genyard.catalog import load_catalog
from genyard.catalog.pricing import Rates
from genyard.operations import OPERATIONS, parse_parameters
from genyard.outbound import Outbound
from genyard.providers import BoundStep, Source
from genyard.providers._http import Timeouts
from genyard.providers._polling import Limits
from genyard.providers.replicate import ReplicateProvider
from genyard.testing.comfyui.bench import a_picture
from genyard.testing.contract import Sample, Trouble, an_image
from genyard.testing.replicate import FaultKind, ReplicateEmulator

QUICK_LIMITS: Final = Limits(poll=0.06, interval=2.0, silence=10.0)

SLOWLY, BADLY = "slowly", "badly"


def sdxl(prompt: str = "a red dragon", *, operation: str = "txt2img", **given: Any) -> BoundStep:
    """Small: SDXL takes any size."""
    inputs: dict[str, tuple[Source, ...]] = {"image": (an_image(),)} if operation == "img2img" else {}
    size = {} if operation == "img2img" else {"width": 64, "height": 64}
    return step_of(f"{operation}.sdxl", inputs=inputs, **{"prompt": prompt, **size, "steps": 4, **given})


def step_of(name: str, *, inputs: dict[str, tuple[Source, ...]], **given: Any) -> BoundStep:
    binding = load_catalog().bindings[f"replicate/{name}"]
    operation = OPERATIONS[binding.operation]
    if operation.seeded:
        given.setdefault("seed", 7)
    parameters = parse_parameters(operation, given, field="parameters").model_dump(mode="json")
    parameters.pop("aspect_ratio", None)
    for key, value in binding.defaults.items():
        if parameters[key] is None:
            parameters[key] = value
    step = BoundStep(
        name="step", operation=binding.operation, binding=binding, parameters=parameters, inputs=inputs
    )
    step.require()
    return step


@dataclass(kw_only=True)
class ReplicateBench:
    """Predictions whose prompt has the word `slowly` take some time, those with `badly` fail."""

    server: ReplicateEmulator
    submitted: dict[UUID, str] = field(default_factory=dict)
    _providers: list[ReplicateProvider] = field(default_factory=list)
    _outbounds: list[Outbound] = field(default_factory=list)

    def provider(self, **options: Any) -> ReplicateProvider:
        outbound = Outbound(trusted=[self.server.url], connect=2, silence=5)
        told = {
            "key": self.server.key,
            "base_url": self.server.base_url,
            "timeouts": Timeouts(connect=2, answer=10),
            "limits": QUICK_LIMITS,
            "outbound": outbound,
            "rates": Rates(),
            "calls_per_second": 100.0,
        }
        made = _Remembering(self.submitted, **{**told, **options})
        self._providers.append(made)
        self._outbounds.append(outbound)
        return made

    def steps(self, sample: Sample) -> tuple[BoundStep, ...]:
        if sample is Sample.slow:
            return (sdxl(f"drawn {SLOWLY}"),)
        if sample is Sample.failing:
            return (sdxl(f"drawn {BADLY}"),)
        return (sdxl(operation="img2img" if sample is Sample.edited else "txt2img"),)

    def picture(self) -> bytes:
        return a_picture()

    def runs(self, key: UUID) -> int | None:
        return self.server.counts.runs[self.submitted[key]] if key in self.submitted else None

    async def provoke(self, trouble: Trouble) -> None:
        if trouble is Trouble.dead:
            await self.server.stop_listening()
        elif trouble is Trouble.restart:
            self.server.faults.add(FaultKind.forget)
        elif trouble is Trouble.missing_output:
            self.server.faults.add(FaultKind.missing_file, route="GET /delivery/")

    async def close(self) -> None:
        await asyncio.gather(*(one.close() for one in self._providers))
        await asyncio.gather(*(one.close() for one in self._outbounds))


class _Remembering(ReplicateProvider):
    """Tells the bench which prediction a key became: Replicate itself is not told our keys."""

    def __init__(self, submitted: dict[UUID, str], **options: Any) -> None:
        super().__init__(**options)
        self._submitted = submitted

    async def submit(self, plan: Any, key: UUID, media: Any, **options: Any) -> Any:
        ref = await super().submit(plan, key, media, **options)
        self._submitted[key] = ref["id"]
        return ref


@asynccontextmanager
async def emulated(**options: Any) -> AsyncIterator[ReplicateBench]:
    async with ReplicateEmulator(**options) as server:
        server.faults.add(FaultKind.slow, prompt_word=SLOWLY, seconds=0.6, times=None)
        server.faults.add(FaultKind.fail, prompt_word=BADLY, times=None)
        bench = ReplicateBench(server=server)
        try:
            yield bench
        finally:
            await bench.close()
