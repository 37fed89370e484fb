"""The HTTP face of the emulated Replicate: what comes in, what goes out, and in which words it refuses.

Statuses, headers and bodies follow exchanges of the official client with the real API (2023 to 2026); where only the
meaning is known, the words are ours.
"""

from __future__ import annotations

import asyncio
import base64
import re
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from genyard.testing.replicate.faults import FaultKind
from genyard.testing.replicate.library import NOT_FOUND, Library, problem
from genyard.testing.replicate.models import Model, complaints, complete
from genyard.testing.replicate.predictions import EVENTS, Prediction
from genyard.testing.service import Row

if TYPE_CHECKING:
    from genyard.testing.replicate.server import ReplicateEmulator

Json = Any

PAGE: Final = 100
_WAIT: Final = re.compile(r"wait(?:=(\d+))?$")
_DURATION: Final = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s?)?")


def refusal(server: ReplicateEmulator, request: web.Request) -> web.Response | None:
    """Who may not come in, and who comes too often."""
    route = f"{request.method} {request.path}"
    if request.path.startswith("/delivery/"):
        server.counts.keys_outside += "Authorization" in request.headers
        return None
    if request.headers.get("Authorization", "").removeprefix("Bearer ") != server.key:
        return problem(401, "You did not pass a valid authentication token", "Unauthenticated")
    if request.method == "GET" and _too_many(server.reads, server.reads_per_minute, server.clock.now()):
        return problem(429, "Request was throttled. Your rate limit resets in ~30s.")
    if (fault := server.faults.take(FaultKind.throttle, route=route)) is not None:
        seconds = int(fault.seconds) or 1
        words = f"Request was throttled. Expected available in {seconds} second{'s' if seconds != 1 else ''}."
        return _throttled(fault.message or words, dict(fault.headers))
    return None


def _too_many(calls: deque[float], most: int, now: float) -> bool:
    """Whether one more within a minute is too many; if not, it counts."""
    while calls and now - calls[0] >= 60:
        calls.popleft()
    if len(calls) >= most:
        return True
    calls.append(now)
    return False


def _throttled(words: str, headers: dict[str, str]) -> web.Response:
    refused = problem(429, words)
    refused.headers.update(headers)
    return refused


def rows(server: ReplicateEmulator) -> list[Row]:
    face, library = Predictions(server), Library(server)
    return [
        ("POST", "/v1/predictions", face.post),
        ("GET", "/v1/predictions", face.list),
        ("GET", "/v1/predictions/{id}", face.get),
        ("POST", "/v1/predictions/{id}/cancel", face.cancel),
        ("POST", "/v1/models/{owner}/{name}/predictions", face.post_by_model),
        ("POST", "/v1/models/{owner}/{name}/versions/{version}/predictions", face.post_by_model),
        ("POST", "/v1/deployments/{owner}/{name}/predictions", face.post_by_deployment),
        ("GET", "/v1/models", library.models),
        ("GET", "/v1/models/{owner}/{name}", library.model),
        ("GET", "/v1/models/{owner}/{name}/versions", library.versions),
        ("GET", "/v1/models/{owner}/{name}/versions/{version}", library.version),
        ("GET", "/v1/deployments/{owner}/{name}", library.deployment),
        ("GET", "/v1/account", library.account),
        ("GET", "/v1/hardware", library.hardware),
        ("GET", "/v1/webhooks/default/secret", library.secret),
        ("POST", "/v1/files", library.post_file),
        ("GET", "/v1/files", library.files),
        ("GET", "/v1/files/{id}", library.file),
        ("DELETE", "/v1/files/{id}", library.delete_file),
        ("GET", "/delivery/{place:.+}", library.deliver),
    ]


