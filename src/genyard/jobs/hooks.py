"""Addresses at which places say that something happened: secret, one per attempt.

`/hooks/<endpoint>/<attempt>/<token>`: who knows the token may wake that attempt, and nothing else. What happened is
read from the place itself.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field
from uuid import UUID


@dataclass(frozen=True, kw_only=True)
class Hooks:
    """`base` is the address under which places reach us; empty: they cannot."""

    secret: bytes = field(repr=False)
    base: str = ""

    def url(self, endpoint: str, key: UUID) -> str | None:
        if not self.base:
            return None
        return f"{self.base.rstrip('/')}/hooks/{endpoint}/{key}/{self._token(endpoint, key)}"

    def verify(self, endpoint: str, key: UUID, token: str) -> bool:
        return hmac.compare_digest(self._token(endpoint, key).encode(), token.encode())

    def _token(self, endpoint: str, key: UUID) -> str:
        return hmac.new(self.secret, f"hook {endpoint} {key}".encode(), hashlib.sha256).hexdigest()
