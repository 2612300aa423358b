"""What can happen to a job. Each is a fact that somebody observed; `transitions.decide` says what it changes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from app.lifecycle.answers import Reading, SubmitAnswer


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
    others_answer: bool = False  #: the upstream still knows other tasks


@dataclass(frozen=True, slots=True)
class CancelAsked:
    """The caller, or an operator, wants it stopped."""


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
News = Claimed | GivenBack | Answered | CalledBack | Checked | CancelAsked | QueueDeadlinePassed | Timer
