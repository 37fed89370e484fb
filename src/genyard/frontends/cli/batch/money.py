"""What a batch will cost, who agrees to it, and where --max-usd stops it."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import typer

from genyard.errors import Code, GenyardError
from genyard.frontends.cli.exits import wrong
from genyard.frontends.cli.prices import UNKNOWN, money, today_line

if TYPE_CHECKING:
    from genyard.studio.planning import Planned


@dataclass(frozen=True, kw_only=True)
class Price:
    """Of one row. `usd` None: not known; `held`: what the caps count meanwhile, 0 where nothing is paid."""

    endpoints: tuple[str, ...]
    paid: bool
    usd: float | None
    held: float

    @classmethod
    def of(cls, planned: Planned) -> Price:
        held = [stage.reserved_usd for stage in planned.stages]
        cost = planned.cost
        return cls(
            endpoints=tuple(dict.fromkeys(stage.draft.endpoint for stage in planned.stages)),
            paid=any(one is not None for one in held),
            usd=cost.usd if cost else None,
            held=sum(one or 0.0 for one in held),
        )


@dataclass(frozen=True, kw_only=True)
class Offer:
    """Of all rows that are still to be bought; `today`: spending and cap of the endpoints that they go to."""

    prices: Sequence[Price]
    today: Mapping[str, Mapping[str, Any]]

    @property
    def paid(self) -> list[Price]:
        return [one for one in self.prices if one.paid]

    @property
    def usd(self) -> float:
        return sum(one.usd or 0.0 for one in self.paid)

    @property
    def unknown(self) -> int:
        return sum(one.usd is None for one in self.paid)

    @property
    def held(self) -> float:
        """With what is not known taken for what the caps count."""
        return sum(one.held if one.usd is None else one.usd for one in self.paid)

    def as_json(self) -> dict[str, Any]:
        return {
            "rows": len(self.prices),
            "paid_rows": len(self.paid),
            "usd": None if self.unknown else self.usd,
            "known_usd": self.usd,
            "unknown_rows": self.unknown,
            "today": dict(self.today),
        }

    def lines(self, done: int, what: str = "row") -> list[str]:
        rows = f"1 {what}" if len(self.prices) == 1 else f"{len(self.prices)} {what}s"
        said = [f"{rows} to run" + (f", {done} done before" if done else "")]
        if self.prices and not self.paid:
            return [f"{said[0]}: nothing is charged where they go"]
        if self.paid:
            places = ", ".join(dict.fromkeys(name for one in self.paid for name in one.endpoints))
            known = f"about {money(self.usd)}" if self.unknown < len(self.paid) else f"price {UNKNOWN}"
            said[0] += f" at {places}: {known}"
        if self.unknown and self.unknown < len(self.paid):
            said[0] += f", and {self.unknown} of them whose price is {UNKNOWN}"
        if self.unknown:
            said[0] += f" (with what the day's caps count for them: {money(self.held)})"
        for name, one in self.today.items():
            said.append(today_line(name, one))
            left = one["daily_cap_usd"] - one["spent_usd"]
            if one["monthly_cap_usd"] is not None:
                left = min(left, one["monthly_cap_usd"] - one["month_usd"])
            if self._share_of(name) > left:
                said.append(f"  ! {name}'s cap has no room for all of it: what is beyond it will be refused")
        return said

    def _share_of(self, endpoint: str) -> float:
        return sum(
            one.held if one.usd is None else one.usd for one in self.paid if one.endpoints == (endpoint,)
        )

    def require_consent(self, *, yes: bool, max_usd: float | None, done: int) -> None:
        """Asks where somebody is there. What costs nothing needs nobody's word."""
        if not self.paid:
            return
        if max_usd is not None and self.held > max_usd:
            raise GenyardError(
                Code.spend_capped,
                f"estimated at {money(self.held)}, more than --max-usd {money(max_usd)}; nothing was run",
                field="--max-usd",
            )
        if yes or max_usd is not None:
            return
        if not sys.stdin.isatty():
            raise wrong(
                f"it costs money ({self.lines(done)[0]}) and nobody is there to ask: add --yes or --max-usd",
                "--yes",
            )
        typer.confirm("Go on?", abort=True, err=True)

    def require_small(self, *, yes: bool, max_usd: float) -> None:
        """Asks before more than `max_usd` is spent, where somebody is there; what is less needs nobody's word."""
        if yes or self.held <= max_usd:
            return
        if not sys.stdin.isatty():
            raise GenyardError(
                Code.spend_capped,
                f"estimated at {money(self.held)}, more than --max-usd {money(max_usd)}, and nobody is there to ask; "
                "nothing was run",
                field="--max-usd",
            )
        typer.confirm(f"That is more than {money(max_usd)}. Go on?", abort=True, err=True)


class Budget:
    """What `--max-usd` leaves: estimates of what runs, then what it really cost. No limit where `most` is None."""

    def __init__(self, most: float | None) -> None:
        self._most = most
        self._spent = 0.0

    def take(self, price: Price) -> float:
        amount = (price.held if price.usd is None else price.usd) if price.paid else 0.0
        if self._most is not None and amount and self._spent + amount > self._most + 1e-9:
            raise GenyardError(
                Code.spend_capped,
                f"the batch has spent or holds {money(self._spent)} of --max-usd {money(self._most)}; not run",
                field="--max-usd",
            )
        self._spent += amount
        return amount

    def settle(self, taken: float, cost: Mapping[str, Any] | None) -> None:
        """A cost that is not fully known counts for what was taken, at least."""
        if cost is None:
            self._spent -= taken
            return
        known = cost["usd"] or 0.0
        self._spent += (known if cost["complete"] else max(known, taken)) - taken
