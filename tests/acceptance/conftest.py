"""The stage for every acceptance test, on both databases."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.acceptance.stage import Stage, open_stage


@pytest.fixture
async def stage(database_url: str) -> AsyncIterator[Stage]:
    async with open_stage(database_url) as opened:
        yield opened
