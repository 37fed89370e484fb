"""Files sent to genyard: multipart and base64, and everything that can be wrong with them."""

from __future__ import annotations

import base64
import json
import os
import struct
import zlib
from collections.abc import AsyncIterator
from io import BytesIO
from typing import Any
from uuid import uuid4

import aiohttp
import pytest
from PIL import Image

from scenarios.http.client import MAX_UPLOAD, Answer, Client, picture, small


async def newest(client: Client) -> Any:
    """The last upload: outputs of other tests' jobs may still come in."""
    listed = (await client.get("/v1/assets?limit=100")).json["assets"]
    return next((one["id"] for one in listed if one["job_id"] is None), None)


async def test_a_form_with_several_files(client: Client) -> None:
    answer = await client.upload(picture(), picture(32, 32, "JPEG"), tag="hero", other="blue")
    assert answer.status == 201
    first, second = answer.json["assets"]
    assert (first["width"], first["height"], first["media_type"]) == (96, 64, "image/png")
    assert (second["media_type"], second["role"], second["name"]) == ("image/jpeg", "image", "picture-1.png")
    assert first["tags"] == ["hero", "blue"]
    assert (await client.get(f"/v1/assets/{first['id']}")).json["sha256"] == first["sha256"]
    assert (await client.get(first["url"])).body == picture()


@pytest.mark.parametrize("form", ["{}", "data:image/png;base64,{}", "{}\n"])
async def test_base64_in_json(client: Client, form: str) -> None:
    data = form.format(base64.b64encode(picture()).decode())
    answer = await client.post("/v1/assets", json={"data": data, "name": "a/b/../hero.png", "tags": ["t"]})
    assert answer.status == 201
    [asset] = answer.json["assets"]
    assert (asset["name"], asset["tags"], asset["width"]) == ("hero.png", ["t"], 96)
    assert (await client.get(asset["url"])).body == picture()


async def test_a_picture_turned_by_exif_is_stored_upright(client: Client) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    asset = await client.uploaded(picture(96, 64, "JPEG", exif=exif))
    assert (asset["width"], asset["height"]) == (64, 96)
    stored = Image.open(BytesIO((await client.get(asset["url"])).body))
    assert stored.size == (64, 96)
    assert not stored.getexif().get(0x0112)


