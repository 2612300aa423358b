"""Run: take the operation that is due, do its next batch, count what became of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import structlog

from app.errors import StorageUnavailableError
from app.intake import REFUSALS, Intake, again
from app.lifecycle.job import Life
from app.lifecycle.operation import ALREADY_RETRIED, INTERNAL_ERROR, NOT_FOUND, JobOutcome, JobResult, OperationKind
from app.lifecycle.retry import NotAgain, why_not_again
from app.operations.scope import scope_of
from app.settlement.settle import Settlement
from app.storage.history import HistoryStore
from app.storage.intake import Order, Taken
from app.storage.lives import LifeStore
from app.storage.operations import Operation, OperationStore, Reached

log = structlog.get_logger(__name__)

BATCH = 50  #: jobs of one transaction
LOOKED_AT_MAX = 5000  #: jobs that the search for one batch may test


@dataclass(frozen=True, slots=True)
class _Batch:
    job_ids: tuple[UUID, ...]
    then: Reached  #: how far the operation is once they are done


class OperationRunner:
    """Does operations, a batch at a time. `sweep` is one pass: one batch of the operation that has been due for longest."""

    def __init__(
        self, store: OperationStore, lives: LifeStore, history: HistoryStore, settlement: Settlement, intake: Intake
    ) -> None:
        self._store, self._lives, self._history = store, lives, history
        self._settlement, self._intake = settlement, intake

    async def sweep(self) -> float | None:
        """Returns when to come again, in seconds."""
        claim = await self._store.claim_due()
        if claim.operation is None:
            return (claim.retry_at - claim.now).total_seconds() if claim.retry_at else None
        try:
            await self._do(claim.operation, await self._next(claim.operation, BATCH))
        except StorageUnavailableError:
            raise
        except Exception:
            log.exception("a batch failed; its first job is done alone", operation_id=str(claim.operation.operation_id))
            await self._do_alone(claim.operation, await self._next(claim.operation, 1))
        return 0.0

    async def _next(self, operation: Operation, size: int) -> _Batch:
        if operation.jobs is not None:
            end = operation.progress.seen + size
            return _Batch(operation.jobs[operation.progress.seen : end], Reached(at_end=end >= len(operation.jobs)))
        wanted = scope_of(operation)
        if wanted is None:
            return _Batch((), Reached(at_end=True))
        page = await self._history.page(wanted, limit=size, after=operation.reached, look_at=LOOKED_AT_MAX)
        return _Batch(tuple(life.job.job_id for life in page.lives), Reached(page.next, at_end=page.next is None))

    async def _do(self, operation: Operation, batch: _Batch) -> None:
        if operation.kind is OperationKind.CANCEL:
            await self._cancel(operation, batch)
        else:
            await self._retry(operation, batch)

    async def _do_alone(self, operation: Operation, batch: _Batch) -> None:
        try:
            await self._do(operation, batch)
        except StorageUnavailableError:
            raise
        except Exception:
            log.exception("a job of an operation failed", job_ids=[str(job_id) for job_id in batch.job_ids])
            failed = [JobOutcome(job_id, JobResult.FAILED, INTERNAL_ERROR) for job_id in batch.job_ids]
            await self._store.record(operation, failed, batch.then)

    async def _cancel(self, operation: Operation, batch: _Batch) -> None:
        changes = await self._store.cancel(operation, batch.job_ids, batch.then, self._settlement.decide)
        self._settlement.announce(changes or ())

    async def _retry(self, operation: Operation, batch: _Batch) -> None:
        lives = await self._lives.find_all(batch.job_ids)
        refused = _refused(operation, batch.job_ids, lives, await self._intake.retried(batch.job_ids))
        objected = {outcome.job_id for outcome in refused}
        orders: dict[UUID, Order] = {
            job_id: again(lives[job_id], operation.by) for job_id in batch.job_ids if job_id not in objected
        }
        for taken in await self._store.retry(operation, orders, refused, batch.then, _became) or ():
            self._intake.announce(taken)


def _refused(operation: Operation, job_ids: Sequence[UUID], lives: dict[UUID, Life], retried: set[UUID]) -> list[JobOutcome]:
    """The jobs that are not retried, whatever the limits of their tenants say."""
    refused = []
    for job_id in job_ids:
        if job_id not in lives:
            refused.append(JobOutcome(job_id, JobResult.FAILED, NOT_FOUND))
        elif job_id in retried:
            refused.append(JobOutcome(job_id, JobResult.SKIPPED, ALREADY_RETRIED))
        elif why := why_not_again(lives[job_id], accept_double_billing=operation.accept_double_billing):
            result = JobResult.FAILED if why is NotAgain.MAY_BE_BILLED_TWICE else JobResult.SKIPPED
            refused.append(JobOutcome(job_id, result, why.value))
    return refused


def _became(job_id: UUID, taken: Taken) -> JobOutcome:
    if taken.created:
        return JobOutcome(job_id, JobResult.DONE)
    if taken.lives:
        return JobOutcome(job_id, JobResult.SKIPPED, ALREADY_RETRIED)
    assert taken.admission is not None
    assert taken.admission.excess is not None
    return JobOutcome(job_id, JobResult.FAILED, REFUSALS[taken.admission.excess].code)
