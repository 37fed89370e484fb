"""`python -m genyard.testing.replicate --port 8125`: the emulator as a process; prints what to put into `.env`."""

from __future__ import annotations

import argparse
import asyncio
import sys

from genyard.testing.replicate.server import ReplicateEmulator


async def main(arguments: argparse.Namespace) -> None:
    async with ReplicateEmulator(
        port=arguments.port,
        starting_seconds=arguments.starting_seconds,
        run_seconds=arguments.run_seconds,
        creates_per_minute=arguments.creates_per_minute,
    ) as server:
        sys.stdout.write("\n".join(environment(server)) + "\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


def environment(server: ReplicateEmulator) -> list[str]:
    """The address first, then the lines of an `.env` that uses it."""
    return [
        server.url,
        f"REPLICATE_API_TOKEN={server.key}",
        f"REPLICATE_BASE_URL={server.base_url}",
    ]


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m genyard.testing.replicate", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0: any free one; the URL is printed")
    parser.add_argument("--starting-seconds", type=float, default=0.2, help="how long a prediction waits")
    parser.add_argument("--run-seconds", type=float, default=0.5, help="how long it runs")
    parser.add_argument("--creates-per-minute", type=int, default=600)
    return parser.parse_args()


if __name__ == "__main__":
    try:
        asyncio.run(main(parse()))
    except KeyboardInterrupt:
        sys.exit(0)
