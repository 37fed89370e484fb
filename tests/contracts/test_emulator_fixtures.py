"""What genyard ships for people who build on it: the plugin's fixtures, and the emulators as processes."""

from __future__ import annotations

import asyncio
import re
import sys
import textwrap
from pathlib import Path
from typing import Any

import aiohttp
import pytest

pytest_plugins = ["pytester"]

INI = """[pytest]
asyncio_mode = auto
asyncio_default_fixture_loop_scope = function
filterwarnings = error
"""
HOWTO = Path(__file__).parents[2] / "docs" / "howto" / "test-with-emulators.md"


async def test_each_place_has_a_running_emulator(
    comfyui_emulator: Any, runpod_emulator: Any, scenario_emulator: Any, replicate_emulator: Any
) -> None:
    async with aiohttp.ClientSession() as session:
        for server in (comfyui_emulator, runpod_emulator, scenario_emulator, replicate_emulator):
            async with session.get(server.url + "/_emulator/counts") as answer:
                assert answer.status == 200


async def test_factories_start_as_many_as_wanted_with_other_arguments(
    comfyui_emulator_factory: Any,
    runpod_emulator_factory: Any,
    scenario_emulator_factory: Any,
    replicate_emulator_factory: Any,
) -> None:
    servers = [
        await comfyui_emulator_factory(version="0.3.64"),
        await runpod_emulator_factory(key="mine"),
        await scenario_emulator_factory(key="mine"),
        await scenario_emulator_factory(key="yours"),
        await replicate_emulator_factory(key="mine"),
    ]
    assert [one.key for one in servers[1:]] == ["mine", "mine", "yours", "mine"]
    assert len({one.port for one in servers}) == len(servers)


@pytest.mark.parametrize(
    ("place", "names"),
    [
        ("scenario", ["SCENARIO_API_KEY", "SCENARIO_SECRET_API_KEY", "SCENARIO_BASE_URL"]),
        ("replicate", ["REPLICATE_API_TOKEN", "REPLICATE_BASE_URL"]),
    ],
)
async def test_an_emulator_is_a_process_that_prints_its_environment(place: str, names: list[str]) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", f"genyard.testing.{place}", "--port", "0", stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(30):
            lines = [(await process.stdout.readline()).decode().strip() for _ in range(1 + len(names))]
        url, told = lines[0], dict(line.split("=", 1) for line in lines[1:])
        assert list(told) == names
        assert told[f"{place.upper()}_BASE_URL"] == f"{url}/v1"
        async with aiohttp.ClientSession() as session:
            faults = [{"kind": "answer", "status": 418, "route": "GET /v1/models"}]
            assert (await session.post(url + "/_emulator/faults", json=faults)).status == 200
            key = {"Authorization": f"Bearer {told.get('REPLICATE_API_TOKEN')}"}
            if place == "scenario":
                key = {"Authorization": aiohttp.encode_basic_auth(*list(told.values())[:2])}
            assert (await session.get(f"{url}/v1/models", headers=key)).status == 418
            assert (await session.get(f"{url}/v1/models", headers=key)).status == 200
            faults = [{**faults[0], "times": None}]
            assert (await session.post(url + "/_emulator/faults", json=faults)).status == 200
            assert (await session.delete(url + "/_emulator/faults?kind=answer")).status == 200
            assert (await session.get(f"{url}/v1/models", headers=key)).status == 200
            assert (await (await session.get(url + "/_emulator/counts")).json())["struck"] == {"answer": 1}
    finally:
        process.kill()
        await process.wait()


@pytest.mark.long
def test_the_example_of_the_how_to_passes(pytester: pytest.Pytester) -> None:
    """As somebody else's test file, with genyard installed and nothing else."""
    blocks = re.findall(r"```python\n(.*?)```", HOWTO.read_text(), re.DOTALL)
    assert len(blocks) >= 2
    pytester.makeini(INI)
    pytester.makepyfile(textwrap.dedent("\n".join(blocks)))
    result = pytester.runpytest_subprocess("-q", "-p", "no:cacheprovider")
    result.assert_outcomes(passed=len(re.findall(r"^async def test_", "\n".join(blocks), re.MULTILINE)))
