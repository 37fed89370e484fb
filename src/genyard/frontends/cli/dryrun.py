"""What would be sent where, for `--dry-run`: places, models, templates, licences, prices, the plan itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from genyard.frontends.cli.exits import print_json
from genyard.frontends.cli.prices import cost_json, price_line, stage_json, today_json, today_line
from genyard.frontends.cli.session import Session

if TYPE_CHECKING:
    from genyard.jobs.records import NewStage, Spending
    from genyard.providers import BoundStep
    from genyard.settings import Settings
    from genyard.studio.planning import Planned


def print_plan(session: Session, planned: Planned, spending: Sequence[Spending]) -> None:
    stages = [_stage(stage, session.settings) for stage in planned.stages]
    today = today_json(spending, session.settings, [stage["endpoint"] for stage in stages])
    if session.as_json:
        print_json(
            {
                "dry_run": True,
                "provider": session.settings.provider,
                "steps": [step.as_json() for step in planned.steps],
                "stages": stages,
                "cost": cost_json(planned.cost),
                "credits": planned.price.credits if planned.price else None,
                "today": today,
            }
        )
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
        console.print(f"  price: {price_line(stage)}")
    if planned.price:
        console.print(f"credits: {planned.price.credits} at most")
    for name, one in today.items():
        console.print(today_line(name, one))
    console.print("nothing was run or stored", style="dim")


def _stage(stage: NewStage, settings: Settings) -> dict[str, Any]:
    plan = stage.plan
    return {
        "endpoint": stage.draft.endpoint,
        "provider": stage.draft.steps[0].binding.kind,
        "steps": [_step(step, dict(plan.facts.get(step.name, {}))) for step in stage.draft.steps],
        "plan": dict(plan.payload),
        "inputs": [one.name for one in plan.inputs],
        "outputs": [{"step": one.step, "role": one.role, "where": one.where} for one in plan.outputs],
        "video": plan.video,
        **stage_json(stage, settings),
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
        "facts": {name: value for name, value in facts.items() if name != "asked_size"},
    }


def _lines(step: dict[str, Any]) -> list[str]:
    licence = step["licence"]
    commercial = {True: "commercial use allowed", False: "NOT for commercial use", None: "unconfirmed"}
    told = {
        "model": f"{step['model']} ({step['title']}{'' if step['ai'] else ', not AI'})",
        "template": step["template"],
        "parameters": ", ".join(
            f"{name}={value!r}" for name, value in step["parameters"].items() if _matters(value)
        ),
        "licence": f"{licence['name']}: {commercial[licence['commercial']]}",
        "note": licence["note"],
    }
    return [f"{step['name']}: {step['operation']}"] + [
        f"  {name}: {value}" for name, value in told.items() if value
    ]


def _matters(value: Any) -> bool:
    return value not in (None, "", [], (), {}) and not isinstance(value, dict)
