"""A gateway on both databases, what runs behind it, and stores under a clock that only the tests move."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from app.gateway import Gateway
from tests.acceptance.stage import Stage, open_stage
from tests.timed import clock, database, factory

__all__ = ["clock", "database", "factory"]


@pytest.fixture
async def stage(database_url: str) -> AsyncIterator[Stage]:
    async with open_stage(database_url) as opened:
        yield opened


@pytest.fixture
def gateway(stage: Stage) -> Gateway:
    """What runs behind the stage."""
    gateway: Gateway = stage.app.state.let_go.__self__
    return gateway
