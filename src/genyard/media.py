"""What bytes are: media types by their first bytes, hashing, limits.

Nothing is decoded here (see `imaging.decode`), and file names are never believed.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from genyard.errors import Code, GenyardError


class MediaKind(StrEnum):
    image = "image"
    video = "video"
    audio = "audio"


#: media type -> (kind, file suffix)
MEDIA_TYPES: Final[dict[str, tuple[MediaKind, str]]] = {
    "image/png": (MediaKind.image, ".png"),
    "image/jpeg": (MediaKind.image, ".jpg"),
    "image/webp": (MediaKind.image, ".webp"),
    "image/gif": (MediaKind.image, ".gif"),
    "video/mp4": (MediaKind.video, ".mp4"),
    "video/webm": (MediaKind.video, ".webm"),
    "video/quicktime": (MediaKind.video, ".mov"),
    "audio/mpeg": (MediaKind.audio, ".mp3"),
    "audio/flac": (MediaKind.audio, ".flac"),
    "audio/wav": (MediaKind.audio, ".wav"),
}

#: How many first bytes `sniff` wants to see.
SNIFF_BYTES: Final = 32


@dataclass(frozen=True, kw_only=True)
class MediaLimits:
    """What an input may be. Pixels are counted before anything is decoded."""

    max_bytes: int = 50 * 1024 * 1024
    max_pixels: int = 64_000_000
    max_side: int = 16_384
    max_seconds: float = 120.0


def sniff(head: bytes) -> str | None:
    """The media type by the first `SNIFF_BYTES` bytes, or None when it is none of `MEDIA_TYPES`."""
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if head.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if head.startswith(b"RIFF"):
        return {b"WEBP": "image/webp", b"WAVE": "audio/wav"}.get(head[8:12])
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    if head[4:8] == b"ftyp":
        return "video/quicktime" if head[8:12] == b"qt  " else "video/mp4"
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        return "video/webm"
    if head.startswith(b"fLaC"):
        return "audio/flac"
    if head.startswith((b"ID3", b"\xff\xfb", b"\xff\xf3")):
        return "audio/mpeg"
    return None


def kind_of(media_type: str) -> MediaKind:
    try:
        return MEDIA_TYPES[media_type][0]
    except KeyError:
        raise GenyardError(
            Code.media_invalid, f"{media_type!r} is not one of {', '.join(MEDIA_TYPES)}"
        ) from None


def suffix_of(media_type: str) -> str:
    return MEDIA_TYPES[media_type][1]


def hash_bytes(data: bytes) -> str:
    """The name of a blob: lower-case hexadecimal SHA-256."""
    return hashlib.sha256(data).hexdigest()
