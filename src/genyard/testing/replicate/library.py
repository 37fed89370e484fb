"""What the emulated Replicate keeps besides predictions: models, files, the account, and the host of outputs."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from genyard.testing.delivery import deliver
from genyard.testing.replicate.faults import FaultKind
from genyard.testing.replicate.models import Model
from genyard.testing.replicate.predictions import Upload, iso

if TYPE_CHECKING:
    from genyard.testing.replicate.server import ReplicateEmulator

Json = Any

#: A file that was uploaded is kept for a day.
FILE_LIFE: Final = 86_400.0


def problem(status: int, detail: str, title: str | None = None, **more: Json) -> web.Response:
    """RFC 7807, as far as the real one fills it in."""
    told = {"detail": detail, "status": status, **more}
    if title is not None:
        told = {"title": title, **told}
    return web.json_response(told, status=status, content_type="application/problem+json")


NOT_FOUND: Final = "The requested resource could not be found."


class Library:
    def __init__(self, server: ReplicateEmulator) -> None:
        self._server = server

    async def models(self, request: web.Request) -> web.StreamResponse:
        told = [self._model_json(one) for one in self._server.models.values()]
        return web.json_response({"previous": None, "next": None, "results": told})

    async def model(self, request: web.Request) -> web.StreamResponse:
        model = self._find(request)
        return problem(404, NOT_FOUND) if model is None else web.json_response(self._model_json(model))

    async def versions(self, request: web.Request) -> web.StreamResponse:
        model = self._find(request)
        if model is None:
            return problem(404, NOT_FOUND)
        return web.json_response({"previous": None, "next": None, "results": [self._version_json(model)]})

    async def version(self, request: web.Request) -> web.StreamResponse:
        model = self._find(request)
        if model is None or model.version_id != request.match_info["version"]:
            return problem(404, NOT_FOUND)
        return web.json_response(self._version_json(model))

    def _find(self, request: web.Request) -> Model | None:
        return self._server.models.get(f"{request.match_info['owner']}/{request.match_info['name']}")

    def _version_json(self, model: Model) -> dict[str, Json]:
        return {
            "id": model.version_id,
            "created_at": "2025-06-01T12:00:00.000Z",
            "cog_version": "0.14.1",
            "openapi_schema": model.schema(),
        }

    def _model_json(self, model: Model) -> dict[str, Json]:
        return {
            "url": f"https://replicate.com/{model.key}",
            "owner": model.owner,
            "name": model.name,
            "description": model.description or None,
            "visibility": "public",
            "is_official": model.official,
            "github_url": None,
            "paper_url": None,
            "license_url": None,
            "run_count": self._server.counts.total_runs,
            "cover_image_url": None,
            "default_example": None,
            "latest_version": self._version_json(model),
        }

    async def deployment(self, request: web.Request) -> web.StreamResponse:
        owner, name = request.match_info["owner"], request.match_info["name"]
        behind = self._server.deployments.get(f"{owner}/{name}")
        if behind is None:
            return problem(404, NOT_FOUND)
        release = {
            "number": 1,
            "model": behind,
            "version": self._server.models[behind].version_id,
            "created_at": "2025-06-01T12:00:00.000Z",
            "created_by": ACCOUNT,
            "configuration": {"hardware": "gpu-l40s", "min_instances": 0, "max_instances": 1},
        }
        return web.json_response({"owner": owner, "name": name, "current_release": release})

    async def account(self, request: web.Request) -> web.StreamResponse:
        return web.json_response(ACCOUNT)

    async def hardware(self, request: web.Request) -> web.StreamResponse:
        return web.json_response(
            [{"name": "CPU", "sku": "cpu"}, {"name": "Nvidia L40S GPU", "sku": "gpu-l40s"}]
        )

    async def secret(self, request: web.Request) -> web.StreamResponse:
        return web.json_response({"key": self._server.webhook_secret})

    # Files

    async def post_file(self, request: web.Request) -> web.StreamResponse:
        if not request.content_type.startswith("multipart/"):
            return problem(400, "Missing content")
        form = await request.post()
        content = form.get("content")
        if not isinstance(content, web.FileField):
            return problem(400, "Missing content")
        data = content.file.read()
        too_large = self._server.faults.take(FaultKind.too_large, route="POST /v1/files")
        if too_large or len(data) > self._server.max_file:
            return problem(413, "The file is too large")
        made = self._upload(content, data, str(form.get("metadata", "{}")))
        self._server.uploads[made.id] = made
        self._server.counts.uploads += 1
        self._server.changes.notify()
        return web.json_response(self._file_json(made), status=201)

    def _upload(self, content: web.FileField, data: bytes, metadata: str) -> Upload:
        try:
            read = json.loads(metadata)
        except ValueError:
            read = {}
        return Upload(
            id=base64.b64encode(self._server.new_id().encode()).decode().rstrip("="),
            name=content.filename,
            content_type=content.content_type or "application/octet-stream",
            data=data,
            created=self._server.clock.now(),
            metadata=read,
        )

    async def files(self, request: web.Request) -> web.StreamResponse:
        told = [self._file_json(one) for one in reversed(self._server.uploads.values())]
        return web.json_response({"previous": None, "next": None, "results": told})

    async def file(self, request: web.Request) -> web.StreamResponse:
        found = self._server.uploads.get(request.match_info["id"])
        return problem(404, NOT_FOUND) if found is None else web.json_response(self._file_json(found))

    async def delete_file(self, request: web.Request) -> web.StreamResponse:
        if self._server.uploads.pop(request.match_info["id"], None) is None:
            return problem(404, NOT_FOUND)
        return web.Response(status=204)

    def _file_json(self, upload: Upload) -> dict[str, Json]:
        md5 = hashlib.md5(upload.data, usedforsecurity=False).hexdigest()
        return {
            "id": upload.id,
            "name": upload.name,
            "content_type": upload.content_type,
            "size": len(upload.data),
            "etag": md5,
            "checksums": {"sha256": hashlib.sha256(upload.data).hexdigest(), "md5": md5},
            "metadata": upload.metadata,
            "created_at": iso(upload.created),
            "expires_at": iso(upload.created + FILE_LIFE),
            "urls": {"get": f"{self._server.base_url}/files/{upload.id}"},
        }

    async def deliver(self, request: web.Request) -> web.StreamResponse:
        for prediction in self._server.predictions.values():
            self._server.forget_old(prediction)
        found = self._server.outputs.get(request.match_info["place"])
        if found is None:
            return web.Response(status=404, text="Not Found")
        media_type, data = found
        return await deliver(request, self._server.faults, data, media_type)


ACCOUNT: Final = {
    "type": "organization",
    "username": "genyard",
    "name": "genyard (emulated)",
    "github_url": "https://github.com/genyard",
}
