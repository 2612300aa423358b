"""`gateway keys` and `gateway tenants`: real processes, on the database itself, beside a gateway that runs."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from app.storage.audit import AuditStore
from tests.acceptance.stage import client, open_stage
from tests.crash.processes import ROOT
from tests.databases import OpenDatabase


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str

    @property
    def said(self) -> Any:
        assert self.code == 0, self.err
        return json.loads(self.out)


async def gateway(database_url: str, *arguments: str, cwd: Path = ROOT / "tests") -> Done:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")}
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "app", *arguments, cwd=cwd,
        env={**clean, "PYTHONPATH": str(ROOT), "GATEWAY_DATABASE_URL": database_url, "COLUMNS": "200"},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await child.communicate()
    assert child.returncode is not None
    return Done(child.returncode, out.decode(), err.decode())


async def test_keys_are_made_listed_and_revoked_while_a_gateway_runs(database_url: str) -> None:
    async with open_stage(database_url) as stage:
        made = await gateway(
            database_url, "keys", "create", "--tenant", "acme", "--scope", "jobs:read", "--scope", "jobs:write",
            "--name", "a shop", "--expires", "90d",
        )  # fmt: skip
        key = made.out.strip()
        assert made.code == 0, made.err
        assert re.fullmatch(r"gw_[0-9a-f]{8}_[A-Za-z0-9_-]{43}", key)
        assert key not in made.err
        key_id = key.split("_")[1]
        async with client(stage.url, key) as someone:
            assert (await someone.get("/jobs")).status_code == 200
            listed = await gateway(database_url, "keys", "list", "--tenant", "acme")
            fields = listed.out.rstrip("\n").split("\t")
            assert fields[:4] == [key_id, "acme", "a shop", "jobs:write jobs:read"]
            left = datetime.fromisoformat(fields[5]) - datetime.now(UTC)
            assert timedelta(days=89) < left <= timedelta(days=90)
            revoked = await gateway(database_url, "keys", "revoke", key_id)
            assert (revoked.code, revoked.out) == (0, "")
            assert (await someone.get("/jobs")).status_code == 401
        as_json = (await gateway(database_url, "keys", "list", "--json")).said
        assert _without_use(as_json) == _without_use((await stage.api.get("/keys")).json())


def _without_use(told: dict[str, Any]) -> dict[str, Any]:
    """Without the times of the last use, which are written down a while after it: asking for the keys is one."""
    return {**told, "keys": [{**key, "last_used_at": None} for key in told["keys"]]}


async def test_answers_in_json_are_those_of_the_api(database_url: str, open_database: OpenDatabase) -> None:
    made = (await gateway(database_url, "keys", "create", "--tenant", "ops", "--scope", "admin", "--json")).said
    assert made["key"].startswith(f"gw_{made['id']}_")
    assert (made["tenant"], made["scopes"], made["expires_at"]) == ("ops", ["admin"], None)
    changed = ("tenants", "set", "acme", "--monthly-credits", "5000", "--requests-per-second", "2.5", "--json")
    assert (await gateway(database_url, *changed)).said["monthly_credits"] == 5000
    lifted = await gateway(database_url, "tenants", "set", "acme", "--monthly-credits", "none", "--open-jobs-max", "0")
    assert lifted.out.split("\t")[:4] == ["acme", "none", "0", "2.5"]
    told = (await gateway(database_url, "tenants", "list", "--json")).said["tenants"]
    assert [tenant["name"] for tenant in told] == ["acme", "ops"]
    assert told[0] == {**told[0], "monthly_credits": None, "open_jobs_max": 0, "requests_per_second": 2.5}
    acts = [audited.act for audited in await AuditStore(open_database(database_url)).newest()]
    assert {act.key_id for act in acts} == {"command-line"}
    assert [act.action for act in acts] == ["tenant.set", "tenant.set", "key.create"]


async def test_what_is_not_there_ends_with_3_and_what_may_not_be_with_4(database_url: str) -> None:
    made = (await gateway(database_url, "keys", "create", "--tenant", "ops", "--scope", "admin", "--json")).said
    last, unknown = await asyncio.gather(
        gateway(database_url, "keys", "revoke", made["id"]), gateway(database_url, "keys", "revoke", "nothing")
    )
    assert (last.code, unknown.code) == (4, 3)
    assert (last.out, unknown.out) == ("", "")
    assert last.err == "gateway: This is the last admin key that opens anything; make another one first.\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["keys", "create", "--tenant", "Acme", "--scope", "admin"],
        ["keys", "create", "--tenant", "acme", "--scope", "everything"],
        ["keys", "create", "--tenant", "acme"],
        ["keys", "create", "--tenant", "acme", "--scope", "admin", "--expires", "soon"],
        ["tenants", "set", "acme", "--monthly-credits", "many"],
        ["tenants", "set", "acme", "--requests-per-second", "0"],
        ["tenants", "set", "a b"],
    ],
    ids=" ".join,
)
async def test_a_slip_of_the_pen_ends_with_2_and_changes_nothing(
    sqlite_url: str, arguments: list[str], open_database: OpenDatabase
) -> None:
    done = await gateway(sqlite_url, *arguments)
    assert (done.code, done.out) == (2, "")
    assert done.err
    assert await AuditStore(open_database(sqlite_url)).newest() == []


async def test_a_schema_that_is_not_there_ends_with_2_and_a_database_that_is_not_with_5(tmp_path: Path) -> None:
    bare, away = await asyncio.gather(
        gateway(f"sqlite:///{tmp_path / 'none.db'}", "keys", "list"),
        gateway("postgresql://nobody@127.0.0.1:1/nothing", "tenants", "list"),
    )
    assert (bare.code, away.code) == (2, 5)
    assert "gateway db upgrade" in bare.err
    assert len(away.err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []
