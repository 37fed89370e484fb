"""What callers get back, as schemas, and how jobs and assets become them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from genyard.errors import Code, Remedy
from genyard.jobs.callbacks.deliveries import DeliveryState
from genyard.jobs.model import Asset, AttemptState, Job, JobState
from genyard.studio.links import Links

Facts = Annotated[
    dict[str, Any], Field(description="What is known of the file: model, seed, endpoint, ai, …")
]


class Failure(BaseModel):
    """One failure, told once. `remedy` says who must act."""

    code: Code
    message: str
    remedy: Remedy
    field: str | None = None
    alias: str | None = None
    context: dict[str, Any] | None = None


class TracedFailure(Failure):
    trace_id: str


class ErrorView(BaseModel):
    error: TracedFailure


class AssetView(BaseModel):
    """A stored file. `url` needs no key and works until `url_expires_at`."""

    id: UUID
    url: str
    url_expires_at: datetime
    role: str
    media_type: str
    bytes: int
    sha256: str
    width: int | None
    height: int | None
    seconds: float | None
    name: str
    tags: list[str]
    facts: Facts
    job_id: UUID | None
    step: str | None
    position: int | None
    created_at: datetime


class StepView(BaseModel):
    name: str
    operation: str
    parameters: dict[str, Any]
    inputs: dict[str, list[str]]
    model: str | None
    keep: bool


class CostView(BaseModel):
    """US dollars. `reported` by the place, `computed` from what it reported, or `estimated` by a listed price."""

    usd: float
    source: Literal["reported", "computed", "estimated"]


class JobCostView(BaseModel):
    """Of all attempts. `complete` is false where a place has not said what a part of it cost; that part is not in
    `usd`, and `usd` is null where nothing is known at all."""

    usd: float | None
    complete: bool


class JobSecondsView(BaseModel):
    """Of all attempts: seconds of execution, which is GPU time where the place has one. `measured` where a part of it
    is by our own watch, from when the run was first seen running; `complete` is false where a part is not known."""

    seconds: float | None
    source: Literal["reported", "measured"] | None
    complete: bool


class JobCreditsView(BaseModel):
    """Whole credits: told at submit, held while the job is open, charged when it ends, given back afterwards."""

    price: int
    reserved: int
    charged: int
    refunded: int


class AttemptView(BaseModel):
    """One try at one place."""

    stage: int
    number: int
    endpoint: str
    state: AttemptState
    word: Annotated[str | None, Field(description="The place's own word for its last state.")]
    seconds: Annotated[float | None, Field(description="Of execution: GPU time where the place has a GPU.")]
    seconds_source: Annotated[
        Literal["reported", "measured"] | None,
        Field(description="By the place, or by our own watch since it was first seen running."),
    ]
    waited: Annotated[
        float | None, Field(description="Seconds before the execution, as the place reported it.")
    ]
    cost: Annotated[CostView | None, Field(description="Null: not known, or not yet.")]
    error: Failure | None
    created_at: datetime
    submitted_at: datetime | None
    finished_at: datetime | None


class SecondsView(BaseModel):
    """A range of seconds from now."""

    least: float
    most: float


class StandingView(BaseModel):
    """Where a queued job stands at its endpoint: position 1 is the next."""

    position: int
    endpoint: str
    paused: Annotated[bool, Field(description="The endpoint is paused: nothing starts there now.")]
    starts_in: Annotated[
        SecondsView | None, Field(description="Estimated from recent runs; null: nobody knows.")
    ]


class PolicyView(BaseModel):
    """`changed`: the request was altered in these fields. `unchecked`: the hook did not answer, and the request was let
    pass."""

    decision: Literal["changed", "unchecked"]
    fields: list[str]
    reason: str | None


class JobView(BaseModel):
    """What was asked, where it stands, what came of it. Attempts are told for a single job only."""

    id: UUID
    state: JobState
    operation: str
    steps: list[StepView]
    tags: list[str]
    trace_id: str
    priority: int
    rerun_of: UUID | None
    detail: str | None
    progress: float | None
    has_preview: bool
    error: Failure | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    expires_at: datetime | None
    webhook_url: str | None
    webhook_events: list[str]
    webhook_prompts: bool
    policy: Annotated[PolicyView | None, Field(description="What the hook before submit did; null: nothing.")]
    on_disconnect: Annotated[
        Literal["continue", "cancel"], Field(description="What happens when nobody watches it any more.")
    ]
    queue: Annotated[
        StandingView | None, Field(description="While it waits for its turn; POST tells it only with `wait`.")
    ]
    cost: Annotated[
        JobCostView | None, Field(description="Null: nothing was paid; told for a single job only.")
    ]
    gpu_seconds: Annotated[
        JobSecondsView | None, Field(description="Null: nothing has left; told for a single job only.")
    ]
    credits: Annotated[JobCreditsView | None, Field(description="Null: nothing is to be paid.")]
    outputs: list[AssetView]
    attempts: list[AttemptView]


class JobListView(BaseModel):
    """`next`: the `before` of the next page; null on the last one."""

    jobs: list[JobView]
    next: UUID | None


class AssetListView(BaseModel):
    """`next`: the `before` of the next page; null on the last one."""

    assets: list[AssetView]
    next: UUID | None


class DeliveryView(BaseModel):
    """One message to a webhook. `id` is its `webhook-id`, the same with every try; `status` and `error` are of the
    last one."""

    id: UUID
    job_id: UUID
    type: str
    host: str
    state: DeliveryState
    tries: int
    status: int | None
    error: str | None
    created_at: datetime
    next_at: datetime | None
    finished_at: datetime | None


class DeliveryListView(BaseModel):
    """`next`: the `before` of the next page; null on the last one."""

    deliveries: list[DeliveryView]
    next: UUID | None


class SecretView(BaseModel):
    """`whsec_…`: for the verifying side of the Standard Webhooks specification."""

    secret: str


class UploadedView(BaseModel):
    assets: list[AssetView]


class LicenceView(BaseModel):
    """`commercial`: null where nobody has confirmed it yet."""

    name: str
    commercial: bool | None
    note: str


class PriceView(BaseModel):
    """In US dollars, or in the place's own units; both null: by the endpoint's price per second."""

    usd: float | None
    units: float | None
    per: Literal["output", "megapixel", "second", "request"]


class PlannedStepView(BaseModel):
    """One step as it would be submitted: the defaults of the model are filled in."""

    name: str
    operation: str
    model: str
    title: str
    ai: bool
    licence: LicenceView
    price: Annotated[PriceView | None, Field(description="Null: not known.")]
    parameters: dict[str, Any]


class PlannedStageView(BaseModel):
    """Steps that are submitted together to one endpoint."""

    endpoint: str
    provider: str
    steps: list[PlannedStepView]
    cost: Annotated[CostView | None, Field(description="Null: not known beforehand.")]


class EstimateView(BaseModel):
    stages: list[PlannedStageView]
    usd: Annotated[float | None, Field(description="What the whole job costs; null: not known beforehand.")]
    cost: CostView | None
    credits: Annotated[
        int | None, Field(description="What it costs you at most; null: nothing is to be paid.")
    ]


class InputRoleView(BaseModel):
    role: str
    kind: str
    required: bool
    max_count: int
    summary: str


class ServingView(BaseModel):
    """Who can do an operation. `routed`: the kind of place that requests go to now."""

    endpoint: str
    kind: str
    model: str
    title: str
    default: bool
    routed: bool
    can: bool
    problems: list[str]
    defaults: dict[str, Any]
    licence: LicenceView


class OperationView(BaseModel):
    name: str
    summary: str
    parameters: Annotated[dict[str, Any], Field(description="A JSON Schema, with defaults.")]
    inputs: list[InputRoleView]
    output: str | None
    served_by: list[ServingView]


class OperationListView(BaseModel):
    operations: list[OperationView]


class EndpointHealthView(BaseModel):
    """`reachable`: null while nobody has looked yet."""

    name: str
    kind: str
    reachable: bool | None
    version: str | None
    queue_depth: int | None
    paused: Annotated[bool, Field(description="By `genyard admin pause`: nothing new starts there.")]
    error: Code | None


class RouteView(BaseModel):
    """Where requests for an operation go now."""

    operation: str
    endpoint: str
    model: str
    lost: Annotated[
        Literal["fail", "again"],
        Field(
            description="Whether a run that may have been bought is bought once more where nobody can be asked."
        ),
    ]


class HealthView(BaseModel):
    """`failing`: the database does not answer. `degraded`: something else is not as it should be."""

    status: Literal["ok", "degraded", "failing"]
    provider: str
    version: str
    database: bool
    worker: Annotated[bool, Field(description="Whether a worker is running anywhere; without one jobs wait.")]
    endpoints: list[EndpointHealthView]
    routes: list[RouteView]


def asset_view(asset: Asset, links: Links) -> AssetView:
    url, expires = links.of(asset)
    return AssetView.model_validate({**asset.as_json(), "url": url, "url_expires_at": expires})


def job_view(job: Job, links: Links) -> JobView:
    told = job.as_json()
    told["outputs"] = [asset_view(asset, links) for asset in job.outputs]
    return JobView.model_validate({**told, "has_preview": job.preview_key is not None})


def page_of(jobs: Sequence[Job], limit: int, links: Links) -> JobListView:
    """One more than `limit` was read: whether there is a next page is known without counting."""
    shown = jobs[:limit]
    return JobListView(
        jobs=[job_view(job, links) for job in shown], next=shown[-1].id if len(jobs) > limit else None
    )


def answers(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route: every error has the one shape. 401, 403, 422, 500 and 503 can always happen."""
    return {
        status: {"model": ErrorView, "description": _DESCRIPTIONS[status]}
        for status in sorted({401, 403, 422, 500, 503, *statuses})
    }


_DESCRIPTIONS: Mapping[int, str] = {
    401: "No API key, or one that is not known.",
    402: "Not enough credits: `error.context` says the price, the balance and what is missing.",
    403: "Not allowed: no key was ever made and the request is not from this machine, it is from another site's page, "
    "or it needs the key of an admin.",
    404: "There is no such thing, or it is not yours.",
    409: "In conflict with what is there.",
    413: "The body is too large.",
    416: "The range lies outside of the file.",
    422: "Something in the request is wrong: `error.field` names it.",
    429: "A limit is reached.",
    500: "A defect of genyard.",
    502: "The place that should do the work failed.",
    503: "Something that genyard needs is not there now, or a place has spent its cap.",
    504: "The place that should do the work did not answer in time.",
}
