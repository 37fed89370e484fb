"""ComfyUI's HTTP routes, typed: one method per call. What the answers mean is decided elsewhere.

Everything raises `_http.FAILURES`; an answer of the wrong shape is `NotJson`, too.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import aiohttp
from yarl import URL

from genyard.providers import Media
from genyard.providers._http import BODY_HEAD, BadStatus, Http, NotJson, SizedPayload

Json = Any


@dataclass(frozen=True, kw_only=True)
class Pending:
    """The server's queue at one moment. `waiting`: prompt id → place, 1 is next; `extra` is the extra_data of all,
    where it was asked for.

    The graphs of all who wait would be megabytes: they are not kept.
    """

    running: frozenset[str] = frozenset()
    waiting: Mapping[str, int] = field(default_factory=dict)
    extra: Mapping[str, Json] = field(default_factory=dict)

    def __contains__(self, prompt_id: str) -> bool:
        return prompt_id in self.running or prompt_id in self.waiting


class Wire:
    """`has_jobs` becomes False when the server turns out to be too old for /api/jobs."""

    def __init__(self, http: Http) -> None:
        self.http = http
        self._base = http.place.base
        self._jobs = "jobs" if self._base.path.endswith("/api") else "api/jobs"
        self.has_jobs = True

    def _at(self, path: str, **query: str) -> URL:
        """A route; what the URL carries as a query (a proxy's token) goes with every call."""
        url = self._base.joinpath(path)
        return url.with_query({**self._base.query, **query}) if query or self._base.query else url

    def socket_url(self, client_id: str) -> URL:
        url = self._at("ws", clientId=client_id)
        return url.with_scheme("wss" if url.scheme == "https" else "ws")

    async def prompt(self, body: Mapping[str, Json]) -> dict[str, Json]:
        answer = await self.http.post(self._at("prompt"), json=body)
        return _dict(answer, "prompt_id")

    async def remaining(self) -> int:
        answer = _dict(await self.http.get(self._at("prompt")), "exec_info")
        return int(answer["exec_info"]["queue_remaining"])

    async def queue(self) -> Pending:
        answer = _dict(await self.http.get(self._at("queue")), "queue_running", "queue_pending")
        try:
            running, waiting = answer["queue_running"], answer["queue_pending"]
            return Pending(
                running=frozenset(row[1] for row in running),
                waiting=_places((row[0], row[1]) for row in waiting),
                extra={row[1]: row[3] for row in (*running, *waiting)},
            )
        except (TypeError, LookupError):
            raise NotJson(str(answer), "application/json") from None

    async def line(self) -> Pending:
        """The same moment as `queue` tells, without `extra`. Read from /api/jobs, which leaves the graphs out,
        where that can be trusted: it fails as a whole when somebody's prompt carries an odd `extra_pnginfo`."""
        if self.has_jobs:
            try:
                return _line(await self.http.get(self._at(self._jobs, status="pending,in_progress")))
            except BadStatus as refused:
                self.has_jobs = refused.status not in (404, 405)
            except NotJson:
                pass
        return replace(await self.queue(), extra={})

    async def history(self, prompt_id: str) -> dict[str, Json] | None:
        answer = _dict(await self.http.get(self._at(f"history/{prompt_id}")))
        entry = answer.get(prompt_id)
        if entry is not None and not isinstance(entry, dict):
            raise NotJson(str(entry), "application/json")
        return entry

    async def job(self, prompt_id: str) -> dict[str, Json] | None:
        """From /api/jobs; None when it is not known, or when the server has no such route."""
        try:
            return _dict(await self.http.get(self._at(f"{self._jobs}/{prompt_id}")), "status")
        except BadStatus as refused:
            self._judge(refused)
            return None

    async def cancel_job(self, prompt_id: str) -> bool | None:
        """Whether something was canceled; None when the server has no such route."""
        try:
            answer = await self.http.post(self._at(f"{self._jobs}/{prompt_id}/cancel"))
        except BadStatus as refused:
            self._judge(refused)
            return None
        return bool(_dict(answer, "cancelled")["cancelled"])

    def _judge(self, refused: BadStatus) -> None:
        """404 with JSON: the job is not known. 404 or 405 without: the route is not."""
        if refused.status not in (404, 405):
            raise refused
        if refused.json is None:
            self.has_jobs = False

    async def delete_pending(self, prompt_id: str) -> None:
        await self.http.post(self._at("queue"), json={"delete": [prompt_id]})

    async def interrupt(self, prompt_id: str) -> None:
        """Always with the id: without one it would hit whatever runs."""
        await self.http.post(self._at("interrupt"), json={"prompt_id": prompt_id})

    async def free(self) -> None:
        await self.http.post(self._at("free"), json={"unload_models": True, "free_memory": True})

    async def upload(self, media: Media, *, subfolder: str, filename: str) -> str:
        """The name under which a loader node finds it."""
        form = aiohttp.FormData()
        form.add_field("image", SizedPayload(media), filename=filename, content_type=media.media_type)
        form.add_field("subfolder", subfolder)
        form.add_field("type", "input")
        answer = _dict(await self.http.post(self._at("upload/image"), data=form), "name")
        folder = answer.get("subfolder") or ""
        return f"{folder}/{answer['name']}" if folder else str(answer["name"])

    async def view(self, where: Mapping[str, Json]) -> AsyncIterator[bytes]:
        query = {name: str(where[name]) for name in ("filename", "subfolder", "type")}
        async with self.http.stream(self._at("view", **query)) as answer:
            if answer.content_type == "text/html":
                raise NotJson((await answer.content.read(2_000)).decode("utf-8", "replace"), "text/html")
            async for piece in answer.content.iter_chunked(256 * 1024):
                yield piece

    async def system_stats(self) -> dict[str, Json]:
        return _dict(await self.http.get(self._at("system_stats")), "system")

    async def object_info(self) -> dict[str, Json]:
        return _dict(await self.http.get(self._at("object_info")))


def _dict(answer: Json, *keys: str) -> dict[str, Json]:
    if not isinstance(answer, dict) or any(key not in answer for key in keys):
        raise NotJson(str(answer), "application/json")
    return answer


def _places(waiting: Iterable[tuple[float, str]]) -> dict[str, int]:
    """From (number, prompt id): the server's own order, a heap of tuples that begin with these two."""
    return {prompt_id: place for place, (_, prompt_id) in enumerate(sorted(waiting), 1)}


def _line(answer: Json) -> Pending:
    """From a list of jobs, if it is all of them."""
    told = _dict(answer, "jobs", "pagination")
    try:
        if told["pagination"]["has_more"] is not False:
            raise ValueError("a page of several")
        return Pending(
            running=frozenset(job["id"] for job in told["jobs"] if job["status"] == "in_progress"),
            waiting=_places(
                (job["priority"], job["id"]) for job in told["jobs"] if job["status"] == "pending"
            ),
        )
    except (TypeError, LookupError, ValueError):
        raise NotJson(str(answer)[:BODY_HEAD], "application/json") from None


class SharedQueue:
    """One reading of the queue serves everybody who does not need a newer one."""

    def __init__(self, wire: Wire, clock: Callable[[], float]) -> None:
        self._wire, self._clock = wire, clock
        self._reading: asyncio.Task[Pending] | None = None
        self._began = float("-inf")

    async def read(self, not_before: float) -> Pending:
        """A reading that began at `not_before` or later. Whoever finds an older one under way waits for it, so
        that all of them start one new reading, not one each."""
        while True:
            reading = self._reading
            if reading is not None and not reading.done() and self._began < not_before:
                await asyncio.wait({reading})
                continue
            if reading is None or self._began < not_before or _failed(reading):
                self._began = self._clock()
                reading = self._reading = asyncio.ensure_future(self._wire.line())
            return await asyncio.shield(reading)

    def close(self) -> None:
        if self._reading is not None:
            self._reading.cancel()


def _failed(reading: asyncio.Task[Pending]) -> bool:
    return reading.done() and (reading.cancelled() or reading.exception() is not None)
