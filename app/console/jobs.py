"""`/console/jobs`: any job, found by a word of its prompt or by what became of it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from fastapi import APIRouter, Request, Response

from app.access.callers import Caller
from app.clock import system_clock
from app.console.asking import asked, request_with
from app.console.job_search import PATH, JobSearch, complaint
from app.console.page import PageRoute, go_to, page
from app.console.thumbnails import thumbnails
from app.console.visitor import Visitor
from app.job_query.query import read_query
from app.job_query.words import SearchWordsError, parse
from app.jobs.export import export_jobs
from app.jobs.listing import JobPage, ListQuery, list_jobs
from app.problems import Problem
from app.stats.router import show_stats
from app.stats.views import StatsView
from app.storage.search import LOOKED_AT_MAX

router = APIRouter(prefix="/console", include_in_schema=False, route_class=PageRoute)


@router.get("/jobs")
async def show_jobs(request: Request, caller: Visitor) -> Response:
    """The query string is that of `GET /jobs`; what was typed into the box is first spelled out as one."""
    now = system_clock()
    given = request.query_params.multi_items()
    search = JobSearch.of(pair for pair in given if pair[0] != "search")
    typed = request.query_params.get("search")
    if typed is not None:
        try:
            return go_to(request, _found_by(typed, search.limit, now))
        except SearchWordsError as error:
            return await _shown(request, caller, search, now, typed=typed, wrong=[str(error)])
    try:
        found = await asked(list_jobs(request_with(request, query=given), caller), JobPage)
        limit = read_query(ListQuery, given).limit  # the API's reading: `5.0` is 5 there
    except Problem as problem:
        if problem.status != 422:
            raise
        wrong = [complaint(error) for error in problem.errors]
        return await _shown(request, caller, search, now, typed=search.text, wrong=wrong)
    cut_short = found.has_more and len(found.jobs) < limit
    return await _shown(request, caller, search, now, typed=search.text, found=found, cut_short=cut_short)


@router.get("/jobs/export")
async def export(request: Request, caller: Visitor) -> Response:
    """`GET /jobs/export`, for whoever has a session and no key at hand."""
    return await export_jobs(request, caller)


async def _shown(
    request: Request, caller: Caller, search: JobSearch, now: datetime, *,
    typed: str, found: JobPage | None = None, cut_short: bool = False, wrong: Sequence[str] = (),
) -> Response:  # fmt: skip
    stats = await asked(show_stats(request, caller), StatsView)
    jobs = found.jobs if found else []
    return page(
        request, "jobs.html", caller, 422 if wrong else 200,
        now=now, search=search, typed=typed, wrong=wrong, stats=stats, found=found, cut_short=cut_short,
        looked_at=LOOKED_AT_MAX, first="cursor" not in request.query_params, thumbnails=thumbnails(request, jobs, now),
    )  # fmt: skip


def _found_by(typed: str, limit: str | None, now: datetime) -> str:
    """The page that shows what was asked for; a job's own, where it was named by its id.

    Raises:
        SearchWordsError: it cannot be read.
    """
    if (job_id := _job_id(typed)) is not None:
        return f"{PATH}/{job_id}"
    return JobSearch(tuple(parse(typed, now=now)), limit).href


def _job_id(typed: str) -> UUID | None:
    try:
        return UUID(typed.strip())
    except ValueError:
        return None
