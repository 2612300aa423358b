"""A database under a clock that only the test moves, and lives made in it: fixtures for the `conftest.py` of who wants them."""

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
