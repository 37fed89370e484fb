"""The newcomer's demonstration (`make demo`).

A dozen jobs through the same durable path as every other job, at whatever place is configured (the built-in
renderer, where nothing is). Leaves pictures, a video, `contact-sheet.png` and `jobs.json` in OUT, and ends.
"""

from __future__ import annotations

import asyncio
import io
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from PIL import Image, ImageDraw
from rich.console import Console

from genyard.app import Product, build, setup_logging, working
from genyard.demo.sheet import write_sheet
from genyard.errors import Code, GenyardError
from genyard.frontends.cli.files import Target, save_job
from genyard.imaging.decode import encode_png
from genyard.imaging.portrait import sample_portrait
from genyard.jobs.model import Job
from genyard.settings import load_settings

_SEED: Final = 20_26


@dataclass(frozen=True, kw_only=True)
class Piece:
    """One job of the demonstration.

    steps   as in a request; an input `made:NAME` is what the piece NAME made, `drawn:NAME` one of `_drawn`
    fails   the code of the error that it is there to show
    """

    name: str
    shows: str
    steps: tuple[Mapping[str, Any], ...]
    fails: str | None = None


def _drawing(name: str, shows: str, prompt: str, width: int = 512, height: int = 512) -> Piece:
    parameters = {"prompt": prompt, "width": width, "height": height, "seed": _SEED}
    return Piece(name=name, shows=shows, steps=({"operation": "txt2img", "parameters": parameters},))


def _work(
    name: str, shows: str, operation: str, image: str, fails: str | None = None, **parameters: Any
) -> Piece:
    step = {"operation": operation, "parameters": parameters, "inputs": {"image": image}}
    return Piece(name=name, shows=shows, steps=(step,), fails=fails)


PIECES: Final = (
    _drawing("knight", "a character", "a brave knight with a silver sword and a red cape, game sprite"),
    _drawing("dragon", "a creature", "a fierce green dragon with wings and horns, game sprite"),
    _drawing("slime", "a creature as pixel art", "a happy blue slime, pixel art sprite"),
    _drawing("potion", "an item", "a glowing purple magic potion, game item icon"),
    _drawing("platform", "a platform", "a mossy stone platform with grass, side view game asset", 640, 384),
    _drawing(
        "forest", "a parallax background", "a misty forest background at sunset, parallax layers", 1024, 576
    ),
    _drawing("panel", "a UI panel", "an ornate wooden inventory panel, game UI", 640, 448),
    _drawing("button", "a UI button", 'a golden button that says "PLAY", game UI', 512, 256),
    _drawing("title", "title art", 'title art "MOSSFALL" with leaves, fantasy game logo', 1024, 448),
    Piece(
        name="axe",
        shows="a sketch, redrawn and cut out",
        steps=(
            {
                "name": "redrawn",
                "operation": "img2img",
                "parameters": {"prompt": "a steel battle axe with a wooden handle, game item", "seed": _SEED},
                "inputs": {"image": "drawn:axe-sketch"},
                "keep": True,
            },
            {"name": "cutout", "operation": "remove_background", "inputs": {"image": "step:redrawn"}},
        ),
    ),
    _work("portrait", "a photo that moves", "animate_photo", "drawn:portrait", seconds=10.0),
    _work("parts", "the forest taken apart", "decompose_layers", "made:forest", layers=4, seed=_SEED),
    _work("pixels", "the knight as pixel art", "pixelate", "made:knight", cells=96, colors=24, scale=6),
    _work(
        "no-face",
        "an error, said clearly",
        "animate_photo",
        "made:potion",
        fails="media.no_face",
        seconds=10.0,
    ),
)


@dataclass(kw_only=True)
class Shown:
    """What came of a piece. `refused`: it was not even accepted."""

    piece: Piece
    job: Job | None = None
    refused: GenyardError | None = None
    files: list[Path] = field(default_factory=list)

    @property
    def error(self) -> Mapping[str, Any] | None:
        if self.refused is not None:
            return self.refused.as_json()
        return self.job.error if self.job else None

    @property
    def as_meant(self) -> bool:
        return (self.error["code"] if self.error else None) == self.piece.fails


async def demonstrate(out: Path) -> bool:
    """Whether it showed something and found no defect. That a place lacks a model is neither."""
    console = Console(highlight=False, markup=False, soft_wrap=True)
    began = time.monotonic()
    settings = load_settings()
    setup_logging(settings)
    async with build(settings) as product, working(product):
        shown = await _run(product, out, console)
    seconds = time.monotonic() - began
    sheet = await asyncio.to_thread(write_sheet, out, _shown_files(out, shown), settings.provider)
    (out / "jobs.json").write_text(json.dumps(_as_json(shown, settings.provider, seconds), indent=2) + "\n")
    files = [file for one in shown for file in one.files]
    videos = sum(file.suffix == ".mp4" for file in files)
    console.print(
        f"\n{len(files) - videos} pictures, {videos} video in {seconds:.1f} s: {out}/", style="bold"
    )
    console.print(f"  all at a glance  {sheet}\n  what ran where   {out / 'jobs.json'}")
    console.print("  next             genyard generate 'a red dragon' · make serve · genyard jobs --tag demo")
    return bool(files) and not any(one.error and one.error["code"] == Code.internal for one in shown)


