"""`genyard estimate` before any command that makes something: what it would cost, where, and how that is known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import typer

from genyard.frontends.cli.exits import print_json
from genyard.frontends.cli.making import MAKING, Asked, ask, command_of
from genyard.frontends.cli.session import Session, Work
from genyard.frontends.cli.table import summary

if TYPE_CHECKING:
    from collections.abc import Sequence

    from genyard.jobs.records import Spending
    from genyard.studio.planning import Planned


def add_to(app: typer.Typer) -> None:
    group = typer.Typer(help=summary("estimate"))
    for name, making in MAKING.items():
        group.command(name=name, help=f"What `genyard {name}` would cost; takes the same arguments.")(
            command_of(making, _work(name))
        )
    app.add_typer(group, name="estimate")


def _work(name: str) -> Work:
    async def work(session: Session) -> int:
        if session.options.get("batch"):
            from genyard.frontends.cli.batch import estimate_batch

            return await estimate_batch(session)
        return await _estimate(session, ask(name, session))

    return work


async def _estimate(session: Session, asked: Asked) -> int:
    from genyard.frontends.cli.inputs import borrowed, upload_inputs

    async with session.open() as product:
        steps, uploaded = await upload_inputs(product, asked.body["steps"])
        async with borrowed(product, uploaded):
            planned = await product.studio.estimate({**asked.body, "steps": steps})
        told = as_json(session, planned, await product.studio.spending())
    if session.as_json:
        print_json(told)
    else:
        for line in lines(told):
            typer.echo(line)
    return 0


def as_json(session: Session, planned: Planned, spending: Sequence[Spending]) -> dict[str, Any]:
    from genyard.frontends.cli.prices import cost_json, stage_json, today_json

    settings = session.settings
    return {
        "cost": cost_json(planned.cost),
        "credits": planned.price.credits if planned.price else None,
        "stages": [
            {
                "endpoint": stage.draft.endpoint,
                "steps": [
                    {"name": one.name, "operation": one.operation, "model": one.binding.model}
                    for one in stage.draft.steps
                ],
                **stage_json(stage, settings),
            }
            for stage in planned.stages
        ],
        "today": today_json(spending, settings, [stage.draft.endpoint for stage in planned.stages]),
    }


def lines(told: Mapping[str, Any]) -> list[str]:
    from genyard.frontends.cli.prices import UNKNOWN, money, price_line, today_line

    said = []
    for stage in told["stages"]:
        steps = ", ".join(f"{one['operation']} with {one['model']}" for one in stage["steps"])
        said.append(f"{steps} at {stage['endpoint']}: {price_line(stage)}")
        said += [f"  {note}" for note in dict.fromkeys(stage["notes"])]
    if len(told["stages"]) > 1:
        known = [one["cost"]["usd"] for one in told["stages"] if one["cost"]]
        total = money(sum(known)) if told["cost"] else f"{UNKNOWN}, at least {money(sum(known))}"
        said.append(f"together: {total}")
    said += [f"{told['credits']} credits"] if told["credits"] is not None else []
    return said + [today_line(name, today) for name, today in told["today"].items()]
