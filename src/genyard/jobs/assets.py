"""Assets and the blobs behind them: an owner's references to stored bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg
from psycopg.types.json import Jsonb

from genyard.database import Connection, Database, Row, load_queries
from genyard.errors import Code, GenyardError
from genyard.jobs.model import Asset, new_id
from genyard.storage import Blob

_SQL = load_queries("genyard.jobs")


@dataclass(frozen=True, kw_only=True)
class NewOutput:
    """One output of an attempt, stored but not yet anybody's."""

    blob: Blob
    role: str
    step: str
    position: int
    name: str
    width: int | None
    height: int | None
    seconds: float | None
    facts: Mapping[str, Any]
    delivered: bool


class Assets:
    """The tables of assets and blobs. What it returns to delete from the store is deleted after the commit."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def insert(self, owner_id: UUID, output: NewOutput, tags: Sequence[str]) -> Asset:
        values = {
            **output_values(output),
            "id": new_id(),
            "owner_id": owner_id,
            "facts": Jsonb(dict(output.facts)),
            "tags": list(tags),
        }
        try:
            row = await self._database.row(_SQL("insert_asset"), **values)
        except psycopg.Error as refused:
            raise refused_owner(refused) or refused from None
        assert row is not None
        return asset_of(row)

    async def get(self, asset_id: UUID, owner_id: UUID | None) -> Asset:
        """`owner_id` None: for a signed link, which is a permission of its own."""
        row = await self._database.row(_SQL("get_asset"), asset_id=asset_id, owner_id=owner_id)
        if row is None:
            raise GenyardError(Code.not_found, f"no asset {asset_id}", field="asset_id")
        return asset_of(row)

    async def get_many(self, asset_ids: Sequence[UUID], owner_id: UUID) -> dict[UUID, Asset]:
        rows = await self._database.rows(_SQL("get_assets"), asset_ids=list(asset_ids), owner_id=owner_id)
        return {row["id"]: asset_of(row) for row in rows}

    async def search(
        self,
        owner_id: UUID,
        *,
        limit: int = 50,
        before: UUID | None = None,
        role: str | None = None,
        tag: str | None = None,
        facts: Mapping[str, Any] | None = None,
        search: str | None = None,
    ) -> list[Asset]:
        rows = await self._database.rows(
            _SQL("list_assets"),
            owner_id=owner_id,
            limit=limit,
            before=before,
            role=role,
            tag=tag,
            facts=Jsonb(dict(facts)) if facts else None,
            search=search,
        )
        return [asset_of(row) for row in rows]

    async def delete(self, asset_id: UUID, owner_id: UUID) -> tuple[str, ...]:
        async with self._database.transaction() as connection:
            cursor = await connection.execute(
                _SQL("delete_asset"), {"asset_id": asset_id, "owner_id": owner_id}
            )
            row = await cursor.fetchone()
            if row is None:
                raise GenyardError(Code.not_found, f"no asset {asset_id}", field="asset_id")
            return await delete_unused(connection, row["hashes"])

    async def find_import(self, owner_id: UUID, source: str) -> UUID | None:
        """The asset that `source` became when it was fetched before."""
        row = await self._database.row(_SQL("find_import"), owner_id=owner_id, source=source)
        return row["asset_id"] if row else None

    async def insert_import(self, owner_id: UUID, source: str, asset_id: UUID) -> None:
        values = {"owner_id": owner_id, "source": source, "asset_id": asset_id}
        await self._database.execute(_SQL("insert_import"), **values)

    async def secret(self, name: str, fresh: bytes) -> bytes:
        row = await self._database.row(_SQL("secret"), name=name, value=fresh)
        assert row is not None
        return bytes(row["value"])


def refused_owner(error: psycopg.Error) -> GenyardError | None:
    """What comes from an owner that is being deleted, or has gone; None for what is none of that."""
    gone = error.sqlstate == "23503" and (error.diag.constraint_name or "").endswith("_owner_id_fkey")
    if error.sqlstate != "GY020" and not gone:
        return None
    return GenyardError(Code.forbidden, "this owner is being deleted: nothing new is taken", field="owner")


def refused_input(error: psycopg.Error) -> GenyardError | None:
    """What was given and deleted while the job was being accepted; None for what is none of that."""
    if error.sqlstate != "GY021":
        return None
    asset_id = error.diag.message_detail
    return GenyardError(Code.not_found, f"no asset {asset_id}: it has just been deleted", field="inputs")


async def delete_unused(connection: Connection, hashes: Sequence[str] | None) -> tuple[str, ...]:
    """The objects of bytes that nobody refers to any more. In a transaction; what comes anew at this very moment
    stays."""
    if not hashes:
        return ()
    try:
        async with connection.transaction():
            cursor = await connection.execute(_SQL("delete_unused_blobs"), {"hashes": list(hashes)})
            return tuple(row["object"] for row in await cursor.fetchall())
    except psycopg.errors.ForeignKeyViolation:
        if len(hashes) == 1:
            return ()
        gone = [await delete_unused(connection, [one]) for one in hashes]
        return tuple(name for each in gone for name in each)


def output_values(output: NewOutput) -> dict[str, Any]:
    return {
        "id": str(new_id()),
        "sha256": output.blob.sha256,
        "object": output.blob.object,
        "bytes": output.blob.bytes,
        "media_type": output.blob.media_type,
        "role": output.role,
        "step": output.step,
        "position": output.position,
        "name": output.name,
        "width": output.width,
        "height": output.height,
        "seconds": output.seconds,
        "facts": dict(output.facts),
        "delivered": output.delivered,
    }


def from_json(row: Row) -> Row:
    """A row that came as JSON: ids and times get their types back."""
    read: dict[str, Any] = {}
    for name, value in row.items():
        if value is not None and name.endswith("_at"):
            value = datetime.fromisoformat(value)
        elif value is not None and (name == "id" or name.endswith("_id")):
            value = UUID(value)
        read[name] = value
    return read


def asset_of(row: Row) -> Asset:
    return Asset(**{**row, "tags": tuple(row["tags"])})


def blob_of(row: Row) -> Blob:
    return Blob(sha256=row["sha256"], object=row["object"], bytes=row["bytes"], media_type=row["media_type"])
