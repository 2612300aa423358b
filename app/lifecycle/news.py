"""What can happen to a job. Each is a fact that somebody observed; `transitions.decide` says what it changes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from app.lifecycle.answers import Reading, SubmitAnswer


@dataclass(frozen=True, slots=True)
class By:
    """Who asked for something to be done to a job."""

    key_id: str
    is_operator: bool = False  #: by an admin key, so that it is on record as an operator's act
    operation_id: UUID | None = None  #: the operation on many jobs that this is a part of; that is on record as a whole

    @property
    def told(self) -> dict[str, str]:
        """For the data of an event. Who it was is for operators alone."""
        return {"by": self.key_id, **({"operation": str(self.operation_id)} if self.operation_id else {})}


@dataclass(frozen=True, slots=True)
class Claimed:
    """A dispatcher took the job and is about to send it."""

    token_hash: bytes


@dataclass(frozen=True, slots=True)
class GivenBack:
    """The sender let go of it before the request was made: nothing was sent."""

    number: int
    reason: str


@dataclass(frozen=True, slots=True)
class Answered:
    """The upstream's answer to our submit, whenever it comes."""

    number: int
    answer: SubmitAnswer
    task_taken: bool = False  #: the task id already belongs to another submission


@dataclass(frozen=True, slots=True)
class CalledBack:
    """A callback came on the submission's token. Nothing in it is believed."""

    number: int
    task_id: str | None  #: what its body named, if that was readable


@dataclass(frozen=True, slots=True)
class Checked:
    """A check of one task id was made."""

    number: int
    task_id: str
    began_at: datetime
    reading: Reading
    matches: bool = True  #: our request stands behind the task, as far as the upstream echoes it
    task_taken: bool = False  #: the task id already belongs to another submission
    poked: bool = False  #: a callback had caused this check
    asked: bool = False  #: an operator had
    others_answer: bool = False  #: the upstream still knows other tasks


@dataclass(frozen=True, slots=True)
class CancelAsked:
    """The caller, or an operator, wants it stopped."""

    by: By | None = None


@dataclass(frozen=True, slots=True)
class CheckAsked:
    """An operator wants its tasks checked now."""

    by: By | None = None


@dataclass(frozen=True, slots=True)
class CandidateNamed:
    """An operator named a task that may be the job's. It is believed as little as a callback."""

    task_id: str
    number: int | None = None  #: whose task it may be; None: the submission that wants one most
    by: By | None = None
    task_taken: bool = False  #: the task id already belongs to another job


@dataclass(frozen=True, slots=True)
class LeaseExpired:
    """The sender did not report in time; it may have sent."""

    number: int


@dataclass(frozen=True, slots=True)
class WaitOver:
    """The unconfirmed submission's callback did not come in time."""

    number: int


@dataclass(frozen=True, slots=True)
class HardDeadlinePassed:
    """The running task could not be read to its end in time."""

    number: int


@dataclass(frozen=True, slots=True)
class BooksDue:
    """The job is settled, and the time to learn this submission's credits is over."""

    number: int


@dataclass(frozen=True, slots=True)
class QueueDeadlinePassed:
    """The job waited too long in the queue."""


Timer = LeaseExpired | WaitOver | HardDeadlinePassed | BooksDue
Asked = CancelAsked | CheckAsked | CandidateNamed
News = Claimed | GivenBack | Answered | CalledBack | Checked | Asked | QueueDeadlinePassed | Timer
