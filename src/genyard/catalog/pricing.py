"""What a run will cost, or has cost, by the binding's price and the endpoint's rates. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from genyard.catalog.binding import Binding, Price


@dataclass(frozen=True, kw_only=True)
class Rates:
    """What the settings say about an endpoint: US dollars per second of a run, per unit of the place's own money."""

    usd_per_second: float | None = None
    usd_per_unit: float | None = None


def estimated_usd(binding: Binding, parameters: Mapping[str, Any], rates: Rates) -> float | None:
    """Before the run. None where nobody has said a price: unknown, which is not zero."""
    price = binding.price
    if price is None:
        return None
    each = _each(price, rates)
    return None if each is None else each * _quantity(price, parameters)


def computed_usd(
    binding: Binding, parameters: Mapping[str, Any], seconds: float | None, rates: Rates
) -> float | None:
    """After the run that took `seconds`, at a place that has reported no price."""
    if seconds is not None and (by_time := _per_second(binding.price, rates)) is not None:
        return by_time * seconds
    return estimated_usd(binding, parameters, rates)


def _each(price: Price, rates: Rates) -> float | None:
    if price.per == "second":
        return _per_second(price, rates)
    if price.units is not None:
        return None if rates.usd_per_unit is None else price.units * rates.usd_per_unit
    return price.usd


def _per_second(price: Price | None, rates: Rates) -> float | None:
    """Only where time is what is billed."""
    if price is not None and price.per != "second":
        return None
    return rates.usd_per_second if rates.usd_per_second is not None else (price.usd if price else None)


def _quantity(price: Price, parameters: Mapping[str, Any]) -> float:
    count = float(parameters.get("count") or 1)
    if price.per == "second":
        return count * (price.seconds or 0.0)
    if price.per == "request":
        return 1.0
    if price.per == "megapixel":
        return count * (parameters.get("width") or 1024) * (parameters.get("height") or 1024) / 1_000_000
    return count
