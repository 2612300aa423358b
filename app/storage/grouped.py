"""Grouped writing: what arrives together is written by one transaction, and each waits for its own result."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from app.errors import StorageUnavailableError

Item = TypeVar("Item")
Result = TypeVar("Result")


class GroupedWriter(Generic[Item, Result]):
    """Collects items while a transaction is under way, and writes all that have gathered with the next.

    Patient ones are also waited for: they go with whatever is written meanwhile, and at last by themselves, together. A group
    that fails is retried item by item, so a bad row fails alone. A caller that stops waiting cancels nothing: what it handed
    over is still written.
    """

    def __init__(
        self,
        write: Callable[[Sequence[Item]], Awaitable[Sequence[Result]]],
        *,
        group_max: int = 200,
    ) -> None:
        self._write, self._group_max = write, group_max
        self._waiting: list[tuple[Item, asyncio.Future[Result]]] = []
        self._flushing: asyncio.Task[None] | None = None

    async def put(self, item: Item, *, patience: float = 0.0) -> Result:
        """Writes the item; returns its result once it is committed.

        Args:
            patience: for so many seconds others may be waited for, so that they are written together.

        Raises:
            StorageUnavailableError: the database is out of reach; the item was not written.
            Exception: whatever the writing of this item raised.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Result] = loop.create_future()
        self._waiting.append((item, future))
        if patience:
            loop.call_later(patience, self._start)
        else:
            self._start()
        return await future

    async def drained(self) -> None:
        """Returns when everything that was handed over has been written, or has failed; nobody is waited for any more."""
        self._start()
        while self._flushing is not None and not self._flushing.done():
            await self._flushing

    def _start(self) -> None:
        if self._waiting and (self._flushing is None or self._flushing.done()):
            self._flushing = asyncio.create_task(self._flush())

    async def _flush(self) -> None:
        while self._waiting:
            group, self._waiting = self._waiting[: self._group_max], self._waiting[self._group_max :]
            await self._write_group(group)

    async def _write_group(self, group: list[tuple[Item, asyncio.Future[Result]]]) -> None:
        try:
            results = await self._write([item for item, _ in group])
        except StorageUnavailableError as error:
            for _, future in group:
                _fail(future, error)
        except Exception as error:  # noqa: BLE001 - each gets its own, whatever it is
            if len(group) == 1:
                _fail(group[0][1], error)
            else:
                for single in group:
                    await self._write_group([single])
        else:
            for (_, future), result in zip(group, results, strict=True):
                if not future.done():
                    future.set_result(result)


def _fail(future: asyncio.Future[Result], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
