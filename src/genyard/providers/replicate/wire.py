"""Replicate's HTTP routes, typed: one method per call. What the answers mean is decided in `outcome`.

Everything raises `_http.FAILURES`; an answer of the wrong shape is `NotJson`, too. `Prefer: wait` is not used: it
holds a connection for up to a minute whose break would leave a paid submission in doubt, may answer `processing`
with the output already there, and tells nothing that a webhook or the next read does not.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
from aiohttp.payload import AsyncIterablePayload
from pydantic import BaseModel, ConfigDict, ValidationError
from yarl import URL

from genyard.media import suffix_of
from genyard.providers import Media
from genyard.providers._http import BODY_HEAD, BadStatus, Http, NotJson

Json = Any


class Prediction(BaseModel):
    """What we read of a prediction; the words of `status` are mapped in `outcome`."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    id: str
    status: str
    input: Any = None
    output: Any = None
    error: Any = None
    logs: str | None = None
    metrics: dict[str, Any] | None = None
    created_at: str | None = None
    started_at: str | None = None
    completed_at: str | None = None
    deadline: str | None = None
    data_removed: bool | None = None


class Refused(BadStatus):
    """An answer outside 2xx, with the one header that matters then."""

    def __init__(self, status: int, body: str, content_type: str, retry_after: str | None) -> None:
        super().__init__(status, body, content_type)
        self.retry_after = retry_after


class _SizedPayload(AsyncIterablePayload):
    """A stream whose length is known, so that the upload carries a Content-Length."""

    def __init__(self, media: Media) -> None:
        super().__init__(media.open(), content_type=media.media_type)
        self._size = media.size


class Wire:
    def __init__(self, http: Http) -> None:
        self.http = http
        self._base = http.place.base

    async def create(self, path: str, body: Mapping[str, Json], *, cancel_after: float) -> Prediction:
        headers = {"Cancel-After": f"{max(5, round(cancel_after))}s"}
        return _prediction(await self._call("POST", path, json=body, headers=headers))

    async def get(self, prediction: str) -> Prediction:
        return _prediction(await self._call("GET", f"predictions/{prediction}"))

    async def cancel(self, prediction: str) -> Prediction:
        path = f"predictions/{prediction}/cancel"
        return _prediction(await self._call("POST", path, skip_auto_headers=["Content-Type"]))

    async def upload(self, media: Media) -> str:
        """An address that predictions of this account can read, for a day or so."""
        form = aiohttp.FormData()
        form.add_field(
            "content",
            _SizedPayload(media),
            filename=f"{media.sha256[:24]}{suffix_of(media.media_type)}",
            content_type=media.media_type,
        )
        answer = await self._call("POST", "files", data=form, patience=self.http.timeouts.download * 5)
        urls = answer.get("urls") if isinstance(answer, dict) else None
        if not isinstance(urls, dict) or not isinstance(urls.get("get"), str):
            raise NotJson("files", "application/json")
        return str(urls["get"])

    async def account(self) -> str:
        answer = await self._call("GET", "account")
        if not isinstance(answer, dict) or "username" not in answer:
            raise NotJson("account", "application/json")
        return str(answer["username"])

    async def knows(self, path: str) -> bool:
        """Whether there is such a model, version or deployment."""
        try:
            await self._call("GET", path)
        except Refused as refused:
            if refused.status == 404:
                return False
            raise
        return True

    async def webhook_secret(self) -> str:
        answer = await self._call("GET", "webhooks/default/secret")
        if not isinstance(answer, dict) or not isinstance(answer.get("key"), str):
            raise NotJson("webhooks/default/secret", "application/json")
        return str(answer["key"])

    async def _call(self, method: str, path: str, *, patience: float | None = None, **options: Any) -> Json:
        """Redirects are not followed: none is expected, and the key would go along."""
        url = URL(f"{self._base}/{path}")
        async with (
            asyncio.timeout(patience or self.http.timeouts.answer),
            self.http.session.request(method, url, allow_redirects=False, **options) as answer,
        ):
            body = await answer.read()
            if not 200 <= answer.status < 300:
                text = body[:BODY_HEAD].decode("utf-8", "replace")
                raise Refused(answer.status, text, answer.content_type, answer.headers.get("Retry-After"))
            try:
                return json.loads(body)
            except ValueError:
                text = body[:BODY_HEAD].decode("utf-8", "replace")
                raise NotJson(text, answer.content_type) from None


def seconds_of(retry_after: str | None, now: float) -> float | None:
    """Of a Retry-After header: seconds, or a date."""
    if retry_after is None:
        return None
    try:
        return max(0.0, float(retry_after))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(retry_after).timestamp() - now)
    except ValueError:
        return None


def _prediction(answer: Json) -> Prediction:
    try:
        return Prediction.model_validate(answer)
    except ValidationError as wrong:
        raise NotJson("not a prediction", "application/json") from wrong
