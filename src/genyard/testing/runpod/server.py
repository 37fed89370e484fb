"""The emulated cloud's face: the job API of `api.runpod.ai/v2`, keys, limits, webhooks, links.

What happens to a job is in `endpoint`, what a worker makes of its input in `models` and `worker_comfyui`.
Bodies of error answers are [open] in the cloud: here they are plausible, and nobody should read more than the status.
"""

from __future__ import annotations

import json
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp
from aiohttp import web

from genyard.testing.comfyui import ComfyUIEmulator
from genyard.testing.runpod.bucket import Bucket
from genyard.testing.runpod.endpoint import Endpoint, Setup, first
from genyard.testing.runpod.faults import Fault, FaultKind
from genyard.testing.runpod.jobs import EXECUTION_TIMEOUT, KEPT_AFTER_RUNSYNC, TTL, Job, new_id
from genyard.testing.runpod.models import PUBLIC, public_model, single_model
from genyard.testing.runpod.worker import Call
from genyard.testing.runpod.worker_comfyui import comfyui_worker
from genyard.testing.service import Faults, Handler, Row, Service

Json = Any

KEY: Final = "rpa_EMULATEDKEYFORTESTS0000000000000000000000"
BASE: Final = "/v2/{endpoint}"
MEBIBYTE: Final = 2**20
#: [doc] Bytes of a body, and calls per endpoint within ten seconds.
MOST_BYTES: Final = {"run": 10 * MEBIBYTE, "runsync": 20 * MEBIBYTE}
MOST_CALLS: Final = {
    "run": 1000, "runsync": 2000, "status": 2000, "stream": 2000, "cancel": 100, "purge-queue": 2, "requests": 10,
}  # fmt: skip
WINDOW: Final = 10.0
#: [doc] Milliseconds: least and most of a policy, and of `wait`.
POLICY: Final = {"executionTimeout": (5_000, 604_800_000), "ttl": (10_000, 604_800_000)}
WAIT: Final = (1_000, 300_000, 90_000)
WEBHOOK_TRIES: Final = 3

DEFAULT_ENDPOINTS: Final[Mapping[str, Setup]] = {
    "emu-comfyui": Setup(kind="comfyui"),
    "emu-flux": Setup(kind="flux"),
    "emu-sdxl": Setup(kind="sdxl", delivery="data_uri"),
    "emu-background": Setup(kind="background", shape="image"),
    **{name: Setup(kind="public", delivery="url") for name in PUBLIC},
}


@dataclass(kw_only=True)
class Counts:
    """What really happened.

    runs      job id → how often its work was begun
    webhooks  job id → how often its webhook was called, whatever it answered
    """

    runs: Counter[str] = field(default_factory=Counter)
    webhooks: Counter[str] = field(default_factory=Counter)
    submitted: int = 0
    canceled: int = 0

    @property
    def total_runs(self) -> int:
        return self.runs.total()


