"""Which cases there are, and what must come of each: every point with each fault at each kind of place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from chaos.kinds import KINDS, Kind
from chaos.points import POINTS, Play, Point


class Fault(StrEnum):
    """What is done to the worker, or around it, while it stands at the point.

    kill      SIGKILL; another worker is there
    freeze    SIGSTOP until another worker has ended the job, then SIGCONT
    stop      it is told to stop in good order (as by SIGTERM); another worker is there
    database  PostgreSQL is shut down at once, without a checkpoint, and started again
    network   connections to the place break, new ones are refused for a moment; what runs there goes on
    answer    the next request to the place is carried out, but its answer is lost
    restart   the place is restarted; what is kept in memory there is gone. Hosted places keep their queue: they
              answer 503 for a moment, to the submission where that comes next, else to whoever looks
    """

    kill = "kill"
    freeze = "freeze"
    stop = "stop"
    database = "database"
    network = "network"
    answer = "answer"
    restart = "restart"


class End(StrEnum):
    delivered = "delivered"
    lost = "lost"
    canceled = "canceled"
    refused = "refused"


@dataclass(frozen=True, kw_only=True)
class Expected:
    """`runs`: GPU runs in all, over the pipeline's stages. `perhaps`: one more, as it happens: what the built-in
    renderer was drawing when its worker was stopped is drawn by the next one, at nobody's cost."""

    end: End
    runs: int
    perhaps: int = 0

    def __str__(self) -> str:
        more = f" or {self.runs + self.perhaps}" if self.perhaps else ""
        return f"{self.end}, {self.runs}{more} run{'' if self.runs == 1 and not more else 's'}"


@dataclass(frozen=True, kw_only=True)
class Case:
    kind: Kind
    point: Point
    moment: str
    stage: int
    fault: Fault

    @property
    def passing(self) -> str:
        return f"{self.point.call} {self.moment}"

    @property
    def play(self) -> Play:
        return self.point.play

    @property
    def is_sending(self) -> bool:
        """The submission is what comes next."""
        return self.passing in ("provider.submit before", "jobs.leave before", "jobs.leave after")

    def __str__(self) -> str:
        return f"{self.fault} · {self.kind.name} · {self.play} · {self.passing} · stage {self.stage}"


#: Between the note that a submission leaves and its stored reference: who comes after cannot know whether it has left.
_UNKNOWN: Final = (
    "jobs.leave after",
    "provider.submit arrived",
    "provider.submit after",
    "jobs.record_ref before",
)
_LEFT: Final = _UNKNOWN[1:]
#: While a run is known to its place alone: from its arrival to its end.
_THERE: Final = (
    *_LEFT,
    "jobs.record_ref after",
    "provider.observe before",
    "provider.observe after",
    "jobs.record_progress before",
    "jobs.record_progress after",
)
#: While its results lie in the memory of the process that draws, too.
_IN_MEMORY: Final = (
    *_THERE,
    "provider.observe ended",
    "outputs.take_over before",
    "provider.fetch before",
    "provider.fetch begun",
    "provider.fetch after",
    "storage.put before",
    "storage.put after",
    "outputs.take_over after",
    "jobs.finish_stage before",
)
#: One place that can be asked for a submission, and one that cannot.
THOROUGH: Final = ("comfyui 0.33.0", "replicate")
_WIRE: Final = ("provider.submit", "provider.find", "provider.observe", "provider.cancel", "provider.fetch")
_PLAYED: Final[Mapping[Fault, tuple[Play, ...]]] = {
    Fault.network: ("plain", "canceled", "asked"),
    Fault.restart: ("plain",),
    Fault.stop: ("plain", "asked", "canceled", "detached", "retried", "started"),
    Fault.answer: ("plain", "canceled", "asked"),
}


def cases(kind: Kind, fault: Fault) -> Iterator[Case]:
    for point in POINTS:
        if not _is_played(kind, point) or point.play not in _PLAYED.get(fault, (point.play,)):
            continue
        for moment in point.moments:
            for stage in _stages(kind, fault, point):
                case = Case(kind=kind, point=point, moment=moment, stage=stage, fault=fault)
                if _is_possible(case):
                    yield case


def every_case() -> Iterator[Case]:
    for fault in Fault:
        for kind in KINDS.values():
            yield from cases(kind, fault)


def _stages(kind: Kind, fault: Fault, point: Point) -> tuple[int, ...]:
    """What does not depend on the kind of place is tried at two of them; so is the second stage."""
    thorough = kind.name in THOROUGH
    if point.stages == (0,):
        return point.stages if thorough else ()
    return tuple(
        stage for stage in point.stages if stage == 1 or (thorough and fault in (Fault.kill, Fault.freeze))
    )


def _is_played(kind: Kind, point: Point) -> bool:
    match point.play:
        case "asked":
            return kind.finds
        case "canceled":
            return kind.stops
        case "detached":
            return not kind.stops
        case "refused" | "retried":
            return kind.start is not None
        case "previews":
            return kind.previews
        case "video":
            return kind.film is not None
    return True


def _is_possible(case: Case) -> bool:
    if case.kind.start is None:
        # the built-in renderer is in the worker itself: no network, nothing to restart
        if case.fault in (Fault.network, Fault.answer, Fault.restart) or case.moment == "arrived":
            return False
        if case.passing.startswith("jobs.record_progress"):
            return False  # it is done before there is anything to tell
    if case.point.call == "jobs.leave" and case.kind.finds:
        return False  # nothing is written where the place can be asked
    if case.fault is Fault.answer:
        return case.point.call in _WIRE and case.moment == "before"
    return True


def expected(case: Case) -> Expected:
    stages = 1 if case.play in ("video", "previews") else 2
    done = max(0, case.stage - 1)
    match case.play:
        case "canceled":
            return Expected(end=End.canceled, runs=done + 1)
        case "detached":
            return Expected(end=End.canceled, runs=1)
        case "refused" if case.kind.finds or not _is_forgotten(case):
            return Expected(end=End.refused, runs=0)
    replaced = case.fault in (Fault.kill, Fault.freeze)
    if not case.kind.finds and _is_lost(case, replaced):
        arrived = case.passing in _LEFT or case.fault is Fault.answer
        return Expected(end=End.lost, runs=done + arrived)
    cut_off = case.kind.start is None and case.fault is Fault.stop
    return Expected(end=End.delivered, runs=stages + _runs_again(case, replaced), perhaps=int(cut_off))


def _is_lost(case: Case, replaced: bool) -> bool:
    if case.play in ("retried", "refused"):
        return _is_forgotten(case)
    if replaced:
        return case.passing in _UNKNOWN
    if case.fault in (Fault.answer, Fault.restart) and case.is_sending:
        return True  # 503 does not say that nothing was accepted
    return case.fault is Fault.network and case.passing == "provider.submit arrived"


def _is_forgotten(case: Case) -> bool:
    """What the place had answered went with the one who knew it, or with the database in his hand."""
    return case.moment == "before" and case.fault in (Fault.kill, Fault.freeze, Fault.database)


def _runs_again(case: Case, replaced: bool) -> int:
    if case.kind.start is None:
        again = int(case.play == "asked")  # what the first worker drew is gone with it
        return again + (replaced and (case.passing in _IN_MEMORY or case.play == "broken"))
    if case.fault is Fault.restart and case.kind.forgets:
        return int(case.passing in _THERE)
    return 0
