"""Tenants in the database: their limits, and the secrets that sign their deliveries. Secrets are kept encrypted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, insert, or_, select, update
from sqlalchemy.engine import Row
from sqlalchemy.ext.asyncio import AsyncConnection
from uuid_utils.compat import uuid7

from app.errors import GatewayError
from app.lifecycle.limits import Limits
from app.lifecycle.signing_secret import new_secret
from app.storage import tables as t
from app.storage.audit import Act, write_act
from app.storage.database import Database
from app.storage.many import insert_for
from app.vault import NoKeyFitsError, Vault

OVERLAP = timedelta(hours=24)  #: how long a rotated secret still signs beside the new one


class NoSuchTenantError(GatewayError):
    """There is no such tenant."""


@dataclass(frozen=True, slots=True)
class Tenant:
    name: str
    created_at: datetime
    limits: Limits


@dataclass(frozen=True, slots=True)
class DeliverySecrets:
    """The secrets that sign a tenant's deliveries now."""

    current: str = field(repr=False)  #: `whsec_…`
    created_at: datetime  #: of the current one
    previous: str | None = field(default=None, repr=False)
    previous_until: datetime | None = None  #: when the one before ends

    @property
    def live(self) -> list[str]:
        """Newest first."""
        return [self.current, *([self.previous] if self.previous else [])]


@dataclass(frozen=True, slots=True)
class TenantStore:
    """Reads and changes tenants. The vault is needed for delivery secrets only."""

    database: Database
    vault: Vault | None = None

    async def find(self, name: str) -> Tenant | None:
        async with self.database.reading() as connection:
            return await _find(connection, name)

    async def all(self) -> list[Tenant]:
        """By name."""
        async with self.database.reading() as connection:
            return [_tenant(row) for row in await connection.execute(select(t.tenants).order_by(t.tenants.c.name))]

    async def change_limits(self, name: str, how: Callable[[Limits], Limits], *, by: str) -> tuple[Tenant, bool]:
        """The tenant with its changed limits, and whether it is new; one that is new had none.

        Args:
            by: whose act it is; see `audit`.
        """
        async with self.database.writing() as connection:
            now = await self.database.now(connection)
            created = await add_tenant(connection, name, now)
            tenant = await _hold(connection, name)
            changed = Tenant(name, tenant.created_at, how(tenant.limits))
            await connection.execute(update(t.tenants).where(t.tenants.c.name == name).values(asdict(changed.limits)))
            await write_act(connection, Act(by, "tenant.set", name, asdict(changed.limits)), now)
            return changed, created

    async def live_secrets(self, tenant: str, now: datetime) -> list[str]:
        """What signs this tenant's deliveries at `now`: one secret, or two for a day after a rotation; newest first.

        The first is made when it is first asked for.

        Raises:
            NoSuchTenantError: nobody made this tenant.
            NoKeyFitsError: a secret was encrypted with a key that is not listed.
        """
        return (await self.secrets(tenant, now)).live

    async def secrets(self, tenant: str, now: datetime | None = None) -> DeliverySecrets:
        """The same with its times; `now` is the database's if it is not given."""
        async with self.database.reading() as connection:
            rows = await _live(connection, tenant, now or await self.database.now(connection))
        if not rows:
            async with self.database.writing() as connection:
                await _hold(connection, tenant)  # of those that find none at the same time, one makes it
                asked_at = now or await self.database.now(connection)
                rows = await _live(connection, tenant, asked_at) or await self._add_secret(connection, tenant, asked_at)
        return self._opened(rows)

    async def rotate_secret(self, tenant: str, *, by: str) -> DeliverySecrets:
        """Makes a new secret; the one before signs beside it for a day, and whatever was before that no more.

        Raises:
            NoSuchTenantError: nobody made this tenant.
        """
        s = t.delivery_secrets.c
        async with self.database.writing() as connection:
            await _hold(connection, tenant)
            now = await self.database.now(connection)
            before = (await _live(connection, tenant, now))[:1]
            kept = [row.secret_id for row in before]
            await connection.execute(delete(t.delivery_secrets).where(s.tenant == tenant, s.secret_id.not_in(kept)))
            await connection.execute(
                update(t.delivery_secrets).where(s.secret_id.in_(kept)).values(expires_at=now + OVERLAP)
            )  # fmt: skip
            await self._add_secret(connection, tenant, now)
            await write_act(connection, Act(by, "delivery_secret.rotate", tenant), now)
            return self._opened(await _live(connection, tenant, now))

    async def seal_anew(self) -> int:
        """Encrypts with the current key what an older one had encrypted; returns how many. Safe at several places at once.

        Raises:
            NoKeyFitsError: a secret that still signs was encrypted with a key that is not listed.
        """
        s, count = t.delivery_secrets.c, 0
        async with self.database.writing() as connection:
            for row in await _live(connection, None, await self.database.now(connection)):
                if self._vault.needs_reencryption(row.sealed):
                    sealed = self._vault.encrypt(self._vault.decrypt(row.sealed))
                    ours = (s.secret_id == row.secret_id) & (s.sealed == row.sealed)
                    count += (await connection.execute(update(t.delivery_secrets).where(ours).values(sealed=sealed))).rowcount
        return count

    async def lost_secrets(self) -> int:
        """How many secrets that still sign no key of the vault opens. Changes nothing."""
        async with self.database.reading() as connection:
            rows = await _live(connection, None, await self.database.now(connection))
        return sum(not self._opens(row.sealed) for row in rows)

    def _opens(self, sealed: bytes) -> bool:
        try:
            self._vault.decrypt(sealed)
        except NoKeyFitsError:
            return False
        return True

    async def _add_secret(self, connection: AsyncConnection, tenant: str, now: datetime) -> Sequence[Row[Any]]:
        row = {"secret_id": uuid7(), "tenant": tenant, "created_at": now, "expires_at": None,
               "sealed": self._vault.encrypt(new_secret().encode())}  # fmt: skip
        await connection.execute(insert(t.delivery_secrets), [row])
        return await _live(connection, tenant, now)

    def _opened(self, rows: Sequence[Row[Any]]) -> DeliverySecrets:
        current, *before = ((self._vault.decrypt(row.sealed).decode(), row) for row in rows[:2])
        if not before:
            return DeliverySecrets(current[0], current[1].created_at)
        [(previous, row)] = before
        return DeliverySecrets(current[0], current[1].created_at, previous, row.expires_at)

    @property
    def _vault(self) -> Vault:
        assert self.vault is not None, "delivery secrets need a vault"
        return self.vault


