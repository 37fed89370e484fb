"""The emulator answers as real ComfyUI servers did: same requests, same statuses, shapes and texts.

Ids, numbers, times and tracebacks are taken out before comparing; the order of nodes in a run is not stable on a
real server either.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from genyard.testing.comfyui import ComfyUIEmulator, FaultKind
from genyard.testing.comfyui.bench import a_picture

Json = Any

ROOT = Path(__file__).parent / "recordings"

#: What the recorded servers had when they were recorded.
NO_FILES: dict[str, tuple[str, ...]] = {}
FLUX_FILES = {
    "diffusion_models": ("flux1-dev.safetensors",),
    "text_encoders": ("clip_l.safetensors", "t5xxl_fp8_e4m3fn.safetensors"),
    "vae": ("ae.safetensors",),
}
SD15_FILES = {"checkpoints": ("tiny_sd15.safetensors",)}

VOLATILE = {
    "prompt_id", "number", "timestamp", "create_time", "sid", "traceback", "current_outputs", "current_inputs",
    "execution_start_time", "execution_end_time", "priority", "id", "client_id",
}  # fmt: skip


def recorded(name: str, version: str = "0.33") -> Json:
    return json.loads((ROOT / f"comfyui-{version}" / f"{name}.json").read_text())


def body_of(name: str) -> Json:
    """Some recordings are of the body alone."""
    told = recorded(name)
    return told["body"] if "request" in told else told


def names(*patterns: str, version: str = "0.33") -> list[str]:
    folder = ROOT / f"comfyui-{version}"
    return sorted(path.stem for pattern in patterns for path in folder.glob(f"{pattern}.json"))


def plain(value: Json) -> Json:
    """Without what differs from run to run; keys stay."""
    if isinstance(value, dict):
        return {key: "…" if key in VOLATILE else plain(one) for key, one in value.items()}
    if isinstance(value, list):
        return [plain(one) for one in value]
    return value


class Replay:
    """One emulator and one client; `send` repeats a recorded request."""

    def __init__(self, server: ComfyUIEmulator, session: aiohttp.ClientSession) -> None:
        self.server, self.session = server, session

    async def send(self, request: Json, data: bytes = b"", **changes: Json) -> tuple[int, Json, Any]:
        options: dict[str, Any] = {}
        if "json" in request:
            options["json"] = (
                {**request["json"], **changes} if isinstance(request["json"], dict) else request["json"]
            )
        if "files" in request or "data" in request:
            form = aiohttp.FormData(quote_fields=False, default_to_multipart=True)
            for name, value in request.get("data", {}).items():
                form.add_field(name, value)
            for name, (filename, _, kind) in request.get("files", {}).items():
                form.add_field(name, data, filename=filename, content_type=kind)
            options["data"] = form
        async with self.session.request(
            request["method"], self.server.url + request["path"], params=request.get("params"), **options
        ) as answer:
            body = await answer.read()
            if answer.content_type == "application/json":
                return answer.status, json.loads(body), answer.headers
            text = (
                body.decode()
                if len(body) < 200 and answer.content_type == "text/plain"
                else f"<{len(body)} bytes>"
            )
            return answer.status, text if body else "", answer.headers

    async def get(self, path: str) -> Json:
        return (await self.send({"method": "GET", "path": path}))[1]

    async def post(self, path: str, body: Json) -> Json:
        return (await self.send({"method": "POST", "path": path, "json": body}))[1]

    async def listen(self, client_id: str, *, flags: bool) -> list[Json]:
        """Frames of a socket, in the form of the recordings; they go on coming in."""
        frames: list[Json] = []
        socket = await self.session.ws_connect(f"{self.server.url}/ws?clientId={client_id}")
        if flags:
            await socket.send_json({"type": "feature_flags", "data": {"supports_preview_metadata": True}})
        reading = asyncio.ensure_future(_read(socket, frames, self.server))
        await self.server.changes.until(lambda: len(frames) == 1 + flags)
        self._reading = reading
        return frames


async def _read(socket: aiohttp.ClientWebSocketResponse, frames: list[Json], server: ComfyUIEmulator) -> None:
    async for message in socket:
        if message.type is aiohttp.WSMsgType.TEXT:
            frames.append(json.loads(message.data))
        else:
            event = int.from_bytes(message.data[:4], "big")
            row: Json = {"type": "<binary>", "event": event}
            if event == 4:
                length = int.from_bytes(message.data[4:8], "big")
                row["metadata"] = json.loads(message.data[8 : 8 + length])
                row["magic"] = message.data[8 + length : 12 + length].hex()
            else:
                row["image_type"] = int.from_bytes(message.data[4:8], "big")
                row["magic"] = message.data[8:12].hex()
            frames.append(row)
        server.changes.notify()


@pytest.fixture
async def start() -> AsyncIterator[Any]:
    async with AsyncExitStack() as stack:

        async def made(**options: Any) -> Replay:
            server = await stack.enter_async_context(ComfyUIEmulator(**options))
            session = await stack.enter_async_context(aiohttp.ClientSession())
            return Replay(server, session)

        yield made


async def ended(replay: Replay, frames: list[Json]) -> list[Json]:
    def is_last() -> bool:
        last = frames[-1]
        return last["type"] == "executing" and last["data"]["node"] is None

    await replay.server.changes.until(is_last)
    return frames


# One request, one answer

ALONE = [
    *(name for name in names("err_*") if name not in ("err_not_json", "err_type_mismatch_partial")),
    "prompt_id_not_uuid", "prompt_id_upper", "prompt_success", "prompt_client_id_supplied", "prompt_get",
    "api_prompt_alias", "queue_empty", "history_unknown", "history_empty", "interrupt_idle", "interrupt_by_id",
    "interrupt_other_id", "queue_delete", "queue_delete_running", "free", "features", "models_list",
    "models_checkpoints", "embeddings", "object_info_missing", "api_jobs_empty", "api_job_cancel_unknown",
    "api_jobs_cancel_batch_bad", "history_delete_unknown", "view_missing", "view_badtype", "view_nofilename",
    "view_traversal_name", "view_traversal_sub", "upload_first", "upload_subfolder", "upload_temp", "upload_output",
    "upload_unicode", "upload_not_image", "upload_bad_type", "upload_no_image", "upload_name_slash",
    "upload_traversal", "upload_traversal_name", "upload_mask_missing_ref", "upload_mask_no_ref",
]  # fmt: skip


@pytest.mark.parametrize("name", ALONE)
async def test_one_answer(start: Any, name: str) -> None:
    told = recorded(name)
    if "request" not in told:
        pytest.skip("recorded without its request")
    replay = await start(files=NO_FILES)
    status, body, headers = await replay.send(told["request"], a_picture())
    assert status == told["status"]
    assert plain(body) == plain(told["body"])
    if status == 200 and told["body"]:
        assert headers["Content-Type"] == told["headers"]["Content-Type"]


async def test_a_body_that_is_not_json(start: Any) -> None:
    replay = await start()
    async with replay.session.post(f"{replay.server.url}/prompt", data=b"{not json") as answer:
        assert (answer.status, await answer.text()) == tuple(recorded("err_not_json").values())


async def test_a_part_of_the_graph_is_dropped(start: Any) -> None:
    told = recorded("err_type_mismatch_partial")
    replay = await start(files=NO_FILES)
    status, body, _ = await replay.send(told["request"])
    assert (status, plain(body)) == (told["status"], plain(told["body"]))


@pytest.mark.parametrize("name", names("naive_flux_error_*"))
async def test_errors_come_in_waves(start: Any, name: str) -> None:
    """Which of two inputs is followed first is not stable, so the consumer's name may differ."""
    told = recorded(name)
    replay = await start(files=FLUX_FILES)
    status, body, _ = await replay.send(told["request"])
    assert status == told["status"]
    assert body["error"] == told["body"]["error"]
    assert set(body["node_errors"]) == set(told["body"]["node_errors"])
    for node_id, row in told["body"]["node_errors"].items():
        mine = body["node_errors"][node_id]
        assert (mine["class_type"], mine["dependent_outputs"]) == (
            row["class_type"],
            row["dependent_outputs"],
        )
        for one, other in zip(mine["errors"], row["errors"], strict=True):
            assert (one["type"], one["message"], one["details"]) == (
                other["type"], other["message"], other["details"],
            )  # fmt: skip
            assert set(one["extra_info"]) == set(other["extra_info"])


