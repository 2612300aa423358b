"""`POST /jobs/quote`: what a job would cost, without creating it."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from app.access.callers import CurrentCaller, Scope
from app.answers import body_of, json_answer, problem_responses
from app.intake import REFUSALS, single
from app.job_view import EstimateView
from app.jobs.job_request import JobRequest
from app.jobs.order import jobs_of, read_order, wrong_addresses
from app.lifecycle.limits import admit, credits_left
from app.lifecycle.request import PRICE
from app.problems import invalid

router = APIRouter(prefix="/jobs", tags=["jobs"], responses=problem_responses(401, 403, 503))


class BudgetView(BaseModel):
    """The month's credits of the tenant."""

    monthly_credits: int | None = Field(description="Its limit; null without one.")
    left: int | None = Field(description="What may still be reserved; null without a limit.")


class QuoteView(BaseModel):
    """What the job would cost if it were sent now."""

    credits: int = Field(description="What would be reserved; 0 where `reuse` finds a result.")
    reused: bool = Field(description="Whether `reuse` finds a result.")
    budget: BudgetView
    refusal: str | None = Field(description="The error code that `POST /jobs` would answer with now, because of a limit.")
    queue_depth: int = Field(description="Queued jobs of the tenant that would go before; counted up to 1,000.")
    estimate: EstimateView | None = Field(description="When it would probably be settled.")


@router.post(
    "/quote",
    response_model=QuoteView,
    summary="What would this job cost?",
    responses={200: {"description": "The price, and what stands in the way."}, **problem_responses(408, 413, 415, 422)},
    openapi_extra=body_of(JobRequest),
)
async def quote_job(request: Request, caller: CurrentCaller) -> Response:
    """Checks the job and prices it, without creating anything."""
    caller.require(Scope.JOBS_WRITE)
    body = await read_order(request, JobRequest)
    if wrong := wrong_addresses(body, request.state.gateway.delivery_guard):
        raise invalid(wrong)
    (wanted,) = jobs_of(body)
    gateway, job = request.state.gateway, single(wanted, caller, None)
    reused = wanted.reuse == "exact" and await gateway.intake_store.has_result(job)
    limits, standing, now = await gateway.usage.standing(caller.tenant)
    depth = await gateway.forecaster.depth(job.tenant, job.priority)
    estimate = None if reused else await gateway.forecaster.estimate(job, depth + 1)
    excess = None if reused else admit(limits, standing, 1, now).excess
    return json_answer(
        QuoteView(
            credits=0 if reused else PRICE,
            reused=reused,
            budget=BudgetView(monthly_credits=limits.monthly_credits, left=credits_left(limits, standing)),
            refusal=REFUSALS[excess].code if excess else None,
            queue_depth=depth,
            estimate=EstimateView(p50_at=estimate.p50_at, p90_at=estimate.p90_at) if estimate else None,
        )
    )
