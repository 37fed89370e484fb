"""The contract, at Scenario: submit once, ask for the job until it ends, read the assets.

There is no key by which a submission could be found again, and most jobs cannot be canceled: both are said, not hidden.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from genyard.catalog import Catalog, load_catalog
from genyard.catalog.pricing import Rates
from genyard.errors import Code, GenyardError
from genyard.outbound import Outbound
from genyard.providers import (
    BoundStep,
    Canceled,
    Capabilities,
    Cost,
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
from genyard.providers._http import (
    BROKEN,
    FAILURES,
    NEVER_OPENED,
    BadStatus,
    Failure,
    Http,
    NotJson,
    Timeouts,
    error_of,
    raise_for,
)
from genyard.providers._polling import Limits, Poller
from genyard.providers.scenario.compile import compile_step, problem_of
from genyard.providers.scenario.reading import money, refusal, snapshot_of, words_of
from genyard.providers.scenario.uploading import Uploader
from genyard.providers.scenario.wire import BASE_URL, KEYS, Asset, Generated, ScenarioPlace, Wire

Json = Any

CAPABILITIES: Final = Capabilities(
    # The place cancels inference jobs (the old routes) only. Those of the custom route answer that they cannot be
    # canceled; "queued" is the weakest claim that makes the runner ask, and `cancel` says when it was refused.
    cancel="queued",
    progress="coarse",
    finds=False,
    quotes=True,
    webhooks=False,  # they exist, but how they are signed is not documented
    paid=True,
    max_input_bytes=None,  # uploads go in parts; no limit is documented for all models
    output_retention=None,  # assets stay; only links to them expire
)

#: Ids are put into paths, and `scenario:<asset id>` comes from callers.
_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,200}")

#: A job that was made this many seconds ago may not be known everywhere there yet.
_SETTLING: Final = 10.0

#: What models take changes seldom. Where one is missing, it is looked for again each time.
_MODELS_KEPT: Final = 600.0


class ScenarioProvider:
    """One team's account. Nothing is connected until the first call.

    legacy   the routes of before 2026 (`/generate/txt2img`, …), which take `scenario-legacy` bindings
    outbound must trust `base_url`'s origin where that is not on the internet
    now      seconds since the epoch: kept in refs, which outlive a process
    """

    kind: Final = "scenario"

    def __init__(
        self,
        *,
        key: str,
        secret: str,
        legacy: bool = False,
        base_url: str = BASE_URL,
        timeouts: Timeouts,
        limits: Limits,
        outbound: Outbound,
        rates: Rates,
        calls_per_second: float = 5.0,
        catalog: Catalog | None = None,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._place = ScenarioPlace(
            title="Scenario",
            url=base_url.rstrip("/"),
            url_setting="the endpoint's url",
            key_setting=KEYS,
            key=key,
            secret=secret,
        )
        self._http = Http(self._place, timeouts)
        self._wire = Wire(self._http)
        self._uploader = Uploader(self._wire, self._place, timeouts, pause=limits.poll / 3)
        self._outbound = outbound
        self._rates = rates
        self._bindings = "scenario-legacy" if legacy else "scenario"
        self._catalog = catalog or load_catalog()
        self._clock, self._now = clock, now
        self._models: tuple[float, Facts] | None = None
        self._poller = Poller(
            read=self._read, stop=self.cancel, limits=limits, calls_per_second=calls_per_second, clock=clock
        )

    @property
    def capabilities(self) -> Capabilities:
        return CAPABILITIES

    def compile(self, steps: Sequence[BoundStep], facts: Facts | None) -> Plan:
        [step] = steps
        return compile_step(step, facts)

    async def close(self) -> None:
        await self._poller.close()
        await self._uploader.close()
        await self._http.close()
        await self._outbound.close()

    # Submission

    async def quote(self, plan: Plan) -> Cost | None:
        units = await self.quoted_units(plan)
        return money(units, self._rates)

    async def quoted_units(self, plan: Plan) -> float | None:
        """Creative units, by a dry run, which costs nothing. None where it cannot be told without the inputs, which
        are not there yet."""
        body = plan.payload["body"]
        try:
            return (await self._wire.quote(plan.payload["path"], body)).creative_units_cost
        except BadStatus as refused:
            if refused.status in (400, 422) and plan.payload["uploads"]:
                return None
            raise refusal(refused, self._place, "asking for the price", hidden=words_of(body)) from refused
        except FAILURES as failure:
            raise_for(failure, self._place, "asking for the price")

    async def submit(
        self,
        plan: Plan,
        key: UUID,
        media: Mapping[str, Media],
        *,
        webhook: str | None = None,
        leave: Leave | None = None,
    ) -> Ref:
        body = dict(plan.payload["body"])
        for name, site in plan.payload["uploads"].items():
            asset_id = await self._uploader.asset(media[name])
            body[site["to"]] = [*body.get(site["to"], ()), asset_id] if site["many"] else asset_id
        if leave is not None:
            await leave()
        made = await self._generate(plan.payload["path"], body)
        return {
            "id": made.job.job_id,
            "key": str(key),
            "video": plan.video,
            "outputs": [{"step": one.step, "role": one.role, "where": one.where} for one in plan.outputs],
            "units": made.creative_units_cost,
            "at": self._now(),
            "endpoint": self._place.shown_url,
        }

    async def _generate(self, path: str, body: Mapping[str, Json]) -> Generated:
        """Once. What may have been accepted is lost, not tried again: it is paid for."""
        try:
            made = await self._wire.generate(path, body)
        except NEVER_OPENED as failure:
            raise_for(failure, self._place, "submitting")
        except BadStatus as refused:
            if refused.status >= 500 or refused.status == 408:
                raise _lost(f"it answered HTTP {refused.status}") from refused
            if refused.status == 404:
                raise self._no_such_model(path, refused) from refused
            raise refusal(refused, self._place, "submitting", hidden=words_of(body)) from refused
        except NotJson as failure:
            raise _lost("its answer cannot be read") from failure
        except BROKEN as failure:
            raise _lost("its answer never came") from failure
        if not _ID.fullmatch(made.job.job_id):
            raise _lost("its answer names no job")
        return made

    def _no_such_model(self, path: str, refused: BadStatus) -> GenyardError:
        model = path.rpartition("/")[2]
        told = refusal(refused, self._place, "submitting").context
        text = f"Scenario knows nothing at {path!r} (HTTP 404): this team has no model {model!r}, or the route is gone"
        return GenyardError(Code.provider_missing, text, context=told)

    async def find(self, key: UUID) -> None:
        return None

    # While it runs

    async def observe(self, ref: Ref, previous: Snapshot | None, wake: asyncio.Event) -> Snapshot:
        return await self._poller.observe(ref, previous, wake)

    async def _read(self, ref: Ref) -> Snapshot:
        try:
            job = await self._wire.job(ref["id"])
        except BadStatus as refused:
            if refused.status == 404:
                return self._unknown(ref)
            told = refusal(refused, self._place, "asking for a job")
            if refused.status in (401, 403):
                # The job goes on and is paid for, whatever happened to the key: somebody may put that right.
                raise GenyardError(Code.provider_unreachable, told.message, context=told.context) from refused
            if refused.status == 429:
                raise told from refused
            raise
        return snapshot_of(job, ref, self._rates, self._place)

    def _unknown(self, ref: Ref) -> Snapshot:
        if self._now() - ref["at"] < _SETTLING:
            return Snapshot(state=State.queued)
        error = GenyardError(
            Code.provider_lost, "Scenario does not know the job any more", context={"job_id": ref["id"]}
        )
        return Snapshot(state=State.lost, error=error)

    async def hook(self, headers: Mapping[str, str], body: bytes) -> bool:
        return False

    async def cancel(self, ref: Ref) -> Canceled:
        """A refusal is a 400 with a sentence; what the job is afterwards says more than the sentence."""
        refused = False
        try:
            await self._wire.cancel(ref["id"])
        except BadStatus as failure:
            if failure.status not in (400, 404, 409, 422):
                raise refusal(failure, self._place, "canceling a job") from failure
            refused = True
        except FAILURES as failure:
            raise_for(failure, self._place, "canceling a job")
        try:
            after = await self._read(ref)
        except FAILURES as failure:
            raise_for(failure, self._place, "asking for a job")
        self._poller.soon(ref)
        started = after.state is State.running or after.waited is not None
        return Canceled(
            reached=after.state is State.canceled,
            was_running=None if after.state is State.lost else started,
            refused=refused and not after.state.ended,
        )

    # What came out

    async def fetch(self, output: RemoteOutput) -> AsyncIterator[bytes]:
        """`where` is an asset of whatever origin. A link that has expired is asked for again, once."""
        asset_id = str(output.where["asset_id"])
        for last in (False, True):
            asset = await self._asset(asset_id)
            begun = False
            try:
                async for piece in self._outbound.stream(asset.url or ""):
                    begun = True
                    yield piece
            except GenyardError as error:
                if begun or last or error.code is not Code.provider_lost_output:
                    raise
                continue
            if not begun:
                raise GenyardError(Code.provider_bad_output, f"{asset_id} is empty at Scenario")
            return

    async def _asset(self, asset_id: str) -> Asset:
        if not _ID.fullmatch(asset_id):
            raise GenyardError(Code.request_invalid, "that is not the id of a Scenario asset")
        doing = f"reading {asset_id}"
        try:
            asset = await self._wire.asset(asset_id)
        except BadStatus as refused:
            if refused.status in (400, 404, 410):
                raise GenyardError(
                    Code.provider_lost_output,
                    f"Scenario does not have {asset_id} (HTTP {refused.status})",
                    context={"asset_id": asset_id, "status": refused.status},
                ) from refused
            raise refusal(refused, self._place, doing) from refused
        except FAILURES as failure:
            raise_for(failure, self._place, doing)
        if not asset.url:
            raise GenyardError(
                Code.provider_bad_output, f"Scenario has no file for {asset_id} ({asset.status})"
            )
        return asset

    # What the place is

    async def check(self) -> Health:
        try:
            await self._wire.any_model()
            facts = await self._facts()
            at_once = await self._wire.at_once(legacy=self._bindings == "scenario-legacy")
        except FAILURES as failure:
            error = self._told(failure)
            return Health(reachable=error.code is not Code.provider_unreachable, error=error)
        problems = {
            binding.key: (told,)
            for binding in self._catalog.of(self._bindings)
            if (told := problem_of(binding.wire, _fields_of(binding.fields), facts)) is not None
        }
        return Health(reachable=True, facts=facts, problems=problems, at_once=at_once)

    def _told(self, failure: Failure) -> GenyardError:
        if isinstance(failure, BadStatus):
            return refusal(failure, self._place, "checking the account")
        return error_of(failure, self._place, "checking the account")

    async def _facts(self) -> Facts:
        """What each model of our bindings takes. The old routes' models have no such list."""
        if self._bindings == "scenario-legacy":
            return Facts(catalogue={"models": {}})
        if self._models is not None and self._clock() - self._models[0] < _MODELS_KEPT:
            return self._models[1]
        ids = sorted({str(binding.wire["model_id"]) for binding in self._catalog.of(self._bindings)})
        told = await asyncio.gather(*(self._wire.inputs(model_id) for model_id in ids))
        models = {
            model_id: {
                "usable": inputs is not None,
                "inputs": {
                    one.name: one.model_dump(exclude={"name"}, exclude_none=True, by_alias=True, mode="json")
                    for one in inputs or ()
                },
            }
            for model_id, inputs in zip(ids, told, strict=True)
        }
        facts = Facts(catalogue={"models": models})
        if None not in told:
            self._models = (self._clock(), facts)
        return facts


def _fields_of(fields: Any) -> list[str]:
    """The names that a binding sends there."""
    names = [mapped.to for mapped in (*fields.parameters.values(), *fields.inputs.values())]
    return [*names, *fields.constants, *((fields.size.width, fields.size.height) if fields.size else ())]


def _lost(why: str) -> GenyardError:
    return GenyardError(
        Code.provider_lost, f"a submission to Scenario may have been accepted: {why}; nothing is tried again"
    )
