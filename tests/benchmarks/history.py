"""Fills a database with copies of one life, made by the database itself: a long history in some minutes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta

import psycopg
from sqlalchemy import Table, insert, make_url

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
_SHA256 = {
    "postgresql": "encode(sha256(convert_to('picture-' || n, 'UTF8')), 'hex')",
    "sqlite": "lower(hex(randomblob(32)))",
}
_STORED = {
    "state": "'stored'", "due_at": "NULL", "attempts": "1", "media_type": "'image/png'", "width": "1328", "height": "1328",
    "bytes": "1900000", "has_thumbnail": "true", "size_matches": "true",
}  # fmt: skip
_COUNTED_FROM = 0xFFFFFFFFFF

Changed = Mapping[str, str]  #: a column → the SQL of its value, in which `n` is the number of the copy


async def multiply(database: Database, life: Life, copies: int, *, set_no: int, jobs: Changed, submissions: Changed) -> None:
    """Puts so many copies in the place of a job and of all that hangs on it, numbered from 0, the newest.

    Each has an id, a token and a task of its own. Its events, callbacks and pictures are as old as the job itself; its pictures
    are stored, each with a hash of its own. Pairs of metadata and the books of tenants are left to whoever wants them.

    Args:
        set_no: tells apart what several calls make, up to 0x3fff.
    """
    identity = {"job_id": job_id(database, set_no)}
    created = jobs["created_at"]
    task_id = f"CASE WHEN task_id IS NOT NULL THEN '{task_of(set_no, '')}' || n END"
    of_submission = {"token_hash": _HASH[_kind(database)].format(set=set_no), "task_id": task_id, **submissions}
    changes: Mapping[Table, Changed] = {
        t.jobs: jobs,
        t.submissions: of_submission,
        t.events: {"at": created},
        t.callbacks: {"received_at": created},
        t.images: {**_STORED, "sha256": _SHA256[_kind(database)], "created_at": created, "stored_at": created},
    }
    for first in reversed(range(0, copies, AT_ONCE)):  # the oldest first, as they came: so the indexes are as dense as in life
        last = min(first + AT_ONCE, copies) - 1
        statements = (
            copying(database, table, life, {**identity, **changed}, first, last) for table, changed in changes.items()
        )
        await run_each(database, *_unchecked(database), *statements)
    await run_each(database, f"DELETE FROM jobs WHERE job_id = '{_written(database, life)}'")


async def call_back(database: Database, life: Life) -> None:
    """Notes a callback for the job, as large as the upstream's are."""
    told = {"task_id": "task-1", "status": "SUCCESS", "consumed_credits": 5, "response": ["https://images/1.jpeg"]}
    request = {"prompt": life.job.request.prompt, "size": "1:1", "callback_url": f"https://gateway/callbacks/{'t' * 43}"}
    body = json.dumps({"code": 200, "message": "success", "data": {**told, "error_message": None, "request": request}})
    row = {
        "job_id": life.job.job_id, "number": 1, "received_at": life.job.created_at, "outcome": "poked",
        "named_task_id": "task-1", "content_type": "application/json", "body_bytes": len(body), "sample": body,
    }  # fmt: skip
    async with database.writing() as connection:
        await connection.execute(insert(t.callbacks).values(row))


def copying(database: Database, table: Table, life: Life, changed: Changed, first: int, last: int) -> str:
    """The rows of one job, once for each number; a number that the database gives to each row is left to it."""
    columns = [column for column in table.c if not (column.autoincrement is True and column.primary_key)]
    names = ", ".join(f'"{column.name}"' for column in columns)
    values = ", ".join(changed.get(column.name, f'{table.name}."{column.name}"') for column in columns)
    order = "".join(f", {column.name}" for column in table.c if column not in columns)
    return (
        f"INSERT INTO {table.name} ({names}) SELECT {values} FROM {table.name}, {numbered(database, first, last)} "
        f"WHERE {table.name}.job_id = '{_written(database, life)}' ORDER BY n DESC{order}"
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
        # In a large table it would else leave what few dead rows there are to the next time, and in a small one not.
        connection.execute("VACUUM (ANALYZE, INDEX_CLEANUP ON)")
        connection.execute("CHECKPOINT")


def _unchecked(database: Database) -> list[str]:
    """That all belongs together is known: to look it up for every row would take a third of the time."""
    return [] if database.is_sqlite else ["SET LOCAL session_replication_role = replica"]


def _written(database: Database, life: Life) -> str:
    return life.job.job_id.hex if database.is_sqlite else str(life.job.job_id)


def _kind(database: Database) -> str:
    return "sqlite" if database.is_sqlite else "postgresql"
