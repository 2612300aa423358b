"""The migrations make the schema that the code describes, on both databases, and can be undone."""

from __future__ import annotations

import asyncio
import sys
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, insert, inspect, text, update
from sqlalchemy.exc import IntegrityError
from structlog.testing import capture_logs

from app.errors import StorageUnavailableError
from app.storage import schema
from app.storage import tables as t
from app.storage.database import MIGRATION_LOCK_TIMEOUT, Database
from app.storage.gate_row import GateStore
from tests.databases import OpenDatabase, Postgres
from tests.storage.factory import Factory
from tests.storage.watch import statements_of

NOW = datetime(2026, 1, 2, tzinfo=UTC)

#: What a database says of itself. Names and expressions are its own, so they are compared with its own.
_CATALOGUE = {
    "sqlite": "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL AND type = 'index'",
    "postgresql": """
        SELECT conrelid::regclass::text || '.' || conname, pg_get_constraintdef(oid) FROM pg_constraint
        WHERE connamespace = 'public'::regnamespace
        UNION ALL SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'""",
}


@pytest.fixture
def empty(empty_database_url: str, open_database: OpenDatabase) -> Database:
    return open_database(empty_database_url)


async def tables_of(database: Database) -> set[str]:
    async with database.reading() as connection:
        return set(await connection.run_sync(lambda c: inspect(c).get_table_names()))


async def test_an_empty_database_comes_up_to_date_goes_back_and_comes_again(empty: Database) -> None:
    assert await schema.current(empty) is None
    for _ in range(2):
        await schema.upgrade(empty)
        assert await schema.current(empty) == schema.newest()
        assert await tables_of(empty) == {*t.metadata.tables, "alembic_version"}
        assert (await GateStore(empty).read()).shut is None
        await Factory(empty).queued()
        await schema.downgrade(empty, "base")
        assert await schema.current(empty) is None
        assert await tables_of(empty) == {"alembic_version"}


async def test_an_upgrade_of_what_is_up_to_date_changes_nothing(database: Database) -> None:
    (life,) = await Factory(database).queued()
    await schema.upgrade(database)
    assert await Factory(database).find(life.job.job_id) == life


def test_an_older_schema_does_not_fit_and_a_later_releases_does() -> None:
    newest = schema.newest()
    later = f"{int(newest) + 1:04}"
    assert [schema.fits(r) for r in (None, "0000", newest, later)] == [False, False, True, True]
    assert [schema.is_later(r) for r in (None, "0000", newest, later)] == [False, False, False, True]


@pytest.mark.parametrize("revision", ["another", "99999", "1975", "0x10", "", " 0099", "٠٠٩٩"])
async def test_a_revision_that_no_release_left_does_not_fit(empty: Database, revision: str) -> None:
    async with empty.writing() as connection:
        await connection.execute(text("CREATE TABLE alembic_version (version_num text)"))
        await connection.execute(text("CREATE TABLE jobs (job_id text)"))
        await connection.execute(text("INSERT INTO alembic_version VALUES (:revision)"), {"revision": revision})
    assert await schema.unfit(empty)


async def test_a_later_schema_fits_while_it_has_all_that_this_code_knows(database: Database) -> None:
    await _say_that_it_is_later(database)
    async with database.writing() as connection:
        await connection.execute(text("ALTER TABLE audit ADD COLUMN of_a_later_release integer"))
    assert await schema.unfit(database) is None
    async with database.writing() as connection:
        await connection.execute(text("ALTER TABLE audit RENAME COLUMN data TO facts"))
    assert "audit.data" in (await schema.unfit(database) or "")
    async with database.writing() as connection:
        await connection.execute(text("DROP TABLE audit"))
    assert "lacks audit:" in (await schema.unfit(database) or "")


async def _say_that_it_is_later(database: Database) -> str:
    later = f"{int(schema.newest()) + 1:04}"
    async with database.writing() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = :later"), {"later": later})
    return later


def test_revisions_are_numbered_in_their_order() -> None:
    walked = list(ScriptDirectory.from_config(schema._config()).walk_revisions())
    assert [script.revision for script in reversed(walked)] == [f"{n:04}" for n in range(1, len(walked) + 1)]


