"""Which routes are in force, and which of them lead nowhere: what makes an installation usable or not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from genyard.errors import Code, GenyardError
from genyard.operations import OPERATIONS
from genyard.settings import PROVIDER_NEEDS

if TYPE_CHECKING:
    from genyard.providers import Health
    from genyard.settings import Settings

Row = Mapping[str, Any]


def routes_in_force(
    settings: Settings, routed: Sequence[Row], operations: Sequence[Row]
) -> list[dict[str, Any]]:
    """Per operation: who says where it goes (`by`), where that is, whether it can be done there."""
    places = {route["operation"]: route for route in routed}
    served = {one["operation"]: one for one in operations if one["default"]}
    told = []
    for operation in OPERATIONS:
        explicit = operation in settings.targets
        place, one = places.get(operation), served.get(operation)
        told.append(
            {
                "operation": operation,
                "by": f"genyard.toml: routes.{operation}" if explicit else "IMAGE_GENERATION_PROVIDER",
                "explicit": explicit,
                "target": settings.targets.get(operation, settings.provider),
                "endpoint": place["endpoint"] if place else None,
                "model": place["model"] if place else None,
                "lost": place["lost"] if place else None,
                "can": bool(one and one["can"]),
                "problems": list(one["problems"]) if one else [],
            }
        )
    return told


def problems_of_routes(
    settings: Settings, health: Mapping[str, Health], routes: Sequence[Row], operations: Sequence[Row]
) -> list[dict[str, Any]]:
    """Why something that is routed cannot be done. A place that no route leads to may lack whatever it lacks."""
    found = [error.as_json() for error in _problems(settings, health, routes, operations)]
    return [one for number, one in enumerate(found) if one not in found[:number]]


def _problems(
    settings: Settings, health: Mapping[str, Health], routes: Sequence[Row], operations: Sequence[Row]
) -> Iterator[GenyardError]:
    for route in routes:
        error = health[route["endpoint"]].error if route["endpoint"] else None
        if error is not None:
            yield error
        elif route["explicit"] and not route["can"]:
            yield _leads_nowhere(settings, route)
    by_default = [route for route in routes if not route["explicit"]]
    meant = [one for one in operations if one["routed"] and one["operation"] not in settings.targets]
    if any(one["can"] for one in meant) or not by_default:
        return
    if not meant:
        needs = " and ".join(PROVIDER_NEEDS.get(settings.provider, ()))
        yield GenyardError(
            Code.settings_invalid,
            f"IMAGE_GENERATION_PROVIDER is {settings.provider}, but {needs} is not set",
            field="IMAGE_GENERATION_PROVIDER",
        )
    elif all(health[one["endpoint"]].error is None for one in meant):
        names = ", ".join(dict.fromkeys(one["endpoint"] for one in meant))
        why = next(
            (problem for one in meant for problem in one["problems"]), "every model or node is missing"
        )
        yield GenyardError(Code.provider_missing, f"{names} can serve no operation: {why}")


def _leads_nowhere(settings: Settings, route: Row) -> GenyardError:
    if route["endpoint"] is not None:
        why = "; ".join(route["problems"])
        return GenyardError(
            Code.provider_missing,
            f"{route['operation']} goes to {route['endpoint']}: {why}",
            field=route["by"],
        )
    target = route["target"]
    kinds = {endpoint.kind for endpoint in settings.endpoints.values()} | set(settings.endpoints)
    needs = " and ".join(PROVIDER_NEEDS.get(target, ()))
    why = "nothing there serves it" if target in kinds or not needs else f"{needs} is not set"
    return GenyardError(Code.settings_invalid, f"{route['by']} is {target}, but {why}", field=route["by"])
