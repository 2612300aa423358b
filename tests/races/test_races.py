"""One job, and everything that can happen to it at once: one of them settles it, the others get an ordinary result."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random
from typing import Any
from uuid import UUID

import pytest

from app.access.callers import Caller
from app.callbacks.receive import CallbackReceiver
from app.intake import Intake
from app.jobs.job_request import JobRequest
from app.lifecycle import gate as gates
from app.lifecycle.answers import (
    Accepted,
    NotFound,
    Refusal,
    Refused,
    Rejected,
    StillGoing,
    Succeeded,
    TaskFailed,
    Unproven,
)
from app.lifecycle.gate import Gate, GatePolicy, Shut
from app.lifecycle.job import Life
from app.lifecycle.news import Answered, CancelAsked, Checked, GivenBack, LeaseExpired, QueueDeadlinePassed, WaitOver
from app.lifecycle.ownership import hash_token, new_token
from app.lifecycle.policy import Policy
from app.lifecycle.states import NOT_ACCEPTED, SETTLED, JobState, Outcome
from app.lifecycle.transitions import Change, Effect
from app.settlement.settle import Settlement
from app.settlement.wakes import Wakes
from app.storage.database import Database
from app.storage.gate_row import GateStore
from app.storage.grouped import GroupedWriter
from app.storage.history import HistoryStore
from app.storage.intake import IntakeStore
from app.storage.lives import LifeStore
from app.storage.queue import Claim
from app.storage.receipts import CallbackOutcome, Receipt, ReceiptStore
from tests.databases import OpenDatabase
from tests.storage.factory import queue_of

CALLER = Caller("design", "key-1", frozenset({"jobs:write"}))
POLICY = Policy()
GATE = GatePolicy(submit_rate=100_000, status_rate=100_000, max_in_flight=10_000)
TASK = "n42abcqwenimg"
DONE = Succeeded(("http://upstream.invalid/1.png",), 5, prompt="A red fox")
ROUNDS = 25  #: of each race, on each database


@dataclass
class Replica:
    """One process's worth of stores, on a database connection of its own."""

    database: Database

    def __post_init__(self) -> None:
        self.lives, self.queue = LifeStore(self.database), queue_of(self.database)
        self.gate_store = GateStore(self.database)
        self.settlement = Settlement(self.lives, self.gate_store, POLICY, GATE, Wakes())
        self.intake = Intake(IntakeStore(self.database), self.settlement.wakes)
        self.receiver = CallbackReceiver(ReceiptStore(self.database), self.settlement)
        self.history = HistoryStore(self.database)

    async def accept(self, idempotency_key: str | None = None) -> UUID:
        inserted = await self.intake.accept([JobRequest(prompt="A red fox")], CALLER, idempotency_key)
        return inserted.lives[0].job.job_id

    async def claim(self, limit: int = 10) -> Claim:
        return await self.queue.claim_due(limit, GATE, self.settlement.decide, new_token)

    async def life(self, job_id: UUID) -> Life:
        life = await self.lives.find(job_id)
        assert life is not None
        return life


@pytest.fixture
def replicas(database_url: str, open_database: OpenDatabase) -> tuple[Replica, Replica]:
    return Replica(open_database(database_url)), Replica(open_database(database_url))


Act = Callable[[], Awaitable[Any]]


async def race(acts: list[Act], dice: Random) -> list[Any]:
    """All at once, started in an order of the dice's."""
    order = dice.sample(range(len(acts)), len(acts))
    results: list[Any] = [None] * len(acts)

    async def run(index: int) -> None:
        for _ in range(dice.randrange(3)):
            await asyncio.sleep(0)
        results[index] = await acts[index]()

    await asyncio.gather(*(run(index) for index in order))
    return results


def applied(results: list[Any]) -> list[Change]:
    return [r for r in results if isinstance(r, Change) and r.effect is Effect.APPLIED]


def settling(results: list[Any]) -> list[Change]:
    return [c for c in applied(results) if c.after.job.is_settled and not c.before.job.is_settled]


def checked(number: int, reading: Any, task_id: str = TASK, **more: Any) -> Checked:
    return Checked(number, task_id, datetime.now(UTC), reading, **more)


