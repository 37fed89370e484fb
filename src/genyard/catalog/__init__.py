"""HOW a kind of place performs an operation with a model: bindings, as data.

`data/bindings/<kind>/<operation>.<model>.toml`, one file each, read once and validated. A new model is a new
file; no provider and no operation is opened for it. `binding` says what such a file may contain, `pricing` what
a run will cost by it.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources

from genyard.catalog.binding import Binding, Licence, Limits, Price
from genyard.errors import Code, GenyardError
from genyard.operations import OPERATIONS

__all__ = [
    "Binding",
    "Catalog",
    "Licence",
    "Limits",
    "Price",
    "load_catalog",
]


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

    def find(
        self,
        kind: str,
        operation: str,
        model: str | None,
        *,
        serves: Callable[[Binding], bool] = lambda binding: True,
    ) -> Binding | None:
        """The binding that serves `model` (None: the default one) at places of `kind`, if there is one; only among
        those that the place `serves`."""
        rows = [binding for binding in self.of(kind, operation) if serves(binding)]
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
