"""Three ways to run jobs on one ComfyUI server, behind one face: genyard, a bare Procrastinate task, the plans' Redis
list. Each keeps its data in a folder of its own; workers and APIs are processes. What the peers do is in `peers`.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from uuid import UUID, uuid4

import psycopg

from peers import Redis, engine, push, task_of
from stand import data_folder, environment, graph, process

PEERS = str(Path(__file__).with_name("peers.py"))

#: Jobs like the one that is there, each of another colour, as quickly as the database takes them.
COPIES = """
WITH job AS (
    INSERT INTO jobs (id, owner_id, state, request, operation, trace_id)
    SELECT gen_random_uuid(), owner_id, 'queued', request, operation, 't' FROM jobs, generate_series(1, %(n)s)
    WHERE id = %(id)s RETURNING id, owner_id
)
INSERT INTO stages (id, job_id, owner_id, position, state, endpoint, steps, plan, ready_at)
SELECT gen_random_uuid(), job.id, job.owner_id, 0, 'ready', s.endpoint, s.steps,
       regexp_replace(s.plan::text, '"color": \\d+', '"color": ' || row_number() OVER ())::jsonb, now()
FROM job, stages s WHERE s.job_id = %(id)s
"""


@dataclass(frozen=True, kw_only=True)
class Api:
    """Where jobs are POSTed, and the body for a graph."""

    url: str
    body: Any


class Way(Protocol):
    name: str

    def worker(self) -> contextlib.AbstractAsyncContextManager[int]: ...

    def api(self) -> contextlib.AbstractAsyncContextManager[Api]: ...

    async def submit(self, prompt: Mapping[str, Any], *, urgent: bool = False) -> str: ...

    async def cancel(self, job_id: str) -> None: ...

    async def key(self, job_id: str) -> str:
        """Under which the server knows it, once it has succeeded."""
        ...

    async def done(self) -> int:
        """How many have succeeded, by its own books."""
        ...

    async def fill(self, jobs: int) -> None:
        """So many wait. No worker yet."""
        ...


class Genyard:
    name = "genyard"

    def __init__(self, product: Any, environ: dict[str, str]) -> None:
        self.product, self.environ = product, environ

    @contextlib.asynccontextmanager
    async def worker(self) -> AsyncIterator[int]:
        async with process("-m", "genyard", "worker", env=self.environ, until="worker ready") as (started, _):
            yield started.pid

    @contextlib.asynccontextmanager
    async def api(self) -> AsyncIterator[Api]:
        command = ("-m", "genyard", "serve", "--no-worker")
        async with process(*command, env=self.environ, until="http://") as (_, line):
            url = line[line.index("http://") :].split()[0].rstrip("/")
            yield Api(url=f"{url}/v1/jobs", body=request)

    async def submit(self, prompt: Mapping[str, Any], *, urgent: bool = False) -> str:
        made = await self.product.studio.submit({**request(prompt), "priority": 50 if urgent else 0})
        return str(made.job.id)

    async def cancel(self, job_id: str) -> None:
        await self.product.jobs.cancel(UUID(job_id), await self._owner(job_id))

    async def _owner(self, job_id: str) -> UUID:
        row = await self.product.jobs.database.row("SELECT owner_id FROM jobs WHERE id = %(id)s", id=job_id)
        found: UUID = row["owner_id"]
        return found

    async def key(self, job_id: str) -> str:
        found = """SELECT a.id FROM attempts a JOIN stages s ON s.id = a.stage_id JOIN jobs j ON j.id = s.job_id
                   WHERE j.id = %(id)s AND j.state = 'succeeded'"""
        database = self.product.jobs.database
        while not (rows := await database.rows(found, id=job_id)):  # noqa: ASYNC110 (another process)
            await asyncio.sleep(0.02)
        return str(rows[0]["id"])

    async def done(self) -> int:
        row = await self.product.jobs.database.row("SELECT count(*) AS n FROM jobs WHERE state = 'succeeded'")
        return int(row["n"])

    async def fill(self, jobs: int) -> None:
        await self.product.jobs.endpoints.pause("comfyui")
        first = await self.submit(graph())
        await self.product.jobs.database.execute(COPIES, n=jobs - 1, id=UUID(first))
        await self.product.jobs.database.execute("ANALYZE jobs, stages")
        await self.product.jobs.endpoints.resume("comfyui")


def request(prompt: Mapping[str, Any]) -> dict[str, Any]:
    return {"operation": "run_workflow", "parameters": {"workflow": prompt}}


class Procrastinate:
    name = "bare task"

    def __init__(self, url: str, comfyui: str, folder: Path, at_once: int) -> None:
        self._options = (
            "--database",
            url,
            "--comfyui",
            comfyui,
            "--folder",
            str(folder),
            "--at-once",
            str(at_once),
        )
        self._url = url
        self.app = engine(url)
        self._generate = task_of(self.app, None, None)
        self._keys: dict[str, str] = {}

    @contextlib.asynccontextmanager
    async def worker(self) -> AsyncIterator[int]:
        command = (PEERS, "procrastinate-worker", *self._options)
        async with process(*command, until="working") as (started, _):
            yield started.pid

    @contextlib.asynccontextmanager
    async def api(self) -> AsyncIterator[Api]:
        async with process(PEERS, "procrastinate-api", *self._options, until="http://") as (_, line):
            yield Api(url=f"{line.strip()}/jobs", body=lambda prompt: {"prompt": prompt})

    async def submit(self, prompt: Mapping[str, Any], *, urgent: bool = False) -> str:
        task = self._generate.configure(priority=50) if urgent else self._generate
        key = str(uuid4())
        job_id = str(await task.defer_async(prompt=dict(prompt), key=key))
        self._keys[job_id] = key
        return job_id

    async def cancel(self, job_id: str) -> None:
        await self.app.job_manager.cancel_job_by_id_async(int(job_id), abort=True)

    async def key(self, job_id: str) -> str:
        return self._keys.pop(job_id)

    async def done(self) -> int:
        counts = "SELECT count(*) AS n FROM procrastinate_jobs WHERE status = 'succeeded'"
        return int((await self.app.connector.execute_query_one_async(counts))["n"])

    async def fill(self, jobs: int) -> None:
        prompt = graph()
        for _ in range(0, jobs, 1000):
            await self._generate.batch_defer_async(
                *({"prompt": prompt, "key": str(uuid4())} for _ in range(1000))
            )
        async with await psycopg.AsyncConnection.connect(self._url, autocommit=True) as connection:
            await connection.execute("ANALYZE procrastinate_jobs")


class RedisList:
    name = "Redis list"

    def __init__(self, socket: str, comfyui: str, folder: Path) -> None:
        self._options = ("--redis", socket, "--comfyui", comfyui, "--folder", str(folder))
        self._redis = Redis(socket)

    @contextlib.asynccontextmanager
    async def worker(self) -> AsyncIterator[int]:
        async with process(PEERS, "redis-worker", *self._options, until="working") as (started, _):
            yield started.pid

    @contextlib.asynccontextmanager
    async def api(self) -> AsyncIterator[Api]:
        async with process(PEERS, "redis-api", *self._options, until="http://") as (_, line):
            yield Api(url=f"{line.strip()}/jobs", body=lambda prompt: {"prompt": prompt})

    async def submit(self, prompt: Mapping[str, Any], *, urgent: bool = False) -> str:
        return await push(self._redis, dict(prompt))

    async def cancel(self, job_id: str) -> None:
        await self._redis("SET", f"cancel:{job_id}", 1)

    async def key(self, job_id: str) -> str:
        return job_id

    async def done(self) -> int:
        return int(await self._redis("GET", "done") or 0)

    async def fill(self, jobs: int) -> None:
        for _ in range(jobs):
            await push(self._redis, graph())

    async def close(self) -> None:
        await self._redis.close()


@contextlib.asynccontextmanager
async def genyard(comfyui: str, at_once: int) -> AsyncIterator[Genyard]:
    from genyard.app import build
    from genyard.settings import load_settings

    with data_folder() as folder:
        environ = environment(folder, comfyui, at_once)
        async with build(load_settings(environ)) as product:
            yield Genyard(product, environ)


@contextlib.asynccontextmanager
async def bare_task(comfyui: str, at_once: int) -> AsyncIterator[Procrastinate]:
    """On the same PostgreSQL with the same configuration."""
    from genyard.database._embedded import EmbeddedServer

    with data_folder() as folder:
        server = await EmbeddedServer.start(folder)
        try:
            way = Procrastinate(server.url, comfyui, folder, at_once)
            async with way.app.open_async():
                await way.app.schema_manager.apply_schema_async()
                yield way
        finally:
            await server.release()


def has_redis() -> bool:
    return shutil.which("redis-server") is not None


@contextlib.asynccontextmanager
async def redis_list(comfyui: str, at_once: int) -> AsyncIterator[RedisList]:
    """`at_once` is nothing that it knows. Kept on disk once a second, as Redis recommends."""
    with data_folder() as folder:
        socket = str(folder / "redis.sock")
        command = [
            "redis-server",
            "--port",
            "0",
            "--unixsocket",
            socket,
            "--dir",
            str(folder),
            "--appendonly",
            "yes",
        ]
        server = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        assert server.stdout is not None
        while "ready to accept" not in (line := (await server.stdout.readline()).decode().lower()):
            if not line:
                raise RuntimeError("redis-server ended")
        rest = asyncio.create_task(server.stdout.read())
        way = RedisList(socket, comfyui, folder)
        try:
            yield way
        finally:
            await way.close()
            server.terminate()
            await server.wait()
            await rest
