"""A whole gateway for the tests of access, on both databases, and keys of every kind."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.acceptance.stage import Stage, open_stage
from tests.access.keyring import Keyring


@pytest.fixture
async def stage(database_url: str) -> AsyncIterator[Stage]:
    async with open_stage(database_url) as opened:
        yield opened


@pytest.fixture
async def keyring(stage: Stage) -> AsyncIterator[Keyring]:
    async with Keyring(stage) as opened:
        yield opened
