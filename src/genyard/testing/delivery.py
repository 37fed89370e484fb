"""How an emulator of a place that keeps results at links hands a file out, and what may be wrong with it.

The kinds of faults are named here once (`HTML`, `EMPTY`, …); an emulator lists those that it knows in its own enum.
Where the link comes from, who may follow it and for how long is the emulator's business.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from typing import Any, Final, Protocol, cast

import av
import numpy as np
from aiohttp import web
from PIL import Image

from genyard.testing import drawing
from genyard.testing.comfyui.values import encode

#: What is sent in place of a file, or of a part of it.
HTML: Final = "html"
EMPTY: Final = "empty"
TRUNCATE: Final = "truncate"
SHORTEN: Final = "shorten"
WRONG_TYPE: Final = "wrong_type"
MISSING_FILE: Final = "missing_file"
#: What is wrong with the file itself, from the moment it is made.
TEXT_CHUNK: Final = "text_chunk"
WRONG_SIZE: Final = "wrong_size"
NO_ALPHA: Final = "no_alpha"

PAGE: Final = "<!DOCTYPE html><html><head><title>Sign in</title></head><body>Please sign in.</body></html>"


class Script(Protocol):
    def take(self, kind: str, **facts: Any) -> Any | None: ...


async def deliver(request: web.Request, script: Script, data: bytes, media_type: str) -> web.StreamResponse:
    """One file, as the script of faults wants it."""
    route = f"{request.method} {request.path}"

    def struck(kind: str) -> Any | None:
        return script.take(kind, route=route)

    if struck(MISSING_FILE):
        return web.Response(
            status=404, text="<Error><Code>NoSuchKey</Code></Error>", content_type="application/xml"
        )
    if struck(HTML):
        return web.Response(text=PAGE, content_type="text/html")
    if struck(EMPTY):
        data = b""
    if struck(SHORTEN):
        data = data[: _cut(data, media_type)]
    if struck(WRONG_TYPE):
        media_type = "video/mp4" if media_type.startswith("image/") else "image/png"
    if struck(TRUNCATE):
        return await _broken_off(request, data, media_type)
    return web.Response(body=data, content_type=media_type)


def _cut(data: bytes, media_type: str) -> int:
    """About two thirds; of a video behind a whole picture, so that it opens and ends early without an error."""
    most = len(data) * 2 // 3
    if media_type != "video/mp4":
        return most
    with av.open(io.BytesIO(data)) as container:
        ends = [
            one.pos + one.size
            for one in cast("Any", container).demux(video=0)
            if one.pos is not None and one.size
        ]
    return max((end for end in ends if end <= most), default=most)


async def _broken_off(request: web.Request, data: bytes, media_type: str) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": media_type, "Content-Length": str(len(data))})
    await response.prepare(request)
    await response.write(data[: len(data) * 2 // 3])
    if request.transport is not None:
        request.transport.close()
    return response


def spoiled(struck: Callable[[str], Any | None], data: bytes, prompt: str) -> bytes:
    """A PNG that was made, with what the script wants to be wrong with it. Other files stay as they are."""
    if not data.startswith(b"\x89PNG"):
        return data
    if struck(WRONG_SIZE):
        width, height = drawing.size(data)
        half = Image.fromarray(drawing.pixels(data)).resize((max(1, width // 2), max(1, height // 2)))
        data = encode(np.asarray(half))
    if struck(NO_ALPHA):
        data = encode(drawing.pixels(data)[..., :3])
    if struck(TEXT_CHUNK):
        data = _with_text(data, "prompt", prompt)
    return data


def _with_text(png: bytes, key: str, value: str) -> bytes:
    """The text chunk comes directly behind the header, as ComfyUI writes it."""
    body = b"tEXt" + key.encode("latin-1") + b"\0" + value.encode("latin-1", "replace")
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    header_end = 8 + 4 + 4 + 13 + 4
    return png[:header_end] + chunk + png[header_end:]
