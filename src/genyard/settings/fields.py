"""What several tables of the settings share: that they are frozen, and kinds of values."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, SecretStr


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def _receiver(url: str) -> str:
    if url and not re.fullmatch(r"https?://[^\s/@]+(/\S*)?", url):
        raise ValueError("this is not an address such as https://receiver.internal/genyard")
    return url


def _signing(secret: SecretStr) -> SecretStr:
    try:
        known = base64.b64decode(secret.get_secret_value().removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError):
        known = b""
    if len(known) < 16:
        raise ValueError("a secret is whsec_ and at least 16 bytes in base64")
    return secret


#: To which we post; empty: nobody.
Receiver = Annotated[str, AfterValidator(_receiver)]
#: `whsec_…`: what is posted is signed with it.
SigningSecret = Annotated[SecretStr, AfterValidator(_signing)]
