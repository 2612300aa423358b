"""The statements that run often are served by their indexes, however much history lies beside them."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from itertools import product
from typing import Any

import pytest
from uuid_utils.compat import uuid7

from app.lifecycle.gate import GatePolicy, Shut, shut_checks
from app.lifecycle.ownership import hash_token, new_token
from app.lifecycle.states import JobState
from app.storage.database import Database
from app.storage.due import DueStore
from app.storage.gate_row import GateStore
from app.storage.history import HistoryStore
from app.storage.intake import IntakeStore, Order
from app.storage.job_filter import JobFilter
from app.storage.lives import LifeStore
from app.storage.receipts import Receipt, ReceiptStore
from app.storage.search import Key
from tests.storage.factory import START, Factory, HandClock, new_job, queue_of, take
from tests.storage.watch import plan_of, statements_of

POLICY = GatePolicy(max_in_flight=200, submit_rate=1e6, status_rate=1e6)
HISTORY, IN_FLIGHT, QUEUED = 6000, 60, 60
PAGES = [
    (None, None, "jobs_newest"),
    ("acme", None, "jobs_tenant_newest"),
    (None, JobState.FAILED, "jobs_state_newest"),
    ("acme", JobState.FAILED, r"jobs_tenant_(state_)?newest"),
]
KEY = (START - timedelta(seconds=HISTORY / 2), uuid7())


@pytest.fixture
async def history(factory: Factory, clock: HandClock) -> Factory:
    """Much that is over, and a little that is not."""
    sqlite = factory.database.is_sqlite
    async with factory.database.writing() as connection:
        await connection.exec_driver_sql(_jobs_over(sqlite))
        await connection.exec_driver_sql(_submissions_over(sqlite))
    await factory.queued(IN_FLIGHT)
    policy = GatePolicy(max_in_flight=IN_FLIGHT, submit_rate=1e6, status_rate=1e6)
    await queue_of(factory.database).claim_due(IN_FLIGHT, policy, factory.decide, new_token)
    await factory.queued(QUEUED)
    clock.advance(minutes=5)
    if not sqlite:
        async with factory.database.writing() as connection:
            await connection.exec_driver_sql("ANALYZE")
    return factory


def _jobs_over(sqlite: bool) -> str:
    """One in twenty failed, one in a hundred is acme's."""
    at = "1767323045678901 - n * 1000000" if sqlite else f"timestamptz '{START.isoformat()}' - n * interval '1 second'"
    series = "WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {0}) " if sqlite else ""
    source = "s" if sqlite else "generate_series(1, {0}) AS n"
    job_id = "lower(hex(randomblob(16)))" if sqlite else "gen_random_uuid()"
    of = "%" if sqlite else "%%"
    blob = "x'00'" if sqlite else "'x'::bytea"
    return f"""
        INSERT INTO jobs (job_id, tenant, state, error_code, idempotency_key, created_at, updated_at, finished_at, submission,
            cancel_requested, prompt, size, seed, output_format, priority, metadata, fingerprint, images)
        {series}SELECT {job_id}, CASE n {of} 100 WHEN 0 THEN 'acme' ELSE 'umbrella' END,
            CASE n {of} 20 WHEN 0 THEN 'failed' ELSE 'succeeded' END, CASE n {of} 20 WHEN 0 THEN 'task_lost' END,
            'key-' || n, {at}, {at}, {at}, 1, false, 'a prompt', '1024*1024', -1, 'jpeg', 1, '{{{{}}}}', {blob}, '[]'
        FROM {source}""".format(HISTORY)


def _submissions_over(sqlite: bool) -> str:
    token_hash = "CAST(job_id AS BLOB)" if sqlite else "sha256(job_id::text::bytea)"
    return f"""
        INSERT INTO submissions (job_id, number, outcome, token_hash, sent_at, closed_at, task_id, credits, checks, callbacks,
            not_found_count, excused, candidates)
        SELECT job_id, 1, 'succeeded', {token_hash}, created_at, created_at, 'old-' || idempotency_key, 5, 1, 1, 0, 0, '[]'
        FROM jobs"""


async def plans(database: Database, work: Callable[[], Awaitable[Any]], pattern: str) -> list[str]:
    """The plans of the statements matching `pattern` that `work` sends."""
    with statements_of(database) as sent:
        await work()
    chosen = [(statement, parameters) for statement, parameters in sent if re.search(pattern, statement, re.DOTALL)]
    assert chosen, [statement for statement, _ in sent]
    async with database.writing() as connection:
        return [
            await plan_of(connection, statement, parameters[0] if _is_many(parameters) else parameters)
            for statement, parameters in chosen
        ]


def _is_many(parameters: Sequence[Any] | dict[str, Any]) -> bool:
    return isinstance(parameters, list)


