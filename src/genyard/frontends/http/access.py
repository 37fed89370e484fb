"""Who asks: an API key, or somebody at this machine until the first key is made; and whose page a request is from.

Keys themselves are `genyard.owners`; links that are permissions of their own are `links`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit
from uuid import UUID

from fastapi import Request

from genyard.errors import Code, GenyardError
from genyard.owners import LOCAL_OWNER, KeyHolder, Owners

_LOCAL_HOST: Final = re.compile(r"(localhost|127\.0\.0\.1|\[::1\])(:\d{1,5})?", re.IGNORECASE)
_FORWARDING: Final = ("x-forwarded", "forwarded", "via", "cf-", "x-real-ip", "true-client-ip")
_SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True, kw_only=True)
class Access:
    """`public_host`: host and port under which browsers know us, where that differs from the Host header."""

    owners: Owners
    public_host: str = ""

    async def owner_of(self, request: Request) -> UUID:
        return (await self.holder_of(request)).owner_id

    async def holder_of(self, request: Request) -> KeyHolder:
        """Whoever is at the machine itself may do everything until the first key is made. `access.unauthorized`
        without a known key, `access.forbidden` for what no key may do."""
        if request.method not in _SAFE_METHODS:
            self._refuse_foreign_page(request.headers)
        key = _key(request.headers)
        if key is not None:
            return await self.owners.holder_of(key)
        if await self.owners.has_keys():
            raise GenyardError(
                Code.unauthorized, "send an API key: `Authorization: Bearer gy_…` or `X-API-Key: gy_…`"
            )
        _require_local(request)
        return KeyHolder(owner_id=LOCAL_OWNER, admin=True, prefix="")

    def _refuse_foreign_page(self, headers: Mapping[str, str]) -> None:
        """Browsers say which page a request comes from; other programs say nothing."""
        origin = headers.get("origin")
        ours = {headers.get("host", "").lower(), self.public_host.lower()} - {""}
        foreign = origin is not None and urlsplit(origin).netloc.lower() not in ours
        if foreign or headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            raise GenyardError(
                Code.forbidden,
                "this request comes from a page of another site; only genyard's own page may change anything",
            )


def is_loopback(host: str) -> bool:
    """Whether an address can be reached from this machine alone."""
    if host == "localhost":
        return True
    try:
        address = ip_address(host.strip("[]"))
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def _key(headers: Mapping[str, str]) -> str | None:
    if key := headers.get("x-api-key"):
        return key.strip()
    authorization = headers.get("authorization")
    if authorization is None:
        return None
    scheme, _, key = authorization.partition(" ")
    if scheme.lower() != "bearer" or not key.strip():
        raise GenyardError(Code.unauthorized, "the Authorization header must be `Bearer gy_…`")
    return key.strip()


def _require_local(request: Request) -> None:
    if why := _not_local(request):
        raise GenyardError(
            Code.forbidden,
            f"there is no API key yet, so only requests from this machine are served, and {why}; "
            "make a key with `genyard keys create NAME` and send it as `Authorization: Bearer gy_…`",
        )


def _not_local(request: Request) -> str | None:
    """Why a request may not be from this machine, whatever its address says; None when it is."""
    if request.client is None or not is_loopback(request.client.host):
        return "this one comes from another"
    for name in request.headers:
        if name.startswith(_FORWARDING):
            return f"this one was forwarded ({name} header)"
    host = request.headers.get("host", "")
    if not _LOCAL_HOST.fullmatch(host):
        return f"this one is addressed to {host[:80]!r}, not to localhost"
    return None
