"""How a database goes about a look, as it tells itself."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from app.storage.database import Database
from tests.storage.watch import plan_of, statements_of

LINES, COLUMNS = 60, 200  #: kept of a plan


async def plans_of(database: Database, look: Callable[[], Awaitable[object]]) -> str:
    """The plans of its statements, each under the settings that were made before it.

    PostgreSQL runs them once more (EXPLAIN ANALYZE), SQLite does not (EXPLAIN QUERY PLAN).
    """
    with statements_of(database) as sent:
        await look()
    told = []
    async with database.reading() as connection:
        for statement, parameters in list(sent):
            if "set_config" in statement:
                await connection.exec_driver_sql(statement)
            elif "FROM" in statement and database.is_sqlite:
                plan = await plan_of(connection, statement, parameters)
                told.append(_short([*statement.splitlines(), "", *plan.splitlines()]))
            elif "FROM" in statement:
                rows = await connection.exec_driver_sql(f"EXPLAIN (ANALYZE, BUFFERS) {statement}", parameters)
                told.append(_short([*statement.splitlines(), "", *(row[0] for row in rows)]))
    return "\n\n".join(told)


def _short(lines: Sequence[str]) -> str:
    """What a person reads of it: parameters by the hundred, and the same branch for every hour of a week, are left out."""
    kept = [line.rstrip() if len(line) <= COLUMNS else f"{line[:COLUMNS].rstrip()} …" for line in lines[:LINES]]
    left_out = [f"… and {len(lines) - LINES} lines more"] if len(lines) > LINES else []
    return "\n".join([*kept, *left_out])
