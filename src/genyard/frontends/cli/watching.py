"""Following a job to its end, and what Ctrl-C means meanwhile: cancel it, or leave it running."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING
from uuid import UUID

from genyard.errors import GenyardError
from genyard.frontends.cli.composition import Product
from genyard.frontends.cli.screen import Screen

if TYPE_CHECKING:
    from genyard.jobs.model import Job

Stops = asyncio.Queue[None]


async def follow(
    product: Product, job_id: UUID, screen: Screen, stops: Stops, *, needs_watcher: bool = False
) -> tuple[Job, bool]:
    """The job, and whether somebody interrupted. It has not ended where it was left running. `needs_watcher`: it is to
    be canceled when nobody watches, so nobody is asked."""
    interrupted = canceling = False
    watching = asyncio.create_task(_watch(product, job_id, screen))
    try:
        while not await _ended_before(watching, stops):
            first, interrupted = not interrupted, True
            if canceling:
                break  # once more: the job goes on being canceled without us
            if (first and needs_watcher) or await _wants_cancel(screen, watching, stops):
                canceling = True
                screen.say("canceling …")
                await product.studio.cancel(job_id)
            elif not watching.done():
                break
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
    return await product.studio.get(job_id), interrupted


@contextlib.contextmanager
def interrupts() -> Iterator[Stops]:
    """One entry per SIGINT or SIGTERM. From before the job is accepted, so that none of them leaves it unnamed."""
    loop = asyncio.get_running_loop()
    stops: Stops = asyncio.Queue()
    numbers = (signal.SIGINT, signal.SIGTERM)
    for number in numbers:
        loop.add_signal_handler(number, stops.put_nowait, None)
    try:
        yield stops
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


async def _ended_before(watching: asyncio.Task[None], stops: Stops) -> bool:
    """False at an interrupt."""
    stop = asyncio.create_task(stops.get())
    await asyncio.wait({watching, stop}, return_when=asyncio.FIRST_COMPLETED)
    stop.cancel()
    if watching.done():
        watching.result()
    return watching.done()


async def _wants_cancel(screen: Screen, watching: asyncio.Task[None], stops: Stops) -> bool:
    """Asks, where there is somebody to ask. A second Ctrl-C, or no answer before the end, leaves the job."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    screen.pause()
    screen.say("\nCancel the job or leave it running? [c/l] ", "bold", end="")
    answer = asyncio.create_task(_line())
    stop = asyncio.create_task(stops.get())
    try:
        await asyncio.wait({answer, stop, watching}, return_when=asyncio.FIRST_COMPLETED)
        canceled = answer.done() and answer.result().strip().lower().startswith("c")
    finally:
        for task in (answer, stop):
            task.cancel()
        await asyncio.gather(answer, stop, return_exceptions=True)
    if not stop.done() or stop.cancelled():
        screen.resume()
    return canceled


async def _line() -> str:
    """A line from the terminal without a thread, which could not be stopped."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(sys.stdin.fileno(), ready.set)
    try:
        await ready.wait()
        return sys.stdin.readline()
    finally:
        loop.remove_reader(sys.stdin.fileno())


async def _watch(product: Product, job_id: UUID, screen: Screen) -> None:
    async for event in product.studio.watch(job_id):
        screen.see(event)
        if event.data.get("preview"):
            with contextlib.suppress(GenyardError):  # the next one may have replaced it already
                screen.show(await product.studio.preview(job_id))
