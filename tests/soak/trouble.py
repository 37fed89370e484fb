"""Carries out the troubles of a plan, as the count of accepted jobs reaches them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import aiohttp

from soak.customers import Receiver
from soak.machines import Machine
from soak.plan import Trouble
from soak.world import World

Json = Any


class Troublemaker:
    """One after the other where they would undo each other (the database), side by side where they would not."""

    def __init__(self, world: World, receiver: Receiver) -> None:
        self._world = world
        self._receiver = receiver
        self._tasks: set[asyncio.Task[None]] = set()
        self._database = asyncio.Lock()
        self._busy: set[str] = set()
        self.made: Counter[str] = Counter()
        self.failures: list[str] = []

    def make(self, trouble: Trouble) -> None:
        kinds = {
            "fault": self._fault,
            "state": self._state,
            "cut": self._cut,
            "kill": self._kill,
            "stop": self._stop,
            "freeze": self._freeze,
            "database": self._restart,
            "receiver": self._mute,
        }
        task = asyncio.create_task(self._carry_out(kinds[trouble.kind], trouble), name=trouble.kind)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def over(self) -> None:
        """Once all are through: everything runs, nothing is broken any more."""
        while self._tasks:
            await asyncio.gather(*self._tasks)
        for place in self._world.places.values():
            await place.mend()

    async def _carry_out(self, how: Any, trouble: Trouble) -> None:
        try:
            if await how(trouble.facts) is not False:
                self.made[trouble.kind] += 1
        except Exception as failure:
            self.failures.append(f"{trouble}: {failure!r}")

    async def _fault(self, facts: Mapping[str, Json]) -> None:
        """A place that is cut off just now is told when it is back."""
        place = self._world.places[facts["place"]]
        async with asyncio.timeout(30):
            while True:
                try:
                    return await place.break_(facts["fault"])
                except (OSError, aiohttp.ClientError):
                    await asyncio.sleep(0.3)

    async def _state(self, facts: Mapping[str, Json]) -> None:
        await self._fault({"place": facts["place"], "fault": {"kind": facts["kind"], "times": None}})
        await asyncio.sleep(facts["seconds"])
        async with asyncio.timeout(30):
            while True:
                try:
                    return await self._world.places[facts["place"]].mend(facts["kind"])
                except (OSError, aiohttp.ClientError):
                    await asyncio.sleep(0.3)

    async def _cut(self, facts: Mapping[str, Json]) -> bool | None:
        name = f"cut {facts['place']}"
        if name in self._busy:
            return False
        self._busy.add(name)
        await self._world.places[facts["place"]].cut(facts["seconds"])
        await asyncio.sleep(facts["seconds"] + 0.5)
        self._busy.discard(name)
        return None

    async def _kill(self, facts: Mapping[str, Json]) -> bool | None:
        return await self._end(facts, self._mortal, "kill")

    async def _stop(self, facts: Mapping[str, Json]) -> bool | None:
        return await self._end(facts, self._mortal, "stop")

    async def _end(self, facts: Mapping[str, Json], among: Sequence[Machine], how: str) -> bool | None:
        machine = among[int(facts["who"] * len(among))]
        if machine.name in self._busy or not machine.alive:
            return False
        self._busy.add(machine.name)
        await (machine.kill() if how == "kill" else machine.stop())
        await asyncio.sleep(0.5)
        await machine.start()
        self._busy.discard(machine.name)
        return None

    async def _freeze(self, facts: Mapping[str, Json]) -> bool | None:
        machines = self._world.machines
        machine = machines[int(facts["who"] * len(machines))]
        if machine.name in self._busy or not machine.alive:
            return False
        self._busy.add(machine.name)
        await machine.freeze(facts["seconds"])
        self._busy.discard(machine.name)
        return None

    async def _restart(self, facts: Mapping[str, Json]) -> None:
        async with self._database:
            await self._world.postgres.restart(crash=facts["crash"])

    async def _mute(self, facts: Mapping[str, Json]) -> None:
        self._receiver.down = True
        await asyncio.sleep(facts["seconds"])
        self._receiver.down = False

    @property
    def _mortal(self) -> Sequence[Machine]:
        """All but the one whose memory is watched from beginning to end."""
        return self._world.machines[1:]
