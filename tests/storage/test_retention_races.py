"""Retention against those who refer to pictures anew, and those who make deliveries due again: PostgreSQL, two connections."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from sqlalchemy import event, insert, update

from app.lifecycle.job import CallbackFormat, Life
from app.lifecycle.states import JobState
from app.storage import tables as t
from app.storage.database import Database
from app.storage.deliveries import DeliveryStore
from app.storage.images import PictureRows, Reference, alone_with
from app.storage.intake import IntakeStore, Order
from app.storage.retention import RetentionStore
from app.storage.rows import job_row
from tests.databases import OpenDatabase
from tests.storage.factory import Factory, HandClock, all_lives, new_job
from tests.storage.watch import blocked_statements

MONTH = timedelta(days=30)
SHA = "ab" * 32
CALLED = {"callback_url": "https://caller.example/", "callback_format": CallbackFormat.SIGNED}
STORED = {"state": "stored", "sha256": SHA, "media_type": "image/png", "width": 8, "height": 8, "bytes": 9, "due_at": None}


@pytest.fixture
def ours(postgres_url: str, open_database: OpenDatabase, clock: HandClock) -> Database:
    return open_database(postgres_url, clock=clock)


@pytest.fixture
def theirs(postgres_url: str, open_database: OpenDatabase, clock: HandClock) -> Database:
    return open_database(postgres_url, clock=clock)


async def change(database: Database, table: Any, life: Life, **values: Any) -> None:
    async with database.writing() as connection:
        await connection.execute(update(table).where(table.c.job_id == life.job.job_id).values(values))


async def pictured(factory: Factory, sha256: str = SHA, **fields: Any) -> Life:
    """A job whose picture is stored."""
    life = await factory.in_state(JobState.SUCCEEDED, **{"request_hash": b"same", **fields})
    await change(factory.database, t.images, life, **{**STORED, "sha256": sha256})
    return life


async def exhausted(database: Database, **fields: Any) -> Life:
    """A job that may go, with a delivery that nobody makes any more."""
    life = await Factory(database).in_state(JobState.FAILED, **CALLED, **fields)
    await change(database, t.deliveries, life, state="exhausted", due_at=None, finished_at=life.job.finished_at)
    return life


def reference_of(life: Life) -> Reference:
    return Reference(life.job.job_id, 0, SHA, "image/png")


def wanted(**fields: Any) -> Order:
    return Order((new_job(**{"request_hash": b"same", **fields}),), frozenset({0}))


async def test_a_result_that_is_being_let_go_of_is_not_reused(ours: Database, theirs: Database) -> None:
    source = await pictured(Factory(ours))
    async with ours.writing() as letting_go:
        await alone_with(letting_go, SHA)
        taking = asyncio.create_task(IntakeStore(theirs).take([wanted()]))
        await blocked_statements(ours, 1)
        of_source = t.images.c.job_id == source.job.job_id
        await letting_go.execute(update(t.images).where(of_source).values(error="withdrawn"))
    [taken] = await taking
    assert (taken.lives[0].job.state, taken.lives[0].job.reused_from) == (JobState.QUEUED, None)


async def test_a_result_that_is_being_reused_is_not_deleted(ours: Database, theirs: Database) -> None:
    """The intake has found the result, and waits for somebody else's request with its key before it can write."""
    source = await pictured(Factory(ours))
    order = wanted(idempotency_key="k")
    async with ours.writing() as first:
        await first.execute(insert(t.jobs), [job_row(new_job(idempotency_key="k"))])
        taking = asyncio.create_task(IntakeStore(theirs).take([order]))
        await blocked_statements(ours, 1)
        withdrawing = asyncio.create_task(PictureRows(theirs).withdraw(reference_of(source)))
        await blocked_statements(ours, 2)
        await first.rollback()
    [taken] = await taking
    assert taken.lives[0].job.reused_from == source.job.job_id
    assert not await withdrawing, "the new job refers to the object"
    [picture] = (await Factory(ours).find(order.jobs[0].job_id)).pictures
    assert (picture.is_stored, picture.sha256) == (True, SHA)


