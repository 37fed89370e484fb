"""WHERE the work is done: the contract that every kind of place fulfils.

A provider turns bound steps into a plan (pure), submits it, observes it, fetches what came out. It knows
nothing of jobs, storage, credits or routes. What differs between models is data in bindings, not code here.
The runner (`jobs.runner`) is the only caller of the paid half.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Any, Literal, Protocol
from uuid import UUID

from genyard.catalog import Binding
from genyard.catalog.binding import Size
from genyard.errors import Code, GenyardError
from genyard.operations import Role

Json = Any
Ref = Mapping[str, Json]
#: Awaited directly before a request that buys a run leaves. Raises where it must not.
Leave = Callable[[], Awaitable[None]]


@dataclass(frozen=True, kw_only=True)
class Capabilities:
    """What a kind of place can do, as data.

    cancel            whether a submission can be stopped: never, while queued, while running
    progress          what `observe` tells before the end
    fuses             consecutive steps can be one submission
    finds             a submission can be found again by our key
    quotes            a price can be asked for beforehand
    webhooks          the place can be told where to say that something happened
    paid              a run costs money
    max_input_bytes   the largest input it takes in one submission; None: only genyard's own limits
    output_retention  how long outputs can be fetched after the end; None: until cleaned by hand
    """

    cancel: Literal["no", "queued", "running"]
    progress: Literal["none", "coarse", "steps"]
    fuses: bool = False
    finds: bool = False
    quotes: bool = False
    webhooks: bool = False
    paid: bool = True
    max_input_bytes: int | None = None
    output_retention: timedelta | None = None


@dataclass(frozen=True, kw_only=True)
class Cost:
    """US dollars, and how they are known. What is not known is None in place of a `Cost`, never zero.

    reported   the place said so
    computed   from what the place reported (seconds, creative units) and a configured or listed price
    estimated  from the binding's price, before the run or for want of anything better
    """

    usd: float
    source: Literal["reported", "computed", "estimated"]


@dataclass(frozen=True, kw_only=True)
class StepOutput:
    """The first output of an earlier step of the same pipeline."""

    step: str


@dataclass(frozen=True, kw_only=True)
class MediaInput:
    """Media that are known before the plan is made: an asset. `name` is unique within the stage."""

    name: str
    media_type: str
    width: int | None = None
    height: int | None = None


Source = StepOutput | MediaInput


@dataclass(frozen=True, kw_only=True)
class BoundStep:
    """One step with everything decided: what `compile` takes.

    parameters  complete: the binding's defaults are filled in, the seed is drawn, sizes are set
    inputs      role → sources, in the caller's order
    keep        whether the caller wants this step's outputs (false for what only feeds the next step)
    model       the model that the caller named, which a stand-in does not have
    previews    whether the caller wants to see unfinished pictures
    """

    name: str
    operation: str
    binding: Binding
    parameters: Mapping[str, Json]
    inputs: Mapping[str, tuple[Source, ...]]
    keep: bool = True
    model: str | None = None
    previews: bool = False

    def require(self) -> None:
        """`request.unsupported` naming what the binding refuses, lacks, or has other limits for."""
        self.binding.require(
            self.parameters, {role: _size_of(given[0]) for role, given in self.inputs.items() if given}
        )


def _size_of(source: Source) -> Size:
    return (source.width, source.height) if isinstance(source, MediaInput) else (None, None)


@dataclass(frozen=True, kw_only=True)
class PlanInput:
    """`media[name]` must be given to `submit`; it comes from `source`."""

    name: str
    source: Source


@dataclass(frozen=True, kw_only=True)
class PlanOutput:
    """An output to expect: `where` is the provider's own (a node id). At least one file must come of it."""

    step: str
    role: Role | None
    where: str


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One submission. JSON-able: it is stored with the stage and used by whichever process runs it.

    payload   the provider's own; contains no media and no secret
    facts     step name → what its outputs will carry (template, version, …)
    video     whether the video time limit applies
    needs_links  whether the place fetches the inputs by itself: then `Media.link` must be there
    """

    payload: dict[str, Json]
    inputs: tuple[PlanInput, ...] = ()
    outputs: tuple[PlanOutput, ...] = ()
    facts: Mapping[str, Mapping[str, Json]] = field(default_factory=dict)
    video: bool = False
    needs_links: bool = False


@dataclass(frozen=True, kw_only=True)
class Media:
    """Bytes for a plan's input, readable more than once.

    link  makes a signed URL at which the place can fetch them for a while; None where nobody outside can reach
          our storage
    """

    name: str
    media_type: str
    size: int
    sha256: str
    open: Callable[[], AsyncIterator[bytes]]
    link: Callable[[], Awaitable[str]] | None = None


class State(StrEnum):
    """What an attempt looks like from the place. Vendors' words are mapped to these at the edge."""

    queued = "queued"
    running = "running"
    succeeded = "succeeded"
    failed = "failed"
    canceled = "canceled"
    lost = "lost"

    @property
    def ended(self) -> bool:
        return self not in (State.queued, State.running)


