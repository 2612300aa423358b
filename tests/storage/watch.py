"""Looks into the databases: who waits for whom, what ran, and by which plan."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.storage.database import Database

_OTHERS = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"


async def blocked_statements(database: Database, count: int) -> None:
    """Returns once `count` statements of this PostgreSQL database wait for locks."""
    await _until(database, f"SELECT count(*) >= {count} {_OTHERS} AND wait_event_type = 'Lock'")


async def end_blocked_connections(database: Database) -> None:
    """Ends the connections whose statements wait for locks."""
    async with database.reading() as connection:
        await connection.execute(text(f"SELECT pg_terminate_backend(pid) {_OTHERS} AND wait_event_type = 'Lock'"))


async def end_other_connections(database: Database) -> None:
    """Ends all connections to this PostgreSQL database but its own; `no_other_connections` waits until they are gone."""
    async with database.reading() as connection:
        await connection.execute(text(f"SELECT pg_terminate_backend(pid) {_OTHERS}"))


async def no_other_connections(database: Database) -> None:
    """Returns once there are none."""
    await _until(database, f"SELECT count(*) = 0 {_OTHERS}")


async def _until(database: Database, query: str) -> None:
    async with asyncio.timeout(60):
        while True:
            async with database.reading() as connection:  # one transaction would see one picture for ever
                if (await connection.execute(text(query))).scalar_one():
                    return


@contextmanager
def statements_of(database: Database) -> Iterator[list[tuple[str, Any]]]:
    """The statements that the database is sent meanwhile, each with its parameters."""
    sent: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, _many: bool) -> None:
        sent.append((statement, parameters))

    for engine in database.engines:
        event.listen(engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        for engine in database.engines:
            event.remove(engine, "before_cursor_execute", note)


async def plan_of(connection: AsyncConnection, statement: str, parameters: Any) -> str:
    """The plan, as text."""
    sqlite = connection.dialect.name == "sqlite"
    explained = f"{'EXPLAIN QUERY PLAN' if sqlite else 'EXPLAIN'} {statement}"
    rows = (await connection.exec_driver_sql(explained, parameters)).all()
    return "\n".join(row.detail if sqlite else row[0] for row in rows)
