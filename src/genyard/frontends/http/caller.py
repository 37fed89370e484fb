"""What a route gets: the parts of the app, and who asks."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, Request, Security
from fastapi.security import APIKeyHeader, HTTPBearer
from pydantic import AfterValidator

from genyard.errors import Code, GenyardError
from genyard.frontends.http.access import Access
from genyard.frontends.http.health import HealthBoard
from genyard.owners import KeyHolder
from genyard.storable import require_text
from genyard.studio import Studio
from genyard.studio.links import Links

#: Text in a query that reaches the database.
Text = Annotated[str, AfterValidator(require_text)]


@dataclass(frozen=True, kw_only=True)
class Parts:
    """Made once by the factory. `stopping` is set when the server begins to shut down: whoever waits, stops."""

    studio: Studio
    access: Access
    links: Links
    board: HealthBoard
    stopping: asyncio.Event


@dataclass(frozen=True, kw_only=True)
class Caller:
    """An authorised request."""

    parts: Parts
    holder: KeyHolder

    @property
    def owner_id(self) -> UUID:
        return self.holder.owner_id

    @property
    def actor(self) -> str:
        """For the books: by which key, or from the machine itself."""
        return f"key {self.holder.prefix}…" if self.holder.prefix else "this machine"

    @property
    def studio(self) -> Studio:
        return self.parts.studio

    @property
    def links(self) -> Links:
        return self.parts.links


def parts_of(request: Request) -> Parts:
    parts: Parts = request.app.state.parts
    return parts


async def _parts(request: Request) -> Parts:
    return parts_of(request)


async def _caller(request: Request) -> Caller:
    parts = parts_of(request)
    return Caller(parts=parts, holder=await parts.access.holder_of(request))


async def _admin(request: Request) -> Caller:
    caller = await _caller(request)
    if not caller.holder.admin:
        raise GenyardError(
            Code.forbidden, "this needs a key made with `genyard keys create NAME --admin`; this one is none"
        )
    return caller


WithParts = Annotated[Parts, Depends(_parts)]
WithCaller = Annotated[Caller, Depends(_caller)]
#: `access.forbidden` for everybody else.
WithAdmin = Annotated[Caller, Depends(_admin)]

#: For OpenAPI: either of them. What counts is `Access.owner_of`.
KEYS: Sequence[Any] = (
    Security(HTTPBearer(auto_error=False, scheme_name="bearer", description="An API key: `gy_…`.")),
    Security(APIKeyHeader(name="X-API-Key", auto_error=False, scheme_name="api_key")),
)