class Predictions:
    def __init__(self, server: ReplicateEmulator) -> None:
        self._server = server

    async def post(self, request: web.Request) -> web.StreamResponse:
        """The version in its three spellings: owner/name, owner/name:id, id."""
        version = str((await _body(request)).get("version", ""))
        name, _, wanted = version.rpartition(":") if ":" in version else ("", "", version)
        for model in self._server.models.values():
            if "/" in wanted and wanted == model.key and model.official:
                return await self._create(request, model)
            if wanted == model.version_id and name in ("", model.key):
                return await self._create(request, model)
        return problem(
            422,
            "The specified version does not exist (or perhaps you don't have permission to use it?)",
            "Invalid version or not permitted",
        )

    async def post_by_model(self, request: web.Request) -> web.StreamResponse:
        model = self._server.models.get(f"{request.match_info['owner']}/{request.match_info['name']}")
        if model is None or not (model.official or "version" in request.match_info):
            return problem(404, NOT_FOUND)
        return await self._create(request, model)

    async def post_by_deployment(self, request: web.Request) -> web.StreamResponse:
        key = f"{request.match_info['owner']}/{request.match_info['name']}"
        behind = self._server.deployments.get(key)
        if behind is None:
            return problem(404, NOT_FOUND)
        return await self._create(request, self._server.models[behind], deployment=key)

    async def _create(
        self, request: web.Request, model: Model, deployment: str | None = None
    ) -> web.StreamResponse:
        body = await _body(request)
        refused = self._refusal(request, model, body)
        if refused is not None:
            return refused
        now = self._server.clock.now()
        after = request.headers.get("Cancel-After")
        webhook = body.get("webhook")
        prediction = Prediction(
            id=self._server.new_id(),
            model=model,
            given=body["input"],
            input=complete(model, body["input"]),
            created=now,
            deployment=deployment,
            webhook=webhook,
            events=tuple(body.get("webhook_events_filter") or ("output", "completed")) if webhook else (),
            deadline=None if after is None else now + (_seconds(after) or 0.0),
        )
        self._server.create(prediction)
        route = f"{request.method} {request.path}"
        if (fault := self._server.faults.take(FaultKind.fail_after_create, route=route)) is not None:
            return problem(fault.status, fault.body or "Internal server error")
        return await self._first_answer(request, prediction)

    def _refusal(self, request: web.Request, model: Model, body: dict[str, Json]) -> web.Response | None:
        server, route = self._server, f"{request.method} {request.path}"
        if server.credit == 0 or server.faults.take(FaultKind.no_credit, route=route):
            return problem(
                402,
                "You have insufficient credit to run this model. Go to "
                "https://replicate.com/account/billing#billing to purchase credit.",
                "Insufficient credit",
            )
        if _too_many(server.creates, server.creates_per_minute, server.clock.now()):
            return problem(429, "Request was throttled. Your rate limit resets in ~30s.")
        if not isinstance(body.get("input"), dict):
            return _invalid(["- (root): input is required"])
        if (fault := server.faults.take(FaultKind.bad_input, route=route)) is not None:
            return _invalid([fault.message or "- input.prompt: Invalid type. Expected: string, given: null"])
        wrong = complaints(model, body["input"]) + _webhook_complaints(body)
        after = request.headers.get("Cancel-After")
        if after is not None and (_seconds(after) or 0.0) < 5:
            wrong.append("- Cancel-After: must be a duration of at least 5 seconds")
        return _invalid(wrong) if wrong else None

    async def _first_answer(self, request: web.Request, prediction: Prediction) -> web.StreamResponse:
        """201, or with `Prefer: wait` once there is an output; 202 where that lasted too long."""
        headers, status = {"ratelimit-remaining": "599", "ratelimit-reset": "1"}, 201
        wait = _WAIT.match(request.headers.get("Prefer", ""))
        if wait is not None:
            headers["Preference-Applied"] = wait[0]
            if not await self._finished(prediction, min(60.0, float(wait[1] or 60))):
                status = 202
        return web.json_response(prediction.as_json(self._server.url), status=status, headers=headers)

    async def _finished(self, prediction: Prediction, seconds: float) -> bool:
        def done() -> bool:
            return prediction.ended or prediction.output is not None

        try:
            await self._server.changes.until(done, seconds)
        except TimeoutError:
            return False
        return True

    async def get(self, request: web.Request) -> web.StreamResponse:
        prediction = self._find(request)
        if prediction is None:
            return problem(404, NOT_FOUND)
        return web.json_response(
            prediction.as_json(self._server.url),
            headers={"ratelimit-remaining": "2999", "ratelimit-reset": "1"},
        )

    async def cancel(self, request: web.Request) -> web.StreamResponse:
        """Harmless after the end: the prediction as it is."""
        prediction = self._find(request)
        if prediction is None:
            return problem(404, NOT_FOUND)
        self._server.cancel(prediction)
        return web.json_response(prediction.as_json(self._server.url))

    async def list(self, request: web.Request) -> web.StreamResponse:
        """The newest first, in pages by an opaque cursor."""
        newest = list(reversed(self._server.predictions.values()))
        try:
            first = int(base64.urlsafe_b64decode(request.query.get("cursor", "MA==")))
        except ValueError:
            return problem(400, "Invalid cursor")
        for one in newest:
            self._server.forget_old(one)

        def link(place: int) -> str:
            cursor = base64.urlsafe_b64encode(str(place).encode()).decode()
            return f"{self._server.base_url}/predictions?cursor={cursor}"

        return web.json_response(
            {
                "previous": link(max(0, first - PAGE)) if first else None,
                "next": link(first + PAGE) if len(newest) > first + PAGE else None,
                "results": [one.as_json(self._server.url) for one in newest[first : first + PAGE]],
            }
        )

    def _find(self, request: web.Request) -> Prediction | None:
        prediction = self._server.predictions.get(request.match_info["id"])
        if prediction is None or self._server.faults.take(FaultKind.forget, prediction=prediction.id):
            return None
        self._server.forget_old(prediction)
        return prediction


async def _body(request: web.Request) -> dict[str, Json]:
    try:
        told = await request.json()
    except (ValueError, asyncio.IncompleteReadError):
        return {}
    return told if isinstance(told, dict) else {}


def _invalid(wrong: list[str]) -> web.Response:
    fields = [
        {
            "type": "invalid",
            "field": one.partition(":")[0].removeprefix("- "),
            "description": one.partition(": ")[2],
        }
        for one in wrong
    ]
    return problem(422, "\n".join(wrong) + "\n", "Input validation failed", invalid_fields=fields)


def _webhook_complaints(body: dict[str, Json]) -> list[str]:
    wrong = []
    webhook, events = body.get("webhook"), body.get("webhook_events_filter")
    if webhook is not None and not str(webhook).startswith(
        ("https://", "http://127.0.0.1", "http://localhost")
    ):
        wrong.append("- webhook: Does not match format 'https URL' (E4875)")
    if events is not None and not set(events) <= set(EVENTS):
        wrong.append(f"- webhook_events_filter: must be of {', '.join(EVENTS)}")
    return wrong


def _seconds(duration: str) -> float | None:
    """`30`, `30s`, `5m`, `1h30m45s`."""
    match = _DURATION.fullmatch(duration.strip())
    if match is None or not duration.strip():
        return None
    hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return hours * 3600.0 + minutes * 60 + seconds
