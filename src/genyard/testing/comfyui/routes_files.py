"""The emulator's file routes: /view and the two uploads, with the real server's rules for names."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING

from aiohttp import BodyPartReader, web
from PIL import Image

from genyard.testing.comfyui.faults import FaultKind
from genyard.testing.comfyui.files import Outside

if TYPE_CHECKING:
    from genyard.testing.comfyui.server import ComfyUIEmulator


class FileRoutes:
    def __init__(self, server: ComfyUIEmulator) -> None:
        self._server = server

    async def get_view(self, request: web.Request) -> web.StreamResponse:
        filename = request.query.get("filename", "")
        kind = request.query.get("type", "output")
        if not filename:
            return web.Response(status=404)
        if filename.startswith("/") or ".." in filename or kind not in ("input", "output", "temp"):
            return web.Response(status=400)
        try:
            folder = self._server.files.inside(kind, request.query.get("subfolder", ""))
        except Outside:
            return web.Response(status=403)
        path = folder / Path(filename).name
        if not path.is_file():
            return web.Response(status=404)
        headers = {"Content-Disposition": f'filename="{path.name}"', "X-Content-Type-Options": "nosniff"}
        if "preview" in request.query:
            return await asyncio.to_thread(_preview, path, request.query["preview"])
        if self._server.faults.take(FaultKind.shorten, route="GET /view"):
            half = await asyncio.to_thread(path.read_bytes)
            return web.Response(body=half[: len(half) // 2], headers=headers, content_type="image/png")
        if self._server.faults.take(FaultKind.truncate, route="GET /view"):
            return await _truncated(request, await asyncio.to_thread(path.read_bytes), headers)
        return web.FileResponse(path, headers=headers)

    async def upload_image(self, request: web.Request) -> web.Response:
        form = await _form(request)
        return self._store(form, form.get("image"))

    async def upload_mask(self, request: web.Request) -> web.Response:
        form = await _form(request)
        reference = json.loads(form["original_ref"][1])
        original = self._server.files.folder(reference.get("type", "output")) / reference.get("subfolder", "")
        original = original / reference["filename"]
        name, data = form["image"]
        if not original.is_file():
            return web.json_response({"name": name, "subfolder": "", "type": "input"})
        with Image.open(original) as first, Image.open(io.BytesIO(data)) as mask:
            masked = first.convert("RGBA")
            masked.putalpha(mask.getchannel("A").resize(masked.size))
        buffer = io.BytesIO()
        masked.save(buffer, "PNG")
        return self._store(form, (name, buffer.getvalue()))

    def _store(self, form: dict[str, tuple[str, bytes]], image: tuple[str, bytes] | None) -> web.Response:
        if image is None or not image[0]:
            return web.Response(status=400)
        name, data = image
        kind = form.get("type", ("", b"input"))[1].decode() or "input"
        subfolder = form.get("subfolder", ("", b""))[1].decode()
        if ".." in Path(name).parts or name.startswith("/"):
            return web.Response(status=400)
        if kind not in ("input", "temp", "output") or "/" in name:
            raise ValueError(f"the real server fails on type {kind!r} and name {name!r}, too")
        try:
            folder = self._server.files.inside(kind, subfolder)
        except Outside:
            return web.Response(status=400)
        folder.mkdir(parents=True, exist_ok=True)
        if form.get("overwrite", ("", b""))[1] not in (b"true", b"1"):
            name = _free_name(folder, name, data)
        (folder / name).write_bytes(data)
        self._server.counts.uploads += 1
        return web.json_response({"name": name, "subfolder": subfolder, "type": kind})


async def _form(request: web.Request) -> dict[str, tuple[str, bytes]]:
    """field → (file name, content). A body over the limit is answered with 413 by aiohttp."""
    fields: dict[str, tuple[str, bytes]] = {}
    taken = 0
    async for part in await request.multipart():
        assert isinstance(part, BodyPartReader)
        data = bytes(await part.read(decode=True))
        taken += len(data)
        if taken > request.client_max_size:
            raise web.HTTPRequestEntityTooLarge(max_size=request.client_max_size, actual_size=taken)
        fields[part.name or ""] = (part.filename or "", data)
    return fields


def _free_name(folder: Path, name: str, data: bytes) -> str:
    """The name itself where it is free or holds the same bytes, else `u (1).png`."""
    stem, suffix = Path(name).stem, Path(name).suffix
    digest = hashlib.sha256(data).digest()
    candidate, count = name, 0
    while (folder / candidate).exists():
        if hashlib.sha256((folder / candidate).read_bytes()).digest() == digest:
            return candidate
        count += 1
        candidate = f"{stem} ({count}){suffix}"
    return candidate


def _preview(path: Path, wanted: str) -> web.Response:
    kind, _, quality = wanted.partition(";")
    buffer = io.BytesIO()
    with Image.open(path) as picture:
        picture.convert("RGB").save(buffer, kind.upper(), quality=int(quality or 90))
    headers = {"Content-Disposition": f'filename="{path.name}"'}
    return web.Response(body=buffer.getvalue(), content_type=f"image/{kind}", headers=headers)


async def _truncated(request: web.Request, data: bytes, headers: dict[str, str]) -> web.StreamResponse:
    response = web.StreamResponse(headers=headers)
    response.content_type = "image/png"
    response.content_length = len(data)
    await response.prepare(request)
    await response.write(data[: len(data) // 2])
    if request.transport is not None:
        request.transport.close()
    return response
