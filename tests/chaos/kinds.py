"""The kinds of places: how an emulator of each is started and reached, and what is expected of it as a kind."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from aiohttp import web

from genyard.testing.comfyui import ComfyUIEmulator
from genyard.testing.replicate import ReplicateEmulator
from genyard.testing.runpod import RunPodEmulator
from genyard.testing.scenario import ScenarioEmulator

_POLL: Final = "timeouts = { poll = 0.06 }\ndaily_cap_usd = 100000"
#: Seconds that a run takes: long enough to be met, short enough for a thousand of them.
_RUN: Final = 0.15


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What differs between them.

    paid     the request that starts a run; `route` is what it begins with, for faults
    first    the step of the first stage, `second` that of the second; `film` makes a video
    finds    the place can be asked for a submission
    forgets  its queue and history are gone after a restart
    stops    a run can be canceled there
    """

    name: str
    start: Callable[[], Any] | None
    toml: Callable[[Any], str]
    paid: str = ""
    route: str = ""
    first: Mapping[str, Any]
    second: Mapping[str, Any]
    film: Mapping[str, Any] | None = None
    finds: bool = False
    forgets: bool = False
    stops: bool = True
    previews: bool = False


class Held:
    """An answer that is ready and does not leave: the request was carried out, and nobody knows."""

    def __init__(self, paid: str) -> None:
        self._paid = re.compile(paid) if paid else None
        self.armed = False
        self.arrived = asyncio.Event()
        self._released = asyncio.Event()

    def arm(self) -> None:
        self.armed = True
        self.arrived.clear()
        self._released = asyncio.Event()

    def release(self) -> None:
        self.armed = False
        self._released.set()

    def around(self, emulator: Any) -> None:
        """Before it is started."""
        if self._paid is None:
            return
        inner = emulator._guard

        def guard() -> Any:
            passed = inner()

            @web.middleware
            async def hold(request: web.Request, handler: Any) -> web.StreamResponse:
                response: web.StreamResponse = await passed(request, handler)
                assert self._paid is not None
                if self.armed and self._paid.fullmatch(f"{request.method} {request.path}"):
                    self.armed = False
                    self.arrived.set()
                    await self._released.wait()
                return response

            return hold

        emulator._guard = guard


def _step(name: str, operation: str, model: str | None = None, **parameters: Any) -> dict[str, Any]:
    given = {"prompt": "a red dragon", **parameters} if operation in ("txt2img", "img2img") else parameters
    inputs = {"image": "step:draw"} if name == "cut" else {}
    step = {"name": name, "operation": operation, "parameters": given, "inputs": inputs}
    return {**step, "model": model} if model else step


#: A few frames of one colour, as an MP4.
_FILM: Final = {
    "frames": {
        "class_type": "EmptyImage",
        "inputs": {"width": 64, "height": 64, "batch_size": 8, "color": 255},
    },
    "film": {"class_type": "CreateVideo", "inputs": {"images": ["frames", 0], "fps": 8.0}},
    "save": {
        "class_type": "SaveVideo",
        "inputs": {"video": ["film", 0], "filename_prefix": "film", "format": "mp4", "codec": "h264"},
    },
}


def _comfyui(version: str) -> Kind:
    def toml(place: Any) -> str:
        return "\n".join(
            f'[endpoints.{name}]\nkind = "comfyui"\nurl = "{place.url}"\n{_POLL}'
            for name in ("first", "second")
        )

    return Kind(
        name=f"comfyui {version}",
        start=lambda: ComfyUIEmulator(version=version, step_seconds=_RUN / 2),  # type: ignore[arg-type]
        toml=toml,
        paid=r"POST (/api)?/prompt",
        route="POST /prompt",
        first=_step("draw", "txt2img", "sdxl", width=64, height=64, steps=2),
        second=_step("cut", "remove_background"),
        film=_step("draw", "run_workflow", workflow=_FILM),
        finds=True,
        forgets=True,
        previews=version != "0.3.64",  # which shows them by its command line alone
    )


def _runpod_endpoint(name: str, endpoint_id: str, place: Any, *more: str) -> str:
    return "\n".join(
        (
            f"[endpoints.{name}]",
            f'kind = "runpod"\nendpoint_id = "{endpoint_id}"\nurl = "{place.url}/v2"\napi_key = "{place.key}"',
            f"usd_per_second = 0.001\n{_POLL}",
            *more,
        )
    )


