"""Claims of the queue: each job once, no more than permitted, in order."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, replace
from datetime import timedelta

from app.lifecycle import gate as gates
from app.lifecycle.answers import Refusal, Refused
from app.lifecycle.gate import GatePolicy, Shut
from app.lifecycle.news import Answered, CalledBack, CancelAsked, Claimed
from app.lifecycle.ownership import hash_token, new_token
from app.lifecycle.states import ErrorCode, JobState, Outcome, Priority
from app.lifecycle.transitions import Effect
from app.storage.database import Database
from app.storage.gate_row import GateStore
from app.storage.lanes import Lanes
from app.storage.queue import Claim, QueueStore
from tests.databases import OpenDatabase
from tests.storage.factory import Factory, HandClock, queue_of
from tests.storage.watch import blocked_statements

UNLIMITED = GatePolicy(max_in_flight=10_000, submit_rate=1e6, status_rate=1e6)


async def claim(factory: Factory, limit: int = 100, policy: GatePolicy = UNLIMITED) -> Claim:
    return await queue_of(factory.database).claim_due(limit, policy, factory.decide, new_token)


def job_ids(claim: Claim) -> list[object]:
    return [change.after.job.job_id for change, _ in claim.taken]


async def test_a_claim_commits_the_intent_and_hands_out_its_token(factory: Factory, clock: HandClock) -> None:
    (life,) = await factory.queued()
    clock.advance(seconds=1)
    ((change, token),) = (await claim(factory)).taken
    after = await factory.find(life.job.job_id)
    assert after == change.after
    (submission,) = after.submissions
    assert after.job.state is JobState.SUBMITTING
    assert submission.token_hash == hash_token(token)
    assert (submission.outcome, submission.sent_at) == (Outcome.OPEN, clock.now)
    assert submission.due_at == submission.lease_until == clock.now + factory.policy.lease


async def test_only_queued_jobs_are_claimed(factory: Factory) -> None:
    lives = {state: await factory.in_state(state) for state in JobState}
    taken = await claim(factory)
    assert job_ids(taken) == [lives[JobState.QUEUED].job.job_id]
    for state in set(JobState) - {JobState.QUEUED}:
        assert await factory.find(lives[state].job.job_id) == lives[state]


async def test_a_canceled_job_is_never_claimed(factory: Factory) -> None:
    (canceled, other) = await factory.queued(2)
    await factory.apply((canceled.job.job_id, CancelAsked()))
    assert job_ids(await claim(factory)) == [other.job.job_id]


async def test_a_claim_takes_no_more_than_its_limit(factory: Factory) -> None:
    await factory.queued(5)
    assert [len((await claim(factory, limit=2)).taken) for _ in range(4)] == [2, 2, 1, 0]


async def test_high_priorities_go_first_then_the_longest_due(factory: Factory, clock: HandClock) -> None:
    expected = {}
    for priority in (Priority.LOW, Priority.NORMAL, Priority.HIGH):
        for age in range(2):
            (life,) = await factory.queued(priority=priority)
            expected[priority, age] = life.job.job_id
            clock.advance(seconds=1)
    taken = [*job_ids(await claim(factory, limit=4)), *job_ids(await claim(factory, limit=4))]
    assert taken == [expected[key] for key in sorted(expected)]


async def test_a_job_that_backs_off_waits_and_lets_others_pass(factory: Factory, clock: HandClock) -> None:
    waiting = await factory.backing_off()
    due_at = waiting.job.due_at
    assert due_at is not None
    assert due_at > clock.now
    empty = await claim(factory)
    assert (empty.taken, empty.retry_at) == ((), due_at)
    (other,) = await factory.queued()
    assert job_ids(await claim(factory)) == [other.job.job_id]
    clock.now = due_at - timedelta(microseconds=1)
    assert (await claim(factory)).taken == ()
    clock.now = due_at
    ((change, _),) = (await claim(factory)).taken
    assert (change.after.job.job_id, change.after.job.submission) == (waiting.job.job_id, 2)


async def test_an_empty_queue_has_nothing_to_wait_for(factory: Factory) -> None:
    await factory.in_state(JobState.RUNNING)
    empty = await claim(factory)
    assert (empty.taken, empty.retry_at) == ((), None)


# --- permits -------------------------------------------------------------------------------------------------------------


async def test_in_flight_is_counted_from_the_rows(factory: Factory) -> None:
    policy = replace(UNLIMITED, max_in_flight=4)
    for state in (JobState.SUBMITTING, JobState.UNCONFIRMED, JobState.RUNNING):
        await factory.in_state(state)
    for state in (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELED):
        await factory.in_state(state)
    await factory.backing_off()
    (first, second) = await factory.queued(2)
    assert job_ids(await claim(factory, policy=policy)) == [first.job.job_id]
    full = await claim(factory, policy=policy)
    assert (full.taken, full.retry_at) == ((), None)
    await factory.apply((first.job.job_id, Answered(1, Refused(Refusal.SERVER_ERROR, "HTTP 500"))))
    assert job_ids(await claim(factory, policy=policy)) == [second.job.job_id]


async def test_claims_keep_to_the_rate(factory: Factory, clock: HandClock) -> None:
    """20 a second: five at once, then two every 100 ms."""
    policy = replace(UNLIMITED, submit_rate=20.0)
    await factory.queued(10)
    first = await claim(factory, policy=policy)
    assert (len(first.taken), first.retry_at) == (5, clock.now + timedelta(milliseconds=100))
    held_back = await claim(factory, policy=policy)
    assert (held_back.taken, held_back.retry_at) == ((), first.retry_at)
    clock.advance(milliseconds=100)
    assert len((await claim(factory, policy=policy)).taken) == 2


async def test_replicas_never_claim_the_same_job(
    factory: Factory, database_url: str, open_database: OpenDatabase, clock: HandClock
) -> None:
    replicas = [Factory(open_database(database_url, clock=clock)) for _ in range(3)]
    lives = await factory.queued(60)
    claims = await asyncio.gather(*(claim(replica, limit=7) for replica in replicas for _ in range(4)))
    taken = [job_id for made in claims for job_id in job_ids(made)]
    assert sorted(map(str, taken)) == sorted(str(life.job.job_id) for life in lives)
    tokens = [token for made in claims for _, token in made.taken]
    assert len(set(tokens)) == 60


async def test_permits_are_exact_over_replicas(
    factory: Factory, database_url: str, open_database: OpenDatabase, clock: HandClock
) -> None:
    replicas = [Factory(open_database(database_url, clock=clock)) for _ in range(3)]
    policy = replace(UNLIMITED, max_in_flight=10, submit_rate=32.0)  # 8 at once, and then 10 in flight
    await factory.queued(40)
    claims = await asyncio.gather(*(claim(replica, 5, policy) for replica in replicas for _ in range(2)))
    assert sum(len(made.taken) for made in claims) == 8
    clock.advance(seconds=1)
    claims = await asyncio.gather(*(claim(replica, 5, policy) for replica in replicas for _ in range(2)))
    assert sum(len(made.taken) for made in claims) == 2


async def test_a_job_that_somebody_holds_is_skipped_not_waited_for(
    postgres_url: str, open_database: OpenDatabase, clock: HandClock
) -> None:
    from app.storage.lives import lock

    factory, other = (Factory(open_database(postgres_url, clock=clock)) for _ in range(2))
    held, free = await factory.queued(2)
    async with other.database.writing() as connection:
        await lock(connection, [held.job.job_id])
        assert job_ids(await claim(factory)) == [free.job.job_id]
    assert job_ids(await claim(factory)) == [held.job.job_id]


async def test_claims_take_turns_at_the_gate(postgres_url: str, open_database: OpenDatabase, clock: HandClock) -> None:
    from app.storage.gate_row import lock_gate

    factory, other = (Factory(open_database(postgres_url, clock=clock)) for _ in range(2))
    await factory.queued(2)
    async with other.database.writing() as connection:
        await lock_gate(connection)
        waiting = asyncio.create_task(claim(factory))
        await blocked_statements(other.database, 1)
        assert not waiting.done()
    assert len((await waiting).taken) == 2


# --- the gate ------------------------------------------------------------------------------------------------------------


async def test_a_paused_gate_lets_nothing_through(factory: Factory, database: Database) -> None:
    await factory.queued()
    await GateStore(database).change(lambda gate, now: gates.pause(gate, "op", now))
    shut = await claim(factory)
    assert (shut.taken, shut.retry_at, shut.gate.why_submits_are_shut) == ((), None, Shut.PAUSED)
    await GateStore(database).change(lambda gate, _now: gates.resume(gate))
    assert len((await claim(factory)).taken) == 1


async def test_the_breakers_probe_is_taken_by_one_replica(
    factory: Factory, database_url: str, open_database: OpenDatabase, clock: HandClock
) -> None:
    replicas = [Factory(open_database(database_url, clock=clock)) for _ in range(3)]
    await factory.queued(10)
    refused = Refused(Refusal.NO_CREDITS, "HTTP 402")
    await GateStore(factory.database).change(lambda gate, now: gates.after_submit(gate, refused, now, UNLIMITED))
    shut = await claim(factory)
    assert (shut.taken, shut.retry_at) == ((), clock.now + UNLIMITED.account_pause_min)
    clock.now += UNLIMITED.account_pause_min
    claims = await asyncio.gather(*(claim(replica) for replica in replicas))
    assert sorted(len(made.taken) for made in claims) == [0, 0, 1]
    clock.now += UNLIMITED.probe_lease
    assert len((await claim(factory)).taken) == 1


# --- the queue's deadline ------------------------------------------------------------------------------------------------


async def test_jobs_that_waited_too_long_leave_the_queue(factory: Factory, clock: HandClock) -> None:
    queue, deadline = queue_of(factory.database), timedelta(hours=24)
    (old,) = await factory.queued()
    running = await factory.in_state(JobState.RUNNING)
    refused = await factory.backing_off()
    clock.advance(seconds=1)
    (young,) = await factory.queued()
    clock.now = old.job.created_at + deadline
    dropped = await queue.drop_overdue(deadline, factory.decide)
    assert {change.after.job.job_id for change in dropped} == {old.job.job_id, refused.job.job_id}
    after = await factory.find(old.job.job_id)
    assert after.job.error is not None
    assert (after.job.state, after.job.error.code) == (JobState.FAILED, ErrorCode.UPSTREAM_UNAVAILABLE)
    assert await factory.find(young.job.job_id) == young
    assert await factory.find(running.job.job_id) == running


async def test_the_deadline_takes_a_few_at_a_time_the_oldest_first(factory: Factory, clock: HandClock) -> None:
    queue = queue_of(factory.database)
    ids = []
    for _ in range(3):
        ids += [life.job.job_id for life in await factory.queued()]
        clock.advance(seconds=1)
    clock.advance(days=2)
    first = await queue.drop_overdue(timedelta(days=1), factory.decide, limit=2)
    assert [change.after.job.job_id for change in first] == ids[:2]
    assert len(await queue.drop_overdue(timedelta(days=1), factory.decide, limit=2)) == 1
    assert await queue.drop_overdue(timedelta(days=1), factory.decide, limit=2) == []


async def test_a_job_that_must_stay_is_not_counted_as_dropped_and_keeps_no_other_in_the_queue(
    factory: Factory, clock: HandClock
) -> None:
    """A refused job whose callback named a task waits for the check of it, however long it has been queued."""
    queue = queue_of(factory.database)
    stays = await factory.backing_off()
    await factory.apply((stays.job.job_id, CalledBack(1, "task-x")))
    clock.advance(seconds=1)
    (goes,) = await factory.queued()
    clock.advance(days=2)
    dropped = await queue.drop_overdue(timedelta(days=1), factory.decide, limit=1)
    assert [(change.after.job.job_id, change.effect) for change in dropped] == [(goes.job.job_id, Effect.APPLIED)]
    assert (await factory.find(stays.job.job_id)).job.state is JobState.QUEUED
    assert await queue.drop_overdue(timedelta(days=1), factory.decide, limit=1) == []


async def test_a_claim_and_the_deadline_at_once_agree(
    factory: Factory, database_url: str, open_database: OpenDatabase, clock: HandClock
) -> None:
    other = Factory(open_database(database_url, clock=clock))
    lives = await factory.queued(20)
    clock.advance(days=2)
    claimed, dropped = await asyncio.gather(
        claim(factory, limit=20), queue_of(other.database).drop_overdue(timedelta(days=1), other.decide)
    )
    gone = {change.after.job.job_id for change in dropped if change.effect is Effect.APPLIED}
    assert gone.isdisjoint(job_ids(claimed))
    assert len(gone) + len(claimed.taken) == len(lives)


async def test_a_second_claim_of_the_same_job_is_stale(factory: Factory) -> None:
    (life,) = await factory.queued()
    await claim(factory)
    (change,) = await factory.apply((life.job.job_id, Claimed(b"hash")))
    assert change is not None
    assert change.effect is Effect.STALE
    assert (await factory.find(life.job.job_id)).job.submission == 1


@dataclass
class Costly:
    """A clock by which every look takes half a second, as it may under an old snapshot; time passes only so, or by hand."""

    now: float = 0.0

    def __call__(self) -> float:
        self.now += 0.25
        return self.now


async def test_after_a_costly_look_known_lanes_are_served_on_and_new_ones_found_by_the_next(
    factory: Factory, clock: HandClock
) -> None:
    costly = Costly()
    store = QueueStore(factory.database, Lanes(costly=0.1, monotonic=costly))
    await factory.queued(5, tenant="known")
    await store.claim_due(1, UNLIMITED, factory.decide, new_token)
    (late,) = await factory.queued(1, tenant="new")
    assert len((await store.claim_due(2, UNLIMITED, factory.decide, new_token)).taken) == 2
    assert late.job.job_id not in job_ids(await store.claim_due(1, UNLIMITED, factory.decide, new_token))
    costly.now += 2
    assert late.job.job_id in job_ids(await store.claim_due(5, UNLIMITED, factory.decide, new_token))


async def test_a_job_committed_late_is_found_by_the_next_look(factory: Factory, clock: HandClock) -> None:
    """Such as one whose insertion began long before."""
    costly = Costly()
    store = QueueStore(factory.database, Lanes(costly=0.1, monotonic=costly))
    clock.advance(hours=1)
    await factory.queued(2)
    assert len((await store.claim_due(1, UNLIMITED, factory.decide, new_token)).taken) == 1
    clock.advance(minutes=-30)
    (late,) = await factory.queued()
    clock.advance(minutes=31)
    assert late.job.job_id not in job_ids(await store.claim_due(1, UNLIMITED, factory.decide, new_token))
    costly.now += 2
    assert job_ids(await store.claim_due(10, UNLIMITED, factory.decide, new_token)) == [late.job.job_id]


# --- whose turn it is ---


async def test_a_tenant_with_thousands_queued_does_not_delay_anothers_first(factory: Factory) -> None:
    store = queue_of(factory.database)
    for _ in range(10):
        await factory.queued(1000, tenant="many")
    await store.claim_due(10, UNLIMITED, factory.decide, new_token)
    (first,) = await factory.queued(1, tenant="few")
    one_batch, next_one = [await store.claim_due(10, UNLIMITED, factory.decide, new_token) for _ in range(2)]
    assert first.job.job_id in [*job_ids(one_batch), *job_ids(next_one)]
    assert len(one_batch.taken) == len(next_one.taken) == 10


async def test_tenants_share_a_claim_and_leave_over_what_they_do_not_need(factory: Factory, clock: HandClock) -> None:
    for tenant, count in (("a", 2), ("b", 50), ("c", 50)):
        await factory.queued(count, tenant=tenant)
    taken = (await claim(factory, limit=30)).taken
    by_tenant = Counter(change.after.job.tenant for change, _ in taken)
    assert by_tenant["a"] == 2
    assert sorted((by_tenant["b"], by_tenant["c"])) == [14, 14]


async def test_claims_of_one_go_round(factory: Factory) -> None:
    store = queue_of(factory.database)
    for tenant in "abc":
        await factory.queued(3, tenant=tenant)
    taken = [await store.claim_due(1, UNLIMITED, factory.decide, new_token) for _ in range(9)]
    turns = [claimed.taken[0][0].after.job.tenant for claimed in taken]
    assert sorted(turns[:3]) == sorted(turns[3:6]) == sorted(turns[6:]) == ["a", "b", "c"]


async def test_priorities_order_a_tenants_own_jobs_alone(factory: Factory) -> None:
    await factory.queued(3, tenant="loud", priority=Priority.HIGH)
    await factory.queued(3, tenant="modest", priority=Priority.LOW)
    await factory.queued(1, tenant="modest", priority=Priority.HIGH)
    taken = [change.after.job for change, _ in (await claim(factory, limit=4)).taken]
    assert [job.priority for job in taken if job.tenant == "modest"] == [Priority.HIGH, Priority.LOW]
    assert len([job for job in taken if job.tenant == "loud"]) == 2


async def test_tenants_whose_jobs_back_off_or_are_held_do_not_stand_in_the_way(
    factory: Factory, database: Database, open_database: OpenDatabase
) -> None:
    for tenant in ("a", "b", "c"):
        await factory.backing_off(tenant=tenant)
    (due,) = await factory.queued(1, tenant="z")
    assert job_ids(await queue_of(database).claim_due(2, UNLIMITED, factory.decide, new_token)) == [due.job.job_id]


async def test_a_hundred_new_tenants_are_found_at_once(factory: Factory) -> None:
    store = queue_of(factory.database)
    await factory.queued(1, tenant="0-first")
    await factory.queued(1, tenant="z-last")
    await store.claim_due(2, UNLIMITED, factory.decide, new_token)
    for n in range(100):
        await factory.queued(1, tenant=f"m-{n:03}")
    assert len((await store.claim_due(100, UNLIMITED, factory.decide, new_token)).taken) == 100


async def test_with_many_waiting_no_lanes_oldest_job_is_passed_over(factory: Factory, clock: HandClock) -> None:
    store = queue_of(factory.database)
    for tenant in range(20):
        await factory.queued(3, tenant=f"t{tenant:02}")
    (oldest,) = await factory.queued(1, tenant="t07")
    clock.advance(minutes=-1)
    (older,) = await factory.queued(1, tenant="t07")
    clock.advance(minutes=1)
    taken = []
    for _ in range(20):
        clock.advance(milliseconds=100)
        taken += job_ids(await store.claim_due(1, UNLIMITED, factory.decide, new_token))
    assert older.job.job_id in taken
    assert oldest.job.job_id not in taken
