"""The HTTP face of the emulated Scenario for generating: models, jobs, prices, limits.

Shapes follow the vendor's SDK 2.4.0, which validates them. Texts that were seen are the seen ones; others are ours.
"""

from __future__ import annotations

import base64
import binascii
import re
import uuid
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from genyard.testing import drawing
from genyard.testing.scenario.faults import FaultKind
from genyard.testing.scenario.jobs import TEAM, Asset, Job, iso
from genyard.testing.scenario.models import LEGACY, Model, problems
from genyard.testing.service import Row

if TYPE_CHECKING:
    from genyard.testing.scenario.server import ScenarioEmulator

Json = Any

CANNOT_CANCEL: Final = "Cannot cancel this type of job. Action not permitted."
PROTECTED: Final = "API Keys cannot access protected resources"
#: What a dry run answers: a success that is not 200.
DRY_RUN: Final = 269
_DATA_URL: Final = re.compile(r"data:([\w/+.-]+);base64,(.*)", re.DOTALL)


def wrong(status: int, reason: str, **more: Json) -> web.Response:
    told = {"reason": reason, **more, "trace_id": uuid.uuid4().hex}
    return web.json_response(told, status=status)


def refusal(server: ScenarioEmulator, request: web.Request) -> web.Response | None:
    """Basic auth in front of everything but signed links."""
    if request.path.startswith("/cdn/"):
        server.counts.keys_outside += "Authorization" in request.headers
        return None
    sent = request.headers.get("Authorization", "")
    told = base64.b64encode(f"{server.key}:{server.secret}".encode()).decode()
    if sent != f"Basic {told}":
        return web.json_response({"message": "Unauthorized", "trace_id": uuid.uuid4().hex}, status=401)
    route = f"{request.method} {request.path}"
    if server.faults.take(FaultKind.protected, route=route):
        return wrong(403, PROTECTED)
    return None


def rows(server: ScenarioEmulator) -> list[Row]:
    face, team = Generation(server), Team(server)
    return [
        ("POST", "/v1/generate/custom/{model}", face.custom),
        ("POST", "/v1/generate/{route}", face.legacy),
        ("GET", "/v1/jobs", face.jobs),
        ("GET", "/v1/jobs/{id}", face.job),
        ("POST", "/v1/jobs/{id}/action", face.action),
        ("GET", "/v1/models", team.models),
        ("GET", "/v1/models/{id}", team.model),
        ("GET", "/v1/teams", team.teams),
        ("GET", "/v1/teams/{id}/limits", team.limits),
        ("GET", "/v1/oscu/prices", team.prices),
    ]


class Generation:
    def __init__(self, server: ScenarioEmulator) -> None:
        self._server = server

    async def custom(self, request: web.Request) -> web.StreamResponse:
        model = self._server.models.get(request.match_info["model"])
        if model is None:
            return wrong(404, f"Model {request.match_info['model']} not found")
        if model.type != "custom":
            return wrong(400, f"Model {model.id} is not a custom model")
        return await self._generate(request, model, "custom-generation")

    async def legacy(self, request: web.Request) -> web.StreamResponse:
        route = LEGACY.get(request.match_info["route"])
        if route is None or not self._server.legacy:
            return web.json_response({"message": "Not Found"}, status=404)
        body = await body_of(request)
        wanted = body.get("modelId")
        if wanted is not None and wanted not in self._server.models:
            return wrong(404, f"Model {wanted} not found")
        action = "remove-background" if route.id == "remove-background" else "inference-images"
        return await self._generate(request, route, action)

    async def _generate(self, request: web.Request, model: Model, action: str) -> web.StreamResponse:
        server, route = self._server, f"{request.method} {request.path}"
        if model.plan > server.plan or server.faults.take(FaultKind.wrong_plan, route=route):
            return wrong(403, "This model is not available in your current plan")
        given = await body_of(request)
        read, complaints = problems(model, given)
        complaints += self._take_files(model, read)
        if complaints:
            return wrong(400, "; ".join(complaints))
        units = model.units(read)
        told: dict[str, Json] = {
            "creativeUnitsCost": units,
            "creativeUnitsDiscount": 0,
            "costDetails": {action: units},
        }
        if request.query.get("dryRun") in ("true", "api"):
            server.counts.dry_runs += 1
            return web.json_response(told, status=DRY_RUN)
        if (refused := self._no_room(route, units)) is not None:
            return refused
        job = server.start(model, given, read, units)
        if (fault := server.faults.take(FaultKind.fail_after_start, route=route)) is not None:
            return web.json_response({"message": fault.body or "Internal server error"}, status=fault.status)
        return web.json_response({"job": job.as_json(), **told})

    def _no_room(self, route: str, units: float) -> web.Response | None:
        """Limits of the team, and what it can pay for."""
        server = self._server
        limit = server.parallel_custom_jobs
        if server.open_jobs >= limit or server.faults.take(FaultKind.too_many_jobs, route=route):
            return wrong(
                429,
                f"You have reached the limit of {limit} parallel jobs",
                actionName="parallelCustomJobs",
                actionLimit=limit,
            )
        if (fault := server.faults.take(FaultKind.cooldown, route=route)) is not None:
            return wrong(429, "Too many requests", remainingSeconds=fault.seconds or 10)
        if units > server.units or server.faults.take(FaultKind.no_units, route=route):
            status, reason = server.exhausted
            return wrong(status, reason)
        return None

    def _take_files(self, model: Model, read: dict[str, Json]) -> list[str]:
        """Data URLs become assets; what is left are asset ids. Says what is wrong."""
        complaints = []
        for told in model.inputs:
            name, value = told["name"], read.get(told["name"])
            if told["type"] != "file" or value is None:
                continue
            asset = self._asset_of(str(value))
            if asset is None:
                complaints.append(f'"{name}" must be an asset id or a data URL of an image')
            elif asset.kind != told.get("kind", "image"):
                complaints.append(f'"{name}" must be of kind {told["kind"]}, not {asset.kind}')
            elif len(asset.data) > told.get("maxSize", len(asset.data)):
                complaints.append(f'"{name}" must have at most {told["maxSize"]} bytes')
            else:
                read[name] = asset.id
        return complaints

    def _asset_of(self, value: str) -> Asset | None:
        if value in self._server.assets:
            return self._server.assets[value]
        match = _DATA_URL.fullmatch(value)
        if match is None:
            return None
        try:
            return self._server.keep(base64.b64decode(match[2], validate=True), match[1], "uploaded")
        except (binascii.Error, drawing.NotAPicture):
            return None

    # Jobs

    async def job(self, request: web.Request) -> web.StreamResponse:
        job = self._find(request)
        if job is None:
            return wrong(404, f"Job {request.match_info['id']} not found")
        return web.json_response({"job": job.as_json()})

    async def jobs(self, request: web.Request) -> web.StreamResponse:
        newest = list(reversed(self._server.jobs.values()))
        if (status := request.query.get("status")) is not None:
            newest = [one for one in newest if one.status == status]
        return paged(request, "jobs", [one.as_json() for one in newest])

    async def action(self, request: web.Request) -> web.StreamResponse:
        job = self._find(request)
        if job is None:
            return wrong(404, f"Job {request.match_info['id']} not found")
        if (await body_of(request)).get("action") != "cancel":
            return wrong(400, "action must be one of cancel")
        if job.ended or not (self._server.cancels or job.model.cancelable):
            return wrong(400, CANNOT_CANCEL)
        self._server.cancel(job)
        return web.json_response({"job": job.as_json()})

    def _find(self, request: web.Request) -> Job | None:
        job = self._server.jobs.get(request.match_info["id"])
        if job is None or self._server.faults.take(FaultKind.forget, job=job.id):
            return None
        return job


