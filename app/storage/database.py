"""The two databases behind one face: who may write, what time it is, and which errors mean "try again soon".

SQLite: one writer connection, whose transactions begin IMMEDIATE, and separate readers that cannot write; the clock is the
process's. PostgreSQL: one pool; the clock is the database's, the only one that all replicas share.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import structlog
from sqlalchemy import make_url, text
from sqlalchemy.engine import URL, Engine
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection

from app.clock import Clock, system_clock
from app.errors import SettingsError, StorageUnavailableError
from app.storage.engines import one_go_engine, postgresql_engine, sqlite_engine
from app.storage.one_go import OneGo, Result, Work

log = structlog.get_logger(__name__)

#: SQLSTATE classes that say nothing about our statement, only about the server's moment: connection trouble, out of
#: resources, operator intervention, deadlock or serialization failure.
_PASSING = ("08", "53", "57", "40", "55P03", "25006")
#: SQLite's words for the same.
_PASSING_WORDS = ("locked", "busy", "full", "disk i/o", "unable to open", "interrupted", "readonly")
_BEGIN = (
    "SELECT set_config('statement_timeout', '15s', true), set_config('idle_in_transaction_session_timeout', '30s', true),"
    " clock_timestamp()"
)
_NOW = text("SELECT clock_timestamp()")
_ASKING_SECONDS = 15.0
_TURN_SECONDS = 30.0  #: how long one transaction on SQLite waits for the others
_BEGAN = "began"  #: under which a connection remembers when its transaction began
_MIGRATION_LOCK = 0x71774A6F62  #: a number of our own for the advisory lock
_MIGRATION_PAUSE = 0.2  #: seconds between two tries to become the one that migrates
MIGRATION_LOCK_TIMEOUT = "300ms"  #: how long a change of the schema may hold up everybody else


class Database:
    """An open database. `dispose` of it: undisposed engines keep the process from ending."""

    def __init__(self, url: URL, *, clock: Clock | None = None) -> None:
        self.url = url
        self._clock = clock if clock is not None or not self.is_sqlite else system_clock
        self._writer = sqlite_engine(url, read_only=False) if self.is_sqlite else postgresql_engine(url)
        self._reader = sqlite_engine(url, read_only=True) if self.is_sqlite else self._writer
        self._one_go = OneGo(one_go_engine(url, read_only=False), commits=True) if self.is_sqlite else None
        self._one_look = OneGo(one_go_engine(url, read_only=True), commits=False) if self.is_sqlite else None
        self._writing = asyncio.Lock()
        self._asker = self._writer.execution_options(isolation_level="AUTOCOMMIT")

    @property
    def is_sqlite(self) -> bool:
        return self.url.get_backend_name() == "sqlite"

    @property
    def engines(self) -> set[Engine]:
        """Whose events tell all that is done."""
        in_one_go = {one.engine for one in (self._one_go, self._one_look) if one is not None}
        return {self._writer.sync_engine, self._reader.sync_engine} | in_one_go

    @property
    def path(self) -> Path:
        """The file of a SQLite database."""
        return Path(self.url.database or "")

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that may write; commits at the end.

        Raises:
            StorageUnavailableError: the database is out of reach. Nothing was changed, unless the connection broke amid
                the commit itself, which nobody can tell from here.
        """
        with _translated():
            async with self._turn(), self._writer.begin() as connection:
                await self._begin(connection)
                yield connection

    async def transact(self, work: Work[Result]) -> Result:
        """What `work` returns, once it is committed. It writes by this connection, and must wait for nothing else.

        Raises:
            StorageUnavailableError: as `writing` has it.
        """
        if self._one_go is None:
            async with self.writing() as connection:
                return await work(connection)
        with _translated():
            async with self._turn():
                return await self._one_go.run(work)

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """SQLite has one writer: whoever else wants to be waits here, not in the database, where nobody rings."""
        if not self.is_sqlite:
            yield
            return
        async with asyncio.timeout(_TURN_SECONDS):
            await self._writing.acquire()
        try:
            yield
        finally:
            self._writing.release()

    @asynccontextmanager
    async def migrating(self) -> AsyncIterator[AsyncConnection]:
        """A connection for changing the schema, held by one process at a time; commits at the end.

        No statement on it waits long for a lock: behind one that waits for a table, everybody else waits.

        Raises:
            StorageUnavailableError: the database is out of reach, or a lock could not be had in time.
        """
        with _translated():
            async with self._writer.connect() as connection:
                if not self.is_sqlite:
                    await self._migrate_alone(connection)
                try:
                    yield connection
                    await connection.commit()
                finally:
                    await connection.rollback()
                    if not self.is_sqlite:
                        await connection.execute(text(f"SELECT pg_advisory_unlock({_MIGRATION_LOCK})"))
                        await connection.execute(text("RESET ALL"))
                        await connection.commit()

    async def _migrate_alone(self, connection: AsyncConnection) -> None:
        """Asks for the lock again and again: whoever waits inside a statement would hold up a concurrent index for ever."""
        await connection.execute(text("SELECT set_config('statement_timeout', '0', false)"))
        await connection.execute(text(f"SELECT set_config('lock_timeout', '{MIGRATION_LOCK_TIMEOUT}', false)"))
        asked = text(f"SELECT pg_try_advisory_lock({_MIGRATION_LOCK})")
        tries = 0
        while not (await connection.execute(asked)).scalar_one():
            await connection.commit()
            if tries % 50 == 0:
                log.info("another process changes the schema; waiting for it")
            tries += 1
            await asyncio.sleep(_MIGRATION_PAUSE)
        await connection.commit()

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that only reads.

        Raises:
            StorageUnavailableError: the database is out of reach.
        """
        with _translated():
            async with self._reader.connect() as connection:
                await self._begin(connection)
                yield connection

    async def _begin(self, connection: AsyncConnection) -> None:
        """Bounds every statement of this transaction. Not of the session: behind a pooler that is shared with strangers."""
        if not self.is_sqlite:
            connection.info[_BEGAN] = (await connection.exec_driver_sql(_BEGIN)).one()[-1]

    async def ask(self, work: Work[Result]) -> Result:
        """What `work` returns, which reads little, and need not be of one instant. It must wait for nothing but its connection.

        There is no transaction on PostgreSQL, which saves three round trips; on SQLite it runs on one thread.

        Raises:
            StorageUnavailableError: the database is out of reach.
        """
        with _translated():
            async with asyncio.timeout(_ASKING_SECONDS):
                if self._one_look is not None:
                    return await self._one_look.run(work)
                async with self._asker.connect() as connection:
                    return await work(connection)

    def began(self, connection: AsyncConnection) -> datetime:
        """The instant at which this transaction began, by the clock of `now`; for what waited for no lock since."""
        if self._clock is not None:
            return self._clock()
        found: datetime = connection.info[_BEGAN]
        return found.astimezone(UTC)

    async def now(self, connection: AsyncConnection) -> datetime:
        """The instant to compare with: of the database where replicas share one, of the process otherwise."""
        if self._clock is not None:
            return self._clock()
        found: datetime = (await connection.execute(_NOW)).scalar_one()
        return found.astimezone(UTC)

    async def ping(self) -> None:
        async with self.reading() as connection:
            await connection.execute(text("SELECT 1"))

    async def dispose(self) -> None:
        for one in (self._one_go, self._one_look):
            if one is not None:
                await one.dispose()
        await self._writer.dispose()
        await self._reader.dispose()


def database_url(setting: str) -> URL:
    """The URL with its async driver, from what people write: `sqlite:///…`, `postgresql://…`, `postgres://…`.

    Raises:
        SettingsError: it is neither.
    """
    try:
        url = make_url(setting.replace("postgres://", "postgresql://", 1))
    except Exception:  # noqa: BLE001 - whatever it says may hold the password
        raise SettingsError("GATEWAY_DATABASE_URL is not a database URL") from None
    match url.get_backend_name():
        case "sqlite" if url.database and url.database != ":memory:":
            return url.set(drivername="sqlite+aiosqlite")
        case "postgresql":
            return url.set(drivername="postgresql+psycopg")
        case _:
            raise SettingsError("GATEWAY_DATABASE_URL must be sqlite:///FILE or postgresql://…")


class _translated:  # noqa: N801 - reads as a word at its use
    """Turns the drivers' "not now" into ours; everything else passes."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if error is not None and _is_passing(error):
            raise StorageUnavailableError(f"The database is not available: {_brief(error)}") from error


def _is_passing(error: BaseException) -> bool:
    if isinstance(error, DBAPIError):
        if error.connection_invalidated or isinstance(error, InterfaceError):
            return True
        origin = error.orig
        if isinstance(origin, psycopg.Error):
            return isinstance(error, OperationalError) or (origin.sqlstate or "").startswith(_PASSING)
        return isinstance(origin, sqlite3.OperationalError) and any(w in str(origin).lower() for w in _PASSING_WORDS)
    return isinstance(error, PoolTimeoutError | ConnectionError | psycopg.OperationalError | asyncio.TimeoutError)


def _brief(error: BaseException) -> str:
    origin = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    return (str(origin).splitlines() or [type(origin).__name__])[0][:200]