async def add_tenant(connection: AsyncConnection, name: str, now: datetime) -> bool:
    """Adds the tenant, without limits, where there is none of that name; returns whether it is new."""
    statement = insert_for(connection, t.tenants).on_conflict_do_nothing().returning(t.tenants.c.name)
    return (await connection.execute(statement, [{"name": name, "created_at": now}])).first() is not None


async def _find(connection: AsyncConnection, name: str) -> Tenant | None:
    row = (await connection.execute(select(t.tenants).where(t.tenants.c.name == name))).first()
    return _tenant(row) if row else None


async def _hold(connection: AsyncConnection, name: str) -> Tenant:
    """The tenant, locked against whoever else changes it; new keys of it are not held up."""
    query = select(t.tenants).where(t.tenants.c.name == name).with_for_update(key_share=True)
    row = (await connection.execute(query)).first()
    if row is None:
        raise NoSuchTenantError(f"There is no tenant {name}")
    return _tenant(row)


async def _live(connection: AsyncConnection, tenant: str | None, now: datetime) -> Sequence[Row[Any]]:
    """Of this tenant, newest first; of all tenants without one."""
    s = t.delivery_secrets.c
    query = select(t.delivery_secrets).where(or_(s.expires_at.is_(None), s.expires_at > now))
    if tenant is None:
        return (await connection.execute(query.order_by(s.secret_id))).all()
    newest_first = (s.expires_at.is_not(None), s.created_at.desc(), s.secret_id.desc())
    return (await connection.execute(query.where(s.tenant == tenant).order_by(*newest_first))).all()


def _tenant(row: Row[Any]) -> Tenant:
    return Tenant(
        row.name, row.created_at, Limits(row.monthly_credits, row.open_jobs_max, row.requests_per_second)
    )  # fmt: skip
