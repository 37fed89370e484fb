"""The product as one object, on a real database: what callers may rely on."""

from __future__ import annotations

import asyncio
import io
import json
import zipfile
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest

from conftest import MakeSettings
from genyard.app import Product, build, working
from genyard.errors import Code, GenyardError
from genyard.imaging.png_facts import read_png_facts
from genyard.jobs.model import JobState
from genyard.providers import Snapshot, State
from support.scripted import RUNNING, ScriptedProvider, png, succeeded

REQUEST: dict[str, Any] = {
    "operation": "txt2img",
    "parameters": {"prompt": "a red dragon", "width": 64, "height": 64},
}


def asking(prompt: str, **more: Any) -> dict[str, Any]:
    return {"operation": "txt2img", "parameters": {"prompt": prompt, "width": 64, "height": 64}, **more}


@pytest.fixture
def place() -> ScriptedProvider:
    return ScriptedProvider()


@pytest.fixture
async def product(make_settings: MakeSettings, place: ScriptedProvider) -> AsyncIterator[Product]:
    async with build(make_settings(), providers={"preview": lambda *_: place}) as product:
        yield product


async def test_an_idempotency_key_makes_one_job_however_often(product: Product) -> None:
    made = await asyncio.gather(*(product.studio.submit(REQUEST, idempotency_key="k1") for _ in range(20)))
    assert len({one.job.id for one in made}) == 1
    assert sum(not one.replayed for one in made) == 1
    with pytest.raises(GenyardError) as caught:
        await product.studio.submit(asking("another"), idempotency_key="k1")
    assert caught.value.code is Code.request_conflict


async def test_a_refused_request_leaves_nothing_behind(product: Product) -> None:
    for body in (
        {"operation": "txt2img", "parameters": {}},
        {**REQUEST, "model": "no-such-model"},
        {**REQUEST, "colour": "red"},
        {**REQUEST, "steps": [REQUEST]},
        {**REQUEST, "tags": ["x" * 61]},
        {**REQUEST, "priority": "high"},
        {"operation": "img2img", "parameters": {"prompt": "x"}, "inputs": {"image": str(uuid4())}},
        {"operation": "run_workflow", "parameters": {"workflow": {"1": {"class_type": "X"}}}},
    ):
        with pytest.raises(GenyardError):
            await product.studio.submit(body, idempotency_key="k2")
    assert not await product.studio.jobs()
    for table in ("jobs", "stages", "attempts", "events", "assets", "procrastinate_jobs"):
        row = await product.jobs.database.row(f"SELECT count(*) AS n FROM {table}")
        assert row == {"n": 0}, table


async def test_watchers_in_another_process_hear_of_everything(
    make_settings: MakeSettings, place: ScriptedProvider
) -> None:
    """Two products on one database, with a listening connection each."""
    release = asyncio.Event()

    async def wait(_: ScriptedProvider) -> Snapshot:
        await release.wait()
        return succeeded()

    place.says = [RUNNING, wait]
    settings = make_settings()
    providers = {"preview": lambda *_: place}
    async with (
        build(settings, providers=providers) as one,
        build(settings, providers=providers) as two,
        working(one),
    ):
        submitted = await one.studio.submit(REQUEST)
        heard = []
        async for event in two.studio.watch(submitted.job.id):
            heard.append((event.kind, event.seq))
            if event.kind == "progress":
                assert event.data["progress"] == 0.5
                assert event.data["detail"] == "half"
                release.set()
        assert heard == [("queued", 1), ("running", 2), ("progress", None), ("succeeded", 3)]
        resumed = [event.kind async for event in two.studio.watch(submitted.job.id, after=2)]
        assert resumed == ["succeeded"]


async def test_urgent_jobs_go_first_and_places_are_not_overfilled(
    make_settings: MakeSettings, place: ScriptedProvider
) -> None:
    settings = make_settings()
    [only] = settings.endpoints.values()
    settings = settings.model_copy(
        update={"endpoints": {"preview": only.model_copy(update={"concurrency": 1})}}
    )
    order: list[str] = []
    compile_plan = place.compile

    async def submit(plan: Any, key: Any, media: Any, **_: Any) -> Any:
        order.append(plan.payload["prompt"])
        return {"key": str(key)}

    place.submit = submit  # type: ignore[method-assign]
    assert compile_plan
    async with build(settings, providers={"preview": lambda *_: place}) as product:
        jobs = [
            await product.studio.submit(asking(name, priority=priority))
            for name, priority in (("first", 0), ("second", 0), ("late", -5), ("urgent", 10))
        ]
        rows = await product.jobs.database.rows(
            "SELECT state, count(*) AS n FROM stages GROUP BY state ORDER BY state"
        )
        assert rows == [{"state": "ready", "n": 3}, {"state": "running", "n": 1}]
        async with working(product):
            for one in jobs:
                await asyncio.wait_for(product.studio.wait(one.job.id), 10)
    assert order == ["first", "urgent", "second", "late"]


async def test_rerun_with_the_same_seed_and_with_a_new_one(product: Product) -> None:
    async with working(product):
        first = await product.studio.make("txt2img", prompt="a fox", width=64, height=64, seed=7)
        same = await product.studio.wait((await product.studio.rerun(first.id)).id)
        other = await product.studio.wait((await product.studio.rerun(first.id, new_seed=True)).id)
    assert same.steps == first.steps
    assert same.rerun_of == first.id
    assert other.steps[0]["parameters"]["seed"] != 7


