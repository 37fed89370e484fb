"""The pytest plugin: fixtures around the emulators. Imports stay inside them, so that loading it is free.

    async def test_mine(comfyui_emulator):
        provider = ComfyUIProvider(url=comfyui_emulator.url)

For each of comfyui, runpod, scenario and replicate there are two: `<place>_emulator` is one that runs, and
`<place>_emulator_factory` starts them with other arguments (`await scenario_emulator_factory(units=10)`). Both end with
the test. `docs/howto/test-with-emulators.md` shows them at work.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from importlib import import_module
from typing import Any

import pytest

try:
    import pytest_asyncio
except ImportError:  # without pytest-asyncio the fixtures do not exist; pytest itself must go on
    pytest_asyncio = None  # type: ignore[assignment]

pytest.register_assert_rewrite("genyard.testing.contract")

#: Starts one more emulator, which ends with the test.
Factory = Callable[..., Awaitable[Any]]


def _fixture(function: Callable[..., Any], name: str, told: str) -> Any:
    function.__doc__ = told
    made: Any = pytest.fixture if pytest_asyncio is None else pytest_asyncio.fixture
    return made(name=name)(function)


def _fixtures(place: str, title: str) -> tuple[Any, Any]:
    """The emulator's class is `genyard.testing.<place>.<Title>Emulator`."""

    def emulator(**arguments: Any) -> Any:
        return getattr(import_module(f"genyard.testing.{place}"), f"{title}Emulator")(**arguments)

    async def factory() -> AsyncIterator[Factory]:
        async with AsyncExitStack() as stack:

            async def start(**arguments: Any) -> Any:
                return await stack.enter_async_context(emulator(**arguments))

            yield start

    async def one() -> AsyncIterator[Any]:
        async with emulator() as server:
            yield server

    return (
        _fixture(factory, f"{place}_emulator_factory", f"Starts emulators of {title} with other arguments."),
        _fixture(one, f"{place}_emulator", f"A running emulator of {title}, as it is by default."),
    )


comfyui_emulator_factory, comfyui_emulator = _fixtures("comfyui", "ComfyUI")
runpod_emulator_factory, runpod_emulator = _fixtures("runpod", "RunPod")
scenario_emulator_factory, scenario_emulator = _fixtures("scenario", "Scenario")
replicate_emulator_factory, replicate_emulator = _fixtures("replicate", "Replicate")
