"""The emulated Replicate: its state, its workers, its face for tests.

    async with ReplicateEmulator(run_seconds=0.02) as server:
        provider = ReplicateProvider(key=server.key, base_url=server.base_url, …)
        server.faults.add(FaultKind.moderated)
        ...
        assert server.counts.total_runs == 1

HTTP is in `routes`, webhooks in `webhooks`.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
import uuid
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp
from aiohttp import web

from genyard.testing.delivery import spoiled
from genyard.testing.replicate.faults import ERRORS, FaultKind, ReplicateFault
from genyard.testing.replicate.making import CannotUse, make, names_of, steps_of
from genyard.testing.replicate.models import MODELS, Model, complete
from genyard.testing.replicate.predictions import Prediction, Upload
from genyard.testing.replicate.routes import refusal, rows
from genyard.testing.replicate.webhooks import Webhooks
from genyard.testing.service import Faults, Row, Service

Json = Any

#: Input, output and logs of a prediction made through the API are kept so long after its end.
RETENTION: Final = 3600.0
_TYPES: Final = {"png": "image/png", "webp": "image/webp", "jpg": "image/jpeg", "mp4": "video/mp4"}


@dataclass(kw_only=True)
class Counts:
    """What really happened.

    runs        prediction id → how often its model was started
    created     predictions that were accepted
    canceled    of them, stopped by a cancel
    uploads     files that were taken in
    webhooks    (url, status) of every delivery that was tried; 0 where nobody answered
    keys_outside requests at the delivery host that carried a key
    """

    runs: Counter[str] = field(default_factory=Counter)
    created: int = 0
    canceled: int = 0
    uploads: int = 0
    webhooks: list[tuple[str, int]] = field(default_factory=list)
    keys_outside: int = 0

    @property
    def total_runs(self) -> int:
        return self.runs.total()

    def as_json(self) -> dict[str, Json]:
        return {**vars(self), "total_runs": self.total_runs}


class ReplicateEmulator(Service[ReplicateFault]):
    """`async with ReplicateEmulator() as server: … server.base_url …`

    key               what `Authorization: Bearer …` must be
    starting_seconds  how long a prediction stays `starting`, `run_seconds` how long `processing`
    settle_seconds    how long it is still `processing` with its output filled, for who waited with `Prefer: wait`
    workers           how many run at once; the rest stays `starting` (None: any number)
    models            owner/name → the model, beside the known ones
    deployments       owner/name → owner/name of the model behind it
    credit            predictions that are still paid for; then 402 (None: any number)
    creates_per_minute, reads_per_minute   then 429
    max_file          bytes of a file; larger ones are 413 (the real limit is not confirmed)
    retention         seconds after the end for which input, output and logs are kept
    delivery_url      where outputs are said to be; None: at this server, under /delivery
    webhook_pause     seconds between attempts of one webhook
    """

    def __init__(
        self,
        *,
        port: int = 0,
        key: str = "r8_emulated_0123456789abcdefghijklmnopqrst",
        starting_seconds: float = 0.01,
        run_seconds: float = 0.03,
        settle_seconds: float = 0.02,
        workers: int | None = None,
        models: Sequence[Model] = (),
        deployments: dict[str, str] | None = None,
        credit: int | None = None,
        creates_per_minute: int = 600,
        reads_per_minute: int = 3000,
        max_file: int = 100 * 2**20,
        retention: float = RETENTION,
        delivery_url: str | None = None,
        webhook_pause: float = 0.05,
    ) -> None:
        super().__init__(port=port)
        self.faults = Faults(FaultKind, ReplicateFault, changed=self.changes.notify)
        self.key = key
        self.starting_seconds, self.run_seconds = starting_seconds, run_seconds
        self.settle_seconds = settle_seconds
        self.models = {one.key: one for one in (*MODELS, *models)}
        self.deployments = deployments or {"genyard/portraits": "fofr/live-portrait"}
        self.credit = credit
        self.creates_per_minute, self.reads_per_minute = creates_per_minute, reads_per_minute
        self.creates: deque[float] = deque()
        self.reads: deque[float] = deque()
        self.max_file = max_file
        self.retention = retention
        self._delivery_url = delivery_url
        self.webhook_secret = "whsec_" + base64.b64encode(b"emulated webhook secret!").decode()
        self.webhook_pause = webhook_pause
        self.counts = Counts()
        self.predictions: dict[str, Prediction] = {}
        self.uploads: dict[str, Upload] = {}
        self.outputs: dict[str, tuple[str, bytes]] = {}
        self.webhooks = Webhooks(self)
        self._workers = asyncio.Semaphore(workers) if workers is not None else None

    @property
    def base_url(self) -> str:
        """What takes the place of https://api.replicate.com/v1."""
        return f"{self.url}/v1"

    @property
    def delivery_url(self) -> str:
        return self._delivery_url or f"{self.url}/delivery"

    def rows(self) -> list[Row]:
        return rows(self)

    def refuse(self, request: web.Request) -> web.Response | None:
        return refusal(self, request)

    def counted(self) -> dict[str, Json]:
        return {**super().counted(), **self.counts.as_json()}

    # What a test asks

    def runs_of(self, **inputs: Json) -> int:
        """How often predictions with these inputs were started."""
        return sum(
            self.counts.runs[one.id]
            for one in self.predictions.values()
            if all(one.given.get(name) == value for name, value in inputs.items())
        )

    async def until_status(self, prediction_id: str, *statuses: str) -> Prediction:
        await self.changes.until(lambda: self.predictions[prediction_id].status in statuses)
        return self.predictions[prediction_id]

    # What the routes use

    def create(self, prediction: Prediction) -> None:
        self.predictions[prediction.id] = prediction
        self.counts.created += 1
        if self.credit is not None:
            self.credit -= 1
        prediction.task = self.later(self._drive(prediction))
        if prediction.deadline is not None:
            self.later(self._watch(prediction, prediction.deadline))
        self.changes.notify()

    def cancel(self, prediction: Prediction) -> None:
        if not prediction.ended:
            self.counts.canceled += 1
            self._stop(prediction, "canceled")

    def new_id(self) -> str:
        return base64.b32encode(uuid.uuid4().bytes).decode().lower().rstrip("=")

    def forget_old(self, prediction: Prediction) -> None:
        """Its data are gone an hour after the end, and so are its files."""
        if prediction.completed is None or prediction.removed:
            return
        if self.clock.now() - prediction.completed > self.retention:
            self.remove_data(prediction)

    def remove_data(self, prediction: Prediction) -> None:
        prediction.removed = True
        for name in prediction.files:
            self.outputs.pop(name, None)

    # A run

    async def _drive(self, prediction: Prediction) -> None:
        facts = prediction.facts
        if (waits := self.faults.take(FaultKind.wait, **facts)) is not None:
            await (self.clock.sleep(waits.seconds) if waits.seconds else asyncio.Event().wait())
        await self.clock.sleep(self.starting_seconds)
        if self.faults.take(FaultKind.abort, **facts):
            self._end(prediction, "aborted")
            return
        if self._workers is None:
            await self._run(prediction)
            return
        async with self._workers:
            await self._run(prediction)

    async def _run(self, prediction: Prediction) -> None:
        facts = prediction.facts
        prediction.status, prediction.started = "processing", self.clock.now()
        self.counts.runs[prediction.id] += 1
        if (word := self.faults.take(FaultKind.word, **facts)) is not None:
            prediction.word = word.message
        self._tell(prediction, "start")
        if self.faults.take(FaultKind.hang, **facts):
            await asyncio.Event().wait()
        slow = self.faults.take(FaultKind.slow, **facts)
        await self._sample(prediction, self.run_seconds + (slow.seconds if slow is not None else 0.0))
        for kind, message in ERRORS.items():
            if (fault := self.faults.take(kind, **facts)) is not None:
                self._fail(prediction, fault.message or message)
                return
        if self.faults.take(FaultKind.cancel, **facts):
            self._end(prediction, "canceled")
            return
        try:
            await self._make(prediction)
        except CannotUse as wrong:
            self._fail(prediction, str(wrong))
            return
        self._tell(prediction, "output")
        early = self.faults.take(FaultKind.early_output, **facts)
        await self.clock.sleep(self.settle_seconds + (early.seconds if early is not None else 0.0))
        self._end(prediction, "succeeded")

    async def _sample(self, prediction: Prediction, seconds: float) -> None:
        """The time it takes, in steps that its log tells."""
        steps = steps_of(prediction.input)
        if "seed" in prediction.model.properties:
            prediction.logs = f"Using seed: {prediction.input.get('seed', _seed(prediction.id))}\n"
        pieces, began = min(steps, 10), self.clock.now()
        for piece in range(1, pieces + 1):
            await self.clock.sleep(began + seconds * piece / pieces - self.clock.now())
            prediction.log_step(steps * piece // pieces, steps)
            self._tell(prediction, "logs")

    async def _make(self, prediction: Prediction) -> None:
        facts = prediction.facts
        files = {
            name: await self._input_file(str(prediction.given[name])) for name in names_of(prediction.given)
        }
        wanted = complete(prediction.model, prediction.given)
        wanted.setdefault("seed", _seed(prediction.id))
        made = await asyncio.to_thread(make, prediction.model, wanted, files)
        links = []
        for name, data in made:
            place = f"{hashlib.sha256(f'{prediction.id}{name}'.encode()).hexdigest()[:24]}/{name}"
            prompt = str(prediction.given.get("prompt", ""))
            data = spoiled(lambda kind: self.faults.take(kind, **facts), data, prompt)
            self.outputs[place] = (_TYPES[name.rsplit(".", 1)[1]], data)
            prediction.files.append(place)
            links.append(f"{self.delivery_url}/{place}")
        prediction.output = links if prediction.model.listed else links[0]
        if len(links) > 1 and self.faults.take(FaultKind.withheld, **facts):
            prediction.output = links[:-1]
        if self.faults.take(FaultKind.no_output, **facts):
            prediction.output = None

    async def _input_file(self, value: str) -> bytes:
        """What a data URI, an uploaded file or a link holds."""
        if match := re.fullmatch(r"data:[^,]*;base64,(.*)", value, re.DOTALL):
            try:
                return base64.b64decode(match[1], validate=True)
            except ValueError as wrong:
                raise CannotUse("Incorrect padding") from wrong
        if value.startswith(f"{self.base_url}/files/"):
            upload = self.uploads.get(value.rsplit("/", 1)[1])
            if upload is None:
                raise CannotUse(f"404 Client Error: Not Found for url: {value}")
            return upload.data
        if not value.startswith(("http://", "https://")):
            raise CannotUse(f"'{value[:40]}' is not a valid URL")
        try:
            async with aiohttp.ClientSession() as session, session.get(value) as answer:
                if answer.status != 200:
                    raise CannotUse(f"{answer.status} Client Error: {answer.reason} for url: {value}")
                return await answer.read()
        except (aiohttp.ClientError, OSError) as wrong:
            raise CannotUse(f"Cannot connect to {value}") from wrong

    async def _watch(self, prediction: Prediction, deadline: float) -> None:
        """`Cancel-After`: aborted where it has not started, canceled where it runs."""
        await self.clock.sleep(deadline - self.clock.now())
        if not prediction.ended:
            self._stop(prediction, "canceled" if prediction.started is not None else "aborted")

    def _stop(self, prediction: Prediction, status: str) -> None:
        if prediction.task is not None:
            prediction.task.cancel()
        self._end(prediction, status)

    def _fail(self, prediction: Prediction, message: str) -> None:
        prediction.error = message
        self._end(prediction, "failed")

    def _end(self, prediction: Prediction, status: str) -> None:
        prediction.status, prediction.completed = status, self.clock.now()
        if prediction.started is not None:
            count = len(prediction.output) if isinstance(prediction.output, list) else 1
            prediction.seconds = prediction.model.seconds * max(1, count)
        if self.faults.take(FaultKind.remove_data, **prediction.facts):
            self.remove_data(prediction)
        self._tell(prediction, "completed")

    def _tell(self, prediction: Prediction, event: str) -> None:
        self.webhooks.tell(prediction, event)
        self.changes.notify()


def _seed(prediction_id: str) -> int:
    return int(hashlib.sha256(prediction_id.encode()).hexdigest()[:4], 16)
