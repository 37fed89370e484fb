"""Following a job: what happens to it, live and across processes, and its end.

Jobs that are canceled when nobody watches them any more are told that somebody does, again and again, for as long as
somebody follows them here. What counts is a time in the job's own row: a process that dies says nothing more, and
whoever sweeps next cancels the job once its grace is over.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Final
from uuid import UUID

from genyard.database import OUTAGES
from genyard.jobs.live import Live, next_notice
from genyard.jobs.model import Event, JobState, Standing
from genyard.jobs.store import Jobs

#: Of the grace: how often a watcher says that it is there.
_SHARE: Final = 1 / 3


class Watching:
    def __init__(self, *, jobs: Jobs, live: Live) -> None:
        self._jobs = jobs
        self._live = live

    async def events(self, job_id: UUID, owner_id: UUID, after: int) -> AsyncIterator[Event]:
        """Those after number `after`, then what happens live, until the job has ended."""
        async with self._live.subscribe(job_id) as notices, self._watched(job_id, owner_id) as state:
            seen = after
            told: Standing | None = None
            while True:
                for event in await self._jobs.events(job_id, seen):
                    seen = event.seq or seen
                    yield event
                    state = JobState.__members__.get(event.kind, state)
                    if state.ended:
                        return
                if state.ended:
                    return
                if state is JobState.queued and notices.empty():
                    standing = await self._jobs.standing(job_id)
                    if standing is not None and standing != told:
                        yield _waiting(job_id, standing)
                    told = standing
                notice = await next_notice(notices)
                while notice.kind == "progress":
                    yield Event(job_id=job_id, kind="progress", data=json.loads(notice.text))
                    notice = await next_notice(notices)
                if notice.kind == "look":
                    state = await self._jobs.state(job_id, owner_id)

    async def end(self, job_id: UUID, owner_id: UUID) -> None:
        """Returns once the job has ended."""
        async with self._live.subscribe(job_id) as notices, self._watched(job_id, owner_id) as state:
            while not state.ended:
                notice = await next_notice(notices)
                if notice.kind == "event":
                    kind = notice.text.partition(" ")[2]
                    state = JobState.__members__.get(kind, state)
                elif notice.kind == "look":
                    state = await self._jobs.state(job_id, owner_id)

    @contextlib.asynccontextmanager
    async def _watched(self, job_id: UUID, owner_id: UUID) -> AsyncIterator[JobState]:
        """While the block lasts, somebody watches. The state at its beginning."""
        state, matters = await self._jobs.watchable(job_id, owner_id)
        if not matters or state.ended:
            yield state
            return
        task = asyncio.create_task(self._keep_watched(job_id), name="genyard-watched")
        try:
            yield state
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _keep_watched(self, job_id: UUID) -> None:
        """Until it is canceled, or the job has ended. The grace counts from when the watcher goes."""
        pause: float | None = None
        try:
            while True:
                with contextlib.suppress(*OUTAGES):  # the next one may go through
                    grace = await self._jobs.watched(job_id)
                    if grace is None:
                        pause = None
                        return
                    pause = grace * _SHARE
                await asyncio.sleep(pause or 1.0)
        finally:
            if pause is not None:
                with contextlib.suppress(*OUTAGES):
                    await self._jobs.watched(job_id)


def _waiting(job_id: UUID, standing: Standing) -> Event:
    """In the form of all progress."""
    data = {"state": "queued", "progress": None, "detail": standing.words, "preview": False}
    return Event(job_id=job_id, kind="progress", data={**data, "queue": standing.as_json()})
