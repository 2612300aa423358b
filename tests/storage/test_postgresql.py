"""What only PostgreSQL can do to us: go away in the middle of something, and remember rows that are long over."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError, ProgrammingError
from sqlalchemy.ext.asyncio import AsyncConnection

from app.errors import StorageUnavailableError
from app.lifecycle.answers import Accepted
from app.lifecycle.gate import GatePolicy
from app.lifecycle.news import Answered, CancelAsked
from app.lifecycle.ownership import new_token
from app.lifecycle.states import JobState
from app.storage.database import Database
from app.storage.due import DueStore
from app.storage.gate_row import GateStore, lock_gate
from app.storage.lives import lock
from tests.databases import OpenDatabase, throwaway_server
from tests.storage.factory import Factory, HandClock, queue_of, succeeded
from tests.storage.watch import (
    blocked_statements,
    end_blocked_connections,
    end_other_connections,
    no_other_connections,
    statements_of,
)


@pytest.fixture
def database_url(postgres_url: str) -> str:
    return postgres_url


@pytest.fixture
async def operator(postgres_url: str, open_database: OpenDatabase) -> Database:
    """Somebody else's connections to the same database."""
    return open_database(postgres_url)


async def test_a_connection_lost_between_two_statements_is_an_absent_database(
    database: Database, operator: Database, factory: Factory
) -> None:
    (life,) = await factory.queued()
    with pytest.raises(StorageUnavailableError):
        async with database.writing() as connection:
            await connection.execute(text("UPDATE jobs SET cancel_requested = true"))
            await end_other_connections(operator)
            await no_other_connections(operator)
            await connection.execute(text("SELECT 1"))
    assert await factory.find(life.job.job_id) == life


async def test_a_connection_lost_before_the_commit_is_an_absent_database(
    database: Database, operator: Database, factory: Factory
) -> None:
    (life,) = await factory.queued()
    with pytest.raises(StorageUnavailableError):
        async with database.writing() as connection:
            await connection.execute(text("UPDATE jobs SET cancel_requested = true"))
            await end_other_connections(operator)
            await no_other_connections(operator)
    assert await factory.find(life.job.job_id) == life


async def test_a_connection_lost_while_a_statement_waits_is_an_absent_database(
    database: Database, operator: Database, factory: Factory, postgres_url: str, open_database: OpenDatabase
) -> None:
    (life,) = await factory.queued()
    holder = open_database(postgres_url)
    async with holder.writing() as held:
        await lock(held, [life.job.job_id])
        waiting = asyncio.create_task(factory.apply((life.job.job_id, CancelAsked())))
        await blocked_statements(operator, 1)
        await end_blocked_connections(operator)
        with pytest.raises(StorageUnavailableError):
            await waiting
    (change,) = await factory.apply((life.job.job_id, CancelAsked()))
    assert change is not None
    assert change.after.job.state is JobState.CANCELED


async def test_connections_lost_while_nobody_used_them_are_not_noticed(
    database: Database, operator: Database, factory: Factory
) -> None:
    lives = await factory.queued(3)
    await asyncio.gather(*(factory.find(life.job.job_id) for life in lives))
    await end_other_connections(operator)
    await no_other_connections(operator)
    for life in lives:
        assert await factory.find(life.job.job_id) == life


async def test_an_ended_claim_leaves_the_gate_and_the_queue_as_they_were(
    database: Database, operator: Database, factory: Factory, clock: HandClock
) -> None:
    (life,) = await factory.queued()
    gate, policy = await GateStore(database).read(), GatePolicy()
    async with operator.writing() as held:
        await lock_gate(held)
        claim = asyncio.create_task(queue_of(database).claim_due(1, policy, factory.decide, new_token))
        await blocked_statements(operator, 1)
        await end_blocked_connections(operator)
        with pytest.raises(StorageUnavailableError):
            await claim
    assert (await factory.find(life.job.job_id), await GateStore(database).read()) == (life, gate)
    assert len((await queue_of(database).claim_due(1, policy, factory.decide, new_token)).taken) == 1


async def test_a_statement_that_takes_too_long_is_an_absent_database(database: Database) -> None:
    with pytest.raises(StorageUnavailableError, match="statement timeout"):
        async with database.writing() as connection:
            await connection.execute(text("SET LOCAL statement_timeout = 20"))
            await connection.execute(text("SELECT pg_sleep(30)"))
    await database.ping()


async def test_statements_and_forgotten_transactions_are_bounded(database: Database) -> None:
    async with database.reading() as connection:
        for setting, value in (("statement_timeout", "15s"), ("idle_in_transaction_session_timeout", "30s")):
            assert (await connection.execute(text(f"SHOW {setting}"))).scalar_one() == value


async def test_a_transaction_that_idled_too_long_is_an_absent_database(database: Database, operator: Database) -> None:
    with pytest.raises(StorageUnavailableError):
        async with database.writing() as connection:
            await connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 20"))
            await no_other_connections(operator)
            await connection.execute(text("SELECT 1"))
    await database.ping()


async def test_a_lock_that_could_not_be_had_is_an_absent_database(database: Database, operator: Database) -> None:
    async with operator.writing() as held:
        await lock_gate(held)
        with pytest.raises(StorageUnavailableError, match="lock timeout"):
            async with database.writing() as connection:
                await connection.execute(text("SET LOCAL lock_timeout = 20"))
                await lock_gate(connection)


