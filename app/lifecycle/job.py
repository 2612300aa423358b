"""A job, its submissions, and the two together: a life. Frozen values; a change makes a new one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from app.lifecycle.request import PRICE, GenerationRequest
from app.lifecycle.states import (
    EDGES,
    NOT_ACCEPTED,
    RETRYABLE,
    SETTLED,
    CompletedVia,
    ErrorCode,
    JobState,
    Outcome,
    Priority,
)


class IllegalMoveError(Exception):
    """A job was asked to take an arrow that the chart does not have; a defect of ours, never of the caller."""


@dataclass(frozen=True, slots=True)
class JobError:
    """Why a job failed, or why the task of a canceled job did."""

    code: ErrorCode
    message: str

    @property
    def retryable(self) -> bool:
        return self.code in RETRYABLE


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """One attempt to send a job upstream, and its entry in the books.

    All instants are aware and UTC; where one is None, the thing has not happened or is not due.
    """

    job_id: UUID
    number: int  #: 1, 2, … within the job; bumped only by a claim
    outcome: Outcome
    token_hash: bytes  #: SHA-256 of the callback token; the token itself is stored nowhere
    sent_at: datetime  #: when the intent was committed, just before the send
    lease_until: datetime | None  #: until then its sender alone may act; None once it has answered
    due_at: datetime | None  #: when somebody must look at it again; None when nothing can change any more
    check_at: datetime | None = None  #: when the next check is wanted
    checked_at: datetime | None = None  #: when the last check began
    checks: int = 0  #: checks since the last callback, or since the confirmation
    poked_at: datetime | None = None  #: when the last callback came
    asked_at: datetime | None = None  #: when an operator last asked for a check
    callbacks: int = 0  #: callbacks that came on its token
    task_id: str | None = None  #: said by our own answer, or adopted by a check
    candidates: tuple[str, ...] = ()  #: task ids that nobody but callbacks and operators named, in the order of their checks
    refusal: str | None = None  #: proof of non-acceptance that came while candidates were still to be checked
    upstream_status: str | None = None  #: the upstream's word at the last answered check
    last_reading: str | None = None  #: what the last check read, answered or not
    not_found_since: datetime | None = None  #: first 404 of the running row of 404s
    not_found_count: int = 0
    credits: int | None = None  #: credits as the upstream told; None while unknown
    late_result: Mapping[str, Any] | None = None  #: what came after the job was settled
    answered_at: datetime | None = None  #: when its own answer, or an adopting check, gave the task id
    closed_at: datetime | None = None  #: when its books were closed
    excused: timedelta = timedelta(0)  #: time in which checks were impossible; moves its deadlines, not its wait for a callback

    @property
    def is_open(self) -> bool:
        return self.outcome is Outcome.OPEN

    @property
    def is_unanswered(self) -> bool:
        """Its sender may still be waiting for the upstream's answer."""
        return self.is_open and self.lease_until is not None

    @property
    def can_be_checked(self) -> bool:
        return (self.is_open and self.task_id is not None) or bool(self.candidates)

    def is_wanted_since(self, instant: datetime) -> bool:
        """Whether a callback or an operator has asked for a look at that instant or later."""
        return any(at is not None and at >= instant for at in (self.poked_at, self.asked_at))

    @property
    def proven_unaccepted(self) -> bool:
        return self.outcome in NOT_ACCEPTED


class CallbackFormat(StrEnum):
    """What the body of a delivery looks like."""

    SIGNED = "signed"  #: as Standard Webhooks have it, with the job
    DROP_IN = "drop_in"  #: the upstream's own status answer


@dataclass(frozen=True, slots=True)
class BatchPlace:
    """Where a job stands in the batch that it came with."""

    batch_id: UUID  #: the id of the batch's first job
    place: int  #: 0, 1, …
    idempotency_key: str | None  #: of the whole batch


@dataclass(frozen=True, slots=True)
class Books:
    """What a job counts for in its tenant's usage."""

    open: int  #: 1 until it is settled
    held: int  #: credits reserved and unresolved; they count against the budget
    consumed: int  #: credits that the upstream told


