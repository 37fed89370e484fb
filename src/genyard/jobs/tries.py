"""Which failures of a run are tried again at its place, and how often: one table, shown in docs/reference/errors.md.

What is not in the table ends the job. When the next try comes is the runner's business.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from genyard.errors import Code, GenyardError
from genyard.jobs.records import Claim
from genyard.providers import Capabilities


@dataclass(frozen=True, kw_only=True)
class Tries:
    """free     tries at most where runs cost nothing
    paid     the same where they cost: counted are runs that were bought, or may have been
    charged  whether a try that ends so may have been charged; where it cannot have been, every try counts
    why      for people
    """

    free: int
    paid: int
    charged: bool
    why: str


#: A try that the place has not taken is cheap; a run that was paid for is bought once more at most.
TRIES: Final[Mapping[Code, Tries]] = {
    Code.provider_unreachable: Tries(
        free=3, paid=3, charged=False, why="the connection never opened, so nothing was taken"
    ),
    Code.provider_busy: Tries(
        free=20, paid=20, charged=False, why='the place said "not now", and has taken nothing'
    ),
    Code.provider_interrupted: Tries(
        free=3, paid=2, charged=True, why="somebody else stopped the run, or the machine under it died"
    ),
    Code.provider_out_of_memory: Tries(
        free=3,
        paid=1,
        charged=True,
        why="a server of one's own frees its memory first; elsewhere it is the same again",
    ),
    Code.provider_lost: Tries(
        free=3,
        paid=2,
        charged=True,
        why='only where the place was asked, and knows nothing of it, or where the route says `lost = "again"`',
    ),
}
_MOST: Final = 20


def may_try_again(error: GenyardError, claim: Claim, able: Capabilities) -> bool:
    """After this attempt of the claim has ended so at a place with these capabilities."""
    rule = TRIES.get(error.code)
    if rule is None or claim.number >= _MOST:
        return False
    asked = able.finds and not error.context.get("silent")
    if error.code is Code.provider_lost and not (asked or claim.rebuys):
        return False
    if not able.paid:
        return claim.number < rule.free
    return (claim.bought + 1 if rule.charged else claim.number) < rule.paid
