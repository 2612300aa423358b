"""Many rows by one statement whose text does not depend on how many: it is compiled once, and parsed only by the database.

On PostgreSQL the rows travel as one JSON document, which costs a fraction of a parameter a value; SQLite takes them one by one
in a single call.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from pydantic_core import to_json
from sqlalchemy import (
    JSON,
    Integer,
    LargeBinary,
    Table,
    Text,
    and_,
    bindparam,
    cast,
    column,
    func,
    insert,
    literal_column,
    select,
    update,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.base import Executable

from app.storage.types import Duration

Values = Mapping[str, Any]  #: of a row, by the names of its columns
WAS = "was_"  #: begins the name of what must still be true of a row that is changed

_COUNT = "count_given"
_DIALECT = postgresql.psycopg.dialect()  # type: ignore[no-untyped-call]


async def insert_many(connection: AsyncConnection, table: Table, rows: Sequence[Values]) -> None:
    """Inserts these rows, in their order. All have the same columns."""
    if not rows:
        return
    if connection.dialect.name == "postgresql":
        await connection.exec_driver_sql(_insert(table, tuple(rows[0])), _document(table, rows))
    else:
        await connection.execute(insert(table), rows)


async def insert_together(connection: AsyncConnection, rows: Mapping[Table, Sequence[Values]]) -> None:
    """Inserts rows of several tables, on PostgreSQL by one statement, at the end of which they must fit each other."""
    some = {table: of_table for table, of_table in rows.items() if of_table}
    if not some:
        return
    if connection.dialect.name == "postgresql":
        text = _insert_all(tuple((table, tuple(of_table[0])) for table, of_table in some.items()))
        documents = [_document(table, of_table) for table, of_table in some.items()]
        await connection.exec_driver_sql(text, {name: rows for document in documents for name, rows in document.items()})
    else:
        for table, of_table in some.items():
            await connection.execute(insert(table), of_table)


def insert_for(connection: AsyncConnection, table: Table) -> Any:
    """An INSERT that knows ON CONFLICT, which both databases have and SQLAlchemy has twice."""
    return postgresql_insert(table) if connection.dialect.name == "postgresql" else sqlite_insert(table)


async def insert_absent(connection: AsyncConnection, table: Table, rows: Sequence[Values]) -> set[Any]:
    """Inserts those of these rows that break no uniqueness; returns their primary keys."""
    if not rows:
        return set()
    if connection.dialect.name == "postgresql":
        return set((await connection.exec_driver_sql(_insert_absent(table, tuple(rows[0])), _document(table, rows))).scalars())
    [key] = table.primary_key
    absent = sqlite_insert(table).on_conflict_do_nothing().returning(key)
    return set((await connection.execute(absent, rows)).scalars())


async def update_many(connection: AsyncConnection, table: Table, rows: Sequence[Values]) -> int:
    """Changes the rows that are still as `was_…` says, which names the primary key at least; returns how many there were."""
    if not rows:
        return 0
    if connection.dialect.name == "postgresql":
        document = {**_document(table, rows), _COUNT: len(rows)}
        return (await connection.exec_driver_sql(_update(table, tuple(rows[0])), document)).rowcount
    return (await connection.execute(_update_one_by_one(table, tuple(rows[0])), rows)).rowcount


def _document(table: Table, rows: Sequence[Values]) -> dict[str, str]:
    if lengths := _lengths_of_time(table, tuple(rows[0])):
        rows = [
            {**row, **{name: kind.process_bind_param(row[name], _DIALECT) for name, kind in lengths.items()}} for row in rows
        ]
    return {_given(table): to_json(rows, bytes_mode="hex").decode()}


def _given(table: Table) -> str:
    return f"{table.name}_given"


@cache
def _lengths_of_time(table: Table, names: tuple[str, ...]) -> dict[str, Duration]:
    """They are numbers in the database, and JSON would write them as text."""
    return {name: kind for name in names if isinstance(kind := table.c[name.removeprefix(WAS)].type, Duration)}


@cache
def _insert(table: Table, names: tuple[str, ...]) -> str:
    return _text(postgresql_insert(table).from_select(names, _values(table, names)))


@cache
def _insert_all(tables: tuple[tuple[Table, tuple[str, ...]], ...]) -> str:
    *others, last = [_insert(table, names) for table, names in tables]
    beside = ", ".join(f"other_{n} AS ({one})" for n, one in enumerate(others))
    return f"WITH {beside} {last}" if beside else last


@cache
def _insert_absent(table: Table, names: tuple[str, ...]) -> str:
    [key] = table.primary_key
    absent = postgresql_insert(table).from_select(names, _values(table, names)).on_conflict_do_nothing()
    return _text(absent.returning(key))


@cache
def _update(table: Table, names: tuple[str, ...]) -> str:
    # The planner takes a document for a hundred rows, and would read a small table whole; a limit tells it better.
    given = _values(table, names).limit(bindparam(_COUNT, type_=Integer())).subquery("given")
    still = and_(*(table.c[name.removeprefix(WAS)] == given.c[name] for name in names if name.startswith(WAS)))
    return _text(update(table).where(still).values({name: given.c[name] for name in names if not name.startswith(WAS)}))


@cache
def _update_one_by_one(table: Table, names: tuple[str, ...]) -> Executable:
    still = and_(*(table.c[name.removeprefix(WAS)] == bindparam(name) for name in names if name.startswith(WAS)))
    return update(table).where(still).values({name: bindparam(name) for name in names if not name.startswith(WAS)})


def _values(table: Table, names: tuple[str, ...]) -> Any:
    """The rows of the document, each value of its column's type. Bytes travel as hex."""
    kinds = {name: table.c[name.removeprefix(WAS)].type for name in names}
    read = [column(name, Text() if isinstance(kind, LargeBinary) else kind) for name, kind in kinds.items()]
    rows = func.json_to_recordset(cast(bindparam(_given(table), type_=Text()), JSON)).table_valued(*read)
    rows = rows.render_derived("given_rows", with_types=True)
    bytes_too = (
        func.decode(rows.c[name], literal_column("'hex'")).label(name) if isinstance(kind, LargeBinary) else rows.c[name]
        for name, kind in kinds.items()
    )
    return select(*bytes_too)


def _text(statement: Any) -> str:
    return str(statement.compile(dialect=_DIALECT))
