"""Accepted jobs: written once, many at once, each with its own result."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import pytest
from sqlalchemy import insert, select, update
from sqlalchemy.exc import DataError

from app.errors import StorageUnavailableError
from app.lifecycle.job import CallbackFormat, Job, Life
from app.lifecycle.states import JobState, Priority
from app.storage import tables as t
from app.storage.database import Database
from app.storage.grouped import GroupedWriter
from app.storage.history import HistoryStore
from app.storage.intake import IntakeStore, Order, Taken
from app.storage.rows import job_row
from tests.databases import OpenDatabase
from tests.storage.factory import Factory, HandClock, all_lives, new_job, take
from tests.storage.watch import blocked_statements


@dataclass
class CountingIntake:
    """Writes to the store, and counts the transactions it took."""

    database: Database
    groups: list[int] = field(default_factory=list)

    async def write(self, jobs: Sequence[Job]) -> Sequence[Taken]:
        self.groups.append(len(jobs))
        return await take(self.database, jobs)


async def test_a_new_job_is_kept_with_everything_it_was_given(database: Database, factory: Factory, clock: HandClock) -> None:
    job = new_job(metadata={"order": "42", "名": "值"}, priority=Priority.HIGH, idempotency_key="k", tenant="acme")
    clock.advance(minutes=1)
    (inserted,) = await take(database, [job])
    assert inserted.created
    assert inserted.lives[0] == await factory.find(job.job_id)
    assert inserted.lives[0].job == replace(job, created_at=clock.now, updated_at=clock.now, due_at=clock.now)


async def test_a_new_job_begins_its_timeline(database: Database, factory: Factory, clock: HandClock) -> None:
    (life,) = await factory.queued()
    (event,) = await HistoryStore(database).events(life.job.job_id)
    assert (event.type, event.at, event.data) == ("accepted", clock.now, {})


async def test_the_same_key_yields_the_first_job(database: Database) -> None:
    first = new_job(idempotency_key="k")
    await take(database, [first])
    again, other = await take(database, [new_job(idempotency_key="k"), new_job(idempotency_key="other")])
    assert (again.created, again.lives[0].job.job_id) == (False, first.job_id)
    assert other.created
    assert len(await HistoryStore(database).events(first.job_id)) == 1


async def test_the_same_key_yields_the_first_job_as_it_now_stands(database: Database, factory: Factory) -> None:
    life = await factory.in_state(JobState.RUNNING, idempotency_key="k")
    (again,) = await take(database, [new_job(idempotency_key="k")])
    assert again.lives[0] == life


async def test_the_same_key_twice_in_one_group_makes_one_job(database: Database) -> None:
    jobs = [new_job(idempotency_key="k"), new_job(), new_job(idempotency_key="k"), new_job(idempotency_key="l")]
    results = await take(database, jobs)
    assert [r.created for r in results] == [True, True, False, True]
    assert results[0].lives[0] == results[2].lives[0]
    assert len(await all_lives(database)) == 3


async def test_tenants_do_not_share_keys(database: Database) -> None:
    jobs = [new_job(idempotency_key="k", tenant="acme"), new_job(idempotency_key="k", tenant="umbrella")]
    results = await take(database, jobs)
    assert [(r.created, r.lives[0].job.tenant) for r in results] == [(True, "acme"), (True, "umbrella")]


async def test_jobs_without_a_key_are_never_the_same(database: Database) -> None:
    results = await take(database, [new_job() for _ in range(3)])
    assert [r.created for r in results] == [True] * 3


async def test_groups_with_the_same_keys_in_opposite_orders_do_not_deadlock(
    postgres_url: str, open_database: OpenDatabase, clock: HandClock
) -> None:
    """Two replicas insert the same keys. (SQLite has one writer, which waits for nobody.)"""
    databases = [open_database(postgres_url, clock=clock) for _ in range(3)]
    async with databases[2].writing() as held:
        await held.execute(insert(t.jobs), [job_row(new_job(idempotency_key="m"))])
        groups = [
            asyncio.create_task(take(d, [new_job(idempotency_key=key) for key in keys]))
            for d, keys in zip(databases, ("amz", "zma"), strict=False)
        ]
        await blocked_statements(databases[2], 2)
        await held.rollback()
    first, second = await asyncio.gather(*groups)
    assert [r.lives[0].job.job_id for r in first] == [r.lives[0].job.job_id for r in reversed(second)]
    assert sum(r.created for r in (*first, *second)) == 3


# --- grouped -------------------------------------------------------------------------------------------------------------


async def test_what_arrives_together_shares_transactions(database: Database) -> None:
    counting = CountingIntake(database)
    writer = GroupedWriter(counting.write)
    jobs = [new_job() for _ in range(100)]
    results = await asyncio.gather(*(writer.put(job) for job in jobs))
    assert [r.lives[0].job.job_id for r in results] == [job.job_id for job in jobs]
    assert all(r.created for r in results)
    assert len(await all_lives(database)) == 100
    assert len(counting.groups) < 10


async def test_two_writers_write_everything_once(database: Database) -> None:
    """As two replicas do."""
    counting = CountingIntake(database)
    writers = [GroupedWriter(counting.write, group_max=7) for _ in range(2)]
    await asyncio.gather(*(writers[n % 2].put(new_job(idempotency_key=str(n // 2))) for n in range(100)))
    assert sum(counting.groups) == 100
    assert max(counting.groups) <= 7
    assert len(await all_lives(database)) == 50


async def test_puts_one_after_the_other_do_not_wait_for_each_other(database: Database) -> None:
    """A put that comes as soon as the last group is told, before its flusher has gone, begins a group of its own."""
    counting = CountingIntake(database)
    writer = GroupedWriter(counting.write)
    async with asyncio.timeout(60):
        for _ in range(5):
            assert (await writer.put(new_job())).created
    assert counting.groups == [1] * 5


async def test_who_is_patient_is_written_with_whoever_is_not(database: Database) -> None:
    counting = CountingIntake(database)
    writer = GroupedWriter(counting.write)
    async with asyncio.timeout(60):
        patient = [asyncio.create_task(writer.put(new_job(), patience=3600)) for _ in range(2)]
        await asyncio.sleep(0)
        await writer.put(new_job())
        assert [(await one).created for one in patient] == [True, True]
    assert counting.groups == [3]


async def test_patience_ends_and_a_stop_waits_for_none(database: Database) -> None:
    counting = CountingIntake(database)
    writer = GroupedWriter(counting.write)
    async with asyncio.timeout(60):
        await asyncio.gather(writer.put(new_job(), patience=0.1), writer.put(new_job(), patience=3600))
        late = asyncio.create_task(writer.put(new_job(), patience=3600))
        await asyncio.sleep(0)
        await writer.drained()
        assert (await late).created
    assert counting.groups == [2, 1]


@pytest.mark.parametrize(
    "fields",
    [{"tenant": "a lone surrogate \ud800"}, {"submission": 2**64}, {"state": JobState.RUNNING}],
    ids=["text", "number", "law"],
)
async def test_a_bad_row_fails_alone(database: Database, fields: dict[str, Any]) -> None:
    writer = GroupedWriter(partial(take, database))
    jobs = [new_job(), new_job(), new_job(**fields), new_job(), new_job()]
    results = await asyncio.gather(*(writer.put(job) for job in jobs), return_exceptions=True)
    assert isinstance(results[2], Exception)
    assert not isinstance(results[2], StorageUnavailableError)
    assert [isinstance(r, Taken) and r.created for r in results] == [True, True, False, True, True]
    kept = {life.job.job_id for life in await all_lives(database)}
    assert kept == {job.job_id for job in jobs} - {jobs[2].job_id}


@pytest.mark.parametrize("fields", [{"tenant": "zero \0"}, {"metadata": {"key": "zero \0"}}], ids=["driver", "server"])
async def test_what_postgresql_cannot_hold_is_not_taken_for_an_absent_database(
    postgres_url: str, open_database: OpenDatabase, fields: dict[str, Any]
) -> None:
    """It has no zero characters. Of text psycopg says so by itself, without a code of the server's; of JSON the server."""
    writer = GroupedWriter(partial(take, open_database(postgres_url)))
    good, bad = await asyncio.gather(writer.put(new_job()), writer.put(new_job(**fields)), return_exceptions=True)
    assert isinstance(good, Taken)
    assert isinstance(bad, DataError)


