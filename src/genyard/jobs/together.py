"""What many ask at the same moment is asked once. Knows neither jobs nor statements."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Answer = TypeVar("Answer")


class Together(Generic[Key, Answer]):
    """Asks for many at once: those who come while a question is under way share the next one: no answer is older
    than its question. Whoever is alone waits for nobody."""

    def __init__(self, ask: Callable[[Sequence[Key]], Awaitable[Mapping[Key, Answer]]], name: str) -> None:
        self._ask = ask
        self._name = name
        self._asked: dict[Key, asyncio.Future[Answer | None]] = {}
        self._asking: asyncio.Task[None] | None = None

    async def of(self, key: Key) -> Answer | None:
        """None where there is no answer. Whoever goes away does not stop the others' question."""
        answer = self._asked.setdefault(key, asyncio.get_running_loop().create_future())
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask_all(), name=self._name)
        return await asyncio.shield(answer)

    async def _ask_all(self) -> None:
        try:
            while self._asked:
                asked, self._asked = self._asked, {}
                try:
                    found = await self._ask(list(asked))
                except Exception as failure:  # noqa: BLE001 (it is told to those who asked)
                    for answer in asked.values():
                        answer.set_exception(failure)
                        answer.exception()  # told, even if nobody waits for it any more
                    continue
                for key, answer in asked.items():
                    answer.set_result(found.get(key))
        finally:
            self._asking = None
