"""The emulated Scenario: the vendor's SDK validates its answers; real pictures, honest units, every fault on demand."""

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
from PIL import Image

from genyard.testing import drawing
from genyard.testing.comfyui.values import encode
from genyard.testing.scenario import FaultKind, Model, ScenarioEmulator
from support.exchanges import Replay, recorded, recordings

pytestmark = pytest.mark.long

Json = Any

FOLDER = "scenario-sdk-2.4.0"
FLUX, CUT_OUT, LAYERS = (
    "model_bfl-flux-1-dev",
    "model_photoroom-background-removal",
    "model_qwen-image-layered",
)
ENDED = ("success", "failure", "canceled")


def authorization(server: ScenarioEmulator) -> str:
    return "Basic " + base64.b64encode(f"{server.key}:{server.secret}".encode()).decode()


class Caller:
    """One client with the team's key."""

    def __init__(self, server: ScenarioEmulator, session: aiohttp.ClientSession) -> None:
        self.server, self.session = server, session

    async def call(self, method: str, path: str, **options: Any) -> tuple[int, Json]:
        async with self.session.request(method, self.server.base_url + path, **options) as answer:
            body = await answer.read()
            return answer.status, json.loads(body) if body else None

    async def start(self, model: str = FLUX, **given: Json) -> Json:
        status, told = await self.call("POST", f"/generate/custom/{model}", json=body_of(model, given))
        assert status == 200, told
        return told["job"]

    async def end(self, job: Json) -> Json:
        await self.server.until_status(job["jobId"], *ENDED)
        return (await self.call("GET", f"/jobs/{job['jobId']}"))[1]["job"]

    async def run(self, model: str = FLUX, **given: Json) -> Json:
        return await self.end(await self.start(model, **given))

    async def asset(self, asset_id: str) -> Json:
        return (await self.call("GET", f"/assets/{asset_id}"))[1]["asset"]

    async def read(self, asset_id: str) -> bytes:
        """As anybody can who has the link."""
        url = (await self.asset(asset_id))["url"]
        async with aiohttp.ClientSession() as nobody, nobody.get(url) as answer:
            assert answer.status == 200
            return await answer.read()

    async def picture(self, model: str = FLUX, **given: Json) -> Image.Image:
        job = await self.run(model, **given)
        return Image.open(io.BytesIO(await self.read(job["metadata"]["assetIds"][0])))


def body_of(model: str, given: Json) -> Json:
    drawn = model.startswith("model_bfl-flux") and "prompt" not in given
    return {**({"prompt": "a fox", "width": 128, "height": 128} if drawn else {}), **given}


@pytest_asyncio.fixture
async def caller() -> AsyncIterator[Caller]:
    async with opened() as made:
        yield made


class opened:
    """An emulator with other arguments, and its caller."""

    def __init__(self, **arguments: Any) -> None:
        self._server = ScenarioEmulator(**arguments)

    async def __aenter__(self) -> Caller:
        await self._server.__aenter__()
        self._session = aiohttp.ClientSession(headers={"Authorization": authorization(self._server)})
        return Caller(self._server, self._session)

    async def __aexit__(self, *_: Any) -> None:
        await self._session.close()
        await self._server.__aexit__(None, None, None)


def picture(width: int = 64, height: int = 48) -> bytes:
    return drawing.picture("a fox", width=width, height=height)


def data_url(data: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(data).decode()}"


# The official SDK


@pytest.mark.parametrize("name", recordings(FOLDER))
async def test_what_the_official_sdk_sent_is_answered_alike(name: str) -> None:
    async with opened() as caller, aiohttp.ClientSession() as session:
        server = caller.server

        async def settle(body: Json) -> None:
            job = body.get("job", {}) if isinstance(body, dict) else {}
            if job.get("jobId") in server.jobs:
                await server.until_status(job["jobId"], job["status"])
            upload = body.get("upload", {}) if isinstance(body, dict) else {}
            if upload.get("status") == "imported":  # the recorded client had looked before
                await caller.call("GET", f"/uploads/{upload['id']}")

        replay = Replay(server=server, session=session, authorization=authorization(server), settle=settle)
        await replay.play(recorded(FOLDER, name))


