"""A batch from its file to its results: sort out what is done, check the rest, ask, run `--at-once` at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import typer

from genyard.errors import Code, GenyardError
from genyard.frontends.cli.batch.board import Board
from genyard.frontends.cli.batch.money import Budget, Offer, Price
from genyard.frontends.cli.batch.results import Results, alone, paths_of
from genyard.frontends.cli.batch.rows import Problem, Row, problem_of, read_rows, refuse
from genyard.frontends.cli.composition import Product
from genyard.frontends.cli.exits import EXIT_STATUS, INTERRUPTED, print_json, wrong
from genyard.frontends.cli.files import Target, save_job
from genyard.frontends.cli.hands import worker_at_hand
from genyard.frontends.cli.inputs import borrowed, read_file, upload, upload_inputs, with_ids
from genyard.frontends.cli.options import fields_from
from genyard.frontends.cli.prices import money, today_json
from genyard.frontends.cli.produce import stem_of
from genyard.frontends.cli.session import Session, short
from genyard.frontends.cli.watching import interrupts
from genyard.owners import LOCAL_OWNER

if TYPE_CHECKING:
    from genyard.jobs.model import Asset, Job

_AT_ONCE: Final = 8
_NO_PRICE: Final = Price(endpoints=(), paid=False, usd=0.0, held=0.0)


@dataclass(kw_only=True)
class Item:
    """A row that is not done. `job`: it was accepted before; else it is to be bought under `key`."""

    row: Row
    key: str
    job: UUID | None = None
    body: dict[str, Any] = field(default_factory=dict)
    price: Price = _NO_PRICE


async def run_batch(session: Session) -> int:
    _require_fitting(session)
    if session.options.get("dry_run"):
        return await estimate_batch(session)
    path = _file(session)
    rows, problems = read_rows(path)
    target, folder = paths_of(path, session.options["output"])
    with alone(path):
        results = Results.read(target)
        results.tidy([row.key for row in rows] if not problems else list(results.lines))
        async with session.open() as product:
            items = await _open_items(product, rows, results, retry=session.options["retry_failed"])
            uploads = Uploads(product)
            offer = await _checked(session, product, items, uploads, problems, len(rows) + len(problems))
            done = len(rows) - len(items)
            if not session.as_json:
                for line in offer.lines(done) if items else [f"all {done} rows are done"]:
                    typer.echo(line, err=True)
            try:
                offer.require_consent(
                    yes=session.options["yes"], max_usd=session.options["max_usd"], done=done
                )
            except (GenyardError, typer.Abort):
                async with borrowed(product, uploads.made):
                    raise
            run = Run(session, product, results, folder, Board(total=len(rows), done=done))
            interrupted = await run.all(items) if items else False
        results.tidy([row.key for row in rows])
    return _conclude(session, rows, results, interrupted)


async def estimate_batch(session: Session) -> int:
    """What is still to be bought, and for how much."""
    path = _file(session)
    rows, problems = read_rows(path)
    target, _ = paths_of(path, session.options["output"])
    async with session.open() as product:
        retry = session.options["retry_failed"]
        items = await _open_items(product, rows, Results.read(target), retry=retry)
        uploads = Uploads(product)
        offer = await _checked(session, product, items, uploads, problems, len(rows) + len(problems))
        async with borrowed(product, uploads.made):
            pass
    if session.as_json:
        print_json(offer.as_json())
    else:
        for line in offer.lines(len(rows) - len(items)):
            typer.echo(line)
    return 0


def _file(session: Session) -> Path:
    return Path(session.options["batch"]).expanduser()


def _require_fitting(session: Session) -> None:
    for option, word in (
        ("document", "WORKFLOW.json"),
        ("set_values", "--set"),
        ("media", "--media"),
        ("detach", "--detach"),
    ):
        if session.options[option]:
            raise wrong("it does not go with --batch", word)


async def _open_items(product: Product, rows: Sequence[Row], results: Results, *, retry: bool) -> list[Item]:
    """The rows that are not done, each with the job that it has already."""
    items = []
    for row in rows:
        line = results.lines.get(row.key)
        if line is not None and line["state"] == "succeeded":
            continue
        if line is not None and line["job_id"] and not retry:
            continue
        job_id, key = await _latest(product, row.key)
        if job_id is not None and retry:
            job = await product.studio.get(job_id)
            job_id = None if job.error is not None else job_id
        items.append(Item(row=row, key=key, job=job_id))
    return items


async def _latest(product: Product, key: str) -> tuple[UUID | None, str]:
    """The last job that was bought for a row, and the key of the next. `--retry-failed` counts them up."""
    found: UUID | None = None
    number = 1
    while True:
        name = key if number == 1 else f"{key}-{number}"
        hit = await product.jobs.find_by_idempotency_key(LOCAL_OWNER, name)
        if hit is None:
            return found, name
        found = hit[0]
        number += 1


class Uploads:
    """Each file once, however many rows name it, and however they name it."""

    def __init__(self, product: Product) -> None:
        self.made: list[Asset] = []
        self._product = product
        self._ids: dict[Path, asyncio.Task[str]] = {}

    async def ids(self, row: Row) -> dict[str, str]:
        return {word: await self._id(path.resolve(), word) for word, path in row.files.items()}

    async def _id(self, path: Path, word: str) -> str:
        if path not in self._ids:
            self._ids[path] = asyncio.create_task(self._upload(path, word))
        return await self._ids[path]

    async def _upload(self, path: Path, word: str) -> str:
        data = await asyncio.to_thread(read_file, str(path), "inputs")
        asset = await upload(self._product, word, data, "inputs")
        self.made.append(asset)
        return str(asset.id)


async def _checked(
    session: Session,
    product: Product,
    items: Sequence[Item],
    uploads: Uploads,
    problems: list[Problem],
    of: int,
) -> Offer:
    """Every row that is to be bought, planned as it will be: refused as a whole where one cannot be."""
    limit = asyncio.Semaphore(_AT_ONCE)
    common = fields_from(session.options)

    async def check(item: Item) -> None:
        async with limit:
            try:
                steps = with_ids(item.row.body["steps"], await uploads.ids(item.row))
                steps, _ = await upload_inputs(product, steps)
                item.body = {**common, **item.row.body, "steps": steps}
                if isinstance(tags := item.row.body.get("tags"), list):
                    item.body["tags"] = [*tags, *common.get("tags", ())]
                item.price = Price.of(await product.studio.estimate(item.body))
            except GenyardError as error:
                problems.append(problem_of(item.row.line, error))

    to_buy = [item for item in items if item.job is None]
    await asyncio.gather(*(check(item) for item in to_buy))
    if problems:
        async with borrowed(product, uploads.made):
            refuse(problems, of)
    endpoints = [name for item in to_buy for name in item.price.endpoints]
    today = today_json(await product.studio.spending(), session.settings, endpoints)
    return Offer(prices=[item.price for item in to_buy], today=today)


class Run:
    """The rows under way."""

    def __init__(
        self, session: Session, product: Product, results: Results, folder: Path, board: Board
    ) -> None:
        self._session = session
        self._product = product
        self._results = results
        self._folder = folder
        self._board = board
        self._budget = Budget(session.options["max_usd"])

    async def all(self, items: Sequence[Item]) -> bool:
        """Whether it was interrupted: what has begun then goes on, or waits for the next command."""
        waiting = iter(items)

        async def hand() -> None:
            for item in waiting:
                await self._one(item)

        async with worker_at_hand(self._session, self._product):
            with interrupts() as stops, self._board:
                hands = self._session.options["at_once"] or _AT_ONCE
                tasks = [asyncio.create_task(hand()) for _ in range(min(hands, len(items)))]
                return await _stopped_before(tasks, asyncio.create_task(stops.get()))

    async def _one(self, item: Item) -> None:
        number = item.row.number
        taken: float | None = None
        self._board.begin(number, stem_of(list(item.row.body["steps"])).replace("-", " "))
        try:
            if item.job is None:
                taken = self._budget.take(item.price)
                item.job = await self._submitted(item)
        except GenyardError as error:
            self._budget.settle(taken or 0.0, None)
            self._tell(item, None, "refused", error.as_json(), [])
            return
        async for event in self._product.studio.watch(item.job):
            self._board.see(number, event)
        job = await self._product.studio.get(item.job)
        if taken is not None:
            self._budget.settle(taken, job.as_json()["cost"])
        files = [] if job.error else await self._save(item.row, job)
        self._tell(item, job, job.state.value, job.error, files)

    async def _submitted(self, item: Item) -> UUID:
        studio = self._product.studio
        try:
            return (await studio.submit(item.body, idempotency_key=item.key)).job.id
        except GenyardError as error:
            # somebody else bought this very row a moment ago; only the ids of its uploaded files differ
            hit = await self._product.jobs.find_by_idempotency_key(LOCAL_OWNER, item.key)
            if error.code is not Code.request_conflict or hit is None:
                raise
            return hit[0]

    async def _save(self, row: Row, job: Job) -> list[str]:
        """By the job's id in the name, so that what is saved again after a crash is no second file."""
        stem = f"{row.number:04d}-{stem_of(list(row.body['steps']))}-{short(job.id)}"
        target = Target(folder=self._folder, file=self._folder / f"{stem}.png")
        return [str(path) for path in await save_job(self._product, job, target, stem)]

    def _tell(self, item: Item, job: Job | None, state: str, error: Any, files: list[str]) -> None:
        line = {
            "row": item.row.number,
            "line": item.row.line,
            "key": item.row.key,
            "job_id": str(job.id) if job else None,
            "state": state,
            "error": error,
            "cost": job.as_json()["cost"] if job else None,
            "files": files,
        }
        self._results.add(line)
        self._board.end(item.row.number, line)


