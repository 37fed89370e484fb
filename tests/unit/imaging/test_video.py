"""Videos: measured, found cut, coded, given facts."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from genyard.errors import Code, GenyardError
from genyard.imaging.video import (
    copy_mp4_with_facts,
    encode_mp4,
    probe_video,
    read_frames,
    read_mp4_facts,
    thumbnail,
    write_mp4_facts,
)
from genyard.media import MediaLimits

LIMITS = MediaLimits()
YS, XS = np.mgrid[0:96, 0:128]
FRAMES = [
    np.dstack([(XS * 2 + i * 3) % 256, (YS * 2 + i) % 256, np.full_like(XS, 90)]).astype(np.uint8)
    for i in range(30)
]


def foreign(fmt: str, codec: str, *, audio: bool = False, rotation: int = 0) -> bytes:
    """A clip as another program writes it: B-frames, its own text, perhaps sound."""
    target = BytesIO()
    mp4 = fmt == "mp4"
    with av.open(
        target, "w", format=fmt, options={"movflags": "use_metadata_tags"} if mp4 else {}
    ) as container:
        container.metadata["prompt"] = "SECRET-WORKFLOW"
        video = container.add_stream(
            codec, rate=24, options={} if mp4 else {"deadline": "realtime", "cpu-used": "8"}
        )
        video.width, video.height, video.pix_fmt = 128, 96, "yuv420p"
        if rotation:
            video.set_display_rotation(rotation)
        sound = container.add_stream("aac", rate=48_000, layout="mono") if audio else None
        for pixels in FRAMES:
            container.mux(video.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(video.encode(None))
        if sound is not None:
            for block in range(58):
                samples = av.AudioFrame.from_ndarray(
                    np.zeros((1, 1024), np.float32), format="fltp", layout="mono"
                )
                samples.sample_rate, samples.pts = 48_000, block * 1024
                container.mux(sound.encode(samples))
            container.mux(sound.encode(None))
    return target.getvalue()


@pytest.fixture(scope="module")
def clip() -> bytes:
    return encode_mp4(FRAMES, 24, {"seed": 7, "words": "Käse"})


@pytest.fixture(scope="module")
def webm() -> bytes:
    return foreign("webm", "libvpx")


def refused(ask: Callable[[], Any]) -> GenyardError:
    with pytest.raises(GenyardError) as caught:
        ask()
    assert caught.value.code is Code.media_invalid
    return caught.value


def same_pictures(one: bytes, other: bytes) -> bool:
    pairs = list(zip(read_frames(one), read_frames(other), strict=True))
    return bool(pairs) and all(np.array_equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("audio", [False, True])
def test_facts_are_written_from_file_to_file_as_they_are_in_memory(tmp_path: Path, audio: bool) -> None:
    data = foreign("mp4", "libx264", audio=audio)
    (tmp_path / "in.mp4").write_bytes(data)
    for source in (tmp_path / "in.mp4", (tmp_path / "in.mp4").open("rb")):
        with (tmp_path / "out.mp4").open("w+b") as target:
            copy_mp4_with_facts(source, {"seed": 7}, target)
            assert probe_video(target, LIMITS) == probe_video(data, LIMITS)
            assert read_mp4_facts(target) == {"seed": 7}
        if not isinstance(source, Path):
            assert not source.closed
            source.close()
        assert (tmp_path / "out.mp4").read_bytes() == write_mp4_facts(data, {"seed": 7})


def test_a_file_is_measured_like_bytes(clip: bytes, webm: bytes, tmp_path: Path) -> None:
    for data in (clip, webm):
        with (tmp_path / "clip").open("w+b") as file:
            file.write(data)
            assert probe_video(file, LIMITS) == probe_video(data, LIMITS)
            assert np.array_equal(thumbnail(file), thumbnail(data))
            file.truncate(len(data) * 2 // 3)
            refused(lambda file=file: probe_video(file, LIMITS))


def test_probe(clip: bytes, tmp_path: Path) -> None:
    info = probe_video(clip, LIMITS, decode=True)
    assert (info.width, info.height, info.frames, info.fps) == (128, 96, 30, 24.0)
    assert (info.media_type, info.codec, info.has_audio) == ("video/mp4", "h264", False)
    assert info.seconds == pytest.approx(1.25)
    path = tmp_path / "clip"
    path.write_bytes(clip)
    assert probe_video(path, LIMITS, decode=True) == info


def test_an_mp4_is_streamable_repeatable_and_true_in_colour(clip: bytes) -> None:
    assert clip.index(b"moov") < clip.index(b"mdat")
    assert encode_mp4(FRAMES, 24, {"seed": 7, "words": "Käse"}) == clip
    first = thumbnail(clip)
    assert first.shape == (96, 128, 4)
    flat = encode_mp4([np.full((64, 64, 3), (200, 60, 30), np.uint8)] * 2, 24)
    assert np.abs(thumbnail(flat)[32, 32, :3].astype(int) - (200, 60, 30)).max() <= 4


def test_odd_sides_and_fractional_rates() -> None:
    info = probe_video(encode_mp4([f[:95, :127] for f in FRAMES], Fraction(30000, 1001)), LIMITS)
    assert (info.width, info.height) == (128, 96)
    assert info.fps == pytest.approx(29.97, abs=0.01)


def test_frames_are_played_again_without_coding(clip: bytes) -> None:
    again = encode_mp4(FRAMES, 24, total=75)
    info = probe_video(again, LIMITS, decode=True)
    assert (info.frames, info.seconds) == (75, pytest.approx(75 / 24))
    frames = list(read_frames(again))
    assert np.array_equal(frames[3], frames[33])
    assert np.array_equal(frames[14], frames[74])


def test_read_frames_can_skip(clip: bytes) -> None:
    assert len(list(read_frames(clip, every=4))) == 8


@pytest.mark.parametrize("share", [0.01, 0.2, 0.34, 0.66, 0.95])
def test_a_cut_mp4_is_found(clip: bytes, share: float) -> None:
    assert "cut off" in refused(lambda: probe_video(clip[: int(len(clip) * share)], LIMITS)).message


def test_a_cut_mp4_with_its_index_at_the_end_is_found() -> None:
    data = foreign("mp4", "libx264")
    assert data.index(b"mdat") < data.index(b"moov")
    refused(lambda: probe_video(data[: len(data) * 2 // 3], LIMITS))


def test_an_mp4_filled_up_with_zeros_is_found_by_decoding() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (30, 96, 128, 3), dtype=np.uint8)
    data = encode_mp4(list(noise), 24)
    holed = data[: len(data) * 2 // 3] + bytes(len(data) - len(data) * 2 // 3)
    refused(lambda: probe_video(holed, LIMITS, decode=True))


@pytest.mark.parametrize("share", [0.01, 0.3, 0.66, 0.9])
def test_a_cut_webm_is_found(webm: bytes, share: float) -> None:
    refused(lambda: probe_video(webm[: int(len(webm) * share)], LIMITS))


def test_webm_is_measured_and_shown(webm: bytes) -> None:
    info = probe_video(webm, LIMITS, decode=True)
    assert (info.media_type, info.codec, info.frames) == ("video/webm", "vp8", 30)
    assert thumbnail(webm).shape == (96, 128, 4)
    assert "MP4 files only" in refused(lambda: write_mp4_facts(webm, {})).message


def test_facts_of_our_own(clip: bytes, webm: bytes) -> None:
    assert read_mp4_facts(clip) == {"seed": 7, "words": "Käse"}
    assert read_mp4_facts(encode_mp4(FRAMES[:3], 24)) is None
    assert read_mp4_facts(webm) is None


def test_facts_into_a_foreign_mp4_replace_its_text_and_keep_its_pictures_and_sound() -> None:
    data = foreign("mp4", "libx264", audio=True)
    told = write_mp4_facts(data, {"model": "liveportrait"})
    assert read_mp4_facts(told) == {"model": "liveportrait"}
    assert b"SECRET-WORKFLOW" in data
    assert b"SECRET-WORKFLOW" not in told
    assert told.index(b"moov") < told.index(b"mdat")
    assert probe_video(told, LIMITS, decode=True) == probe_video(data, LIMITS, decode=True)
    assert probe_video(told, LIMITS).has_audio
    assert same_pictures(told, data)
    again = write_mp4_facts(told, {"seed": 2})
    assert read_mp4_facts(again) == {"seed": 2}


def test_a_turned_video_is_measured_and_shown_upright() -> None:
    data = foreign("mp4", "libx264", rotation=90)
    info = probe_video(data, LIMITS)
    assert (info.width, info.height) == (96, 128)
    assert thumbnail(data).shape == (128, 96, 4)
    told = write_mp4_facts(data, {})
    assert thumbnail(told).shape == (128, 96, 4)


def test_limits(clip: bytes) -> None:
    assert "bytes" in refused(lambda: probe_video(clip, MediaLimits(max_bytes=100))).message
    assert "a side" in refused(lambda: probe_video(clip, MediaLimits(max_side=100))).message
    assert "a picture" in refused(lambda: probe_video(clip, MediaLimits(max_pixels=100))).message
    assert "1 s are allowed" in refused(lambda: probe_video(clip, MediaLimits(max_seconds=1))).message


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<!doctype html>",
        b"\x89PNG\r\n\x1a\n" + bytes(50),
        b"\x00\x00\x00\x18ftypisom" + bytes(200),
        b"\x00\x00\x00\x10ftypisom\x00\x00\x00\x00\x00\x00\x00\x08moov",
        b"\x1a\x45\xdf\xa3" + bytes(300),
    ],
)
def test_what_is_no_video_is_refused(data: bytes) -> None:
    refused(lambda: probe_video(data, LIMITS))
    refused(lambda: thumbnail(data))


def test_sound_alone_is_no_video() -> None:
    target = BytesIO()
    with av.open(target, "w", format="mp4") as container:
        sound = container.add_stream("aac", rate=48_000, layout="mono")
        samples = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        samples.sample_rate = 48_000
        container.mux(sound.encode(samples))
        container.mux(sound.encode(None))
    assert "no picture track" in refused(lambda: probe_video(target.getvalue(), LIMITS)).message


def test_no_frames_make_no_video() -> None:
    assert "at least one frame" in refused(lambda: encode_mp4([], 24)).message


def test_damaged_bytes_are_refused_or_decoded_but_nothing_else_happens(clip: bytes) -> None:
    rng = np.random.default_rng(3)
    for _ in range(60):
        data = bytearray(clip)
        reach = int(rng.choice([60, 1500, len(data)]))
        for place in rng.integers(0, reach, int(rng.choice([1, 2, 8]))):
            data[place] = int(rng.integers(256))
        for ask in (lambda d: probe_video(d, LIMITS, decode=True), thumbnail, read_mp4_facts):
            try:
                ask(bytes(data))
            except GenyardError as error:
                assert error.code is Code.media_invalid
