"""What a job costs its owner, in credits: the price list as a function. Pure.

Credits are whole numbers: nothing is ever rounded. Who needs finer steps makes a credit smaller.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from genyard.operations import OPERATIONS
from genyard.settings import CreditSettings, PriceRow

#: Parameters that say how many outputs an operation makes, where it is not `count`.
_COUNTED_BY: Final[Mapping[str, str]] = {"decompose_layers": "layers"}


@dataclass(frozen=True, kw_only=True)
class StepToPrice:
    """A step as it is bound. `sources`: the earlier steps that it feeds on. `keep`: its outputs are delivered."""

    name: str
    operation: str
    model: str
    parameters: Mapping[str, Any]
    sources: tuple[str, ...] = ()
    keep: bool = True


@dataclass(frozen=True, kw_only=True)
class JobPrice:
    """`credits` is the most that the job can cost; `terms` say what it is charged when it ends (0004_credits.sql)."""

    credits: int
    terms: Mapping[str, Any]


class PriceList:
    def __init__(self, settings: CreditSettings) -> None:
        self._unfinished = settings.unfinished
        self._rows: dict[tuple[str, str | None, str | None], PriceRow] = {
            (row.operation, row.model, row.tier): row for row in settings.prices
        }

    def row(self, operation: str, model: str | None, tier: str | None) -> PriceRow | None:
        """The row that says most about it; None where nothing does."""
        for name in (operation, "*"):
            for key in ((name, model, tier), (name, model, None), (name, None, tier), (name, None, None)):
                if key in self._rows:
                    return self._rows[key]
        return None

    def price(self, steps: Sequence[StepToPrice], tier: str) -> JobPrice:
        """Every operation has a row: `app` has seen to it."""
        counts: dict[str, int] = {}
        rows = []
        total = 0
        for step in steps:
            row = self.row(step.operation, step.model, tier)
            assert row is not None, step.operation
            counts[step.name] = count = _own_count(step) * max(
                (counts.get(source, 1) for source in step.sources), default=1
            )
            total += row.credits * (count if row.per == "output" else 1)
            output = OPERATIONS[step.operation].output
            rows.append(
                {
                    "step": step.name,
                    "role": output.value if output else None,
                    "credits": row.credits,
                    "per": row.per,
                    "count": count,
                    "keep": step.keep,
                }
            )
        return JobPrice(credits=total, terms={"unfinished": self._unfinished, "steps": rows})


def _own_count(step: StepToPrice) -> int:
    return int(step.parameters.get(_COUNTED_BY.get(step.operation, "count")) or 1)
