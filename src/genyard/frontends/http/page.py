"""The page at `/`: its files, read once, with a content security policy that lets nothing else in."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from importlib import resources
from typing import Final

from fastapi import APIRouter, Request, Response

from genyard.errors import Code, GenyardError

router = APIRouter(include_in_schema=False)

_TYPES: Final[Mapping[str, str]] = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "media-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def _read() -> dict[str, tuple[bytes, str, str]]:
    folder = resources.files("genyard.frontends.http") / "static"
    files = {}
    for entry in folder.iterdir():
        data = entry.read_bytes()
        suffix = "." + entry.name.rpartition(".")[2]
        files[entry.name] = (data, _TYPES[suffix], f'"{hashlib.sha256(data).hexdigest()[:32]}"')
    return files


_FILES: Final = _read()


@router.get("/")
@router.head("/")
async def show_page(request: Request) -> Response:
    return _answer("index.html", request)


@router.get("/static/{name}")
@router.head("/static/{name}")
async def show_file(name: str, request: Request) -> Response:
    if name not in _FILES:
        raise GenyardError(Code.not_found, f"no file {name[:80]!r}")
    return _answer(name, request)


def _answer(name: str, request: Request) -> Response:
    data, media_type, etag = _FILES[name]
    headers = {"ETag": etag, "Cache-Control": "no-cache", "Content-Security-Policy": _POLICY}
    if request.headers.get("if-none-match") == etag:
        return Response(status_code=304, headers=headers)
    return Response(data, headers=headers, media_type=media_type)
