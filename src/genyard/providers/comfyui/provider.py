"""The contract, on a ComfyUI server: submit, find, observe, cancel, fetch, check.

The history is the truth about an end, the queue about waiting; the socket only says when to look.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from genyard import comfy
from genyard.catalog import Binding, Catalog, load_catalog
from genyard.errors import Code, GenyardError
from genyard.media import suffix_of
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
)
from genyard.providers._http import (
    BROKEN,
    FAILURES,
    NEVER_OPENED,
    BadStatus,
    Failure,
    Http,
    NotJson,
    Place,
    Timeouts,
    error_of,
    raise_for,
)
from genyard.providers.comfyui.compile import compile_steps, endpoint_files
from genyard.providers.comfyui.observing import Limits, Observer, lost
from genyard.providers.comfyui.outcome import node_errors_of, refusal_of
from genyard.providers.comfyui.watching import Clock
from genyard.providers.comfyui.wire import Wire

Json = Any

CAPABILITIES: Final = Capabilities(
    cancel="running",
    progress="steps",
    fuses=True,
    finds=True,
    quotes=False,
    paid=False,
    max_input_bytes=100 * 1024 * 1024,
    output_retention=None,
)

#: A server that answered this many seconds ago needs no probe before a submission.
_FRESH: Final = 30.0


class ComfyUIProvider:
    """One server. Nothing is connected until the first call.

    url       as a person would write it; may carry a path (`…/api`)
    key       bearer key of a proxy in front of it
    limits    time limits and intervals, in seconds
    renamed   model file name of a template or binding → the name that it has on this server
    """

    kind: Final = "comfyui"

    def __init__(
        self,
        *,
        url: str,
        key: str | None = None,
        timeouts: Timeouts | None = None,
        limits: Limits | None = None,
        renamed: Mapping[str, str] | None = None,
        url_setting: str = "COMFYUI_ENDPOINT",
        key_setting: str = "COMFYUI_API_KEY",
        catalog: Catalog | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        self._place = Place(
            title="ComfyUI", url=url.rstrip("/"), key=key, url_setting=url_setting, key_setting=key_setting
        )
        self._http = Http(self._place, timeouts or Timeouts())
        self._wire = Wire(self._http)
        self._renamed = renamed or {}
        self._catalog = catalog or load_catalog()
        self._clock = clock
        self._client_id = uuid.uuid4().hex
        self._limits = limits or Limits()
        self._observer = Observer(
            wire=self._wire, client_id=self._client_id, limits=self._limits, clock=clock
        )
        self._contact_at = float("-inf")

    @property
    def capabilities(self) -> Capabilities:
        return CAPABILITIES

    def compile(self, steps: Sequence[BoundStep], facts: Facts | None) -> Plan:
        return compile_steps(steps, facts, renamed=self._renamed)

    async def close(self) -> None:
        await self._observer.close()
        await self._http.close()

    # Submission

    async def quote(self, plan: Plan) -> None:
        return None

    async def submit(
        self,
        plan: Plan,
        key: UUID,
        media: Mapping[str, Media],
        *,
        webhook: str | None = None,
        leave: Leave | None = None,
    ) -> Ref:
        prompt_id = str(key)
        names = await self._upload(plan, prompt_id, media)
        await self._observer.ready()
        if not names and self._clock() - self._contact_at > _FRESH:
            await self._probe()
        workflow = _with_names(plan, names, f"genyard/{prompt_id}")
        ref = ref_of(prompt_id, plan)
        self._observer.expect(ref, workflow)
        body = {
            "prompt": workflow,
            "prompt_id": prompt_id,
            "client_id": self._client_id,
            "extra_data": {
                "genyard": {"outputs": ref["outputs"], "video": ref["video"]},
                **({"preview_method": "auto"} if plan.payload.get("previews") else {}),
            },
        }
        try:
            if leave is not None:
                await leave()
            await self._post(body, ref)
        except BaseException:
            self._observer.forget(prompt_id)
            raise
        self._contact_at = self._clock()
        return ref

    async def _upload(self, plan: Plan, prompt_id: str, media: Mapping[str, Media]) -> dict[str, str]:
        """Under names that no other attempt has. → input name → what a loader node is to be given."""
        names = {}
        for wanted in plan.inputs:
            one = media[wanted.name]
            filename = f"{one.sha256[:24]}{suffix_of(one.media_type)}"
            try:
                names[wanted.name] = await self._wire.upload(
                    one, subfolder=f"genyard/{prompt_id}", filename=filename
                )
            except BadStatus as refused:
                if refused.status == 413:
                    raise GenyardError(
                        Code.request_unsupported,
                        f"ComfyUI does not take an input of {one.size} bytes (it answered 413)",
                        field=f"inputs.{wanted.name}",
                    ) from refused
                raise_for(refused, self._place, "uploading an input")
            except FAILURES as failure:
                raise_for(failure, self._place, "uploading an input")
            self._contact_at = self._clock()
        return names

    async def _probe(self) -> None:
        """A place that is down, or still starting, is found out while nothing can have been accepted."""
        try:
            await self._wire.remaining()
        except FAILURES as failure:
            raise_for(failure, self._place, "asking for the queue's length")
        self._contact_at = self._clock()

    async def _post(self, body: Mapping[str, Json], ref: Ref) -> None:
        """Returns when the prompt is known to be in the server's hands."""
        try:
            answer = await self._wire.prompt(body)
        except NEVER_OPENED as failure:
            raise_for(failure, self._place, "submitting")
        except BadStatus as refused:
            if refused.status == 400:
                raise refusal_of(refused.json) from refused
            if refused.status < 500 and refused.status != 408:
                raise_for(refused, self._place, "submitting")
            await self._resolve(ref, refused)
        except (NotJson, *BROKEN) as failure:
            await self._resolve(ref, failure)
        else:
            if answer.get("node_errors"):
                await self.cancel(ref)
                raise node_errors_of(answer["node_errors"])

    async def _resolve(self, ref: Ref, failure: Failure) -> None:
        """No usable answer: returns when the submission is found there, else says what is known."""
        asked = False
        for pause in self._limits.lookups:
            await asyncio.sleep(pause)
            try:
                if await self._look_up(ref["prompt_id"]) is not None:
                    return
                asked = True
            except FAILURES:
                continue
        refused_by_server = isinstance(failure, BadStatus) and failure.status in (500, 501, 502, 503)
        if asked and (refused_by_server or isinstance(failure, NotJson)):
            raise error_of(failure, self._place, "submitting") from failure
        raise lost("the answer to the submission never came, and the server does not know of it") from failure

    async def find(self, key: UUID) -> Ref | None:
        try:
            return await self._look_up(str(key))
        except FAILURES as failure:
            raise_for(failure, self._place, "looking a submission up")

    async def _look_up(self, prompt_id: str) -> Ref | None:
        """A job may end between two reads, so the history is read last, and twice."""
        if self._wire.has_jobs and (job := await self._wire.job(prompt_id)) is not None:
            return _found(prompt_id, (job.get("workflow") or {}).get("extra_data"))
        pending = await self._wire.queue()
        if prompt_id in pending:
            return _found(prompt_id, pending.extra[prompt_id])
        for pause in (0.0, 0.05):
            await asyncio.sleep(pause)
            if (entry := await self._wire.history(prompt_id)) is not None:
                return _found(prompt_id, entry["prompt"][3])
        return None

    # While it runs

    async def observe(self, ref: Ref, previous: Snapshot | None, wake: asyncio.Event) -> Snapshot:
        try:
            return await self._observer.observe(ref, previous, wake)
        except FAILURES as failure:
            raise_for(failure, self._place, "following a run")

    async def hook(self, headers: Mapping[str, str], body: bytes) -> bool:
        return False

    async def cancel(self, ref: Ref) -> Canceled:
        try:
            return await self._observer.cancel(ref)
        except FAILURES as failure:
            raise_for(failure, self._place, "canceling a run")

    async def fetch(self, output: RemoteOutput) -> AsyncIterator[bytes]:
        if "text" in output.where:
            yield str(output.where["text"]).encode()
            return
        name = output.where["filename"]
        empty = True
        try:
            async for piece in self._wire.view(output.where):
                empty = False
                yield piece
        except BadStatus as refused:
            if refused.status in (400, 403, 404) and not (refused.status == 403 and self._place.key):
                raise GenyardError(
                    Code.provider_lost_output,
                    f"{name} is not on the server any more (HTTP {refused.status})",
                    context={"filename": name, "status": refused.status},
                ) from refused
            raise_for(refused, self._place, f"downloading {name}")
        except NotJson as page:
            raise GenyardError(
                Code.provider_bad_output, f"a web page came in place of {name}; a proxy may be in between"
            ) from page
        except FAILURES as failure:
            raise_for(failure, self._place, f"downloading {name}")
        if empty:
            raise GenyardError(Code.provider_bad_output, f"{name} is empty on the server")

    # What the place is

    async def check(self) -> Health:
        try:
            stats = await self._wire.system_stats()
            version = _version(stats)
            remaining = await self._wire.remaining()
            catalogue = await self._wire.object_info()
        except FAILURES as failure:
            error = error_of(failure, self._place, "checking the server")
            return Health(reachable=error.code is not Code.provider_unreachable, error=error)
        facts = Facts(version=version, catalogue=catalogue)
        known = comfy.Catalogue(catalogue)
        problems = {
            binding.key: told
            for binding in self._catalog.of(self.kind)
            if (told := _problems(binding, known, self._renamed))
        }
        return Health(reachable=True, version=version, queue_depth=remaining, facts=facts, problems=problems)


