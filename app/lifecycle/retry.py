"""Whether a job may be asked for again. Pure."""

from __future__ import annotations

from enum import StrEnum

from app.lifecycle.job import Life
from app.lifecycle.states import ErrorCode, JobState


class NotAgain(StrEnum):
    """What stands against a retry. The words are codes of the API."""

    NOT_SETTLED = "not_settled"  #: it is still going
    ALREADY_SUCCEEDED = "already_succeeded"  #: its pictures are there
    MAY_BE_BILLED_TWICE = "may_be_billed_twice"  #: nobody knows whether the first try was billed


def why_not_again(life: Life, *, accept_double_billing: bool) -> NotAgain | None:
    """None where nothing stands against it."""
    job = life.job
    if not job.is_settled:
        return NotAgain.NOT_SETTLED
    if job.state is JobState.SUCCEEDED:
        return NotAgain.ALREADY_SUCCEEDED
    unconfirmed = job.error is not None and job.error.code is ErrorCode.SUBMISSION_UNCONFIRMED
    if unconfirmed and not accept_double_billing and not life.late_images:
        return NotAgain.MAY_BE_BILLED_TWICE
    return None
