"""The stores' tests run on both databases, under a clock that only they move."""

from __future__ import annotations

import pytest

from app.storage.database import Database
from tests.databases import OpenDatabase
from tests.storage.factory import Factory, HandClock


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def database(database_url: str, open_database: OpenDatabase, clock: HandClock) -> Database:
    return open_database(database_url, clock=clock)


@pytest.fixture
def factory(database: Database) -> Factory:
    return Factory(database)
