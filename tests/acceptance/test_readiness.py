"""`/readyz` is open to everybody: it tells nobody where the database is, and asks it seldom."""

from __future__ import annotations

import asyncio
from typing import Any

from sqlalchemy import make_url
from structlog.testing import capture_logs

from app.health import Check, Health
from app.lifecycle.gate import Gate
from app.storage import schema
from app.storage.database import Database
from app.storage.gate_row import GateStore
from tests.acceptance.stage import Stage
from tests.databases import OpenDatabase


async def test_why_the_database_is_out_of_reach_is_for_the_log() -> None:
    database = Database(make_url("postgresql+psycopg://somebody:hush@127.0.0.1:1/books"))
    health = Health(database, GateStore(database), has_address=True, archive=None)
    with capture_logs() as logs:
        readiness = await health.readiness()
    await database.dispose()
    assert readiness.status == "not ready"
    assert readiness.checks["database"] == Check(ok=False, detail="the database is out of reach")
    told = readiness.model_dump_json()
    assert not [word for word in ("127.0.0.1", "somebody", "books") if word in told]
    [line] = [line for line in logs if line["event"].startswith("not ready")]
    assert "127.0.0.1" in line["reason"]


async def test_however_many_ask_the_database_is_asked_once(database_url: str, open_database: OpenDatabase) -> None:
    database = open_database(database_url)
    await schema.upgrade(database)
    gates: Any = CountingGates()
    health = Health(database, gates, has_address=False, archive=None)
    found = await asyncio.gather(*(health.readiness() for _ in range(50)))
    assert {readiness.status for readiness in found} == {"degraded"}
    assert gates.reads == 1


class CountingGates:
    """Stands in for the gate's store: a gate that is open, and how often it was read."""

    def __init__(self) -> None:
        self.reads = 0

    async def read(self) -> Gate:
        self.reads += 1
        return Gate()


async def test_what_is_well_says_no_more_than_that(stage: Stage) -> None:
    answer = await stage.api.get("/readyz")
    assert answer.status_code == 200
    assert answer.json() == {
        "status": "ready",
        "checks": {name: {"ok": True} for name in ("database", "migrations", "gate", "callbacks")},
    }