async def _stopped_before(tasks: Sequence[asyncio.Task[None]], stopping: asyncio.Task[None]) -> bool:
    """True when `stopping` came before the tasks were done; they are canceled then, or when one of them breaks."""
    work = asyncio.gather(*tasks)
    awaited: set[asyncio.Future[Any]] = {work, stopping}
    try:
        await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            work.result()
        return not work.done()
    finally:
        for one in (*tasks, stopping):
            one.cancel()
        await asyncio.gather(work, *tasks, stopping, return_exceptions=True)


def _conclude(session: Session, rows: Sequence[Row], results: Results, interrupted: bool) -> int:
    lines = [results.lines[row.key] for row in rows if row.key in results.lines]
    failed = [line for line in lines if line["state"] != "succeeded"]
    costs = [line["cost"] for line in lines if line["cost"]]
    usd = sum(one["usd"] or 0.0 for one in costs)
    complete = all(one["complete"] for one in costs)
    told = {
        "results": str(results.path),
        "rows": len(rows),
        "succeeded": len(lines) - len(failed),
        "failed": len(failed),
        "open": len(rows) - len(lines),
        "cost": {"usd": usd, "complete": complete} if costs else None,
        "interrupted": interrupted,
    }
    if session.as_json:
        print_json(told)
    else:
        partly = f"{money(usd)} and a part that is not known" if usd else "cost not known"
        cost = f" · {money(usd) if complete else partly}" if costs else ""
        typer.echo(
            f"{told['succeeded']} of {len(rows)} rows succeeded, {len(failed)} failed, {told['open']} open{cost}",
            err=True,
        )
        if interrupted:
            typer.echo("the same command goes on where this one stopped", err=True)
        elif failed:
            typer.echo("the same command with --retry-failed asks for the failed ones again", err=True)
        typer.echo(str(results.path))
    if interrupted:
        return INTERRUPTED
    return EXIT_STATUS[Code(failed[0]["error"]["code"])] if failed else 0
