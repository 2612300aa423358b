"""Claims of due submissions: leased by moving their time, bounded by the gate, starving nobody."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import select

from app.lifecycle import gate as gates
from app.lifecycle.answers import NoAnswer, StillGoing
from app.lifecycle.gate import GatePolicy, Shut
from app.lifecycle.news import CalledBack, CheckAsked, Checked, HardDeadlinePassed, LeaseExpired, WaitOver
from app.lifecycle.policy import Policy
from app.lifecycle.states import ErrorCode, JobState
from app.storage import tables as t
from app.storage.due import TOGETHER, DueClaim, DueStore
from app.storage.gate_row import GateStore
from tests.databases import OpenDatabase
from tests.storage.factory import Factory, HandClock

UNLIMITED = GatePolicy(max_in_flight=10_000, submit_rate=1e6, status_rate=1e6)
LEASE = Policy().check_lease


async def claim(factory: Factory, limit: int = 100, policy: GatePolicy = UNLIMITED) -> DueClaim:
    return await DueStore(factory.database).claim_due(limit, policy, factory.policy)


def job_ids(claim: DueClaim) -> list[UUID]:
    return [due.life.job.job_id for due in claim.taken]


async def shut_checks(factory: Factory, why: Shut = Shut.BAD_KEY) -> None:
    await GateStore(factory.database).change(lambda gate, now: gates.shut_checks(gate, why, now, UNLIMITED))


async def test_what_is_due_is_claimed_once_until_its_lease_ends(factory: Factory, clock: HandClock) -> None:
    life = await factory.in_state(JobState.RUNNING)
    due_at = life.submissions[0].due_at
    assert due_at is not None
    assert (await claim(factory)).taken == ()
    clock.now = due_at
    (due,) = (await claim(factory)).taken
    assert (due.life.job, due.number) == (life.job, 1)
    assert (await claim(factory)).taken == ()
    leased = (await factory.find(life.job.job_id)).submissions[0]
    assert (leased.due_at, leased.checked_at) == (clock.now + LEASE, clock.now)
    clock.now += LEASE
    assert job_ids(await claim(factory)) == [life.job.job_id]


async def test_a_last_look_that_nobody_wrote_down_is_made_again(factory: Factory, clock: HandClock) -> None:
    """Down past the hard deadline; started, and killed amid the look; started again."""
    await factory.in_state(JobState.RUNNING)
    clock.advance(days=2)
    for _ in range(2):
        (due,) = (await claim(factory)).taken
        assert (due.timer, due.task_id) == (None, "task-1")
        clock.advance(seconds=LEASE.total_seconds())
    job_id = due.life.job.job_id
    await factory.apply((job_id, Checked(1, "task-1", clock.now - LEASE, NoAnswer("nobody there"))))
    clock.advance(hours=1)
    (due,) = (await claim(factory)).taken
    assert due.timer == HardDeadlinePassed(1)


async def test_the_life_is_handed_out_as_it_was_before_the_claim(factory: Factory, clock: HandClock) -> None:
    """Whether somebody has looked since a deadline must not be answered by the claim that is about to look."""
    life = await factory.in_state(JobState.RUNNING)
    clock.advance(hours=1)
    (due,) = (await claim(factory)).taken
    assert due.life == life
    assert await factory.find(life.job.job_id) != life


@pytest.mark.parametrize("state", JobState)
async def test_only_what_can_still_change_is_ever_due(factory: Factory, clock: HandClock, state: JobState) -> None:
    await factory.in_state(state)
    clock.advance(days=365)
    in_flight = state in (JobState.SUBMITTING, JobState.UNCONFIRMED, JobState.RUNNING)
    assert len((await claim(factory)).taken) == in_flight


async def test_the_longest_due_go_first_and_no_more_than_the_limit(factory: Factory, clock: HandClock) -> None:
    ids = []
    for _ in range(4):
        ids.append((await factory.in_state(JobState.RUNNING)).job.job_id)
        clock.advance(seconds=1)
    clock.advance(minutes=1)
    assert [*job_ids(await claim(factory, 3)), *job_ids(await claim(factory, 3))] == ids


async def test_who_is_never_settled_starves_nobody(factory: Factory, clock: HandClock) -> None:
    """Checks that lead to nothing come back behind those that still wait."""
    ids = {(await factory.in_state(JobState.RUNNING)).job.job_id for _ in range(10)}
    clock.advance(hours=1)
    seen: set[UUID] = set()
    for _ in range(5):
        seen |= set(job_ids(await claim(factory, 2)))
        clock.now += LEASE
    assert seen == ids


async def test_replicas_never_look_at_the_same_submission(
    factory: Factory, database_url: str, open_database: OpenDatabase, clock: HandClock
) -> None:
    replicas = [Factory(open_database(database_url, clock=clock)) for _ in range(3)]
    ids = [(await factory.in_state(JobState.RUNNING)).job.job_id for _ in range(20)]
    clock.advance(hours=1)
    claims = await asyncio.gather(*(claim(replica, 4) for replica in replicas for _ in range(2)))
    assert sorted(job_id for made in claims for job_id in job_ids(made)) == sorted(ids)


async def test_a_submission_that_somebody_holds_is_skipped(
    postgres_url: str, open_database: OpenDatabase, clock: HandClock
) -> None:
    from app.storage.lives import lock

    factory, other = (Factory(open_database(postgres_url, clock=clock)) for _ in range(2))
    held, free = [await factory.in_state(JobState.RUNNING) for _ in range(2)]
    clock.advance(hours=1)
    async with other.database.writing() as connection:
        await lock(connection, [held.job.job_id])
        assert job_ids(await claim(factory)) == [free.job.job_id]
    assert job_ids(await claim(factory)) == [held.job.job_id]


async def test_nothing_due_says_when_something_will_be(factory: Factory) -> None:
    assert (await claim(factory)).retry_at is None
    life = await factory.in_state(JobState.RUNNING)
    assert (await claim(factory)).retry_at == life.submissions[0].due_at


async def test_what_becomes_due_within_a_moment_is_come_back_for_once(factory: Factory, clock: HandClock) -> None:
    for _ in range(3):
        due_at = (await factory.in_state(JobState.RUNNING)).submissions[0].due_at
        clock.advance(milliseconds=50)
    assert due_at is not None
    clock.now = due_at - timedelta(milliseconds=101)
    again_at = (await claim(factory)).retry_at
    assert again_at == clock.now + TOGETHER
    clock.now = again_at
    assert len((await claim(factory)).taken) == 3


async def test_checks_keep_to_the_rate(factory: Factory, clock: HandClock) -> None:
    policy = replace(UNLIMITED, status_rate=20.0)
    for _ in range(10):
        await factory.in_state(JobState.RUNNING)
    clock.advance(hours=1)
    first = await claim(factory, policy=policy)
    assert (len(first.taken), first.retry_at) == (5, clock.now + timedelta(milliseconds=200))
    held_back = await claim(factory, policy=policy)
    assert (held_back.taken, held_back.retry_at) == ((), first.retry_at)
    clock.advance(milliseconds=200)
    assert len((await claim(factory, policy=policy)).taken) == 4


async def test_the_rate_holds_over_replicas(
    factory: Factory, database_url: str, open_database: OpenDatabase, clock: HandClock
) -> None:
    replicas = [Factory(open_database(database_url, clock=clock)) for _ in range(3)]
    policy = replace(UNLIMITED, status_rate=20.0)
    for _ in range(10):
        await factory.in_state(JobState.RUNNING)
    clock.advance(hours=1)
    claims = await asyncio.gather(*(claim(replica, 4, policy) for replica in replicas))
    assert sum(len(made.taken) for made in claims) == 5


# --- pokes ---------------------------------------------------------------------------------------------------------------


async def test_a_callback_makes_it_due_now_and_is_told_to_the_checker(factory: Factory, clock: HandClock) -> None:
    poked, unpoked = [await factory.in_state(JobState.RUNNING) for _ in range(2)]
    clock.advance(seconds=1)
    await factory.apply((poked.job.job_id, CalledBack(1, None)))
    clock.advance(milliseconds=1)
    (due,) = (await claim(factory)).taken
    assert (due.life.job.job_id, due.poked) == (poked.job.job_id, True)
    clock.advance(hours=1)
    told = {due.life.job.job_id: due.poked for due in (await claim(factory)).taken}
    assert told == {poked.job.job_id: False, unpoked.job.job_id: False}


async def test_a_callback_during_a_check_is_not_overwritten_by_it(factory: Factory, clock: HandClock) -> None:
    life = await factory.in_state(JobState.RUNNING)
    task, job_id = life.submissions[0].task_id, life.job.job_id
    assert task is not None
    clock.advance(minutes=1)
    began = await claim(factory)
    clock.advance(seconds=5)
    await factory.apply((job_id, CalledBack(1, None)))
    checked = replace(factory.check(task, StillGoing("IN_PROGRESS")), began_at=began.now)
    after = await factory.tell(job_id, checked)
    assert after.submissions[0].due_at == clock.now
    (due,) = (await claim(factory)).taken
    assert due.poked


async def test_what_an_operator_asked_for_is_due_now_and_told_to_the_checker_once(factory: Factory, clock: HandClock) -> None:
    asked, _ = [await factory.in_state(JobState.RUNNING) for _ in range(2)]
    clock.advance(seconds=1)
    await factory.apply((asked.job.job_id, CheckAsked()))
    clock.advance(milliseconds=1)
    (due,) = (await claim(factory)).taken
    assert (due.life.job.job_id, due.asked, due.poked) == (asked.job.job_id, True, False)
    clock.advance(hours=1)
    assert {due.asked for due in (await claim(factory)).taken} == {False}


# --- while checks are shut -----------------------------------------------------------------------------------------------


async def test_while_checks_are_shut_no_task_is_looked_at(factory: Factory, clock: HandClock) -> None:
    await factory.in_state(JobState.RUNNING)
    named = await factory.in_state(JobState.UNCONFIRMED)
    await factory.tell(named.job.job_id, CalledBack(1, "task-of-a-callback"))
    unanswered = await factory.in_state(JobState.SUBMITTING)
    await shut_checks(factory)
    clock.advance(days=2)
    shut = await claim(factory)
    assert job_ids(shut) == [unanswered.job.job_id]
    assert shut.gate.checks_shut is Shut.BAD_KEY
    clock.now += LEASE
    await factory.apply((unanswered.job.job_id, CalledBack(1, "another-task")), (unanswered.job.job_id, LeaseExpired(1)))
    assert (await claim(factory)).taken == ()


@pytest.mark.parametrize("why", [Shut.BAD_KEY, Shut.TASKS_MISSING])
async def test_while_checks_are_shut_the_wait_for_a_callback_ends_in_its_time(
    factory: Factory, clock: HandClock, why: Shut
) -> None:
    """Also where a callback came that named nothing."""
    for _ in range(3):
        await factory.in_state(JobState.RUNNING)
    ids = [(await factory.in_state(JobState.UNCONFIRMED)).job.job_id for _ in range(2)]
    await factory.apply((ids[1], CalledBack(1, None)))
    clock.now += factory.policy.unconfirmed_wait - timedelta(seconds=1)
    await shut_checks(factory, why)
    early = await claim(factory)
    assert (early.taken, early.retry_at) == ((), (await factory.find(ids[0])).submissions[0].due_at)
    assert early.retry_at is not None
    clock.now = early.retry_at
    made = await claim(factory)
    assert {due.life.job.job_id: due.timer for due in made.taken} == dict.fromkeys(ids, WaitOver(1))
    for job_id in ids:
        ended = (await factory.tell(job_id, WaitOver(1))).job
        assert ended.error is not None
        assert (ended.state, ended.error.code) == (JobState.FAILED, ErrorCode.SUBMISSION_UNCONFIRMED)
    assert (await claim(factory)).retry_at == clock.now + UNLIMITED.probe_every - timedelta(seconds=1), "the probe"


async def test_waits_that_are_over_are_taken_no_more_at_once_than_there_is_room_for(factory: Factory, clock: HandClock) -> None:
    for _ in range(3):
        await factory.in_state(JobState.UNCONFIRMED)
    lost = await factory.in_state(JobState.SUBMITTING)
    clock.advance(hours=1)
    await shut_checks(factory)
    first = await claim(factory, limit=2)
    assert (len(first.taken), first.taken[0].life.job.job_id, first.retry_at) == (2, lost.job.job_id, clock.now)
    assert len((await claim(factory, limit=1)).taken) == 1
    assert len((await claim(factory)).taken) == 1
    assert (await claim(factory)).taken == ()


async def test_many_that_wait_for_checks_do_not_hide_a_lost_sender(factory: Factory, clock: HandClock) -> None:
    for _ in range(5):
        await factory.in_state(JobState.RUNNING)
    clock.advance(hours=1)
    lost = await factory.in_state(JobState.SUBMITTING)
    await shut_checks(factory)
    clock.advance(hours=1)
    assert job_ids(await claim(factory, limit=1)) == [lost.job.job_id]


async def test_a_lost_sender_is_found_while_the_rate_holds_back_checks(factory: Factory, clock: HandClock) -> None:
    policy = replace(UNLIMITED, status_rate=0.001)
    for _ in range(3):
        await factory.in_state(JobState.RUNNING)
    clock.advance(minutes=1)
    assert len((await claim(factory, policy=policy)).taken) == 1
    lost = await factory.in_state(JobState.SUBMITTING)
    clock.advance(minutes=2)
    assert job_ids(await claim(factory, policy=policy)) == [lost.job.job_id]


async def test_what_became_due_behind_the_horizon_is_found_by_the_next_look_back(factory: Factory, clock: HandClock) -> None:
    """Such as a poke whose transaction began long before it was committed."""
    store = DueStore(factory.database)
    clock.advance(hours=1)
    await factory.in_state(JobState.RUNNING)
    clock.advance(minutes=1)
    assert len((await store.claim_due(10, UNLIMITED, factory.policy)).taken) == 1
    clock.advance(minutes=-30)
    late = await factory.in_state(JobState.RUNNING)
    clock.advance(minutes=30, milliseconds=500)
    assert (await store.claim_due(10, UNLIMITED, factory.policy)).taken == ()
    clock.advance(seconds=1)
    assert job_ids(await store.claim_due(10, UNLIMITED, factory.policy)) == [late.job.job_id]


async def test_a_lost_sender_behind_the_horizon_is_found_by_the_next_look_back(factory: Factory, clock: HandClock) -> None:
    """Such as one whose row somebody held at the look before."""
    store = DueStore(factory.database)
    clock.advance(hours=1)
    assert (await store.claim_due(10, UNLIMITED, factory.policy)).taken == ()
    clock.advance(minutes=-30)
    lost = await factory.in_state(JobState.SUBMITTING)
    clock.advance(minutes=30, milliseconds=500)
    assert (await store.claim_due(10, UNLIMITED, factory.policy)).taken == ()
    clock.advance(seconds=1)
    assert job_ids(await store.claim_due(10, UNLIMITED, factory.policy)) == [lost.job.job_id]


async def test_what_somebody_holds_is_not_asked_for_again_at_once(
    postgres_url: str, open_database: OpenDatabase, clock: HandClock
) -> None:
    """A stopped process may hold a row for half a minute; a claim that came back at once would spin all the while."""
    database, other = (open_database(postgres_url, clock=clock) for _ in range(2))
    factory = Factory(database)
    held = await factory.in_state(JobState.RUNNING)
    clock.advance(hours=1)
    next_one = await factory.in_state(JobState.RUNNING)
    async with other.writing() as connection:
        await connection.execute(select(t.submissions).where(t.submissions.c.job_id == held.job.job_id).with_for_update())
        found = await claim(factory)
    assert (found.taken, found.retry_at) == ((), next_one.submissions[0].due_at)
    assert job_ids(await claim(factory)) == [held.job.job_id]


async def test_missing_tasks_are_probed_one_at_a_time(factory: Factory, clock: HandClock) -> None:
    for _ in range(3):
        await factory.in_state(JobState.RUNNING)
    clock.advance(minutes=1)
    await shut_checks(factory, Shut.TASKS_MISSING)
    shut = await claim(factory)
    assert (shut.taken, shut.retry_at) == ((), clock.now + UNLIMITED.probe_every)
    clock.now += UNLIMITED.probe_every
    assert [len((await claim(factory)).taken) for _ in range(2)] == [1, 0]
    clock.now += UNLIMITED.probe_every
    assert len((await claim(factory)).taken) == 1


async def test_a_probe_of_missing_tasks_is_not_taken_where_lost_senders_leave_no_room_for_it(
    factory: Factory, clock: HandClock
) -> None:
    lost, running = [await factory.in_state(state) for state in (JobState.SUBMITTING, JobState.RUNNING)]
    await shut_checks(factory, Shut.TASKS_MISSING)
    clock.advance(minutes=5)
    assert job_ids(await claim(factory, limit=1)) == [lost.job.job_id]
    assert job_ids(await claim(factory)) == [running.job.job_id]


async def test_a_probe_of_missing_tasks_is_not_taken_where_no_task_is_due(factory: Factory, clock: HandClock) -> None:
    lost = await factory.in_state(JobState.SUBMITTING)
    await shut_checks(factory, Shut.TASKS_MISSING)
    clock.advance(minutes=5)
    running = await factory.in_state(JobState.RUNNING)
    assert job_ids(await claim(factory)) == [lost.job.job_id]
    clock.advance(seconds=20)
    assert job_ids(await claim(factory)) == [running.job.job_id]


async def test_a_task_that_a_check_adopted_keeps_to_the_rate_though_its_sender_never_answered(
    factory: Factory, clock: HandClock
) -> None:
    adopted = await factory.in_state(JobState.SUBMITTING)
    going = Checked(1, "task-of-a-callback", clock.now, StillGoing("IN_PROGRESS"), matches=True)
    await factory.tell(adopted.job.job_id, CalledBack(1, "task-of-a-callback"), going)
    clock.advance(hours=1)
    await factory.in_state(JobState.RUNNING)
    clock.advance(minutes=1)
    slow = replace(UNLIMITED, status_rate=0.001)
    assert job_ids(await claim(factory, policy=slow)) == [adopted.job.job_id]
    clock.now += LEASE
    due_at = (await factory.find(adopted.job.job_id)).submissions[0].due_at
    assert (await claim(factory, policy=slow)).taken == ()
    assert (await factory.find(adopted.job.job_id)).submissions[0].due_at == due_at
