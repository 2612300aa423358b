"""A forecast is a courtesy: reading the pace of recent jobs never holds up an answer, nor breaks one; nor is it made up."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.errors import StorageUnavailableError
from app.jobs.forecaster import Forecaster
from app.lifecycle.forecast import Ran
from app.lifecycle.job import Job
from app.lifecycle.states import Priority
from tests.lifecycle.lives import accepted

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


def queued() -> Job:
    return accepted().job


async def asked_in_trouble(trouble: BaseException | None) -> None:
    store: Any = Troubled(trouble)
    seconds = 0.0
    forecaster = Forecaster(store, monotonic=lambda: seconds, patience=0.01)
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


async def test_estimates_are_told_by_the_clock_that_wrote_the_jobs_instants() -> None:
    """The process's clock may be hours off; a job's instants, and the time when recent jobs were read, are the database's."""
    store: Any = Troubled(None)
    seconds = 0.0
    forecaster = Forecaster(store, monotonic=lambda: seconds)
    near = await forecaster.estimate(queued(), 1)
    seconds = 10.0
    later = await forecaster.estimate(queued(), 1)
    assert near is not None
    assert later is not None
    assert near.p50_at == NOW + timedelta(seconds=21), "20 s of running, and told in whole seconds"
    assert later.p50_at - near.p50_at == timedelta(seconds=10)


class Counted:
    """Stands in for the store: counts when it is told to."""

    def __init__(self) -> None:
        self.asked, self.counts = 0, asyncio.Queue[int | StorageUnavailableError]()

    async def depth(self, _tenant: str, _priority: Priority) -> int:
        self.asked += 1
        count = await self.counts.get()
        if isinstance(count, StorageUnavailableError):
            raise count
        return count


async def test_whoever_asks_while_a_queue_is_counted_for_the_first_time_gets_its_count() -> None:
    store: Any = Counted()
    forecaster = Forecaster(store)
    asking = [asyncio.create_task(forecaster.depth("design", Priority.NORMAL)) for _ in range(3)]
    asking.append(asyncio.create_task(forecaster.joined(queued())))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    store.counts.put_nowait(700)
    assert await asyncio.gather(*asking) == [700] * 4
    assert (store.asked, await forecaster.depth("design", Priority.NORMAL)) == (1, 700)


async def test_a_queue_that_could_not_be_counted_is_counted_by_the_next_who_asks() -> None:
    store: Any = Counted()
    forecaster = Forecaster(store)
    for count in (StorageUnavailableError(), 700):
        store.counts.put_nowait(count)
    with pytest.raises(StorageUnavailableError):
        await forecaster.depth("design", Priority.NORMAL)
    assert await forecaster.depth("design", Priority.NORMAL) == 700


async def test_who_joins_a_queue_waits_for_no_count_of_one_that_was_counted_just_now() -> None:
    store, seconds = Counted(), 0.0
    forecaster = Forecaster(store, monotonic=lambda: seconds)  # type: ignore[arg-type]
    store.counts.put_nowait(7)
    assert await forecaster.joined(queued()) == 7
    assert await forecaster.joined(queued()) == 8
    seconds = 1.0
    first = asyncio.create_task(forecaster.joined(queued()))
    await asyncio.sleep(0)
    assert await forecaster.joined(queued()) == 9, "while the first of them has it counted anew"
    store.counts.put_nowait(3)
    assert (await first, await forecaster.joined(queued()), store.asked) == (3, 4, 2)


async def test_who_stops_waiting_for_a_count_stops_it_for_nobody() -> None:
    store: Any = Counted()
    forecaster = Forecaster(store)
    first, second = (asyncio.create_task(forecaster.depth("design", Priority.NORMAL)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    store.counts.put_nowait(700)
    assert (await second, store.asked) == (700, 1)
    await forecaster.drained()
