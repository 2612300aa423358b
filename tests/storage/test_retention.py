"""What is long over goes in small batches, with all that hangs on it; what can still change stays."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import func, insert, select, update
from uuid_utils.compat import uuid7

from app.errors import StorageUnavailableError
from app.lifecycle.answers import Accepted
from app.lifecycle.job import BatchPlace, CallbackFormat, Life
from app.lifecycle.news import Answered, CancelAsked, Claimed, WaitOver
from app.lifecycle.states import JobState
from app.retention.prune import Pruner
from app.storage import tables as t
from app.storage.database import Database
from app.storage.intake import IntakeStore, Order
from app.storage.retention import RetentionStore
from app.storage.usage import UsageStore
from tests.storage.factory import Factory, HandClock, all_lives, new_job, succeeded
from tests.storage.watch import plan_of, statements_of

MONTH = timedelta(days=30)
CALLED = {"callback_url": "https://caller.example/", "callback_format": CallbackFormat.SIGNED}


@pytest.fixture
def retention(database: Database) -> RetentionStore:
    return RetentionStore(database)


async def ids(database: Database) -> set[Any]:
    return {life.job.job_id for life in await all_lives(database)}


async def rows_of(database: Database) -> dict[str, int]:
    """How many rows each table has that hangs on jobs."""
    tables = (t.jobs, t.submissions, t.events, t.callbacks, t.deliveries, t.delivery_attempts, t.images, t.job_metadata)
    async with database.reading() as connection:
        return {
            table.name: (await connection.execute(select(func.count()).select_from(table))).scalar_one() for table in tables
        }


async def delivered(factory: Factory, life: Life) -> None:
    async with factory.database.writing() as connection:
        values = {"state": "delivered", "finished_at": life.job.finished_at, "due_at": None}
        await connection.execute(update(t.deliveries).where(t.deliveries.c.job_id == life.job.job_id).values(values))


async def test_settled_jobs_go_with_all_that_hangs_on_them(
    factory: Factory, retention: RetentionStore, clock: HandClock
) -> None:
    for state in (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELED):
        life = await factory.in_state(state, metadata={"a": "b"}, **CALLED)
        await delivered(factory, life)
    clock.advance(days=31)
    young = await factory.in_state(JobState.SUCCEEDED)
    pruned = await retention.prune(MONTH, archiving=False)
    assert (pruned.jobs, pruned.reached) == (3, None)
    assert await ids(factory.database) == {young.job.job_id}
    left = await rows_of(factory.database)
    assert (left["submissions"], left["deliveries"], left["job_metadata"], left["images"]) == (1, 0, 0, 1)


@pytest.mark.parametrize("state", [JobState.QUEUED, JobState.SUBMITTING, JobState.UNCONFIRMED, JobState.RUNNING])
async def test_what_is_not_settled_stays(
    factory: Factory, retention: RetentionStore, clock: HandClock, state: JobState
) -> None:
    await factory.in_state(state)
    clock.advance(days=400)
    assert (await retention.prune(MONTH, archiving=False)).jobs == 0
    assert len(await ids(factory.database)) == 1


async def test_open_books_a_waiting_delivery_and_unbooked_usage_stay(
    factory: Factory, retention: RetentionStore, clock: HandClock
) -> None:
    lost = await factory.in_state(JobState.UNCONFIRMED)
    clock.advance(hours=1)
    open_books = await factory.tell(lost.job.job_id, CancelAsked(), WaitOver(1))
    assert open_books.job.is_settled
    undelivered = await factory.in_state(JobState.SUCCEEDED, **CALLED)
    unbooked = await factory.in_state(JobState.SUCCEEDED)
    async with factory.database.writing() as connection:
        values = {"booked_open": None, "booked_held": None, "booked_consumed": None}
        await connection.execute(update(t.jobs).where(t.jobs.c.job_id == unbooked.job.job_id).values(values))
    goes = await factory.in_state(JobState.SUCCEEDED)
    clock.advance(days=31)
    assert (await retention.prune(MONTH, archiving=False)).jobs == 1
    stay = {life.job.job_id for life in (open_books, undelivered, unbooked)}
    assert await ids(factory.database) == stay
    assert goes.job.job_id not in stay


async def test_batches_go_on_behind_each_other_past_what_stays(
    factory: Factory, retention: RetentionStore, clock: HandClock
) -> None:
    stays = [await factory.in_state(JobState.SUCCEEDED, **CALLED) for _ in range(3)]
    for _ in range(5):
        await factory.in_state(JobState.SUCCEEDED)
    clock.advance(days=31)
    first = await retention.prune(MONTH, archiving=False, limit=2)
    second = await retention.prune(MONTH, archiving=False, after=first.reached, limit=2)
    third = await retention.prune(MONTH, archiving=False, after=second.reached, limit=2)
    assert [batch.jobs for batch in (first, second, third)] == [2, 2, 1]
    assert first.reached is not None
    assert third.reached is None
    assert await ids(factory.database) == {life.job.job_id for life in stays}


async def test_usage_outlives_the_jobs(factory: Factory, retention: RetentionStore, clock: HandClock) -> None:
    await factory.in_state(JobState.SUCCEEDED)
    usage, day = UsageStore(factory.database), clock.now.date()
    before = await usage.days(day, day, None)
    clock.advance(days=31)
    assert (await retention.prune(MONTH, archiving=False)).jobs == 1
    await usage.sum_up()
    assert await usage.days(day, day, None) == before != []


async def test_what_has_pictures_in_the_archive_waits_until_they_are_let_go_of(
    factory: Factory, retention: RetentionStore, clock: HandClock
) -> None:
    pictured, other = await factory.in_state(JobState.SUCCEEDED), await factory.in_state(JobState.SUCCEEDED)
    async with factory.database.writing() as connection:
        ours = update(t.images).where(t.images.c.job_id == pictured.job.job_id)
        await connection.execute(ours.values(state="stored", sha256="ab" * 32, due_at=None))
        theirs = update(t.images).where(t.images.c.job_id == other.job.job_id)
        await connection.execute(theirs.values(state="given_up", due_at=None))
    clock.advance(days=31)
    assert [job_id for _, job_id in await retention.pictured(MONTH)] == [pictured.job.job_id]
    assert (await retention.prune(MONTH, archiving=True)).jobs == 1
    assert await ids(factory.database) == {pictured.job.job_id}
    assert (await retention.prune(MONTH, archiving=False)).jobs == 0, "nobody would find them any more"
    async with factory.database.writing() as connection:
        await connection.execute(ours.values(state="given_up", sha256=None))
    assert await retention.pictured(MONTH) == []
    assert (await retention.prune(MONTH, archiving=True)).jobs == 1
    assert other.job.job_id not in await ids(factory.database)


async def test_what_has_pictures_still_to_be_stored_waits_for_the_store(
    factory: Factory, retention: RetentionStore, clock: HandClock
) -> None:
    """The store was down all the time; and one of the two pictures was stored before."""
    life = await factory.in_state(JobState.SUCCEEDED)
    async with factory.database.writing() as connection:
        first = {"job_id": life.job.job_id, "index": 1, "source_url": "https://images/2.jpeg", "attempts": 1}
        stored = {"state": "stored", "sha256": "ab" * 32, "created_at": clock.now, "stored_at": clock.now}
        await connection.execute(insert(t.images).values(**first, **stored))
    clock.advance(days=31)
    assert await retention.pictured(MONTH) == []
    assert (await retention.prune(MONTH, archiving=True)).jobs == 0
    async with factory.database.writing() as connection:
        await connection.execute(update(t.images).values(sha256=None, state="given_up", due_at=None))
    assert (await retention.prune(MONTH, archiving=True)).jobs == 1


async def test_the_jobs_of_a_batch_wait_for_each_other_and_go_after_one_another_the_bearer_of_its_key_last(
    factory: Factory, retention: RetentionStore, clock: HandClock
) -> None:
    first, second, third = await a_batch(factory, 3)
    for job_id in (first, second):
        await factory.tell(job_id, CancelAsked())
    clock.advance(days=31)
    assert (await retention.prune(MONTH, archiving=False)).jobs == 0, "the third is not settled"
    await factory.tell(third, CancelAsked())
    assert (await retention.prune(MONTH, archiving=False)).jobs == 0, "the third is young"
    clock.advance(days=31)
    assert (await retention.prune(MONTH, archiving=False)).jobs == 2
    assert await ids(factory.database) == {first}, "as long as any of them is kept, the key finds it"
    assert (await retention.prune(MONTH, archiving=False)).jobs == 1


async def test_the_pictures_of_a_batch_stay_as_long_as_its_jobs(
    factory: Factory, retention: RetentionStore, clock: HandClock
) -> None:
    first, second = await a_batch(factory, 2)
    await factory.tell(first, Claimed(b"h" * 32), Answered(1, Accepted("task-b")), succeeded("task-b"))
    async with factory.database.writing() as connection:
        await connection.execute(update(t.images).values(state="stored", sha256="ab" * 32, due_at=None))
    clock.advance(days=31)
    assert await retention.pictured(MONTH) == []
    await factory.tell(second, CancelAsked())
    clock.advance(days=31)
    assert (await retention.prune(MONTH, archiving=True)).jobs == 1
    assert [job_id for _, job_id in await retention.pictured(MONTH)] == [first]


async def a_batch(factory: Factory, size: int) -> list[UUID]:
    """The ids of its jobs, in their order."""
    batch_id = uuid7()
    jobs = [
        new_job(
            job_id=batch_id if place == 0 else uuid7(),
            idempotency_key="the-batch" if place == 0 else None,
            batch=BatchPlace(batch_id, place, "the-batch"),
        )
        for place in range(size)
    ]
    await IntakeStore(factory.database).take([Order(tuple(jobs))])
    return [job.job_id for job in jobs]


async def test_what_nobody_archives_does_not_wait(factory: Factory, retention: RetentionStore, clock: HandClock) -> None:
    await factory.in_state(JobState.SUCCEEDED)
    clock.advance(days=31)
    assert (await retention.prune(MONTH, archiving=False)).jobs == 1


async def test_the_pruner_lets_pictures_go_first_and_a_store_that_is_down_keeps_only_theirs(
    factory: Factory, retention: RetentionStore, clock: HandClock
) -> None:
    lives = [await factory.in_state(JobState.SUCCEEDED) for _ in range(3)]
    async with factory.database.writing() as connection:
        await connection.execute(update(t.images).values(state="given_up", due_at=None))
        ours = update(t.images).where(t.images.c.job_id != lives[0].job.job_id)
        await connection.execute(ours.values(state="stored", sha256="ab" * 32))
    clock.advance(days=31)
    down, released = True, []

    async def release(job_id: UUID) -> None:
        if down:
            raise StorageUnavailableError
        released.append(job_id)
        async with factory.database.writing() as connection:
            values = {"state": "given_up", "sha256": None}
            await connection.execute(update(t.images).where(t.images.c.job_id == job_id).values(values))

    pruner = Pruner(retention, MONTH, release)
    await pruner.sweep()
    assert len(await ids(factory.database)) == 2
    down = False
    await pruner.sweep()
    assert len(released) == 2
    assert await ids(factory.database) == set()


async def test_pruning_walks_the_settled_in_their_order(factory: Factory, retention: RetentionStore, clock: HandClock) -> None:
    for _ in range(30):
        await factory.in_state(JobState.SUCCEEDED)
    clock.advance(days=31)
    with statements_of(factory.database) as sent:
        await retention.prune(MONTH, archiving=False, limit=1)
    (statement,) = [s for s in sent if "ORDER BY jobs.finished_at" in s[0]]
    async with factory.database.writing() as connection:
        if not factory.database.is_sqlite:
            await connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        plan = await plan_of(connection, *statement)
    assert "jobs_finished" in plan
    assert "jobs_batch" in plan, "and only those of the job's own batch are looked at"
    assert "hashed SubPlan" not in plan
