"""What can go wrong at the emulated cloud: one kind per row of the failure catalogue that can be provoked there.

server.faults.add(FaultKind.lose_output, endpoint="emu-flux")
server.faults.add("throttled", times=None)              # until faults.clear("throttled")
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from genyard.testing import service


class FaultKind(StrEnum):
    """On the wire (matched by `route`, `"METHOD /path"` as a prefix; the catalogue's rows in brackets):

    answer              `status`, `body`, `headers` in place of the answer; nothing is carried out [R7 R8 R9]
    lose_answer         carried out, then the connection breaks
    not_yet             a status read finds 404, as directly after a submission [R3]
    forget              a status read finds 404 from now on: the record is gone [R3]
    stale_status        a status read tells `word` (default: a word that nobody knows) and nothing else

    States of an endpoint (matched by `endpoint`; they last until cleared, add them with `times=None`):

    throttled           no machine is free: nothing starts, `workers.throttled` counts [R4]
    initializing        machines start and never become ready [R4]
    unhealthy           machines crash again and again [R5]
    scaled_down         workers max is 0 after idle days; nothing starts until it is cleared [R6]
    one_machine         all jobs go to one worker [R13]

    In a job (matched by `endpoint`):

    lose_output         COMPLETED without `output`: the worker's result was not accepted [R1]
    execution_timeout   FAILED `executionTimeout exceeded`, after the work was done and billed [R2]
    time_out            TIMED_OUT [R2]
    fail                FAILED with `text` as `error`
    raise_error         FAILED with a JSON-encoded `error` of `error_type` and `text` [R10]
    hang                the worker never ends by itself [W13]
    slow                the work takes `seconds` longer
    skip_webhook        the webhook never comes [R11]
    repeat_webhook      it comes twice [R11]
    runs_again          the work is done once more after a cancel [R12]
    restart_worker      the worker dies in the middle of the job, and the job starts again elsewhere

    In worker-comfyui (matched by `endpoint`):

    unreachable         FAILED `ComfyUI server (127.0.0.1:8188) not reachable after multiple retries.` [W1]
    no_images           COMPLETED `success_no_images` [W2]
    partial             images and `errors` with `text` [W3]
    fewer_images        the last image is missing, COMPLETED [W4]
    processing_failed   FAILED `Job processing failed`, `text` in `output.details` (default: out of memory) [W5]
    race                FAILED `Job processing failed, prompt ID not found in history.` [W6]
    simulated_upload    `type: s3_url` whose data is a local path [W10]
    upload_failed       FAILED, the bucket refused the file, the reason in `output.details` [W11]
    connection_lost     FAILED `WebSocket communication error: Connection closed …` [W12]

    In what comes out (matched by `endpoint`):

    html                a page in place of each file [F1]
    empty               zero bytes in place of each file [F1]
    cut                 two thirds of each file [F2]
    wrong_size          each picture at half its size [F5]
    no_alpha            each picture without transparency [F5]
    dead_link           each link answers 403, as after its time [R15]
    cut_transfer        the body of a file ends at half its Content-Length [F2]
    redirect            each link leads elsewhere, to `text`
    private_link        links name `text` (default: the cloud's metadata address) in place of a file of ours
    """

    answer = "answer"
    lose_answer = "lose_answer"
    not_yet = "not_yet"
    forget = "forget"
    stale_status = "stale_status"
    throttled = "throttled"
    initializing = "initializing"
    unhealthy = "unhealthy"
    scaled_down = "scaled_down"
    one_machine = "one_machine"
    lose_output = "lose_output"
    execution_timeout = "execution_timeout"
    time_out = "time_out"
    fail = "fail"
    raise_error = "raise_error"
    hang = "hang"
    slow = "slow"
    skip_webhook = "skip_webhook"
    repeat_webhook = "repeat_webhook"
    runs_again = "runs_again"
    restart_worker = "restart_worker"
    unreachable = "unreachable"
    no_images = "no_images"
    partial = "partial"
    fewer_images = "fewer_images"
    processing_failed = "processing_failed"
    race = "race"
    simulated_upload = "simulated_upload"
    upload_failed = "upload_failed"
    connection_lost = "connection_lost"
    html = "html"
    empty = "empty"
    cut = "cut"
    wrong_size = "wrong_size"
    no_alpha = "no_alpha"
    dead_link = "dead_link"
    cut_transfer = "cut_transfer"
    redirect = "redirect"
    private_link = "private_link"


#: What keeps an endpoint from starting anything, while such a fault is in the list.
STANDSTILLS: Final = (
    FaultKind.throttled,
    FaultKind.initializing,
    FaultKind.unhealthy,
    FaultKind.scaled_down,
)

OUT_OF_MEMORY: Final = (
    "Workflow execution error: Node Type: KSampler, Node ID: 3, Message: CUDA out of memory. Tried to allocate "
    "20.00 GiB. GPU 0 has a total capacity of 23.99 GiB of which 1.00 GiB is free.\nThis error means you ran out of "
    "memory on your GPU.\n\nTIPS: If the workflow worked before you might have accidentally set the batch_size to a "
    "large number."
)


@dataclass(frozen=True, kw_only=True)
class Fault(service.Fault):
    """`endpoint` is an endpoint's id; without one it strikes any. `text`, `word`, `error_type` are what is told."""

    endpoint: str | None = None
    text: str | None = None
    word: str = "PAUSED_BY_VENDOR"
    error_type: str = "<class 'ValueError'>"
