"""The keys that exist from the start."""

from __future__ import annotations

import asyncio
from pathlib import Path

from app.access.api_key import make_key
from app.access.first_key import ensure_admin_key, first_admin_key
from app.access.scope import Scope
from app.storage.audit import AuditStore
from app.storage.database import Database
from app.storage.keys import KeyStore
from tests.acceptance.stage import ADMIN_KEY, client, open_stage
from tests.databases import OpenDatabase
from tests.replicas.deployment import deployed

OTHER_KEY = "gw_another_admin_key_0123456789"


async def test_replicas_that_start_together_make_the_bootstrap_key_once(postgres_url: str, tmp_path: Path) -> None:
    async with deployed(postgres_url, tmp_path) as here:
        await here.start(apis=3, workers=1)
        answers = [await here.http.get(f"{api}/keys") for api in here.apis]
        assert [a.status_code for a in answers] == [200] * 3
        [key] = answers[0].json()["keys"]
        assert (key["tenant"], key["name"], key["scopes"]) == ("admin", "bootstrap", ["admin"])
        assert here.query("SELECT key_id, action FROM audit") == [("start", "key.create")]
        said = "".join(line for process in here.ever for line in (*process.stdout, *process.stderr))
        assert ADMIN_KEY not in said
        assert here.complaints() == []


async def test_of_many_starts_at_once_one_makes_the_key(
    database: Database, database_url: str, open_database: OpenDatabase
) -> None:
    stores = [KeyStore(d) for d in (database, *(open_database(database_url) for _ in range(3)))]
    assert await asyncio.gather(*(ensure_admin_key(store, ADMIN_KEY) for store in stores * 2)) == [True] * 8
    assert len(await stores[0].all()) == len(await AuditStore(database).newest()) == 1


async def test_another_bootstrap_key_is_added_and_revokes_none(database_url: str) -> None:
    async with open_stage(database_url) as stage:
        assert (await stage.api.get("/keys")).status_code == 200
    async with open_stage(database_url, bootstrap_admin_key=OTHER_KEY) as stage, client(stage.url, OTHER_KEY) as other:
        assert len((await stage.api.get("/keys")).json()["keys"]) == 2
        assert (await other.get("/keys")).status_code == 200


async def test_a_bootstrap_key_that_was_revoked_stays_revoked_at_the_next_start(database_url: str) -> None:
    async with open_stage(database_url) as stage:
        [old] = (await stage.api.get("/keys")).json()["keys"]
        made = (await stage.api.post("/keys", json={"tenant": "ops", "scopes": ["admin"]})).json()
        assert (await stage.api.delete(f"/keys/{old['id']}")).status_code == 204
    async with open_stage(database_url) as stage, client(stage.url, made["key"]) as ops:
        assert (await stage.api.get("/keys")).status_code == 401
        assert (await ops.get(f"/keys/{old['id']}")).json()["revoked_at"] is not None
        assert len((await ops.get("/keys")).json()["keys"]) == 2


async def test_without_the_setting_a_first_key_is_made_on_sqlite_alone(database_url: str) -> None:
    async with open_stage(database_url, bootstrap_admin_key=None) as stage:
        first = stage.app.state.first_key
        assert (first is not None) == database_url.startswith("sqlite")
        if first is not None:
            async with client(stage.url, first) as admin:
                assert [key["name"] for key in (await admin.get("/keys")).json()["keys"]] == ["first"]
    async with open_stage(database_url, bootstrap_admin_key=None) as stage:
        assert stage.app.state.first_key is None


async def test_a_first_key_is_made_only_where_there_is_none(database: Database) -> None:
    keys = KeyStore(database)
    await ensure_admin_key(keys, ADMIN_KEY)
    assert await first_admin_key(keys) is None


async def test_a_bootstrap_key_that_exists_and_is_no_admin_key_is_not_called_good(database: Database) -> None:
    keys = KeyStore(database)
    api_key, _ = await make_key(keys, tenant="shop", name="", scopes=[Scope.JOBS_READ], expires_at=None, by="start")
    assert not await ensure_admin_key(keys, api_key)
