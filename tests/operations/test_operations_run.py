"""The duty that does operations: batch after batch to the end, whatever happens to a worker or to one job."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import pytest
from structlog.testing import capture_logs
from uuid_utils.compat import uuid7

from app.errors import StorageUnavailableError
from app.intake import Intake
from app.lifecycle.gate import GatePolicy
from app.lifecycle.job import Life
from app.lifecycle.news import News, WaitOver
from app.lifecycle.operation import OperationKind, OperationState
from app.lifecycle.policy import Policy
from app.lifecycle.states import JobState
from app.lifecycle.transitions import Change
from app.operations.run import BATCH, OperationRunner
from app.settlement.settle import Settlement
from app.settlement.wakes import Wakes
from app.storage.counted import Counted
from app.storage.database import Database
from app.storage.gate_row import GateStore
from app.storage.history import HistoryStore
from app.storage.intake import IntakeStore
from app.storage.job_filter import JobFilter
from app.storage.lives import LifeStore
from app.storage.operations import LEASE, NewOperation, Operation, OperationStore
from tests.storage.factory import Factory, HandClock


class Stumbling(Settlement):
    """Fails over certain jobs, as a defect of ours would."""

    over: frozenset[UUID] = frozenset()
    error: Exception = RuntimeError("a defect")

    def decide(self, life: Life, news: News, now: datetime) -> Change:
        if life.job.job_id in self.over:
            raise self.error
        return super().decide(life, news, now)


class Worker:
    """A process that does operations."""

    def __init__(self, database: Database) -> None:
        lives, history, wakes = LifeStore(database), HistoryStore(database), Wakes()
        self.store = OperationStore(database)
        self.settlement = Stumbling(lives, GateStore(database), Policy(), GatePolicy(), wakes)
        self.runner = OperationRunner(self.store, lives, history, self.settlement, Intake(IntakeStore(database), wakes))

    async def make(self, kind: OperationKind, **fields: Any) -> Operation:
        made: dict[str, Any] = {"filter": {"tenant": "acme"}, "jobs": None, "accept_double_billing": False, **fields}
        new = NewOperation(
            operation_id=uuid7(), kind=kind, key_id="key-1", fingerprint=uuid7().bytes, idempotency_key=None,
            matched=Counted(0, more=False), **made,
        )  # fmt: skip
        return (await self.store.make(new))[0]

    async def work(self, operation: Operation, clock: HandClock) -> Operation:
        """Sweeps until it is over."""
        for _ in range(1000):
            found = await self.store.find(operation.operation_id)
            assert found is not None
            if found.finished_at is not None:
                return found
            await self.runner.sweep()
            clock.advance(seconds=1)
        raise AssertionError("it never ends")


@pytest.fixture
def worker(database: Database) -> Worker:
    return Worker(database)


async def states(factory: Factory, lives: list[Life]) -> list[JobState]:
    return [(await factory.find(life.job.job_id)).job.state for life in lives]


async def retries_of(factory: Factory, life: Life) -> list[Mapping[str, Any]]:
    events = await HistoryStore(factory.database).events(life.job.job_id)
    return [event.data for event in events if event.type == "retried"]


async def test_a_filter_of_many_batches_comes_to_its_end(worker: Worker, factory: Factory, clock: HandClock) -> None:
    count = 2 * BATCH + 7
    mine = await factory.queued(count)
    beside = await factory.queued(3, tenant="umbrella")
    clock.advance(seconds=1)
    operation = await worker.make(OperationKind.CANCEL)
    done = await worker.work(operation, clock)
    assert done.state is OperationState.DONE
    assert (done.progress.seen, done.progress.done) == (count, count)
    assert set(await states(factory, mine)) == {JobState.CANCELED}
    assert set(await states(factory, beside)) == {JobState.QUEUED}


async def test_what_is_made_after_the_operation_is_not_its(worker: Worker, factory: Factory, clock: HandClock) -> None:
    (before,) = await factory.queued()
    clock.advance(seconds=1)
    operation = await worker.make(OperationKind.CANCEL)
    clock.advance(seconds=1)
    (after,) = await factory.queued()
    await worker.work(operation, clock)
    assert await states(factory, [before, after]) == [JobState.CANCELED, JobState.QUEUED]


async def test_a_filter_covers_only_jobs_in_which_there_is_something_to_do(
    worker: Worker, factory: Factory, clock: HandClock
) -> None:
    lives = {state: await factory.in_state(state) for state in JobState}
    clock.advance(seconds=1)
    done = await worker.work(await worker.make(OperationKind.RETRY), clock)
    assert (done.progress.seen, done.progress.done) == (2, 2)
    assert [state for state, life in lives.items() if await retries_of(factory, life)] == [JobState.FAILED, JobState.CANCELED]
    new = await HistoryStore(factory.database).page(JobFilter(created_after=done.created_at), limit=10)
    assert {life.job.retry_of for life in new.lives} == {
        lives[JobState.FAILED].job.job_id, lives[JobState.CANCELED].job.job_id,
    }  # fmt: skip


async def test_a_list_covers_jobs_in_any_state_and_says_what_stood_against_each(
    worker: Worker, factory: Factory, clock: HandClock
) -> None:
    lives = [await factory.in_state(state) for state in JobState]
    missing = uuid7()
    ids = (*(life.job.job_id for life in lives), missing)
    done = await worker.work(await worker.make(OperationKind.RETRY, filter=None, jobs=ids), clock)
    assert (done.progress.seen, done.progress.done, done.progress.skipped, done.progress.failed) == (8, 2, 5, 1)
    assert done.progress.codes == {"not_settled": 4, "already_succeeded": 1, "not_found": 1}


async def test_what_may_be_billed_twice_is_retried_only_where_that_was_accepted(
    worker: Worker, factory: Factory, clock: HandClock
) -> None:
    life = await factory.in_state(JobState.UNCONFIRMED)
    clock.advance(hours=1)
    life = await factory.tell(life.job.job_id, WaitOver(1))
    ids = (life.job.job_id,)
    refused = await worker.work(await worker.make(OperationKind.RETRY, filter=None, jobs=ids), clock)
    assert (refused.progress.failed, refused.progress.codes) == (1, {"may_be_billed_twice": 1})
    assert await retries_of(factory, life) == []
    accepted = await worker.make(OperationKind.RETRY, filter=None, jobs=ids, accept_double_billing=True)
    assert (await worker.work(accepted, clock)).progress.done == 1
    again = await worker.work(await worker.make(OperationKind.RETRY, filter=None, jobs=ids), clock)
    assert (again.progress.skipped, again.progress.codes) == (1, {"already_retried": 1})


async def test_a_worker_that_dies_amid_an_operation_is_followed_by_another_that_does_each_job_once(
    database: Database, factory: Factory, clock: HandClock
) -> None:
    lives = [await factory.in_state(JobState.CANCELED) for _ in range(BATCH + 5)]
    clock.advance(seconds=1)
    dying, heir = Worker(database), Worker(database)
    operation = await dying.make(OperationKind.RETRY)
    await dying.runner.sweep()
    clock.advance(seconds=1)
    assert (await dying.store.claim_due()).operation is not None, "and here it dies, with the second batch in its hands"
    await heir.runner.sweep()
    half = await heir.store.find(operation.operation_id)
    assert half is not None
    assert half.progress.done == BATCH
    clock.advance(seconds=LEASE.total_seconds())
    done = await heir.work(operation, clock)
    assert (done.progress.seen, done.progress.done) == (BATCH + 5, BATCH + 5)
    assert [len(await retries_of(factory, life)) for life in lives] == [1] * len(lives)


async def test_a_stop_ends_it_within_the_batch(worker: Worker, factory: Factory, clock: HandClock) -> None:
    lives = await factory.queued(BATCH + 5)
    clock.advance(seconds=1)
    operation = await worker.make(OperationKind.CANCEL)
    await worker.runner.sweep()
    await worker.store.stop(operation.operation_id, by="key-2")
    stopped = await worker.work(operation, clock)
    clock.advance(minutes=1)
    await worker.runner.sweep()
    assert (stopped.state, stopped.progress.done) == (OperationState.STOPPED, BATCH)
    found = await states(factory, lives)
    assert found.count(JobState.QUEUED) == 5


async def test_a_job_that_cannot_be_done_fails_alone(worker: Worker, factory: Factory, clock: HandClock) -> None:
    lives = await factory.queued(5)
    clock.advance(seconds=1)
    worker.settlement.over = frozenset({lives[2].job.job_id})
    operation = await worker.make(OperationKind.CANCEL)
    with capture_logs():
        done = await worker.work(operation, clock)
    assert (done.progress.done, done.progress.failed, done.progress.codes) == (4, 1, {"internal_error": 1})
    assert [refused.job_id for refused in await worker.store.refusals(operation.operation_id)] == [lives[2].job.job_id]
    assert (await states(factory, lives)).count(JobState.CANCELED) == 4


async def test_a_database_that_is_away_fails_no_job(worker: Worker, factory: Factory, clock: HandClock) -> None:
    lives = await factory.queued(2)
    clock.advance(seconds=1)
    worker.settlement.over, worker.settlement.error = frozenset({lives[0].job.job_id}), StorageUnavailableError()
    operation = await worker.make(OperationKind.CANCEL)
    with pytest.raises(StorageUnavailableError):
        await worker.runner.sweep()
    worker.settlement.over = frozenset()
    clock.advance(seconds=LEASE.total_seconds())
    assert (await worker.work(operation, clock)).progress.done == 2


async def test_nothing_to_do_is_done_at_once(worker: Worker, clock: HandClock) -> None:
    operation = await worker.make(OperationKind.CANCEL)
    await worker.runner.sweep()
    done = await worker.store.find(operation.operation_id)
    assert done is not None
    assert (done.state, done.progress.seen) == (OperationState.DONE, 0)
    assert await worker.runner.sweep() is None
