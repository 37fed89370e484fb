"""What this process knows of each run, from events and from polls, and the one socket that brings the events.

Events make it quick; they are never the truth about the end. They only say when to read the history.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp
from yarl import URL

from genyard.providers import Snapshot, State
from genyard.providers._http import Http

Json = Any
Clock = Callable[[], float]

#: The end event comes before the history is written, `executing: null` after it: it gets this many seconds.
END_GRACE: Final = 0.005

#: Steps of a sampler are most of a run's time.
_HEAVY: Final = 10.0

_PREVIEW, _PREVIEW_WITH_METADATA = 1, 4
_ENDS: Final = frozenset({"execution_success", "execution_error", "execution_interrupted"})


@dataclass(kw_only=True, slots=True)
class Watch:
    """One run.

    ours        submitted under this process's client id: its events come to our socket
    classes     node id → class, where the graph is known
    known_at    when we learnt that it exists: older readings of the queue say nothing about it
    started_at  when it began to execute, by our clock
    read_at     when the history should be read, because an end was announced
    poll_at     when the server should be asked, whatever the events say
    """

    prompt_id: str
    expected: tuple[Mapping[str, Json], ...]
    video: bool
    ours: bool
    known_at: float
    classes: Mapping[str, str] = field(default_factory=dict)
    state: State = State.queued
    known: bool = False
    progress: float | None = None
    detail: str | None = None
    preview: bytes | None = None
    started_at: float | None = None
    read_at: float | None = None
    poll_at: float = 0.0
    pause: float = 0.0
    tries: int = 0
    missing_since: float | None = None
    missing_reads: int = 0
    contact_at: float = 0.0
    failure: Exception | None = None
    dirty_since: float | None = None
    cancel_asked: bool = False
    final: Snapshot | None = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    _shares: dict[str, float] = field(default_factory=dict)
    _waiting: tuple[asyncio.Timeout, ...] = ()

    def snapshot(self) -> Snapshot:
        return self.final or Snapshot(
            state=self.state,
            progress=self.progress,
            detail=self.detail,
            preview=self.preview,
            word="in_progress" if self.state is State.running else "pending",
        )

    def touch(self, now: float) -> None:
        """Something is new: whoever waits looks again."""
        if self.dirty_since is None:
            self.dirty_since = now
        waiting, self._waiting = self._waiting, ()
        for limit in waiting:
            if not limit.expired():
                limit.reschedule(0.0)

    async def wait(self, wake: asyncio.Event, seconds: float) -> None:
        """Until something is new, `wake` is set, or the time is over. Nothing is missed by a caller who looks and
        then waits without giving way in between.

        `touch` brings the end of the time forward: thousands may wait, and this needs no task of its own.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, seconds)) as limit:
                self._waiting = (*self._waiting, limit)
                try:
                    await wake.wait()
                finally:
                    self._waiting = tuple(one for one in self._waiting if one is not limit)

    def run(self, now: float) -> None:
        self.known = True
        if self.state is not State.running:
            self.state, self.detail = State.running, None
            self.progress = 0.0 if self.classes else None
        if self.started_at is None:
            self.started_at = now

    def hear(self, event: str, data: Mapping[str, Json], now: float) -> None:
        """One event of this run."""
        if event in _ENDS:
            self._announce_end(now + END_GRACE)
        elif event == "executing" and data.get("node") is None:
            self._announce_end(now)
        else:
            self.run(now)
            if event == "execution_cached":
                self._shares.update({str(node): 1.0 for node in data.get("nodes") or ()})
            elif event == "progress_state":
                self._progress(data.get("nodes") or {})
        self.touch(now)

    def _announce_end(self, at: float) -> None:
        self.read_at = at if self.read_at is None else min(self.read_at, at)

    def _progress(self, nodes: Mapping[str, Mapping[str, Json]]) -> None:
        for node_id, told in nodes.items():
            most, value = float(told.get("max") or 1), float(told.get("value") or 0)
            self._shares[node_id] = min(1.0, value / most)
            if told.get("state") == "running":
                self.detail = _detail(self.classes.get(node_id, ""), value, most)
        if self.classes:
            total = sum(_weight(one) for one in self.classes.values())
            done = sum(
                _weight(self.classes[one]) * part for one, part in self._shares.items() if one in self.classes
            )
            self.progress = max(self.progress or 0.0, min(0.999, round(done / total, 4)))


