"""Another tenant's job is 404 everywhere, and in no list, export, stream, figure or idempotency key."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tests.acceptance.stage import Stage, client, open_stage
from tests.access.test_every_route_is_guarded import ADMIN, NEEDS

SECRET = "The other team's fox"


@dataclass
class Teams:
    stage: Stage
    theirs: dict[str, Any]  #: a settled job of theirs
    they: httpx.AsyncClient
    we: httpx.AsyncClient  #: with every scope but admin


@pytest.fixture
async def teams(database_url: str) -> AsyncIterator[Teams]:
    async with AsyncExitStack() as stack:
        stage = await stack.enter_async_context(open_stage(database_url))
        they, we = [await stack.enter_async_context(await _member(stage, tenant)) for tenant in ("theirs", "ours")]
        body = {"prompt": SECRET, "metadata": {"order": "7"}}
        answer = await they.post("/jobs", json=body, headers={"Idempotency-Key": "shared", "Prefer": "wait=60"})
        assert answer.json()["state"] == "succeeded"
        yield Teams(stage, answer.json(), they, we)


async def _member(stage: Stage, tenant: str) -> httpx.AsyncClient:
    body = {"tenant": tenant, "name": "member", "scopes": ["jobs:read", "jobs:write"]}
    return client(stage.url, (await stage.api.post("/keys", json=body)).json()["key"])


async def test_every_route_of_a_job_is_404_for_another_tenant(teams: Teams) -> None:
    paths = teams.stage.app.openapi()["paths"]
    routes = [(method, path) for path, methods in paths.items() if "{job_id}" in path for method in methods]
    routes = [(method, path) for method, path in routes if NEEDS[f"{method.upper()} {path}"] != ADMIN]  # admins see all
    assert len(routes) >= 6
    for method, path in routes:
        address = path.format(job_id=teams.theirs["id"], index=0)
        answer = await teams.we.request(method, address, json={"expires_in": 60} if method == "post" else None)
        assert answer.status_code == 404, (method, path, answer.text)
        assert answer.json()["detail"] == "There is no such job.", (method, path)
        assert SECRET not in answer.text


async def test_the_stream_is_404_before_it_begins(teams: Teams) -> None:
    answer = await teams.we.get(f"/jobs/{teams.theirs['id']}/events", headers={"Accept": "text/event-stream"})
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")


@pytest.mark.parametrize(
    "query",
    ["", "tenant=theirs", "q=fox", "metadata.order=7", "idempotency_key=shared", "state=succeeded", "completed_via=callback"],
)
async def test_no_list_and_no_export_has_it(teams: Teams, query: str) -> None:
    for path in ("/jobs", "/jobs/export"):
        answer = await teams.we.get(f"{path}?{query}")
        assert answer.status_code == 200
        assert teams.theirs["id"] not in answer.text
        assert SECRET not in answer.text
    theirs = await teams.they.get(f"/jobs?{query}")
    assert teams.theirs["id"] in theirs.text


async def test_their_task_id_finds_nothing(teams: Teams) -> None:
    task_id = teams.theirs["upstream"]["task_id"]
    assert (await teams.we.get("/jobs", params={"task_id": task_id})).json()["jobs"] == []
    assert len((await teams.they.get("/jobs", params={"task_id": task_id})).json()["jobs"]) == 1


async def test_usage_and_idempotency_keys_are_each_tenants_own(teams: Teams) -> None:
    assert (await teams.we.get("/usage")).json()["days"] == []
    mine = await teams.we.post("/jobs", json={"prompt": SECRET}, headers={"Idempotency-Key": "shared"})
    assert mine.status_code == 202
    assert mine.json()["id"] != teams.theirs["id"]
    assert mine.json()["tenant"] == "ours"


async def test_their_tenant_and_its_secret_are_not_shown(teams: Teams) -> None:
    for path in ("/tenants/theirs", "/tenants/theirs/delivery-secret"):
        assert (await teams.we.get(path)).status_code == 404
