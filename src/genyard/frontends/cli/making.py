"""Commands that make something: generate, edit, cutout, layers, animate, pixelate, run.

Each is a row of data: the operation and its options. Typer reads the signature that is composed from
the row; `options.step_from` turns what was typed into a request, by the tables there.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, get_args

import typer

import genyard.frontends.cli.options as o
from genyard.frontends.cli.exits import wrong
from genyard.frontends.cli.session import Session, Work, perform
from genyard.frontends.cli.table import summary

_Document = Annotated[
    str,
    typer.Argument(
        metavar="WORKFLOW.json",
        help="A ComfyUI workflow in API format, or a genyard request (with `steps` or `operation`).",
        show_default=False,
    ),
]
_Set = Annotated[
    list[str] | None, typer.Option("--set", metavar="NODE.INPUT=VALUE", help="A value to put in; repeatable.")
]
_Media = Annotated[
    list[str] | None,
    typer.Option("--media", metavar="NAME=FILE@NODE.INPUT", help="A file for a loader node; repeatable."),
]


@dataclass(frozen=True, kw_only=True)
class Making:
    """One command. `takes`: its arguments and own options by name; those of `o.EVERY_JOB` come after them."""

    operation: str
    takes: Mapping[str, Any]


MAKING: Final[Mapping[str, Making]] = {
    "generate": Making(
        operation="txt2img",
        takes={"prompt": o.Prompt, **o.GENERATION},
    ),
    "edit": Making(
        operation="img2img",
        takes={"image": o.Image, "prompt": o.Prompt, "strength": o.Strength, **o.GENERATION},
    ),
    "cutout": Making(
        operation="remove_background",
        takes={"image": o.Image, "model": o.Model},
    ),
    "layers": Making(
        operation="decompose_layers",
        takes={
            "image": o.Image,
            "layers": o.Layers,
            "prompt": o.Shows,
            "steps": o.Steps,
            "guidance": o.Guidance,
            "seed": o.Seed,
            "model": o.Model,
        },
    ),
    "animate": Making(
        operation="animate_photo",
        takes={"photo": o.Photo, "driving": o.Driving, "seconds": o.Seconds, "model": o.Model},
    ),
    "pixelate": Making(
        operation="pixelate",
        takes={"image": o.Image, "cells": o.Cells, "colors": o.Colors, "scale": o.Scale, "model": o.Model},
    ),
    "run": Making(
        operation="run_workflow",
        takes={"document": _Document, "set_values": _Set, "media": _Media},
    ),
}


def add_to(app: typer.Typer) -> None:
    for name, making in MAKING.items():
        work = _run_document if name == "run" else _one_step(making.operation)
        app.command(name=name, help=summary(name))(_command(making, work))


def _command(making: Making, work: Work) -> Callable[..., None]:
    def command(context: typer.Context, **_: Any) -> None:
        perform(context, work)

    takes = {"context": typer.Context, **making.takes, **o.EVERY_JOB}
    vars(command)["__signature__"] = inspect.Signature(
        [
            inspect.Parameter(
                name, inspect.Parameter.KEYWORD_ONLY, annotation=kind, default=_default(name, kind)
            )
            for name, kind in takes.items()
        ]
    )
    return command


def _default(name: str, kind: Any) -> Any:
    """Nothing, unless it is an argument, which must be given."""
    if name == "context" or isinstance(get_args(kind)[1], type(typer.Argument())):
        return inspect.Parameter.empty
    return False if get_args(kind)[0] is bool else None


def _one_step(operation: str) -> Work:
    async def work(session: Session) -> int:
        from genyard.frontends.cli.produce import produce, stem_of

        steps = [o.step_from(operation, session.options)]
        return await produce(session, {**o.fields_from(session.options), "steps": steps}, stem_of(steps))

    return work


async def _run_document(session: Session) -> int:
    from genyard.frontends.cli.files import slug
    from genyard.frontends.cli.inputs import read_json
    from genyard.frontends.cli.produce import produce

    name: str = session.options["document"]
    document = read_json(name, "WORKFLOW.json")
    values, media = session.options["set_values"] or (), session.options["media"] or ()
    if "steps" not in document and "operation" not in document:
        body: dict[str, Any] = {"steps": [workflow_step(document, values, media)]}
    elif values or media:
        raise wrong("a request carries its own values; --set and --media are for workflows", "--set")
    else:
        body = _in_steps(document)
    stem = slug(name.rpartition("/")[2].removesuffix(".json"))
    return await produce(session, {**body, **o.fields_from(session.options)}, stem)


def _in_steps(document: dict[str, Any]) -> dict[str, Any]:
    """A request of one operation written as one step, which is what it means."""
    if "steps" in document:
        if not isinstance(document["steps"], list) or not all(
            isinstance(one, dict) for one in document["steps"]
        ):
            raise wrong("steps is a list of objects", "steps")
        return document
    step = {
        name: document.pop(name)
        for name in ("operation", "parameters", "inputs", "model")
        if name in document
    }
    return {**document, "steps": [step]}


def workflow_step(workflow: dict[str, Any], values: Sequence[str], media: Sequence[str]) -> dict[str, Any]:
    """`--set 3.seed=7` and `--media photo=face.png@12.image` beside the workflow that they are for."""
    parameters: dict[str, Any] = {"workflow": workflow, "values": dict(_value(text) for text in values)}
    inputs: dict[str, Any] = {}
    parameters["media"] = {}
    for text in media:
        name, file, site = _medium(text)
        parameters["media"][name] = site
        inputs[name] = [file]
    return {"operation": "run_workflow", "parameters": parameters, "inputs": inputs}


def _value(text: str) -> tuple[str, Any]:
    site, equals, value = text.partition("=")
    if not equals or "." not in site:
        raise wrong(f"{text!r} is not NODE.INPUT=VALUE, for example 3.seed=7", "--set")
    return site, o.parse_value(value, "--set")


def _medium(text: str) -> tuple[str, str, str]:
    name, equals, rest = text.partition("=")
    file, at, site = rest.rpartition("@")
    if not (name and equals and file and at and "." in site):
        raise wrong(f"{text!r} is not NAME=FILE@NODE.INPUT, for example photo=face.png@12.image", "--media")
    return name, file, site