async def test_many_answers_about_a_running_job_settle_it_once(replicas: tuple[Replica, Replica]) -> None:
    one, two = replicas

    async def one_round(seed: int) -> None:
        dice, task_id = Random(seed), f"{TASK}{seed}"
        job_id = await one.accept()
        [(_, token)] = (await one.claim()).taken
        await one.settlement.record(job_id, Answered(1, Accepted(task_id)))
        results = await race(
            [
                lambda: one.settlement.record(job_id, checked(1, DONE, task_id)),
                lambda: two.settlement.record(job_id, checked(1, DONE, task_id, poked=True)),
                lambda: one.settlement.record(job_id, checked(1, StillGoing("IN_PROGRESS"), task_id)),
                lambda: two.settlement.record(job_id, checked(1, NotFound(), task_id)),
                lambda: two.settlement.record(job_id, checked(1, TaskFailed("no", 0), task_id)),
                lambda: one.settlement.record(job_id, LeaseExpired(1)),
                lambda: two.settlement.record(job_id, WaitOver(1)),
                lambda: two.settlement.record(job_id, Answered(1, Accepted(task_id))),
                lambda: two.settlement.record(job_id, QueueDeadlinePassed()),
                lambda: one.receiver.receive(token, None, f'{{"task_id":"{task_id}"}}'.encode()),
                lambda: two.receiver.receive(token, None, b"finished"),
                two.claim,
            ],
            dice,
        )
        assert len(settling(results)) == 1, [r.effect for r in results if isinstance(r, Change)]
        assert results[-1].taken == ()
        assert CallbackOutcome.UNKNOWN not in results
        await _tells_one_story(one, two, job_id, settling(results)[0])

    for seed in range(ROUNDS):
        await one_round(seed)


async def test_an_answer_a_callback_a_lease_and_a_cancel_at_once_leave_one_story(replicas: tuple[Replica, Replica]) -> None:
    """The submit's answer is late, its lease over, a callback there, the caller impatient, and another worker awake."""
    one, two = replicas
    ends: Counter[JobState] = Counter()

    async def one_round(seed: int) -> None:
        dice, task_id = Random(seed), f"{TASK}{seed}"
        job_id = await one.accept()
        [(_, token)] = (await one.claim()).taken
        answer = dice.choice([
            Accepted(task_id), Accepted(task_id), Refused(Refusal.SERVER_ERROR, "HTTP 500"), Rejected("no"), Unproven("lost")
        ])  # fmt: skip
        results = await race(
            [
                lambda: one.settlement.record(job_id, Answered(1, answer)),
                lambda: one.settlement.record(job_id, CancelAsked()),
                lambda: two.settlement.record(job_id, LeaseExpired(1)),
                lambda: two.settlement.record(job_id, checked(1, DONE, task_id)),
                lambda: two.receiver.receive(token, None, f'{{"task_id":"{task_id}"}}'.encode()),
                lambda: two.settlement.record(job_id, checked(1, DONE, task_id, poked=True)),
                two.claim,
            ],
            dice,
        )
        life = await one.life(job_id)
        assert len(settling(results)) == (1 if life.job.is_settled else 0)
        assert results[-1].taken == (), "a canceled job was claimed"
        assert len(life.submissions) == 1
        if life.submissions[0].outcome not in NOT_ACCEPTED and not life.job.is_settled:
            assert life.job.state in (JobState.UNCONFIRMED, JobState.RUNNING)
        # Whoever looks next ends it, and whoever comes after that changes nothing.
        for news in (checked(1, DONE, task_id), WaitOver(1)):
            await two.settlement.record(job_id, news)
        life = await two.life(job_id)
        canceled_in_time = results[1].effect is not Effect.REFUSED
        assert (life.job.state is JobState.CANCELED) == canceled_in_time, "a cancel wins over whatever the upstream says"
        ends[life.job.state] += 1
        late = await race(
            [
                lambda: one.settlement.record(job_id, Answered(1, Accepted(task_id))),
                lambda: two.settlement.record(job_id, checked(1, DONE, task_id)),
                lambda: two.settlement.record(job_id, CancelAsked()),
                lambda: one.settlement.record(job_id, GivenBack(1, "late")),
                lambda: one.receiver.receive(token, None, b"{}"),
            ],
            dice,
        )
        assert applied(late) == []
        assert (await one.life(job_id)).job == life.job, "a settled job changed"

    for seed in range(ROUNDS):
        await one_round(seed)
    assert sum(ends[state] for state in SETTLED) == ROUNDS