async def test_system_stats_have_the_same_shape(start: Any) -> None:
    told = recorded("system_stats")["body"]
    mine = await (await start()).get("/system_stats")
    assert set(mine["system"]) <= set(told["system"])
    assert set(mine["devices"][0]) == set(told["devices"][0])
    assert mine["system"]["comfyui_version"] == told["system"]["comfyui_version"]


async def test_uploads_one_after_the_other(start: Any) -> None:
    replay = await start()
    first, other = a_picture(), a_picture(8, 8)
    for name, data in (
        ("upload_first", first),
        ("upload_same_again", first),
        ("upload_same_name_diff", other),
        ("upload_overwrite", other),
        ("upload_mask", _with_alpha()),
    ):
        told = recorded(name)
        status, body, _ = await replay.send(told["request"], data)
        assert (status, body) == (told["status"], told["body"]), name


def _with_alpha() -> bytes:
    import io

    from PIL import Image

    buffer = io.BytesIO()
    Image.new("RGBA", (8, 8), (1, 2, 3, 40)).save(buffer, "PNG")
    return buffer.getvalue()


async def test_an_upload_over_the_limit(start: Any) -> None:
    replay = await start(max_upload_size=1000)
    status, text, _ = await replay.send(recorded("upload_too_big")["request"], bytes(5000))
    assert status == 413
    assert text == recorded("upload_too_big")["body"].replace("104857600", "1000")


