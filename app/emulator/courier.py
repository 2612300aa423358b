"""Sends the world's callbacks over HTTP, each when it is due."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import httpx

from app.emulator.callback import OutgoingCallback
from app.emulator.world import World

#: Seconds a callback's receiver has for its answer.
TIMEOUT_SECONDS = 10.0

#: Callbacks under way at once.
MAX_UNDER_WAY = 64


class Courier:
    """Waits for the next due callback, or for news of an earlier one, and sends what is due."""

    def __init__(self, world: World, clock: Callable[[], float]) -> None:
        self._world = world
        self._clock = clock
        self._news = asyncio.Event()
        self._answered: dict[str, asyncio.Event] = {}
        self._under_way: set[asyncio.Task[None]] = set()

    def wake(self) -> None:
        """Say that the world's callbacks may have changed."""
        self._news.set()

    async def first_answer(self, task_id: str, seconds: float) -> None:
        """Return once a callback of this task has been answered or has failed, or after so many seconds."""
        answered = self._answered.setdefault(task_id, asyncio.Event())
        try:
            await asyncio.wait_for(answered.wait(), seconds)
        except TimeoutError:
            pass
        finally:
            self._answered.pop(task_id, None)

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        """Send callbacks while the context is open; what is under way at its end is given up."""
        limits = httpx.Limits(max_connections=MAX_UNDER_WAY)
        async with httpx.AsyncClient(timeout=TIMEOUT_SECONDS, limits=limits, trust_env=False) as client:
            loop = asyncio.create_task(self._run(client), name="callbacks")
            try:
                yield
            finally:
                await _give_up(loop, *self._under_way)

    async def _run(self, client: httpx.AsyncClient) -> None:
        room = asyncio.Semaphore(MAX_UNDER_WAY)
        while True:
            self._news.clear()
            for callback in self._world.take_due_callbacks():
                sending = asyncio.create_task(self._deliver(client, room, callback))
                self._under_way.add(sending)
                sending.add_done_callback(self._under_way.discard)
            await self._news_or_next_due()

    async def _news_or_next_due(self) -> None:
        next_at = self._world.next_callback_at()
        seconds = None if next_at is None else max(0.0, next_at - self._clock())
        try:
            await asyncio.wait_for(self._news.wait(), seconds)
        except TimeoutError:
            return

    async def _deliver(self, client: httpx.AsyncClient, room: asyncio.Semaphore, callback: OutgoingCallback) -> None:
        async with room:
            http_status, error = await _post(client, callback)
        self._world.note_callback(callback, http_status=http_status, error=error)
        if not callback.kind.startswith("forged") and (answered := self._answered.get(callback.task_id)):
            answered.set()
        self.wake()


async def _post(client: httpx.AsyncClient, callback: OutgoingCallback) -> tuple[int | None, str | None]:
    headers = {"content-type": callback.content_type, **callback.headers}
    try:
        answer = await client.post(callback.url, content=callback.body, headers=headers, follow_redirects=False)
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        return None, f"{type(error).__name__}: {error}"
    return answer.status_code, None


async def _give_up(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
