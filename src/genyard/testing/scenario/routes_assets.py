"""The HTTP face of the emulated Scenario for files: assets, uploads in parts, and the host of signed links."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from genyard.media import SNIFF_BYTES, sniff
from genyard.testing import drawing
from genyard.testing.delivery import deliver
from genyard.testing.scenario.faults import FaultKind
from genyard.testing.scenario.jobs import AUTHOR, PROJECT, Asset, Upload, iso
from genyard.testing.scenario.routes import body_of, paged, wrong
from genyard.testing.service import Row

if TYPE_CHECKING:
    from genyard.testing.scenario.server import ScenarioEmulator

Json = Any

#: How long a part may be put.
PART_SECONDS: Final = 3600.0
DENIED: Final = '<?xml version="1.0" encoding="UTF-8"?><Error><Code>AccessDenied</Code></Error>'


def rows(server: ScenarioEmulator) -> list[Row]:
    assets, uploads = Assets(server), Uploads(server)
    return [
        ("POST", "/v1/assets", assets.post),
        ("GET", "/v1/assets", assets.list),
        ("POST", "/v1/assets/get-bulk", assets.bulk),
        ("GET", "/v1/assets/{id}", assets.get),
        ("GET", "/cdn/assets/{name}", assets.deliver),
        ("POST", "/v1/uploads", uploads.post),
        ("GET", "/v1/uploads/{id}", uploads.get),
        ("POST", "/v1/uploads/{id}/action", uploads.action),
        ("PUT", "/cdn/uploads/{id}/{number}", uploads.put),
    ]


class Assets:
    def __init__(self, server: ScenarioEmulator) -> None:
        self._server = server

    async def post(self, request: web.Request) -> web.StreamResponse:
        """`image` is base64, bare or as a data URL."""
        sent = await request.read()
        if len(sent) > self._server.max_asset:
            return web.json_response({"message": "Request Too Long"}, status=413)
        body = await body_of(request)
        if not isinstance(body.get("image"), str) or not isinstance(body.get("name"), str):
            return wrong(400, "image and name are required")
        try:
            data = base64.b64decode(body["image"].rpartition(",")[2], validate=True)
            asset = self._server.keep(data, sniff(data[:SNIFF_BYTES]) or "image/png", "uploaded")
        except (binascii.Error, drawing.NotAPicture):
            return wrong(400, "The image could not be decoded")
        self._server.counts.uploads += 1
        self._server.changes.notify()
        return web.json_response({"asset": self._told(asset)})

    async def get(self, request: web.Request) -> web.StreamResponse:
        asset = self._server.assets.get(request.match_info["id"])
        route = f"{request.method} {request.path}"
        if asset is None or self._server.faults.take(FaultKind.forget_asset, route=route):
            return wrong(404, f"Asset {request.match_info['id']} not found")
        return web.json_response({"asset": self._told(asset)})

    async def list(self, request: web.Request) -> web.StreamResponse:
        newest = reversed(self._server.assets.values())
        return paged(request, "assets", [self._told(one) for one in newest])

    async def bulk(self, request: web.Request) -> web.StreamResponse:
        wanted = (await body_of(request)).get("assetIds") or []
        found = [self._server.assets[one] for one in wanted if one in self._server.assets]
        return web.json_response({"assets": [self._told(one) for one in found]})

    def _told(self, asset: Asset) -> dict[str, Json]:
        return asset.as_json(self._server.link(asset))

    async def deliver(self, request: web.Request) -> web.StreamResponse:
        """What a signed link shows, while it lives."""
        asset_id = request.match_info["name"].partition(".")[0]
        asset = self._server.assets.get(asset_id)
        expires = request.query.get("Expires", "0")
        signature = self._server.signature(f"{asset_id}.{expires}")
        if (
            asset is None
            or request.query.get("Signature") != signature
            or int(expires) < self._server.clock.now()
        ):
            return web.Response(status=403, text=DENIED, content_type="application/xml")
        return await deliver(request, self._server.faults, asset.data, asset.media_type)


class Uploads:
    def __init__(self, server: ScenarioEmulator) -> None:
        self._server = server

    async def post(self, request: web.Request) -> web.StreamResponse:
        body = await body_of(request)
        try:
            upload = Upload(
                id=self._server.new_id("upload"),
                name=str(body["fileName"]),
                content_type=str(body["contentType"]),
                kind=str(body["kind"]),
                size=int(body["fileSize"]),
                count=int(body["parts"]),
                created=self._server.clock.now(),
            )
        except (KeyError, TypeError, ValueError) as missing:
            return wrong(400, f"{missing} is required for a multipart upload")
        self._server.uploads[upload.id] = upload
        return web.json_response({"upload": self._told(upload, with_parts=True)})

    async def get(self, request: web.Request) -> web.StreamResponse:
        """A complete one is imported at the second look, as it takes the real one a while."""
        upload = self._server.uploads.get(request.match_info["id"])
        if upload is None:
            return wrong(404, f"Upload {request.match_info['id']} not found")
        told = self._told(upload)
        if upload.status == "validating":
            self._import(upload)
        return web.json_response({"upload": told})

    async def action(self, request: web.Request) -> web.StreamResponse:
        upload = self._server.uploads.get(request.match_info["id"])
        if upload is None:
            return wrong(404, f"Upload {request.match_info['id']} not found")
        if (await body_of(request)).get("action") != "complete" or upload.status != "pending":
            return wrong(400, "action must be one of complete")
        if sorted(upload.parts) != list(range(1, upload.count + 1)):
            return wrong(400, "Some parts are missing")
        upload.status = "validating"
        return web.json_response({"upload": self._told(upload)})

    async def put(self, request: web.Request) -> web.StreamResponse:
        upload = self._server.uploads.get(request.match_info["id"])
        number, expires = request.match_info["number"], request.query.get("Expires", "0")
        signature = self._server.signature(f"{request.match_info['id']}.{number}.{expires}")
        if (
            upload is None
            or request.query.get("Signature") != signature
            or int(expires) < self._server.clock.now()
        ):
            return web.Response(status=403, text=DENIED, content_type="application/xml")
        data = await request.read()
        upload.parts[int(number)] = data
        return web.Response(headers={"ETag": f'"{self._server.signature(str(len(data)))}"'})

    def _import(self, upload: Upload) -> None:
        data = b"".join(upload.parts[number] for number in sorted(upload.parts))
        small = [number for number, part in upload.parts.items() if len(part) < self._server.min_part]
        fault = self._server.faults.take(FaultKind.upload_failed)
        if fault is not None:
            upload.status, upload.error = "failed", fault.message or "The file could not be imported"
        elif any(number != upload.count for number in small):
            upload.status, upload.error = (
                "failed",
                "Your proposed upload is smaller than the minimum allowed size",
            )
        elif len(data) != upload.size:
            upload.status, upload.error = "failed", f"Expected {upload.size} bytes, got {len(data)}"
        else:
            self._accept(upload, data)
        self._server.changes.notify()

    def _accept(self, upload: Upload, data: bytes) -> None:
        media_type = sniff(data[:SNIFF_BYTES])
        made = "uploaded-video" if upload.kind == "video" else "uploaded"
        try:
            asset = self._server.keep(data, media_type or upload.content_type, made)
        except drawing.NotAPicture:
            upload.status, upload.error = "failed", "The file is not valid"
            return
        upload.status, upload.asset = "imported", asset.id
        self._server.counts.uploads += 1

    def _told(self, upload: Upload, *, with_parts: bool = False) -> dict[str, Json]:
        told: dict[str, Json] = {
            "id": upload.id,
            "authorId": AUTHOR,
            "ownerId": PROJECT,
            "fileName": upload.name,
            "originalFileName": upload.name,
            "contentType": upload.content_type,
            "fileSize": upload.size,
            "kind": upload.kind,
            "partsCount": upload.count,
            "source": "multipart",
            "status": upload.status,
            "createdAt": iso(upload.created),
            "updatedAt": iso(upload.created),
        }
        if upload.asset is not None:
            told["entityId"] = upload.asset
        if upload.error is not None:
            told["errorMessage"] = upload.error
        if with_parts:
            told["parts"] = [self._part(upload, number) for number in range(1, upload.count + 1)]
        return told

    def _part(self, upload: Upload, number: int) -> dict[str, Json]:
        expires = int(self._server.clock.now() + PART_SECONDS)
        signature = self._server.signature(f"{upload.id}.{number}.{expires}")
        return {
            "number": number,
            "expires": iso(expires),
            "url": f"{self._server.url}/cdn/uploads/{upload.id}/{number}?Expires={expires}&Signature={signature}",
        }
