"""Who asks: owners and their API keys."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID, uuid4

from genyard.database import Database
from genyard.errors import Code, GenyardError
from genyard.storable import require_storable

#: Who owns what is made without a key, on the machine itself.
LOCAL_OWNER: Final = UUID(int=0)
_LOCAL_NAME: Final = "local"
_MAX_NAME: Final = 200
_KEY_PREFIX: Final = "gy_"


@dataclass(frozen=True, kw_only=True)
class ApiKey:
    """A key as it can be listed: never the key itself."""

    id: UUID
    owner: str
    prefix: str
    label: str
    created_at: datetime
    revoked_at: datetime | None
    admin: bool = False


@dataclass(frozen=True, kw_only=True)
class KeyHolder:
    """Who shows a key. `admin`: it may also look after others and their credits."""

    owner_id: UUID
    admin: bool
    prefix: str


@dataclass(frozen=True, kw_only=True)
class Owner:
    id: UUID
    name: str
    tier: str
    created_at: datetime
    keys: int
    queued: int
    running: int
    deleting: bool = False


class Owners:
    def __init__(self, database: Database) -> None:
        self._database = database
        self.clock = database.clock

    async def ensure_local(self) -> None:
        await self._database.execute(
            "INSERT INTO owners (id, name) VALUES (%(id)s, %(name)s) ON CONFLICT DO NOTHING",
            id=LOCAL_OWNER,
            name=_LOCAL_NAME,
        )

    async def create_key(self, owner: str, label: str = "", *, admin: bool = False) -> tuple[ApiKey, str]:
        """Makes the owner where it is new. The second value is the key: it is shown this once."""
        require_storable(owner, "owner")
        require_storable(label, "label")
        if not owner.strip() or len(owner) > _MAX_NAME:
            raise GenyardError(
                Code.request_invalid, f"an owner has a name of 1 to {_MAX_NAME} characters", field="owner"
            )
        key = _KEY_PREFIX + secrets.token_urlsafe(32)
        row = await self._database.row(
            """
            WITH named AS (
                INSERT INTO owners (id, name) VALUES (%(owner_id)s, %(owner)s)
                ON CONFLICT (name) DO UPDATE SET name = excluded.name WHERE owners.deleting_at IS NULL
                RETURNING id, name
            )
            INSERT INTO api_keys (id, owner_id, digest, prefix, label, admin)
            SELECT %(id)s, named.id, %(digest)s, %(prefix)s, %(label)s, %(admin)s FROM named
            RETURNING id, prefix, label, created_at, revoked_at, admin
            """,
            owner_id=uuid4(),
            owner=owner,
            id=uuid4(),
            digest=_digest(key),
            prefix=key[:9],
            label=label,
            admin=admin,
        )
        if row is None:
            raise being_deleted(owner)
        return ApiKey(owner=owner, **row), key

    async def list_keys(self) -> list[ApiKey]:
        rows = await self._database.rows(
            "SELECT k.id, o.name AS owner, prefix, label, k.created_at, revoked_at, admin "
            "FROM api_keys k JOIN owners o ON o.id = k.owner_id ORDER BY k.created_at"
        )
        return [ApiKey(**row) for row in rows]

    async def revoke_key(self, prefix: str) -> None:
        require_storable(prefix, "prefix")
        touched = await self._database.execute(
            "UPDATE api_keys SET revoked_at = now() WHERE prefix = %(prefix)s AND revoked_at IS NULL",
            prefix=prefix,
        )
        if not touched:
            raise GenyardError(Code.not_found, f"no key in use starts with {prefix!r}", field="prefix")

    async def list_owners(self) -> list[Owner]:
        """With how many jobs each has waiting and running."""
        rows = await self._database.rows(
            """
            SELECT o.id, o.name, o.tier, o.created_at, o.deleting_at IS NOT NULL AS deleting,
                   (SELECT count(*) FROM api_keys k WHERE k.owner_id = o.id AND k.revoked_at IS NULL) AS keys,
                   (SELECT count(*) FROM jobs j WHERE j.owner_id = o.id AND j.state = 'queued') AS queued,
                   (SELECT count(*) FROM stages s WHERE s.owner_id = o.id AND s.state = 'running') AS running
            FROM owners o ORDER BY o.name
            """
        )
        return [Owner(**row) for row in rows]

    async def set_tier(self, owner: str, tier: str) -> None:
        """From the next job on; what waits already keeps its priority. `request.not_found` for an unknown owner."""
        require_storable(owner, "owner")
        require_storable(tier, "tier")
        touched = await self._database.execute(
            "UPDATE owners SET tier = %(tier)s WHERE name = %(owner)s", owner=owner, tier=tier
        )
        if not touched:
            raise GenyardError(Code.not_found, f"no owner {owner!r}", field="owner")

    async def has_keys(self) -> bool:
        """Whether a key was ever made. Revoking the last one opens no door, and neither does deleting its owner."""
        row = await self._database.row(
            "SELECT EXISTS (SELECT FROM api_keys) OR EXISTS (SELECT FROM secrets WHERE name = 'keys were made') "
            "AS any, extract(epoch FROM clock_timestamp())::float AS now"
        )
        assert row is not None
        self.clock.learn(row["now"])
        return bool(row["any"])

    async def owner_of(self, key: str) -> UUID:
        return (await self.holder_of(key)).owner_id

    async def holder_of(self, key: str) -> KeyHolder:
        """`access.unauthorized` for a key that is unknown or revoked."""
        row: dict[str, Any] | None = await self._database.row(
            "SELECT owner_id, admin, prefix, extract(epoch FROM clock_timestamp())::float AS now "
            "FROM api_keys WHERE digest = %(digest)s AND revoked_at IS NULL",
            digest=_digest(key),
        )
        if row is None:
            raise GenyardError(
                Code.unauthorized, "this API key is not known; make one with `genyard keys create`"
            )
        self.clock.learn(row.pop("now"))
        return KeyHolder(**row)


def being_deleted(owner: str) -> GenyardError:
    return GenyardError(
        Code.request_conflict, f"{owner} is being deleted; the name is free once that is done", field="owner"
    )


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
