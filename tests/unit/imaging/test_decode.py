"""Bytes -> pixels: every refusal, and every conversion that is easy to get wrong."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from genyard.errors import Code, GenyardError
from genyard.imaging.decode import decode_image, encode_png, inspect_image, normalise_input
from genyard.imaging.png_facts import SIGNATURE
from genyard.media import MediaLimits

LIMITS = MediaLimits()
RNG = np.random.default_rng(0)
PIXELS = np.kron(RNG.integers(0, 255, (12, 16, 3), dtype=np.uint8), np.ones((8, 8, 1), np.uint8))  # 96 × 128
FORMATS = ["PNG", "JPEG", "WEBP", "GIF"]


def coded(fmt: str, pixels: Any = PIXELS, **options: Any) -> bytes:
    picture = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    target = BytesIO()
    picture.save(target, fmt, **options)
    return target.getvalue()


def png(width: int, height: int, rows: bytes) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return SIGNATURE + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def refused(data: bytes, limits: MediaLimits = LIMITS) -> GenyardError:
    with pytest.raises(GenyardError) as caught:
        decode_image(data, limits)
    assert caught.value.code is Code.media_invalid
    return caught.value


@pytest.mark.parametrize("fmt", FORMATS)
def test_every_format_decodes_to_rgba(fmt: str) -> None:
    data = coded(fmt)
    info = inspect_image(data, LIMITS)
    assert (info.width, info.height, info.frames, info.has_alpha, info.orientation) == (128, 96, 1, False, 1)
    pixels = decode_image(data, LIMITS)
    assert pixels.shape == (96, 128, 4)
    assert pixels.dtype == np.uint8
    assert (pixels[..., 3] == 255).all()


@pytest.mark.parametrize("fmt", FORMATS)
@pytest.mark.parametrize("share", [0.004, 0.05, 0.34, 0.66, 0.95, 1.0])
def test_a_cut_file_is_refused(fmt: str, share: float) -> None:
    data = coded(fmt)
    kept = len(data) - 1 if share == 1.0 else max(4, int(len(data) * share))
    error = refused(data[:kept])
    assert "cut off" in error.message or "not an image" in error.message


def test_a_cut_progressive_jpeg_is_refused() -> None:
    data = coded("JPEG", progressive=True)
    refused(data[: len(data) // 2])


def test_a_jpeg_with_something_behind_it_is_fine() -> None:
    assert decode_image(coded("JPEG") + b"\xff\xda" + bytes(500), LIMITS).shape == (96, 128, 4)


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"", "empty"),
        (b"<!DOCTYPE html><html>502</html>", "HTML"),
        (b"<html>", "HTML"),
        (b'{"error": "no"}', "JSON"),
        (b"<svg xmlns='x'/>", "SVG"),
        (b"hello there", "text"),
        (b"\x00\x00\x00\x1cftypavif" + bytes(30), "image"),
        (bytes(range(128, 255)), "no known type"),
        (b"\x89PNG\r\n\x1a\n", "cut off"),
        (b"\xff\xd8\xff", "cut off"),
    ],
)
def test_what_is_no_image_is_named(data: bytes, word: str) -> None:
    assert word in refused(data).message


def test_a_bomb_is_refused_by_its_header() -> None:
    bomb = png(15_000, 15_000, bytes(100))
    with pytest.raises(GenyardError, match="225,000,000 pixels") as caught:
        inspect_image(bomb, LIMITS)
    assert caught.value.context["max_pixels"] == LIMITS.max_pixels


@pytest.mark.parametrize("fmt", FORMATS)
def test_limits(fmt: str) -> None:
    data = coded(fmt)
    assert "bytes" in refused(data, MediaLimits(max_bytes=100)).message
    assert "a side" in refused(data, MediaLimits(max_side=100)).message
    assert "pixels" in refused(data, MediaLimits(max_pixels=10_000)).message


def test_missing_rows_are_found_although_the_structure_is_whole() -> None:
    assert "damaged" in refused(png(200, 200, bytes(500))).message


def test_a_flipped_bit_is_found() -> None:
    data = bytearray(coded("PNG"))
    data[len(data) // 2] ^= 4
    assert "checksum" in refused(bytes(data)).message


@pytest.mark.parametrize("fmt", ["PNG", "GIF", "WEBP"])
def test_animation_is_reported_and_refused(fmt: str) -> None:
    frames = [Image.fromarray(np.roll(PIXELS, shift, 1)) for shift in (0, 20, 40)]
    data = coded(fmt, frames[0], save_all=True, append_images=frames[1:])
    assert inspect_image(data, LIMITS).frames == 3
    assert "3 frames" in refused(data).message
    with pytest.raises(GenyardError):
        normalise_input(data, LIMITS)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = coded("PNG", exif=exif)
    expected = {
        1: PIXELS,
        2: PIXELS[:, ::-1],
        3: PIXELS[::-1, ::-1],
        4: PIXELS[::-1],
        5: PIXELS.transpose(1, 0, 2),
        6: np.rot90(PIXELS, -1),
        7: np.rot90(PIXELS.transpose(1, 0, 2), 2),
        8: np.rot90(PIXELS),
    }[orientation]
    assert np.array_equal(decode_image(data, LIMITS)[..., :3], expected)
    info = inspect_image(data, LIMITS)
    assert (info.height, info.width) == expected.shape[:2]
    assert info.orientation == orientation


def test_sixteen_bits_are_scaled_not_clipped() -> None:
    deep = np.linspace(0, 65535, 64 * 64).reshape(64, 64).astype(np.uint16)
    pixels = decode_image(coded("PNG", deep), LIMITS)
    assert pixels[0, 0, 0] == 0
    assert pixels[-1, -1, 0] == 255
    assert abs(int(pixels[32, 0, 0]) - 128) <= 1


def test_cmyk_grey_palette_and_transparent_palette() -> None:
    red = decode_image(coded("JPEG", Image.new("CMYK", (8, 8), (0, 255, 255, 0))), LIMITS)[0, 0]
    assert red[0] > 240
    assert red[1] < 20
    grey = decode_image(coded("PNG", PIXELS[..., 0]), LIMITS)
    assert np.array_equal(grey[..., 0], PIXELS[..., 0])
    assert np.array_equal(grey[..., 1], PIXELS[..., 0])
    palette = Image.fromarray(PIXELS).convert("P", palette=Image.Palette.ADAPTIVE)
    assert np.array_equal(
        decode_image(coded("PNG", palette), LIMITS)[..., :3], np.asarray(palette.convert("RGB"))
    )
    holed = Image.new("P", (4, 4), 3)
    holed.putpalette([0, 0, 0, 9, 9, 9, 40, 40, 40, 200, 0, 0])
    clear = coded("PNG", holed, transparency=3)
    assert inspect_image(clear, LIMITS).has_alpha
    assert (decode_image(clear, LIMITS)[..., 3] == 0).all()


def test_an_embedded_profile_leads_to_srgb() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert np.array_equal(decode_image(coded("PNG", icc_profile=profile), LIMITS)[..., :3], PIXELS)
    assert np.array_equal(decode_image(coded("PNG", icc_profile=b"nonsense"), LIMITS)[..., :3], PIXELS)


@pytest.mark.parametrize("fmt", FORMATS)
def test_a_fine_input_is_stored_as_it_is(fmt: str) -> None:
    data = coded(fmt)
    stored, info = normalise_input(data, LIMITS)
    assert stored == data
    assert info == inspect_image(data, LIMITS)


@pytest.mark.parametrize(("fmt", "tolerance"), [("PNG", 0), ("WEBP", 60), ("JPEG", 60)])
def test_a_turned_input_is_stored_upright_without_its_place(fmt: str, tolerance: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010F] = "CAMERA-MAKER"
    data = coded(fmt, exif=exif)
    stored, info = normalise_input(data, LIMITS)
    assert (info.width, info.height, info.orientation) == (96, 128, 1)
    assert info.media_type == inspect_image(data, LIMITS).media_type
    assert b"CAMERA-MAKER" in data
    assert b"CAMERA-MAKER" not in stored
    difference = decode_image(stored, LIMITS).astype(int) - decode_image(data, LIMITS)
    assert np.abs(difference).max() <= tolerance


@pytest.mark.parametrize("fmt", ["PNG", "WEBP", "JPEG"])
def test_an_upright_input_loses_its_exif_and_no_pixel(fmt: str) -> None:
    exif = Image.Exif()
    exif[0x010F] = "CAMERA-MAKER"
    data = coded(fmt, exif=exif)
    stored, _ = normalise_input(data, LIMITS)
    assert b"CAMERA-MAKER" not in stored
    assert np.array_equal(decode_image(stored, LIMITS), decode_image(data, LIMITS))


def test_nonsense_in_exif_is_ignored() -> None:
    assert inspect_image(coded("PNG", exif=b"Exif\0\0garbage"), LIMITS).orientation == 1


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_encode_png_round_trip(channels: int) -> None:
    pixels = RNG.integers(0, 255, (20, 30, channels), dtype=np.uint8)
    pixels = pixels[..., 0] if channels == 1 else pixels
    decoded = decode_image(encode_png(pixels), LIMITS)
    expected = pixels[..., None] if channels == 1 else pixels
    assert np.array_equal(
        decoded[..., : expected.shape[2]], np.broadcast_to(expected, (20, 30, expected.shape[2]))
    )
    assert encode_png(pixels, 3) == encode_png(pixels, 3)


@pytest.mark.parametrize("order", ["<", ">"])
def test_orientation_in_both_byte_orders_and_behind_the_pixels(order: str) -> None:
    head = b"II*\0" if order == "<" else b"MM\0*"
    entry = struct.pack(order + "HHIHH", 0x0112, 3, 1, 8, 0)
    exif = head + struct.pack(order + "IH", 8, 1) + entry + bytes(4)
    assert inspect_image(coded("PNG", exif=exif), LIMITS).orientation == 8
    data = coded("PNG")
    chunk = struct.pack(">I", len(exif)) + b"eXIf" + exif + struct.pack(">I", zlib.crc32(b"eXIf" + exif))
    assert inspect_image(data[:-12] + chunk + data[-12:], LIMITS).orientation == 8
    assert inspect_image(coded("PNG", exif=exif[:12]), LIMITS).orientation == 1


@pytest.mark.parametrize("fmt", FORMATS)
@pytest.mark.filterwarnings("ignore:.*EXIF|Tag data:UserWarning")
def test_damaged_bytes_are_refused_or_decoded_but_nothing_else_happens(fmt: str) -> None:
    rng = np.random.default_rng(3)
    exif = Image.Exif()
    exif[0x0112] = 6
    whole = coded(fmt) if fmt == "GIF" else coded(fmt, exif=exif)
    for _ in range(150):
        data = bytearray(whole)
        reach = min(len(data), int(rng.choice([40, 200, 100_000])))
        for place in rng.integers(0, reach, int(rng.choice([1, 2, 8]))):
            data[place] = int(rng.integers(256))
        try:
            pixels = decode_image(bytes(data), LIMITS)
        except GenyardError as error:
            assert error.code is Code.media_invalid
        else:
            assert pixels.ndim == 3