async def test_a_schema_of_a_later_release_is_left_as_it_is(database: Database) -> None:
    later = await _say_that_it_is_later(database)
    await schema.upgrade(database)
    assert await schema.current(database) == later
    await Factory(database).queued()


def test_there_is_one_head_and_one_base() -> None:
    scripts = ScriptDirectory.from_config(schema._config())
    assert scripts.get_heads() == [schema.newest()]
    assert len(scripts.get_bases()) == 1


async def test_the_models_are_what_the_migrations_make(database: Database) -> None:
    def differences(connection: Connection) -> list[Any]:
        options = {"compare_type": True, "compare_server_default": True}
        return compare_metadata(MigrationContext.configure(connection, opts=options), t.metadata)

    async with database.reading() as connection:
        assert await connection.run_sync(differences) == []


async def test_constraints_and_conditions_of_indexes_are_what_the_models_say(
    empty_database_url: str, open_database: OpenDatabase
) -> None:
    """Alembic compares neither."""
    database = open_database(empty_database_url)
    await schema.upgrade(database)
    migrated = await _described(database)
    await schema.downgrade(database, "base")
    async with database.writing() as connection:
        await connection.run_sync(t.metadata.create_all)
    assert migrated == await _described(database)


async def _described(database: Database) -> tuple[dict[str, str], dict[str, Any]]:
    def checks(connection: Connection) -> dict[str, Any]:
        inspector = inspect(connection)
        return {
            f"{table}.{check['name']}": check["sqltext"]
            for table in t.metadata.tables
            for check in inspector.get_check_constraints(table)
        }

    async with database.reading() as connection:
        rows = await connection.execute(text(_CATALOGUE[database.url.get_backend_name()]))
        catalogue = {name: definition for name, definition in rows if "alembic_version" not in name}
        return catalogue, await connection.run_sync(checks)


async def test_upgrades_of_several_processes_at_once_are_safe(
    empty: Database, empty_database_url: str, pytestconfig: pytest.Config
) -> None:
    upgrade = (sys.executable, "-c", "import sys; from tests.databases import migrate; migrate(sys.argv[1])")
    processes = [
        await asyncio.create_subprocess_exec(*upgrade, empty_database_url, cwd=pytestconfig.rootpath) for _ in range(3)
    ]
    assert [await process.wait() for process in processes] == [0, 0, 0]
    assert await schema.current(empty) == schema.newest()
    await GateStore(empty).read()


async def test_an_upgrade_waits_for_the_one_that_is_under_way(postgres: Postgres, open_database: OpenDatabase) -> None:
    with postgres.fresh(empty=True) as url:
        first, second, watcher = (open_database(url) for _ in range(3))
        async with first.migrating():
            with statements_of(second) as sent:
                waiting = asyncio.create_task(schema.upgrade(second))
                while sum("pg_try_advisory_lock" in statement for statement, _ in sent) < 2:
                    assert await tables_of(watcher) == set()
        await waiting
        assert await schema.current(watcher) == schema.newest()
        for database in (first, second, watcher):
            await database.dispose()


async def test_an_upgrade_that_cannot_have_its_lock_gives_way_and_holds_nobody_up(
    postgres_url: str, open_database: OpenDatabase
) -> None:
    """A change of a table waits for those who read it, and everybody else behind it: so it must not wait long."""
    migrating, others = open_database(postgres_url), open_database(postgres_url)
    await schema.downgrade(migrating, "0001")
    with psycopg.connect(postgres_url) as report, capture_logs() as logs:
        report.execute("SELECT count(*) FROM jobs")  # its lock lasts as long as its transaction
        waiting = asyncio.create_task(schema.upgrade(migrating))
        while not logs:
            async with others.reading() as connection:  # nobody is cancelled by a statement's limit meanwhile
                await connection.execute(text("SELECT job_id FROM jobs"))
        assert not waiting.done()
        assert await schema.current(others) == "0001"
    await waiting
    assert {line["event"] for line in logs} == {"the schema waits for a lock that somebody holds"}
    assert await schema.current(others) == schema.newest()


