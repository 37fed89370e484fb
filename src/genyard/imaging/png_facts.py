"""PNG at the level of chunks: is it complete, how large is it, what does its text say.

Pixels are never decoded or encoded here (`measure_png(…, decode=True)` only inflates and counts them), so
that facts cost a few milliseconds per 4 MB. A PNG that we publish carries one
text chunk, `genyard`, with JSON; text of others is dropped, because ComfyUI writes the whole workflow there.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from genyard.errors import Code, GenyardError

SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
KEYWORD: Final = "genyard"

#: Ancillary chunks that say how pixels look or move. All others (text, EXIF, time, private) are dropped.
_KEPT: Final = frozenset(
    b"cHRM cICP gAMA iCCP mDCV cLLI sBIT sRGB bKGD hIST tRNS pHYs sPLT acTL fcTL fdAT".split()
)
_PIECE: Final = 1 << 20  # bytes inflated at a time
_SAMPLES: Final = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # channels by IHDR colour type


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """One chunk: `data[start:end]` is the whole of it (length, kind, body, CRC)."""

    kind: bytes
    start: int
    end: int

    @property
    def body(self) -> slice:
        return slice(self.start + 8, self.end - 4)


@dataclass(frozen=True, kw_only=True)
class PngInfo:
    """Facts of a complete PNG. `frames` is above 1 for an animated one."""

    width: int
    height: int
    bit_depth: int
    channels: int
    has_alpha: bool
    frames: int


def chunks(data: bytes, *, check_crc: bool = True) -> Iterator[Chunk]:
    """Every chunk up to and with IEND. Raises media.invalid where the file is cut or damaged."""
    if not data.startswith(SIGNATURE):
        raise GenyardError(Code.media_invalid, "this is not a PNG: its first bytes are not the PNG signature")
    view = memoryview(data)
    start = len(SIGNATURE)
    while start + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, start)
        end = start + 12 + length
        if end > len(data):
            raise _cut(data, f"the {_name(kind)} chunk needs {end - len(data)} more bytes")
        (crc,) = struct.unpack_from(">I", data, end - 4)
        if check_crc and crc != zlib.crc32(view[start + 4 : end - 4]):
            raise GenyardError(
                Code.media_invalid,
                f"the PNG is damaged: the checksum of its {_name(kind)} chunk at byte {start} is wrong; "
                "send the original file",
            )
        yield Chunk(kind=kind, start=start, end=end)
        if kind == b"IEND":
            return
        start = end
    raise _cut(data, "its IEND chunk is missing")


def measure_png(data: bytes, *, decode: bool = False) -> PngInfo:
    """Size and alpha of a structurally complete PNG (every checksum, an IDAT, IEND).

    With `decode` the pixels are inflated and counted as well, which finds what a broken writer left out
    (about 10 ms per megapixel). Raises media.invalid.
    """
    walked = list(chunks(data))
    info = _header(data, walked)
    if not any(chunk.kind == b"IDAT" for chunk in walked):
        raise GenyardError(Code.media_invalid, "the PNG has no pixels: it has no IDAT chunk")
    if decode:
        _prove_pixels(data, walked, info)
    return info


def write_png_facts(data: bytes, facts: Mapping[str, Any]) -> bytes:
    """The same pixels, byte for byte, with `facts` as the only text.

    Foreign text, EXIF and private chunks are dropped; bytes after IEND too. Raises media.invalid.
    """
    walked = list(chunks(data))
    _header(data, walked)
    parts = [SIGNATURE, data[walked[0].start : walked[0].end], _facts_chunk(facts)]
    parts += [data[chunk.start : chunk.end] for chunk in walked[1:] if _is_kept(chunk.kind)]
    return b"".join(parts)


def strip_png(data: bytes) -> bytes:
    """The same pixels without any text, EXIF or private chunk. Raises media.invalid."""
    kept = [data[chunk.start : chunk.end] for chunk in chunks(data) if _is_kept(chunk.kind)]
    return b"".join([SIGNATURE, *kept])


def read_png_facts(data: bytes) -> dict[str, Any] | None:
    """What `write_png_facts` put there, or None. Raises media.invalid when the file is cut."""
    for chunk in chunks(data, check_crc=False):
        if chunk.kind == b"iTXt" and data[chunk.body].startswith(KEYWORD.encode() + b"\0"):
            text = data[chunk.body].split(b"\0", 5)[-1]
            try:
                told = json.loads(text)
            except ValueError:
                return None
            return told if isinstance(told, dict) else None
    return None


def find_chunk(data: bytes, kind: bytes) -> bytes | None:
    """The body of the first chunk of that kind, or None; no checksums. Raises media.invalid when cut."""
    return next((data[c.body] for c in chunks(data, check_crc=False) if c.kind == kind), None)


def facts_as_json(facts: Mapping[str, Any]) -> str:
    """The one way in which facts become text: sorted, compact, UTF-8."""
    return json.dumps(facts, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def _facts_chunk(facts: Mapping[str, Any]) -> bytes:
    # iTXt: keyword, 0, compressed? 0, method 0, language, 0, translated keyword, 0, UTF-8 text
    body = KEYWORD.encode() + b"\0\0\0\0\0" + facts_as_json(facts).encode()
    return struct.pack(">I", len(body)) + b"iTXt" + body + struct.pack(">I", zlib.crc32(b"iTXt" + body))


def _header(data: bytes, walked: list[Chunk]) -> PngInfo:
    first = walked[0]
    if first.kind != b"IHDR" or first.end - first.start != 25:
        raise GenyardError(Code.media_invalid, "the PNG is damaged: it does not begin with an IHDR chunk")
    width, height, bit_depth, colour_type = struct.unpack_from(">IIBB", data, first.start + 8)
    if not width or not height or colour_type not in _SAMPLES:
        raise GenyardError(
            Code.media_invalid,
            f"the PNG is damaged: its header says {width} × {height} pixels of colour type {colour_type}",
        )
    kinds = {chunk.kind for chunk in walked}
    return PngInfo(
        width=width,
        height=height,
        bit_depth=bit_depth,
        channels=_SAMPLES[colour_type],
        has_alpha=colour_type in (4, 6) or b"tRNS" in kinds,
        frames=max(1, sum(chunk.kind == b"fcTL" for chunk in walked)),
    )


def _prove_pixels(data: bytes, walked: list[Chunk], info: PngInfo) -> None:
    """Inflates all IDAT, never more than the header promises."""
    interlaced = data[walked[0].start + 20] == 1
    missing = _coded_bytes(info, interlaced)
    inflater = zlib.decompressobj()
    try:
        for chunk in walked:
            waiting = data[chunk.body] if chunk.kind == b"IDAT" else b""
            while waiting and missing > 0:  # in pieces: a bomb must not be held in memory
                missing -= len(inflater.decompress(waiting, min(missing, _PIECE)))
                waiting = inflater.unconsumed_tail
    except zlib.error as error:
        raise GenyardError(
            Code.media_invalid, f"the PNG is damaged: its pixels cannot be inflated ({error})"
        ) from error
    if missing > 0:
        raise GenyardError(
            Code.media_invalid,
            f"the PNG is damaged: {missing:,} bytes of its pixels are missing; send the original file",
        )


def _coded_bytes(info: PngInfo, interlaced: bool) -> int:
    """How many bytes all rows have, each with its filter byte; Adam7 has seven smaller pictures."""
    passes = [(0, 0, 1, 1)]
    if interlaced:
        passes = [
            (0, 0, 8, 8),
            (4, 0, 8, 8),
            (0, 4, 4, 8),
            (2, 0, 4, 4),
            (0, 2, 2, 4),
            (1, 0, 2, 2),
            (0, 1, 1, 2),
        ]
    total = 0
    for left, top, step_x, step_y in passes:
        columns = -(-(info.width - left) // step_x)
        rows = -(-(info.height - top) // step_y)
        if columns > 0 and rows > 0:
            total += rows * (1 + -(-columns * info.channels * info.bit_depth // 8))
    return total


def _is_kept(kind: bytes) -> bool:
    is_critical = not kind[0] & 0x20
    return is_critical or kind in _KEPT


def _name(kind: bytes) -> str:
    return kind.decode("ascii", "replace")


def _cut(data: bytes, detail: str) -> GenyardError:
    return GenyardError(
        Code.media_invalid,
        f"the PNG is cut off after {len(data)} bytes: {detail}; send the whole file",
        context={"bytes": len(data)},
    )
