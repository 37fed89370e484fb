"""From a request to saved files: what every command that makes something does."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import typer

from genyard.errors import GenyardError
from genyard.frontends.cli.composition import Product
from genyard.frontends.cli.dryrun import print_plan
from genyard.frontends.cli.exits import EXIT_STATUS, INTERRUPTED, complain, print_json, wrong
from genyard.frontends.cli.files import Target, choose_target, save_job, slug
from genyard.frontends.cli.hands import Hands, worker_at_hand
from genyard.frontends.cli.inputs import borrowed, upload_inputs
from genyard.frontends.cli.prices import job_line
from genyard.frontends.cli.screen import Screen, stdout
from genyard.frontends.cli.session import Session, short
from genyard.frontends.cli.watching import Stops, follow, interrupts

if TYPE_CHECKING:
    from genyard.jobs.model import Job


#: For how long a command that works alone waits for its callbacks, and how often it looks.
_TOLD_SECONDS: Final = 10.0
_LOOK_SECONDS: Final = 0.05

#: What a picture is called after it; layers say so by their role.
_WHAT_BECAME = {
    "remove_background": "cutout",
    "decompose_layers": "",
    "animate_photo": "animated",
    "pixelate": "pixelated",
}


async def produce(session: Session, body: Mapping[str, Any], stem: str) -> int:
    """Plans only (`--dry-run`), submits only (`--detach`), or runs and saves. The inputs of `body` are files."""
    target = choose_target(session.options.get("output"))
    if session.options.get("detach") and body.get("on_disconnect") == "cancel":
        raise wrong("with --detach nobody would watch it; leave one of them out", "--on-disconnect")
    async with session.open() as product:
        steps, uploaded = await upload_inputs(product, body["steps"])
        request = {**body, "steps": steps}
        if session.options.get("dry_run"):
            async with borrowed(product, uploaded):
                planned = await product.studio.estimate(request)
                print_plan(session, planned, await product.studio.spending())
            return 0
        with interrupts() as stops:
            try:
                job = (await product.studio.submit(request)).job
            except GenyardError:
                async with borrowed(product, uploaded):
                    raise
            if session.options.get("detach"):
                return await detach(session, product, job)
            return await finish(session, product, job, target, stem, stops)


async def finish(
    session: Session, product: Product, job: Job, target: Target, stem: str, stops: Stops
) -> int:
    """Follows an accepted job to its end, saves what it made and tells about it."""
    title = f"{job.operation} {short(job.id)}"
    async with worker_at_hand(session, product) as hands:
        with Screen(title) as screen:
            job, interrupted = await follow(
                product, job.id, screen, stops, needs_watcher=job.grace is not None
            )
        if not job.state.ended:
            return _leave(session, job, hands)
        if job.webhook is not None and hands.own.is_set() and not interrupted:
            await _until_told(product, job, stops)
    status = await conclude(session, product, job, target, stem)
    return INTERRUPTED if interrupted and status else status


async def _until_told(product: Product, job: Job, stops: Stops) -> None:
    """Who works here alone also sends the callbacks, once; what fails is sent again by whoever works next."""
    stop = asyncio.create_task(stops.get())
    try:
        async with asyncio.timeout(_TOLD_SECONDS):
            while not stop.done():
                sent = await product.studio.webhooks.deliveries(job_id=job.id, limit=20)
                left = [one for one in sent if one.state == "waiting"]  # the last one goes first
                if not any(one.state == "sending" for one in sent) and (not left or left[-1].tries):
                    if left:
                        _note(
                            f"its callback failed ({left[-1].error}); it is sent again when any worker runs"
                        )
                    return
                await asyncio.wait({stop}, timeout=_LOOK_SECONDS)
    except TimeoutError:
        pass
    finally:
        stop.cancel()
        await asyncio.gather(stop, return_exceptions=True)
    _note("its callback has not been sent yet; it is when any worker runs")


async def conclude(session: Session, product: Product, job: Job, target: Target, stem: str) -> int:
    """A job that has ended: its files and facts, or why there are none."""
    paths = [] if job.error else await save_job(product, job, target, stem)
    if session.as_json:
        print_json({**job.as_json(), "files": [str(path) for path in paths]})
    if job.error is not None:
        error = GenyardError.from_json(job.error)
        complain(error, job.trace_id)
        return EXIT_STATUS[error.code]
    if not session.as_json:
        await _tell(product, job, paths)
    return 0


def stem_of(steps: list[Any]) -> str:
    """A file's name by the prompt, else by the picture that it came from."""
    for step in reversed(steps):
        prompt = (step.get("parameters") or {}).get("prompt")
        if isinstance(prompt, str) and prompt.strip():
            return slug(prompt)
    operation = str(steps[-1].get("operation", "")) if steps else ""
    for step in steps:
        for given in (step.get("inputs") or {}).values():
            word = str(given[0] if isinstance(given, list) and given else given)
            if Path(word).suffix:  # neither an asset's id nor an earlier step
                return slug(f"{Path(word).stem}-{_WHAT_BECAME.get(operation, operation)}")
    return slug(operation)