async def test_a_client_that_sends_a_paid_call_again_pays_again(caller: Caller) -> None:
    """S9: the recorded SDK sent one call three times, by its default."""
    recording = recorded(FOLDER, "retried-post")
    assert [one["request"]["headers"]["x-stainless-retry-count"] for one in recording["exchanges"]] == [
        "0",
        "1",
        "2",
    ]
    caller.server.faults.add(FaultKind.fail_after_start, times=None)
    for exchange in recording["exchanges"]:
        await caller.call("POST", f"/generate/custom/{FLUX}", json=exchange["request"]["json"])
    assert caller.server.counts.jobs == recording["jobs"] == 3


async def test_without_the_key_nothing_is_told(caller: Caller) -> None:
    async with aiohttp.ClientSession() as nobody, nobody.get(caller.server.base_url + "/models") as answer:
        assert answer.status == 401


# Real pictures


async def test_the_same_seed_makes_the_same_picture_and_other_words_another(caller: Caller) -> None:
    async def made(**given: Json) -> bytes:
        return (await caller.picture(prompt="a fox", width=128, height=128, **given)).tobytes()

    one, same, other = await made(seed="1"), await made(seed="1"), await made(seed="2")
    assert one == same != other
    assert await made() != await made()


async def test_sizes_and_counts_are_what_was_asked(caller: Caller) -> None:
    job = await caller.run(prompt="a fox", width=256, height=128, numOutputs=3)
    assets = [await caller.asset(one) for one in job["metadata"]["assetIds"]]
    assert [one["outputIndex"] for one in assets] == [0, 1, 2]
    assert {(one["metadata"]["width"], one["metadata"]["height"], one["mimeType"]) for one in assets} == {
        (256, 128, "image/png")
    }
    assert Image.open(io.BytesIO(await caller.read(assets[2]["id"]))).size == (256, 128)


async def test_an_image_shows_through_and_a_control_image_does_not(caller: Caller) -> None:
    """S8: the same picture under the other name is another mode, without an error."""
    bright = caller.server.add_asset(encode(np.full((64, 64, 3), 255, np.uint8))).id
    dark = caller.server.add_asset(encode(np.zeros((64, 64, 3), np.uint8))).id

    async def light(**given: Json) -> float:
        return float(np.asarray(await caller.picture(**body_of(FLUX, {"seed": "1", **given}))).mean())

    assert await light(image=dark, strength=0.3) + 60 < await light(image=bright, strength=0.3)
    assert await light(controlImage=bright) != await light(image=bright)
    assert (await caller.server.until_status(list(caller.server.jobs)[-1], "success")).input[
        "image"
    ] == bright


@pytest.mark.parametrize("form", ["asset", "data url"])
async def test_a_background_remover_takes_an_asset_or_a_data_url(caller: Caller, form: str) -> None:
    image = data_url(picture()) if form == "data url" else caller.server.add_asset(picture()).id
    shown = await caller.picture(CUT_OUT, image=image)
    assert (shown.mode, shown.size) == ("RGBA", (64, 48))
    assert {0, 255} <= set(np.asarray(shown)[..., 3].flat)
    assert (await caller.picture(CUT_OUT, image=image, backgroundColor="#ff0000")).mode == "RGB"


async def test_layers_come_back_to_front(caller: Caller) -> None:
    job = await caller.run(LAYERS, image=caller.server.add_asset(picture()).id, numLayers=3)
    shown = [Image.open(io.BytesIO(await caller.read(one))) for one in job["metadata"]["assetIds"]]
    assert [one.mode for one in shown] == ["RGBA"] * 3
    assert np.asarray(shown[0])[..., 3].mean() > np.asarray(shown[-1])[..., 3].mean()


async def test_pixel_art_has_few_colours_and_a_photo_becomes_a_video(caller: Caller) -> None:
    shown = await caller.picture("model_retrodiffusion-plus", prompt="a sword", width=64, height=64)
    assert shown.size == (64, 64)
    assert len(shown.getcolors(64) or []) <= 16
    job = await caller.run(
        "model_emulated-image-to-video", image=caller.server.add_asset(picture()).id, duration=1
    )
    (asset,) = job["metadata"]["assetIds"]
    assert (await caller.asset(asset))["kind"] == "video"
    with av.open(io.BytesIO(await caller.read(asset))) as container:
        assert len(list(container.decode(video=0))) > 1  # type: ignore[union-attr]


# What a body may say


