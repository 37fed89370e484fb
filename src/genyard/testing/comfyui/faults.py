"""What can be made to go wrong: scriptable, counted, matched per route, node or prompt.

    server.faults.add(FaultKind.lose_answer, route="POST /prompt")
    server.faults.add(FaultKind.hang, node="KSampler")
    server.faults.add(FaultKind.answer, route="GET /view", status=502, body="<html>Bad Gateway</html>")

Nothing is carried out here: the server, the executor and the sockets ask `take()` where a fault can strike.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any


class FaultKind(StrEnum):
    """On the wire (matched by `route`, `"METHOD /path"` as a prefix, without /api):

    answer              `status` and `body` in place of the real answer; nothing is carried out
    lose_answer         the request is carried out, then the connection breaks
    fail_after_enqueue  POST /prompt enqueues, then answers 500
    node_errors         POST /prompt answers 200 with node_errors, and runs
    truncate            the body of /view ends at half its Content-Length
    shorten             half of the body of /view, with a Content-Length to match
    refuse_socket       /ws answers 503
    hide_history        a read of history finds nothing
    hide_everywhere     reads of queue, history and jobs find nothing, from the end of the run

    In a run (matched by `node`, an id or a class, and by `prompt_id`):

    slow                every step of the node takes `seconds` longer
    hang                the node never ends (an interrupt still ends it)
    raise_error         execution_error with `error_type` and `message`
    interrupt           somebody else interrupts the run there
    restart             the server dies there and comes back `seconds` later
    no_outputs          success, but the outputs are empty
    temp_outputs        success, but every file is of type temp
    delete_outputs      success, but the files are gone
    drop_socket         every socket breaks there
    mute                from there on no event of this run reaches a socket
    """

    answer = "answer"
    lose_answer = "lose_answer"
    fail_after_enqueue = "fail_after_enqueue"
    node_errors = "node_errors"
    truncate = "truncate"
    shorten = "shorten"
    refuse_socket = "refuse_socket"
    hide_history = "hide_history"
    hide_everywhere = "hide_everywhere"
    slow = "slow"
    hang = "hang"
    raise_error = "raise_error"
    interrupt = "interrupt"
    restart = "restart"
    no_outputs = "no_outputs"
    temp_outputs = "temp_outputs"
    delete_outputs = "delete_outputs"
    drop_socket = "drop_socket"
    mute = "mute"


OUT_OF_MEMORY = (
    "torch.OutOfMemoryError",
    "CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of 23.99 GiB of which "
    "1.00 GiB is free.\nThis error means you ran out of memory on your GPU.\n\nTIPS: If the workflow worked "
    "before you might have accidentally set the batch_size to a large number.",
)


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One thing that goes wrong `times` times (None: always)."""

    kind: FaultKind
    times: int | None = 1
    route: str | None = None
    node: str | None = None
    prompt_id: str | None = None
    seconds: float = 0.0
    status: int = 500
    body: str = ""
    content_type: str = "text/plain"
    headers: tuple[tuple[str, str], ...] = ()
    error_type: str = "ValueError"
    message: str = "genyard test: bad value\n"

    def strikes(self, route: str | None, nodes: tuple[str, ...], prompt_id: str | None) -> bool:
        return (
            (self.route is None or (route is not None and route.startswith(self.route)))
            and (self.node is None or self.node in nodes)
            and (self.prompt_id is None or prompt_id is None or self.prompt_id == prompt_id)
        )


class Faults:
    """The script of one emulator. `struck` counts what really went wrong, by kind."""

    def __init__(self) -> None:
        self._waiting: list[Fault] = []
        self.struck: dict[FaultKind, int] = {}

    def add(self, kind: FaultKind | str, **details: Any) -> Fault:
        fault = Fault(kind=FaultKind(kind), **details)
        self._waiting.append(fault)
        return fault

    def out_of_memory(self, **details: Any) -> Fault:
        error_type, message = OUT_OF_MEMORY
        return self.add(FaultKind.raise_error, error_type=error_type, message=message, **details)

    def clear(self) -> None:
        self._waiting.clear()

    def take(
        self,
        kind: FaultKind,
        *,
        route: str | None = None,
        nodes: tuple[str, ...] = (),
        prompt_id: str | None = None,
    ) -> Fault | None:
        """The first fault of this kind that strikes here; it counts as having happened once."""
        for place, fault in enumerate(self._waiting):
            if fault.kind is not kind or not fault.strikes(route, nodes, prompt_id):
                continue
            if fault.times is not None:
                left = replace(fault, times=fault.times - 1)
                self._waiting[place : place + 1] = [left] if left.times else []
            self.struck[kind] = self.struck.get(kind, 0) + 1
            return fault
        return None


class Changes:
    """Lets a test wait until something is true of the emulator, without sleeping."""

    def __init__(self) -> None:
        self._changed = asyncio.Event()

    def notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def until(self, predicate: Callable[[], bool], timeout: float = 20.0) -> None:
        async with asyncio.timeout(timeout):
            while not predicate():
                await self._changed.wait()