async def detach(session: Session, product: Product, job: Job) -> int:
    if session.as_json:
        print_json({**job.as_json(), "files": []})
    else:
        typer.echo(str(job.id))
    if not await product.jobs.any_worker():
        _note(
            "no worker is running: it starts with `genyard worker`, `genyard serve` or the next command that waits"
        )
    return 0


def _leave(session: Session, job: Job, hands: Hands) -> int:
    if session.as_json:
        print_json({**job.as_json(), "files": []})
    name = short(job.id)
    how = "it goes on when any worker runs" if hands.own.is_set() else "it goes on"
    _note(f"left job {name} {job.state.value}: {how}")
    _note(f"  come back: genyard jobs show {name} --wait · stop it: genyard cancel {name}")
    return INTERRUPTED


async def _tell(product: Product, job: Job, paths: list[Path]) -> None:
    from genyard.frontends.cli.picture import as_blocks, fits

    console = stdout()
    if fits(console):
        shown = [asset for asset in job.outputs if asset.media_type.startswith("image/")][:4]
        for asset in shown:
            console.print(
                as_blocks(await product.studio.read(asset), console, columns=max(16, 44 // len(shown)))
            )
    for line in about(job):
        _note(line)
    for path in paths:
        typer.echo(str(path))


def about(job: Job) -> list[str]:
    """What a person should know of a result: where, how long, seed; what it is not; what may not be done with it."""
    seconds = (job.finished_at - job.started_at).total_seconds() if job.finished_at and job.started_at else 0
    facts = [asset.facts for asset in job.outputs]
    places = dict.fromkeys(f"{one.get('endpoint')} ({one.get('model')})" for one in facts)
    seeds = dict.fromkeys(str(one["seed"]) for one in facts if one.get("seed") is not None)
    lines = [
        f"✓ {job.operation} by {', '.join(places)} in {seconds:.1f} s"
        + (f" · seed {', '.join(seeds)}" if seeds else "")
        + (f" · {cost}" if (cost := job_line(job)) else "")
        + f" · job {short(job.id)}"
    ]
    if any(one.get("ai") is False for one in facts):
        lines.append("  drawn without a model: not AI")
    if any(one.get("cutout_method") == "none" for one in facts):
        lines.append("  ! no subject stands out from its background: the picture is unchanged")
    sizes = dict.fromkeys(
        f"{one['requested_width']}×{one['requested_height']}" for one in facts if "requested_width" in one
    )
    if sizes:
        lines.append(f"  ! of another size than was asked for ({', '.join(sizes)})")
    ignored = dict.fromkeys(word for one in facts for word in one.get("ignored_terms") or ())
    if ignored:
        lines.append(f"  words of the prompt that had no effect: {', '.join(ignored)}")
    return lines + [f"  {line}" for line in dict.fromkeys(filter(None, map(_licence, facts)))]


def _licence(facts: Mapping[str, Any]) -> str:
    if "licence" not in facts or facts.get("commercial_use") is True:
        return ""
    verdict = (
        "NOT for commercial use" if facts.get("commercial_use") is False else "commercial use unconfirmed"
    )
    return f"! {facts.get('model')}: {verdict} ({facts['licence']})"


def _note(text: str) -> None:
    typer.echo(text, err=True)
