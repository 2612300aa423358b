"""Threads that write to a folder, which may hang as one on a network does: nothing else waits for them, no exit either."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress


class Writers:
    """At most `most` calls at once, each in a thread of its own. One that is given up counts until it ends."""

    def __init__(self, most: int) -> None:
        self._free = asyncio.Semaphore(most)

    async def run(self, call: Callable[[], None]) -> None:
        """Raises whatever the call raises."""
        await self._free.acquire()
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()

        def work() -> None:
            error: BaseException | None = None
            try:
                call()
            except BaseException as raised:  # noqa: BLE001 - whoever waits is told
                error = raised
            with suppress(RuntimeError):  # the loop has ended, and everybody with it
                loop.call_soon_threadsafe(self._ended, done, error)

        try:
            # A daemon: the interpreter waits for all other threads before it exits, those of an executor too.
            threading.Thread(target=work, name="pictures", daemon=True).start()
        except RuntimeError:
            self._free.release()
            raise
        await done

    def _ended(self, done: asyncio.Future[None], error: BaseException | None) -> None:
        self._free.release()
        if done.done():
            return
        if error is None:
            done.set_result(None)
        else:
            done.set_exception(error)
