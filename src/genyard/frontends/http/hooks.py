"""Where places say that something happened to a submission. The path is the secret; the truth is read elsewhere."""

from __future__ import annotations

from uuid import UUID

from fastapi import APIRouter, Request

from genyard.frontends.http.caller import WithParts
from genyard.frontends.http.views import answers

router = APIRouter(tags=["places"])


@router.post(
    "/hooks/{endpoint}/{attempt_id}/{token}",
    operation_id="receive_hook",
    responses=answers(403, 404, 413),
)
async def receive_hook(
    endpoint: str, attempt_id: UUID, token: str, request: Request, parts: WithParts
) -> dict[str, bool]:
    """For RunPod and Replicate: they call it when a submission changes. It only makes genyard look sooner.

    (RunPod calls again where it is not answered with 200.)"""
    headers = {name.lower(): value for name, value in request.headers.items()}
    parts.studio.require_hook(endpoint, attempt_id, token)
    await parts.studio.hook(endpoint, attempt_id, token, headers, await request.body())
    return {"heard": True}
