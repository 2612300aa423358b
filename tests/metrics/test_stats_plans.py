"""However much history lies beside it, how things stand is read from indexes, and never from a whole table."""

from __future__ import annotations

import json
import re
from datetime import timedelta

import pytest

from app.lifecycle.states import JobState
from app.storage.balance import BalanceStore
from app.storage.database import Database
from app.storage.pace import PaceStore
from app.storage.stats import StatsStore
from tests.storage.factory import START, Factory, HandClock
from tests.storage.test_plans import _jobs_over, _submissions_over
from tests.storage.watch import plan_of, statements_of

HISTORY = 6000  #: of `_jobs_over`; 60 jobs of the tenant acme among them
LIMIT = 100
EDGES = [START - timedelta(minutes=n) for n in (90, 60, 30, 0)]

#: What is counted and looked for, by the index that must lead to it.
LED = [
    (r"jobs.state = 'queued'", r"jobs_\w+"),
    (r"jobs.state = 'running'", r"jobs_(tenant_)?state_newest"),
    (r"jobs.state = 'succeeded'", r"jobs_(tenant_)?(state_)?newest"),
    (r"jobs.state = 'canceled'", r"jobs_(tenant_)?state_newest"),
    (r"min\(submissions.due_at\)", "submissions_due"),
    (r"outcome = 'open'", "submissions_open"),
    (r"min\(deliveries.due_at\)", r"deliveries_(due|lanes)"),
    (r"deliveries.state = 'pending'", r"deliveries_(unfinished|lanes|state_newest)"),
    (r"deliveries.state = 'exhausted'", "deliveries_state_newest"),
    (r"FROM images", "images_due"),
]


@pytest.fixture
async def history(factory: Factory, clock: HandClock) -> Factory:
    """Much that is over, deliveries and pictures too, and a little that is not."""
    sqlite = factory.database.is_sqlite
    async with factory.database.writing() as connection:
        for statement in (_jobs_over(sqlite), _submissions_over(sqlite), _BOOKED, _DELIVERIES_OVER, _IMAGES_OVER):
            await connection.exec_driver_sql(statement)
    for state in (JobState.QUEUED, JobState.RUNNING, JobState.UNCONFIRMED, JobState.SUCCEEDED):
        await factory.in_state(state)
    clock.advance(minutes=5)
    if not sqlite:
        async with factory.database.writing() as connection:
            await connection.exec_driver_sql("ANALYZE")
    return factory


_DELIVERIES_OVER = """
    INSERT INTO deliveries (delivery_id, job_id, tenant, origin, url, type, format, state, attempts, created_at, finished_at)
    SELECT job_id, job_id, tenant, 'https://hooks.example', 'https://hooks.example/', 'job.succeeded', 'signed', 'delivered', 1,
        created_at, created_at FROM jobs"""

_BOOKED = "UPDATE jobs SET booked_open = 0, booked_held = 0, booked_consumed = 5"

_IMAGES_OVER = """
    INSERT INTO images (job_id, "index", source_url, state, attempts, created_at, stored_at, sha256)
    SELECT job_id, 0, 'https://images.example/', 'stored', 1, created_at, created_at, 'abc' FROM jobs"""


@pytest.mark.parametrize("tenant", [None, "acme"])
async def test_each_figure_is_led_by_its_index(history: Factory, tenant: str | None) -> None:
    store = StatsStore(history.database, unsettled_max=LIMIT, counted_max=LIMIT)
    with statements_of(history.database) as sent:
        await store.standings(tenant)
        await store.callback_lags(timedelta(hours=1))
    plans = [(statement, await plan(history.database, statement, parameters)) for statement, parameters in sent]
    for pattern, index in LED:
        found = [plan for statement, plan in plans if re.search(pattern, statement)]
        assert found or (tenant and "min(" in pattern.replace("\\", "")), pattern
        for one in found:
            assert re.search(index, one), one
    for _, one in plans:
        assert_no_table_is_read_whole(one)


@pytest.mark.parametrize("tenant", [None, "acme"])
async def test_stretches_are_walked_along_their_indexes(history: Factory, tenant: str | None) -> None:
    with statements_of(history.database) as sent:
        found = await PaceStore(history.database, counted=LIMIT, looked_at=LIMIT).stretches(EDGES, tenant)
    assert sum(sum(s.settled.values()) for s in found) > 0
    counts, samples = [await plan(history.database, s, p) for s, p in sent if "FROM jobs" in s]
    came, went = ("jobs_newest", "jobs_finished") if tenant is None else ("jobs_tenant_newest",) * 2
    assert_no_table_is_read_whole(counts)
    assert len(re.findall(came, counts)) + len(re.findall(went, counts)) >= 6, counts
    assert len(re.findall(went, samples)) == len(EDGES) - 1, samples
    assert_no_table_is_read_whole(samples)


async def test_what_came_and_went_is_counted_from_indexes_alone(history: Factory) -> None:
    """SQLite says so; PostgreSQL reads no more where its visibility map is fresh."""
    with statements_of(history.database) as sent:
        await PaceStore(history.database).stretches(EDGES)
    [(statement, parameters)] = [(s, p) for s, p in sent if "VALUES" in s]
    alone = "USING COVERING INDEX" if history.database.is_sqlite else "Index Only Scan"
    one = await plan(history.database, statement, parameters)
    for index in ("jobs_newest", "jobs_finished"):
        assert re.search(rf"{alone}.* {index}", one), one


async def test_the_balance_counts_along_indexes(history: Factory) -> None:
    with statements_of(history.database) as sent:
        await BalanceStore(history.database).difference()
    [(statement, parameters)] = [(s, p) for s, p in sent if "usage_days" in s]
    assert_no_table_is_read_whole(await plan(history.database, statement, parameters))


async def test_postgresql_reads_no_more_rows_than_it_counts(history: Factory) -> None:
    """What EXPLAIN ANALYZE saw: every scan of a large table ended at about its limit."""
    if history.database.is_sqlite:
        return
    with statements_of(history.database) as sent:
        await StatsStore(history.database, unsettled_max=LIMIT, counted_max=LIMIT).standings()
        await PaceStore(history.database, counted=LIMIT, looked_at=LIMIT).stretches(EDGES)
    async with history.database.reading() as connection:
        for statement, parameters in sent:
            if not statement.startswith(("SELECT", "WITH")) or "set_config" in statement:
                continue
            explained = await connection.exec_driver_sql(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", parameters)
            for scan in scans(explained.scalar_one()[0]["Plan"]):
                touched = (scan["Actual Rows"] + scan.get("Rows Removed by Filter", 0)) * scan["Actual Loops"]
                assert touched <= LIMIT * (len(EDGES) - 1), json.dumps(scan)


def scans(node: dict[str, object]) -> list[dict[str, float]]:
    below = [scan for child in node.get("Plans", []) for scan in scans(child)]  # type: ignore[attr-defined]
    return [node, *below] if "Scan" in str(node["Node Type"]) and "Relation Name" in node else below  # type: ignore[list-item]


async def plan(database: Database, statement: str, parameters: object) -> str:
    async with database.writing() as connection:
        return await plan_of(connection, statement, parameters) if statement.lstrip().startswith(("SELECT", "WITH")) else ""


def assert_no_table_is_read_whole(plan: str) -> None:
    """Receivers that fail, and days of tenants, are few; the others are not."""
    large = "jobs|submissions|deliveries|images|events"
    assert not re.search(rf"Seq Scan on ({large})\b|SCAN ({large})(\s|$)(?!.*INDEX)", plan, re.MULTILINE), plan
