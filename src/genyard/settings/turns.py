"""`[tiers]` and `[queue]` of genyard.toml: who may run and wait how much. Data, checked."""

from __future__ import annotations

from typing import Final

from pydantic import Field

from genyard.settings.fields import Frozen

#: Of owners that nobody has put into another.
DEFAULT_TIER: Final = "standard"


class TierSettings(Frozen):
    """What owners of a tier may do. Nothing is limited where nothing is said.

    at_once       submissions of an owner that run at the same time, over all places
    queue         jobs of an owner that wait
    priority      added to the priority that the caller gives
    max_priority  the most that the caller may give
    """

    at_once: int | None = Field(default=None, ge=1, le=10_000)
    queue: int | None = Field(default=None, ge=1, le=1_000_000)
    priority: int = Field(default=0, ge=-1000, le=1000)
    max_priority: int = Field(default=100, ge=-100, le=100)


class QueueSettings(Frozen):
    """limit     jobs of all owners that may wait
    patience  seconds after which a job that waits behind more urgent ones has every eighth start
    """

    limit: int | None = Field(default=None, ge=1, le=10_000_000)
    patience: int = Field(default=600, ge=1, le=30 * 86_400)