async def test_words_tags_and_facts_find_jobs_and_assets(product: Product) -> None:
    async with working(product):
        for body in (
            asking("a red dragon", tags=["boss"]),
            asking("a blue fish"),
            asking("a red fish", tags=["sea"]),
        ):
            await product.studio.wait((await product.studio.submit(body)).job.id)
    studio = product.studio

    def prompts(jobs: Any) -> list[str]:
        return [job.prompt for job in jobs]

    assert prompts(await studio.jobs(search="red")) == ["a red fish", "a red dragon"]
    assert prompts(await studio.jobs(tag="boss")) == ["a red dragon"]
    newest = (await studio.jobs(limit=1))[0]
    assert prompts(await studio.jobs(before=newest.id)) == ["a blue fish", "a red dragon"]
    assert prompts(await studio.assets(search="fish", tag="sea")) == ["a red fish"]
    assert len(await studio.assets(facts={"model": "preview", "operation": "txt2img"})) == 3
    seed = newest.steps[0]["parameters"]["seed"]
    assert prompts(await studio.assets(facts={"seed": seed})) == ["a red fish"]


async def test_outputs_carry_their_facts_and_the_prompt_only_when_asked(product: Product) -> None:
    async with working(product):
        plain = await product.studio.make("txt2img", prompt="a secret plan", width=64, height=64)
        told = (await product.studio.submit({**asking("a known plan"), "embed_prompt": True})).job
        told = await product.studio.wait(told.id)
        data = await product.studio.read(plain.outputs[0])
        facts = read_png_facts(data)
        assert facts is not None
        assert facts["seed"] == plain.steps[0]["parameters"]["seed"]
        assert b"secret" not in data
        assert read_png_facts(await product.studio.read(told.outputs[0]))["prompt"] == "a known plan"  # type: ignore[index]


async def test_a_zip_holds_the_outputs_and_the_job(product: Product, place: ScriptedProvider) -> None:
    place.says, place.files = [succeeded(count=3)], png
    async with working(product):
        job = await product.studio.make("txt2img", prompt="three", width=64, height=64, count=3)
    data = b"".join([piece async for piece in product.studio.zip(job.id)])
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert sorted(archive.namelist()) == sorted(["job.json", *(asset.name for asset in job.outputs)])
        assert json.loads(archive.read("job.json"))["id"] == str(job.id)
        assert archive.testzip() is None


async def test_deleting_is_for_good(product: Product) -> None:
    async with working(product):
        job = await product.studio.make("txt2img", prompt="a fox", width=64, height=64)
    [asset] = job.outputs
    await product.studio.delete(job.id)
    for lookup in (product.studio.get(job.id), product.studio.asset(asset.id), product.studio.delete(job.id)):
        with pytest.raises(GenyardError) as caught:
            await lookup
        assert caught.value.code is Code.not_found
    with pytest.raises(GenyardError):
        await product.studio.read(asset)


async def test_bytes_that_another_asset_refers_to_stay(product: Product) -> None:
    first = await product.studio.upload(png(), name="a.png")
    second = await product.studio.upload(png(), name="b.png")
    assert first.sha256 == second.sha256
    await product.studio.delete_asset(first.id)
    assert await product.studio.read(second)
    await product.studio.delete_asset(second.id)
    with pytest.raises(GenyardError):
        await product.studio.read(second)


async def test_a_running_job_cannot_be_deleted(product: Product, place: ScriptedProvider) -> None:
    place.says = [RUNNING]
    submitted = await product.studio.submit(REQUEST)
    with pytest.raises(GenyardError, match="cancel it first") as caught:
        await product.studio.delete(submitted.job.id)
    assert caught.value.code is Code.request_conflict


async def test_two_outputs_with_the_same_bytes_are_two_assets(
    product: Product, place: ScriptedProvider
) -> None:
    place.says, place.files = [succeeded(count=2)], lambda _: png(7)
    async with working(product):
        job = await product.studio.make("txt2img", prompt="twins", width=64, height=64, count=2)
    assert len(job.outputs) == 2
    assert len({asset.sha256 for asset in job.outputs}) == 1
    assert await product.studio.read(job.outputs[1])


async def test_an_input_that_is_deleted_meanwhile_fails_the_job_clearly(product: Product) -> None:
    asset = await product.studio.upload(png(), name="a.png")
    body = {"operation": "img2img", "parameters": {"prompt": "x"}, "inputs": {"image": str(asset.id)}}
    submitted = await product.studio.submit(body)
    await product.studio.delete_asset(asset.id)
    async with working(product):
        job = await product.studio.wait(submitted.job.id)
    assert job.state is JobState.failed
    assert job.error is not None
    assert "deleted" in job.error["message"]


async def test_every_job_has_a_trace(product: Product) -> None:
    submitted = await product.studio.submit(REQUEST)
    assert len(submitted.job.trace_id) == 32


async def test_states_of_a_failed_run_are_told(product: Product, place: ScriptedProvider) -> None:
    place.says = [Snapshot(state=State.failed, error=GenyardError(Code.provider_failed, "node 3 failed"))]
    async with working(product):
        with pytest.raises(GenyardError, match="node 3 failed") as caught:
            await product.studio.make("txt2img", prompt="x", width=64, height=64)
    assert caught.value.code is Code.provider_failed