async def test_a_group_with_a_bad_row_leaves_nothing_when_it_is_written_whole(database: Database) -> None:
    bad = new_job(state=JobState.RUNNING)
    with pytest.raises(Exception, match=r"(?i)check"):
        await take(database, [new_job(), bad])
    assert await all_lives(database) == []


async def test_who_stops_waiting_cancels_nothing(database: Database) -> None:
    entered, go_on = asyncio.Event(), asyncio.Event()

    async def write(jobs: Sequence[Job]) -> Sequence[Taken]:
        entered.set()
        await go_on.wait()
        return await take(database, jobs)

    writer = GroupedWriter(write)
    impatient, patient = asyncio.create_task(writer.put(new_job())), asyncio.create_task(writer.put(new_job()))
    await entered.wait()
    impatient.cancel()
    with pytest.raises(asyncio.CancelledError):
        await impatient
    go_on.set()
    assert (await patient).created
    await writer.drained()
    assert len(await all_lives(database)) == 2


async def test_when_the_database_is_away_the_whole_group_is_told_and_nothing_is_retried() -> None:
    calls = []

    async def write(jobs: Sequence[int]) -> Sequence[int]:
        calls.append(len(jobs))
        if len(calls) == 1:
            raise StorageUnavailableError
        return jobs

    writer: GroupedWriter[int, int] = GroupedWriter(write)
    results = await asyncio.gather(*(writer.put(n) for n in range(10)), return_exceptions=True)
    assert all(isinstance(r, StorageUnavailableError) for r in results)
    assert calls == [10]
    assert await writer.put(7) == 7


