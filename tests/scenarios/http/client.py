"""What the tests of this folder share: a client that reads whole answers, small pictures, small jobs."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

import aiohttp
from PIL import Image

from genyard.app import Product
from genyard.frontends.http import create_http_app, serve_http
from genyard.providers import Snapshot, State
from support.scripted import ScriptedProvider

Json = Any

#: The largest file that the server of this folder takes.
MAX_UPLOAD = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A response, read to its end."""

    status: int
    headers: Any
    body: bytes

    @property
    def json(self) -> Json:
        return json.loads(self.body)

    @property
    def error(self) -> Json:
        return self.json["error"]


@dataclass(frozen=True, kw_only=True)
class Client:
    """Speaks to one server; `headers` go with every request (a key, for example)."""

    base: str
    session: aiohttp.ClientSession
    headers: dict[str, str] = field(default_factory=dict)

    async def call(
        self, method: str, path: str, *, headers: dict[str, str] | None = None, **more: Any
    ) -> Answer:
        together = {**self.headers, **(headers or {})}
        async with self.session.request(method, self.base + path, headers=together, **more) as response:
            return Answer(status=response.status, headers=response.headers, body=await response.read())

    async def get(self, path: str, **more: Any) -> Answer:
        return await self.call("GET", path, **more)

    async def post(self, path: str, **more: Any) -> Answer:
        return await self.call("POST", path, **more)

    async def delete(self, path: str, **more: Any) -> Answer:
        return await self.call("DELETE", path, **more)

    async def made(self, **job: Any) -> Json:
        """A job that has succeeded."""
        answer = await self.post("/v1/jobs?wait=30", json=job or small())
        assert answer.status == 201, answer.body
        assert answer.json["state"] == "succeeded", answer.json
        return answer.json

    async def upload(self, *files: bytes, **tags: str) -> Answer:
        form = aiohttp.FormData()
        for number, data in enumerate(files):
            form.add_field("file", BytesIO(data), filename=f"picture-{number}.png")
        for tag in tags.values():
            form.add_field("tags", tag)
        return await self.post("/v1/assets", data=form)

    async def uploaded(self, data: bytes) -> Json:
        answer = await self.upload(data)
        assert answer.status == 201, answer.body
        return answer.json["assets"][0]

    async def events(self, job_id: str, query: str = "", **headers: str) -> list[Event]:
        """Every event of a stream that ends by itself."""
        answer = await self.get(f"/v1/jobs/{job_id}/events{query}", headers=headers)
        assert answer.status == 200, answer.body
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        return [parsed for block in answer.body.decode().split("\n\n") if (parsed := Event.parse(block))]

    async def events_until(self, job_id: str, kind: str, query: str = "") -> list[str]:
        """The kinds of a running job's events, up to the first one of `kind`."""
        address = f"{self.base}/v1/jobs/{job_id}/events{query}"
        kinds: list[str] = []
        async with asyncio.timeout(10), self.session.get(address, headers=self.headers) as response:
            while kind not in kinds:
                line = (await response.content.readline()).decode()
                if line.startswith("event: "):
                    kinds.append(line.removeprefix("event: ").strip())
        return kinds


@dataclass(frozen=True, kw_only=True)
class Event:
    kind: str
    id: int | None
    data: Json

    @classmethod
    def parse(cls, block: str) -> Event | None:
        """None for a comment."""
        lines = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if not lines:
            return None
        number = int(lines["id"]) if "id" in lines else None
        return cls(kind=lines["event"], id=number, data=json.loads(lines["data"]))


KeyMaker = Callable[[str], Awaitable[Client]]


@contextlib.asynccontextmanager
async def serving(product: Product, **server: Any) -> AsyncIterator[str]:
    """A server on a port of its own for as long as the block lasts; gives its address."""
    app = create_http_app(
        studio=product.studio,
        owners=product.owners,
        server=product.settings.server.model_copy(update=server),
        limits=product.settings.limits,
    )
    up: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(serve_http(app, "127.0.0.1", 0, up.set_result, handle_signals=False))
    await asyncio.wait({task, up}, return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        task.result()
    try:
        yield up.result()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def climbing(preview: bytes | None = None) -> Callable[[ScriptedProvider], Awaitable[Snapshot]]:
    """A run that goes on and tells so, a little further with every look, until it is canceled."""
    looks = itertools.count(1)

    async def say(place: ScriptedProvider) -> Snapshot:
        await asyncio.sleep(0.05)
        done = 0.9 - 0.5 / next(looks)
        going = Snapshot(state=State.running, progress=done, detail="half", preview=preview)
        return Snapshot(state=State.canceled) if place.canceled else going

    return say


def small(prompt: str = "a red potion", **parameters: Any) -> Json:
    """The body of a quick job."""
    return {
        "operation": "txt2img",
        "parameters": {"prompt": prompt, "width": 64, "height": 64, **parameters},
    }


def picture(width: int = 96, height: int = 64, kind: str = "PNG", **save: Any) -> bytes:
    """An image file: a square of another colour off the centre, so that turning it can be seen."""
    image = Image.new("RGB", (width, height), (30, 90, 160))
    image.paste((240, 200, 40), (4, 4, width // 2, height // 2))
    target = BytesIO()
    image.save(target, kind, **save)
    return target.getvalue()
