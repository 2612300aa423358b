"""When a job will be settled, judged by recent ones."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from app.lifecycle.forecast import Pace, Ran, estimate, pace_of
from app.lifecycle.job import Job
from app.lifecycle.states import JobState
from tests.lifecycle.lives import accepted

NOW = datetime(2026, 1, 2, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
PACE = Pace(interval=2 * SECOND, run_p50=10 * SECOND, run_p90=30 * SECOND)


def test_too_few_jobs_foretell_nothing() -> None:
    assert pace_of([Ran(NOW, NOW, NOW)] * 4) is None


def test_the_pace_is_that_of_the_sends_and_the_runs() -> None:
    ran = [Ran(NOW, NOW + n * SECOND, NOW + n * SECOND + (n + 1) * SECOND) for n in range(10)]
    pace = pace_of(ran)
    assert pace == Pace(interval=SECOND, run_p50=6 * SECOND, run_p90=10 * SECOND)


def test_a_queued_job_waits_for_those_before_it_and_then_runs() -> None:
    job = _job(JobState.QUEUED)
    near, far = estimate(job, 1, PACE, NOW), estimate(job, 100, PACE, NOW)
    assert near is not None
    assert far is not None
    assert near.p50_at == NOW + 13 * SECOND
    assert far.p50_at == NOW + 211 * SECOND
    assert near.p50_at < near.p90_at < far.p90_at


def test_a_running_jobs_estimate_stays_where_it_is_while_time_passes() -> None:
    job = replace(_job(JobState.RUNNING), submitted_at=NOW)
    assert estimate(job, None, PACE, NOW) == estimate(job, None, PACE, NOW + 5 * SECOND)


def test_a_settled_job_has_none() -> None:
    assert estimate(_job(JobState.CANCELED), None, PACE, NOW) is None


def _job(state: JobState) -> Job:
    return replace(accepted().job, state=state)
