"""What came out of an attempt: fetched from the place, checked, stamped with its facts, stored.

Success needs a usable result: what is cut off, empty or not a picture is `provider.lost_output`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from genyard.errors import Code, GenyardError
from genyard.jobs.assets import NewOutput
from genyard.media import MEDIA_TYPES, SNIFF_BYTES, MediaKind, MediaLimits, kind_of, sniff, suffix_of
from genyard.providers import Plan, Provider, RemoteOutput
from genyard.storage import Storage

#: Below this many bytes a thread costs more than the work.
_INLINE_BYTES = 65_536
_FETCHES_AT_ONCE = 4


@dataclass(frozen=True, kw_only=True)
class _Checked:
    data: bytes
    media_type: str
    width: int | None = None
    height: int | None = None
    seconds: float | None = None


class OutputStore:
    """Takes outputs over from a place into genyard's own storage."""

    def __init__(self, storage: Storage, limits: MediaLimits) -> None:
        self._storage = storage
        self._limits = limits

    async def take_over(
        self,
        provider: Provider,
        plan: Plan,
        outputs: tuple[RemoteOutput, ...],
        delivered_steps: frozenset[str],
    ) -> list[NewOutput]:
        """All of them, or `provider.lost_output` / `storage.failed` and none."""
        gate = asyncio.Semaphore(_FETCHES_AT_ONCE)

        async def one(output: RemoteOutput) -> NewOutput:
            async with gate:
                return await self._take(provider, plan, output, output.step in delivered_steps)

        if len(outputs) == 1:
            return [await one(outputs[0])]
        return list(await asyncio.gather(*(one(output) for output in outputs)))

    async def _take(self, provider: Provider, plan: Plan, output: RemoteOutput, delivered: bool) -> NewOutput:
        data = b"".join([piece async for piece in provider.fetch(output)])
        facts = {**plan.facts.get(output.step, {}), **output.facts}
        if len(data) < _INLINE_BYTES:
            checked = _check(output, data, facts, self._limits)
        else:
            checked = await asyncio.to_thread(_check, output, data, facts, self._limits)
        blob = await self._storage.put(checked.data, checked.media_type)
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
            facts=facts,
            delivered=delivered,
        )

    async def discard(self, objects: tuple[str, ...]) -> None:
        for name in objects:
            await self._storage.delete(name)


def _check(output: RemoteOutput, data: bytes, facts: Mapping[str, Any], limits: MediaLimits) -> _Checked:
    if output.media_type == "text/plain":
        return _Checked(data=data, media_type="text/plain")
    media_type = sniff(data[:SNIFF_BYTES])
    if media_type is None:
        raise _lost(output, "it is neither an image, a video nor a sound" if data else "it is empty")
    try:
        return _stamp(data, media_type, facts, limits)
    except GenyardError as wrong:
        raise _lost(output, wrong.message) from wrong


def _stamp(data: bytes, media_type: str, facts: Mapping[str, Any], limits: MediaLimits) -> _Checked:
    if media_type == "image/png":
        from genyard.imaging.png_facts import measure_png, write_png_facts

        png = measure_png(data, decode=len(data) < _INLINE_BYTES)
        return _Checked(
            data=write_png_facts(data, facts), media_type=media_type, width=png.width, height=png.height
        )
    if kind_of(media_type) is MediaKind.image:
        from genyard.imaging.decode import inspect_image

        image = inspect_image(data, limits)
        return _Checked(data=data, media_type=media_type, width=image.width, height=image.height)
    if kind_of(media_type) is MediaKind.video:
        from genyard.imaging.video import probe_video, write_mp4_facts

        video = probe_video(data, limits)
        stamped = write_mp4_facts(data, facts) if media_type == "video/mp4" else data
        return _Checked(
            data=stamped, media_type=media_type, width=video.width, height=video.height, seconds=video.seconds
        )
    return _Checked(data=data, media_type=media_type)


def _lost(output: RemoteOutput, why: str) -> GenyardError:
    return GenyardError(
        Code.provider_lost_output,
        f"the place reported success, but the {output.role.value} of step {output.step} is unusable: {why}",
        context={"step": output.step, "index": output.index},
    )
