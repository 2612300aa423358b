"""`POST /jobs/batch`: many at once."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from app.access.callers import CurrentCaller, Scope
from app.answers import body_of, json_answer, problem_responses
from app.idempotency import IdempotencyKey
from app.job_view import JobView, retry_after_seconds
from app.jobs.describe import described_together
from app.jobs.job_request import BatchRequest
from app.jobs.order import accept, accepted
from app.response_headers import headers

router = APIRouter(prefix="/jobs", tags=["jobs"], responses=problem_responses(401, 403, 503))


class BatchView(BaseModel):
    """The jobs of a batch, in the order of the request."""

    jobs: list[JobView]


@router.post(
    "/batch",
    status_code=202,
    response_model=BatchView,
    summary="Accept many jobs at once",
    responses={
        200: {
            "model": BatchView,
            "description": "The jobs that came with this Idempotency-Key, as they are now.",
            "headers": headers("Idempotent-Replayed", "Retry-After"),
        },
        202: {"description": "The jobs are on disk.", "headers": headers("Retry-After", "RateLimit", "RateLimit-Policy")},
        **problem_responses(402, 408, 413, 415, 422, "idempotency_key_reused", 429),
    },
    openapi_extra=body_of(BatchRequest),
)
async def accept_batch(request: Request, caller: CurrentCaller, idempotency_key: IdempotencyKey) -> Response:
    """1 to 100 jobs: all are accepted, or none. One Idempotency-Key is for the whole."""
    caller.require(Scope.JOBS_WRITE)
    taken = await accept(request, caller, idempotency_key, BatchRequest)
    views = await described_together(request, taken.lives)
    return json_answer(BatchView(jobs=views), *accepted(taken, _retry_after(views)))


def _retry_after(views: Sequence[JobView]) -> dict[str, str]:
    """As soon as it is worth it for one of them."""
    seconds = [after for view in views if (after := retry_after_seconds(view)) is not None]
    return {"Retry-After": str(min(seconds))} if seconds else {}
