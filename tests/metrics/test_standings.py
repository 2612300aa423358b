"""How things stand, as the stores read it, on both databases."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import insert, update

from app.lifecycle.answers import Unproven
from app.lifecycle.job import CallbackFormat
from app.lifecycle.news import Answered, Claimed, WaitOver
from app.lifecycle.states import JobState
from app.storage import tables as t
from app.storage.balance import BalanceStore, Difference
from app.storage.counted import Counted
from app.storage.pace import SAMPLE, PaceStore
from app.storage.stats import StatsStore
from app.storage.usage import UsageStore
from tests.storage.factory import START, Factory, HandClock, succeeded

UNSETTLED = (JobState.QUEUED, JobState.SUBMITTING, JobState.UNCONFIRMED, JobState.RUNNING)


async def test_jobs_are_counted_in_each_state_of_all_and_of_one_tenant(factory: Factory) -> None:
    for state in JobState:
        await factory.in_state(state)
    await factory.in_state(JobState.RUNNING, tenant="umbrella")
    store = StatsStore(factory.database)
    assert (await store.standings()).jobs == dict.fromkeys(JobState, Counted(1)) | {JobState.RUNNING: Counted(2)}
    of_one = await store.standings("umbrella")
    assert of_one.jobs == dict.fromkeys(JobState, Counted(0)) | {JobState.RUNNING: Counted(1)}
    assert (of_one.open_submissions, (await store.standings()).open_submissions) == (Counted(1), Counted(4))


async def test_counts_end_at_their_limit_and_say_so(factory: Factory) -> None:
    await factory.queued(4)
    for _ in range(3):
        await factory.in_state(JobState.CANCELED)
    store = StatsStore(factory.database, unsettled_max=4, counted_max=2)
    found = (await store.standings()).jobs
    assert (found[JobState.QUEUED], found[JobState.CANCELED]) == (Counted(4), Counted(2, more=True))


async def test_the_oldest_is_told_since_its_accept_or_its_last_send(factory: Factory, clock: HandClock) -> None:
    (early,) = await factory.queued()
    clock.advance(minutes=1)
    await factory.queued()
    clock.advance(minutes=1)
    await factory.tell(early.job.job_id, Claimed(b"h" * 32), Answered(1, Unproven("timed out")))
    found = await StatsStore(factory.database).standings()
    assert found.oldest == {JobState.QUEUED: START + timedelta(minutes=1), JobState.UNCONFIRMED: START + timedelta(minutes=2)}


async def test_where_there_is_nothing_nothing_is_told(factory: Factory) -> None:
    found = await StatsStore(factory.database).standings()
    assert found.oldest == {}
    assert (found.unresolved_since, found.look_due_at, found.delivery_due_at, found.image_since) == (None,) * 4
    assert (found.credits_unresolved, found.deliveries, found.images) == (0, Counted(0), Counted(0))


async def test_unresolved_credits_are_those_of_lives(factory: Factory, clock: HandClock) -> None:
    ids = [(await factory.in_state(state)).job.job_id for state in JobState]
    clock.advance(minutes=1)
    given_up = (await factory.in_state(JobState.UNCONFIRMED)).job.job_id
    clock.advance(minutes=30)
    await factory.tell(given_up, WaitOver(1))
    lives = [await factory.find(job_id) for job_id in (*ids, given_up)]
    found = await StatsStore(factory.database).standings()
    assert found.credits_unresolved == sum(life.credits.unresolved for life in lives) == 10
    assert found.unresolved_since == START
    assert (await StatsStore(factory.database).standings("umbrella")).credits_unresolved == 0


async def test_the_next_look_is_the_first_that_is_due(factory: Factory) -> None:
    lives = [await factory.in_state(JobState.RUNNING), await factory.in_state(JobState.UNCONFIRMED)]
    due = [s.due_at for life in lives for s in life.submissions if s.due_at]
    assert (await StatsStore(factory.database).standings()).look_due_at == min(due)


async def test_deliveries_receivers_and_pictures_that_wait_are_counted(factory: Factory) -> None:
    life = await factory.in_state(
        JobState.SUCCEEDED, callback_url="https://hooks.example/x", callback_format=CallbackFormat.SIGNED
    )
    async with factory.database.writing() as connection:
        for origin, parked_at in (("https://a.example", None), ("https://b.example", START)):
            health = {"failing_since": START, "failed_at": START, "parked_at": parked_at}
            await connection.execute(insert(t.receivers).values(tenant="acme", origin=origin, **health))
    store = StatsStore(factory.database)
    for found in (await store.standings(), await store.standings("acme")):
        assert (found.receivers_failing, found.receivers_parked) == (Counted(1), Counted(1))
        assert (found.images, found.image_since) == (Counted(len(life.job.images)), life.job.finished_at)
        assert (found.deliveries, found.deliveries_exhausted) == (Counted(1), Counted(0))
    other = await store.standings("umbrella")
    assert (other.receivers_parked, other.images, other.deliveries) == (Counted(0),) * 3


async def test_books_in_balance_show_no_difference(factory: Factory, clock: HandClock) -> None:
    for state in JobState:
        await factory.in_state(state)
    given_up = (await factory.in_state(JobState.UNCONFIRMED)).job.job_id
    clock.advance(minutes=30)
    await factory.tell(given_up, WaitOver(1))
    store = BalanceStore(factory.database)
    assert await store.difference() == Difference(0, 0)
    await UsageStore(factory.database).sum_up()
    assert await store.difference() == Difference(0, 0), "summed up or not"


async def test_books_that_somebody_changed_show_it(factory: Factory) -> None:
    await factory.in_state(JobState.RUNNING)
    await UsageStore(factory.database).sum_up()
    async with factory.database.writing() as connection:
        await connection.execute(update(t.usage_days).values(open=t.usage_days.c.open + 2, held=t.usage_days.c.held - 5))
    assert await BalanceStore(factory.database).difference() == Difference(open_jobs=2, held_credits=-5)


async def test_nothing_is_compared_while_there_is_too_much_or_something_to_be_booked(factory: Factory) -> None:
    await factory.queued(3)
    assert await BalanceStore(factory.database, counted_max=2).difference() is None
    assert await BalanceStore(factory.database, counted_max=3).difference() == Difference(0, 0)
    async with factory.database.writing() as connection:
        await connection.execute(update(t.jobs).values(booked_open=None))
    assert await BalanceStore(factory.database).difference() is None


async def test_stretches_count_what_came_and_what_was_settled_in_them(factory: Factory, clock: HandClock) -> None:
    edges = [START + timedelta(minutes=n) for n in range(4)]
    await factory.in_state(JobState.SUCCEEDED)
    await factory.in_state(JobState.FAILED, tenant="umbrella")
    running = await factory.in_state(JobState.RUNNING)
    clock.advance(minutes=2)
    await factory.in_state(JobState.CANCELED)
    await factory.tell(running.job.job_id, succeeded("task-3"))
    found = await PaceStore(factory.database).stretches(edges)
    assert [(s.begins_at, s.accepted, s.estimated) for s in found] == list(zip(edges, (3, 0, 1), (False,) * 3, strict=False))
    ended_well, ended_badly, given_up = ({state: 1} for state in (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELED))
    assert [s.settled for s in found] == [ended_well | ended_badly, {}, ended_well | given_up]
    assert {went.state for went in found[0].sample} == {JobState.SUCCEEDED, JobState.FAILED}


async def test_a_tenants_jobs_belong_to_where_they_were_accepted(factory: Factory, clock: HandClock) -> None:
    edges = [START + timedelta(minutes=n) for n in range(3)]
    running = await factory.in_state(JobState.RUNNING, tenant="umbrella")
    await factory.in_state(JobState.RUNNING, tenant="umbrella")
    clock.advance(minutes=1)
    await factory.in_state(JobState.CANCELED)
    await factory.tell(running.job.job_id, succeeded("task-1"))
    found = await PaceStore(factory.database).stretches(edges, "umbrella")
    assert [(s.accepted, s.settled, len(s.sample)) for s in found] == [(2, {JobState.SUCCEEDED: 1}, 1), (0, {}, 0)]


@pytest.mark.parametrize("tenant", [None, "acme"])
async def test_where_too_many_were_settled_to_read_their_states_those_of_the_first_stand_for_all(
    factory: Factory, clock: HandClock, tenant: str | None
) -> None:
    for state in (JobState.FAILED, *(JobState.CANCELED,) * 3, JobState.CANCELED, JobState.CANCELED):
        await factory.in_state(state)
        clock.advance(seconds=1)
    store = PaceStore(factory.database, looked_at=4)
    (found,) = await store.stretches([START, START + timedelta(minutes=1)], tenant)
    assert (found.accepted, found.estimated) == (6, True)
    assert found.settled == {JobState.FAILED: round(6 / 4), JobState.CANCELED: round(3 * 6 / 4)}


async def test_a_stretch_with_too_many_jobs_says_so_and_never_more_than_were_counted(factory: Factory) -> None:
    """Thousands that came at one instant say nothing of the rest of the stretch."""
    for _ in range(6):
        await factory.in_state(JobState.CANCELED)
    (found,) = await PaceStore(factory.database, counted=4).stretches([START, START + timedelta(hours=1)])
    assert (found.accepted, found.settled, found.estimated) == (4, {JobState.CANCELED: 6}, True)
    (found,) = await PaceStore(factory.database, counted=4, looked_at=2).stretches([START, START + timedelta(hours=1)])
    assert found.settled == {JobState.CANCELED: 4}


async def test_a_sample_is_bounded(factory: Factory) -> None:
    ids = [life.job.job_id for life in await factory.queued(SAMPLE + 5)]
    async with factory.database.writing() as connection:
        await connection.execute(update(t.jobs).values(state="canceled", due_at=None, finished_at=START))
    (found,) = await PaceStore(factory.database).stretches([START, START + timedelta(minutes=1)])
    assert (found.settled, len(found.sample)) == ({JobState.CANCELED: len(ids)}, SAMPLE)


@pytest.mark.parametrize("tenant", [None, "acme"])
async def test_credits_of_this_month_are_those_of_the_books(factory: Factory, clock: HandClock, tenant: str | None) -> None:
    await factory.in_state(JobState.SUCCEEDED)
    clock.advance(days=31)
    await factory.in_state(JobState.SUCCEEDED, tenant="umbrella")
    await factory.in_state(JobState.RUNNING)
    await factory.in_state(JobState.CANCELED, tenant="idle")
    usage = UsageStore(factory.database)
    rows = [("umbrella", 5, 0), ("acme", 0, 5)]
    for _ in range(2):
        found = await usage.credits_this_month(tenant)
        assert [(c.tenant, c.consumed, c.held) for c in found] == [row for row in rows if tenant in (None, row[0])]
        await usage.sum_up()


async def test_a_lag_is_from_the_callback_to_the_end(factory: Factory, clock: HandClock) -> None:
    life = await factory.in_state(JobState.SUCCEEDED)
    await _poked(factory, life.job.job_id, clock.now - timedelta(seconds=3))
    late = await factory.in_state(JobState.SUCCEEDED)
    await _poked(factory, late.job.job_id, clock.now + timedelta(seconds=3))
    await factory.in_state(JobState.SUCCEEDED)
    clock.advance(minutes=1)
    store = StatsStore(factory.database)
    assert await store.callback_lags(timedelta(hours=1)) == [timedelta(seconds=3)]
    assert await store.callback_lags(timedelta(seconds=30)) == []


async def _poked(factory: Factory, job_id: UUID, at: object) -> None:
    async with factory.database.writing() as connection:
        await connection.execute(update(t.submissions).where(t.submissions.c.job_id == job_id).values(poked_at=at))
