"""`/console`: how things stand."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from app.console.asking import asked
from app.console.charts import HEIGHT, WIDTH, durations, throughput
from app.console.concerns import callbacks_are_lost, concerns
from app.console.page import PageRoute, go_to, page
from app.console.visitor import Visitor
from app.dispatch.router import pause_dispatch, resume_dispatch, show_dispatch
from app.stats.pace import Window
from app.stats.router import show_series, show_stats
from app.stats.views import SeriesView, StatsView

router = APIRouter(prefix="/console", include_in_schema=False, route_class=PageRoute)


@router.get("")
async def show_overview(request: Request, caller: Visitor, window: Window = Window.HOUR) -> Response:
    stats = await asked(show_stats(request, caller), StatsView)
    series = await asked(show_series(request, caller, window), SeriesView)
    chosen = next(w for w in stats.windows if w.window is window)
    dispatch = await show_dispatch(request, caller) if caller.is_admin else None
    found = concerns(stats, dispatch, await request.state.gateway.figures.difference()) if dispatch else []
    return page(
        request, "overview.html", caller,
        now=stats.at, stats=stats, dispatch=dispatch, concerns=found, window=chosen, windows=list(Window),
        callbacks_lost=callbacks_are_lost(stats.callbacks),
        throughput=throughput(series.buckets), durations=durations(series.buckets), width=WIDTH, height=HEIGHT,
    )  # fmt: skip


@router.post("/pause")
async def pause(request: Request, caller: Visitor) -> Response:
    await pause_dispatch(request, caller)
    return go_to(request, "/console", "Sending is paused.")


@router.post("/resume")
async def resume(request: Request, caller: Visitor) -> Response:
    gate = await resume_dispatch(request, caller)
    return go_to(request, "/console", "Sending goes on." if gate.submits.open else f"Still shut: {gate.submits.reason}.")
