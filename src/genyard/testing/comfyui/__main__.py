"""`python -m genyard.testing.comfyui --port 8188`: the emulator as a process, for benches and kill tests."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

from genyard.testing.comfyui.server import ComfyUIEmulator


async def main(arguments: argparse.Namespace) -> None:
    async with ComfyUIEmulator(
        port=arguments.port,
        version=arguments.version,
        step_seconds=arguments.step_seconds,
        root=arguments.root,
    ) as server:
        sys.stdout.write(f"{server.url}\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m genyard.testing.comfyui", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0: any free one; the URL is printed")
    parser.add_argument("--version", choices=["0.33.0", "0.3.64"], default="0.33.0")
    parser.add_argument("--step-seconds", type=float, default=0.0, help="how long a sampler step takes")
    parser.add_argument("--root", type=Path, default=None, help="folder for input/, output/, temp/")
    return parser.parse_args()


if __name__ == "__main__":
    try:
        asyncio.run(main(parse()))
    except KeyboardInterrupt:
        sys.exit(0)
