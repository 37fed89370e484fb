"""Jobs over HTTP: accepted, followed, listed, canceled, run again, deleted."""

from __future__ import annotations

import asyncio
import json
import zipfile
from io import BytesIO
from uuid import uuid4

from scenarios.http.client import Client, climbing, picture, small
from support.scripted import ScriptedProvider, png, succeeded


async def test_a_job_is_accepted_at_once_and_can_be_waited_for(client: Client) -> None:
    accepted = await client.post("/v1/jobs", json=small() | {"tags": ["first"]})
    assert accepted.status == 201
    assert accepted.headers["Location"] == f"/v1/jobs/{accepted.json['id']}"
    assert accepted.json["state"] in ("queued", "running")
    ended = (await client.get(accepted.headers["Location"] + "?wait=30")).json
    assert ended["state"] == "succeeded"
    assert ended["tags"] == ["first"]
    assert ended["steps"][0]["parameters"]["seed"] is not None
    [attempt] = ended["attempts"]
    assert (attempt["endpoint"], attempt["state"]) == ("preview", "succeeded")
    [output] = ended["outputs"]
    assert (output["width"], output["height"], output["media_type"]) == (64, 64, "image/png")
    assert output["facts"]["ai"] is False


async def test_waiting_ends_with_the_patience(scripted_client: Client) -> None:
    answer = await scripted_client.post("/v1/jobs?wait=0.2", json=small())
    assert answer.status == 201
    assert answer.json["state"] in ("queued", "running")


async def test_a_job_of_several_steps(client: Client) -> None:
    first = small("a blue potion")["parameters"]
    job = await client.made(
        steps=[
            {"name": "draw", "operation": "txt2img", "parameters": first},
            {"name": "cut", "operation": "remove_background", "inputs": {"image": "step:draw"}},
        ]
    )
    assert [output["step"] for output in job["outputs"]] == ["cut"]


async def test_an_uploaded_picture_is_an_input(client: Client) -> None:
    asset = await client.uploaded(picture())
    parameters = {"cells": 8, "colors": 4, "scale": 1}
    job = await client.made(operation="pixelate", parameters=parameters, inputs={"image": asset["id"]})
    assert job["steps"][0]["inputs"] == {"image": [asset["id"]]}


async def test_the_same_idempotency_key_gives_the_same_job(client: Client) -> None:
    key = {"Idempotency-Key": str(uuid4())}
    first = await client.post("/v1/jobs", json=small(), headers=key)
    again = await client.post("/v1/jobs", json=small(), headers=key)
    assert (first.status, again.status) == (201, 200)
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.json["id"] == first.json["id"]
    other = await client.post("/v1/jobs", json=small("a green potion"), headers=key)
    assert other.status == 409
    assert (other.error["code"], other.error["field"]) == ("request.conflict", "Idempotency-Key")


async def test_one_key_sent_many_times_at_once_is_one_job(client: Client) -> None:
    key = {"Idempotency-Key": str(uuid4())}
    answers = await asyncio.gather(*(client.post("/v1/jobs", json=small(), headers=key) for _ in range(8)))
    assert len({answer.json["id"] for answer in answers}) == 1
    assert sorted(answer.status for answer in answers) == [200] * 7 + [201]


async def test_jobs_are_listed_a_page_at_a_time_and_found(client: Client) -> None:
    word = f"w{uuid4().hex[:8]}"
    made = [
        (await client.post("/v1/jobs", json=small(f"{word} potion") | {"tags": [word]})).json
        for _ in range(3)
    ]
    newest_first = [job["id"] for job in reversed(made)]
    page = (await client.get(f"/v1/jobs?tag={word}&limit=2")).json
    rest = (await client.get(f"/v1/jobs?tag={word}&limit=2&before={page['next']}")).json
    assert [job["id"] for job in page["jobs"] + rest["jobs"]] == newest_first
    assert rest["next"] is None
    for job in made:
        await client.get(f"/v1/jobs/{job['id']}?wait=30")
    for query in (f"search={word}", f"tag={word}&state=succeeded", f"tag={word}&operation=txt2img"):
        found = (await client.get(f"/v1/jobs?{query}")).json["jobs"]
        assert [job["id"] for job in found] == newest_first, query
    assert (await client.get(f"/v1/jobs?tag={word}&state=failed")).json == {"jobs": [], "next": None}


