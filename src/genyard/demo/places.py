"""Every kind of place without an account: emulators of all of them, and one job of each kind to each endpoint.

What is made there is drawn by the emulators; the way to them is the one that real places are reached by: the plans'
environment names, routes, webhooks, caps, costs.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from genyard.app import Product, build, setup_logging, working
from genyard.demo.pieces import sketch
from genyard.demo.sheet import write_sheet
from genyard.errors import Code, GenyardError
from genyard.frontends.cli.files import Target, save_job
from genyard.imaging.decode import encode_png
from genyard.imaging.portrait import sample_portrait
from genyard.imaging.video import encode_mp4
from genyard.jobs.model import Job
from genyard.settings import Settings, load_settings
from genyard.testing.emulators import Emulators

#: What is asked of each operation; an input `drawn:NAME` is one of `_drawn`.
REQUESTS: Final[Mapping[str, Mapping[str, Any]]] = {
    "txt2img": {"parameters": {"prompt": "a knight with a silver sword, game sprite", "seed": 2026}},
    "img2img": {
        "parameters": {"prompt": "a steel battle axe, game item", "seed": 2026},
        "inputs": {"image": "drawn:sketch"},
    },
    "remove_background": {"inputs": {"image": "drawn:portrait"}},
    "decompose_layers": {"parameters": {"layers": 3, "seed": 2026}, "inputs": {"image": "drawn:portrait"}},
    "animate_photo": {"inputs": {"image": "drawn:portrait", "video": "drawn:clip"}},
    "pixelate": {"inputs": {"image": "drawn:portrait"}},
    "run_workflow": {
        "parameters": {
            "workflow": {
                "1": {
                    "class_type": "EmptyImage",
                    "inputs": {"width": 512, "height": 512, "batch_size": 1, "color": 2_003_199},
                },
                "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "demo"}},
            }
        }
    },
}

#: How the emulators behave where it is worth looking at: machines that start, models that take a while.
_PACE: Final[Mapping[str, Mapping[str, Any]]] = {
    "scenario": {"queue_seconds": 0.2, "run_seconds": 0.4},
    "replicate": {"starting_seconds": 0.2, "run_seconds": 0.4},
}

#: What a person would write into genyard.toml: a 4090 at RunPod, a creative unit of Scenario.
_RATES: Final[Mapping[str, Mapping[str, float]]] = {
    "comfyui": {},
    "runpod": {"usd_per_second": 0.00031},
    "scenario": {"usd_per_unit": 0.01},
    "replicate": {},
}


@dataclass(kw_only=True)
class Visit:
    """One job of an operation at an endpoint."""

    endpoint: str
    operation: str
    model: str
    job: Job | None = None
    refused: GenyardError | None = None
    files: list[Path] = field(default_factory=list)

    @property
    def error(self) -> Mapping[str, Any] | None:
        if self.refused is not None:
            return self.refused.as_json()
        return self.job.error if self.job else None

    @property
    def failed(self) -> bool:
        """A clear refusal is no failure: some models fetch their input from an address, which a folder has not."""
        return self.error is not None and self.error["code"] != Code.request_unsupported

    @property
    def cost(self) -> str:
        told = self.job.attempts[-1].cost if self.job and self.job.attempts else None
        return f"${told.usd:.4f} {told.source}" if told else "not known"

    @property
    def seconds(self) -> float:
        job = self.job
        return (job.finished_at - job.created_at).total_seconds() if job and job.finished_at else 0.0


async def demonstrate_places(out: Path) -> bool:
    """Whether every job at every place ended as it should."""
    console = Console(highlight=False, markup=False, soft_wrap=True)
    began = time.monotonic()
    async with Emulators(**_PACE) as emulators:
        settings = _settings(emulators)
        setup_logging(settings)
        async with build(settings) as product, working(product):
            visits = await _visit_all(product, out)
            spending = await product.studio.spending()
    seconds = time.monotonic() - began
    _print(console, visits)
    for one in spending:
        console.print(f"  {one.endpoint}: ${one.usd:.4f} of ${one.cap:.2f} spent today", style="dim")
    sheet = await asyncio.to_thread(
        write_sheet,
        out,
        [(f"{one.endpoint}\n{one.operation}, {one.model}", file) for one in visits for file in one.files[:1]],
        "every kind of place, emulated",
    )
    (out / "jobs.json").write_text(json.dumps(_as_json(visits, seconds), indent=2) + "\n")
    failed = [one for one in visits if one.failed]
    done = [one for one in visits if one.files]
    console.print(f"\n{len(done)} of {len(visits)} jobs in {seconds:.1f} s: {out}/", style="bold")
    console.print(f"  all at a glance  {sheet}\n  what ran where   {out / 'jobs.json'}")
    console.print("  for real         put your keys into .env (.env.example lists the names)")
    return bool(visits) and not failed


def _settings(emulators: Emulators) -> Settings:
    """A data folder of its own: emulated places have no business among the real ones."""
    here = load_settings()
    settings = load_settings(
        {**emulators.environment, "GENYARD_DATA": str(here.data / "emulated")}, folder=here.data / "emulated"
    )
    endpoints = {
        name: one.model_copy(
            update={**_RATES[one.kind], "timeouts": one.timeouts.model_copy(update={"poll": 0.2})}
        )
        for name, one in settings.endpoints.items()
        if one.kind != "preview"
    }
    return settings.model_copy(update={"endpoints": endpoints, "provider": "comfyui"})


async def _visit_all(product: Product, out: Path) -> list[Visit]:
    drawn = {name: str((await product.studio.upload(data)).id) for name, data in _drawn().items()}
    health = await product.studio.health()
    visits: dict[tuple[str, str], Visit] = {}
    for operation in await product.studio.operations(health):
        for served in operation["served_by"]:
            if served["can"]:
                one = Visit(endpoint=served["endpoint"], operation=operation["name"], model=served["model"])
                visits.setdefault((one.endpoint, one.operation), one)
    await asyncio.gather(*(_visit(product, out, visit, drawn) for visit in visits.values()))
    return [visits[key] for key in sorted(visits)]


async def _visit(product: Product, out: Path, visit: Visit, drawn: Mapping[str, str]) -> None:
    asked = REQUESTS[visit.operation]
    inputs = {role: drawn[given.removeprefix("drawn:")] for role, given in asked.get("inputs", {}).items()}
    body = {
        "operation": visit.operation,
        "model": visit.model,
        "parameters": asked.get("parameters", {}),
        "inputs": inputs,
        "tags": ["demo-emulated"],
    }
    try:
        submitted = await product.studio.submit(body, endpoint=visit.endpoint)
        visit.job = await product.studio.wait(submitted.job.id)
    except GenyardError as refused:
        visit.refused = refused
        return
    if visit.job.error is None:
        name = f"{visit.endpoint}-{visit.operation}-{visit.model}"
        visit.files = await save_job(product, visit.job, Target(folder=out, file=out / f"{name}.png"), name)


def _drawn() -> dict[str, bytes]:
    portrait = sample_portrait(512)
    frames = [portrait[:, :, :3]] * 24
    return {"sketch": sketch(), "portrait": encode_png(portrait), "clip": encode_mp4(frames, fps=24)}


def _print(console: Console, visits: list[Visit]) -> None:
    for one in visits:
        mark = "✗" if one.failed else "–" if one.error else "✓"
        what = f"{one.error['code']}: {one.error['message']}" if one.error else one.files[0].name
        console.print(
            f"  {mark} {one.endpoint:<17} {one.operation:<17} {one.model:<18} {one.seconds:5.1f} s  "
            f"{one.cost:<17} {what}",
            style="red" if one.failed else "",
        )


def _as_json(visits: list[Visit], seconds: float) -> dict[str, Any]:
    return {
        "genyard": version("genyard"),
        "seconds": round(seconds, 3),
        "jobs": [
            {
                "endpoint": one.endpoint,
                "operation": one.operation,
                "model": one.model,
                "files": [file.name for file in one.files],
                "error": one.error,
                "job": one.job.as_json() if one.job else None,
            }
            for one in visits
        ],
    }
