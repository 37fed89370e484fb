"""Named steps, and how they become stages.

A request for one operation is a pipeline of one step: there is one code path. Everything here is pure; which
place serves a step is decided in `routing`, what the stored assets are is asked by `studio`.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from genyard.catalog import Binding
from genyard.errors import Code, GenyardError
from genyard.operations import ASPECT_SIZES, OPERATIONS, Operation, parse_parameters, require_inputs
from genyard.providers import BoundStep, MediaInput, Source, StepOutput

MAX_STEPS = 16
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
_FROM_STEP = "step:"
_STEP_FIELDS = ("name", "operation", "model", "parameters", "inputs", "keep")


@dataclass(frozen=True, kw_only=True)
class AssetInput:
    """Somebody's stored media."""

    asset_id: UUID


Input = AssetInput | StepOutput


@dataclass(frozen=True, kw_only=True)
class Step:
    """One operation as asked for: validated, defaults of the model still open (None)."""

    name: str
    operation: str
    parameters: Mapping[str, Any]
    inputs: Mapping[str, tuple[Input, ...]] = field(default_factory=dict)
    model: str | None = None
    keep: bool = True

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "operation": self.operation,
            "parameters": dict(self.parameters),
            "inputs": {role: [_write_input(one) for one in given] for role, given in self.inputs.items()},
            "model": self.model,
            "keep": self.keep,
        }


@dataclass(frozen=True, kw_only=True)
class StageDraft:
    """Steps that are submitted together to one endpoint."""

    endpoint: str
    steps: tuple[BoundStep, ...]


def parse_steps(given: Sequence[Mapping[str, Any]]) -> tuple[Step, ...]:
    """Steps from JSON (the form of `Step.as_json`). `request.invalid` names the field that is wrong.

    Inputs are asset ids, or `step:NAME` for what an earlier step made; a single one may stand without a list.
    """
    if not 1 <= len(given) <= MAX_STEPS:
        raise GenyardError(
            Code.request_invalid, f"give 1 to {MAX_STEPS} steps, not {len(given)}", field="steps"
        )
    steps: list[Step] = []
    for position, one in enumerate(given):
        field = f"steps.{position}" if len(given) > 1 else ""
        last = position == len(given) - 1
        step = _parse_step(one, field, default_name=f"step{position + 1}", default_keep=last)
        _require_earlier(step, steps, field)
        steps.append(step)
    return tuple(steps)


def _parse_step(one: Mapping[str, Any], field: str, *, default_name: str, default_keep: bool) -> Step:
    for key in one:
        if key not in _STEP_FIELDS:
            raise GenyardError(
                Code.request_invalid,
                f"a step has no field {key!r}; it has {', '.join(_STEP_FIELDS)}",
                field=_path(field, str(key)),
            )
    operation = _operation(one.get("operation"), _path(field, "operation"))
    given_name = _given(one, "name", str, "text", field)
    name = default_name if given_name is None else given_name
    if not _NAME.fullmatch(name):
        raise GenyardError(
            Code.request_invalid,
            f"{name!r}: step names are lower-case letters, digits and _",
            field=_path(field, "name"),
        )
    model = _given(one, "model", str, "the name of a model", field)
    if model == "":
        raise GenyardError(
            Code.request_invalid, "model is empty; name one, or leave it out", field=_path(field, "model")
        )
    keep = _given(one, "keep", bool, "true or false", field)
    inputs = _parse_inputs(
        _given(one, "inputs", Mapping, "an object: role → asset id", field) or {}, _path(field, "inputs")
    )
    parameters = parse_parameters(
        operation,
        _given(one, "parameters", Mapping, "an object: name → value", field) or {},
        field=_path(field, "parameters"),
    )
    require_inputs(
        operation, {role: len(given) for role, given in inputs.items()}, field=_path(field, "inputs")
    )
    told = parameters.model_dump(mode="json")
    _require_control_images(told, inputs, field)
    return Step(
        name=name,
        operation=operation.name,
        parameters=told,
        inputs=inputs,
        model=model,
        keep=default_keep if keep is None else keep,
    )


def _given(one: Mapping[str, Any], name: str, kind: type[Any], words: str, field: str) -> Any:
    """None where it is left out."""
    value = one.get(name)
    if value is not None and not isinstance(value, kind):
        raise GenyardError(Code.request_invalid, f"{name} must be {words}", field=_path(field, name))
    return value


def _path(*parts: str) -> str:
    return ".".join(part for part in parts if part)


def _operation(name: Any, field: str) -> Operation:
    if not isinstance(name, str) or name not in OPERATIONS:
        raise GenyardError(
            Code.request_invalid,
            f"{name!r} is not an operation; known are {', '.join(OPERATIONS)}",
            field=field,
        )
    return OPERATIONS[name]


def _parse_inputs(given: Mapping[str, Any], field: str) -> dict[str, tuple[Input, ...]]:
    inputs: dict[str, tuple[Input, ...]] = {}
    for role, value in given.items():
        values = value if isinstance(value, (list, tuple)) else [value]
        inputs[role] = tuple(_parse_input(one, f"{field}.{role}") for one in values)
    return inputs


