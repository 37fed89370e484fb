"""The other ways to run jobs on a ComfyUI server, as programs of their own: what a good engineer makes in an afternoon.

    python bench/peers.py procrastinate-worker | redis-worker | procrastinate-api | redis-api  OPTIONS

procrastinate  a task on the job engine that genyard itself uses: POST /prompt, wait for the end on the socket, read
               history and picture, write the file. The engine's own row says that it is done. Its cancel interrupts.
redis          the plans' scheme: a list, one task at a time per worker, asking every 3 seconds. A cancel is a key that
               is looked at as often.

Neither has attempts that survive a crash between submission and record, money, turns of owners, events, links: what
genyard does beside, they leave out. RESP is spoken here, so that no client library is needed for one bench.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import uuid
from pathlib import Path
from typing import Any

import aiohttp
import procrastinate
import uvicorn
from fastapi import Body, FastAPI

from stand import Bare

POLL_SECONDS = 3.0
Reply = Any


class Redis:
    """One connection; one command at a time."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._lock = asyncio.Lock()
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def __call__(self, *words: str | int | float) -> Reply:
        async with self._lock:
            if self._streams is None:
                self._streams = await asyncio.open_unix_connection(self._path)
            reader, writer = self._streams
            parts = [str(word).encode() for word in words]
            writer.write(b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(p), p) for p in parts))
            return await self._reply(reader)

    async def _reply(self, reader: asyncio.StreamReader) -> Reply:
        line = await reader.readline()
        kind, rest = line[:1], line[1:].strip()
        if kind == b"-":
            raise RuntimeError(rest.decode())
        if kind == b"+":
            return rest.decode()
        if kind == b":" or int(rest) < 0:
            return int(rest) if kind == b":" else None
        if kind == b"*":
            return [await self._reply(reader) for _ in range(int(rest))]
        return (await reader.readexactly(int(rest) + 2))[:-2].decode()

    async def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()


# ---- Procrastinate ----


def engine(url: str) -> procrastinate.App:
    return procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=url))


def task_of(app: procrastinate.App, bare: Bare | None, folder: Path | None) -> Any:
    @app.task(name="generate", queue="pictures", pass_context=True)
    async def generate(context: procrastinate.JobContext, prompt: dict[str, Any], key: str) -> None:
        assert bare is not None and folder is not None
        prompt_id = await bare.submit(prompt, key)
        try:
            history = await bare.end(prompt_id)
        except asyncio.CancelledError:
            await bare.interrupt(prompt_id)
            raise
        picture = await bare.picture(history)
        await asyncio.to_thread((folder / f"{context.job.id}.png").write_bytes, picture)

    return generate


async def procrastinate_worker(given: argparse.Namespace) -> None:
    app = engine(given.database)
    connector = aiohttp.TCPConnector(limit=max(100, given.at_once))
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        Bare(session, given.comfyui).connected() as bare,
        app.open_async(),
    ):
        task_of(app, bare, given.folder)
        print("working", flush=True)
        await app.run_worker_async(queues=["pictures"], concurrency=given.at_once)


async def procrastinate_api(given: argparse.Namespace) -> None:
    app = engine(given.database)
    api = FastAPI()
    async with app.open_async():
        generate = task_of(app, None, None)

        @api.post("/jobs", status_code=201)
        async def submit(prompt: dict[str, Any] = Body(embed=True)) -> dict[str, Any]:  # noqa: B008
            return {"id": await generate.defer_async(prompt=prompt, key=str(uuid.uuid4()))}

        await serve(api)


# ---- the plans' scheme ----


async def push(redis: Redis, prompt: dict[str, Any]) -> str:
    job_id = str(uuid.uuid4())
    await redis("HSET", f"job:{job_id}", "state", "queued")
    await redis("RPUSH", "jobs", json.dumps({"id": job_id, "prompt": prompt}))
    return job_id


async def redis_worker(given: argparse.Namespace) -> None:
    redis = Redis(given.redis)
    async with aiohttp.ClientSession() as session:
        bare = Bare(session, given.comfyui)
        print("working", flush=True)
        while True:
            taken = await redis("BLPOP", "jobs", 1)
            if taken is None:
                continue
            job = json.loads(taken[1])
            await redis("HSET", f"job:{job['id']}", "state", "running")
            prompt_id = await bare.submit(job["prompt"], job["id"])
            while (history := await bare.history(prompt_id)) is None:
                await asyncio.sleep(POLL_SECONDS)
                if await redis("EXISTS", f"cancel:{job['id']}"):
                    await bare.interrupt(prompt_id)
            if history["outputs"]:
                picture = await bare.picture(history)
                await asyncio.to_thread((given.folder / f"{job['id']}.png").write_bytes, picture)
            await redis("HSET", f"job:{job['id']}", "state", "succeeded" if history["outputs"] else "failed")
            await redis("INCR", "done")


async def redis_api(given: argparse.Namespace) -> None:
    redis = Redis(given.redis)
    api = FastAPI()

    @api.post("/jobs", status_code=201)
    async def submit(prompt: dict[str, Any] = Body(embed=True)) -> dict[str, Any]:  # noqa: B008
        return {"id": await push(redis, prompt)}

    await serve(api)


async def serve(api: FastAPI) -> None:
    class Server(uvicorn.Server):
        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets)
            print(f"http://127.0.0.1:{self.servers[0].sockets[0].getsockname()[1]}", flush=True)

    await Server(uvicorn.Config(api, port=0, log_config=None, access_log=False, lifespan="off")).serve()


PROGRAMS = {
    "procrastinate-worker": procrastinate_worker,
    "procrastinate-api": procrastinate_api,
    "redis-worker": redis_worker,
    "redis-api": redis_api,
}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("program", choices=PROGRAMS)
    parser.add_argument("--comfyui", default="", help="the server's URL")
    parser.add_argument("--database", default="", help="PostgreSQL")
    parser.add_argument("--redis", default="", help="the socket")
    parser.add_argument("--folder", type=Path, help="where pictures go")
    parser.add_argument("--at-once", type=int, default=50)
    options = parser.parse_args()
    asyncio.run(PROGRAMS[options.program](options))
