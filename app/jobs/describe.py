"""A job as one answer of its own shows it: with its place in the queue, and when it will probably be settled."""

from __future__ import annotations

from contextlib import suppress

from fastapi import Request

from app.answers import base_url
from app.errors import StorageUnavailableError
from app.job_view import EstimateView, JobView, job_view
from app.lifecycle.job import Life


async def described(request: Request, life: Life, *, new: bool = False) -> JobView:
    """The job with its forecast. A forecast that cannot be had never costs the answer.

    Args:
        new: just accepted, so the last of its lane: its place is known without looking for it.
    """
    view = job_view(life, base_url(request))
    if life.job.is_settled:
        return view
    forecaster = request.state.gateway.forecaster
    with suppress(StorageUnavailableError):
        if new:
            place = await forecaster.depth(life.job.tenant, life.job.priority) + 1
        else:
            place = await forecaster.place(life.job)
        estimate = await forecaster.estimate(life.job, place)
        shown = EstimateView(p50_at=estimate.p50_at, p90_at=estimate.p90_at) if estimate else None
        return view.model_copy(update={"place": place, "estimate": shown})
    return view
