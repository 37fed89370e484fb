"""What is asked while runs wait at a ComfyUI server, and what wakes whoever waits for news of them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from genyard.providers import Ref, Snapshot, State
from genyard.providers._http import Http, Place, Timeouts
from genyard.providers.comfyui import ComfyUIProvider
from genyard.providers.comfyui.watching import Watch
from genyard.providers.comfyui.wire import Wire
from genyard.testing.comfyui import ComfyUIEmulator, FaultKind
from genyard.testing.comfyui.bench import ComfyUIBench, chain, emulated, own_step

RECORDED = Path(__file__).parent / "recordings" / "comfyui-0.33"
LIGHT, FULL = "GET /jobs", "GET /queue"


@pytest.fixture
async def bench() -> AsyncIterator[ComfyUIBench]:
    async with emulated() as made:
        yield made


@pytest.fixture
async def old_bench() -> AsyncIterator[ComfyUIBench]:
    async with emulated(version="0.3.64") as made:
        yield made


def server_of(bench: ComfyUIBench) -> ComfyUIEmulator:
    assert bench.server is not None
    return bench.server


@pytest.fixture
async def wire(bench: ComfyUIBench) -> AsyncIterator[Wire]:
    place = Place(title="ComfyUI", url=bench.url, url_setting="URL", key_setting="KEY")
    http = Http(place, Timeouts())
    yield Wire(http)
    await http.close()


async def submitted(bench: ComfyUIBench) -> tuple[ComfyUIProvider, Ref]:
    provider = bench.provider()
    assert isinstance(provider, ComfyUIProvider)
    plan = provider.compile([own_step(chain(("ImageInvert", {})))], None)
    return provider, await provider.submit(plan, uuid4(), {})


async def busy(server: ComfyUIEmulator, wire: Wire, *numbers: float, **extra_data: Any) -> None:
    """One prompt that hangs, and one that waits for each number."""
    server.faults.add(FaultKind.hang, node="ImageInvert", times=None)
    for number in (-9e9, *numbers):
        await wire.prompt({"prompt": chain(("ImageInvert", {})), "number": number, "extra_data": extra_data})
        await server.until_running("ImageInvert")


async def seen_in_line(bench: ComfyUIBench) -> Snapshot:
    """What a second run is told, behind one that hangs."""
    server_of(bench).faults.add(FaultKind.hang, node="ImageInvert", times=None)
    await submitted(bench)
    await server_of(bench).until_running("ImageInvert")
    provider, ref = await submitted(bench)
    told: Snapshot | None = None
    while told is None or told.detail is None:
        told = await provider.observe(ref, told, asyncio.Event())
    return told


class TestWhatIsAsked:
    async def test_the_list_without_the_graphs(self, bench: ComfyUIBench) -> None:
        told = await seen_in_line(bench)
        assert (told.state, told.detail) == (State.queued, "next in the queue")
        requests = server_of(bench).counts.requests
        assert requests[LIGHT] > 0
        assert requests[FULL] == 0

    async def test_an_old_server_is_asked_for_it_once(self, old_bench: ComfyUIBench) -> None:
        told = await seen_in_line(old_bench)
        assert (told.state, told.detail) == (State.queued, "next in the queue")
        requests = server_of(old_bench).counts.requests
        assert requests[LIGHT] <= 2  # one by each of the two providers
        assert requests[FULL] > 0

    async def test_both_lists_tell_the_same(self, bench: ComfyUIBench, wire: Wire) -> None:
        await busy(server_of(bench), wire, 42, 43, -45, 44, -1000.5, 42, 46)
        full, light = await wire.queue(), await wire.line()
        assert light == replace(full, extra={})
        assert list(light.waiting.values()) == [1, 2, 3, 4, 5, 6, 7]
        assert len(light.running) == 1

    async def test_the_recorded_lists_tell_the_same(self, bench: ComfyUIBench, wire: Wire) -> None:
        """Both were read from a real server at one moment."""
        for route, name in ((LIGHT, "api_jobs_busy"), (FULL, "queue_busy")):
            body = json.dumps(json.loads((RECORDED / f"{name}.json").read_text())["body"])
            server_of(bench).faults.add(
                FaultKind.answer, route=route, status=200, body=body, content_type="application/json"
            )
        assert await wire.line() == replace(await wire.queue(), extra={})

    async def test_an_odd_prompt_that_breaks_the_light_list(self, bench: ComfyUIBench, wire: Wire) -> None:
        """ComfyUI looks into everybody's `extra_pnginfo`, and answers 500 where it is not as it expects."""
        server = server_of(bench)
        await busy(server, wire, 1, 2, extra_pnginfo=None)
        assert await wire.line() == replace(await wire.queue(), extra={})
        assert server.counts.requests[LIGHT] == 1
        assert wire.has_jobs

    @pytest.mark.parametrize(
        "body",
        [
            '{"jobs": [], "pagination": {"has_more": true}}',
            '{"jobs": []}',
            '{"jobs": [{"id": "1", "status": "pending"}], "pagination": {"has_more": false}}',
            "<html>an app that answers everything</html>",
        ],
    )
    async def test_a_list_that_is_not_all_of_it(self, bench: ComfyUIBench, wire: Wire, body: str) -> None:
        server = server_of(bench)
        await busy(server, wire, 1)
        server.faults.add(FaultKind.answer, route=LIGHT, status=200, body=body)
        line = await wire.line()
        assert (len(line.running), len(line.waiting)) == (1, 1)


