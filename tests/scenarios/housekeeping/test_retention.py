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
from genyard.storage import open_storage
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


async def somebody_waits(product: Product, who: asyncio.Task[Any]) -> None:
    """For a lock."""
    waiting = (
        "SELECT true FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    async with asyncio.timeout(10):
        while not await product.jobs.database.row(waiting):
            assert not who.done()


async def test_nothing_goes_that_nobody_asked_for(make_settings: MakeSettings) -> None:
    async with opened(make_settings, RetentionSettings()) as product, working(product):
        job = await made(product)
        upload = await product.studio.upload(png(1))
        gone = await product.studio.keeper.retention.go(LATER)
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
        keeper = product.studio.keeper
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
        await product.studio.keeper.retention.go(LATER)
        assert await jobs_of(product) == {kept.id}
        assert await assets_of(product) == {first.outputs[0].id, kept.outputs[0].id, favourite.id}
        assert unused.id not in await assets_of(product)


async def test_uploads_stay_while_a_job_that_stays_was_given_them(make_settings: MakeSettings) -> None:
    only_files = RetentionSettings(uploads=30, outputs=30)
    async with opened(make_settings, only_files) as product, working(product):
        used, unused = await product.studio.upload(png(200)), await product.studio.upload(png(201))
        job = await made(product, image=used.id)
        gone = await product.studio.keeper.retention.go(LATER)
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
        await product.studio.keeper.retention.go(LATER)
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
        gone = await product.studio.keeper.retention.go(LATER)
        assert (gone["events"], gone["callbacks"]) == (2, 1)
        assert [event.kind for event in await product.jobs.events(job.id, 0)] == ["succeeded"]
        assert [event.kind async for event in product.studio.watch(job.id)] == ["succeeded"]


async def test_events_that_were_swept_are_not_read_again_and_none_is_passed_over(
    make_settings: MakeSettings,
) -> None:
    """The sweep begins where the last one came to, which is never behind a job that goes on."""
    async with opened(make_settings, RetentionSettings(events=30)) as product:
        removal, database = product.studio.keeper.removal, product.jobs.database
        small = Retention(database=database, removal=removal, settings=RetentionSettings(events=30), batch=1)

        async def reached() -> UUID | None:
            row = await database.row("SELECT reached FROM chores WHERE name = 'events'")
            return row["reached"] if row else None

        async with working(product):
            first = await made(product)
        waiting = (await product.studio.submit({"operation": "txt2img", "parameters": {"prompt": "x"}})).job
        async with working(product):
            await asyncio.wait_for(product.studio.wait(waiting.id), 20)
            last = await made(product)
        await database.execute("UPDATE jobs SET state = 'running' WHERE id = %(id)s", id=waiting.id)
        assert (await small.go(LATER))["events"] == 4
        assert await reached() == first.id
        await database.execute("UPDATE jobs SET state = 'succeeded' WHERE id = %(id)s", id=waiting.id)
        assert (await small.go(LATER))["events"] == 2
        assert await reached() == last.id
        await database.execute(
            "INSERT INTO events (job_id, seq, kind) VALUES (%(id)s, 0, 'queued')", id=first.id
        )
        assert (await small.go(LATER))["events"] == 0, "where it has been it does not look"


async def test_an_asset_is_given_to_a_job_or_it_goes(make_settings: MakeSettings) -> None:
    """A job is just being accepted while retention takes the asset that it was given."""
    async with opened(make_settings, ALL) as product:
        lost, kept = await product.studio.upload(png(200)), await product.studio.upload(png(201))
        database = product.jobs.database
        body = {"operation": "img2img", "parameters": {"prompt": "a dragon"}}
        async with database.transaction() as connection:
            await connection.execute("SELECT FROM owners FOR UPDATE")
            late = asyncio.create_task(product.studio.submit({**body, "inputs": {"image": str(lost.id)}}))
            await somebody_waits(product, late)
            await database.execute("UPDATE assets SET tags = '{keep}' WHERE id = %(id)s", id=kept.id)
            assert (await product.studio.keeper.retention.go(LATER))["uploads"] == 1
        with pytest.raises(GenyardError) as gone:
            await late
        assert (gone.value.code, gone.value.field) == (Code.not_found, "inputs")
        assert await jobs_of(product) == set()
        await database.execute("UPDATE assets SET tags = '{}'")
        async with database.transaction() as connection:
            await connection.execute("SELECT FROM assets WHERE id = %s FOR KEY SHARE", (kept.id,))
            assert not any((await product.studio.keeper.retention.go(LATER)).values()), (
                "a job is being given it"
            )
        job = (await product.studio.submit({**body, "inputs": {"image": str(kept.id)}})).job
        assert not any((await product.studio.keeper.retention.go(LATER)).values())
        assert (await jobs_of(product), await assets_of(product)) == ({job.id}, {kept.id})


async def test_what_goes_is_judged_once_more_as_it_is_now(make_settings: MakeSettings) -> None:
    """A job is accepted while the sweep's statement is under way: that one does not see it, its last question does."""
    async with opened(make_settings, ALL) as product:
        database, bound = product.jobs.database, UUID(int=2**128 - 1)
        upload = await product.studio.upload(png(200))
        waiting = (await product.studio.submit({"operation": "txt2img", "parameters": {"prompt": "x"}})).job
        async with database.transaction() as connection:
            await connection.execute("SELECT pg_advisory_xact_lock(1)")
            looking = asyncio.create_task(
                database.row(
                    "WITH held AS MATERIALIZED (SELECT pg_advisory_xact_lock(1)) "
                    "SELECT genyard_may_go(a, %(bound)s, '{}', %(bound)s) AS began, "
                    "genyard_asset_may_go_now(a.id, %(bound)s, '{}', %(bound)s) AS now FROM held, assets a",
                    bound=bound,
                )
            )
            await somebody_waits(product, looking)
            await connection.execute(
                "INSERT INTO job_inputs (asset_id, job_id) VALUES (%s, %s)", (upload.id, waiting.id)
            )
        assert await looking == {"began": True, "now": False}


async def test_nothing_goes_early_because_the_databases_clock_is_wrong(make_settings: MakeSettings) -> None:
    async with opened(make_settings, ALL) as product, working(product):
        job = await made(product)
        product.jobs.database.clock.learn(LATER.timestamp())
        assert not any((await product.studio.keeper.retention.go()).values())
        product.jobs.database.clock.learn(LATER.timestamp())
        assert not any((await product.studio.keeper.retention.would_go()).values())
        orphan = await open_storage(product.settings).put(b"on its way", "image/png")
        product.jobs.database.clock.learn(LATER.timestamp())
        assert (await product.studio.keeper.orphans.go()).objects == 0
        assert (await jobs_of(product), await open_storage(product.settings).exists(orphan.object)) == (
            {job.id},
            True,
        )


async def test_bytes_that_come_anew_while_their_last_asset_is_deleted_stay(
    make_settings: MakeSettings,
) -> None:
    async with opened(make_settings, RetentionSettings()) as product:
        old, database = await product.studio.upload(png(9)), product.jobs.database
        async with database.transaction() as connection:
            await connection.execute("UPDATE blobs SET bytes = bytes")
            await connection.execute(
                "INSERT INTO assets (id, owner_id, sha256, role) "
                "SELECT gen_random_uuid(), owner_id, sha256, role FROM assets"
            )
            deleting = asyncio.create_task(product.studio.delete_asset(old.id))
            await somebody_waits(product, deleting)
        await deleting
        [new] = await product.studio.assets()
        assert new.id != old.id
        assert await product.studio.read(new) == png(9)


async def test_a_callback_that_waits_keeps_its_job(make_settings: MakeSettings) -> None:
    async with Receiver(answers=[503]) as receiver, opened(make_settings, ALL) as product, working(product):
        job = await made(product, webhook_url=receiver.url)
        await receiver.until(1)
        await product.studio.keeper.retention.go(LATER)
        assert await jobs_of(product) == {job.id}


async def test_many_go_in_batches_and_two_at_once_do_no_harm(make_settings: MakeSettings) -> None:
    async with opened(make_settings, ALL) as product, working(product):
        shared = [await product.studio.upload(png(number % 5)) for number in range(40)]
        kept = await product.studio.upload(png(3), tags=["keep"])
        removal = product.studio.keeper.removal
        small = Retention(database=product.jobs.database, removal=removal, settings=ALL, batch=7)
        gone = await asyncio.gather(small.go(LATER), small.go(LATER))
        assert sum(one["uploads"] for one in gone) == len(shared)
        await product.studio.keeper.removal.sweep_objects()
        assert (await assets_of(product), stored(product)) == ({kept.id}, 1)
        assert await product.studio.read(kept) == png(3)


async def test_what_an_engine_took_and_never_learnt_of_leaves_its_queue(make_settings: MakeSettings) -> None:
    """The answer to its question went with the connection; the stage was taken up, and ended, without it."""
    insert = (
        "INSERT INTO procrastinate_jobs (queue_name, task_name, args, status) SELECT 'stages', 'run_stage', "
        "jsonb_build_object('stage_id', id, 'epoch', epoch), 'doing' FROM stages"
    )
    left = "SELECT count(*) AS n FROM procrastinate_jobs"
    async with opened(make_settings, RetentionSettings()) as product:
        database = product.jobs.database
        async with working(product):
            await made(product)
        await database.execute(insert)
        await product.studio.keeper.keep()
        assert await database.row(left) == {"n": 1}, "whoever has just ended it is about to say so"
        await database.execute("UPDATE stages SET finished_at = now() - interval '2 minutes'")
        await database.execute("UPDATE chores SET done_at = now() - interval '1 hour'")
        await product.studio.keeper.keep()
        assert await database.row(left) == {"n": 0}
        await database.execute(
            "UPDATE stages SET state = 'running', dispatched_at = now() - interval '2 minutes'"
        )
        await database.execute(insert)
        await database.execute("UPDATE chores SET done_at = now() - interval '1 hour'")
        await product.studio.keeper.keep()
        assert await database.row(left) == {"n": 1}, "it is at work"


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
