"""What `_polling` counts with: a budget of calls, and what is known of one run. Whose turn it is, is decided there."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from dataclasses import dataclass

from genyard.errors import GenyardError
from genyard.providers import Ref, Snapshot


class Budget:
    """At most `slots` calls in any `window`: so many per second, and never more within one. Some are kept for those
    who were woken; the others are spread over the window."""

    def __init__(self, per_second: float) -> None:
        self._slots = max(2, round(per_second))
        self._window = self._slots / per_second
        self._shared = self._slots - max(1, self._slots // 5)
        self._burst = max(1, self._shared // 4)
        self._times: deque[float] = deque(maxlen=self._slots)

    def free_at(self, *, urgent: bool) -> float:
        """When the next call may leave."""
        if urgent:
            return self._after(self._slots, self._window)
        spread = self._window * self._burst / self._shared
        return max(self._after(self._shared, self._window), self._after(self._burst, spread))

    def _after(self, calls: int, span: float) -> float:
        return float("-inf") if len(self._times) < calls else self._times[-calls] + span

    def spend(self, now: float) -> None:
        self._times.append(now)


@dataclass(kw_only=True, slots=True, eq=False)
class Watch:
    """One run.

    since    when we learnt that it exists; `started` when it began to execute, by our clock
    due      when it should be read next, if its turn comes
    reads    how many reads were begun, `answered` the number of the newest one that is over
    """

    ref: Ref
    since: float
    due: float
    contact: float
    pause: float
    started: float | None = None
    read_at: float = float("-inf")
    reads: int = 0
    answered: int = 0
    observers: int = 0
    reading: bool = False
    latest: Snapshot | None = None
    failure: Exception | None = None
    refusal: GenyardError | None = None
    rests: tuple[asyncio.Timeout, ...] = ()

    @property
    def name(self) -> str:
        return str(self.ref["id"])

    @property
    def ended(self) -> bool:
        return self.latest is not None and self.latest.state.ended

    def tell(self) -> None:
        """Whoever rests looks again."""
        moment = asyncio.get_running_loop().time()
        for rest in self.rests:
            if not rest.expired():
                rest.reschedule(moment)

    async def rest(self, seconds: float, wake: asyncio.Event | None) -> None:
        """Until `tell`, `wake` or the end of `seconds`. A time-out that is brought forward, not a task for each of
        them: thousands may rest."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds) as rest:
                self.rests = (*self.rests, rest)
                try:
                    await (asyncio.get_running_loop().create_future() if wake is None else wake.wait())
                finally:
                    self.rests = tuple(one for one in self.rests if one is not rest)