def assert_served_by(plan: str, index: str, table: str) -> None:
    assert re.search(index, plan), plan
    assert not re.search(rf"Seq Scan on {table}|SCAN {table}$", plan, re.MULTILINE), plan


def assert_unsorted(plan: str) -> None:
    assert "TEMP B-TREE" not in plan, plan
    assert "Sort" not in plan, plan


async def test_a_claim_of_the_queue_walks_its_index_in_order(history: Factory) -> None:
    store = queue_of(history.database)
    found = await plans(
        history.database, lambda: store.claim_due(10, POLICY, history.decide, new_token), r"ORDER BY jobs.due_at, jobs.job_id"
    )
    assert found
    for plan in found:
        assert_served_by(plan, "jobs_lanes", "jobs")
        assert_unsorted(plan)


async def test_a_later_claim_begins_where_the_one_before_ended(history: Factory) -> None:
    store = queue_of(history.database)
    await store.claim_due(10, POLICY, history.decide, new_token)
    found = await plans(
        history.database,
        lambda: store.claim_due(10, POLICY, history.decide, new_token),
        r"due_at >= .*ORDER BY jobs.due_at, jobs.job_id",
    )
    assert found
    for plan in found:
        assert_served_by(plan, "jobs_lanes", "jobs")
        assert_unsorted(plan)


async def test_lanes_are_found_by_hops_along_their_index(history: Factory) -> None:
    store = queue_of(history.database)
    (plan,) = await plans(history.database, lambda: store.claim_due(10, POLICY, history.decide, new_token), r"RECURSIVE lane")
    assert len(re.findall("jobs_lanes", plan)) == 2, plan
    assert not re.search(r"Seq Scan on jobs|SCAN jobs$|SCAN next$", plan, re.MULTILINE), plan


async def test_what_is_in_flight_is_counted_in_its_index(history: Factory) -> None:
    store = queue_of(history.database)
    (plan,) = await plans(history.database, lambda: store.claim_due(10, POLICY, history.decide, new_token), r"count\(\*\)")
    assert_served_by(plan, "submissions_open", "submissions")


async def test_the_next_due_of_the_queue_is_found_in_its_index(history: Factory) -> None:
    store, patient = queue_of(history.database), GatePolicy(max_in_flight=10_000, submit_rate=1e6)
    await store.claim_due(1000, patient, history.decide, new_token)
    (plan,) = await plans(
        history.database, lambda: store.claim_due(10, patient, history.decide, new_token), r"min\(jobs.due_at\)"
    )
    assert_served_by(plan, "jobs_queue", "jobs")


async def test_the_deadline_of_the_queue_walks_the_ages(history: Factory) -> None:
    store = queue_of(history.database)
    (plan,) = await plans(
        history.database, lambda: store.drop_overdue(timedelta(days=1), history.decide), r"ORDER BY jobs.created_at"
    )
    assert_served_by(plan, r"(jobs_queue_age|COVERING INDEX jobs_state_newest \(state=\? AND created_at<\?\))", "jobs")
    assert_unsorted(plan)


async def test_a_claim_of_what_is_due_walks_its_index_in_order(history: Factory) -> None:
    store = DueStore(history.database)
    (plan,) = await plans(
        history.database, lambda: store.claim_due(100, POLICY, history.policy), r"FROM submissions.*ORDER BY submissions.due_at"
    )
    assert_served_by(plan, "submissions_due", "submissions")
    assert_unsorted(plan)


async def test_lost_senders_are_found_in_their_index(history: Factory) -> None:
    store = DueStore(history.database)
    (plan,) = await plans(
        history.database, lambda: store.claim_due(10, POLICY, history.policy), r"ORDER BY submissions.lease_until"
    )
    assert_served_by(plan, "submissions_leased", "submissions")
    assert_unsorted(plan)


async def test_waits_that_are_over_are_found_among_the_unconfirmed_jobs_while_checks_are_shut(history: Factory) -> None:
    await GateStore(history.database).change(lambda gate, now: shut_checks(gate, Shut.BAD_KEY, now, POLICY))
    store = DueStore(history.database)
    for statement in (r"unconfirmed.*ORDER BY submissions.due_at", r"min\(submissions.due_at\).*unconfirmed"):
        (plan,) = await plans(history.database, lambda: store.claim_due(100, POLICY, history.policy), statement)
        assert_served_by(plan, "jobs_state_newest", "jobs")


async def test_a_lease_touches_only_the_rows_that_it_takes(history: Factory) -> None:
    store = DueStore(history.database)
    (plan,) = await plans(history.database, lambda: store.claim_due(10, POLICY, history.policy), r"^UPDATE submissions SET")
    assert_served_by(plan, r"(submissions_pk|sqlite_autoindex_submissions_\d)", "submissions")


