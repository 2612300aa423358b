"""API keys and tenants."""

from __future__ import annotations

import asyncio

from app.storage.database import Database
from app.storage.keys import KeyStore, StoredKey
from tests.databases import OpenDatabase
from tests.storage.factory import HandClock


async def test_a_key_is_found_by_the_hash_of_its_secret(database: Database, clock: HandClock) -> None:
    store = KeyStore(database)
    assert not await store.any_exists()
    assert await store.insert_if_absent(key_id="k1", tenant="acme", name="ci", secret_hash=b"1", scopes=("jobs", "keys"))
    assert await store.find(b"1") == StoredKey("k1", "acme", "ci", ("jobs", "keys"), clock.now, None)
    assert await store.find(b"2") is None
    assert await store.any_exists()


async def test_a_key_that_is_there_is_left_as_it_is(database: Database) -> None:
    store = KeyStore(database)
    await store.insert_if_absent(key_id="k1", tenant="acme", name="ci", secret_hash=b"1", scopes=("jobs",))
    first = await store.find(b"1")
    assert not await store.insert_if_absent(key_id="k2", tenant="acme", name="x", secret_hash=b"1", scopes=())
    assert not await store.insert_if_absent(key_id="k1", tenant="umbrella", name="x", secret_hash=b"2", scopes=())
    assert await store.find(b"1") == first
    assert await store.find(b"2") is None


async def test_several_keys_share_a_tenant(database: Database) -> None:
    store = KeyStore(database)
    for number in range(3):
        assert await store.insert_if_absent(
            key_id=f"k{number}", tenant="acme", name="ci", secret_hash=bytes([number]), scopes=()
        )


async def test_of_replicas_that_add_the_same_key_at_their_start_one_does(
    database: Database, database_url: str, open_database: OpenDatabase
) -> None:
    stores = [KeyStore(d) for d in (database, open_database(database_url), open_database(database_url))]
    key = {"key_id": "k1", "tenant": "acme", "name": "boot", "secret_hash": b"1", "scopes": ("jobs",)}
    assert sorted(await asyncio.gather(*(store.insert_if_absent(**key) for store in stores))) == [False, False, True]
