"""What can be asked for, and who serves it now: operations, and where requests go that name no model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from genyard.catalog import Binding, Catalog
from genyard.operations import OPERATIONS
from genyard.providers import Health
from genyard.routing import Endpoint, Routes, binding_at, candidates_of
from genyard.studio.places import Places


class Offers:
    def __init__(self, *, catalog: Catalog, places: Places, routes: Routes) -> None:
        self._catalog = catalog
        self._places = places
        self._routes = routes

    def routes(self) -> list[dict[str, Any]]:
        """Where requests for each operation go when no model is named."""
        return [
            {
                "operation": operation,
                "endpoint": endpoint.name,
                "model": binding.model,
                "lost": "again" if operation in self._routes.rebuys else "fail",
            }
            for operation in OPERATIONS
            if (found := self._routed(operation)) is not None
            for endpoint, binding in [found]
        ]

    def operations(self, health: Mapping[str, Health]) -> list[dict[str, Any]]:
        """Each operation with its schema, its inputs and who can serve it by that health."""
        return [
            {
                "name": operation.name,
                "summary": operation.summary,
                "parameters": operation.json_schema(),
                "inputs": [
                    {
                        "role": role.name,
                        "kind": role.kind.value,
                        "required": role.required,
                        "max_count": role.max_count,
                        "summary": role.summary,
                    }
                    for role in operation.inputs
                ],
                "output": operation.output.value if operation.output else None,
                "served_by": list(self._served_by(operation.name, health)),
            }
            for operation in OPERATIONS.values()
        ]

    def _routed(self, operation: str) -> tuple[Endpoint, Binding] | None:
        for endpoint in candidates_of(self._routes.of(operation), self._places.endpoints):
            binding = binding_at(endpoint, self._catalog, operation, None)
            if binding is not None:
                return endpoint, binding
        return None

    def _served_by(self, operation: str, health: Mapping[str, Health]) -> Iterator[dict[str, Any]]:
        routed = self._routed(operation)
        meant = [one.name for one in candidates_of(self._routes.of(operation), self._places.endpoints)]
        for endpoint in self._places.endpoints:
            for binding in self._catalog.of(endpoint.bindings, operation):
                if not endpoint.serves(binding):
                    continue
                yield {
                    "endpoint": endpoint.name,
                    "kind": endpoint.kind,
                    "model": binding.model,
                    "title": binding.title,
                    "default": routed == (endpoint, binding),
                    "routed": endpoint.name in meant,
                    "can": not (problems := _problems(endpoint, binding, health[endpoint.name])),
                    "problems": problems,
                    "defaults": binding.defaults,
                    "licence": binding.licence.model_dump(),
                }


def _problems(endpoint: Endpoint, binding: Binding, health: Health) -> list[str]:
    if endpoint.missing:
        return [f"{name} is not set" for name in endpoint.missing]
    return [health.error.message] if health.error else list(health.problems.get(binding.key, ()))
