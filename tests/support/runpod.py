"""RunPod endpoints for tests: the emulator, providers on it, and the contract suite's sample steps."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID, uuid4

from PIL import Image

from genyard.catalog import load_catalog
from genyard.catalog.pricing import Rates
from genyard.outbound import Outbound
from genyard.providers import BoundStep, MediaInput, Plan, Provider, Ref, Snapshot
from genyard.providers._http import Timeouts
from genyard.providers._polling import Limits
from genyard.providers.runpod import RunPodProvider
from genyard.testing.comfyui.bench import sample_steps
from genyard.testing.contract import Sample, Trouble, an_image, follow, media_of
from genyard.testing.runpod import FaultKind, RunPodEmulator, Setup

#: Patient enough for a busy machine, quick enough for tests.
QUICK_LIMITS: Final = Limits(poll=0.06, interval=2.0, silence=10.0)
COMFYUI, FLUX = "emu-comfyui", "emu-flux"
PATIENCE: Final = 15.0


def bound(
    operation: str = "txt2img", model: str = "flux.1-dev", *, kind: str = "runpod", **parameters: Any
) -> BoundStep:
    """A step of a single-model endpoint, complete as the studio makes it. `image`: an input's media."""
    binding = load_catalog().find(kind, operation, model)
    assert binding is not None, (kind, operation, model)
    image = parameters.pop("image", None)
    complete: dict[str, Any] = {"prompt": "a red fox", "seed": 7, "width": 64, "height": 64, "steps": 4}
    if operation == "remove_background":
        complete = {}
    if operation == "img2img":
        complete["strength"] = 0.5
    return BoundStep(
        name="draw",
        operation=operation,
        binding=binding,
        parameters={name: value for name, value in (complete | parameters).items() if value is not None},
        inputs={"image": (image,)} if image else {},
    )


def a_picture(width: int = 64, height: int = 48) -> bytes:
    buffer = io.BytesIO()
    Image.radial_gradient("L").resize((width, height)).convert("RGB").save(buffer, "PNG")
    return buffer.getvalue()


@dataclass(kw_only=True)
class RunPodBench:
    """One endpoint of an emulated cloud. Slow and failing samples of single models are faults: the model is one."""

    server: RunPodEmulator
    endpoint: str
    limits: Limits = QUICK_LIMITS
    slow_seconds: float = 0.6
    _steps: dict[Sample, tuple[BoundStep, ...]] = field(default_factory=dict)
    _closables: list[Any] = field(default_factory=list)

    @property
    def protocol(self) -> str:
        return "comfyui" if self.server.endpoints[self.endpoint].setup.kind == "comfyui" else "model"

    def provider(self, **options: Any) -> RunPodProvider:
        outbound = Outbound(trusted=[self.server.url], connect=2, silence=5)
        made = RunPodProvider(
            **{
                "endpoint_id": self.endpoint,
                "key": self.server.key,
                "protocol": self.protocol,
                "base_url": f"{self.server.url}/v2",
                "timeouts": Timeouts(connect=2, answer=10, download=5),
                "limits": self.limits,
                "outbound": outbound,
                "rates": Rates(usd_per_second=0.001),
                "calls_per_second": 500.0,
                "grace": 0.2,
                **options,
            }
        )
        self._closables += [made, outbound]
        return made

    def steps(self, sample: Sample) -> tuple[BoundStep, ...]:
        if self.protocol == "comfyui":
            return self._steps.setdefault(sample, sample_steps(sample, self.slow_seconds))
        if sample is Sample.slow:
            self.server.faults.add(FaultKind.slow, endpoint=self.endpoint, seconds=self.slow_seconds)
        if sample is Sample.failing:
            self.server.faults.add(FaultKind.raise_error, endpoint=self.endpoint)
        if sample is Sample.edited:
            return (bound("img2img", image=an_image()),)
        return (bound(),)

    def picture(self) -> bytes:
        return a_picture()

    def runs(self, key: UUID) -> int | None:
        """Jobs of single models carry nothing of ours."""
        return self.server.runs_of(str(key)) if self.protocol == "comfyui" else None

    async def provoke(self, trouble: Trouble) -> None:
        if trouble is Trouble.dead:
            await self.server.stop_listening()
        elif trouble is Trouble.lost_answer:
            self.server.faults.add(FaultKind.lose_answer, route=f"POST /v2/{self.endpoint}/run")
        elif trouble is Trouble.restart:
            for job in self.server.jobs:
                self.server.endpoints[self.endpoint].forget(job)
        elif trouble is Trouble.missing_output:
            self.server.faults.add(FaultKind.dead_link, endpoint=self.endpoint)
        elif trouble is Trouble.broken_events:
            self.server.faults.add(FaultKind.lose_answer, times=3, route=f"GET /v2/{self.endpoint}/status")

    # The few moves of most tests

    async def submit(
        self, provider: Provider, *steps: BoundStep, key: UUID | None = None, **options: Any
    ) -> Ref:
        return await self.submit_plan(
            provider, provider.compile(steps or (bound(),), None), key=key, **options
        )

    async def submit_plan(
        self,
        provider: Provider,
        plan: Plan,
        *,
        key: UUID | None = None,
        data: bytes | None = None,
        **options: Any,
    ) -> Ref:
        media = {one.name: media_of(one.name, data or a_picture()) for one in plan.inputs}
        return await provider.submit(plan, key or uuid4(), media, **options)

    async def run(self, provider: Provider, *steps: BoundStep, **options: Any) -> Snapshot:
        return await ended(provider, await self.submit(provider, *steps, **options))

    async def close(self) -> None:
        await asyncio.gather(*(one.close() for one in self._closables))


async def ended(provider: Provider, ref: Ref, patience: float = PATIENCE) -> Snapshot:
    return [one async for one in follow(provider, ref, patience)][-1]


def input_image(width: int = 64, height: int = 48) -> MediaInput:
    return MediaInput(name="upload", media_type="image/png", width=width, height=height)


@asynccontextmanager
async def emulated(
    endpoint: str = FLUX, setup: Setup | None = None, *, limits: Limits = QUICK_LIMITS, **options: Any
) -> AsyncIterator[RunPodBench]:
    """A bench on an emulator of its own, with this one endpoint."""
    made = setup or Setup(kind="comfyui" if endpoint == COMFYUI else "flux", workers_max=1)
    async with RunPodEmulator(endpoints={endpoint: made}, **options) as server:
        bench = RunPodBench(server=server, endpoint=endpoint, limits=limits)
        try:
            yield bench
        finally:
            await bench.close()
