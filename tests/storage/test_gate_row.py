"""The gate's one row."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

from app.lifecycle import gate as gates
from app.lifecycle.gate import Gate, GatePolicy, Shut
from app.lifecycle.news import CalledBack
from app.lifecycle.states import JobState
from app.storage.database import Database
from app.storage.gate_row import GateStore
from tests.databases import OpenDatabase
from tests.storage.factory import START, Factory, HandClock
from tests.storage.watch import blocked_statements

POLICY = GatePolicy()


def shut(gate: Gate, now: datetime) -> Gate:
    return gates.shut_checks(gate, Shut.BAD_KEY, now, POLICY)


def open_(gate: Gate, _now: datetime) -> Gate:
    return gates.open_checks(gate)


async def test_a_new_gate_is_open(database: Database) -> None:
    assert await GateStore(database).read() == Gate()


async def test_every_field_reads_back(database: Database) -> None:
    instants = (START + timedelta(microseconds=n) for n in range(20))
    full = Gate(
        paused_at=next(instants), paused_by="op", shut=Shut.NO_CREDITS, shut_at=next(instants), shut_until=next(instants),
        shut_detail="HTTP 402 余额", shut_times=3, failures=4, probe_until=next(instants), checks_shut=Shut.BAD_KEY,
        checks_shut_at=next(instants), check_probe_at=next(instants), misses=5, found_at=next(instants),
        key_fingerprint="abc", submit_tat=next(instants), check_tat=next(instants),
    )  # fmt: skip
    assert await GateStore(database).change(lambda _gate, _now: full) == (Gate(), full)
    assert await GateStore(database).read() == full


async def test_changes_at_once_are_all_kept(database: Database, database_url: str, open_database: OpenDatabase) -> None:
    stores = [GateStore(d) for d in (database, open_database(database_url))]

    def fail(gate: Gate, _now: datetime) -> Gate:
        return replace(gate, failures=gate.failures + 1)

    await asyncio.gather(*(store.change(fail) for store in stores for _ in range(10)))
    assert (await stores[0].read()).failures == 20


async def test_opening_the_checks_excuses_what_had_been_sent(factory: Factory, clock: HandClock) -> None:
    sent = {state: await factory.in_state(state) for state in JobState}
    clock.advance(minutes=1)
    store = GateStore(factory.database)
    await store.change(shut)
    clock.advance(hours=3, microseconds=1)
    before, after = await store.change(open_)
    assert (before.checks_shut, after.checks_shut) == (Shut.BAD_KEY, None)
    for state, life in sent.items():
        excused = [s.excused for s in (await factory.find(life.job.job_id)).submissions]
        in_flight = state in (JobState.SUBMITTING, JobState.UNCONFIRMED, JobState.RUNNING)
        away = timedelta(hours=3, microseconds=1) if in_flight else timedelta(0)
        assert excused == [away] * len(life.submissions)


async def test_excuses_add_up(factory: Factory, clock: HandClock) -> None:
    life = await factory.in_state(JobState.RUNNING)
    for _ in range(2):
        await GateStore(factory.database).change(shut)
        clock.advance(minutes=5)
        await GateStore(factory.database).change(open_)
        clock.advance(minutes=5)
    assert (await factory.find(life.job.job_id)).submissions[0].excused == timedelta(minutes=10)


async def test_what_was_sent_later_is_not_excused(factory: Factory, clock: HandClock) -> None:
    store = GateStore(factory.database)
    await store.change(shut)
    clock.advance(minutes=5)
    later = await factory.in_state(JobState.RUNNING)
    clock.advance(minutes=5)
    await store.change(open_)
    assert await factory.find(later.job.job_id) == later


async def test_other_changes_of_the_gate_excuse_nothing(factory: Factory, clock: HandClock) -> None:
    life = await factory.in_state(JobState.RUNNING)
    store = GateStore(factory.database)
    await store.change(shut)
    clock.advance(minutes=5)
    await store.change(lambda gate, now: gates.pause(gate, "op", now))
    assert await factory.find(life.job.job_id) == life


async def test_excusing_while_news_is_applied_does_not_deadlock(
    postgres_url: str, open_database: OpenDatabase, clock: HandClock
) -> None:
    """Both hold many submissions, so both must take them in one order; the rows lie in the other one."""
    factory, gate_keeper, third = (Factory(open_database(postgres_url, clock=clock)) for _ in range(3))
    high, low = [(await factory.in_state(JobState.RUNNING, job_id=UUID(int=n))).job.job_id for n in (2, 1)]
    store = GateStore(gate_keeper.database)
    await store.change(shut)
    clock.advance(minutes=5)
    async with third.database.writing() as connection:
        await connection.exec_driver_sql("ANALYZE submissions")  # so few rows are read as they lie
    async with third.database.writing() as connection:
        held = "SELECT 1 FROM submissions WHERE job_id = %(job_id)s FOR UPDATE"
        await connection.exec_driver_sql(held, {"job_id": low})
        applied = asyncio.create_task(factory.apply(*((job_id, CalledBack(1, None)) for job_id in (high, low))))
        await blocked_statements(third.database, 1)
        opened = asyncio.create_task(store.change(open_))
        await blocked_statements(third.database, 2)
    await asyncio.gather(applied, opened)
    for job_id in (high, low):
        (submission,) = (await factory.find(job_id)).submissions
        assert (submission.excused, submission.callbacks) == (timedelta(minutes=5), 1)
