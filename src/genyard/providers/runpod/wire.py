"""RunPod's job routes, typed: one method per call. What the answers mean is decided elsewhere.

Everything raises `_http.FAILURES`; an answer of the wrong shape is `NotJson`, too. Redirects are not followed: none is
expected, and the key would go along.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, ValidationError

from genyard.errors import Code, GenyardError
from genyard.providers._http import BadStatus, Failure, Http, NotJson, Place, error_of

Json = Any

#: [doc] Of one /run request. Decimal megabytes: the smaller reading.
MOST_BYTES: Final = 10_000_000


class Job(BaseModel):
    """What we read of a job. `delayTime` and `executionTime` are milliseconds."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    id: str = ""
    status: str
    output: Any = None
    error: Any = None
    workerId: str | None = None
    delayTime: float | None = None
    executionTime: float | None = None


class Wire:
    def __init__(self, http: Http) -> None:
        self._http = http
        self._base = http.place.base

    async def run(self, endpoint: str, body: bytes) -> Job:
        headers = {"Content-Type": "application/json"}
        patience = self._http.timeouts.answer + self._http.timeouts.download
        job = _job(
            await self._call(
                "POST", endpoint, "run", data=io.BytesIO(body), headers=headers, patience=patience
            )
        )
        if not job.id:
            raise NotJson("a job without an id", "application/json")
        return job

    async def status(self, endpoint: str, job: str) -> Job:
        """With its output, which may be megabytes of base64."""
        patience = self._http.timeouts.answer + self._http.timeouts.download
        return _job(await self._call("GET", endpoint, "status", job, patience=patience))

    async def cancel(self, endpoint: str, job: str) -> None:
        await self._call("POST", endpoint, "cancel", job)

    async def health(self, endpoint: str) -> Mapping[str, Json]:
        answer = await self._call("GET", endpoint, "health")
        if not isinstance(answer, dict) or not ("workers" in answer or "jobs" in answer):
            raise NotJson("health without workers and jobs", "application/json")
        return answer

    async def _call(self, method: str, *path: str, **options: Any) -> Json:
        return await self._http.call(method, self._base.joinpath(*path), allow_redirects=False, **options)


def refusal_of(failure: Failure, place: Place, endpoint: str, doing: str) -> GenyardError:
    """What a failure means to whoever reads it. The bodies of RunPod's refusals are not published: none is believed."""
    error = error_of(failure, place, doing)
    context = {**error.context, "endpoint": endpoint}
    if isinstance(failure, BadStatus):
        if failure.status == 429:
            text = "RunPod takes no more now (HTTP 429): its rate limit, or too many jobs in this endpoint's queue"
            return GenyardError(Code.provider_busy, text, context=context)
        if failure.status == 404:
            text = (
                f"RunPod knows no endpoint {endpoint!r} of this account (HTTP 404); "
                f"check its id and {place.key_setting}"
            )
            return GenyardError(Code.provider_rejected, text, context=context)
    return GenyardError(error.code, error.message, context=context)


def _job(answer: Json) -> Job:
    try:
        return Job.model_validate(answer)
    except ValidationError as wrong:
        raise NotJson("not a job", "application/json") from wrong
