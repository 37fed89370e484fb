"""What can be made to go wrong at the emulated Scenario. Rows S1–S11 and F1–F5 of the failure catalogue.

    server.faults.add(FaultKind.too_many_jobs)
    server.faults.add(FaultKind.fail, prompt_word="failing", times=None)

Some rows are no faults but what the emulator does by itself: S1 (custom jobs are not canceled), S5 (a dry run answers
269), S7 (a bare value for an array is dropped), S8 (another input is another mode), S10 (links expire; each read of an
asset signs anew). Nothing is carried out here.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from genyard.testing.service import Fault


class FaultKind(StrEnum):
    """On the wire (matched by `route`, `"METHOD /v1/path"` as a prefix):

    answer           `status` and `body` in place of the real answer; nothing is carried out
    lose_answer      the request is carried out, then the connection breaks
    fail_after_start a job is started, and the answer is `status` (500): a client that sends it again pays twice (S9)
    too_many_jobs    429 with actionName and actionLimit (S2)
    cooldown         429 with remainingSeconds = `seconds` (S3)
    wrong_plan       403: the plan does not have this model (S4)
    protected        403 "API Keys cannot access protected resources" (S4)
    no_units         creative units are used up (S11)
    forget           a read of the job answers 404
    forget_asset     a read of the asset answers 404

    In a run (matched by `model`, `job`, or `prompt_word`, a word of its prompt):

    slow             it runs `seconds` longer
    hang             it never ends (a cancel still ends it, where it is allowed)
    wait             it stays queued, `seconds` longer or for ever
    warm             it is `warming-up` for `seconds`
    fail             failure with `message` as metadata.error, `hint` as metadata.hint
    cancel           status canceled, and nobody here asked for it
    no_outputs       success, and assetIds is empty
    word             its status reads `message` where it is `state` (S6): `succeeded` for `success`

    Of links: expired_link (the next link that is told has expired already, S10).
    Of uploads: upload_failed (ends as failed with `message`).

    Of files (matched by `route`, `"GET /cdn/"`): html, empty, truncate, shorten, wrong_type, missing_file;
    made wrongly (matched as a run): text_chunk, wrong_size, no_alpha.
    """

    answer = "answer"
    lose_answer = "lose_answer"
    fail_after_start = "fail_after_start"
    too_many_jobs = "too_many_jobs"
    cooldown = "cooldown"
    wrong_plan = "wrong_plan"
    protected = "protected"
    no_units = "no_units"
    forget = "forget"
    forget_asset = "forget_asset"
    slow = "slow"
    hang = "hang"
    wait = "wait"
    warm = "warm"
    fail = "fail"
    cancel = "cancel"
    no_outputs = "no_outputs"
    word = "word"
    expired_link = "expired_link"
    upload_failed = "upload_failed"
    html = "html"
    empty = "empty"
    truncate = "truncate"
    shorten = "shorten"
    wrong_type = "wrong_type"
    missing_file = "missing_file"
    text_chunk = "text_chunk"
    wrong_size = "wrong_size"
    no_alpha = "no_alpha"


@dataclass(frozen=True, kw_only=True)
class ScenarioFault(Fault):
    """`state` is the word that `message` stands for."""

    model: str | None = None
    job: str | None = None
    prompt_word: str | None = None
    state: str | None = None
    message: str = ""
    hint: str | None = None
