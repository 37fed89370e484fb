"""Bytes that somebody gave us -> pixels, within limits; and what an uploaded picture is stored as.

The order is the point: media type by the first bytes, size by the header, completeness by the structure,
and only then pixels. Only the decoder of the sniffed type is ever opened. Moving pictures are refused
here (see `video`); URLs and files are read elsewhere.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import (
    GifImagePlugin,
    Image,
    ImageCms,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    WebPImagePlugin,
)
from PIL.Image import Transpose

from genyard.errors import Code, GenyardError
from genyard.imaging import png_facts
from genyard.imaging.arrays import RGBA
from genyard.media import MEDIA_TYPES, SNIFF_BYTES, MediaKind, MediaLimits, sniff

_IMAGE_TYPES: Final = tuple(name for name, (kind, _) in MEDIA_TYPES.items() if kind is MediaKind.image)
_ORIENTATION: Final = 0x0112  # EXIF tag
_TURNS: Final = {
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}
_SWAPPING: Final = (5, 6, 7, 8)  # orientations that exchange width and height
_ALPHA_MODES: Final = ("RGBA", "LA", "PA", "La", "RGBa")


@dataclass(frozen=True, kw_only=True)
class ImageInfo:
    """What the header says. Width and height are as seen, after the EXIF `orientation` (1 = upright)."""

    media_type: str
    width: int
    height: int
    frames: int
    has_alpha: bool
    orientation: int


def inspect_image(data: bytes, limits: MediaLimits) -> ImageInfo:
    """Facts from the header; no pixel is decoded.

    Raises media.invalid when the bytes are not an image of a known type, are cut off, or exceed
    `limits` in bytes, side or pixels. Animated images are reported (`frames`), not refused.
    """
    media_type = _image_type(data, limits)
    _check_size(*_header_size(data, media_type), limits)
    _check_complete(data, media_type)
    opened = _open(data, media_type)
    _check_size(*opened.size, limits)
    orientation = _orientation(_exif(data, media_type))
    width, height = opened.size[::-1] if orientation in _SWAPPING else opened.size
    return ImageInfo(
        media_type=media_type,
        width=width,
        height=height,
        frames=getattr(opened, "n_frames", 1),
        has_alpha=opened.mode in _ALPHA_MODES or "transparency" in opened.info,
        orientation=orientation,
    )


def decode_image(data: bytes, limits: MediaLimits) -> RGBA:
    """H×W×4 uint8, upright, sRGB, straight alpha. Raises media.invalid as `inspect_image`, and when the
    image is animated or its pixels cannot be decoded to the end."""
    info = inspect_image(data, limits)
    _refuse_animated(info)
    return _as_rgba(_upright(_load(data, info.media_type), info.orientation))


def normalise_input(data: bytes, limits: MediaLimits) -> tuple[bytes, ImageInfo]:
    """What an uploaded picture is stored as, and its facts.

    The same bytes when upright and without EXIF. Upright with EXIF (place, camera, thumbnail): the same
    pixels without it. Rotated by EXIF: turned and encoded again in its own format. Raises as `decode_image`.
    """
    info = inspect_image(data, limits)
    _refuse_animated(info)
    picture = _load(data, info.media_type)
    if info.orientation != 1:
        stored = _encode_again(_upright(picture, info.orientation), info.media_type)
    else:
        stored = _without_exif(data, info.media_type) if _exif(data, info.media_type) else data
    return stored, inspect_image(stored, limits)


def encode_png(pixels: NDArray[np.uint8], level: int = 1) -> bytes:
    """H×W (grey), H×W×3 or H×W×4 -> PNG. Level 1 for speed, 3 for what is kept, 6 is seven times slower."""
    target = BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(target, "PNG", compress_level=level)
    return target.getvalue()


# --- before pixels -------------------------------------------------------------------------------


def _image_type(data: bytes, limits: MediaLimits) -> str:
    if not data:
        raise GenyardError(Code.media_invalid, "the file is empty; send a PNG, JPEG, WebP or GIF image")
    if len(data) > limits.max_bytes:
        raise GenyardError(
            Code.media_invalid,
            f"the image has {len(data):,} bytes; at most {limits.max_bytes:,} are allowed",
            context={"bytes": len(data), "max_bytes": limits.max_bytes},
        )
    media_type = sniff(data[:SNIFF_BYTES])
    if media_type not in _IMAGE_TYPES:
        found = media_type or _looks_like(data)
        raise GenyardError(
            Code.media_invalid, f"this is not an image but {found}; send a PNG, JPEG, WebP or GIF image"
        )
    return media_type


def _looks_like(data: bytes) -> str:
    head = data[:512].lstrip().lower()
    if head.startswith((b"<!doctype html", b"<html")):
        return "an HTML page"
    if head.startswith((b"<?xml", b"<svg")):
        return "XML or SVG text"
    if head.startswith((b"{", b"[")):
        return "JSON text"
    if head[4:12] in (b"ftypavif", b"ftypheic", b"ftypheif"):
        return "an AVIF or HEIC file"
    return "text" if all(byte in b"\t\r\n" or 32 <= byte < 127 for byte in head) else "bytes of no known type"


def _check_size(width: int, height: int, limits: MediaLimits) -> None:
    if width <= 0 or height <= 0:
        raise GenyardError(Code.media_invalid, f"the image header says {width} × {height} pixels")
    context = {"width": width, "height": height}
    if max(width, height) > limits.max_side:
        raise GenyardError(
            Code.media_invalid,
            f"the image is {width} × {height} pixels; a side may have at most {limits.max_side:,}",
            context={**context, "max_side": limits.max_side},
        )
    if width * height > limits.max_pixels:
        raise GenyardError(
            Code.media_invalid,
            f"the image is {width} × {height} = {width * height:,} pixels; "
            f"at most {limits.max_pixels:,} are allowed",
            context={**context, "max_pixels": limits.max_pixels},
        )


def _header_size(data: bytes, media_type: str) -> tuple[int, int]:
    """Width and height where the first bytes have them, so that no decoder allocates a bomb's canvas.

    A JPEG has them behind metadata; its decoder allocates nothing on opening, so 1 × 1 passes here.
    """
    try:
        if media_type == "image/png":
            return struct.unpack_from(">II", data, 16)
        if media_type == "image/gif":
            return struct.unpack_from("<HH", data, 6)
        if media_type == "image/webp":
            return _webp_size(data)
    except (struct.error, IndexError) as error:
        raise _cut(data, "its header is incomplete") from error
    return 1, 1


def _webp_size(data: bytes) -> tuple[int, int]:
    kind = data[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    width, height = struct.unpack_from("<HH", data, 26)
    return width & 0x3FFF, height & 0x3FFF


def _check_complete(data: bytes, media_type: str) -> None:
    """Cheap structural proof that the end of the file is there."""
    if media_type == "image/png":
        for _ in png_facts.chunks(data):
            pass
    elif media_type == "image/jpeg" and data.find(b"\xff\xd9", _jpeg_scan(data)) < 0:
        raise _cut(data, "its end-of-image marker is missing")
    elif media_type == "image/webp" and 8 + struct.unpack_from("<I", data, 4)[0] > len(data):
        raise _cut(data, f"its header promises {8 + struct.unpack_from('<I', data, 4)[0]:,} bytes")
    elif media_type == "image/gif" and b"\x3b" not in data[-64:]:
        raise _cut(data, "its trailer is missing")


def _jpeg_scan(data: bytes) -> int:
    """Where the first scan starts: behind metadata, which may hold a whole thumbnail JPEG."""
    start = 2
    while start + 4 <= len(data) and data[start] == 0xFF and data[start + 1] != 0xDA:
        start += 2 + int.from_bytes(data[start + 2 : start + 4], "big")
    return start


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(marker, body) of each segment before the first scan."""
    start, scan = 2, _jpeg_scan(data)
    while start < scan:
        end = start + 2 + int.from_bytes(data[start + 2 : start + 4], "big")
        yield data[start + 1], data[start + 4 : end]
        start = end


