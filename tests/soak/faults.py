"""What can go wrong at which place: as the emulators know it, one entry per way that a user can meet.

`PASSING` strikes so many runs or calls and is over; `LASTING` is a state of the place for some seconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

Fault = Mapping[str, Any]

PAGE: Final = "<!DOCTYPE html><html><body>502 Bad Gateway</body></html>"
PRIVATE: Final = "http://169.254.169.254/latest/meta-data/"
OUT_OF_MEMORY: Final = ("torch.OutOfMemoryError", "CUDA out of memory. Tried to allocate 20.00 GiB.")


def fault(kind: str, times: int = 1, **details: Any) -> Fault:
    return {"kind": kind, "times": times, **details}


def answer(route: str, status: int, body: str = "", times: int = 1, **more: Any) -> Fault:
    return fault("answer", times, route=route, status=status, body=body, **more)


def raised(text: str, error_type: str = "RuntimeError", times: int = 1) -> Fault:
    return fault("raise_error", times, node="KSampler", error_type=error_type, message=text)


def _soon(route: str, status: int = 429, times: int = 2) -> Fault:
    return answer(route, status, times=times, headers=[["Retry-After", "1"]])


COMFYUI: Final[Sequence[Fault]] = (
    _soon("POST /prompt"),
    answer("POST /prompt", 504, PAGE, content_type="text/html"),
    answer("POST /prompt", 503),
    answer("POST /upload/image", 200, '{"name": "nope.png", "subfolder": "", "type": "input"}',
           content_type="application/json"),
    answer("GET /view", 502, PAGE, times=2),
    answer("GET /view", 200, PAGE, times=3, content_type="text/html"),
    answer("GET /view", 200, "", times=3),
    answer("GET /queue", 500, times=3),
    fault("lose_answer", route="POST /prompt"),
    fault("lose_answer", route="GET /view"),
    fault("lose_answer", 2, route="GET /queue"),
    fault("fail_after_enqueue"),
    fault("node_errors"),
    fault("truncate"),
    fault("shorten", 2),
    fault("refuse_socket", 3),
    fault("hide_history"),
    fault("hide_everywhere", 3),
    fault("slow", node="KSampler", seconds=0.3),
    fault("hang", node="KSampler"),
    fault("interrupt", node="KSampler"),
    fault("restart", node="KSampler", seconds=0.5),
    fault("restart", node="VAEDecode"),
    fault("no_outputs"),
    fault("temp_outputs"),
    fault("delete_outputs"),
    fault("drop_socket", node="KSampler"),
    fault("mute", node="KSampler"),
    raised(OUT_OF_MEMORY[1], OUT_OF_MEMORY[0]),
    raised(OUT_OF_MEMORY[1], OUT_OF_MEMORY[0], times=3),
    raised("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
    raised("mat1 and mat2 shapes cannot be multiplied (512x4096 and 2048x3072)"),
    raised("bad value", "ValueError"),
)  # fmt: skip

RUNPOD: Final[Sequence[Fault]] = (
    *(_soon(f"POST /v2/{name}/run") for name in ("emu-flux", "emu-worker", "emu-background")),
    _soon("GET /v2/emu-flux/status"),
    answer("POST /v2/emu-flux/run", 500),
    answer("POST /v2/emu-links/run", 502, PAGE, content_type="text/html"),
    answer("POST /v2/emu-worker/run", 401),
    answer("POST /v2/emu-background/run", 400),
    answer("GET /v2/emu-worker/status", 503, times=3),
    *(fault("lose_answer", route=f"POST /v2/{name}/run") for name in ("emu-flux", "emu-links", "emu-worker")),
    fault("lose_answer", 2, route="GET /v2/emu-flux/status"),
    fault("not_yet", 2),
    fault("forget"),
    fault("stale_status", 2),
    *(fault(kind) for kind in (
        "lose_output", "execution_timeout", "time_out", "fail", "raise_error", "hang", "skip_webhook",
        "repeat_webhook", "runs_again", "restart_worker", "unreachable", "no_images", "partial", "fewer_images",
        "processing_failed", "race", "simulated_upload", "upload_failed", "connection_lost", "html", "empty", "cut",
        "wrong_size", "no_alpha", "dead_link", "cut_transfer")),
    fault("slow", seconds=1.0),
    fault("skip_webhook", 5),
    fault("fewer_images", 6),
    fault("fewer_images", 12),
    fault("fail", text="CUDA out of memory. Tried to allocate 20.00 GiB."),
    fault("redirect", text=PRIVATE),
    fault("private_link", text=PRIVATE),
)  # fmt: skip

SCENARIO: Final[Sequence[Fault]] = (
    fault("too_many_jobs", 2, route="POST /v1/generate"),
    fault("cooldown", seconds=1, route="POST /v1/generate"),
    fault("wrong_plan", route="POST /v1/generate"),
    fault("protected", route="POST /v1/generate"),
    fault("no_units", route="POST /v1/generate"),
    answer("POST /v1/generate", 500),
    answer("POST /v1/generate", 502, PAGE, content_type="text/html"),
    answer("GET /v1/jobs", 503, times=3),
    answer("GET /v1/assets", 500, times=2),
    fault("lose_answer", route="POST /v1/generate"),
    fault("lose_answer", 2, route="GET /v1/jobs"),
    fault("fail_after_start", route="POST /v1/generate"),
    fault("forget"),
    fault("forget_asset"),
    fault("slow", seconds=1.0),
    fault("hang"),
    fault("wait", seconds=1.5),
    fault("warm", seconds=1.0),
    fault("fail", message="the model gave up"),
    fault("cancel"),
    fault("no_outputs"),
    fault("word", message="succeeded", state="success"),
    fault("word", message="a-word-of-tomorrow", state="in-progress"),
    fault("expired_link"),
    *(fault(kind) for kind in ("html", "empty", "truncate", "shorten", "wrong_type", "missing_file", "text_chunk",
                               "wrong_size", "no_alpha")),
    *(fault(kind, 4) for kind in ("html", "shorten")),
)  # fmt: skip

REPLICATE: Final[Sequence[Fault]] = (
    fault("throttle", 2, route="POST /v1/", seconds=1, headers=[["Retry-After", "1"]]),
    fault("no_credit", route="POST /v1/"),
    fault("bad_input", route="POST /v1/"),
    answer("POST /v1/predictions", 500),
    answer("POST /v1/predictions", 502, PAGE, content_type="text/html"),
    answer("GET /v1/predictions", 503, times=3),
    fault("lose_answer", route="POST /v1/predictions"),
    fault("lose_answer", 2, route="GET /v1/predictions"),
    fault("fail_after_create", route="POST /v1/"),
    fault("forget", route="GET /v1/predictions"),
    fault("slow", seconds=1.0),
    fault("hang"),
    fault("wait", seconds=1.5),
    *(fault(kind) for kind in (
        "fail", "moderated", "start_timeout", "unknown_error", "out_of_memory", "interrupted", "abort", "cancel",
        "no_output", "remove_data", "wrong_signature", "old_timestamp", "no_webhook", "second_webhook", "html", "empty",
        "truncate", "shorten", "wrong_type", "missing_file", "text_chunk", "wrong_size", "no_alpha")),
    *(fault(kind, 4) for kind in ("html", "shorten", "no_webhook")),
    fault("early_output", seconds=0.5),
    fault("word", message="a-word-of-tomorrow"),
)  # fmt: skip

PASSING: Final[Mapping[str, Sequence[Fault]]] = {
    "comfyui": COMFYUI,
    "comfyui-old": COMFYUI,
    "runpod": RUNPOD,
    "scenario": SCENARIO,
    "replicate": REPLICATE,
}

#: Place → kinds of fault that are states; they are ended after a while.
LASTING: Final[Mapping[str, Sequence[str]]] = {
    "runpod": ("throttled", "initializing", "unhealthy", "scaled_down", "one_machine"),
}