async def test_the_inputs_of_a_model_are_told_and_checked(caller: Caller) -> None:
    _, told = await caller.call("GET", f"/models/{FLUX}")
    inputs = {one["name"]: one for one in told["model"]["inputs"]}
    assert (inputs["numOutputs"]["min"], inputs["numOutputs"]["max"]) == (1, 4)
    assert inputs["prompt"]["required"] == {"always": True}
    for given, complaint in [
        ({"numOutputs": 9}, '"numOutputs" must be at most 4'),
        ({"width": 130}, '"width" must be a multiple of 16'),
        ({"seed": 42}, '"seed" must be a string'),
        ({"image": "asset_unknown"}, '"image" must be an asset id'),
        ({"colour": "red"}, '"colour" is not an input'),
        ({"prompt": "x" * 2049}, '"prompt" must have at most 2048 characters'),
    ]:
        status, refused = await caller.call(
            "POST", f"/generate/custom/{FLUX}", json=body_of(FLUX, {"prompt": "x", **given})
        )
        assert status == 400
        assert complaint in refused["reason"]
        assert refused["trace_id"]
    assert caller.server.counts.jobs == 0


async def test_a_bare_value_for_an_array_is_dropped_in_silence(caller: Caller) -> None:
    """S7."""
    bare = await caller.run(prompt="a fox", width=128, height=128, loras="model_x", lorasScale=0.5)
    assert not {"loras", "lorasScale"} & set(bare["metadata"]["input"])
    listed = await caller.run(prompt="a fox", width=128, height=128, loras=["model_x"], lorasScale=[0.5])
    assert listed["metadata"]["input"]["loras"] == ["model_x"]


async def test_a_dry_run_answers_269_and_starts_nothing(caller: Caller) -> None:
    """S5."""
    body = {"prompt": "a fox", "width": 1344, "height": 768}
    status, told = await caller.call("POST", f"/generate/custom/{FLUX}?dryRun=true", json=body)
    assert (status, told["creativeUnitsCost"]) == (269, 9)
    assert "job" not in told
    assert (caller.server.counts.jobs, caller.server.counts.dry_runs) == (0, 1)
    job = await caller.run(**body)
    assert job["billing"]["cuCost"] == 9


async def test_models_come_in_pages_and_only_public_ones_are_there(caller: Caller) -> None:
    seen: list[str] = []
    token: str | None = "0"
    while token is not None:
        _, told = await caller.call("GET", f"/models?privacy=public&pageSize=4&paginationToken={token}")
        seen += [one["id"] for one in told["models"]]
        token = told.get("nextPaginationToken")
    assert FLUX in seen
    assert len(seen) == len(set(seen)) == len(caller.server.models)
    assert (await caller.call("GET", "/models"))[1]["models"] == []


# The routes of before 2026


async def test_legacy_routes_make_pictures_and_their_jobs_can_be_canceled(caller: Caller) -> None:
    body = {
        "modelId": "flux.1-dev",
        "prompt": "a fox",
        "width": 128,
        "height": 128,
        "numSamples": 2,
        "seed": "1",
    }
    _, told = await caller.call("POST", "/generate/txt2img", json=body)
    job = await caller.end(told["job"])
    assert (job["jobType"], len(job["metadata"]["assetIds"])) == ("inference", 2)
    image = data_url(picture())
    _, told = await caller.call("POST", "/generate/img2img", json={**body, "image": image, "strength": 0.5})
    assert (await caller.end(told["job"]))["status"] == "success"
    _, told = await caller.call("POST", "/generate/remove-background", json={"image": image, "format": "png"})
    assert (await caller.end(told["job"]))["jobType"] == "remove-background"
    caller.server.faults.add(FaultKind.hang)
    _, told = await caller.call("POST", "/generate/txt2img", json=body)
    path = f"/jobs/{told['job']['jobId']}/action"
    assert (await caller.call("POST", path, json={"action": "cancel"}))[1]["job"]["status"] == "canceled"


async def test_legacy_routes_may_be_gone() -> None:
    async with opened(legacy=False) as caller:
        body = {"modelId": "flux.1-dev", "prompt": "a fox"}
        assert (await caller.call("POST", "/generate/txt2img", json=body))[0] == 404


# Jobs


