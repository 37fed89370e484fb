"""Commands that make something: generate, edit, cutout, layers, animate, pixelate, run.

Each is a row of data: the operation and its options. Typer reads the signature that is composed from
the row; `options.step_from` turns what was typed into a request, by the tables there. `genyard estimate` takes the
same rows; batches are in `batch`.
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
    str | None,
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


_Batch = Annotated[
    str | None,
    typer.Option(
        "--batch",
        metavar="FILE",
        help="Many requests, a row each (.jsonl or .csv). The same command goes on.",
    ),
]
_AtOnce = Annotated[
    int | None, typer.Option(min=1, max=1000, help="Of a batch: rows under way at a time. [default: 8]")
]
_RetryFailed = Annotated[
    bool, typer.Option("--retry-failed", help="Of a batch: rows that have failed are asked for again.")
]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A request as typed (its inputs are still files), and what its outputs are called after."""

    body: Mapping[str, Any]
    stem: str


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
        takes={
            "document": _Document,
            "set_values": _Set,
            "media": _Media,
            "batch": _Batch,
            "at_once": _AtOnce,
            "retry_failed": _RetryFailed,
            "max_usd": o.MaxUsd,
            "yes": o.Yes,
        },
    ),
}


def add_to(app: typer.Typer) -> None:
    for name, making in MAKING.items():
        app.command(name=name, help=summary(name))(command_of(making, _work(name)))


def command_of(making: Making, work: Work) -> Callable[..., None]:
    """A command with the options of `making` that does `work`."""

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
    """Nothing, unless it is an argument that must be given."""
    if name == "context":
        return inspect.Parameter.empty
    type_, told = get_args(kind)[:2]
    if isinstance(told, type(typer.Argument())) and type(None) not in get_args(type_):
        return inspect.Parameter.empty
    return False if type_ is bool else None


def _work(name: str) -> Work:
    async def work(session: Session) -> int:
        from genyard.frontends.cli.produce import produce

        if session.options.get("batch"):
            from genyard.frontends.cli.batch import run_batch

            return await run_batch(session)
        asked = ask(name, session)
        return await produce(session, asked.body, asked.stem)

    return work


def ask(name: str, session: Session) -> Asked:
    """What the command `name` asks for with these options."""
    from genyard.frontends.cli.produce import stem_of

    if name == "run":
        return _ask_by_document(session)
    steps = [o.step_from(MAKING[name].operation, session.options)]
    return Asked(body={**o.fields_from(session.options), "steps": steps}, stem=stem_of(steps))


def _ask_by_document(session: Session) -> Asked:
    from genyard.frontends.cli.files import slug
    from genyard.frontends.cli.inputs import in_steps, read_json

    name: str | None = session.options["document"]
    if name is None:
        raise wrong("give a workflow or a request, or --batch FILE", "WORKFLOW.json")
    for option in ("at_once", "retry_failed", "max_usd", "yes"):
        if session.options[option]:
            raise wrong("it is about a batch: add --batch FILE", f"--{option.replace('_', '-')}")
    document = read_json(name, "WORKFLOW.json")
    values, media = session.options["set_values"] or (), session.options["media"] or ()
    if "steps" not in document and "operation" not in document:
        body: dict[str, Any] = {"steps": [workflow_step(document, values, media)]}
    elif values or media:
        raise wrong("a request carries its own values; --set and --media are for workflows", "--set")
    else:
        body = in_steps(document)
    stem = slug(name.rpartition("/")[2].removesuffix(".json"))
    return Asked(body={**body, **o.fields_from(session.options)}, stem=stem)


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