# One run, all its traces


@pytest.mark.parametrize(("name", "flags"), [("success", True), ("cached", False)])
async def test_a_run(start: Any, name: str, flags: bool) -> None:
    told = recorded("prompt_success")
    replay = await start(files=NO_FILES)
    if name == "cached":
        await replay.send(told["request"], client_id=None)
        await replay.server.until_idle()
        told = recorded("prompt_cached")
    client_id = told["request"]["json"]["client_id"]
    frames = await replay.listen(client_id, flags=flags)
    status, body, _ = await replay.send(told["request"])
    assert (status, plain(body)) == (200, plain(told["body"]))
    await ended(replay, frames)
    assert plain(frames) == plain(recorded(f"ws_{name}"))
    prompt_id = body["prompt_id"]
    (mine,) = (await replay.get(f"/history/{prompt_id}")).values()
    (theirs,) = body_of("history_one" if name == "success" else "history_cached").values()
    mine["prompt"][:2] = theirs["prompt"][:2]
    assert plain(mine) == plain(theirs)


async def test_what_is_told_of_a_finished_run(start: Any) -> None:
    replay = await start(files=NO_FILES)
    _, body, _ = await replay.send(recorded("prompt_success")["request"])
    await replay.server.until_idle()
    prompt_id = body["prompt_id"]
    assert plain(await replay.get("/api/jobs")) == plain(body_of("api_jobs_list"))
    assert plain(await replay.get(f"/api/jobs/{prompt_id}")) == plain(body_of("api_job_one"))
    done = await replay.post(f"/api/jobs/{prompt_id}/cancel", {})
    assert done == recorded("api_job_cancel_done")["body"]
    told = recorded("view_ok")
    status, _, headers = await replay.send(told["request"])
    assert status == 200
    for name in ("Content-Type", "Content-Disposition", "Accept-Ranges", "X-Content-Type-Options"):
        assert headers[name] == told["headers"][name]
    assert {"Etag", "Last-Modified", "Content-Length"} <= set(headers)
    status, _, headers = await replay.send(recorded("view_preview_webp")["request"])
    assert (status, headers["Content-Type"]) == (200, "image/webp")
    await replay.post("/history", {"delete": [prompt_id]})
    assert await replay.get(f"/history/{prompt_id}") == {}


async def test_a_failing_run(start: Any) -> None:
    replay = await start()
    (replay.server.files.folder("input") / "x.txt").write_text("hello")
    graph = recorded("runtime_error_history")["prompt"][2]
    frames = await replay.listen("me", flags=False)
    body = await replay.post("/prompt", {"prompt": graph, "client_id": "me"})
    await ended(replay, frames)
    told = recorded("ws_error")
    assert [one["type"] for one in frames] == [one["type"] for one in told]
    mine = next(one["data"] for one in frames if one["type"] == "execution_error")
    theirs = next(one["data"] for one in told if one["type"] == "execution_error")
    assert plain(mine) == plain(theirs)
    job = await replay.get(f"/api/jobs/{body['prompt_id']}")
    assert set(job) == set(recorded("api_job_failed"))
    assert job["status"] == recorded("api_job_failed")["status"]
    (entry,) = (await replay.get(f"/history/{body['prompt_id']}")).values()
    assert [one[0] for one in entry["status"]["messages"]] == [
        one[0] for one in recorded("runtime_error_history")["status"]["messages"]
    ]