class PictureState(StrEnum):
    """How far the archiving of a picture is; a thing apart from the job's state."""

    PENDING = "pending"  #: still to be fetched and stored
    STORED = "stored"  #: ours
    UNUSABLE = "unusable"  #: what the upstream served is no picture that we can keep
    GIVEN_UP = "given_up"  #: it could not be fetched in time; the upstream's address is all there is


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture of a job, as the archive knows it."""

    index: int
    source_url: str
    state: PictureState
    sha256: str | None = None  #: hexadecimal; set where it is stored, and so are the following
    media_type: str | None = None
    width: int | None = None
    height: int | None = None
    bytes: int | None = None
    has_thumbnail: bool | None = None
    size_matches: bool | None = None  #: whether it is as large as was asked for

    @property
    def is_stored(self) -> bool:
        return self.state is PictureState.STORED


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One generation request of a caller."""

    job_id: UUID
    tenant: str
    state: JobState
    request: GenerationRequest
    created_at: datetime
    updated_at: datetime
    due_at: datetime | None  #: while queued: not to be sent before
    priority: Priority = Priority.NORMAL
    metadata: Mapping[str, str] = field(default_factory=dict)
    idempotency_key: str | None = None
    fingerprint: bytes = b""  #: SHA-256 of the request body with defaults applied
    submission: int = 0  #: number of the current submission
    cancel_requested: bool = False
    images: tuple[str, ...] = ()  #: the upstream's addresses of the pictures
    error: JobError | None = None
    completed_via: CompletedVia | None = None
    submitted_at: datetime | None = None
    finished_at: datetime | None = None
    callback_url: str | None = None  #: where the caller wants to be told of the end
    callback_format: CallbackFormat | None = None  #: None without a callback_url
    retry_of: UUID | None = None  #: the settled job that this one repeats
    reused_from: UUID | None = None  #: the job whose result this one took over
    request_hash: bytes | None = None  #: SHA-256 of the request where its seed is fixed: what `reuse` looks for
    batch: BatchPlace | None = None
    traceparent: str | None = None  #: of the request that it came by, where that was traced (W3C Trace Context)
    #: What its tenant's usage holds of it already, None where nothing is counted yet: a note of the store's, no part of it.
    booked: Books | None = field(default=None, compare=False)

    @property
    def is_settled(self) -> bool:
        return self.state in SETTLED

    def with_result_of(self, source: UUID, images: tuple[str, ...], now: datetime) -> Job:
        """This new job, settled at once by what another job of the tenant has already brought; it costs nothing."""
        return replace(
            self, state=JobState.SUCCEEDED, due_at=None, images=images, completed_via=CompletedVia.REUSE, reused_from=source,
            finished_at=now, updated_at=now,
        )  # fmt: skip

    def moved(self, to: JobState, **changes: Any) -> Job:
        """The job in another state, or in the same one with changes.

        Raises:
            IllegalMoveError: the chart has no such arrow.
        """
        if to is not self.state and to not in EDGES[self.state]:
            raise IllegalMoveError(f"{self.state} -> {to}")
        return replace(self, state=to, due_at=changes.pop("due_at", None), **changes)


@dataclass(frozen=True, slots=True)
class Credits:
    """The figures of a job, as sums over its submissions. Unit: upstream credits."""

    reserved: int  #: set aside for work that is going as it should
    consumed: int  #: told by the upstream
    unresolved: int  #: may have been spent, nobody knows yet


@dataclass(frozen=True, slots=True)
class Life:
    """A job with all of its submissions, in the order of their numbers: all that a decision looks at."""

    job: Job
    submissions: tuple[Submission, ...] = ()
    pictures: tuple[Picture, ...] = ()  #: as archived so far; no decision looks at them

    def submission(self, number: int) -> Submission:
        return self.submissions[number - 1]

    @property
    def current(self) -> Submission | None:
        return self.submissions[self.job.submission - 1] if self.job.submission else None

    def others_open(self, number: int) -> tuple[Submission, ...]:
        return tuple(s for s in self.submissions if s.number != number and s.is_open)

    def with_submission(self, submission: Submission) -> Life:
        index = submission.number - 1
        return replace(self, submissions=(*self.submissions[:index], submission, *self.submissions[index + 1 :]))

    def with_job(self, job: Job) -> Life:
        return replace(self, job=job)

    @property
    def task(self) -> Submission | None:
        """The submission to show as *the* task: the one that settled the job, else the newest with a task id."""
        known = [s for s in self.submissions if s.task_id is not None]
        won = [s for s in known if s.outcome is Outcome.SUCCEEDED and s.late_result is None]
        return next(iter(reversed(won or known)), None)

    @property
    def attempts(self) -> int:
        """Sends so far; one that was given back before the request was made does not count."""
        return sum(s.outcome is not Outcome.UNSENT for s in self.submissions)

    @property
    def unproven(self) -> int:
        """Submissions not proven unaccepted."""
        return sum(not s.proven_unaccepted for s in self.submissions)

    @property
    def credits(self) -> Credits:
        going = self.job.state in (JobState.SUBMITTING, JobState.RUNNING)
        reserved = PRICE if self.job.state is JobState.QUEUED else 0
        unresolved = 0
        for s in self.submissions:
            if s.is_open and going and (s.number == self.job.submission or s.task_id is not None):
                reserved += PRICE
            elif s.is_open:
                unresolved += PRICE
        return Credits(reserved, sum(s.credits or 0 for s in self.submissions), unresolved)

    @property
    def books(self) -> Books:
        credits = self.credits
        return Books(int(not self.job.is_settled), credits.reserved + credits.unresolved, credits.consumed)

    @property
    def late_images(self) -> tuple[str, ...]:
        """Pictures that a job which did not succeed has all the same: its task ended well after it was given up or canceled."""
        late = (s.late_result["images"] for s in self.submissions if s.late_result and s.late_result.get("images"))
        return self.job.images or tuple(next(late, ()))
