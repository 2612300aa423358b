"""`target`: every test that takes it runs against the emulator, and against the gateway on both databases."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.acceptance.stage import Stage, open_stage
from tests.drop_in.targets import Target, emulator_target, gateway_target


@pytest.fixture(params=["emulator", "gateway on SQLite", "gateway on PostgreSQL"])
def target_database(request: pytest.FixtureRequest) -> str | None:
    """None for the emulator, which has none."""
    fixture = {"gateway on SQLite": "sqlite_url", "gateway on PostgreSQL": "postgres_url"}.get(request.param)
    return None if fixture is None else request.getfixturevalue(fixture)


@pytest.fixture
async def target(target_database: str | None) -> AsyncIterator[Target]:
    async with emulator_target() if target_database is None else gateway_target(target_database) as opened:
        yield opened


@pytest.fixture
async def stage(database_url: str) -> AsyncIterator[Stage]:
    async with open_stage(database_url, image_store_url="memory://", image_allow="127.0.0.1") as opened:
        yield opened
