"""All pictures of a demonstration on one sheet."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from genyard.imaging.arrays import RGBA
from genyard.imaging.decode import decode_image, encode_png
from genyard.imaging.sheet import contact_sheet
from genyard.imaging.video import thumbnail
from genyard.media import MediaLimits


def write_sheet(out: Path, shown: Sequence[tuple[str, Path]], title: str) -> Path:
    """`shown`: captions (two lines) with files; of a video its first picture."""
    pictures = [(caption, picture_of(file)) for caption, file in shown]
    path = out / "contact-sheet.png"
    path.write_bytes(
        encode_png(contact_sheet(pictures, title=f"genyard {version('genyard')} · {title}"), level=6)
    )
    return path


def picture_of(file: Path) -> RGBA:
    data = file.read_bytes()
    return thumbnail(data) if file.suffix == ".mp4" else decode_image(data, MediaLimits())
