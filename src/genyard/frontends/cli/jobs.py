"""Commands on jobs that are there: jobs, jobs show, cancel, rerun, delete."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

import genyard.frontends.cli.options as o
from genyard.frontends.cli.exits import print_json, wrong
from genyard.frontends.cli.session import Session, find_job, perform, short
from genyard.frontends.cli.table import summary

if TYPE_CHECKING:
    from genyard.jobs.model import Attempt, Job

jobs_app = typer.Typer(invoke_without_command=True, help=summary("jobs"))


def add_to(app: typer.Typer) -> None:
    app.add_typer(jobs_app, name="jobs")
    app.command(help=summary("cancel"))(cancel)
    app.command(help=summary("rerun"))(rerun)
    app.command(help=summary("delete"))(delete)


@jobs_app.callback()
def jobs(
    context: typer.Context,
    state: Annotated[str | None, typer.Option(help="queued, running, succeeded, failed, …")] = None,
    operation: Annotated[str | None, typer.Option(help="txt2img, img2img, …")] = None,
    tag: Annotated[str | None, typer.Option("--tag", "-t", help="Jobs with this tag.")] = None,
    search: o.Search = None,
    before: Annotated[str | None, typer.Option(metavar="ID", help="Jobs older than this one.")] = None,
    limit: o.Limit = 20,
    json: o.Json = False,
) -> None:
    if context.invoked_subcommand is None:
        perform(context, _list)


@jobs_app.command()
def show(
    context: typer.Context,
    job_id: o.JobId,
    wait: Annotated[bool, typer.Option("--wait", help="Follow it to its end.")] = False,
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="PATH", help="Save what it made: a file, folder or .zip."),
    ] = None,
    json: o.Json = False,
) -> None:
    """What was asked, where it stands, what came of it."""
    perform(context, _show)


def cancel(context: typer.Context, job_id: o.JobId, json: o.Json = False) -> None:
    perform(context, _cancel)


def rerun(
    context: typer.Context,
    job_id: o.JobId,
    new_seed: Annotated[bool, typer.Option("--new-seed", help="Draw other seeds.")] = False,
    output: o.Output = None,
    json: o.Json = False,
    detach: o.Detach = False,
) -> None:
    perform(context, _rerun)


def delete(context: typer.Context, job_id: o.JobId, yes: o.Yes = False, json: o.Json = False) -> None:
    perform(context, _delete)


async def _list(session: Session) -> None:
    from genyard.jobs.model import JobState
    from genyard.operations import OPERATIONS

    options = session.options
    if options["operation"] and options["operation"] not in OPERATIONS:
        raise wrong(f"{options['operation']!r} is not one of {', '.join(OPERATIONS)}", "--operation")
    if options["state"] and options["state"] not in JobState.__members__:
        raise wrong(f"{options['state']!r} is not one of {', '.join(JobState)}", "--state")
    filters: dict[str, Any] = {name: options[name] for name in ("state", "operation", "tag", "search")}
    async with session.open() as product:
        if options["before"]:
            filters["before"] = (await find_job(product, options["before"])).id
        found = await product.studio.jobs(limit=options["limit"], **filters)
    if session.as_json:
        print_json({"jobs": [job.as_json() for job in found]})
    else:
        _print_table(found)


async def _show(session: Session) -> int:
    from genyard.frontends.cli.files import choose_target
    from genyard.frontends.cli.produce import conclude, finish, stem_of
    from genyard.frontends.cli.watching import interrupts

    output = session.options["output"]
    target = choose_target(output)
    async with session.open() as product:
        job = await find_job(product, session.options["job_id"])
        stem = stem_of([dict(step) for step in job.steps])
        if session.options["wait"] and not job.state.ended:
            with interrupts() as stops:
                return await finish(session, product, job, target, stem, stops)
        if output and job.state.ended:
            return await conclude(session, product, job, target, stem)
    if output:
        raise wrong(f"the job is {job.state.value}; wait for it with --wait", "--output")
    if session.as_json:
        print_json({**job.as_json(), "files": []})
    else:
        _print_one(job)
    return 0


async def _cancel(session: Session) -> None:
    async with session.open() as product:
        found = await find_job(product, session.options["job_id"])
        job = await product.studio.cancel(found.id)
    if session.as_json:
        print_json(job.as_json())
    elif found.state.ended:
        typer.echo(
            f"job {short(job.id)} had already {'been canceled' if job.state == 'canceled' else job.state.value}"
        )
    else:
        typer.echo(f"job {short(job.id)} is {job.state.value}")


async def _rerun(session: Session) -> int:
    from genyard.frontends.cli.files import choose_target
    from genyard.frontends.cli.produce import detach, finish, stem_of
    from genyard.frontends.cli.watching import interrupts

    target = choose_target(session.options["output"])
    async with session.open() as product:
        old = await find_job(product, session.options["job_id"])
        with interrupts() as stops:
            job = await product.studio.rerun(old.id, new_seed=session.options["new_seed"])
            if session.options["detach"]:
                return await detach(session, product, job)
            stem = stem_of([dict(step) for step in job.steps])
            return await finish(session, product, job, target, stem, stops)


async def _delete(session: Session) -> None:
    async with session.open() as product:
        job = await find_job(product, session.options["job_id"])
        made = f"{len(job.outputs)} output{'' if len(job.outputs) == 1 else 's'}"
        confirm(session, f"Delete job {short(job.id)} ({job.operation}, {made}) for good?")
        await product.studio.delete(job.id)
    if session.as_json:
        print_json({"deleted": str(job.id)})
    else:
        typer.echo(f"deleted job {short(job.id)}")


def confirm(session: Session, question: str) -> None:
    """On a terminal it asks; elsewhere only --yes will do."""
    import sys

    if session.options["yes"]:
        return
    if not sys.stdin.isatty():
        raise wrong("nobody is there to ask: add --yes", "--yes")
    typer.confirm(question, abort=True, err=True)


def _print_table(found: Sequence[Job]) -> None:
    from genyard.frontends.cli.screen import print_rows

    if not found:
        typer.echo("no jobs fit; `genyard generate PROMPT` makes one", err=True)
        return
    rows = [
        (
            short(job.id),
            job.state.value,
            job.operation,
            f"{job.created_at.astimezone():%d %b %H:%M}",
            _took(job),
            str(len(job.outputs)),
            job.prompt.replace("\n", " · "),
        )
        for job in found
    ]
    print_rows(("id", "state", "operation", "asked", "took", "made", "prompt"), rows, _STATE_STYLE)


_STATE_STYLE = {"succeeded": "green", "failed": "red", "canceled": "dim", "expired": "dim"}


def _print_one(job: Job) -> None:
    from genyard.frontends.cli.prices import credits_line, gpu_line, job_line
    from genyard.frontends.cli.produce import about
    from genyard.frontends.cli.screen import stdout

    console = stdout()
    console.print(
        f"job {job.id} · {job.state.value}" + (f" · {job.detail}" if job.detail else ""), style="bold"
    )
    lines = about(job) if job.state == "succeeded" else []
    lines += [f"prompt: {job.prompt}"] if job.prompt else []
    lines += [f"waits: {job.queue.words}"] if job.queue else []
    lines += [f"tags: {', '.join(job.tags)}"] if job.tags else []
    lines += [f"error: {job.error['message']} ({job.error['code']})"] if job.error else []
    lines += [f"trace: {job.trace_id}"]
    for try_ in job.attempts:
        lines += _try_lines(try_, with_error=try_.error != job.error)
    lines += [f"execution: {told}"] if job.state != "succeeded" and (told := gpu_line(job)) else []
    lines += [f"cost: {told}"] if len(job.attempts) > 1 and (told := job_line(job)) else []
    lines += [credits_line(job.credits)] if job.credits else []
    for asset in job.outputs:
        size = f"{asset.width}×{asset.height}" if asset.width else asset.media_type
        lines.append(f"{asset.role} {short(asset.id)}: {asset.name}, {size}, {asset.bytes:,} bytes")
    if job.outputs:
        lines.append(f"save them: genyard jobs show {short(job.id)} -o FOLDER")
    for line in lines:
        console.print(line)


def _try_lines(try_: Attempt, *, with_error: bool) -> list[str]:
    """One try: where, when, how it ended, how long it ran, what it cost; and why it failed."""
    from genyard.frontends.cli.prices import attempt_line, seconds_told

    seconds = seconds_told(try_.seconds, try_.seconds_source)
    at = f"{try_.created_at.astimezone():%H:%M:%S}"
    told = [
        f"try {try_.number} of stage {try_.stage + 1} at {try_.endpoint} ({at}): {try_.state.value}"
        + (f" in {seconds}" if seconds else "")
    ]
    told += [cost] if (cost := attempt_line(try_)) else []
    line = " · ".join(told)
    if try_.error is None or not with_error:
        return [line]
    return [line, f"  {try_.error['message']} ({try_.error['code']})"]


def _took(job: Job) -> str:
    if job.queue is not None:
        return job.queue.words.replace("number ", "#").replace(" in the queue", "", 1)
    if job.started_at is None or job.finished_at is None:
        return ""
    return f"{(job.finished_at - job.started_at).total_seconds():.1f} s"
