"""What can be made to go wrong at the emulated Replicate. Rows P1–P12 and F1–F5 of the failure catalogue.

    server.faults.add(FaultKind.moderated)
    server.faults.add(FaultKind.slow, prompt_word="slowly", seconds=0.8, times=None)

Nothing is carried out here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from genyard.testing.service import Fault


class FaultKind(StrEnum):
    """On the wire (matched by `route`, `"METHOD /v1/path"` as a prefix):

    answer           `status` and `body` in place of the real answer; nothing is carried out
    lose_answer      the request is carried out, then the connection breaks
    fail_after_create a prediction is created, and the answer is `status` (500)
    throttle         429 (P2); `seconds` and `message` decide on the words, `headers` may bring Retry-After
    no_credit        402 (P6)
    bad_input        422 (P7)
    too_large        413 for a file
    forget           a read of the prediction answers 404

    In a run (matched by `model`, `prediction`, or `prompt_word`, a word of its prompt):

    slow             it runs `seconds` longer
    hang             it never ends (a cancel and a deadline still end it)
    wait             it stays `starting`, `seconds` longer or for ever
    fail             status failed with `message`
    moderated        the same with the words of the safety checker (P3)
    start_timeout    E6716 (P4)         unknown_error  E1000 (P4)
    out_of_memory    E1001 (P5)         interrupted    code PA (P12)
    abort            status aborted, before it started (P8)
    cancel           status canceled, and nobody here asked for it
    early_output     `processing` with the output filled for `seconds` (P9)
    no_output        succeeded, and the output is null
    withheld         succeeded, and of several outputs the last one is not there (a safety checker kept it)
    remove_data      input, output and logs are gone as soon as it has ended (P1)
    word             while it runs its status reads `message`

    Of webhooks (matched by `prediction`):

    wrong_signature, old_timestamp (P11), no_webhook, second_webhook (each one comes twice)

    Of files (matched by `route`, `"GET /delivery/"`): html, empty, truncate, shorten, wrong_type, missing_file;
    made wrongly (matched as a run): text_chunk, wrong_size, no_alpha.
    """

    answer = "answer"
    lose_answer = "lose_answer"
    fail_after_create = "fail_after_create"
    throttle = "throttle"
    no_credit = "no_credit"
    bad_input = "bad_input"
    too_large = "too_large"
    forget = "forget"
    slow = "slow"
    hang = "hang"
    wait = "wait"
    fail = "fail"
    moderated = "moderated"
    start_timeout = "start_timeout"
    unknown_error = "unknown_error"
    out_of_memory = "out_of_memory"
    interrupted = "interrupted"
    abort = "abort"
    cancel = "cancel"
    early_output = "early_output"
    no_output = "no_output"
    withheld = "withheld"
    remove_data = "remove_data"
    word = "word"
    wrong_signature = "wrong_signature"
    old_timestamp = "old_timestamp"
    no_webhook = "no_webhook"
    second_webhook = "second_webhook"
    html = "html"
    empty = "empty"
    truncate = "truncate"
    shorten = "shorten"
    wrong_type = "wrong_type"
    missing_file = "missing_file"
    text_chunk = "text_chunk"
    wrong_size = "wrong_size"
    no_alpha = "no_alpha"


#: The words that were documented or seen. Those behind a bare code are not confirmed.
ERRORS: Final[Mapping[FaultKind, str]] = {
    FaultKind.fail: "RuntimeError: mat1 and mat2 shapes cannot be multiplied (512x4096 and 2048x3072)",
    FaultKind.moderated: "NSFW content detected. Try running it again, or try a different prompt.",
    FaultKind.start_timeout: "Timeout while starting the prediction (E6716)",
    FaultKind.unknown_error: "An unknown error occurred (E1000)",
    FaultKind.out_of_memory: "The model ran out of memory (E1001)",
    FaultKind.interrupted: "Prediction interrupted; please retry (code: PA)",
}

#: Other words for P3 that were seen.
FLAGGED: Final = (
    "The input or output was flagged as sensitive. Please try again with different inputs. (E005)"
)


@dataclass(frozen=True, kw_only=True)
class ReplicateFault(Fault):
    model: str | None = None
    prediction: str | None = None
    prompt_word: str | None = None
    message: str = ""
