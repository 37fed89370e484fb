"""The built-in renderer as a place: needs nothing, costs nothing, and says that it is not AI.

Drawing is `genyard.preview`, work on given pictures is `genyard.imaging`; here is only how a run of theirs is
submitted, watched, canceled and fetched. Runs live in this process: after a restart they are drawn again.
"""

from __future__ import annotations

import asyncio
import importlib
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from genyard.errors import Code, GenyardError
from genyard.media import MediaLimits
from genyard.operations import Role
from genyard.providers import (
    BoundStep,
    Canceled,
    Capabilities,
    Facts,
    Health,
    Leave,
    Media,
    Plan,
    PlanInput,
    PlanOutput,
    Ref,
    RemoteOutput,
    Snapshot,
    State,
)

_KEPT_RUNS: Final = 64
_INTERVAL_SECONDS: Final = 5.0

#: What a drawing function gets: parameters, decoded inputs by role, and how to tell how far it is.
Progress = Callable[[float], None]
Inputs = Mapping[str, list[bytes]]


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """One finished file, and what only drawing it could tell."""

    role: Role
    data: bytes
    facts: Mapping[str, Any] = field(default_factory=dict)


class _Stopped(Exception):
    """The run was canceled between two pictures."""


@dataclass(kw_only=True)
class _Run:
    """One submission. `changed` is set, and made anew, whenever something about it differs."""

    step: str
    state: State = State.queued
    progress: float = 0.0
    outputs: list[Drawn] = field(default_factory=list)
    error: GenyardError | None = None
    cancel: bool = False
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None

    def tell(self) -> None:
        self.changed.set()
        self.changed = asyncio.Event()


