"""Videos: what is in them, are they whole, encoding H.264, and our facts in an MP4.

A source is bytes, a path or an open file, read through PyAV and never held as a whole. A cut video opens and
plays without complaint until it ends too early, so completeness is always judged by counting packets against
what the container promises. WebM is probed and shown, never rewritten. Which frames there are is decided
elsewhere (`animate`).
"""

from __future__ import annotations

import io
import json
import os
import struct
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeAlias, cast

import av
import av.error
import numpy as np
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from genyard.errors import Code, GenyardError
from genyard.imaging.arrays import RGB, RGBA, opaque
from genyard.imaging.png_facts import KEYWORD, facts_as_json
from genyard.media import SNIFF_BYTES, MediaKind, MediaLimits, kind_of, sniff

Source: TypeAlias = bytes | Path | BinaryIO

_BT709: Final = 1  # the number of HDTV's matrix, primaries and curve


@dataclass(frozen=True, kw_only=True)
class VideoInfo:
    """What is in a complete video.

    Width and height are as seen (phones store turned pictures); `frames` were counted; `seconds` = the length
    of the picture track.
    """

    media_type: str
    codec: str
    width: int
    height: int
    fps: float
    frames: int
    seconds: float
    has_audio: bool


def probe_video(source: Source, limits: MediaLimits, *, decode: bool = False) -> VideoInfo:
    """Facts of a complete video within `limits`; the first frame is decoded, the others only counted.

    With `decode` all frames are decoded, which also finds damage in the middle (about 0.7 ms a frame).
    Raises media.invalid when it is no video, is cut off, is damaged, or exceeds bytes, side, pixels, seconds.
    """
    media_type = _video_type(source, limits)
    if media_type != "video/webm":
        _check_boxes(source)
    with _reading(source) as container:
        stream = _picture_stream(container)
        _check_picture(stream, limits)
        promised = _promised_seconds(container, stream)
        _check_seconds(promised, limits)
        turned = _first_frame(container).rotation % 180 != 0
        container.seek(0)
        frames, seconds = _count(container, stream)
        _check_whole(stream, frames, seconds, promised)
        _check_seconds(seconds, limits)
        if decode:
            _prove_pictures(container, stream, frames)
        context = stream.codec_context
        fps = stream.average_rate or stream.guessed_rate or Fraction(frames) / Fraction(seconds or 1)
        return VideoInfo(
            media_type=media_type,
            codec=context.name,
            width=context.height if turned else context.width,
            height=context.width if turned else context.height,
            fps=float(fps),
            frames=frames,
            seconds=seconds,
            has_audio=bool(container.streams.audio),
        )


def thumbnail(source: Source) -> RGBA:
    """The first frame, upright -> H×W×4. Raises media.invalid."""
    with _reading(source) as container:
        _picture_stream(container)
        return opaque(_as_rgb(_first_frame(container)))


def read_frames(source: Source, *, every: int = 1) -> Iterator[RGB]:
    """Each `every`-th frame, decoded one at a time -> H×W×3. Raises media.invalid on damage."""
    with _reading(source) as container:
        stream = _picture_stream(container)
        for index, frame in enumerate(container.decode(stream)):
            if index % every == 0:
                yield _as_rgb(frame)


# --- MP4: encoding and facts ---------------------------------------------------------------------


def encode_mp4(
    frames: Iterable[RGB],
    fps: int | Fraction,
    facts: Mapping[str, Any] | None = None,
    *,
    total: int | None = None,
    crf: int = 20,
) -> bytes:
    """H×W×3 frames of one size -> MP4: H.264 yuv420p BT.709, even sizes, index in front, `facts` inside.

    With `total` the frames are played over and over until there are that many, without coding them again.
    An odd side gains one pixel.
    Raises media.invalid when there is no frame.
    """
    packets: list[Packet[VideoStream]] = []
    finished = BytesIO()
    with _writing(facts, finished) as container:
        stream: VideoStream | None = None
        for index, pixels in enumerate(frames):
            even = _even(pixels)
            if stream is None:
                stream = _h264_stream(container, fps, even, crf)
            frame = VideoFrame.from_ndarray(even, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1) / Fraction(fps)
            packets += stream.encode(_to_yuv(frame))
        if stream is None:
            raise GenyardError(Code.media_invalid, "a video needs at least one frame")
        packets += stream.encode(None)
        _mux(container, packets, len(packets) if total is None else total, Fraction(1) / Fraction(fps))
    return finished.getvalue()


def write_mp4_facts(data: bytes, facts: Mapping[str, Any]) -> bytes:
    """The same coded pictures and sound with `facts` as the only text; nothing is encoded again.

    Raises media.invalid when `data` is not a readable MP4 or QuickTime file.
    """
    finished = BytesIO()
    copy_mp4_with_facts(data, facts, finished)
    return finished.getvalue()


