"""What goes by age: what is asked for alone, never what a tag or a job keeps, in small batches."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from conftest import MakeSettings
from genyard.app import Product, build, working
from genyard.errors import Code, GenyardError
from genyard.jobs.callbacks.sender import Tempo
from genyard.jobs.housekeeping.retention import Retention
from genyard.jobs.model import Job, JobState
from genyard.settings import RetentionSettings, WebhookSettings
from support.receiver import Receiver
from support.scripted import ScriptedProvider, png

LATER = datetime.now(UTC) + timedelta(days=40)
ALL = RetentionSettings(jobs=30, outputs=30, uploads=30, events=30, callbacks=30)


@contextlib.asynccontextmanager
async def opened(
    make_settings: MakeSettings, keeping: RetentionSettings, place: ScriptedProvider | None = None
) -> AsyncIterator[Product]:
    place = place or ScriptedProvider()
    hosts = WebhookSettings(hosts=("127.0.0.1",))
    settings = make_settings().model_copy(update={"retention": keeping, "webhooks": hosts})
    async with build(
        settings, providers={"preview": lambda *_: place}, tempo=Tempo(sweep=0.02, grace=0.0)
    ) as product:
        yield product


async def made(product: Product, *, image: UUID | None = None, **more: Any) -> Job:
    body: dict[str, Any] = {"operation": "txt2img", "parameters": {"prompt": "a dragon"}, **more}
    if image is not None:
        body |= {"operation": "img2img", "inputs": {"image": str(image)}}
    job = (await product.studio.submit(body)).job
    return await asyncio.wait_for(product.studio.wait(job.id), 20)


async def jobs_of(product: Product) -> set[UUID]:
    return {job.id for job in await product.studio.jobs(limit=100)}


async def assets_of(product: Product) -> set[UUID]:
    return {asset.id for asset in await product.studio.assets(limit=100)}


def stored(product: Product) -> int:
    return sum(path.is_file() for path in (product.settings.data / "blobs").rglob("*"))


async def test_nothing_goes_that_nobody_asked_for(make_settings: MakeSettings) -> None:
    async with opened(make_settings, RetentionSettings()) as product, working(product):
        job = await made(product)
        upload = await product.studio.upload(png(1))
        gone = await product.keeper.retention.go(LATER)
        assert not any(gone.values())
        assert (await jobs_of(product), upload.id in await assets_of(product)) == ({job.id}, True)
        assert len(await product.jobs.events(job.id, 0)) == 3


async def test_what_is_old_goes_as_the_dry_run_said(make_settings: MakeSettings) -> None:
    async with opened(make_settings, ALL) as product:
        async with working(product):
            upload = await product.studio.upload(png(200))
            used = await made(product, image=upload.id)
            await made(product)
        waiting = (await product.studio.submit({"operation": "txt2img", "parameters": {"prompt": "x"}})).job
        keeper = product.keeper
        size = sum(one.bytes for one in await product.studio.assets())
        young = await keeper.retention.go()
        assert not any(young.values())
        said = await keeper.retention.would_go(LATER)
        assert (said["jobs"], said["outputs"], said["uploads"]) == (2, 2, 1)
        assert said["output_bytes"] + said["upload_bytes"] == size
        gone = await keeper.retention.go(LATER)
        assert (gone["jobs"], gone["outputs"], gone["uploads"]) == (2, 2, 1)
        await keeper.removal.sweep_objects()
        assert (await jobs_of(product), await assets_of(product), stored(product)) == ({waiting.id}, set(), 0)
        with pytest.raises(GenyardError) as unknown:
            await product.studio.get(used.id)
        assert unknown.value.code is Code.not_found
        assert not any((await keeper.retention.would_go(LATER)).values())


async def test_a_tag_keeps_a_job_with_what_it_made_and_what_it_was_given(make_settings: MakeSettings) -> None:
    async with opened(make_settings, ALL) as product, working(product):
        upload = await product.studio.upload(png(200))
        unused = await product.studio.upload(png(201))
        favourite = await product.studio.upload(png(202), tags=["keep"])
        first = await made(product, image=upload.id)
        kept = await made(product, image=first.outputs[0].id, tags=["keep"])
        await product.keeper.retention.go(LATER)
        assert await jobs_of(product) == {kept.id}
        assert await assets_of(product) == {first.outputs[0].id, kept.outputs[0].id, favourite.id}
        assert unused.id not in await assets_of(product)


async def test_uploads_stay_while_a_job_that_stays_was_given_them(make_settings: MakeSettings) -> None:
    only_files = RetentionSettings(uploads=30, outputs=30)
    async with opened(make_settings, only_files) as product, working(product):
        used, unused = await product.studio.upload(png(200)), await product.studio.upload(png(201))
        job = await made(product, image=used.id)
        gone = await product.keeper.retention.go(LATER)
        assert (gone["jobs"], gone["outputs"], gone["uploads"]) == (0, 1, 1)
        assert await assets_of(product) == {used.id}
        assert unused.id != used.id
        found = await product.studio.get(job.id)
        assert (found.state, found.outputs) == (JobState.succeeded, ())


async def test_records_of_jobs_go_and_their_outputs_have_a_time_of_their_own(
    make_settings: MakeSettings,
) -> None:
    async with opened(make_settings, RetentionSettings(jobs=30)) as product, working(product):
        job = await made(product)
        await product.keeper.retention.go(LATER)
        assert await jobs_of(product) == set()
        assert await assets_of(product) == {job.outputs[0].id}
        assert (await product.studio.read(job.outputs[0])).startswith(b"\x89PNG")


async def test_events_go_but_for_the_last_and_callbacks_once_they_are_over(
    make_settings: MakeSettings,
) -> None:
    keeping = RetentionSettings(events=30)
    async with Receiver() as receiver, opened(make_settings, keeping) as product, working(product):
        job = await made(product, webhook_url=receiver.url)
        await receiver.until(1)
        async with asyncio.timeout(10):
            while (await product.studio.webhooks.deliveries())[0].state != "delivered":  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        gone = await product.keeper.retention.go(LATER)
        assert (gone["events"], gone["callbacks"]) == (2, 1)
        assert [event.kind for event in await product.jobs.events(job.id, 0)] == ["succeeded"]
        assert [event.kind async for event in product.studio.watch(job.id)] == ["succeeded"]


async def test_a_callback_that_waits_keeps_its_job(make_settings: MakeSettings) -> None:
    async with Receiver(answers=[503]) as receiver, opened(make_settings, ALL) as product, working(product):
        job = await made(product, webhook_url=receiver.url)
        await receiver.until(1)
        await product.keeper.retention.go(LATER)
        assert await jobs_of(product) == {job.id}


async def test_many_go_in_batches_and_two_at_once_do_no_harm(make_settings: MakeSettings) -> None:
    async with opened(make_settings, ALL) as product, working(product):
        shared = [await product.studio.upload(png(number % 5)) for number in range(40)]
        kept = await product.studio.upload(png(3), tags=["keep"])
        removal = product.keeper.removal
        small = Retention(database=product.jobs.database, removal=removal, settings=ALL, batch=7)
        gone = await asyncio.gather(small.go(LATER), small.go(LATER))
        assert sum(one["uploads"] for one in gone) == len(shared)
        await product.keeper.removal.sweep_objects()
        assert (await assets_of(product), stored(product)) == ({kept.id}, 1)
        assert await product.studio.read(kept) == png(3)


async def test_tables_of_the_engine_and_of_workers_do_not_grow(make_settings: MakeSettings) -> None:
    async with opened(make_settings, RetentionSettings()) as product:
        for _ in range(2):
            async with working(product):
                await asyncio.gather(*(made(product) for _ in range(10)))
        counts = {}
        for table in ("procrastinate_jobs", "procrastinate_events", "procrastinate_workers", "workers"):
            [row] = await product.jobs.database.rows(f"SELECT count(*) AS n FROM {table}")
            counts[table] = row["n"]
        assert not any(counts.values()), counts
