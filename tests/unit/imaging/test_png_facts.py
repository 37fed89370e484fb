"""PNG chunks: facts in and out without touching pixels, foreign text gone, damage found."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from genyard.errors import Code, GenyardError
from genyard.imaging.decode import encode_png
from genyard.imaging.png_facts import (
    SIGNATURE,
    chunks,
    find_chunk,
    measure_png,
    read_png_facts,
    strip_png,
    write_png_facts,
)

PIXELS = np.random.default_rng(0).integers(0, 255, (40, 60, 4), dtype=np.uint8)
FACTS = {"operation": "txt2img", "seed": 2**63, "model": "flux.1-dev", "words": "Käse → 奶酪"}


def foreign(**options: Any) -> bytes:
    """What ComfyUI writes: the workflow as text."""
    text = PngImagePlugin.PngInfo()
    text.add_text("prompt", '{"3": {"class_type": "KSampler"}}')
    text.add_itxt("workflow", "SECRET-WORKFLOW", zip=True)
    text.add_text("genyardish", "not ours")
    exif = Image.Exif()
    exif[0x010F] = "CAMERA"
    target = BytesIO()
    Image.fromarray(PIXELS).save(target, "PNG", pnginfo=text, exif=exif, dpi=(72, 72), **options)
    return target.getvalue()


def pixels_of(data: bytes) -> Any:
    return np.asarray(Image.open(BytesIO(data)))


def kinds(data: bytes) -> list[bytes]:
    return [chunk.kind for chunk in chunks(data)]


def test_facts_come_back_and_foreign_text_is_gone() -> None:
    data = write_png_facts(foreign(), FACTS)
    assert read_png_facts(data) == FACTS
    assert kinds(data)[:2] == [b"IHDR", b"iTXt"]
    assert not {b"tEXt", b"zTXt", b"eXIf"} & set(kinds(data))
    assert b"pHYs" in kinds(data)
    assert b"KSampler" not in data
    assert Image.open(BytesIO(data)).info.keys() == {"genyard", "dpi"}
    assert np.array_equal(pixels_of(data), PIXELS)


def test_the_coded_pixels_are_the_same_bytes() -> None:
    data = foreign()
    assert find_chunk(write_png_facts(data, FACTS), b"IDAT") == find_chunk(data, b"IDAT")


def test_writing_again_replaces() -> None:
    twice = write_png_facts(write_png_facts(foreign(), FACTS), {"seed": 1})
    assert read_png_facts(twice) == {"seed": 1}
    assert kinds(twice).count(b"iTXt") == 1
    assert twice == write_png_facts(foreign(), {"seed": 1})


def test_without_facts_there_are_none() -> None:
    assert read_png_facts(foreign()) is None
    assert read_png_facts(strip_png(write_png_facts(foreign(), FACTS))) is None


def test_facts_that_are_not_json_are_none() -> None:
    text = PngImagePlugin.PngInfo()
    text.add_itxt("genyard", "{broken")
    target = BytesIO()
    Image.fromarray(PIXELS).save(target, "PNG", pnginfo=text)
    assert read_png_facts(target.getvalue()) is None


def test_bytes_behind_the_end_are_dropped() -> None:
    clean = encode_png(PIXELS)
    assert strip_png(clean + b"PK\x03\x04 hidden zip") == clean


@pytest.mark.parametrize(
    ("mode", "channels", "alpha", "depth"),
    [("L", 1, False, 8), ("RGB", 3, False, 8), ("RGBA", 4, True, 8), ("LA", 2, True, 8), ("1", 1, False, 1)],
)
def test_measure(mode: str, channels: int, alpha: bool, depth: int) -> None:
    target = BytesIO()
    Image.fromarray(PIXELS).convert(mode).save(target, "PNG")
    info = measure_png(target.getvalue(), decode=True)
    assert (info.width, info.height, info.channels) == (60, 40, channels)
    assert (info.has_alpha, info.bit_depth, info.frames) == (alpha, depth, 1)


def test_measure_knows_palette_alpha_and_animation() -> None:
    target = BytesIO()
    Image.new("P", (4, 4)).save(target, "PNG", transparency=0)
    assert measure_png(target.getvalue()).has_alpha
    frames = [Image.fromarray(np.roll(PIXELS, shift, 1)) for shift in (0, 9)]
    target = BytesIO()
    frames[0].save(target, "PNG", save_all=True, append_images=frames[1:])
    assert measure_png(target.getvalue()).frames == 2


@pytest.mark.parametrize("use", [measure_png, strip_png, read_png_facts, lambda d: write_png_facts(d, {})])
def test_every_use_refuses_a_cut_file(use: Any) -> None:
    data = foreign()
    for kept in (10, 30, len(data) // 2, len(data) - 1):
        with pytest.raises(GenyardError, match=r"cut off|not a PNG") as caught:
            use(data[:kept])
        assert caught.value.code is Code.media_invalid


def test_other_damage_is_named() -> None:
    data = bytearray(encode_png(PIXELS))
    data[60] ^= 1
    with pytest.raises(GenyardError, match="checksum"):
        measure_png(bytes(data))
    with pytest.raises(GenyardError, match="not a PNG"):
        measure_png(b"\xff\xd8\xff" + bytes(40))
    clean = encode_png(PIXELS)
    walked = list(chunks(clean))
    header, end = (clean[c.start : c.end] for c in (walked[0], walked[-1]))
    with pytest.raises(GenyardError, match="no pixels"):
        measure_png(SIGNATURE + header + end)
    with pytest.raises(GenyardError, match="IHDR"):
        measure_png(SIGNATURE + end)


def test_pixels_that_end_early_are_found_by_decoding() -> None:
    small, large = encode_png(PIXELS[:4]), encode_png(PIXELS)
    header = next(iter(chunks(large)))
    first = next(iter(chunks(small)))
    lying = small[: first.start] + large[header.start : header.end] + small[first.end :]
    assert measure_png(lying).height == 40
    with pytest.raises(GenyardError, match="bytes of its pixels are missing"):
        measure_png(lying, decode=True)


def test_pixels_that_cannot_be_inflated_are_found() -> None:
    data = encode_png(PIXELS)
    pixels = next(chunk for chunk in chunks(data) if chunk.kind == b"IDAT")
    body = bytearray(data[pixels.start + 4 : pixels.end - 4])
    body[40:60] = bytes(20)
    broken = data[: pixels.start + 4] + bytes(body) + struct.pack(">I", zlib.crc32(body)) + data[pixels.end :]
    measure_png(broken)
    with pytest.raises(GenyardError, match=r"inflated|missing"):
        measure_png(broken, decode=True)


def test_interlaced_pixels_are_counted() -> None:
    # 3 × 2 grey: pass 1 is pixel (0, 0), pass 4 (2, 0), pass 6 (1, 0), pass 7 the second row
    rows = b"\0\x10" + b"\0\x20" + b"\0\x30" + b"\0\x40\x50\x60"
    header = struct.pack(">IIBBBBB", 3, 2, 8, 0, 0, 0, 1)
    whole = SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(rows)) + _chunk(b"IEND", b"")
    cut = (
        SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(rows[:-1])) + _chunk(b"IEND", b"")
    )
    assert np.asarray(Image.open(BytesIO(whole))).tolist() == [[0x10, 0x30, 0x20], [0x40, 0x50, 0x60]]
    assert measure_png(whole, decode=True).width == 3
    with pytest.raises(GenyardError, match="missing"):
        measure_png(cut, decode=True)


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
