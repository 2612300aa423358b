"""A forecast is a courtesy: reading the pace of recent jobs never holds up an answer, nor breaks one."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from app.errors import StorageUnavailableError
from app.jobs.forecaster import Forecaster
from app.lifecycle.forecast import Ran

NOW = datetime(2026, 11, 5, 12, tzinfo=UTC)


class Troubled:
    """Stands in for the store: tells of some jobs once, and is in trouble afterwards."""

    def __init__(self, trouble: BaseException | None) -> None:
        self.asked, self._trouble = 0, trouble

    async def recent(self) -> tuple[Sequence[Ran], datetime]:
        self.asked += 1
        if self.asked == 1:
            ended = NOW - timedelta(minutes=1)
            return [Ran(ended - timedelta(seconds=30), ended - timedelta(seconds=20), ended)] * 50, NOW
        if self._trouble is not None:
            raise self._trouble
        return await asyncio.Future()


async def asked_in_trouble(trouble: BaseException | None) -> None:
    store: Any = Troubled(trouble)
    seconds = 0.0
    forecaster = Forecaster(store, clock=lambda: NOW, monotonic=lambda: seconds, patience=0.01)
    pace = await forecaster.pace()
    assert pace is not None
    seconds = 100
    assert await asyncio.gather(*(forecaster.pace() for _ in range(20))) == [pace] * 20
    assert store.asked == 2
    seconds = 101
    assert await forecaster.pace() == pace
    assert store.asked == 3


async def test_while_the_database_is_away_the_old_pace_is_believed_and_it_is_asked_once_a_second() -> None:
    await asked_in_trouble(StorageUnavailableError())


async def test_a_database_that_takes_too_long_is_given_up() -> None:
    await asked_in_trouble(None)
