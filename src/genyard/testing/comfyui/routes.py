"""The emulator's HTTP and WebSocket routes: what comes in, what goes out, what may go wrong on the way."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any, Final

from aiohttp import WSMsgType, web

from genyard.testing.comfyui.catalogue import MODEL_FOLDERS
from genyard.testing.comfyui.execution import now_ms
from genyard.testing.comfyui.faults import FaultKind
from genyard.testing.comfyui.queue import STATUSES, Prompt
from genyard.testing.comfyui.routes_files import FileRoutes
from genyard.testing.comfyui.sockets import Socket
from genyard.testing.comfyui.validation import Verdict, error_of, validate
from genyard.testing.service import Row

if TYPE_CHECKING:
    from genyard.testing.comfyui.server import ComfyUIEmulator

Json = Any
SECRET_KEYS: Final = ("auth_token_comfy_org", "api_key_comfy_org")
WANTED_ID: Final = (
    "prompt_id must be a UUID string in canonical lowercase hyphenated form; "
    "omit it to let the server generate one"
)
FEATURES: Final[dict[str, dict[str, Json]]] = {
    "0.33.0": {
        "supports_preview_metadata": True,
        "supports_model_type_tags": True,
        "max_upload_size": 104857600,
        "extension": {"manager": {"supports_v4": True}},
        "node_replacements": True,
        "assets": False,
    },
    "0.3.64": {"supports_preview_metadata": True, "max_upload_size": 104857600},
}


def rows(server: ComfyUIEmulator) -> list[Row]:
    """Every route as /x and /api/x; those of jobs exist under /api alone."""
    face, files = Routes(server), FileRoutes(server)
    plain: list[Row] = [
        ("POST", "/prompt", face.post_prompt),
        ("GET", "/prompt", face.get_prompt),
        ("GET", "/queue", face.get_queue),
        ("POST", "/queue", face.post_queue),
        ("POST", "/interrupt", face.post_interrupt),
        ("GET", "/history", face.get_history),
        ("GET", "/history/{id}", face.get_history_one),
        ("POST", "/history", face.post_history),
        ("GET", "/view", files.get_view),
        ("POST", "/upload/image", files.upload_image),
        ("POST", "/upload/mask", files.upload_mask),
        ("GET", "/object_info", face.object_info),
        ("GET", "/object_info/{name}", face.object_info),
        ("GET", "/models", face.models),
        ("GET", "/models/{folder}", face.models),
        ("GET", "/embeddings", face.embeddings),
        ("GET", "/system_stats", face.system_stats),
        ("GET", "/features", face.features),
        ("POST", "/free", face.free),
        ("GET", "/ws", face.socket),
    ]
    jobs: list[Row] = []
    if not server.old:
        jobs = [
            ("GET", "/jobs", face.jobs),
            ("GET", "/jobs/{id}", face.job),
            ("POST", "/jobs/{id}/cancel", face.cancel_job),
            ("POST", "/jobs/cancel", face.cancel_jobs),
        ]
    under_api = [(method, f"/api{path}", handler) for method, path, handler in [*plain, *jobs]]
    return [*plain, *under_api]


class Routes:
    def __init__(self, server: ComfyUIEmulator) -> None:
        self._server = server

    # Prompts

    async def post_prompt(self, request: web.Request) -> web.Response:
        server = self._server
        body = await request.json()
        number = float(body["number"]) if "number" in body else server.next_number(bool(body.get("front")))
        if "prompt" not in body:
            return _refused(error_of("no_prompt", "No prompt provided", "No prompt provided"))
        prompt_id = body.get("prompt_id")
        if prompt_id is None:
            prompt_id = str(uuid.uuid4())
        elif not server.old and not _is_uuid(prompt_id):
            return _refused(error_of("invalid_prompt_id", "prompt_id must be a valid UUID", WANTED_ID))
        verdict = self._validate(body)
        if verdict.error is not None:
            return _refused(verdict.error, verdict.node_errors)
        accepted = Prompt(
            number=number,
            prompt_id=prompt_id,
            graph=body["prompt"],
            extra_data=self._extra_data(body),
            outputs=verdict.outputs,
        )
        await self._enqueue(accepted)
        node_errors = verdict.node_errors
        if server.faults.take(FaultKind.node_errors):
            node_errors = _made_up_node_errors(accepted.graph)
        return web.json_response({"prompt_id": prompt_id, "number": number, "node_errors": node_errors})

    def _validate(self, body: Json) -> Verdict:
        server = self._server
        server.refresh_input_files()
        checks = {
            ("LoadImage", "image"): lambda value: server.input_problem("image", value),
            ("LoadImageMask", "image"): lambda value: server.input_problem("image", value),
            ("LoadVideo", "file"): lambda value: server.input_problem("video", value),
        }
        targets = body.get("partial_execution_targets")
        return validate(body["prompt"], server.catalogue, checks=checks, targets=targets, old=server.old)

    def _extra_data(self, body: Json) -> dict[str, Json]:
        given = body.get("extra_data", {})
        extra_data = {key: value for key, value in given.items() if key not in SECRET_KEYS}
        if "client_id" in body:
            extra_data["client_id"] = body["client_id"]
        if not self._server.old:
            extra_data["create_time"] = now_ms()
        return extra_data

    async def _enqueue(self, prompt: Prompt) -> None:
        server = self._server
        try:
            server.queue.put(prompt)
            await server.tell_status()
        finally:
            server.wake()
            server.changes.notify()
        if server.faults.take(FaultKind.fail_after_enqueue):
            raise RuntimeError("the emulator was told to fail after enqueuing")

    async def get_prompt(self, request: web.Request) -> web.Response:
        return web.json_response(self._server.queue_info())

    async def get_queue(self, request: web.Request) -> web.Response:
        return web.json_response(self._server.queue.as_json())

    async def post_queue(self, request: web.Request) -> web.Response:
        body = await request.json()
        queue = self._server.queue
        if body.get("clear"):
            self._server.counts.deleted += len(queue.pending)
            queue.pending.clear()
        for prompt_id in body.get("delete", []):
            self._server.counts.deleted += queue.remove(prompt_id)
        await self._server.tell_status()
        self._server.changes.notify()
        return web.Response()

    async def post_interrupt(self, request: web.Request) -> web.Response:
        try:
            wanted = (await request.json()).get("prompt_id")
        except json.JSONDecodeError:
            wanted = None
        self._interrupt(wanted)
        return web.Response()

    def _interrupt(self, prompt_id: str | None) -> bool:
        running = self._server.queue.running
        if running is None or prompt_id not in (None, running.prompt_id):
            return False
        self._server.counts.interrupted += not running.interrupted
        running.interrupted = True
        self._server.executor.interrupt.set()
        return True

    # History and jobs

    async def get_history(self, request: web.Request) -> web.Response:
        rows = list(self._server.queue.history.items())
        offset = int(request.query.get("offset", -1))
        count = int(request.query["max_items"]) if "max_items" in request.query else len(rows)
        start = max(0, len(rows) - count) if offset < 0 else offset
        return web.json_response(dict(rows[start : start + count]))

    async def get_history_one(self, request: web.Request) -> web.Response:
        prompt_id = request.match_info["id"]
        entry = self._server.queue.history.get(prompt_id)
        if entry is None or self._hidden(prompt_id, FaultKind.hide_history, FaultKind.hide_everywhere):
            return web.json_response({})
        return web.json_response({prompt_id: entry})

    def _hidden(self, prompt_id: str, *kinds: FaultKind) -> bool:
        hidden = any(self._server.faults.take(kind, prompt_id=prompt_id) is not None for kind in kinds)
        self._server.counts.forgot[prompt_id] += hidden
        return hidden

    async def post_history(self, request: web.Request) -> web.Response:
        body = await request.json()
        if body.get("clear"):
            self._server.queue.history.clear()
        for prompt_id in body.get("delete", []):
            self._server.queue.history.pop(prompt_id, None)
        return web.Response()

    async def jobs(self, request: web.Request) -> web.Response:
        rows = self._server.queue.jobs()
        wanted = [one for one in request.query.get("status", "").split(",") if one]
        if unknown := [one for one in wanted if one not in STATUSES]:
            text = f"Invalid status value(s): {', '.join(unknown)}. Valid values: {', '.join(STATUSES)}"
            return web.json_response({"error": text}, status=400)
        rows = [row for row in rows if not wanted or row["status"] in wanted]
        offset = int(request.query.get("offset", 0))
        limit = int(request.query["limit"]) if "limit" in request.query else None
        shown = rows[offset:] if limit is None else rows[offset : offset + limit]
        pagination = {
            "offset": offset,
            "limit": limit,
            "total": len(rows),
            "has_more": offset + len(shown) < len(rows),
        }
        return web.json_response({"jobs": shown, "pagination": pagination})

    async def job(self, request: web.Request) -> web.Response:
        prompt_id = request.match_info["id"]
        found = self._server.queue.job(prompt_id)
        if found is None or (
            prompt_id in self._server.queue.history and self._hidden(prompt_id, FaultKind.hide_everywhere)
        ):
            return web.json_response({"error": "Job not found"}, status=404)
        return web.json_response(found)

    async def cancel_job(self, request: web.Request) -> web.Response:
        return web.json_response({"cancelled": await self._cancel(request.match_info["id"])})

    async def _cancel(self, prompt_id: str) -> bool:
        if self._server.queue.remove(prompt_id):
            self._server.counts.deleted += 1
            await self._server.tell_status()
            self._server.changes.notify()
            return True
        return self._interrupt(prompt_id)

    async def cancel_jobs(self, request: web.Request) -> web.Response:
        wanted = (await request.json()).get("job_ids", [])
        if invalid := [one for one in wanted if not _is_uuid(one)]:
            return web.json_response(
                {"error": "job_ids contains invalid id(s)", "invalid_ids": invalid}, status=400
            )
        return web.json_response({"cancelled": any([await self._cancel(one) for one in wanted])})

    # What the server is

    async def object_info(self, request: web.Request) -> web.Response:
        self._server.refresh_input_files()
        catalogue = self._server.catalogue
        name = request.match_info.get("name")
        if name is not None:
            catalogue = {name: catalogue[name]} if name in catalogue else {}
        return web.json_response(catalogue)

    async def models(self, request: web.Request) -> web.Response:
        folder = request.match_info.get("folder")
        if folder is None:
            return web.json_response(list(MODEL_FOLDERS))
        if folder not in MODEL_FOLDERS:
            return web.Response(status=404)
        return web.json_response(list(self._server.model_files.get(folder, ())))

    async def embeddings(self, request: web.Request) -> web.Response:
        return web.json_response([])

    async def system_stats(self, request: web.Request) -> web.Response:
        size = 25_276_510_208
        system = {
            "os": "posix" if self._server.old else "linux",
            "ram_total": size,
            "ram_free": size - 2**30,
            "comfyui_version": self._server.version,
            "python_version": "3.11.7 (emulated by genyard.testing)",
            "pytorch_version": "2.13.0+cpu",
            "embedded_python": False,
            "argv": ["main.py", "--cpu"],
        }
        device = {
            "name": "cpu", "type": "cpu", "index": None, "vram_total": size, "vram_free": size - 2**30,
            "torch_vram_total": size, "torch_vram_free": size - 2**30,
        }  # fmt: skip
        return web.json_response({"system": system, "devices": [device]})

    async def features(self, request: web.Request) -> web.Response:
        return web.json_response(FEATURES[self._server.version])

    async def free(self, request: web.Request) -> web.Response:
        if (await request.json()).get("free_memory"):
            self._server.executor.cache.clear()
        self._server.counts.freed += 1
        return web.Response()

    async def socket(self, request: web.Request) -> web.StreamResponse:
        server = self._server
        if server.faults.take(FaultKind.refuse_socket):
            return web.Response(status=503)
        response = web.WebSocketResponse()
        await response.prepare(request)
        client_id = request.query.get("clientId") or uuid.uuid4().hex
        mine = Socket(response=response, request=request)
        server.sockets.add(client_id, mine)
        server.counts.sockets += 1
        server.changes.notify()
        await server.sockets.send("status", {"status": server.queue_info(), "sid": client_id}, client_id)
        running = server.queue.running
        if (
            running is not None
            and running.client_id == client_id
            and server.executor.current_node is not None
        ):
            await server.sockets.send("executing", {"node": server.executor.current_node}, client_id)
        try:
            async for message in response:
                if message.type is WSMsgType.TEXT:
                    await self._hear(client_id, mine, json.loads(message.data))
        finally:
            server.sockets.remove(client_id, mine)
        return response

    async def _hear(self, client_id: str, socket: Socket, message: Json) -> None:
        if message.get("type") == "feature_flags":
            socket.preview_metadata = bool(message["data"].get("supports_preview_metadata"))
            await self._server.sockets.send("feature_flags", FEATURES[self._server.version], client_id)


def _refused(error: Json, node_errors: Json = None) -> web.Response:
    return web.json_response({"error": error, "node_errors": node_errors or {}}, status=400)


def _is_uuid(text: Json) -> bool:
    try:
        return isinstance(text, str) and str(uuid.UUID(text)) == text
    except ValueError:
        return False


def _made_up_node_errors(graph: Json) -> Json:
    """As if another output of the graph had been dropped."""
    node_id = next(iter(graph))
    wrong = error_of(
        "return_type_mismatch",
        "Return type mismatch between linked nodes",
        "clip, received_type(IMAGE) mismatch input_type(CLIP)",
        input_name="clip",
    )
    return {
        node_id: {"errors": [wrong], "dependent_outputs": ["11"], "class_type": graph[node_id]["class_type"]}
    }