async def test_an_interrupted_run(start: Any) -> None:
    told = recorded("history_interrupted")
    replay = await start(files=SD15_FILES)
    replay.server.faults.add(FaultKind.hang, node="KSampler")
    body = await replay.post("/prompt", {"prompt": told["prompt"][2]})
    await replay.server.until_running("KSampler")
    await replay.post("/interrupt", {"prompt_id": "00000000-0000-4000-8000-000000000000"})
    assert replay.server.queue.running is not None
    await replay.post("/interrupt", {"prompt_id": body["prompt_id"]})
    await replay.server.until_idle()
    (entry,) = (await replay.get(f"/history/{body['prompt_id']}")).values()
    assert entry["status"]["status_str"] == told["status"]["status_str"]
    assert plain(entry["status"]["messages"][-1]) == plain(told["status"]["messages"][-1])
    assert (entry["outputs"], entry["meta"]) == (told["outputs"], told["meta"])
    job = await replay.get(f"/api/jobs/{body['prompt_id']}")
    assert (job["status"], set(job)) == ("cancelled", set(body_of("api_job_interrupted")))


@pytest.mark.parametrize(("name", "flags"), [("ws_sd15", True), ("ws_sd15_noflags", False)])
async def test_a_sampler_with_previews(start: Any, name: str, flags: bool) -> None:
    told = recorded(name)
    graph = recorded("history_interrupted")["prompt"][2]
    graph["3"]["inputs"]["steps"] = 2
    replay = await start(files=SD15_FILES)
    if not flags:  # one node was cached in that recording
        await replay.post("/prompt", {"prompt": {"5": graph["5"], "x": {
            "class_type": "SaveLatent", "inputs": {"samples": ["5", 0], "filename_prefix": "x"}}}})  # fmt: skip
        await replay.server.until_idle()
    frames = await replay.listen("me", flags=flags)
    extra = {"preview_method": "latent2rgb"}
    await replay.post("/prompt", {"prompt": graph, "client_id": "me", "extra_data": extra})
    await ended(replay, frames)
    assert [one["type"] for one in frames] == [one["type"] for one in told]
    mine = next(one for one in frames if one["type"] == "<binary>")
    theirs = next(one for one in told if one["type"] == "<binary>")
    assert mine["event"] == theirs["event"]
    assert theirs["image_magic_hex"].startswith(mine["magic"])
    if flags:
        assert set(mine["metadata"]) == set(theirs["metadata"])


@pytest.mark.parametrize("flags", [False, True])
async def test_pictures_over_the_socket(start: Any, flags: bool) -> None:
    told = recorded("ws_saveimagewebsocket_flags" if flags else "ws_saveimagewebsocket")
    replay = await start()
    graph = recorded("history_savews")["prompt"][2]
    frames = await replay.listen("me", flags=flags)
    body = await replay.post("/prompt", {"prompt": graph, "client_id": "me"})
    await ended(replay, frames)
    theirs = [one for one in told if one["type"] != "feature_flags"]
    mine = [one for one in frames if one["type"] != "feature_flags"]
    assert [plain(one) for one in mine if one["type"] != "<binary>"] == [
        plain(one) for one in theirs if one["type"] != "<binary>"
    ]
    assert [one["type"] for one in mine] == [one["type"] for one in theirs]
    (entry,) = (await replay.get(f"/history/{body['prompt_id']}")).values()
    assert entry["outputs"] == recorded("history_savews")["outputs"]


