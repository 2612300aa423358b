"""A gateway on both databases, what runs behind it, and stores under a clock that only the tests move."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from app.gateway import Gateway
from app.storage.database import Database
from tests.acceptance.stage import Stage, open_stage
from tests.databases import OpenDatabase
from tests.storage.factory import Factory, HandClock


@pytest.fixture
async def stage(database_url: str) -> AsyncIterator[Stage]:
    async with open_stage(database_url) as opened:
        yield opened


@pytest.fixture
def gateway(stage: Stage) -> Gateway:
    """What runs behind the stage."""
    gateway: Gateway = stage.app.state.let_go.__self__
    return gateway


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def database(database_url: str, open_database: OpenDatabase, clock: HandClock) -> Database:
    return open_database(database_url, clock=clock)


@pytest.fixture
def factory(database: Database) -> Factory:
    return Factory(database)
