"""What an uploaded file is, looked at before it is stored."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genyard.errors import Code, GenyardError
from genyard.imaging.decode import normalise_input
from genyard.imaging.video import probe_video
from genyard.media import SNIFF_BYTES, MediaKind, MediaLimits, kind_of, sniff


@dataclass(frozen=True, kw_only=True)
class Inspected:
    data: bytes
    media_type: str
    width: int | None = None
    height: int | None = None
    seconds: float | None = None


def read_input(given: Any, field: str) -> bytes:
    """The bytes of a file, or bytes as they are. `request.invalid` for anything else."""
    if isinstance(given, bytes):
        return given
    if not isinstance(given, Path):
        raise GenyardError(
            Code.request_invalid,
            f"a Path, bytes or an Asset is needed, not {type(given).__name__}",
            field=field,
        )
    try:
        return given.read_bytes()
    except (OSError, ValueError) as wrong:
        why = getattr(wrong, "strerror", None) or str(wrong)
        raise GenyardError(Code.request_invalid, f"cannot read {str(given)!r}: {why}", field=field) from wrong


def inspect_upload(data: bytes, limits: MediaLimits) -> Inspected:
    """Sniffed and measured; an EXIF-rotated image is set upright. `media.invalid` says what is wrong."""
    media_type = sniff(data[:SNIFF_BYTES])
    kind = kind_of(media_type) if media_type else MediaKind.image
    if kind is MediaKind.video:
        video = probe_video(data, limits)
        assert media_type is not None
        return Inspected(
            data=data, media_type=media_type, width=video.width, height=video.height, seconds=video.seconds
        )
    if kind is MediaKind.audio:
        assert media_type is not None
        return Inspected(data=data, media_type=media_type)
    upright, image = normalise_input(data, limits)
    return Inspected(data=upright, media_type=image.media_type, width=image.width, height=image.height)
