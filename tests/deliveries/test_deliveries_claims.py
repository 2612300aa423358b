"""Claims of deliveries: leased, once, receivers in turn; and what a record may change."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta

import pytest
from sqlalchemy import text

from app.lifecycle.delivery import ATTEMPTS, PAUSES, AttemptOutcome, DeliveryState
from app.lifecycle.job import CallbackFormat, Life
from app.lifecycle.receiver import PARK_AFTER, Receiver
from app.lifecycle.senders import Room, SenderLimits
from app.lifecycle.states import JobState
from app.storage.deliveries import LEASE, Attempt, DeliveryStore, DeliveryUnderWayError
from app.storage.history import HistoryStore
from app.storage.receivers import ReceiverStore
from tests.databases import OpenDatabase
from tests.deliveries.rig import DELIVERED, FAILED, ROOMY, Rig, write
from tests.storage.watch import plan_of, statements_of

HOOK, OTHER = "https://hooks.example/a", "https://other.example/b"
ACME = Receiver("acme", "https://hooks.example")


async def test_a_delivery_is_due_at_once_and_claimed_once(rig: Rig) -> None:
    job = await rig.settled(HOOK)
    [claimed] = await rig.claim()
    assert (claimed.job_id, claimed.number, claimed.receiver) == (job.job.job_id, 1, ACME)
    assert await rig.claim() == []


async def test_jobs_without_an_address_have_no_delivery(rig: Rig) -> None:
    await rig.factory.in_state(JobState.SUCCEEDED)
    assert await rig.claim() == []


async def test_a_claim_that_nobody_reported_of_is_due_again_when_its_lease_ends(rig: Rig) -> None:
    await rig.settled(HOOK)
    [first] = await rig.claim()
    rig.clock.now += LEASE - timedelta(microseconds=1)
    assert await rig.claim() == []
    rig.clock.now += timedelta(microseconds=1)
    [second] = await rig.claim()
    assert (second.delivery_id, second.number, second.body) == (first.delivery_id, 1, first.body)


async def test_the_body_is_written_once_and_kept_before_anything_is_sent(rig: Rig) -> None:
    job = await rig.settled(HOOK)
    assert await rig.body(job) is None
    [claimed] = await rig.claim()
    assert claimed.body == await rig.body(job) == write(CallbackFormat.SIGNED, job)
    rig.clock.now += LEASE
    claim = await rig.store.claim_due(Room(ROOMY), lambda _format, _life: b"another")
    assert claim.taken[0].body == claimed.body


async def test_a_body_that_cannot_be_written_keeps_no_other_from_being_claimed(rig: Rig) -> None:
    bad, good = await rig.settled(HOOK), await rig.settled(HOOK)

    def picky(_format: CallbackFormat, life: Life) -> bytes | None:
        return None if life.job.job_id == bad.job.job_id else b"good"

    claim = await rig.store.claim_due(Room(ROOMY), picky)
    assert {c.job_id: c.body for c in claim.taken} == {bad.job.job_id: None, good.job.job_id: b"good"}


async def test_two_replicas_never_claim_the_same(rig: Rig, database_url: str, open_database: OpenDatabase) -> None:
    for _ in range(20):
        await rig.settled(HOOK)
    replicas = [DeliveryStore(open_database(database_url, clock=rig.clock)) for _ in range(2)]
    few = SenderLimits(all=3, receiver=3)
    taken: Counter[object] = Counter()
    for _ in range(10):
        claims = await asyncio.gather(*(store.claim_due(Room(few), write) for store in replicas))
        taken.update(c.delivery_id for claim in claims for c in claim.taken)
    assert len(taken) == 20
    assert set(taken.values()) == {1}


async def test_a_receiver_with_much_to_take_fills_no_claim(rig: Rig) -> None:
    for _ in range(30):
        await rig.settled(HOOK)
    rig.clock.advance(seconds=1)
    late = await rig.settled(OTHER)
    limits = SenderLimits(all=10, tenant=10, receiver=8)
    claim = await rig.store.claim_due(Room(limits), write)
    assert Counter(c.receiver.origin for c in claim.taken) == {ACME.origin: 8, "https://other.example": 1}
    assert claim.crowded
    assert late.job.job_id in {c.job_id for c in claim.taken}
    busy = [(c.receiver, c.failing) for c in claim.taken]
    assert await rig.claim(limits, busy) == []


async def test_a_tenant_with_many_receivers_leaves_senders_to_others(rig: Rig) -> None:
    for n in range(12):
        await rig.settled(f"https://{n}.example/")
    other = await rig.settled(HOOK, tenant="umbrella")
    claimed = await rig.claim(SenderLimits(all=8, tenant=6))
    assert Counter(c.receiver.tenant for c in claimed) == {"acme": 6, "umbrella": 1}
    assert other.job.job_id in {c.job_id for c in claimed}


async def test_receivers_are_served_in_turn(rig: Rig) -> None:
    for _ in range(3):
        for url in (HOOK, OTHER):
            await rig.settled(url)
    one = SenderLimits(all=1)
    served = [(await rig.claim(one))[0].receiver.origin for _ in range(6)]
    assert served[0] != served[1]
    assert served == served[:2] * 3


async def test_a_failing_receiver_gets_one_sender_until_it_takes_something(rig: Rig) -> None:
    for _ in range(5):
        await rig.settled(HOOK)
    first, *others = await rig.claim(SenderLimits(receiver=2))
    assert len(others) == 1
    await rig.fail(first)
    [probe] = await rig.claim(SenderLimits(receiver=8))
    assert probe.failing
    await rig.fail(probe, DELIVERED)
    assert len(await rig.claim(SenderLimits(receiver=8))) == 2


async def test_the_schedule_is_kept_to_its_end(rig: Rig) -> None:
    job = await rig.settled(HOOK)
    paused = []
    for number in range(1, ATTEMPTS + 1):
        [claimed] = await rig.claim()
        assert claimed.number == number
        await rig.fail(claimed)
        after = await rig.delivery(job)
        if number < ATTEMPTS:
            assert after.due_at is not None
            paused.append(after.due_at - rig.clock.now)
            await rig.due(job)
    assert all(usual * 0.8 <= pause <= usual * 1.2 for usual, pause in zip(PAUSES, paused, strict=True))
    assert (after.state, after.due_at, after.tries, after.last_status) == (DeliveryState.EXHAUSTED, None, ATTEMPTS, 500)
    assert [attempt.number for attempt in after.attempts] == list(range(1, ATTEMPTS + 1))


@pytest.mark.parametrize(("outcome", "state"), [(DELIVERED, "delivered"), (AttemptOutcome(410), "gone")])
async def test_an_end_is_an_end(rig: Rig, outcome: AttemptOutcome, state: str) -> None:
    job, beside = await rig.settled(HOOK), await rig.settled(OTHER)
    claimed = {c.job_id: c for c in await rig.claim()}
    await rig.fail(claimed[job.job.job_id], outcome)
    after = await rig.delivery(job)
    assert (after.state, after.due_at, after.finished_at) == (state, None, rig.clock.now)
    assert (await rig.delivery(beside)).state == "pending"


async def test_a_late_failure_does_not_move_the_schedule_of_who_has_the_delivery_now(rig: Rig) -> None:
    job = await rig.settled(HOOK)
    [asleep] = await rig.claim()
    rig.clock.now += LEASE
    [awake] = await rig.claim()
    await rig.fail(asleep)
    after = await rig.delivery(job)
    assert (after.state, after.tries, after.due_at, len(after.attempts)) == ("pending", 0, awake.lease_until, 1)
    await rig.fail(awake)
    assert (await rig.delivery(job)).tries == 1


async def test_a_late_success_counts_and_a_failure_after_it_does_not(rig: Rig) -> None:
    job = await rig.settled(HOOK)
    [asleep] = await rig.claim()
    rig.clock.now += LEASE
    [awake] = await rig.claim()
    await rig.fail(asleep, DELIVERED)
    await rig.fail(awake, AttemptOutcome(410))
    after = await rig.delivery(job)
    assert (after.state, after.due_at, len(after.attempts)) == ("delivered", None, 2)


async def test_attempts_are_recorded_together_each_for_itself(rig: Rig) -> None:
    jobs = [await rig.settled(url) for url in (HOOK, HOOK, OTHER)]
    claimed = {c.job_id: c for c in await rig.claim()}
    outcomes = dict(zip((job.job.job_id for job in jobs), (FAILED, DELIVERED, FAILED), strict=True))
    await rig.store.record([Attempt(claimed[job_id], outcome, 7, "why") for job_id, outcome in outcomes.items()])
    assert [(await rig.delivery(job)).state for job in jobs] == ["pending", "delivered", "pending"]
    assert [troubled.receiver.origin for troubled in await rig.receivers.troubled()] == ["https://other.example"]


async def test_five_days_of_failures_park_a_receiver_and_put_its_deliveries_away(rig: Rig) -> None:
    parked, beside = await park(rig), await rig.settled(OTHER)
    [troubled] = await rig.receivers.troubled(parked=True)
    assert (troubled.receiver, troubled.pending) == (ACME, 2)
    new = await rig.settled(HOOK)
    assert [c.job_id for c in await rig.claim()] == [beside.job.job_id]
    rig.clock.advance(days=1)
    await rig.claim()
    assert [(await rig.delivery(job)).due_at for job in (*parked, new)] == [None] * 3
    with statements_of(rig.database) as sent:
        await rig.claim()
    assert not any("receivers" in statement and "UPDATE" in statement for statement, _ in sent)


async def test_a_parked_receiver_of_one_tenant_is_open_to_another(rig: Rig) -> None:
    await park(rig)
    other = await rig.settled(HOOK, tenant="umbrella")
    assert [c.job_id for c in await rig.claim()] == [other.job.job_id]


async def test_a_resumed_receiver_gets_all_that_was_kept(rig: Rig) -> None:
    jobs = await park(rig)
    rig.clock.advance(days=1)
    assert await rig.claim() == []
    assert await rig.receivers.resume(ACME, by="key-1") == len(jobs)
    assert {c.job_id for c in await rig.claim()} == {job.job.job_id for job in jobs}
    assert await rig.receivers.troubled() == []
    assert await rig.receivers.resume(ACME, by="key-1") is None
    [audited, *_] = await rig.audit.newest()
    assert (audited.act.action, audited.act.key_id, audited.act.data) == ("receiver.resume", "key-1", {"origin": ACME.origin})


async def test_a_success_that_somebody_asked_for_resumes_a_parked_receiver(rig: Rig) -> None:
    first, second = await park(rig)
    rig.clock.advance(days=1)
    assert await rig.claim() == []
    claimed = await rig.store.claim((await rig.delivery(first)).delivery_id, write, by="key-1")
    assert claimed is not None
    [recorded] = await rig.store.record([Attempt(claimed, DELIVERED, 1)])
    assert recorded is not None
    assert recorded.resumed
    assert [c.job_id for c in await rig.claim()] == [second.job.job_id]


async def test_a_failure_that_somebody_asked_for_leaves_what_was_put_away_to_the_one_who_resumes(rig: Rig) -> None:
    first, _ = await park(rig)
    rig.clock.advance(days=1)
    await rig.claim()
    claimed = await rig.store.claim((await rig.delivery(first)).delivery_id, write, by="key-1")
    assert claimed is not None
    assert await rig.receivers.resume(ACME, by="key-1") == 1
    await rig.fail(claimed)
    assert first.job.job_id in {c.job_id for c in await rig.claim()}, "nobody would ever look at it again"


async def test_a_delivery_that_was_asked_for_is_in_nobody_elses_hands(rig: Rig) -> None:
    job = await rig.settled(HOOK)
    delivery_id = (await rig.delivery(job)).delivery_id
    [scheduled] = await rig.claim()
    with pytest.raises(DeliveryUnderWayError):
        await rig.store.claim(delivery_id, write, by="key-1")
    await rig.fail(scheduled)
    await rig.due(job)
    asked = await rig.store.claim(delivery_id, write, by="key-1")
    assert asked is not None
    assert await rig.claim() == []
    with pytest.raises(DeliveryUnderWayError):
        await rig.store.claim(delivery_id, write, by="key-1")


async def test_a_failure_that_was_asked_for_leaves_the_schedule_alone(rig: Rig) -> None:
    job = await rig.settled(HOOK)
    [first] = await rig.claim()
    await rig.fail(first)
    [second] = [await rig.due(job)] and await rig.claim()
    await rig.fail(second)
    before = await rig.delivery(job)
    claimed = await rig.store.claim(before.delivery_id, write, by="key-1")
    assert claimed is not None
    await rig.fail(claimed)
    after = await rig.delivery(job)
    assert (after.state, after.due_at, after.tries) == ("pending", before.due_at, 2)
    assert [attempt.number for attempt in after.attempts] == [1, 2, None]
    [audited, *_] = await rig.audit.newest()
    assert (audited.act.action, audited.act.job_id) == ("delivery.redeliver", job.job.job_id)
    told = (await HistoryStore(rig.database).events(job.job.job_id))[-1]
    assert (told.type, told.data) == ("redelivery_asked", {"delivery_id": str(before.delivery_id), "by": "key-1"})


@pytest.mark.parametrize("outcome", [DELIVERED, AttemptOutcome(410)])
async def test_a_failure_that_was_asked_for_leaves_a_finished_delivery_finished(rig: Rig, outcome: AttemptOutcome) -> None:
    job = await rig.settled(HOOK)
    [first] = await rig.claim()
    await rig.fail(first, outcome)
    before = await rig.delivery(job)
    rig.clock.advance(hours=1)
    claimed = await rig.store.claim(before.delivery_id, write, by="key-1")
    assert claimed is not None
    assert claimed.body == first.body
    await rig.fail(claimed)
    after = await rig.delivery(job)
    assert (after.state, after.due_at, after.finished_at) == (before.state, None, before.finished_at)
    assert len(after.attempts) == 2


async def test_recovering_makes_due_what_was_not_delivered_since_then(rig: Rig) -> None:
    too_old = await rig.settled(HOOK)
    [claimed] = await rig.claim()
    await rig.fail(claimed, AttemptOutcome(410))
    rig.clock.advance(hours=1)
    since = rig.clock.now
    jobs = {name: await rig.settled(HOOK) for name in ("gone", "delivered", "waits", "soon")}
    foreign = await rig.settled(HOOK, tenant="umbrella")
    claims = {c.job_id: c for c in await rig.claim()}
    outcomes = {"gone": AttemptOutcome(410), "delivered": DELIVERED, "waits": FAILED}
    for name, outcome in outcomes.items():
        await rig.fail(claims[jobs[name].job.job_id], outcome)
    await rig.fail(claims[foreign.job.job_id], AttemptOutcome(410))
    rig.clock.now = (await rig.due(jobs["waits"])).due_at or since
    again = {c.job_id: c for c in await rig.claim()}
    await rig.fail(again[jobs["waits"].job.job_id])  # five minutes to go

    assert await rig.store.recover("acme", since, by="key-1") == 2

    for name in ("gone", "waits"):
        found = await rig.delivery(jobs[name])
        assert (found.state, found.due_at, found.tries) == ("pending", rig.clock.now, 0), name
    assert (await rig.delivery(jobs["delivered"])).state == "delivered"
    assert (await rig.delivery(jobs["soon"])).due_at != rig.clock.now
    assert [(await rig.delivery(job)).state for job in (too_old, foreign)] == ["gone", "gone"]
    [audited, *_] = await rig.audit.newest()
    assert (audited.act.action, audited.act.tenant) == ("deliveries.recover", "acme")


async def test_lists_are_newest_first_and_filtered(rig: Rig) -> None:
    jobs = []
    for url, tenant in ((HOOK, "acme"), (OTHER, "acme"), (HOOK, "umbrella"), (HOOK, "acme")):
        jobs.append((await rig.settled(url, tenant=tenant)).job.job_id)
        rig.clock.advance(seconds=1)
    newest = await rig.list.page(limit=3)
    assert [d.job_id for d in newest] == jobs[:0:-1]
    assert [d.job_id for d in await rig.list.page(limit=3, after=newest[-1].key)] == jobs[:1]
    assert [d.job_id for d in await rig.list.page(limit=9, tenant="umbrella")] == [jobs[2]]
    assert [d.job_id for d in await rig.list.page(limit=9, origin="https://other.example")] == [jobs[1]]
    [claimed, *_] = await rig.claim()
    await rig.fail(claimed, DELIVERED)
    assert [d.job_id for d in await rig.list.page(limit=9, state=DeliveryState.DELIVERED)] == [claimed.job_id]


async def test_a_claim_hops_from_receiver_to_receiver_past_all_history(rig: Rig) -> None:
    job = await rig.settled(HOOK)
    for url in (HOOK, OTHER):
        await rig.settled(url)
    async with rig.database.writing() as connection:
        await connection.execute(text(_history(job, sqlite=rig.database.is_sqlite)))
        if not rig.database.is_sqlite:
            await connection.execute(text("ANALYZE"))
    with statements_of(rig.database) as sent:
        assert len(await rig.claim()) == 3
    looked = [(s, p) for s, p in sent if "FROM deliveries" in s and s.lstrip().startswith(("SELECT", "WITH"))]
    assert len(looked) > 3
    async with rig.database.writing() as connection:
        plans = [await plan_of(connection, *one) for one in looked]
    for plan in plans:
        assert "Seq Scan on deliveries" not in plan, plan
        assert "SCAN deliveries\n" not in plan + "\n", plan


def _history(job: Life, *, sqlite: bool) -> str:
    """Six thousand delivered ones."""
    series = "WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 6000) " if sqlite else ""
    source = "s" if sqlite else "generate_series(1, 6000) AS n"
    new_id = "lower(hex(randomblob(16)))" if sqlite else "gen_random_uuid()"
    return f"""
        INSERT INTO deliveries
            (delivery_id, job_id, tenant, origin, url, type, format, state, attempts, created_at, finished_at)
        {series}SELECT
            {new_id}, d.job_id, d.tenant, d.origin, d.url, d.type, d.format, 'delivered', 1, d.created_at, d.created_at
        FROM deliveries d, {source} WHERE d.job_id = '{job.job.job_id.hex if sqlite else job.job.job_id}'"""


async def park(rig: Rig) -> tuple[Life, Life]:
    """Two jobs of a receiver that has failed for five days, and is parked."""
    jobs = await rig.settled(HOOK), await rig.settled(HOOK)
    steps = timedelta(days=2), timedelta(days=2), PARK_AFTER - timedelta(days=4)
    claimed = await rig.claim()
    await rig.fail(claimed[0])
    for step in steps:
        rig.clock.now += step
        [one, *_] = await rig.claim()
        await rig.fail(one)
    assert [troubled.health.parked_at for troubled in await ReceiverStore(rig.database).troubled()] == [rig.clock.now]
    return jobs
