"""Routes of jobs: accept, list, follow by waiting, cancel, run again, delete. Live events are `events`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Final
from uuid import UUID

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import AfterValidator

from genyard.frontends.http.bodies import JobBody, RerunBody
from genyard.frontends.http.caller import KEYS, Caller, Text, WithCaller
from genyard.frontends.http.views import JobListView, JobView, answers, job_view, page_of
from genyard.jobs.model import JobState
from genyard.media import SNIFF_BYTES, sniff
from genyard.operations import OPERATIONS

router = APIRouter(prefix="/v1", tags=["jobs"], dependencies=KEYS)

#: Places are asked while a job is planned: their failures can be the answer.
PLANNING: Final = (404, 413, 502, 504)


def _known(operation: str) -> str:
    if operation not in OPERATIONS:
        raise ValueError(f"{operation!r} is not an operation; known are {', '.join(OPERATIONS)}")
    return operation


Known = Annotated[str, AfterValidator(_known)]
Wait = Annotated[
    float,
    Query(ge=0, le=60, description="Seconds to wait for the job's end before answering with its state."),
]
REPLAYED: Final = {
    "Idempotent-Replayed": {
        "description": "`true` when this key was known: the answer is what was made the first time.",
        "schema": {"type": "string", "enum": ["true"]},
    }
}


@router.post(
    "/jobs",
    operation_id="create_job",
    status_code=201,
    responses=answers(402, 409, 429, *PLANNING)
    | {
        200: {
            "model": JobView,
            "description": "The job made earlier under this Idempotency-Key.",
            "headers": REPLAYED,
        },
        201: {"description": "Accepted. The job survives whatever happens from now on."},
    },
)
async def create_job(
    body: JobBody,
    caller: WithCaller,
    request: Request,
    response: Response,
    idempotency_key: Annotated[
        str | None,
        Header(
            pattern="^[!-~]{1,255}$",
            description="The same key and body give the same job again; another body is 409.",
        ),
    ] = None,
    wait: Wait = 0,
) -> JobView:
    """Accept a job. Where it stands in the queue, and when it may start, is told by GET (see Location), by its events,
    and here with `wait`; `queue` is null otherwise."""
    made = await caller.studio.submit(
        body.request(), owner_id=caller.owner_id, idempotency_key=idempotency_key
    )
    await _ended(caller, made.job.id, wait, request)
    response.headers["Location"] = f"/v1/jobs/{made.job.id}"
    if made.replayed:
        response.status_code = 200
        response.headers["Idempotent-Replayed"] = "true"
    job = await caller.studio.get(made.job.id, owner_id=caller.owner_id) if wait else made.job
    return job_view(job, caller.links)


@router.get("/jobs", operation_id="list_jobs", responses=answers())
async def list_jobs(
    caller: WithCaller,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    before: Annotated[UUID | None, Query(description="`next` of the page before.")] = None,
    state: JobState | None = None,
    operation: Annotated[Known | None, Query(max_length=60)] = None,
    tag: Annotated[Text | None, Query(max_length=60)] = None,
    search: Annotated[Text | None, Query(max_length=200, description="Words that the prompt has.")] = None,
) -> JobListView:
    """Your jobs, the newest first."""
    jobs = await caller.studio.jobs(
        owner_id=caller.owner_id,
        limit=limit + 1,
        before=before,
        state=state.value if state else None,
        operation=operation,
        tag=tag,
        search=search,
    )
    return page_of(jobs, limit, caller.links)


@router.get("/jobs/{job_id}", operation_id="get_job", responses=answers(404))
async def get_job(job_id: UUID, caller: WithCaller, request: Request, wait: Wait = 0) -> JobView:
    """One job with its attempts."""
    job = await caller.studio.get(job_id, owner_id=caller.owner_id)
    if wait and not job.state.ended:
        await _ended(caller, job_id, wait, request)
        job = await caller.studio.get(job_id, owner_id=caller.owner_id)
    return job_view(job, caller.links)


@router.post("/jobs/{job_id}/cancel", operation_id="cancel_job", responses=answers(404))
async def cancel_job(job_id: UUID, caller: WithCaller) -> JobView:
    """Stop a job. Harmless when it has ended."""
    return job_view(await caller.studio.cancel(job_id, owner_id=caller.owner_id), caller.links)


@router.post(
    "/jobs/{job_id}/rerun",
    operation_id="rerun_job",
    status_code=201,
    responses=answers(402, 409, 429, *PLANNING),
)
async def rerun_job(job_id: UUID, caller: WithCaller, body: RerunBody | None = None) -> JobView:
    """The same request again, as a new job."""
    new_seed = body is not None and body.new_seed
    return job_view(
        await caller.studio.rerun(job_id, owner_id=caller.owner_id, new_seed=new_seed), caller.links
    )


@router.delete("/jobs/{job_id}", operation_id="delete_job", status_code=204, responses=answers(404, 409))
async def delete_job(job_id: UUID, caller: WithCaller) -> None:
    """Delete an ended job with its outputs, for good."""
    await caller.studio.delete(job_id, owner_id=caller.owner_id)


@router.get(
    "/jobs/{job_id}/preview",
    operation_id="get_job_preview",
    response_class=Response,
    responses=answers(404)
    | {
        200: {"description": "The newest unfinished picture.", "content": {"image/jpeg": {}, "image/png": {}}}
    },
)
async def get_preview(job_id: UUID, caller: WithCaller) -> Response:
    """The newest unfinished picture of a running job."""
    data = await caller.studio.preview(job_id, owner_id=caller.owner_id)
    return Response(data, media_type=sniff(data[:SNIFF_BYTES]) or "application/octet-stream")


@router.get(
    "/jobs/{job_id}/zip",
    operation_id="get_job_zip",
    response_class=StreamingResponse,
    responses=answers(404)
    | {200: {"description": "All outputs and `job.json`.", "content": {"application/zip": {}}}},
)
async def get_zip(job_id: UUID, caller: WithCaller) -> StreamingResponse:
    """Everything that came of a job, as one archive."""
    pieces = caller.studio.zip(job_id, owner_id=caller.owner_id)
    return StreamingResponse(
        await begun(pieces),
        media_type="application/zip",
        headers={"Content-Disposition": f'attachment; filename="genyard-{str(job_id)[-12:]}.zip"'},
    )


async def _ended(caller: Caller, job_id: UUID, seconds: float, request: Request) -> None:
    """Waits for the end of the job, of the patience, of the server, or until the client has gone."""
    if not seconds:
        return
    end = asyncio.ensure_future(caller.studio.wait(job_id, owner_id=caller.owner_id))
    stop = asyncio.ensure_future(caller.parts.stopping.wait())
    gone = asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait({end, stop, gone}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for one in (end, stop, gone):
            one.cancel()
        await asyncio.gather(end, stop, gone, return_exceptions=True)


async def _gone(request: Request) -> None:
    """Once the body has been read, there is nothing more to receive but the end of the connection."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def begun(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same pieces, the first one taken already: what fails at once still gets an answer of its own."""
    first = await anext(pieces, b"")

    async def all_pieces() -> AsyncIterator[bytes]:
        yield first
        async for piece in pieces:
            yield piece

    return all_pieces()
