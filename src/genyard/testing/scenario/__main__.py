"""`python -m genyard.testing.scenario --port 8124`: the emulator as a process; prints what to put into `.env`."""

from __future__ import annotations

import argparse
import asyncio
import sys

from genyard.testing.scenario.server import ScenarioEmulator


async def main(arguments: argparse.Namespace) -> None:
    async with ScenarioEmulator(
        port=arguments.port,
        queue_seconds=arguments.queue_seconds,
        run_seconds=arguments.run_seconds,
        parallel_custom_jobs=arguments.parallel,
        cancels=arguments.cancels,
    ) as server:
        sys.stdout.write("\n".join(environment(server)) + "\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


def environment(server: ScenarioEmulator) -> list[str]:
    """The address first, then the lines of an `.env` that uses it."""
    return [
        server.url,
        f"SCENARIO_API_KEY={server.key}",
        f"SCENARIO_SECRET_API_KEY={server.secret}",
        f"SCENARIO_BASE_URL={server.base_url}",
    ]


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m genyard.testing.scenario", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0: any free one; the URL is printed")
    parser.add_argument("--queue-seconds", type=float, default=0.2, help="how long a job is queued")
    parser.add_argument("--run-seconds", type=float, default=0.5, help="how long it runs")
    parser.add_argument("--parallel", type=int, default=10, help="how many jobs the team may have open")
    parser.add_argument("--cancels", action="store_true", help="custom jobs can be canceled")
    return parser.parse_args()


if __name__ == "__main__":
    try:
        asyncio.run(main(parse()))
    except KeyboardInterrupt:
        sys.exit(0)
