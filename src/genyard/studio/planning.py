"""From an accepted request to stages with plans: everything that can be refused is refused here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Any, Literal
from uuid import UUID

from genyard.catalog import Binding, Catalog
from genyard.errors import Code, GenyardError
from genyard.jobs.assets import Assets
from genyard.jobs.model import Asset
from genyard.jobs.records import NewStage
from genyard.ledger.prices import JobPrice
from genyard.media import MediaKind, kind_of
from genyard.operations import OPERATIONS
from genyard.pipelines import AssetInput, Step, bind, draw_seeds, group
from genyard.providers import BoundStep, Cost, MediaInput, Plan
from genyard.routing import Routes, choose
from genyard.settings.money import NO_BUDGET, Budget
from genyard.studio.places import Places

GENYARD_VERSION = version("genyard")


@dataclass(frozen=True, kw_only=True)
class Planned:
    """A request that a place will take. `steps` have their seeds. `price`: in credits; None where none are due."""

    steps: tuple[Step, ...]
    stages: tuple[NewStage, ...]
    price: JobPrice | None = None
    budget: Budget = NO_BUDGET

    @property
    def cost(self) -> Cost | None:
        """Of all stages together; None where one of them is not known."""
        known = [stage.estimate for stage in self.stages]
        if any(one is None for one in known):
            return None
        source: Literal["reported", "estimated"] = (
            "reported" if all(one and one.source == "reported" for one in known) else "estimated"
        )
        return Cost(usd=sum(one.usd for one in known if one), source=source)

    @property
    def bindings(self) -> tuple[Binding, ...]:
        return tuple(step.binding for stage in self.stages for step in stage.draft.steps)


class Planner:
    """`gives_links`: whether places outside can fetch from our storage by themselves."""

    def __init__(self, *, catalog: Catalog, places: Places, assets: Assets, gives_links: bool) -> None:
        self._catalog = catalog
        self._places = places
        self._assets = assets
        self._gives_links = gives_links

    async def plan(
        self,
        steps: Sequence[Step],
        owner_id: UUID,
        *,
        routes: Routes,
        embed_prompt: bool = False,
        previews: bool = False,
    ) -> Planned:
        """Chooses places, binds, fuses, compiles. Raises before anything is stored."""
        chosen = [
            choose(step, endpoints=self._places.endpoints, routes=routes, catalog=self._catalog)
            for step in steps
        ]
        media = await self._media(steps, owner_id)
        seeded = draw_seeds(steps)
        bound = [
            (choice.endpoint, bind(step, choice.binding, media, previews=previews))
            for step, choice in zip(seeded, chosen, strict=True)
        ]
        drafts = group(bound, lambda name: self._places.all[name].provider.capabilities.fuses)
        wanted = {step.name for step in seeded if step.keep}
        stages = []
        for draft in drafts:
            plan = await self._places.compile(draft.endpoint, draft.steps)
            if plan.needs_links and not self._gives_links:
                raise _unreachable_storage(draft.steps[0])
            place = self._places.all[draft.endpoint]
            kind = place.endpoint.kind
            estimate = place.estimate(draft.steps)
            facts = {
                step.name: _facts(step, plan, draft.endpoint, kind, step.name in wanted, embed_prompt)
                for step in draft.steps
            }
            stages.append(
                NewStage(
                    draft=draft,
                    plan=replace(plan, facts=facts),
                    estimate=estimate,
                    reserved_usd=place.reservation(estimate),
                    rebuys=all(step.operation in routes.rebuys for step in draft.steps),
                )
            )
        return Planned(steps=seeded, stages=tuple(stages))

    async def quoted(self, planned: Planned) -> Planned:
        """With the places' own prices where they have a dry run."""

        async def ask(stage: NewStage) -> NewStage:
            provider = self._places.all[stage.draft.endpoint].provider
            quote = await provider.quote(stage.plan) if provider.capabilities.quotes else None
            return stage if quote is None else replace(stage, estimate=quote)

        return replace(planned, stages=tuple([await ask(stage) for stage in planned.stages]))

    async def _media(self, steps: Sequence[Step], owner_id: UUID) -> dict[UUID, MediaInput]:
        wanted = {
            one.asset_id
            for step in steps
            for given in step.inputs.values()
            for one in given
            if isinstance(one, AssetInput)
        }
        assets = await self._assets.get_many(list(wanted), owner_id) if wanted else {}
        for step in steps:
            for role, given in step.inputs.items():
                for one in given:
                    if isinstance(one, AssetInput):
                        _require_kind(step, role, one.asset_id, assets.get(one.asset_id))
        return {
            asset.id: MediaInput(
                name=str(asset.id), media_type=asset.media_type, width=asset.width, height=asset.height
            )
            for asset in assets.values()
        }


def _unreachable_storage(step: BoundStep) -> GenyardError:
    return GenyardError(
        Code.request_unsupported,
        f"{step.binding.title} fetches its inputs from an address, and a folder on this machine has none; set a bucket "
        "(S3_BUCKET or R2_BUCKET with its keys)",
        field="inputs",
        context={"binding": step.binding.key},
    )


def _require_kind(step: Step, role: str, asset_id: UUID, asset: Asset | None) -> None:
    if asset is None:
        raise GenyardError(Code.not_found, f"no asset {asset_id}", field=f"inputs.{role}")
    wanted = next((one.kind for one in OPERATIONS[step.operation].inputs if one.name == role), None)
    if wanted is not None and kind_of(asset.media_type) is not wanted:
        article = "an image" if wanted is MediaKind.image else f"a {wanted.value}"
        raise GenyardError(
            Code.request_invalid,
            f"{step.operation} needs {article} in the role {role!r}; asset {asset_id} is {asset.media_type}",
            field=f"inputs.{role}",
        )


def _facts(
    step: BoundStep, plan: Plan, endpoint: str, kind: str, delivered: bool, embed_prompt: bool
) -> Mapping[str, Any]:
    """What an output of this step carries: in its row, and in its own PNG or MP4."""
    binding = step.binding
    facts: dict[str, Any] = {
        "genyard": GENYARD_VERSION,
        "operation": step.operation,
        "provider": kind,
        "endpoint": endpoint,
        "model": binding.model,
        "ai": binding.ai,
        "licence": binding.licence.name,
        "commercial_use": binding.licence.commercial,
        "seed": step.parameters.get("seed"),
        "requested_model": step.model if step.model != binding.model else None,
        "prompt": step.parameters.get("prompt") if embed_prompt else None,
        **plan.facts.get(step.name, {}),
    }
    told = {name: value for name, value in facts.items() if value is not None}
    told.setdefault("commercial_use", None)
    size = [step.parameters.get("width"), step.parameters.get("height")]
    if all(size):
        told["asked_size"] = size
    return told if delivered else {**told, "delivered": False}