async def test_two_workers_never_claim_the_same_job(replicas: tuple[Replica, Replica]) -> None:
    one, two = replicas

    async def one_round(seed: int) -> None:
        dice = Random(seed)
        jobs = {await one.accept() for _ in range(6)}
        canceled = dice.choice(sorted(jobs))
        results = await race(
            [
                lambda: one.claim(4), lambda: two.claim(4), lambda: one.claim(3), lambda: two.claim(6),
                lambda: two.settlement.record(canceled, CancelAsked()),
                lambda: one.settlement.record(canceled, QueueDeadlinePassed()),
            ],
            dice,
        )  # fmt: skip
        claims = [r for r in results if isinstance(r, Claim)]
        rest = (await one.claim(10)).taken
        taken = [change.after.job.job_id for claim in claims for change, _ in claim.taken] + [
            change.after.job.job_id for change, _ in rest
        ]
        assert len(taken) == len(set(taken))
        assert jobs - {canceled} <= set(taken) <= jobs
        life = await two.life(canceled)
        assert (canceled in taken) != life.job.is_settled, "sent and settled, or neither"
        for job_id in taken:
            await two.settlement.record(job_id, Answered(1, Rejected("enough")))

    for seed in range(ROUNDS):
        await one_round(seed)


async def test_a_permit_is_never_given_twice(replicas: tuple[Replica, Replica]) -> None:
    one, two = replicas
    tight = GatePolicy(submit_rate=100_000, max_in_flight=3)

    async def one_round(seed: int) -> None:
        jobs = [await one.accept() for _ in range(5)]
        claims: list[Claim] = await race(
            [lambda r=r: r.queue.claim_due(4, tight, r.settlement.decide, new_token) for r in (one, two, one, two)],
            Random(seed),
        )
        assert sum(len(claim.taken) for claim in claims) == 3
        sent = [change.after.job.job_id for claim in claims for change, _ in claim.taken]
        await asyncio.gather(*(one.settlement.record(job_id, Answered(1, Rejected("enough"))) for job_id in sent))
        await asyncio.gather(*(two.settlement.record(job_id, CancelAsked()) for job_id in jobs))

    for seed in range(ROUNDS):
        await one_round(seed)


async def test_the_same_key_from_many_callers_makes_one_job(replicas: tuple[Replica, Replica]) -> None:
    one, two = replicas

    async def one_round(seed: int) -> None:
        keys = [f"{seed}-{n}" for n in range(3)]
        acts: list[Act] = [lambda r=r, k=k: r.accept(k) for k in keys for r in (one, two, one, two)]
        found = await race(acts, Random(seed))
        assert len({*found}) == 3

    for seed in range(ROUNDS):
        await one_round(seed)
    assert len((await one.history.page(limit=1000)).lives) == 3 * ROUNDS


async def test_one_task_id_told_to_two_submissions_belongs_to_one(replicas: tuple[Replica, Replica]) -> None:
    """Two jobs are told the same id at the same moment; the id stays unique, and the other job is not lost."""
    one, two = replicas

    async def one_round(seed: int) -> None:
        task_id = f"{TASK}{seed}"
        first, second = await one.accept(), await one.accept()
        assert len((await one.claim()).taken) == 2
        await race(
            [
                lambda: one.settlement.record_surely(first, Answered(1, Accepted(task_id))),
                lambda: two.settlement.record_surely(second, Answered(1, Accepted(task_id))),
            ],
            Random(seed),
        )
        lives = [await one.life(first), await one.life(second)]
        assert sorted(life.job.state for life in lives) == [JobState.RUNNING, JobState.UNCONFIRMED]
        assert [s.task_id for life in lives for s in life.submissions].count(task_id) == 1

    for seed in range(ROUNDS):
        await one_round(seed)


async def test_a_flood_of_callbacks_is_counted_whole_and_changes_nothing_else(replicas: tuple[Replica, Replica]) -> None:
    one, two = replicas
    job_id = await one.accept()
    [(_, token)] = (await one.claim()).taken
    await one.settlement.record(job_id, Answered(1, Accepted(TASK)))
    before = await one.life(job_id)
    bodies = [b"", b"{}", b'{"task_id":"forged"}', f'{{"task_id":"{TASK}"}}'.encode(), b"\xff" * 100]
    acts: list[Act] = [
        lambda r=r, b=b: r.receiver.receive(token, "text/plain", b) for _ in range(10) for b in bodies for r in (one, two)
    ]
    outcomes = await race(acts, Random(1))
    assert set(outcomes) == {CallbackOutcome.POKED}
    life = await one.life(job_id)
    assert life.submissions[0].callbacks == 100
    assert life.submissions[0].candidates == ()
    assert (life.job, life.submissions[0].task_id) == (before.job, TASK)


