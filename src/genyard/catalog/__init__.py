"""HOW a kind of place performs an operation with a model: bindings, as data.

`data/bindings/<kind>/<operation>.<model>.toml`, one file each, read once and validated. A new model is a new file,
here or in a folder of one's own (`GENYARD_BINDINGS`); no provider and no operation is opened for it. `binding` says
what such a file may contain, `pricing` what a run will cost by it.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

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
def load_catalog(folder: Path | None = None) -> Catalog:
    """The bindings that ship with genyard, and those of `folder`, laid out alike, which come first: a file of the
    same name replaces the one that ships, a default of its kind and operation takes that place from it.

    Wrong data raises `settings.invalid` at start, naming the file.
    """
    shipped = _read_all(resources.files("genyard.catalog") / "data" / "bindings")
    if folder is None:
        return Catalog(bindings=shipped)
    if not folder.is_dir():
        raise GenyardError(
            Code.settings_invalid, f"GENYARD_BINDINGS: there is no folder {folder}", field="GENYARD_BINDINGS"
        )
    kinds = {binding.kind for binding in shipped.values()}
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.name.startswith((".", "_")) and entry.name not in kinds:
            raise GenyardError(
                Code.settings_invalid,
                f"{entry}: not a kind of bindings; known are {', '.join(sorted(kinds))}",
                field="GENYARD_BINDINGS",
            )
    own = _read_all(folder)
    taken = {(binding.kind, binding.operation) for binding in own.values() if binding.default}
    others = {
        key: binding.model_copy(update={"default": False})
        if (binding.kind, binding.operation) in taken
        else binding
        for key, binding in shipped.items()
    }
    return Catalog(bindings={**others, **own})


def _read_all(root: Traversable) -> dict[str, Binding]:
    bindings: dict[str, Binding] = {}
    for kind in sorted(root.iterdir(), key=lambda entry: entry.name):
        if not kind.is_dir():
            continue
        for entry in sorted(kind.iterdir(), key=lambda entry: entry.name):
            if not entry.name.endswith(".toml"):
                continue
            binding = _read(f"{kind.name}/{entry.name}", entry.read_bytes())
            if entry.name != f"{binding.operation}.{binding.model}.toml" or kind.name != binding.kind:
                raise GenyardError(
                    Code.settings_invalid,
                    f"binding {kind.name}/{entry.name} says {binding.key}: name and content must agree",
                )
            bindings[binding.key] = binding
    return bindings


def _read(name: str, text: bytes) -> Binding:
    try:
        binding = Binding.model_validate(tomllib.loads(text.decode()))
    except ValueError as wrong:
        raise GenyardError(Code.settings_invalid, f"binding {name}: {wrong}") from wrong
    if binding.operation not in OPERATIONS:
        raise GenyardError(Code.settings_invalid, f"binding {name}: unknown operation {binding.operation!r}")
    return binding
