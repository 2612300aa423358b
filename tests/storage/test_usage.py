"""The books of tenants: every change is entered once, whoever made it, and days sum up to what happened."""

from __future__ import annotations

import asyncio
from datetime import date, timedelta

import pytest
from sqlalchemy import func, select, update

from app.lifecycle.answers import Refusal, Refused, Unproven
from app.lifecycle.job import CallbackFormat
from app.lifecycle.limits import Limits, Standing
from app.lifecycle.news import Answered, CancelAsked, Claimed, LeaseExpired
from app.lifecycle.states import JobState
from app.storage import tables as t
from app.storage.database import Database
from app.storage.usage import UsageDay, UsageStore
from tests.databases import OpenDatabase
from tests.storage.factory import Factory, HandClock, succeeded

TODAY = date(2026, 1, 2)


@pytest.fixture
def usage(database: Database) -> UsageStore:
    return UsageStore(database)


async def standing(usage: UsageStore, tenant: str = "acme") -> tuple[int, int, int]:
    limits, found, _ = await usage.standing(tenant)
    assert limits == Limits()
    return found.open_jobs, found.credits_held, found.credits_consumed


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (JobState.QUEUED, (1, 5, 0)),
        (JobState.SUBMITTING, (1, 5, 0)),
        (JobState.UNCONFIRMED, (1, 5, 0)),
        (JobState.RUNNING, (1, 5, 0)),
        (JobState.SUCCEEDED, (0, 0, 5)),
        (JobState.FAILED, (0, 0, 0)),
        (JobState.CANCELED, (0, 0, 0)),
    ],
)
async def test_a_job_counts_for_what_its_state_holds(
    factory: Factory, usage: UsageStore, state: JobState, expected: tuple[int, int, int]
) -> None:
    await factory.in_state(state)
    assert await standing(usage) == expected
    assert await standing(usage, "umbrella") == (0, 0, 0)


async def test_sums_agree_with_the_jobs_themselves_whatever_happened(factory: Factory, usage: UsageStore) -> None:
    for state in JobState:
        await factory.in_state(state)
    refused = await factory.in_state(JobState.SUBMITTING)
    await factory.tell(refused.job.job_id, Answered(1, Refused(Refusal.SERVER_ERROR, "500")), Claimed(b"second"))
    lost = await factory.in_state(JobState.SUBMITTING)
    await factory.tell(lost.job.job_id, Answered(1, Unproven("gone")), CancelAsked())
    dead = await factory.in_state(JobState.SUBMITTING)
    await factory.tell(dead.job.job_id, LeaseExpired(1))
    await agrees(factory, usage)
    while await usage.sum_up(3):
        await agrees(factory, usage)


async def agrees(factory: Factory, usage: UsageStore) -> None:
    async with factory.database.reading() as connection:
        ids = (await connection.execute(select(t.jobs.c.job_id))).scalars().all()
    lives = [await factory.find(job_id) for job_id in ids]
    books = [life.books for life in lives]
    sums = sum(b.open for b in books), sum(b.held for b in books), sum(b.consumed for b in books)
    assert await standing(usage) == sums


async def test_days_tell_what_happened_on_them(factory: Factory, usage: UsageStore, clock: HandClock) -> None:
    life = await factory.in_state(JobState.RUNNING)
    clock.advance(days=1)
    await factory.in_state(JobState.FAILED)
    await factory.tell(life.job.job_id, succeeded(str(life.submissions[0].task_id)))
    expected = [
        UsageDay("acme", TODAY, accepted=1, succeeded=0, failed=0, canceled=0, credits_consumed=0),
        UsageDay("acme", TODAY + timedelta(days=1), accepted=1, succeeded=1, failed=1, canceled=0, credits_consumed=5),
    ]
    for _ in range(2):
        assert await usage.days(TODAY, TODAY + timedelta(days=9), None) == expected
        assert await usage.days(TODAY, TODAY, "acme") == expected[:1]
        assert await usage.days(TODAY, TODAY, "umbrella") == []
        await usage.sum_up()


async def test_last_months_credits_are_not_this_months(factory: Factory, usage: UsageStore, clock: HandClock) -> None:
    await factory.in_state(JobState.SUCCEEDED)
    clock.advance(days=29)
    assert await standing(usage) == (0, 0, 5)
    clock.advance(days=1)
    assert await standing(usage) == (0, 0, 0)


