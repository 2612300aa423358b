"""However much history lies there, a page is led by its index, and touches no more of it than it may."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from uuid_utils.compat import uuid7

from app.lifecycle.states import CompletedVia, ErrorCode, JobState
from app.storage import search
from app.storage.database import Database
from app.storage.history import HistoryStore
from app.storage.job_filter import JobFilter
from app.storage.search import Page
from tests.listing.rows import START, add_tenants
from tests.storage.watch import plan_of, statements_of

HISTORY = 6000
LIMIT, LOOK_AT = 20, 1200
MIDST = (START - timedelta(seconds=HISTORY / 2), uuid7())

#: A filter, the index that must lead it, and what a scan may touch: rows of the page, or rows that the page may look at.
LED = [
    (JobFilter(created_after=START - timedelta(days=9)), "jobs_newest", LIMIT + 1),
    (JobFilter(created_before=START - timedelta(minutes=50)), "jobs_newest", LIMIT + 1),
    (JobFilter(tenant="acme", created_after=START - timedelta(days=9)), "jobs_tenant_newest", LIMIT + 1),
    (JobFilter(states=(JobState.FAILED,), created_after=START - timedelta(days=9)), "jobs_state_newest", LIMIT + 1),
    (JobFilter(tenant="dormant"), "jobs_tenant_newest", LIMIT + 1),
    (JobFilter(states=(JobState.CANCELED,)), "jobs_state_newest", LIMIT + 1),
    (JobFilter(tenant="dormant", states=(JobState.CANCELED,)), "jobs_tenant_state_newest", LIMIT + 1),
    (JobFilter(task_id="task-5000"), "submissions_task", 2),
    (JobFilter(tenant="acme", task_id="task-5000"), "submissions_task", 2),
    (JobFilter(tenant="acme", idempotency_key="key-5000"), "jobs_idempotency_key", 1),
    (JobFilter(tenant="acme", idempotency_key="batch-3"), "jobs_batch_key", LIMIT + 1),
    (JobFilter(idempotency_key="key-5000"), "jobs_idempotency_key", 3),
    (JobFilter(tenant="umbrella", metadata=(("order", "4999"),)), "job_metadata_newest", 1),
    (JobFilter(tenant="umbrella", metadata=(("env", "prod"),)), "job_metadata_newest", LIMIT + 1),
    (JobFilter(metadata=(("order", "5000"),)), "job_metadata_newest", 3),
    (JobFilter(metadata=(("env", "prod"),)), "job_metadata_newest", LIMIT + 1),
    (JobFilter(words=("absent",)), "jobs_newest", LOOK_AT),
    (JobFilter(words=("江南",), tenant="umbrella"), "jobs_tenant_newest", LOOK_AT),
    (JobFilter(words=("absent",), states=(JobState.SUCCEEDED,)), "jobs_state_newest", LOOK_AT),
    (JobFilter(words=("absent",), states=(JobState.FAILED, JobState.SUCCEEDED)), "jobs_state_newest", LOOK_AT),
    (JobFilter(completed_via=CompletedVia.OPERATOR), "jobs_newest", LOOK_AT),
    (JobFilter(error_code=ErrorCode.UPSTREAM_REJECTED), "jobs_state_newest", LOOK_AT),
    (JobFilter(error_code=ErrorCode.UPSTREAM_REJECTED, tenant="umbrella"), "jobs_tenant_state_newest", LOOK_AT),
    (JobFilter(metadata=(("env", "prod"), ("order", "absent"))), "job_metadata_newest", LOOK_AT),
    (JobFilter(metadata=(("env", "prod"),), states=(JobState.FAILED,), tenant="umbrella"), "job_metadata_newest", LOOK_AT),
]


@pytest.fixture
async def history(database: Database) -> Database:
    """Much that is over: one job in a hundred is acme's, one in twenty failed; long ago, many were dormant's or canceled."""
    await add_tenants(database, "acme", "umbrella", "dormant")
    async with database.writing() as connection:
        for statement in _history(database.is_sqlite):
            await connection.exec_driver_sql(statement)
        if not database.is_sqlite:
            await connection.exec_driver_sql("ANALYZE")
    return database


def _history(sqlite: bool) -> Iterator[str]:
    at = "1767323045678901 - n * 1000000" if sqlite else f"timestamptz '{START.isoformat()}' - n * interval '1 second'"
    series = f"WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {HISTORY}) " if sqlite else ""
    source = "s" if sqlite else f"generate_series(1, {HISTORY}) AS n"
    job_id = "lower(hex(randomblob(16)))" if sqlite else "gen_random_uuid()"
    blob, empty = ("x'00'", "'{}'") if sqlite else ("'x'::bytea", "'{}'::jsonb")
    tenant = "CASE WHEN n > 4200 AND mod(n, 2) = 1 THEN 'dormant' WHEN mod(n, 100) = 0 THEN 'acme' ELSE 'umbrella' END"
    state = "CASE WHEN mod(n, 20) = 0 THEN 'failed' WHEN n > 4800 AND mod(n, 3) = 0 THEN 'canceled' ELSE 'succeeded' END"
    yield f"""
        INSERT INTO jobs (job_id, tenant, state, error_code, idempotency_key, batch_key, completed_via, created_at, updated_at,
            finished_at, submission, cancel_requested, prompt, size, seed, output_format, priority, metadata, fingerprint,
            images)
        {series}SELECT {job_id}, {tenant}, {state},
            CASE mod(n, 20) WHEN 0 THEN 'task_lost' END, 'key-' || n, CASE mod(n, 10) WHEN 0 THEN 'batch-' || mod(n, 9) END,
            'poll', {at}, {at}, {at}, 1, false, 'a prompt about nothing', '1024*1024', -1, 'jpeg', 1, {empty}, {blob}, '[]'
        FROM {source}"""
    hash_ = "CAST(job_id AS BLOB)" if sqlite else "sha256(job_id::text::bytea)"
    yield f"""
        INSERT INTO submissions (job_id, number, outcome, token_hash, sent_at, closed_at, task_id, credits, checks, callbacks,
            not_found_count, excused, candidates)
        SELECT job_id, 1, 'succeeded', {hash_}, created_at, created_at, 'task-' || substr(idempotency_key, 5), 5, 1, 1, 0, 0,
            '[]'
        FROM jobs"""
    for key, value in (("order", "substr(idempotency_key, 5)"), ("env", "'prod'")):
        yield f"""INSERT INTO job_metadata (job_id, key, value, tenant, created_at)
            SELECT job_id, '{key}', {value}, tenant, created_at FROM jobs"""


async def page(database: Database, wanted: JobFilter, deep: bool) -> Page:
    return await HistoryStore(database).page(wanted, limit=LIMIT, after=MIDST if deep else None, look_at=LOOK_AT)


@pytest.mark.parametrize("deep", [False, True], ids=["first", "deep"])
async def test_every_filter_is_led_by_its_index(history: Database, deep: bool) -> None:
    for wanted, index, _touched in LED:
        with statements_of(history) as sent:
            await page(history, wanted, deep)
        plans = [await plan(history, statement, parameters) for statement, parameters in sent if "FROM" in statement]
        assert any(re.search(rf"\b{index}\b", found) for found in plans), (wanted, plans)
        for found in plans:
            assert not re.search(r"Seq Scan on (jobs|job_metadata|submissions)", found), (wanted, found)
            assert not re.search(r"SCAN (jobs|job_metadata|submissions|tested)$", found, re.MULTILINE), (wanted, found)
            assert "Hash Join" not in found, (wanted, found)


async def test_every_later_stretch_of_a_walk_begins_where_the_one_before_ended(history: Database) -> None:
    with statements_of(history) as sent:
        await page(history, JobFilter(words=("absent",), tenant="umbrella"), deep=True)
    stretches = [await plan(history, s, p) for s, p in sent if "looked" in s]
    assert len(stretches) == 2
    for found in stretches:
        assert re.search(r"Index Cond: .*ROW\(created_at, job_id\) <|\(tenant=\? AND \(created_at,job_id\)<", found), found


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)  # SQLite does not tell what a statement touched
@pytest.mark.parametrize("deep", [False, True], ids=["first", "deep"])
async def test_a_page_touches_no_more_rows_than_it_may(history: Database, deep: bool) -> None:
    for wanted, _index, most in LED:
        with statements_of(history) as sent:
            await page(history, wanted, deep)
        rows = blocks = 0
        for statement, parameters in sent:
            if "FROM" in statement:
                found = await touched(history, statement, parameters)
                rows, blocks = max(rows, found[0]), blocks + found[1]
        assert rows <= most * (len(wanted.states) or 1), (wanted, rows)
        assert blocks <= 60 + 12 * most, (wanted, blocks)


async def plan(database: Database, statement: str, parameters: Any) -> str:
    """The plan of a statement, under the settings that a search makes for itself."""
    async with database.reading() as connection:
        if not database.is_sqlite:
            await connection.exec_driver_sql(search._IN_ORDER)
        return await plan_of(connection, statement, parameters)


async def touched(database: Database, statement: str, parameters: Any) -> tuple[int, int]:
    """The rows that the greediest scan of a statement read, and the blocks that all of it read."""
    async with database.reading() as connection:
        await connection.exec_driver_sql(search._IN_ORDER)
        explained = await connection.exec_driver_sql(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}", parameters)
        (told,) = explained.scalar_one()
    root = told["Plan"] if isinstance(told, dict) else json.loads(told)["Plan"]
    scans = [node for node in _nodes(root) if "Relation Name" in node and node["Relation Name"] != "tenants"]
    read = [(n["Actual Rows"] + n.get("Rows Removed by Filter", 0)) * n["Actual Loops"] for n in scans]
    return round(max(read)), root["Shared Hit Blocks"] + root["Shared Read Blocks"]


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("Plans", ()):
        yield from _nodes(child)


async def test_a_page_of_what_is_common_stops_early(history: Database) -> None:
    with statements_of(history) as sent:
        found = await page(history, JobFilter(words=("prompt",)), deep=False)
    assert len(found.lives) == LIMIT
    assert sum("looked" in statement for statement, _ in sent) == 1