def copy_mp4_with_facts(source: Source, facts: Mapping[str, Any], target: BinaryIO) -> None:
    """`write_mp4_facts` into an open, empty file, a packet at a time."""
    if sniff(_head(source)) not in ("video/mp4", "video/quicktime"):
        raise GenyardError(Code.media_invalid, "facts can be written into MP4 files only; this is none")
    _check_boxes(source)
    with _reading(source) as container, _writing(facts, target) as written:
        _picture_stream(container)
        copied = {
            stream.index: written.add_stream_from_template(stream)
            for stream in container.streams
            if stream.type in ("video", "audio", "subtitle")
        }
        for stream in copied.values():
            stream.metadata.clear()
        for packet in container.demux():
            if packet.dts is not None and packet.stream_index in copied:
                packet.stream = copied[packet.stream_index]
                written.mux(packet)


def read_mp4_facts(source: Source) -> dict[str, Any] | None:
    """What `encode_mp4` or `write_mp4_facts` put there, or None. Raises media.invalid."""
    with _reading(source) as container:
        text = container.metadata.get(KEYWORD)
    try:
        told = json.loads(text) if text else None
    except ValueError:
        return None
    return told if isinstance(told, dict) else None


# --- checks --------------------------------------------------------------------------------------


def _video_type(source: Source, limits: MediaLimits) -> str:
    size = _size(source)
    if not size:
        raise GenyardError(Code.media_invalid, "the file is empty; send an MP4, MOV or WebM video")
    if size > limits.max_bytes:
        raise GenyardError(
            Code.media_invalid,
            f"the video has {size:,} bytes; at most {limits.max_bytes:,} are allowed",
            context={"bytes": size, "max_bytes": limits.max_bytes},
        )
    media_type = sniff(_head(source))
    if media_type is None or kind_of(media_type) is not MediaKind.video:
        found = media_type or "bytes of no known type"
        raise GenyardError(
            Code.media_invalid, f"this is not a video but {found}; send an MP4, MOV or WebM video"
        )
    return media_type


def _check_boxes(source: Source) -> None:
    """The top-level boxes of an MP4 must end where the file ends: catches most cuts without decoding."""
    size = _size(source)
    kinds: set[bytes] = set()
    with _raw(source) as file:
        start = 0
        while start + 8 <= size:
            file.seek(start)
            head = file.read(16)
            length, kind = struct.unpack_from(">I4s", head)
            if length == 1 and len(head) == 16:
                (length,) = struct.unpack_from(">Q", head, 8)
            elif length == 0:  # to the end of the file
                length = size - start
            if length < 8:
                break
            kinds.add(kind)
            start += length
    if start > size:
        raise _cut(f"{start - size:,} bytes are missing at its end")
    if b"moov" not in kinds:
        raise _cut("its index (moov) is missing")


def _check_picture(stream: VideoStream, limits: MediaLimits) -> None:
    width, height = stream.codec_context.width, stream.codec_context.height
    if width <= 0 or height <= 0:
        raise GenyardError(Code.media_invalid, f"the video is damaged: its pictures are {width} × {height}")
    if max(width, height) > limits.max_side or width * height > limits.max_pixels:
        raise GenyardError(
            Code.media_invalid,
            f"the video is {width} × {height} pixels; a side may have at most {limits.max_side:,}, "
            f"a picture at most {limits.max_pixels:,}",
            context={"width": width, "height": height},
        )


def _check_seconds(seconds: float, limits: MediaLimits) -> None:
    if seconds > limits.max_seconds:
        raise GenyardError(
            Code.media_invalid,
            f"the video is {seconds:.1f} s long; at most {limits.max_seconds:g} s are allowed",
            context={"seconds": round(seconds, 3), "max_seconds": limits.max_seconds},
        )


def _promised_seconds(container: InputContainer, stream: VideoStream) -> float:
    """Length by the header; 0 where it says nothing (a live WebM)."""
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    return (container.duration or 0) / av.time_base


def _count(container: InputContainer, stream: VideoStream) -> tuple[int, float]:
    """Whole coded pictures, and the time that they span in seconds."""
    frames, first, last = 0, None, 0.0
    for packet in container.demux(stream):
        if packet.pts is None or packet.size == 0 or packet.is_corrupt:
            continue
        begin = float(packet.pts * packet.time_base)
        end = begin + float((packet.duration or 0) * packet.time_base)
        frames, last = frames + 1, max(last, end)
        first = begin if first is None else min(first, begin)
    return frames, last - (first or 0.0)


def _check_whole(stream: VideoStream, frames: int, seconds: float, promised: float) -> None:
    if not frames:
        raise GenyardError(Code.media_invalid, "the video has no pictures")
    if frames < stream.frames:
        raise _cut(f"{frames} of its {stream.frames} frames are there", frames=frames, promised=stream.frames)
    fps = float(stream.average_rate or 25)
    slack = max(2.5 / fps, 0.02 * promised)
    if stream.frames == 0 and seconds + slack < promised:
        raise _cut(f"{seconds:.2f} of its {promised:.2f} s are there", seconds=round(seconds, 3))


def _prove_pictures(container: InputContainer, stream: VideoStream, frames: int) -> None:
    container.seek(0)
    decoded = sum(not frame.is_corrupt for frame in container.decode(stream))
    if decoded < frames:
        raise GenyardError(
            Code.media_invalid,
            f"the video is damaged: {decoded} of its {frames} frames can be decoded; send the original file",
            context={"decoded": decoded, "frames": frames},
        )