def ref_of(prompt_id: str, plan: Plan) -> dict[str, Json]:
    """All that another process needs to go on: it is stored, and the server keeps a copy in `extra_data`."""
    return {
        "prompt_id": prompt_id,
        "outputs": [{"step": one.step, "role": one.role, "where": one.where} for one in plan.outputs],
        "video": plan.video,
    }


def _found(prompt_id: str, extra_data: Json) -> dict[str, Json]:
    told = extra_data.get("genyard") if isinstance(extra_data, Mapping) else None
    told = told if isinstance(told, Mapping) else {}
    return {"prompt_id": prompt_id, "outputs": told.get("outputs", []), "video": bool(told.get("video"))}


def _with_names(plan: Plan, names: Mapping[str, str], prefix: str) -> dict[str, Json]:
    """The workflow with the uploads' names, and file names that no other attempt writes to: ComfyUI answers an
    identical graph from its cache, with the name of a file that may be gone."""
    workflow = {
        node_id: {**node, "inputs": dict(node["inputs"])}
        for node_id, node in plan.payload["workflow"].items()
    }
    for name, sites in plan.payload["uploads"].items():
        for node_id, input_name in sites:
            workflow[node_id]["inputs"][input_name] = names[name]
    for place, (node_id, input_name) in enumerate(plan.payload["prefixes"]):
        workflow[node_id]["inputs"][input_name] = f"{prefix}/{place}"
    return workflow


def _version(stats: Mapping[str, Json]) -> str:
    system = stats["system"]
    version = system.get("comfyui_version") if isinstance(system, Mapping) else None
    if not isinstance(version, str):
        raise NotJson(str(stats)[:200], "application/json")
    return version


def _problems(binding: Binding, known: comfy.Catalogue, renamed: Mapping[str, str]) -> tuple[str, ...]:
    """() as soon as one of the binding's templates can run."""
    templates = [comfy.load_template(name) for name in binding.templates]
    files = endpoint_files(binding, templates, renamed)
    found = [comfy.unfit(template, known, files=files) for template in templates]
    return tuple(str(one) for one in found if one is not None) if all(found) else ()
