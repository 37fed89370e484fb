"""What callers may send, as schemas. Values beyond types (operations, parameters) are the studio's to judge."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from genyard.jobs.callbacks.deliveries import EventName
from genyard.operations import OPERATIONS
from genyard.storable import require_storable


def _references(given: Any) -> Any:
    """Said once, not once for text and once for lists."""
    if isinstance(given, str) or (isinstance(given, list) and all(isinstance(one, str) for one in given)):
        return given
    raise ValueError("an asset id, step:NAME, or a list of them")


OperationName = Annotated[str, Field(max_length=60, examples=list(OPERATIONS))]
Parameters = Annotated[
    dict[str, Any],
    Field(
        description="See /v1/operations for each operation's own schema.",
        examples=[{"prompt": "a red potion"}],
    ),
]
Inputs = Annotated[
    dict[str, Annotated[str | list[str], BeforeValidator(_references)]],
    Field(
        description="Role → asset id, or `step:NAME` for the output of an earlier step; or a list of them."
    ),
]
Model = Annotated[
    str | None,
    Field(min_length=1, max_length=200, description="None: the default of the place that serves it."),
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
    priority: Annotated[
        int, Field(ge=-100, le=100, description="Higher goes first; at most what your tier allows.")
    ] = 0
    previews: Annotated[
        bool, Field(description="Send unfinished pictures while it runs, where possible.")
    ] = False
    embed_prompt: Annotated[bool, Field(description="Write the prompt into the files.")] = False
    expires_in: Annotated[float | None, Field(gt=0, le=2_592_000, description="Seconds to start within.")] = (
        None
    )
    webhook_url: Annotated[
        str | None,
        Field(
            max_length=2000, description="Who is told what becomes of the job: signed POSTs, see the how-to."
        ),
    ] = None
    webhook_events: Annotated[
        list[EventName] | None,
        Field(min_length=1, description="Of what it is told; default: however the job ends."),
    ] = None
    webhook_prompts: Annotated[bool, Field(description="Tell it the prompts, too.")] = False
    on_disconnect: Annotated[
        Literal["continue", "cancel"],
        Field(
            description="What happens once nobody has watched the job for a while, neither by its events nor by a "
            "waiting request: it goes on, or it is canceled."
        ),
    ] = "continue"

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


class SecretBody(Body):
    """By which your receivers know that it is us."""

    rotate: Annotated[bool, Field(description="Take a new secret.")] = False
    overlap: Annotated[
        float,
        Field(ge=0, le=2_592_000, description="Seconds for which messages are signed with the old one, too."),
    ] = 86_400.0


class RerunBody(Body):
    new_seed: Annotated[bool, Field(description="Draw new seeds in place of the same ones.")] = False


class UploadBody(Body):
    """A file inside JSON."""

    data: Annotated[str, Field(min_length=1, description="Base64, or a `data:` URI.")]
    name: Annotated[str, Field(max_length=200)] = ""
    tags: Annotated[list[str], Field(max_length=20)] = []
