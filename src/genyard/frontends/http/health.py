"""What was last seen of each endpoint: answered at once, looked at again in the background."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

from genyard.errors import Code, GenyardError
from genyard.providers import Health
from genyard.studio import Studio

#: How long a status page waits for a place before it tells what it knew before.
_PATIENCE_SECONDS: Final = 0.3

_NOT_SEEN: Final = Health(
    reachable=False,
    error=GenyardError(Code.provider_unreachable, "it has not answered yet; ask again in a moment"),
)


class HealthBoard:
    """One look per endpoint at a time, however many ask."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._seen: dict[str, Health] = {}
        self._looks: dict[str, asyncio.Task[None]] = {}

    async def look(self) -> Mapping[str, Health | None]:
        """Every endpoint; None for one that nobody has seen yet."""
        for name in self._studio.endpoints:
            if name not in self._looks:
                self._looks[name] = asyncio.create_task(self._look(name), name=f"genyard-look-{name}")
        if self._looks:
            await asyncio.wait(self._looks.values(), timeout=_PATIENCE_SECONDS)
        return {name: self._seen.get(name) for name in self._studio.endpoints}

    async def known(self) -> Mapping[str, Health]:
        """For who must say something about each."""
        return {name: health or _NOT_SEEN for name, health in (await self.look()).items()}

    async def _look(self, name: str) -> None:
        try:
            self._seen[name] = await self._studio.health_of(name)
        except GenyardError as error:
            self._seen[name] = Health(reachable=False, error=error)
        finally:
            del self._looks[name]

    async def close(self) -> None:
        looks = list(self._looks.values())
        for look in looks:
            look.cancel()
        await asyncio.gather(*looks, return_exceptions=True)
