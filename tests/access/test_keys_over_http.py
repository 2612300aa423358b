"""`/keys`: made once, shown once, revoked at once."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.storage.audit import AuditStore
from app.storage.database import Database
from app.storage.keys import KeyStore
from tests.acceptance.stage import ADMIN_KEY, Stage, client, open_stage
from tests.access.keyring import Keyring
from tests.databases import OpenDatabase

NO_FIELDS = {"expires_at": None, "last_used_at": None, "revoked_at": None}


async def test_a_new_key_is_shown_once_and_opens_what_its_scopes_say(
    stage: Stage, keyring: Keyring, database: Database
) -> None:
    answer = await stage.api.post("/keys", json={"tenant": "acme", "name": "shop", "scopes": ["jobs:read", "jobs:write"]})
    made = answer.json()
    assert (answer.status_code, answer.headers["cache-control"]) == (201, "no-store")
    assert answer.headers["location"] == f"{stage.url}/keys/{made['id']}"
    assert re.fullmatch(rf"gw_{made['id']}_[A-Za-z0-9_-]{{43}}", made["key"])
    assert re.fullmatch("[0-9a-f]{8}", made["id"])
    shown = {name: value for name, value in made.items() if name != "key"}
    assert shown == {**shown, **NO_FIELDS, "tenant": "acme", "name": "shop", "scopes": ["jobs:write", "jobs:read"]}
    assert (await stage.api.get(answer.headers["location"])).json() == shown
    listed = await stage.api.get("/keys")
    assert listed.json()["keys"][0] == shown
    assert made["key"] not in listed.text
    [stored, *_] = await KeyStore(database).find_open([hashlib.sha256(made["key"].encode()).digest()])
    assert stored is not None
    someone = await keyring.holder(made["key"])
    assert (await someone.post("/jobs", json={"prompt": "A fox"})).json()["tenant"] == "acme"


async def test_keys_are_listed_newest_first_and_by_tenant(stage: Stage, keyring: Keyring) -> None:
    made = [(await keyring.make("jobs:read", tenant=tenant))["id"] for tenant in ("acme", "umbrella", "acme")]
    everything = [key["id"] for key in (await stage.api.get("/keys")).json()["keys"]]
    assert everything[:3] == made[::-1]
    assert len(everything) == 4
    only = (await stage.api.get("/keys", params={"tenant": "acme"})).json()["keys"]
    assert [key["id"] for key in only] == [made[2], made[0]]
    assert (await stage.api.get("/keys", params={"tenant": "nobody"})).json() == {"keys": []}


@pytest.mark.parametrize("query", ["colour=red", "tenant=UPPER", "tenant=", "tenant=a%00b"])
async def test_a_filter_that_does_not_fit_is_refused_never_ignored(stage: Stage, query: str) -> None:
    answer = await stage.api.get(f"/keys?{query}")
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, query.partition("=")[0])


GOOD: dict[str, Any] = {"tenant": "acme", "scopes": ["jobs:read"]}


BAD: list[tuple[dict[str, Any], str]] = [
    ({"scopes": ["admin"]}, "tenant"),
    *(({**GOOD, "tenant": name}, "tenant") for name in ("", "Acme", "a b", "ä", "a" * 65, "a\n", "a\0", None, 5)),
    ({"tenant": "acme"}, "scopes"),
    *(({**GOOD, "scopes": scopes}, "scopes") for scopes in ([], ["jobs"], "admin", [""], ["admin"] * 4, None)),
    *(({**GOOD, "name": name}, "name") for name in ("a\nb", "\0", "x" * 101, "\x1b[31m", "\x9b", None)),
    *(
        ({**GOOD, "expires_at": text}, "expires_at")
        for text in (
            "2001-01-01T00:00:00Z",
            "2999-01-01T00:00:00",
            "tomorrow",
            4102444800,
            "9999-12-31T23:59:59-12:00",
            "4102444800",
            "4102444800.5",
            "2999-01-01",
            "2999-02-30T00:00:00Z",
            True,
        )
    ),
    ({**GOOD, "colour": "red"}, "colour"),
    ({**GOOD, "key": "gw_mine"}, "key"),
]


async def test_a_key_that_does_not_fit_is_refused_and_not_made(stage: Stage) -> None:
    for body, field in BAD:
        answer = await stage.api.post("/keys", content=json.dumps(body), headers={"Content-Type": "application/json"})
        assert answer.status_code == 422, (body, answer.text)
        assert answer.json()["errors"][0]["field"].split(".")[0] == field, body
    assert len((await stage.api.get("/keys")).json()["keys"]) == 1


async def test_a_revoked_key_is_401_at_once_on_every_replica(postgres_url: str) -> None:
    async with open_stage(postgres_url) as one, open_stage(postgres_url) as two, Keyring(one) as keyring:
        made = await keyring.make("jobs:read")
        async with client(one.url, made["key"]) as here, client(two.url, made["key"]) as there:
            assert [(await c.get("/jobs")).status_code for c in (here, there)] == [200, 200]
            assert (await two.api.delete(f"/keys/{made['id']}")).status_code == 204
            answers = [await c.get("/jobs") for c in (here, there)]
            assert [(a.status_code, a.json()["code"]) for a in answers] == [(401, "unauthorized")] * 2
            assert (await one.api.delete(f"/keys/{made['id']}")).status_code == 204


async def test_a_key_is_401_once_it_has_expired(stage: Stage, keyring: Keyring, database: Database) -> None:
    """The clock is the database's: what is moved is the key's instant."""
    from sqlalchemy import update

    from app.storage import tables as t

    soon = datetime.now(UTC) + timedelta(hours=1)
    made = await keyring.make("jobs:read", expires_at=soon.isoformat())
    someone = await keyring.holder(made["key"])
    assert (await someone.get("/jobs")).status_code == 200
    async with database.writing() as connection:
        gone = datetime.now(UTC) - timedelta(seconds=1)
        await connection.execute(update(t.api_keys).where(t.api_keys.c.key_id == made["id"]).values(expires_at=gone))
    assert (await someone.get("/jobs")).status_code == 401


async def test_a_key_may_revoke_itself_but_the_last_admin_key_stays(stage: Stage, keyring: Keyring) -> None:
    admin = await keyring.make("admin")
    holder = await keyring.holder(admin["key"])
    assert (await holder.delete(f"/keys/{admin['id']}")).status_code == 204
    assert (await holder.get("/keys")).status_code == 401
    [first] = (await stage.api.get("/keys", params={"tenant": "admin"})).json()["keys"]
    refused = await stage.api.delete(f"/keys/{first['id']}")
    assert (refused.status_code, refused.json()["code"]) == (409, "last_admin_key")
    assert (await stage.api.get("/keys")).status_code == 200


@pytest.mark.parametrize("key_id", ["nothing", "0", "a%00b", "%F0%9F%A6%8A", "a" * 500])
async def test_a_key_that_is_not_there_is_404(stage: Stage, key_id: str) -> None:
    for method in ("GET", "DELETE"):
        answer = await stage.api.request(method, f"/keys/{key_id}")
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


async def test_the_last_use_is_told(stage: Stage, keyring: Keyring) -> None:
    made = await keyring.make("jobs:read")
    assert made["last_used_at"] is None
    await (await keyring.holder(made["key"])).get("/jobs")
    async with asyncio.timeout(60):
        while (shown := (await stage.api.get(f"/keys/{made['id']}")).json())["last_used_at"] is None:
            pass  # each look is a request: the loop works meanwhile
    assert datetime.fromisoformat(shown["last_used_at"]) >= datetime.fromisoformat(made["created_at"])


async def test_every_change_is_on_record_by_whose_key_and_without_secrets(
    stage: Stage, keyring: Keyring, database_url: str, open_database: OpenDatabase
) -> None:
    admin = await keyring.make("admin", name="ops")
    ops = await keyring.holder(admin["key"])
    other = (await ops.post("/keys", json=GOOD)).json()
    await ops.delete(f"/keys/{other['id']}")
    await ops.delete(f"/keys/{other['id']}")
    await ops.put("/tenants/umbrella", json={"monthly_credits": 5})
    secret = (await ops.post("/tenants/umbrella/delivery-secret/rotate")).json()["secret"]
    found = (await AuditStore(open_database(database_url)).newest())[::-1]
    assert [(a.act.action, a.act.tenant) for a in found] == [
        ("key.create", "admin"), ("key.create", "acme"), ("key.create", "acme"), ("key.revoke", "acme"),
        ("tenant.set", "umbrella"), ("delivery_secret.rotate", "umbrella"),
    ]  # fmt: skip
    bootstrap = found[1].act.key_id
    assert [a.act.key_id for a in found] == ["start", bootstrap, *[admin["id"]] * 4]
    assert bootstrap.startswith("bootstrap-")
    told = repr(found)
    assert not [word for word in (admin["key"], other["key"], secret, ADMIN_KEY) if word in told]