def _webp_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """(kind, start, end) of each chunk, header included, padding not."""
    start = 12
    while start + 8 <= len(data):
        kind, length = struct.unpack_from("<4sI", data, start)
        yield kind, start, start + 8 + length
        start += 8 + length + length % 2


def _open(data: bytes, media_type: str) -> ImageFile.ImageFile:
    """The decoder of that type, with the header read."""
    if media_type == "image/jpeg":
        data = _jpeg_without_metadata(data)  # Pillow would parse broken EXIF, and complain
    try:
        return _DECODERS[media_type](BytesIO(data))
    except _DECODER_ERRORS as error:
        raise _damaged(media_type, error) from error


def _exif(data: bytes, media_type: str) -> bytes:
    """The raw EXIF block (a TIFF header and its directories); empty when there is none."""
    found = b""
    if media_type == "image/png":
        found = png_facts.find_chunk(data, b"eXIf") or b""
    elif media_type == "image/jpeg":
        found = next(
            (body for mark, body in _jpeg_segments(data) if mark == 0xE1 and body[:4] == b"Exif"), b""
        )
    elif media_type == "image/webp":
        found = next(
            (data[start + 8 : end] for kind, start, end in _webp_chunks(data) if kind == b"EXIF"), b""
        )
    return found.removeprefix(b"Exif\0\0")


