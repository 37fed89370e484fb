"""What the words and shapes of RunPod's jobs mean: tables of recorded samples, without a server."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from genyard.errors import Code, GenyardError
from genyard.operations import Role
from genyard.providers import Cost, State
from genyard.providers.runpod.files import decoded, files_in
from genyard.providers.runpod.health import COLD_START, NO_GPU, NO_MACHINES, UNHEALTHY, Vitals
from genyard.providers.runpod.outcome import complaints_of, error_of_complaints, progress_of, snapshot_of
from genyard.providers.runpod.wire import Job
from support.runpod import a_picture

KEY = "5d0f3f6e-0000-4000-8000-000000000001"
PNG = base64.b64encode(a_picture()).decode()
URL = "https://bucket.example/1/a.png?X-Amz-Signature=s"


def a_ref(*rows: dict[str, Any], **more: Any) -> dict[str, Any]:
    standard = {"step": "draw", "role": None, "prefix": 0, "least": 1}
    return {
        "id": "1",
        "key": KEY,
        "endpoint": "e",
        "video": False,
        "rows": [{**standard, **row} for row in rows or ({},)],
        "read": {"paths": [], "errors": [], "encoding": "auto"},
        "price": {"second": 0.001},
        **more,
    }


def a_job(status: str = "COMPLETED", **told: Any) -> Job:
    return Job.model_validate({"id": "1", "status": status, **told})


@pytest.mark.parametrize(
    ("output", "encodings"),
    [
        ({"images": [{"filename": "a_1_.png", "type": "base64", "data": PNG}]}, ["base64"]),
        ({"images": [{"filename": "a_1_.png", "type": "s3_url", "data": URL}]}, ["url"]),
        ({"message": PNG, "status": "success"}, ["base64"]),
        ({"message": URL, "status": "success"}, ["url"]),
        ({"images": [f"data:image/png;base64,{PNG}", URL], "image_url": URL, "seed": 1}, ["data_uri", "url"]),
        ({"image_url": URL, "cost": 0.02}, ["url"]),
        ({"image": PNG, "mask": PNG}, ["base64"]),
        ({"image_b64": PNG}, ["base64"]),
        ({"result": {"url": URL}, "status": "success"}, ["url"]),
        ({"result": [{"image": PNG}, {"image": PNG}]}, ["base64", "base64"]),
        ({"video_url": "https://x.example/v.mp4"}, ["url"]),
        (URL, ["url"]),
        (PNG, ["base64"]),
        ([URL, URL], ["url", "url"]),
        ({"status": "success_no_images", "images": []}, []),
        ({"message": "success"}, []),
        ({"images": ["simulated_uploaded/87c8fee0.mp4"]}, []),
        ({"seed": 7, "time": 1.5}, []),
    ],
)
def test_files_are_found_in_every_shape_in_use(output: Any, encodings: list[str]) -> None:
    assert [one.encoding for one in files_in(output)] == encodings


def test_a_binding_may_say_where_files_are() -> None:
    output = {"image": PNG, "layers": {"all": [URL, URL]}}
    assert [one.path for one in files_in(output, ["nothing.here", "layers.all"])] == [
        ("layers", "all", 0),
        ("layers", "all", 1),
    ]


def test_data_is_decoded_whatever_its_head_and_breaks() -> None:
    broken = "\n".join(PNG[start : start + 76] for start in range(0, len(PNG), 76))
    for text in (PNG, f"data:image/png;base64,{PNG}", broken):
        assert b"".join(decoded(text)) == a_picture()
    with pytest.raises(GenyardError) as bad:
        list(decoded("<html>"))
    assert bad.value.code is Code.provider_bad_output


def test_files_go_to_the_output_whose_name_they_carry() -> None:
    ref = a_ref({"step": "draw", "prefix": 0}, {"step": "cut", "role": "mask", "prefix": 1})
    images = [
        {"filename": f"genyard-{KEY}-1_00001_.png", "type": "base64", "data": PNG},
        {"filename": f"genyard-{KEY}-0_00001_.png", "type": "base64", "data": PNG},
        {"filename": "somebody-else_00001_.png", "type": "base64", "data": PNG},
    ]
    end = snapshot_of(a_job(output={"images": images}), ref)
    assert [(one.step, one.role) for one in end.outputs] == [("cut", Role.mask), ("draw", Role.image)]


def test_a_video_is_known_by_its_name() -> None:
    images = [{"filename": f"genyard-{KEY}-0_00001_.mp4", "type": "base64", "data": "AAAA"}]
    end = snapshot_of(a_job(output={"images": images}), a_ref())
    assert [(one.role, one.media_type) for one in end.outputs] == [(Role.video, "video/mp4")]


SAMPLES = [
    ("ComfyUI server (127.0.0.1:8188) not reachable after multiple retries.", Code.provider_interrupted),
    ("Job processing failed, prompt ID not found in history.", Code.provider_interrupted),
    ("Job processing failed", Code.provider_interrupted),
    ("Prompt ID 0d-1 not found in history after execution.", Code.provider_interrupted),
    ("No outputs found in history for prompt 0d-1.", Code.provider_lost_output),
    (
        "WebSocket communication error: ComfyUI HTTP unreachable during websocket reconnect",
        Code.provider_interrupted,
    ),
    ("Missing 'workflow' parameter", Code.internal),
    ("'images' must be a list of objects with 'name' and 'image' keys", Code.internal),
    ("Please provide input", Code.internal),
    (
        "Node 'NoSuchNode' not found. The custom node may not be installed.. Raw response: {}",
        Code.provider_missing,
    ),
    (
        "Workflow validation failed:\n• Node 3 (errors): [{'type': 'required_input_missing', 'details': 'image'}]",
        Code.workflow_invalid,
    ),
    (
        "Workflow validation failed:\n• Node 4 (errors): [{'type': 'value_not_in_list', 'message': 'Value not in "
        "list', 'details': \"ckpt_name: 'x' not in []\"}]\n\nNo checkpoint models appear to be available.",
        Code.provider_missing,
    ),
    ("Error uploading v_1.mp4 to S3: denied", Code.provider_protocol),
    ("Connection closed and failed to reconnect. Last error: x", Code.provider_interrupted),
    ("ComfyUI HTTP unreachable during websocket reconnect", Code.provider_interrupted),
    ("Failed to upload one or more input images", Code.provider_failed),
    ("executionTimeout exceeded", Code.provider_timeout),
    ("Invalid parameter: width must be divisible by 64", Code.request_unsupported),
    ("something that nobody has seen", Code.provider_failed),
]


@pytest.mark.parametrize(("text", "code"), SAMPLES, ids=[text[:40] for text, _ in SAMPLES])
def test_complaints_are_understood(text: str, code: Code) -> None:
    assert error_of_complaints(complaints_of(a_job("FAILED", error=text))).code is code


def test_the_details_say_more_than_the_error() -> None:
    details = [
        "Workflow execution error: Node Type: RaiseOOM, Node ID: 1, Message: CUDA out of memory. Tried to allocate",
        "Prompt ID abc not found in history after execution.",
    ]
    job = a_job(
        "FAILED", error="Job processing failed, prompt ID not found in history.", output={"details": details}
    )
    assert error_of_complaints(complaints_of(job)).code is Code.provider_out_of_memory


@pytest.mark.parametrize(
    ("detail", "code", "words"),
    [
        ("No outputs found in history for prompt 0d-1.", Code.provider_lost_output, "saved nothing"),
        ("Failed to fetch image data for a.png from /view endpoint.", Code.provider_interrupted, "a.png"),
    ],
)
def test_a_reason_in_the_details_is_told(detail: str, code: Code, words: str) -> None:
    job = a_job("FAILED", error="Job processing failed", output={"details": [detail]})
    error = error_of_complaints(complaints_of(job))
    assert error.code is code
    assert words in error.message


@pytest.mark.parametrize(
    "told",
    [
        {"error": "Connection refused: https://b.example/in.png?X-Amz-Signature=SECRET"},
        {
            "error": json.dumps(
                {"error_type": "<class 'IOError'>", "error_message": "x", "error_traceback": "SECRET"}
            )
        },
        {"output": {"error": "404 for https://b.example/in.png?token=SECRET and more"}},
    ],
)
def test_what_an_address_or_a_traceback_hides_stays_hidden(told: dict[str, Any]) -> None:
    end = snapshot_of(a_job("FAILED", **told), a_ref())
    assert end.error is not None
    assert "SECRET" not in json.dumps(end.error.as_json())


RECORDINGS = Path(__file__).parent / "recordings" / "worker-comfyui-5.8.5"
RECORDED = {
    "runsync_ok": None,
    "runsync_images": None,
    "runsync_savevideo": None,
    "runsync_animwebp": None,
    "runsync_no_workflow": Code.internal,
    "runsync_images_malformed": Code.internal,
    "runsync_unknown_class": Code.provider_missing,
    "runsync_missing_model": Code.provider_missing,
    "runsync_missing_input": Code.workflow_invalid,
    "runsync_runtime_error": Code.provider_interrupted,
    "runsync_saveimagewebsocket_only": Code.provider_interrupted,
    "runsync_previewimage_only": Code.provider_lost_output,
    "status_unknown": Code.provider_lost,
}


@pytest.mark.parametrize("sdk", ["sdk-1.7.13", "sdk-1.12.0"])
@pytest.mark.parametrize(("name", "code"), RECORDED.items())
def test_what_the_unmodified_worker_answered(sdk: str, name: str, code: Code | None) -> None:
    body = json.loads((RECORDINGS / sdk / f"{name}.json").read_text())["body"]
    end = snapshot_of(Job.model_validate(body), a_ref())
    assert (end.error.code if end.error else None) is code, end.error
    if code is None:
        assert end.state is State.succeeded
        assert [one.role for one in end.outputs] == [
            Role.video if name == "runsync_savevideo" else Role.image
        ]
    if code is Code.workflow_invalid:
        assert end.error is not None
        assert "Required input is missing: width" in end.error.message


def test_a_recorded_failure_after_an_output_keeps_it() -> None:
    body = json.loads((RECORDINGS / "sdk-1.12.0" / "run_error_after_output.json").read_text())
    end = snapshot_of(Job.model_validate(body), a_ref())
    assert end.state is State.failed
    assert end.error is not None
    assert end.error.code is Code.provider_failed
    assert len(end.outputs) == 1


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("IN_QUEUE", State.queued),
        ("IN_PROGRESS", State.running),
        ("RUNNING", State.running),
        ("CANCELLED", State.canceled),
        ("TIMED_OUT", State.failed),
        ("FAILED", State.failed),
        ("SOMETHING_NEW", State.queued),
    ],
)
def test_statuses(status: str, state: State) -> None:
    seen = snapshot_of(a_job(status), a_ref())
    assert seen.state is state
    assert seen.word == status


def test_an_unknown_status_of_a_job_with_a_worker_is_running() -> None:
    assert snapshot_of(a_job("SOMETHING_NEW", workerId="w"), a_ref()).state is State.running


@pytest.mark.parametrize("output", [None, {}, "", []])
def test_completed_without_output_is_a_lost_output(output: Any) -> None:
    end = snapshot_of(a_job(output=output, executionTime=2_000), a_ref())
    assert end.state is State.failed
    assert end.error is not None
    assert end.error.code is Code.provider_lost_output
    assert end.cost == Cost(usd=0.002, source="computed")


def test_a_text_at_a_bindings_error_path_is_a_failure() -> None:
    ref = a_ref(read={"paths": [], "errors": ["meta.problem"], "encoding": "auto"})
    end = snapshot_of(a_job(output={"image": PNG, "meta": {"problem": "no subject found"}}), ref)
    assert end.state is State.failed
    assert end.error is not None
    assert "no subject found" in end.error.message


@pytest.mark.parametrize(
    ("told", "progress", "detail"),
    [
        (0.25, 0.25, None),
        (25, 0.25, None),
        ("25%", 0.25, "25%"),
        ("step 1/4", 0.25, "step 1/4"),
        ("Update 3 of 4", 0.75, "Update 3 of 4"),
        ({"progress": 50, "message": "sampling"}, 0.5, "sampling"),
        (100, 0.999, None),
        ({"images": []}, None, None),
        (None, None, None),
        (True, None, None),
    ],
)
def test_progress_updates(told: Any, progress: float | None, detail: str | None) -> None:
    assert progress_of(told) == (progress, detail)


@pytest.mark.parametrize(
    ("workers", "jobs", "waited", "detail", "cold"),
    [
        ({"idle": 0, "running": 0}, {"inQueue": 2}, 1.0, COLD_START, True),
        ({"idle": 0, "running": 0}, {"inQueue": 2}, 60.0, NO_MACHINES, False),
        ({"initializing": 1}, {"inQueue": 1}, 60.0, COLD_START, True),
        ({"throttled": 1, "ready": 0}, {"inQueue": 1}, 591.0, NO_GPU, False),
        ({"unhealthy": 2, "initializing": 1}, {"inQueue": 1}, 5.0, UNHEALTHY, False),
        ({"running": 1, "throttled": 3}, {"inQueue": 1}, 5.0, None, False),
        ({"running": 1}, {"inQueue": 12}, 5.0, "12 in RunPod's queue", False),
        ("nonsense", None, 1.0, COLD_START, True),
    ],
)
def test_why_a_job_waits(workers: Any, jobs: Any, waited: float, detail: str | None, cold: bool) -> None:
    assert Vitals.of({"workers": workers, "jobs": jobs}).why_waiting(waited) == (detail, cold)
