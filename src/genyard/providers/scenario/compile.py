"""From a bound step to the body of a generation. Pure.

A model's own `inputs[]` (names, types, ranges) are the truth: `check` reads them, and they are the facts here. Where
nobody has looked yet, the binding's `wire.inputs` stand in for them. A value is put in the type that the model names
(an array that comes as a bare value would be dropped there without a word), and one that is out of its range is
refused here, by our name of the parameter.

What `wire` of a binding may say:

    model_id    the model; ids may differ per team. The old routes have it in the body, or have none
    path        of the old routes: where to post; else generate/custom/<model_id>
    seed_below  seeds are taken modulo this
    inputs      field → {type, min, max, maxLength, allowedValues}, as the place writes it
    loras       {to, scale}: the fields of the list of model ids, and of their strengths
    control     {kind, strength, kinds}: the fields beside the control image, and our kinds → theirs
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any, Final

from genyard.errors import Code, GenyardError
from genyard.operations import OPERATIONS
from genyard.providers import BoundStep, Facts, Plan, PlanInput, PlanOutput
from genyard.providers._fields import flat_input, slots

Json = Any
Inputs = Mapping[str, Mapping[str, Json]]

#: Parameters that no field map can say → where the binding's `wire` says it.
_LISTS: Final = {"loras": "loras", "controlnets": "control"}


def compile_step(step: BoundStep, facts: Facts | None) -> Plan:
    wire = step.binding.wire
    model_id = str(wire.get("model_id", ""))
    given = {name: value for name, value in step.parameters.items() if value is not None}
    plan_facts: dict[str, Json] = {"model_id": model_id} if model_id else {}
    if (below := wire.get("seed_below")) and given.get("seed", 0) >= below:
        given["seed"] %= below
        plan_facts["seed_there"] = given["seed"]
    lists = {name: given.pop(name) for name, key in _LISTS.items() if given.get(name) and key in wire}
    body = flat_input(replace(step, parameters=given))
    names = _names(step)
    for name, value in lists.items():
        extra = _loras(value, wire["loras"]) if name == "loras" else _control(step, value, wire["control"])
        names |= dict.fromkeys(extra, name)
        body |= extra
    uploads = {slot.name: {"to": slot.field.to, "many": slot.field.many} for slot in slots(step)}
    if told := _told(step, model_id, facts):
        body = {field: _fit(step, field, value, told, names) for field, value in body.items()}
        for site in uploads.values():
            site["many"] = site["many"] or _is_array(_input(step, str(site["to"]), told))
    if "path" in wire and model_id:
        body["modelId"] = model_id
    return Plan(
        payload={"path": wire.get("path") or f"generate/custom/{model_id}", "body": body, "uploads": uploads},
        inputs=tuple(PlanInput(name=slot.name, source=slot.source) for slot in slots(step)),
        outputs=(PlanOutput(step=step.name, role=OPERATIONS[step.operation].output, where=""),),
        facts={step.name: plan_facts},
        video=step.operation == "animate_photo",
    )


def known_inputs(facts: Facts | None, model_id: str) -> Inputs | None:
    """What `check` has read of the model; empty where it has no inputs to tell."""
    told = ((facts and facts.catalogue) or {}).get("models", {}).get(model_id)
    return told["inputs"] if told is not None and told["usable"] else None


def problem_of(wire: Mapping[str, Json], fields: Collection[str], facts: Facts) -> str | None:
    """Why a binding cannot run there, by what `check` has read. `fields`: the names that it would send."""
    model_id = str(wire.get("model_id", ""))
    told = (facts.catalogue or {}).get("models", {}).get(model_id)
    if told is None:
        return None
    if not told["usable"]:
        return f"this team has no model {model_id}, or its plan does not include it"
    unknown = [name for name in fields if told["inputs"] and name not in told["inputs"]]
    return f"{model_id} has no input {', '.join(unknown)} any more" if unknown else None


def _told(step: BoundStep, model_id: str, facts: Facts | None) -> Inputs:
    models = ((facts and facts.catalogue) or {}).get("models", {})
    if model_id in models and not models[model_id]["usable"]:
        raise GenyardError(
            Code.provider_missing,
            f"this Scenario team has no model {model_id}, or its plan does not include it",
            context={"binding": step.binding.key, "model_id": model_id},
        )
    return known_inputs(facts, model_id) or step.binding.wire.get("inputs", {})


def _names(step: BoundStep) -> dict[str, str]:
    """Their field → our parameter."""
    names = {mapped.to: name for name, mapped in step.binding.fields.parameters.items()}
    size = step.binding.fields.size
    return names | ({size.width: "width", size.height: "height"} if size is not None else {})


def _loras(loras: Json, where: Mapping[str, str]) -> dict[str, Json]:
    """`name` is the model's id there. Lists of bare ids and numbers: anything else is dropped without a word."""
    return {
        where["to"]: [one["name"] for one in loras],
        where["scale"]: [one.get("strength", 1.0) for one in loras],
    }