@dataclass(frozen=True, kw_only=True)
class RemoteOutput:
    """One file (or text) that came out. `where` is opaque and storable; `fetch` understands it. `facts`: what only
    the run could tell about it, added to the plan's."""

    step: str
    role: Role
    index: int
    where: Mapping[str, Json]
    media_type: str | None = None
    facts: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """What `observe` saw.

    progress  0…1 over the whole submission, or None
    detail    for a person: "loading the model", "step 4 of 20", "cold start", "3rd in the queue"
    preview   an unfinished picture (JPEG or PNG bytes), when asked for
    cold      it waits for a machine that is being started
    word      the vendor's own word for the state, kept as a fact
    seconds   of execution, where the place says so
    waited    seconds before the execution began, where the place says so
    cost      once it has ended, where the place says so or says enough to compute it
    """

    state: State
    progress: float | None = None
    detail: str | None = None
    preview: bytes | None = None
    outputs: tuple[RemoteOutput, ...] = ()
    error: GenyardError | None = None
    word: str | None = None
    seconds: float | None = None
    waited: float | None = None
    cold: bool = False
    cost: Cost | None = None


def lost_in_silence(seconds: float, last: GenyardError | None = None) -> GenyardError:
    """Nobody could be asked for so long: what became of the run is not known, and another may be one too many."""
    why = f": {last.message}" if last else ""
    return GenyardError(
        Code.provider_lost,
        f"the place has not answered for {seconds:g} seconds{why}",
        context={"silent": True},
    )


@dataclass(frozen=True, kw_only=True)
class Canceled:
    """What came of a cancel.

    reached  the place confirmed that it will not (go on to) run
    refused  the place does not cancel this one: it goes on there, and is billed
    """

    reached: bool
    was_running: bool | None = None
    refused: bool = False


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What is known of an endpoint. JSON-able: stored between checks. `catalogue` is the place's own account of what
    it has: ComfyUI's object_info, Scenario's models with their inputs."""

    version: str | None = None
    catalogue: Mapping[str, Json] | None = None


@dataclass(frozen=True, kw_only=True)
class Health:
    """What `check` found.

    error     why it cannot be used: it does not answer (then `reachable` is false), refuses us, is something else
    problems  binding key → what stands in its way (missing node, missing file)
    at_once   how many submissions the place lets us have open, where it says so
    """

    reachable: bool
    version: str | None = None
    queue_depth: int | None = None
    error: GenyardError | None = None
    facts: Facts = Facts()
    problems: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    at_once: int | None = None


class Provider(Protocol):
    """One endpoint. All errors are `GenyardError`; nothing here retries a generation."""

    @property
    def kind(self) -> str: ...

    @property
    def capabilities(self) -> Capabilities: ...

    def compile(self, steps: Sequence[BoundStep], facts: Facts | None) -> Plan:
        """Pure. `request.unsupported` names the parameter that this place cannot honour; `workflow.invalid`
        lists every problem of a graph; `provider.missing` names missing nodes and model files."""
        ...

    async def quote(self, plan: Plan) -> Cost | None:
        """Where `capabilities.quotes`: what the place says that this plan would cost. Else None."""
        ...

    async def submit(
        self,
        plan: Plan,
        key: UUID,
        media: Mapping[str, Media],
        *,
        webhook: str | None = None,
        leave: Leave | None = None,
    ) -> Ref:
        """Uploads, awaits `leave`, then submits once. `provider.unreachable` only when nothing can have been accepted;
        an answer that never came is `provider.lost`. `webhook`: where the place may say that something happened
        to this submission; only for places with `capabilities.webhooks`."""
        ...

    async def find(self, key: UUID) -> Ref | None:
        """Where `capabilities.finds`: the submission made under this key, if it ever arrived."""
        ...

    async def observe(self, ref: Ref, previous: Snapshot | None, wake: asyncio.Event) -> Snapshot:
        """Returns as soon as state, progress or detail differs from `previous`, at once when `wake` is set,
        at the latest after the provider's own interval. Safe from any process at any time. A broken
        connection is not a result: it is retried inside until the interval is over, then `previous` is
        returned again, or `provider.unreachable` raised when there is none."""
        ...

    async def hook(self, headers: Mapping[str, str], body: bytes) -> bool:
        """Whether a call of `webhook` comes from the place, by its signature where it signs (header names in lower
        case). Which submission it is about is in the path, which only the place and we know; the truth is re-read."""
        ...

    async def cancel(self, ref: Ref) -> Canceled:
        """Idempotent. Harmless after the end."""
        ...

    def fetch(self, output: RemoteOutput) -> AsyncIterator[bytes]:
        """The bytes in pieces. `provider.lost_output` when the file is gone."""
        ...

    async def check(self) -> Health:
        """Never raises for an unreachable place: it is what `Health` says."""
        ...

    async def close(self) -> None: ...
