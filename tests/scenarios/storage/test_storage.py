"""Blobs in a folder and in buckets: two real S3 servers, because no single one is faithful.

moto enforces what R2 does about objects; rclone enforces signatures.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest
from yarl import URL

from genyard.errors import Code, GenyardError
from genyard.settings import Settings, load_settings
from genyard.storage import LinkSigner, Storage, open_storage, spool
from support.processes import free_port

KEY, SECRET = "genyard-tests", "not-a-secret-at-all"


def bucket_settings(endpoint: str, tmp_path: Path, secret: str = SECRET) -> Settings:
    return load_settings(
        {
            "GENYARD_DATA": str(tmp_path),
            "S3_BUCKET": "pictures",
            "S3_ENDPOINT": endpoint,
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": secret,
        },
        tmp_path,
    )


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=free_port(), verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    client = boto3.client(
        "s3", endpoint_url=url, region_name="us-east-1", aws_access_key_id=KEY, aws_secret_access_key=SECRET
    )
    client.create_bucket(Bucket="pictures")
    client.close()
    yield url
    server.stop()


@pytest.fixture(scope="module")
def rclone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    root = tmp_path_factory.mktemp("rclone")
    (root / "pictures").mkdir()
    port = free_port()
    program = Path(sys.executable).with_name("rclone")
    process = subprocess.Popen(
        [program, "serve", "s3", root, "--addr", f"127.0.0.1:{port}", "--auth-key", f"{KEY},{SECRET}"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if "Starting s3 server" in line:
            break
    else:
        pytest.fail("rclone did not start")
    yield f"http://127.0.0.1:{port}"
    process.terminate()
    process.stderr.close()
    process.wait(10)


@pytest.fixture(params=["folder", "moto", "rclone"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    if request.param == "folder":
        return open_storage(load_settings({"GENYARD_DATA": str(tmp_path)}, tmp_path))
    return open_storage(bucket_settings(request.getfixturevalue(request.param), tmp_path))


async def pieces(stream: AsyncIterator[bytes]) -> bytes:
    return b"".join([piece async for piece in stream])


async def test_bytes_come_back_whole_and_in_part(storage: Storage, request: pytest.FixtureRequest) -> None:
    data = bytes(range(256)) * 40_000
    blob = await storage.put(data, "image/png")
    assert blob.bytes == len(data)
    assert await storage.read(blob.object) == data
    assert await pieces(storage.stream(blob.object)) == data
    if "pictures" in storage.where and not request.node.callspec.id.endswith("moto"):
        return  # rclone answers ranges wrongly, to every client; moto and the folder show them
    assert await pieces(storage.stream(blob.object, 10, 20)) == data[10:20]
    assert await pieces(storage.stream(blob.object, len(data) - 5)) == data[-5:]


async def test_a_file_of_twenty_megabytes_goes_in_pieces(storage: Storage) -> None:
    with spool() as file:
        for number in range(20):
            file.write(bytes([number]) * 1024 * 1024)
        blob = await storage.put_file(file, "video/mp4")
    assert blob.bytes == 20 * 1024 * 1024
    whole = await pieces(storage.stream(blob.object))
    assert whole[19 * 1024 * 1024 :] == bytes([19]) * 1024 * 1024


@pytest.mark.parametrize("server", ["moto", "rclone"])
async def test_anybody_can_read_by_a_link_from_a_bucket(
    server: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    storage = open_storage(bucket_settings(request.getfixturevalue(server), tmp_path))
    blob = await storage.put(b"for the place to fetch", "image/png")
    link = await storage.link(blob.object, 600)
    assert link is not None
    assert SECRET not in link
    assert "X-Amz-Expires=600" in link
    async with aiohttp.ClientSession() as session:
        async with session.get(URL(link, encoded=True)) as answer:
            assert answer.status == 200
            assert await answer.read() == b"for the place to fetch"
        if server == "rclone":  # moto enforces no signatures
            forged = link.replace("X-Amz-Expires=600", "X-Amz-Expires=6000")
            async with session.get(URL(forged, encoded=True)) as answer:
                assert answer.status == 403


async def test_a_link_lasts_a_week_at_most(moto: str, tmp_path: Path) -> None:
    link = await open_storage(bucket_settings(moto, tmp_path)).link("ab/abc", 10**9)
    assert link is not None
    assert "X-Amz-Expires=604800" in link


async def test_a_folder_has_no_links_of_its_own(tmp_path: Path) -> None:
    storage = open_storage(load_settings({"GENYARD_DATA": str(tmp_path)}, tmp_path))
    blob = await storage.put(b"here", "image/png")
    assert await storage.link(blob.object, 600) is None


async def test_the_same_bytes_have_one_hash_and_two_objects(storage: Storage) -> None:
    first, second = await storage.put(b"same", "text/plain"), await storage.put(b"same", "text/plain")
    assert first.sha256 == second.sha256
    await storage.delete(first.object)
    await storage.delete(first.object)
    assert await storage.read(second.object) == b"same"
    with pytest.raises(GenyardError) as caught:
        await storage.read(first.object)
    assert caught.value.code is Code.storage_failed


async def test_a_wrong_secret_is_a_clear_error(rclone: str, tmp_path: Path) -> None:
    storage = open_storage(bucket_settings(rclone, tmp_path, secret="wrong-wrong-wrong"))
    with pytest.raises(GenyardError, match="bucket pictures") as caught:
        await storage.put(b"x", "text/plain")
    assert caught.value.code is Code.storage_failed
    assert "wrong-wrong" not in str(caught.value)


def test_a_folder_that_cannot_be_made_names_the_setting(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(GenyardError, match="GENYARD_DATA") as caught:
        open_storage(load_settings({"GENYARD_DATA": str(tmp_path / "file")}, tmp_path))
    assert caught.value.code is Code.settings_invalid


def test_links_expire_and_cannot_be_changed() -> None:
    signer = LinkSigner(secret=b"k" * 32)
    link = dict(part.split("=") for part in signer.sign("a.png", 1000).split("&"))
    assert signer.verify("a.png", 1000, link["signature"], now=999)
    assert not signer.verify("a.png", 1000, link["signature"], now=1000)
    assert not signer.verify("b.png", 1000, link["signature"], now=0)
    assert not signer.verify("a.png", 2000, link["signature"], now=0)