async def test_a_busy_queue_is_in_heap_order(start: Any) -> None:
    told = body_of("queue_busy")
    replay = await start(files=SD15_FILES)
    replay.server.faults.add(FaultKind.hang, node="KSampler")
    running = told["queue_running"][0]
    await replay.post("/prompt", {"prompt": running[2], "number": 41})
    await replay.server.until_running("KSampler")
    rows = {row[0]: row for row in told["queue_pending"]}
    for number in (42, 43, 44, -45, -1000.5, 46):
        await replay.post("/prompt", {"prompt": rows[number][2], "number": number})
    mine = await replay.get("/queue")
    assert [row[0] for row in mine["queue_pending"]] == [row[0] for row in told["queue_pending"]]
    assert [len(row) for row in mine["queue_pending"]] == [5] * 6
    assert mine["queue_running"][0][2] == running[2]
    jobs = await replay.get("/api/jobs")
    assert set(jobs["jobs"][0]) == set(body_of("api_jobs_busy")["jobs"][0])
    first = mine["queue_pending"][0][1]
    assert await replay.post(f"/api/jobs/{first}/cancel", {}) == recorded("api_job_cancel_pending")["body"]


async def test_the_same_number_and_id_twice_is_an_error_that_was_accepted(start: Any) -> None:
    replay = await start(files=SD15_FILES)
    replay.server.faults.add(FaultKind.hang, node="KSampler")
    await replay.post("/prompt", {"prompt": recorded("history_interrupted")["prompt"][2]})
    await replay.server.until_running("KSampler")
    body = {**recorded("prompt_id_duplicate")["request"]["json"], "number": 7}
    request = {"method": "POST", "path": "/prompt", "json": body}
    statuses = [(await replay.send(request))[0] for _ in range(2)]
    assert statuses == [200, 500]
    assert len(replay.server.queue.pending) == 2


@pytest.mark.parametrize("name", names("loadimage_*"))
async def test_references_of_loaders(start: Any, name: str) -> None:
    told = recorded(name)
    replay = await start()
    files = replay.server.files
    reference = told["request"]["json"]["prompt"]["1"]["inputs"]["image"]
    path, _, kind = reference.partition(" [")
    target = files.folder(kind.rstrip("]") or "input") / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(b"hello" if name == "loadimage_notimage" else a_picture())
    status, body, _ = await replay.send(told["request"])
    assert (status, plain(body)) == (told["status"], plain(told["body"]))
    await replay.server.until_idle()
    (entry,) = (await replay.get(f"/history/{body['prompt_id']}")).values()
    assert entry["status"]["completed"] is (name != "loadimage_notimage")


async def test_only_the_named_targets_run(start: Any) -> None:
    replay = await start()
    (replay.server.files.folder("input") / "x.txt").write_text("hello")
    told = recorded("prompt_partial_targets")
    status, body, _ = await replay.send(told["request"])
    assert (status, plain(body)) == (told["status"], plain(told["body"]))
    await replay.server.until_idle()
    (entry,) = (await replay.get(f"/history/{body['prompt_id']}")).values()
    assert (entry["status"]["completed"], list(entry["outputs"])) == (True, ["4"])


# What each saving node leaves

IMAGES = {
    "1": {
        "class_type": "EmptyImage",
        "inputs": {"width": 64, "height": 64, "batch_size": 4, "color": 3231329},
    }
}
VIDEO = {**IMAGES, "2": {"class_type": "CreateVideo", "inputs": {"images": ["1", 0], "fps": 8.0}}}


def saving(class_type: str, **inputs: Json) -> Json:
    return {**IMAGES, "2": {"class_type": class_type, "inputs": {"images": ["1", 0], **inputs}}}


def combining(kind: str, prefix: str = "vhs/a", save: bool = True) -> Json:
    return saving(
        "VHS_VideoCombine",
        frame_rate=8.0, loop_count=0, filename_prefix=prefix, format=kind, pingpong=False, save_output=save,
    )  # fmt: skip


def filming(**inputs: Json) -> Json:
    return {
        **VIDEO,
        "3": {"class_type": "SaveVideo", "inputs": {"video": ["2", 0], "filename_prefix": "vid/v", **inputs}},
    }