async def test_cancel_is_told_and_harmless_twice(scripted_client: Client, place: ScriptedProvider) -> None:
    job = (await scripted_client.post("/v1/jobs", json=small())).json
    async with asyncio.timeout(10):
        await place.observing.wait()
    first = await scripted_client.post(f"/v1/jobs/{job['id']}/cancel")
    assert first.json["state"] in ("canceling", "canceled")
    ended = (await scripted_client.get(f"/v1/jobs/{job['id']}?wait=10")).json
    assert ended["state"] == "canceled"
    assert ended["error"]["code"] == "job.canceled"
    again = await scripted_client.post(f"/v1/jobs/{job['id']}/cancel")
    assert (again.status, again.json["state"]) == (200, "canceled")
    assert len(place.canceled) == 1


async def test_run_again_with_the_same_seed_and_with_a_new_one(client: Client) -> None:
    job = await client.made(**small(seed=7))
    same = await client.post(f"/v1/jobs/{job['id']}/rerun")
    other = await client.post(f"/v1/jobs/{job['id']}/rerun", json={"new_seed": True})
    assert (same.status, other.status) == (201, 201)
    assert same.json["rerun_of"] == other.json["rerun_of"] == job["id"]
    assert same.json["steps"][0]["parameters"]["seed"] == 7
    assert other.json["steps"][0]["parameters"]["seed"] != 7
    done = (await client.get(f"/v1/jobs/{same.json['id']}?wait=30")).json
    assert done["outputs"][0]["sha256"] == job["outputs"][0]["sha256"]


async def test_a_deleted_job_is_gone_with_its_outputs(client: Client) -> None:
    job = await client.made(**small("a golden key"))
    [output] = job["outputs"]
    assert (await client.delete(f"/v1/jobs/{job['id']}")).status == 204
    assert (await client.get(f"/v1/jobs/{job['id']}")).status == 404
    assert (await client.get(output["url"])).status == 404
    assert (await client.delete(f"/v1/jobs/{job['id']}")).status == 404


async def test_a_running_job_cannot_be_deleted(scripted_client: Client) -> None:
    job = (await scripted_client.post("/v1/jobs", json=small())).json
    answer = await scripted_client.delete(f"/v1/jobs/{job['id']}")
    assert (answer.status, answer.error["code"]) == (409, "request.conflict")


async def test_the_unfinished_picture(scripted_client: Client, place: ScriptedProvider) -> None:
    place.says = [climbing(png(99))]
    job = (await scripted_client.post("/v1/jobs", json=small() | {"previews": True})).json
    path = f"/v1/jobs/{job['id']}/preview"
    async with asyncio.timeout(10):
        while (answer := await scripted_client.get(path)).status == 404:
            assert answer.error["code"] == "request.not_found"
            await asyncio.sleep(0.02)
    assert (answer.headers["Content-Type"], answer.body) == ("image/png", png(99))
    assert (await scripted_client.get(f"/v1/jobs/{job['id']}")).json["has_preview"]
    place.says.append(succeeded())
    await scripted_client.get(f"/v1/jobs/{job['id']}?wait=10")
    assert (await scripted_client.get(path)).status == 404


async def test_all_outputs_as_one_archive(client: Client) -> None:
    job = await client.made(**small(count=2))
    answer = await client.get(f"/v1/jobs/{job['id']}/zip")
    assert answer.headers["Content-Type"] == "application/zip"
    assert "attachment" in answer.headers["Content-Disposition"]
    with zipfile.ZipFile(BytesIO(answer.body)) as archive:
        assert archive.testzip() is None
        assert set(archive.namelist()) == {"job.json", *(output["name"] for output in job["outputs"])}
        assert json.loads(archive.read("job.json"))["id"] == job["id"]


async def test_what_would_be_done_is_told_and_nothing_is_stored(client: Client) -> None:
    before = (await client.get("/v1/jobs?limit=1")).json
    answer = await client.post("/v1/estimate", json=small(count=3) | {"model": "flux.1-dev"})
    assert answer.status == 200
    [stage] = answer.json["stages"]
    assert (stage["endpoint"], stage["provider"]) == ("preview", "preview")
    [step] = stage["steps"]
    assert (step["model"], step["ai"], step["licence"]["commercial"]) == ("preview", False, True)
    assert step["parameters"]["count"] == 3
    assert answer.json["usd"] == 0
    assert (await client.get("/v1/jobs?limit=1")).json == before
