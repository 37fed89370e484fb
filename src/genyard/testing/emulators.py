"""One emulator of each kind of place at once, and the environment that leads to them.

async with Emulators() as emulators:
    settings = load_settings({**emulators.environment, "IMAGE_GENERATION_PROVIDER": "runpod"})
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any, Self

from genyard.testing.comfyui import ComfyUIEmulator
from genyard.testing.replicate import ReplicateEmulator
from genyard.testing.runpod import RunPodEmulator
from genyard.testing.scenario import ScenarioEmulator


class Emulators:
    """`arguments`: per kind, what its emulator is made with."""

    def __init__(self, **arguments: Mapping[str, Any]) -> None:
        self.comfyui = ComfyUIEmulator(**arguments.get("comfyui", {}))
        self.runpod = RunPodEmulator(**arguments.get("runpod", {}))
        self.scenario = ScenarioEmulator(**arguments.get("scenario", {}))
        self.replicate = ReplicateEmulator(**arguments.get("replicate", {}))
        self._running = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            for emulator in (self.comfyui, self.runpod, self.scenario, self.replicate):
                await stack.enter_async_context(emulator)
            self._running = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._running.aclose()

    @property
    def addresses(self) -> dict[str, str]:
        """Where the job APIs are, in place of the vendors' own."""
        return {
            "RUNPOD_BASE_URL": f"{self.runpod.url}/v2",
            "SCENARIO_BASE_URL": self.scenario.base_url,
            "REPLICATE_BASE_URL": self.replicate.base_url,
        }

    @property
    def environment(self) -> dict[str, str]:
        """Every name of the plans: all places at once."""
        return {
            **self.addresses,
            "COMFYUI_ENDPOINT": self.comfyui.url,
            "RUNPOD_API_KEY": self.runpod.key,
            "RUNPOD_COMFYUI_ENDPOINT_ID": "emu-comfyui",
            "RUNPOD_FLUX_ENDPOINT_ID": "emu-flux",
            "RUNPOD_SDXL_ENDPOINT_ID": "emu-sdxl",
            "RUNPOD_BG_REMOVAL_ENDPOINT_ID": "emu-background",
            "SCENARIO_API_KEY": self.scenario.key,
            "SCENARIO_SECRET_API_KEY": self.scenario.secret,
            "REPLICATE_API_TOKEN": self.replicate.key,
        }
