"""Operations on many jobs, on both databases: made once, a batch and its counts in one transaction, leases, stops."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import func, select
from uuid_utils.compat import uuid7

from app.lifecycle.job import Life
from app.lifecycle.limits import Limits
from app.lifecycle.operation import (
    ALREADY_ASKED,
    ALREADY_RETRIED,
    NOT_FOUND,
    JobOutcome,
    JobResult,
    OperationKind,
    OperationState,
    Progress,
)
from app.lifecycle.states import JobState
from app.storage import tables as t
from app.storage.audit import AuditStore
from app.storage.counted import Counted
from app.storage.database import Database
from app.storage.history import HistoryStore
from app.storage.intake import IntakeStore, Order, Taken
from app.storage.operations import LEASE, PAUSE, REFUSALS_MAX, NewOperation, Operation, OperationStore, Reached
from app.storage.tenants import TenantStore
from app.vault import Vault
from tests.databases import OpenDatabase
from tests.storage.factory import Factory, HandClock, new_job

END = Reached(at_end=True)


@pytest.fixture
def store(database: Database) -> OperationStore:
    return OperationStore(database)


def asked(**fields: Any) -> NewOperation:
    made: dict[str, Any] = {
        "operation_id": uuid7(),
        "kind": OperationKind.CANCEL,
        "filter": {"tenant": "acme"},
        "jobs": None,
        "accept_double_billing": False,
        "key_id": "key-1",
        "fingerprint": b"f" * 32,
        "idempotency_key": None,
        "matched": Counted(3, more=False),
    }
    return NewOperation(**{**made, **fields})


async def claimed(store: OperationStore) -> Operation:
    claim = await store.claim_due()
    assert claim.operation is not None
    return claim.operation


async def found(store: OperationStore, operation: Operation | NewOperation) -> Operation:
    known = await store.find(operation.operation_id)
    assert known is not None
    return known


def ids(lives: Sequence[Life]) -> list[UUID]:
    return [life.job.job_id for life in lives]


def again(life: Life, operation: Operation) -> Order:
    return Order((new_job(retry_of=life.job.job_id, tenant=life.job.tenant),), by=operation.by)


def judged(job_id: UUID, taken: Taken) -> JobOutcome:
    if taken.created:
        return JobOutcome(job_id, JobResult.DONE)
    if taken.lives:
        return JobOutcome(job_id, JobResult.SKIPPED, ALREADY_RETRIED)
    assert taken.admission is not None
    return JobOutcome(job_id, JobResult.FAILED, str(taken.admission.excess))


async def timeline(database: Database, job_id: UUID) -> dict[str, Mapping[str, Any]]:
    return {event.type: event.data for event in await HistoryStore(database).events(job_id)}


# --- made once -----------------------------------------------------------------------------------------------------------


async def test_an_operation_reads_back_as_it_was_made(store: OperationStore, clock: HandClock) -> None:
    new = asked(jobs=(uuid7(), uuid7()), filter=None, kind=OperationKind.RETRY, accept_double_billing=True)
    operation, made = await store.make(new)
    assert made
    assert operation == await found(store, new)
    assert (operation.state, operation.jobs, operation.filter) == (OperationState.RUNNING, new.jobs, None)
    assert (operation.kind, operation.accept_double_billing, operation.key_id) == (OperationKind.RETRY, True, "key-1")
    assert (operation.created_at, operation.started_at, operation.finished_at) == (clock.now, None, None)
    assert (operation.progress, operation.matched) == (Progress(), Counted(3, more=False))


async def test_the_same_is_made_once_while_it_runs(store: OperationStore) -> None:
    first, _ = await store.make(asked())
    second, made = await store.make(asked())
    other, other_made = await store.make(asked(fingerprint=b"g" * 32))
    assert (second, made) == (first, False)
    assert other_made
    assert other.operation_id != first.operation_id


async def test_after_its_end_the_same_is_made_anew(store: OperationStore) -> None:
    first, _ = await store.make(asked())
    await store.stop(first.operation_id, by="key-2")
    second, made = await store.make(asked())
    assert made
    assert second.operation_id != first.operation_id


async def test_a_key_yields_the_first_operation_even_when_that_is_over(store: OperationStore) -> None:
    first, _ = await store.make(asked(idempotency_key="k"))
    await store.stop(first.operation_id, by="key-1")
    second, made = await store.make(asked(idempotency_key="k", fingerprint=b"g" * 32))
    assert (second.operation_id, second.fingerprint, made) == (first.operation_id, first.fingerprint, False)
    assert (await store.make(asked(idempotency_key="k", key_id="key-2")))[1], "another key's idempotency key is its own"
    assert (await store.make(asked(idempotency_key="l")))[1], "a new key is a new operation, whatever runs"


async def test_making_and_stopping_are_on_record_once(store: OperationStore, database: Database) -> None:
    operation, _ = await store.make(asked())
    await store.make(asked())
    for _ in range(2):
        await store.stop(operation.operation_id, by="key-2")
    stop, create = await AuditStore(database).newest()
    assert (create.act.action, create.act.key_id, create.act.tenant) == ("operation.create", "key-1", "acme")
    assert create.act.data["operation_id"] == str(operation.operation_id)
    assert (stop.act.action, stop.act.key_id) == ("operation.stop", "key-2")


# --- batches -------------------------------------------------------------------------------------------------------------


async def test_a_batch_cancels_and_counts_jobs_in_any_state(
    store: OperationStore, factory: Factory, database: Database, clock: HandClock
) -> None:
    lives = [await factory.in_state(state) for state in JobState]
    beside, missing = await factory.in_state(JobState.QUEUED), uuid7()
    operation, _ = await store.make(asked())
    work = await claimed(store)
    changes = await store.cancel(work, [*ids(lives), missing], END, factory.decide)
    assert changes is not None
    states = [(await factory.find(job_id)).job for job_id in ids(lives)]
    assert [job.cancel_requested for job in states] == [True, True, True, True, False, False, True]
    done = await found(store, operation)
    assert (done.state, done.finished_at, done.due_at) == (OperationState.DONE, clock.now, None)
    assert (done.progress.seen, done.progress.done, done.progress.skipped, done.progress.failed) == (8, 4, 3, 1)
    assert done.progress.codes == {"already_settled": 2, ALREADY_ASKED: 1, NOT_FOUND: 1}
    refused = {r.job_id: r.code for r in await store.refusals(operation.operation_id)}
    assert refused[missing] == NOT_FOUND
    assert len(refused) == 4
    assert await factory.find(beside.job.job_id) == beside


async def test_every_job_tells_of_the_operation_and_of_the_key(
    store: OperationStore, factory: Factory, database: Database
) -> None:
    queued, failed = await factory.in_state(JobState.QUEUED), await factory.in_state(JobState.FAILED)
    canceling, _ = await store.make(asked())
    await store.cancel(await claimed(store), ids([queued]), END, factory.decide)
    retrying, _ = await store.make(asked(kind=OperationKind.RETRY))
    work = await claimed(store)
    taken = await store.retry(work, {failed.job.job_id: again(failed, work)}, [], END, judged)
    assert taken is not None
    told = (await timeline(database, queued.job.job_id))["cancel_requested"]
    assert told == {"by": "key-1", "operation": str(canceling.operation_id)}
    new_id = str(taken[0].lives[0].job.job_id)
    told = (await timeline(database, failed.job.job_id))["retried"]
    assert told == {"retry": new_id, "by": "key-1", "operation": str(retrying.operation_id)}
    acts = [audited.act.action for audited in await AuditStore(database).newest()]
    assert acts == ["operation.create", "operation.create"], "each operation is on record, not each of its jobs"


async def test_a_retry_is_made_once_however_often_it_is_asked_for(store: OperationStore, factory: Factory) -> None:
    failed = await factory.in_state(JobState.FAILED)
    for expected in (Progress(1, 1), Progress(1, 0, 1, 0, {ALREADY_RETRIED: 1})):
        operation, _ = await store.make(asked(kind=OperationKind.RETRY))
        work = await claimed(store)
        await store.retry(work, {failed.job.job_id: again(failed, work)}, [], END, judged)
        assert (await found(store, operation)).progress == expected


async def test_limits_of_the_tenant_stop_a_retry_and_its_rate_of_requests_does_not(
    store: OperationStore, factory: Factory, database: Database
) -> None:
    lives = [await factory.in_state(JobState.FAILED) for _ in range(4)]
    limits = Limits(open_jobs_max=3, requests_per_second=1.0)
    tenants = TenantStore(database, Vault.from_setting("k" * 32))
    await tenants.change_limits("acme", lambda _: limits, by="key-1")
    operation, _ = await store.make(asked(kind=OperationKind.RETRY))
    work = await claimed(store)
    await store.retry(work, {life.job.job_id: again(life, work) for life in lives}, [], END, judged)
    assert (await found(store, operation)).progress == Progress(4, 3, 0, 1, {"open_jobs": 1})
    refused = await IntakeStore(database).take([Order((new_job(),))])
    assert refused[0].admission is not None
    assert str(refused[0].admission.excess) == "open_jobs", "the tenant's own requests have their rate for themselves"


async def test_the_place_that_was_reached_and_the_counts_go_with_the_batch(
    store: OperationStore, factory: Factory, clock: HandClock
) -> None:
    first, second = await factory.queued(2)
    operation, _ = await store.make(asked())
    place = (first.job.created_at, first.job.job_id)
    await store.cancel(await claimed(store), ids([first]), Reached(place), factory.decide)
    half = await found(store, operation)
    assert (half.reached, half.progress.done, half.state) == (place, 1, OperationState.RUNNING)
    assert half.due_at == clock.now + PAUSE
    assert (await store.claim_due()).operation is None, "others have their turn first"
    clock.advance(seconds=PAUSE.total_seconds())
    work = await claimed(store)
    assert work.reached == place
    await store.cancel(work, ids([second]), END, factory.decide)
    assert (await found(store, operation)).progress.done == 2


async def test_of_the_refused_the_first_are_listed_and_all_are_counted(store: OperationStore) -> None:
    operation, _ = await store.make(asked())
    failed = [JobOutcome(uuid7(), JobResult.FAILED, "not_found") for _ in range(REFUSALS_MAX + 5)]
    skipped = [JobOutcome(uuid7(), JobResult.SKIPPED, "already_settled")]
    await store.record(await claimed(store), [*failed, *skipped], END)
    listed = await store.refusals(operation.operation_id)
    assert [r.job_id for r in listed if r.result is JobResult.FAILED] == [o.job_id for o in failed[:REFUSALS_MAX]]
    assert [r.code for r in listed if r.result is JobResult.SKIPPED] == ["already_settled"]
    assert (await found(store, operation)).progress.failed == REFUSALS_MAX + 5


# --- leases and stops ----------------------------------------------------------------------------------------------------


async def test_a_successor_goes_on_where_a_killed_worker_left_and_that_ones_batch_counts_for_nothing(
    store: OperationStore, factory: Factory, clock: HandClock
) -> None:
    lives = await factory.queued(2)
    operation, _ = await store.make(asked())
    lost = await claimed(store)
    assert (await store.claim_due()).operation is None, "it is leased"
    clock.advance(seconds=LEASE.total_seconds())
    heir = await claimed(store)
    assert heir.started_at == lost.started_at
    assert await store.cancel(lost, ids(lives), END, factory.decide) is None
    assert not (await factory.find(lives[0].job.job_id)).job.cancel_requested
    assert (await found(store, operation)).progress == Progress()
    assert await store.cancel(heir, ids(lives), END, factory.decide) is not None
    assert (await found(store, operation)).progress == Progress(2, 2)
    assert await store.record(heir, [], END) is False


async def test_after_a_stop_no_batch_is_done(store: OperationStore, factory: Factory, clock: HandClock) -> None:
    (life,) = await factory.queued()
    failed = await factory.in_state(JobState.FAILED)
    operation, _ = await store.make(asked())
    work = await claimed(store)
    stopped = await store.stop(operation.operation_id, by="key-2")
    assert stopped is not None
    assert (stopped.state, stopped.stopped_by, stopped.finished_at) == (OperationState.STOPPED, "key-2", clock.now)
    assert await store.cancel(work, ids([life]), END, factory.decide) is None
    assert await store.retry(work, {failed.job.job_id: again(failed, work)}, [], END, judged) is None
    assert await factory.find(life.job.job_id) == life
    assert await found(store, operation) == stopped
    clock.advance(hours=1)
    assert (await store.claim_due()).operation is None


async def test_a_stop_of_what_is_over_changes_nothing(store: OperationStore) -> None:
    operation, _ = await store.make(asked())
    await store.record(await claimed(store), [], END)
    done = await found(store, operation)
    assert await store.stop(operation.operation_id, by="key-2") == done
    assert done.stopped_by is None
    assert await store.stop(uuid7(), by="key-2") is None


async def test_a_batch_that_fails_leaves_neither_change_nor_count(
    store: OperationStore, factory: Factory, database: Database
) -> None:
    lives = await factory.queued(2)
    operation, _ = await store.make(asked())
    work = await claimed(store)

    def decide(life: Life, news: Any, now: Any) -> Any:
        if life.job.job_id == lives[1].job.job_id:
            raise RuntimeError("a defect")
        return factory.decide(life, news, now)

    with pytest.raises(RuntimeError):
        await store.cancel(work, ids(lives), END, decide)
    assert await factory.find(lives[0].job.job_id) == lives[0]
    assert (await found(store, operation)).progress == Progress()
    assert await store.cancel(work, ids(lives)[:1], Reached(), factory.decide) is not None, "its lease still stands"


async def test_operations_take_turns(store: OperationStore, clock: HandClock) -> None:
    first, _ = await store.make(asked())
    clock.advance(seconds=1)
    second, _ = await store.make(asked(fingerprint=b"g" * 32))
    served = []
    for _ in range(4):
        work = await claimed(store)
        served.append(work.operation_id)
        await store.record(work, [], Reached())
        clock.advance(seconds=1)
    assert served == [first.operation_id, second.operation_id] * 2


async def test_two_workers_never_have_the_same_operation(
    postgres_url: str, open_database: OpenDatabase, clock: HandClock
) -> None:
    one, two = (OperationStore(open_database(postgres_url, clock=clock)) for _ in range(2))
    await one.make(asked())
    await one.make(asked(fingerprint=b"g" * 32))
    here, there = await claimed(one), await claimed(two)
    assert here.operation_id != there.operation_id
    assert (await two.claim_due()).operation is None


async def test_it_says_when_to_come_again(store: OperationStore, clock: HandClock) -> None:
    assert (await store.claim_due()).retry_at is None
    await store.make(asked())
    await claimed(store)
    assert (await store.claim_due()).retry_at == clock.now + timedelta(seconds=LEASE.total_seconds())


async def test_the_list_is_newest_first_in_pages(store: OperationStore) -> None:
    made = [(await store.make(asked(fingerprint=bytes([n]) * 32, jobs=(uuid7(),), filter=None)))[0] for n in range(5)]
    page = await store.newest(3)
    assert [o.operation_id for o in page] == [o.operation_id for o in reversed(made)][:3]
    assert page[0].jobs is None, "a list of operations holds no lists of jobs"
    rest = await store.newest(3, page[-1].operation_id)
    assert [o.operation_id for o in rest] == [o.operation_id for o in reversed(made)][3:]


async def test_refusals_go_with_their_operation(store: OperationStore, database: Database) -> None:
    operation, _ = await store.make(asked())
    await store.record(await claimed(store), [JobOutcome(uuid7(), JobResult.FAILED, "not_found")], END)
    async with database.writing() as connection:
        await connection.execute(t.operations.delete().where(t.operations.c.operation_id == operation.operation_id))
        left = await connection.execute(select(func.count()).select_from(t.operation_refusals))
        assert left.scalar_one() == 0
