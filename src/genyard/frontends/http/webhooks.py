"""Routes of callbacks: what was told to receivers, telling it again, the secret by which they know that it is us."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from genyard.frontends.http.bodies import SecretBody
from genyard.frontends.http.caller import KEYS, WithCaller
from genyard.frontends.http.views import DeliveryListView, DeliveryView, SecretView, answers
from genyard.jobs.callbacks.deliveries import DeliveryState

router = APIRouter(prefix="/v1/webhooks", tags=["webhooks"], dependencies=KEYS)


@router.get("/deliveries", operation_id="list_deliveries", responses=answers())
async def list_deliveries(
    caller: WithCaller,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    before: Annotated[UUID | None, Query(description="`next` of the page before.")] = None,
    state: Annotated[
        DeliveryState | None, Query(description="`dead`: given up after a day, or refused for good.")
    ] = None,
    job_id: UUID | None = None,
) -> DeliveryListView:
    """What was told to your webhooks, the newest first."""
    found = await caller.studio.webhooks.deliveries(
        owner_id=caller.owner_id, limit=limit + 1, before=before, state=state, job_id=job_id
    )
    shown = found[:limit]
    return DeliveryListView(
        deliveries=[DeliveryView.model_validate(one.as_json()) for one in shown],
        next=shown[-1].id if len(found) > limit else None,
    )


@router.post("/deliveries/{delivery_id}/resend", operation_id="resend_delivery", responses=answers(404))
async def resend_delivery(delivery_id: UUID, caller: WithCaller) -> DeliveryView:
    """Send a message again, now, under the same id."""
    again = await caller.studio.webhooks.resend(delivery_id, owner_id=caller.owner_id)
    return DeliveryView.model_validate(again.as_json())


@router.post("/secret", operation_id="show_webhook_secret", responses=answers(409))
async def show_webhook_secret(caller: WithCaller, body: SecretBody | None = None) -> SecretView:
    """Your secret, this once; or a new one."""
    body = body or SecretBody()
    webhooks = caller.studio.webhooks
    if body.rotate:
        told = await webhooks.rotate_secret(owner_id=caller.owner_id, overlap=body.overlap)
    else:
        told = await webhooks.secret(owner_id=caller.owner_id)
    return SecretView(secret=told)