class Team:
    """Models, limits and prices of the one team that the key belongs to."""

    def __init__(self, server: ScenarioEmulator) -> None:
        self._server = server
        self._began = iso(server.clock.now())

    async def models(self, request: web.Request) -> web.StreamResponse:
        """All of them are public; the team has no own ones."""
        privacy = request.query.get("privacy", "private")
        found = self._server.models.values() if privacy == "public" else []
        return paged(
            request, "models", [one.as_json(now=self._began, owner=TEAM, full=False) for one in found]
        )

    async def model(self, request: web.Request) -> web.StreamResponse:
        model = self._server.models.get(request.match_info["id"])
        if model is None:
            return wrong(404, f"Model {request.match_info['id']} not found")
        return web.json_response({"model": model.as_json(now=self._began, owner=TEAM, full=True)})

    async def teams(self, request: web.Request) -> web.StreamResponse:
        context = {"invitationsCount": 0, "keysCount": 1, "userRole": "key", "usersCount": 1}
        told = {
            "id": TEAM,
            "name": "genyard (emulated)",
            "type": "shared",
            "projects": [],
            "context": context,
            "plan": "cu-pro",
            "createdAt": self._began,
            "updatedAt": self._began,
        }
        return web.json_response({"teams": [told]})

    async def limits(self, request: web.Request) -> web.StreamResponse:
        if request.match_info["id"] != TEAM:
            return wrong(403, PROTECTED)
        server = self._server
        numbers = {
            "OTPSessions": 1, "apiKeys": 5, "canvasAssetLayers": 10, "canvasAssets": 100, "collections": 100,
            "creativeUnits": server.units + server.counts.units, "defaultSeats": 1, "downloadAssets": 1000,
            "downloadModel": 10, "inferenceBatchSize": 8, "maxCooldown": 60, "maxTrainingDatasets": 1,
            "minCooldown": 1, "models": 100, "parallelCustomJobs": server.parallel_custom_jobs,
            "parallelInferences": server.parallel_custom_jobs, "parallelTraining": 1, "parallelWorkflowRuns": 1,
            "premiumGenerationSamples": 8, "projects": 10, "scalingFactor": 1, "seats": 1,
            "snapshotsRetention": 30, "upload": 1000,
        }  # fmt: skip
        values = {
            "apiKeys": 1, "canvasAssets": 0, "collections": 0, "creativeUnits": server.counts.units,
            "projects": 1, "seats": 1,
        }  # fmt: skip
        now = server.clock.now()
        return web.json_response(
            {
                "limits": numbers,
                "values": values,
                "oneShotCreativeUnits": [],
                "period": {"start": iso(now - 86_400), "end": iso(now + 29 * 86_400)},
                "plan": "cu-pro",
            }
        )

    async def prices(self, request: web.Request) -> web.StreamResponse:
        """The amounts are made up: what a creative unit costs is not confirmed."""
        return web.json_response({"prices": [{"creativeUnits": 5000, "currency": "usd", "unitAmount": 4500}]})


def paged(request: web.Request, name: str, found: list[Json]) -> web.Response:
    """`pageSize` from 1 to 100 (50), `paginationToken` for the next one."""
    try:
        size = int(request.query.get("pageSize", "50"))
        first = int(request.query.get("paginationToken", "0"))
    except ValueError:
        return wrong(400, "pageSize must be a number")
    if not 1 <= size <= 100:
        return wrong(400, "pageSize must be between 1 and 100")
    told: dict[str, Json] = {name: found[first : first + size]}
    if len(found) > first + size:
        told["nextPaginationToken"] = str(first + size)
    return web.json_response(told)


async def body_of(request: web.Request) -> dict[str, Json]:
    try:
        told = await request.json()
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}
