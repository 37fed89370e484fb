"""The named points: before and after every call of the attempt protocol. A table; no code of the product knows it.

A call is written as in the sources, without `self`: `jobs.claim` is `await self._jobs.claim(…)`. `test_points.py`
compares the table with the sources: a step without a point fails there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

#: What surrounds the point; `trial` plays it.
Play = Literal[
    "plain",  # a pipeline of two stages, start to end
    "asked",  # its first worker died with the answer in its hands: the next one asks the place
    "canceled",  # its owner cancels while it runs
    "detached",  # the same, at a place that does not stop
    "refused",  # the place refuses the submission
    "retried",  # the place is away at first
    "broken",  # the database broke off in the middle of the run
    "previews",  # its owner watches unfinished pictures
    "video",  # it makes a video
    "started",  # the worker is only starting; the job waits
    "stopped",  # the worker is being stopped in good order
]


@dataclass(frozen=True, kw_only=True)
class Point:
    """One call, and the moments around it. `stages`: in which of the pipeline's two stages it is tried; 0: outside any.

    moments beyond before and after: `arrived` – the request has arrived at the place, its answer has not come back;
    `begun` – some bytes have come; `ended` – after the call that told the end of the run.
    """

    call: str
    play: Play = "plain"
    moments: tuple[str, ...] = ("before", "after")
    stages: tuple[int, ...] = (1, 2)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(f"{self.call} {moment}" for moment in self.moments)


POINTS: Final[tuple[Point, ...]] = (
    Point(call="jobs.register_worker", play="started", stages=(0,)),
    Point(call="jobs.database.connect", play="started", stages=(0,)),
    Point(call="jobs.beat", play="started", stages=(0,)),
    Point(call="jobs.sweep", play="started", stages=(0,)),
    Point(call="jobs.claim"),
    Point(call="inputs.of"),
    Point(call="provider.submit", moments=("before", "arrived", "after")),
    Point(call="jobs.leave"),
    Point(call="jobs.record_ref"),
    Point(call="provider.observe", moments=("before", "after", "ended")),
    Point(call="jobs.record_progress", stages=(1,)),
    Point(call="outputs.take_over"),
    Point(call="provider.fetch", moments=("before", "begun", "after")),
    Point(call="storage.put"),
    Point(call="jobs.finish_stage"),
    Point(call="jobs.go_on"),
    Point(call="outputs.discard"),
    Point(call="storage.put_file", play="video", stages=(1,)),
    Point(call="storage.delete", play="previews", stages=(1,)),
    Point(call="provider.find", play="asked"),
    Point(call="provider.cancel", play="canceled"),
    Point(call="jobs.end_job", play="canceled", stages=(1,)),
    Point(call="jobs.end_job", play="refused", stages=(1,)),
    Point(call="jobs.retry_stage", play="retried", stages=(1,)),
    Point(call="jobs.end_job", play="detached", stages=(1,)),
    Point(call="jobs.claim_detached", play="detached", stages=(1,)),
    Point(call="jobs.finish_detached", play="detached", stages=(1,)),
    Point(call="jobs.hand_back", play="broken", stages=(1,)),
    Point(call="jobs.state", play="broken", stages=(0,)),
    Point(call="jobs.hand_on", play="stopped", stages=(0,)),
    Point(call="jobs.forget_worker", play="stopped", stages=(0,)),
)

#: A point within a call: `jobs.go_on` is what `finish_stage` and others do after their commit.
NAMED_OTHERWISE: Final = {"jobs.go_on": "jobs.finish_stage"}

#: Calls in the sources that are no step of an attempt, and why they have no point here.
ELSEWHERE: Final = {
    "callbacks.serve": "callbacks have a protocol of their own: tests/scenarios/jobs/test_callbacks.py",
}
