"""The emulator's face: routes, the listening socket, restarts, counters.

Every route exists as /x and /api/x, as on the real server. `/_emulator/...` is ours: faults and counters for
an emulator that runs as a process of its own.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from genyard.testing.comfyui import routes
from genyard.testing.comfyui.catalogue import (
    INPUT_FILES,
    Version,
    default_files,
    node_catalogue,
    set_choices,
)
from genyard.testing.comfyui.execution import Executor
from genyard.testing.comfyui.faults import Fault, Faults
from genyard.testing.comfyui.files import Files
from genyard.testing.comfyui.queue import Queue
from genyard.testing.comfyui.sockets import Sockets
from genyard.testing.comfyui.values import ServerDies
from genyard.testing.service import Row, Service

Json = Any


@dataclass(kw_only=True)
class Counts:
    """What really happened; survives the emulator's restarts.

    runs      prompt id → how often its graph was started
    forgot    prompt id → how often a fault denied it, or a restart took it from memory
    uploads   files that were taken in
    deleted   pending prompts that were taken out, `interrupted` running ones that were stopped
    requests  "METHOD /route" → how often
    sockets   how many WebSockets were opened
    """

    runs: Counter[str] = field(default_factory=Counter)
    forgot: Counter[str] = field(default_factory=Counter)
    requests: Counter[str] = field(default_factory=Counter)
    uploads: int = 0
    deleted: int = 0
    interrupted: int = 0
    sockets: int = 0
    freed: int = 0
    restarts: int = 0

    @property
    def total_runs(self) -> int:
        return self.runs.total()

    @property
    def cancels(self) -> int:
        return self.deleted + self.interrupted

    def as_json(self) -> dict[str, Json]:
        return {**vars(self), "total_runs": self.total_runs, "cancels": self.cancels}


class ComfyUIEmulator(Service[Fault]):
    """`async with ComfyUIEmulator() as server: … server.url …`

    version       "0.33.0" or "0.3.64"
    files         models folder → file names that exist there (default: all that templates and bindings name)
    absent        node classes that are not installed
    step_seconds  how long one sampler step takes
    history_gap   seconds between the end event and the history entry (the race of the real server)
    api_key       required as `Authorization: Bearer …`, as a proxy in front of a server would
    cold_start    seconds during which connections are refused at first
    """

    def __init__(
        self,
        *,
        version: Version = "0.33.0",
        files: Mapping[str, Sequence[str]] | None = None,
        absent: Sequence[str] = (),
        step_seconds: float = 0.0,
        history_gap: float = 0.0005,
        api_key: str | None = None,
        cold_start: float = 0.0,
        embeds_graph: bool = True,
        max_upload_size: int = 104_857_600,
        port: int = 0,
        root: Path | None = None,
    ) -> None:
        super().__init__(port=port, max_body=max_upload_size)
        self.version: Version = version
        self.model_files = default_files() if files is None else files
        self.catalogue = node_catalogue(version, self.model_files, absent)
        self.step_seconds = step_seconds
        self.history_gap = history_gap
        self.api_key = api_key
        self.embeds_graph = embeds_graph
        self.down_seconds = 0.0
        self.faults = Faults()
        self.counts = Counts(requests=self.requests)
        self.reached: list[tuple[str, str]] = []
        self.sockets = Sockets()
        self._cold_start = cold_start
        self._own_root = root is None
        self.files = Files(root=root or Path(tempfile.mkdtemp(prefix="genyard-comfyui-")))
        self._worker: asyncio.Task[None] | None = None
        self.queue = Queue()
        self._forget()

    @property
    def old(self) -> bool:
        return self.version == "0.3.64"

    # What the shared service asks

    def rows(self) -> Sequence[Row]:
        return routes.rows(self)

    def own_rows(self) -> Sequence[Row]:
        return [*super().own_rows(), ("POST", "/_emulator/restart", self._restart)]

    def path_of(self, path: str) -> str:
        return path.removeprefix("/api")

    def refuse(self, request: web.Request) -> web.Response | None:
        if self.api_key is None or request.headers.get("Authorization") == f"Bearer {self.api_key}":
            return None
        return web.Response(status=401, text="401: Unauthorized")

    def counted(self) -> dict[str, Json]:
        return {**super().counted(), **self.counts.as_json()}

    async def begin(self) -> None:
        self._start_worker()

    async def open(self) -> None:
        if self._cold_start:
            self.reserve_port()
            self.later(self._open_after(self._cold_start))
        else:
            await super().open()

    async def end(self) -> None:
        if self._worker is not None:
            self._worker.cancel()
            await asyncio.gather(self._worker, return_exceptions=True)
        self.sockets.drop()
        if self._own_root:
            shutil.rmtree(self.files.root, ignore_errors=True)

    # What a test does to it

    async def restart(self, down_seconds: float = 0.0) -> None:
        """Killed and started again: queue and history forgotten, sockets dropped, the same port."""
        self.counts.restarts += 1
        await self.stop_listening()
        if self._worker is not None and self._worker is not asyncio.current_task():
            self._worker.cancel()
            await asyncio.gather(self._worker, return_exceptions=True)
        self._forget()
        self.files.wipe_temp()
        if down_seconds:
            await asyncio.sleep(down_seconds)
        await self.listen()
        self._start_worker()
        self.changes.notify()

    def restart_later(self, down_seconds: float = 0.0) -> None:
        self.later(self.restart(down_seconds))

    async def _restart(self, request: web.Request) -> web.Response:
        self.restart_later(float(request.query.get("down_seconds", 0)))
        return web.Response()

    async def stop_listening(self) -> None:
        """Also of the sockets. What runs goes on (a cut network)."""
        self.sockets.drop()
        await super().stop_listening()

    async def until_running(self, class_type: str, prompt_id: str | None = None) -> None:
        """Waits until a node of that class was started (of that prompt)."""

        def is_reached() -> bool:
            return any(node == class_type and prompt_id in (None, one) for one, node in self.reached)

        await self.changes.until(is_reached)

    async def until_idle(self) -> None:
        await self.changes.until(lambda: not self.queue.remaining)

    # What the routes and the executor use

    async def tell_status(self) -> None:
        await self.sockets.send("status", {"status": self.queue_info()})

    def queue_info(self) -> dict[str, Json]:
        return {"exec_info": {"queue_remaining": self.queue.remaining}}

    def next_number(self, front: bool) -> float:
        number = -self._number if front else self._number
        self._number += 1
        return number

    def wake(self) -> None:
        self._work.set()

    def refresh_input_files(self) -> None:
        names = self.files.inputs()
        for class_type, name in INPUT_FILES:
            set_choices(self.catalogue, class_type, name, names)

    def input_problem(self, kind: str, value: Json) -> str | None:
        if isinstance(value, str) and self.files.read_path(value) is not None:
            return None
        return f"Invalid {kind} file: {value}"

    def _forget(self) -> None:
        self.counts.forgot.update(self.queue.known())
        self.queue = Queue()
        self.executor = Executor(server=self)
        self._work = asyncio.Event()
        self._number = 0

    async def _open_after(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self.listen()

    def _start_worker(self) -> None:
        self._worker = asyncio.ensure_future(self._work_off())

    async def _work_off(self) -> None:
        while True:
            while not self.queue.pending:
                self._work.clear()
                await self._work.wait()
            prompt = self.queue.take()
            self.counts.runs[prompt.prompt_id] += 1
            await self.tell_status()
            try:
                await self.executor.execute(prompt)
            except ServerDies:
                self.restart_later(self.down_seconds)
                return
