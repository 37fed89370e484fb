"""`make chaos`: the whole matrix, several kinds of places at a time, and the page that tells what came of it.

python -m chaos.matrix [--fault kill,freeze] [--kind "comfyui 0.33.0"] [--only "jobs.claim before"] [--lanes 4]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from chaos.cases import Case, Fault, cases
from chaos.kinds import KINDS
from chaos.page import render
from chaos.tally import Result
from chaos.trial import open_lane
from genyard.database._embedded import EmbeddedServer
from support.embedded import embedded_server

Tell = Callable[[Result, int, int], None]


async def run_all(groups: Sequence[Sequence[Case]], lanes: int, tell: Tell) -> list[Result]:
    """`lanes` kinds of places at a time, each with a server of its own."""
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent.parent), *sys.path])  # noqa: TID251
    queue: asyncio.Queue[Sequence[Case]] = asyncio.Queue()
    for group in groups:
        queue.put_nowait(group)
    results: list[Result] = []
    total = sum(len(group) for group in groups)

    async def lane(server: EmbeddedServer, folder: Path) -> None:
        number = 0
        while not queue.empty():
            group = queue.get_nowait()
            number += 1
            async with open_lane(group[0].kind, server, folder / f"lane{number}") as open_:
                for case in group:
                    result = await open_.run(case)
                    results.append(result)
                    tell(result, len(results), total)

    async with contextlib.AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(embedded_server()) for _ in range(min(lanes, len(groups)))]
        await asyncio.gather(*(lane(*one) for one in servers))
    return results


def _say(result: Result, number: int, total: int) -> None:
    mark = "✓" if result.good else "✗"
    print(f"{mark} {number}/{total} {result.case}  {result.seconds:.1f} s  {result.tally or ''}", flush=True)
    if result.problem:
        print(f"    {result.problem}", flush=True)


def main() -> int:
    options = argparse.ArgumentParser()
    options.add_argument("--fault", default=",".join(Fault))
    options.add_argument("--kind", default=",".join(KINDS))
    options.add_argument("--only", default="")
    options.add_argument("--stage", type=int, default=None, help="only this one of the two")
    options.add_argument("--every", type=int, default=1, help="every Nth case alone")
    options.add_argument("--page", default="", help="where to write what came of it")
    options.add_argument("--lanes", type=int, default=4)
    given = options.parse_args()
    groups = [
        [
            case
            for case in cases(KINDS[kind], Fault(fault))
            if given.only in str(case) and given.stage in (None, case.stage)
        ]
        for fault in given.fault.split(",")
        for kind in given.kind.split(",")
    ]
    if given.every > 1:
        chosen = {id(case) for case in [case for group in groups for case in group][:: given.every]}
        groups = [[case for case in group if id(case) in chosen] for group in groups]
    began = time.monotonic()
    results = asyncio.run(run_all([group for group in groups if group], given.lanes, _say))
    if given.page:
        Path(given.page).write_text(render(results, time.monotonic() - began))
    bad = [one for one in results if not one.good]
    counted = Counter[str]()
    for one in results:
        if one.tally is not None:
            counted.update(
                runs=one.tally.runs,
                entries=one.tally.entries,
                outputs=one.tally.outputs,
                orphans=one.tally.orphans,
            )
    print(f"\n{len(results)} cases, {len(bad)} bad, {dict(counted)}, {time.monotonic() - began:.0f} s")
    for one in bad:
        print(f"✗ {one.case}\n    {one.problem}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