async def test_a_job_tells_its_way_and_its_progress(caller: Caller) -> None:
    caller.server.faults.add(FaultKind.warm, seconds=0.01)
    job = await caller.run()
    words = [one["status"] for one in job["statusHistory"]]
    assert words == ["queued", "warming-up", "in-progress", "finalizing", "success"]
    dates = [one["date"] for one in job["statusHistory"]]
    assert dates == sorted(dates)
    assert job["progress"] == 1


async def test_a_custom_job_is_not_canceled(caller: Caller) -> None:
    """S1: it goes on, and it is billed."""
    job = await caller.start()
    status, told = await caller.call("POST", f"/jobs/{job['jobId']}/action", json={"action": "cancel"})
    assert (status, told["reason"]) == (400, "Cannot cancel this type of job. Action not permitted.")
    assert (await caller.end(job))["status"] == "success"
    assert caller.server.counts.units == job["billing"]["cuCost"]


async def test_where_cancels_are_allowed_they_stop_and_refund() -> None:
    async with opened(cancels=True, workers=1) as caller:
        caller.server.faults.add(FaultKind.hang)
        first = await caller.start()
        await caller.server.until_status(first["jobId"], "in-progress")
        second = await caller.start(prompt="a second", width=128, height=128)
        for job in (second, first):
            _, told = await caller.call("POST", f"/jobs/{job['jobId']}/action", json={"action": "cancel"})
            assert told["job"]["status"] == "canceled"
        assert caller.server.runs_of(prompt="a second") == 0
        assert (caller.server.counts.canceled, caller.server.counts.units) == (2, 0)


async def test_the_limit_of_the_team_is_told_and_kept() -> None:
    """S2."""
    async with opened(parallel_custom_jobs=2) as caller:
        caller.server.faults.add(FaultKind.hang, times=2)
        for _ in range(2):
            await caller.start()
        status, told = await caller.call("POST", f"/generate/custom/{FLUX}", json=body_of(FLUX, {}))
        assert (status, told["actionName"], told["actionLimit"]) == (429, "parallelCustomJobs", 2)
        _, teams = await caller.call("GET", "/teams")
        _, limits = await caller.call("GET", f"/teams/{teams['teams'][0]['id']}/limits")
        assert limits["limits"]["parallelCustomJobs"] == 2


async def test_units_run_out_and_failed_jobs_give_theirs_back() -> None:
    """S11."""
    async with opened(units=12, exhausted=(403, "No credits left")) as caller:
        image = caller.server.add_asset(picture()).id
        caller.server.faults.add(FaultKind.fail)
        assert (await caller.run(CUT_OUT, image=image))["status"] == "failure"
        assert (caller.server.units, caller.server.counts.refunded) == (12, 5)
        for _ in range(2):
            await caller.run(CUT_OUT, image=image)
        status, told = await caller.call("POST", f"/generate/custom/{CUT_OUT}", json={"image": image})
        assert (status, told["reason"]) == (403, "No credits left")
        assert (caller.server.units, caller.server.counts.units) == (2, 10)


async def test_a_model_without_refunds_keeps_its_units() -> None:
    strict = Model(
        id="model_strict", name="strict", inputs=(), makes="picture", units=lambda _: 7.0, disable_refund=True
    )
    async with opened(models=[strict]) as caller:
        caller.server.faults.add(FaultKind.fail)
        job = await caller.run("model_strict")
        assert (job["status"], job["billing"]) == (
            "failure",
            {"cuCost": 7, "cuDiscount": 0, "disableRefund": True},
        )
        assert caller.server.counts.units == 7


# Files


async def test_a_link_expires_and_the_next_read_signs_anew(caller: Caller) -> None:
    """S10."""
    job = await caller.run()
    (asset_id,) = job["metadata"]["assetIds"]
    old = (await caller.asset(asset_id))["url"]
    async with aiohttp.ClientSession() as nobody:
        assert (await nobody.get(old)).status == 200
        caller.server.clock.advance(901)
        assert (await nobody.get(old)).status == 403
        assert (await nobody.get((await caller.asset(asset_id))["url"])).status == 200
        assert (await nobody.get(old.partition("?")[0])).status == 403
        caller.server.faults.add(FaultKind.expired_link)
        assert (await nobody.get((await caller.asset(asset_id))["url"])).status == 403
    assert caller.server.counts.keys_outside == 0
    async with caller.session.get((await caller.asset(asset_id))["url"]) as answer:
        assert answer.status == 200
    assert caller.server.counts.keys_outside == 1


