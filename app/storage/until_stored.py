"""Writes that are worth waiting for: the database will come back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from app.errors import StorageUnavailableError

log = structlog.get_logger(__name__)

Result = TypeVar("Result")

_SHORTEST, _LONGEST = 0.1, 5.0  #: seconds between two tries


async def until_stored(write: Callable[[], Awaitable[Result]]) -> Result:
    """What `write` returns, as soon as the database is there for it."""
    pause = _SHORTEST
    while True:
        try:
            return await write()
        except StorageUnavailableError as error:
            log.error("waiting for the database", reason=str(error), again_in=pause)
            try:
                await asyncio.sleep(pause)
            except asyncio.CancelledError:
                log.critical("gave up waiting for the database; this could not be written down")
                raise
            pause = min(pause * 2, _LONGEST)
