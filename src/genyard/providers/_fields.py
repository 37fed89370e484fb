"""From a bound step to the flat input of a model API, by the binding's field map. Pure.

Used by every place that takes one JSON object per run. Media are only named here: how they get to the place is
the provider's business.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from genyard.catalog.binding import SIDES, Binding, FieldMap, MappedInput
from genyard.errors import Code, GenyardError
from genyard.providers import BoundStep, Source

Json = Any

#: What means nothing where it was not asked for.
_NEUTRAL: Final[Mapping[str, Json]] = {"count": 1}


@dataclass(frozen=True, kw_only=True)
class Slot:
    """A place in the flat input for one of the step's media."""

    name: str
    role: str
    source: Source
    field: MappedInput

    def as_json(self) -> dict[str, Json]:
        """For a plan's payload; `field_of` reads it."""
        return {"name": self.name, "to": self.field.to, "form": self.field.form, "many": self.field.many}


def field_of(slot: Mapping[str, Json]) -> MappedInput:
    return MappedInput(to=slot["to"], form=slot["form"], many=slot["many"])


def flat_input(step: BoundStep) -> dict[str, Json]:
    """The step's parameters in the place's own words. `request.unsupported` names a parameter that was given and
    has no place in the binding's field map, or a size that the place does not make."""
    binding = step.binding
    flat = dict(binding.fields.constants)
    for name, value in step.parameters.items():
        if name in SIDES or name in binding.fixed or _says_nothing(name, value, binding.fields):
            continue
        mapped = binding.fields.parameters.get(name)
        if mapped is None:
            raise binding.unsupported(name, f"{binding.title} has no such setting")
        flat[mapped.to] = str(value) if mapped.form == "text" else [value] if mapped.form == "list" else value
    width, height = step.parameters.get("width"), step.parameters.get("height")
    if width is not None and height is not None and binding.size_of is None:
        flat |= _size(binding, width, height)
    return flat


def slots(step: BoundStep) -> Iterator[Slot]:
    """Where the step's media go. `request.unsupported` names a role that the binding has no place for."""
    for role, sources in step.inputs.items():
        mapped = step.binding.fields.inputs.get(role)
        if mapped is None or (len(sources) > 1 and not mapped.many):
            raise GenyardError(
                Code.request_unsupported,
                f"{step.binding.title} takes {'no' if mapped is None else 'only one'} {role} ({step.binding.key})",
                field=f"inputs.{role}",
                context={"binding": step.binding.key},
            )
        for number, source in enumerate(sources):
            yield Slot(name=f"{step.name}.{role}.{number}", role=role, source=source, field=mapped)


def put_media(flat: dict[str, Json], field: MappedInput, value: str) -> None:
    """Writes one medium's address or text into the flat input."""
    if field.many:
        flat.setdefault(field.to, []).append(value)
    else:
        flat[field.to] = value


def _says_nothing(name: str, value: Json, fields: FieldMap) -> bool:
    if value is None or value == "" or value == () or value == []:
        return True
    return name not in fields.parameters and value == _NEUTRAL.get(name)


def _size(binding: Binding, width: int, height: int) -> dict[str, Json]:
    size = binding.fields.size
    if size is None:
        raise binding.unsupported("width", f"{binding.title} decides on the size by itself")
    if size.form == "sides":
        return {size.width: width, size.height: height}
    if size.form == "text":
        return {size.to: size.text.format(width=width, height=height)}
    row = size.table.get(f"{width}x{height}")
    if row is None:
        known = ", ".join(size.table)
        raise binding.unsupported("width", f"{width}x{height} is not a size that it makes; it makes {known}")
    return row
