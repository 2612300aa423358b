"""Alembic's environment. The gateway hands over an open connection; the `alembic` command makes one from the settings."""

from __future__ import annotations

import asyncio

from alembic import context
from sqlalchemy import Connection

from app import config
from app.storage.database import Database, database_url
from app.storage.tables import metadata


def migrate(connection: Connection) -> None:
    # PostgreSQL keeps other processes away by a lock of its own; on SQLite the transaction does, so one must hold it all.
    each = connection.dialect.name != "sqlite"
    context.configure(
        connection=connection,
        target_metadata=metadata,
        render_as_batch=True,
        transaction_per_migration=each,
        transactional_ddl=True,
    )
    with context.begin_transaction():
        context.run_migrations()


async def from_the_command_line() -> None:
    database = Database(database_url(config.load().database_url))
    try:
        async with database.migrating() as connection:
            await connection.run_sync(migrate)
    finally:
        await database.dispose()


handed_over = context.config.attributes.get("connection")
if handed_over is not None:
    migrate(handed_over)
else:
    asyncio.run(from_the_command_line())
