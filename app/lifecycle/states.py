"""The words for where a job, a submission and an error stand. Source: the public contract, "States" and "Words"."""

from __future__ import annotations

from enum import IntEnum, StrEnum


class JobState(StrEnum):
    """Where a job stands. The last three never change again."""

    QUEUED = "queued"  #: accepted, not yet sent
    SUBMITTING = "submitting"  #: being sent; the intent is on disk
    UNCONFIRMED = "unconfirmed"  #: sent, the answer was lost, no task id yet
    RUNNING = "running"  #: the task id is known
    SUCCEEDED = "succeeded"  #: the pictures are there
    FAILED = "failed"  #: it will not come; `error` says why
    CANCELED = "canceled"  #: the caller asked; may still hold pictures and credits


SETTLED = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELED})
IN_FLIGHT = frozenset({JobState.SUBMITTING, JobState.UNCONFIRMED, JobState.RUNNING})

#: Every arrow of the chart in docs/lifecycle.md, and no other; `Job.moved` refuses the rest.
EDGES: dict[JobState, frozenset[JobState]] = {
    JobState.QUEUED: frozenset({JobState.SUBMITTING, JobState.RUNNING, JobState.FAILED, JobState.CANCELED}),
    JobState.SUBMITTING: frozenset(
        {JobState.RUNNING, JobState.QUEUED, JobState.FAILED, JobState.UNCONFIRMED, JobState.CANCELED}
    ),
    JobState.UNCONFIRMED: frozenset({JobState.RUNNING, JobState.QUEUED, JobState.CANCELED, JobState.FAILED}),
    JobState.RUNNING: frozenset(
        {JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELED, JobState.SUBMITTING, JobState.UNCONFIRMED}
    ),
    JobState.SUCCEEDED: frozenset(),
    JobState.FAILED: frozenset(),
    JobState.CANCELED: frozenset(),
}


class Outcome(StrEnum):
    """How the books of a submission stand."""

    OPEN = "open"  #: the intent is on disk; it may cost credits
    UNSENT = "unsent"  #: given back before the request was made; cost nothing
    RELEASED = "released"  #: proven not accepted; cost nothing
    REJECTED = "rejected"  #: the upstream refused the request itself (400); cost nothing
    SUCCEEDED = "succeeded"  #: a check saw SUCCESS and its credits
    FAILED = "failed"  #: a check saw FAILED and its credits
    WRITTEN_OFF = "written_off"  #: nobody could learn its credits within the hard deadline


#: What a check of our own has read to the end; nothing reopens these.
READ_TO_THE_END = frozenset({Outcome.SUCCEEDED, Outcome.FAILED})
#: Nothing was accepted, as far as anyone has proven.
NOT_ACCEPTED = frozenset({Outcome.UNSENT, Outcome.RELEASED, Outcome.REJECTED})


class ErrorCode(StrEnum):
    """Why a job failed."""

    UPSTREAM_REJECTED = "upstream_rejected"  #: the upstream refused the request itself (400)
    GENERATION_FAILED = "generation_failed"  #: the task ended as FAILED
    UPSTREAM_UNAVAILABLE = "upstream_unavailable"  #: never accepted: attempts or queue deadline spent
    SUBMISSION_UNCONFIRMED = "submission_unconfirmed"  #: the answer was lost and no callback came in time
    DEADLINE_EXCEEDED = "deadline_exceeded"  #: the task did not end in time
    TASK_LOST = "task_lost"  #: the upstream forgot the task while it still knew others


#: Errors after which the same request may well succeed. A rejected or failed one would only fail again.
RETRYABLE = frozenset(
    {
        ErrorCode.UPSTREAM_UNAVAILABLE,
        ErrorCode.SUBMISSION_UNCONFIRMED,
        ErrorCode.DEADLINE_EXCEEDED,
        ErrorCode.TASK_LOST,
    }
)


class CompletedVia(StrEnum):
    """What brought the settling news."""

    CALLBACK = "callback"  #: a check that a callback had caused
    POLL = "poll"  #: a check that was due by itself
    REUSE = "reuse"  #: an identical job's result
    OPERATOR = "operator"  #: an operator's decision


class Priority(IntEnum):
    """Order within the queue; the number is what is stored and sorted."""

    HIGH = 0  #: before everything else
    NORMAL = 1  #: the default
    LOW = 2  #: when nothing else waits
