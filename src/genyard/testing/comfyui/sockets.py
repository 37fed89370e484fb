"""The emulator's WebSockets: one per clientId, negotiated preview metadata, no replay.

Frames carry what the executor hands over; when and in which order is the executor's business.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from aiohttp import web

Json = Any

PREVIEW_IMAGE: Final = 1
PREVIEW_IMAGE_WITH_METADATA: Final = 4
JPEG, PNG = 1, 2


@dataclass(kw_only=True)
class Socket:
    response: web.WebSocketResponse
    request: web.Request
    preview_metadata: bool = False

    def abort(self) -> None:
        """The connection breaks, without a closing handshake."""
        if self.request.transport is not None:
            self.request.transport.abort()


@dataclass(kw_only=True)
class Sockets:
    """`send` with a client reaches that client; without one, everybody."""

    connected: dict[str, Socket] = field(default_factory=dict)

    def add(self, client_id: str, socket: Socket) -> None:
        self.connected[client_id] = socket

    def remove(self, client_id: str, socket: Socket) -> None:
        if self.connected.get(client_id) is socket:
            del self.connected[client_id]

    def drop(self) -> None:
        for socket in list(self.connected.values()):
            socket.abort()
        self.connected.clear()

    def takes_metadata(self, client_id: str | None) -> bool:
        socket = self.connected.get(client_id or "")
        return socket is not None and socket.preview_metadata

    async def send(self, event: str, data: Mapping[str, Json], client_id: str | None = None) -> None:
        if not self.connected:
            return
        text = json.dumps({"type": event, "data": data})
        for socket in self._reached(client_id):
            try:
                await socket.response.send_str(text)
            except (ConnectionError, RuntimeError):
                continue

    async def send_bytes(self, frame: bytes, client_id: str | None) -> None:
        for socket in self._reached(client_id):
            try:
                await socket.response.send_bytes(frame)
            except (ConnectionError, RuntimeError):
                continue

    def _reached(self, client_id: str | None) -> list[Socket]:
        if client_id is None:
            return list(self.connected.values())
        socket = self.connected.get(client_id)
        return [socket] if socket is not None else []


def image_frame(image_type: int, data: bytes) -> bytes:
    return struct.pack(">II", PREVIEW_IMAGE, image_type) + data


def image_frame_with_metadata(metadata: Mapping[str, Json], data: bytes) -> bytes:
    head = json.dumps(metadata).encode()
    return struct.pack(">II", PREVIEW_IMAGE_WITH_METADATA, len(head)) + head + data
