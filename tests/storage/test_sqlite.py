"""What SQLite is asked to keep: every commit, one writer, one process."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from app.errors import AlreadyRunningError, StorageUnavailableError
from app.lifecycle.news import CancelAsked
from app.storage.database import Database
from app.storage.grouped import GroupedWriter
from app.storage.lives import LifeStore
from app.storage.process_lock import only_process
from tests.databases import OpenDatabase
from tests.storage.factory import Factory, all_lives, new_job, take


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    return sqlite_url


async def pragma(database: Database, name: str, *, writer: bool) -> object:
    """What every connection that writes, or that reads, answers."""

    async def ask(connection: AsyncConnection) -> object:
        return (await connection.execute(text(f"PRAGMA {name}"))).scalar_one()

    async with database.writing() if writer else database.reading() as connection:
        told = await ask(connection)
    if writer:
        assert await database.transact(ask) == told
    return told


@pytest.mark.parametrize("writer", [True, False], ids=["writer", "reader"])
async def test_every_connection_keeps_what_is_committed_and_whom_it_refers_to(database: Database, writer: bool) -> None:
    assert await pragma(database, "journal_mode", writer=writer) == "wal"
    assert await pragma(database, "synchronous", writer=writer) == 2  # FULL
    assert await pragma(database, "foreign_keys", writer=writer) == 1
    assert await pragma(database, "busy_timeout", writer=writer) == 30000


async def test_what_is_done_in_one_go_may_not_wait_for_anything_else(database: Database) -> None:
    async def work(connection: AsyncConnection) -> None:
        await connection.execute(text("INSERT INTO tenants (name, created_at) VALUES ('half', 0)"))
        await asyncio.sleep(0)

    with pytest.raises(RuntimeError, match="waited"):
        await database.transact(work)
    async with database.reading() as connection:
        assert (await connection.execute(text("SELECT count(*) FROM tenants WHERE name = 'half'"))).scalar_one() == 0


async def test_readers_cannot_write(database: Database) -> None:
    with pytest.raises(StorageUnavailableError, match="readonly"):
        async with database.reading() as connection:
            await connection.execute(text("INSERT INTO tenants (name, created_at) VALUES ('x', 0)"))


async def test_a_row_that_refers_to_nothing_is_refused(database: Database) -> None:
    with pytest.raises(IntegrityError, match="FOREIGN KEY"):
        async with database.writing() as connection:
            await connection.execute(
                text("INSERT INTO events (job_id, at, type, data) VALUES (:job_id, 0, 'x', '{}')"), {"job_id": "0" * 32}
            )


async def test_a_writer_that_reads_first_is_never_told_that_the_database_is_busy(
    database: Database, sqlite_url: str, open_database: OpenDatabase
) -> None:
    """A deferred transaction that read a snapshot could not become a writer once another had written, however long it waits."""
    await take(database, [new_job()])
    count = text("SELECT count(*) FROM tenants")

    async def read_then_write(opened: Database, name: str) -> int:
        async with opened.writing() as connection:
            seen: int = (await connection.execute(count)).scalar_one()
            row = {"name": f"{name}-{seen}"}
            await connection.execute(text("INSERT INTO tenants (name, created_at) VALUES (:name, 0)"), row)
            return seen

    other = open_database(sqlite_url)
    seen = await asyncio.gather(*(read_then_write(d, "tenant") for d in (database, other) for _ in range(10)))
    assert sorted(seen) == list(range(20))


async def test_readers_do_not_wait_for_the_writer_and_see_what_is_committed(database: Database, factory: Factory) -> None:
    life, *_ = await factory.queued()
    async with database.writing() as connection:
        await connection.execute(text("UPDATE jobs SET cancel_requested = 1"))
        assert await factory.find(life.job.job_id) == life
    assert (await factory.find(life.job.job_id)).job.cancel_requested


async def test_a_writer_that_is_cut_off_leaves_nothing_and_lets_the_next_one_in(database: Database) -> None:
    entered = asyncio.Event()

    async def write_and_hang() -> None:
        async with database.writing() as connection:
            await connection.execute(text("INSERT INTO tenants (name, created_at) VALUES ('half', 0)"))
            entered.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(write_and_hang())
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with database.writing() as connection:
        assert (await connection.execute(text("SELECT count(*) FROM tenants"))).scalar_one() == 0


# --- a full disk ---------------------------------------------------------------------------------------------------------


async def test_a_full_disk_is_told_and_afterwards_everything_goes_on(database: Database, factory: Factory) -> None:
    kept = await factory.queued(3)
    pages = await pragma(database, "page_count", writer=True)
    await pragma(database, f"max_page_count = {pages}", writer=True)
    big = {"metadata": {"note": "x" * 20_000}}
    writer = GroupedWriter(partial(take, database))
    results = await asyncio.gather(*(writer.put(new_job(**big)) for _ in range(3)), return_exceptions=True)
    assert all(isinstance(r, StorageUnavailableError) for r in results)
    assert "full" in str(results[0])
    assert {life.job.job_id for life in await all_lives(database)} == {k.job.job_id for k in kept}

    await pragma(database, "max_page_count = 1073741823", writer=True)
    inserted = await writer.put(new_job(**big))
    assert inserted.created
    (change,) = await LifeStore(database).apply([(kept[0].job.job_id, CancelAsked())], factory.decide)
    assert change is not None
    assert len(await all_lives(database)) == 4
    assert await pragma(database, "integrity_check", writer=False) == "ok"


async def test_what_was_begun_before_the_disk_was_full_is_undone_with_the_rest(database: Database, factory: Factory) -> None:
    (life,) = await factory.queued()
    await pragma(database, f"max_page_count = {await pragma(database, 'page_count', writer=True)}", writer=True)
    with pytest.raises(StorageUnavailableError):
        async with database.writing() as connection:
            await connection.execute(text("UPDATE jobs SET cancel_requested = 1"))
            for number in range(100):
                row = {"name": str(number) + "x" * 4000}
                await connection.execute(text("INSERT INTO tenants (name, created_at) VALUES (:name, 0)"), row)
    assert await factory.find(life.job.job_id) == life


# --- one process ---------------------------------------------------------------------------------------------------------

_HOLD = """
import sys
from pathlib import Path
from app.storage.process_lock import only_process
with only_process(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def holder(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock until its input ends."""
    with subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


def test_a_second_process_is_kept_out_and_told_who_the_first_is(tmp_path: Path) -> None:
    path = tmp_path / "new" / "gateway.db"
    with holder(path) as first, pytest.raises(AlreadyRunningError, match=rf"process {first.pid}\b"), only_process(path):
        pass


def test_the_lock_is_free_when_its_holder_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "gateway.db"
    with holder(path) as first:
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
        with holder(path) as second, pytest.raises(AlreadyRunningError, match=rf"process {second.pid}\b"), only_process(path):
            pass


def test_the_lock_is_free_when_its_holder_ends(tmp_path: Path) -> None:
    path = tmp_path / "gateway.db"
    for _ in range(2):
        with only_process(path):
            assert Path(f"{path}.lock").read_text() == str(os.getpid())


def test_who_was_kept_out_does_not_overwrite_the_name_of_the_holder(tmp_path: Path) -> None:
    path = tmp_path / "gateway.db"
    with holder(path) as first:
        for _ in range(2):
            with pytest.raises(AlreadyRunningError, match=rf"process {first.pid}\b"), only_process(path):
                pass


# --- a crash -------------------------------------------------------------------------------------------------------------

_ACCEPT_AND_DIE = """
import asyncio, os, signal, sys
from app.storage.database import Database, database_url
from tests.storage.factory import new_job, take

async def main() -> None:
    database = Database(database_url(sys.argv[1]))
    for _ in range(5):
        job = new_job()
        await take(database, [job])
        print(job.job_id, flush=True)
    async with database.writing() as connection:
        await connection.exec_driver_sql("DELETE FROM events")
        await connection.exec_driver_sql("DELETE FROM jobs")
        os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


async def test_what_was_told_to_be_accepted_survives_the_death_of_the_process(
    sqlite_url: str, database: Database, pytestconfig: pytest.Config
) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _ACCEPT_AND_DIE, sqlite_url, cwd=pytestconfig.rootpath, stdout=asyncio.subprocess.PIPE
    )
    told, _ = await process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert len(told.split()) == 5
    kept = {str(life.job.job_id) for life in await all_lives(database)}
    assert kept == set(told.decode().split())
