"""Bound steps become one ComfyUI workflow: pure, by `genyard.comfy`.

Refuses by name what the template cannot honour; what the binding cannot was refused when it was bound. Knows no
server: what is known of the endpoint comes in as its node catalogue.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from genyard import comfy
from genyard.catalog import Binding
from genyard.errors import Code, GenyardError
from genyard.operations import Role
from genyard.providers import (
    BoundStep,
    Facts,
    MediaInput,
    Plan,
    PlanInput,
    PlanOutput,
    Source,
    StepOutput,
)

Json = Any

#: Parameters that are not values of a template: they are spliced in, or were turned into others before.
_NOT_VALUES: Final = frozenset({"loras", "controlnets", "aspect_ratio"})

#: What `comfy.fill` names the nodes of the caller's LoRAs.
_LORA_NODE: Final = re.compile(r"lora(\d+)")

_FILM_CLASSES: Final = frozenset({"SaveVideo", "SaveWEBM", "VHS_VideoCombine"})


def compile_steps(steps: Sequence[BoundStep], facts: Facts | None, *, renamed: Mapping[str, str]) -> Plan:
    """`renamed`: model file name of a template or binding → the name it has on this endpoint."""
    catalogue = comfy.Catalogue(facts.catalogue) if facts is not None and facts.catalogue else None
    here = frozenset(step.name for step in steps)
    parts = [_part(step, catalogue, renamed, here) for step in steps]
    _check(steps, parts, catalogue)
    fused = comfy.fuse(parts)
    if catalogue is not None and (problems := comfy.check(fused.workflow, catalogue, uploads=fused.uploads)):
        raise comfy.error_of(problems)
    uploads: dict[str, list[Json]] = {}
    inputs: dict[str, PlanInput] = {}
    for step in steps:
        for name, source in _named_sources(step).items():
            given = _given_as(source, here)
            if given is not None:
                inputs[given] = PlanInput(name=given, source=source)
                sites = fused.inputs[f"{step.name}.{name}"]
                uploads.setdefault(given, []).extend(site.as_json() for site in sites)
    outputs = tuple(
        PlanOutput(step=output.step, role=Role(output.role) if output.role else None, where=output.save)
        for output in fused.outputs
    )
    return Plan(
        payload={
            "workflow": fused.workflow,
            "uploads": uploads,
            "prefixes": [site.as_json() for site in fused.prefixes],
            "previews": any(step.previews for step in steps),
        },
        inputs=tuple(inputs.values()),
        outputs=outputs,
        facts={step: {**told, "files": dict(fused.files)} for step, told in fused.facts.items()},
        video=_makes_video(fused.workflow),
    )


def _check(
    steps: Sequence[BoundStep], parts: Sequence[comfy.Part], catalogue: comfy.Catalogue | None
) -> None:
    """Every problem of every step at once, by the node ids that its workflow has before it is fused."""
    found = [
        (_field_of(step, problem), _named(problem, step.name if len(steps) > 1 else ""))
        for step, part in zip(steps, parts, strict=True)
        for problem in _problems(step, part.graph, catalogue)
    ]
    if found:
        field = next((field for field, _ in found if field), None)
        raise comfy.error_of([problem for _, problem in found], field=field)


def _problems(step: BoundStep, graph: comfy.Graph, catalogue: comfy.Catalogue | None) -> list[comfy.Problem]:
    told = comfy.check(graph.workflow, catalogue, uploads=graph.uploads) if catalogue else ()
    found = [problem for problem in told if problem.kind is not comfy.ProblemKind.no_output]
    if step.keep and not graph.outputs:
        message = "nothing in this workflow saves a file; add a node such as SaveImage or SaveVideo"
        found.append(comfy.Problem(kind=comfy.ProblemKind.no_output, message=message))
    return found


def _named(problem: comfy.Problem, step: str) -> comfy.Problem:
    return replace(problem, message=f"step {step}: {problem.message}") if step else problem


def _field_of(step: BoundStep, problem: comfy.Problem) -> str | None:
    if step.operation == "run_workflow":
        return "parameters.workflow"
    lora = _LORA_NODE.fullmatch(problem.node or "")
    return f"parameters.loras.{lora[1]}.name" if lora and problem.input == "lora_name" else None


def _makes_video(workflow: comfy.Workflow) -> bool:
    return any(node["class_type"] in _FILM_CLASSES for node in workflow.values())


def _part(
    step: BoundStep, catalogue: comfy.Catalogue | None, renamed: Mapping[str, str], here: frozenset[str]
) -> comfy.Part:
    sources = _named_sources(step)
    wires = {
        name: source.step
        for name, source in sources.items()
        if isinstance(source, StepOutput) and source.step in here
    }
    own = step.operation == "run_workflow"
    graph = _own(step, catalogue) if own else _from_template(step, catalogue, renamed)
    if unknown := set(sources) - set(graph.inputs):
        name = sorted(unknown)[0]
        raise GenyardError(
            Code.request_invalid,
            f"the input {name!r} goes nowhere; the workflow takes {', '.join(graph.inputs) or 'no inputs'}",
            field=f"inputs.{name}",
        )
    if missing := set(graph.inputs) - set(sources):
        name = sorted(missing)[0]
        raise GenyardError(
            Code.request_invalid, f"the workflow needs an input {name!r}", field=f"inputs.{name}"
        )
    return comfy.Part(name=step.name, graph=graph, wires=wires, keep=step.keep)


def _given_as(source: Source, here: frozenset[str]) -> str | None:
    """The name of an upload; None for what a step of the same workflow gives. What a former stage made, perhaps at
    another place, is uploaded like an asset."""
    if isinstance(source, MediaInput):
        return source.name
    return None if source.step in here else f"step.{source.step}"


def _named_sources(step: BoundStep) -> dict[str, Source]:
    """By the names of a graph's inputs: `image`, `video`, `control.0`, …"""
    named: dict[str, Source] = {}
    for role, sources in step.inputs.items():
        for place, source in enumerate(sources):
            named[f"{role}.{place}" if role == "control" or len(sources) > 1 else role] = source
    return named


def _own(step: BoundStep, catalogue: comfy.Catalogue | None) -> comfy.Graph:
    return comfy.own_graph(
        step.parameters["workflow"],
        values=step.parameters.get("values") or {},
        media=step.parameters.get("media") or {},
        catalogue=catalogue,
    )


def _from_template(
    step: BoundStep, catalogue: comfy.Catalogue | None, renamed: Mapping[str, str]
) -> comfy.Graph:
    given = step.parameters
    templates = [comfy.load_template(name) for name in step.binding.templates]
    choice = comfy.choose(
        templates,
        catalogue,
        files=endpoint_files(step.binding, templates, renamed),
        inputs={role for role, sources in step.inputs.items() if role != "control" and sources},
    )
    return comfy.fill(
        choice.template,
        values={name: value for name, value in given.items() if name not in _NOT_VALUES},
        files=choice.files,
        loras=[comfy.Lora(name=one["name"], strength=one["strength"]) for one in given.get("loras") or ()],
        controls=[
            comfy.Control(kind=one["kind"], strength=one["strength"])
            for one in given.get("controlnets") or ()
        ],
    )


def endpoint_files(
    binding: Binding, templates: Sequence[comfy.Template], renamed: Mapping[str, str]
) -> dict[str, str]:
    """The names that the binding and the endpoint decided on, by the templates' own names."""
    files = dict(binding.files)
    for template in templates:
        for name, file in template.files.items():
            if name not in files and file.default in renamed:
                files[name] = file.default
    return {name: renamed.get(file, file) for name, file in files.items()}
