"""Whether a webhook comes from Replicate: the signature of the Standard Webhooks specification. Pure.

The `standardwebhooks` package does the same; these lines are shorter than its dependencies.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from typing import Final

#: Seconds that a webhook's clock may be off, or its delivery late.
TOLERANCE: Final = 300.0

_HEADERS: Final = ("webhook-id", "webhook-timestamp", "webhook-signature")


def could_be_signed(headers: Mapping[str, str], now: float) -> bool:
    """Without the secret: all headers are there, and the time is about now."""
    if not all(headers.get(name) for name in _HEADERS):
        return False
    try:
        told = int(headers["webhook-timestamp"])
    except ValueError:
        return False
    return abs(now - told) <= TOLERANCE


def is_signed(headers: Mapping[str, str], body: bytes, secret: str) -> bool:
    """`secret`: whsec_… in base64. There may be several signatures, while a secret is being changed."""
    try:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError):
        return False
    content = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.new(key, content, hashlib.sha256).digest())
    found = False
    for one in headers["webhook-signature"].split():
        version, _, told = one.partition(",")
        found |= version == "v1" and hmac.compare_digest(told.encode(), expected)
    return found
