"""The contract, on one RunPod queue endpoint: submit, observe, cancel, fetch, check.

Jobs go through /run and /status, never /runsync: its results are gone after a minute. A job cannot be found again by
our key, and there is no idempotency key: a submission whose answer is lost is `provider.lost`.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final, Literal
from uuid import UUID

from genyard.catalog import Binding, Catalog, load_catalog
from genyard.catalog.pricing import Rates, estimated_usd
from genyard.errors import Code, GenyardError
from genyard.outbound import Outbound
from genyard.providers import (
    BoundStep,
    Canceled,
    Capabilities,
    Facts,
    Health,
    Leave,
    Media,
    Plan,
    Ref,
    RemoteOutput,
    Snapshot,
    State,
)
from genyard.providers._http import BROKEN, FAILURES, NEVER_OPENED, BadStatus, Http, NotJson, Place, Timeouts
from genyard.providers._polling import Clock, Limits, Poller
from genyard.providers.runpod import comfyui, model
from genyard.providers.runpod.files import decoded, walk
from genyard.providers.runpod.health import HealthReader
from genyard.providers.runpod.outcome import snapshot_of
from genyard.providers.runpod.wire import MOST_BYTES, Job, Wire, refusal_of

Json = Any
Protocol = Literal["comfyui", "model"]

#: [doc] What RunPod takes as policy, in milliseconds.
_SHORTEST_RUN, _SHORTEST_LIFE, _LONGEST = 5_000, 10_000, 7 * 86_400_000
#: Seconds beyond our own limits after which RunPod deletes a job: for when nobody of us is left to cancel it.
_MARGIN: Final = 1800.0
#: Seconds after a submission in which a 404 may only mean that the job is not known everywhere yet. A guess.
GRACE: Final = 10.0
#: Pauses between reads after a cancel whose answer does not show it yet.
_CANCEL_PAUSES: Final = (0.0, 0.1, 0.4, 1.0)


class RunPodProvider:
    """One endpoint. Nothing is connected until the first call. The key goes to `base_url` alone.

    declared_files  model files in the endpoint's image, for `comfyui`; empty: not known
    renamed         model file name of a template or binding → the name that it has there
    grace           seconds after a submission in which an unknown job may only be too new to be known
    now, clock      wall clock and monotonic clock, in seconds
    """

    kind: Final = "runpod"

    def __init__(
        self,
        *,
        endpoint_id: str,
        key: str,
        protocol: Protocol,
        timeouts: Timeouts,
        limits: Limits,
        outbound: Outbound,
        rates: Rates,
        base_url: str = "https://api.runpod.ai/v2",
        calls_per_second: float = 20.0,
        renamed: Mapping[str, str] | None = None,
        declared_files: Collection[str] = (),
        catalog: Catalog | None = None,
        grace: float = GRACE,
        now: Callable[[], float] = time.time,
        clock: Clock = time.monotonic,
    ) -> None:
        self._endpoint, self._protocol = endpoint_id, protocol
        self._place = Place(
            title="RunPod",
            url=base_url.rstrip("/"),
            key=key,
            url_setting="the endpoint's id and RUNPOD_BASE_URL",
            key_setting="RUNPOD_API_KEY",
        )
        self._http = Http(self._place, timeouts)
        self._wire = Wire(self._http)
        self._limits, self._outbound, self._rates, self._now = limits, outbound, rates, now
        self._grace = grace
        self._catalog = catalog or load_catalog()
        self._renamed, self._declared = dict(renamed or {}), frozenset(declared_files)
        self._health = HealthReader(wire=self._wire, endpoint=endpoint_id, clock=clock)
        self._poller = Poller(
            read=self._read,
            stop=self._stop,
            limits=limits,
            calls_per_second=calls_per_second,
            clock=clock,
            counts=self._health.counts,
        )
        self._rereads: dict[tuple[str, str], asyncio.Task[Job]] = {}
        self._capabilities = Capabilities(
            cancel="running",
            progress="coarse",
            fuses=protocol == "comfyui",
            webhooks=True,
            paid=True,
            max_input_bytes=MOST_BYTES * 3 // 4 - 100_000 if protocol == "comfyui" else None,
            output_retention=timedelta(minutes=30),
        )

    def __repr__(self) -> str:
        return f"RunPodProvider({self._endpoint} at {self._place.shown_url})"

    @property
    def capabilities(self) -> Capabilities:
        return self._capabilities

    def compile(self, steps: Sequence[BoundStep], facts: Facts | None) -> Plan:
        if self._protocol == "comfyui":
            plan = comfyui.compile_workflow(steps, renamed=self._renamed, declared=self._declared)
            made: dict[str, Json] = {
                "endpoint": self._endpoint,
                "read": {"paths": [], "errors": [], "encoding": "auto"},
            }
        else:
            [step] = steps
            plan, made = model.compile_step(step, self._endpoint), {}
        return replace(plan, payload={**plan.payload, **made, "price": self._price(steps)})

    def _price(self, steps: Sequence[BoundStep]) -> dict[str, float]:
        """US dollars per second of execution, or for the run; {} where nobody has said."""
        price = steps[0].binding.price
        if price is not None and price.per != "second":
            usd = estimated_usd(steps[0].binding, steps[0].parameters, self._rates)
            return {} if usd is None else {"run": usd}
        per_second = self._rates.usd_per_second
        if per_second is None and price is not None:
            per_second = price.usd
        return {} if per_second is None else {"second": per_second}

    async def quote(self, plan: Plan) -> None:
        return None

    async def find(self, key: UUID) -> None:
        return None

    async def close(self) -> None:
        await self._poller.close()
        for reading in self._rereads.values():
            reading.cancel()
        await self._http.close()
        await self._outbound.close()

    # Submission

    async def submit(
        self,
        plan: Plan,
        key: UUID,
        media: Mapping[str, Media],
        *,
        webhook: str | None = None,
        leave: Leave | None = None,
    ) -> Ref:
        told = plan.payload
        if self._protocol == "comfyui":
            given = await comfyui.input_of(plan, str(key), media)
        else:
            given = await model.input_of(plan, media)
        body: dict[str, Json] = {"input": given, "policy": self._policy(plan.video)}
        if webhook is not None:
            body["webhook"] = webhook
        sent = (await asyncio.to_thread(json.dumps, body) if plan.inputs else json.dumps(body)).encode()
        if len(sent) > MOST_BYTES:
            raise comfyui.too_large(
                next((one.name for one in plan.inputs), None), f"this one has {len(sent):,} bytes"
            )
        if leave is not None:
            await leave()
        job = await self._run(told["endpoint"], sent)
        return {
            "id": job.id,
            "key": str(key),
            "endpoint": told["endpoint"],
            "video": plan.video,
            "at": self._now(),
            "rows": told["rows"],
            "read": told["read"],
            "price": told["price"],
        }

    def _policy(self, video: bool) -> dict[str, int]:
        """RunPod stops a run by itself at our limit, and forgets a job that nobody of us came back for."""
        execution = self._limits.video if video else self._limits.image
        life = self._limits.queue + execution + _MARGIN
        return {
            "executionTimeout": min(_LONGEST, max(_SHORTEST_RUN, round(execution * 1000))),
            "ttl": min(_LONGEST, max(_SHORTEST_LIFE, round(life * 1000))),
        }

    async def _run(self, endpoint: str, body: bytes) -> Job:
        """Once. An answer that does not say what became of it leaves the outcome open."""
        try:
            return await self._wire.run(endpoint, body)
        except NEVER_OPENED as failure:
            raise refusal_of(failure, self._place, endpoint, "submitting") from failure
        except BadStatus as refused:
            if refused.status in (400, 413) and len(body) > MOST_BYTES // 2:
                raise comfyui.too_large(None, f"it refused one of {len(body):,} bytes") from refused
            if refused.status < 500 and refused.status != 408:
                raise refusal_of(refused, self._place, endpoint, "submitting") from refused
            raise _lost(f"RunPod answered the submission with HTTP {refused.status}") from refused
        except (NotJson, *BROKEN) as failure:
            raise _lost("the answer to the submission never came") from failure

    # While it runs

    async def observe(self, ref: Ref, previous: Snapshot | None, wake: asyncio.Event) -> Snapshot:
        return await self._poller.observe(ref, previous, wake)

    async def _read(self, ref: Ref) -> Snapshot:
        try:
            seen = snapshot_of(await self._wire.status(ref["endpoint"], ref["id"]), ref)
        except BadStatus as refused:
            if refused.status in (404, 410) and not self._is_new(ref):
                return _unknown(ref)
            if refused.status in (401, 403, 429):
                raise self._refusal(refused, ref, "following a job") from refused
            raise
        return await self._with_health(seen, ref) if seen.state is State.queued else seen

    async def _with_health(self, seen: Snapshot, ref: Ref) -> Snapshot:
        if ref["endpoint"] != self._endpoint:
            return seen
        vitals = await self._health.recent(self._limits.poll)
        if vitals is None:
            return seen
        detail, cold = vitals.why_waiting(self._now() - ref["at"])
        return replace(seen, detail=detail, cold=cold)

    async def hook(self, headers: Mapping[str, str], body: bytes) -> bool:
        """RunPod signs nothing: the path is the secret."""
        return True

    async def cancel(self, ref: Ref) -> Canceled:
        try:
            return await self._stop(ref)
        except FAILURES as failure:
            raise self._refusal(failure, ref, "canceling a job") from failure

    async def _stop(self, ref: Ref) -> Canceled:
        """What counts is the job's state before and afterwards: what the call answers after the end is not published.
        Canceling a running job restarts its worker, so nothing is canceled that has ended."""
        before = await self._known(ref)
        if before is None and not self._is_new(ref):
            return Canceled(reached=False)
        if before is None or not before.state.ended:
            try:
                await self._wire.cancel(ref["endpoint"], ref["id"])
            except BadStatus as refused:
                if refused.status not in (400, 404, 409, 410):
                    raise
        self._poller.soon(ref)
        after = before
        for pause in _CANCEL_PAUSES:
            if after is not None and after.state.ended:
                break
            await asyncio.sleep(pause)
            after = await self._known(ref)
        if after is None or after.state is not State.canceled:
            return Canceled(reached=False)
        was_running = before is not None and before.state is State.running
        return Canceled(reached=True, was_running=was_running or (after.seconds or 0.0) > 0.0)

    async def _known(self, ref: Ref) -> Snapshot | None:
        try:
            return snapshot_of(await self._wire.status(ref["endpoint"], ref["id"]), ref)
        except BadStatus as refused:
            if refused.status in (404, 410):
                return None
            raise

    def _is_new(self, ref: Ref) -> bool:
        return self._now() - float(ref["at"]) < self._grace

    # Outputs

    async def fetch(self, output: RemoteOutput) -> AsyncIterator[bytes]:
        """An address without our key; data from the job itself, which RunPod keeps for 30 minutes."""
        where = output.where
        if "url" in where:
            async for piece in self._outbound.stream(str(where["url"])):
                yield piece
            return
        try:
            job = await self._reread(where["endpoint"], where["id"])
            text = walk(job.output, where["path"])
        except FAILURES as failure:
            if isinstance(failure, BadStatus) and failure.status in (404, 410):
                raise _gone() from failure
            raise refusal_of(failure, self._place, where["endpoint"], "downloading an output") from failure
        except LookupError:
            raise _gone() from None
        for piece in decoded(str(text)):
            yield piece

    async def _reread(self, endpoint: str, job: str) -> Job:
        """Several outputs of one job, fetched at once, share one answer; it is kept no longer."""
        reading = self._rereads.get((endpoint, job))
        if reading is None:
            reading = asyncio.create_task(self._wire.status(endpoint, job), name="genyard-reread")
            self._rereads[endpoint, job] = reading
            reading.add_done_callback(lambda _: self._rereads.pop((endpoint, job), None))
        return await asyncio.shield(reading)

    # What the place is

    async def check(self) -> Health:
        try:
            vitals = await self._health.read()
        except FAILURES as failure:
            error = refusal_of(failure, self._place, self._endpoint, "asking for the endpoint's health")
            return Health(reachable=error.code is not Code.provider_unreachable, error=error)
        stuck = vitals.problem()
        problems = {
            binding.key: told
            for binding in self._bindings()
            if (
                told := (
                    *([stuck] if stuck else []),
                    *comfyui.problems_of(binding, self._renamed, self._declared),
                )
            )
        }
        return Health(reachable=True, version="", queue_depth=vitals.waiting, problems=problems)

    def _bindings(self) -> Iterator[Binding]:
        catalog = self._catalog
        if self._protocol == "comfyui":
            yield from catalog.of("comfyui")
            return
        yield from catalog.of("runpod")
        for binding in catalog.of("runpod-public"):
            if binding.wire.get("endpoint_id") == self._endpoint:
                yield binding

    def _refusal(self, failure: Any, ref: Ref, doing: str) -> GenyardError:
        return refusal_of(failure, self._place, ref["endpoint"], doing)


def _unknown(ref: Ref) -> Snapshot:
    error = GenyardError(
        Code.provider_lost,
        "RunPod does not know the job any more: it keeps results for 30 minutes, and deletes jobs at their ttl",
        context={"endpoint": ref["endpoint"]},
    )
    return Snapshot(state=State.lost, error=error, word="404")


def _lost(why: str) -> GenyardError:
    return GenyardError(
        Code.provider_lost, f"{why}: the job may run there, and RunPod cannot be asked by our key"
    )


def _gone() -> GenyardError:
    return GenyardError(
        Code.provider_lost_output, "RunPod does not have the result any more: it keeps results for 30 minutes"
    )
