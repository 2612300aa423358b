"""A rig on either database; see `rig.py`."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from app.storage.database import Database
from tests.deliveries.rig import Rig
from tests.raw_server import serve
from tests.storage.factory import HandClock
from tests.timed import database

__all__ = ["database", "serve"]


@pytest.fixture
def clock() -> HandClock:
    """Begins at the real time: those who verify look at their own clocks."""
    return HandClock(datetime.now(UTC))


@pytest.fixture
async def rig(database: Database, clock: HandClock) -> Rig:
    made = Rig(database, clock)
    await made.tenant()
    return made