def _cut(detail: str, **context: Any) -> GenyardError:
    return GenyardError(
        Code.media_invalid, f"the video is cut off: {detail}; send the whole file", context=context
    )


# --- reading -------------------------------------------------------------------------------------


@contextmanager
def _raw(source: Source) -> Iterator[BinaryIO]:
    """From the beginning. A file that was open stays open."""
    if isinstance(source, bytes):
        yield BytesIO(source)
    elif isinstance(source, Path):
        with source.open("rb") as file:
            yield file
    else:
        source.seek(0)
        yield source


def _head(source: Source) -> bytes:
    with _raw(source) as file:
        return file.read(SNIFF_BYTES)


def _size(source: Source) -> int:
    with _raw(source) as file:
        return file.seek(0, io.SEEK_END)


@contextmanager
def _reading(source: Source) -> Iterator[InputContainer]:
    """An opened container; whatever the libraries raise meanwhile becomes media.invalid."""
    try:
        with _raw(source) as file, av.open(file, mode="r") as container:
            yield container
    except (av.error.FFmpegError, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise GenyardError(
            Code.media_invalid, f"the video is damaged or cut off ({reason}); send an MP4, MOV or WebM video"
        ) from error


def _picture_stream(container: InputContainer) -> VideoStream:
    if not container.streams.video:
        raise GenyardError(Code.media_invalid, "the file has no picture track; send a video, not only sound")
    stream = container.streams.video[0]
    if stream.codec_context is None:
        raise GenyardError(Code.media_invalid, "the video is of an unknown codec; send H.264, VP8 or VP9")
    return stream


def _first_frame(container: InputContainer) -> VideoFrame:
    for frame in container.decode(video=0):
        return frame
    raise GenyardError(Code.media_invalid, "the video has no picture that can be decoded")


def _as_rgb(frame: VideoFrame) -> RGB:
    pixels = cast(RGB, frame.to_ndarray(format="rgb24"))
    turns = round(frame.rotation / 90) % 4  # counter-clockwise, as phones write it
    return np.ascontiguousarray(np.rot90(pixels, turns))


# --- writing -------------------------------------------------------------------------------------


@contextmanager
def _writing(facts: Mapping[str, Any] | None, target: BinaryIO) -> Iterator[OutputContainer]:
    """An MP4 muxer into memory or an open file. The bytes are complete when the context has ended."""

    def open_again(_url: str, _flags: int, _options: object) -> BinaryIO:
        # The muxer reads its own output once more to move the index to the front.
        if isinstance(target, BytesIO):
            return BytesIO(target.getvalue())
        target.flush()
        return cast(BinaryIO, _SecondReader(target.fileno()))

    options = {"movflags": "+faststart+use_metadata_tags", "fflags": "+bitexact"}
    with av.open(target, mode="w", format="mp4", options=options, io_open=open_again) as container:
        if facts is not None:
            container.metadata[KEYWORD] = facts_as_json(facts)
        yield container


class _SecondReader(io.RawIOBase):
    """Reads a file that somebody else has open, with a position of its own."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count = os.preadv(self._descriptor, [buffer], self._at)
        self._at += count
        return count

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        starts = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: os.fstat(self._descriptor).st_size}
        self._at = starts[whence] + offset
        return self._at

    def tell(self) -> int:
        return self._at


def _h264_stream(container: OutputContainer, fps: int | Fraction, pixels: RGB, crf: int) -> VideoStream:
    # Closed groups without B-frames, so that the packets can be played again behind themselves;
    # a fixed number of threads, so that the bytes do not depend on the machine.
    options = {"crf": str(crf), "preset": "veryfast", "bf": "0", "threads": "2"}
    stream = container.add_stream("libx264", rate=fps, options=options)
    stream.height, stream.width = pixels.shape[:2]
    stream.pix_fmt = "yuv420p"
    context = stream.codec_context
    context.colorspace = context.color_primaries = context.color_trc = _BT709
    context.color_range = 1  # studio levels
    return stream


def _to_yuv(frame: VideoFrame) -> VideoFrame:
    converted = frame.reformat(format="yuv420p", dst_colorspace=_BT709)
    converted.pts, converted.time_base = frame.pts, frame.time_base
    return converted


def _mux(container: OutputContainer, packets: list[Packet[VideoStream]], total: int, tick: Fraction) -> None:
    """Muxing takes a packet's bytes away, so each is written as a copy."""
    for number in range(total):
        coded = packets[number % len(packets)]
        packet = Packet(bytes(coded))
        packet.stream, packet.is_keyframe = coded.stream, coded.is_keyframe
        packet.time_base, packet.duration = tick, 1
        packet.pts = packet.dts = number
        container.mux(packet)


def _even(pixels: RGB) -> RGB:
    height, width = pixels.shape[:2]
    if height % 2 or width % 2:
        pixels = np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    return np.ascontiguousarray(pixels)
