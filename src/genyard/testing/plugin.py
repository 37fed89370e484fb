"""The pytest plugin: fixtures around the emulators. Imports stay inside them, so that loading it is free.

    async def test_mine(comfyui_emulator):
        provider = ComfyUIProvider(url=comfyui_emulator.url)

`comfyui_emulator_factory(...)` starts emulators with other arguments; both end with the test.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, TypeVar, cast

import pytest

try:
    import pytest_asyncio
except ImportError:  # without pytest-asyncio the fixtures do not exist; pytest itself must go on
    pytest_asyncio = None  # type: ignore[assignment]

pytest.register_assert_rewrite("genyard.testing.contract")

Fixture = TypeVar("Fixture", bound=Callable[..., Any])

if TYPE_CHECKING:
    from genyard.testing.comfyui import ComfyUIEmulator

    EmulatorFactory = Callable[..., Awaitable[ComfyUIEmulator]]


def fixture(function: Fixture) -> Fixture:
    made: Any = pytest.fixture if pytest_asyncio is None else pytest_asyncio.fixture
    return cast("Fixture", made(function))


@fixture
async def comfyui_emulator_factory() -> AsyncIterator[EmulatorFactory]:
    """Starts emulators: `server = await comfyui_emulator_factory(version="0.3.64")`."""
    from genyard.testing.comfyui import ComfyUIEmulator

    async with AsyncExitStack() as stack:

        async def start(**arguments: Any) -> ComfyUIEmulator:
            return await stack.enter_async_context(ComfyUIEmulator(**arguments))

        yield start


@fixture
async def comfyui_emulator(comfyui_emulator_factory: EmulatorFactory) -> ComfyUIEmulator:
    """A running emulator of ComfyUI 0.33 with every model file that the templates name."""
    return await comfyui_emulator_factory()