async def test_news_of_many_jobs_in_opposite_orders_does_not_deadlock(replicas: tuple[Replica, Replica]) -> None:
    one, two = replicas
    jobs = [await one.accept() for _ in range(12)]
    assert len((await one.claim(20)).taken) == 12
    for n, job_id in enumerate(jobs):
        await one.settlement.record(job_id, Answered(1, Accepted(f"{TASK}{n}")))

    async def one_round(seed: int) -> None:
        going = StillGoing("IN_PROGRESS")
        acts: list[Act] = [
            lambda r=r, j=j, n=n: r.settlement.record(j, checked(1, going, f"{TASK}{n}"))
            for n, j in enumerate(jobs)
            for r in (one, two)
        ]
        # When the gate opens, it excuses all open submissions at once.
        acts += [lambda r=r: r.gate_store.change(shut) for r in (one, two)]
        acts += [lambda r=r: r.gate_store.change(open_again) for r in (one, two)]
        results = await race(acts, Random(seed))
        assert all(r.effect is Effect.NOTED for r in results if isinstance(r, Change))

    for seed in range(ROUNDS):
        await one_round(seed)


def shut(gate: Gate, now: datetime) -> Gate:
    return gates.shut_checks(gate, Shut.BAD_KEY, now, GATE)


def open_again(gate: Gate, _now: datetime) -> Gate:
    return gates.open_checks(gate)


async def _tells_one_story(one: Replica, two: Replica, job_id: UUID, settled: Change) -> None:
    """The row, the books and the timeline agree, whoever reads them."""
    life = await one.life(job_id)
    assert life == await two.life(job_id)
    assert life.job == settled.after.job, "a settled job changed"
    assert life.submissions[0].outcome in (Outcome.SUCCEEDED, Outcome.FAILED)
    assert life.credits.consumed == (5 if life.submissions[0].outcome is Outcome.SUCCEEDED else 0)
    types = [event.type for event in await one.history.events(job_id)]
    assert sum(types.count(state.value) for state in SETTLED) == 1
    assert set(types[types.index(life.job.state) + 1 :]) <= {"callback", "answered_late"}


async def test_a_bad_row_among_settlements_fails_alone(replicas: tuple[Replica, Replica]) -> None:
    here, _ = replicas
    jobs = [await here.accept() for _ in range(3)]
    await here.claim()
    answers = [Answered(1, Accepted(task_id)) for task_id in ("first", "no text \ud800", "third")]
    results = await asyncio.gather(
        *(here.settlement.record(job_id, answer) for job_id, answer in zip(jobs, answers, strict=True)), return_exceptions=True
    )
    assert [isinstance(result, Exception) for result in results] == [False, True, False]
    assert [(await here.life(job_id)).job.state for job_id in jobs] == [
        JobState.RUNNING, JobState.SUBMITTING, JobState.RUNNING,
    ]  # fmt: skip


async def test_a_bad_row_among_callbacks_fails_alone(replicas: tuple[Replica, Replica]) -> None:
    here, _ = replicas
    store = ReceiptStore(here.database)
    for _ in range(3):
        await here.accept()
    claim = await here.claim()
    kinds = ("application/json", "no text \ud800", None)
    receipts = [Receipt(hash_token(token), None, kind, 2, "{}") for (_, token), kind in zip(claim.taken, kinds, strict=True)]

    async def receive(group: Sequence[Receipt]) -> Sequence[tuple[CallbackOutcome, UUID | None]]:
        return await store.receive(group, here.settlement.decide, POLICY.hard_deadline)

    writer: GroupedWriter[Receipt, tuple[CallbackOutcome, UUID | None]] = GroupedWriter(receive)
    results = await asyncio.gather(*(writer.put(receipt) for receipt in receipts), return_exceptions=True)
    assert [isinstance(result, Exception) for result in results] == [False, True, False]
    called = [(await here.life(change.after.job.job_id)).submissions[0].callbacks for change, _ in claim.taken]
    assert called == [1, 0, 1]
