"""API keys."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from app.storage.audit import Act, Audited, AuditStore
from app.storage.database import Database
from app.storage.keys import ExpiredBeforeMadeError, KeyStore, LastAdminKeyError, StoredKey
from tests.databases import OpenDatabase
from tests.storage.factory import HandClock

SECOND = timedelta(seconds=1)


def a_key(key_id: str = "k1", **changes: Any) -> dict[str, Any]:
    made = {"key_id": key_id, "tenant": "acme", "name": "ci", "secret_hash": key_id.encode(), "scopes": ("jobs:read",)}
    return {**made, "by": "someone", **changes}


async def test_a_key_is_found_by_the_hash_of_its_secret(database: Database, clock: HandClock) -> None:
    store = KeyStore(database)
    assert not await store.any_exists()
    made = await store.insert_if_absent(**a_key())
    assert made == StoredKey("k1", "acme", "ci", ("jobs:read",), clock.now)
    assert await store.find_open([b"k2", b"k1", b"k1"]) == [None, made, made]
    assert await store.find("k1") == made
    assert await store.find("k2") is None
    assert await store.any_exists()


async def test_a_key_that_is_there_is_left_as_it_is(database: Database) -> None:
    store = KeyStore(database)
    first = await store.insert_if_absent(**a_key())
    assert await store.insert_if_absent(**a_key("k2", secret_hash=b"k1", scopes=())) is None
    assert await store.insert_if_absent(**a_key(tenant="umbrella", secret_hash=b"k2")) is None
    assert await store.find_open([b"k1", b"k2"]) == [first, None]
    assert len(await AuditStore(database).newest()) == 1


async def test_keys_are_listed_newest_first_and_by_tenant(database: Database, clock: HandClock) -> None:
    store = KeyStore(database)
    for number, tenant in enumerate(("acme", "umbrella", "acme")):
        await store.insert_if_absent(**a_key(f"k{number}", tenant=tenant))
        clock.advance(seconds=1)
    assert [key.key_id for key in await store.all()] == ["k2", "k1", "k0"]
    assert [key.key_id for key in await store.all("acme")] == ["k2", "k0"]
    assert await store.all("nobody") == []


async def test_of_replicas_that_add_the_same_key_at_their_start_one_does(
    database: Database, database_url: str, open_database: OpenDatabase
) -> None:
    stores = [KeyStore(d) for d in (database, open_database(database_url), open_database(database_url))]
    made = await asyncio.gather(*(store.insert_if_absent(**a_key()) for store in stores))
    assert [m is None for m in made].count(False) == 1


async def test_a_key_opens_until_its_last_moment(database: Database, clock: HandClock) -> None:
    store = KeyStore(database)
    await store.insert_if_absent(**a_key(expires_at=clock.now + 2 * SECOND))
    await store.insert_if_absent(**a_key("k2"))
    clock.advance(seconds=1.999)
    assert None not in await store.find_open([b"k1", b"k2"])
    clock.advance(seconds=0.001)
    assert [key and key.key_id for key in await store.find_open([b"k1", b"k2"])] == [None, "k2"]


async def test_a_key_cannot_be_made_expired(database: Database, clock: HandClock) -> None:
    with pytest.raises(ExpiredBeforeMadeError):
        await KeyStore(database).insert_if_absent(**a_key(expires_at=clock.now))
    assert await KeyStore(database).all() == []


async def test_a_revoked_key_opens_nothing_and_repeating_it_changes_nothing(database: Database, clock: HandClock) -> None:
    store = KeyStore(database)
    await store.insert_if_absent(**a_key())
    revoked_at = clock.advance(seconds=1)
    first = await store.revoke("k1", by="someone")
    clock.advance(seconds=1)
    assert first is not None
    assert first.revoked_at == revoked_at
    assert await store.revoke("k1", by="someone") == first
    assert await store.find_open([b"k1"]) == [None]
    assert await store.revoke("k2", by="someone") is None
    assert [audited.act.action for audited in await AuditStore(database).newest()] == ["key.revoke", "key.create"]


async def test_the_last_admin_key_that_opens_anything_stays(database: Database, clock: HandClock) -> None:
    store = KeyStore(database)
    await store.insert_if_absent(**a_key("kept", scopes=("admin",)))
    await store.insert_if_absent(**a_key("short", scopes=("jobs:read", "admin"), expires_at=clock.now + SECOND))
    await store.insert_if_absent(**a_key("other", scopes=("jobs:write",)))
    clock.advance(seconds=2)
    with pytest.raises(LastAdminKeyError):
        await store.revoke("kept", by="someone")
    assert await store.revoke("short", by="someone") is not None, "an expired one is not the last"
    assert await store.revoke("other", by="someone") is not None
    await store.insert_if_absent(**a_key("next", scopes=("admin",)))
    assert await store.revoke("kept", by="someone") is not None


async def test_of_two_that_revoke_the_last_two_admin_keys_one_is_refused(
    database: Database, database_url: str, open_database: OpenDatabase
) -> None:
    stores = [KeyStore(database), KeyStore(open_database(database_url))]
    for round_ in range(5):
        names = [f"a{round_}", f"b{round_}"]
        for name in names:
            await stores[0].insert_if_absent(**a_key(name, scopes=("admin",)))
        for key in await stores[0].all():
            if key.key_id not in names and key.revoked_at is None:
                await stores[0].revoke(key.key_id, by="someone")
        both = zip(stores, names, strict=True)
        done = await asyncio.gather(*(s.revoke(n, by="someone") for s, n in both), return_exceptions=True)
        assert [isinstance(d, LastAdminKeyError) for d in done].count(True) == 1, done
        assert len([key for key in await stores[0].all() if key.revoked_at is None]) == 1


async def test_the_last_use_is_written_at_most_once_a_minute(database: Database, clock: HandClock) -> None:
    store = KeyStore(database)
    for name in ("k1", "k2"):
        await store.insert_if_absent(**a_key(name))
    first = clock.now
    await store.note_use({"k1"})
    clock.advance(seconds=59)
    await store.note_use({"k1", "nobody"})
    assert {key.key_id: key.last_used_at for key in await store.all()} == {"k1": first, "k2": None}
    clock.advance(seconds=1)
    await store.note_use({"k1"})
    assert {key.key_id: key.last_used_at for key in await store.all()} == {"k1": clock.now, "k2": None}


async def test_acts_are_on_record_without_the_secret(database: Database, clock: HandClock) -> None:
    expires_at = clock.now + SECOND
    await KeyStore(database).insert_if_absent(**a_key(expires_at=expires_at))
    told = {"key_id": "k1", "name": "ci", "scopes": ["jobs:read"], "expires_at": expires_at.isoformat()}
    assert await AuditStore(database).newest() == [Audited(Act("someone", "key.create", "acme", told), clock.now)]
