"""What a runner that is stopped had begun goes to others at once, many stages in one statement.

Whoever dies without a word is another matter: `take_up` of the sweep finds its stages.
"""

from __future__ import annotations

import asyncio
from typing import Final

import psycopg

from genyard.jobs.records import Given
from genyard.jobs.store import Jobs
from genyard.telemetry import get_logger

_log = get_logger(__name__)

_TRIES: Final = 3
_PAUSE_SECONDS: Final = 0.2


class Handover:
    """`give` from as many tasks as are stopped, `done` once after them."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs
        self._given: list[Given] = []
        self._handing: asyncio.Task[None] | None = None

    def give(self, stage: Given) -> None:
        self._given.append(stage)
        if self._handing is None or self._handing.done():
            self._handing = asyncio.create_task(self._hand_on(), name="genyard-handover")

    async def done(self) -> None:
        if self._handing is not None:
            await self._handing

    async def _hand_on(self) -> None:
        await asyncio.sleep(0)  # those who are stopped in the same moment go together
        tries = 0
        while self._given:
            given = list(self._given)
            try:
                await self._jobs.hand_on(given)
            except psycopg.Error as broken:
                tries += 1
                if tries == _TRIES:
                    _log.warning(
                        "nobody was told of the stages that are left; a sweep finds them", error=str(broken)
                    )
                    return
                await asyncio.sleep(_PAUSE_SECONDS)
            else:
                del self._given[: len(given)]
