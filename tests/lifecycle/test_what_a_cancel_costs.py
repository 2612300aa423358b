"""What a cancel says of the bill: what is known, and of nothing known that it is unknown."""

from __future__ import annotations

from dataclasses import replace

import pytest
from lives import NOW, SUCCESS, accepted, after, canceled, checked, queued_again, running, stopping, unconfirmed

from app.job_view import canceled_view, job_view
from app.lifecycle.answers import TaskFailed
from app.lifecycle.job import Life
from app.lifecycle.states import JobState, Outcome


def ended(*happened: object) -> Life:
    """Stopped while it ran, and over since this happened."""
    life = after(stopping(running()), *happened, at=NOW)  # type: ignore[arg-type]
    assert life.job.state is JobState.CANCELED
    return life


def written_off() -> Life:
    life = canceled()
    return life.with_submission(replace(life.submission(1), outcome=Outcome.WRITTEN_OFF))


@pytest.mark.parametrize(
    ("life", "upstream_will_bill"),
    [
        pytest.param(stopping(accepted()), "no", id="never sent"),
        pytest.param(stopping(queued_again()), "no", id="proven not accepted"),
        pytest.param(stopping(unconfirmed()), "unknown", id="answer lost"),
        pytest.param(stopping(running()), "yes", id="running"),
        pytest.param(ended(checked(SUCCESS)), "yes", id="its task ended well"),
        pytest.param(ended(checked(TaskFailed("no luck", 5))), "yes", id="its task failed, and was billed"),
        pytest.param(ended(checked(TaskFailed("no luck", 0))), "no", id="its task failed, and was not billed"),
        pytest.param(canceled(), "unknown", id="given up, books open"),
        pytest.param(written_off(), "unknown", id="given up, books closed"),
    ],
)
def test_the_answer_to_a_cancel_says_what_is_known_of_the_bill(life: Life, upstream_will_bill: str) -> None:
    assert canceled_view(job_view(life, ""), life).upstream_will_bill == upstream_will_bill