async def _run(product: Product, out: Path, console: Console) -> list[Shown]:
    """First what needs nothing of the others, all at once; then the rest."""
    console.print(
        f"{len(PIECES)} jobs at the place that is configured: {product.settings.provider}", style="bold"
    )
    drawn = {name: str((await product.studio.upload(data)).id) for name, data in _drawn().items()}
    done: dict[str, Shown] = {}

    async def show(piece: Piece) -> None:
        done[piece.name] = await _show(product, out, piece, drawn, done)
        _print_row(console, done[piece.name])

    first = [piece for piece in PIECES if not _needs(piece)]
    for wave in (first, [piece for piece in PIECES if piece not in first]):
        await asyncio.gather(*(show(piece) for piece in wave))
    return [done[piece.name] for piece in PIECES]


def _needs(piece: Piece) -> bool:
    return any(
        str(given).startswith("made:") for step in piece.steps for given in step.get("inputs", {}).values()
    )


async def _show(
    product: Product, out: Path, piece: Piece, drawn: Mapping[str, str], done: Mapping[str, Shown]
) -> Shown:
    try:
        steps = [_with_inputs(step, drawn, done) for step in piece.steps]
        submitted = await product.studio.submit({"steps": steps, "tags": ["demo", piece.name]})
        job = await product.studio.wait(submitted.job.id)
    except GenyardError as error:
        return Shown(piece=piece, refused=error)
    target = Target(folder=out, file=out / f"{piece.name}.png")
    files = [] if job.error else await save_job(product, job, target, piece.name)
    return Shown(piece=piece, job=job, files=files)


def _with_inputs(
    step: Mapping[str, Any], drawn: Mapping[str, str], done: Mapping[str, Shown]
) -> dict[str, Any]:
    inputs = {}
    for role, given in step.get("inputs", {}).items():
        kind, _, name = given.partition(":")
        if kind == "made":
            job = done[name].job
            inputs[role] = str(job.outputs[0].id) if job and job.outputs else given
        else:
            inputs[role] = drawn[name] if kind == "drawn" else given
    return {**step, "inputs": inputs}


def _drawn() -> dict[str, bytes]:
    return {"axe-sketch": sketch(), "portrait": encode_png(sample_portrait(640))}


def sketch(side: int = 512) -> bytes:
    """A double axe as somebody would sketch it: black on white."""
    image = Image.new("L", (side * 2, side * 2), 255)
    draw = ImageDraw.Draw(image)
    draw.rounded_rectangle((482, 120, 542, 940), 28, 0)
    draw.ellipse((468, 900, 556, 988), 0)
    for mirror in (1, -1):
        points = [
            (30, 210),
            (150, 180),
            (300, 90),
            (372, 200),
            (396, 330),
            (372, 460),
            (300, 570),
            (150, 480),
            (30, 450),
        ]
        draw.polygon([(512 + mirror * x, y) for x, y in points], 0)
    draw.polygon([(482, 130), (542, 130), (512, 50)], 0)
    data = io.BytesIO()
    image.resize((side, side), Image.Resampling.LANCZOS).save(data, "PNG")
    return data.getvalue()


def _print_row(console: Console, shown: Shown) -> None:
    piece, job, error = shown.piece, shown.job, shown.error
    mark = "✓" if shown.as_meant else "✗"
    operations = " → ".join(step["operation"] for step in piece.steps)
    where = f"{_places(job)} {_seconds(job):5.1f} s" if job else ""
    what = f"{error['code']}: {error['message']}" if error else ", ".join(file.name for file in shown.files)
    style = "" if shown.as_meant and not error else "yellow" if shown.as_meant else "red"
    console.print(f"  {mark} {piece.name:<9} {operations:<28} {where}  {what}", style=style)


def _places(job: Job) -> str:
    return ", ".join(dict.fromkeys(one.endpoint for one in job.attempts))


def _seconds(job: Job) -> float:
    """Spent at the place: waiting for the other jobs does not count."""
    tries = [one for one in job.attempts if one.finished_at]
    return sum((one.finished_at - one.created_at).total_seconds() for one in tries if one.finished_at)


def _shown_files(out: Path, shown: Sequence[Shown]) -> list[tuple[str, Path]]:
    return [
        (f"{file.stem}\n{shows}", file)
        for one in shown
        for file, shows in [*_given(one.piece, out), *((file, one.piece.shows) for file in one.files)]
    ]


def _given(piece: Piece, out: Path) -> list[tuple[Path, str]]:
    """A sketch is shown beside what became of it."""
    if not any("drawn:axe-sketch" in step.get("inputs", {}).values() for step in piece.steps):
        return []
    path = out / "axe-sketch.png"
    path.write_bytes(sketch())
    return [(path, "the sketch that was given")]


def _as_json(shown: Sequence[Shown], provider: str, seconds: float) -> dict[str, Any]:
    return {
        "genyard": version("genyard"),
        "provider": provider,
        "seconds": round(seconds, 3),
        "jobs": [
            {
                "name": one.piece.name,
                "shows": one.piece.shows,
                "as_meant": one.as_meant,
                "files": [file.name for file in one.files],
                "seconds": round(_seconds(one.job), 3) if one.job else None,
                "error": one.error,
                "job": one.job.as_json() if one.job else None,
            }
            for one in shown
        ],
    }
