"""Deleting an owner: nothing of theirs is found afterwards, in any table or in the store, the books excepted."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from conftest import MakeSettings
from genyard.app import Product, build, working
from genyard.errors import Code, GenyardError
from genyard.jobs.callbacks.sender import Tempo
from genyard.jobs.housekeeping.keeper import Turnus
from genyard.jobs.model import Job, JobState
from genyard.owners import LOCAL_OWNER
from genyard.providers import Canceled, Cost, Ref, Snapshot, State
from genyard.settings import CreditSettings, PriceRow, Settings, WebhookSettings
from support.receiver import Receiver
from support.scripted import RUNNING, ScriptedProvider, png, succeeded

WORDS = "heliotrope wyvern"
NAME = "Ada Countess of Lovelace"
QUICK = Turnus(look=0.02)
#: What knows owners by a number alone, and is never changed.
BOOKS = {"movements", "balances"}


def asking(**more: Any) -> dict[str, Any]:
    return {"operation": "txt2img", "parameters": {"prompt": WORDS, "width": 64, "height": 64}, **more}


@contextlib.asynccontextmanager
async def opened(settings: Settings, place: ScriptedProvider | None = None) -> AsyncIterator[Product]:
    place = place or ScriptedProvider()
    prices = (PriceRow(operation="*", credits=2),)
    settings = settings.model_copy(
        update={
            "credits": CreditSettings(enabled=True, prices=prices),
            "webhooks": WebhookSettings(hosts=("127.0.0.1",)),
        }
    )
    providers = {kind: lambda *_: place for kind in ("preview", "comfyui")}
    async with build(
        settings, providers=providers, tempo=Tempo(sweep=0.02, grace=0.0), turnus=QUICK
    ) as product:
        yield product


async def owner_named(product: Product, name: str) -> tuple[UUID, str]:
    _, key = await product.owners.create_key(name, f"label of {name}")
    owner_id = await product.owners.owner_of(key)
    await product.studio.ledger.give(owner_id, "grant", 100, actor="admin", reason="welcome")
    return owner_id, key


async def gone(product: Product) -> None:
    async with asyncio.timeout(20):
        while await product.studio.keeper.removal.leaving():  # noqa: ASYNC110 (a worker elsewhere tells no event here)
            await asyncio.sleep(0.02)


async def tables_with(product: Product, words: Sequence[str]) -> set[str]:
    """Every table that has one of these words anywhere in a row, whatever the column."""
    database = product.jobs.database
    tables = await database.rows(
        "SELECT table_name FROM information_schema.tables "
        "WHERE table_schema = current_schema() AND table_type = 'BASE TABLE'"
    )
    found = set()
    sought = (
        "SELECT FROM {} t, unnest(%(words)s::text[]) w WHERE strpos(lower(t::text), lower(w)) > 0 LIMIT 1"
    )
    for table in (row["table_name"] for row in tables):
        rows = await database.rows(sought.format(f'"{table}"'), words=list(words))
        found |= {table} if rows else set()
    return found


def stored(product: Product) -> list[str]:
    folder = product.settings.data / "blobs"
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


async def made(product: Product, owner_id: UUID, **more: Any) -> Job:
    job = (await product.studio.submit(asking(**more), owner_id=owner_id)).job
    return await asyncio.wait_for(product.studio.wait(job.id, owner_id=owner_id), 20)


async def test_nothing_of_a_deleted_owner_is_found_but_the_books(make_settings: MakeSettings) -> None:
    shared = png(7)
    place = ScriptedProvider(files=lambda number: png(100 + number))
    async with Receiver() as receiver, opened(make_settings(), place) as product, working(product):
        studio = product.studio
        ada, key = await owner_named(product, NAME)
        eve, _ = await owner_named(product, "eve")
        theirs = await studio.upload(shared, name="eve.png", owner_id=eve)
        upload = await studio.upload(shared, name="wyvern.png", owner_id=ada, tags=["heliotrope"])
        own = await studio.upload(png(8), name="mine.png", owner_id=ada)
        await studio._assets.insert_import(ada, "scenario:heliotrope", own.id)
        first = await made(product, ada, tags=["heliotrope"], webhook_url=f"{receiver.url}?who=heliotrope")
        body = {
            **asking(operation="img2img", inputs={"image": str(upload.id)}),
            "parameters": {"prompt": WORDS, "strength": 0.5},
        }
        second = (await studio.submit(body, owner_id=ada, idempotency_key="heliotrope-1")).job
        await asyncio.wait_for(studio.wait(second.id, owner_id=ada), 20)
        assert (first.state, len(stored(product))) == (JobState.succeeded, 4)
        await product.jobs.database.execute(
            "INSERT INTO turns (endpoint, priority, owner_id) VALUES ('preview', 7, %(ada)s)", ada=ada
        )
        words = [WORDS, "heliotrope", NAME, str(ada), key[:9]]
        assert {"owners", "api_keys", "jobs", "assets", "imports", "deliveries", "webhook_secrets", "turns",
                "stages", "job_inputs", "movements"} <= await tables_with(
            product, [*words, str(first.id), str(upload.id)]
        )  # fmt: skip

        told = await product.studio.keeper.removal.begin(NAME)
        assert told.left["movements"] >= 3
        assert told.left["written"] == 1
        with pytest.raises(GenyardError) as refused:
            await product.owners.owner_of(key)
        assert refused.value.code is Code.unauthorized
        await gone(product)

        assert await tables_with(product, words) == BOOKS
        ids = [str(first.id), str(second.id), str(upload.id), str(own.id)]
        assert await tables_with(product, ids) == {"movements"}
        assert [name.partition("-")[0] for name in stored(product)] == [theirs.sha256]
        assert await studio.read(await studio.asset(theirs.id, owner_id=eve)) == shared
        assert (await studio.ledger.reconcile()).balanced
        assert (await studio.balance(owner_id=ada)).reserved == 0
        with pytest.raises(GenyardError) as unknown:
            await product.studio.keeper.removal.begin(NAME)
        assert unknown.value.code is Code.not_found
        again, _ = await owner_named(product, NAME)
        assert again != ada


async def test_what_waits_is_never_submitted_and_what_runs_is_stopped_at_its_place(
    make_settings: MakeSettings,
) -> None:
    def until_canceled(place: ScriptedProvider) -> Snapshot:
        return Snapshot(state=State.canceled, word="canceled") if place.canceled else RUNNING

    place = ScriptedProvider(says=[until_canceled])
    settings = make_settings()
    endpoint = settings.endpoints["preview"].model_copy(update={"concurrency": 1})
    async with opened(settings.model_copy(update={"endpoints": {"preview": endpoint}}), place) as product:
        ada, _ = await owner_named(product, NAME)
        async with working(product):
            running = (await product.studio.submit(asking(), owner_id=ada)).job
            await asyncio.wait_for(place.observing.wait(), 10)
            waiting = [(await product.studio.submit(asking(), owner_id=ada)).job for _ in range(3)]
            told = await product.studio.keeper.removal.begin(NAME)
            assert told.left["open"] <= 1
            await gone(product)
        assert len(place.submitted) == len(place.canceled) == 1
        assert await tables_with(product, [str(running.id), *(str(one.id) for one in waiting)]) == {
            "movements"
        }
        assert (await product.studio.balance(owner_id=ada)).available == 100
        assert (await product.studio.ledger.reconcile()).balanced


class Unstoppable(ScriptedProvider):
    """Cannot cancel; goes on until `finish`, and says what it cost."""

    def __init__(self) -> None:
        self.finish = asyncio.Event()
        super().__init__(says=[self._say])
        self.capabilities = replace(self.capabilities, paid=True)

    async def _say(self, _: ScriptedProvider) -> Snapshot:
        if not self.finish.is_set():
            return RUNNING
        done = succeeded()
        return Snapshot(
            state=done.state, outputs=done.outputs, word="done", cost=Cost(usd=0.07, source="reported")
        )

    async def cancel(self, ref: Ref) -> Canceled:
        self.canceled.append(ref)
        return Canceled(reached=True, was_running=True, refused=True)


async def test_a_run_that_cannot_be_stopped_is_followed_for_its_cost_before_its_owner_goes(
    make_settings: MakeSettings,
) -> None:
    place = Unstoppable()
    settings = make_settings(IMAGE_GENERATION_PROVIDER="comfyui", COMFYUI_ENDPOINT="http://place")
    only = settings.endpoints["comfyui"].model_copy(update={"daily_cap_usd": 1.0, "assumed_usd": 0.4})
    async with opened(settings.model_copy(update={"endpoints": {"comfyui": only}}), place) as product:
        async with working(product):
            ada, _ = await owner_named(product, NAME)
            job = (await product.studio.submit(asking(), owner_id=ada)).job
            await asyncio.wait_for(place.observing.wait(), 10)
            await product.studio.keeper.removal.begin(NAME)
            await asyncio.wait_for(product.studio.wait(job.id, owner_id=ada), 10)
            assert not await product.studio.keeper.removal.go_on(ada)
            [leaving] = await product.studio.keeper.removal.leaving()
            assert (leaving.left["jobs"], leaving.left["open"], leaving.left["followed"]) == (1, 0, 1)
            place.finish.set()
            await gone(product)
        [spending] = await product.studio.spending()
        assert spending.usd == pytest.approx(0.07)
        assert await tables_with(product, [str(job.id), WORDS]) == {"movements"}
        assert stored(product) == []


async def test_a_deletion_goes_on_after_whoever_began_it_is_gone(make_settings: MakeSettings) -> None:
    settings = make_settings()
    async with opened(settings) as product:
        async with working(product):
            ada, key = await owner_named(product, NAME)
            await made(product, ada)
        first = await product.studio.keeper.removal.begin(NAME)
        assert (await product.studio.keeper.removal.begin(NAME)).since == first.since
    async with opened(settings) as product:
        for refused_code, what in (
            (Code.forbidden, product.studio.submit(asking(), owner_id=ada)),
            (Code.forbidden, product.studio.upload(png(3), owner_id=ada)),
            (Code.unauthorized, product.owners.owner_of(key)),
            (Code.request_conflict, product.owners.create_key(NAME)),
        ):
            with pytest.raises(GenyardError) as refused:
                await what
            assert refused.value.code is refused_code
        assert len(stored(product)) == 1
        async with working(product):
            await gone(product)
        assert stored(product) == []
        assert await product.owners.has_keys(), "deleting the only owner with keys opens no door"
        with pytest.raises(GenyardError) as late:
            await product.studio.upload(png(3), owner_id=ada)
        assert late.value.code is Code.forbidden
        assert stored(product) == []


async def test_bytes_go_even_if_the_process_dies_between_the_rows_and_the_store(
    make_settings: MakeSettings,
) -> None:
    """As after a kill right behind the commit: the rows are gone, the object is still there."""
    async with opened(make_settings()) as product:
        asset = await product.studio.upload(png(5))
        await product.studio._assets.delete(asset.id, LOCAL_OWNER)
        assert stored(product) != []
        assert await product.studio.keeper.removal.sweep_objects() == 1
        assert stored(product) == []
        assert await product.studio.keeper.removal.sweep_objects() == 0


async def test_the_owner_of_the_machine_itself_is_emptied_only_when_it_is_meant(
    make_settings: MakeSettings,
) -> None:
    async with opened(make_settings()) as product, working(product):
        await product.studio.ledger.give(LOCAL_OWNER, "grant", 10, actor="admin")
        await made(product, LOCAL_OWNER)
        with pytest.raises(GenyardError) as refused:
            await product.studio.keeper.removal.begin("local")
        assert refused.value.code is Code.request_conflict
        await product.studio.keeper.removal.begin("local", even_local=True)
        await gone(product)
        assert await tables_with(product, [WORDS]) == set()
        assert stored(product) == []
        assert (await made(product, LOCAL_OWNER)).state is JobState.succeeded
