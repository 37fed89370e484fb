"""When a queued job is likely to start: against a simulation of what really happens."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genyard.jobs.model import Standing
from genyard.jobs.turns import Lane, Place, standing_of, starts_in

JOB = UUID(int=1)


def lane(**changes: Any) -> Lane:
    given = {"name": "gpu", "capacity": 1, "paused": False, "starts_per_minute": None}
    return Lane(**{**given, "running": (), "took": (10.0,) * 5, "started": (), **changes})


def place(position: int = 1, **changes: Any) -> Place:
    given = {"job_id": JOB, "endpoint": "gpu", "position": position, "own_ahead": 0, "at_once": None}
    return Place(**{**given, "own_running": (), **changes})


def test_two_runs_say_nothing() -> None:
    assert starts_in(place(), lane(took=(10.0, 10.0))) is None


def test_a_paused_endpoint_starts_nothing_that_anybody_could_foretell() -> None:
    standing = standing_of(place(3), lane(paused=True))
    assert standing.starts_in is None
    assert standing.words == "number 3 in the queue of gpu, which is paused"


def test_runs_that_differ_make_a_wide_range() -> None:
    least, most = starts_in(place(11), lane(took=(5.0, 10.0, 10.0, 10.0, 40.0), capacity=2)) or (0, 0)
    assert least <= 50 <= most
    assert most > 2 * least


def test_a_run_that_takes_longer_than_all_before_it_is_not_taken_to_end_at_once() -> None:
    _, most = starts_in(place(1), lane(running=(300.0,))) or (0, 0)
    assert most >= 5


def test_an_owner_s_cap_counts_for_its_own_jobs() -> None:
    free = lane(capacity=10)
    assert (starts_in(place(1), free) or (1, 0))[0] == 0
    capped = starts_in(place(1, at_once=1, own_running=(4.0,), own_ahead=2), free)
    assert capped is not None
    assert capped[0] == pytest.approx(26.0)


def test_a_limit_of_starts_counts_in_minutes() -> None:
    limited = lane(capacity=100, starts_per_minute=2, started=(50.0, 20.0))
    waits = [(starts_in(place(position), limited) or (0, 0))[0] for position in (1, 2, 3, 4, 5)]
    assert waits == pytest.approx([10, 40, 70, 100, 130])


@settings(deadline=None)
@given(
    ahead=st.integers(0, 30),
    capacity=st.integers(1, 5),
    running=st.lists(st.floats(0, 19), max_size=5),
    took=st.lists(st.floats(10, 20), min_size=10, max_size=20),
    data=st.data(),
)
def test_the_range_holds_what_happens(
    ahead: int, capacity: int, running: list[float], took: list[float], data: st.DataObject
) -> None:
    """Runs of now and of those ahead take between the quick and the slow of late: the start is within the range."""
    ordered = sorted(took)
    quick, slow = ordered[int(len(took) * 0.1)], ordered[int(len(took) * 0.9)]
    running = running[:capacity]
    lengths = [data.draw(st.floats(quick, slow)) for _ in range(len(running) + ahead)]
    free = [max(0.0, length - since) for length, since in zip(lengths, running, strict=False)]
    free += [0.0] * (capacity - len(free))
    for length in lengths[len(running) :]:
        first = min(free)
        free[free.index(first)] = first + length
    told = starts_in(place(ahead + 1), lane(capacity=capacity, running=running, took=took))
    assert told is not None
    assert told[0] - 1e-6 <= min(free) <= told[1] + 1e-6


@pytest.mark.parametrize(
    ("least", "most", "words"),
    [(0, 0.4, "0–1 s"), (20, 39.2, "20–40 s"), (170, 470, "2–8 min"), (0, 7200, "0–2 h")],
)
def test_a_range_is_told_no_closer_than_anybody_knows(least: float, most: float, words: str) -> None:
    standing = Standing(position=4, endpoint="gpu", paused=False, starts_in=(least, most))
    assert standing.words == f"number 4 in the queue, starts in {words}"
