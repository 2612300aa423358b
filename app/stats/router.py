"""`GET /stats`: the figures of the overview."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from app.access.callers import CurrentCaller, Scope
from app.answers import json_answer, problems
from app.stats.figures import Figures
from app.stats.pace import Window
from app.stats.views import StatsView, stats_view

router = APIRouter(tags=["operators"], responses=problems(401, 403, 503))


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
    windows = {window: list(await figures.slices(window, tenant)) for window in Window}
    return json_answer(stats_view(tenant, standings, vitals, windows, await figures.credits_this_month(tenant)))
