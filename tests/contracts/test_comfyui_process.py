"""The emulator as a process of its own, and the fixtures that the pytest plugin gives to other projects."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from genyard.providers import State
from genyard.testing.comfyui import ComfyUIEmulator
from genyard.testing.comfyui.bench import ComfyUIBench
from genyard.testing.contract import Sample, Table


@pytest.fixture
async def process() -> AsyncIterator[asyncio.subprocess.Process]:
    started = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "genyard.testing.comfyui", stdout=asyncio.subprocess.PIPE
    )
    yield started
    if started.returncode is None:
        started.kill()
    await started.wait()


async def url_of(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    async with asyncio.timeout(20):
        return (await process.stdout.readline()).decode().strip()


async def test_a_run_on_a_process(process: asyncio.subprocess.Process) -> None:
    url = await url_of(process)
    bench = ComfyUIBench(url=url)
    table = Table(bench=bench, provider=bench.provider(), patience=20)
    async with aiohttp.ClientSession() as session:
        fault = [{"kind": "hide_history", "times": 2}]
        await (await session.post(f"{url}/_emulator/faults", json=fault)).read()
        assert (await table.end(await table.submit(Sample.quick))).state is State.succeeded
        counts: Any = await (await session.get(f"{url}/_emulator/counts")).json()
    await bench.close()
    assert counts["total_runs"] == 1


async def test_a_process_that_is_killed(process: asyncio.subprocess.Process) -> None:
    bench = ComfyUIBench(url=await url_of(process))
    provider = bench.provider()
    assert (await provider.check()).reachable
    process.kill()
    await process.wait()
    assert not (await provider.check()).reachable
    await bench.close()


async def test_the_fixture(comfyui_emulator: ComfyUIEmulator) -> None:
    bench = ComfyUIBench(url=comfyui_emulator.url, server=comfyui_emulator)
    table = Table(bench=bench, provider=bench.provider(), patience=20)
    assert (await table.end(await table.submit(Sample.quick))).state is State.succeeded
    await bench.close()
    assert comfyui_emulator.counts.total_runs == 1


async def test_the_factory(comfyui_emulator_factory: Any) -> None:
    old = await comfyui_emulator_factory(version="0.3.64")
    bench = ComfyUIBench(url=old.url)
    assert (await bench.provider().check()).version == "0.3.64"
    await bench.close()


async def test_loading_the_plugin_imports_nothing_heavy() -> None:
    code = (
        "import sys, genyard.testing.plugin as p; "
        "heavy = {'aiohttp', 'numpy', 'av', 'cv2', 'PIL'} & set(sys.modules); assert not heavy, heavy"
    )
    ran = await asyncio.create_subprocess_exec(sys.executable, "-c", code)
    assert await ran.wait() == 0
