"""What callers may send, as schemas. Values beyond types (operations, parameters) are the studio's to judge."""

from __future__ import annotations

import math
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, model_validator

from genyard.operations import OPERATIONS

_MAX_DEPTH: Final = 50

OperationName = Annotated[str, Field(max_length=60, examples=list(OPERATIONS))]
Parameters = Annotated[
    dict[str, Any],
    Field(
        description="See /v1/operations for each operation's own schema.",
        examples=[{"prompt": "a red potion"}],
    ),
]
Inputs = Annotated[
    dict[str, str | list[str]],
    Field(
        description="Role → asset id, or `step:NAME` for the output of an earlier step; or a list of them."
    ),
]
Model = Annotated[
    str | None, Field(max_length=200, description="None: the default of the place that serves it.")
]


class Body(BaseModel):
    """Unknown fields and wrong types are refused, and so is what a database cannot hold."""

    model_config = ConfigDict(extra="forbid", strict=True)

    @model_validator(mode="before")
    @classmethod
    def _can_be_stored(cls, body: Any) -> Any:
        require_storable(body)
        return body


class StepBody(Body):
    """One step of a pipeline."""

    operation: OperationName
    name: Annotated[str | None, Field(max_length=40)] = None
    parameters: Parameters = {}
    inputs: Inputs = {}
    model: Model = None
    keep: Annotated[
        bool | None, Field(description="Whether its outputs are wanted; default: the last step.")
    ] = None


class JobBody(Body):
    """A job: one operation, or several steps."""

    operation: OperationName | None = None
    parameters: Parameters = {}
    inputs: Inputs = {}
    model: Model = None
    steps: Annotated[list[StepBody] | None, Field(description="In place of operation: named steps.")] = None
    tags: Annotated[list[str], Field(max_length=20)] = []
    priority: Annotated[int, Field(ge=-100, le=100)] = 0
    previews: Annotated[
        bool, Field(description="Send unfinished pictures while it runs, where possible.")
    ] = False
    embed_prompt: Annotated[bool, Field(description="Write the prompt into the files.")] = False
    expires_in: Annotated[float | None, Field(gt=0, le=2_592_000, description="Seconds to start within.")] = (
        None
    )

    @model_validator(mode="after")
    def _either_operation_or_steps(self) -> JobBody:
        if self.steps is not None and (self.operation or self.parameters or self.inputs or self.model):
            raise ValueError("give either operation with its parameters, or steps, not both")
        if self.steps is None and self.operation is None:
            raise ValueError(f"operation is required; known are {', '.join(OPERATIONS)}")
        return self

    def request(self) -> dict[str, Any]:
        """What was sent, and nothing that was not: the studio compares it under an idempotency key."""
        return self.model_dump(exclude_unset=True)


class RerunBody(Body):
    new_seed: Annotated[bool, Field(description="Draw new seeds in place of the same ones.")] = False


class UploadBody(Body):
    """A file inside JSON."""

    data: Annotated[str, Field(min_length=1, description="Base64, or a `data:` URI.")]
    name: Annotated[str, Field(max_length=200)] = ""
    tags: Annotated[list[str], Field(max_length=20)] = []


def require_storable(value: Any, depth: int = 0) -> None:
    """PostgreSQL stores no NUL, no half of a surrogate pair, and JSON knows no NaN."""
    if depth > _MAX_DEPTH:
        raise ValueError(f"the body is nested more than {_MAX_DEPTH} levels deep")
    if isinstance(value, str):
        require_text(value)
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError("numbers must be finite")
    elif isinstance(value, dict):
        for name, one in value.items():
            require_text(name)
            require_storable(one, depth + 1)
    elif isinstance(value, list):
        for one in value:
            require_storable(one, depth + 1)


def require_text(text: str) -> str:
    """`ValueError` for text that cannot be stored."""
    if "\x00" in text or any("\ud800" <= one <= "\udfff" for one in text):
        raise ValueError("text must not contain NUL or unpaired surrogates")
    return text