def a_watch() -> Watch:
    return Watch(prompt_id="1", expected=(), video=False, ours=True, known_at=0.0)


def waiting(watch: Watch, wake: asyncio.Event | None = None, seconds: float = 3600) -> asyncio.Task[None]:
    return asyncio.create_task(watch.wait(wake or asyncio.Event(), seconds))


async def ends(task: asyncio.Task[None]) -> None:
    """Fails, instead of hanging, when a wake-up got lost."""
    await asyncio.wait_for(task, 10)


async def rounds(number: int) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


class TestWhatWakes:
    @pytest.mark.parametrize("pause", range(1, 6))
    async def test_news(self, pause: int) -> None:
        """In whatever round of the loop they come after somebody began to wait."""
        watch = a_watch()
        task = waiting(watch)
        await rounds(pause)
        watch.touch(1.0)
        await ends(task)

    @pytest.mark.parametrize("pause", range(6))
    async def test_the_runner(self, pause: int) -> None:
        wake = asyncio.Event()
        task = waiting(a_watch(), wake)
        await rounds(pause)
        wake.set()
        await ends(task)

    async def test_a_runner_who_wanted_it_before(self) -> None:
        wake = asyncio.Event()
        wake.set()
        await ends(waiting(a_watch(), wake))

    @pytest.mark.parametrize("pause", range(4))
    async def test_news_twice_and_the_runner(self, pause: int) -> None:
        watch, wake = a_watch(), asyncio.Event()
        task = waiting(watch, wake)
        await rounds(1)
        watch.touch(1.0)
        await rounds(pause)
        watch.touch(2.0)
        wake.set()
        await ends(task)
        assert wake.is_set()

    @pytest.mark.parametrize("pause", range(4))
    async def test_news_when_the_time_is_over(self, pause: int) -> None:
        watch = a_watch()
        task = waiting(watch, seconds=0)
        await rounds(pause)
        watch.touch(1.0)
        await ends(task)

    async def test_all_who_wait_for_the_same_run(self) -> None:
        watch = a_watch()
        tasks = [waiting(watch) for _ in range(3)]
        await rounds(1)
        watch.touch(1.0)
        for task in tasks:
            await ends(task)

    async def test_who_waits_again_is_woken_again(self) -> None:
        watch, seen = a_watch(), 0

        async def look() -> None:
            nonlocal seen
            for _ in range(5):
                await watch.wait(asyncio.Event(), 3600)
                seen += 1

        task = asyncio.create_task(look())
        for number in range(1, 6):
            await rounds(5)
            watch.touch(1.0)
            await rounds(5)
            assert seen == number
        await ends(task)

    @pytest.mark.parametrize("pause", range(4))
    async def test_a_cancellation_is_never_taken_for_news(self, pause: int) -> None:
        watch = a_watch()
        task = waiting(watch)
        await rounds(1)
        watch.touch(1.0)
        await rounds(pause)
        if task.cancel():
            with pytest.raises(asyncio.CancelledError):
                await task
        else:
            await ends(task)

    async def test_nobody_is_remembered_who_does_not_wait(self) -> None:
        watch = a_watch()
        task = waiting(watch)
        await rounds(1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        watch.touch(1.0)
        await rounds(2)
        await ends(waiting(watch, seconds=0))


@pytest.mark.parametrize("pause", [0, 1, 2, 5, 50])
async def test_an_observation_ends_when_the_runner_wants_it(bench: ComfyUIBench, pause: int) -> None:
    told = await seen_in_line(bench)
    provider, ref = await submitted(bench)
    wake = asyncio.Event()
    task = asyncio.create_task(provider.observe(ref, told, wake))
    await rounds(pause)
    wake.set()
    assert (await asyncio.wait_for(task, 10)).state is State.queued
