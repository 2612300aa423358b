"""`GET /jobs`: lists."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from app.access.callers import CurrentCaller, Scope
from app.answers import base_url, json_answer, next_link, problem_responses
from app.job_query.filters import JobQuery, seen_by
from app.job_query.query import parameters_of, read_query
from app.job_view import JobView, job_view
from app.jobs.cursor import read_cursor, write_cursor
from app.response_headers import headers
from app.texts import Text

router = APIRouter(prefix="/jobs", tags=["jobs"], responses=problem_responses(401, 403, 503))


class JobPage(BaseModel):
    jobs: list[JobView]
    next_cursor: str | None = Field(description="Where to go on; null when there is nothing more.")
    has_more: bool = Field(description="Whether to go on, also where this page is short or empty.")


class ListQuery(JobQuery):
    """The query of `GET /jobs`."""

    limit: Annotated[int, Field(ge=1, le=200)] = Field(50, description="Jobs a page.")
    cursor: Annotated[Text, Field(max_length=200)] | None = Field(
        None, description="`next_cursor` of the page before, with the same filters."
    )


@router.get(
    "",
    response_model=JobPage,
    summary="List jobs",
    responses={200: {"description": "A page.", "headers": headers("Link")}, **problem_responses(422)},
    openapi_extra={"parameters": parameters_of(ListQuery)},
)
async def list_jobs(request: Request, caller: CurrentCaller) -> Response:
    """Newest first. The list is stable for paging back; it is not a change feed.

    All filters given must hold. `q`, `completed_via` and `error_code`, and what stands beside a `metadata` pair, are tested job
    by job, on at most 20,000 jobs a page: such a page may be short or empty while `has_more` is true; its cursor goes on from
    where the search stopped. The next page is also in the `Link` header (RFC 8288, `rel="next"`).
    """
    caller.require(Scope.JOBS_READ)
    query = read_query(ListQuery, request.query_params.multi_items())
    wanted = seen_by(caller, query.wanted())
    if wanted is None:
        return json_answer(JobPage(jobs=[], next_cursor=None, has_more=False))
    after = read_cursor(query.cursor, wanted) if query.cursor is not None else None
    page = await request.state.gateway.history.page(wanted, limit=query.limit, after=after)
    cursor = write_cursor(page.next, wanted) if page.next else None
    views = [job_view(life, base_url(request)) for life in page.lives]
    answer = JobPage(jobs=views, next_cursor=cursor, has_more=cursor is not None)
    return json_answer(answer, headers=next_link(request, cursor))
