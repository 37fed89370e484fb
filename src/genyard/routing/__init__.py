"""Which place serves a step. Pure: settings and catalogue in, a choice or a clear refusal out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from genyard.catalog import Binding, Catalog
from genyard.errors import Code, GenyardError
from genyard.pipelines import Step


@dataclass(frozen=True, kw_only=True)
class Choice:
    endpoint: str
    binding: Binding


def choose(
    step: Step,
    *,
    endpoints: Mapping[str, str],
    preferred: str,
    catalog: Catalog,
    needs: Mapping[str, Sequence[str]],
) -> Choice:
    """The endpoint of the preferred kind that can serve `step`.

    endpoints  name → kind, in the order of the settings
    preferred  the kind of IMAGE_GENERATION_PROVIDER
    needs      kind → environment names that configure it, for the refusal's text

    `request.invalid` for a model that nobody knows; `request.unsupported` where this kind cannot do it, saying
    who could and which setting would enable it; `settings.invalid` where the kind has no endpoint.
    """
    if step.model is not None and step.model not in catalog.models:
        raise GenyardError(
            Code.request_invalid,
            f"{step.model!r} is not a model that genyard knows; known are {', '.join(sorted(catalog.models))}",
            field="model",
        )
    names = [name for name, kind in endpoints.items() if kind == preferred]
    if not names:
        raise GenyardError(
            Code.settings_invalid,
            f"IMAGE_GENERATION_PROVIDER is {preferred}, but {' and '.join(needs.get(preferred, ()))} "
            "is not set",
            field="IMAGE_GENERATION_PROVIDER",
        )
    binding = catalog.find(preferred, step.operation, step.model)
    if binding is None:
        raise _nobody(step, preferred, catalog, needs)
    return Choice(endpoint=names[0], binding=binding)


def _nobody(step: Step, preferred: str, catalog: Catalog, needs: Mapping[str, Sequence[str]]) -> GenyardError:
    what = step.operation + (f" with {step.model}" if step.model else "")
    others = [
        f"IMAGE_GENERATION_PROVIDER={kind}" + (f" with {' and '.join(names)}" if names else "")
        for kind, names in needs.items()
        if kind != preferred and catalog.find(kind, step.operation, step.model)
    ]
    hint = f"; this would do: {' or '.join(others)}" if others else ""
    return GenyardError(
        Code.request_unsupported,
        f"{preferred} cannot do {what}{hint}",
        field="model" if step.model else "operation",
        context={"provider": preferred, "operation": step.operation},
    )