def _orientation(exif: bytes) -> int:
    """1..8 from the first directory; 1 when it is missing or nonsense."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    if order is None:
        return 1
    try:
        (start,) = struct.unpack_from(order + "I", exif, 4)
        (entries,) = struct.unpack_from(order + "H", exif, start)
        for place in range(start + 2, start + 2 + 12 * entries, 12):
            tag, _, _, value = struct.unpack_from(order + "HHIH", exif, place)
            if tag == _ORIENTATION:
                return int(value) if 1 <= value <= 8 else 1
    except struct.error:
        pass
    return 1


def _refuse_animated(info: ImageInfo) -> None:
    if info.frames > 1:
        raise GenyardError(
            Code.media_invalid,
            f"the image is animated ({info.frames} frames); send a still image, or a video as MP4",
            context={"frames": info.frames},
        )


# --- pixels --------------------------------------------------------------------------------------

_DECODERS: Final[dict[str, type[ImageFile.ImageFile]]] = {
    "image/png": PngImagePlugin.PngImageFile,
    "image/jpeg": JpegImagePlugin.JpegImageFile,
    "image/webp": WebPImagePlugin.WebPImageFile,
    "image/gif": GifImagePlugin.GifImageFile,
}
# What they raise on bytes that are wrong in every way that was tried.
_DECODER_ERRORS: Final = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    IndexError,
    KeyError,
    TypeError,
    struct.error,
    Image.DecompressionBombError,  # a GIF whose frame is larger than its screen
    Image.DecompressionBombWarning,
)


def _load(data: bytes, media_type: str) -> Image.Image:
    picture = _open(data, media_type)
    try:
        picture.load()
    except _DECODER_ERRORS as error:
        raise _damaged(media_type, error) from error
    return picture


def _upright(picture: Image.Image, orientation: int) -> Image.Image:
    if orientation not in _TURNS:
        return picture
    turned = picture.transpose(_TURNS[orientation])
    turned.info = {
        key: value for key, value in picture.info.items() if key in ("icc_profile", "transparency")
    }
    return turned


def _as_rgba(picture: Image.Image) -> RGBA:
    if picture.mode.startswith("I"):
        return _from_16_bit_grey(picture)
    in_srgb = _to_srgb(picture)
    return np.array(in_srgb if in_srgb.mode == "RGBA" else in_srgb.convert("RGBA"), np.uint8)


def _from_16_bit_grey(picture: Image.Image) -> RGBA:
    """Scaled (Pillow's own conversion clips everything above 255 to white)."""
    deep = np.asarray(picture).astype(np.uint32)
    grey = ((deep + 128) // 257).clip(0, 255).astype(np.uint8)
    hole = picture.info.get("transparency")
    alpha = np.where(deep == hole, 0, 255) if isinstance(hole, int) else np.full_like(grey, 255)
    return np.dstack([grey, grey, grey, alpha.astype(np.uint8)])


def _to_srgb(picture: Image.Image) -> Image.Image:
    """Through the embedded colour profile, where there is one that says something other than sRGB."""
    raw = picture.info.get("icc_profile")
    if not raw or picture.mode not in ("RGB", "RGBA", "CMYK"):
        return picture
    try:
        profile = ImageCms.ImageCmsProfile(BytesIO(raw))
        if "srgb" in ImageCms.getProfileDescription(profile).lower():
            return picture
        target: Any = ImageCms.createProfile("sRGB")
        mode = "RGBA" if picture.mode == "RGBA" else "RGB"
        converted = ImageCms.profileToProfile(picture, profile, target, outputMode=mode)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return picture  # a broken profile: the plain numbers are the best there is
    return picture if converted is None else converted


# --- storing -------------------------------------------------------------------------------------


def _encode_again(picture: Image.Image, media_type: str) -> bytes:
    target = BytesIO()
    profile = picture.info.get("icc_profile")
    if media_type == "image/jpeg":
        picture.save(target, "JPEG", quality=95, subsampling=0, icc_profile=profile)
    elif media_type == "image/webp":
        picture.save(target, "WEBP", lossless=True, quality=0, method=0, exact=True, icc_profile=profile)
    else:
        picture.save(target, "PNG", compress_level=3, icc_profile=profile)
    return target.getvalue()


def _without_exif(data: bytes, media_type: str) -> bytes:
    """The same coded pixels without EXIF, XMP and IPTC."""
    if media_type == "image/png":
        return png_facts.strip_png(data)
    return _jpeg_without_metadata(data) if media_type == "image/jpeg" else _webp_without_metadata(data)


def _jpeg_without_metadata(data: bytes) -> bytes:
    kept = [
        struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body
        for marker, body in _jpeg_segments(data)
        if marker not in (0xE1, 0xED)  # APP1: EXIF, XMP; APP13: IPTC
    ]
    return b"".join([data[:2], *kept, data[_jpeg_scan(data) :]])


def _webp_without_metadata(data: bytes) -> bytes:
    kept = []
    for kind, start, end in _webp_chunks(data):
        chunk = data[start:end] + bytes((end - start) % 2)
        if kind == b"VP8X":  # flags: 0x08 EXIF, 0x04 XMP
            chunk = chunk[:8] + bytes([chunk[8] & ~0x0C]) + chunk[9:]
        if kind not in (b"EXIF", b"XMP "):
            kept.append(chunk)
    body = b"WEBP" + b"".join(kept)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _damaged(media_type: str, error: Exception) -> GenyardError:
    name = media_type.removeprefix("image/").upper()
    return GenyardError(
        Code.media_invalid, f"the {name} is damaged or cut off: {error}; send the original file"
    )


def _cut(data: bytes, detail: str) -> GenyardError:
    return GenyardError(
        Code.media_invalid,
        f"the image is cut off after {len(data):,} bytes: {detail}; send the whole file",
        context={"bytes": len(data)},
    )
