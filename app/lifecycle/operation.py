"""An operation on many jobs: what it may do, how far it has come, and what became of each job. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from uuid import UUID

from app.lifecycle.states import JobState
from app.lifecycle.transitions import Change, Effect


class OperationKind(StrEnum):
    """What is done to each job."""

    CANCEL = "cancel"  #: as `POST /jobs/{id}/cancel` does
    RETRY = "retry"  #: as `POST /jobs/{id}/retry` does


class OperationState(StrEnum):
    """How far an operation is. The last two never change again."""

    RUNNING = "running"  #: in small batches, one after the other
    STOPPED = "stopped"  #: an operator stopped it; what was done stays done
    DONE = "done"  #: it has come to the end of its jobs


class JobResult(StrEnum):
    """What became of one job of an operation."""

    DONE = "done"  #: it was canceled, or its cancel asked for; or a new job was made from it
    SKIPPED = "skipped"  #: there was nothing to do: it had ended, or somebody had done it before
    FAILED = "failed"  #: it should have been done, and something stood against it


@dataclass(frozen=True, slots=True)
class JobOutcome:
    """What became of one job, and why where it was not done."""

    job_id: UUID
    result: JobResult
    code: str | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """Counts of jobs."""

    seen: int = 0  #: looked at; the sum of the next three
    done: int = 0
    skipped: int = 0
    failed: int = 0
    codes: Mapping[str, int] = field(default_factory=dict)  #: why jobs were skipped or failed, with their number

    def after(self, outcomes: Iterable[JobOutcome]) -> Progress:
        """With these jobs as well."""
        results, codes = Counter[JobResult](), Counter(self.codes)
        for outcome in outcomes:
            results[outcome.result] += 1
            codes.update([outcome.code] if outcome.code is not None else [])
        return Progress(
            self.seen + results.total(),
            self.done + results[JobResult.DONE],
            self.skipped + results[JobResult.SKIPPED],
            self.failed + results[JobResult.FAILED],
            dict(codes),
        )

    def count_of(self, result: JobResult) -> int:
        return {JobResult.DONE: self.done, JobResult.SKIPPED: self.skipped, JobResult.FAILED: self.failed}[result]


#: The states in which each kind finds something to do. A filter is narrowed to them, so that its count is honest.
FINDS_WORK: dict[OperationKind, frozenset[JobState]] = {
    OperationKind.CANCEL: frozenset({JobState.QUEUED, JobState.SUBMITTING, JobState.UNCONFIRMED, JobState.RUNNING}),
    OperationKind.RETRY: frozenset({JobState.FAILED, JobState.CANCELED}),
}

ALREADY_ASKED = "already_asked"  #: somebody had asked for this job's cancel before
ALREADY_RETRIED = "already_retried"  #: a new job had been made from it before
NOT_FOUND = "not_found"  #: there is no such job, or no longer
INTERNAL_ERROR = "internal_error"  #: a defect of ours; the log says more


def after_cancel(job_id: UUID, change: Change | None) -> JobOutcome:
    """What became of a job whose cancel was asked for."""
    if change is None:
        return JobOutcome(job_id, JobResult.FAILED, NOT_FOUND)
    if change.objection is not None:
        return JobOutcome(job_id, JobResult.SKIPPED, change.objection.value)
    if change.effect is Effect.STALE:
        return JobOutcome(job_id, JobResult.SKIPPED, ALREADY_ASKED)
    return JobOutcome(job_id, JobResult.DONE)
