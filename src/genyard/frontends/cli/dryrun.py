"""What would be sent where, for `--dry-run`: places, models, templates, licences, prices, the plan itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from genyard.frontends.cli.exits import print_json
from genyard.frontends.cli.session import Session

if TYPE_CHECKING:
    from genyard.jobs.records import NewStage
    from genyard.providers import BoundStep
    from genyard.studio.planning import Planned


def print_plan(session: Session, planned: Planned) -> None:
    stages = [_stage(stage) for stage in planned.stages]
    if session.as_json:
        steps = [step.as_json() for step in planned.steps]
        print_json({"dry_run": True, "provider": session.settings.provider, "steps": steps, "stages": stages})
        return
    from genyard.frontends.cli.screen import stdout

    console = stdout()
    for number, stage in enumerate(stages, start=1):
        console.print(
            f"stage {number} of {len(stages)} → {stage['endpoint']} ({stage['provider']})", style="bold"
        )
        for step in stage["steps"]:
            for line in _lines(step):
                console.print(f"  {line}")
    console.print("nothing was run or stored", style="dim")


def _stage(stage: NewStage) -> dict[str, Any]:
    plan = stage.plan
    return {
        "endpoint": stage.draft.endpoint,
        "provider": stage.draft.steps[0].binding.kind,
        "steps": [_step(step, dict(plan.facts.get(step.name, {}))) for step in stage.draft.steps],
        "plan": dict(plan.payload),
        "inputs": [one.name for one in plan.inputs],
        "outputs": [{"step": one.step, "role": one.role, "where": one.where} for one in plan.outputs],
        "video": plan.video,
    }


def _step(step: BoundStep, facts: dict[str, Any]) -> dict[str, Any]:
    binding = step.binding
    return {
        "name": step.name,
        "operation": step.operation,
        "model": binding.model,
        "title": binding.title,
        "ai": binding.ai,
        "template": facts.get("template"),
        "parameters": dict(step.parameters),
        "licence": binding.licence.model_dump(),
        "price": binding.price.model_dump() if binding.price else None,
        "facts": facts,
    }


def _lines(step: dict[str, Any]) -> list[str]:
    licence, price = step["licence"], step["price"]
    commercial = {True: "commercial use allowed", False: "NOT for commercial use", None: "unconfirmed"}
    told = {
        "model": f"{step['model']} ({step['title']}{'' if step['ai'] else ', not AI'})",
        "template": step["template"],
        "parameters": ", ".join(
            f"{name}={value!r}" for name, value in step["parameters"].items() if _matters(value)
        ),
        "licence": f"{licence['name']}: {commercial[licence['commercial']]}",
        "note": licence["note"],
        "price": f"${price['usd']:g} per {price['per']}"
        if price and price["usd"] is not None
        else "not known: a place of your own",
    }
    return [f"{step['name']}: {step['operation']}"] + [
        f"  {name}: {value}" for name, value in told.items() if value
    ]


def _matters(value: Any) -> bool:
    return value not in (None, "", [], (), {}) and not isinstance(value, dict)
