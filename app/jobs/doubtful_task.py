"""`/jobs/{id}/check` and `/jobs/{id}/candidates`: operators help a job whose task is in doubt."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr

from app.access.callers import CurrentCaller, Scope
from app.answers import base_url, body_of, job_answer, problem_responses
from app.bodies import read_model
from app.job_view import JobView, job_view
from app.lifecycle.news import Asked, CandidateNamed, CheckAsked
from app.own_job import own_life
from app.problems import Problem, not_found
from app.response_headers import headers
from app.whole_number import WHOLE

router = APIRouter(prefix="/jobs", tags=["operators"], responses=problem_responses(401, 403, 404, 503))

BODY_MAX = 4096  #: bytes


class CandidateRequest(BaseModel):
    """The body of `POST /jobs/{job_id}/candidates`."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"task_id": "task-0001"}]})

    task_id: Annotated[StrictStr, Field(min_length=1, max_length=200, pattern=r"^[A-Za-z0-9._:-]+$")] = Field(
        description="As the upstream's account shows it."
    )
    submission: Annotated[StrictInt, Field(ge=1, le=1_000_000), WHOLE] | None = Field(
        None, description="The number of the send whose task it may be; by default the last one whose task is not known."
    )


@router.post(
    "/{job_id}/check",
    status_code=202,
    response_model=JobView,
    summary="Check a job now",
    responses={
        202: {"description": "The checks are due now.", "headers": headers("Retry-After")},
        **problem_responses("not_sent", "nothing_to_check", "books_closed"),
    },
)
async def check_job(request: Request, caller: CurrentCaller, job_id: str) -> Response:
    """Brings the next check of each of its tasks forward to now, as a callback does; checks stay 2 s apart, and wait while the
    gate is shut for them. The job's timeline tells what they read. Repeating it before a check has begun changes nothing."""
    life = await own_life(request, caller, job_id, Scope.ADMIN)
    return await _asked(request, life.job.job_id, CheckAsked(caller.by))


@router.post(
    "/{job_id}/candidates",
    status_code=202,
    response_model=JobView,
    summary="Name a task as a job's candidate",
    responses={
        202: {"description": "It is checked now.", "headers": headers("Retry-After")},
        **problem_responses(408, "not_sent", "books_closed", "task_known", "task_taken", "too_many_candidates", 413, 415, 422),
    },
    openapi_extra=body_of(CandidateRequest),
)
async def name_candidate(request: Request, caller: CurrentCaller, job_id: str) -> Response:
    """For a job whose answer was lost, when the upstream's account shows a task that may be its own. The task is believed as
    little as a callback: a check adopts it only if this job's request stands behind it, and drops it otherwise, as the job's
    timeline then tells. At most three candidates a send. Repeating it changes nothing."""
    life = await own_life(request, caller, job_id, Scope.ADMIN)
    body = await read_model(request, CandidateRequest, limit=BODY_MAX)
    return await _asked(request, life.job.job_id, CandidateNamed(body.task_id, body.submission, caller.by))


async def _asked(request: Request, job_id: object, news: Asked) -> Response:
    change = await request.state.gateway.settlement.record(job_id, news)
    if change is None:
        raise not_found()
    if change.objection is not None:
        raise Problem.of(change.objection.value)
    return job_answer(job_view(change.after, base_url(request)), 202)