def _parse_input(value: Any, field: str) -> Input:
    text = str(value)
    if text.startswith(_FROM_STEP):
        return StepOutput(step=text.removeprefix(_FROM_STEP))
    try:
        return AssetInput(asset_id=UUID(text))
    except ValueError:
        raise GenyardError(
            Code.request_invalid,
            f"{text[:60]!r} is neither an asset id, nor step:NAME, nor scenario:ASSET; upload the file first "
            "(POST /v1/assets)",
            field=field,
        ) from None


def _write_input(given: Input) -> str:
    return f"{_FROM_STEP}{given.step}" if isinstance(given, StepOutput) else str(given.asset_id)


def _require_control_images(parameters: Mapping[str, Any], inputs: Mapping[str, Any], field: str) -> None:
    wanted, given = len(parameters.get("controlnets", ())), len(inputs.get("control", ()))
    if wanted != given:
        raise GenyardError(
            Code.request_invalid,
            f"{wanted} controlnets need as many images in the role control, {given} given",
            field=_path(field, "inputs.control"),
        )


def _require_earlier(step: Step, earlier: Sequence[Step], field: str) -> None:
    names = [one.name for one in earlier]
    if step.name in names:
        raise GenyardError(
            Code.request_invalid, f"two steps are named {step.name!r}", field=_path(field, "name")
        )
    for role, given in step.inputs.items():
        for one in given:
            if isinstance(one, StepOutput) and one.step not in names:
                raise GenyardError(
                    Code.request_invalid,
                    f"{one.step!r} is not an earlier step; earlier are {', '.join(names) or 'none'}",
                    field=_path(field, f"inputs.{role}"),
                )


def draw_seeds(
    steps: Sequence[Step], draw: Callable[[], int] = lambda: secrets.randbits(32)
) -> tuple[Step, ...]:
    """Every seeded step gets a seed now, so that the accepted request can be run again exactly."""
    return tuple(
        replace(step, parameters={**step.parameters, "seed": draw()})
        if OPERATIONS[step.operation].seeded and step.parameters.get("seed") is None
        else step
        for step in steps
    )


def forget_seeds(steps: Sequence[Step]) -> tuple[Step, ...]:
    return tuple(
        replace(step, parameters={**step.parameters, "seed": None})
        if OPERATIONS[step.operation].seeded
        else step
        for step in steps
    )


def bind(
    step: Step, binding: Binding, media: Mapping[UUID, MediaInput], *, previews: bool = False
) -> BoundStep:
    """Fills what was left open from the binding, turns asset ids into the media that they stand for.

    `request.unsupported` names a parameter that the binding refuses or whose value is beyond its limits.
    """
    parameters = dict(step.parameters)
    _fill_size(parameters)
    for name, value in binding.defaults.items():
        if name in parameters and parameters[name] is None:
            parameters[name] = value
    inputs: dict[str, tuple[Source, ...]] = {
        role: tuple(media[one.asset_id] if isinstance(one, AssetInput) else one for one in given)
        for role, given in step.inputs.items()
    }
    bound = BoundStep(
        name=step.name,
        operation=step.operation,
        binding=binding,
        parameters=parameters,
        inputs=inputs,
        keep=step.keep,
        model=step.model,
        previews=previews,
    )
    bound.require()
    return bound


def _fill_size(parameters: dict[str, Any]) -> None:
    ratio = parameters.pop("aspect_ratio", None)
    if ratio is not None:
        parameters["width"], parameters["height"] = ASPECT_SIZES[ratio]
    elif "width" in parameters and (parameters["width"] is None) != (parameters["height"] is None):
        side = parameters["width"] or parameters["height"]
        parameters["width"] = parameters["height"] = side


def group(chosen: Sequence[tuple[str, BoundStep]], fuses: Callable[[str], bool]) -> tuple[StageDraft, ...]:
    """Consecutive steps on an endpoint that fuses become one stage, if each feeds on what came before it.

    Outputs that a later stage needs are kept, whether or not the caller asked for them.
    """
    drafts: list[StageDraft] = []
    for endpoint, step in chosen:
        if drafts and drafts[-1].endpoint == endpoint and fuses(endpoint) and _feeds_on(step, drafts[-1]):
            drafts[-1] = replace(drafts[-1], steps=(*drafts[-1].steps, step))
        else:
            drafts.append(StageDraft(endpoint=endpoint, steps=(step,)))
    return tuple(_keep_what_others_need(draft, drafts) for draft in drafts)


def _feeds_on(step: BoundStep, draft: StageDraft) -> bool:
    return any(one.step in {earlier.name for earlier in draft.steps} for one in _step_outputs(step))


def _step_outputs(step: BoundStep) -> list[StepOutput]:
    sources: list[Source] = [one for given in step.inputs.values() for one in given]
    return [one for one in sources if isinstance(one, StepOutput)]


def _keep_what_others_need(draft: StageDraft, drafts: Sequence[StageDraft]) -> StageDraft:
    needed: dict[str, BoundStep] = {}
    for other in drafts:
        if other is not draft:
            needed |= {one.step: step for step in other.steps for one in _step_outputs(step)}
    for step in draft.steps:
        if step.name in needed and step.parameters.get("count", 1) > 1:
            raise GenyardError(
                Code.request_unsupported,
                f"count: {needed[step.name].name} runs as a submission of its own and takes one picture of "
                f"{step.name}; ask for count 1, or send one job per picture",
                field="parameters.count",
            )
    return replace(
        draft, steps=tuple(replace(step, keep=step.keep or step.name in needed) for step in draft.steps)
    )
