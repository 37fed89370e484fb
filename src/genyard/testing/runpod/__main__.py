"""`python -m genyard.testing.runpod --port 8189`: the emulated cloud as a process; prints what to put into `.env`."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Mapping
from dataclasses import replace

from genyard.testing.runpod.endpoint import Setup
from genyard.testing.runpod.server import DEFAULT_ENDPOINTS, KEY, RunPodEmulator


async def main(arguments: argparse.Namespace) -> None:
    setups: Mapping[str, Setup] = {
        name: replace(setup, cold_start=arguments.cold_start, work=arguments.work)
        for name, setup in DEFAULT_ENDPOINTS.items()
    }
    comfyui = {"step_seconds": arguments.work / 20}
    async with RunPodEmulator(
        port=arguments.port, key=arguments.key, endpoints=setups, comfyui=comfyui
    ) as server:
        sys.stdout.write("\n".join(environment(server)) + "\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


def environment(server: RunPodEmulator) -> list[str]:
    """The address first, then the lines of an `.env` that uses it."""
    return [
        server.url,
        f"RUNPOD_BASE_URL={server.url}/v2",
        f"RUNPOD_API_KEY={server.key}",
        "RUNPOD_COMFYUI_ENDPOINT_ID=emu-comfyui",
        "RUNPOD_FLUX_ENDPOINT_ID=emu-flux",
        "RUNPOD_SDXL_ENDPOINT_ID=emu-sdxl",
        "RUNPOD_BG_REMOVAL_ENDPOINT_ID=emu-background",
    ]


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m genyard.testing.runpod", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0: any free one; it is printed")
    parser.add_argument("--key", default=KEY, help="the key that callers must send")
    parser.add_argument("--cold-start", type=float, default=0.5, help="seconds until a new worker is ready")
    parser.add_argument("--work", type=float, default=0.2, help="seconds that a model works on a job")
    return parser.parse_args()


if __name__ == "__main__":
    try:
        asyncio.run(main(parse()))
    except KeyboardInterrupt:
        sys.exit(0)
