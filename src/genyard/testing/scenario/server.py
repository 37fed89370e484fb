"""The emulated Scenario: one team with one key, its jobs, its assets, its creative units; its face for tests.

    async with ScenarioEmulator(parallel_custom_jobs=2) as server:
        provider = ScenarioProvider(key=server.key, secret=server.secret, base_url=server.base_url, …)
        server.faults.add(FaultKind.cooldown, seconds=12)
        ...
        assert server.counts.total_runs == 1

HTTP is in `routes` and `routes_assets`.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from aiohttp import web

from genyard.testing import drawing
from genyard.testing.delivery import spoiled
from genyard.testing.scenario.faults import FaultKind, ScenarioFault
from genyard.testing.scenario.jobs import Asset, Job, Upload
from genyard.testing.scenario.making import CannotUse, make
from genyard.testing.scenario.models import MODELS, PRO, Model
from genyard.testing.scenario.routes import refusal
from genyard.testing.scenario.routes import rows as generation_rows
from genyard.testing.scenario.routes_assets import rows as file_rows
from genyard.testing.service import Faults, Row, Service

Json = Any

#: How many steps the progress of a job is told in.
STEPS: Final = 5


@dataclass(kw_only=True)
class Counts:
    """What really happened.

    runs       job id → how often it was started
    jobs       jobs that were accepted
    canceled   of them, stopped by a cancel
    units      creative units that are gone for good; `refunded` those that were given back
    dry_runs   estimates
    uploads    assets that were taken in
    keys_outside requests at the delivery host that carried a key
    """

    runs: Counter[str] = field(default_factory=Counter)
    jobs: int = 0
    canceled: int = 0
    units: float = 0.0
    refunded: float = 0.0
    dry_runs: int = 0
    uploads: int = 0
    keys_outside: int = 0

    @property
    def total_runs(self) -> int:
        return self.runs.total()

    def as_json(self) -> dict[str, Json]:
        return {**vars(self), "total_runs": self.total_runs}


class ScenarioEmulator(Service[ScenarioFault]):
    """`async with ScenarioEmulator() as server: … server.base_url …`

    key, secret           what `Authorization: Basic …` must carry
    queue_seconds         how long a job is queued, `run_seconds` how long it runs
    workers               how many jobs run at once; others stay queued (None: any number)
    parallel_custom_jobs  how many jobs may be open; one more is 429 with actionName
    units                 creative units of the team; used up is `exhausted`
    exhausted             status and reason then; the real ones are not confirmed
    plan                  the vendor's number of the team's plan (50 is pro)
    cancels               whether custom jobs can be canceled; the real ones mostly cannot
    legacy                whether the routes of before 2026 are alive; the rest of the world does not know either
    link_seconds          how long a signed link lives
    max_asset             bytes of the body of POST /assets
    min_part              bytes of every part of an upload but the last
    models                more models
    """

    def __init__(
        self,
        *,
        port: int = 0,
        key: str = "api_emulated",
        secret: str = "emulated-secret",  # noqa: S107 (it opens nothing but this emulator)
        queue_seconds: float = 0.01,
        run_seconds: float = 0.03,
        workers: int | None = None,
        parallel_custom_jobs: int = 10,
        units: float = 1_000_000.0,
        exhausted: tuple[int, str] = (402, "Not enough creative units"),
        plan: int = PRO,
        cancels: bool = False,
        legacy: bool = True,
        link_seconds: float = 900.0,
        max_asset: int = 6 * 2**20,
        min_part: int = 5 * 2**20,
        models: Sequence[Model] = (),
    ) -> None:
        super().__init__(port=port)
        self.faults = Faults(FaultKind, ScenarioFault, changed=self.changes.notify)
        self.key, self.secret = key, secret
        self.queue_seconds, self.run_seconds = queue_seconds, run_seconds
        self.parallel_custom_jobs = parallel_custom_jobs
        self.units, self.exhausted = units, exhausted
        self.plan, self.cancels, self.legacy = plan, cancels, legacy
        self.link_seconds, self.max_asset, self.min_part = link_seconds, max_asset, min_part
        self.models = {one.id: one for one in (*MODELS, *models)}
        self.counts = Counts()
        self.jobs: dict[str, Job] = {}
        self.assets: dict[str, Asset] = {}
        self.uploads: dict[str, Upload] = {}
        self._workers = asyncio.Semaphore(workers) if workers is not None else None

    @property
    def base_url(self) -> str:
        """What takes the place of https://api.cloud.scenario.com/v1."""
        return f"{self.url}/v1"

    def rows(self) -> list[Row]:
        return [*generation_rows(self), *file_rows(self)]

    def refuse(self, request: web.Request) -> web.Response | None:
        return refusal(self, request)

    def counted(self) -> dict[str, Json]:
        return {**super().counted(), **self.counts.as_json()}

    # What a test asks

    def runs_of(self, **inputs: Json) -> int:
        """How often jobs with these inputs were started."""
        return sum(
            self.counts.runs[one.id]
            for one in self.jobs.values()
            if all(one.given.get(name) == value for name, value in inputs.items())
        )

    async def until_status(self, job_id: str, *statuses: str) -> Job:
        await self.changes.until(lambda: self.jobs[job_id].status in statuses)
        return self.jobs[job_id]

    def add_asset(self, data: bytes, media_type: str = "image/png") -> Asset:
        """An asset that the team has had for long."""
        return self.keep(data, media_type, "uploaded")

    # What the routes use

    @property
    def open_jobs(self) -> int:
        return sum(not one.ended for one in self.jobs.values())

    def new_id(self, kind: str) -> str:
        return f"{kind}_{uuid.uuid4().hex[:24]}"

    def start(self, model: Model, given: Mapping[str, Json], read: dict[str, Json], units: float) -> Job:
        job = Job(
            id=self.new_id("job"), model=model, given=given, input=read, units=units, created=self.clock.now()
        )
        job.become("queued", job.created)
        self.jobs[job.id] = job
        self.counts.jobs += 1
        self.counts.units += units
        self.units -= units
        job.task = self.later(self._drive(job))
        self.changes.notify()
        return job

    def cancel(self, job: Job) -> None:
        self.counts.canceled += 1
        if job.task is not None:
            job.task.cancel()
        self._refund(job)
        self._become(job, "canceled")

    def keep(
        self, data: bytes, media_type: str, made: str, index: int = 0, facts: Mapping[str, Json] | None = None
    ) -> Asset:
        """Raises drawing.NotAPicture for a picture that is none."""
        width, height = drawing.size(data) if media_type.startswith("image/") else (None, None)
        asset = Asset(
            id=self.new_id("asset"),
            data=data,
            media_type=media_type,
            created=self.clock.now(),
            made=made,
            width=width,
            height=height,
            index=index,
            facts=facts or {},
        )
        self.assets[asset.id] = asset
        return asset

    def link(self, asset: Asset) -> str:
        """Signed anew at every call."""
        expires = int(self.clock.now() + self.link_seconds)
        if self.faults.take(FaultKind.expired_link):
            expires = int(self.clock.now()) - 1
        signature = self.signature(f"{asset.id}.{expires}")
        ending = asset.media_type.split("/")[1]
        return f"{self.url}/cdn/assets/{asset.id}.{ending}?Expires={expires}&Signature={signature}"

    def signature(self, text: str) -> str:
        return hmac.new(self.secret.encode(), text.encode(), hashlib.sha256).hexdigest()[:32]

    # A run

    async def _drive(self, job: Job) -> None:
        if (waits := self.faults.take(FaultKind.wait, **job.facts)) is not None:
            await (self.clock.sleep(waits.seconds) if waits.seconds else asyncio.Event().wait())
        await self.clock.sleep(self.queue_seconds)
        if self._workers is None:
            await self._run(job)
            return
        async with self._workers:
            await self._run(job)

    async def _run(self, job: Job) -> None:
        facts = job.facts
        while (word := self.faults.take(FaultKind.word, **facts)) is not None:
            job.words[word.state or "success"] = word.message
            if word.times is None:
                break
        if (warm := self.faults.take(FaultKind.warm, **facts)) is not None:
            self._become(job, "warming-up")
            await self.clock.sleep(warm.seconds)
        self.counts.runs[job.id] += 1
        self._become(job, "in-progress")
        if self.faults.take(FaultKind.hang, **facts):
            await asyncio.Event().wait()
        slow = self.faults.take(FaultKind.slow, **facts)
        seconds = self.run_seconds + (slow.seconds if slow is not None else 0.0)
        await self._work(job, seconds)
        if (fault := self.faults.take(FaultKind.fail, **facts)) is not None:
            self._fail(job, fault.message or "The generation failed", fault.hint)
        elif self.faults.take(FaultKind.cancel, **facts):
            self._refund(job)
            self._become(job, "canceled")
        else:
            await self._finish(job)

    async def _work(self, job: Job, seconds: float) -> None:
        """The time it takes, in steps that its progress tells; at the end of the last one it is finished."""
        began = self.clock.now()
        for step in range(1, STEPS + 1):
            await self.clock.sleep(began + seconds * step / STEPS - self.clock.now())
            job.progress = min(step, STEPS - 1) / STEPS
            self.changes.notify()

    async def _finish(self, job: Job) -> None:
        self._become(job, "finalizing")
        read = {**job.input, "seed": job.input.get("seed") or hashlib.sha256(job.id.encode()).hexdigest()[:8]}
        files = {
            told["name"]: self.assets[read[told["name"]]].data
            for told in job.model.inputs
            if told["type"] == "file" and read.get(told["name"])
        }
        try:
            made, outputs = await asyncio.to_thread(make, job.model, read, files)
        except CannotUse as wrong:
            self._fail(job, str(wrong), None)
            return
        facts = {"prompt": str(read.get("prompt", "")), "seed": str(read["seed"])}
        for index, (media_type, data) in enumerate(outputs):
            data = spoiled(lambda kind: self.faults.take(kind, **job.facts), data, facts["prompt"])
            job.assets.append(self.keep(data, media_type, made, index, facts).id)
        if self.faults.take(FaultKind.no_outputs, **job.facts):
            job.assets.clear()
        job.progress = 1.0
        self._become(job, "success")

    def _fail(self, job: Job, error: str, hint: str | None) -> None:
        job.error, job.hint = error, hint
        if not job.model.disable_refund:
            self._refund(job)
        self._become(job, "failure")

    def _refund(self, job: Job) -> None:
        self.units += job.units
        self.counts.units -= job.units
        self.counts.refunded += job.units

    def _become(self, job: Job, status: str) -> None:
        job.become(status, self.clock.now())
        self.changes.notify()
