"""`GET /jobs`: lists."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from app.access.callers import CurrentCaller, Scope
from app.answers import base_url, json_answer, problems
from app.job_view import JobView, job_view
from app.jobs.cursor import read_cursor, write_cursor
from app.jobs.job_request import Text
from app.lifecycle.states import JobState

router = APIRouter(prefix="/jobs", tags=["jobs"], responses=problems(401, 403, 503))


class JobPage(BaseModel):
    jobs: list[JobView]
    next_cursor: str | None
    has_more: bool


class ListFilters(BaseModel):
    """The query of `GET /jobs`. What is not named here is refused, never ignored."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(50, ge=1, le=200)
    cursor: str | None = Field(None, max_length=200, description="`next_cursor` of the page before.")
    state: list[JobState] = Field(default_factory=list, description="May be repeated.")
    tenant: Text | None = Field(None, max_length=200, description="Another tenant's jobs; for admin keys.")


@router.get("", response_model=JobPage, summary="List jobs", responses=problems(422))
async def list_jobs(request: Request, caller: CurrentCaller, filters: Annotated[ListFilters, Query()]) -> Response:
    """Newest first. The list is stable for paging back; it is not a change feed."""
    caller.require(Scope.JOBS_READ)
    tenant = caller.tenant if not caller.is_admin else filters.tenant
    if filters.tenant is not None and not caller.may_see(filters.tenant):
        return json_answer(JobPage(jobs=[], next_cursor=None, has_more=False))
    found = await request.state.gateway.history.page(
        limit=filters.limit + 1,
        after=read_cursor(filters.cursor) if filters.cursor else None,
        tenant=tenant,
        states=filters.state,
    )
    has_more, page = len(found) > filters.limit, found[: filters.limit]
    cursor = write_cursor((page[-1].job.created_at, page[-1].job.job_id)) if has_more else None
    views = [job_view(life, base_url(request)) for life in page]
    link = {"Link": f'<{request.url.include_query_params(cursor=cursor)}>; rel="next"'} if cursor else {}
    return json_answer(JobPage(jobs=views, next_cursor=cursor, has_more=has_more), headers=link)
