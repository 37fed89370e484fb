"""HOW a kind of place performs an operation with a model: bindings, as data.

`data/bindings/<kind>/<operation>.<model>.toml`, one file each, read once and validated. A new model is a new
file; no provider and no operation is opened for it.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from genyard.errors import Code, GenyardError
from genyard.operations import OPERATIONS


class _Data(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Licence(_Data):
    """What may be done with the model. `commercial`: None where nobody has confirmed it yet."""

    name: str
    commercial: bool | None = None
    note: str = ""


class Price(_Data):
    """US dollars for one output, or for one second of a run."""

    usd: float
    per: Literal["output", "second", "request"]


class Limits(_Data):
    """What the binding accepts; the place's own limits, not genyard's."""

    min_side: int = 64
    max_side: int = 4096
    multiple: int = 8
    max_count: int = 16
    max_steps: int = 150


class Binding(_Data):
    """One row of the catalogue.

    templates   for ComfyUI: names in order of preference; the endpoint's facts choose
    defaults    parameter → value for parameters that the caller left open
    files       model files by the template's own names; an endpoint's settings may rename them
    refuses     parameter → why this binding cannot honour it (it is refused by name, never dropped)
    stands_in   serves requests for any known model, and says so in the result (the preview renderer)
    default     the binding of its kind and operation that is taken when no model is named
    wire        whatever else the provider kind needs: read by that provider alone
    """

    kind: str
    operation: str
    model: str
    title: str
    ai: bool = True
    default: bool = False
    stands_in: bool = False
    templates: tuple[str, ...] = ()
    defaults: dict[str, Any] = Field(default_factory=dict)
    files: dict[str, str] = Field(default_factory=dict)
    refuses: dict[str, str] = Field(default_factory=dict)
    limits: Limits = Limits()
    price: Price | None = None
    licence: Licence
    wire: dict[str, Any] = Field(default_factory=dict)

    @property
    def key(self) -> str:
        return f"{self.kind}/{self.operation}.{self.model}"

    def require(self, parameters: Mapping[str, Any]) -> None:
        """`request.unsupported` naming the parameter that this binding refuses, or that is beyond its limits."""
        for name, reason in self.refuses.items():
            if parameters.get(name):
                raise self._unsupported(name, f"{self.model} does not take it: {reason}")
        for name in ("width", "height"):
            if (side := parameters.get(name)) is not None:
                self._require_side(name, side)
        for name, most in (("count", self.limits.max_count), ("steps", self.limits.max_steps)):
            if (parameters.get(name) or 0) > most:
                raise self._unsupported(name, f"{parameters[name]} is more than {most}")

    def _require_side(self, name: str, side: int) -> None:
        limits = self.limits
        low = -(-limits.min_side // limits.multiple) * limits.multiple
        high = limits.max_side // limits.multiple * limits.multiple
        nearest = min(max(round(side / limits.multiple) * limits.multiple, low), high)
        if not limits.min_side <= side <= limits.max_side:
            raise self._unsupported(
                name, f"{side} is outside {limits.min_side} to {limits.max_side} pixels; take {nearest}"
            )
        if side != nearest:
            raise self._unsupported(name, f"{side} is not a multiple of {limits.multiple}; take {nearest}")

    def _unsupported(self, parameter: str, why: str) -> GenyardError:
        return GenyardError(
            Code.request_unsupported,
            f"{parameter}: {why} ({self.key})",
            field=f"parameters.{parameter}",
            context={"binding": self.key},
        )


@dataclass(frozen=True, kw_only=True)
class Catalog:
    bindings: Mapping[str, Binding]
    models: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "models", frozenset(binding.model for binding in self.bindings.values()))

    def of(self, kind: str, operation: str | None = None) -> Iterator[Binding]:
        """Bindings of a kind, the default one of each operation first."""
        rows = [
            binding
            for binding in self.bindings.values()
            if binding.kind == kind and (operation is None or binding.operation == operation)
        ]
        yield from sorted(rows, key=lambda binding: (not binding.default, binding.key))

    def find(self, kind: str, operation: str, model: str | None) -> Binding | None:
        """The binding that serves `model` (None: the default one) at places of `kind`, if there is one."""
        rows = list(self.of(kind, operation))
        if model is None:
            return rows[0] if rows else None
        exact = [binding for binding in rows if binding.model == model]
        return next(iter(exact or [binding for binding in rows if binding.stands_in]), None)


@cache
def load_catalog() -> Catalog:
    """The bindings that ship with genyard. Wrong data is a defect: it raises `settings.invalid` at start."""
    bindings: dict[str, Binding] = {}
    root = resources.files("genyard.catalog") / "data" / "bindings"
    for kind in sorted(root.iterdir(), key=lambda entry: entry.name):
        for entry in sorted(kind.iterdir(), key=lambda entry: entry.name):
            if not entry.name.endswith(".toml"):
                continue
            operation, model = entry.name.removesuffix(".toml").split(".", 1)
            binding = _read(f"{kind.name}/{entry.name}", entry.read_bytes())
            if (binding.kind, binding.operation, binding.model) != (kind.name, operation, model):
                raise GenyardError(
                    Code.settings_invalid,
                    f"binding {kind.name}/{entry.name} says {binding.key}: name and content must agree",
                )
            bindings[binding.key] = binding
    return Catalog(bindings=bindings)


def _read(name: str, text: bytes) -> Binding:
    try:
        binding = Binding.model_validate(tomllib.loads(text.decode()))
    except ValueError as wrong:
        raise GenyardError(Code.settings_invalid, f"binding {name}: {wrong}") from wrong
    if binding.operation not in OPERATIONS:
        raise GenyardError(Code.settings_invalid, f"binding {name}: unknown operation {binding.operation!r}")
    return binding
