"""From one bound step to a prediction: whom to call, with which input, at which price. Pure."""

from __future__ import annotations

from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from genyard.catalog import Binding
from genyard.catalog.pricing import Rates, estimated_usd
from genyard.errors import Code, GenyardError
from genyard.operations import OPERATIONS
from genyard.providers import BoundStep, Plan, PlanInput, PlanOutput
from genyard.providers._fields import flat_input, slots

Json = Any


class Call(BaseModel):
    """A binding's `wire`, as this provider reads it. Exactly one of the first three.

    model       "owner/name": an official model, always the newest version
    version     "owner/name:64 hex digits": a community model, pinned
    deployment  "owner/name": a deployment of one's own
    output      which field of an object output holds the files; else all of them do
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str | None = None
    version: str | None = None
    deployment: str | None = None
    output: str | None = None

    @model_validator(mode="after")
    def _one_target(self) -> Self:
        if sum(one is not None for one in (self.model, self.version, self.deployment)) != 1:
            raise ValueError("give one of model, version, deployment")
        return self

    @property
    def path(self) -> str:
        if self.model is not None:
            return f"models/{self.model}/predictions"
        if self.deployment is not None:
            return f"deployments/{self.deployment}/predictions"
        return "predictions"

    @property
    def about(self) -> str:
        """Where Replicate tells about it."""
        if self.deployment is not None:
            return f"deployments/{self.deployment}"
        owner_and_name, _, version = self.name.partition(":")
        return f"models/{owner_and_name}/versions/{version}" if version else f"models/{owner_and_name}"

    @property
    def name(self) -> str:
        return self.model or self.version or self.deployment or ""


def call_of(binding: Binding) -> Call:
    try:
        return Call.model_validate(binding.wire)
    except ValidationError as wrong:
        raise GenyardError(Code.settings_invalid, f"binding {binding.key}: wire: {wrong}") from wrong


def compile_step(step: BoundStep, rates: Rates) -> Plan:
    call = call_of(step.binding)
    wanted = list(slots(step))
    body: dict[str, Json] = {"input": flat_input(step)}
    if call.version is not None:
        body["version"] = call.version.rpartition(":")[2]  # as the official client sends it
    operation = OPERATIONS[step.operation]
    return Plan(
        payload={
            "path": call.path,
            "name": call.name,
            "body": body,
            "slots": [one.as_json() for one in wanted],
            "price": price_terms(step, rates),
            "free_before_start": call.deployment is None,
            "expected": int(step.parameters.get("count") or 1),
            "field": call.output,
        },
        inputs=tuple(PlanInput(name=one.name, source=one.source) for one in wanted),
        outputs=(PlanOutput(step=step.name, role=operation.output, where="output"),),
        facts={step.name: {"replicate": call.name}},
        video=operation.output == "video",
    )


def price_terms(step: BoundStep, rates: Rates) -> dict[str, float]:
    """What a run's seconds, outputs or the run itself cost, in US dollars; {} where nobody has said."""
    price = step.binding.price
    if price is None or price.per == "second":
        per_second = rates.usd_per_second
        if per_second is None and price is not None:
            per_second = price.usd
        return {} if per_second is None else {"second": per_second}
    each = estimated_usd(step.binding, {**step.parameters, "count": 1}, rates)
    if each is None:
        return {}
    return {"run" if price.per == "request" else "output": each}
