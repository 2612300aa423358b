"""The stage for operators, on both databases; and waiting for what they asked for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from tests.acceptance.stage import Stage, open_stage
from tests.access.keyring import Keyring
from tests.timed import clock, database, factory

__all__ = ["clock", "database", "factory"]

#: What is asked again and again until it holds.
Until = Callable[[Callable[[], Awaitable[Any]], Callable[[Any], bool]], Awaitable[Any]]


@pytest.fixture
async def stage(database_url: str) -> AsyncIterator[Stage]:
    async with asyncio.timeout(100), open_stage(database_url) as opened:
        yield opened


@pytest.fixture
async def paused(stage: Stage) -> Stage:
    """A stage on which nothing is sent upstream."""
    await stage.api.post("/dispatch/pause")
    return stage


@pytest.fixture
async def keyring(stage: Stage) -> AsyncIterator[Keyring]:
    async with Keyring(stage) as opened:
        yield opened


@pytest.fixture
def until() -> Until:
    async def ask(what: Callable[[], Awaitable[Any]], holds: Callable[[Any], bool]) -> Any:
        async with asyncio.timeout(60):
            while not holds(found := await what()):
                await asyncio.sleep(0.02)  # nobody rings for operators; they poll
        return found

    return ask
