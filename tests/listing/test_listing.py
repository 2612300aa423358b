"""`GET /jobs` over HTTP: the filters, the pages, and who sees what."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import httpx

from app.lifecycle.states import CompletedVia, ErrorCode, JobState
from app.storage.database import Database
from tests.acceptance.stage import Stage, client
from tests.listing.rows import START, JobRow, add, in_order

FOX = JobRow(
    created_at=START + timedelta(seconds=2),
    state=JobState.FAILED,
    prompt="A red fox",
    task_id="task-1",
    idempotency_key="order-1",
    completed_via=CompletedVia.POLL,
    error_code=ErrorCode.GENERATION_FAILED,
    metadata={"order": "42", "shop": "b & c"},
)
TOWN = JobRow(created_at=START + timedelta(seconds=1), prompt="雨后的江南小镇", batch_key="batch-1", metadata={"order": "42"})
HEN = JobRow(tenant="umbrella", prompt="A red hen", idempotency_key="order-2")


async def listed(api: httpx.AsyncClient, query: str) -> list[str]:
    answer = await api.get(f"/jobs?{query}")
    assert answer.status_code == 200, answer.text
    return [job["id"] for job in answer.json()["jobs"]]


QUERIES: list[tuple[str, list[JobRow]]] = [
    ("", [FOX, TOWN, HEN]),
    ("state=failed", [FOX]),
    ("state=failed&state=succeeded", [FOX, TOWN, HEN]),
    ("tenant=umbrella", [HEN]),
    ("q=RED", [FOX, HEN]),
    ("q=%22red+fox%22", [FOX]),
    ("q=江南", [TOWN]),
    ("task_id=task-1", [FOX]),
    ("idempotency_key=order-2", [HEN]),
    ("idempotency_key=batch-1", [TOWN]),
    ("completed_via=poll", [FOX]),
    ("error_code=generation_failed", [FOX]),
    ("metadata.order=42", [FOX, TOWN]),
    ("metadata.order=42&metadata.shop=b+%26+c", [FOX]),
    ("created_after=2026-01-02T03:04:06Z", [FOX, TOWN]),
    ("created_before=2026-01-02T03:04:06Z", [HEN]),
    ("created_after=2026-01-03", []),
    ("metadata.order=42&state=failed&q=fox&completed_via=poll&tenant=acme&created_after=2026-01-02", [FOX]),
]


async def test_every_filter_works_over_http(stage: Stage, database: Database) -> None:
    await add(database, FOX, TOWN, HEN)
    for query, expected in QUERIES:
        assert await listed(stage.api, query) == [str(job.job_id) for job in expected], query


async def test_another_tenants_jobs_are_in_no_list_and_no_export(stage: Stage, database: Database, acme_key: str) -> None:
    queries = "", "q=red", "tenant=acme", "task_id=task-1", "idempotency_key=order-2", "metadata.order=42", "tenant=umbrella"
    theirs = JobRow(tenant="umbrella", prompt="red", task_id="task-1", idempotency_key="order-2", metadata={"order": "42"})
    await add(database, theirs)
    async with client(stage.url, acme_key) as acme:
        for query in queries:
            assert await listed(acme, query) == [], query
            assert (await acme.get(f"/jobs/export?{query}")).content == b"", query
        own = JobRow(prompt="red", metadata={"order": "42"})
        await add(database, own)
        for mine in ("", "q=red", "tenant=acme", "metadata.order=42"):
            assert await listed(acme, mine) == [str(own.job_id)]


async def test_the_link_to_the_next_page_keeps_all_filters(stage: Stage, database: Database) -> None:
    jobs = [JobRow(created_at=START + timedelta(seconds=n), prompt=f"a red fox {n}", metadata={"a b": "c&d"}) for n in range(5)]
    await add(database, *jobs, JobRow(prompt="a red fox", state=JobState.CANCELED), JobRow(prompt="a hen"))
    url: str | None = "/jobs?limit=2&state=succeeded&state=failed&q=%22red+fox%22&metadata.a%20b=c%26d&tenant=acme"
    seen: list[str] = []
    while url is not None:
        answer = await stage.api.get(url)
        page = answer.json()
        seen += [job["id"] for job in page["jobs"]]
        assert ("next" in answer.links) == page["has_more"] == (page["next_cursor"] is not None)
        url = answer.links["next"]["url"] if page["has_more"] else None
    assert seen == [str(job_id) for job_id in in_order(jobs)]


async def test_a_cursor_with_other_filters_is_refused(stage: Stage, database: Database) -> None:
    await add(database, *(JobRow(created_at=START + timedelta(seconds=n)) for n in range(3)))
    cursor = (await stage.api.get("/jobs?limit=1&q=dusk")).json()["next_cursor"]
    assert (await stage.api.get(f"/jobs?limit=2&q=dusk&cursor={cursor}")).status_code == 200
    for query in ("", "q=dawn", "q=dusk&state=succeeded"):
        for path in ("/jobs", "/jobs/export"):
            refused = await stage.api.get(f"{path}?{query}&cursor={cursor}")
            assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "cursor")


async def test_what_does_not_fit_is_refused_with_every_field_named(stage: Stage) -> None:
    query = "colour=red&state=done&q=&limit=0&metadata.a=1&metadata.a=2&created_after=now&tenant=a&tenant=b"
    answer = await stage.api.get(f"/jobs?{query}")
    assert answer.status_code == 422
    named = {error["field"] for error in answer.json()["errors"]}
    assert named == {"colour", "state.0", "q", "limit", "metadata.a", "created_after", "tenant"}


async def test_a_key_that_may_not_read_lists_and_exports_nothing(stage: Stage) -> None:
    async with client(stage.url, "wrong") as stranger:
        for path in ("/jobs?colour=red", "/jobs/export?colour=red"):
            assert (await stranger.get(path)).status_code == 401


async def test_openapi_names_every_filter_of_both(stage: Stage) -> None:
    paths: dict[str, Any] = (await stage.api.get("/openapi.json")).json()["paths"]
    filters = {
        "state", "tenant", "q", "task_id", "idempotency_key", "completed_via", "error_code", "metadata.<key>", "created_after",
        "created_before", "cursor",
    }  # fmt: skip
    assert {p["name"] for p in paths["/jobs"]["get"]["parameters"]} == filters | {"limit"}
    assert {p["name"] for p in paths["/jobs/export"]["get"]["parameters"]} == filters | {"format"}