async def test_an_upload_becomes_an_asset_unless_it_is_too_large_or_no_picture() -> None:
    async with opened(max_asset=20_000) as caller:
        _, told = await caller.call(
            "POST", "/assets", json={"image": base64.b64encode(picture()).decode(), "name": "fox.png"}
        )
        assert (told["asset"]["metadata"]["type"], told["asset"]["metadata"]["width"]) == ("uploaded", 64)
        assert await caller.read(told["asset"]["id"]) == picture()
        status, _ = await caller.call("POST", "/assets", json={"image": "A" * 20_000, "name": "fox.png"})
        assert status == 413
        status, _ = await caller.call("POST", "/assets", json={"image": "AAAA", "name": "fox.png"})
        assert status == 400
        assert caller.server.counts.uploads == 1


async def uploaded(caller: Caller, data: bytes, *parts: bytes, kind: str = "image") -> Json:
    body = {
        "fileName": "x",
        "contentType": "image/png",
        "kind": kind,
        "parts": len(parts),
        "fileSize": len(data),
    }
    _, told = await caller.call("POST", "/uploads", json=body)
    upload = told["upload"]
    async with aiohttp.ClientSession() as nobody:
        for place, part in zip(upload["parts"], parts, strict=True):
            assert (await nobody.put(place["url"], data=part)).status == 200
    path = f"/uploads/{upload['id']}"
    await caller.call("POST", f"{path}/action", json={"action": "complete"})
    seen = [(await caller.call("GET", path))[1]["upload"] for _ in range(2)]
    assert seen[0]["status"] == "validating"
    return seen[1]


async def test_an_upload_in_parts_is_imported_after_a_while() -> None:
    async with opened(min_part=100) as caller:
        data = picture()
        done = await uploaded(caller, data, data[:100], data[100:])
        assert done["status"] == "imported"
        assert await caller.read(done["entityId"]) == data
        video = drawing.video(data)
        done = await uploaded(caller, video, video, kind="video")
        assert (await caller.asset(done["entityId"]))["kind"] == "video"


async def test_an_upload_in_parts_fails_with_a_reason() -> None:
    async with opened(min_part=100) as caller:
        data = picture()
        small = await uploaded(caller, data, data[:50], data[50:])
        assert "smaller than the minimum" in small["errorMessage"]
        short = await uploaded(caller, data, data[:-10])
        assert short["status"] == "failed"
        broken = await uploaded(caller, b"x" * 500, b"x" * 500)
        assert (broken["status"], broken["errorMessage"]) == ("failed", "The file is not valid")
        caller.server.faults.add(FaultKind.upload_failed, message="virus found")
        assert (await uploaded(caller, data, data))["errorMessage"] == "virus found"
        status, _ = await caller.call("POST", "/uploads/upload_unknown/action", json={"action": "complete"})
        assert status == 404


# Faults


@pytest.mark.parametrize(
    ("kind", "details", "status", "told"),
    [
        (FaultKind.too_many_jobs, {}, 429, {"actionName": "parallelCustomJobs", "actionLimit": 10}),
        (FaultKind.cooldown, {"seconds": 12}, 429, {"remainingSeconds": 12}),
        (FaultKind.wrong_plan, {}, 403, {}),
        (FaultKind.protected, {}, 403, {"reason": "API Keys cannot access protected resources"}),
        (FaultKind.no_units, {}, 402, {}),
        (FaultKind.answer, {"status": 503, "body": "{}"}, 503, {}),
    ],
)
async def test_refusals_on_demand(
    caller: Caller, kind: FaultKind, details: Json, status: int, told: Json
) -> None:
    """S2, S3, S4, S11: nothing was started."""
    caller.server.faults.add(kind, **details)
    seen, body = await caller.call("POST", f"/generate/custom/{FLUX}", json=body_of(FLUX, {}))
    assert seen == status
    assert told.items() <= body.items()
    assert (caller.server.counts.jobs, caller.server.counts.units) == (0, 0)


async def test_a_model_may_need_another_plan(caller: Caller) -> None:
    """S4."""
    status, _ = await caller.call("POST", "/generate/custom/model_enterprise-only", json={"prompt": "x"})
    assert status == 403


