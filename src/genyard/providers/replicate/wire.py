"""Replicate's HTTP routes, typed: one method per call. What the answers mean is decided in `outcome`.

Everything raises `_http.FAILURES`; an answer of the wrong shape is `NotJson`, too. `Prefer: wait` is not used: it
holds a connection for up to a minute whose break would leave a paid submission in doubt, may answer `processing`
with the output already there, and tells nothing that a webhook or the next read does not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import aiohttp
from pydantic import BaseModel, ConfigDict, ValidationError
from yarl import URL

from genyard.media import suffix_of
from genyard.providers import Media
from genyard.providers._http import BadStatus, Http, NotJson, SizedPayload

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
            SizedPayload(media),
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
        except BadStatus as refused:
            if refused.status == 404:
                return False
            raise
        return True

    async def webhook_secret(self) -> str:
        answer = await self._call("GET", "webhooks/default/secret")
        if not isinstance(answer, dict) or not isinstance(answer.get("key"), str):
            raise NotJson("webhooks/default/secret", "application/json")
        return str(answer["key"])

    async def _call(self, method: str, path: str, **options: Any) -> Json:
        """Redirects are not followed: none is expected, and the key would go along."""
        return await self.http.call(method, URL(f"{self._base}/{path}"), allow_redirects=False, **options)


def _prediction(answer: Json) -> Prediction:
    try:
        return Prediction.model_validate(answer)
    except ValidationError as wrong:
        raise NotJson("not a prediction", "application/json") from wrong
