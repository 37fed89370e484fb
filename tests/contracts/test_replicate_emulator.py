"""The emulated Replicate: accepted by the official client, real pictures, honest bills, every fault on demand."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import av
import numpy as np
import pytest
import pytest_asyncio
from aiohttp import web
from PIL import Image

from genyard.testing import drawing
from genyard.testing.replicate import ERRORS, FLAGGED, FaultKind, ReplicateEmulator, sign
from support.exchanges import Replay, recorded, recordings

pytestmark = pytest.mark.long

Json = Any

FOLDER = "replicate-1.0.7"
FLUX, SDXL = "black-forest-labs/flux-dev", "7762fd07cf82c948538e41f63f77d685e02b063e37e496e96eefd46c929f9bdc"
LIVE_PORTRAIT = "067dd98cc3e5cb396c4a9efb4bba3eec6c4a9d271211325c477518fc6485e146"
REMOVE_BG = "lucataco/remove-bg:95fcc2a26d3899cd6c2691c900465aaeff466285a65c14638cc5f36f34befaf1"

#: Of what the real API answered to the official client (its published cassettes, October 2024).
REAL_KEYS = {
    "id", "model", "version", "input", "logs", "output", "data_removed", "error", "status", "created_at", "urls",
}  # fmt: skip
REAL_FILE_KEYS = {
    "id", "name", "content_type", "size", "etag", "checksums", "metadata", "created_at", "expires_at", "urls",
}  # fmt: skip


class Caller:
    """One client with a key."""

    def __init__(self, server: ReplicateEmulator, session: aiohttp.ClientSession) -> None:
        self.server, self.session = server, session

    async def call(self, method: str, path: str, **options: Any) -> tuple[int, Json]:
        url = path if path.startswith("http") else self.server.base_url + path
        async with self.session.request(method, url, **options) as answer:
            body = await answer.read()
            return answer.status, json.loads(body) if body else None

    async def create(self, version: str = FLUX, headers: Json = None, **given: Json) -> Json:
        status, told = await self.call(
            "POST",
            "/predictions",
            json={"version": version, "input": {"prompt": "a fox", **given}},
            headers=headers,
        )
        assert status in (201, 202), told
        return told

    async def sdxl(self, **given: Json) -> Json:
        return await self.create(SDXL, **{"width": 64, "height": 64, **given})

    async def end(self, prediction: Json) -> Json:
        await self.server.until_status(prediction["id"], "succeeded", "failed", "canceled", "aborted")
        return (await self.call("GET", prediction["urls"]["get"]))[1]

    async def read(self, url: str) -> bytes:
        async with self.session.get(url) as answer:
            assert answer.status == 200
            return await answer.read()


@pytest_asyncio.fixture
async def caller() -> AsyncIterator[Caller]:
    async with ReplicateEmulator() as server, session_of(server) as session:
        yield Caller(server, session)


def session_of(server: ReplicateEmulator) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(headers={"Authorization": f"Bearer {server.key}"})


def picture(width: int = 64, height: int = 48) -> bytes:
    return drawing.picture("a fox", width=width, height=height)


def data_uri(data: bytes, media_type: str = "image/png") -> str:
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


# The official client


@pytest.mark.parametrize("name", recordings(FOLDER))
async def test_what_the_official_client_sent_is_answered_alike(name: str) -> None:
    async with ReplicateEmulator() as server, aiohttp.ClientSession() as session:

        async def settle(body: Json) -> None:
            if isinstance(body, dict) and body.get("id") in server.predictions:
                await server.until_status(body["id"], body["status"])

        replay = Replay(server=server, session=session, authorization=f"Bearer {server.key}", settle=settle)
        await replay.play(recorded(FOLDER, name))


def test_the_official_client_showed_its_version() -> None:
    sent = recorded(FOLDER, "run")["exchanges"][0]["request"]
    assert sent["headers"]["user-agent"] == "replicate-python/1.0.7"
    assert sent["headers"]["prefer"] == "wait"


def test_the_signature_that_the_official_client_accepted_is_made_again() -> None:
    told = recorded(FOLDER, "webhook")
    headers, body = told["delivery"]["headers"], told["delivery"]["body"]
    secret = ReplicateEmulator().webhook_secret
    stamp = int(headers["webhook-timestamp"])
    assert sign(secret, headers["webhook-id"], stamp, body.encode()) == headers["webhook-signature"]


async def test_a_prediction_has_the_keys_that_the_real_one_had(caller: Caller) -> None:
    assert set(await caller.create()) >= REAL_KEYS


async def test_a_file_has_the_keys_that_the_real_one_had(caller: Caller) -> None:
    form = aiohttp.FormData()
    form.add_field("content", picture(), filename="fox.png", content_type="image/png")
    status, told = await caller.call("POST", "/files", data=form)
    assert status == 201
    assert set(told) == REAL_FILE_KEYS


async def test_a_wrong_key_is_told_as_the_real_one_tells_it(caller: Caller) -> None:
    async with aiohttp.ClientSession() as nobody, nobody.get(caller.server.base_url + "/account") as answer:
        assert answer.status == 401
        assert answer.content_type == "application/problem+json"
        assert await answer.json(content_type=None) == {
            "title": "Unauthenticated",
            "detail": "You did not pass a valid authentication token",
            "status": 401,
        }


# Real pictures


async def test_the_same_seed_makes_the_same_picture_and_other_words_another(caller: Caller) -> None:
    async def made(**given: Json) -> bytes:
        return await caller.read((await caller.end(await caller.sdxl(**given)))["output"][0])

    one, same, other = await made(seed=1), await made(seed=1), await made(seed=1, prompt="a dog")
    assert one == same != other
    assert await made() != await made()


async def test_sizes_counts_and_formats_are_what_was_asked(caller: Caller) -> None:
    told = await caller.end(
        await caller.create(aspect_ratio="16:9", megapixels="0.25", num_outputs=2, output_format="jpg")
    )
    assert [url.rsplit("/", 1)[1] for url in told["output"]] == ["out-0.jpg", "out-1.jpg"]
    shown = opened(await caller.read(told["output"][0]))
    assert (shown.format, shown.size) == ("JPEG", (672, 384))


async def test_a_given_picture_shows_through(caller: Caller) -> None:
    dark = data_uri(encode(np.zeros((64, 64, 3), np.uint8)))
    bright = data_uri(encode(np.full((64, 64, 3), 255, np.uint8)))
    shown = []
    for image in (dark, bright):
        told = await caller.end(await caller.sdxl(seed=1, image=image, prompt_strength=0.3))
        shown.append(np.asarray(opened(await caller.read(told["output"][0]))).mean())
    assert shown[0] + 60 < shown[1]


def encode(pixels: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize("version", ["bria/remove-background", REMOVE_BG])
async def test_a_background_remover_returns_one_picture_with_alpha(caller: Caller, version: str) -> None:
    told = await caller.end(await caller.create(version, image=data_uri(picture())))
    shown = opened(await caller.read(told["output"]))
    assert (shown.mode, shown.size) == ("RGBA", (64, 48))
    assert {0, 255} <= set(np.asarray(shown)[..., 3].flat)


async def test_layers_come_back_to_front(caller: Caller) -> None:
    told = await caller.end(
        await caller.create(
            "qwen/qwen-image-layered", image=data_uri(picture()), num_layers=3, output_format="png"
        )
    )
    layers = [opened(await caller.read(url)) for url in told["output"]]
    assert [one.mode for one in layers] == ["RGBA"] * 3
    assert np.asarray(layers[0])[..., 3].mean() > np.asarray(layers[-1])[..., 3].mean()


async def test_a_portrait_moves_and_needs_a_driving_video(caller: Caller) -> None:
    version = f"fofr/live-portrait:{LIVE_PORTRAIT}"
    driving = data_uri(drawing.video(picture()), "video/mp4")
    told = await caller.end(
        await caller.create(version, face_image=data_uri(picture()), driving_video=driving)
    )
    with av.open(io.BytesIO(await caller.read(told["output"][0]))) as container:
        assert len(list(container.decode(video=0))) > 1  # type: ignore[union-attr]
    status, refused = await caller.call(
        "POST", "/predictions", json={"version": version, "input": {"face_image": data_uri(picture())}}
    )
    assert status == 422
    assert "driving_video is required" in refused["detail"]


async def test_an_input_may_be_an_uploaded_file_or_a_link(caller: Caller) -> None:
    form = aiohttp.FormData()
    form.add_field("content", picture(), filename="fox.png", content_type="image/png")
    _, uploaded = await caller.call("POST", "/files", data=form)
    first = await caller.end(await caller.create("bria/remove-background", image=uploaded["urls"]["get"]))
    assert first["status"] == "succeeded"
    second = await caller.end(await caller.create("bria/remove-background", image=first["output"]))
    assert second["status"] == "succeeded", "an output is fetched by its link"
    third = await caller.end(
        await caller.create("bria/remove-background", image=f"{caller.server.url}/delivery/no/such.png")
    )
    assert (third["status"], third["error"][:3]) == ("failed", "404")


async def test_what_is_no_picture_fails_in_the_run(caller: Caller) -> None:
    told = await caller.end(await caller.create("bria/remove-background", image=data_uri(b"not a picture")))
    assert told["status"] == "failed"
    assert "cannot identify image file" in told["error"]


# Predictions


@pytest.mark.parametrize("version", [SDXL, f"stability-ai/sdxl:{SDXL}", FLUX])
async def test_a_version_has_three_spellings(caller: Caller, version: str) -> None:
    assert (await caller.create(version, **({} if version == FLUX else {"width": 64, "height": 64})))["id"]


async def test_a_deployment_and_a_model_have_their_own_addresses(caller: Caller) -> None:
    driving = data_uri(drawing.video(picture()), "video/mp4")
    status, told = await caller.call(
        "POST",
        "/deployments/genyard/portraits/predictions",
        json={"input": {"face_image": data_uri(picture()), "driving_video": driving}},
    )
    assert (status, told["deployment"], told["model"]) == (201, "genyard/portraits", "fofr/live-portrait")
    status, told = await caller.call(
        "POST", f"/models/{FLUX}/predictions", json={"input": {"prompt": "a fox"}}
    )
    assert (status, told["version"]) == (201, "hidden")
    for path in ("/models/stability-ai/sdxl/predictions", "/deployments/nobody/nothing/predictions"):
        assert (await caller.call("POST", path, json={"input": {}}))[0] == 404


async def test_the_end_tells_times_and_the_log_tells_steps(caller: Caller) -> None:
    told = await caller.end(await caller.sdxl(num_inference_steps=8))
    assert told["created_at"] <= told["started_at"] <= told["completed_at"]
    assert told["metrics"]["predict_time"] == 4.0
    assert told["metrics"]["total_time"] >= 0
    assert "| 8/8 [" in told["logs"].splitlines()[-1]


async def test_who_waits_gets_the_output_while_it_is_still_processing(caller: Caller) -> None:
    told = await caller.create(SDXL, headers={"Prefer": "wait"}, width=64, height=64)
    assert (told["status"], len(told["output"])) == ("processing", 1)
    assert (await caller.end(told))["status"] == "succeeded"


async def test_who_waits_too_short_gets_202_without_an_output(caller: Caller) -> None:
    caller.server.faults.add(FaultKind.hang)
    body = {"version": FLUX, "input": {"prompt": "a fox"}}
    async with caller.session.post(
        caller.server.base_url + "/predictions", json=body, headers={"Prefer": "wait=1"}
    ) as answer:
        assert (answer.status, answer.headers["Preference-Applied"]) == (202, "wait=1")
        assert (await answer.json())["output"] is None


async def test_a_cancel_stops_it_and_is_harmless_afterwards(caller: Caller) -> None:
    caller.server.faults.add(FaultKind.hang)
    told = await caller.create()
    await caller.server.until_status(told["id"], "processing")
    for _ in range(2):
        status, after = await caller.call("POST", told["urls"]["cancel"])
        assert (status, after["status"]) == (200, "canceled")
    assert caller.server.counts.canceled == 1
    done = await caller.end(await caller.sdxl())
    assert (await caller.call("POST", done["urls"]["cancel"]))[1]["status"] == "succeeded"


async def test_with_one_worker_the_second_waits_and_can_be_canceled_unbilled() -> None:
    async with ReplicateEmulator(workers=1) as server, session_of(server) as session:
        caller = Caller(server, session)
        server.faults.add(FaultKind.hang)
        first = await caller.sdxl()
        await server.until_status(first["id"], "processing")
        second = await caller.sdxl(seed=5)
        assert (await caller.call("POST", second["urls"]["cancel"]))[1]["status"] == "canceled"
        assert server.runs_of(seed=5) == 0
        assert "predict_time" not in (await caller.end(second))["metrics"]


@pytest.mark.parametrize(("kind", "status"), [(FaultKind.hang, "canceled"), (FaultKind.wait, "aborted")])
async def test_a_deadline_ends_it(caller: Caller, kind: FaultKind, status: str) -> None:
    """P8, P10: canceled where it ran, aborted where it had not started."""
    caller.server.faults.add(kind)
    told = await caller.create(headers={"Cancel-After": "1m5s"})
    assert told["deadline"] > told["created_at"]
    if kind is FaultKind.hang:
        await caller.server.until_status(told["id"], "processing")
    caller.server.clock.advance(60)
    assert (await caller.call("GET", told["urls"]["get"]))[1]["status"] in ("starting", "processing")
    caller.server.clock.advance(6)
    assert (await caller.end(told))["status"] == status


async def test_a_deadline_has_at_least_five_seconds(caller: Caller) -> None:
    status, _ = await caller.call(
        "POST",
        "/predictions",
        json={"version": FLUX, "input": {"prompt": "x"}},
        headers={"Cancel-After": "4s"},
    )
    assert status == 422


async def test_after_an_hour_everything_is_gone(caller: Caller) -> None:
    """P1."""
    told = await caller.end(await caller.sdxl())
    (link,) = told["output"]
    caller.server.clock.advance(3599)
    assert await caller.read(link)
    caller.server.clock.advance(2)
    _, after = await caller.call("GET", told["urls"]["get"])
    assert (after["data_removed"], after["output"], after["input"], after["logs"]) == (True, None, {}, "")
    assert after["status"] == "succeeded"
    async with caller.session.get(link) as answer:
        assert answer.status == 404


async def test_the_list_has_pages_with_cursors(caller: Caller) -> None:
    made = [(await caller.sdxl())["id"] for _ in range(101)]
    _, first = await caller.call("GET", "/predictions")
    assert [one["id"] for one in first["results"]] == made[:0:-1]
    _, second = await caller.call("GET", first["next"])
    assert [one["id"] for one in second["results"]] == made[:1]
    assert second["next"] is None
    assert second["previous"]


async def test_links_need_no_key_and_it_is_counted_who_sends_one(caller: Caller) -> None:
    (link,) = (await caller.end(await caller.sdxl()))["output"]
    async with aiohttp.ClientSession() as nobody, nobody.get(link) as answer:
        assert answer.status == 200
    assert caller.server.counts.keys_outside == 0
    await caller.read(link)
    assert caller.server.counts.keys_outside == 1


# Refusals


async def test_limits_of_calls_and_credit_are_told() -> None:
    async with ReplicateEmulator(creates_per_minute=2, credit=3) as server, session_of(server) as session:
        caller = Caller(server, session)
        body = {"version": FLUX, "input": {"prompt": "a fox"}}
        seen = [(await caller.call("POST", "/predictions", json=body))[0] for _ in range(3)]
        assert seen == [201, 201, 429]
        server.clock.advance(61)
        assert [(await caller.call("POST", "/predictions", json=body))[0] for _ in range(2)] == [201, 402]
        assert server.counts.created == 3


async def test_reads_have_a_limit_of_their_own() -> None:
    async with ReplicateEmulator(reads_per_minute=2) as server, session_of(server) as session:
        caller = Caller(server, session)
        assert [(await caller.call("GET", "/account"))[0] for _ in range(3)] == [200, 200, 429]
        assert (await caller.create())["id"]
        server.clock.advance(61)
        assert (await caller.call("GET", "/account"))[0] == 200


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"num_outputs": 9}, "num_outputs: Must be less than or equal to 4"),
        ({"prompt": 3}, "prompt: Invalid type. Expected: string, given: integer"),
        ({"aspect_ratio": "7:5"}, "aspect_ratio: must be one of"),
        ({"prompt": None}, "prompt is required"),
    ],
)
async def test_bad_input_is_422_with_its_field(caller: Caller, given: Json, complaint: str) -> None:
    """P7."""
    body = {"version": FLUX, "input": {"prompt": "a fox", **given}}
    status, told = await caller.call("POST", "/predictions", json=body)
    assert (status, told["title"]) == (422, "Input validation failed")
    assert complaint in told["detail"]
    assert caller.server.counts.created == 0


async def test_a_file_may_be_too_large() -> None:
    async with ReplicateEmulator(max_file=1000) as server, session_of(server) as session:
        form = aiohttp.FormData()
        form.add_field("content", b"x" * 1001, filename="fox.png", content_type="image/png")
        assert (await Caller(server, session).call("POST", "/files", data=form))[0] == 413


@pytest.mark.parametrize(
    ("kind", "details", "status", "words"),
    [
        (FaultKind.throttle, {"seconds": 7}, 429, "Request was throttled. Expected available in 7 seconds."),
        (
            FaultKind.throttle,
            {"message": "Your rate limit resets in ~30s."},
            429,
            "Your rate limit resets in ~30s.",
        ),
        (FaultKind.no_credit, {}, 402, "insufficient credit"),
        (FaultKind.bad_input, {}, 422, "Invalid type"),
        (FaultKind.answer, {"status": 503, "body": "busy"}, 503, ""),
    ],
)
async def test_refusals_on_demand(
    caller: Caller, kind: FaultKind, details: Json, status: int, words: str
) -> None:
    """P2, P6, P7: nothing was created."""
    caller.server.faults.add(kind, **details)
    body = {"version": FLUX, "input": {"prompt": "a fox"}}
    async with caller.session.post(caller.server.base_url + "/predictions", json=body) as answer:
        assert answer.status == status
        assert words in await answer.text()
    assert caller.server.counts.created == 0
    assert caller.server.faults.struck[kind] == 1


async def test_headers_of_a_throttled_call_can_say_when(caller: Caller) -> None:
    caller.server.faults.add(FaultKind.throttle, headers=(("Retry-After", "3"),))
    async with caller.session.get(caller.server.base_url + "/account") as answer:
        assert (answer.status, answer.headers["Retry-After"]) == (429, "3")


# Runs that go wrong


@pytest.mark.parametrize("kind", list(ERRORS))
async def test_failures_carry_the_words_that_were_seen(caller: Caller, kind: FaultKind) -> None:
    """P3, P4, P5, P12: it ran, and it is billed."""
    caller.server.faults.add(kind)
    told = await caller.end(await caller.sdxl())
    assert (told["status"], told["error"], told["output"]) == ("failed", ERRORS[kind], None)
    assert told["metrics"]["predict_time"] > 0
    assert caller.server.counts.total_runs == 1


async def test_moderation_has_more_than_one_wording(caller: Caller) -> None:
    caller.server.faults.add(FaultKind.moderated, message=FLAGGED)
    assert "E005" in (await caller.end(await caller.sdxl()))["error"]


async def test_a_prediction_may_be_aborted_before_it_starts(caller: Caller) -> None:
    """P8."""
    caller.server.faults.add(FaultKind.abort)
    told = await caller.end(await caller.sdxl())
    assert told["status"] == "aborted"
    assert "started_at" not in told
    assert caller.server.counts.total_runs == 0


async def test_somebody_else_may_cancel(caller: Caller) -> None:
    caller.server.faults.add(FaultKind.cancel)
    assert (await caller.end(await caller.sdxl()))["status"] == "canceled"
    assert caller.server.counts.canceled == 0


async def test_an_output_may_be_there_before_the_end(caller: Caller) -> None:
    """P9."""
    caller.server.faults.add(FaultKind.early_output, seconds=60)
    created = await caller.sdxl()
    await caller.server.changes.until(lambda: caller.server.predictions[created["id"]].output is not None)
    _, told = await caller.call("GET", created["urls"]["get"])
    assert (told["status"], len(told["output"])) == ("processing", 1)
    caller.server.clock.advance(61)
    assert (await caller.end(created))["status"] == "succeeded"


async def test_success_may_come_without_an_output_or_with_its_data_gone(caller: Caller) -> None:
    caller.server.faults.add(FaultKind.no_output)
    told = await caller.end(await caller.sdxl())
    assert (told["status"], told["output"], told["data_removed"]) == ("succeeded", None, False)
    caller.server.faults.add(FaultKind.remove_data)
    told = await caller.end(await caller.sdxl())
    assert (told["status"], told["output"], told["data_removed"]) == ("succeeded", None, True)


async def test_the_word_of_a_state_can_be_unknown(caller: Caller) -> None:
    caller.server.faults.add(FaultKind.word, message="thinking")
    caller.server.faults.add(FaultKind.slow, seconds=60)
    created = await caller.sdxl()
    await caller.server.until_status(created["id"], "processing")
    assert (await caller.call("GET", created["urls"]["get"]))[1]["status"] == "thinking"
    caller.server.clock.advance(100)
    assert (await caller.end(created))["status"] == "succeeded"


async def test_a_prediction_can_be_forgotten(caller: Caller) -> None:
    created = await caller.sdxl()
    caller.server.faults.add(FaultKind.forget)
    assert (await caller.call("GET", created["urls"]["get"]))[0] == 404


@pytest.mark.parametrize("kind", [FaultKind.fail_after_create, FaultKind.lose_answer])
async def test_an_answer_can_be_lost_while_the_run_is_bought(caller: Caller, kind: FaultKind) -> None:
    caller.server.faults.add(kind, route="POST /v1/predictions")
    try:
        status, _ = await caller.call(
            "POST", "/predictions", json={"version": FLUX, "input": {"prompt": "x"}}
        )
        assert (kind, status) == (FaultKind.fail_after_create, 500)
    except aiohttp.ClientError:
        assert kind is FaultKind.lose_answer
    assert caller.server.counts.created == 1


# Files that are not what they should be


@pytest.mark.parametrize("kind", ["html", "empty", "shorten", "wrong_type", "missing_file", "truncate"])
async def test_a_file_can_be_handed_out_wrongly(caller: Caller, kind: str) -> None:
    """F1, F2, F3."""
    (link,) = (await caller.end(await caller.sdxl()))["output"]
    whole = await caller.read(link)
    caller.server.faults.add(kind, route="GET /delivery/")
    async with caller.session.get(link) as answer:
        try:
            data = await answer.read()
        except aiohttp.ClientPayloadError:
            assert kind == "truncate"
            return
        seen = (answer.status, answer.content_type, len(data) < len(whole))
    assert (
        seen
        == {
            "html": (200, "text/html", True),
            "empty": (200, "image/png", True),
            "shorten": (200, "image/png", True),
            "wrong_type": (200, "video/mp4", False),
            "missing_file": (404, "application/xml", True),
        }[kind]
    )
    assert await caller.read(link) == whole


async def test_a_shortened_video_still_opens_with_fewer_frames(caller: Caller) -> None:
    """F2."""
    driving = data_uri(drawing.video(picture(), seconds=4), "video/mp4")
    told = await caller.end(
        await caller.create(
            f"fofr/live-portrait:{LIVE_PORTRAIT}", face_image=data_uri(picture()), driving_video=driving
        )
    )

    async def frames() -> int:
        with av.open(io.BytesIO(await caller.read(told["output"][0]))) as container:
            return len(list(container.decode(video=0)))  # type: ignore[union-attr]

    whole = await frames()
    caller.server.faults.add(FaultKind.shorten, route="GET /delivery/")
    assert 0 < await frames() < whole


async def test_a_file_can_be_made_wrongly(caller: Caller) -> None:
    """F4, F5."""
    caller.server.faults.add(FaultKind.text_chunk)
    caller.server.faults.add(FaultKind.wrong_size)
    told = await caller.end(await caller.sdxl(prompt="my secret fox"))
    shown = opened(await caller.read(told["output"][0]))
    assert shown.size == (32, 32)
    assert shown.text == {"prompt": "my secret fox"}  # type: ignore[attr-defined]
    caller.server.faults.add(FaultKind.no_alpha)
    told = await caller.end(await caller.create("bria/remove-background", image=data_uri(picture())))
    assert opened(await caller.read(told["output"])).mode == "RGB"


# Webhooks


class Listener:
    """Where webhooks come in. `statuses` are its next answers; then 200."""

    def __init__(self) -> None:
        self.seen: list[tuple[dict[str, str], bytes]] = []
        self.statuses: list[int] = []

    async def take(self, request: web.Request) -> web.Response:
        self.seen.append(
            ({key.lower(): value for key, value in request.headers.items()}, await request.read())
        )
        status = self.statuses.pop(0) if self.statuses else 200
        return web.Response(status=status, headers={"Location": "/elsewhere"} if status == 302 else {})


@pytest_asyncio.fixture
async def listener() -> AsyncIterator[tuple[Listener, str]]:
    here = Listener()
    app = web.Application()
    app.router.add_post("/{any:.*}", here.take)
    runner = web.AppRunner(app, shutdown_timeout=0.01)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    yield here, f"http://{host}:{port}/hook"
    await runner.cleanup()


async def hooked(caller: Caller, url: str, *events: str) -> Json:
    body = {"version": SDXL, "input": {"prompt": "a fox", "width": 64, "height": 64}, "webhook": url}
    if events:
        body["webhook_events_filter"] = list(events)
    return await caller.end((await caller.call("POST", "/predictions", json=body))[1])


async def test_webhooks_tell_the_prediction_and_are_signed(
    caller: Caller, listener: tuple[Listener, str]
) -> None:
    here, url = listener
    ended = await hooked(caller, url, "start", "completed")
    await caller.server.changes.until(lambda: len(caller.server.counts.webhooks) == 2)
    told = [json.loads(body) for _, body in here.seen]
    assert sorted(one["status"] for one in told) == ["processing", "succeeded"]
    assert ended in told
    _, secret = await caller.call("GET", "/webhooks/default/secret")
    for headers, body in here.seen:
        stamp = int(headers["webhook-timestamp"])
        assert headers["webhook-signature"] == sign(secret["key"], headers["webhook-id"], stamp, body)


async def test_a_webhook_comes_again_when_it_was_not_taken(
    caller: Caller, listener: tuple[Listener, str]
) -> None:
    here, url = listener
    here.statuses = [503, 503]
    await hooked(caller, url, "completed")
    await caller.server.changes.until(lambda: len(here.seen) == 3)
    assert len({headers["webhook-id"] for headers, _ in here.seen}) == 1


async def test_a_webhook_follows_no_redirect(caller: Caller, listener: tuple[Listener, str]) -> None:
    here, url = listener
    here.statuses = [302]
    await hooked(caller, url, "completed")
    await caller.server.changes.until(lambda: caller.server.counts.webhooks == [(url, 302)])
    assert len(here.seen) == 1


async def test_a_webhook_can_be_wrong_old_double_or_absent(
    caller: Caller, listener: tuple[Listener, str]
) -> None:
    """P11."""
    here, url = listener
    secret = caller.server.webhook_secret

    async def seen(kind: FaultKind, count: int = 1) -> list[tuple[dict[str, str], bytes]]:
        here.seen.clear()
        caller.server.faults.add(kind)
        await hooked(caller, url, "completed")
        await caller.server.changes.until(lambda: len(here.seen) == count)
        return here.seen

    ((headers, body),) = await seen(FaultKind.wrong_signature)
    stamp = int(headers["webhook-timestamp"])
    assert sign(secret, headers["webhook-id"], stamp, body) != headers["webhook-signature"]
    ((headers, body),) = await seen(FaultKind.old_timestamp)
    stamp = int(headers["webhook-timestamp"])
    assert caller.server.clock.now() - stamp > 500
    assert sign(secret, headers["webhook-id"], stamp, body) == headers["webhook-signature"]
    assert len(await seen(FaultKind.second_webhook, 2)) == 2
    assert await seen(FaultKind.no_webhook, 0) == []


async def test_a_webhook_goes_to_https_only_but_for_this_machine(caller: Caller) -> None:
    body = {"version": FLUX, "input": {"prompt": "x"}, "webhook": "http://example.com/hook"}
    assert (await caller.call("POST", "/predictions", json=body))[0] == 422
