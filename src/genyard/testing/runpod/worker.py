"""What every emulated handler is given, and how what it answers becomes a job's end (as the SDK's runner does).

async def handle(call: Call) -> Json: ...        # `{"error": …}` fails the job, `Raised` is an exception in it
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import aiohttp

from genyard.media import sniff
from genyard.testing import drawing
from genyard.testing.runpod.faults import Fault, FaultKind
from genyard.testing.runpod.jobs import Job
from genyard.testing.service import Clock

Json = Any

HTML: Final = b"<!DOCTYPE html><html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>"
MOST_FETCHED: Final = 64 * 2**20


class Raised(Exception):
    """An exception inside a handler, under the type name that the cloud would show."""

    def __init__(self, text: str, error_type: str = "<class 'ValueError'>") -> None:
        super().__init__(text)
        self.error_type = error_type

    def as_json(self, worker: str) -> str:
        """[doc] The SDK's runner sends it as JSON within a string."""
        return json.dumps(
            {
                "error_type": self.error_type,
                "error_message": str(self),
                "error_traceback": f'Traceback (most recent call last):\n  File "/handler.py", line 1\n{self}\n',
                "hostname": worker,
                "worker_id": worker,
                "runpod_version": "1.12.0",
            }
        )


@dataclass(frozen=True, kw_only=True)
class Call:
    """One run of one job, begun at `since`.

    take      asks for a fault of this endpoint
    put       makes a link to a file
    progress  says what shows as `output` while it runs
    """

    job: Job
    clock: Clock
    since: float
    take: Callable[[FaultKind], Fault | None]
    put: Callable[[str, bytes, Fault | None], str]
    progress: Callable[[Json], None]
    session: aiohttp.ClientSession

    @property
    def input(self) -> Json:
        return self.job.input

    async def work(self, seconds: float) -> None:
        """Until so much time has passed since the begin."""
        await self.clock.sleep_until(self.since + seconds)

    async def media(self, value: Json) -> bytes:
        """What an input names: a URL, a data URI, base64. Raises `Raised` as a worker would."""
        if not isinstance(value, str) or not value:
            raise Raised("no image was given")
        if value.startswith(("http://", "https://")):
            return await self._fetched(value)
        try:
            return base64.b64decode(
                value.split(",", 1)[1] if value.startswith("data:") else value, validate=True
            )
        except (binascii.Error, IndexError) as error:
            raise Raised(f"the image is no base64: {error}") from None

    async def _fetched(self, url: str) -> bytes:
        try:
            async with self.session.get(url, timeout=aiohttp.ClientTimeout(total=20)) as answer:
                if answer.status != 200:
                    raise Raised(
                        f"{answer.status} Client Error for url: {url}",
                        "<class 'requests.exceptions.HTTPError'>",
                    )
                return await answer.content.read(MOST_FETCHED)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Raised(
                f"cannot fetch {url}: {error}", "<class 'requests.exceptions.ConnectionError'>"
            ) from None

    async def spoil(self, files: Sequence[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
        """The files as they really come out: each fault strikes all of them."""
        spoilt = list(files)
        for kind, change in SPOILERS.items():
            if self.take(kind) is not None:
                spoilt = [(name, await asyncio.to_thread(change, data)) for name, data in spoilt]
        return spoilt

    def link(self, name: str, data: bytes) -> str:
        """A link to the file, or what a fault makes of it."""
        if (fault := self.take(FaultKind.private_link)) is not None:
            return fault.text or "http://169.254.169.254/latest/meta-data/"
        for kind in (FaultKind.dead_link, FaultKind.cut_transfer, FaultKind.redirect):
            if (fault := self.take(kind)) is not None:
                return self.put(name, data, fault)
        return self.put(name, data, None)


Handler = Callable[[Call], Awaitable[Json]]


SPOILERS: Final[dict[FaultKind, Callable[[bytes], bytes]]] = {
    FaultKind.wrong_size: drawing.halved,
    FaultKind.no_alpha: drawing.without_alpha,
    FaultKind.cut: lambda data: data[: len(data) * 2 // 3],
    FaultKind.html: lambda data: HTML,
    FaultKind.empty: lambda data: b"",
}


def data_uri(data: bytes) -> str:
    return f"data:{sniff(data[:64]) or 'image/png'};base64,{base64.b64encode(data).decode()}"


def settle(job: Job, answer: Json, *, shows_output: bool) -> str:
    """Puts a handler's answer into the job as the SDK's runner and the cloud do, and says the final status.

    Whether the cloud shows `output` on FAILED is [open]: `shows_output` decides.
    """
    rest = dict(answer) if isinstance(answer, dict) else answer
    if isinstance(rest, dict):
        job.refresh_worker = bool(rest.pop("refresh_worker", False))
        if "error" in rest:
            job.error = str(rest.pop("error"))
            job.output, job.has_output = None, False
            if rest and shows_output:
                job.tell(rest)
            return "FAILED"
    job.output, job.has_output = None, False
    if rest != {} and rest is not None:  # [doc] an empty output is dropped
        job.tell(rest)
    return "COMPLETED"
