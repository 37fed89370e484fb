"""python -m soak [--jobs 10400] [--seed 1] [--report docs/explanation/soak.md]

Exit status 1 where a promise was not kept.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

from soak.plan import make_plan
from soak.report import said, written
from soak.soaking import Soak
from soak.world import Setting
from support.embedded import fresh_folder


async def main(options: argparse.Namespace) -> int:
    plan = make_plan(options.seed, options.jobs, troubles=not options.quiet)
    with fresh_folder() as place:
        soak = Soak(
            plan=plan,
            folder=place,
            setting=Setting(workers=options.workers),
            most_open=options.open,
            most_seconds=options.minutes * 60,
            tells=True,
        )
        try:
            result = await soak.run()
        finally:
            if options.keep:
                for log in place.glob("*.log"):
                    (options.keep / log.name).write_bytes(log.read_bytes())
        print(said(result))
        if options.report:
            options.report.write_text(written(result))
    return 0 if result.findings.clean else 1


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m soak", description=__doc__)
    parser.add_argument(
        "--jobs", type=int, default=10_400, help="orders; a few are refused for want of credits"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=3, help="beside the one of the API")
    parser.add_argument("--open", type=int, default=300, help="jobs that may be open at once")
    parser.add_argument(
        "--minutes", type=float, default=float("inf"), help="after which nothing more is ordered"
    )
    parser.add_argument("--quiet", action="store_true", help="without any trouble")
    parser.add_argument("--report", type=Path, help="where to write the report")
    parser.add_argument("--keep", type=Path, help="where to keep the logs")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(asyncio.run(main(parse())))
