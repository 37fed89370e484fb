"""`[credits]` and `[budgets]` of genyard.toml: what owners pay, and what may be spent on them. Data, checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from genyard.settings.fields import Frozen

#: No price and no gift is larger: sums of millions of them still fit into the database's numbers.
MOST_CREDITS = 1_000_000_000

Dollars = Annotated[float, Field(ge=0, lt=10_000_000, allow_inf_nan=False)]


class PriceRow(Frozen):
    """What one step costs, in credits. The row that says most about a step wins: model before tier before neither.

    operation   an operation, or `*` for those that no row names
    per         output: for each that is delivered · request: once, if anything is delivered
    """

    operation: str
    credits: int = Field(ge=0, le=MOST_CREDITS, strict=True)
    per: Literal["output", "request"] = "output"
    model: str | None = None
    tier: str | None = None


class CreditSettings(Frozen):
    """`unfinished`: what a job that fails or is canceled pays for outputs that it had delivered by then."""

    enabled: bool = False
    unfinished: Literal["free", "delivered"] = "free"
    exempt: tuple[str, ...] = ("local",)
    prices: tuple[PriceRow, ...] = ()

    @field_validator("prices")
    @classmethod
    def _said_once(cls, prices: tuple[PriceRow, ...]) -> tuple[PriceRow, ...]:
        seen = set()
        for row in prices:
            key = (row.operation, row.model, row.tier)
            if key in seen:
                told = ", ".join(one for one in key if one)
                raise ValueError(f"two rows for {told}: which one is meant?")
            seen.add(key)
        return prices

    @model_validator(mode="after")
    def _has_prices(self) -> CreditSettings:
        if self.enabled and not self.prices:
            raise ValueError(
                'enabled = true needs prices: [[credits.prices]] with operation = "…" and credits = …'
            )
        return self


class Budget(Frozen):
    """US dollars at the places, by UTC days and months. None: no limit but the endpoints' own."""

    daily_usd: Dollars | None = None
    monthly_usd: Dollars | None = None


#: What who has no budget may spend.
NO_BUDGET = Budget()


class BudgetSettings(Budget):
    """Of every owner; `tiers` says it for those of a tier."""

    tiers: Mapping[str, Budget] = Field(default_factory=dict)

    def of(self, tier: str) -> Budget:
        """What a tier leaves open is as for every owner."""
        own = self.tiers.get(tier, NO_BUDGET)
        return Budget(
            daily_usd=self.daily_usd if own.daily_usd is None else own.daily_usd,
            monthly_usd=self.monthly_usd if own.monthly_usd is None else own.monthly_usd,
        )
