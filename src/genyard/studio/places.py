"""The configured endpoints and what is known of them: checked when needed, remembered in the database."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from genyard.catalog.pricing import Rates, estimated_usd
from genyard.errors import Code, GenyardError
from genyard.jobs.records import Spending
from genyard.jobs.store import Jobs
from genyard.providers import BoundStep, Cost, Facts, Health, Plan, Provider
from genyard.routing import Endpoint

#: A check that is younger than this is not made again for a status page.
_FRESH_SECONDS: Final = 30.0
_NO_RATES: Final = Rates()
#: Kinds of places that keep media under ids which callers have in tables of their own.
LIBRARIES: Final = ("scenario",)
#: What a newer look at the place may change: a model or a node was installed, the server updated.
_WORTH_A_LOOK: Final = frozenset({Code.provider_missing, Code.workflow_invalid})


@dataclass(frozen=True, kw_only=True)
class Place:
    """One configured endpoint with its provider.

    capacity   how many submissions may be open there at once
    daily_cap  US dollars that it may spend in a day, if it costs any; `monthly_cap` in a month
    assumed    US dollars that a submission is taken to cost against the cap while nobody knows
    source     which server it is: what is known of another one under this name does not count
    affinity   seconds, and starts, for which the model that is loaded may come before somebody's turn
    """

    endpoint: Endpoint
    provider: Provider
    capacity: int
    rates: Rates = _NO_RATES
    daily_cap: float = 0.0
    monthly_cap: float | None = None
    assumed: float = 0.0
    source: str = ""
    starts_per_minute: int | None = None
    affinity: tuple[float, int] = (0.0, 0)

    @property
    def name(self) -> str:
        return self.endpoint.name

    def estimate(self, steps: Sequence[BoundStep]) -> Cost | None:
        """By the bindings' prices; None where one of them is not known."""
        if not self.provider.capabilities.paid and self.rates == _NO_RATES:
            prices = [step.binding.price for step in steps]
            return Cost(usd=0.0, source="estimated") if all(one and one.usd == 0 for one in prices) else None
        known = [estimated_usd(step.binding, step.parameters, self.rates) for step in steps]
        if any(usd is None for usd in known):
            return None
        return Cost(usd=sum(usd for usd in known if usd is not None), source="estimated")

    def reservation(self, estimate: Cost | None) -> float | None:
        """What a submission holds of the day's cap; None where nothing is paid."""
        if not self.provider.capabilities.paid:
            return None
        return self.assumed if estimate is None else estimate.usd


class Places:
    def __init__(self, places: Sequence[Place], jobs: Jobs, clock: Callable[[], float]) -> None:
        self.all: Mapping[str, Place] = {place.name: place for place in places}
        self._jobs = jobs
        self._clock = clock
        self._health: dict[str, tuple[float, Health]] = {}
        self._facts: dict[str, Facts] = {}
        self._locks = {name: asyncio.Lock() for name in self.all}

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        return tuple(place.endpoint for place in self.all.values())

    @property
    def kinds(self) -> dict[str, str]:
        return {name: place.endpoint.kind for name, place in self.all.items()}

    @property
    def providers(self) -> dict[str, Provider]:
        return {name: place.provider for name, place in self.all.items()}

    @property
    def libraries(self) -> dict[str, Place | None]:
        """Kinds of places whose own media can be inputs → the endpoint through which they are fetched, if any."""
        usable = [place for place in self.all.values() if not place.endpoint.missing]
        return {
            kind: next((place for place in usable if place.endpoint.kind == kind), None) for kind in LIBRARIES
        }

    async def save(self) -> None:
        """Tells the database which endpoints there are and how much each may do at once."""
        for place in self.all.values():
            await self._save(place, place.capacity)

    async def _save(self, place: Place, capacity: int) -> None:
        cap = place.daily_cap if place.provider.capabilities.paid else None
        await self._jobs.endpoints.save(
            place.name,
            place.endpoint.kind,
            capacity,
            cap,
            monthly_cap_usd=place.monthly_cap,
            starts_per_minute=place.starts_per_minute,
            affinity=place.affinity,
        )

    async def health(self, name: str, *, max_age: float = _FRESH_SECONDS) -> Health:
        async with self._locks[name]:
            at, health = self._health.get(name, (float("-inf"), None))
            if health is None or self._clock() - at > max_age:
                health = await self._check(name)
            return health

    async def compile(self, name: str, steps: Sequence[BoundStep]) -> Plan:
        """A plan by what is known of the place; looks again before it says that something is missing there."""
        provider = self.all[name].provider
        facts = await self._known(name)
        try:
            return provider.compile(steps, facts)
        except GenyardError as error:
            if error.code not in _WORTH_A_LOOK or facts is None or facts.catalogue is None:
                raise
            health = await self.health(name, max_age=1.0)
            if health.error is not None or health.facts == facts:
                raise
        return provider.compile(steps, health.facts)

    async def _known(self, name: str) -> Facts | None:
        if name in self._facts:
            return self._facts[name]
        stored = await self._jobs.endpoints.load_facts(name, self.all[name].source)
        if stored is not None:
            self._facts[name] = stored
            return stored
        health = await self.health(name)
        if health.error is not None:
            raise health.error
        return health.facts

    async def _check(self, name: str) -> Health:
        place = self.all[name]
        health = await place.provider.check()
        self._health[name] = (self._clock(), health)
        if health.at_once is not None:
            await self._save(place, max(1, min(place.capacity, health.at_once)))
        if health.error is None and health.facts != self._facts.get(name):
            self._facts[name] = health.facts
            await self._jobs.endpoints.save_facts(name, health.facts, self.all[name].source)
        return health

    async def spending(self) -> Sequence[Spending]:
        """What the paid endpoints have spent today and may yet spend."""
        known = await self._jobs.endpoints.spending()
        return [one for one in known if one.endpoint in self.all]

    async def close(self) -> None:
        for place in self.all.values():
            await place.provider.close()
