"""Where a queued job stands and when it is likely to start: arithmetic on what is known, no statements.

Who really goes next is decided by `genyard_dispatch` in the database.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from genyard.jobs.model import Standing

#: Fewer runs than this say nothing about the next one.
_ENOUGH_RUNS: Final = 3
#: Most runs take between the one and the other of those that were measured.
_QUICK, _SLOW = 0.1, 0.9
_MINUTE: Final = 60.0
#: What is waited for between a change and its being seen by all: dispatch, sweep, claim.
_SLACK_SECONDS: Final = 1.0


@dataclass(frozen=True, kw_only=True)
class Lane:
    """What is known of an endpoint. Seconds: `running` since each run of now was handed out, `took` by the last runs,
    `started` since each start of the last minute, oldest first."""

    name: str
    capacity: int
    paused: bool
    starts_per_minute: int | None
    running: Sequence[float]
    took: Sequence[float]
    started: Sequence[float]


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a job stands: how many are before it at its endpoint, and of its owner's own. `at_once`: its cap."""

    job_id: UUID
    endpoint: str
    position: int
    own_ahead: int
    at_once: int | None
    own_running: Sequence[float]


def standing_of(place: Place, lane: Lane) -> Standing:
    return Standing(
        position=place.position,
        endpoint=place.endpoint,
        paused=lane.paused,
        starts_in=None if lane.paused else starts_in(place, lane),
    )


def starts_in(place: Place, lane: Lane) -> tuple[float, float] | None:
    """Seconds, from … to; None where nobody knows. By runs as quick and as slow as they were of late."""
    if len(lane.took) < _ENOUGH_RUNS:
        return None
    took = sorted(lane.took)
    quick, slow = _quantile(took, _QUICK), _quantile(took, _SLOW)
    return _start(place, lane, quick, 0.0), _start(place, lane, slow, slow / 2) + _SLACK_SECONDS


def _start(place: Place, lane: Lane, each: float, overdue: float) -> float:
    ahead = place.position - 1
    waits = [_turn(lane.running, lane.capacity, ahead, each, overdue)]
    if place.at_once is not None:
        waits.append(_turn(place.own_running, place.at_once, place.own_ahead, each, overdue))
    if lane.starts_per_minute is not None:
        waits.append(_by_rate(lane.started, lane.starts_per_minute, ahead))
    return max(waits)


def _turn(running: Sequence[float], places: int, ahead: int, each: float, overdue: float) -> float:
    """When a place is free for the one who has `ahead` before him, if every run takes `each`. A run that has taken
    longer already takes `overdue` more."""
    left = sorted(each - since if since < each else overdue for since in running)
    missing = len(left) - places
    if missing > 0:  # more run than may: the capacity was lowered
        left = left[missing:]
    free = [0.0] * (places - len(left)) + left
    return free[ahead % places] + ahead // places * each


def _by_rate(started: Sequence[float], limit: int, ahead: int) -> float:
    """When a start is allowed to the one who has `ahead` before him, with `limit` starts in any minute."""
    nth = ahead % limit + len(started) - limit
    first = _MINUTE - started[nth] if 0 <= nth < len(started) else 0.0
    return max(0.0, first) + ahead // limit * _MINUTE


def _quantile(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, math.floor(share * len(ordered)))]
