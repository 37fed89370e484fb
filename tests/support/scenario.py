"""What the Scenario tests share: an emulator, providers that talk to it, steps, and one run from submission to end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

from genyard.catalog import Binding, load_catalog
from genyard.catalog.pricing import Rates
from genyard.operations import OPERATIONS
from genyard.outbound import Outbound
from genyard.providers import BoundStep, Facts, Media, Plan, Ref, Snapshot
from genyard.providers._http import Timeouts
from genyard.providers._polling import Limits
from genyard.providers.scenario import ScenarioProvider
from genyard.testing import drawing
from genyard.testing.contract import Sample, Trouble, an_image, follow, media_of
from genyard.testing.scenario import FaultKind, ScenarioEmulator

#: Patient enough for a busy machine, quick enough for tests.
QUICK = Limits(poll=0.1, interval=2.0, silence=10.0)
RATES = Rates(usd_per_unit=0.01)

DRAW: dict[str, Any] = {
    "prompt": "a fox",
    "negative_prompt": "",
    "width": 128,
    "height": 128,
    "steps": 4,
    "guidance": 3.5,
    "seed": 7,
    "count": 1,
}


class _Recording(ScenarioProvider):
    """Remembers which job was made under which key: the place does not know our keys."""

    jobs: dict[UUID, str]

    async def submit(self, plan: Plan, key: UUID, media: Mapping[str, Media], **options: Any) -> Ref:
        ref = await super().submit(plan, key, media, **options)
        self.jobs[key] = ref["id"]
        return ref


@dataclass(kw_only=True)
class ScenarioBench:
    server: ScenarioEmulator
    legacy: bool = False
    jobs: dict[UUID, str] = field(default_factory=dict)
    made: list[ScenarioProvider] = field(default_factory=list)
    outbounds: list[Outbound] = field(default_factory=list)

    @property
    def kind(self) -> str:
        return "scenario-legacy" if self.legacy else "scenario"

    def provider(self, **changed: Any) -> ScenarioProvider:
        self.outbounds.append(Outbound(trusted=[self.server.url]))
        given: dict[str, Any] = {
            "key": self.server.key,
            "secret": self.server.secret,
            "legacy": self.legacy,
            "base_url": self.server.base_url,
            "timeouts": Timeouts(connect=2.0, answer=10.0, download=5.0),
            "limits": QUICK,
            "outbound": self.outbounds[-1],
            "rates": RATES,
            "calls_per_second": 200.0,
        }
        provider = _Recording(**{**given, **changed})
        provider.jobs = self.jobs
        self.made.append(provider)
        return provider

    def step(
        self,
        operation: str = "txt2img",
        *,
        model: str | None = None,
        binding: Binding | None = None,
        **parameters: Any,
    ) -> BoundStep:
        found = binding or load_catalog().find(self.kind, operation, model)
        assert found is not None
        takes = OPERATIONS[operation].parameters.model_fields
        mapped = (
            {*found.fields.parameters, "width", "height"} if found.fields.size else found.fields.parameters
        )
        known = {name: value for name, value in DRAW.items() if name in takes and name in mapped}
        needed = [role.name for role in OPERATIONS[operation].inputs if role.required]
        return BoundStep(
            name="it",
            operation=operation,
            binding=found,
            parameters={**known, **parameters},
            inputs={name: (an_image(name),) for name in needed},
        )

    def steps(self, sample: Sample) -> tuple[BoundStep, ...]:
        if sample is Sample.edited:
            return (self.step("img2img", strength=0.5),)
        words = {Sample.quick: "a fox", Sample.slow: "a slow fox", Sample.failing: "a failing fox"}
        return (self.step(prompt=words[sample]),)

    def picture(self) -> bytes:
        return drawing.picture("a house", width=128, height=96)

    async def provoke(self, trouble: Trouble) -> None:
        if trouble is Trouble.dead:
            await self.server.stop_listening()
        elif trouble is Trouble.broken_events:
            await self.server.stop_listening()
            await self.server.listen()
        elif trouble is Trouble.missing_output:
            self.server.faults.add(FaultKind.forget_asset, times=None)
        else:
            raise NotImplementedError(trouble)

    def runs(self, key: UUID) -> int | None:
        return self.server.counts.runs[self.jobs[key]] if key in self.jobs else None

    # One run, for the tests of faults

    async def plan(self, provider: ScenarioProvider, step: BoundStep | None = None) -> Plan:
        return provider.compile([step or self.step()], await self.facts(provider))

    async def facts(self, provider: ScenarioProvider) -> Facts:
        health = await provider.check()
        assert health.error is None
        return health.facts

    async def submit(
        self, provider: ScenarioProvider, step: BoundStep | None = None, *, data: bytes | None = None
    ) -> Ref:
        plan = await self.plan(provider, step)
        media = {one.name: media_of(one.name, data or self.picture()) for one in plan.inputs}
        return await provider.submit(plan, uuid4(), media)

    async def end(self, provider: ScenarioProvider, ref: Ref) -> Snapshot:
        return [seen async for seen in follow(provider, ref, 20.0)][-1]

    async def run(self, provider: ScenarioProvider, step: BoundStep | None = None) -> Snapshot:
        return await self.end(provider, await self.submit(provider, step))


@asynccontextmanager
async def emulated(
    *, legacy: bool = False, alive: bool = True, **server: Any
) -> AsyncIterator[ScenarioBench]:
    """`legacy`: providers use the old routes; `alive`: the place still has them."""
    async with ScenarioEmulator(legacy=alive, **server) as running:
        running.faults.add(FaultKind.slow, prompt_word="slow", times=None, seconds=1.0)
        running.faults.add(FaultKind.fail, prompt_word="failing", times=None, message="the model gave up")
        bench = ScenarioBench(server=running, legacy=legacy)
        try:
            yield bench
        finally:
            for provider in bench.made:
                await provider.close()
            for outbound in bench.outbounds:
                await outbound.close()
