"""The bytes of stored files, for browsers and players: signed links, ranges, ETags, HEAD."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Final
from urllib.parse import quote

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse

from genyard.errors import Code, GenyardError
from genyard.frontends.http.caller import KEYS, Parts, WithParts
from genyard.frontends.http.errors import HttpError
from genyard.frontends.http.jobs import begun
from genyard.frontends.http.views import answers
from genyard.jobs.model import Asset
from genyard.studio.links import asset_id_of, key_of

router = APIRouter(tags=["assets"], dependencies=KEYS)

#: The bytes of an asset never change: a browser that may keep them need not ask again.
_KEEP_SECONDS: Final = 31_536_000
_ONE_RANGE: Final = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")
_BINARY: Final = {"*/*": {"schema": {"type": "string", "format": "binary"}}}
_RESPONSES: Final = answers(404, 416) | {
    200: {"description": "The whole file.", "content": _BINARY},
    206: {"description": "The range of it that was asked for.", "content": _BINARY},
    304: {"description": "What you have is still right."},
}


@router.get(
    "/assets/{key}", operation_id="download_asset", response_class=StreamingResponse, responses=_RESPONSES
)
@router.head("/assets/{key}", operation_id="head_asset", response_class=Response, responses=_RESPONSES)
async def download_asset(
    key: str,
    request: Request,
    parts: WithParts,
    expires: Annotated[int | None, Query(ge=0, le=2**53, description="As in the asset's `url`.")] = None,
    signature: Annotated[str | None, Query(max_length=200)] = None,
    download: Annotated[bool, Query(description="For saving, not for showing.")] = False,
) -> Response:
    """The file itself. By a signed link, or with your key."""
    if expires is not None and signature is not None:
        keep = parts.links.require(key, expires, signature)
        asset = await parts.studio.asset(asset_id_of(key), owner_id=None)
    else:
        keep = _KEEP_SECONDS
        asset = await _own(parts, key, request)
    if key not in (key_of(asset), str(asset.id)):
        raise GenyardError(Code.not_found, f"no file {key[:80]!r}; it is {key_of(asset)}")
    headers = _headers(asset, keep, download, signed=signature is not None)
    return await _serve(parts, asset, request, headers)


async def _own(parts: Parts, key: str, request: Request) -> Asset:
    owner_id = await parts.access.owner_of(request)
    return await parts.studio.asset(asset_id_of(key), owner_id=owner_id)


async def _serve(parts: Parts, asset: Asset, request: Request, headers: dict[str, str]) -> Response:
    if _matches(request.headers.get("if-none-match"), headers["ETag"]):
        return Response(status_code=304, headers={**headers})
    asked = _range(request.headers, headers["ETag"], asset.bytes)
    start, end = asked or (0, asset.bytes)
    status = 206 if asked else 200
    if asked:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{asset.bytes}"
    headers["Content-Length"] = str(end - start)
    if request.method == "HEAD" or start == end:
        return Response(status_code=status, headers=headers, media_type=asset.media_type)
    pieces = parts.studio.open(asset, start, None if end == asset.bytes else end)
    return StreamingResponse(await begun(pieces), status, headers, asset.media_type)


def _headers(asset: Asset, keep: int, download: bool, *, signed: bool) -> dict[str, str]:
    name = asset.name or key_of(asset)
    plain = re.sub(r"[^ !#-\[\]-~]", "_", name)
    return {
        "ETag": f'"{asset.sha256}"',
        "Accept-Ranges": "bytes",
        "Cache-Control": f"private, max-age={min(keep, _KEEP_SECONDS)}, immutable",
        "Content-Disposition": f"{'attachment' if download else 'inline'}; "
        f"filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}",
        "Content-Security-Policy": "default-src 'none'; sandbox",
        "Cross-Origin-Resource-Policy": "cross-origin" if signed else "same-origin",
        "Last-Modified": asset.created_at.strftime("%a, %d %b %Y %H:%M:%S GMT"),
    }


def _matches(header: str | None, etag: str) -> bool:
    if header is None:
        return False
    return header.strip() == "*" or etag in [one.strip().removeprefix("W/") for one in header.split(",")]


def _range(headers: Mapping[str, str], etag: str, size: int) -> tuple[int, int] | None:
    """The half-open range that was asked for; None where it is none, several, malformed, or of another file."""
    asked = _ONE_RANGE.fullmatch(headers.get("range", "").replace(" ", ""))
    if asked is None or headers.get("if-range", etag) != etag:
        return None
    first, last = asked.groups()
    if not (first or last) or (first and last and int(last) < int(first)):
        return None
    start = int(first) if first else max(0, size - int(last))
    end = min(int(last) + 1, size) if first and last else size
    if start >= end:
        raise HttpError(
            416,
            Code.request_invalid,
            f"the file has {size:,} bytes; the range lies outside of it",
            field="Range",
            response_headers={"Content-Range": f"bytes */{size}"},
        )
    return start, end
