"""The schema's version: upgrade it, and tell whether it is the one that this code needs."""

from __future__ import annotations

import asyncio
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from app.storage.database import Database

#: In a checkout the migrations lie beside `app`; a wheel carries them inside.
_PLACES = (Path(__file__).parents[1] / "migrations", Path(__file__).parents[2] / "migrations")


async def upgrade(database: Database, revision: str = "head") -> None:
    """Brings the schema to `revision`. Several at once are safe: one migrates, the others wait and find it done."""
    async with database.migrating() as connection:
        await connection.run_sync(lambda c: command.upgrade(_config(c), revision))


async def downgrade(database: Database, revision: str) -> None:
    async with database.migrating() as connection:
        await connection.run_sync(lambda c: command.downgrade(_config(c), revision))


async def current(database: Database) -> str | None:
    """The revision that the database is at; None for an empty one, or a SQLite file that is not there."""
    if database.is_sqlite and not database.path.exists():
        return None
    async with database.reading() as connection:
        return await connection.run_sync(lambda c: MigrationContext.configure(c).get_current_revision())


def newest() -> str:
    """The revision that this code needs."""
    head = ScriptDirectory.from_config(_config()).get_current_head()
    assert head is not None
    return head


async def is_current(database: Database) -> bool:
    return await current(database) == await asyncio.to_thread(newest)


def _config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(next(p for p in _PLACES if (p / "env.py").exists())))
    config.attributes["connection"] = connection
    return config
