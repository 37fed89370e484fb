"""Links to stored files that work without a key: signed, and for a while."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from genyard.errors import Code, GenyardError
from genyard.jobs.model import Asset
from genyard.media import MEDIA_TYPES
from genyard.storage import LinkSigner


@dataclass(frozen=True, kw_only=True)
class Links:
    """`public_url`: what stands before the path, where the server is known under another address."""

    signer: LinkSigner
    seconds: int
    public_url: str
    clock: Callable[[], float]

    def of(self, asset: Asset) -> tuple[str, datetime]:
        """The link and when it expires. The same for a while, so that browsers can keep the picture."""
        step = max(60, self.seconds // 4)
        expires = int(self.clock() + self.seconds) // step * step + step
        key = key_of(asset)
        url = f"{self.public_url.rstrip('/')}/assets/{key}?{self.signer.sign(key, expires)}"
        return url, datetime.fromtimestamp(expires, UTC)

    def require(self, key: str, expires: int, signature: str) -> int:
        """Seconds until the link expires; `access.forbidden` when it has, or was never ours."""
        if not signature.isascii() or not self.signer.verify(key, expires, signature, expires - 1):
            raise GenyardError(
                Code.forbidden,
                "the signature of this link does not fit; take the `url` of the asset as it is",
            )
        left = expires - int(self.clock())
        if left <= 0:
            raise GenyardError(
                Code.forbidden,
                "this link has expired; ask for the asset again (GET /v1/assets/{id}) to get a new one",
            )
        return left


def key_of(asset: Asset) -> str:
    """The last part of an asset's path: its id and a suffix for people and programs that go by it."""
    return f"{asset.id}{_suffix(asset.media_type)}"


def asset_id_of(key: str) -> UUID:
    """`request.not_found` for a key that cannot be an asset's."""
    try:
        return UUID(key.partition(".")[0])
    except ValueError:
        raise GenyardError(Code.not_found, f"no file {key[:80]!r}") from None


def _suffix(media_type: str) -> str:
    return MEDIA_TYPES[media_type][1] if media_type in MEDIA_TYPES else ".txt"
