"""`/jobs`: accept a job, show it, cancel it, repeat it."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from app.access.callers import CurrentCaller, Scope
from app.answers import IF_NONE_MATCH, body_of, conditional_job_answer, job_answer, problem_responses
from app.idempotency import IdempotencyKey
from app.job_view import CanceledView, JobView, canceled_view
from app.jobs.describe import described
from app.jobs.job_request import JobRequest
from app.jobs.order import accept, accepted
from app.jobs.retry import why_not_again
from app.jobs.waiting import PreferredWait, waited
from app.lifecycle.news import CancelAsked
from app.lifecycle.transitions import Effect
from app.own_job import own_life
from app.plain_route import PlainRoute
from app.problems import Problem, not_found
from app.response_headers import headers

accept_router = APIRouter(prefix="/jobs", tags=["jobs"], responses=problem_responses(401, 403, 503), route_class=PlainRoute)
router = APIRouter(prefix="/jobs", tags=["jobs"], responses=problem_responses(401, 403, 503), route_class=PlainRoute)


@accept_router.post(
    "",
    status_code=202,
    response_model=JobView,
    summary="Accept a job",
    responses={
        200: {
            "model": JobView,
            "description": "The first job that came with this Idempotency-Key, as it is now.",
            "headers": headers("Location", "Idempotent-Replayed", "Retry-After", "Preference-Applied"),
        },
        202: {
            "description": "The job is on disk.",
            "headers": headers("Location", "Retry-After", "Preference-Applied", "RateLimit", "RateLimit-Policy"),
        },
        **problem_responses(402, 408, 413, 415, 422, "idempotency_key_reused", 429),
    },
    openapi_extra=body_of(JobRequest),
)
async def accept_job(request: Request, caller: CurrentCaller, idempotency_key: IdempotencyKey, wait: PreferredWait) -> Response:
    """The job is on disk when this answers. Wait for it with `Prefer: wait=N` here or on `links.self`, read `links.events`, or
    give a `callback_url`.

    Give every job an `Idempotency-Key` of its own: a request whose answer was lost can then be sent again.
    """
    caller.require(Scope.JOBS_WRITE)
    taken = await accept(request, caller, idempotency_key, JobRequest)
    life, headers = await waited(request, taken.lives[0], wait)
    view = await described(request, life, new=taken.created)
    return job_answer(view, *accepted(taken, {**headers, "Location": view.links.self}))


@router.get(
    "/{job_id}",
    response_model=JobView,
    summary="Show a job",
    responses={
        200: {"description": "The job.", "headers": headers("ETag", "Retry-After", "Preference-Applied")},
        304: {
            "description": "The caller has this representation already.",
            "headers": headers("ETag", "Retry-After", "Preference-Applied"),
        },
        **problem_responses(404),
    },
    openapi_extra={"parameters": [IF_NONE_MATCH]},
)
async def show_job(request: Request, caller: CurrentCaller, job_id: str, wait: PreferredWait) -> Response:
    """The job as it is now, from our own records: this never causes a request upstream.

    With `Prefer: wait=N` the answer comes when the job is settled, or after N seconds with the job as it is then.
    """
    life, headers = await waited(request, await own_life(request, caller, job_id, Scope.JOBS_READ), wait)
    return conditional_job_answer(request, await described(request, life), headers)


@router.post(
    "/{job_id}/cancel",
    response_model=CanceledView,
    summary="Cancel a job",
    responses={
        200: {"description": "Canceled, for 0 credits."},
        202: {"model": CanceledView, "description": "Asked for; it may be billed.", "headers": headers("Retry-After")},
        **problem_responses(404, "already_settled"),
    },
)
async def cancel_job(request: Request, caller: CurrentCaller, job_id: str) -> Response:
    """200 when nothing was sent: it costs nothing. 202 when it may be running upstream, which has no cancel: nothing is sent
    again, and the job ends `canceled` whatever the upstream says. Repeating it changes nothing."""
    life = await own_life(request, caller, job_id, Scope.JOBS_WRITE)
    change = await request.state.gateway.settlement.record(life.job.job_id, CancelAsked(caller.by))
    if change is None:
        raise not_found()
    if change.effect is Effect.REFUSED:
        raise Problem.of("already_settled", state=change.after.job.state)
    view = canceled_view(await described(request, change.after), change.after)
    return job_answer(view, 200 if change.after.job.is_settled else 202)


@router.post(
    "/{job_id}/retry",
    status_code=202,
    response_model=JobView,
    summary="Retry a job that did not succeed",
    responses={
        200: {
            "model": JobView,
            "description": "The job that the first retry made, as it is now.",
            "headers": headers("Location", "Idempotent-Replayed", "Retry-After"),
        },
        202: {
            "description": "The new job is on disk.",
            "headers": headers("Location", "Retry-After", "RateLimit", "RateLimit-Policy"),
        },
        **problem_responses(402, 404, "not_settled", "already_succeeded", "may_be_billed_twice", 422, 429),
    },
)
async def retry_job(
    request: Request,
    caller: CurrentCaller,
    job_id: str,
    accept_double_billing: Annotated[
        bool, Query(description="After `submission_unconfirmed`: go on, although the first try may have been billed.")
    ] = False,
) -> Response:
    """A new job with the same request, and `retry_of`. Where the old job's task ended well after all, the new one settles at
    once from it, for 0 credits. A second retry returns the first, whatever it accepts."""
    life = await own_life(request, caller, job_id, Scope.JOBS_WRITE)
    intake, reason = request.state.gateway.intake, why_not_again(life, accept_double_billing)
    if reason and not await intake.retried([life.job.job_id]):
        raise reason
    taken = await intake.retry(life, caller.by)
    view = await described(request, taken.lives[0], new=taken.created)
    return job_answer(view, *accepted(taken, {"Location": view.links.self}))
