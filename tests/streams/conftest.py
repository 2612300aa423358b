"""The stage for streams, on both databases; and jobs that wait on it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from app.gateway import Gateway
from tests.acceptance.stage import Stage, open_stage
from tests.timed import factory

__all__ = ["factory"]


@pytest.fixture
async def stage(database_url: str) -> AsyncIterator[Stage]:
    async with open_stage(database_url) as opened:
        yield opened


@pytest.fixture
async def paused(stage: Stage) -> Stage:
    """A stage on which nothing is sent upstream."""
    await stage.api.post("/dispatch/pause")
    return stage


@pytest.fixture
def gateway(stage: Stage) -> Gateway:
    """What runs behind the stage."""
    gateway: Gateway = stage.app.state.let_go.__self__
    return gateway