async def test_the_next_due_check_is_found_in_its_index(history: Factory) -> None:
    store = DueStore(history.database)
    (plan,) = await plans(history.database, lambda: store.claim_due(100, POLICY, history.policy), r"min\(submissions.due_at\)")
    assert_served_by(plan, "submissions_due", "submissions")


async def test_pages_walk_their_indexes_from_their_places(history: Factory) -> None:
    store = HistoryStore(history.database)
    for after, (tenant, state, index) in product((None, KEY), PAGES):
        states = [state] if state else []

        async def page(after: Key | None = after, tenant: str | None = tenant, states: list[JobState] = states) -> None:
            wanted = JobFilter(tenant=tenant, states=tuple(states))
            assert len((await store.page(wanted, limit=20, after=after)).lives) > 10

        (plan,) = await plans(history.database, page, r"FROM jobs.*ORDER BY")
        assert_served_by(plan, index, "jobs")
        assert_unsorted(plan)
        if after is not None:
            assert re.search(r"Index Cond: .*ROW\(created_at, job_id\) <|\(created_at,job_id\)<", plan), plan


async def test_pages_of_several_states_walk_an_index_a_state(history: Factory) -> None:
    store = HistoryStore(history.database)
    for after, tenant in product((None, KEY), (None, "acme")):

        async def page(after: Key | None = after, tenant: str | None = tenant) -> None:
            wanted = JobFilter(tenant=tenant, states=(JobState.SUCCEEDED, JobState.FAILED))
            assert len((await store.page(wanted, limit=20, after=after)).lives) == 20

        (plan,) = await plans(history.database, page, r"FROM jobs.*ORDER BY")
        walked = re.findall(r"jobs_(?:tenant_)?(?:state_)?newest", plan)
        assert len(walked) == 2, plan
        assert_served_by(plan, r"(jobs_pk|sqlite_autoindex_jobs_\d)", "jobs")


async def test_news_finds_its_jobs_by_their_ids(history: Factory) -> None:
    (life,) = (await HistoryStore(history.database).page(limit=1)).lives
    for statement_plan in await plans(
        history.database, lambda: LifeStore(history.database).find(life.job.job_id), r"FROM jobs"
    ):
        assert_served_by(statement_plan, r"(jobs_pk|sqlite_autoindex_jobs_\d)", "jobs")


async def test_a_callback_finds_its_submission_by_its_token(history: Factory) -> None:
    store = ReceiptStore(history.database)
    receipts = [Receipt(hash_token(str(n)), None, None, 0, "") for n in range(3)]
    (plan,) = await plans(
        history.database,
        lambda: store.receive(receipts, history.decide, timedelta(days=1)),
        r"FROM submissions\s+WHERE submissions.token_hash",
    )
    assert_served_by(plan, r"(submissions_token_hash_key|sqlite_autoindex_submissions_\d)", "submissions")


async def test_an_idempotency_key_is_found_by_its_index(history: Factory) -> None:
    jobs = [new_job(idempotency_key="key-100", tenant="acme"), new_job(idempotency_key="key-200", tenant="acme")]
    (plan,) = await plans(history.database, lambda: take(history.database, jobs), r"FROM jobs\s+WHERE \(jobs.tenant")
    assert_served_by(plan, "jobs_idempotency_key", "jobs")


async def test_the_recently_read_are_found_by_their_index(history: Factory) -> None:
    store = HistoryStore(history.database)
    (plan,) = await plans(history.database, lambda: store.recently_read(timedelta(minutes=10)), r"FROM submissions")
    assert_served_by(plan, "submissions_closed", "submissions")
    assert_unsorted(plan)


async def test_the_newest_result_to_reuse_is_found_at_once_however_often_it_was_reused(history: Factory) -> None:
    sqlite = history.database.is_sqlite
    kept = """INSERT INTO images (job_id, "index", source_url, state, attempts, created_at, sha256)
        SELECT job_id, 0, 'https://pictures.example/1', 'stored', 1, created_at, 'ab' FROM jobs WHERE state = 'succeeded'"""
    async with history.database.writing() as connection:
        await connection.exec_driver_sql("UPDATE jobs SET request_hash = fingerprint WHERE state = 'succeeded'")
        await connection.exec_driver_sql(kept)
        if not sqlite:
            await connection.exec_driver_sql("ANALYZE")
    store = IntakeStore(history.database)
    order = Order((new_job(tenant="umbrella", request_hash=b"\0" if sqlite else b"x"),), frozenset({0}))
    (plan,) = await plans(history.database, lambda: store.take([order]), "ORDER BY jobs.created_at DESC")
    assert_served_by(plan, "jobs_reusable", "jobs")
    assert_unsorted(plan)