async def test_drained_returns_when_all_is_written(database: Database) -> None:
    writer = GroupedWriter(partial(take, database), group_max=3)
    puts = [asyncio.create_task(writer.put(new_job())) for _ in range(10)]
    await asyncio.sleep(0)  # the tasks hand over their items
    await writer.drained()
    assert len(await all_lives(database)) == 10
    await asyncio.gather(*puts)


# --- results that are there already ---


async def fixed(factory: Factory, state: JobState = JobState.SUCCEEDED, *, stored: bool = True, **fields: Any) -> Life:
    """A job with a fixed seed in that state, its pictures stored or not."""
    life = await factory.in_state(state, **{"request_hash": b"same", **fields})
    if stored:
        values = {
            "state": "stored",
            "sha256": "ab" * 32,
            "media_type": "image/png",
            "width": 8,
            "height": 8,
            "bytes": 9,
            "due_at": None,
        }
        async with factory.database.writing() as connection:
            await connection.execute(update(t.images).where(t.images.c.job_id == life.job.job_id).values(values))
    return life


def wanted(**fields: Any) -> Order:
    return Order((new_job(**{"request_hash": b"same", **fields}),), frozenset({0}))


async def test_an_identical_job_with_stored_pictures_settles_a_new_one_for_nothing(factory: Factory, clock: HandClock) -> None:
    source = await fixed(factory)
    clock.advance(hours=1)
    order = wanted(callback_url="https://caller.example/hook", callback_format=CallbackFormat.SIGNED)
    (taken,) = await IntakeStore(factory.database).take([order])
    life = await factory.find(order.jobs[0].job_id)
    assert taken.created
    assert taken.lives == (life,)
    assert (life.job.state, life.job.completed_via, life.job.reused_from) == ("succeeded", "reuse", source.job.job_id)
    assert (life.job.images, life.job.finished_at, life.submissions) == (source.job.images, clock.now, ())
    assert [(p.is_stored, p.sha256, p.width) for p in life.pictures] == [(True, "ab" * 32, 8)]
    assert (life.credits.reserved, life.credits.consumed) == (0, 0)
    assert [e.type for e in await HistoryStore(factory.database).events(life.job.job_id)] == ["accepted", "succeeded"]
    async with factory.database.reading() as connection:
        (delivery,) = (await connection.execute(select(t.deliveries))).all()
    assert (delivery.job_id, delivery.type, delivery.due_at) == (life.job.job_id, "job.succeeded", clock.now)


async def test_the_newest_result_is_taken(factory: Factory, clock: HandClock) -> None:
    await fixed(factory)
    clock.advance(minutes=1)
    newest = await fixed(factory)
    (taken,) = await IntakeStore(factory.database).take([wanted()])
    assert taken.lives[0].job.reused_from == newest.job.job_id


@pytest.mark.parametrize(
    "other",
    [
        {"request_hash": b"other"},
        {"request_hash": None},
        {"tenant": "umbrella"},
        {"stored": False},
        {"state": JobState.FAILED, "stored": False},
        {"state": JobState.RUNNING, "stored": False},
    ],
    ids=["request", "random", "tenant", "unstored", "failed", "running"],
)
async def test_what_is_not_the_same_or_not_there_is_not_taken(factory: Factory, other: dict[str, Any]) -> None:
    await fixed(factory, **other)
    (taken,) = await IntakeStore(factory.database).take([wanted()])
    assert (taken.lives[0].job.state, taken.lives[0].job.reused_from) == (JobState.QUEUED, None)


async def test_without_asking_nothing_is_reused(factory: Factory) -> None:
    await fixed(factory)
    (taken,) = await IntakeStore(factory.database).take([replace(wanted(), reuse=frozenset())])
    assert taken.lives[0].job.state is JobState.QUEUED


async def test_reuse_asks_no_limit(factory: Factory, clock: HandClock) -> None:
    await fixed(factory)
    async with factory.database.writing() as connection:
        await connection.execute(insert(t.tenants), [{"name": "acme", "created_at": clock.now, "open_jobs_max": 0}])
    reused, refused = await IntakeStore(factory.database).take([wanted(), Order((new_job(),))])
    assert reused.created
    assert (refused.created, refused.lives) == (False, ())


async def test_doubles_in_a_group_share_the_fate_of_the_first(factory: Factory, clock: HandClock) -> None:
    async with factory.database.writing() as connection:
        await connection.execute(insert(t.tenants), [{"name": "acme", "created_at": clock.now, "open_jobs_max": 1}])
    orders = [Order((new_job(idempotency_key=key),)) for key in "aabb"]
    taken = await IntakeStore(factory.database).take(orders)
    assert [(x.created, len(x.lives)) for x in taken] == [(True, 1), (False, 1), (False, 0), (False, 0)]
    assert all(x.admission and x.admission.excess for x in taken[2:])


async def test_what_the_metadata_says_is_found_by_lists(factory: Factory) -> None:
    await factory.queued(1, metadata={"order": "7", "名": "值"})
    async with factory.database.reading() as connection:
        rows = (await connection.execute(select(t.job_metadata.c.key, t.job_metadata.c.value, t.job_metadata.c.tenant))).all()
    assert sorted(map(tuple, rows)) == [("order", "7", "acme"), ("名", "值", "acme")]
