"""What time it is, for everything that other machines look at: deadlines, links, signatures."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime


class Clock:
    """Seconds since the epoch as the database counts them: what a host believes the date to be does not matter.

    Whoever asks the database for something may ask for the time, too, and tell it here (`learn`); until the next time
    the host's monotonic clock goes on.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._ahead = time.time() - monotonic()

    def learn(self, now: float) -> None:
        self._ahead = now - self._monotonic()

    def surely(self) -> datetime:
        """No later than the database or this host believes it to be: nothing goes early because one clock is wrong."""
        return datetime.fromtimestamp(min(self(), time.time()), UTC)

    def __call__(self) -> float:
        return self._monotonic() + self._ahead
