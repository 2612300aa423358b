"""Lives as they come about: a factory that is given a state and fills the other columns consistently."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from app.lifecycle.answers import Accepted, Refusal, Refused, StillGoing, Succeeded, Unproven
from app.lifecycle.job import Job, Life
from app.lifecycle.news import (
    Answered,
    CalledBack,
    CancelAsked,
    Checked,
    Claimed,
    News,
    WaitOver,
)
from app.lifecycle.ownership import hash_token
from app.lifecycle.policy import Policy
from app.lifecycle.request import GenerationRequest
from app.lifecycle.states import JobState
from app.lifecycle.transitions import Change, decide

POLICY = Policy()
ACCEPTED_AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
SENT_AT = ACCEPTED_AT + timedelta(seconds=1)
NOW = SENT_AT + timedelta(minutes=5)  #: no longer young, and before every deadline
TASK, CANDIDATE, TOKEN = "task-1", "task-from-a-callback", "a-token"
PICTURES = ("https://pictures.test/1.png",)
REFUSED = Refused(Refusal.SERVER_ERROR, "please retry")
GOING = StillGoing("IN_PROGRESS")
SUCCESS = Succeeded(PICTURES, 5)


def seconds(amount: float) -> timedelta:
    return timedelta(seconds=amount)


def minutes(amount: float) -> timedelta:
    return timedelta(minutes=amount)


def accepted(**changes: Any) -> Life:
    """A job just accepted: queued, never sent."""
    job = Job(
        job_id=UUID(int=1), tenant="design", state=JobState.QUEUED, request=GenerationRequest("a lighthouse"),
        created_at=ACCEPTED_AT, updated_at=ACCEPTED_AT, due_at=ACCEPTED_AT,
    )  # fmt: skip
    return Life(replace(job, **changes))


def after(life: Life, *happened: News, at: datetime = SENT_AT, policy: Policy = POLICY) -> Life:
    """The life after all of this, at one instant."""
    for news in happened:
        life = decide(life, news, at, policy).after
    return life


def change(life: Life, news: News, at: datetime = NOW, policy: Policy = POLICY) -> Change:
    return decide(life, news, at, policy)


def claimed() -> Claimed:
    return Claimed(hash_token(TOKEN))


def checked(reading: Any, task_id: str = TASK, number: int = 1, began_at: datetime = NOW - seconds(1), **more: Any) -> Checked:
    return Checked(number, task_id, began_at, reading, **more)


def submitting() -> Life:
    return after(accepted(), claimed())


def queued_again() -> Life:
    """Sent once, and proven not accepted."""
    return after(submitting(), Answered(1, REFUSED))


def unconfirmed() -> Life:
    return after(submitting(), Answered(1, Unproven("timeout")))


def running() -> Life:
    return after(submitting(), Answered(1, Accepted(TASK)))


def succeeded() -> Life:
    return after(running(), checked(SUCCESS), at=SENT_AT + minutes(1))


def failed() -> Life:
    """Given up while nobody knows whether it was accepted: its books are open."""
    return after(unconfirmed(), WaitOver(1), at=SENT_AT + POLICY.unconfirmed_wait)


def canceled() -> Life:
    """Canceled by its last look, while its task may still end: its books are open."""
    deadline = SENT_AT + POLICY.job_deadline
    return after(running(), CancelAsked(), checked(GOING, began_at=deadline), at=deadline)


def looked_at(life: Life, began_at: datetime, number: int = 1) -> Life:
    """The same after a check began that brought nothing: the claim of a check writes its beginning down."""
    return life.with_submission(replace(life.submission(number), checked_at=began_at))


def stopping(life: Life) -> Life:
    """The same after a cancel was asked for."""
    return after(life, CancelAsked(), at=SENT_AT + minutes(1))


def running_beside_an_unanswered_one() -> Life:
    """A task that a callback named behind a 500 was adopted, while the second submission was being sent."""
    life = after(queued_again(), CalledBack(1, TASK), claimed())
    return after(life, checked(GOING), at=SENT_AT + seconds(10))


def running_beside_a_lost_one() -> Life:
    return after(running_beside_an_unanswered_one(), Answered(2, Unproven("timeout")))


#: A life for every state, and for the situations in which a state alone does not tell.
LIVES: dict[str, Callable[[], Life]] = {
    "queued": queued_again,
    "submitting": submitting,
    "unconfirmed": unconfirmed,
    "running": running,
    "succeeded": succeeded,
    "failed": failed,
    "canceled": canceled,
    "submitting, stopping": lambda: stopping(submitting()),
    "unconfirmed, stopping": lambda: stopping(unconfirmed()),
    "running, stopping": lambda: stopping(running()),
    "running, #2 unanswered": running_beside_an_unanswered_one,
    "running, #2 lost": running_beside_a_lost_one,
}
