"""What a change adds to the metrics: how a job ended, how long it took, and what became of its credits."""

from __future__ import annotations

from app.lifecycle.job import Job
from app.lifecycle.request import PRICE
from app.lifecycle.states import Outcome
from app.lifecycle.transitions import Change
from app.metrics import Metrics


def tally(metrics: Metrics, change: Change) -> None:
    """Counts a change that was committed."""
    if change.after.job.is_settled and not change.before.job.is_settled:
        tally_end(metrics, change.after.job)
    tally_credits(metrics, change)


def tally_end(metrics: Metrics, job: Job) -> None:
    """Counts a job that has just been settled. How long it took is told of those that were sent."""
    metrics.job_settled(job.state.value, job.completed_via, job.error.code if job.error else None)
    if job.submitted_at is None or job.finished_at is None:
        return
    metrics.job_took("queue", (job.submitted_at - job.created_at).total_seconds())
    metrics.job_took("upstream", (job.finished_at - job.submitted_at).total_seconds())
    metrics.job_took("total", (job.finished_at - job.created_at).total_seconds())


def tally_credits(metrics: Metrics, change: Change) -> None:
    """Counts what was consumed, what became unresolved, and what of the held credits came free without being consumed.

    Credits that are written off are held no longer, but not released either: nobody knows whether they were spent.
    """
    before, after, tenant = change.before.credits, change.after.credits, change.after.job.tenant
    consumed = after.consumed - before.consumed
    freed = change.before.books.held - change.after.books.held - consumed - PRICE * _written_off(change)
    if consumed > 0:
        metrics.credits(tenant, "consumed", consumed)
    if freed > 0:
        metrics.credits(tenant, "released", freed)
    if after.unresolved > before.unresolved:
        metrics.credits(tenant, "unresolved", after.unresolved - before.unresolved)


def _written_off(change: Change) -> int:
    was_open = {s.number for s in change.before.submissions if s.is_open}
    return sum(s.number in was_open and s.outcome is Outcome.WRITTEN_OFF for s in change.after.submissions)
