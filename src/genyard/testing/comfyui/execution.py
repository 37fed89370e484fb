"""The emulator's worker: one prompt at a time, node by node, with the real server's events in their order.

Which prompts wait is `queue`'s business, what a node computes is in `nodes_*`; this file says when a node
runs, when it is cached, what is told over the socket, and what ends up in the history.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from genyard.testing.comfyui import nodes_image, nodes_model, nodes_video  # noqa: F401 (they register themselves)
from genyard.testing.comfyui.faults import Fault, FaultKind
from genyard.testing.comfyui.files import Outside
from genyard.testing.comfyui.queue import Prompt
from genyard.testing.comfyui.sockets import JPEG, PNG, image_frame, image_frame_with_metadata
from genyard.testing.comfyui.values import NodeError, Output, Pixels, Run, ServerDies, call, encode, resize

if TYPE_CHECKING:
    from genyard.testing.comfyui.server import ComfyUIEmulator

Json = Any

CACHED_NODES: Final = 400
PREVIEWS: Final = ("latent2rgb", "auto", "taesd")
NODE_EXCEPTIONS: Final = (
    NodeError, Outside, ValueError, TypeError, KeyError, IndexError, AttributeError, OSError, AssertionError,
    MemoryError,
)  # fmt: skip


class Interrupted(Exception):
    """Somebody asked for the end of the run."""


def now_ms() -> int:
    return int(time.time() * 1000)


def is_link(value: Json) -> bool:
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str)


@dataclass(kw_only=True)
class _Cached:
    output: Output


@dataclass(kw_only=True)
class Executor:
    """`cache` survives between prompts, as in the real server; /free empties it."""

    server: ComfyUIEmulator
    cache: OrderedDict[str, _Cached] = field(default_factory=OrderedDict)
    interrupt: asyncio.Event = field(default_factory=asyncio.Event)
    current_node: str | None = None

    async def execute(self, prompt: Prompt) -> None:
        """Runs it to its end: history is written, the last event is sent. Raises only `ServerDies`."""
        self.interrupt.clear()
        run = PromptRun(executor=self, prompt=prompt)
        entry = await run.to_the_end()
        self.current_node = None
        await asyncio.sleep(self.server.history_gap)
        self.server.queue.finish(entry)
        self.server.changes.notify()
        await self.server.tell_status()
        if prompt.client_id is not None and not run.muted:
            await self.server.sockets.send(
                "executing", {"node": None, "prompt_id": prompt.prompt_id}, prompt.client_id
            )

    def remember(self, signature: str, output: Output) -> None:
        self.cache[signature] = _Cached(output=output)
        self.cache.move_to_end(signature)
        while len(self.cache) > CACHED_NODES:
            self.cache.popitem(last=False)


@dataclass(kw_only=True)
class PromptRun:
    """One run of one prompt."""

    executor: Executor
    prompt: Prompt
    muted: bool = False
    results: dict[str, Output] = field(default_factory=dict)
    outputs: dict[str, Json] = field(default_factory=dict)
    meta: dict[str, Json] = field(default_factory=dict)
    messages: list[Json] = field(default_factory=list)
    executed: list[str] = field(default_factory=list)
    _states: dict[str, Json] = field(default_factory=dict)
    _signatures: dict[str, str] = field(default_factory=dict)

    @property
    def server(self) -> ComfyUIEmulator:
        return self.executor.server

    @property
    def _wants_previews(self) -> bool:
        """0.3.64 knows no previews per prompt: only its command line turns them on."""
        return not self.server.old and self.prompt.extra_data.get("preview_method") in PREVIEWS

    async def to_the_end(self) -> dict[str, Json]:
        prompt_id = self.prompt.prompt_id
        await self._message("execution_start", {"prompt_id": prompt_id})
        order = self._order()
        cached = self._known(order)
        await self._message("execution_cached", {"nodes": sorted(cached), "prompt_id": prompt_id})
        success = False
        node_id = order[-1]
        try:
            for node_id in order:
                if node_id in cached:
                    await self._take(node_id, cached[node_id].output)
                else:
                    await self._execute_node(node_id)
            success = True
            self._spoil_outputs()
            await self._message("execution_success", {"prompt_id": prompt_id})
        except Interrupted:
            await self._message("execution_interrupted", self._failure(node_id), broadcast=True)
        except NODE_EXCEPTIONS as wrong:
            await self._message("execution_error", self._error(node_id, wrong))
        status = {
            "status_str": "success" if success else "error",
            "completed": success,
            "messages": self.messages,
        }
        return {"prompt": self.prompt.row, "outputs": self.outputs, "status": status, "meta": self.meta}

    def _order(self) -> list[str]:
        """Every node that an output needs, inputs first."""
        order: dict[str, None] = {}

        def visit(node_id: str) -> None:
            if node_id in order:
                return
            for value in self.prompt.graph[node_id]["inputs"].values():
                if is_link(value):
                    visit(value[0])
            order[node_id] = None

        for node_id in self.prompt.outputs:
            visit(node_id)
        return list(order)

    def _signature(self, node_id: str) -> str:
        """Equal signatures mean equal results; `SaveImageWebsocket` never has the same twice."""
        if node_id in self._signatures:
            return self._signatures[node_id]
        node = self.prompt.graph[node_id]
        known = self.server.catalogue[node["class_type"]]["input"]
        names = {**(known.get("required") or {}), **(known.get("optional") or {})}
        parts: list[Json] = [node["class_type"]]
        for name, value in sorted(node["inputs"].items()):
            if is_link(value):
                parts.append([name, self._signature(value[0]), value[1]])
            elif name.split(".")[0] in names:
                parts.append([name, value, self._content(node["class_type"], value)])
        if node["class_type"] == "SaveImageWebsocket":
            parts.append(time.time_ns())
        signature = hashlib.sha256(json.dumps(parts).encode()).hexdigest()
        self._signatures[node_id] = signature
        return signature

    def _content(self, class_type: str, value: Json) -> str | None:
        """Loaders are fingerprinted by what the file holds."""
        if not class_type.startswith(("LoadImage", "LoadVideo")) or not isinstance(value, str):
            return None
        path = self.server.files.read_path(value)
        return hashlib.sha256(path.read_bytes()).hexdigest() if path is not None else None

    def _known(self, order: list[str]) -> dict[str, _Cached]:
        """Kept by this run, whatever it pushes out of the cache meanwhile."""
        cache = self.executor.cache
        found = {node_id: cache.get(self._signature(node_id)) for node_id in order}
        return {node_id: one for node_id, one in found.items() if one is not None}

    async def _take(self, node_id: str, output: Output) -> None:
        self.results[node_id] = output
        if output.ui is not None:
            await self._show(node_id, output.ui)
            await self._progress(node_id, 1, 1, "finished")

    async def _execute_node(self, node_id: str) -> None:
        class_type = self.prompt.graph[node_id]["class_type"]
        self.executor.current_node = node_id
        await self._progress(node_id, 0.0, 1.0, "running")
        await self._send(
            "executing", {"node": node_id, "display_node": node_id, "prompt_id": self.prompt.prompt_id}
        )
        self.server.reached.append((self.prompt.prompt_id, class_type))
        self.server.changes.notify()
        await self._suffer(node_id, class_type)
        output = await call(self._run(node_id, class_type), self._inputs(node_id))
        if self.executor.interrupt.is_set():
            raise Interrupted
        self.results[node_id] = output
        self.executor.remember(self._signature(node_id), output)
        if output.ui:
            await self._show(node_id, output.ui)
        state = self._states[node_id]
        await self._progress(node_id, state["max"], state["max"], "finished")
        self.executed.append(node_id)

    def _inputs(self, node_id: str) -> dict[str, Any]:
        inputs: dict[str, Any] = {}
        for name, value in self.prompt.graph[node_id]["inputs"].items():
            inputs[name] = self.results[value[0]].slots[value[1]] if is_link(value) else value
        return inputs

    async def _show(self, node_id: str, ui: Mapping[str, Json]) -> None:
        fault = self._fault(FaultKind.temp_outputs, node_id)
        told = {
            key: [{**item, "type": "temp"} if fault and isinstance(item, dict) else item for item in items]
            for key, items in ui.items()
        }
        self.outputs[node_id] = told
        self.meta[node_id] = {
            "node_id": node_id,
            "display_node": node_id,
            "parent_node": None,
            "real_node_id": node_id,
        }
        await self._send(
            "executed",
            {"node": node_id, "display_node": node_id, "output": told, "prompt_id": self.prompt.prompt_id},
        )

    def _run(self, node_id: str, class_type: str) -> Run:
        async def step(value: int, most: int, picture: Pixels | bytes | None) -> None:
            await self._step(node_id, value, most, picture)

        return Run(
            node_id=node_id,
            class_type=class_type,
            graph=self.prompt.graph,
            files=self.server.files,
            metadata=self.server.embeds_graph,
            step=step,
            pause=self._pause,
        )

    async def _step(self, node_id: str, value: int, most: int, picture: Pixels | bytes | None) -> None:
        slow = self._fault(FaultKind.slow, node_id)
        seconds = self.server.step_seconds + (slow.seconds if slow else 0.0)
        if seconds:
            await self._pause(seconds)
        else:
            await asyncio.sleep(0)
        if self.executor.interrupt.is_set():
            raise Interrupted
        if not isinstance(picture, bytes) and not self._wants_previews:
            picture = None
        await self._progress(node_id, value, most, "running")
        # With metadata the picture comes before the progress message, without it after.
        early = self.server.sockets.takes_metadata(self.prompt.client_id)
        if picture is not None and early:
            await self._image(node_id, picture)
        prompt_id = self.prompt.prompt_id
        await self._send("progress", {"value": value, "max": most, "prompt_id": prompt_id, "node": node_id})
        if picture is not None and not early:
            await self._image(node_id, picture)
        self.server.changes.notify()

    async def _image(self, node_id: str, picture: Pixels | bytes) -> None:
        client_id = self.prompt.client_id
        if self.muted:
            return
        whole = isinstance(picture, bytes)
        data = picture if isinstance(picture, bytes) else _preview(picture)
        image_type = PNG if whole else JPEG
        if not self.server.sockets.takes_metadata(client_id):
            await self.server.sockets.send_bytes(image_frame(image_type, data), client_id)
            return
        metadata = {
            "node_id": node_id,
            "prompt_id": self.prompt.prompt_id,
            "display_node_id": node_id,
            "parent_node_id": None,
            "real_node_id": node_id,
            "image_type": "image/png" if whole else "image/jpeg",
        }
        await self.server.sockets.send_bytes(image_frame_with_metadata(metadata, data), client_id)

    async def _pause(self, seconds: float | None) -> None:
        """`seconds`, or for ever; an interrupt ends it."""
        try:
            await asyncio.wait_for(self.executor.interrupt.wait(), seconds)
        except TimeoutError:
            return
        raise Interrupted

    async def _suffer(self, node_id: str, class_type: str) -> None:
        """Everything that may go wrong as a node starts."""
        if self.executor.interrupt.is_set():
            raise Interrupted
        if self._fault(FaultKind.mute, node_id):
            self.muted = True
        if self._fault(FaultKind.drop_socket, node_id):
            self.server.sockets.drop()
        if class_type == "GenyardExit" and self.prompt.graph[node_id]["inputs"]["confirm"] == "yes":
            raise ServerDies
        if (fault := self._fault(FaultKind.restart, node_id)) is not None:
            self.server.down_seconds = fault.seconds
            raise ServerDies
        if (fault := self._fault(FaultKind.raise_error, node_id)) is not None:
            raise NodeError(fault.error_type, fault.message)
        if self._fault(FaultKind.interrupt, node_id):
            raise Interrupted
        if self._fault(FaultKind.hang, node_id):
            await self._pause(None)
        if class_type not in ("KSampler", "KSamplerAdvanced", "SamplerCustomAdvanced", "GenyardSleep"):
            slow = self._fault(FaultKind.slow, node_id)
            if slow is not None:
                await self._pause(slow.seconds)

    def _spoil_outputs(self) -> None:
        if self._fault(FaultKind.no_outputs):
            self.outputs.clear()
        if self._fault(FaultKind.delete_outputs):
            for output in self.outputs.values():
                for item in (one for items in output.values() for one in items if isinstance(one, dict)):
                    path = self.server.files.folder(item["type"]) / item["subfolder"] / item["filename"]
                    path.unlink(missing_ok=True)

    def _fault(self, kind: FaultKind, node_id: str | None = None) -> Fault | None:
        nodes = () if node_id is None else (node_id, self.prompt.graph[node_id]["class_type"])
        return self.server.faults.take(kind, node=nodes, prompt_id=self.prompt.prompt_id)

    def _failure(self, node_id: str) -> dict[str, Json]:
        return {
            "prompt_id": self.prompt.prompt_id,
            "node_id": node_id,
            "node_type": self.prompt.graph[node_id]["class_type"],
            "executed": [],
        }

    def _error(self, node_id: str, wrong: BaseException) -> dict[str, Json]:
        kind = wrong.error_type if isinstance(wrong, NodeError) else type(wrong).__name__
        if isinstance(wrong, Outside):
            kind = "Exception"
        text = str(wrong)
        if not kind.endswith("OutOfMemoryError") and not text.endswith("\n"):
            text += "\n"
        given = self.prompt.graph[node_id]["inputs"]
        return {
            **self._failure(node_id),
            "exception_message": text,
            "exception_type": kind,
            "traceback": [
                '  File "/comfyui/execution.py", line 545, in execute\n    output_data, output_ui, '
                "has_subgraph, has_pending_tasks = await get_output_data(prompt_id, unique_id, obj)\n"
            ],
            "current_inputs": {name: [value] for name, value in given.items() if not is_link(value)},
            "current_outputs": list(self._signatures),
        }

    async def _progress(self, node_id: str, value: float, most: float, state: str) -> None:
        self._states[node_id] = {
            "value": value,
            "max": most,
            "state": state,
            "node_id": node_id,
            "prompt_id": self.prompt.prompt_id,
            "display_node_id": node_id,
            "parent_node_id": None,
            "real_node_id": node_id,
        }
        await self._send("progress_state", {"prompt_id": self.prompt.prompt_id, "nodes": self._states})

    async def _message(self, event: str, data: dict[str, Json], *, broadcast: bool = False) -> None:
        """Goes to the client and into the history."""
        stamped = {**data, "timestamp": now_ms()}
        self.messages.append([event, stamped])
        if self.prompt.client_id is not None and not self.muted:
            await self.server.sockets.send(event, stamped, None if broadcast else self.prompt.client_id)

    async def _send(self, event: str, data: Mapping[str, Json]) -> None:
        if self.muted:
            return
        if self.prompt.client_id is None and event != "progress_state":
            return
        await self.server.sockets.send(event, data, self.prompt.client_id)


def _preview(picture: Pixels) -> bytes:
    small = resize(picture[None, ..., :3], 96, max(1, round(96 * picture.shape[0] / picture.shape[1])))[0]
    return encode(small, "JPEG")
