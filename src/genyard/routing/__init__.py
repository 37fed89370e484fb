"""Which place serves a step. Pure: settings and catalogue in, a choice or a clear refusal out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from genyard.catalog import Binding, Catalog
from genyard.errors import Code, GenyardError
from genyard.pipelines import Step

#: What `IMAGE_GENERATION_PROVIDER` or a route says → which endpoints are meant, in this order, by kind of place and
#: kind of binding. `comfyui` is a server of one's own before ComfyUI on RunPod; `runpod` is single models before it.
TARGETS: Final[Mapping[str, tuple[tuple[str, str], ...]]] = {
    "preview": (("preview", "preview"),),
    "comfyui": (("comfyui", "comfyui"), ("runpod", "comfyui")),
    "runpod": (("runpod", "runpod"), ("runpod", "runpod-public"), ("runpod", "comfyui")),
    "scenario": (("scenario", "scenario"), ("scenario", "scenario-legacy")),
    "replicate": (("replicate", "replicate"),),
}

#: Which settings bring a place that has bindings of this kind; for RunPod's single models, by model.
_ENABLED_BY: Final[Mapping[str, str]] = {
    "comfyui": "COMFYUI_ENDPOINT, or RUNPOD_API_KEY with RUNPOD_COMFYUI_ENDPOINT_ID",
    "scenario": "SCENARIO_API_KEY with SCENARIO_SECRET_API_KEY",
    "replicate": "REPLICATE_API_TOKEN",
    "runpod flux.1-dev": "RUNPOD_API_KEY with RUNPOD_FLUX_ENDPOINT_ID",
    "runpod sdxl": "RUNPOD_API_KEY with RUNPOD_SDXL_ENDPOINT_ID",
    "runpod remove_background": "RUNPOD_API_KEY with RUNPOD_BG_REMOVAL_ENDPOINT_ID",
}


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """A configured place as far as a choice needs it.

    bindings    the kind of bindings that it goes by
    models      which models are there, and `operations` which it is to serve; empty: all
    missing     environment names without which it cannot be used
    """

    name: str
    kind: str
    bindings: str
    models: frozenset[str] = frozenset()
    operations: frozenset[str] = frozenset()
    missing: tuple[str, ...] = ()

    def serves(self, binding: Binding) -> bool:
        return (not self.models or binding.model in self.models) and (
            not self.operations or binding.operation in self.operations
        )


@dataclass(frozen=True, kw_only=True)
class Choice:
    endpoint: str
    binding: Binding


@dataclass(frozen=True, kw_only=True)
class Routes:
    """Where operations go: `default` unless `operations` says otherwise. A target is a word of `TARGETS` or the name
    of an endpoint; settings see to it that an endpoint named by such a word is one that the word means.

    pinned   `default` names one endpoint, and no other will do
    rebuys   operations of which a run that may have been bought is bought once more where nobody can be asked
    """

    default: str
    pinned: bool = False
    operations: Mapping[str, str] = field(default_factory=dict)
    rebuys: frozenset[str] = frozenset()

    def of(self, operation: str) -> str:
        return self.operations.get(operation, self.default)


def choose(step: Step, *, endpoints: Sequence[Endpoint], routes: Routes, catalog: Catalog) -> Choice:
    """The first endpoint of the step's route that can serve it, and the binding by which it does.

    `request.invalid` for a model that nobody knows; `settings.invalid` where the route leads to no endpoint, or to
    one whose key is missing; `request.unsupported` where none of them can, saying which setting would enable it.
    """
    if step.model is not None and step.model not in catalog.models:
        raise GenyardError(
            Code.request_invalid,
            f"{step.model!r} is not a model that genyard knows; known are {', '.join(sorted(catalog.models))}",
            field="model",
        )
    target = routes.of(step.operation)
    candidates = list(candidates_of(target, endpoints))
    if routes.pinned:
        candidates = [endpoint for endpoint in candidates if endpoint.name == target]
    if not candidates:
        raise _not_configured(step.operation, target, routes)
    for endpoint in candidates:
        binding = binding_at(endpoint, catalog, step.operation, step.model)
        if binding is not None:
            if endpoint.missing:
                raise _without_key(endpoint, step.operation)
            return Choice(endpoint=endpoint.name, binding=binding)
    raise _nobody(step, target, endpoints, catalog)


def candidates_of(target: str, endpoints: Sequence[Endpoint]) -> Iterator[Endpoint]:
    """The endpoints that a target means, the first choice first: the one of that name, then what the word means."""
    for endpoint in endpoints:
        if endpoint.name == target:
            yield endpoint
    for kind, bindings in TARGETS.get(target, ()):
        for endpoint in endpoints:
            if (endpoint.kind, endpoint.bindings) == (kind, bindings) and endpoint.name != target:
                yield endpoint


def binding_at(endpoint: Endpoint, catalog: Catalog, operation: str, model: str | None) -> Binding | None:
    """By which binding this endpoint serves the operation, if it does."""
    return catalog.find(endpoint.bindings, operation, model, serves=endpoint.serves)


def _not_configured(operation: str, target: str, routes: Routes) -> GenyardError:
    name = f"routes.{operation}" if operation in routes.operations else "IMAGE_GENERATION_PROVIDER"
    kinds = {bindings for _, bindings in TARGETS.get(target, ())}
    needs = [told for key, told in _ENABLED_BY.items() if key.split()[0] in kinds]
    if not needs or routes.pinned:
        return GenyardError(Code.settings_invalid, f"there is no endpoint {target!r}", field="endpoint")
    return GenyardError(
        Code.settings_invalid,
        f"{name} is {target}, but no such place is configured; set {', or '.join(needs)}",
        field=name,
    )


def _without_key(endpoint: Endpoint, operation: str) -> GenyardError:
    names = " and ".join(endpoint.missing)
    return GenyardError(
        Code.settings_invalid,
        f"{operation} goes to the endpoint {endpoint.name}, but {names} is not set",
        field=endpoint.missing[0],
    )


def _nobody(step: Step, target: str, endpoints: Sequence[Endpoint], catalog: Catalog) -> GenyardError:
    what = step.operation + (f" with {step.model}" if step.model else "")
    hints = [
        f'[routes] {step.operation} = "{endpoint.name}" in genyard.toml'
        for endpoint in endpoints
        if not endpoint.missing and binding_at(endpoint, catalog, step.operation, step.model)
    ]
    hints += [
        told
        for key, told in _ENABLED_BY.items()
        if _would_serve(key, step, catalog) and not any(_is_there(key, one) for one in endpoints)
    ]
    return GenyardError(
        Code.request_unsupported,
        f"{target} cannot do {what} with what is configured"
        + (f"; this would enable it: {', or '.join(hints)}" if hints else ""),
        field="model" if step.model else "operation",
        context={"provider": target, "operation": step.operation},
    )


def _would_serve(key: str, step: Step, catalog: Catalog) -> bool:
    kind, _, only = key.partition(" ")
    binding = catalog.find(
        kind,
        step.operation,
        step.model,
        serves=lambda one: not only or only in (one.model, one.operation),
    )
    return binding is not None


def _is_there(key: str, endpoint: Endpoint) -> bool:
    kind, _, only = key.partition(" ")
    return endpoint.bindings == kind and (not only or only in endpoint.models | endpoint.operations)
