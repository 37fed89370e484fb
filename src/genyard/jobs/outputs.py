"""What came out of an attempt: fetched from the place, checked, stamped with its facts, stored.

Success needs a usable result: what is cut off, empty, a web page or of another kind than promised is
`provider.bad_output`; what cannot be fetched any more is `provider.lost_output`. A download is tried again here,
because a GET costs nothing: the runner could only buy the run again.

Pictures are held in memory, within the limits. Videos and sounds go through temporary files and are never held,
so that memory does not depend on how many arrive at once.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeVar, cast

from genyard.errors import Code, GenyardError
from genyard.jobs.assets import NewOutput
from genyard.media import MEDIA_TYPES, SNIFF_BYTES, MediaKind, MediaLimits, kind_of, sniff, suffix_of
from genyard.operations import Role
from genyard.providers import Plan, Provider, RemoteOutput
from genyard.storable import as_storable
from genyard.storage import Blob, Storage

_Result = TypeVar("_Result")

#: Below this many bytes a thread costs more than the work.
_INLINE_BYTES: Final = 65_536
_FETCHES_AT_ONCE: Final = 4  # of one attempt
_FILES_AT_ONCE: Final = 2  # in this process: videos that are being checked and stored, some megabytes each
_WRITE_BYTES: Final = 131_072
#: What was paid for is not refused by what people may upload.
_LARGEST_FILE: Final = 512 * 2**20
_LONGEST_VIDEO: Final = 3600.0

#: Seconds before a download is tried again.
_PAUSES: Final = (1.0, 4.0, 15.0)
_LONGEST_PAUSE: Final = 60.0
_WORTH_ANOTHER_TRY: Final = (Code.provider_unreachable, Code.provider_busy)

_KINDS: Final[Mapping[Role, tuple[MediaKind, ...]]] = {
    Role.image: (MediaKind.image,),
    Role.mask: (MediaKind.image,),
    Role.layer: (MediaKind.image,),
    Role.sheet: (MediaKind.image,),
    Role.preview: (MediaKind.image, MediaKind.video),
    Role.video: (MediaKind.video,),
    Role.audio: (MediaKind.audio,),
}


@dataclass(frozen=True, kw_only=True)
class _Checked:
    media_type: str
    facts: Mapping[str, Any]
    width: int | None = None
    height: int | None = None
    seconds: float | None = None


class OutputStore:
    """Takes outputs over from a place into genyard's own storage.

    folder  for temporary files: None is the system's own, which is memory on some systems
    pauses  seconds before each further try of a download
    """

    def __init__(
        self,
        storage: Storage,
        limits: MediaLimits,
        *,
        folder: Path | None = None,
        pauses: tuple[float, ...] = _PAUSES,
    ) -> None:
        self._storage = storage
        self._limits = limits
        self._folder = folder
        self._pauses = pauses
        self._files = asyncio.Semaphore(_FILES_AT_ONCE)

    async def take_over(
        self,
        provider: Provider,
        plan: Plan,
        outputs: tuple[RemoteOutput, ...],
        delivered_steps: frozenset[str],
    ) -> list[NewOutput]:
        """All of them, or an error and none: `provider.bad_output`, `provider.lost_output`, `storage.failed`."""
        gate = asyncio.Semaphore(_FETCHES_AT_ONCE)

        async def one(output: RemoteOutput) -> NewOutput:
            async with gate:
                return await self._take(provider, plan, output, output.step in delivered_steps)

        if len(outputs) == 1:
            return [await one(outputs[0])]
        tasks = [asyncio.create_task(one(output), name="genyard-output") for output in outputs]
        try:
            return list(await asyncio.gather(*tasks))
        except BaseException:
            for task in tasks:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
            await self.discard(tuple(one.blob.object for one in ended if isinstance(one, NewOutput)))
            raise

    async def discard(self, objects: tuple[str, ...]) -> None:
        for name in objects:
            await self._storage.delete(name)

    async def _take(self, provider: Provider, plan: Plan, output: RemoteOutput, delivered: bool) -> NewOutput:
        facts = {**plan.facts.get(output.step, {}), **as_storable(output.facts)}
        received = await self._received(provider, output)
        if isinstance(received, bytes):
            if len(received) < _INLINE_BYTES:
                data, checked = _check_held(output, received, facts, self._limits)
            else:
                data, checked = await asyncio.to_thread(_check_held, output, received, facts, self._limits)
            blob = await self._storage.put(data, checked.media_type)
        else:
            blob, checked = await self._store_file(output, received, facts)
        suffix = suffix_of(checked.media_type) if checked.media_type in MEDIA_TYPES else ".txt"
        return NewOutput(
            blob=blob,
            role=output.role.value,
            step=output.step,
            position=output.index,
            name=f"{output.step}-{output.role.value}-{output.index + 1}{suffix}",
            width=checked.width,
            height=checked.height,
            seconds=checked.seconds,
            facts=checked.facts,
            delivered=delivered,
        )

    async def _store_file(
        self, output: RemoteOutput, file: BinaryIO, facts: Mapping[str, Any]
    ) -> tuple[Blob, _Checked]:
        with file, _temporary(self._folder) as stamped:
            async with self._files:
                kept, checked = await _in_thread(
                    lambda: _check_file(output, file, stamped, facts, self._limits)
                )
                return await self._storage.put_file(kept, checked.media_type), checked

    async def _received(self, provider: Provider, output: RemoteOutput) -> bytes | BinaryIO:
        for pause in (*self._pauses, None):
            try:
                return await self._fetched(provider, output)
            except GenyardError as error:
                unreachable = error.code in _WORTH_ANOTHER_TRY
                if not unreachable and "received" not in error.context:  # which a body has that ended early
                    raise
                if pause is None:
                    if not unreachable:
                        raise
                    raise GenyardError(
                        Code.provider_lost_output,
                        f"the place reported success, but the {output.role.value} of step {output.step} could not be "
                        f"fetched: {error.message}",
                        context={"step": output.step, "index": output.index},
                    ) from error
                asked = error.context.get("retry_after") or 0.0
            await asyncio.sleep(max(pause, min(asked, _LONGEST_PAUSE)))
        raise AssertionError("the last try returns or raises")

    async def _fetched(self, provider: Provider, output: RemoteOutput) -> bytes | BinaryIO:
        incoming = _Incoming(output, self._limits.max_bytes, self._folder)
        stream: AsyncIterator[bytes] = provider.fetch(output)
        try:
            async for piece in stream:
                await incoming.add(piece)
            return await incoming.end()
        except BaseException:
            incoming.close()
            raise
        finally:
            close = getattr(stream, "aclose", None)
            if close is not None:
                await close()


class _Incoming:
    """Bytes on their way: held while they are a picture or a text, in a file as soon as they are a video or a sound."""

    def __init__(self, output: RemoteOutput, most_held: int, folder: Path | None) -> None:
        self._output = output
        self._most_held = most_held
        self._folder = folder
        self._known = _is_text(output)
        self._file: BinaryIO | None = None
        self._pieces: list[bytes] = []
        self._held = 0
        self._written = 0

    async def add(self, piece: bytes) -> None:
        self._pieces.append(piece)
        self._held += len(piece)
        if not self._known and self._held >= SNIFF_BYTES:
            self._known = True
            if kind_of(_media_type(self._output, b"".join(self._pieces))) is not MediaKind.image:
                self._file = _temporary(self._folder)
        if self._file is None:
            self._limit(self._held, self._most_held)
        elif self._held >= _WRITE_BYTES:
            await self._write(self._file)

    async def end(self) -> bytes | BinaryIO:
        if self._file is None:
            return b"".join(self._pieces)
        await self._write(self._file)
        return self._file

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    async def _write(self, file: BinaryIO) -> None:
        data, self._pieces, self._held = b"".join(self._pieces), [], 0
        self._written += len(data)
        self._limit(self._written, _LARGEST_FILE)
        try:
            await _in_thread(lambda: file.write(data))
        except OSError as full:
            raise GenyardError(
                Code.storage_failed, f"cannot keep a download in a temporary file: {full.strerror}"
            ) from full

    def _limit(self, size: int, most: int) -> None:
        if size > most:
            raise _bad(self._output, f"it has more than {most:,} bytes")


def _check_held(
    output: RemoteOutput, data: bytes, facts: Mapping[str, Any], limits: MediaLimits
) -> tuple[bytes, _Checked]:
    """A picture, or a text. What is stored, and what it is."""
    if _is_text(output):
        return data, _Checked(media_type="text/plain", facts=_sized(facts))
    media_type = _media_type(output, data)
    try:
        if media_type == "image/png":
            from genyard.imaging.png_facts import measure_png, write_png_facts

            png = measure_png(data, decode=len(data) < _INLINE_BYTES)
            _check_kind(output, media_type, png.frames)
            facts = _sized(_with_alpha(output, facts, png.has_alpha), png.width, png.height)
            checked = _Checked(media_type=media_type, facts=facts, width=png.width, height=png.height)
            return write_png_facts(data, facts), checked
        if kind_of(media_type) is MediaKind.image:
            from genyard.imaging.decode import inspect_image

            image = inspect_image(data, limits)
            _check_kind(output, media_type, image.frames)
            facts = _sized(_with_alpha(output, facts, image.has_alpha), image.width, image.height)
            return data, _Checked(media_type=media_type, facts=facts, width=image.width, height=image.height)
    except GenyardError as wrong:
        raise _as_bad(output, wrong) from wrong
    # So short that it ended before its kind was known: no video and no sound.
    raise _bad(output, f"it is cut off after {len(data)} bytes")


def _check_file(
    output: RemoteOutput, file: BinaryIO, stamped: BinaryIO, facts: Mapping[str, Any], limits: MediaLimits
) -> tuple[BinaryIO, _Checked]:
    """A video or a sound. The file to store (`stamped` is for our copy of an MP4), and what it is."""
    file.seek(0)
    media_type = _media_type(output, file.read(SNIFF_BYTES))
    try:
        _check_kind(output, media_type, 1)
        if kind_of(media_type) is MediaKind.audio:
            return file, _Checked(media_type=media_type, facts=_sized(facts))
        from genyard.imaging.video import copy_mp4_with_facts, probe_video

        video = probe_video(
            file,
            replace(
                limits,
                max_bytes=max(limits.max_bytes, _LARGEST_FILE),
                max_seconds=max(limits.max_seconds, _LONGEST_VIDEO),
            ),
        )
        facts = _sized(facts, video.width, video.height)
        if media_type == "video/mp4":
            copy_mp4_with_facts(file, facts, stamped)
            file = stamped
    except GenyardError as wrong:
        raise _as_bad(output, wrong) from wrong
    except OSError as full:
        raise GenyardError(
            Code.storage_failed, f"cannot keep a video in a temporary file: {full.strerror}"
        ) from full
    return file, _Checked(
        media_type=media_type,
        facts=facts,
        width=video.width,
        height=video.height,
        seconds=video.seconds,
    )


def _is_text(output: RemoteOutput) -> bool:
    return output.role is Role.text or output.media_type == "text/plain"


def _media_type(output: RemoteOutput, head: bytes) -> str:
    """By the bytes alone: buckets and workers tell wrong types."""
    media_type = sniff(head[:SNIFF_BYTES])
    if media_type is not None:
        return media_type
    if not head:
        raise _bad(output, "it is empty")
    if head[:256].lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        raise _bad(output, "it is a web page")
    raise _bad(output, "it is neither an image, a video nor a sound")


def _check_kind(output: RemoteOutput, media_type: str, frames: int) -> None:
    """A GIF, WebP or PNG that moves is a video to most workflows."""
    wanted = _KINDS[output.role]
    if kind_of(media_type) in wanted or (MediaKind.video in wanted and frames > 1):
        return
    raise _bad(output, f"it is {media_type} where {' or '.join(wanted)} was promised")


def _with_alpha(output: RemoteOutput, facts: Mapping[str, Any], has_alpha: bool) -> Mapping[str, Any]:
    """Told where transparency was asked for and there is none: the picture may be wanted all the same."""
    asked = facts.get("operation") == "remove_background" and output.role is Role.image
    return {**facts, "alpha": False} if asked and not has_alpha else facts


def _sized(
    facts: Mapping[str, Any], width: int | None = None, height: int | None = None
) -> Mapping[str, Any]:
    """What was asked for is noted where something else came: a picture of another size may be of use all the same."""
    asked = facts.get("asked_size")
    told = {name: value for name, value in facts.items() if name != "asked_size"}
    if asked is not None and width is not None and asked != [width, height]:
        told |= {"requested_width": asked[0], "requested_height": asked[1]}
    return told


def _bad(output: RemoteOutput, why: str) -> GenyardError:
    return GenyardError(
        Code.provider_bad_output,
        f"the place reported success, but the {output.role.value} of step {output.step} is unusable: {why}",
        context={"step": output.step, "index": output.index},
    )


def _as_bad(output: RemoteOutput, wrong: GenyardError) -> GenyardError:
    """`imaging` speaks to people who upload: what they should send instead does not belong here."""
    return wrong if wrong.code is Code.provider_bad_output else _bad(output, wrong.message.partition(";")[0])


def _temporary(folder: Path | None) -> BinaryIO:
    """Nameless, so that nothing is left behind whatever happens."""
    try:
        return cast(BinaryIO, tempfile.TemporaryFile(dir=folder))
    except OSError as full:
        raise GenyardError(
            Code.storage_failed,
            f"cannot make a temporary file in {folder or tempfile.gettempdir()}: {full.strerror}",
        ) from full


async def _in_thread(work: Callable[[], _Result]) -> _Result:
    """Canceled only once the thread is through: it uses files that the caller will close."""
    running = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running])
        raise
