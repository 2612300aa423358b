"""Callbacks as they come in: by their token, counted, capped, and never believed."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from app.lifecycle.news import BooksDue, Claimed, WaitOver
from app.lifecycle.ownership import hash_token
from app.lifecycle.states import JobState, Outcome
from app.storage.history import HistoryStore
from app.storage.receipts import RECEIPTS_MAX, CallbackOutcome, Receipt, ReceiptStore
from tests.databases import OpenDatabase
from tests.storage.factory import Factory, HandClock

LIFE = timedelta(hours=24)


def receipt(token: str, task_id: str | None = None) -> Receipt:
    return Receipt(hash_token(token), task_id, "application/json", 17, '{"task":"图"}')


async def receive(factory: Factory, *receipts: Receipt) -> list[CallbackOutcome]:
    return [outcome for outcome, _ in await ReceiptStore(factory.database).receive(receipts, factory.decide, LIFE)]


async def test_a_callback_is_noted_and_moves_the_next_check_to_now(factory: Factory, clock: HandClock) -> None:
    life = await factory.in_state(JobState.RUNNING)
    clock.advance(seconds=3)
    ((outcome, job_id),) = await ReceiptStore(factory.database).receive([receipt("token-of-1", "task-1")], factory.decide, LIFE)
    assert (outcome, job_id) == (CallbackOutcome.POKED, life.job.job_id)
    (submission,) = (await factory.find(life.job.job_id)).submissions
    assert (submission.due_at, submission.poked_at, submission.callbacks) == (clock.now, clock.now, 1)
    (stored,) = await ReceiptStore(factory.database).of_job(life.job.job_id)
    assert (stored.number, stored.received_at, stored.outcome) == (1, clock.now, CallbackOutcome.POKED)
    assert (stored.named_task_id, stored.content_type, stored.body_bytes, stored.sample) == (
        "task-1", "application/json", 17, '{"task":"图"}',
    )  # fmt: skip


async def test_an_unknown_token_belongs_to_nobody_and_leaves_no_trace(factory: Factory) -> None:
    life = await factory.in_state(JobState.RUNNING)
    results = await ReceiptStore(factory.database).receive([receipt("made-up", "task-1")], factory.decide, LIFE)
    assert results == [(CallbackOutcome.UNKNOWN, None)]
    assert await factory.find(life.job.job_id) == life
    assert await ReceiptStore(factory.database).of_job(life.job.job_id) == []


@pytest.mark.parametrize(
    ("state", "task_id", "outcome"),
    [
        (JobState.SUBMITTING, None, CallbackOutcome.UNREADABLE),
        (JobState.SUBMITTING, "task-x", CallbackOutcome.CANDIDATE),
        (JobState.UNCONFIRMED, None, CallbackOutcome.UNREADABLE),
        (JobState.UNCONFIRMED, "task-x", CallbackOutcome.CANDIDATE),
        (JobState.RUNNING, None, CallbackOutcome.POKED),
        (JobState.RUNNING, "task-x", CallbackOutcome.POKED),
        (JobState.SUCCEEDED, "task-1", CallbackOutcome.LATE),
        (JobState.FAILED, None, CallbackOutcome.LATE),
    ],
)
async def test_what_becomes_of_a_callback_depends_on_what_is_known(
    factory: Factory, state: JobState, task_id: str | None, outcome: CallbackOutcome
) -> None:
    life = await factory.in_state(state)
    assert await receive(factory, receipt("token-of-1", task_id)) == [outcome]
    after = await factory.find(life.job.job_id)
    assert after.job == life.job
    assert after.submissions[0].callbacks == 1
    assert after.submissions[0].candidates == (("task-x",) if outcome is CallbackOutcome.CANDIDATE else ())


async def test_the_token_stays_good_after_the_job_is_settled_until_the_hard_deadline(
    factory: Factory, clock: HandClock
) -> None:
    life = await factory.in_state(JobState.SUCCEEDED)
    sent_at = life.submissions[0].sent_at
    clock.now = sent_at + LIFE - timedelta(microseconds=1)
    assert await receive(factory, receipt("token-of-1")) == [CallbackOutcome.LATE]
    clock.now = sent_at + LIFE
    assert await receive(factory, receipt("token-of-1")) == [CallbackOutcome.UNKNOWN]
    assert (await factory.find(life.job.job_id)).submissions[0].callbacks == 1


async def test_the_token_stays_good_for_as_long_as_its_books_are_open(factory: Factory, clock: HandClock) -> None:
    life = await factory.in_state(JobState.UNCONFIRMED)
    clock.now = life.submissions[0].sent_at + LIFE * 3  # as where no check was possible in all that time
    assert await receive(factory, receipt("token-of-1")) == [CallbackOutcome.UNREADABLE]
    assert (await factory.tell(life.job.job_id, WaitOver(1))).job.is_settled
    assert await ReceiptStore(factory.database).known([hash_token("token-of-1")], LIFE) == [True]
    assert (await factory.tell(life.job.job_id, BooksDue(1))).submissions[0].outcome is Outcome.WRITTEN_OFF
    assert await ReceiptStore(factory.database).known([hash_token("token-of-1")], LIFE) == [False]


async def test_the_token_of_an_earlier_submission_is_still_good(factory: Factory, clock: HandClock) -> None:
    life = await factory.backing_off()
    await factory.tell(life.job.job_id, Claimed(hash_token("token-of-the-second")))
    clock.advance(seconds=1)
    assert await receive(factory, receipt("token-of-1", "task-x")) == [CallbackOutcome.CANDIDATE]
    after = await factory.find(life.job.job_id)
    assert [s.candidates for s in after.submissions] == [("task-x",), ()]
    assert [r.number for r in await ReceiptStore(factory.database).of_job(life.job.job_id)] == [1]


async def test_callbacks_that_arrive_together_are_told_apart(factory: Factory) -> None:
    lives = [await factory.in_state(JobState.UNCONFIRMED) for _ in range(2)]
    outcomes = await receive(
        factory,
        receipt("token-of-2", "b"),
        receipt("made-up"),
        receipt("token-of-1", "a"),
        receipt("token-of-2", "b"),
        receipt("token-of-1", "c"),
    )
    assert outcomes == [
        CallbackOutcome.CANDIDATE, CallbackOutcome.UNKNOWN, CallbackOutcome.CANDIDATE, CallbackOutcome.POKED,
        CallbackOutcome.CANDIDATE,
    ]  # fmt: skip
    after = [await factory.find(life.job.job_id) for life in lives]
    assert [life.submissions[0].candidates for life in after] == [("a", "c"), ("b",)]
    assert [life.submissions[0].callbacks for life in after] == [2, 2]


async def test_a_flood_is_counted_not_stored(factory: Factory) -> None:
    life = await factory.in_state(JobState.RUNNING)
    for _ in range(3):
        await receive(factory, *[receipt("token-of-1")] * 15)
    assert len(await ReceiptStore(factory.database).of_job(life.job.job_id)) == RECEIPTS_MAX
    assert (await factory.find(life.job.job_id)).submissions[0].callbacks == 45


async def test_callbacks_at_several_replicas_are_all_counted(
    factory: Factory, database_url: str, open_database: OpenDatabase, clock: HandClock
) -> None:
    replicas = [Factory(open_database(database_url, clock=clock)) for _ in range(3)]
    life = await factory.in_state(JobState.UNCONFIRMED)
    await asyncio.gather(*(receive(r, receipt("token-of-1", f"task-{n}")) for n, r in enumerate(replicas * 3)))
    (submission,) = (await factory.find(life.job.job_id)).submissions
    assert submission.callbacks == 9
    assert len(submission.candidates) == factory.policy.candidates_max
    assert len(await ReceiptStore(factory.database).of_job(life.job.job_id)) == 9


async def test_the_timeline_tells_of_callbacks(factory: Factory) -> None:
    life = await factory.in_state(JobState.UNCONFIRMED)
    await receive(factory, receipt("token-of-1", "task-x"))
    told = await HistoryStore(factory.database).events(life.job.job_id)
    assert (told[-1].type, told[-1].data) == ("callback", {"submission": 1, "named": "task-x"})