class RunPodEmulator(Service[Fault]):
    """`async with RunPodEmulator() as server: … f"{server.url}/v2" …`

    endpoints        id → `Setup` (default: one of each kind, and the public ones)
    key              what `Authorization: Bearer …` must carry
    comfyui          arguments of the `ComfyUIEmulator` behind the workers of kind comfyui; without a `history_gap` the
                     end-of-run race happens only by fault
    limits           calls per endpoint within ten seconds, over the documented ones
    oversize_status  400 or 413, for bodies over 10 or 20 MB
    webhook_gap      seconds between the tries of a webhook (10 in the cloud)
    """

    def __init__(
        self,
        *,
        endpoints: Mapping[str, Setup] = DEFAULT_ENDPOINTS,
        key: str = KEY,
        comfyui: Mapping[str, Any] | None = None,
        limits: Mapping[str, int] | None = None,
        oversize_status: int = 413,
        webhook_gap: float = 0.01,
        port: int = 0,
    ) -> None:
        super().__init__(port=port)
        self.key = key
        self.limits = {**MOST_CALLS, **(limits or {})}
        self.oversize_status = oversize_status
        self.webhook_gap = webhook_gap
        self.counts = Counts()
        self.bucket = Bucket(clock=self.clock)
        self.faults = Faults(FaultKind, Fault, changed=self._faults_changed)
        self.comfyui = ComfyUIEmulator(**{"history_gap": 0.0, **(comfyui or {})})
        self.webhook_bodies: list[Json] = []
        self._calls: dict[tuple[str, str], deque[float]] = {}
        self.endpoints = {
            name: Endpoint(
                id=name,
                setup=setup,
                clock=self.clock,
                faults=self.faults,
                changes=self.changes,
                run=self._work,
                ended=self._ended,
                later=self.later,
                counted=self.counts.runs,
            )
            for name, setup in endpoints.items()
        }

    async def begin(self) -> None:
        self._session = aiohttp.ClientSession()
        if any(one.setup.kind == "comfyui" for one in self.endpoints.values()):
            await self.comfyui.__aenter__()
        for endpoint in self.endpoints.values():
            endpoint.scale()

    async def end(self) -> None:
        await self._session.close()
        if any(one.setup.kind == "comfyui" for one in self.endpoints.values()):
            await self.comfyui.__aexit__(None, None, None)

    # What a test asks

    def job(self, job_id: str) -> Job:
        """Also one that the cloud no longer tells of, unless it was deleted there."""
        return next(one.jobs[job_id] for one in self.endpoints.values() if job_id in one.jobs)

    @property
    def jobs(self) -> list[Job]:
        return [job for one in self.endpoints.values() for job in one.jobs.values()]

    def runs_of(self, text: str) -> int:
        """How often jobs were run whose submitted input contains this text (our key in a file name, a prompt)."""
        found = [
            job for job in self.jobs if text in json.dumps(job.input) or (job.webhook and text in job.webhook)
        ]
        return sum(self.counts.runs[job.id] for job in found)

    @property
    def billed(self) -> float:
        """US dollars, of all jobs that are still known."""
        return round(sum(job.usd for job in self.jobs), 6)

    async def until_running(self, endpoint: str | None = None, count: int = 1) -> None:
        """Waits until so many jobs are in progress."""
        places = [self.endpoints[endpoint]] if endpoint is not None else list(self.endpoints.values())
        await self.changes.until(lambda: sum(one.running for one in places) >= count)

    def counted(self) -> dict[str, Json]:
        mine = {**vars(self.counts), "total_runs": self.counts.total_runs, "billed": self.billed}
        return {**super().counted(), **mine}

    # Routes

    def rows(self) -> Sequence[Row]:
        named: list[tuple[str, str, Any]] = [
            ("POST", "run", self._run),
            ("POST", "runsync", self._runsync),
            ("GET", "status/{id}", self._status),
            ("GET", "stream/{id}", self._stream),
            ("POST", "cancel/{id}", self._cancel),
            ("POST", "retry/{id}", self._retry),
            ("POST", "purge-queue", self._purge),
            ("GET", "health", self._health),
            ("GET", "requests", self._requests),
        ]
        rows: list[Row] = [(method, f"{BASE}/{path}", self._at(path, face)) for method, path, face in named]
        # The documentation shows both verbs for status and cancel in places; a POST status is what its SDKs send.
        rows.append(("POST", f"{BASE}/status/{{id}}", self._at("status/{id}", self._status)))
        return [*rows, ("GET", "/files/{path:.+}", self.bucket.get)]

    def refuse(self, request: web.Request) -> web.Response | None:
        if request.path.startswith("/files/"):
            return None
        if request.headers.get("Authorization") != f"Bearer {self.key}":
            return web.Response(status=401)
        return None

    def _at(self, path: str, face: Any) -> Handler:
        """The endpoint of the path, its budget of calls, and what any request does to its idle timer."""
        name = path.split("/")[0]

        async def handler(request: web.Request) -> web.StreamResponse:
            endpoint = self.endpoints.get(request.match_info["endpoint"])
            if endpoint is None:
                await request.read()
                return refused(404, "endpoint not found")
            if (wait := self._exceeded(endpoint, name)) is not None:
                await request.read()
                return refused(429, "Too many requests", {"Retry-After": str(max(1, round(wait)))})
            endpoint.touch()
            answer: web.StreamResponse = await face(request, endpoint)
            return answer

        return handler

    def _exceeded(self, endpoint: Endpoint, name: str) -> float | None:
        """Seconds until the next call is allowed, or None."""
        most, now = self.limits.get(name), self.clock.now()
        calls = self._calls.setdefault((endpoint.id, name), deque())
        while calls and calls[0] <= now - WINDOW:
            calls.popleft()
        if most is not None and len(calls) >= most:
            return calls[0] + WINDOW - now
        calls.append(now)
        return None

    async def _run(self, request: web.Request, endpoint: Endpoint) -> web.Response:
        taken = await self._taken(request, endpoint, "run")
        return taken if isinstance(taken, web.Response) else web.json_response(taken.as_json())

    async def _runsync(self, request: web.Request, endpoint: Endpoint) -> web.Response:
        least, most, usual = WAIT
        wait = min(max(int(request.query.get("wait", usual)), least), most)
        taken = await self._taken(request, endpoint, "runsync")
        if isinstance(taken, web.Response):
            return taken
        late = self.clock.sleep_until(taken.submitted + wait / 1000)
        await first(self.later(taken.done.wait()), self.later(late))
        return web.json_response(taken.as_json())

    async def _taken(self, request: web.Request, endpoint: Endpoint, how: str) -> Job | web.Response:
        """The accepted job, or why it is not taken."""
        raw = await request.read()
        if len(raw) > MOST_BYTES[how]:
            return refused(self.oversize_status, "request body too large")
        queued = len(endpoint.queue)
        if queued > 50 and queued > endpoint.workers_max * 500:
            return refused(429, "queue is full", {"Retry-After": "10"})
        try:
            body = json.loads(raw)
        except ValueError:
            return refused(400, "invalid JSON")
        problem = problem_of(body)
        if problem is not None:
            return refused(400, problem)
        policy = body.get("policy") or {}
        job = Job(
            id=new_id(sync=how == "runsync"),
            input=body["input"],
            submitted=self.clock.now(),
            webhook=body.get("webhook"),
            execution_timeout=policy.get("executionTimeout", EXECUTION_TIMEOUT) / 1000,
            ttl=policy.get("ttl", TTL) / 1000,
        )
        if how == "runsync":
            job.kept = KEPT_AFTER_RUNSYNC
        self.counts.submitted += 1
        endpoint.submit(job)
        self.changes.notify()
        return job

    async def _status(self, request: web.Request, endpoint: Endpoint) -> web.Response:
        job = endpoint.find(request.match_info["id"])
        if job is not None and self.faults.take(FaultKind.forget, endpoint=endpoint.id):
            endpoint.forget(job)
            job = None
        if job is None or self.faults.take(FaultKind.not_yet, endpoint=endpoint.id):
            return refused(404, "job not found")
        if (fault := self.faults.take(FaultKind.stale_status, endpoint=endpoint.id)) is not None:
            return web.json_response({"id": job.id, "status": fault.word})
        if (ttl := request.query.get("ttl", "")).isdigit():
            job.kept = int(ttl) / 1000
        return web.json_response(job.as_json())

    async def _stream(self, request: web.Request, endpoint: Endpoint) -> web.Response:
        job = endpoint.find(request.match_info["id"])
        if job is None:
            return refused(404, "job not found")
        return web.json_response({"status": job.status, "stream": []})

    async def _cancel(self, request: web.Request, endpoint: Endpoint) -> web.Response:
        job = endpoint.find(request.match_info["id"])
        if job is None:
            return refused(404, "job not found")
        self.counts.canceled += not job.is_over
        endpoint.cancel(job)
        return web.json_response({"id": job.id, "status": job.status})

    async def _retry(self, request: web.Request, endpoint: Endpoint) -> web.Response:
        job = endpoint.find(request.match_info["id"])
        if job is None:
            return refused(404, "job not found")
        if job.status not in ("FAILED", "TIMED_OUT"):
            return refused(400, "only failed or timed out jobs can be retried")
        endpoint.retry(job)
        return web.json_response({"id": job.id, "status": job.status})

    async def _purge(self, request: web.Request, endpoint: Endpoint) -> web.Response:
        return web.json_response({"removed": endpoint.purge(), "status": "completed"})

    async def _health(self, request: web.Request, endpoint: Endpoint) -> web.Response:
        return web.json_response(endpoint.health())

    async def _requests(self, request: web.Request, endpoint: Endpoint) -> web.Response:
        return web.json_response({"requests": [job.as_json() for job in endpoint.jobs.values()]})

    # Work, and what follows it

    async def _work(self, endpoint: Endpoint, job: Job, since: float) -> Json:
        call = Call(
            job=job,
            clock=self.clock,
            since=since,
            take=lambda kind: self.faults.take(kind, endpoint=endpoint.id),
            put=lambda name, data, fault: f"{self.url}{self.bucket.put(name, data, fault)}",
            progress=lambda told: self._tell_progress(job, told),
            session=self._session,
        )
        setup = endpoint.setup
        if setup.kind == "comfyui":
            return await comfyui_worker(call, setup, self.comfyui.url)
        if setup.kind == "public":
            return await public_model(call, endpoint.id, setup)
        return await single_model(call, setup)

    def _tell_progress(self, job: Job, told: Json) -> None:
        job.tell(told)
        self.changes.notify()

    def _ended(self, endpoint: Endpoint, job: Job) -> None:
        if job.webhook is None or self.faults.take(FaultKind.skip_webhook, endpoint=endpoint.id):
            return
        times = 2 if self.faults.take(FaultKind.repeat_webhook, endpoint=endpoint.id) else 1
        for _ in range(times):
            self.later(self._call_webhook(job.webhook, job))

    async def _call_webhook(self, url: str, job: Job) -> None:
        """[doc] Up to two more tries until it answers 200; no signature."""
        body = job.as_json()
        self.webhook_bodies.append(body)
        for attempt in range(WEBHOOK_TRIES):
            if attempt:
                await self.clock.sleep(self.webhook_gap)
            self.counts.webhooks[job.id] += 1
            try:
                async with self._session.post(
                    url, json=body, timeout=aiohttp.ClientTimeout(total=10)
                ) as answer:
                    if answer.status == 200:
                        break
            except (aiohttp.ClientError, TimeoutError):
                continue
        self.changes.notify()

    def _faults_changed(self) -> None:
        for endpoint in self.endpoints.values():
            endpoint.scale()
        self.changes.notify()


def refused(status: int, text: str, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.json_response({"error": text}, status=status, headers=headers)


def problem_of(body: Json) -> str | None:
    """[doc] `input` is required; a policy has least and most values."""
    if not isinstance(body, dict) or not isinstance(body.get("input"), dict | str) or not body["input"]:
        return "input is required"
    policy = body.get("policy") or {}
    for name, (least, most) in POLICY.items():
        value = policy.get(name)
        if value is not None and (not isinstance(value, int) or not least <= value <= most):
            return f"policy.{name} must be between {least} and {most} ms"
    if body.get("webhook") is not None and not str(body["webhook"]).startswith(("http://", "https://")):
        return "webhook must be a URL"
    return None
