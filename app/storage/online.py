"""Changes of the schema that hold up nobody: for migrations after the first.

On PostgreSQL, tables that are in use get columns that may be null or have a constant default (no table is rewritten), and
indexes CONCURRENTLY. Every migration only adds, so that the release before goes on working beside it; what a release no longer
needs goes with the one after.
"""

from __future__ import annotations

from typing import Any

from alembic import op
from sqlalchemy import text

from app.storage.database import MIGRATION_LOCK_TIMEOUT as LOCK_TIMEOUT


def hold_tables(*names: str) -> None:
    """Takes all the locks that a migration will need, at once and in the order of the writers, which never hold two crosswise.

    Each taken when its statement comes would deadlock with whoever holds one and waits for the next.
    """
    if op.get_context().dialect.name == "postgresql":
        op.execute(f"LOCK TABLE {', '.join(names)} IN ACCESS EXCLUSIVE MODE")


def create_index(name: str, table: str, columns: list[Any], *, unique: bool = False, where: Any = None) -> None:
    """Makes an index while others write; what a failed try before left behind is replaced."""
    conditions = {"sqlite_where": where, "postgresql_where": where} if where is not None else {}
    if op.get_context().dialect.name == "sqlite":
        op.create_index(name, table, columns, unique=unique, **conditions)
        return
    valid = "SELECT 1 FROM pg_index JOIN pg_class ON oid = indexrelid WHERE relname = :name AND indisvalid"
    valid += " AND pg_table_is_visible(indexrelid)"  # another gateway may live in another schema
    if op.get_bind().execute(text(valid), {"name": name}).first():
        return  # made by a try before this one
    with op.get_context().autocommit_block():
        # It waits for old transactions without holding anybody up, so it may take its time.
        op.execute("SELECT set_config('lock_timeout', '0', false)")
        op.drop_index(name, table, if_exists=True, postgresql_concurrently=True)
        op.create_index(name, table, columns, unique=unique, postgresql_concurrently=True, **conditions)
        op.execute(f"SELECT set_config('lock_timeout', '{LOCK_TIMEOUT}', false)")


def drop_index(name: str, table: str) -> None:
    if op.get_context().dialect.name == "sqlite":
        op.drop_index(name, table)
        return
    with op.get_context().autocommit_block():
        op.drop_index(name, table, if_exists=True, postgresql_concurrently=True)
