"""The client's two faces behind one, so that each test runs with both."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Protocol

from app.client import AsyncClient, Client, Patience

KEY = "gw_secret_of_the_tests_0123456789"


class Face(Protocol):
    """A client. Its pauses are written down and not made."""

    pauses: list[float]

    async def ask(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """What the method returns."""

    async def collect(self, name: str, *args: Any, **kwargs: Any) -> list[Any]:
        """All that the method yields."""


class SyncFace:
    def __init__(self, url: str, key: str, patience: Patience) -> None:
        self.pauses: list[float] = []
        self.client = Client(url, key, patience=patience, sleep=self.pauses.append)

    async def ask(self, name: str, *args: Any, **kwargs: Any) -> Any:
        return await asyncio.to_thread(getattr(self.client, name), *args, **kwargs)

    async def collect(self, name: str, *args: Any, **kwargs: Any) -> list[Any]:
        return await asyncio.to_thread(lambda: list(getattr(self.client, name)(*args, **kwargs)))

    async def close(self) -> None:
        await asyncio.to_thread(self.client.close)


class AsyncFace:
    def __init__(self, url: str, key: str, patience: Patience) -> None:
        self.pauses: list[float] = []
        self.client = AsyncClient(url, key, patience=patience, sleep=self._pause)

    async def _pause(self, seconds: float) -> None:
        self.pauses.append(seconds)

    async def ask(self, name: str, *args: Any, **kwargs: Any) -> Any:
        return await getattr(self.client, name)(*args, **kwargs)

    async def collect(self, name: str, *args: Any, **kwargs: Any) -> list[Any]:
        return [item async for item in getattr(self.client, name)(*args, **kwargs)]

    async def close(self) -> None:
        await self.client.aclose()


Faces = Callable[..., Any]


def faces_of(kind: type[SyncFace] | type[AsyncFace]) -> Faces:
    @asynccontextmanager
    async def face(url: str, key: str = KEY, **patience: Any) -> AsyncIterator[SyncFace | AsyncFace]:
        made = kind(url, key, Patience(**patience))
        try:
            yield made
        finally:
            await made.close()

    return face
