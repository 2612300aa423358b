"""Fills a database with copies of one life, made by the database itself: a long history in a minute."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

import psycopg
from sqlalchemy import Table, make_url

from app.lifecycle.job import Life
from app.storage import tables as t
from app.storage.database import Database

AT_ONCE = 250_000  #: copies made in one transaction

_ID = {
    "postgresql": "('01900000-0000-7000-{set:04x}-' || lpad(to_hex({last} - n), 12, '0'))::uuid",
    "sqlite": "printf('0190000000007000{set:04x}%012x', {last} - n)",
}
_HASH = {"postgresql": "sha256(convert_to('token-{set}-' || n, 'UTF8'))", "sqlite": "randomblob(32)"}
_NUMBERS = {
    "postgresql": "generate_series({last}, {first}, -1) AS series(n)",
    "sqlite": (
        "(WITH RECURSIVE down(n) AS (SELECT {last} UNION ALL SELECT n - 1 FROM down WHERE n > {first}) SELECT n FROM down)"
    ),
}
_COUNTED_FROM = 0xFFFFFFFFFF

Changed = Mapping[str, str]  #: a column → the SQL of its value, in which `n` is the number of the copy


async def multiply(database: Database, life: Life, copies: int, *, set_no: int, jobs: Changed, submissions: Changed) -> None:
    """Puts so many copies in the place of a job and its submission, numbered from 0, the newest.

    Each has an id, a token and a task of its own.

    Args:
        set_no: tells apart what several calls make, up to 0x3fff.
    """
    for first in reversed(range(0, copies, AT_ONCE)):  # the oldest first, as they came: so the indexes are as dense as in life
        last = min(first + AT_ONCE, copies) - 1
        identity = {"job_id": job_id(database, set_no)}
        token_hash = _HASH[_kind(database)].format(set=set_no)
        task_id = f"CASE WHEN task_id IS NOT NULL THEN '{task_of(set_no, '')}' || n END"
        of_submission = {**identity, "token_hash": token_hash, "task_id": task_id, **submissions}
        await run_each(
            database,
            copying(database, t.jobs, life, {**identity, **jobs}, first, last),
            copying(database, t.submissions, life, of_submission, first, last),
        )
    await run_each(database, f"DELETE FROM jobs WHERE job_id = '{_written(database, life)}'")


def copying(database: Database, table: Table, life: Life, changed: Changed, first: int, last: int) -> str:
    names = ", ".join(column.name for column in table.c)
    values = ", ".join(changed.get(column.name, f"{table.name}.{column.name}") for column in table.c)
    only = life.job.job_id.hex if database.is_sqlite else life.job.job_id
    numbers = numbered(database, first, last)
    return (
        f"INSERT INTO {table.name} ({names}) SELECT {values} FROM {table.name}, {numbers} WHERE {table.name}.job_id = '{only}'"
    )


def numbered(database: Database, first: int, last: int) -> str:
    """A source of the numbers from `last` down to `first`, both included, as `n`."""
    return _NUMBERS[_kind(database)].format(first=first, last=last)


def instant(database: Database, newest: datetime, step: timedelta = timedelta(0)) -> str:
    """The SQL of an instant: that of the newest copy is `newest`, each further one's is a `step` before."""
    if database.is_sqlite:
        return f"{int(newest.timestamp() * 1_000_000)} - n * {int(step.total_seconds() * 1_000_000)}"
    return f"timestamptz '{newest.isoformat()}' - n * interval '{step.total_seconds()} seconds'"


def job_id(database: Database, set_no: int) -> str:
    """The SQL of the id of the copy `n`: the later its number, the smaller, as in a history that is told newest first."""
    return _ID[_kind(database)].format(set=0x8000 + set_no, last=_COUNTED_FROM)


def id_of(set_no: int, number: int) -> str:
    """The same id, as callers write it."""
    return f"01900000-0000-7000-{0x8000 + set_no:04x}-{_COUNTED_FROM - number:012x}"


def token_of(set_no: int, number: int) -> str:
    """The callback token of a copy; on PostgreSQL only."""
    return f"token-{set_no}-{number}"


def task_of(set_no: int, number: int | str) -> str:
    return f"task-{set_no}-{number}"


async def run_each(database: Database, *statements: str) -> None:
    """Runs these, however long they take, in one transaction."""
    async with database.writing() as connection:
        if not database.is_sqlite:
            await connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
        for statement in statements:
            await connection.exec_driver_sql(statement if database.is_sqlite else statement.replace("%", "%%"))


async def settled_down(database: Database) -> None:
    """As a database is that was filled over months: vacuumed, analyzed, and with nothing left to write."""
    if database.is_sqlite:
        await run_each(database, "ANALYZE")
        return
    url = make_url(database.url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("VACUUM (ANALYZE)")
        connection.execute("CHECKPOINT")


def _written(database: Database, life: Life) -> str:
    return life.job.job_id.hex if database.is_sqlite else str(life.job.job_id)


def _kind(database: Database) -> str:
    return "sqlite" if database.is_sqlite else "postgresql"