async def test_a_failure_has_an_error_and_a_hint(caller: Caller) -> None:
    caller.server.faults.add(
        FaultKind.fail, prompt_word="badly", message="It broke", hint="Ask otherwise", times=None
    )
    assert (await caller.run())["status"] == "success"
    job = await caller.run(prompt="drawn badly", width=128, height=128)
    assert (job["status"], job["metadata"]["error"], job["metadata"]["hint"]) == (
        "failure",
        "It broke",
        "Ask otherwise",
    )


@pytest.mark.parametrize(
    ("state", "word"), [("success", "succeeded"), ("success", "completed"), ("in-progress", "processing")]
)
async def test_status_words_may_be_others(caller: Caller, state: str, word: str) -> None:
    """S6."""
    caller.server.faults.add(FaultKind.word, state=state, message=word)
    job = await caller.run()
    assert word in [one["status"] for one in job["statusHistory"]]
    assert state not in [one["status"] for one in job["statusHistory"]]


async def test_a_failure_may_be_called_error(caller: Caller) -> None:
    caller.server.faults.add(FaultKind.word, state="failure", message="error")
    caller.server.faults.add(FaultKind.fail)
    assert (await caller.run())["status"] == "error"


async def test_somebody_else_may_cancel_and_success_may_be_empty(caller: Caller) -> None:
    caller.server.faults.add(FaultKind.cancel)
    assert (await caller.run())["status"] == "canceled"
    caller.server.faults.add(FaultKind.no_outputs)
    job = await caller.run()
    assert (job["status"], job["metadata"]["assetIds"]) == ("success", [])


async def test_jobs_and_assets_can_be_forgotten(caller: Caller) -> None:
    job = await caller.run()
    caller.server.faults.add(FaultKind.forget)
    assert (await caller.call("GET", f"/jobs/{job['jobId']}"))[0] == 404
    caller.server.faults.add(FaultKind.forget_asset)
    assert (await caller.call("GET", f"/assets/{job['metadata']['assetIds'][0]}"))[0] == 404


async def test_waiting_and_slow_jobs_last_as_long_as_was_said(caller: Caller) -> None:
    caller.server.faults.add(FaultKind.wait, seconds=60)
    caller.server.faults.add(FaultKind.slow, seconds=60)
    job = await caller.start()
    caller.server.clock.advance(59)
    assert (await caller.call("GET", f"/jobs/{job['jobId']}"))[1]["job"]["status"] == "queued"
    caller.server.clock.advance(2)
    await caller.server.until_status(job["jobId"], "in-progress")
    caller.server.clock.advance(61)
    assert (await caller.end(job))["status"] == "success"


async def test_an_answer_can_be_lost_while_the_job_is_bought(caller: Caller) -> None:
    caller.server.faults.add(FaultKind.lose_answer, route="POST /v1/generate/")
    with pytest.raises(aiohttp.ClientError):
        await caller.start()
    assert caller.server.counts.jobs == 1


@pytest.mark.parametrize("kind", ["html", "empty", "shorten", "wrong_type", "missing_file", "truncate"])
async def test_a_file_can_be_handed_out_wrongly(caller: Caller, kind: str) -> None:
    """F1, F2, F3."""
    job = await caller.run()
    asset = await caller.asset(job["metadata"]["assetIds"][0])
    caller.server.faults.add(kind, route="GET /cdn/")
    async with aiohttp.ClientSession() as nobody, nobody.get(asset["url"]) as answer:
        try:
            data = await answer.read()
        except aiohttp.ClientPayloadError:
            assert kind == "truncate"
            return
        seen = (answer.status, answer.content_type, len(data) < asset["properties"]["size"])
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


async def test_a_file_can_be_made_wrongly(caller: Caller) -> None:
    """F4, F5."""
    caller.server.faults.add(FaultKind.text_chunk)
    caller.server.faults.add(FaultKind.wrong_size)
    shown = await caller.picture(prompt="my secret fox", width=128, height=128)
    assert shown.size == (64, 64)
    assert shown.text == {"prompt": "my secret fox"}  # type: ignore[attr-defined]
    caller.server.faults.add(FaultKind.no_alpha)
    assert (await caller.picture(CUT_OUT, image=caller.server.add_asset(picture()).id)).mode == "RGB"
