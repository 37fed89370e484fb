"""Routes about what can be done, by whom and for how much: operations, estimates, health."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from typing import Final

import psycopg
from fastapi import APIRouter, Response

from genyard.catalog import Price
from genyard.frontends.http.bodies import JobBody
from genyard.frontends.http.caller import KEYS, Parts, WithCaller, WithParts
from genyard.frontends.http.jobs import PLANNING
from genyard.frontends.http.views import (
    CostView,
    EndpointHealthView,
    EstimateView,
    HealthView,
    LicenceView,
    OperationListView,
    PlannedStageView,
    PlannedStepView,
    PriceView,
    RouteView,
    answers,
)
from genyard.providers import BoundStep, Cost, Health
from genyard.studio.planning import GENYARD_VERSION, Planned

router = APIRouter(tags=["places"])

_DATABASE_SECONDS: Final = 1.0


@router.get("/v1/operations", operation_id="list_operations", dependencies=KEYS, responses=answers())
async def list_operations(caller: WithCaller) -> OperationListView:
    """What can be asked for, with schemas and defaults, and who can serve it now."""
    told = await caller.studio.operations(await caller.parts.board.known())
    return OperationListView.model_validate({"operations": told})


@router.post("/v1/estimate", operation_id="estimate_job", dependencies=KEYS, responses=answers(*PLANNING))
async def estimate_job(body: JobBody, caller: WithCaller) -> EstimateView:
    """What would be done with this job, where, under which licence, at what price. Nothing is stored."""
    planned = await caller.studio.estimate(body.request(), owner_id=caller.owner_id)
    return _estimate(planned, caller.studio.endpoints)


@router.get(
    "/health",
    operation_id="get_health",
    responses={503: {"model": HealthView, "description": "The database does not answer."}},
)
async def get_health(parts: WithParts, response: Response) -> HealthView:
    """Whether genyard works. Needs no key, tells no secrets, answers at once."""
    (database, worker, paused), endpoints = await asyncio.gather(_database(parts), parts.board.look())
    routes = [RouteView.model_validate(route) for route in parts.studio.routes()]
    if not database:
        response.status_code = 503
    needed = [endpoints.get(route.endpoint) for route in routes]
    reachable = all(health is None or health.reachable for health in needed)
    fine = worker and bool(needed) and reachable and not any(route.endpoint in paused for route in routes)
    kinds = parts.studio.endpoints
    return HealthView(
        status="failing" if not database else "ok" if fine else "degraded",
        provider=parts.studio.provider,
        version=GENYARD_VERSION,
        database=database,
        worker=worker,
        endpoints=[
            _endpoint(name, kinds[name], health, name in paused) for name, health in endpoints.items()
        ],
        routes=routes,
    )


async def _database(parts: Parts) -> tuple[bool, bool, Collection[str]]:
    """Whether the database answers, whether a worker is alive, which endpoints are paused."""
    try:
        async with asyncio.timeout(_DATABASE_SECONDS):
            return True, await parts.studio.has_worker(), await parts.studio.paused()
    except (TimeoutError, psycopg.Error):
        return False, False, ()


def _endpoint(name: str, kind: str, health: Health | None, paused: bool) -> EndpointHealthView:
    return EndpointHealthView(
        name=name,
        kind=kind,
        reachable=health.reachable if health else None,
        version=health.version if health else None,
        queue_depth=health.queue_depth if health else None,
        paused=paused,
        error=health.error.code if health and health.error else None,
    )


def _estimate(planned: Planned, kinds: Mapping[str, str]) -> EstimateView:
    stages = [
        PlannedStageView(
            endpoint=stage.draft.endpoint,
            provider=kinds[stage.draft.endpoint],
            steps=[_planned_step(step) for step in stage.draft.steps],
            cost=_cost(stage.estimate),
        )
        for stage in planned.stages
    ]
    cost = planned.cost
    return EstimateView(
        stages=stages,
        usd=cost.usd if cost else None,
        cost=_cost(cost),
        credits=planned.price.credits if planned.price else None,
    )


def _cost(cost: Cost | None) -> CostView | None:
    return CostView(usd=cost.usd, source=cost.source) if cost else None


def _planned_step(step: BoundStep) -> PlannedStepView:
    binding = step.binding
    return PlannedStepView(
        name=step.name,
        operation=step.operation,
        model=binding.model,
        title=binding.title,
        ai=binding.ai,
        licence=LicenceView.model_validate(binding.licence.model_dump()),
        price=_price(binding.price),
        parameters=dict(step.parameters),
    )


def _price(price: Price | None) -> PriceView | None:
    return PriceView(usd=price.usd, units=price.units, per=price.per) if price else None
