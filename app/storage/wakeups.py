"""Wake-ups between replicas: PostgreSQL's NOTIFY, sent seldom, heard on a connection of its own.

They only save time. Whoever misses one finds the work at its next poll, so nothing is done to make them sure: not through a
pooler in transaction mode, not while the server restarts.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import psycopg
import structlog
from sqlalchemy import text

from app.errors import StorageUnavailableError
from app.storage.database import Database

log = structlog.get_logger(__name__)

_CHANNEL = "gateway_wakeups"
_SEND_EVERY = 0.1  #: seconds; a NOTIFY takes a lock over the whole database, so a process sends at most ten a second
_LISTEN_SECONDS = 30.0  #: then the connection is tried, which tells a dead one from a quiet one
_RECONNECT_MAX = 5.0


class Wakeups:
    """Tells other replicas that there is work of a kind, and hears it of them."""

    def __init__(self, database: Database, heard: Callable[[str], None]) -> None:
        self._database, self._heard = database, heard
        self._to_send: set[str] = set()
        self._something = asyncio.Event()
        self.listening = asyncio.Event()  #: set while the connection listens

    def send(self, kind: str) -> None:
        """Tells the others, soon; what is told often within a tenth of a second is told once."""
        self._to_send.add(kind)
        self._something.set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Sends and listens while the block runs."""
        tasks = [asyncio.create_task(self._listen()), asyncio.create_task(self._sender())]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _sender(self) -> None:
        while True:
            await self._something.wait()
            self._something.clear()
            kinds, self._to_send = self._to_send, set()
            try:
                await self._tell(kinds)
            except StorageUnavailableError:
                pass  # the others find the work at their next poll
            except Exception as error:  # of a surprise, the rest must not go untold for ever
                log.error("wake-ups not sent", reason=repr(error), exc_info=True)
            await asyncio.sleep(_SEND_EVERY)

    async def _tell(self, kinds: set[str]) -> None:
        async with self._database.writing() as connection:
            for kind in sorted(kinds):
                await connection.execute(text("SELECT pg_notify(:channel, :kind)"), {"channel": _CHANNEL, "kind": kind})

    async def _listen(self) -> None:
        pause = 0.1
        while True:
            try:
                async with await self._connect() as connection:
                    pause = 0.1
                    await self._hear(connection)
            except (psycopg.Error, OSError) as error:
                log.warning("wake-ups interrupted", reason=type(error).__name__, again_in=round(pause, 1))
            except Exception as error:  # of a surprise, this replica must not be deaf for ever
                log.error("wake-ups interrupted", reason=repr(error), again_in=round(pause, 1), exc_info=True)
            self.listening.clear()
            await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 - spreads the reconnects
            pause = min(pause * 2, _RECONNECT_MAX)

    async def _connect(self) -> psycopg.AsyncConnection[tuple[object, ...]]:
        url = self._database.url.set(drivername="postgresql").render_as_string(hide_password=False)
        connection = await psycopg.AsyncConnection.connect(
            url,
            autocommit=True,
            connect_timeout=5,
            application_name="qwen-image-gateway wake-ups",
            keepalives_idle=10,
            tcp_user_timeout=15_000,
        )
        try:
            await connection.execute(f"LISTEN {_CHANNEL}")
        except BaseException:  # a stop in between, too, must not leave it open
            await connection.close()
            raise
        return connection

    async def _hear(self, connection: psycopg.AsyncConnection[tuple[object, ...]]) -> None:
        self.listening.set()
        self._heard("")  # what was told while nobody listened
        while True:
            async for notification in connection.notifies(timeout=_LISTEN_SECONDS):
                self._heard(notification.payload)
            await connection.execute("SELECT 1")
