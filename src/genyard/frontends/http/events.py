"""What happens to a job, live, as server-sent events.

Events that are kept carry `id: <number>`; a stream is taken up where it broke by `Last-Event-ID` or `?after=`.
Progress carries none: it is not kept. A comment every 15 seconds keeps proxies from closing a silent stream.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, Header, Query, Response
from fastapi.responses import StreamingResponse

from genyard.frontends.http.caller import KEYS, WithCaller
from genyard.frontends.http.views import answers
from genyard.jobs.model import Event, Job

router = APIRouter(prefix="/v1", tags=["jobs"], dependencies=KEYS)

HEARTBEAT_SECONDS: Final = 15.0
_MOST: Final = 2**31 - 1
_EXAMPLE: Final = (
    'event: running\nid: 2\ndata: {"job_id": "…", "kind": "running", "seq": 2, "at": "…", "data": {}}\n\n'
    'event: progress\ndata: {"job_id": "…", "kind": "progress", "seq": null, "at": null, '
    '"data": {"progress": 0.5, "detail": "step 14 of 28", "preview": true}}\n\n'
)


@router.get(
    "/jobs/{job_id}/events",
    operation_id="watch_job",
    response_class=StreamingResponse,
    responses=answers(404)
    | {
        200: {
            "description": "Events until the one that ends the job: `succeeded`, `failed`, `canceled`, `expired`.",
            "content": {"text/event-stream": {"schema": {"type": "string"}, "example": _EXAMPLE}},
        },
        204: {"description": "The job has ended and you have seen all of it: do not connect again."},
    },
)
async def watch_job(
    job_id: UUID,
    caller: WithCaller,
    after: Annotated[int, Query(ge=0, le=_MOST, description="Only events after this number.")] = 0,
    last_event_id: Annotated[int | None, Header(ge=0, le=_MOST, description="Wins over `after`.")] = None,
) -> Response:
    """Watch a job."""
    job = await caller.studio.get(job_id, owner_id=caller.owner_id)
    seen = after if last_event_id is None else last_event_id
    if job.state.ended and seen >= job.event_seq:
        return Response(status_code=204)
    events = caller.studio.watch(job_id, owner_id=caller.owner_id, after=seen)
    return StreamingResponse(
        stream(_with_standing(events, job, seen), caller.parts.stopping, HEARTBEAT_SECONDS),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


async def stream(
    events: AsyncIterator[Event], stopping: asyncio.Event, heartbeat: float
) -> AsyncIterator[str]:
    """The text of the stream; ends with the events, or when the server stops."""
    stop = asyncio.ensure_future(stopping.wait())
    coming: asyncio.Future[Event | None] = asyncio.ensure_future(_next(events))
    yield ": genyard\n\n"
    try:
        while True:
            await _either(coming, stop, heartbeat)
            if coming.done():
                if (event := coming.result()) is None:
                    return
                yield _text(event)
                coming = asyncio.ensure_future(_next(events))
            elif stop.done():
                return
            else:
                yield ": still here\n\n"
    finally:
        coming.cancel()
        stop.cancel()
        await asyncio.gather(coming, stop, return_exceptions=True)


async def _with_standing(events: AsyncIterator[Event], job: Job, seen: int) -> AsyncIterator[Event]:
    """Whoever comes late is told how far the job is, after the events that he missed: progress is not kept."""
    standing = _standing(job)
    if standing and seen >= job.event_seq:
        yield standing
    async for event in events:
        yield event
        if standing and event.seq == job.event_seq:
            yield standing


def _standing(job: Job) -> Event | None:
    if job.state.ended or (job.progress is None and job.preview_key is None and not job.detail):
        return None
    return Event(
        job_id=job.id,
        kind="progress",
        data={
            "state": job.state.value,
            "progress": job.progress,
            "detail": job.detail or "",
            "preview": job.preview_key is not None,
        },
    )


async def _either(one: asyncio.Future[Any], other: asyncio.Future[Any], seconds: float) -> None:
    await asyncio.wait({one, other}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)


async def _next(events: AsyncIterator[Event]) -> Event | None:
    return await anext(events, None)


def _text(event: Event) -> str:
    told = {
        "job_id": str(event.job_id),
        "kind": event.kind,
        "seq": event.seq,
        "at": event.at.isoformat() if event.at else None,
        "data": dict(event.data),
    }
    number = f"id: {event.seq}\n" if event.seq is not None else ""
    return f"event: {event.kind}\n{number}data: {json.dumps(told)}\n\n"