SAVERS = {
    "out_SaveImage_batch": saving("SaveImage", filename_prefix="b/%width%x%height%_%date:yyyy%_%batch_num%"),
    "out_SaveWEBM": saving("SaveWEBM", filename_prefix="vid/m", codec="vp9", fps=8.0, crf=32.0),
    "out_SaveAnimatedWEBP": saving(
        "SaveAnimatedWEBP", filename_prefix="vid/w", fps=8.0, lossless=False, quality=80, method="default"
    ),
    "out_SaveAnimatedPNG": saving("SaveAnimatedPNG", filename_prefix="vid/p", fps=8.0, compress_level=4),
    "out_SaveVideo": filming(format="mp4", codec="h264"),
    "out_SaveVideo_auto": filming(format="auto"),
    "out_SaveVideo_v3codec": filming(**{"format": "mp4", "format.codec": "h264"}),
    "out_VHS_h264": combining("video/h264-mp4"),
    "out_VHS_webm": combining("video/webm"),
    "out_VHS_gif": combining("image/gif"),
    "out_VHS_gif_temp": combining("image/gif", save=False),
    "out_VHS_webp": combining("image/webp"),
    "out_SaveLatent": {
        "1": {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 64, "batch_size": 1}},
        "2": {"class_type": "SaveLatent", "inputs": {"samples": ["1", 0], "filename_prefix": "lat/x"}},
    },
    "out_SaveAudioMP3": {
        "9": VIDEO["1"], "8": {"class_type": "CreateVideo", "inputs": {"images": ["9", 0], "fps": 8.0}},
        "7": {"class_type": "GetVideoComponents", "inputs": {"video": ["8", 0]}},
        "2": {
            "class_type": "SaveAudioMP3",
            "inputs": {"audio": ["7", 1], "filename_prefix": "aud/x", "quality": "V0"},
        },
    },
    "out_PreviewAny": {"2": {"class_type": "PreviewAny", "inputs": {"source": "hello"}}},
}  # fmt: skip


def without_counters(outputs: Json) -> Json:
    import re

    return json.loads(re.sub(r"_\d{5}(_?\.)", r"_NNNNN\1", json.dumps(outputs)))


@pytest.mark.parametrize("name", sorted(SAVERS))
async def test_what_a_saving_node_leaves(start: Any, name: str) -> None:
    replay = await start()
    body = await replay.post("/prompt", {"prompt": SAVERS[name]})
    assert "prompt_id" in body, body
    await replay.server.until_idle()
    (entry,) = (await replay.get(f"/history/{body['prompt_id']}")).values()
    assert entry["status"]["completed"], entry["status"]["messages"][-1]
    assert without_counters(entry["outputs"]) == without_counters(recorded(name)["outputs"])
    for items in entry["outputs"]["3" if "3" in entry["outputs"] else "2"].values():
        for item in (one for one in items if isinstance(one, dict)):
            path = replay.server.files.folder(item["type"]) / item["subfolder"] / item["filename"]
            assert path.stat().st_size > 0


async def test_a_prefix_outside_the_output_folder(start: Any) -> None:
    replay = await start()
    body = await replay.post("/prompt", {"prompt": saving("SaveImage", filename_prefix="../../evil/x")})
    await replay.server.until_idle()
    (entry,) = (await replay.get(f"/history/{body['prompt_id']}")).values()
    error = entry["status"]["messages"][-1][1]
    assert error["exception_type"] == "Exception"
    assert error["exception_message"].startswith(
        "**** ERROR: Saving image outside the output folder is not allowed."
    )


# 0.3.64

OLD_ALONE = [
    "err_cycle",
    "err_link",
    "err_unknown",
    "features",
    "prompt_custom_id",
    "prompt_secret",
    "history_v2",
]


@pytest.mark.parametrize("name", OLD_ALONE)
async def test_one_old_answer(start: Any, name: str) -> None:
    told = recorded(name, "0.3.64")
    replay = await start(version="0.3.64")
    status, body, _ = await replay.send(told["request"])
    assert status == told["status"]
    if status != 404:
        assert plain(body) == plain(told["body"])


async def test_an_old_server_has_no_jobs_and_takes_any_id(start: Any) -> None:
    replay = await start(version="0.3.64")
    status, _, _ = await replay.send(recorded("api_jobs", "0.3.64")["request"])
    assert status == 404
    told = recorded("prompt_custom_id", "0.3.64")["request"]
    await replay.send(told)
    await replay.server.until_idle()
    theirs = recorded("history_job42", "0.3.64")["body"]
    assert plain(await replay.get("/history/job-42")) == plain(theirs)


async def test_secrets_of_the_request_are_not_told(start: Any) -> None:
    replay = await start(version="0.3.64")
    _, body, _ = await replay.send(recorded("prompt_secret", "0.3.64")["request"])
    await replay.server.until_idle()
    assert "SECRET" not in json.dumps(await replay.get(f"/history/{body['prompt_id']}"))
