"""From one bound step to a prediction: whom to call, with which input, at which price. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Self

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from genyard.catalog import Binding
from genyard.catalog.pricing import Rates, estimated_usd
from genyard.errors import Code, GenyardError
from genyard.operations import OPERATIONS
from genyard.providers import BoundStep, MediaInput, Plan, PlanInput, PlanOutput
from genyard.providers._fields import flat_input, slots

Json = Any

_SIZE: Final = ("width", "height")


class Call(BaseModel):
    """A binding's `wire`, as this provider reads it. Exactly one of the first three.

    model       "owner/name": an official model, always the newest version
    version     "owner/name:64 hex digits": a community model, pinned
    deployment  "owner/name": a deployment of one's own
    size_of     the role whose picture decides on the output's size: width and height may repeat it, nothing else
    ranges      parameter → lowest and highest value that the model takes
    only        parameter → the one value that needs no saying, because the model does that anyway
    needs       role → why the model cannot do without it
    why         parameter → the reason that is told with a refusal by `ranges` or `only`
    output      which field of an object output holds the files; else all of them do
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str | None = None
    version: str | None = None
    deployment: str | None = None
    size_of: str | None = None
    ranges: dict[str, tuple[float, float]] = {}
    only: dict[str, Any] = {}
    needs: dict[str, str] = {}
    why: dict[str, str] = {}
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
    _require_inputs(step, call)
    _require_ranges(step, call)
    _require_size_of_input(step, call)
    said = {
        name: value
        for name, value in step.parameters.items()
        if name not in call.only and not (call.size_of and name in _SIZE)
    }
    bare = BoundStep(
        name=step.name, operation=step.operation, binding=step.binding, parameters=said, inputs=step.inputs
    )
    wanted = list(slots(bare))
    body: dict[str, Json] = {"input": flat_input(bare)}
    if call.version is not None:
        body["version"] = call.version.rpartition(":")[2]  # as the official client sends it
    operation = OPERATIONS[step.operation]
    return Plan(
        payload={
            "path": call.path,
            "name": call.name,
            "body": body,
            "slots": [
                {"name": one.name, "to": one.field.to, "form": one.field.form, "many": one.field.many}
                for one in wanted
            ],
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


def _require_inputs(step: BoundStep, call: Call) -> None:
    for role, why in call.needs.items():
        if not step.inputs.get(role):
            raise GenyardError(
                Code.request_unsupported,
                f"{step.binding.title} needs an input in the role {role!r}: {why} ({step.binding.key})",
                field=f"inputs.{role}",
                context={"binding": step.binding.key},
            )


def _require_ranges(step: BoundStep, call: Call) -> None:
    for name, value in call.only.items():
        if (given := step.parameters.get(name)) is not None and given != value:
            raise _unsupported(step, call, name, f"{given} cannot be had")
    for name, (low, high) in call.ranges.items():
        given = step.parameters.get(name)
        if given is not None and not low <= given <= high:
            raise _unsupported(step, call, name, f"{given} is outside {low:.16g} to {high:.16g}")


def _require_size_of_input(step: BoundStep, call: Call) -> None:
    """A model that follows its input's size honours a request for exactly that size, and no other."""
    if call.size_of is None or all(step.parameters.get(name) is None for name in _SIZE):
        return
    source = next(iter(step.inputs.get(call.size_of, ())), None)
    known = (source.width, source.height) if isinstance(source, MediaInput) else (None, None)
    for name, side in zip(_SIZE, known, strict=True):
        given = step.parameters.get(name)
        if given is None or given == side:
            continue
        size = "" if side is None else f", here {known[0]}x{known[1]}"
        raise _unsupported(
            step, call, name, f"the result is as large as the input {call.size_of}{size}; leave the size out"
        )


def _unsupported(step: BoundStep, call: Call, parameter: str, what: str) -> GenyardError:
    why: Mapping[str, str] = call.why
    reason = f"; {why[parameter]}" if parameter in why else ""
    return GenyardError(
        Code.request_unsupported,
        f"{parameter}: {what}{reason} ({step.binding.key})",
        field=f"parameters.{parameter}",
        context={"binding": step.binding.key},
    )
