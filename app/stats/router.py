"""`GET /stats`: the figures of the overview; `GET /stats/series`: what its charts are drawn from."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from app.access.callers import CurrentCaller, Scope
from app.answers import json_answer, problem_responses
from app.stats.figures import Figures
from app.stats.pace import Window
from app.stats.views import SeriesView, StatsView, series_view, stats_view

router = APIRouter(tags=["operators"], responses=problem_responses(401, 403, 503))


@router.get(
    "/stats",
    response_model=StatsView,
    summary="Show how things stand",
    responses={200: {"description": "The figures."}},
)
async def show_stats(request: Request, caller: CurrentCaller) -> Response:
    """Of all tenants with an admin key, else of the caller's own. Cheap, however many jobs there are."""
    caller.require(Scope.JOBS_READ)
    figures: Figures = request.state.gateway.figures
    tenant = None if caller.is_admin else caller.tenant
    vitals = await figures.vitals()
    standings = vitals.standings if tenant is None else await figures.standings(tenant)
    windows = {window: list(await figures.stretches(window, tenant)) for window in Window}
    return json_answer(stats_view(tenant, standings, vitals, windows, await figures.credits_this_month(tenant)))


@router.get(
    "/stats/series",
    response_model=SeriesView,
    summary="Show how things went, bucket by bucket",
    responses={200: {"description": "The buckets, the oldest first, without a gap."}, **problem_responses(422)},
)
async def show_series(
    request: Request,
    caller: CurrentCaller,
    window: Annotated[
        Window, Query(description="How far back: buckets of 5 minutes, of an hour, or of 6 hours.")
    ] = Window.HOUR,
) -> Response:
    """For charts. Of all tenants with an admin key, else of the caller's own. Cheap, however many jobs there are."""
    caller.require(Scope.JOBS_READ)
    figures: Figures = request.state.gateway.figures
    tenant = None if caller.is_admin else caller.tenant
    return json_answer(series_view(window, tenant, await figures.series(window, tenant)))
