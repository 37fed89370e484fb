"""Which failures are tried again, and after how long."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import pytest

from genyard.errors import REMEDIES, Code, GenyardError, Remedy
from genyard.jobs.records import Claim
from genyard.jobs.runner import Pace
from genyard.jobs.tries import TRIES, may_try_again
from genyard.providers import Capabilities
from genyard.providers._http import seconds_of


@dataclass(frozen=True, kw_only=True)
class Tried:
    """What the decision looks at, of a claim."""

    number: int
    bought: int = 0
    rebuys: bool = False


def again(code: Code, *, paid: bool = True, finds: bool = True, silent: bool = False, **tried: Any) -> bool:
    able = Capabilities(cancel="running", progress="none", paid=paid, finds=finds)
    error = GenyardError(code, "…", context={"silent": True} if silent else {})
    return may_try_again(error, cast(Claim, Tried(**tried)), able)


@pytest.mark.parametrize("code", Code)
@pytest.mark.parametrize("paid", [True, False])
def test_what_the_remedy_does_not_leave_to_the_place_is_never_tried_again_there(
    code: Code, paid: bool
) -> None:
    expected = REMEDIES[code] is Remedy.retry_here or code is Code.provider_lost
    assert (code in TRIES) == expected
    if not expected:
        assert not again(code, paid=paid, number=1)
    assert not again(code, paid=paid, number=20)


@pytest.mark.parametrize("code", [code for code, one in TRIES.items() if one.charged])
def test_a_run_that_was_paid_for_is_bought_once_more_at_most(code: Code) -> None:
    assert again(code, number=1) == (TRIES[code].paid > 1)
    assert not again(code, number=2, bought=1)
    assert again(code, number=6, bought=0) == (TRIES[code].paid > 1), (
        "what was busy five times was not bought"
    )


@pytest.mark.parametrize(("code", "most"), [(Code.provider_unreachable, 3), (Code.provider_busy, 20)])
def test_what_was_not_taken_is_tried_again_so_often(code: Code, most: int) -> None:
    assert [again(code, number=number) for number in range(1, most + 1)] == [True] * (most - 1) + [False]


def test_a_lost_run_is_tried_again_only_where_somebody_can_be_asked_or_the_route_allows_it() -> None:
    assert again(Code.provider_lost, number=1)
    assert not again(Code.provider_lost, number=1, silent=True), "it could be asked, and has not answered"
    assert again(Code.provider_lost, number=1, silent=True, rebuys=True)
    assert not again(Code.provider_lost, number=1, finds=False)
    assert again(Code.provider_lost, number=1, finds=False, rebuys=True)
    assert not again(Code.provider_lost, number=2, bought=1, finds=False, rebuys=True)


def test_pauses_grow_with_chance_and_not_for_ever() -> None:
    pace = Pace()
    drawn = {number: [pace.delay(number) for _ in range(200)] for number in range(1, 8)}
    for number, seconds in enumerate((1, 4, 16, 60, 60, 60, 60), start=1):
        assert all(0.8 * seconds <= one <= 1.2 * seconds for one in drawn[number])
        assert max(drawn[number]) - min(drawn[number]) > 0.1 * seconds, (
            "many do not come back at the same moment"
        )


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7.0),
        ("0", 0.0),
        ("1.5", 1.5),
        ("-3", 0.0),
        ("Wed, 21 Oct 2015 07:28:30 GMT", 30.0),
        ("Wed, 21 Oct 2015 07:27:00 GMT", 0.0),
        ("soon", None),
        ("nan", None),
        ("inf", None),
        ("Wed, 99 Oct 2015 07:28:30 GMT", None),
        (None, None),
    ],
)
def test_retry_after_is_read_in_both_its_forms(header: str | None, seconds: float | None) -> None:
    assert seconds_of(header, now=1445412480.0) == seconds
