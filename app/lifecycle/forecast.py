"""When a job will be settled, judged by recent ones. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from app.lifecycle.job import Job
from app.lifecycle.states import JobState

ENOUGH = 5  #: with fewer samples than this, nothing is foretold


@dataclass(frozen=True, slots=True)
class Ran:
    """A job that succeeded lately."""

    created_at: datetime
    submitted_at: datetime
    finished_at: datetime


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast jobs go at present."""

    interval: timedelta  #: between two sends
    run_p50: timedelta  #: from the send to the settlement
    run_p90: timedelta


@dataclass(frozen=True, slots=True)
class Estimate:
    """When half, and nine in ten, of such jobs are settled."""

    p50_at: datetime
    p90_at: datetime


def pace_of(recent: Sequence[Ran]) -> Pace | None:
    """The pace of recent jobs; None where there are too few."""
    if len(recent) < ENOUGH:
        return None
    sent = sorted(ran.submitted_at for ran in recent)
    runs = sorted(ran.finished_at - ran.submitted_at for ran in recent)
    return Pace((sent[-1] - sent[0]) / (len(sent) - 1), _percentile(runs, 0.5), _percentile(runs, 0.9))


def estimate(job: Job, place: int | None, pace: Pace, now: datetime) -> Estimate | None:
    """When the job is expected to be settled; None once it is. In whole seconds: it promises no more."""
    if job.is_settled:
        return None
    if job.state is JobState.QUEUED:
        wait = pace.interval * (place or 1)
        return Estimate(_whole(now + wait + pace.run_p50), _whole(now + wait * 1.5 + pace.run_p90))
    sent = job.submitted_at or now
    return Estimate(_whole(sent + pace.run_p50), _whole(sent + pace.run_p90))


def _percentile(sorted_values: Sequence[timedelta], share: float) -> timedelta:
    return sorted_values[min(int(len(sorted_values) * share), len(sorted_values) - 1)]


def _whole(at: datetime) -> datetime:
    return at.replace(microsecond=0) + timedelta(seconds=1)
