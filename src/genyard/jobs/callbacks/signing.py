"""Signatures of the Standard Webhooks specification: who sent a message, and that it is whole. Pure."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Mapping, Sequence
from typing import Final

_PREFIX: Final = "whsec_"
_BYTES: Final = 32


def new_secret() -> bytes:
    return secrets.token_bytes(_BYTES)


def write_secret(secret: bytes) -> str:
    return _PREFIX + base64.b64encode(secret).decode()


def read_secret(text: str) -> bytes:
    """`ValueError` for what is no secret."""
    try:
        secret = base64.b64decode(text.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        secret = b""
    if len(secret) < 16:
        raise ValueError("a secret is whsec_ and at least 16 bytes in base64")
    return secret


def signed_headers(keys: Sequence[bytes], message_id: str, timestamp: int, body: bytes) -> Mapping[str, str]:
    """One signature for each key: while a secret is being changed, receivers know the old one or the new one."""
    content = f"{message_id}.{timestamp}.".encode() + body
    told = [base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode() for key in keys]
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(f"v1,{one}" for one in told),
    }
