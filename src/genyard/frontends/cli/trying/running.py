"""Asks one endpoint for one thing of each kind, and writes the report after every one of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from genyard.errors import Code, GenyardError
from genyard.frontends.cli.batch.money import Offer, Price
from genyard.frontends.cli.composition import Product
from genyard.frontends.cli.exits import EXIT_STATUS, INTERRUPTED, complain, print_json, wrong
from genyard.frontends.cli.files import Target, choose_target, save_job
from genyard.frontends.cli.hands import worker_at_hand
from genyard.frontends.cli.inputs import borrowed
from genyard.frontends.cli.prices import today_json, told_cost
from genyard.frontends.cli.screen import Screen
from genyard.frontends.cli.session import Session
from genyard.frontends.cli.trying.report import Watched, job_json, lines, masked, planned_json, secrets_of
from genyard.frontends.cli.trying.samples import Sampler
from genyard.frontends.cli.watching import Stops, follow, interrupts
from genyard.providers import Health

if TYPE_CHECKING:
    from genyard.jobs.model import Event
    from genyard.studio.planning import Planned


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One request that will be made. `told`: its row of the report so far."""

    body: Mapping[str, Any]
    planned: Planned
    told: dict[str, Any]


class Report:
    """`report.json`, written again whenever something is new."""

    def __init__(self, session: Session, folder: Path) -> None:
        name = session.options["endpoint"]
        endpoint = session.settings.endpoints[name]
        self.rows: list[dict[str, Any]] = []
        self.endpoint = name
        self.folder = folder
        self._secrets = secrets_of(endpoint)
        self._head = {
            "genyard": version("genyard"),
            "at": datetime.now(UTC).isoformat(),
            "endpoint": name,
            "kind": endpoint.kind,
            "url": endpoint.url,
            "endpoint_id": endpoint.endpoint_id or None,
        }

    def as_json(self) -> dict[str, Any]:
        costs = [row["cost"] for row in self.rows if row.get("cost")]
        cost = {
            "usd": sum(one["usd"] or 0.0 for one in costs)
            if any(one["usd"] is not None for one in costs)
            else None,
            "complete": all(one["complete"] for one in costs),
        }
        return self.without_secrets(
            {
                **self._head,
                "fine": bool(self.rows) and all(row["state"] == "succeeded" for row in self.rows),
                "cost": cost if costs else None,
                "operations": self.rows,
            }
        )

    def without_secrets(self, told: Mapping[str, Any]) -> dict[str, Any]:
        hidden: dict[str, Any] = masked(told, self._secrets)
        return hidden

    def write(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            text = json.dumps(self.as_json(), indent=2, ensure_ascii=False, default=str)
            (self.folder / "report.json").write_text(text + "\n")
        except OSError as broken:
            raise wrong(f"cannot write the report: {broken.strerror or broken}", "--output") from broken


async def try_endpoint(session: Session) -> int:
    name = _endpoint(session)
    folder = Path(session.options["output"] or f"out/try-{name}")
    choose_target(str(folder / "report.json"))
    report = Report(session, folder)
    interrupted = False
    async with session.open() as product:
        health = await product.studio.health_of(name, max_age=0)
        if health.error is not None:
            raise health.error
        sampler = Sampler(product.studio, name)
        trials = await _planned(session, product, sampler, report, await _served(product, name, health))
        try:
            await _require_consent(session, product, trials)
        except (GenyardError, typer.Abort):
            async with borrowed(product, sampler.made):
                raise
        async with worker_at_hand(session, product):
            with interrupts() as stops:
                for trial in trials:
                    interrupted = await _run(product, report, trial, stops)
                    if not session.as_json:
                        _say(report.without_secrets(trial.told))
                    if interrupted:
                        break
    report.write()
    return _conclude(session, report, interrupted)


def _endpoint(session: Session) -> str:
    name: str = session.options["endpoint"]
    endpoint = session.settings.endpoints.get(name)
    if endpoint is None:
        known = ", ".join(session.settings.endpoints)
        raise wrong(f"there is no endpoint {name!r}; configured are {known}", "ENDPOINT")
    if endpoint.missing:
        needs = " and ".join(endpoint.missing)
        raise GenyardError(Code.settings_invalid, f"{needs} is not set", field=endpoint.missing[0])
    return name


async def _served(product: Product, name: str, health: Health) -> dict[str, list[dict[str, Any]]]:
    """Operation → who serves it there, the default first. Nobody else is asked anything."""
    unasked = Health(reachable=False)
    known = {one: health if one == name else unasked for one in product.studio.endpoints}
    return {
        operation["name"]: served
        for operation in await product.studio.operations(known)
        if (served := [one for one in operation["served_by"] if one["endpoint"] == name])
    }


async def _planned(
    session: Session,
    product: Product,
    sampler: Sampler,
    report: Report,
    served: Mapping[str, Sequence[Mapping[str, Any]]],
) -> list[Trial]:
    """What will be asked. What cannot be asked there is in the report already."""
    model: str | None = session.options["model"]
    wanted = list(dict.fromkeys(session.options["operations"] or served))
    for operation in wanted:
        if operation not in served:
            raise wrong(
                f"{session.options['endpoint']} does not serve {operation!r}; it serves {', '.join(served)}",
                "OPERATION",
            )
    trials = []
    for operation in wanted:
        told: dict[str, Any] = {"operation": operation, "state": "refused", "model": model}
        report.rows.append(told)
        able = [one for one in served[operation] if one["can"]]
        try:
            body, planned = await sampler.fit(operation, model or (able[0]["model"] if able else None))
        except GenyardError as error:
            told["error"] = error.as_json()
            if not session.as_json:
                _say(told)
            continue
        told |= {"state": "open", **planned_json(planned, session.settings)}
        trials.append(Trial(body=body, planned=planned, told=told))
    return trials


async def _require_consent(session: Session, product: Product, trials: Sequence[Trial]) -> None:
    prices = [Price.of(trial.planned) for trial in trials]
    endpoints = [session.options["endpoint"]]
    today = today_json(await product.studio.spending(), session.settings, endpoints)
    offer = Offer(prices=prices, today=today)
    if not session.as_json:
        for line in offer.lines(0, "request"):
            typer.echo(line, err=True)
    offer.require_small(max_usd=session.options["max_usd"], yes=session.options["yes"])


async def _run(product: Product, report: Report, trial: Trial, stops: Stops) -> bool:
    """Whether somebody interrupted."""
    operation = trial.told["operation"]
    try:
        submitted = await product.studio.submit(trial.body, endpoint=report.endpoint)
    except GenyardError as error:
        trial.told.update(state="refused", error=error.as_json())
        return False
    watched = Watched()
    with _Seeing(operation, watched) as screen:
        job, interrupted = await follow(product, submitted.job.id, screen, stops)
    target = Target(folder=report.folder, file=report.folder / f"{operation}.png")
    files = [str(path) for path in await save_job(product, job, target, operation)] if job.outputs else []
    trial.told.update(job_json(job, watched, files))
    report.write()
    return interrupted


class _Seeing(Screen):
    """The live line, which also remembers when what was seen."""

    def __init__(self, title: str, watched: Watched) -> None:
        super().__init__(title)
        self._watched = watched

    def see(self, event: Event) -> None:
        self._watched.see(event)
        super().see(event)


def _say(told: Mapping[str, Any]) -> None:
    for line in lines(told):
        typer.echo(line)


def _conclude(session: Session, report: Report, interrupted: bool) -> int:
    told = report.as_json()
    if session.as_json:
        print_json(told)
    else:
        fine = sum(row["state"] == "succeeded" for row in told["operations"])
        cost = f" · {words}" if (words := told_cost(told["cost"])) else ""
        typer.echo(
            f"{fine} of {len(told['operations'])} operations fine at {told['endpoint']}{cost}", err=True
        )
        typer.echo(str(report.folder / "report.json"))
    if interrupted:
        return INTERRUPTED
    first = next((row["error"] for row in told["operations"] if row.get("error")), None)
    if first is None:
        return 0
    if session.as_json:
        complain(GenyardError.from_json(first), None)
    return EXIT_STATUS[Code(first["code"])]
