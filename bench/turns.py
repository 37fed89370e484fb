"""Who goes next, under long queues: what a decision costs, and how soon an urgent job starts.

python bench/turns.py [--queued 10000] [--times 200] [--urgent 40]

decision  `genyard_dispatch` in the database, one free place: plain FIFO by priority (what genyard had before turns),
          then turns, with no queue, with a long one of one owner, and with one of as many owners as jobs
urgent    submit → handed to the place, with a worker that is busy with the queue all the time
standing  position and estimate of one queued job, and of a hundred
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from uuid import UUID

from stand import data_folder
from ways import COPIES

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from genyard.app import build, working  # noqa: E402
from genyard.database import Database, open_database  # noqa: E402
from genyard.jobs.store import Jobs  # noqa: E402
from genyard.settings import load_settings  # noqa: E402
from support.queue import Queue  # noqa: E402
from support.scripted import ScriptedProvider  # noqa: E402

REQUEST = {"operation": "txt2img", "parameters": {"prompt": "a red dragon", "width": 64, "height": 64}}


def fifo() -> str:
    """The first version's own, under another name."""
    text = (ROOT / "src/genyard/database/migrations/0001_start.sql").read_text()
    return text[text.index("CREATE FUNCTION genyard_dispatch") :].replace("genyard_dispatch", "fifo_dispatch")


async def milliseconds(
    work: Callable[[], Awaitable[Any]], after: Callable[[], Awaitable[Any]], times: int
) -> float:
    took = []
    for _ in range(times):
        begun = time.perf_counter()
        await work()
        took.append(time.perf_counter() - begun)
        await after()
    return statistics.median(took) * 1e3


async def fill(queue: Queue, owners: int, jobs: int) -> UUID:
    await queue.database.execute("TRUNCATE jobs, stages, turns, procrastinate_jobs CASCADE")
    await queue.database.execute("DELETE FROM owners")
    made = [await queue.owner(str(number)) for number in range(min(owners, 1))]
    await queue.database.execute(
        "INSERT INTO owners (id, name) SELECT gen_random_uuid(), 'o' || n FROM generate_series(2, %(n)s) n",
        n=owners,
    )
    everybody = [row["id"] for row in await queue.database.rows("SELECT id FROM owners")]
    if jobs:
        for owner in everybody:
            await queue.wait(owner, jobs // owners)
    return made[0]


async def decisions(database: Database, queued: int, times: int) -> None:
    queue = Queue(database=database)
    await database.execute(fifo())
    await database.execute("DELETE FROM endpoints")
    await queue.endpoint()
    print(f"{'decision, median ms':<34} {'FIFO':>8} {'turns':>8} {'ratio':>7}")
    cases = [("nothing else waits", 1, 0), (f"{queued} of one owner", 1, queued)]
    for title, owners, jobs in [*cases, (f"{queued} of as many owners", queued, queued)]:
        owner = await fill(queue, owners, jobs)
        await database.execute("ANALYZE stages")
        medians = []
        for function in ("fifo_dispatch", "genyard_dispatch"):

            async def one(name: str = function) -> None:
                await database.row(f"SELECT set_config('synchronous_commit', 'off', false), {name}('gpu')")

            async def next_one(owner: UUID = owner) -> None:
                await queue.finish()
                await queue.wait(owner, priority=5)

            await next_one()
            medians.append(await milliseconds(one, next_one, times))
            [last] = await queue.dispatch() or await queue.running()
            assert last["priority"] == 5, "the urgent one was first"
            await queue.finish()
        print(f"{title:<34} {medians[0]:>8.2f} {medians[1]:>8.2f} {medians[1] / medians[0]:>6.1f}x")
    jobs_queued = [
        row["job_id"] for row in await database.rows("SELECT job_id FROM stages WHERE state = 'ready'")
    ]
    store = Jobs(database)

    async def nothing() -> None:
        return None

    for count in (1, 100):
        median = await milliseconds(lambda n=count: store.standings(jobs_queued[:n]), nothing, 10)  # type: ignore[misc]
        print(f"{f'standing of {count}':<34} {'':>8} {median:>8.2f}")


async def urgent(environ: dict[str, str], queued: int, times: int) -> None:
    place = ScriptedProvider()
    seen: dict[UUID, float] = {}
    submit = place.submit

    async def timed(plan: Any, key: UUID, media: Any, *, webhook: str | None = None) -> Any:
        if str(plan.payload["prompt"]).startswith("urgent"):
            seen[UUID(str(plan.payload["prompt"]).split()[1])] = time.perf_counter()
        return await submit(plan, key, media, webhook=webhook)

    place.submit = timed  # type: ignore[method-assign]
    settings = load_settings(environ)
    preview = settings.endpoints["preview"].model_copy(update={"concurrency": 1})
    settings = settings.model_copy(update={"endpoints": {"preview": preview}})
    async with build(settings, providers={"preview": lambda *_: place}) as product, working(product):
        for waiting in (0, queued):
            if waiting:
                await product.jobs.endpoints.pause("preview")
                model = (await product.studio.submit(REQUEST)).job
                await product.jobs.database.execute(COPIES, n=waiting, id=model.id)
                await product.jobs.endpoints.resume("preview")
            took = []
            for number in range(times):
                key = UUID(int=number + (1 << 64) * (waiting + 1))
                body = {**REQUEST, "parameters": {**REQUEST["parameters"], "prompt": f"urgent {key}"}}  # type: ignore[dict-item]
                begun = time.perf_counter()
                job = (await product.studio.submit({**body, "priority": 50})).job
                await product.studio.wait(job.id)
                took.append((seen[key] - begun) * 1e3)
            left = (await product.jobs.endpoints.queues(["preview"]))[0]["waiting"]
            ordered = sorted(took)
            print(
                f"urgent, {waiting:>6} queued ({left} at the end) {statistics.median(took):>8.1f} ms median, "
                f"{ordered[int(len(ordered) * 0.95)]:.1f} p95"
            )


async def main(options: argparse.Namespace) -> None:
    with data_folder() as folder:
        environ = {"GENYARD_DATA": str(folder), "GENYARD_LOG_LEVEL": "error"}
        async with open_database(load_settings(environ, folder), pool_size=4) as database:
            await decisions(database, options.queued, options.times)
            await database.execute("TRUNCATE jobs, stages, turns, procrastinate_jobs, endpoints CASCADE")
            await database.execute("DELETE FROM owners")
        await urgent(environ, options.queued, options.urgent)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--queued", type=int, default=10_000)
    parser.add_argument("--times", type=int, default=200)
    parser.add_argument("--urgent", type=int, default=40)
    asyncio.run(main(parser.parse_args()))
