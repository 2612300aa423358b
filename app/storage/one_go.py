"""Transactions on SQLite that need the event loop for nothing: each runs on one thread from its beginning to its end.

Every step of a statement would else go over to a thread and back, which costs more than SQLite's own work.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar, cast

from sqlalchemy import Connection, CursorResult, Dialect, Engine
from sqlalchemy.ext.asyncio import AsyncConnection

Result = TypeVar("Result")
Work = Callable[[AsyncConnection], Coroutine[Any, Any, Result]]


class OneGo:
    """A thread with a connection of its own. `dispose` of it.

    Args:
        commits: whether what it ran is committed; what only reads is rolled back, as everywhere.
    """

    def __init__(self, engine: Engine, *, commits: bool) -> None:
        self.engine, self._commits = engine, commits
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sqlite")

    async def run(self, work: Work[Result]) -> Result:
        """What `work` returns, once its transaction has ended. `work` must wait for nothing but its connection.

        A caller who stops waiting stops nothing.
        """
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._run, work)

    async def dispose(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self.engine.dispose)
        self._thread.shutdown()

    def _run(self, work: Work[Result]) -> Result:
        with self.engine.begin() if self._commits else self.engine.connect() as connection:
            return _at_once(work(cast("AsyncConnection", _Ready(connection))))


class _Ready:
    """As much of an `AsyncConnection` as such work needs; whoever awaits it never waits."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @property
    def dialect(self) -> Dialect:
        return self._connection.dialect

    async def execute(self, statement: Any, parameters: Any = None) -> CursorResult[Any]:
        return self._connection.execute(statement, parameters)


def _at_once(work: Coroutine[Any, Any, Result]) -> Result:
    try:
        work.send(None)
    except StopIteration as done:
        result: Result = done.value
        return result
    work.close()
    raise RuntimeError("a transaction in one go waited for something else than its connection")
