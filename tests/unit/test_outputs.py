"""What becomes of the files that a place gives: checked, stamped, stored, without holding videos in memory."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from PIL import Image

from genyard.errors import Code, GenyardError
from genyard.imaging.png_facts import read_png_facts
from genyard.imaging.video import encode_mp4, probe_video, read_mp4_facts
from genyard.jobs.assets import NewOutput
from genyard.jobs.outputs import OutputStore
from genyard.media import MediaLimits
from genyard.operations import Role
from genyard.providers import Plan, Provider, RemoteOutput
from genyard.settings import load_settings
from genyard.storage import Storage, open_storage
from support.scripted import png

Try = bytes | GenyardError | tuple[bytes, GenyardError]


@dataclass
class Files:
    """A place of which only the files matter: each fetch of an output takes the next entry, the last one stays.
    A pair gives its bytes, then fails."""

    tries: dict[int, list[Try]]
    piece: int = 1000
    fetched: list[int] = field(default_factory=list)

    async def fetch(self, output: RemoteOutput) -> AsyncIterator[bytes]:
        self.fetched.append(output.index)
        tries = self.tries[output.index]
        now = tries.pop(0) if len(tries) > 1 else tries[0]
        data, error = now if isinstance(now, tuple) else (now, None)
        if isinstance(data, GenyardError):
            raise data
        for start in range(0, len(data), self.piece):
            yield data[start : start + self.piece]
        if error is not None:
            raise error


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return open_storage(load_settings({"GENYARD_DATA": str(tmp_path)}, tmp_path))


@pytest.fixture(scope="module")
def clip() -> bytes:
    ramp = np.linspace(0, 255, 64 * 48 * 3).reshape(48, 64, 3)
    return encode_mp4([(ramp + number).astype(np.uint8) for number in range(72)], 24, {"prompt": "theirs"})


def stored(tmp_path: Path) -> list[Path]:
    return [path for path in (tmp_path / "blobs").rglob("*") if path.is_file()]


def picture(mode: str, kind: str, size: tuple[int, int] = (16, 16)) -> bytes:
    target = BytesIO()
    Image.new(mode, size).save(target, kind)
    return target.getvalue()


def moving(kind: str) -> bytes:
    target = BytesIO()
    frames = [Image.new("RGB", (16, 16), (shade, 0, 0)) for shade in (0, 120, 250)]
    frames[0].save(target, kind, save_all=True, append_images=frames[1:], duration=40)
    return target.getvalue()


async def take(
    storage: Storage,
    files: Files,
    *roles: Role,
    operation: str = "txt2img",
    limits: MediaLimits | None = None,
    media_type: str | None = None,
    pauses: Sequence[float] = (0.0, 0.0),
) -> list[NewOutput]:
    store = OutputStore(storage, limits or MediaLimits(), pauses=tuple(pauses))
    outputs = tuple(
        RemoteOutput(step="step1", role=role, index=index, where={}, media_type=media_type)
        for index, role in enumerate(roles)
    )
    plan = Plan(payload={}, facts={"step1": {"operation": operation, "seed": 7}})
    return await store.take_over(cast(Provider, files), plan, outputs, frozenset({"step1"}))


async def refusal(storage: Storage, data: Try, role: Role, **options: object) -> GenyardError:
    with pytest.raises(GenyardError) as refused:
        await take(storage, Files({0: [data]}), role, **options)  # type: ignore[arg-type]
    return refused.value


# --- what is usable --------------------------------------------------------------------------------


@pytest.mark.parametrize("piece", [1, 7, 100_000])
async def test_a_video_is_measured_stamped_and_stored(storage: Storage, clip: bytes, piece: int) -> None:
    (taken,) = await take(storage, Files({0: [clip]}, piece=piece), Role.video, operation="animate_photo")
    assert (taken.width, taken.height, taken.seconds) == (64, 48, 3.0)
    assert (taken.blob.media_type, taken.name) == ("video/mp4", "step1-video-1.mp4")
    data = await storage.read(taken.blob.object)
    assert len(data) == taken.blob.bytes
    assert read_mp4_facts(data) == {"operation": "animate_photo", "seed": 7}
    assert probe_video(data, MediaLimits()).frames == 72


async def test_a_picture_is_measured_stamped_and_stored(storage: Storage) -> None:
    for data in (png(side=9), picture("RGB", "PNG", (9, 9))):
        (taken,) = await take(storage, Files({0: [data]}), Role.image)
        assert (taken.width, taken.height, taken.seconds) == (9, 9, None)
        assert read_png_facts(await storage.read(taken.blob.object)) == {"operation": "txt2img", "seed": 7}


async def test_the_bytes_say_what_it_is_not_the_place(storage: Storage, clip: bytes) -> None:
    (taken,) = await take(storage, Files({0: [clip]}), Role.video, media_type="image/mp4")
    assert taken.blob.media_type == "video/mp4"
    (taken,) = await take(storage, Files({0: [picture("RGB", "JPEG")]}), Role.image, media_type="image/png")
    assert taken.blob.media_type == "image/jpeg"


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
async def test_a_moving_picture_may_be_the_video(storage: Storage, kind: str) -> None:
    (taken,) = await take(storage, Files({0: [moving(kind)]}), Role.video)
    assert taken.blob.media_type == f"image/{kind.lower()}"


async def test_sounds_and_texts_come_as_they_are(storage: Storage) -> None:
    for data, role in ((b"fLaC" + bytes(100), Role.audio), (b"<html> as a text", Role.text)):
        (taken,) = await take(storage, Files({0: [data]}), role)
        assert await storage.read(taken.blob.object) == data
    assert taken.name == "step1-text-1.txt"


async def test_a_cut_out_without_transparency_is_told(storage: Storage) -> None:
    for data in (picture("RGB", "PNG"), picture("RGB", "JPEG")):
        (taken,) = await take(storage, Files({0: [data]}), Role.image, operation="remove_background")
        assert taken.facts["alpha"] is False
    (taken,) = await take(
        storage, Files({0: [picture("RGBA", "PNG")]}), Role.image, operation="remove_background"
    )
    assert "alpha" not in taken.facts
    (taken,) = await take(storage, Files({0: [picture("RGB", "PNG")]}), Role.image)
    assert "alpha" not in taken.facts


# --- what is not -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"", "empty"),
        (b"<!DOCTYPE html><title>502 Bad Gateway</title>", "web page"),
        (b"\n<html>", "web page"),
        (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "web page"),
        (b"simulated", "neither"),
        (bytes(5000), "neither"),
    ],
)
@pytest.mark.parametrize("role", [Role.image, Role.video, Role.audio])
async def test_what_is_no_media_is_a_bad_output(
    storage: Storage, tmp_path: Path, data: bytes, word: str, role: Role
) -> None:
    told = await refusal(storage, data, role)
    assert told.code is Code.provider_bad_output
    assert word in told.message
    assert not stored(tmp_path)


@pytest.mark.parametrize("part", [0.02, 1 / 3, 2 / 3, 0.999])
async def test_a_video_that_is_cut_is_a_bad_output(
    storage: Storage, tmp_path: Path, clip: bytes, part: float
) -> None:
    told = await refusal(storage, clip[: round(len(clip) * part)], Role.video)
    assert told.code is Code.provider_bad_output
    assert "send" not in told.message, "that advice is for people who upload"
    assert not stored(tmp_path)


async def test_the_very_first_bytes_of_a_video_are_a_bad_output(storage: Storage, clip: bytes) -> None:
    told = await refusal(storage, clip[:20], Role.video)
    assert told.code is Code.provider_bad_output


async def test_an_mp4_whose_pictures_are_missing_is_a_bad_output(storage: Storage, clip: bytes) -> None:
    """Cut, then closed again by something that repairs boxes: it opens, but promises more than it has."""
    at = clip.index(b"mdat") - 4
    size = int.from_bytes(clip[at : at + 4], "big")
    assert at + size == len(clip), "the pictures come last"
    kept = size // 2
    broken = clip[:at] + kept.to_bytes(4, "big") + clip[at + 4 : at + kept]
    assert (await refusal(storage, broken, Role.video)).code is Code.provider_bad_output


@pytest.mark.parametrize("cut", [20, 40])
async def test_a_picture_that_is_cut_is_a_bad_output(storage: Storage, cut: int) -> None:
    assert (await refusal(storage, png(side=64)[:-cut], Role.image)).code is Code.provider_bad_output
    jpeg = picture("RGB", "JPEG", (600, 600))
    assert (await refusal(storage, jpeg[:-cut], Role.image)).code is Code.provider_bad_output


@pytest.mark.parametrize(
    ("make", "role"),
    [
        (lambda clip: clip, Role.image),
        (lambda clip: clip, Role.audio),
        (lambda clip: png(), Role.video),
        (lambda clip: picture("RGB", "JPEG"), Role.video),
        (lambda clip: picture("RGB", "WEBP"), Role.video),
        (lambda clip: picture("RGB", "PNG"), Role.audio),
        (lambda clip: b"fLaC" + bytes(100), Role.layer),
    ],
)
async def test_another_kind_than_promised_is_a_bad_output(
    storage: Storage, clip: bytes, make: Callable[[bytes], bytes], role: Role
) -> None:
    told = await refusal(storage, make(clip), role)
    assert told.code is Code.provider_bad_output
    assert role.value in told.message


async def test_a_picture_beyond_the_limits_is_not_held(storage: Storage) -> None:
    huge = b"\x89PNG\r\n\x1a\n" + bytes(50_000)
    files = Files({0: [huge]})
    with pytest.raises(GenyardError) as refused:
        await take(storage, files, Role.image, limits=MediaLimits(max_bytes=20_000))
    assert refused.value.code is Code.provider_bad_output
    assert "20,000" in refused.value.message


async def test_a_video_may_be_larger_than_what_people_may_upload(storage: Storage, clip: bytes) -> None:
    limits = MediaLimits(max_bytes=1_000, max_seconds=1.0)
    (taken,) = await take(storage, Files({0: [clip]}), Role.video, limits=limits)
    assert taken.seconds == 3.0


async def test_one_bad_output_leaves_none_behind(storage: Storage, tmp_path: Path, clip: bytes) -> None:
    files = Files({0: [png()], 1: [clip], 2: [clip[:-100]], 3: [png(3)]})
    with pytest.raises(GenyardError) as refused:
        await take(storage, files, Role.image, Role.video, Role.video, Role.image)
    assert refused.value.code is Code.provider_bad_output
    assert not stored(tmp_path)


# --- downloads that fail ---------------------------------------------------------------------------

UNREACHABLE = GenyardError(Code.provider_unreachable, "connection refused")
EARLY = GenyardError(Code.provider_bad_output, "ended early", context={"received": 100, "expected": 5000})


async def test_a_download_is_tried_again_from_its_beginning(storage: Storage, clip: bytes) -> None:
    busy = GenyardError(Code.provider_busy, "429", context={"retry_after": 0.0})
    for first in ([UNREACHABLE, busy], [(clip[:2000], EARLY)], [(clip[:2000], UNREACHABLE), UNREACHABLE]):
        files = Files({0: [*first, clip]})
        (taken,) = await take(storage, files, Role.video)
        assert taken.seconds == 3.0
        assert len(files.fetched) == len(first) + 1


async def test_what_stays_unreachable_is_a_lost_output_not_a_reason_to_run_again_here(
    storage: Storage,
) -> None:
    """`provider.unreachable` would make the runner buy the run again at the same place."""
    files = Files({0: [UNREACHABLE]})
    with pytest.raises(GenyardError) as refused:
        await take(storage, files, Role.image)
    assert refused.value.code is Code.provider_lost_output
    assert "connection refused" in refused.value.message
    assert len(files.fetched) == 3


async def test_what_stays_cut_is_a_bad_output(storage: Storage, clip: bytes) -> None:
    files = Files({0: [(clip[:100], EARLY)]})
    with pytest.raises(GenyardError) as refused:
        await take(storage, files, Role.video)
    assert refused.value.code is Code.provider_bad_output
    assert len(files.fetched) == 3


@pytest.mark.parametrize(
    "code", [Code.provider_lost_output, Code.provider_rejected, Code.provider_bad_output]
)
async def test_what_cannot_change_is_not_asked_again(storage: Storage, code: Code) -> None:
    files = Files({0: [GenyardError(code, "no")]})
    with pytest.raises(GenyardError) as refused:
        await take(storage, files, Role.image)
    assert refused.value.code is code
    assert len(files.fetched) == 1


async def test_a_temporary_file_that_cannot_be_made_is_our_own_trouble(
    storage: Storage, tmp_path: Path, clip: bytes
) -> None:
    store = OutputStore(storage, MediaLimits(), folder=tmp_path / "nowhere", pauses=())
    output = RemoteOutput(step="step1", role=Role.video, index=0, where={})
    with pytest.raises(GenyardError) as refused:
        await store.take_over(cast(Provider, Files({0: [clip]})), Plan(payload={}), (output,), frozenset())
    assert refused.value.code is Code.storage_failed


async def test_a_canceled_take_over_stops_the_others_too(
    storage: Storage, tmp_path: Path, clip: bytes
) -> None:
    arrived = asyncio.Event()
    closed: list[int] = []

    class Endless(Files):
        async def fetch(self, output: RemoteOutput) -> AsyncIterator[bytes]:
            try:
                yield clip[:1000]
                arrived.set()
                await asyncio.Event().wait()
            finally:
                closed.append(output.index)

    taking = asyncio.create_task(take(storage, Endless({}), Role.video, Role.video, Role.video))
    await arrived.wait()
    taking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await taking
    assert sorted(closed) == [0, 1, 2]
    assert not stored(tmp_path)


# --- memory ----------------------------------------------------------------------------------------


async def test_memory_does_not_grow_with_the_videos_that_arrive_at_once(storage: Storage) -> None:
    """Twelve videos of 4 MB; `bench/fetching.py` measures fifty of 20 MB, and what is not Python's too."""
    noise = np.random.default_rng(7)
    frames = [noise.integers(0, 256, (240, 320, 3), np.uint8) for _ in range(3)]
    once = len(encode_mp4(frames, 24))
    big = encode_mp4(frames, 24, total=round(3 * 4_000_000 / once))
    assert len(big) > 3_500_000
    files = Files({0: [big]}, piece=65_536)
    store = OutputStore(storage, MediaLimits(), pauses=())
    output = RemoteOutput(step="step1", role=Role.video, index=0, where={})

    async def one() -> NewOutput:
        (taken,) = await store.take_over(cast(Provider, files), Plan(payload={}), (output,), frozenset())
        return taken

    await one()
    tracemalloc.start()
    try:
        taken = await asyncio.gather(*(one() for _ in range(12)))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert all(output.blob.bytes > 3_500_000 for output in taken)
    assert peak < 12_000_000, "three of twelve videos"


async def test_who_is_stopped_while_it_writes_leaves_nothing_behind(storage: Storage, tmp_path: Path) -> None:
    for yields in range(8):
        writing = asyncio.create_task(storage.put(png(), "image/png"))
        for _ in range(yields):
            await asyncio.sleep(0)
        if writing.done():
            await storage.delete((await writing).object)
            continue
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
        assert not stored(tmp_path)
