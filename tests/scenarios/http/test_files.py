"""The bytes of stored files: signed links, ranges, ETags, HEAD."""

from __future__ import annotations

import time
from typing import Any

import pytest

from genyard.app import Product
from scenarios.http.client import Client, KeyMaker, picture


@pytest.fixture
async def asset(client: Client) -> Any:
    return await client.uploaded(picture())


async def test_a_whole_file(client: Client, asset: Any) -> None:
    answer = await client.get(asset["url"])
    assert (answer.status, answer.body) == (200, picture())
    assert answer.headers["Content-Type"] == "image/png"
    assert answer.headers["ETag"] == f'"{asset["sha256"]}"'
    assert answer.headers["Accept-Ranges"] == "bytes"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Content-Disposition"].startswith('inline; filename="picture-0.png"')
    assert "immutable" in answer.headers["Cache-Control"]
    assert "sandbox" in answer.headers["Content-Security-Policy"]


async def test_head_says_the_same_without_the_bytes(client: Client, asset: Any) -> None:
    whole, head = await client.get(asset["url"]), await client.call("HEAD", asset["url"])
    assert (head.status, head.body) == (200, b"")
    for name in ("Content-Type", "Content-Length", "ETag", "Accept-Ranges"):
        assert head.headers[name] == whole.headers[name], name


async def test_a_download_is_for_saving(client: Client, asset: Any) -> None:
    answer = await client.get(asset["url"] + "&download=true")
    assert answer.headers["Content-Disposition"].startswith("attachment")


async def test_a_name_in_any_language_survives(client: Client) -> None:
    import base64

    body = {"data": base64.b64encode(picture()).decode(), "name": 'Größe "Held" 猫.png'}
    asset = (await client.post("/v1/assets", json=body)).json["assets"][0]
    told = (await client.get(asset["url"])).headers["Content-Disposition"]
    assert 'filename="Gr__e _Held_ _.png"' in told
    assert "filename*=UTF-8''Gr%C3%B6%C3%9Fe%20%22Held%22%20%E7%8C%AB.png" in told


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [("bytes=0-9", 0, 10), ("bytes=10-", 10, None), ("bytes=-5", -5, None), ("bytes=0-", 0, None),
     ("bytes=5-99999999", 5, None), ("bytes=-99999999", 0, None)],
)  # fmt: skip
async def test_a_range(client: Client, asset: Any, asked: str, start: int, end: int | None) -> None:
    answer = await client.get(asset["url"], headers={"Range": asked})
    wanted = picture()[start:end]
    assert (answer.status, answer.body) == (206, wanted)
    first = picture().index(wanted) if start else 0
    assert answer.headers["Content-Range"] == f"bytes {first}-{first + len(wanted) - 1}/{len(picture())}"
    assert int(answer.headers["Content-Length"]) == len(wanted)


@pytest.mark.parametrize("asked", ["bytes=0-1,4-5", "bytes=9-2", "items=0-1", "bytes=-", "bytes=x-y", ""])
async def test_what_is_no_single_range_gets_the_whole_file(client: Client, asset: Any, asked: str) -> None:
    answer = await client.get(asset["url"], headers={"Range": asked})
    assert (answer.status, len(answer.body)) == (200, len(picture()))


@pytest.mark.parametrize("asked", ["bytes=99999999-", "bytes=-0"])
async def test_a_range_outside_of_the_file(client: Client, asset: Any, asked: str) -> None:
    answer = await client.get(asset["url"], headers={"Range": asked})
    assert (answer.status, answer.error["field"]) == (416, "Range")
    assert answer.headers["Content-Range"] == f"bytes */{len(picture())}"


async def test_a_range_of_another_version_gets_the_whole_file(client: Client, asset: Any) -> None:
    etag = f'"{asset["sha256"]}"'
    for given, status in ((etag, 206), ('"other"', 200)):
        answer = await client.get(asset["url"], headers={"Range": "bytes=0-3", "If-Range": given})
        assert answer.status == status


async def test_what_is_known_already_is_not_sent_again(client: Client, asset: Any) -> None:
    etag = f'"{asset["sha256"]}"'
    for given in (etag, f'"x", W/{etag}', "*"):
        answer = await client.get(asset["url"], headers={"If-None-Match": given})
        assert (answer.status, answer.body) == (304, b"")
        assert answer.headers["ETag"] == etag
    assert (await client.get(asset["url"], headers={"If-None-Match": '"other"'})).status == 200


async def test_a_link_works_for_whoever_has_no_key(client: Client, with_key: KeyMaker) -> None:
    alice, bob = await with_key("alice"), await with_key("bob")
    asset = await alice.uploaded(picture())
    path = asset["url"].partition("?")[0]
    assert (await client.get(asset["url"])).status == 200
    assert (await alice.get(path)).status == 200
    bare = await client.get(path)
    assert (bare.status, bare.error["code"]) == (401, "access.unauthorized")
    assert (await bob.get(path)).status == 404


async def test_a_link_that_was_tampered_with(client: Client, asset: Any) -> None:
    other = await client.uploaded(picture(20, 20))
    path, _, query = asset["url"].partition("?")
    expires = int(query.split("&")[0].removeprefix("expires="))
    for wrong in (
        f"{path}?{query[:-4]}0000",
        f"{path}?{query.replace(str(expires), str(expires + 1))}",
        f"{other['url'].partition('?')[0]}?{query}",
    ):
        answer = await client.get(wrong)
        assert (answer.status, answer.error["code"]) == (403, "access.forbidden")
        assert "signature" in answer.error["message"]


async def test_a_link_that_has_expired(client: Client, product: Product, asset: Any) -> None:
    path = asset["url"].partition("?")[0]
    key = path.rpartition("/")[2]
    answer = await client.get(f"{path}?{product.studio.signer.sign(key, int(time.time()) - 1)}")
    assert (answer.status, answer.error["code"]) == (403, "access.forbidden")
    assert "expired" in answer.error["message"]


@pytest.mark.parametrize("key", ["nothing", "nothing.png", "00000000-0000-0000-0000-000000000000.png"])
async def test_files_that_do_not_exist(client: Client, key: str) -> None:
    assert (await client.get(f"/assets/{key}")).status == 404


async def test_another_suffix_is_another_file(client: Client, asset: Any) -> None:
    assert (await client.get(f"/assets/{asset['id']}.mp4")).status == 404
    assert (await client.get(f"/assets/{asset['id']}")).status == 200
