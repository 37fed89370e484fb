"""The store and the tables compared: a folder, and a bucket of a real S3 server."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from conftest import MakeSettings
from genyard.app import Product, build, working
from genyard.errors import Code, GenyardError
from genyard.settings import Settings
from genyard.storage import open_storage
from scenarios.storage.test_storage import KEY, SECRET, moto  # noqa: F401 (a fixture)
from support.scripted import RUNNING, ScriptedProvider, png

LATER = datetime.now(UTC) + timedelta(hours=30)


@pytest.fixture(params=["folder", "bucket"])
def settings(request: pytest.FixtureRequest, make_settings: MakeSettings) -> Settings:
    if request.param == "folder":
        return make_settings()
    endpoint = request.getfixturevalue("moto")
    bucket = (
        f"orphans-{uuid4().hex}"  # the server's memory is shared by whoever else starts one in this process
    )
    import boto3  # a tenth of a second that nobody else needs

    client = boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id=KEY,
        aws_secret_access_key=SECRET,
    )
    client.create_bucket(Bucket=bucket)
    client.close()
    return make_settings(
        S3_BUCKET=bucket,
        S3_ENDPOINT=endpoint,
        S3_REGION="us-east-1",
        AWS_ACCESS_KEY_ID=KEY,
        AWS_SECRET_ACCESS_KEY=SECRET,
    )


@pytest.fixture
async def product(settings: Settings) -> AsyncIterator[Product]:
    async with build(settings) as product:
        yield product


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*") if path.is_file()]


async def test_old_objects_without_a_row_go_and_lost_ones_are_told(product: Product) -> None:
    storage = open_storage(product.settings)
    kept = await product.studio.upload(png(1))
    lost = await product.studio.upload(png(2))
    await storage.delete(lost.object)
    orphan = await storage.put(b"nobody's", "image/png")
    orphans = product.studio.keeper.orphans

    young = await orphans.go()
    assert (young.objects, young.missing, young.examples) == (0, 1, (lost.object,))
    told = await orphans.look(LATER)
    assert (told.objects, told.bytes, told.missing) == (1, 8, 1)
    assert await storage.exists(orphan.object)
    await orphans.go(LATER)
    assert not await storage.exists(orphan.object)
    assert await product.studio.read(kept) == png(1)
    assert (await orphans.look(LATER)).objects == 0
    assert await product.studio.asset(lost.id) == lost
    await storage.delete_many([kept.object])


async def test_a_store_that_another_database_swept_is_left_alone(
    product: Product, make_settings: MakeSettings
) -> None:
    await product.studio.keeper.orphans.go(adopt=True)
    await product.studio.upload(png(1))
    await product.jobs.database.execute("DELETE FROM secrets WHERE name = 'store'")
    with pytest.raises(GenyardError) as refused:
        await product.studio.keeper.orphans.go(LATER)
    assert refused.value.code is Code.request_conflict
    await product.studio.keeper.orphans.go(LATER, adopt=True)
    await product.studio.keeper.orphans.go(LATER)


async def test_files_that_were_never_finished_go_and_others_stay(make_settings: MakeSettings) -> None:
    async with build(make_settings()) as product:
        upload = await product.studio.upload(png(1))
        data = product.settings.data
        staged = data / "blobs" / f"{upload.object}#1"
        foreign = data / "blobs" / upload.object[:2] / "notes#1"
        coming, fresh = data / "incoming" / "old", data / "incoming" / "new"
        for path in (staged, foreign, coming, fresh):
            path.write_bytes(b"half")
        for path in (staged, foreign, coming):
            os.utime(path, (0, 0))
        assert (await product.studio.keeper.orphans.go()).files == 2
        assert [path.exists() for path in (staged, foreign, coming, fresh)] == [False, True, False, True]


async def test_the_picture_that_is_watched_just_now_is_no_orphan(make_settings: MakeSettings) -> None:
    place = ScriptedProvider(says=[replace(RUNNING, preview=png(9))])
    async with build(make_settings(), providers={"preview": lambda *_: place}) as product:
        async with working(product):
            job = (await product.studio.submit({"operation": "txt2img", "parameters": {"prompt": "x"}})).job
            async with asyncio.timeout(10):
                while (await product.studio.get(job.id)).preview_key is None:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            assert (await product.studio.keeper.orphans.go(LATER)).objects == 0
            assert await product.studio.preview(job.id) == png(9)
            await product.studio.cancel(job.id)
            place.says = [replace(RUNNING, state=type(RUNNING.state).canceled)]
            await asyncio.wait_for(product.studio.wait(job.id), 20)
        await product.studio.keeper.removal.sweep_objects()
        assert names_in(product.settings.data / "blobs") == ["genyard-store"]
