"""Questions that many have at the same moment: asked once, answered to each."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import pytest

from genyard.jobs.together import Together


async def test_many_who_ask_at_once_share_a_question() -> None:
    asked: list[int] = []

    async def find(keys: Sequence[int]) -> Mapping[int, str]:
        asked.append(len(keys))
        await asyncio.sleep(0)
        return {key: str(key) for key in keys if key % 2}

    questions = Together(find, "test")
    found = await asyncio.gather(*(questions.of(number) for number in range(1000)))
    assert found == [str(number) if number % 2 else None for number in range(1000)]
    assert len(asked) <= 3


async def test_no_answer_is_older_than_its_question() -> None:
    truth, under_way, go_on = 1, asyncio.Event(), asyncio.Event()

    async def find(keys: Sequence[str]) -> Mapping[str, int]:
        seen = truth
        under_way.set()
        await go_on.wait()
        return dict.fromkeys(keys, seen)

    questions = Together(find, "test")
    early = asyncio.create_task(questions.of("it"))
    await under_way.wait()
    truth = 2
    late = asyncio.create_task(questions.of("it"))
    await asyncio.sleep(0)
    go_on.set()
    assert (await early, await late) == (1, 2)


async def test_whoever_goes_away_takes_nobody_along() -> None:
    under_way, go_on = asyncio.Event(), asyncio.Event()

    async def find(keys: Sequence[int]) -> Mapping[int, int]:
        under_way.set()
        await go_on.wait()
        return {key: key for key in keys}

    questions = Together(find, "test")
    leaving, staying = asyncio.create_task(questions.of(1)), asyncio.create_task(questions.of(2))
    await under_way.wait()
    leaving.cancel()
    go_on.set()
    assert await staying == 2


async def test_a_question_that_fails_fails_for_those_who_asked_and_not_for_the_next() -> None:
    broken = True

    async def find(keys: Sequence[int]) -> Mapping[int, int]:
        if broken:
            raise ConnectionError("gone")
        return {}

    questions = Together(find, "test")
    with pytest.raises(ConnectionError):
        await questions.of(1)
    broken = False
    assert await questions.of(1) is None