async def test_an_upgrade_succeeds_beside_those_who_write(postgres_url: str, open_database: OpenDatabase) -> None:
    """They hold rows and then change them: locks that are taken one by one would go crosswise with theirs."""
    migrating = open_database(postgres_url)
    await Factory(migrating).queued(4)
    await schema.downgrade(migrating, "0001")
    done = threading.Event()
    writers = [asyncio.create_task(asyncio.to_thread(_write_until, done, postgres_url)) for _ in range(4)]
    try:
        await schema.upgrade(migrating)
    finally:
        done.set()
        written = await asyncio.gather(*writers)
    assert await schema.current(migrating) == schema.newest()
    assert all(written)


async def test_an_upgrade_that_waits_leaves_most_of_the_time_to_the_writers(
    postgres_url: str, open_database: OpenDatabase
) -> None:
    """A try holds others up for `MIGRATION_LOCK_TIMEOUT` at most; between two, for several times as long, they get on."""
    migrating = open_database(postgres_url)
    await Factory(migrating).queued(1)
    await schema.downgrade(migrating, "0001")
    done = threading.Event()
    with psycopg.connect(postgres_url) as report, capture_logs() as logs:
        report.execute("SELECT count(*) FROM jobs")
        waiting = asyncio.create_task(schema.upgrade(migrating))
        writer = asyncio.create_task(asyncio.to_thread(_write_until, done, postgres_url))
        while len(logs) < 3:
            assert await schema.current(migrating) == "0001"
        done.set()
        assert await writer
    await waiting
    assert MIGRATION_LOCK_TIMEOUT == "300ms"
    assert min(line["again_in"] for line in logs) > 4 * 0.3


def _write_until(done: threading.Event, url: str) -> int:
    """Changes jobs as the gateway does; how often."""
    rounds = 0
    with psycopg.connect(url) as connection:
        while not done.is_set() or not rounds:
            for (job_id,) in connection.execute("SELECT job_id FROM jobs ORDER BY job_id FOR UPDATE").fetchall():
                connection.execute("UPDATE jobs SET updated_at = clock_timestamp() WHERE job_id = %s", [job_id])
            connection.commit()
            rounds += 1
    return rounds


async def test_an_upgrade_whose_patience_ends_leaves_the_schema_as_it_was(
    postgres_url: str, open_database: OpenDatabase
) -> None:
    migrating = open_database(postgres_url)
    await schema.downgrade(migrating, "0001")
    with psycopg.connect(postgres_url) as report:
        report.execute("SELECT count(*) FROM jobs")
        with pytest.raises(StorageUnavailableError):
            await schema.upgrade(migrating, patience=timedelta(0))
    assert await schema.current(migrating) == "0001"


async def test_an_index_that_a_failed_try_left_behind_is_made_anew(postgres_url: str, open_database: OpenDatabase) -> None:
    migrating = open_database(postgres_url)
    await schema.downgrade(migrating, "0002")
    with psycopg.connect(postgres_url, autocommit=True) as operator:
        operator.execute("CREATE INDEX jobs_finished ON jobs (tenant)")
        operator.execute("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'jobs_finished'::regclass")
    await schema.upgrade(migrating)
    with psycopg.connect(postgres_url) as operator:
        (definition,) = operator.execute("SELECT indexdef FROM pg_indexes WHERE indexname = 'jobs_finished'").fetchone() or (
            "",
        )
    assert "(finished_at, job_id)" in definition


async def test_an_upgrade_that_fails_leaves_the_database_as_it_was(empty: Database) -> None:
    async with empty.writing() as connection:
        await connection.execute(text("CREATE TABLE events (mine integer)"))
    with pytest.raises(Exception, match="already exists"):
        await schema.upgrade(empty)
    assert await tables_of(empty) - {"alembic_version"} == {"events"}
    assert await schema.current(empty) is None
    async with empty.writing() as connection:
        await connection.execute(text("DROP TABLE events"))
    await schema.upgrade(empty)
    assert await schema.current(empty) == schema.newest()


# --- the law of the states -----------------------------------------------------------------------------------------------

OPEN: dict[str, Any] = {
    "number": 1, "outcome": "open", "token_hash": b"t", "sent_at": NOW, "checks": 0, "callbacks": 0, "candidates": [],
    "not_found_count": 0, "excused": NOW - NOW,
}  # fmt: skip


