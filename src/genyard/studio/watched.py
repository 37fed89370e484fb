"""Jobs that are canceled when nobody watches them any more: who watches says so, again and again.

What counts is a time in the job's own row. A process that dies says nothing more, and whoever sweeps next cancels the
job once its grace is over.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final
from uuid import UUID

import psycopg

from genyard.jobs.store import Jobs

#: Of the grace: how often a watcher says that it is there.
_SHARE: Final = 1 / 3


async def keep_watched(jobs: Jobs, job_id: UUID) -> None:
    """Until it is canceled, or the job has ended. The grace counts from when the watcher goes."""
    pause: float | None = None
    try:
        while True:
            with contextlib.suppress(psycopg.OperationalError):  # the next one may go through
                grace = await jobs.watched(job_id)
                if grace is None:
                    pause = None
                    return
                pause = grace * _SHARE
            await asyncio.sleep(pause or 1.0)
    finally:
        if pause is not None:
            with contextlib.suppress(psycopg.OperationalError):
                await jobs.watched(job_id)
