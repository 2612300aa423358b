"""`gateway db`: a real process; what it does while it waits is talk, not data."""

from __future__ import annotations

import asyncio
import json
import sys

import psycopg

from app.storage import database as databases
from app.storage import schema
from tests.client.command import ROOT, gateway


async def test_an_upgrade_that_waits_for_another_says_so_beside_its_data(postgres_url: str) -> None:
    with psycopg.connect(postgres_url, autocommit=True) as other:
        other.execute("SELECT pg_advisory_lock(%s)", [databases._MIGRATION_LOCK])
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "app", "db", "upgrade", "--json", cwd=ROOT, env={"GATEWAY_DATABASE_URL": postgres_url},
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert process.stderr is not None
        assert b"another process changes the schema" in await process.stderr.readline()
        other.execute("SELECT pg_advisory_unlock_all()")
        data, _ = await process.communicate()
    assert (process.returncode, json.loads(data)) == (0, {"current": schema.newest()})


async def test_a_schema_that_fits_is_0_and_one_that_does_not_is_1(empty_database_url: str) -> None:
    variables = {"GATEWAY_DATABASE_URL": empty_database_url}
    before = await gateway("db", "check", "--json", variables=variables)
    assert (before.code, json.loads(before.out)) == (1, {"current": None, "needed": schema.newest()})
    upgraded = await gateway("db", "upgrade", variables=variables)
    assert (upgraded.code, upgraded.out) == (0, f"current {schema.newest()}\n")
    after = await gateway("db", "check", variables=variables)
    assert (after.code, after.err) == (0, "")
