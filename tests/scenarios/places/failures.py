"""The failure catalogue as a table: what goes wrong where, and what must come of the job.

One row of `CASES` is one way in which a row of the catalogue can happen at an emulated place. `NOT_PROVOKED` says
which rows no emulator can make happen by nature, and what looks after them instead. How a case is run is in
`failing`, the assertions that hold for all of them in `test_failures`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from genyard.errors import Code, Remedy
from genyard.jobs.model import Job, JobState
from genyard.testing.replicate import FLAGGED
from scenarios.places import failing
from scenarios.places.failing import World

Json = Any
Cost = Literal["free", "known", "zero", "unknown", "nothing"]
Body = Mapping[str, Json]

#: Every row of the catalogue's tables (shared/reference/failures.md).
CATALOGUE: Final = (
    *(f"C{number}" for number in range(1, 28)),
    *(f"R{number}" for number in range(1, 16)),
    *(f"W{number}" for number in range(1, 15)),
    *(f"S{number}" for number in range(1, 12)),
    *(f"P{number}" for number in range(1, 13)),
    *(f"F{number}" for number in range(1, 6)),
)

PROMPT: Final = "a red dragon, zebra-quartz-lantern"


def drawing(side: int, **more: Json) -> Body:
    parameters = {"prompt": PROMPT, "width": side, "height": side, "steps": 2, **more}
    return {"operation": "txt2img", "parameters": parameters}


def redrawing(side: int, **more: Json) -> Body:
    return {**drawing(side, **more), "operation": "img2img", "inputs": {"image": "@picture"}}


CUTTING: Final[Body] = {"operation": "remove_background", "inputs": {"image": "@picture"}}
ANIMATING: Final[Body] = {"operation": "animate_photo", "inputs": {"image": "@picture", "video": "@clip"}}

#: What is asked of an endpoint unless a case says otherwise.
USUAL: Final[Mapping[str, Body]] = {
    "comfyui": {**drawing(64), "model": "sdxl"},
    "flux": drawing(64),
    "flux-impatient": drawing(64),
    "links": drawing(64),
    "sleeping": drawing(64),
    "public": drawing(256),
    "background": CUTTING,
    "worker": {**drawing(64), "model": "sdxl"},
    "worker-impatient": {**drawing(64), "model": "sdxl"},
    "worker-dark": {**drawing(64), "model": "sdxl"},
    "worker-bucket": {**drawing(64), "model": "sdxl"},
    "scenario": drawing(128),
    "replicate": {**drawing(64), "model": "sdxl"},
}


@dataclass(frozen=True, kw_only=True)
class Case:
    """One failure at one place.

    row       of the catalogue; `how` tells several cases of a row apart
    at        the endpoint; `body` what is asked of it
    faults    of its emulator; `prepare` surrounds the job with a change of the place that is no fault
    play      what is done besides submitting and waiting; it returns the job that is judged
    state, code, remedy   what must come of the job
    attempts  how many the job has; `bought` is how many runs the place took in, `runs` how many it began
    cost      of the job: `free` at places that cost nothing, `unknown` for what somebody may have to pay,
              `nothing` where nothing was ever taken in
    says      parts of the message; `check` whatever else must be true
    wrong     why it is not so yet: the case must fail until somebody puts it right
    """

    row: str
    at: str
    how: str = ""
    body: Body | None = None
    faults: tuple[Mapping[str, Json], ...] = ()
    prepare: Callable[[World], AbstractContextManager[None]] | None = None
    play: Callable[[World, Case], Awaitable[Job]] = field(default=failing.plainly)
    state: JobState = JobState.failed
    code: Code | None = None
    remedy: Remedy | None = None
    attempts: int = 1
    bought: int = 1
    runs: int | None = None
    cost: Cost = "known"
    says: tuple[str, ...] = ()
    check: Callable[[World, Job], Awaitable[None]] | None = None
    wrong: str = ""

    @property
    def request(self) -> Body:
        return self.body or USUAL[self.at]

    @property
    def name(self) -> str:
        return " ".join(one for one in (self.row, self.how, f"at {self.at}") if one)


def fault(kind: str, *, times: int | None = 1, **details: Json) -> Mapping[str, Json]:
    return {"kind": kind, "times": times, **details}


def always(kind: str, **details: Json) -> Mapping[str, Json]:
    return fault(kind, times=None, **details)


def answer(
    route: str, status: int, body: str = "", *, times: int | None = 1, **more: Json
) -> Mapping[str, Json]:
    return fault("answer", times=times, route=route, status=status, body=body, **more)


def goes_well(row: str, at: str, **more: Any) -> Case:
    """It goes wrong on the way, and the job succeeds all the same."""
    return Case(row=row, at=at, state=JobState.succeeded, **more)


def ends_as(row: str, at: str, code: Code, remedy: Remedy, **more: Any) -> Case:
    return Case(row=row, at=at, code=code, remedy=remedy, **more)


FIX, HERE, OTHER, OPERATOR = Remedy.fix_request, Remedy.retry_here, Remedy.try_elsewhere, Remedy.operator
HTML: Final = "<!DOCTYPE html><html><body>Please sign in</body></html>"
NOWHERE: Final = {"bought": 0, "cost": "nothing"}

# 1. A ComfyUI server. Runs cost nothing, and can be found again: they may be tried up to three times.

FREE: Final[dict[str, Any]] = {"at": "comfyui", "cost": "free"}
OOM: Final = {
    "error_type": "torch.OutOfMemoryError",
    "message": "CUDA out of memory. Tried to allocate 20 GiB.",
}


def raised(text: str, kind: str = "RuntimeError", **more: Json) -> tuple[Mapping[str, Json], ...]:
    return (fault("raise_error", node="KSampler", error_type=kind, message=text, **more),)


COMFYUI: Final = (
    ends_as("C1", code=Code.provider_missing, remedy=OPERATOR, prepare=failing.without_node, bought=0,
            says=("VAEDecode",), **FREE),
    ends_as("C2", code=Code.provider_missing, remedy=OPERATOR, prepare=failing.without_files, bought=0,
            says=("ckpt_name", "not in []"), **FREE),
    ends_as("C3", code=Code.provider_missing, remedy=OPERATOR, prepare=failing.with_other_files, bought=0,
            says=("sd_xl_base_1.0.safetensors",), **FREE),
    ends_as("C4", how="a value", code=Code.workflow_invalid, remedy=FIX, prepare=failing.with_lower_maximum,
            bought=0, says=("steps",), **FREE),
    ends_as("C4", how="an input", code=Code.workflow_invalid, remedy=FIX, prepare=failing.with_another_input,
            bought=0, says=("genyard_new",), **FREE),
    goes_well("C5", body=redrawing(64, strength=0.5) | {"model": "sdxl"}, attempts=2, faults=(
        answer("POST /upload/image", 200, '{"name": "nope.png", "subfolder": "", "type": "input"}',
               content_type="application/json"),), **FREE),
    ends_as("C6", code=Code.workflow_invalid, remedy=FIX, faults=(fault("node_errors"),),
            prepare=failing.while_it_hangs, check=failing.was_stopped, **FREE),
    goes_well("C7", faults=(fault("fail_after_enqueue"),), **FREE),
    goes_well("C8", how="it arrived", faults=(fault("lose_answer", route="POST /prompt"),), **FREE),
    goes_well("C8", how="it did not arrive", attempts=2, faults=(answer("POST /prompt", 504, HTML),), **FREE),
    goes_well("C9", how="for a moment", faults=(fault("hide_everywhere", times=3),), **FREE),
    goes_well("C9", how="for good", attempts=2, bought=2, faults=(always("hide_everywhere"),),
              play=failing.until_it_tries_again, **FREE),
    goes_well("C10", prepare=failing.with_late_history, **FREE),
    ends_as("C11", how="nothing", code=Code.provider_lost_output, remedy=OTHER, faults=(fault("no_outputs"),),
            **FREE),
    ends_as("C11", how="temporary", code=Code.provider_lost_output, remedy=OTHER,
            faults=(always("temp_outputs"),), says=("temporary",), **FREE),
    goes_well("C12", bought=2, play=failing.twice_with_files_deleted, **FREE),
    goes_well("C13", how="by somebody else", attempts=2, bought=2,
              faults=(fault("interrupt", node="KSampler"),), **FREE),
    ends_as("C13", how="by somebody else, always", code=Code.provider_interrupted, remedy=HERE, attempts=3,
            bought=3, faults=(always("interrupt", node="KSampler"),), **FREE),
    ends_as("C13", how="by us", state=JobState.canceled, code=Code.canceled, remedy=FIX,
            faults=(fault("hang", node="KSampler"),), play=failing.canceled_while_running, **FREE),
    ends_as("C14", code=Code.provider_failed, remedy=OTHER, body=failing.SAVES_THEN_FAILS,
            check=failing.delivers_nothing, **FREE),
    goes_well("C15", how="once", attempts=2, bought=2, faults=raised(OOM["message"], OOM["error_type"]),
              check=failing.was_freed, **FREE),
    ends_as("C15", how="always", code=Code.provider_out_of_memory, remedy=HERE, attempts=3, bought=3,
            faults=raised(OOM["message"], OOM["error_type"], times=None), says=("smaller size",), **FREE),
    ends_as("C16", code=Code.provider_failed, remedy=OTHER, says=("main memory",),
            faults=raised("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried", times=None),
            **FREE),
    ends_as("C17", code=Code.provider_missing, remedy=OPERATOR, says=("check the model files",),
            faults=raised("mat1 and mat2 shapes cannot be multiplied (512x4096 and 2048x3072)"), **FREE),
    ends_as("C18", code=Code.media_invalid, remedy=FIX, faults=raised(
        "[Errno 1094995529] Invalid data found when processing input", "av.error.InvalidDataError"), **FREE),
    ends_as("C19", code=Code.provider_missing, remedy=OPERATOR, says=("install",),
            faults=raised("Error downloading model files: no network", "Exception"), **FREE),
    goes_well("C20", attempts=2, bought=2, faults=(fault("restart", node="KSampler"),), **FREE),
    goes_well("C21", bought=2, play=failing.two_clients_at_once, **FREE),
    goes_well("C22", faults=(fault("mute"),), **FREE),
    ends_as("C23", code=Code.request_unsupported, remedy=FIX, bought=0, says=("413",),
            body=redrawing(64, strength=0.5) | {"model": "sdxl"},
            faults=(answer("POST /upload/image", 413, "Maximum request body size 104857600 exceeded."),), **FREE),
    goes_well("C24", body=redrawing(64, strength=0.5) | {"model": "sdxl"}, prepare=failing.with_a_taken_name,
              check=failing.used_the_returned_name, **FREE),
    goes_well("C25", body=redrawing(64, strength=0.5) | {"model": "sdxl"}, check=failing.uploaded_no_mask, **FREE),
    ends_as("C26", how="404", code=Code.provider_lost_output, remedy=OTHER, faults=(fault("delete_outputs"),),
            **FREE),
    ends_as("C26", how="400", code=Code.provider_lost_output, remedy=OTHER,
            faults=(answer("GET /view", 400),), **FREE),
    goes_well("C27", attempts=2, bought=2, play=failing.deleted_while_it_waits, **FREE),
)  # fmt: skip

# 2. RunPod's cloud. A run that was paid for is bought once more at most; what is in doubt never is.

RUNPOD: Final = (
    ends_as("R1", "flux", Code.provider_lost_output, OTHER, faults=(fault("lose_output"),), says=("bucket",)),
    ends_as("R2", "flux", Code.provider_timeout, OTHER, how="FAILED", faults=(fault("execution_timeout"),)),
    ends_as("R2", "flux", Code.provider_timeout, OTHER, how="TIMED_OUT", faults=(fault("time_out"),)),
    goes_well("R3", "flux", how="not yet", faults=(fault("not_yet", times=2),)),
    ends_as("R3", "flux", Code.provider_lost, OTHER, how="forgotten", cost="unknown",
            faults=(fault("hang"),), play=failing.forgotten_at_runpod),
    ends_as("R4", "flux-impatient", Code.provider_no_capacity, OTHER, how="no GPU", runs=0, cost="unknown",
            faults=(always("throttled"),), says=("no GPU free",), check=failing.is_canceled_there),
    ends_as("R4", "flux-impatient", Code.provider_no_capacity, OTHER, how="it starts for ever", runs=0,
            cost="unknown", faults=(always("initializing"),), check=failing.is_canceled_there),
    # No code says "the place is broken": the job may go elsewhere, and `check` tells the operator.
    ends_as("R5", "flux-impatient", Code.provider_no_capacity, OTHER, runs=0, cost="unknown",
            faults=(always("unhealthy"),), says=("machines crash", "console"), play=failing.and_looked_at,
            check=failing.is_canceled_there),
    ends_as("R6", "sleeping", Code.provider_no_capacity, OTHER, runs=0, cost="unknown",
            faults=(always("scaled_down"),), play=failing.scaled_down, check=failing.is_canceled_there),
    goes_well("R7", "flux", how="at the submission", attempts=2, faults=(
        answer("POST /v2/emu-flux/run", 429, headers=(("Retry-After", "0"),)),)),
    goes_well("R7", "flux", how="while it runs", faults=(
        answer("GET /v2/emu-flux/status", 429, times=2, headers=(("Retry-After", "0"),)),)),
    ends_as("R7", "flux", Code.provider_busy, HERE, how="always", attempts=20, **NOWHERE, faults=(
        answer("POST /v2/emu-flux/run", 429, times=None, headers=(("Retry-After", "0"),)),)),
    *(ends_as("R8", "flux", Code.provider_rejected, OPERATOR, how=str(status), **NOWHERE, says=("RUNPOD_API_KEY",),
              faults=(answer("POST /v2/emu-flux/run", status),)) for status in (401, 403)),
    *(ends_as("R9", "worker", Code.request_unsupported, FIX, how=str(status), **NOWHERE, says=("10 MB",),
              body=redrawing(64, strength=0.5) | {"model": "sdxl", "inputs": {"image": "@large"}},
              faults=(answer("POST /v2/emu-worker/run", status),)) for status in (400, 413)),
    ends_as("R10", "flux", Code.provider_failed, OTHER, says=("ValueError: bad thing",),
            faults=(fault("raise_error", text="bad thing in /workspace/models/flux/x.py"),)),
    goes_well("R11", "flux", how="it never comes", faults=(fault("skip_webhook"),)),
    goes_well("R11", "flux", how="it comes twice", faults=(fault("repeat_webhook"),)),
    ends_as("R12", "flux", Code.canceled, FIX, state=JobState.canceled, runs=2,
            faults=(fault("hang"), fault("runs_again")), play=failing.canceled_while_running),
    goes_well("R13", "flux", bought=3, faults=(always("one_machine"),), play=failing.three_at_once),
    ends_as("R14", "public", Code.request_unsupported, FIX, cost="unknown", says=("divisible by 64",),
            faults=(fault("fail", text="Invalid parameter: width must be divisible by 64"),)),
    ends_as("R15", "public", Code.provider_lost_output, OTHER, how="at once", faults=(fault("dead_link"),)),
    goes_well("R15", "public", how="a week later", check=failing.still_has_it_after_a_week),
)  # fmt: skip

# 3. worker-comfyui

WORKER: Final = (
    goes_well("W1", "worker", how="once", attempts=2, bought=2, faults=(fault("unreachable"),)),
    ends_as("W1", "worker", Code.provider_interrupted, HERE, how="always", attempts=2, bought=2,
            faults=(always("unreachable"),), says=("5.8.5", "logs")),
    ends_as("W2", "worker", Code.provider_lost_output, OTHER, faults=(fault("no_images"),), says=("SaveImage",)),
    ends_as("W3", "worker", Code.provider_failed, OTHER, check=failing.delivers_nothing,
            faults=(fault("partial", text="Failed to fetch image data for b.png from /view endpoint."),)),
    ends_as("W4", "worker", Code.provider_lost_output, OTHER, body=failing.SAVES_TWICE,
            faults=(fault("fewer_images"),), says=("1 of the expected files",), check=failing.delivers_nothing),
    ends_as("W5", "worker", Code.provider_out_of_memory, HERE, how="details say memory",
            faults=(fault("processing_failed"),), says=("smaller size",)),
    ends_as("W5", "worker", Code.provider_failed, OTHER, how="details say something else", says=("bad value",),
            faults=(fault("processing_failed", text="Workflow execution error: Node Type: KSampler, Node ID: 3, "
                          "Message: bad value"),)),
    goes_well("W5", "worker-dark", how="no details, once", attempts=2, bought=2, faults=(fault("processing_failed"),)),
    ends_as("W5", "worker-dark", Code.provider_interrupted, HERE, how="no details, always", attempts=2, bought=2,
            faults=(always("processing_failed"),)),
    goes_well("W6", "worker-dark", how="once", attempts=2, bought=2, faults=(fault("race"),)),
    ends_as("W6", "worker-dark", Code.provider_interrupted, HERE, how="always", attempts=2, bought=2,
            faults=(always("race"),)),
    ends_as("W7", "worker", Code.provider_missing, OPERATOR, how="a model", prepare=failing.worker_without_files,
            says=("ckpt_name",)),
    ends_as("W7", "worker", Code.workflow_invalid, FIX, how="an input", prepare=failing.worker_with_another_input,
            says=("genyard_new",)),
    ends_as("W8", "worker", Code.provider_missing, OPERATOR, prepare=failing.worker_without_node,
            says=("VAEDecode", "image")),
    *(ends_as("W9", "worker", Code.internal, OPERATOR, how=how, faults=(fault("fail", text=text),)) for how, text in (
        ("images", "'images' must be a list of objects with 'name' and 'image' keys"),
        ("workflow", "Missing 'workflow' parameter"))),
    ends_as("W10", "worker-bucket", Code.provider_protocol, OPERATOR, faults=(fault("simulated_upload"),),
            says=("BUCKET_",)),
    ends_as("W11", "worker-bucket", Code.provider_protocol, OPERATOR, faults=(fault("upload_failed"),),
            says=("BUCKET_ENDPOINT_URL",)),
    goes_well("W12", "worker", how="once", attempts=2, bought=2, faults=(fault("connection_lost"),)),
    ends_as("W12", "worker", Code.provider_interrupted, HERE, how="always", attempts=2, bought=2,
            faults=(always("connection_lost"),), says=("memory",)),
    ends_as("W13", "worker-impatient", Code.provider_timeout, OTHER, faults=(fault("hang"),),
            check=failing.is_canceled_there),
    goes_well("W14", "worker", bought=2, play=failing.two_inputs_of_one_name),
)  # fmt: skip

# 4. Scenario. Failed runs are refunded; most runs cannot be canceled.

GENERATE: Final = "POST /v1/generate/"
SCENARIO: Final = (
    ends_as("S1", "scenario", Code.canceled, FIX, state=JobState.canceled, faults=(fault("slow", seconds=1.0),),
            play=failing.canceled_and_detached, check=failing.delivers_nothing),
    goes_well("S2", "scenario", how="once", attempts=2, faults=(fault("too_many_jobs"),)),
    ends_as("S2", "scenario", Code.provider_busy, HERE, how="always", attempts=20, **NOWHERE,
            faults=(always("too_many_jobs"),), says=("parallelCustomJobs",)),
    goes_well("S3", "scenario", attempts=2, faults=(fault("cooldown", seconds=0.05),)),
    ends_as("S4", "scenario", Code.provider_rejected, OPERATOR, how="plan", **NOWHERE, says=("plan",),
            faults=(fault("wrong_plan"),)),
    ends_as("S4", "scenario", Code.provider_rejected, OPERATOR, how="protected", **NOWHERE,
            says=("SCENARIO_API_KEY",), faults=(fault("protected", route=GENERATE),)),
    goes_well("S5", "scenario", play=failing.estimated_first),
    *(goes_well("S6", "scenario", how=word, faults=(fault("word", state="success", message=word),))
      for word in ("succeeded", "completed")),
    *(ends_as("S6", "scenario", Code.provider_failed, OTHER, how=word, cost="zero",
              faults=(fault("word", state="failure", message=word), fault("fail"))) for word in ("error", "failed")),
    goes_well("S6", "scenario", how="a new word", faults=(
        fault("word", state="in-progress", message="pondering"), fault("slow", seconds=0.3))),
    goes_well("S7", "scenario", body=drawing(128, loras=[{"name": "model_mine", "strength": 0.5}]),
              check=failing.loras_arrived_as_a_list),
    goes_well("S8", "scenario", body=redrawing(128, strength=0.5), check=failing.the_picture_is_no_control_image),
    *(ends_as("S9", "scenario", Code.provider_lost, OTHER, how=str(status), cost="unknown",
              faults=(fault("fail_after_start", status=status),)) for status in (500, 503)),
    ends_as("S9", "scenario", Code.provider_lost, OTHER, how="no answer", cost="unknown",
            faults=(fault("lose_answer", route=GENERATE),)),
    goes_well("S10", "scenario", how="once", faults=(fault("expired_link"),)),
    ends_as("S10", "scenario", Code.provider_lost_output, OTHER, how="always", faults=(always("expired_link"),)),
    ends_as("S11", "scenario", Code.provider_rejected, OPERATOR, **NOWHERE, says=("units",),
            faults=(fault("no_units"),)),
)  # fmt: skip

# 5. Replicate

PREDICTING: Final = "POST /v1/predictions"
REPLICATE: Final = (
    ends_as("P1", "replicate", Code.provider_lost_output, OTHER, faults=(fault("remove_data"),), says=("removed",)),
    goes_well("P2", "replicate", how="in words", attempts=2, faults=(
        fault("throttle", route=PREDICTING, message="Request was throttled. Expected available in 0.1 seconds."),)),
    goes_well("P2", "replicate", how="by its header", attempts=2, faults=(
        fault("throttle", route=PREDICTING, headers=(("Retry-After", "0"),)),)),
    goes_well("P2", "replicate", how="while it runs", faults=(
        fault("throttle", route="GET /v1/predictions/", message="Your rate limit resets in ~0.1s."),)),
    *(ends_as("P3", "replicate", Code.content_rejected, FIX, how=how, faults=(fault("fail", message=text),))
      for how, text in (("NSFW", "NSFW content detected. Try running it again, or try a different prompt."),
                        ("flagged", FLAGGED), ("policy", "This violates our content policy."))),
    *(goes_well("P4", "replicate", how=f"{kind}, once", attempts=2, bought=2, faults=(fault(kind),))
      for kind in ("start_timeout", "unknown_error")),
    ends_as("P4", "replicate", Code.provider_interrupted, HERE, how="always", attempts=2, bought=2,
            faults=(always("start_timeout"),)),
    ends_as("P5", "replicate", Code.provider_out_of_memory, HERE, faults=(fault("out_of_memory"),),
            says=("smaller size",)),
    ends_as("P6", "replicate", Code.provider_rejected, OPERATOR, **NOWHERE, says=("billing",),
            faults=(fault("no_credit"),)),
    ends_as("P7", "replicate", Code.request_invalid, FIX, **NOWHERE, faults=(fault("bad_input"),)),
    goes_well("P8", "replicate", attempts=2, bought=2, runs=1, faults=(fault("abort"),)),
    goes_well("P9", "replicate", faults=(fault("early_output", seconds=0.3),)),
    ends_as("P10", "replicate", Code.provider_timeout, OTHER, faults=(fault("hang"),), play=failing.a_day_passes),
    *(goes_well("P11", "replicate", how=kind, faults=(always(kind),), check=failing.hooks_were_refused)
      for kind in ("wrong_signature", "old_timestamp")),
    goes_well("P12", "replicate", how="once", attempts=2, bought=2, faults=(fault("interrupted"),)),
    ends_as("P12", "replicate", Code.provider_interrupted, HERE, how="always", attempts=2, bought=2,
            faults=(always("interrupted"),)),
)  # fmt: skip

# 6. What comes out, anywhere

BAD: Final[dict[str, Any]] = {"code": Code.provider_bad_output, "remedy": OTHER}
SECRET_PLACE: Final = "http://169.254.169.254/latest/meta-data/"
RESULTS: Final = (
    ends_as("F1", how="a page", faults=(answer("GET /view", 200, HTML, times=None, content_type="text/html"),),
            **BAD, **FREE),
    ends_as("F1", how="nothing", faults=(answer("GET /view", 200, "", times=None),),
            **BAD, **FREE),
    *(ends_as("F1", at, how=how, faults=(fault(kind),), **BAD)
      for at in ("flux", "links", "background", "worker", "worker-bucket", "public")
      for how, kind in (("a page", "html"), ("nothing", "empty"))),
    *(ends_as("F1", at, how=how, faults=(always(kind),), **BAD)
      for at in ("scenario", "replicate") for how, kind in (("a page", "html"), ("nothing", "empty"))),
    ends_as("F1", "links", how="a private address", faults=(fault("private_link", text=SECRET_PLACE),),
            says=("private network",), **BAD),
    ends_as("F1", "links", how="a redirect to one", faults=(fault("redirect", text=SECRET_PLACE),),
            says=("private network",), **BAD),
    ends_as("F1", "links", how="a redirect to this machine", faults=(fault("redirect", text="http://127.0.0.1:9/"),),
            says=("private network",), **BAD),
    ends_as("F1", "links", how="another scheme", faults=(fault("private_link", text="file:///etc/passwd"),), **BAD),
    ends_as("F1", "replicate", how="a private address", prepare=failing.delivered_from_a_private_address,
            says=("private network",), **BAD),
    ends_as("F2", how="video", body=ANIMATING, faults=(always("shorten"),), **BAD, **FREE),
    ends_as("F2", how="picture", faults=(always("shorten"),), **BAD, **FREE),
    ends_as("F2", "replicate", how="video", body=ANIMATING, faults=(always("shorten"),), **BAD),
    *(ends_as("F2", at, how="picture", faults=(always("shorten"),), **BAD) for at in ("scenario", "replicate")),
    *(ends_as("F2", at, how="picture", faults=(fault("cut"),), **BAD) for at in ("flux", "worker", "links")),
    *(goes_well("F2", at, how="the first transfer", faults=(fault("truncate"),)) for at in ("scenario", "replicate")),
    ends_as("F2", "links", how="every transfer", faults=(fault("cut_transfer"),), says=("ended early",), **BAD),
    *(goes_well("F3", at, faults=(always("wrong_type"),), check=failing.is_a_png) for at in ("scenario", "replicate")),
    goes_well("F3", "worker-bucket", check=failing.is_a_png),
    *(goes_well("F4", at, faults=(always("text_chunk"),), check=failing.tells_no_prompt)
      for at in ("scenario", "replicate")),
    goes_well("F4", check=failing.tells_no_prompt, **FREE),
    goes_well("F4", "worker", check=failing.tells_no_prompt),
    *(goes_well("F5", at, how="size", faults=(fault("wrong_size"),), check=failing.tells_the_true_size)
      for at in ("flux", "scenario", "replicate")),
    *(goes_well("F5", at, how="alpha", body=CUTTING, faults=(fault("no_alpha"),),
                check=failing.says_that_alpha_is_missing)
      for at in ("background", "scenario", "replicate")),
)  # fmt: skip

#: Faults that are states of a place: they strike nobody in particular.
STATES: Final = frozenset({"throttled", "initializing", "unhealthy", "scaled_down", "one_machine"})

CASES: Final = (*COMFYUI, *RUNPOD, *WORKER, *SCENARIO, *REPLICATE, *RESULTS)

#: Row → why no emulator can make it happen, and what looks after it.
NOT_PROVOKED: Final[Mapping[str, str]] = {}
