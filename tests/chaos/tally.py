"""What was counted of a case, and whether it is what must come of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chaos.cases import Case, End, Expected


@dataclass(frozen=True, kw_only=True)
class Tally:
    """What was counted of one case. `taken_up`: seconds after which another worker had what a killed one left;
    `restarted`: soon after a restart of the database, when nobody counts as dead."""

    end: str
    runs: int
    reserved: int
    settled: int
    released: int
    entries: int
    outputs: int
    attempts: str
    orphans: int
    taken_up: float | None
    restarted: bool = False

    def fits(self, wanted: Expected, case: Case) -> bool:
        delivered = wanted.end is End.delivered
        booked = (self.reserved, self.settled, self.released)
        return (
            (self.end, self.outputs) == (wanted.end, int(delivered))
            and wanted.runs <= self.runs <= wanted.runs + wanted.perhaps
            and booked == (1, int(delivered), int(not delivered))
        )


@dataclass(frozen=True, kw_only=True)
class Result:
    case: Case
    tally: Tally | None
    problem: str = ""
    seconds: float = 0.0

    @property
    def good(self) -> bool:
        return not self.problem


def end_of(job: Mapping[str, Any]) -> str:
    code = (job["error"] or {}).get("code")
    match job["state"], code:
        case "succeeded", None:
            return End.delivered
        case "canceled", _:
            return End.canceled
        case "failed", "provider.lost":
            return End.lost
        case "failed", "provider.rejected":
            return End.refused
    return f"{job['state']} {code}"


def difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    return "; ".join(
        f"{name}: {[one for one in after[name] if one not in before[name]]} came, "
        f"{[one for one in before[name] if one not in after[name]]} went"
        for name in before
        if before[name] != after[name]
    )
