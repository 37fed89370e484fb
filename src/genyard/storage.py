"""Where bytes lie: a folder or a bucket, and links to them that are signed and expire.

Objects are named `<first two digits>/<sha256>-<nonce>`: content-addressed for people and tools, yet never the
same name twice, so that deleting one copy cannot hit another that is being written. Which object belongs to
which asset is the database's knowledge.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
import secrets
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO, cast

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, S3Store

from genyard.errors import Code, GenyardError
from genyard.settings import Settings

_CHUNK = 1024 * 1024
_PART = 5 * _CHUNK  # the smallest that S3 takes
_PARTS_AT_ONCE = 2  # of a large file; each is held while it is sent
#: As `_name` writes them.
_OBJECT = re.compile(r"[0-9a-f]{2}/[0-9a-f]{64}-[0-9a-f]{8}")
#: As the library names a file while it writes it.
_UNFINISHED = re.compile(r"[0-9a-f]{64}-[0-9a-f]{8}#\d+")
_LONGEST_LINK = 7 * 24 * 3600  # what signatures of S3 allow


@dataclass(frozen=True, kw_only=True)
class Blob:
    """Stored bytes. `object` is their name in the store."""

    sha256: str
    object: str
    bytes: int
    media_type: str


@dataclass(frozen=True, kw_only=True)
class Stored:
    """An object as the store lists it."""

    object: str
    bytes: int
    at: datetime

    @property
    def sha256(self) -> str:
        return self.object[3:67]


@dataclass(frozen=True, kw_only=True)
class Page:
    """All objects whose hashes lie from `first` to `last`."""

    first: str
    last: str
    objects: Sequence[Stored]


class Storage:
    """Puts, reads and removes objects. Every failure is `storage.failed` with the store's own words."""

    def __init__(self, store: LocalStore | S3Store, where: str) -> None:
        self._store = store
        self.where = where

    async def put(self, data: bytes, media_type: str) -> Blob:
        blob = _name(hashlib.sha256(data).hexdigest(), len(data), media_type)
        writing = asyncio.ensure_future(self._write(blob.object, data))
        try:
            await asyncio.shield(writing)
        except asyncio.CancelledError:  # the library's own thread goes on: what it writes has no owner
            await asyncio.gather(writing, return_exceptions=True)
            await self.delete(blob.object)
            raise
        return blob

    async def put_file(self, file: BinaryIO, media_type: str) -> Blob:
        """From an open file of any size, a piece at a time."""
        digest = await asyncio.to_thread(_digest, file)
        blob = _name(digest, file.tell(), media_type)
        file.seek(0)
        await self._write(blob.object, file)
        return blob

    async def _write(self, name: str, data: Any) -> None:
        try:
            if isinstance(data, bytes):
                await obstore.put_async(self._store, name, data, use_multipart=False)
            else:
                part = _CHUNK if isinstance(self._store, LocalStore) else _PART
                await obstore.put_async(
                    self._store, name, data, chunk_size=part, max_concurrency=_PARTS_AT_ONCE
                )
        except (BaseError, OSError) as wrong:
            raise self._failed("write", wrong) from wrong

    async def read(self, name: str) -> bytes:
        try:
            return bytes(await (await obstore.get_async(self._store, name)).bytes_async())
        except (BaseError, OSError) as wrong:
            raise self._failed("read", wrong) from wrong

    async def stream(self, name: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """The bytes of [start, end) in pieces of about a megabyte."""
        try:
            if start or end is not None:
                options: Any = {"range": (start, end) if end is not None else {"offset": start}}
            else:
                options = None
            found = await obstore.get_async(self._store, name, options=options)
            async for piece in found.stream(min_chunk_size=_CHUNK):
                yield bytes(piece)
        except (BaseError, OSError) as wrong:
            raise self._failed("read", wrong) from wrong

    @property
    def gives_links(self) -> bool:
        """A bucket does; a folder cannot be reached from outside."""
        return not isinstance(self._store, LocalStore)

    async def link(self, name: str, seconds: int) -> str | None:
        """A URL at which anybody can read the object for so long, at most a week; None where there is only a folder.

        It is a secret while it lasts: not for logs. Whether the object exists is not asked.
        """
        if isinstance(self._store, LocalStore):
            return None
        lasting = timedelta(seconds=min(seconds, _LONGEST_LINK))
        try:
            return await obstore.sign_async(self._store, "GET", name, lasting)
        except (BaseError, OSError) as wrong:
            raise self._failed("sign a link", wrong) from wrong

    async def delete(self, name: str) -> None:
        """Removing what is not there is no error."""
        try:
            await obstore.delete_async(self._store, name)
        except FileNotFoundError:
            return
        except (BaseError, OSError) as wrong:
            raise self._failed("delete", wrong) from wrong

    async def delete_many(self, names: Sequence[str]) -> None:
        """The same for up to a thousand at once."""
        if isinstance(self._store, LocalStore):
            for name in names:
                await self.delete(name)
            return
        try:
            if names:
                await obstore.delete_async(self._store, list(names))
        except FileNotFoundError:
            return
        except (BaseError, OSError) as wrong:
            raise self._failed("delete", wrong) from wrong

    async def write(self, name: str, file: BinaryIO) -> None:
        """Puts back what was an object of this name."""
        await self._write(name, file)

    async def exists(self, name: str) -> bool:
        try:
            await obstore.head_async(self._store, name)
        except FileNotFoundError:
            return False
        except (BaseError, OSError) as wrong:
            raise self._failed("read", wrong) from wrong
        return True

    async def pages(self) -> AsyncIterator[Page]:
        """Everything that lies in the store under names of ours, in the order of the hashes."""
        last = ""
        try:
            if isinstance(self._store, LocalStore):
                for digits in (f"{number:02x}" for number in range(256)):
                    found = [one async for page in obstore.list(self._store, digits) for one in _listed(page)]
                    yield Page(first=digits, last=f"{digits}g", objects=found)
                return
            async for page in obstore.list(self._store, chunk_size=1000):
                if found := _listed(page):
                    first, last = last, found[-1].sha256
                    yield Page(first=first, last=last, objects=found)
        except (BaseError, OSError) as wrong:
            raise self._failed("list", wrong) from wrong
        yield Page(first=last, last="g", objects=[])

    async def unfinished(self) -> list[Path]:
        """What a process that died while it wrote left in a folder. Of buckets only their own rules know."""
        folder = self.folder
        return [] if folder is None else await asyncio.to_thread(lambda: list(_unfinished(folder)))

    @property
    def folder(self) -> Path | None:
        """None for a bucket."""
        return self._store.prefix if isinstance(self._store, LocalStore) else None

    def _failed(self, what: str, wrong: Exception) -> GenyardError:
        first_line = str(wrong).strip().partition("\n")[0]
        return GenyardError(
            Code.storage_failed, f"cannot {what} in {self.where}: {first_line}", context={"store": self.where}
        )


def open_storage(settings: Settings) -> Storage:
    """The bucket of the settings, else the folder `blobs` in the data folder."""
    chosen = settings.storage
    if not chosen.bucket:
        return Storage(_local(settings.data / "blobs"), str(settings.data / "blobs"))
    options: dict[str, Any] = {"region": chosen.region}
    if chosen.endpoint:
        options["endpoint"] = chosen.endpoint
    if chosen.access_key_id and chosen.secret_access_key:
        options["access_key_id"] = chosen.access_key_id.get_secret_value()
        options["secret_access_key"] = chosen.secret_access_key.get_secret_value()
    store = S3Store(
        chosen.bucket,
        **options,
        client_options={"allow_http": chosen.endpoint.startswith("http://"), "timeout": "60s"},
        retry_config={"max_retries": 3, "retry_timeout": timedelta(seconds=60)},
    )
    return Storage(store, f"bucket {chosen.bucket}")


def spool() -> BinaryIO:
    """A temporary file for bytes on their way: in memory while small."""
    return cast(BinaryIO, tempfile.SpooledTemporaryFile(max_size=8 * _CHUNK))


def _local(folder: Path) -> LocalStore:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(folder).free < 16 * _CHUNK:
            raise OSError(f"{folder} has no room left")
        return LocalStore(folder)
    except (OSError, BaseError) as wrong:
        raise GenyardError(
            Code.settings_invalid,
            f"the data folder {folder.parent} cannot be used ({wrong}); name a writable one by GENYARD_DATA",
            field="GENYARD_DATA",
        ) from wrong


def _digest(file: BinaryIO) -> str:
    file.seek(0)
    return hashlib.file_digest(cast(Any, file), "sha256").hexdigest()


def _listed(page: Sequence[Any]) -> list[Stored]:
    return [
        Stored(object=one["path"], bytes=one["size"], at=one["last_modified"])
        for one in page
        if _OBJECT.fullmatch(one["path"])
    ]


def _unfinished(folder: Path) -> Iterator[Path]:
    return (path for path in folder.glob("??/*#*") if _UNFINISHED.fullmatch(path.name))


def age_of(path: Path) -> timedelta:
    """How long ago a file was written; nothing for one that is gone."""
    try:
        written = path.stat().st_mtime
    except OSError:
        return timedelta()
    return datetime.now(UTC) - datetime.fromtimestamp(written, UTC)


def _name(sha256: str, size: int, media_type: str) -> Blob:
    name = f"{sha256[:2]}/{sha256}-{secrets.token_hex(4)}"
    return Blob(sha256=sha256, object=name, bytes=size, media_type=media_type)


@dataclass(frozen=True, kw_only=True)
class LinkSigner:
    """Links for `<img>` and for people who have no key: `?expires=…&signature=…`, HMAC-SHA-256."""

    secret: bytes = field(repr=False)

    def sign(self, key: str, expires: int) -> str:
        """`key` is the last part of the path; `expires` in seconds since the epoch."""
        return f"expires={expires}&signature={self._signature(key, expires)}"

    def verify(self, key: str, expires: int, signature: str, now: float) -> bool:
        return now < expires and hmac.compare_digest(self._signature(key, expires), signature)

    def _signature(self, key: str, expires: int) -> str:
        return hmac.new(self.secret, f"{key} {expires}".encode(), hashlib.sha256).hexdigest()
