"""Routes of stored files: send, search, look up, delete. Their bytes are served by `files`."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, Query, Request
from pydantic import ValidationError
from starlette.datastructures import FormData, UploadFile

from genyard.errors import Code, GenyardError
from genyard.frontends.http.bodies import UploadBody
from genyard.frontends.http.caller import KEYS, Caller, Text, WithCaller
from genyard.frontends.http.errors import from_validation
from genyard.frontends.http.views import AssetListView, AssetView, UploadedView, answers, asset_view
from genyard.jobs.model import Asset
from genyard.operations import Role
from genyard.storable import require_storable

router = APIRouter(prefix="/v1", tags=["assets"], dependencies=KEYS)

_MAX_FILES: Final = 16
_MAX_FIELDS: Final = 32
_MAX_FIELD_BYTES: Final = 16 * 1024

#: Either form of the body; what is described here is what `_files_of` reads.
_UPLOAD_SCHEMA: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {
                        "file": {
                            "type": "array",
                            "items": {"type": "string", "format": "binary"},
                            "minItems": 1,
                            "maxItems": _MAX_FILES,
                            "description": "One or several files, each in a part of its own.",
                        },
                        "tags": {"type": "array", "items": {"type": "string"}, "maxItems": 20},
                    },
                }
            },
            "application/json": {"schema": UploadBody.model_json_schema()},
        },
    }
}


@router.post(
    "/assets",
    operation_id="upload_assets",
    status_code=201,
    openapi_extra=_UPLOAD_SCHEMA,
    responses=answers(413),
)
async def upload_assets(request: Request, caller: WithCaller) -> UploadedView:
    """Store images, videos or sounds: all of the request's files, or none."""
    files, tags = await _files_of(request)
    kept: list[Asset] = []
    try:
        for field, name, data in files:
            kept.append(await _store(caller, field, name, data, tags))
    except BaseException:
        for asset in kept:
            await caller.studio.delete_asset(asset.id, owner_id=caller.owner_id)
        raise
    return UploadedView(assets=[asset_view(asset, caller.links) for asset in kept])


@router.get("/assets", operation_id="list_assets", responses=answers())
async def list_assets(
    caller: WithCaller,
    limit: Annotated[int, Query(ge=1, le=100)] = 50,
    before: Annotated[UUID | None, Query(description="`next` of the page before.")] = None,
    role: Role | None = None,
    tag: Annotated[Text | None, Query(max_length=60)] = None,
    facts: Annotated[
        Text | None,
        Query(max_length=2000, description='A JSON object that the facts contain: `{"seed": 7}`.'),
    ] = None,
    search: Annotated[Text | None, Query(max_length=200, description="Words that the prompt has.")] = None,
) -> AssetListView:
    """Your files, the newest first."""
    assets = await caller.studio.assets(
        owner_id=caller.owner_id,
        limit=limit + 1,
        before=before,
        role=role.value if role else None,
        tag=tag,
        facts=_facts(facts),
        search=search,
    )
    shown = [asset_view(asset, caller.links) for asset in assets[:limit]]
    return AssetListView(assets=shown, next=shown[-1].id if len(assets) > limit else None)


@router.get("/assets/{asset_id}", operation_id="get_asset", responses=answers(404))
async def get_asset(asset_id: UUID, caller: WithCaller) -> AssetView:
    """What is known of a file, and a link to it."""
    return asset_view(await caller.studio.asset(asset_id, owner_id=caller.owner_id), caller.links)


@router.delete("/assets/{asset_id}", operation_id="delete_asset", status_code=204, responses=answers(404))
async def delete_asset(asset_id: UUID, caller: WithCaller) -> None:
    """Delete a file, for good."""
    await caller.studio.delete_asset(asset_id, owner_id=caller.owner_id)


async def _store(caller: Caller, field: str, name: str, data: bytes, tags: Sequence[str]) -> Asset:
    try:
        return await caller.studio.upload(data, name=name, owner_id=caller.owner_id, tags=tags)
    except GenyardError as error:
        if error.field is not None:
            raise
        raise GenyardError(error.code, error.message, field=field, context=error.context) from error


async def _files_of(request: Request) -> tuple[list[tuple[str, str, bytes]], list[str]]:
    """(field, name, bytes) of each file, and the tags."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        async with request.form(
            max_files=_MAX_FILES, max_fields=_MAX_FIELDS, max_part_size=_MAX_FIELD_BYTES
        ) as form:
            return await _from_form(form)
    if kind == "application/json":
        return await _from_json(await request.body())
    raise GenyardError(
        Code.request_invalid,
        'send files as multipart/form-data, or one as JSON {"data": "<base64>", "name": "…"}',
        field="Content-Type",
    )


async def _from_form(form: FormData) -> tuple[list[tuple[str, str, bytes]], list[str]]:
    files: list[tuple[str, str, bytes]] = []
    tags: list[str] = []
    for field, value in form.multi_items():
        if isinstance(value, UploadFile):
            files.append((field, _storable(value.filename or "", field), await value.read()))
        elif field == "tags":
            tags.append(_storable(value, field))
        else:
            raise GenyardError(
                Code.request_invalid, f"there is no form field {field!r}; send `file` and `tags`", field=field
            )
    if not files:
        raise GenyardError(Code.request_invalid, "the form has no file in it", field="file")
    return files, tags


async def _from_json(body: bytes) -> tuple[list[tuple[str, str, bytes]], list[str]]:
    try:
        upload = UploadBody.model_validate(json.loads(body))
    except ValidationError as wrong:
        problems = [{**problem, "loc": ("body", *problem["loc"])} for problem in wrong.errors()]
        raise from_validation(problems, UploadBody) from wrong
    except (ValueError, RecursionError) as wrong:
        raise GenyardError(Code.request_invalid, "the body is not valid JSON") from wrong
    return [("data", upload.name, await asyncio.to_thread(_decode, upload.data))], upload.tags


def _decode(text: str) -> bytes:
    head, comma, payload = text.partition(",") if text.startswith("data:") else ("", "", text)
    if head and not (comma and head.endswith(";base64")):
        raise GenyardError(
            Code.request_invalid, "a data URI must be `data:<type>;base64,<base64>`", field="data"
        )
    try:
        return base64.b64decode("".join(payload.split()), validate=True)
    except (binascii.Error, ValueError) as wrong:
        raise GenyardError(Code.request_invalid, f"data is not base64: {wrong}", field="data") from wrong


def _facts(text: str | None) -> Mapping[str, Any] | None:
    if text is None:
        return None
    try:
        facts = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        facts = None
    if not isinstance(facts, dict):
        raise GenyardError(
            Code.request_invalid,
            'facts is a JSON object, for example {"operation": "txt2img"}',
            field="facts",
        )
    require_storable(facts, "facts")
    return facts


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _storable(text: str, field: str) -> str:
    require_storable(text, field)
    return text
