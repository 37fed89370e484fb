"""What can be made to go wrong: scriptable, counted, matched per route, node or prompt.

    server.faults.add(FaultKind.lose_answer, route="POST /prompt")
    server.faults.add(FaultKind.hang, node="KSampler")
    server.faults.add(FaultKind.answer, route="GET /view", status=502, body="<html>Bad Gateway</html>")

Nothing is carried out here: the server, the executor and the sockets ask `take()` where a fault can strike.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from genyard.testing import service


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
class Fault(service.Fault):
    """`node` is an id or a class; without a prompt's id it strikes any."""

    node: str | None = None
    prompt_id: str | None = None
    error_type: str = "ValueError"
    message: str = "genyard test: bad value\n"


class Faults(service.Faults[Fault]):
    """The script of one emulated ComfyUI."""

    def __init__(self) -> None:
        super().__init__(FaultKind, Fault)

    def out_of_memory(self, **details: Any) -> Fault:
        error_type, message = OUT_OF_MEMORY
        return self.add(FaultKind.raise_error, error_type=error_type, message=message, **details)