async def test_a_deadlock_of_others_making_is_an_absent_database(database: Database, operator: Database) -> None:
    @asynccontextmanager
    async def holding(opened: Database, name: str) -> AsyncIterator[AsyncConnection]:
        async with opened.writing() as connection:
            await connection.execute(text("SET LOCAL deadlock_timeout = 20"))
            await take(connection, name)
            yield connection

    async def take(connection: AsyncConnection, name: str) -> None:
        await connection.execute(text("SELECT pg_advisory_xact_lock(hashtext(:name))"), {"name": name})

    ready = asyncio.Barrier(2)

    async def cross(opened: Database, first: str, second: str) -> None:
        async with holding(opened, first) as connection:
            await ready.wait()
            await take(connection, second)

    results = await asyncio.gather(cross(database, "a", "b"), cross(operator, "b", "a"), return_exceptions=True)
    assert sorted(type(r).__name__ for r in results) == ["NoneType", "StorageUnavailableError"]


@pytest.mark.parametrize(
    ("statement", "error"),
    [
        ("SELECT nonsense", ProgrammingError),
        ("INSERT INTO tenants (name, created_at) VALUES (NULL, now())", IntegrityError),
    ],
)
async def test_a_fault_of_our_own_is_not_called_an_absent_database(
    database: Database, statement: str, error: type[Exception]
) -> None:
    with pytest.raises(error):
        async with database.writing() as connection:
            await connection.execute(text(statement))
    await database.ping()


async def test_a_cut_off_caller_leaves_nothing_and_gives_its_connection_back(database: Database, operator: Database) -> None:
    async def write_and_hang() -> None:
        async with database.writing() as connection:
            await connection.execute(text("INSERT INTO tenants (name, created_at) VALUES ('half', now())"))
            await lock_gate(connection)

    async with operator.writing() as held:
        await lock_gate(held)
        task = asyncio.create_task(write_and_hang())
        await blocked_statements(operator, 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    async with database.writing() as connection:
        assert (await connection.execute(text("SELECT count(*) FROM tenants"))).scalar_one() == 0
    assert database._writer.pool.checkedout() == 0  # type: ignore[attr-defined]


async def test_the_time_is_the_databases(database: Database, operator: Database, clock: HandClock) -> None:
    async with operator.reading() as connection:
        first = await operator.now(connection)
        second = await operator.now(connection)
        theirs = (await connection.execute(text("SELECT clock_timestamp()"))).scalar_one()
    assert first < second < theirs
    async with database.reading() as connection:
        assert await database.now(connection) == clock.now


# --- a server that is gone -----------------------------------------------------------------------------------------------


async def test_a_restart_of_the_server_is_survived(open_database: OpenDatabase, clock: HandClock) -> None:
    from app.storage import schema

    with throwaway_server() as server:
        database = open_database(server.url.render_as_string(), clock=clock)
        await schema.upgrade(database)
        factory = Factory(database)
        lives = await factory.queued(3)
        with pytest.raises(StorageUnavailableError):
            async with database.writing() as connection:
                await connection.execute(text("UPDATE jobs SET cancel_requested = true"))
                await asyncio.to_thread(server.stop)
                await connection.execute(text("SELECT 1"))
        calls: list[Callable[[], Awaitable[object]]] = [
            database.ping,
            factory.queued,
            lambda: factory.find(lives[0].job.job_id),
            lambda: schema.current(database),
        ]
        for call in calls:
            with pytest.raises(StorageUnavailableError):
                await call()
        await asyncio.to_thread(server.start)
        for life in lives:
            assert await factory.find(life.job.job_id) == life
        await factory.in_state(JobState.SUCCEEDED)
        await database.dispose()


async def test_a_server_that_never_was_is_an_absent_database(open_database: OpenDatabase, unused_tcp_port: int) -> None:
    with pytest.raises(StorageUnavailableError):
        await open_database(f"postgresql://nobody@127.0.0.1:{unused_tcp_port}/nothing").ping()


async def test_an_old_snapshot_elsewhere_does_not_make_claims_walk_over_all_that_is_done(
    database: Database, operator: Database, clock: HandClock, postgres_url: str
) -> None:
    """PostgreSQL keeps every row version that the snapshot may see; only a look back, once a second, walks over them."""
    factory, generous = Factory(database), GatePolicy(max_in_flight=1000, submit_rate=1e6, status_rate=1e6)
    queue, due = queue_of(database), DueStore(database)

    async def look() -> int:
        """Pages that the claims' searches touch."""
        with statements_of(database) as sent:
            await queue.claim_due(10, generous, factory.decide, new_token)
            await due.claim_due(10, generous, factory.policy)
        searches = [(s, p) for s, p in sent if re.search(r"SKIP LOCKED|count\(\*\)|min\(", s)]
        assert len(searches) >= 5
        async with operator.reading() as connection:
            return sum([await pages_of(connection, statement, parameters) for statement, parameters in searches])

    with psycopg.connect(postgres_url) as report:
        report.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        report.execute("SELECT count(*) FROM jobs")
        for _ in range(15):
            lives = await factory.queued(100)
            clock.advance(seconds=30)
            await queue.claim_due(100, generous, factory.decide, new_token)
            ids = [life.job.job_id for life in lives]
            await factory.apply(*((i, Answered(1, Accepted(str(i)))) for i in ids))
            clock.advance(seconds=30)
            await due.claim_due(100, generous, factory.policy)
            await factory.apply(*((i, succeeded(str(i))) for i in ids))
        clock.advance(seconds=5)
        look_back = await look()
        ahead = await look()
    assert ahead * 8 < look_back, (ahead, look_back)


async def pages_of(connection: AsyncConnection, statement: str, parameters: object) -> int:
    plan = await connection.exec_driver_sql(f"EXPLAIN (ANALYZE, BUFFERS) {statement}", parameters)  # type: ignore[arg-type]
    lines = [row[0] for row in plan.all()]
    touched = next(line for line in lines if "Buffers:" in line)
    return sum(int(found) for found in re.findall(r"(?:hit|read)=(\d+)", touched))