def _control(step: BoundStep, nets: Json, where: Mapping[str, Json]) -> dict[str, Json]:
    [net] = nets if len(nets) == 1 else [None]
    if net is None:
        raise _unsupported(step, "controlnets", f"only one at a time, {len(nets)} are given")
    if (kind := where["kinds"].get(net["kind"])) is None:
        raise _unsupported(step, "controlnets", f"{net['kind']} is none of {', '.join(where['kinds'])}")
    return {where["kind"]: kind, where["strength"]: net.get("strength", 1.0)}


# --- what the model takes ------------------------------------------------------------------------


def _input(step: BoundStep, field: str, told: Inputs) -> Mapping[str, Json] | None:
    """Facts are complete, a binding's own rows need not be."""
    if field in told or told is step.binding.wire.get("inputs"):
        return told.get(field)
    raise GenyardError(
        Code.provider_missing,
        f"{step.binding.title} at Scenario has no input {field!r} any more",
        context={"binding": step.binding.key, "field": field},
    )


def _is_array(row: Mapping[str, Json] | None) -> bool:
    return row is not None and str(row.get("type", "")).endswith("_array")


def _fit(step: BoundStep, field: str, value: Json, told: Inputs, names: Mapping[str, str]) -> Json:
    row = _input(step, field, told)
    if row is None:
        return value
    parameter = names.get(field, field)
    if _is_array(row):
        items = list(value) if isinstance(value, list | tuple) else [value]
        if row.get("maxLength") is not None and len(items) > row["maxLength"]:
            raise _unsupported(step, parameter, f"at most {row['maxLength']:g}, {len(items)} are given")
        for item in items:
            _require_range(step, parameter, item, row)
        return items
    if row.get("type") == "string" and isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    if row.get("type") == "number" and isinstance(value, str) and value.isdecimal():
        value = int(value)
    _require_range(step, parameter, value, row)
    return value


def _require_range(step: BoundStep, parameter: str, value: Json, row: Mapping[str, Json]) -> None:
    low, high, longest = row.get("min"), row.get("max"), row.get("maxLength")
    edges = [f"{word} {edge:g}" for word, edge in (("at least", low), ("at most", high)) if edge is not None]
    if isinstance(value, int | float) and not isinstance(value, bool):
        if (low is not None and value < low) or (high is not None and value > high):
            raise _unsupported(step, parameter, f"{value:g} is not {' and '.join(edges)}")
    elif isinstance(value, str) and longest is not None and len(value) > longest and not _is_array(row):
        raise _unsupported(step, parameter, f"it takes {longest:g} characters, {len(value)} are given")
    allowed = row.get("allowedValues")
    if allowed and value not in allowed:
        raise _unsupported(step, parameter, f"it takes {', '.join(map(str, allowed))}")


def _unsupported(step: BoundStep, parameter: str, why: str) -> GenyardError:
    return GenyardError(
        Code.request_unsupported,
        f"{parameter}: {why} ({step.binding.key})",
        field=f"parameters.{parameter}",
        context={"binding": step.binding.key},
    )
