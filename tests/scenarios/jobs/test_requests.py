"""What a Python program may hand over: every wrong thing is a `GenyardError` that names it, and nothing is left."""

from __future__ import annotations

import io
import zipfile
from collections.abc import AsyncIterator
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest

from conftest import MakeSettings
from genyard.app import Product, build, working
from genyard.errors import Code, GenyardError
from support.scripted import ScriptedProvider, png

NUL = "a\0"


def asking(**more: Any) -> dict[str, Any]:
    return {"operation": "txt2img", "parameters": {"prompt": "x", "width": 64, "height": 64}, **more}


@pytest.fixture
async def product(make_settings: MakeSettings) -> AsyncIterator[Product]:
    place = ScriptedProvider()
    async with build(make_settings(), providers={"preview": lambda *_: place}) as product:
        yield product


async def field_of(refused: Any) -> str | None:
    with pytest.raises(GenyardError) as caught:
        await refused
    assert caught.value.code is Code.request_invalid
    return caught.value.field


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (asking(parameters={"prompt": NUL}), "parameters.prompt"),
        (asking(tags=[NUL]), "tags.0"),
        (asking(inputs={"image": f"scenario:{NUL}"}), "inputs.image"),
        (asking(inputs={"image": Path("a.png")}), "inputs.image"),
        (asking(previews="no"), "previews"),
        (asking(embed_prompt=1), "embed_prompt"),
        (asking(tags="boss"), "tags"),
        (asking(tags=0), "tags"),
        (asking(priority=True), "priority"),
        (asking(expires_in="60"), "expires_in"),
        (asking(model=""), "model"),
        ({"steps": [asking(keep="no")]}, "keep"),
        ([asking()], None),
    ],
)
async def test_a_body_is_judged_before_anything_is_done_with_it(
    product: Product, body: Any, field: str | None
) -> None:
    assert await field_of(product.studio.submit(body)) == field
    assert await field_of(product.studio.estimate(body)) == field
    assert not await product.studio.jobs()


async def test_keys_filters_and_names_are_judged_too(product: Product) -> None:
    studio = product.studio
    assert await field_of(studio.submit(asking(), idempotency_key=NUL)) == "Idempotency-Key"
    assert await field_of(studio.jobs(search=NUL)) == "search"
    assert await field_of(studio.jobs(tag=NUL)) == "tag"
    assert await field_of(studio.jobs(limit=-1)) == "limit"
    assert await field_of(studio.jobs(before="the last one")) == "before"
    assert await field_of(studio.assets(facts={"model": NUL})) == "facts.model"
    assert await field_of(studio.upload(png(), name=NUL)) == "name"
    assert await field_of(studio.upload(png(), tags=[NUL])) == "tags.0"
    assert await field_of(studio.upload(png(), tags="boss")) == "tags"


async def test_an_input_of_make_is_named_by_its_role(product: Product, tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("no picture")
    for wrong in (tmp_path / "missing.png", tmp_path, Path(NUL), "a.png", 7):
        inputs: Any = {"image": wrong}
        assert await field_of(product.studio.make("pixelate", inputs=inputs)) == "inputs.image"
    with pytest.raises(GenyardError) as caught:
        await product.studio.make("pixelate", inputs={"image": text})
    assert (caught.value.code, caught.value.field) == (Code.media_invalid, "inputs.image")


async def test_an_owner_has_a_name(product: Product) -> None:
    for name in ("", "  ", NUL, "x" * 201):
        assert await field_of(product.owners.create_key(name)) == "owner"
    assert await field_of(product.owners.create_key("bob", NUL)) == "label"
    assert await field_of(product.owners.revoke_key(NUL)) == "prefix"
    assert not await product.owners.list_keys()


async def test_a_rerun_asks_for_all_that_was_asked_but_the_deadline(product: Product) -> None:
    body = asking(tags=["boss"], priority=3, previews=True, embed_prompt=True, expires_in=3600)
    first = (await product.studio.submit(body)).job
    again = await product.studio.rerun(first.id)
    assert (again.tags, again.priority, again.previews, again.embed_prompt) == (("boss",), 3, True, True)
    assert first.expires_at is not None
    assert again.expires_at is None
    async with working(product):
        made = await product.studio.wait(again.id)
    assert made.outputs[0].facts["prompt"] == "x"
    plain = await product.studio.rerun((await product.studio.submit(asking())).job.id)
    assert (plain.previews, plain.embed_prompt) == (False, False)


async def test_a_zip_is_dated_by_the_end_of_the_job(product: Product) -> None:
    async with working(product):
        job = await product.studio.make("txt2img", prompt="x", width=64, height=64)
    data = b"".join([piece async for piece in product.studio.zip(job.id)])
    assert job.finished_at is not None
    ended = job.finished_at.astimezone(UTC).timetuple()
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        dates = {entry.date_time[:5] for entry in archive.infolist()}
        assert len(archive.infolist()) == 2
    assert dates == {tuple(ended[:5])}


async def test_what_is_known_of_a_server_is_not_believed_of_another(make_settings: MakeSettings) -> None:
    """The address changes, the endpoint's name stays."""
    looked: list[str] = []

    class Counting(ScriptedProvider):
        async def check(self) -> Any:
            looked.append(self.kind)
            return await super().check()

    async def plan(url: str) -> None:
        settings = make_settings(COMFYUI_ENDPOINT=url, IMAGE_GENERATION_PROVIDER="comfyui")
        async with build(settings, providers={"comfyui": lambda *_: Counting(kind="comfyui")}) as product:
            await product.studio.estimate(asking())

    await plan("http://one:8188")
    await plan("http://one:8188")
    assert len(looked) == 1
    await plan("http://two:8188")
    assert len(looked) == 2
    await plan("http://one:8188")
    assert len(looked) == 3
