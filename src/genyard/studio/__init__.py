"""The product as one object. Every front end translates to these methods and back; none of them does more.

All methods raise `GenyardError` with a stable code; nothing is stored or charged by a request that is refused.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import zipfile
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path
from typing import Any
from uuid import UUID

from genyard.catalog import Catalog
from genyard.errors import Code, GenyardError
from genyard.jobs.assets import Assets, NewOutput
from genyard.jobs.hooks import Hooks
from genyard.jobs.housekeeping.keeper import Keeper
from genyard.jobs.live import Live
from genyard.jobs.model import Asset, Event, Job, new_id
from genyard.jobs.records import NewJob, Spending
from genyard.jobs.store import Jobs
from genyard.ledger import Balance, Ledger, Movement
from genyard.media import MediaLimits, kind_of
from genyard.owners import LOCAL_OWNER
from genyard.pipelines import Step, forget_seeds, parse_steps
from genyard.providers import Health
from genyard.routing import Routes
from genyard.storable import require_storable
from genyard.storage import LinkSigner, Storage, spool
from genyard.studio.imports import Imports
from genyard.studio.offers import Offers
from genyard.studio.paying import Paying
from genyard.studio.places import Place, Places
from genyard.studio.planning import Planned, Planner
from genyard.studio.policy import Judged, Policy
from genyard.studio.request import Request, parse_tags, require_body, require_filters, require_key
from genyard.studio.watching import Watching
from genyard.studio.webhooks import Webhooks
from genyard.telemetry import bind_trace, current_trace, new_trace_id


@dataclass(frozen=True, kw_only=True)
class Submitted:
    """`replayed`: the idempotency key was known, and this is the job that it made the first time."""

    job: Job
    replayed: bool = False


class Studio:
    """Built by `app.build`; needs a running worker somewhere for jobs to move."""

    def __init__(
        self,
        *,
        jobs: Jobs,
        assets: Assets,
        live: Live,
        storage: Storage,
        places: Places,
        catalog: Catalog,
        routes: Routes,
        limits: MediaLimits,
        signer: LinkSigner,
        hooks: Hooks,
        ledger: Ledger,
        paying: Paying,
        webhooks: Webhooks,
        keeper: Keeper,
        policy: Policy | None = None,
        grace: float = 15.0,
    ) -> None:
        self._jobs = jobs
        self._assets = assets
        self._storage = storage
        self._places = places
        self._watching = Watching(jobs=jobs, live=live)
        self._offers = Offers(catalog=catalog, places=places, routes=routes)
        self._planner = Planner(
            catalog=catalog, places=places, assets=assets, gives_links=storage.gives_links
        )
        self._imports = Imports(
            places=places,
            assets=assets,
            limits=limits,
            keep=lambda data, name, owner_id: self.upload(data, name=name, owner_id=owner_id),
        )
        self._routes = routes
        self._limits = limits
        self._hooks = hooks
        self._paying = paying
        self.ledger = ledger
        self.signer = signer
        self.webhooks = webhooks
        self.keeper = keeper
        self._policy = policy
        self._grace = grace

    # ---- jobs ----

    async def estimate(
        self, body: Mapping[str, Any], *, owner_id: UUID = LOCAL_OWNER, endpoint: str | None = None
    ) -> Planned:
        """What `submit` would do and what it would cost, without doing it."""
        require_body(body)
        request = Request.parse(await self._imports.resolve(body, owner_id))
        return await self._planner.quoted(await self._plan(request, owner_id, endpoint))

    async def _plan(self, request: Request, owner_id: UUID, endpoint: str | None) -> Planned:
        planned = await self._planner.plan(
            request.steps,
            owner_id,
            routes=self._routes if endpoint is None else Routes(default=endpoint, pinned=True),
            embed_prompt=request.embed_prompt,
            previews=request.previews,
        )
        return await self._paying.priced(planned, owner_id)

    async def submit(
        self,
        body: Mapping[str, Any],
        *,
        owner_id: UUID = LOCAL_OWNER,
        idempotency_key: str | None = None,
        rerun_of: UUID | None = None,
        endpoint: str | None = None,
    ) -> Submitted:
        """Accepts a job. The same key with the same body gives the first job again; with another body it is
        `request.conflict`. `endpoint`: to this place, whatever the routes say."""
        require_body(body)
        require_key(idempotency_key)
        digest = hashlib.sha256(json.dumps(body, sort_keys=True, default=str).encode()).digest()
        if idempotency_key is not None:
            known = await self._known(owner_id, idempotency_key, digest)
            if known is not None:
                return known
        trace_id = current_trace() or new_trace_id()
        bind_trace(trace_id)
        judged = await self._judge(body, owner_id, trace_id)
        request = judged.applied(Request.parse(await self._imports.resolve(body, owner_id)))
        webhook = await self.webhooks.accept(request.webhook)
        planned = await self._plan(request, owner_id, endpoint)
        job = await self._jobs.insert(
            NewJob(
                id=new_id(),
                owner_id=owner_id,
                steps=[step.as_json() for step in planned.steps],
                operation=planned.steps[-1].operation,
                prompt=_prompt(planned.steps),
                trace_id=trace_id,
                stages=planned.stages,
                tags=request.tags,
                priority=request.priority,
                idempotency_key=idempotency_key,
                request_hash=digest,
                rerun_of=rerun_of,
                previews=request.previews,
                embed_prompt=request.embed_prompt,
                expires_in=request.expires_in,
                price=planned.price,
                budget=planned.budget,
                webhook=webhook,
                policy=judged.facts,
                grace=self._grace if request.needs_watcher else None,
            )
        )
        if job is None:
            assert idempotency_key is not None
            known = await self._known(owner_id, idempotency_key, digest)
            assert known is not None
            return known
        return Submitted(job=job)

    async def _judge(self, body: Mapping[str, Any], owner_id: UUID, trace_id: str) -> Judged:
        if self._policy is None:
            return Judged()
        named, names = self._imports.named(body)
        request = Request.parse(named)
        return await self._policy.judge(request, owner_id=owner_id, trace_id=trace_id, names=names)

    async def _known(self, owner_id: UUID, key: str, digest: bytes) -> Submitted | None:
        found = await self._jobs.find_by_idempotency_key(owner_id, key)
        if found is None:
            return None
        job_id, known_digest = found
        if known_digest != digest:
            raise GenyardError(
                Code.request_conflict,
                f"this Idempotency-Key was used for another request (job {job_id}); take a new key",
                field="Idempotency-Key",
            )
        return Submitted(job=await self._jobs.get(job_id, owner_id), replayed=True)

    async def rerun(self, job_id: UUID, *, owner_id: UUID = LOCAL_OWNER, new_seed: bool = False) -> Job:
        """The same request again, with the same seeds or with new ones, on whatever is routed now. What it does not
        take over is `expires_in`: that was about the moment of the first one."""
        job = await self._jobs.get(job_id, owner_id)
        steps = parse_steps(job.steps)
        if new_seed:
            steps = forget_seeds(steps)
        body = {
            "steps": [step.as_json() for step in steps],
            "tags": list(job.tags),
            "priority": job.priority,
            "previews": job.previews,
            "embed_prompt": job.embed_prompt,
        }
        if job.grace is not None:
            body["on_disconnect"] = "cancel"
        if job.webhook is not None:
            body |= {f"webhook_{name}": job.webhook[name] for name in ("url", "events", "prompts")}
        return (await self.submit(body, owner_id=owner_id, rerun_of=job_id)).job

    async def get(self, job_id: UUID, *, owner_id: UUID = LOCAL_OWNER) -> Job:
        return await self._jobs.get(job_id, owner_id)

    async def jobs(self, *, owner_id: UUID = LOCAL_OWNER, limit: int = 20, **filters: Any) -> Sequence[Job]:
        """Newest first. Filters: before, state, operation, tag, search."""
        require_filters(limit, filters)
        return await self._jobs.search(owner_id, limit=limit, **filters)

    async def cancel(self, job_id: UUID, *, owner_id: UUID = LOCAL_OWNER) -> Job:
        """Idempotent. A queued job ends at once; a running one ends as soon as its place has stopped."""
        await self._jobs.cancel(job_id, owner_id)
        return await self._jobs.get(job_id, owner_id)

    def watch(self, job_id: UUID, *, owner_id: UUID = LOCAL_OWNER, after: int = 0) -> AsyncIterator[Event]:
        """Events after number `after`, then what happens live, until the job has ended. Across processes."""
        return self._watching.events(job_id, owner_id, after)

    async def wait(self, job_id: UUID, *, owner_id: UUID = LOCAL_OWNER) -> Job:
        """The job once it has ended."""
        await self._watching.end(job_id, owner_id)
        return await self._jobs.get(job_id, owner_id)

    async def make(
        self,
        operation: str,
        *,
        inputs: Mapping[str, Path | bytes | Asset] | None = None,
        model: str | None = None,
        owner_id: UUID = LOCAL_OWNER,
        **parameters: Any,
    ) -> Job:
        """One operation from beginning to end: uploads the inputs, submits, waits. Raises what made it fail."""
        refs = {
            role: str(await self._as_asset(given, f"inputs.{role}", owner_id))
            for role, given in (inputs or {}).items()
        }
        body = {"operation": operation, "parameters": parameters, "inputs": refs, "model": model}
        submitted = await self.submit(body, owner_id=owner_id)
        job = await self.wait(submitted.job.id, owner_id=owner_id)
        if job.error is not None:
            raise GenyardError.from_json(job.error)
        return job

    async def _as_asset(self, given: Path | bytes | Asset, field: str, owner_id: UUID) -> UUID:
        if isinstance(given, Asset):
            return given.id
        # imported here, because image libraries load only when they are needed
        from genyard.studio.uploads import read_input

        data = await asyncio.to_thread(read_input, given, field)
        name = given.name if isinstance(given, Path) else ""
        try:
            return (await self.upload(data, name=name, owner_id=owner_id)).id
        except GenyardError as wrong:
            raise GenyardError(
                wrong.code, wrong.message, field=wrong.field or field, context=wrong.context
            ) from wrong

    async def delete(self, job_id: UUID, *, owner_id: UUID = LOCAL_OWNER) -> None:
        """For good, with its outputs. `request.conflict` while it has not ended."""
        for name in await self._jobs.delete(job_id, owner_id):
            await self._storage.delete(name)

    async def preview(self, job_id: UUID, *, owner_id: UUID = LOCAL_OWNER) -> bytes:
        """The newest unfinished picture (JPEG or PNG)."""
        job = await self._jobs.get(job_id, owner_id)
        if job.preview_key is None:
            raise GenyardError(Code.not_found, "no unfinished picture of this job", field="job_id")
        return await self._storage.read(job.preview_key)

    async def zip(self, job_id: UUID, *, owner_id: UUID = LOCAL_OWNER) -> AsyncIterator[bytes]:
        """All outputs and `job.json`, as one archive, a piece at a time. Dated by the end of the job (UTC)."""
        job = await self._jobs.get(job_id, owner_id)
        at = (job.finished_at or job.created_at).astimezone(UTC).timetuple()[:6]
        with contextlib.closing(spool()) as file:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
                archive.writestr(zipfile.ZipInfo("job.json", at), json.dumps(job.as_json(), indent=2))
                for asset in job.outputs:
                    with archive.open(zipfile.ZipInfo(asset.name, at), "w") as entry:
                        async for piece in self._storage.stream(asset.object):
                            entry.write(piece)
            file.seek(0)
            while piece := file.read(1024 * 1024):
                yield piece

    def require_hook(self, endpoint: str, key: UUID, token: str) -> Place:
        """`request.not_found` for an address that no place was given: before anything that is sent there is read."""
        place = self._places.all.get(endpoint)
        if place is None or not self._hooks.verify(endpoint, key, token):
            raise GenyardError(Code.not_found, "no such hook")
        return place

    async def hook(
        self, endpoint: str, key: UUID, token: str, headers: Mapping[str, str], body: bytes
    ) -> None:
        """A place says that something happened to an attempt: whoever drives it looks now. `access.forbidden` for a
        call that does not come from the place."""
        place = self.require_hook(endpoint, key, token)
        if not await place.provider.hook(headers, body):
            raise GenyardError(Code.forbidden, f"this call is not signed by {endpoint}")
        await self._jobs.wake(endpoint, key)

    # ---- credits ----

    @property
    def credits_enabled(self) -> bool:
        return self._paying.enabled

    async def balance(self, *, owner_id: UUID = LOCAL_OWNER) -> Balance:
        return await self.ledger.balance(owner_id)

    async def statement(
        self, *, owner_id: UUID = LOCAL_OWNER, limit: int = 50, before: int | None = None
    ) -> Sequence[Movement]:
        """Every movement on the owner's account, newest first. What admins do is `ledger`'s."""
        require_filters(limit, {})
        return await self.ledger.statement(owner_id, limit=limit, before=before)

    async def budget(self, *, owner_id: UUID = LOCAL_OWNER) -> Mapping[str, Any]:
        """What an owner may spend at paid places, and has spent: see `Paying.budget`."""
        return await self._paying.budget(owner_id)

    # ---- assets ----

    async def upload(
        self, data: bytes, *, name: str = "", owner_id: UUID = LOCAL_OWNER, tags: Sequence[str] = ()
    ) -> Asset:
        """Stores an image, video or sound after looking at it. `media.invalid` says what is wrong with it."""
        from genyard.studio.uploads import inspect_upload  # image libraries load only when they are needed

        require_storable(name, "name")
        words = parse_tags(tags)
        output = await asyncio.to_thread(inspect_upload, data, self._limits)
        blob = await self._storage.put(output.data, output.media_type)
        new = NewOutput(
            blob=blob,
            role=kind_of(output.media_type).value,
            step="",
            position=0,
            name=Path(name).name[:200],
            width=output.width,
            height=output.height,
            seconds=output.seconds,
            facts={},
            delivered=True,
        )
        try:
            asset = await self._assets.insert(owner_id, new, words)
        except GenyardError:
            await self._storage.delete(blob.object)
            raise
        if asset.object != blob.object:
            await self._storage.delete(blob.object)
        return asset

    async def asset(self, asset_id: UUID, *, owner_id: UUID | None = LOCAL_OWNER) -> Asset:
        """`owner_id` None is for links that carry a valid signature."""
        return await self._assets.get(asset_id, owner_id)

    async def assets(
        self, *, owner_id: UUID = LOCAL_OWNER, limit: int = 50, **filters: Any
    ) -> Sequence[Asset]:
        """Newest first. Filters: before, role, tag, facts, search."""
        require_filters(limit, filters)
        return await self._assets.search(owner_id, limit=limit, **filters)

    async def delete_asset(self, asset_id: UUID, *, owner_id: UUID = LOCAL_OWNER) -> None:
        for name in await self._assets.delete(asset_id, owner_id):
            await self._storage.delete(name)

    def open(self, asset: Asset, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """The bytes [start, end) in pieces."""
        return self._storage.stream(asset.object, start, end)

    async def read(self, asset: Asset) -> bytes:
        return await self._storage.read(asset.object)

    async def save(self, job: Job, folder: Path) -> list[Path]:
        """Writes the job's outputs as files; names that exist get the job's id in front."""
        return [
            await asyncio.to_thread(_write, folder, asset, str(job.id)[-8:], await self.read(asset))
            for asset in job.outputs
        ]

    # ---- places ----

    @property
    def provider(self) -> str:
        """Where operations go that have no route of their own."""
        return self._routes.default

    @property
    def endpoints(self) -> dict[str, str]:
        """Every configured endpoint: name → kind."""
        return self._places.kinds

    async def spending(self) -> Sequence[Spending]:
        """Today's spending of each paid endpoint, and its cap."""
        return await self._places.spending()

    async def health_of(self, name: str, *, max_age: float = 30.0) -> Health:
        """One endpoint, looked at again when what is known of it is older than `max_age` seconds."""
        return await self._places.health(name, max_age=max_age)

    async def has_worker(self) -> bool:
        """Whether a worker is alive anywhere; without one, jobs wait."""
        return await self._jobs.any_worker()

    async def paused(self) -> dict[str, dict[str, Any]]:
        """Endpoints at which nothing new starts: since when, and why."""
        return await self._jobs.endpoints.paused()

    async def pause(self, endpoint: str, why: str = "") -> None:
        """Nothing new starts there; what runs goes on. `request.not_found`."""
        require_storable(why, "why")
        await self._jobs.endpoints.pause(endpoint, why)

    async def resume(self, endpoint: str) -> None:
        await self._jobs.endpoints.resume(endpoint)

    def routes(self) -> list[dict[str, Any]]:
        """Where requests for each operation go when no model is named."""
        return self._offers.routes()

    async def health(self, *, max_age: float = 30.0) -> dict[str, Health]:
        """Every configured endpoint, looked at side by side."""
        names = list(self._places.all)
        found = await asyncio.gather(*(self._places.health(name, max_age=max_age) for name in names))
        return dict(zip(names, found, strict=True))

    async def operations(self, health: Mapping[str, Health] | None = None) -> list[dict[str, Any]]:
        """Each operation with its schema, inputs and who can serve it now (by `health`, else by a look)."""
        return self._offers.operations(health or await self.health())


def _write(folder: Path, asset: Asset, prefix: str, data: bytes) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / asset.name
    if path.exists():
        path = folder / f"{prefix}-{asset.name}"
    path.write_bytes(data)
    return path


def _prompt(steps: Sequence[Step]) -> str:
    return "\n".join(step.parameters["prompt"] for step in steps if step.parameters.get("prompt"))
