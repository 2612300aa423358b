"""`/jobs`: what callers do with jobs."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app.access.callers import Caller, CurrentCaller, Scope
from app.errors import StorageUnavailableError
from app.jobs import schemas
from app.jobs.cursor import read_cursor, write_cursor
from app.jobs.schemas import CanceledView, EventList, JobPage, JobRequest, JobView, Text
from app.lifecycle.job import Life
from app.lifecycle.news import CancelAsked
from app.lifecycle.states import JobState
from app.lifecycle.transitions import Effect
from app.problems import FieldProblem, Problem, ProblemBody, field_problem, invalid, not_found
from app.requests import read_body

BODY_MAX = 256 * 1024  #: bytes; the largest valid body is well under this
BODY_SECONDS = 10.0
WAIT_MAX = 60  #: seconds
_WAIT = re.compile(r'(?:^|[,;\s])wait\s*=\s*"?(\d{1,6})"?(?:$|[,;\s])', re.IGNORECASE)
_IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,255}")
_PROBLEM: dict[str, Any] = {"model": ProblemBody, "content": {"application/problem+json": {}}}

Prefer = Annotated[str | None, Header(description="`wait=N`: answer when the job is settled, or after N seconds (at most 60).")]

router = APIRouter(prefix="/jobs", tags=["jobs"], responses={401: _PROBLEM, 403: _PROBLEM, 503: _PROBLEM})


class ListFilters(BaseModel):
    """The query of `GET /jobs`. What is not named here is refused, never ignored."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(50, ge=1, le=200)
    cursor: str | None = Field(None, max_length=200, description="`next_cursor` of the page before.")
    state: list[JobState] = Field(default_factory=list, description="May be repeated.")
    tenant: Text | None = Field(None, max_length=200, description="Another tenant's jobs; for admin keys.")


@router.post(
    "",
    status_code=202,
    response_model=JobView,
    summary="Accept a job",
    responses={
        200: {"model": JobView, "description": "The first job that came with this Idempotency-Key."},
        **dict.fromkeys((408, 413, 415, 422), _PROBLEM),
    },
    openapi_extra={
        "requestBody": {"required": True, "content": {"application/json": {"schema": JobRequest.model_json_schema()}}}
    },
)
async def accept_job(
    request: Request,
    caller: CurrentCaller,
    idempotency_key: Annotated[
        str | None,
        Header(description="Makes the request safe to repeat: the same key and body yield the first job, for 0 credits."),
    ] = None,
    prefer: Prefer = None,
) -> Response:
    """The job is on disk when this answers. Poll `links.self`, or read `links.events`."""
    caller.require(Scope.JOBS_WRITE)
    body = await _read_job_request(request)
    inserted = await request.state.gateway.intake.accept(body, caller, _read_idempotency_key(idempotency_key))
    life, headers = await _waited(request, inserted.life, prefer)
    view = schemas.job_view(life, _base_url(request))
    headers["Location"] = view.links.self
    if inserted.created:
        return _json(view, 202, headers)
    return _json(view, 200, {**headers, "Idempotent-Replayed": "true"})


@router.get("", response_model=JobPage, summary="List jobs", responses={422: _PROBLEM})
async def list_jobs(request: Request, caller: CurrentCaller, filters: Annotated[ListFilters, Query()]) -> Response:
    """Newest first. The list is stable for paging back; it is not a change feed."""
    caller.require(Scope.JOBS_READ)
    tenant = caller.tenant if not caller.is_admin else filters.tenant
    if filters.tenant is not None and not caller.may_see(filters.tenant):
        return _json(JobPage(jobs=[], next_cursor=None, has_more=False))
    found = await request.state.gateway.history.page(
        limit=filters.limit + 1,
        after=read_cursor(filters.cursor) if filters.cursor else None,
        tenant=tenant,
        states=filters.state,
    )
    has_more, page = len(found) > filters.limit, found[: filters.limit]
    cursor = write_cursor((page[-1].job.created_at, page[-1].job.job_id)) if has_more else None
    views = [schemas.job_view(life, _base_url(request)) for life in page]
    link = {"Link": f'<{request.url.include_query_params(cursor=cursor)}>; rel="next"'} if cursor else {}
    return _json(JobPage(jobs=views, next_cursor=cursor, has_more=has_more), headers=link)


@router.get("/{job_id}", response_model=JobView, summary="Show a job", responses={404: _PROBLEM})
async def show_job(request: Request, caller: CurrentCaller, job_id: str, prefer: Prefer = None) -> Response:
    """The job as it is now, from our own records: this never causes a request upstream.

    With `Prefer: wait=N` the answer comes when the job is settled, or after N seconds with the job as it is then.
    """
    life, headers = await _waited(request, await _own_life(request, caller, job_id, Scope.JOBS_READ), prefer)
    return _json(schemas.job_view(life, _base_url(request)), headers=headers)


