"""Tenants: their limits, and the secrets that sign their deliveries."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from itertools import pairwise

import pytest
from sqlalchemy import insert, select
from uuid_utils.compat import uuid7

from app.lifecycle.limits import Limits
from app.lifecycle.signing_secret import secret_bytes
from app.storage import tables as t
from app.storage.audit import Act, AuditStore
from app.storage.database import Database
from app.storage.tenants import NoSuchTenantError, Tenant, TenantStore
from app.vault import NoKeyFitsError, Vault
from tests.databases import OpenDatabase
from tests.storage.factory import HandClock

OLD, NEW, FOREIGN = (letter * 32 for letter in "onf")
SOME = Limits(100, 5, 2.5)
DAY = timedelta(hours=24)


@pytest.fixture
async def store(database: Database) -> TenantStore:
    """With the tenants acme and umbrella."""
    made = TenantStore(database, Vault([OLD]))
    for name in ("umbrella", "acme"):
        await made.change_limits(name, lambda limits: limits, by="someone")
    return made


async def test_limits_are_changed_and_a_new_tenant_had_none(database: Database, clock: HandClock) -> None:
    store, made_at = TenantStore(database), clock.now
    assert await store.find("acme") is None
    seen: list[Limits] = []

    def set_them(before: Limits) -> Limits:
        seen.append(before)
        return SOME

    assert await store.change_limits("acme", set_them, by="someone") == (Tenant("acme", made_at, SOME), True)
    clock.advance(seconds=1)
    assert await store.change_limits("acme", set_them, by="someone") == (Tenant("acme", made_at, SOME), False)
    assert seen == [Limits(), SOME]
    assert await store.find("acme") == Tenant("acme", made_at, SOME)
    assert await store.all() == [Tenant("acme", made_at, SOME)]
    told = {"monthly_credits": 100, "open_jobs_max": 5, "requests_per_second": 2.5}
    assert [a.act for a in await AuditStore(database).newest()] == [Act("someone", "tenant.set", "acme", told)] * 2


async def test_tenants_are_listed_by_name(store: TenantStore) -> None:
    assert [tenant.name for tenant in await store.all()] == ["acme", "umbrella"]


async def test_the_first_secret_is_made_when_it_is_first_asked_for(store: TenantStore, clock: HandClock) -> None:
    [secret] = await store.live_secrets("acme", clock.now)
    assert len(secret_bytes(secret)) == 32
    assert await store.live_secrets("acme", clock.now + 1000 * DAY) == [secret]
    assert await store.live_secrets("umbrella", clock.now) != [secret]


async def test_of_many_that_first_ask_at_once_one_makes_it(
    store: TenantStore, database_url: str, open_database: OpenDatabase, clock: HandClock
) -> None:
    stores = [store, TenantStore(open_database(database_url), store.vault)]
    found = await asyncio.gather(*(s.live_secrets("acme", clock.now) for s in stores * 10))
    assert len({tuple(secrets) for secrets in found}) == 1
    assert len(found[0]) == 1


async def test_nobody_asks_for_the_secret_of_a_tenant_that_is_not_there(store: TenantStore, clock: HandClock) -> None:
    with pytest.raises(NoSuchTenantError):
        await store.live_secrets("nobody", clock.now)
    with pytest.raises(NoSuchTenantError):
        await store.rotate_secret("nobody", by="someone")


async def test_a_rotated_secret_signs_beside_the_new_one_for_a_day(store: TenantStore, clock: HandClock) -> None:
    [old] = await store.live_secrets("acme", clock.now)
    others = await store.live_secrets("umbrella", clock.now)
    rotated_at = clock.advance(seconds=1)
    rotated = await store.rotate_secret("acme", by="someone")
    assert rotated.previous == old
    assert (rotated.created_at, rotated.previous_until) == (rotated_at, rotated_at + DAY)
    assert await store.live_secrets("acme", clock.now) == [rotated.current, old]
    assert await store.live_secrets("acme", rotated_at + DAY - timedelta(seconds=1)) == [rotated.current, old]
    assert await store.live_secrets("acme", rotated_at + DAY) == [rotated.current]
    assert await store.live_secrets("umbrella", clock.now) == others
    newest = (await AuditStore(store.database).newest())[0].act
    assert newest == Act("someone", "delivery_secret.rotate", "acme")


async def test_at_most_two_secrets_live(store: TenantStore, clock: HandClock) -> None:
    rotations = [await store.rotate_secret("acme", by="someone") for _ in range(4)]
    assert rotations[0].previous is None
    assert all(after.live == [after.current, before.current] for before, after in pairwise(rotations))
    async with store.database.reading() as connection:
        assert len((await connection.execute(select(t.delivery_secrets))).all()) == 2
    clock.advance(days=2)
    assert (await store.rotate_secret("acme", by="someone")).previous == rotations[-1].current


async def test_rotations_at_once_leave_one_that_is_current(
    store: TenantStore, database_url: str, open_database: OpenDatabase, clock: HandClock
) -> None:
    stores = [store, TenantStore(open_database(database_url, clock=clock), store.vault)]
    await asyncio.gather(*(s.rotate_secret("acme", by="someone") for s in stores * 4))
    async with store.database.reading() as connection:
        rows = (await connection.execute(select(t.delivery_secrets.c.expires_at))).scalars().all()
    assert sorted(rows, key=str) == [clock.now + DAY, None]


async def test_secrets_are_stored_encrypted_and_not_told_by_a_log(store: TenantStore, clock: HandClock) -> None:
    secrets = await store.rotate_secret("acme", by="someone")
    assert secrets.current not in repr(secrets)
    async with store.database.reading() as connection:
        [sealed] = (await connection.execute(select(t.delivery_secrets.c.sealed))).scalars()
    assert secret_bytes(secrets.current) not in sealed
    assert secrets.current.encode() not in sealed


async def test_what_an_older_key_encrypted_is_encrypted_anew(store: TenantStore, clock: HandClock) -> None:
    await store.rotate_secret("acme", by="someone")
    live = (await store.rotate_secret("acme", by="someone")).live
    assert await store.seal_anew() == 0
    both = TenantStore(store.database, Vault([NEW, OLD]))
    assert sum(await asyncio.gather(both.seal_anew(), both.seal_anew())) == 2
    assert await TenantStore(store.database, Vault([NEW])).live_secrets("acme", clock.now) == live


async def test_a_lost_key_is_noticed_and_nothing_is_overwritten(store: TenantStore, clock: HandClock) -> None:
    live = await store.live_secrets("acme", clock.now)
    lost = TenantStore(store.database, Vault([FOREIGN]))
    with pytest.raises(NoKeyFitsError):
        await lost.seal_anew()
    with pytest.raises(NoKeyFitsError):
        await lost.live_secrets("acme", clock.now)
    assert await store.live_secrets("acme", clock.now) == live


async def test_a_secret_that_signs_no_more_may_be_of_a_lost_key(store: TenantStore, clock: HandClock) -> None:
    row = {"secret_id": uuid7(), "tenant": "acme", "sealed": Vault([FOREIGN]).encrypt(b"x"), "created_at": clock.now,
           "expires_at": clock.now}  # fmt: skip
    async with store.database.writing() as connection:
        await connection.execute(insert(t.delivery_secrets), [row])
    assert await store.seal_anew() == 0
