"""The contract, on Replicate: submit, observe, cancel, fetch, check.

A prediction cannot be found again by our key, and there is no idempotency key: a submission whose answer is lost is
`provider.lost`. Outputs are gone after one hour.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final
from urllib.parse import unquote_to_bytes
from uuid import UUID

from yarl import URL

from genyard.catalog import Catalog, load_catalog
from genyard.catalog.binding import MappedInput
from genyard.catalog.pricing import Rates
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
from genyard.providers._fields import field_of, put_media
from genyard.providers._http import (
    BROKEN,
    FAILURES,
    NEVER_OPENED,
    BadStatus,
    Http,
    NotJson,
    Place,
    Timeouts,
    error_of,
    raise_for,
)
from genyard.providers._polling import Limits, Poller
from genyard.providers.replicate.compile import call_of, compile_step
from genyard.providers.replicate.outcome import files_of, refusal_of, snapshot_of
from genyard.providers.replicate.signature import could_be_signed, is_signed
from genyard.providers.replicate.wire import Prediction, Wire

Json = Any

CAPABILITIES: Final = Capabilities(
    cancel="running",
    progress="coarse",
    webhooks=True,
    paid=True,
    output_retention=timedelta(hours=1),
)

#: A data URI up to this many characters is put into the request; larger media are uploaded first.
_INLINE: Final = 256 * 1024
#: Larger media are fetched by Replicate itself where our storage can be reached. What /files takes is not documented.
_UPLOAD: Final = 64 * 2**20

#: Our own limits stop a run first; Replicate's deadline is for when nobody of us is left to do it.
_DEADLINE_MARGIN: Final = 60.0

#: Pauses between reads after a cancel whose answer does not show it yet.
_CANCEL_PAUSES: Final = (0.1, 0.4, 1.0)

#: After a failed attempt to get the webhooks' secret, seconds without another one: anybody can call a webhook.
_SECRET_PAUSE: Final = 60.0

_DELIVERY: Final = "replicate.delivery"


class ReplicateProvider:
    """One account. Nothing is connected until the first call.

    webhook_secret  whsec_…; asked for once where it is not given
    now             the wall clock, for signatures and for how long a prediction has been starting
    """

    kind: Final = "replicate"
    capabilities: Final = CAPABILITIES

    def __init__(
        self,
        *,
        key: str,
        timeouts: Timeouts,
        limits: Limits,
        outbound: Outbound,
        rates: Rates,
        base_url: str = "https://api.replicate.com/v1",
        calls_per_second: float = 10.0,
        webhook_secret: str | None = None,
        catalog: Catalog | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._place = Place(
            title="Replicate",
            url=base_url.rstrip("/"),
            key=key,
            url_setting="the endpoint's base_url",
            key_setting="REPLICATE_API_TOKEN",
        )
        self._http = Http(self._place, timeouts)
        self._wire = Wire(self._http)
        self._limits, self._outbound, self._rates, self._now = limits, outbound, rates, now
        self._poller = Poller(
            read=self._read, stop=self._stop, limits=limits, calls_per_second=calls_per_second
        )
        self._catalog = catalog or load_catalog()
        self._found: set[str] = set()
        self._secret = webhook_secret
        self._secret_asked_at = float("-inf")
        self._secret_lock = asyncio.Lock()

    def __repr__(self) -> str:
        return f"ReplicateProvider({self._place.shown_url})"

    def compile(self, steps: Sequence[BoundStep], facts: Facts | None) -> Plan:
        [step] = steps
        return compile_step(step, self._rates)

    async def quote(self, plan: Plan) -> None:
        return None

    async def close(self) -> None:
        await self._poller.close()
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
        given = {**told["body"]["input"]}
        for slot in told["slots"]:
            field = field_of(slot)
            put_media(given, field, await self._said(media[slot["name"]], field))
        body = {**told["body"], "input": given}
        if webhook is not None:
            body |= {"webhook": webhook, "webhook_events_filter": ["start", "completed"]}
        if leave is not None:
            await leave()
        created = await self._create(told["path"], body, name=told["name"], video=plan.video)
        return {
            "id": created.id,
            "key": str(key),
            "video": plan.video,
            "outputs": [{"step": one.step, "role": one.role, "where": one.where} for one in plan.outputs],
            "price": told["price"],
            "free_before_start": told["free_before_start"],
            "expected": told["expected"],
            "field": told["field"],
        }

    async def _said(self, media: Media, field: MappedInput) -> str:
        """A medium as the model reads it. An address may be a data URI, a link to our storage, or an upload."""
        if field.form in ("base64", "data_uri") or media.size * 4 / 3 + 100 <= _INLINE:
            text = base64.b64encode(b"".join([piece async for piece in media.open()])).decode()
            return text if field.form == "base64" else f"data:{media.media_type};base64,{text}"
        if media.link is not None and media.size > _UPLOAD:
            return await media.link()
        try:
            return await self._wire.upload(media)
        except BadStatus as refused:
            if refused.status == 413 and media.link is not None:
                return await media.link()
            if refused.status == 413:
                raise GenyardError(
                    Code.request_unsupported,
                    f"Replicate does not take an input of {media.size} bytes (it answered 413), and cannot reach our "
                    "storage",
                    field=f"inputs.{media.name}",
                ) from refused
            raise self._refusal(refused, "uploading an input", name="it") from refused
        except FAILURES as failure:
            raise_for(failure, self._place, "uploading an input")

    async def _create(self, path: str, body: Mapping[str, Json], *, name: str, video: bool) -> Prediction:
        """Once. An answer that does not say what became of it leaves the outcome open."""
        execution = self._limits.video if video else self._limits.image
        patience = self._limits.queue + execution + _DEADLINE_MARGIN
        try:
            return await self._wire.create(path, body, cancel_after=patience)
        except NEVER_OPENED as failure:
            raise_for(failure, self._place, "submitting")
        except BadStatus as refused:
            if refused.status < 500 and refused.status != 408:
                raise self._refusal(refused, "submitting", name=name, given=body["input"]) from refused
            raise _lost(f"Replicate answered the submission with HTTP {refused.status}") from refused
        except (NotJson, *BROKEN) as failure:
            raise _lost("the answer to the submission never came") from failure

    def _refusal(
        self, refused: BadStatus, doing: str, *, name: str = "it", given: Json = None
    ) -> GenyardError:
        return refusal_of(refused, self._place, doing, name=name, given=given)

    async def find(self, key: UUID) -> None:
        return None

    # While it runs

    async def observe(self, ref: Ref, previous: Snapshot | None, wake: asyncio.Event) -> Snapshot:
        return await self._poller.observe(ref, previous, wake)

    async def _read(self, ref: Ref) -> Snapshot:
        try:
            return snapshot_of(await self._wire.get(ref["id"]), ref, self._now())
        except BadStatus as refused:
            if refused.status in (404, 410):
                error = GenyardError(Code.provider_lost, "Replicate does not know the prediction any more")
                return Snapshot(state=State.lost, error=error)
            if refused.status == 429 or refused.status in (401, 402, 403):
                raise self._refusal(refused, "following a run") from refused
            raise

    async def cancel(self, ref: Ref) -> Canceled:
        try:
            return await self._stop(ref)
        except BadStatus as refused:
            raise self._refusal(refused, "canceling a run") from refused
        except FAILURES as failure:
            raise_for(failure, self._place, "canceling a run")

    async def _stop(self, ref: Ref) -> Canceled:
        """What counts is the prediction's state afterwards: what the call answers after the end is not documented."""
        try:
            seen = await self._wire.cancel(ref["id"])
        except BadStatus as refused:
            if refused.status in (401, 402, 403, 408, 429) or refused.status >= 500:
                raise
            if refused.status in (404, 410):
                return Canceled(reached=False)
            seen = await self._wire.get(ref["id"])
        for pause in _CANCEL_PAUSES:
            if snapshot_of(seen, ref, self._now()).state.ended:
                break
            await asyncio.sleep(pause)
            seen = await self._wire.get(ref["id"])
        self._poller.soon(ref)
        reached = seen.status in ("canceled", "aborted")
        started = seen.started_at is not None and seen.status != "aborted"
        return Canceled(reached=reached, was_running=started if reached else None)

    async def hook(self, headers: Mapping[str, str], body: bytes) -> bool:
        if not could_be_signed(headers, self._now()):
            return False
        secret = await self._webhook_secret()
        return secret is not None and is_signed(headers, body, secret)

    async def _webhook_secret(self) -> str | None:
        """Given, or asked for once. A webhook is a mere wake-up: where the secret cannot be had, it is not heard."""
        async with self._secret_lock:
            if self._secret is None and self._now() - self._secret_asked_at > _SECRET_PAUSE:
                self._secret_asked_at = self._now()
                try:
                    self._secret = await self._wire.webhook_secret()
                except FAILURES:
                    return None
            return self._secret

    # Outputs

    async def fetch(self, output: RemoteOutput) -> AsyncIterator[bytes]:
        if "url" in output.where:
            url, empty = str(output.where["url"]), True
            async for piece in self._outbound.stream(url, headers=self._headers_for(url)):
                empty = False
                yield piece
            if empty:
                raise GenyardError(Code.provider_bad_output, "Replicate handed out an empty file")
        else:
            yield await self._inline(output.where)

    def _headers_for(self, url: str) -> dict[str, str]:
        """The key goes to Replicate's API and to its delivery hosts. (The official client, 1.0.7, sends it wherever an
        output points.)"""
        try:
            target, base = URL(url), self._place.base
        except ValueError:
            return {}
        host = target.host
        if host is None:
            return {}
        delivery = target.scheme == "https" and (host == _DELIVERY or host.endswith(f".{_DELIVERY}"))
        api = target.origin() == base.origin() and target.path.startswith(f"{base.path}/")
        return self._place.headers if delivery or api else {}

    async def _inline(self, where: Mapping[str, Json]) -> bytes:
        """An output that is a data URI is read from the prediction again: it is not stored with the job."""
        try:
            seen = await self._wire.get(where["id"])
        except FAILURES as failure:
            raise_for(failure, self._place, "downloading an output")
        files = list(files_of(seen.output, where["field"]))
        if where["number"] >= len(files):
            raise GenyardError(Code.provider_lost_output, "the output is not there any more")
        head, _, text = files[where["number"]].partition(",")
        try:
            return (
                base64.b64decode(text, validate=True) if head.endswith(";base64") else unquote_to_bytes(text)
            )
        except (binascii.Error, ValueError) as wrong:
            raise GenyardError(Code.provider_bad_output, "the output is not readable base64") from wrong

    async def check(self) -> Health:
        try:
            await self._wire.account()
            problems = await self._problems()
        except FAILURES as failure:
            error = error_of(failure, self._place, "asking for the account")
            return Health(reachable=error.code is not Code.provider_unreachable, error=error)
        return Health(reachable=True, problems=problems)

    async def _problems(self) -> dict[str, tuple[str, ...]]:
        """Bindings whose model is not there any more. What was found once is not asked for again."""
        calls = {one.key: call_of(one) for one in self._catalog.of(self.kind)}
        unknown = {call.about for call in calls.values()} - self._found
        told = await asyncio.gather(*(self._wire.knows(path) for path in unknown))
        missing = {path for path, known in zip(unknown, told, strict=True) if not known}
        self._found |= unknown - missing
        return {
            key: (f"Replicate does not know {call.name}, or {self._place.key_setting} may not use it",)
            for key, call in calls.items()
            if call.about in missing
        }


def _lost(why: str) -> GenyardError:
    return GenyardError(
        Code.provider_lost, f"{why}: it may run there, and Replicate cannot be asked by our key"
    )
