"""Why a job may not be asked for again, as a problem."""

from __future__ import annotations

from app.lifecycle import retry
from app.lifecycle.job import Life
from app.lifecycle.retry import NotAgain
from app.problems import Problem


def why_not_again(life: Life, accept_double_billing: bool) -> Problem | None:
    """What stands against a retry: 409 `not_settled`, `already_succeeded` or `may_be_billed_twice`; None when nothing does."""
    match retry.why_not_again(life, accept_double_billing=accept_double_billing):
        case NotAgain.NOT_SETTLED:
            return Problem(409, "not_settled", f"The job is {life.job.state}; it can be retried once it is settled.")
        case NotAgain.ALREADY_SUCCEEDED:
            return Problem(409, "already_succeeded", "The job succeeded; ask for a new one instead.")
        case NotAgain.MAY_BE_BILLED_TWICE:
            return Problem(
                409,
                "may_be_billed_twice",
                "Nobody knows whether the first try was billed. To pay for a second one all the same, retry with "
                "?accept_double_billing=true.",
            )
        case None:
            return None
