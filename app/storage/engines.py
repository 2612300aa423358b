"""Engines: how many connections there are, what each is told first, and whether one is still there."""

from __future__ import annotations

import select
import time
from typing import Any

import psycopg
from sqlalchemy import create_engine, event
from sqlalchemy.engine import URL, Engine
from sqlalchemy.exc import InvalidatePoolError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

_IDLE_SECONDS = 1.0  #: a connection that was used within them is not asked first whether it still is one
_LEFT = "left"  #: under which a connection remembers when it was used last


def postgresql_engine(url: URL) -> AsyncEngine:
    engine = create_async_engine(
        url,
        pool_size=10,
        max_overflow=10,
        pool_timeout=10,
        hide_parameters=True,  # they hold prompts and hashes; a log is no place for them
        connect_args={
            "prepare_threshold": None,  # PgBouncer in transaction mode keeps no prepared statements
            "connect_timeout": 5,
            "application_name": "qwen-image-gateway",
            "keepalives_idle": 10,
            "tcp_user_timeout": 15_000,  # milliseconds; a server that vanished is noticed
        },
    )
    _ask_idle_ones_first(engine)
    return engine


def sqlite_engine(url: URL, *, read_only: bool) -> AsyncEngine:
    """One connection that writes, or a few that cannot."""
    engine = create_async_engine(
        url,
        pool_size=4 if read_only else 1,
        max_overflow=0,
        pool_timeout=30,
        hide_parameters=True,
        connect_args={"timeout": 30},
    )
    _prepare_sqlite(engine.sync_engine, read_only=read_only)
    return engine


def one_go_engine(url: URL, *, read_only: bool) -> Engine:
    """The connection of a `OneGo`."""
    engine = create_engine(
        url.set(drivername="sqlite+pysqlite"), pool_size=1, max_overflow=0, hide_parameters=True, connect_args={"timeout": 30}
    )
    _prepare_sqlite(engine, read_only=read_only)
    return engine


def _ask_idle_ones_first(engine: AsyncEngine) -> None:
    """Whether a connection still is one is asked where it may not be: `pool_pre_ping` asks every time."""

    @event.listens_for(engine.sync_engine, "checkin")
    def _leave(_connection: Any, record: Any) -> None:
        record.info[_LEFT] = time.monotonic()

    @event.listens_for(engine.sync_engine, "checkout")
    def _take(connection: Any, record: Any, _proxy: Any) -> None:
        left = record.info.get(_LEFT)
        if left is None or (time.monotonic() - left < _IDLE_SECONDS and not _has_news(connection.driver_connection)):
            return
        try:
            engine.sync_engine.dialect.do_ping(connection)
        except psycopg.Error as error:
            raise InvalidatePoolError from error


def _has_news(connection: psycopg.AsyncConnection[Any]) -> bool:
    """Whether the server said something that nobody asked for: its farewell, as a rule."""
    if connection.closed:
        return True
    look = select.poll()
    look.register(connection.fileno(), select.POLLIN)
    return bool(look.poll(0))


def _prepare_sqlite(engine: Engine, *, read_only: bool) -> None:
    @event.listens_for(engine, "connect")
    def _connect(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves: a deferred one fails with BUSY at its first write
        cursor = connection.cursor()
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",  # NORMAL may lose the last commits with the power, and a commit is a promise
            "foreign_keys=ON",
            "busy_timeout=30000",
            "query_only=ON" if read_only else "query_only=OFF",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")
