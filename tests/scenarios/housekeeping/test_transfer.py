"""Export, import, and the move to another server: everything is there afterwards, and work goes on."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import pytest

from conftest import MakeSettings
from genyard import transfer
from genyard.app import Product, build, working
from genyard.errors import Code, GenyardError
from genyard.jobs.callbacks.sender import Tempo
from genyard.jobs.model import JobState
from genyard.settings import CreditSettings, PriceRow, Settings, WebhookSettings, load_settings
from genyard.storage import open_storage
from support.embedded import fresh_folder
from support.processes import free_port
from support.receiver import Receiver
from support.scripted import ScriptedProvider, png

CREDITS = CreditSettings(enabled=True, prices=(PriceRow(operation="*", credits=2),))


def shop(settings: Settings) -> Settings:
    hosts = WebhookSettings(hosts=("127.0.0.1",))
    return settings.model_copy(update={"credits": CREDITS, "webhooks": hosts})


def opened(settings: Settings, place: ScriptedProvider | None = None) -> Any:
    place = place or ScriptedProvider()
    return build(shop(settings), providers={"preview": lambda *_: place}, tempo=Tempo(sweep=0.02, grace=0.0))


def asking(**more: Any) -> dict[str, Any]:
    return {"operation": "txt2img", "parameters": {"prompt": "a red dragon", "width": 64}, **more}


async def everything(product: Product) -> dict[str, list[str]]:
    """Every row of every table that is moved."""
    async with await product.jobs.database.connect() as connection:
        tables = await transfer._tables(connection)
        found = {}
        for table in tables:
            rows = await product.jobs.database.rows(f'SELECT t::text AS row FROM "{table}" t ORDER BY 1')
            found[table] = [row["row"] for row in rows]
        return found


async def filled(product: Product, receiver: Receiver) -> tuple[UUID, str, UUID, UUID]:
    """An owner with a key, a job that has succeeded, a callback that waits, and one that is queued."""
    _, key = await product.owners.create_key("ada")
    ada = await product.owners.owner_of(key)
    await product.studio.ledger.give(ada, "purchase", 10, actor="admin", reason="bill 7")
    receiver.answers = [503]
    async with working(product):
        job = (await product.studio.submit(asking(webhook_url=receiver.url), owner_id=ada)).job
        assert (await asyncio.wait_for(product.studio.wait(job.id, owner_id=ada), 20)).error is None
        await receiver.until(1)
    queued = (await product.studio.submit(asking(), owner_id=ada)).job
    return ada, key, job.id, queued.id


@pytest.mark.long
async def test_all_of_it_goes_to_another_server_and_work_goes_on_there(
    make_settings: MakeSettings, tmp_path: Path, data_folder: Path
) -> None:
    file = tmp_path / "everything.genyard"
    async with Receiver() as receiver:
        settings = make_settings()
        async with opened(settings) as product:
            ada, key, made, queued = await filled(product, receiver)
            before = await everything(product)
            link = product.studio.signer.sign("picture.png", 2_000_000_000)
            manifest = await transfer.export(product.jobs.database, file, storage=open_storage(settings))
        assert (manifest.tables["jobs"], manifest.files, manifest.missing) == (2, 1, ())
        assert file.stat().st_mode & 0o077 == 0

        elsewhere = load_settings({"GENYARD_DATA": str(data_folder)}, tmp_path)
        await transfer.load(elsewhere, file, storage=open_storage(elsewhere))
        async with opened(elsewhere) as product:
            after = await everything(product)
            del before["secrets"], after["secrets"]
            assert after == before
            assert product.studio.signer.sign("picture.png", 2_000_000_000) == link
            assert await product.owners.owner_of(key) == ada
            [picture] = (await product.studio.get(made, owner_id=ada)).outputs
            assert (await product.studio.read(picture)).startswith(b"\x89PNG")
            receiver.answers = [204]
            async with working(product):
                job = await asyncio.wait_for(product.studio.wait(queued, owner_id=ada), 20)
                assert job.state is JobState.succeeded
                await product.studio.webhooks.resend(
                    (await product.studio.webhooks.deliveries(owner_id=ada))[0].id, owner_id=ada
                )
                await receiver.until(2)
            assert (await product.studio.balance(owner_id=ada)).available == 6
            assert (await product.studio.ledger.reconcile()).balanced
            await product.studio.ledger.give(ada, "grant", 1, actor="admin")

        with pytest.raises(GenyardError) as refused:
            await transfer.load(elsewhere, file, storage=open_storage(elsewhere))
        assert refused.value.code is Code.request_conflict


@pytest.mark.long
async def test_an_export_is_of_one_moment_whatever_runs_meanwhile(
    make_settings: MakeSettings, tmp_path: Path
) -> None:
    file = tmp_path / "busy.genyard"
    async with opened(make_settings()) as product, working(product):
        submitting = [asyncio.create_task(product.studio.submit(asking())) for _ in range(30)]
        await asyncio.sleep(0)
        await transfer.export(product.jobs.database, file, storage=None)
        jobs = [(await one).job for one in submitting]
        await asyncio.wait_for(asyncio.gather(*(product.studio.wait(job.id) for job in jobs)), 30)

    with zipfile.ZipFile(file) as archive:
        rows = {
            name: archive.read(f"tables/{name}").decode().splitlines()
            for name in ("jobs", "stages", "events")
        }
        told = transfer.read_manifest(file)
    ids = {line.split("\t")[told.columns["jobs"].index("id")] for line in rows["jobs"]}
    for table in ("stages", "events"):
        column = told.columns[table].index("job_id")
        assert {line.split("\t")[column] for line in rows[table]} == ids
    assert len(rows["jobs"]) == told.tables["jobs"]


async def test_what_cannot_be_imported_leaves_the_database_as_it_was(
    make_settings: MakeSettings, tmp_path: Path
) -> None:
    settings = make_settings()
    async with opened(settings) as product:
        await product.studio.upload(png(1))
        file = tmp_path / "one.genyard"
        await transfer.export(product.jobs.database, file, storage=None)
        with pytest.raises(GenyardError, match="is there already"):
            await transfer.export(product.jobs.database, file, storage=None)
        before = await everything(product)

    with pytest.raises(GenyardError, match="in use"):
        await transfer.load(settings, file, storage=open_storage(settings))
    text = tmp_path / "text"
    text.write_text("hello")
    for wrong in (text, tmp_path / "nowhere"):
        with pytest.raises(GenyardError) as refused:
            await transfer.load(settings, wrong, storage=open_storage(settings))
        assert (refused.value.code, refused.value.field) == (Code.request_invalid, "FILE")

    short = tmp_path / "short.genyard"
    with zipfile.ZipFile(file) as whole, zipfile.ZipFile(short, "w") as cut:
        for name in whole.namelist():
            cut.writestr(name, b"" if name == "tables/assets" else whole.read(name))
    async with opened(settings) as product:
        await product.studio.delete_asset((await product.studio.assets())[0].id)
        await product.studio.keeper.removal.sweep_objects()
        before = await everything(product)
    with pytest.raises(GenyardError, match="damaged"):
        await transfer.load(settings, short, storage=open_storage(settings))
    async with opened(settings) as product:
        assert await everything(product) == before
    await transfer.load(settings, file, storage=open_storage(settings))


@pytest.mark.long
async def test_a_copy_of_the_data_folder_of_a_stopped_genyard_is_a_backup(tmp_path: Path) -> None:
    with fresh_folder() as folder, fresh_folder() as elsewhere:
        settings = load_settings({"GENYARD_DATA": str(folder / "data")}, tmp_path)
        async with opened(settings) as product:
            asset = await product.studio.upload(png(4), name="kept.png")
        copy = elsewhere / "data"
        await asyncio.to_thread(_copy_as_it_is, folder / "data", copy)
        await asyncio.to_thread(shutil.rmtree, folder / "data")
        async with opened(load_settings({"GENYARD_DATA": str(copy)}, tmp_path)) as product:
            found = await product.studio.asset(asset.id)
            assert (found.name, await product.studio.read(found)) == ("kept.png", png(4))


def _copy_as_it_is(source: Path, target: Path) -> None:
    """As `cp -a` does: owners, too."""
    subprocess.run(["cp", "-a", source, target], check=True)


_OLD: Final = Path("/usr/lib/postgresql/15/bin")


@contextlib.contextmanager
def postgresql_15() -> Iterator[str]:
    """A cluster of the oldest version that genyard runs on, where the machine has it."""
    with fresh_folder() as folder:
        as_user = (
            ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.geteuid() == 0 else []
        )
        if as_user:
            shutil.chown(folder, "postgres")
        data, port = folder / "cluster", free_port()

        def run(*command: str) -> None:
            subprocess.run([*as_user, _OLD / command[0], *command[1:]], check=True, stdout=subprocess.DEVNULL)

        run("initdb", "-D", str(data), "-A", "trust", "-U", "genyard")
        options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1"
        run("pg_ctl", "-D", str(data), "-o", options, "-l", str(folder / "log"), "-w", "start")
        try:
            yield f"postgresql://genyard@127.0.0.1:{port}/postgres"
        finally:
            run("pg_ctl", "-D", str(data), "-m", "immediate", "-w", "stop")


@pytest.mark.long
@pytest.mark.skipif(not _OLD.exists(), reason="needs PostgreSQL 15, as Debian's postgresql-15 brings it")
async def test_the_embedded_server_moves_to_an_older_one_and_back(
    make_settings: MakeSettings, tmp_path: Path
) -> None:
    there, back = tmp_path / "there", tmp_path / "back"
    async with Receiver() as receiver, opened(make_settings()) as product:
        ada, _, _, queued = await filled(product, receiver)
        before = await everything(product)
        await transfer.export(product.jobs.database, there, storage=None)
    with postgresql_15() as url:
        old = load_settings({"GENYARD_DATA": str(tmp_path / "old"), "DATABASE_URL": url}, tmp_path)
        await transfer.load(old, there, storage=open_storage(old))
        async with opened(old) as product:
            after = await everything(product)
            assert {name: rows for name, rows in after.items() if name != "secrets"} == {
                name: rows for name, rows in before.items() if name != "secrets"
            }
            async with working(product):
                await asyncio.wait_for(product.studio.wait(queued, owner_id=ada), 20)
            assert (await product.studio.ledger.reconcile()).balanced
            manifest = await transfer.export(product.jobs.database, back, storage=None)
            assert manifest.server == "15"
    with fresh_folder() as folder:
        new = load_settings({"GENYARD_DATA": str(folder)}, tmp_path)
        await transfer.load(new, back, storage=open_storage(new))
        async with opened(new) as product:
            assert (await product.studio.balance(owner_id=ada)).available == 6