def bomb() -> bytes:
    """A PNG of a few bytes whose header promises more pixels than the limit."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 16_000, 16_000, 8, 0, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def animated() -> bytes:
    frames = [Image.new("RGB", (16, 16), (shade, 0, 0)) for shade in (10, 90, 200)]
    target = BytesIO()
    frames[0].save(target, "GIF", save_all=True, append_images=frames[1:])
    return target.getvalue()


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (picture()[:-40], "cut off"),
        (b"", "empty"),
        (b"<html>hello</html>", "HTML"),
        (b"just words", "not an image"),
        (bomb(), "pixels"),
        (animated(), "animated"),
    ],
    ids=["truncated", "empty", "html", "text", "bomb", "animated"],
)
@pytest.mark.parametrize("way", ["multipart", "base64"])
async def test_bad_media_are_refused_and_nothing_is_kept(
    client: Client, way: str, data: bytes, word: str
) -> None:
    before = await newest(client)
    if way == "multipart":
        answer = await client.upload(data)
    else:
        answer = await client.post(
            "/v1/assets", json={"data": "data:image/png;base64," + base64.b64encode(data).decode()}
        )
    assert answer.status == 422
    assert answer.error["code"] == "media.invalid"
    assert answer.error["field"] == ("file" if way == "multipart" else "data")
    assert word in answer.error["message"]
    assert await newest(client) == before


async def test_one_bad_file_among_good_ones_keeps_none(client: Client) -> None:
    before = await newest(client)
    answer = await client.upload(picture(), picture(50, 50), b"no picture")
    assert answer.status == 422
    assert await newest(client) == before


async def test_a_file_over_the_limit(client: Client) -> None:
    noise = Image.frombytes("RGB", (600, 600), os.urandom(600 * 600 * 3))
    target = BytesIO()
    noise.save(target, "PNG")
    assert MAX_UPLOAD < len(target.getvalue()) < MAX_UPLOAD * 4 // 3
    answer = await client.upload(target.getvalue())
    assert (answer.status, answer.error["code"], answer.error["field"]) == (422, "media.invalid", "file")
    assert f"{MAX_UPLOAD:,}" in answer.error["message"]


def too_large(answer: Answer) -> bool:
    return (answer.status, answer.error["code"]) == (413, "limit.exceeded") and "bytes" in answer.error[
        "message"
    ]


async def test_a_body_far_over_the_limit_is_not_read(client: Client) -> None:
    taken = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal taken
        yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'
        for _ in range(500):
            taken += 100_000
            yield bytes(100_000)

    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    async with aiohttp.ClientSession() as session:
        one = Client(base=client.base, session=session)
        assert too_large(await one.post("/v1/assets", data=endless(), headers=headers))
        assert taken < 20_000_000
        assert too_large(await one.post("/v1/assets", data=BytesIO(bytes(3_000_000)), headers=headers))
        assert too_large(
            await one.post(
                "/v1/jobs", data=BytesIO(b" " * 5_000_000), headers={"Content-Type": "application/json"}
            )
        )


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "data"),
        ({"data": 7}, "data"),
        ({"data": "!!!"}, "data"),
        ({"data": "data:image/png,abc"}, "data"),
        ({"data": "aGk=", "colour": "red"}, "colour"),
        ({"data": "aGk=", "tags": "red"}, "tags"),
        ({"data": "aGk=", "name": "a\x00b"}, "name"),
        ([], None),
    ],
)
async def test_wrong_json(client: Client, body: Any, field: str | None) -> None:
    answer = await client.post("/v1/assets", json=body)
    assert (answer.status, answer.error["code"]) == (422, "request.invalid")
    assert answer.error.get("field") == field


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/json", b"{"),
        ("application/json", b"[" * 3000),
        ("multipart/form-data", b"x"),
        ("multipart/form-data; boundary=x", b"nonsense"),
        ("multipart/form-data; boundary=x", b"--x--\r\n"),
        ("image/png", picture()),
    ],
)
async def test_wrong_bodies(client: Client, kind: str, body: bytes) -> None:
    answer = await client.post("/v1/assets", data=body, headers={"Content-Type": kind})
    assert (answer.status, answer.error["code"]) == (422, "request.invalid"), answer.body


async def test_a_form_field_that_is_not_known(client: Client) -> None:
    form = aiohttp.FormData()
    form.add_field("file", picture(), filename="a.png")
    form.add_field("colour", "red")
    answer = await client.post("/v1/assets", data=form)
    assert (answer.status, answer.error["field"]) == (422, "colour")


async def test_assets_are_found_by_role_tag_fact_and_words(client: Client) -> None:
    word = f"w{uuid4().hex[:8]}"
    uploads = [(await client.upload(picture(40 + n, 40), tag=word)).json["assets"][0]["id"] for n in range(3)]
    page = (await client.get(f"/v1/assets?tag={word}&limit=2")).json
    rest = (await client.get(f"/v1/assets?tag={word}&limit=2&before={page['next']}")).json
    assert [one["id"] for one in page["assets"] + rest["assets"]] == uploads[::-1]
    assert rest["next"] is None
    job = await client.made(**small(f"a {word} potion", seed=4242))
    [output] = [one["id"] for one in job["outputs"]]
    for query in ({"search": word}, {"facts": json.dumps({"seed": 4242, "operation": "txt2img"})}):
        found = (await client.get("/v1/assets", params=query)).json["assets"]
        assert [one["id"] for one in found] == [output], query
    assert (await client.get(f"/v1/assets?tag={word}&role=video")).json == {"assets": [], "next": None}


@pytest.mark.parametrize(
    ("facts", "field"),
    [
        ("[]", "facts"),
        ("7", "facts"),
        ("{", "facts"),
        ('{"a": NaN}', "facts"),
        ('{"a": "\\u0000"}', "facts.a"),
        ('{"a": "\\ud800"}', "facts.a"),
    ],
)
async def test_facts_must_be_a_json_object(client: Client, facts: str, field: str) -> None:
    answer = await client.get("/v1/assets", params={"facts": facts})
    assert (answer.status, answer.error["field"]) == (422, field)


async def test_a_deleted_asset_is_gone(client: Client) -> None:
    asset = await client.uploaded(picture(33, 34))
    assert (await client.delete(f"/v1/assets/{asset['id']}")).status == 204
    for path in (f"/v1/assets/{asset['id']}", asset["url"]):
        assert (await client.get(path)).status == 404
    assert (await client.delete(f"/v1/assets/{asset['id']}")).status == 404
