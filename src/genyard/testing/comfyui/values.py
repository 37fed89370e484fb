"""What flows along the links of an emulated graph, and the table of node functions.

Pictures are `uint8` arrays of shape (batch, height, width, channels); masks are `float32` of (batch, height,
width), 1 = masked. A node takes a `Run` and its inputs by name, and returns its output slots.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from genyard.testing.comfyui.files import Files

Json = Any
Pixels = NDArray[np.uint8]
Mask = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Model:
    """A loaded model, CLIP, VAE, ControlNet, …: its file name and what was applied to it."""

    name: str
    applied: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Conditioning:
    text: str
    applied: tuple[str, ...] = ()
    reference: Pixels | None = None


@dataclass(frozen=True, kw_only=True)
class Latent:
    """`pixels` once something was encoded or sampled; `layers` for Qwen-Image-Layered."""

    width: int
    height: int
    batch: int = 1
    layers: int | None = None
    pixels: Pixels | None = None


@dataclass(frozen=True, kw_only=True)
class Video:
    frames: Pixels
    fps: float = 8.0


@dataclass(frozen=True, kw_only=True)
class Output:
    """`slots` are the node's outputs, `ui` is what /history shows of it."""

    slots: tuple[Any, ...] = ()
    ui: Mapping[str, Json] | None = None


class NodeError(Exception):
    """An exception inside a node, under the type name that the real server would report."""

    def __init__(self, error_type: str, message: str) -> None:
        super().__init__(message)
        self.error_type = error_type


class ServerDies(Exception):
    """The process ends in the middle of a run."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """What a node knows of the run it is part of.

    step        tells progress (value, max, unfinished picture, or a whole one as PNG bytes) and gives way to
                interrupts and faults
    pause       waits, unless the run is interrupted
    """

    node_id: str
    class_type: str
    graph: Mapping[str, Json]
    files: Files
    metadata: bool
    step: Callable[[int, int, Pixels | bytes | None], Awaitable[None]]
    pause: Callable[[float], Awaitable[None]]


Node = Callable[..., Any]

NODES: Final[dict[str, Node]] = {}


def node(*names: str) -> Callable[[Node], Node]:
    """Registers a function as one or several node classes. Plain functions run in a thread."""

    def register(function: Node) -> Node:
        for name in names:
            NODES[name] = function
        return function

    return register


async def call(run: Run, inputs: Mapping[str, Any]) -> Output:
    function = NODES.get(run.class_type)
    if function is None:
        raise NodeError("RuntimeError", f"{run.class_type} is not among the nodes that the emulator runs")
    arguments = {name.replace(".", "_"): value for name, value in inputs.items()}
    if asyncio.iscoroutinefunction(function):
        result = await function(run, **arguments)
    else:
        result = await asyncio.to_thread(function, run, **arguments)
    return result if isinstance(result, Output) else Output(slots=result)


def encode(pixels: Pixels, kind: str = "PNG", **options: Any) -> bytes:
    """One picture (height, width, channels) as a file."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


def resize(pixels: Pixels, width: int, height: int, method: str = "bicubic") -> Pixels:
    resampling = {
        "nearest-exact": Image.Resampling.NEAREST,
        "bilinear": Image.Resampling.BILINEAR,
        "area": Image.Resampling.BOX,
        "lanczos": Image.Resampling.LANCZOS,
    }.get(method, Image.Resampling.BICUBIC)
    return np.stack([np.asarray(Image.fromarray(one).resize((width, height), resampling)) for one in pixels])


def crop_to(pixels: Pixels, width: int, height: int) -> Pixels:
    """The middle part of the wanted proportions."""
    _, old_height, old_width, _ = pixels.shape
    if old_width * height > width * old_height:
        wide = max(1, round(old_height * width / height))
        left = (old_width - wide) // 2
        return pixels[:, :, left : left + wide]
    high = max(1, round(old_width * height / width))
    top = (old_height - high) // 2
    return pixels[:, top : top + high]
