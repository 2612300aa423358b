"""The schema's version: upgrade it, and tell whether it is the one that this code needs."""

from __future__ import annotations

import asyncio
import re
import time
from datetime import timedelta
from functools import cache
from pathlib import Path

import structlog
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from psycopg.errors import DeadlockDetected, LockNotAvailable
from sqlalchemy import Connection, inspect

from app.errors import StorageUnavailableError
from app.storage.database import Database
from app.storage.tables import metadata

log = structlog.get_logger(__name__)

_PAUSE, _PAUSE_MAX = 2.0, 10.0  #: seconds between tries of a migration that did not get its lock: many times what one may take

_NUMBER = re.compile("[0-9]{4}")
#: In a checkout the migrations lie beside `app`; a wheel carries them inside.
_PLACES = (Path(__file__).parents[1] / "migrations", Path(__file__).parents[2] / "migrations")


async def upgrade(database: Database, revision: str = "head", *, patience: timedelta = timedelta(minutes=10)) -> None:
    """Brings the schema to `revision`. Several at once are safe: one migrates, the others wait and find it done.

    A migration that cannot have its lock in time gives way and is tried again until `patience` ends: a long report may hold
    the table, and nobody else may wait behind us. A schema of a later release is left as it is.

    Raises:
        StorageUnavailableError: the database is out of reach, or the lock could not be had.
    """
    until, pause = time.monotonic() + patience.total_seconds(), _PAUSE
    while True:
        try:
            async with database.migrating() as connection:
                if is_later(await connection.run_sync(_current)):
                    return
                await connection.rollback()
                await connection.run_sync(lambda c: command.upgrade(_config(c), revision))
                return
        except StorageUnavailableError as error:
            if time.monotonic() >= until or not _is_locked(error):
                raise
            log.warning("the schema waits for a lock that somebody holds", reason=str(error), again_in=pause)
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, _PAUSE_MAX)


async def downgrade(database: Database, revision: str) -> None:
    async with database.migrating() as connection:
        await connection.run_sync(lambda c: command.downgrade(_config(c), revision))


async def current(database: Database) -> str | None:
    """The revision that the database is at; None for an empty one, or a SQLite file that is not there."""
    if database.is_sqlite and not database.path.exists():
        return None
    async with database.reading() as connection:
        return await connection.run_sync(_current)


@cache
def newest() -> str:
    """The revision that this code needs."""
    head = ScriptDirectory.from_config(_config()).get_current_head()
    assert head is not None
    return head


async def unfit(database: Database) -> str | None:
    """Why this code cannot work on the database's schema; None if it can.

    A later release only adds to the schema (decision 0006), so a later revision will do. But it is only a number, which any
    program may have left there: all tables and columns that this code knows must be there, too.

    Raises:
        StorageUnavailableError: the database is out of reach.
    """
    found = await current(database)
    if not fits(found):
        return f"the schema is at {found}, this version needs {newest()}: run gateway db upgrade"
    if is_later(found) and (lacking := await _lacking(database)):
        return f"the schema says {found}, as if of a later release, but lacks {', '.join(lacking[:3])}: is this our database?"
    return None


def fits(revision: str | None) -> bool:
    """Whether the revision is this code's own, or one of a later release; `unfit` looks closer."""
    return revision == newest() or is_later(revision)


def is_later(revision: str | None) -> bool:
    """Whether the revision is one that only a later release knows. Revisions are numbered: 0001, 0002, …"""
    return revision is not None and _NUMBER.fullmatch(revision) is not None and int(revision) > int(newest())


async def _lacking(database: Database) -> list[str]:
    """The tables and columns that this code knows and the database has not."""
    async with database.reading() as connection:
        found = await connection.run_sync(lambda c: inspect(c).get_multi_columns())
    columns = {table: {column["name"] for column in of_table} for (_, table), of_table in found.items()}
    lacking = [name for name in metadata.tables if name not in columns]
    for table in metadata.tables.values():
        lacking += [str(c) for c in table.c if c.name not in columns.get(table.name, {c.name})]
    return lacking


def _current(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _is_locked(error: StorageUnavailableError) -> bool:
    origin = getattr(error.__cause__, "orig", None)
    return isinstance(origin, LockNotAvailable | DeadlockDetected)


def _config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(next(p for p in _PLACES if (p / "env.py").exists())))
    config.attributes["connection"] = connection
    return config
