"""What a planned job costs its owner in credits, and what its owner may spend at the places."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import UUID

from genyard.catalog import Catalog
from genyard.errors import Code, GenyardError
from genyard.ledger import Ledger
from genyard.ledger.prices import PriceList, StepToPrice
from genyard.operations import OPERATIONS
from genyard.providers import StepOutput
from genyard.settings import BudgetSettings, CreditSettings
from genyard.studio.planning import Planned


class Paying:
    """Asks the database only where something depends on who the owner is."""

    def __init__(self, ledger: Ledger, credits: CreditSettings, budgets: BudgetSettings) -> None:
        self.enabled = credits.enabled
        self._ledger = ledger
        self._prices = PriceList(credits) if credits.enabled else None
        self._exempt = frozenset(credits.exempt)
        self._budgets = budgets
        self._asks = credits.enabled or bool(budgets.tiers)

    async def priced(self, planned: Planned, owner_id: UUID) -> Planned:
        """The same, with what it costs its owner and what its owner may spend."""
        if not self._asks:
            return replace(planned, budget=self._budgets)
        owner = await self._ledger.standing(owner_id)
        pays = self._prices is not None and owner.name not in self._exempt
        return replace(
            planned,
            price=self._prices.price(_steps(planned), owner.tier) if self._prices and pays else None,
            budget=self._budgets.of(owner.tier),
        )

    async def budget(self, owner_id: UUID) -> dict[str, Any]:
        """The owner's tier; for the day and the month (UTC) what it may spend in US dollars (None: no limit but the
        endpoints' own), whether that is said of this owner alone, and what is spent or held."""
        told = await self._ledger.budget(owner_id)
        general = self._budgets.of(told["tier"])
        periods = {
            period: {
                "budget_usd": getattr(general, name) if told[name] is None else told[name],
                "own": told[name] is not None,
                "spent_usd": told[spent],
            }
            for period, name, spent in (
                ("day", "daily_usd", "spent_today"),
                ("month", "monthly_usd", "spent_this_month"),
            )
        }
        return {"tier": told["tier"], "periods": periods}


def sound(settings: CreditSettings, catalog: Catalog) -> CreditSettings:
    """The same settings. Nothing is given away by a slip of the pen: what has a price exists, all has a price."""
    models = {one.model for one in catalog.bindings.values()}
    for number, row in enumerate(settings.prices):
        field = f"genyard.toml: credits.prices.{number}"
        for what, name, known in (
            ("operation", row.operation, {"*", *OPERATIONS}),
            ("model", row.model, models),
        ):
            if name is not None and name not in known:
                told = f"{name!r} is not a known {what}; known are {', '.join(sorted(known))}"
                raise GenyardError(Code.settings_invalid, f"{field}.{what}: {told}", field=field)
    if settings.enabled:
        prices = PriceList(settings)
        free = [name for name in OPERATIONS if prices.row(name, None, None) is None]
        if free:
            raise GenyardError(
                Code.settings_invalid,
                f'credits.prices: nothing says what {", ".join(free)} cost; a row with operation = "*" is for all that '
                "have none of their own, credits = 0 for what is free",
                field="genyard.toml: credits.prices",
            )
    return settings


def _steps(planned: Planned) -> list[StepToPrice]:
    """As they are bound: the model and the number of pictures that the place will be asked for."""
    bound = {step.name: step for stage in planned.stages for step in stage.draft.steps}
    return [
        StepToPrice(
            name=step.name,
            operation=step.operation,
            model=bound[step.name].binding.model,
            parameters=bound[step.name].parameters,
            sources=tuple(
                one.step for given in step.inputs.values() for one in given if isinstance(one, StepOutput)
            ),
            keep=step.keep,
        )
        for step in planned.steps
    ]
