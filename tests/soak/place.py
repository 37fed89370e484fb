"""`python -m soak.place runpod`: an emulated place as a process that also keeps the books of what it was asked.

Prints one line of JSON: its address and the environment that leads to it. Beside the emulator's own routes:

    GET  /_emulator/submissions   every run that was taken in: id, our key and the prompt where the place was told them,
                                  how often it was begun, and digests of the pictures that it made
    POST /_emulator/cut?seconds=  the network is cut for so long
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from aiohttp import web

from genyard.testing.comfyui import ComfyUIEmulator
from genyard.testing.replicate import ReplicateEmulator
from genyard.testing.runpod import RunPodEmulator, Setup
from genyard.testing.scenario import ScenarioEmulator
from genyard.testing.service import Row, Service
from soak.pictures import digest_of

Json = Any
_KEY = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_LINK = re.compile(r"/files/([^?]+)\?")

PUBLIC = "black-forest-labs-flux-1-schnell"
#: More than the clouds give, so that a soak takes minutes.
RUNPOD: Mapping[str, Setup] = {
    "emu-flux": Setup(kind="flux", workers_max=12, work=0.1),
    "emu-links": Setup(kind="sdxl", workers_max=12, shape="image_url", delivery="url", work=0.05),
    "emu-background": Setup(kind="background", shape="image", workers_max=12, work=0.05),
    "emu-worker": Setup(kind="comfyui", workers_max=6),
    PUBLIC: Setup(kind="public", delivery="url", workers_max=6, work=0.05),
}


@dataclass(frozen=True, kw_only=True)
class Submission:
    """One run that a place took in. `key`, `prompt`: None where the place is not told. `forgot`: how often it did not
    know of it any more, or said so."""

    id: str
    key: str | None
    prompt: str | None
    runs: int
    pictures: Sequence[str]
    forgot: int = 0


def own_rows(server: Service[Any], submissions: Callable[[], Iterable[Submission]]) -> list[Row]:
    async def tell(_request: web.Request) -> web.Response:
        told = await asyncio.to_thread(lambda: [asdict(one) for one in submissions()])
        return web.json_response(told)

    async def cut(request: web.Request) -> web.Response:
        server.later(_cut(server, float(request.query["seconds"])))
        return web.Response()

    return [("GET", "/_emulator/submissions", tell), ("POST", "/_emulator/cut", cut)]


async def _cut(server: Service[Any], seconds: float) -> None:
    await server.stop_listening()
    await asyncio.sleep(seconds)
    await server.listen()


class ComfyUI(ComfyUIEmulator):
    def own_rows(self) -> Sequence[Row]:
        return [*super().own_rows(), *own_rows(self, self.submissions)]

    def submissions(self) -> Iterator[Submission]:
        """A prompt's id is our key, and its files lie in a folder of that name: both outlive a restart."""
        made: dict[str, list[str]] = {}
        for path in self.files.folder("output").rglob("*.png"):
            if match := _KEY.search(str(path)):
                made.setdefault(match[0], []).append(digest_of(path.read_bytes()))
        for key, runs in self.counts.runs.items():
            yield Submission(
                id=key,
                key=key,
                prompt=None,
                runs=runs,
                pictures=made.get(key, []),
                forgot=self.counts.forgot[key],
            )


