"""Webhooks of the emulated Replicate: signed, sent again when nobody answers, never along a redirect."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import uuid
from typing import TYPE_CHECKING, Any, Final

import aiohttp

from genyard.testing.replicate.faults import FaultKind
from genyard.testing.replicate.predictions import Prediction

if TYPE_CHECKING:
    from genyard.testing.replicate.server import ReplicateEmulator

Json = Any

#: How often one is sent at most. The real number ("a few times") and its pauses are not documented.
ATTEMPTS: Final = 3
OLD: Final = 600.0


def sign(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """`v1,<base64>` by the secret behind `whsec_`."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    told = f"{message_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, told, hashlib.sha256).digest()).decode()


class Webhooks:
    def __init__(self, server: ReplicateEmulator) -> None:
        self._server = server

    def tell(self, prediction: Prediction, event: str) -> None:
        """Sends by itself; the body is the prediction as it is now."""
        if prediction.webhook is None or event not in prediction.events:
            return
        facts = {"prediction": prediction.id}
        if self._server.faults.take(FaultKind.no_webhook, **facts):
            return
        body = json.dumps(prediction.as_json(self._server.url)).encode()
        times = 2 if self._server.faults.take(FaultKind.second_webhook, **facts) else 1
        headers = self._headers(prediction, body)
        for _ in range(times):
            self._server.later(self._send(prediction.webhook, headers, body))

    def _headers(self, prediction: Prediction, body: bytes) -> dict[str, str]:
        facts = {"prediction": prediction.id}
        message_id = f"msg_{uuid.uuid4().hex}"
        now = int(self._server.clock.now())
        if self._server.faults.take(FaultKind.old_timestamp, **facts):
            now -= int(OLD)
        secret = self._server.webhook_secret
        if self._server.faults.take(FaultKind.wrong_signature, **facts):
            secret = "whsec_" + base64.b64encode(b"somebody else's secret!!").decode()
        return {
            "Content-Type": "application/json",
            "webhook-id": message_id,
            "webhook-timestamp": str(now),
            "webhook-signature": sign(secret, message_id, now, body),
        }

    async def _send(self, url: str, headers: dict[str, str], body: bytes) -> None:
        for attempt in range(ATTEMPTS):
            try:
                async with (
                    aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session,
                    session.post(url, data=body, headers=headers, allow_redirects=False) as answer,
                ):
                    self._server.counts.webhooks.append((url, answer.status))
                    if answer.status < 500:
                        break
            except (aiohttp.ClientError, TimeoutError, OSError):
                self._server.counts.webhooks.append((url, 0))
            if attempt + 1 < ATTEMPTS:
                await self._server.clock.sleep(self._server.webhook_pause)
        self._server.changes.notify()
