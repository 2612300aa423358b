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
            return Problem.of("not_settled", state=life.job.state)
        case NotAgain.ALREADY_SUCCEEDED:
            return Problem.of("already_succeeded")
        case NotAgain.MAY_BE_BILLED_TWICE:
            return Problem.of("may_be_billed_twice")
        case None:
            return None
