"""What a hook before submit is asked and may answer: for people who moderate, or have a policy of their own.

    from genyard.policy import Allow, Asked, Change, Refuse

    def judge(asked: Asked) -> Allow | Change | Refuse: ...

Who calls it, and what becomes of the answer, is `studio.policy`'s. Standard library only.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID


@dataclass(frozen=True, kw_only=True)
class AskedStep:
    """`parameters` are validated; None means the default of the model. `inputs`: role → ids of assets, or step:NAME."""

    name: str
    operation: str
    model: str | None
    parameters: Mapping[str, Any] = field(repr=False)
    inputs: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A request that would be accepted, of whom. A copy: what is done to it changes nothing."""

    owner_id: UUID
    trace_id: str
    steps: tuple[AskedStep, ...]
    tags: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Allow:
    """As it is."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """parameters  name of the step → name of the parameter → its new value; the others stay
    tags        in place of all of them; None: as they are
    reason      shown to the owner
    """

    parameters: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, repr=False)
    tags: tuple[str, ...] | None = None
    reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class Refuse:
    """`reason` is shown to the owner."""

    reason: str


Verdict = Allow | Change | Refuse
Judge = Callable[[Asked], Verdict | Awaitable[Verdict]]