def _weight(class_type: str) -> float:
    return _HEAVY if "Sampler" in class_type or class_type.endswith("Process") else 1.0


def _detail(class_type: str, value: float, most: float) -> str | None:
    if most > 1:
        return f"step {int(value)} of {int(most)}"
    if "Loader" in class_type or class_type.startswith("DownloadAndLoad"):
        return "loading the model"
    if "Sampler" in class_type:
        return "sampling"
    if class_type.startswith("Save"):
        return "saving"
    return f"running {class_type}" if class_type else None


class Events:
    """The socket: opened at the first need, reopened with a back-off, shared by all runs of this provider.

    on_event    (event, data) of a run, from text frames, and "status" of everybody
    on_preview  (prompt id or None, picture)
    on_gap      the connection was lost: what happened meanwhile will not be told again
    """

    def __init__(
        self,
        http: Http,
        url: URL,
        *,
        on_event: Callable[[str, Mapping[str, Json]], None],
        on_preview: Callable[[str | None, bytes], None],
        on_gap: Callable[[], None],
    ) -> None:
        self._http, self._url = http, url
        self._on_event, self._on_preview, self._on_gap = on_event, on_preview, on_gap
        self._task: asyncio.Task[None] | None = None
        self._open = asyncio.Event()
        self._tried = asyncio.Event()

    @property
    def connected(self) -> bool:
        return self._open.is_set()

    def start(self) -> None:
        if self._task is None or self._task.done():
            self._task = asyncio.ensure_future(self._keep_open())

    async def ready(self, timeout: float) -> bool:
        """Whether the socket is open, after its first attempt."""
        self.start()
        if not self._tried.is_set():
            try:
                async with asyncio.timeout(timeout):
                    await self._tried.wait()
            except TimeoutError:
                return False
        return self.connected

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _keep_open(self) -> None:
        pause = 0.1
        while True:
            try:
                async with self._http.session.ws_connect(
                    self._url,
                    heartbeat=20,
                    max_msg_size=64 * 1024 * 1024,
                ) as socket:
                    await socket.send_str(
                        '{"type": "feature_flags", "data": {"supports_preview_metadata": true}}'
                    )
                    self._open.set()
                    self._tried.set()
                    pause = 0.1
                    await self._listen(socket)
            except (aiohttp.ClientError, TimeoutError, ConnectionError):
                pass
            finally:
                was_open = self._open.is_set()
                self._open.clear()
                self._tried.set()
            if was_open:
                self._on_gap()
            await asyncio.sleep(pause)
            pause = min(10.0, pause * 2)

    async def _listen(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        async for message in socket:
            if message.type is aiohttp.WSMsgType.TEXT:
                self._hear_text(message.data)
            elif message.type is aiohttp.WSMsgType.BINARY:
                self._hear_bytes(message.data)

    def _hear_text(self, text: str) -> None:
        try:
            told = json.loads(text)
            event, data = told["type"], told.get("data")
        except (ValueError, TypeError, KeyError):
            return
        if isinstance(data, Mapping):
            self._on_event(event, data)

    def _hear_bytes(self, frame: bytes) -> None:
        if len(frame) < 8:
            return
        event, length = struct.unpack(">II", frame[:8])
        if event == _PREVIEW:
            self._on_preview(None, frame[8:])
        elif event == _PREVIEW_WITH_METADATA:
            try:
                metadata = json.loads(frame[8 : 8 + length])
                prompt_id = metadata.get("prompt_id")
            except (ValueError, AttributeError):
                return
            self._on_preview(prompt_id, frame[8 + length :])
