"""API keys and tenants in the database. A key's secret is stored only as a hash."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from app.storage import tables as t
from app.storage.database import Database


@dataclass(frozen=True, slots=True)
class StoredKey:
    key_id: str
    tenant: str
    name: str
    scopes: tuple[str, ...]
    created_at: datetime
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True)
class KeyStore:
    database: Database

    async def insert_if_absent(
        self, *, key_id: str, tenant: str, name: str, secret_hash: bytes, scopes: tuple[str, ...]
    ) -> bool:
        """Adds the key, and its tenant where it is new; False when a key of that hash or id already exists."""
        insert_for = sqlite_insert if self.database.is_sqlite else postgresql_insert
        async with self.database.writing() as connection:
            now = await self.database.now(connection)
            await connection.execute(insert_for(t.tenants).on_conflict_do_nothing(), [{"name": tenant, "created_at": now}])
            row = {"key_id": key_id, "tenant": tenant, "name": name, "secret_hash": secret_hash,
                   "scopes": list(scopes), "created_at": now, "revoked_at": None}  # fmt: skip
            added = insert_for(t.api_keys).on_conflict_do_nothing().returning(t.api_keys.c.key_id)
            return (await connection.execute(added, [row])).first() is not None

    async def find(self, secret_hash: bytes) -> StoredKey | None:
        k = t.api_keys.c
        query = select(k.key_id, k.tenant, k.name, k.scopes, k.created_at, k.revoked_at)
        async with self.database.reading() as connection:
            row = (await connection.execute(query.where(k.secret_hash == secret_hash))).first()
        return StoredKey(row.key_id, row.tenant, row.name, tuple(row.scopes), row.created_at, row.revoked_at) if row else None

    async def any_exists(self) -> bool:
        async with self.database.reading() as connection:
            return (await connection.execute(select(t.api_keys.c.key_id).limit(1))).first() is not None
