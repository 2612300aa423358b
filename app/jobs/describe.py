"""A job as one answer of its own shows it: with its place in the queue, and when it will probably be settled."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from fastapi import Request

from app.answers import base_url
from app.errors import StorageUnavailableError
from app.job_view import EstimateView, JobView, job_view
from app.jobs.forecaster import Forecaster
from app.lifecycle.job import Job, Life


async def described(request: Request, life: Life, *, new: bool = False) -> JobView:
    """The job with its forecast. A forecast that cannot be had never costs the answer.

    Args:
        new: just accepted, so the last of its lane: its place is known without looking for it.
    """
    view, job, forecaster = job_view(life, base_url(request)), life.job, _forecaster(request)
    if job.is_settled:
        return view
    with suppress(StorageUnavailableError):
        place = await (forecaster.joined(job) if new else forecaster.place(job))
        return await _foretold(view, job, place, forecaster)
    return view


async def described_together(request: Request, lives: Sequence[Life]) -> list[JobView]:
    """The jobs of one order with their forecasts, likewise."""
    views, jobs = [job_view(life, base_url(request)) for life in lives], [life.job for life in lives]
    forecaster = _forecaster(request)
    with suppress(StorageUnavailableError):
        places = await forecaster.places(jobs)
        return [await _foretold(*one, forecaster) for one in zip(views, jobs, places, strict=True)]
    return views


async def _foretold(view: JobView, job: Job, place: int | None, forecaster: Forecaster) -> JobView:
    estimate = await forecaster.estimate(job, place)
    shown = EstimateView(p50_at=estimate.p50_at, p90_at=estimate.p90_at) if estimate else None
    return view.model_copy(update={"place": place, "estimate": shown})


def _forecaster(request: Request) -> Forecaster:
    found: Forecaster = request.state.gateway.forecaster
    return found