async def test_summing_up_leaves_one_row_a_day_and_loses_nothing(factory: Factory, usage: UsageStore) -> None:
    for _ in range(5):
        await factory.in_state(JobState.SUCCEEDED)
    assert await usage.sum_up() > 5
    assert await usage.sum_up() == 0
    await factory.in_state(JobState.SUCCEEDED)
    await usage.sum_up()
    async with factory.database.reading() as connection:
        assert (await connection.execute(select(func.count()).select_from(t.usage_days))).scalar_one() == 1
    assert await standing(usage) == (0, 0, 30)


async def test_replicas_that_sum_up_at_once_count_nothing_twice(
    postgres_url: str, open_database: OpenDatabase, clock: HandClock
) -> None:
    databases = [open_database(postgres_url, clock=clock) for _ in range(3)]
    factory = Factory(databases[0])
    await asyncio.gather(*(factory.in_state(JobState.SUCCEEDED) for _ in range(20)))
    stores = [UsageStore(database) for database in databases]
    await asyncio.gather(*(store.sum_up(7) for _ in range(20) for store in stores))
    assert await standing(stores[0]) == (0, 0, 100)


async def test_what_a_release_before_wrote_is_booked_later_once(factory: Factory, usage: UsageStore) -> None:
    await factory.in_state(JobState.SUCCEEDED, metadata={"order": "7"})
    await factory.in_state(JobState.RUNNING)
    async with factory.database.writing() as connection:  # as if it had never heard of books
        for table in (t.usage_entries, t.usage_days, t.job_metadata):
            await connection.execute(table.delete())
        await connection.execute(update(t.jobs).values(booked_open=None, booked_held=None, booked_consumed=None))
    assert await standing(usage) == (0, 0, 0)
    assert [await usage.book_the_unbooked(1) for _ in range(3)] == [1, 1, 0]
    assert await standing(usage) == (1, 5, 5)
    (day,) = await usage.days(TODAY, TODAY, "acme")
    assert (day.accepted, day.succeeded, day.credits_consumed) == (2, 1, 5)
    async with factory.database.reading() as connection:
        assert (await connection.execute(select(t.job_metadata.c.value))).scalars().all() == ["7"]


async def test_what_a_release_before_changed_is_made_up_for_by_the_next_change(factory: Factory, usage: UsageStore) -> None:
    life = await factory.in_state(JobState.RUNNING)
    async with factory.database.writing() as connection:
        await connection.execute(update(t.jobs).values(booked_open=None, booked_held=None, booked_consumed=None))
        await connection.execute(t.usage_entries.delete())
    await factory.tell(life.job.job_id, succeeded(str(life.submissions[0].task_id)))
    assert await standing(usage) == (0, 0, 5)
    (day,) = await usage.days(TODAY, TODAY, "acme")
    assert (day.accepted, day.succeeded) == (1, 1)


async def test_limits_are_read_with_the_standing(factory: Factory, usage: UsageStore, clock: HandClock) -> None:
    async with factory.database.writing() as connection:
        await connection.execute(t.tenants.insert(), [{"name": "acme", "created_at": clock.now, "monthly_credits": 50}])
    await factory.in_state(JobState.RUNNING)
    limits, found, now = await usage.standing("acme")
    assert (limits, found, now) == (Limits(monthly_credits=50), Standing(1, 5, 0), clock.now)


async def test_what_a_release_before_settled_is_booked_told_and_archived(factory: Factory, usage: UsageStore) -> None:
    """This one accepted it, and an old worker settled it without a word."""
    called = {"callback_url": "https://caller.example/", "callback_format": CallbackFormat.SIGNED}
    life = await factory.in_state(JobState.RUNNING, **called)
    await factory.tell(life.job.job_id, succeeded(str(life.submissions[0].task_id)))
    async with factory.database.writing() as connection:  # as the old worker leaves it
        for table in (t.deliveries, t.images, t.usage_entries):
            await connection.execute(table.delete())
        await connection.execute(update(t.jobs).values(booked_open=1, booked_held=5, booked_consumed=0))
        row = {"tenant": "acme", "day": TODAY, **dict.fromkeys(t.USAGE_FIGURES, 0), "open": 1, "held": 5, "accepted": 1}
        await connection.execute(t.usage_entries.insert(), [row])
    assert await usage.book_the_unbooked() == 1
    assert await usage.book_the_unbooked() == 0
    assert await standing(usage) == (0, 0, 5)
    (day,) = await usage.days(TODAY, TODAY, "acme")
    assert (day.accepted, day.succeeded, day.credits_consumed) == (1, 1, 5)
    async with factory.database.reading() as connection:
        counts = [
            (await connection.execute(select(func.count()).select_from(x))).scalar_one() for x in (t.deliveries, t.images)
        ]
    assert counts == [1, 1]
