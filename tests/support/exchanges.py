"""Recorded exchanges of an official client, sent again to an emulator: do the answers keep their shape?

What a recording names (ids, links, signatures) is replaced by what the emulator called it this time.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from genyard.testing.service import Service

Json = Any

ROOT = Path(__file__).parent.parent / "contracts" / "recordings"

#: Shorter words are the same in every run.
NAME_LENGTH = 8


def recordings(folder: str) -> list[str]:
    return sorted(path.stem for path in (ROOT / folder).glob("*.json"))


def recorded(folder: str, name: str) -> Json:
    return json.loads((ROOT / folder / f"{name}.json").read_text())


def shape(value: Json) -> Json:
    """Keys and types; a list is as its first item."""
    if isinstance(value, dict):
        return {key: shape(one) for key, one in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return (
        "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__
    )


@dataclass(kw_only=True)
class Replay:
    """`settle(body)` waits until the emulator is as far as the recorded answer to a read was."""

    server: Service[Any]
    session: aiohttp.ClientSession
    authorization: str
    settle: Callable[[Json], Awaitable[None]]
    names: dict[str, str] = field(default_factory=dict)

    async def play(self, recording: Json) -> None:
        """Fails where an answer differs from the recorded one."""
        for fault in recording.get("faults", []):
            self.server.faults.add(**fault)
        for exchange in recording["exchanges"]:
            wanted, request = exchange["response"], exchange["request"]
            if request["method"] == "GET" and "json" in wanted:
                await self.settle(self._renamed(wanted["json"]))
            status, media_type, body = await self._send(request, wrong_key="wrong_key" in recording)
            told = f"{recording['call']}: {request['method']} {request['path']}"
            assert status == wanted["status"], told
            assert media_type == wanted["headers"].get("content-type", media_type).partition(";")[0], told
            if "json" in wanted:
                assert shape(body) == shape(wanted["json"]), told
                self._learn(wanted["json"], body)

    async def _send(self, request: Mapping[str, Json], *, wrong_key: bool) -> tuple[int, str, Json]:
        headers = {
            name: value
            for name, value in request["headers"].items()
            if name not in ("authorization", "content-type", "user-agent")
        }
        if "authorization" in request["headers"] and "url" not in request:
            headers["Authorization"] = "Bearer nobody" if wrong_key else self.authorization
        options: dict[str, Any] = {}
        if "json" in request:
            options["json"] = {
                key: self._renamed(value) for key, value in request["json"].items() if key != "webhook"
            }
        elif "form" in request:
            options["data"] = _form(request["form"])
        elif "base64" in request:
            options["data"] = base64.b64decode(request["base64"])
        url = (
            self._renamed(request["url"])
            if "url" in request
            else self.server.url + self._renamed(request["path"])
        )
        async with self.session.request(request["method"], url, headers=headers, **options) as answer:
            sent = await answer.read()
            body = json.loads(sent) if "json" in answer.content_type else None
            return answer.status, answer.content_type, body

    def _renamed(self, value: Json) -> Json:
        if isinstance(value, dict):
            return {key: self._renamed(one) for key, one in value.items()}
        if isinstance(value, list):
            return [self._renamed(one) for one in value]
        if isinstance(value, str):
            for old in sorted(self.names, key=len, reverse=True):
                value = value.replace(old, self.names[old])
        return value

    def _learn(self, old: Json, new: Json) -> None:
        if isinstance(old, dict):
            for key, value in old.items():
                self._learn(value, new[key])
        elif isinstance(old, list):
            for before, after in zip(old, new, strict=False):
                self._learn(before, after)
        elif isinstance(old, str) and old != new and len(old) >= NAME_LENGTH:
            self.names[old] = new


def _form(parts: list[Json]) -> aiohttp.FormData:
    form = aiohttp.FormData(default_to_multipart=True)
    for part in parts:
        data = base64.b64decode(part["base64"])
        form.add_field(
            part["name"],
            data if part["filename"] else data.decode(),
            filename=part["filename"],
            content_type=part["content_type"],
        )
    return form