class RunPod(RunPodEmulator):
    """Cancels and forgotten jobs are taken out of its own list: here they stay."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._all: dict[str, Any] = {}
        for endpoint in self.endpoints.values():
            endpoint.jobs = _Remembering(self._all)

    def own_rows(self) -> Sequence[Row]:
        return [*super().own_rows(), *own_rows(self, self.submissions)]

    def submissions(self) -> Iterator[Submission]:
        for job in self._all.values():
            given = json.dumps(job.input)
            key = _KEY.search(f"{job.webhook or ''} {given if 'workflow' in job.input else ''}")
            prompt = job.input.get("prompt") if "workflow" not in job.input else None
            yield Submission(
                id=job.id,
                key=key[0] if key else None,
                prompt=prompt,
                runs=self.counts.runs[job.id],
                pictures=[digest_of(data) for data in self._files(job.output)],
            )

    def _files(self, told: Json) -> Iterator[bytes]:
        """Whatever in an answer is a file: base64, a data URI, a link."""
        if isinstance(told, Mapping):
            for value in told.values():
                yield from self._files(value)
        elif isinstance(told, list):
            for value in told:
                yield from self._files(value)
        elif isinstance(told, str) and (link := _LINK.search(told)):
            if link[1] in self.bucket.files:
                yield self.bucket.files[link[1]].data
        elif isinstance(told, str) and len(told) > 200:
            with contextlib.suppress(binascii.Error):  # a long word of the vendor's is no file
                yield base64.b64decode(told.rpartition(",")[2], validate=True)


class _Remembering(dict[str, Any]):
    def __init__(self, everything: dict[str, Any]) -> None:
        super().__init__()
        self._everything = everything

    def __setitem__(self, key: str, value: Any) -> None:
        self._everything[key] = value
        super().__setitem__(key, value)


class Scenario(ScenarioEmulator):
    def own_rows(self) -> Sequence[Row]:
        return [*super().own_rows(), *own_rows(self, self.submissions)]

    def submissions(self) -> Iterator[Submission]:
        for job in self.jobs.values():
            yield Submission(
                id=job.id,
                key=None,
                prompt=job.given.get("prompt"),
                runs=self.counts.runs[job.id],
                pictures=[digest_of(self.assets[name].data) for name in job.assets],
            )


class Replicate(ReplicateEmulator):
    def own_rows(self) -> Sequence[Row]:
        return [*super().own_rows(), *own_rows(self, self.submissions)]

    def submissions(self) -> Iterator[Submission]:
        for one in self.predictions.values():
            key = _KEY.search(one.webhook or "")
            yield Submission(
                id=one.id,
                key=key[0] if key else None,
                prompt=one.given.get("prompt"),
                runs=self.counts.runs[one.id],
                pictures=[digest_of(self.outputs[name][1]) for name in one.files if name in self.outputs],
            )


def emulator(kind: str, root: Path) -> tuple[Service[Any], Callable[[], Mapping[str, str]]]:
    """The emulator, and the environment that leads to it once it listens."""
    if kind in ("comfyui", "comfyui-old"):
        version: Any = "0.33.0" if kind == "comfyui" else "0.3.64"
        comfyui = ComfyUI(version=version, root=root / kind)
        return comfyui, dict
    if kind == "runpod":
        roomy = dict.fromkeys(("run", "status", "cancel", "requests", "health"), 1_000_000)
        runpod = RunPod(endpoints=RUNPOD, limits=roomy, webhook_gap=0.5)
        return runpod, lambda: {"RUNPOD_API_KEY": runpod.key, "RUNPOD_BASE_URL": f"{runpod.url}/v2"}
    if kind == "scenario":
        scenario = Scenario(parallel_custom_jobs=40, run_seconds=0.1)
        return scenario, lambda: {
            "SCENARIO_API_KEY": scenario.key,
            "SCENARIO_SECRET_API_KEY": scenario.secret,
            "SCENARIO_BASE_URL": scenario.base_url,
        }
    replicate = Replicate(run_seconds=0.1, creates_per_minute=100_000, reads_per_minute=1_000_000)
    return replicate, lambda: {
        "REPLICATE_API_TOKEN": replicate.key,
        "REPLICATE_BASE_URL": replicate.base_url,
    }


async def main(kind: str, root: Path) -> None:
    server, environment = emulator(kind, root)
    async with server:
        sys.stdout.write(json.dumps({"url": server.url, "environment": environment()}) + "\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.read)  # until whoever started it is gone


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
