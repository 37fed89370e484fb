"""The factory: parts in, the HTTP application out. Wiring a product, and reading settings, is `genyard.app`'s."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit

from fastapi import FastAPI
from starlette.routing import Route

from genyard.frontends.http import (
    admin,
    assets,
    credits,
    errors,
    events,
    files,
    hooks,
    jobs,
    page,
    places,
    webhooks,
)
from genyard.frontends.http.access import Access
from genyard.frontends.http.caller import Parts
from genyard.frontends.http.envelope import Envelope
from genyard.frontends.http.health import HealthBoard
from genyard.media import MediaLimits
from genyard.owners import Owners
from genyard.settings import ServerSettings
from genyard.studio import Studio
from genyard.studio.links import Links
from genyard.studio.planning import GENYARD_VERSION

_ROUTERS: Final = tuple(
    room.router for room in (jobs, events, assets, files, places, credits, webhooks, admin, hooks, page)
)

_JSON_BYTES: Final = 4 * 1024 * 1024
#: A place's account of a run may carry what the run made; it is not read from there.
_HOOK_BYTES: Final = 32 * 1024 * 1024
#: What a multipart body, or JSON around base64, has beside the file itself.
_FRAMING_BYTES: Final = 256 * 1024

_DESCRIPTION: Final = """
One API in front of interchangeable places for image and video generation.

Send an API key as `Authorization: Bearer gy_…` or `X-API-Key: gy_…`. Until the first key is made, requests
from the machine itself need none. Every answer carries `X-Trace-Id` (yours, if you send a W3C `traceparent`); every
error is `{"error": {"code", "message", "remedy", "field"?, …}}` with a code that stays the same.
"""


def create_http_app(
    *,
    studio: Studio,
    owners: Owners,
    server: ServerSettings,
    limits: MediaLimits | None = None,
    clock: Callable[[], float] | None = None,
) -> FastAPI:
    """The whole HTTP front end. `limits` bounds uploads; `clock` tells when links expire: by default the database's."""
    app = FastAPI(
        title="genyard",
        version=GENYARD_VERSION,
        description=_DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.parts = Parts(
        studio=studio,
        access=Access(owners=owners, public_host=urlsplit(server.public_url).netloc),
        links=Links(
            signer=studio.signer,
            seconds=server.link_seconds,
            public_url=server.public_url,
            clock=clock or owners.clock,
        ),
        board=HealthBoard(studio),
        stopping=asyncio.Event(),
    )
    app.add_middleware(Envelope, body_limit=_body_limit((limits or MediaLimits()).max_bytes))
    routes = [route for router in _ROUTERS for route in router.routes if isinstance(route, Route)]
    errors.install(app, routes=routes)
    for router in _ROUTERS:
        app.include_router(router)
    return app


def _body_limit(max_upload_bytes: int) -> Callable[[str, str], int]:
    """Base64 is a third longer than what it says."""

    def limit(_method: str, path: str) -> int:
        if path.startswith("/hooks/"):
            return _HOOK_BYTES
        return max_upload_bytes * 4 // 3 + _FRAMING_BYTES if path == "/v1/assets" else _JSON_BYTES

    return limit