class PreviewProvider:
    """`at_once` pictures are drawn side by side, in threads."""

    kind = "preview"
    capabilities = Capabilities(cancel="running", progress="coarse", finds=True, paid=False, fuses=False)

    def __init__(self, *, at_once: int = 2, limits: MediaLimits | None = None) -> None:
        self._runs: OrderedDict[str, _Run] = OrderedDict()
        self._gate = asyncio.Semaphore(at_once)
        self._limits = limits or MediaLimits()

    def compile(self, steps: Sequence[BoundStep], facts: Facts | None) -> Plan:
        [step] = steps
        for name in ("loras", "controlnets"):
            if step.parameters.get(name):
                raise GenyardError(
                    Code.request_unsupported,
                    f"{name}: the built-in renderer has no models to add them to",
                    field=f"parameters.{name}",
                )
        inputs = {
            role: [f"{role}.{number}" for number in range(len(given))] for role, given in step.inputs.items()
        }
        return Plan(
            payload={
                "step": step.name,
                "operation": step.operation,
                "parameters": dict(step.parameters),
                "inputs": inputs,
            },
            inputs=tuple(
                PlanInput(name=f"{role}.{number}", source=source)
                for role, given in step.inputs.items()
                for number, source in enumerate(given)
            ),
            outputs=(PlanOutput(step=step.name, role=None, where=step.name),),
            facts={step.name: _facts(step)},
            video=step.operation == "animate_photo",
        )

    async def quote(self, plan: Plan) -> None:
        return None

    async def submit(
        self,
        plan: Plan,
        key: UUID,
        media: Mapping[str, Media],
        *,
        webhook: str | None = None,
        leave: Leave | None = None,
    ) -> Ref:
        inputs = {
            role: [b"".join([piece async for piece in media[name].open()]) for name in names]
            for role, names in plan.payload["inputs"].items()
        }
        if leave is not None:
            await leave()
        run = _Run(step=plan.payload["step"])
        self._runs[str(key)] = run
        self._forget_old()
        run.task = asyncio.create_task(self._draw(run, plan.payload, inputs))
        return {"key": str(key)}

    async def find(self, key: UUID) -> Ref | None:
        return {"key": str(key)} if str(key) in self._runs else None

    async def observe(self, ref: Ref, previous: Snapshot | None, wake: asyncio.Event) -> Snapshot:
        run = self._runs.get(ref["key"])
        if run is None:
            error = GenyardError(
                Code.provider_lost, "the process that drew this has ended; it is drawn again"
            )
            return Snapshot(state=State.lost, error=error)
        snapshot = _snapshot(ref, run)
        if previous == snapshot and not wake.is_set():
            waits = [asyncio.create_task(event.wait()) for event in (run.changed, wake)]
            await asyncio.wait(waits, timeout=_INTERVAL_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            for wait in waits:
                wait.cancel()
            snapshot = _snapshot(ref, run)
        return snapshot

    async def hook(self, headers: Mapping[str, str], body: bytes) -> bool:
        return False

    async def cancel(self, ref: Ref) -> Canceled:
        run = self._runs.get(ref["key"])
        if run is None or run.state.ended:
            return Canceled(reached=run is not None and run.state is State.canceled)
        was_running = run.state is State.running
        run.cancel = True
        if not was_running:
            run.state = State.canceled
            run.tell()
        return Canceled(reached=True, was_running=was_running)

    async def fetch(self, output: RemoteOutput) -> AsyncIterator[bytes]:
        run = self._runs.get(output.where["key"])
        if run is None:
            raise GenyardError(Code.provider_lost_output, "the process that drew this has ended")
        yield run.outputs[output.where["number"]].data

    async def check(self) -> Health:
        preview = await asyncio.to_thread(importlib.import_module, "genyard.preview")  # it is not a light one
        waiting = sum(run.state is State.queued for run in self._runs.values())
        return Health(reachable=True, version=str(preview.RENDERER_VERSION), queue_depth=waiting)

    async def close(self) -> None:
        tasks = [run.task for run in self._runs.values() if run.task is not None]
        for run in self._runs.values():
            run.cancel = True
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _draw(self, run: _Run, payload: Mapping[str, Any], inputs: Inputs) -> None:
        loop = asyncio.get_running_loop()

        def progress(done: float) -> None:
            if run.cancel:
                raise _Stopped
            loop.call_soon_threadsafe(_advance, run, done)

        async with self._gate:
            if run.cancel:
                return
            run.state = State.running
            run.tell()
            draw = _DRAWING[payload["operation"]]
            try:
                run.outputs = await asyncio.to_thread(
                    draw, payload["parameters"], inputs, self._limits, progress
                )
                run.state = State.canceled if run.cancel else State.succeeded
            except _Stopped:
                run.state = State.canceled
            except GenyardError as error:
                run.state, run.error = State.failed, error
            except Exception as defect:  # noqa: BLE001 (a drawing's defect is the run's failure)
                run.error = GenyardError(
                    Code.internal, f"the renderer failed: {type(defect).__name__}: {defect}"
                )
                run.state = State.failed
        run.tell()

    def _forget_old(self) -> None:
        """Results are taken over within moments; only the newest runs are kept for a slow taker."""
        ended = [key for key, run in self._runs.items() if run.state.ended]
        for key in ended[: max(0, len(self._runs) - _KEPT_RUNS)]:
            del self._runs[key]


def _advance(run: _Run, done: float) -> None:
    run.progress = done
    run.tell()


def _snapshot(ref: Ref, run: _Run) -> Snapshot:
    if run.state is not State.succeeded:
        progress = run.progress if run.state is State.running else None
        return Snapshot(state=run.state, progress=progress, error=run.error, word=run.state.value)
    outputs = tuple(
        RemoteOutput(
            step=run.step,
            role=drawn.role,
            index=number,
            where={"key": ref["key"], "number": number},
            facts=drawn.facts,
        )
        for number, drawn in enumerate(run.outputs)
    )
    return Snapshot(state=State.succeeded, progress=1.0, word="succeeded", outputs=outputs)


def _facts(step: BoundStep) -> dict[str, Any]:
    """A stand-in takes what any model takes; what it made no use of is told: `ignored_parameters` (those of the
    binding's `wire.ignores` that were given) and `ignored_terms` (words of the prompts)."""
    from genyard.preview import RENDERER_VERSION
    from genyard.preview.understanding import read

    given = step.parameters
    facts: dict[str, Any] = {"renderer": f"genyard preview {RENDERER_VERSION}"}
    ignores = step.binding.wire.get("ignores", ())
    if ignored := [name for name in ignores if given.get(name) not in (None, "")]:
        facts["ignored_parameters"] = ignored
    if given.get("prompt") and "prompt" not in ignores:
        facts["ignored_terms"] = list(read(given["prompt"], given.get("negative_prompt") or "").ignored)
    return facts


# ---- one function per operation; all run in a thread ----


def _txt2img(
    parameters: Mapping[str, Any], inputs: Inputs, limits: MediaLimits, tell: Progress
) -> list[Drawn]:
    from genyard.imaging.decode import encode_png
    from genyard.preview import draw

    drawn: list[Drawn] = []
    for index in range(parameters["count"]):
        tell(index / parameters["count"])
        drawing = draw(
            parameters["prompt"],
            width=parameters["width"],
            height=parameters["height"],
            seed=parameters["seed"],
            index=index,
            negative_prompt=parameters["negative_prompt"],
        )
        drawn.append(Drawn(role=Role.image, data=encode_png(drawing.pixels)))
    return drawn


def _img2img(
    parameters: Mapping[str, Any], inputs: Inputs, limits: MediaLimits, tell: Progress
) -> list[Drawn]:
    from genyard.imaging.decode import decode_image, encode_png
    from genyard.preview import shade

    given = decode_image(inputs["image"][0], limits)
    drawn: list[Drawn] = []
    for index in range(parameters["count"]):
        tell(index / parameters["count"])
        shaded = shade(
            given,
            parameters["prompt"],
            seed=(parameters["seed"] + index) % 2**64,
            strength=parameters["strength"],
            negative_prompt=parameters["negative_prompt"],
        )
        drawn.append(Drawn(role=Role.image, data=encode_png(shaded.pixels)))
    return drawn


def _remove_background(
    parameters: Mapping[str, Any], inputs: Inputs, limits: MediaLimits, tell: Progress
) -> list[Drawn]:
    from genyard.imaging.cutout import cut_out
    from genyard.imaging.decode import decode_image, encode_png

    tell(0.1)
    cut = cut_out(decode_image(inputs["image"][0], limits))
    facts = {"cutout_method": cut.method.value, "cutout_confidence": round(cut.confidence, 2)}
    return [Drawn(role=Role.image, data=encode_png(cut.pixels), facts=facts)]


def _decompose_layers(
    parameters: Mapping[str, Any], inputs: Inputs, limits: MediaLimits, tell: Progress
) -> list[Drawn]:
    from genyard.imaging.decode import decode_image, encode_png
    from genyard.imaging.layers import split_layers

    tell(0.1)
    layers = split_layers(decode_image(inputs["image"][0], limits), parameters["layers"])
    return [Drawn(role=Role.layer, data=encode_png(layer)) for layer in layers]


def _animate_photo(
    parameters: Mapping[str, Any], inputs: Inputs, limits: MediaLimits, tell: Progress
) -> list[Drawn]:
    from genyard.imaging.animate import animate_to_mp4
    from genyard.imaging.decode import decode_image

    video = animate_to_mp4(
        decode_image(inputs["image"][0], limits),
        seconds=parameters["seconds"],
        driving=inputs["video"][0] if inputs.get("video") else None,
        progress=tell,
    )
    return [Drawn(role=Role.video, data=video)]


def _pixelate(
    parameters: Mapping[str, Any], inputs: Inputs, limits: MediaLimits, tell: Progress
) -> list[Drawn]:
    from genyard.imaging.decode import decode_image, encode_png
    from genyard.imaging.pixelate import pixelate

    tell(0.1)
    art = pixelate(
        decode_image(inputs["image"][0], limits),
        cells=parameters["cells"],
        colors=parameters["colors"],
        scale=parameters["scale"],
    )
    return [Drawn(role=Role.image, data=encode_png(art))]


_DRAWING: Final[Mapping[str, Callable[[Mapping[str, Any], Inputs, MediaLimits, Progress], list[Drawn]]]] = {
    "txt2img": _txt2img,
    "img2img": _img2img,
    "remove_background": _remove_background,
    "decompose_layers": _decompose_layers,
    "animate_photo": _animate_photo,
    "pixelate": _pixelate,
}
