"""API keys in the database. A key's secret is stored only as a hash."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from sqlalchemy import Select, Text, cast, or_, select, update
from sqlalchemy.engine import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from app.errors import GatewayError
from app.storage import tables as t
from app.storage.among import among, select_among
from app.storage.audit import Act, write_act
from app.storage.database import Database
from app.storage.many import insert_for
from app.storage.tenants import add_tenant

USE_EVERY = timedelta(minutes=1)  #: a key's last use is written no more often

_ADMIN = '%"admin"%'  #: in the scopes as JSON writes them; no other scope holds the word


class LastAdminKeyError(GatewayError):
    """This is the last admin key that opens anything; make another one first."""


class ExpiredBeforeMadeError(GatewayError):
    """A key must expire in the future."""


@dataclass(frozen=True, slots=True)
class StoredKey:
    key_id: str
    tenant: str
    name: str
    scopes: tuple[str, ...]
    created_at: datetime
    revoked_at: datetime | None = None
    expires_at: datetime | None = None
    last_used_at: datetime | None = None

    def opens_at(self, now: datetime) -> bool:
        return self.revoked_at is None and (self.expires_at is None or self.expires_at > now)


@dataclass(frozen=True, slots=True)
class KeyStore:
    database: Database

    async def insert_if_absent(
        self,
        *,
        key_id: str,
        tenant: str,
        name: str,
        secret_hash: bytes,
        scopes: tuple[str, ...],
        by: str,
        expires_at: datetime | None = None,
    ) -> StoredKey | None:
        """Adds the key, and its tenant where it is new; None when a key of that hash or id already exists.

        Args:
            by: whose act it is; see `audit`.

        Raises:
            ExpiredBeforeMadeError: `expires_at` is not in the future.
        """
        async with self.database.writing() as connection:
            now = await self.database.now(connection)
            key = StoredKey(key_id, tenant, name, scopes, now, expires_at=expires_at)
            if not key.opens_at(now):
                raise ExpiredBeforeMadeError
            await add_tenant(connection, tenant, now)
            row = {"key_id": key_id, "tenant": tenant, "name": name, "secret_hash": secret_hash, "scopes": list(scopes),
                   "created_at": now, "expires_at": expires_at}  # fmt: skip
            added = insert_for(connection, t.api_keys).on_conflict_do_nothing().returning(t.api_keys.c.key_id)
            if (await connection.execute(added, [row])).first() is None:
                return None
            told = {"key_id": key_id, "name": name, "scopes": list(scopes)}
            told |= {"expires_at": expires_at.isoformat()} if expires_at else {}
            await write_act(connection, Act(by, "key.create", tenant, told), now)
            return key

    async def find_open(self, secret_hashes: Sequence[bytes]) -> list[StoredKey | None]:
        """The keys of these hashes, by one statement; None for each that is unknown, revoked or expired at this moment."""

        async def work(connection: AsyncConnection) -> list[StoredKey | None]:
            rows = await select_among(connection, _of_secrets, set(secret_hashes))
            found = {row.secret_hash: _key(row) for row in rows}
            now = await self.database.now(connection) if any(key.expires_at for key in found.values()) else None
            return [
                key if key and key.revoked_at is None and (now is None or key.opens_at(now)) else None
                for key in map(found.get, secret_hashes)
            ]

        return await self.database.ask(work)

    async def find(self, key_id: str) -> StoredKey | None:
        async with self.database.reading() as connection:
            return await _find(connection, key_id)

    async def all(self, tenant: str | None = None) -> list[StoredKey]:
        """Newest first."""
        k = t.api_keys.c
        query = select(t.api_keys).order_by(k.created_at.desc(), k.key_id.desc())
        async with self.database.reading() as connection:
            rows = await connection.execute(query.where(k.tenant == tenant) if tenant is not None else query)
            return [_key(row) for row in rows]

    async def any_exists(self) -> bool:
        async with self.database.reading() as connection:
            return (await connection.execute(select(t.api_keys.c.key_id).limit(1))).first() is not None

    async def revoke(self, key_id: str, *, by: str) -> StoredKey | None:
        """The revoked key; None where there is no such key. Repeating it changes nothing.

        Raises:
            LastAdminKeyError: no other admin key would open anything.
        """
        k = t.api_keys.c
        async with self.database.writing() as connection:
            admins = await _hold_admins(connection)
            now = await self.database.now(connection)
            if [admin.key_id for admin in admins if admin.opens_at(now)] == [key_id]:
                raise LastAdminKeyError
            revoked = update(t.api_keys).where(k.key_id == key_id, k.revoked_at.is_(None)).values(revoked_at=now)
            row = (await connection.execute(revoked.returning(k.tenant))).first()
            if row is not None:
                await write_act(connection, Act(by, "key.revoke", row.tenant, {"key_id": key_id}), now)
            return await _find(connection, key_id)

    async def note_use(self, key_ids: Collection[str]) -> None:
        """Writes that they were used now, unless somebody wrote it within the last minute or holds the row at the moment."""
        k = t.api_keys.c
        async with self.database.writing() as connection:
            now = await self.database.now(connection)
            stale = or_(k.last_used_at.is_(None), k.last_used_at <= now - USE_EVERY)
            held = select(k.key_id).where(k.key_id.in_(key_ids), stale).with_for_update(skip_locked=True)
            await connection.execute(update(t.api_keys).where(k.key_id.in_(held)).values(last_used_at=now))


async def _hold_admins(connection: AsyncConnection) -> list[StoredKey]:
    """All unrevoked admin keys, locked in one order: of two that revoke the last two, the second finds one left."""
    k = t.api_keys.c
    admins = select(t.api_keys).where(k.revoked_at.is_(None), cast(k.scopes, Text).like(_ADMIN))
    return [_key(row) for row in await connection.execute(admins.order_by(k.key_id).with_for_update())]


async def _find(connection: AsyncConnection, key_id: str) -> StoredKey | None:
    row = (await connection.execute(select(t.api_keys).where(t.api_keys.c.key_id == key_id))).first()
    return _key(row) if row else None


@cache
def _of_secrets(dialect: str) -> Select[Any]:
    return select(t.api_keys).where(among(dialect, t.api_keys.c.secret_hash))


def _key(row: Row[Any]) -> StoredKey:
    return StoredKey(
        row.key_id, row.tenant, row.name, tuple(row.scopes), row.created_at, row.revoked_at, row.expires_at, row.last_used_at
    )
