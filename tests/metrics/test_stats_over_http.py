"""`GET /stats` over HTTP: what is told to whom."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from itertools import pairwise

import pytest

from app.gateway import Gateway
from tests.acceptance.stage import Stage
from tests.access.keyring import TENANT, Keyring
from tests.storage.watch import statements_of


@pytest.fixture
async def keyring(stage: Stage) -> AsyncIterator[Keyring]:
    async with Keyring(stage) as opened:
        yield opened


async def test_an_operator_sees_how_everything_stands(stage: Stage) -> None:
    await stage.run()
    await stage.api.post("/dispatch/pause")
    await stage.accept()
    found = (await stage.api.get("/stats")).json()
    assert found["tenant"] is None
    assert {state: of["count"] for state, of in found["jobs"].items() if of["count"]} == {"queued": 1, "succeeded": 1}
    assert found["jobs"]["queued"]["oldest_seconds"] >= 0
    assert found["gate"]["submits"]["reason"] == "paused"
    assert found["gate"]["checks"] == {"open": True, "reason": None, "since": None}
    assert (found["callbacks"]["loss_ratio"], found["callbacks"]["judged"]) == (0, 1)
    assert found["credits"]["tenants"] == [{"tenant": "admin", "consumed": 5, "held": 5}]
    assert {window["window"]: window["settled"] for window in found["windows"]} == {"1h": 1, "24h": 1, "7d": 1}
    for window in found["windows"]:
        assert 0 <= window["total"]["p50"] <= window["total"]["p95"]


async def test_a_tenant_sees_its_own_and_not_why_the_gate_is_shut(stage: Stage, keyring: Keyring) -> None:
    caller = await keyring.caller("jobs:read", "jobs:write")
    await stage.run()
    await stage.api.post("/dispatch/pause")
    assert (await caller.post("/jobs", json={"prompt": "mine"})).status_code == 202
    found = (await caller.get("/stats")).json()
    assert found["tenant"] == TENANT
    assert {state: of["count"] for state, of in found["jobs"].items() if of["count"]} == {"queued": 1}
    assert found["gate"]["submits"] == {"open": False, "reason": None, "since": None}
    assert found["callbacks"] is None
    assert found["credits"]["tenants"] == [{"tenant": TENANT, "consumed": 0, "held": 5}]
    assert [window["settled"] for window in found["windows"]] == [0, 0, 0]
    assert "admin" not in (await caller.get("/stats")).text


async def test_a_tenant_sees_how_long_its_own_jobs_took(stage: Stage, keyring: Keyring) -> None:
    caller = await keyring.caller("jobs:read", "jobs:write")
    await stage.run()
    job = (await caller.post("/jobs", json={"prompt": "mine"})).json()
    assert (await caller.get(f"/jobs/{job['id']}", headers={"Prefer": "wait=60"}, timeout=65)).json()["finished_at"]
    found = (await caller.get("/stats")).json()
    assert [window["settled"] for window in found["windows"]] == [1, 1, 1]
    assert found["windows"][0]["total"]["p50"] is not None


@pytest.mark.parametrize(("window", "seconds", "count"), [("1h", 300, 12), ("24h", 3600, 24), ("7d", 21_600, 28)])
async def test_charts_are_drawn_from_buckets_without_a_gap(stage: Stage, window: str, seconds: int, count: int) -> None:
    await stage.run()
    found = (await stage.api.get("/stats/series", params={"window": window})).json()
    assert (found["window"], found["tenant"], found["bucket_seconds"], len(found["buckets"])) == (window, None, seconds, count)
    started = [datetime.fromisoformat(bucket["started_at"]) for bucket in found["buckets"]]
    assert {after - before for before, after in pairwise(started)} == {timedelta(seconds=seconds)}
    figures = ("accepted", "succeeded", "failed", "canceled")
    assert [sum(bucket[figure] for bucket in found["buckets"]) for figure in figures] == [1, 1, 0, 0]
    (known,) = {bucket["p50_seconds"] for bucket in found["buckets"]} - {None}
    assert known > 0


async def test_a_tenants_charts_show_its_own(stage: Stage, keyring: Keyring) -> None:
    caller = await keyring.caller("jobs:read", "jobs:write")
    await stage.run()
    assert (await caller.post("/jobs", json={"prompt": "mine"})).status_code == 202
    found = (await caller.get("/stats/series")).json()
    assert (found["window"], found["tenant"], sum(bucket["accepted"] for bucket in found["buckets"])) == ("1h", TENANT, 1)


async def test_a_window_that_there_is_not_is_named(stage: Stage) -> None:
    answer = await stage.api.get("/stats/series", params={"window": "1y"})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "window")


async def test_many_who_look_cost_one_look(stage: Stage, gateway: Gateway) -> None:
    await stage.api.get("/stats")
    with statements_of(gateway.database) as sent:
        for _ in range(5):
            assert (await stage.api.get("/stats")).status_code == 200
    assert not [statement for statement, _ in sent if "usage_days" in statement and "HAVING" in statement]
    assert not [statement for statement, _ in sent if "AS accepted" in statement]