def _runpod(name: str, first: tuple[str, ...], second: tuple[str, ...], steps: Any) -> Kind:
    return Kind(
        name=name,
        start=lambda: RunPodEmulator(comfyui={"step_seconds": _RUN / 2}),
        toml=lambda place: "\n".join(
            _runpod_endpoint(one, given[0], place, *given[1:])
            for one, given in (("first", first), ("second", second))
        ),
        paid=r"POST /v2/[^/]+/run",
        route="POST /v2",
        first=steps[0],
        second=steps[1],
    )


def _scenario(name: str, *more: str, stops: bool = False) -> Kind:
    return Kind(
        name=name,
        start=lambda: ScenarioEmulator(run_seconds=_RUN, cancels=stops),
        toml=lambda place: "\n".join(
            "\n".join(
                (
                    f'[endpoints.{one}]\nkind = "scenario"\nurl = "{place.base_url}"',
                    f'api_key = "{place.key}"\napi_secret = "{place.secret}"\nusd_per_unit = 0.01\n{_POLL}',
                    *more,
                )
            )
            for one in ("first", "second")
        ),
        paid=r"POST /v1/generate/.+",
        route="POST /v1/generate",
        first=_step("draw", "txt2img", "flux.1-dev", width=512, height=512),
        second=_step("cut", "remove_background"),
        stops=stops,
    )


_BIG: Final = {"width": 512, "height": 512}
KINDS: Final[Mapping[str, Kind]] = {
    kind.name: kind
    for kind in (
        _comfyui("0.33.0"),
        _comfyui("0.3.64"),
        _runpod(
            "runpod comfyui",
            ("emu-comfyui", 'protocol = "comfyui"'),
            ("emu-comfyui", 'protocol = "comfyui"'),
            (
                _step("draw", "txt2img", "sdxl", width=64, height=64, steps=2),
                _step("cut", "remove_background"),
            ),
        ),
        _runpod(
            "runpod model",
            ("emu-flux", 'models = ["flux.1-dev"]'),
            ("emu-background", 'operations = ["remove_background"]'),
            (_step("draw", "txt2img", "flux.1-dev", **_BIG), _step("cut", "remove_background")),
        ),
        _runpod(
            "runpod public",
            ("black-forest-labs-flux-1-dev",),
            # Public endpoints fetch their inputs from a bucket; so the second stage is at an endpoint of one's own.
            ("emu-background", 'operations = ["remove_background"]'),
            (_step("draw", "txt2img", "flux.1-dev", **_BIG), _step("cut", "remove_background")),
        ),
        _scenario("scenario"),
        _scenario("scenario legacy", "legacy = true", stops=True),  # inference jobs can be canceled
        Kind(
            name="replicate",
            start=lambda: ReplicateEmulator(run_seconds=_RUN),
            toml=lambda place: "\n".join(
                f'[endpoints.{one}]\nkind = "replicate"\nurl = "{place.base_url}"\napi_key = "{place.key}"\n{_POLL}'
                for one in ("first", "second")
            ),
            paid=r"POST /v1/(models/.+/)?predictions",
            route="POST /v1",
            first=_step("draw", "txt2img", "sdxl"),
            second=_step("cut", "remove_background"),
        ),
        Kind(
            name="preview",
            start=None,
            toml=lambda _: '[endpoints.first]\nkind = "preview"\n[endpoints.second]\nkind = "preview"',
            first=_step("draw", "txt2img", width=256, height=256),
            second=_step("cut", "remove_background"),
            finds=True,
            forgets=True,
        ),
    )
}


@dataclass(kw_only=True)
class Place:
    """A running emulator of a kind, or what counts the drawings of the built-in renderer."""

    kind: Kind
    emulator: Any
    held: Held
    drawn: int = 0
    _ran: int = field(default=0)

    @property
    def runs(self) -> int:
        return self.drawn if self.emulator is None else int(self.emulator.counts.total_runs)

    async def until_run(self, count: int) -> None:
        """Until so many runs were begun there."""
        async with asyncio.timeout(20):
            while self.runs < count:  # noqa: ASYNC110 (a counter; the built-in renderer has no event for it)
                await asyncio.sleep(0.005)
