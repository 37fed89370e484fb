"""Callbacks from the owners' side: whom a request may name, what was delivered, what is sent again, the secret."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, get_args
from uuid import UUID

from genyard.errors import Code, GenyardError
from genyard.jobs.callbacks.deliveries import Deliveries, Delivery, DeliveryState
from genyard.jobs.callbacks.signing import write_secret
from genyard.owners import LOCAL_OWNER
from genyard.studio.request import Webhook, require_filters

if TYPE_CHECKING:
    from genyard.outbound import Outbound

OVERLAP_SECONDS: Final = 86_400.0
_LONGEST_OVERLAP: Final = 30 * 86_400.0


class Webhooks:
    def __init__(self, *, deliveries: Deliveries, outbound: Callable[[], Outbound]) -> None:
        self._deliveries = deliveries
        self._outbound = outbound

    async def accept(self, webhook: Webhook | None) -> Mapping[str, Any] | None:
        """What the job stores. `request.invalid` for an address to which nothing would be sent."""
        if webhook is None:
            return None
        try:
            host = await self._outbound().require_receiver(webhook.url)
        except GenyardError as wrong:
            raise GenyardError(wrong.code, wrong.message, field="webhook_url") from None
        return {
            "url": webhook.url,
            "host": host,
            "events": list(webhook.events),
            "prompts": webhook.prompts,
        }

    async def deliveries(
        self, *, owner_id: UUID = LOCAL_OWNER, limit: int = 20, **filters: Any
    ) -> Sequence[Delivery]:
        """Newest first. Filters: before, state, job_id."""
        require_filters(limit, filters)
        states = get_args(DeliveryState)
        if filters.get("state") not in (None, *states):
            raise GenyardError(Code.request_invalid, f"state is one of {', '.join(states)}", field="state")
        return await self._deliveries.search(owner_id, limit=limit, **filters)

    async def resend(self, delivery_id: UUID, *, owner_id: UUID = LOCAL_OWNER) -> Delivery:
        """Now, and for another day where it fails; under the same id."""
        return await self._deliveries.resend(delivery_id, owner_id)

    async def secret(self, *, owner_id: UUID = LOCAL_OWNER) -> str:
        """By which receivers know messages of this owner. Shown once: after that it is `request.conflict`."""
        shown = await self._deliveries.show_secret(owner_id)
        if shown is None:
            raise GenyardError(
                Code.request_conflict, "the secret has been shown; who has lost it takes a new one (rotate)"
            )
        return write_secret(shown)

    async def rotate_secret(self, *, owner_id: UUID = LOCAL_OWNER, overlap: float = OVERLAP_SECONDS) -> str:
        """A new one. Messages carry signatures of both for `overlap` seconds, so that receivers can change over."""
        if not 0 <= overlap <= _LONGEST_OVERLAP:
            raise GenyardError(Code.request_invalid, "overlap is 0 seconds to 30 days", field="overlap")
        return write_secret(await self._deliveries.rotate_secret(owner_id, overlap))