@pytest.mark.parametrize(
    ("constraint", "nonsense"),
    [
        ("jobs_state_known", {"state": "lost", "due_at": None}),
        ("jobs_queued_is_due", {"due_at": None}),
        ("jobs_queued_is_due", {"state": "running", "submission": 1}),
        ("jobs_settled_is_over", {"state": "canceled", "due_at": None}),
        ("jobs_settled_is_over", {"finished_at": NOW}),
        ("jobs_failed_says_why", {"state": "failed", "due_at": None, "finished_at": NOW}),
        ("jobs_succeeded_has_no_error", {"state": "succeeded", "due_at": None, "finished_at": NOW, "error_code": "x"}),
        ("jobs_sent_has_submission", {"state": "submitting", "due_at": None}),
        ("jobs_sent_has_submission", {"state": "unconfirmed", "due_at": None}),
        ("jobs_sent_has_submission", {"state": "running", "due_at": None}),
    ],
)
async def test_a_job_that_cannot_be_is_refused(database: Database, constraint: str, nonsense: dict[str, Any]) -> None:
    (life,) = await Factory(database).queued()
    with pytest.raises(IntegrityError, match=constraint):
        async with database.writing() as connection:
            await connection.execute(update(t.jobs).values(**nonsense))
    assert await Factory(database).find(life.job.job_id) == life


@pytest.mark.parametrize(
    ("constraint", "nonsense"),
    [
        ("submissions_outcome_known", {"outcome": "lost", "closed_at": NOW}),
        ("submissions_number_positive", {"number": 0}),
        ("submissions_closed_has_a_time", {"closed_at": NOW}),
        ("submissions_closed_has_a_time", {"outcome": "unsent"}),
        ("submissions_lease_is_open", {"outcome": "unsent", "closed_at": NOW, "lease_until": NOW}),
        ("submissions_read_to_the_end_is_told", {"outcome": "succeeded", "closed_at": NOW, "credits": 5}),
        ("submissions_read_to_the_end_is_told", {"outcome": "failed", "closed_at": NOW, "task_id": "x"}),
        ("submissions_not_accepted_costs_nothing", {"outcome": "released", "closed_at": NOW, "credits": 5}),
        ("submissions_not_accepted_costs_nothing", {"outcome": "rejected", "closed_at": NOW, "task_id": "x"}),
        ("submissions_not_accepted_costs_nothing", {"outcome": "unsent", "closed_at": NOW, "credits": 0}),
    ],
)
async def test_a_submission_that_cannot_be_is_refused(database: Database, constraint: str, nonsense: dict[str, Any]) -> None:
    (life,) = await Factory(database).queued()
    row = {**OPEN, "job_id": life.job.job_id}
    with pytest.raises(IntegrityError, match=constraint):
        async with database.writing() as connection:
            await connection.execute(insert(t.submissions), [{**row, **nonsense}])
    async with database.writing() as connection:
        await connection.execute(insert(t.submissions), [row])


async def test_tokens_and_task_ids_are_nobody_elses(database: Database) -> None:
    lives = await Factory(database).queued(2)
    for shared in ({"token_hash": b"same"}, {"task_id": "same"}):
        rows = [{**OPEN, "job_id": life.job.job_id, "token_hash": life.job.job_id.bytes, **shared} for life in lives]
        with pytest.raises(IntegrityError, match=r"(?i)unique"):
            async with database.writing() as connection:
                await connection.execute(insert(t.submissions), rows)


async def test_there_is_one_gate(database: Database) -> None:
    with pytest.raises(IntegrityError, match="gate_single_row"):
        async with database.writing() as connection:
            await connection.execute(insert(t.gate), [{"gate_id": 2}])


async def test_what_belongs_to_a_job_goes_with_it(database: Database) -> None:
    from app.lifecycle.states import JobState

    factory = Factory(database)
    goes, stays = await factory.in_state(JobState.SUCCEEDED), await factory.in_state(JobState.SUCCEEDED)
    async with database.writing() as connection:
        await connection.execute(t.jobs.delete().where(t.jobs.c.job_id == goes.job.job_id))
        for table in (t.submissions, t.events):
            left = set((await connection.execute(table.select().with_only_columns(table.c.job_id))).scalars())
            assert left == {stays.job.job_id}
