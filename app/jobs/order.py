"""From a request's body to an accepted order, for one job as for a batch."""

from __future__ import annotations

from fastapi import Request

from app.access.callers import Caller
from app.bodies import read_model
from app.idempotency import key_reused
from app.intake import headers_of
from app.jobs.job_request import BATCH_BODY_MAX, BODY_MAX, BatchRequest, JobRequest
from app.outbound.errors import ForbiddenAddressError
from app.outbound.guard import Guard
from app.problems import FieldProblem, Problem, invalid
from app.storage.intake import Taken


async def accept(
    request: Request, caller: Caller, idempotency_key: str | None, model: type[JobRequest] | type[BatchRequest]
) -> Taken:
    """Reads the body and accepts its jobs.

    The key is looked at first: what an earlier request was given, a repetition gets, whatever is wrong with it today.

    Raises:
        Problem: whatever stands in the way, by the contract's order of decisions.
    """
    intake = request.state.gateway.intake
    try:
        body = await read_order(request, model)
    except Problem as problem:
        if problem.status == 422 and idempotency_key and await intake.knows(caller.tenant, idempotency_key):
            raise key_reused() from None
        raise
    wrong = wrong_addresses(body, request.state.gateway.delivery_guard)
    if wrong and not (idempotency_key and await intake.knows(caller.tenant, idempotency_key)):
        raise invalid(wrong)
    taken: Taken = await intake.accept(jobs_of(body), caller, idempotency_key, batch=isinstance(body, BatchRequest))
    return taken


async def read_order(request: Request, model: type[JobRequest] | type[BatchRequest]) -> JobRequest | BatchRequest:
    return await read_model(request, model, limit=BATCH_BODY_MAX if model is BatchRequest else BODY_MAX)


def accepted(taken: Taken, headers: dict[str, str]) -> tuple[int, dict[str, str]]:
    """Status and headers: 202 for what is new, 200 for what an earlier request had made."""
    return 202 if taken.created else 200, {**headers_of(taken), **headers}


def jobs_of(body: JobRequest | BatchRequest) -> list[JobRequest]:
    return body.jobs if isinstance(body, BatchRequest) else [body]


def wrong_addresses(body: JobRequest | BatchRequest, guard: Guard) -> list[FieldProblem]:
    """The callback addresses that no delivery may go to, as far as the address alone tells."""
    wrong = []
    for place, job in enumerate(jobs_of(body)):
        field = f"jobs.{place}.callback_url" if isinstance(body, BatchRequest) else "callback_url"
        try:
            if job.callback_url is not None:
                guard.check_url(job.callback_url)
        except ForbiddenAddressError as error:
            wrong.append(FieldProblem(field=field, message=str(error)[:300]))
    return wrong
