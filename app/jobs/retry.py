"""Whether a job may be asked for again."""

from __future__ import annotations

from app.lifecycle.job import Life
from app.lifecycle.states import ErrorCode, JobState
from app.problems import Problem


def why_not_again(life: Life, accept_double_billing: bool) -> Problem | None:
    """What stands against a retry: 409 `not_settled`, `already_succeeded` or `may_be_billed_twice`; None when nothing does."""
    job = life.job
    if not job.is_settled:
        return Problem(409, "not_settled", f"The job is {job.state}; it can be retried once it is settled.")
    if job.state is JobState.SUCCEEDED:
        return Problem(409, "already_succeeded", "The job succeeded; ask for a new one instead.")
    unconfirmed = job.error is not None and job.error.code is ErrorCode.SUBMISSION_UNCONFIRMED
    if unconfirmed and not accept_double_billing and not life.late_images:
        return Problem(
            409,
            "may_be_billed_twice",
            "Nobody knows whether the first try was billed. To pay for a second one all the same, retry with "
            "?accept_double_billing=true.",
        )
    return None
