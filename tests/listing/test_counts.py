"""How many jobs a filter finds: as many as the list holds, and honest where the count ends early."""

from __future__ import annotations

import pytest

from app.lifecycle.states import ErrorCode, JobState
from app.storage.counted import Counted
from app.storage.database import Database
from app.storage.history import HistoryStore
from app.storage.job_filter import JobFilter
from tests.listing.rows import JobRow, add
from tests.listing.test_search import FILTERS, population

MANY = 10_000


async def test_every_filter_counts_what_it_finds(database: Database) -> None:
    jobs = population()
    await add(database, *jobs)
    for wanted in FILTERS:
        expected = sum(job.fits(wanted) for job in jobs)
        assert await HistoryStore(database).count(wanted, at_most=MANY) == Counted(expected, more=False), wanted


@pytest.mark.parametrize("wanted", [JobFilter(), JobFilter(words=("dusk",)), JobFilter(states=(JobState.SUCCEEDED,))])
async def test_a_count_that_reaches_its_limit_says_that_there_are_more(database: Database, wanted: JobFilter) -> None:
    await add(database, *(JobRow() for _ in range(5)))
    count = HistoryStore(database).count
    assert await count(wanted, at_most=5) == Counted(5, more=False)
    assert await count(wanted, at_most=4) == Counted(4, more=True)


async def test_a_count_that_may_look_at_no_more_says_that_there_may_be_more(database: Database) -> None:
    await add(database, *(JobRow() for _ in range(5)))
    counted = await HistoryStore(database).count(JobFilter(words=("dusk",)), at_most=MANY, look_at=3)
    assert counted == Counted(3, more=True)
    none = await HistoryStore(database).count(JobFilter(words=("absent",)), at_most=MANY, look_at=3)
    assert none == Counted(0, more=True)


async def test_what_cannot_be_counts_nothing(database: Database) -> None:
    await add(database, JobRow())
    impossible = JobFilter(error_code=ErrorCode.TASK_LOST, states=(JobState.SUCCEEDED,))
    assert await HistoryStore(database).count(impossible, at_most=MANY) == Counted(0, more=False)
