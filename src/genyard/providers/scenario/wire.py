"""Scenario's HTTP API: requests, and the answers as far as genyard reads them. What they mean is in `reading`.

The shapes are those of the vendor's SDK 2.4.0. Everything that its schema may leave out may be missing here, too, and
words are plain strings: the place sends ones that its schema does not know.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel

from genyard.providers._http import BadStatus, Http, NotJson, Place

Json = Any

BASE_URL: Final = "https://api.cloud.scenario.com/v1"
KEYS: Final = "SCENARIO_API_KEY and SCENARIO_SECRET_API_KEY"


@dataclass(frozen=True, kw_only=True, repr=False)
class ScenarioPlace(Place):
    """HTTP Basic: the key is the user, the secret the password."""

    secret: str

    @property
    def headers(self) -> dict[str, str]:
        both = base64.b64encode(f"{self.key}:{self.secret}".encode()).decode()
        return {"Authorization": f"Basic {both}"}

    def redact(self, text: str) -> str:
        both = self.headers["Authorization"].removeprefix("Basic ")
        for hidden in (both, self.secret):
            text = text.replace(hidden, "***") if hidden else text
        return super().redact(text)


class _Answer(BaseModel):
    model_config = ConfigDict(
        extra="ignore", frozen=True, alias_generator=to_camel, populate_by_name=True, protected_namespaces=()
    )


Shape = TypeVar("Shape", bound=_Answer)


class JobMetadata(_Answer):
    asset_ids: tuple[str, ...] | None = None
    error: Json = None
    hint: Json = None
    input: Json = None


class Billing(_Answer):
    """`cu_cost` is the generation alone, `cu_cost_details` what was paid on top of it."""

    cu_cost: float | None = None
    cu_cost_details: Mapping[str, float | None] | None = None
    disable_refund: bool | None = None


class Moment(_Answer):
    status: str
    date: str


class Job(_Answer):
    job_id: str
    status: str
    progress: float | None = None
    metadata: JobMetadata | None = None
    billing: Billing | None = None
    status_history: tuple[Moment, ...] | None = None
    created_at: str | None = None


class Generated(_Answer):
    """What a submission, and every question about a job, answers."""

    job: Job
    creative_units_cost: float | None = None


class Quoted(_Answer):
    creative_units_cost: float


class Asset(_Answer):
    id: str
    url: str | None = None
    mime_type: str | None = None
    status: str | None = None


class _AssetAnswer(_Answer):
    asset: Asset


class Part(_Answer):
    number: int
    url: str


class Upload(_Answer):
    id: str
    status: str
    parts: tuple[Part, ...] | None = None
    entity_id: str | None = None
    error_message: str | None = None


class _UploadAnswer(_Answer):
    upload: Upload


class ModelInput(_Answer):
    """One row of a model's `inputs[]`: what `compile` holds a request against."""

    name: str
    type: str
    min: float | None = None
    max: float | None = None
    max_length: float | None = None
    allowed_values: tuple[Json, ...] | None = None


class Model(_Answer):
    id: str
    inputs: tuple[ModelInput, ...] | None = None


class _ModelAnswer(_Answer):
    model: Model


class _ModelsAnswer(_Answer):
    models: tuple[Json, ...]


class _Team(_Answer):
    id: str


class _TeamsAnswer(_Answer):
    teams: tuple[_Team, ...]


class _TeamLimits(_Answer):
    parallel_custom_jobs: int | None = None
    parallel_inferences: int | None = None


class _LimitsAnswer(_Answer):
    limits: _TeamLimits


def _read(shape: type[Shape], answer: Json) -> Shape:
    """Nothing of the answer goes into the failure: it may quote a prompt or a signed link."""
    try:
        return shape.model_validate(answer)
    except ValidationError:
        raise NotJson("", "application/json") from None


class Wire:
    """One call each. Raises what is in `_http.FAILURES`."""

    def __init__(self, http: Http) -> None:
        self._http = http
        self._base = http.place.base

    async def generate(self, path: str, body: Mapping[str, Json]) -> Generated:
        return _read(Generated, await self._http.post(self._url(path), json=body))

    async def quote(self, path: str, body: Mapping[str, Json]) -> Quoted:
        """A dry run answers HTTP 269, which is as good as 200."""
        return _read(Quoted, await self._http.post(self._url(path), json=body, params={"dryRun": "true"}))

    async def job(self, job_id: str) -> Job:
        return _read(Generated, await self._http.get(self._url(f"jobs/{job_id}"))).job

    async def cancel(self, job_id: str) -> None:
        await self._http.post(self._url(f"jobs/{job_id}/action"), json={"action": "cancel"})

    async def asset(self, asset_id: str) -> Asset:
        """With a link that was signed now, to the file as it was made."""
        answer = await self._http.get(self._url(f"assets/{asset_id}"), params={"originalAssets": "true"})
        return _read(_AssetAnswer, answer).asset

    async def make_asset(self, name: str, data: bytes) -> Asset:
        body = json.dumps({"image": base64.b64encode(data).decode(), "name": name}).encode()
        # As a file: what is as large as a picture is sent in pieces, between which others get their turn.
        answer = await self._http.post(
            self._url("assets"), data=io.BytesIO(body), headers={"Content-Type": "application/json"}
        )
        return _read(_AssetAnswer, answer).asset

    async def begin_upload(self, *, name: str, media_type: str, size: int, parts: int) -> Upload:
        body = {
            "fileName": name,
            "contentType": media_type,
            "kind": media_type.partition("/")[0],
            "parts": parts,
            "fileSize": size,
        }
        return _read(_UploadAnswer, await self._http.post(self._url("uploads"), json=body)).upload

    async def complete_upload(self, upload_id: str) -> Upload:
        answer = await self._http.post(self._url(f"uploads/{upload_id}/action"), json={"action": "complete"})
        return _read(_UploadAnswer, answer).upload

    async def upload(self, upload_id: str) -> Upload:
        return _read(_UploadAnswer, await self._http.get(self._url(f"uploads/{upload_id}"))).upload

    async def any_model(self) -> None:
        """The cheapest question that only the right key gets an answer to."""
        _read(_ModelsAnswer, await self._http.get(self._url("models"), params={"pageSize": "1"}))

    async def inputs(self, model_id: str) -> Sequence[ModelInput] | None:
        """What the model takes; None where this team cannot use it."""
        try:
            answer = await self._http.get(self._url(f"models/{model_id}"))
        except BadStatus as refused:
            if refused.status in (403, 404):
                return None
            raise
        return _read(_ModelAnswer, answer).model.inputs or ()

    async def at_once(self, *, legacy: bool) -> int | None:
        """How many jobs the team may have open; None where the key may not ask."""
        try:
            teams = _read(_TeamsAnswer, await self._http.get(self._url("teams"))).teams
            if not teams:
                return None
            told = _read(_LimitsAnswer, await self._http.get(self._url(f"teams/{teams[0].id}/limits"))).limits
        except BadStatus as refused:
            if refused.status in (403, 404):
                return None
            raise
        return told.parallel_inferences if legacy else told.parallel_custom_jobs

    def _url(self, path: str) -> Any:
        return self._base.joinpath(*path.split("/"))
