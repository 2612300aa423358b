"""Databases for every test that wants one; see `databases.py`.

`database_url` and `database` run a test twice, on SQLite and on PostgreSQL, each time on a fresh migrated database.
"""

from __future__ import annotations

import shutil
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from app.clock import Clock
from app.storage.database import Database
from app.storage.database import database_url as parse_url
from tests import databases
from tests.databases import OpenDatabase, Postgres


def pytest_configure() -> None:
    """A terminated run cleans up like an interrupted one, so that no server outlives it."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A real PostgreSQL server on loopback."""
    with databases.running_postgres() as running:
        yield running


@pytest.fixture
def postgres_url(postgres: Postgres) -> Iterator[str]:
    """A fresh migrated PostgreSQL database."""
    with postgres.fresh() as url:
        yield url


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    databases.migrate(databases.sqlite_url(path))
    return path


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    """A fresh migrated SQLite database."""
    path = tmp_path / "gateway.db"
    shutil.copyfile(sqlite_template, path)
    return databases.sqlite_url(path)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """A fresh migrated database of either kind, as GATEWAY_DATABASE_URL spells it."""
    url: str = request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url")
    return url


@pytest.fixture
async def open_database() -> AsyncIterator[OpenDatabase]:
    """Opens databases as the gateway does, any number of them, and disposes of them in the end."""
    async with AsyncExitStack() as opened:

        def open_(url: str, *, clock: Clock | None = None) -> Database:
            database = Database(parse_url(url), clock=clock)
            opened.push_async_callback(database.dispose)
            return database

        yield open_


@pytest.fixture
def database(database_url: str, open_database: OpenDatabase) -> Database:
    """A fresh migrated database of either kind, open."""
    return open_database(database_url)


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database of either kind, without a schema."""
    if request.param == "sqlite":
        yield databases.sqlite_url(tmp_path / "empty.db")
    else:
        postgres: Postgres = request.getfixturevalue("postgres")
        with postgres.fresh(empty=True) as url:
            yield url
