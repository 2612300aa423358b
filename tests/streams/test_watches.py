"""Who watches a timeline is rung at once for what this process did, and by one query for what others did."""

from __future__ import annotations

import asyncio
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from app.lifecycle.gate import GatePolicy
from app.lifecycle.news import CancelAsked, Claimed
from app.lifecycle.policy import Policy
from app.lifecycle.states import JobState
from app.lifecycle.transitions import Event
from app.settlement.settle import Settlement
from app.settlement.wakes import Wakes
from app.settlement.watchers import Watch, Watchers
from app.storage.database import Database
from app.storage.gate_row import GateStore
from app.storage.history import HistoryStore
from app.storage.lives import LifeStore, write_events
from tests.acceptance.stage import PATIENCE
from tests.storage.factory import Factory
from tests.storage.watch import statements_of


@pytest.fixture
def watchers(database: Database) -> Watchers:
    return Watchers(LifeStore(database))


@pytest.fixture
def settlement(database: Database, watchers: Watchers) -> Settlement:
    return Settlement(LifeStore(database), GateStore(database), Policy(), GatePolicy(), Wakes(), watchers)


async def types_of(watch: Watch) -> list[str]:
    return [event.type for event in await watch.more()]


async def is_quiet(watch: Watch) -> bool:
    return not await watch.rung(0)


async def test_every_change_rings_in_this_process_without_a_sweep(
    factory: Factory, settlement: Settlement, watchers: Watchers
) -> None:
    (life,), (other,) = await factory.queued(), await factory.queued()
    with watchers.watch(life.job.job_id, 0) as watch, watchers.watch(other.job.job_id, 0) as unconcerned:
        assert await types_of(watch) == ["accepted"]
        await settlement.record(life.job.job_id, Claimed(b"h" * 32))
        assert await watch.rung(PATIENCE)
        assert await types_of(watch) == ["submitting"]
        await settlement.record(life.job.job_id, CancelAsked())  # noted: the job stays where it is
        assert await watch.rung(PATIENCE)
        assert await types_of(watch) == ["cancel_requested"]
        assert await is_quiet(watch)
        assert await is_quiet(unconcerned)


async def test_the_sweep_rings_for_what_others_did_and_for_nothing_else(factory: Factory, watchers: Watchers) -> None:
    (life,), (other,) = await factory.queued(), await factory.queued()
    with watchers.watch(life.job.job_id, 0) as watch, watchers.watch(other.job.job_id, 0) as unconcerned:
        await watch.more()
        await unconcerned.more()
        await watchers.sweep()
        assert await is_quiet(watch)
        await factory.tell(life.job.job_id, CancelAsked())
        await watchers.sweep()
        assert await watch.rung(PATIENCE)
        assert await types_of(watch) == ["cancel_requested", "canceled"]
        await watchers.sweep()
        assert await is_quiet(watch)
        assert await is_quiet(unconcerned)


async def test_an_event_counts_although_the_job_did_not_change(
    database: Database, factory: Factory, watchers: Watchers
) -> None:
    (life,) = await factory.queued()
    with watchers.watch(life.job.job_id, 0) as watch:
        await watch.more()
        async with database.writing() as connection:
            await write_events(connection, [(life.job.job_id, Event("noted"))], await database.now(connection))
        await watchers.sweep()
        assert await watch.rung(PATIENCE)
    assert await factory.find(life.job.job_id) == life


async def test_what_happens_between_a_read_and_the_wait_is_not_lost(factory: Factory, watchers: Watchers) -> None:
    (life,) = await factory.queued()
    with watchers.watch(life.job.job_id, 0) as watch:
        await watch.more()
        watchers.happened(life.job.job_id)
        assert await watch.rung(PATIENCE)


async def test_a_thousand_watches_cost_one_query_and_no_connection(
    database: Database, factory: Factory, watchers: Watchers
) -> None:
    lives = await factory.queued(999)
    (late,) = await factory.queued()
    ids = [life.job.job_id for life in (*lives, late)]
    newest = await HistoryStore(database).newest_events(ids)
    watching = [watchers.watch(job_id, newest[job_id]) for job_id in ids]
    watches = [w.__enter__() for w in watching]
    waits = [asyncio.create_task(watch.rung(PATIENCE)) for watch in watches]
    await factory.tell(late.job.job_id, CancelAsked())
    with statements_of(database) as sent:
        await watchers.sweep()
    assert len([s for s, _ in sent if "events" in s]) == 1
    assert len(sent) <= 2, "and on PostgreSQL, its bounds"
    assert await waits.pop()
    assert not any(wait.done() for wait in waits)
    watchers.stop()
    assert all(await asyncio.gather(*waits))
    assert all(watch.stopped for watch in watches)
    for w in watching:
        w.__exit__(None, None, None)
    assert watchers.waiting == 0


async def test_who_waits_for_the_end_alone_is_not_rung_by_what_happens_before(
    factory: Factory, settlement: Settlement, watchers: Watchers
) -> None:
    (life,) = await factory.queued()
    waiter = asyncio.create_task(watchers.until_settled(life.job.job_id, PATIENCE))
    with watchers.watch(life.job.job_id, 0) as watch:
        await watch.more()
        await settlement.record(life.job.job_id, Claimed(b"h" * 32))
        assert await watch.rung(PATIENCE)
        assert watchers.waiting == 2
        watchers.stop()
    found = await waiter
    assert found is not None
    assert found.job.state == "submitting"
    assert watchers.waiting == 0


async def test_the_newest_events_are_of_those_who_have_any(factory: Factory) -> None:
    lives = [*await factory.queued(3), await factory.in_state(JobState.SUCCEEDED)]
    ids: list[UUID] = [life.job.job_id for life in lives]
    history = HistoryStore(factory.database)
    expected = {job_id: (await history.events(job_id))[-1].event_id for job_id in ids}
    assert await history.newest_events([*ids, uuid7()]) == expected
    assert await history.newest_events([]) == {}
