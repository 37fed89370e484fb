"""Between a RunPod worker that really runs and `RunPodProvider`: the cloud's routes, thin, on loopback.

RunPod's cloud stands between the two, and nobody but RunPod has it. What a worker takes and what it answers can be
had without it, in two ways, and each bridge passes these bodies on as they are:

    LocalServerBridge   the worker under the SDK's own test server (`--rp_serve_api`). It keeps a job at /run and runs
                        it at the first POST /status: the bridge asks for that once, and keeps the answer.
    JobTakeBridge       the worker as it runs in the cloud: it takes jobs from one address and gives results to another
                        (`RUNPOD_WEBHOOK_GET_JOB`, `RUNPOD_WEBHOOK_POST_OUTPUT`), and both are the bridge. So this shows
                        what the test server leaves out: `output` beside `error`, and what `progress_update` sends.

What this proves: that genyard's requests are understood by the real handler, and that its real answers are understood
by genyard. What it does not prove: anything that the cloud does by itself. /health counts the bridge's own jobs; there
is no cancel, no key, no policy, no ttl, no limit of size or rate; the states before the end, `delayTime` and
`executionTime`, and how a result that was handed in is shown by /status, are the bridge's. The lifecycle is the
emulator's matter (tests/contracts/test_runpod_*.py).
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import uuid4

import aiohttp
from aiohttp import web

Json = Any

#: As the cloud holds a worker's question for a job open, if shorter.
_HOLD: Final = 5.0
_LARGE: Final = 2**28


@dataclass(kw_only=True)
class Run:
    """One job. `sent` is genyard's request, `answer` the worker's, both as they came."""

    id: str
    sent: Mapping[str, Json]
    answer: bytes | None = None
    status: int = 200
    running: bool = False
    progress: Json = None
    taken_at: float | None = None
    sent_at: float = field(default_factory=time.monotonic)


class Bridge:
    """`async with`. `url` is the provider's `base_url`; every endpoint id leads to the one worker."""

    def __init__(self) -> None:
        self.runs: dict[str, Run] = {}
        self._runner: web.AppRunner | None = None
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v2"

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/v2/{endpoint}/run", self._run),
            web.get("/v2/{endpoint}/status/{id}", self._status),
            web.get("/v2/{endpoint}/health", self._health),
        ]

    async def __aenter__(self) -> Bridge:
        app = web.Application(client_max_size=_LARGE)
        app.add_routes(self.routes())
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *failure: object) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    async def _run(self, request: web.Request) -> web.Response:
        raise NotImplementedError

    async def _status(self, request: web.Request) -> web.Response:
        run = self.runs.get(request.match_info["id"])
        if run is None:
            return web.json_response({"detail": "Not Found"}, status=404)
        if run.answer is not None:
            return web.Response(body=run.answer, status=run.status, content_type="application/json")
        if not run.running:
            return web.json_response({"id": run.id, "status": "IN_QUEUE"})
        told = {} if run.progress is None else {"output": run.progress}
        return web.json_response({"id": run.id, "status": "IN_PROGRESS", **told})

    async def _health(self, request: web.Request) -> web.Response:
        ended = sum(run.answer is not None for run in self.runs.values())
        busy = sum(run.running and run.answer is None for run in self.runs.values())
        jobs = {"completed": ended, "inProgress": busy, "inQueue": len(self.runs) - ended - busy}
        return web.json_response(
            {"jobs": {**jobs, "failed": 0, "retried": 0}, "workers": {"idle": 1 - busy, "running": busy}}
        )


class LocalServerBridge(Bridge):
    """Its test server blocks while a job runs: one after the other."""

    def __init__(self, server: str) -> None:
        super().__init__()
        self._server = server
        self._one_by_one = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Bridge:
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=600))
        return await super().__aenter__()

    async def __aexit__(self, *failure: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._session.close()
        await super().__aexit__(*failure)

    async def _run(self, request: web.Request) -> web.Response:
        body = await request.read()
        async with self._session.post(f"{self._server}/run", data=body, headers=_JSON) as answer:
            told = await answer.read()
            if answer.status == 200:
                run = Run(id=json.loads(told)["id"], sent=json.loads(body))
                self.runs[run.id] = run
                self._tasks.add(asyncio.create_task(self._work(run)))
            return web.Response(body=told, status=answer.status, content_type="application/json")

    async def _work(self, run: Run) -> None:
        async with self._one_by_one:
            run.running = True
            async with self._session.post(f"{self._server}/status/{run.id}") as answer:
                run.status, run.answer = answer.status, await answer.read()


class JobTakeBridge(Bridge):
    """`environment` makes a worker take its jobs here."""

    def __init__(self) -> None:
        super().__init__()
        self._waiting: asyncio.Queue[Run] = asyncio.Queue()

    @property
    def environment(self) -> dict[str, str]:
        base = f"http://127.0.0.1:{self.port}/worker"
        return {
            "RUNPOD_WEBHOOK_GET_JOB": f"{base}/job-take/$ID?gpu=none",
            "RUNPOD_WEBHOOK_POST_OUTPUT": f"{base}/job-done/$RUNPOD_POD_ID/$ID?gpu=none",
            "RUNPOD_POD_ID": "live",
            "RUNPOD_SKIP_GPU_CHECK": "true",
            "RUNPOD_SKIP_AUTO_SYSTEM_CHECKS": "true",
        }

    def routes(self) -> list[web.RouteDef]:
        return [
            *super().routes(),
            web.get("/worker/job-take/{worker}", self._take),
            web.get("/worker/job-stop/{worker}", self._stop),
            web.post("/worker/job-done/{worker}/{id}", self._done),
        ]

    async def _run(self, request: web.Request) -> web.Response:
        run = Run(id=f"{uuid4()}-u1", sent=json.loads(await request.read()))
        self.runs[run.id] = run
        self._waiting.put_nowait(run)
        return web.json_response({"id": run.id, "status": "IN_QUEUE"})

    async def _take(self, request: web.Request) -> web.Response:
        try:
            run = await asyncio.wait_for(self._waiting.get(), _HOLD)
        except TimeoutError:
            return web.Response(status=204)
        run.running, run.taken_at = True, time.monotonic()
        return web.json_response({"id": run.id, "input": run.sent["input"]})

    async def _stop(self, request: web.Request) -> web.Response:
        await asyncio.sleep(_HOLD)
        return web.Response(status=204)

    async def _done(self, request: web.Request) -> web.Response:
        """[doc] `output` and `error` of the job are what the worker handed in."""
        told = json.loads(await request.read())
        run = self.runs[request.match_info["id"]]
        if told.get("status") == "IN_PROGRESS":
            run.progress = told["output"]
            return web.Response()
        taken = run.taken_at or run.sent_at
        shown = {
            "id": run.id,
            "status": "FAILED" if told.get("error") else "COMPLETED",
            "delayTime": round((taken - run.sent_at) * 1000),
            "executionTime": round((time.monotonic() - taken) * 1000),
            "workerId": request.match_info["worker"],
            **{name: told[name] for name in ("output", "error") if name in told},
        }
        run.answer = json.dumps(shown).encode()
        return web.Response()


_JSON: Final = {"Content-Type": "application/json"}
