"""The vocabulary that every operation's file uses."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, ValidationError

from genyard.errors import Code, GenyardError
from genyard.media import MediaKind

#: ComfyUI takes seeds up to 2**64 - 1; seeds that we draw stay below 2**32, exact in JavaScript too.
MAX_SEED: Final = 2**64 - 1


class Role(StrEnum):
    """What an output is to the caller."""

    image = "image"
    mask = "mask"
    layer = "layer"
    video = "video"
    audio = "audio"
    sheet = "sheet"
    preview = "preview"
    text = "text"


class Parameters(BaseModel):
    """Base of every operation's parameters: unknown names and values of another JSON type are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


@dataclass(frozen=True, kw_only=True)
class InputRole:
    """A place for somebody's media. `any_name` roles (run_workflow) take whatever names the caller uses."""

    name: str
    kind: MediaKind
    summary: str
    required: bool = True
    max_count: int = 1


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One thing that can be asked for.

    output       the role of its outputs; None where the caller's own workflow decides
    inputs       media it takes, by role; `free_inputs` means that the caller names them (run_workflow)
    seeded       whether `parameters.seed` exists: drawn when not given, always reported
    """

    name: str
    summary: str
    parameters: type[Parameters]
    inputs: tuple[InputRole, ...] = ()
    output: Role | None = Role.image
    seeded: bool = False
    free_inputs: bool = False

    def json_schema(self) -> dict[str, Any]:
        return self.parameters.model_json_schema()


#: pydantic's name for a wrong type → what would be right.
_TYPES: Final[Mapping[str, str]] = {
    "int_type": "a whole number",
    "float_type": "a number",
    "string_type": "text",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "dict_type": "an object",
    "model_type": "an object",
}


def parse_parameters(operation: Operation, given: Mapping[str, Any], *, field: str) -> Parameters:
    """Typed parameters from JSON, or `request.invalid` naming the first wrong field and listing all of them."""
    try:
        # as JSON: strict, and a list still makes a tuple
        return operation.parameters.model_validate_json(json.dumps(given))
    except ValidationError as wrong:
        problems = [_describe(operation, dict(error), field) for error in wrong.errors(include_url=False)]
        raise GenyardError(
            Code.request_invalid,
            "; ".join(message for _, message in problems),
            field=problems[0][0],
            context={"problems": [{"field": path, "message": message} for path, message in problems]},
        ) from wrong


def _describe(operation: Operation, error: dict[str, Any], field: str) -> tuple[str, str]:
    path = ".".join([field, *(str(part) for part in error["loc"])])
    name = str(error["loc"][-1]) if error["loc"] else field
    if error["type"] == "extra_forbidden":
        known = list(operation.parameters.model_fields)
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"it takes {', '.join(known)}"
        return path, f"{operation.name} has no parameter {name!r}; {hint}"
    if error["type"] == "missing":
        return path, f"{name} is required"
    if error["type"] in _TYPES:
        shown = json.dumps(error["input"], ensure_ascii=False)
        return (
            path,
            f"{name} must be {_TYPES[error['type']]}, not {shown if len(shown) <= 60 else shown[:57] + '…'}",
        )
    message = str(error["msg"]).removeprefix("Value error, ")
    return path, f"{name}: {message[0].lower()}{message[1:]}" if error["loc"] else message


def require_inputs(operation: Operation, counts: Mapping[str, int], *, field: str) -> None:
    """`request.invalid` for an unknown role, a missing required one, or too many in one."""
    roles = {role.name: role for role in operation.inputs}
    for name, count in counts.items():
        if operation.free_inputs:
            continue
        if name not in roles:
            takes = ", ".join(roles) or "no inputs"
            raise GenyardError(
                Code.request_invalid,
                f"{operation.name} has no input role {name!r}; it takes {takes}",
                field=f"{field}.{name}",
            )
        if count > roles[name].max_count:
            raise GenyardError(
                Code.request_invalid,
                f"{name} takes at most {roles[name].max_count}, {count} given",
                field=f"{field}.{name}",
            )
    for role in operation.inputs:
        if role.required and not counts.get(role.name):
            raise GenyardError(
                Code.request_invalid,
                f"{operation.name} needs an input in the role {role.name!r}: {role.summary}",
                field=f"{field}.{role.name}",
            )
