"""Files that workers and public endpoints put somewhere, behind links that end (seven days, as both do there)."""

from __future__ import annotations

import secrets
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from aiohttp import web

from genyard.media import sniff
from genyard.testing.runpod.faults import Fault, FaultKind
from genyard.testing.service import Clock

LIFETIME: Final = 7 * 86_400.0
SUFFIXES: Final = {".mp4": "image/mp4", ".webp": "image/webp", ".jpg": "image/jpg", ".webm": "image/webm"}


@dataclass(frozen=True, kw_only=True)
class File:
    data: bytes
    until: float
    signature: str
    fault: Fault | None = None


@dataclass(kw_only=True)
class Bucket:
    """`fetched` counts reads by path."""

    clock: Clock
    files: dict[str, File] = field(default_factory=dict)
    fetched: Counter[str] = field(default_factory=Counter)

    def put(self, name: str, data: bytes, fault: Fault | None) -> str:
        """Path and query of the link. Names with a folder are taken as they are, others get one of their own."""
        path = name if "/" in name else f"{secrets.token_hex(8)}/{name}"
        file = File(
            data=data, until=self.clock.now() + LIFETIME, signature=secrets.token_hex(16), fault=fault
        )
        self.files[path] = file
        return f"/files/{path}?X-Amz-Expires={LIFETIME:.0f}&X-Amz-Signature={file.signature}"

    async def get(self, request: web.Request) -> web.StreamResponse:
        path = request.match_info["path"]
        self.fetched[path] += 1
        file = self.files.get(path)
        if file is None:
            return denied(404, "NoSuchKey")
        if request.query.get("X-Amz-Signature") != file.signature or self.clock.now() >= file.until:
            return denied(403, "AccessDenied")
        fault = file.fault
        if fault is not None and fault.kind is FaultKind.dead_link:
            return denied(403, "AccessDenied")
        if fault is not None and fault.kind is FaultKind.redirect:
            return web.Response(status=302, headers={"Location": fault.text or "http://169.254.169.254/"})
        suffix = path[path.rfind(".") :]
        # [doc] The worker's own upload calls every file an image.
        kind = SUFFIXES.get(suffix) or sniff(file.data[:64]) or "image/png"
        if file.data.startswith(b"<!DOCTYPE"):
            kind = "text/html"
        if fault is not None and fault.kind is FaultKind.cut_transfer:
            return await cut(request, file.data, kind)
        return web.Response(body=file.data, content_type=kind)


async def cut(request: web.Request, data: bytes, kind: str) -> web.StreamResponse:
    """Half of what Content-Length promises, then the connection breaks."""
    response = web.StreamResponse(headers={"Content-Length": str(len(data)), "Content-Type": kind})
    await response.prepare(request)
    await response.write(data[: len(data) // 2])
    if request.transport is not None:
        request.transport.close()
    return response


def denied(status: int, code: str) -> web.Response:
    text = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code></Error>'
    return web.Response(status=status, text=text, content_type="application/xml")
