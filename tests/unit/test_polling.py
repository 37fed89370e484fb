"""Turns, budget, back-off and limits of time of `_polling`, on a loop whose time is virtual: nothing here waits."""

from __future__ import annotations

import asyncio
import selectors
import tracemalloc
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import aiohttp
import pytest

from genyard.errors import Code, GenyardError
from genyard.providers import Canceled, Cost, Ref, Snapshot, State
from genyard.providers._polling import Counts, Limits, Poller

QUEUED, RUNNING = Snapshot(state=State.queued), Snapshot(state=State.running)
DONE = Snapshot(state=State.succeeded)


class _Selector(selectors.DefaultSelector):
    """Where a loop would wait, its time jumps instead."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready:
            assert timeout is not None, "everybody waits, and nothing will happen"
            self.now += max(0.0, timeout)
        return ready


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._virtual = _Selector()
        super().__init__(self._virtual)

    def time(self) -> float:
        return self._virtual.now


def run(story: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=_Loop) as runner:
        runner.run(story)


def now() -> float:
    return asyncio.get_running_loop().time()


@dataclass(kw_only=True)
class Place:
    """Runs by a script: id → (start, end); a run waits before its start. `calls` are (when, whose)."""

    runs: dict[str, tuple[float, float]] = field(default_factory=dict)
    calls: list[tuple[float, str]] = field(default_factory=list)
    stopped: dict[str, float] = field(default_factory=dict)
    latency: float = 0.02
    trouble: Callable[[str], Exception | None] = lambda name: None

    async def read(self, ref: Ref) -> Snapshot:
        name = str(ref["id"])
        self.calls.append((now(), name))
        await asyncio.sleep(self.latency)
        if (failure := self.trouble(name)) is not None:
            raise failure
        return self.state(name)

    def state(self, name: str) -> Snapshot:
        start, end = self.runs[name]
        if name in self.stopped and self.stopped[name] < end:
            return Snapshot(state=State.canceled, cost=Cost(usd=0.5, source="computed"))
        return QUEUED if now() < start else RUNNING if now() < end else DONE

    async def stop(self, ref: Ref) -> Canceled:
        self.stopped[str(ref["id"])] = now()
        return Canceled(reached=True)

    async def counts(self) -> Counts:
        self.calls.append((now(), "counts"))
        waiting = sum(start > now() for start, _ in self.runs.values())
        return Counts(waiting=waiting, ended=sum(end <= now() for _, end in self.runs.values()))

    def poller(
        self, *, per_second: float = 20.0, limits: Limits | None = None, hints: bool = False
    ) -> Poller:
        return Poller(
            read=self.read,
            stop=self.stop,
            limits=limits or Limits(),
            calls_per_second=per_second,
            clock=now,
            counts=self.counts if hints else None,
        )

    def times(self, name: str) -> list[float]:
        return [at for at, whose in self.calls if whose == name]


def ref(name: str, *, video: bool = False) -> dict[str, Any]:
    return {"id": name, "key": name, "video": video}


async def to_the_end(
    poller: Poller, of: Ref, heard: list[tuple[float, Snapshot]] | None = None
) -> tuple[float, Snapshot]:
    previous: Snapshot | None = None
    while previous is None or not previous.state.ended:
        previous = await poller.observe(of, previous, asyncio.Event())
        if heard is not None:
            heard.append((now(), previous))
    return now(), previous


def story(test: Callable[[], Awaitable[None]]) -> Callable[[], None]:
    """A test on virtual time."""

    def told() -> None:
        run(test())  # type: ignore[arg-type]

    told.__name__ = test.__name__
    return told


@story
async def test_a_short_run_is_known_long_before_a_poll_interval_is_over() -> None:
    place = Place(runs={"a": (0.1, 0.9)})
    poller = place.poller()
    at, end = await to_the_end(poller, ref("a"))
    assert end is DONE
    assert at < 0.9 + 1.0
    await poller.close()


@story
async def test_a_long_run_is_read_once_per_interval() -> None:
    place = Place(runs={"a": (0.0, 100.0)})
    poller = place.poller()
    at, _ = await to_the_end(poller, ref("a"))
    assert 100 <= at <= 103.1
    assert len(place.calls) < 42
    await poller.close()


@story
async def test_several_observers_share_the_reads() -> None:
    place = Place(runs={"a": (0.0, 30.0)})
    poller = place.poller()
    ends = await asyncio.gather(*(to_the_end(poller, ref("a")) for _ in range(5)))
    assert {end.state for _, end in ends} == {State.succeeded}
    assert len(place.calls) < 16
    await poller.close()


@story
async def test_a_snapshot_comes_only_when_something_is_new() -> None:
    place = Place(runs={"a": (10.0, 15.0)})
    poller = place.poller()
    heard: list[tuple[float, Snapshot]] = []
    await to_the_end(poller, ref("a"), heard)
    assert [seen.state for _, seen in heard] == [State.queued, State.running, State.succeeded]
    await poller.close()


@story
async def test_an_observation_ends_after_its_interval() -> None:
    place = Place(runs={"a": (500.0, 600.0)})
    poller = place.poller()
    seen = await poller.observe(ref("a"), None, asyncio.Event())
    began = now()
    assert await poller.observe(ref("a"), seen, asyncio.Event()) is not None
    assert now() - began == pytest.approx(20.0, abs=0.1)
    await poller.close()


@story
async def test_two_thousand_waiting_never_exceed_the_budget_and_running_ones_keep_their_pace() -> None:
    runs = {f"q{number}": (1e6, 1e6) for number in range(2_000)} | {
        f"r{number}": (0.0, 120.0 + number) for number in range(20)
    }
    place = Place(runs=runs)
    poller = place.poller(limits=Limits(image=1e9, queue=1e9))
    running = [asyncio.create_task(to_the_end(poller, ref(f"r{number}"))) for number in range(20)]
    waiting = [asyncio.create_task(to_the_end(poller, ref(f"q{number}"))) for number in range(2_000)]
    ends = await asyncio.gather(*running)
    times = [at for at, _ in place.calls]
    assert all(later - sooner >= 0.999 for sooner, later in zip(times, times[20:], strict=False))
    assert len(times) / now() > 15  # what is left is not wasted
    late = [at - (120.0 + number) for number, (at, _) in enumerate(ends)]
    assert max(late) <= 3.5
    for number in range(20):
        own = place.times(f"r{number}")[4:]
        assert max(later - sooner for sooner, later in pairwise(own)) <= 3.5
    reads = Counter(name for _, name in place.calls if name.startswith("q"))
    assert len(reads) > 600  # nobody is forgotten
    assert reads["q0"] > 5 * max(reads[f"q{number}"] for number in range(500, 2_000))  # the oldest come first
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    await poller.close()


@story
async def test_more_running_ones_than_the_budget_allows_are_read_in_turn() -> None:
    place = Place(runs={f"r{number}": (0.0, 60.0) for number in range(300)})
    poller = place.poller(limits=Limits(image=1e9))
    ends = await asyncio.gather(*(to_the_end(poller, ref(f"r{number}")) for number in range(300)))
    assert max(at for at, _ in ends) < 60 + 300 / 16 + 3.5
    await poller.close()


@story
async def test_who_is_woken_is_read_at_once_while_the_budget_is_used_up() -> None:
    place = Place(runs={f"q{number}": (1e6, 1e6) for number in range(500)} | {"a": (0.0, 50.0)})
    poller = place.poller(limits=Limits(image=1e9, queue=1e9, poll=30.0))
    others = [asyncio.create_task(to_the_end(poller, ref(f"q{number}"))) for number in range(500)]
    seen = await poller.observe(ref("a"), None, asyncio.Event())
    await asyncio.sleep(51.0 - now())
    wake = asyncio.Event()
    observing = asyncio.create_task(poller.observe(ref("a"), seen, wake))
    await asyncio.sleep(0)
    began = now()
    wake.set()
    assert (await observing) is DONE
    assert now() - began < 0.05
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await poller.close()


@story
async def test_a_wake_brings_an_answer_although_the_place_is_slow() -> None:
    place = Place(runs={"a": (0.0, 50.0)})
    poller = place.poller()
    seen = await poller.observe(ref("a"), None, asyncio.Event())
    place.latency = 15.0
    wake = asyncio.Event()
    wake.set()
    began = now()
    assert await poller.observe(ref("a"), seen, wake) is seen
    assert now() - began < 1.0
    await poller.close()


@story
async def test_the_places_counters_say_whom_to_read_first() -> None:
    def runs() -> dict[str, tuple[float, float]]:
        return {f"q{number}": (30.0 + number, 45.0 + number) for number in range(1_000)}

    async def heard_running(hints: bool) -> list[float]:
        place = Place(runs=runs())
        poller = place.poller(limits=Limits(queue=1e9), hints=hints)
        begun = now()
        place.runs = {name: (a + begun, b + begun) for name, (a, b) in place.runs.items()}
        heard: dict[str, list[tuple[float, Snapshot]]] = {name: [] for name in place.runs}
        tasks = [asyncio.create_task(to_the_end(poller, ref(name), heard[name])) for name in place.runs]
        await asyncio.gather(*tasks[:60])
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await poller.close()
        late = []
        for number in range(60):
            at = next(at for at, seen in heard[f"q{number}"] if seen.state is not State.queued)
            late.append(at - place.runs[f"q{number}"][0])
        return sorted(late)

    plain, hinted = await heard_running(hints=False), await heard_running(hints=True)
    assert hinted[30] <= 1.6
    assert hinted[30] < plain[30]


@story
async def test_broken_connections_are_retried_with_growing_pauses_and_told_to_nobody() -> None:
    place = Place(runs={"a": (0.0, 100.0)})
    poller = place.poller()
    seen = await poller.observe(ref("a"), None, asyncio.Event())
    place.trouble = lambda name: aiohttp.ServerDisconnectedError()
    calls = len(place.calls)
    assert await poller.observe(ref("a"), seen, asyncio.Event()) is seen
    assert 2 <= len(place.calls) - calls <= 8
    place.trouble = lambda name: None
    assert (await to_the_end(poller, ref("a")))[1] is DONE
    await poller.close()


@story
async def test_a_place_that_is_away_is_asked_by_one_run_not_by_all() -> None:
    place = Place(runs={f"a{number}": (0.0, 1e6) for number in range(200)})
    poller = place.poller(limits=Limits(image=1e9))
    place.trouble = lambda name: aiohttp.ServerDisconnectedError()
    tasks = [asyncio.create_task(to_the_end(poller, ref(name))) for name in place.runs]
    await asyncio.sleep(19.0)
    assert len(place.calls) < 60
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await poller.close()


@story
async def test_a_place_that_says_when_to_come_back_is_left_alone_until_then() -> None:
    place = Place(runs={"a": (0.0, 50.0), "b": (0.0, 50.0)})
    poller = place.poller()
    busy = GenyardError(Code.provider_busy, "its rate limit", context={"retry_after": 30})
    place.trouble = lambda name: busy if 0.1 < now() < 2 else None
    await asyncio.gather(to_the_end(poller, ref("a")), to_the_end(poller, ref("b")))
    assert not [at for at, _ in place.calls if 1.0 < at < 30]
    await poller.close()


@story
async def test_where_nothing_was_ever_read_the_failure_is_an_unreachable_place() -> None:
    place = Place(runs={"a": (0.0, 50.0)})
    place.trouble = lambda name: GenyardError(Code.provider_busy, "its rate limit")
    poller = place.poller()
    with pytest.raises(GenyardError) as away:
        await poller.observe(ref("a"), None, asyncio.Event())
    assert away.value.code is Code.provider_unreachable  # busy or failed would mean: submit it again
    await poller.close()


@story
async def test_a_refusal_is_told_at_once() -> None:
    place = Place(runs={"a": (0.0, 50.0)})
    place.trouble = lambda name: GenyardError(Code.provider_rejected, "the key")
    poller = place.poller()
    with pytest.raises(GenyardError) as told:
        await poller.observe(ref("a"), None, asyncio.Event())
    assert told.value.code is Code.provider_rejected
    assert now() < 1
    await poller.close()


@story
async def test_a_defect_in_reading_does_not_leave_observers_waiting() -> None:
    place = Place(runs={"a": (0.0, 50.0)})
    place.trouble = lambda name: KeyError("status")
    poller = place.poller()
    with pytest.raises(GenyardError) as told:
        await poller.observe(ref("a"), None, asyncio.Event())
    assert told.value.code is Code.internal
    await poller.close()


@story
async def test_silence_for_too_long_means_lost() -> None:
    place = Place(runs={"a": (0.0, 5_000.0)})
    poller = place.poller(limits=Limits(image=1e9))
    await poller.observe(ref("a"), None, asyncio.Event())
    place.trouble = lambda name: aiohttp.ServerDisconnectedError()
    at, end = await to_the_end(poller, ref("a"))
    assert end.state is State.lost
    assert end.error is not None
    assert end.error.code is Code.provider_lost
    assert 900 < at < 960
    await poller.close()


@story
async def test_a_run_over_its_time_is_stopped_and_its_cost_kept() -> None:
    place = Place(runs={"image": (0.0, 5_000.0), "film": (0.0, 5_000.0)})
    poller = place.poller()
    (image_at, image), (film_at, film) = await asyncio.gather(
        to_the_end(poller, ref("image")), to_the_end(poller, ref("film", video=True))
    )
    for end in (image, film):
        assert end.state is State.failed
        assert end.error is not None
        assert end.error.code is Code.provider_timeout
        assert end.cost == Cost(usd=0.5, source="computed")
    assert 200 <= image_at <= 201
    assert 400 <= film_at <= 401
    assert set(place.stopped) == {"image", "film"}
    await poller.close()


@story
async def test_a_run_that_ends_while_it_is_being_stopped_has_ended() -> None:
    place = Place(runs={"a": (0.0, 200.0)})
    poller = place.poller(limits=Limits(image=199.99))
    assert (await to_the_end(poller, ref("a")))[1] is DONE
    await poller.close()


@story
async def test_waiting_too_long_is_no_capacity_and_says_why() -> None:
    place = Place(runs={"a": (5_000.0, 6_000.0)})
    poller = place.poller()
    plain = place.state

    def throttled(name: str) -> Snapshot:
        seen = plain(name)
        return Snapshot(state=seen.state, detail="no GPU free") if seen is QUEUED else seen

    place.state = throttled  # type: ignore[method-assign]
    at, end = await to_the_end(poller, ref("a"))
    assert end.state is State.failed
    assert end.error is not None
    assert end.error.code is Code.provider_no_capacity
    assert "no GPU free" in end.error.message
    assert 1800 <= at <= 1801
    await poller.close()


@story
async def test_time_in_the_queue_does_not_count_as_execution() -> None:
    place = Place(runs={"a": (300.0, 450.0)})
    poller = place.poller()
    assert (await to_the_end(poller, ref("a")))[1] is DONE
    await poller.close()


@story
async def test_nobody_observes_nobody_is_read() -> None:
    place = Place(runs={"a": (0.0, 1e6)})
    poller = place.poller()
    await poller.observe(ref("a"), None, asyncio.Event())
    calls = len(place.calls)
    await asyncio.sleep(600)
    assert len(place.calls) == calls
    await poller.close()


@story
async def test_a_waiting_run_takes_few_bytes() -> None:
    place = Place(runs={f"q{number}": (1e6, 1e6) for number in range(2_000)})
    poller = place.poller(limits=Limits(queue=1e9))
    refs = [ref(name) for name in place.runs]
    tracemalloc.start()
    bare = [asyncio.create_task(asyncio.Event().wait()) for _ in refs]
    await asyncio.sleep(1)
    idle = tracemalloc.get_traced_memory()[0]
    tasks = [asyncio.create_task(poller.observe(of, QUEUED, asyncio.Event())) for of in refs]
    await asyncio.sleep(1)
    taken = tracemalloc.get_traced_memory()[0] - idle
    tracemalloc.stop()
    for task in (*bare, *tasks):
        task.cancel()
    await asyncio.gather(*bare, *tasks, return_exceptions=True)
    assert (taken - idle) / 2_000 < 2_048
    await poller.close()