async def test_opposite_orders_that_reuse_the_same_results_do_not_deadlock(ours: Database, theirs: Database) -> None:
    other, factory = "cd" * 32, Factory(ours)
    await pictured(factory)
    await pictured(factory, other, request_hash=b"other")
    hashes = (b"same", b"other")
    async with ours.writing() as barrier:
        for sha256 in (SHA, other):
            await alone_with(barrier, sha256)
        groups = [[wanted(request_hash=each) for each in order] for order in (hashes, reversed(hashes))]
        takings = [asyncio.create_task(IntakeStore(theirs).take(group)) for group in groups]
        await blocked_statements(ours, 2)
    taken = [each for taking in takings for each in await taking]
    assert [each.lives[0].job.reused_from is not None for each in taken] == [True] * 4


async def test_what_is_being_recovered_is_not_pruned(ours: Database, theirs: Database, clock: HandClock) -> None:
    """Recovering waits for somebody who holds the delivery; it holds the job by then."""
    life = await exhausted(ours)
    since = clock.now
    clock.advance(days=31)
    async with ours.writing() as holding:
        await holding.execute(t.deliveries.select().where(t.deliveries.c.job_id == life.job.job_id).with_for_update())
        recovering = asyncio.create_task(DeliveryStore(theirs).recover("acme", since, by="key-1"))
        await blocked_statements(ours, 1)
        assert (await RetentionStore(ours).prune(MONTH, archiving=False)).jobs == 0
    assert await recovering == 1
    assert (await RetentionStore(ours).prune(MONTH, archiving=False)).jobs == 0
    assert [each.job.job_id for each in await all_lives(ours)] == [life.job.job_id]


async def test_what_was_revived_between_the_look_and_the_deletion_stays(
    ours: Database, postgres_url: str, clock: HandClock
) -> None:
    await exhausted(ours)
    clock.advance(days=31)
    with before_the_deletion(ours, postgres_url, "UPDATE deliveries SET state = 'pending', finished_at = NULL"):
        assert (await RetentionStore(ours).prune(MONTH, archiving=False)).jobs == 0
    assert len(await all_lives(ours)) == 1


@contextmanager
def before_the_deletion(database: Database, url: str, statement: str) -> Iterator[None]:
    """Somebody else commits this between the look of whoever prunes and the deletion."""

    def meanwhile(_connection: Any, _cursor: Any, sent: str, *_rest: Any) -> None:
        if sent.startswith("DELETE"):
            with psycopg.connect(url) as other:
                other.execute(statement)

    engine = database._writer.sync_engine
    event.listen(engine, "before_cursor_execute", meanwhile)
    try:
        yield
    finally:
        event.remove(engine, "before_cursor_execute", meanwhile)


async def test_a_job_that_is_to_be_delivered_after_all_keeps_its_pictures(
    ours: Database, theirs: Database, clock: HandClock
) -> None:
    """It was listed to go; by the time the archive comes to it, it has been recovered."""
    life = await pictured(Factory(ours), **CALLED)
    await change(ours, t.deliveries, life, state="exhausted", due_at=None, finished_at=life.job.finished_at)
    since = life.job.created_at
    clock.advance(days=31)
    assert [job_id for _, job_id in await RetentionStore(ours).pictured(MONTH)] == [life.job.job_id]
    async with ours.writing() as holding:
        await holding.execute(t.deliveries.select().where(t.deliveries.c.job_id == life.job.job_id).with_for_update())
        recovering = asyncio.create_task(DeliveryStore(theirs).recover("acme", since, by="key-1"))
        await blocked_statements(ours, 1)
        withdrawing = asyncio.create_task(PictureRows(theirs).withdraw(reference_of(life)))
        await blocked_statements(ours, 2)
    assert await recovering == 1
    assert not await withdrawing
    [picture] = (await Factory(ours).find(life.job.job_id)).pictures
    assert (picture.is_stored, picture.sha256) == (True, SHA)
