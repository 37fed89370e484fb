"""The options that commands share, and what each of them becomes in a request.

They are written by hand, because operations' own declarations (pydantic) would cost `--help` its speed; a test
holds them against the operations, so that none is forgotten.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from genyard.frontends.cli.exits import wrong
from genyard.storable import require_storable

Prompt = Annotated[str, typer.Argument(metavar="PROMPT", help="What to draw.", show_default=False)]
Image = Annotated[
    str, typer.Argument(metavar="IMAGE", help="A file, or asset:ID of something stored.", show_default=False)
]
Photo = Annotated[
    str, typer.Argument(metavar="PHOTO", help="A file with one clear face, or asset:ID.", show_default=False)
]

Negative = Annotated[str | None, typer.Option(help="What the picture should not show.")]
Size = Annotated[str | None, typer.Option(metavar="WxH", help="Pixels, for example 768x512.")]
Width = Annotated[int | None, typer.Option(help="Pixels.")]
Height = Annotated[int | None, typer.Option(help="Pixels.")]
Aspect = Annotated[str | None, typer.Option(metavar="W:H", help="16:9 and the like, at about one megapixel.")]
Steps = Annotated[int | None, typer.Option(help="Sampling steps. [default: the model's]")]
Guidance = Annotated[float | None, typer.Option(help="Flux guidance, or cfg. [default: the model's]")]
Sampler = Annotated[str | None, typer.Option(help="By its name at the place.")]
Scheduler = Annotated[str | None, typer.Option(help="By its name at the place.")]
Seed = Annotated[int | None, typer.Option(help="Drawn when not given; always reported.")]
Count = Annotated[int | None, typer.Option("--count", "-n", help="How many pictures.")]
Lora = Annotated[list[str] | None, typer.Option(metavar="NAME[:STRENGTH]", help="A LoRA to add; repeatable.")]
Control = Annotated[
    list[str] | None,
    typer.Option(
        metavar="KIND:FILE[:STRENGTH]", help="A ControlNet with its picture (canny, depth, …); repeatable."
    ),
]

Strength = Annotated[float | None, typer.Option(help="How far from the image: 1 ignores it. [default: 0.95]")]
Layers = Annotated[int | None, typer.Option(help="How many, back to front: 1 to 10. [default: 4]")]
Shows = Annotated[str | None, typer.Option("--prompt", help="What the picture shows, if known.")]
Driving = Annotated[
    str | None,
    typer.Option(metavar="CLIP", help="A video whose motion is copied. [default: a gentle motion]"),
]
Seconds = Annotated[float | None, typer.Option(help="Length of the clip: 10 to 20. [default: 10]")]
Cells = Annotated[int | None, typer.Option(help="Pixels of the art along its longer side. [default: 128]")]
Colors = Annotated[int | None, typer.Option(help="Colours in the palette. [default: 32]")]
Scale = Annotated[int | None, typer.Option(help="Each cell becomes so many pixels wide. [default: 8]")]

Model = Annotated[str | None, typer.Option("--model", "-m", help="For example flux.1-dev or sdxl.")]
Tag = Annotated[list[str] | None, typer.Option("--tag", "-t", help="To find it again; repeatable.")]
Priority = Annotated[int | None, typer.Option(help="-100 to 100; higher goes first.")]
ExpiresIn = Annotated[float | None, typer.Option(metavar="SECONDS", help="Give up if not started by then.")]
Webhook = Annotated[
    str | None, typer.Option("--webhook", metavar="URL", help="Who is told when the job has ended.")
]
WebhookEvent = Annotated[
    list[str] | None,
    typer.Option(
        "--webhook-event",
        metavar="EVENT",
        help="Of what it is told: queued, running, retrying, canceling, succeeded, failed, canceled, expired; "
        "repeatable. [default: the end]",
    ),
]
OnDisconnect = Annotated[
    str | None,
    typer.Option(
        "--on-disconnect",
        metavar="continue|cancel",
        help="Once nobody watches it any more, this command included. [default: continue]",
    ),
]
EmbedPrompt = Annotated[bool, typer.Option("--embed-prompt", help="Write the prompt into the file, too.")]
Previews = Annotated[bool, typer.Option("--preview", help="Show unfinished pictures while it runs.")]
Output = Annotated[
    str | None,
    typer.Option(
        "--output", "-o", metavar="PATH", help="A file, a folder, or a .zip. [default: the current folder]"
    ),
]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout, nothing else.")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Show what would be sent where; run and keep nothing.")
]
Detach = Annotated[bool, typer.Option("--detach", help="Do not wait; print the job's id.")]

JobId = Annotated[
    str,
    typer.Argument(metavar="ID", help="A job's id, or a unique end or beginning of it.", show_default=False),
]
AssetId = Annotated[
    str, typer.Argument(metavar="ID", help="An asset's id, or a unique end of it.", show_default=False)
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
MaxUsd = Annotated[
    float | None, typer.Option("--max-usd", min=0, metavar="USD", help="Spend no more than this.")
]
Limit = Annotated[int, typer.Option(min=1, max=1000, help="At most so many.")]
Search = Annotated[str | None, typer.Option("--search", "-s", metavar="WORDS", help="Words of the prompt.")]

#: The options of txt2img and img2img.
GENERATION: Final[Mapping[str, Any]] = {
    "negative": Negative,
    "size": Size,
    "width": Width,
    "height": Height,
    "aspect": Aspect,
    "steps": Steps,
    "guidance": Guidance,
    "sampler": Sampler,
    "scheduler": Scheduler,
    "seed": Seed,
    "count": Count,
    "lora": Lora,
    "control": Control,
    "model": Model,
}
#: The options of every command that makes something.
EVERY_JOB: Final[Mapping[str, Any]] = {
    "output": Output,
    "tag": Tag,
    "priority": Priority,
    "expires_in": ExpiresIn,
    "webhook": Webhook,
    "webhook_event": WebhookEvent,
    "on_disconnect": OnDisconnect,
    "embed_prompt": EmbedPrompt,
    "previews": Previews,
    "json": Json,
    "dry_run": DryRun,
    "detach": Detach,
}

#: Option → parameter of the operation.
PARAMETERS: Final[Mapping[str, str]] = {
    "prompt": "prompt",
    "negative": "negative_prompt",
    "width": "width",
    "height": "height",
    "aspect": "aspect_ratio",
    "steps": "steps",
    "guidance": "guidance",
    "sampler": "sampler",
    "scheduler": "scheduler",
    "seed": "seed",
    "count": "count",
    "strength": "strength",
    "layers": "layers",
    "seconds": "seconds",
    "cells": "cells",
    "colors": "colors",
    "scale": "scale",
}
#: Option → role of the input whose file it names.
INPUTS: Final[Mapping[str, str]] = {"image": "image", "photo": "image", "driving": "video"}
#: Option → field of the request beside its steps.
FIELDS: Final[Mapping[str, str]] = {
    "tag": "tags",
    "priority": "priority",
    "expires_in": "expires_in",
    "webhook": "webhook_url",
    "webhook_event": "webhook_events",
    "on_disconnect": "on_disconnect",
    "embed_prompt": "embed_prompt",
    "previews": "previews",
}


def step_from(operation: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """One step of a request. Inputs are still the words of the command line."""
    parameters = {
        PARAMETERS[name]: value for name, value in options.items() if name in PARAMETERS and value is not None
    }
    if options.get("size") is not None:
        parameters["width"], parameters["height"] = parse_size(options["size"])
    if options.get("lora"):
        parameters["loras"] = [parse_lora(text) for text in options["lora"]]
    inputs = {INPUTS[name]: [value] for name, value in options.items() if name in INPUTS and value}
    if options.get("control"):
        controls = [parse_control(text) for text in options["control"]]
        parameters["controlnets"] = [control for control, _ in controls]
        inputs["control"] = [file for _, file in controls]
    step = {"operation": operation, "parameters": parameters, "inputs": inputs}
    return step if options.get("model") is None else {**step, "model": options["model"]}


def fields_from(options: Mapping[str, Any]) -> dict[str, Any]:
    """Tags, priority and the rest that concerns the job as a whole."""
    return {FIELDS[name]: value for name, value in options.items() if name in FIELDS and _is_given(value)}


def _is_given(value: Any) -> bool:
    """Zero is; a flag that is off, and an option that may be repeated but never was, are not."""
    return bool(value) or (value == 0 and value is not False)


def parse_value(text: str, option: str) -> Any:
    """As JSON where it is JSON (7, true, "7"), else as text."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    require_storable(value, option)
    return value


def parse_size(text: str) -> tuple[int, int]:
    width, cross, height = text.lower().replace("×", "x").partition("x")
    if not (cross and width.isdecimal() and height.isdecimal()):
        raise wrong(f"{text!r} is not a size; write it as 768x512", "--size")
    return int(width), int(height)


def parse_lora(text: str) -> dict[str, Any]:
    """`name.safetensors:0.8`; a colon in the name is fine as long as no number follows it."""
    name, colon, strength = text.rpartition(":")
    if colon and _is_number(strength):
        return {"name": name, "strength": float(strength)}
    return {"name": text}


def parse_control(text: str) -> tuple[dict[str, Any], str]:
    """`canny:edges.png:0.7` → the control and the file."""
    kind, colon, rest = text.partition(":")
    if not colon or not rest:
        raise wrong(
            f"{text!r} names no file; write it as canny:edges.png or canny:edges.png:0.7", "--control"
        )
    file, colon, strength = rest.rpartition(":")
    if colon and _is_number(strength) and not Path(rest).exists():
        return {"kind": kind, "strength": float(strength)}, file
    return {"kind": kind}, rest


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