@router.get("/{job_id}/events", response_model=EventList, summary="A job's timeline", responses={404: _PROBLEM})
async def list_events(request: Request, caller: CurrentCaller, job_id: str) -> Response:
    """Everything that happened to the job, oldest first."""
    life = await _own_life(request, caller, job_id, Scope.JOBS_READ)
    events = await request.state.gateway.history.events(life.job.job_id)
    return _json(EventList(events=[schemas.event_view(e) for e in events]))


@router.get(
    "/{job_id}/images/{index}", status_code=307, response_class=RedirectResponse, summary="A job's picture",
    responses={404: _PROBLEM},
)  # fmt: skip
async def show_image(request: Request, caller: CurrentCaller, job_id: str, index: int) -> Response:
    """Leads to the picture where the upstream keeps it."""
    life = await _own_life(request, caller, job_id, Scope.JOBS_READ)
    if not 0 <= index < len(life.job.images):
        raise not_found("picture")
    return RedirectResponse(life.job.images[index], 307)


@router.post(
    "/{job_id}/cancel",
    response_model=CanceledView,
    summary="Cancel a job",
    responses={202: {"model": CanceledView, "description": "Asked for; it may be billed."}, 404: _PROBLEM, 409: _PROBLEM},
)
async def cancel_job(request: Request, caller: CurrentCaller, job_id: str) -> Response:
    """200 when nothing was sent: it costs nothing. 202 when it may be running upstream, which has no cancel: nothing is sent
    again, and the job ends `canceled` whatever the upstream says. Repeating it changes nothing."""
    life = await _own_life(request, caller, job_id, Scope.JOBS_WRITE)
    change = await request.state.gateway.settlement.record(life.job.job_id, CancelAsked())
    if change is None:
        raise not_found()
    if change.effect is Effect.REFUSED:
        raise Problem(409, "already_settled", f"The job is {change.after.job.state}; it can no longer be canceled.")
    view = schemas.canceled_view(change.after, _base_url(request))
    return _json(view, 200 if change.after.job.is_settled else 202)


async def _waited(request: Request, life: Life, prefer: str | None) -> tuple[Life, dict[str, str]]:
    """The job after the wait that the caller prefers (RFC 7240), if any, and the headers that say so."""
    wanted = _WAIT.search(prefer or "")
    if wanted is None:
        return life, {"Vary": "Prefer"}
    seconds = min(int(wanted[1]), WAIT_MAX)
    if seconds and not life.job.is_settled:
        with suppress(StorageUnavailableError):  # the job is accepted: its id must not be lost in a 503
            life = await request.state.gateway.watchers.until_settled(life.job.job_id, seconds) or life
    return life, {"Vary": "Prefer", "Preference-Applied": f"wait={seconds}"}


async def _own_life(request: Request, caller: Caller, job_id: str, scope: Scope) -> Life:
    """The job, or Problem 404: also where it is another tenant's, and where the id is none."""
    caller.require(scope)
    try:
        parsed = UUID(job_id)
    except ValueError:
        raise not_found() from None
    life: Life | None = await request.state.gateway.lives.find(parsed)
    if life is None or not caller.may_see(life.job.tenant):
        raise not_found()
    return life


async def _read_job_request(request: Request) -> JobRequest:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json" and not media_type.endswith("+json"):
        raise Problem(415, "unsupported_media_type", "Send the job as application/json.")
    body = await read_body(request, limit=BODY_MAX, seconds=BODY_SECONDS)
    try:
        return JobRequest.model_validate_json(body)
    except ValidationError as error:
        found = error.errors(include_input=False, include_url=False, include_context=False)
        raise invalid([field_problem(e) for e in found[:20]]) from None


def _read_idempotency_key(header: str | None) -> str | None:
    """The key, bare or quoted as the IETF draft writes it."""
    if header is None:
        return None
    key = header[1:-1] if len(header) > 2 and header[0] == header[-1] == '"' else header
    if not _IDEMPOTENCY_KEY.fullmatch(key):
        raise invalid([FieldProblem(field="Idempotency-Key", message="use 1 to 255 visible ASCII characters")])
    return key


def _base_url(request: Request) -> str:
    return str(request.base_url).rstrip("/")


def _json(view: BaseModel, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    headers = {"Cache-Control": "no-store", **(headers or {})}
    if isinstance(view, JobView) and (seconds := schemas.retry_after_seconds(view)) is not None:
        headers["Retry-After"] = str(seconds)
    return Response(view.model_dump_json(), status, headers, "application/json")
