"""Deliveries, for the callers that they belong to: every attempt, send one again, recover those since a time."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from app.access.callers import Caller, CurrentCaller, Scope
from app.answers import body_of, json_answer, problem_responses
from app.bodies import read_model
from app.clock import system_clock
from app.deliveries.deliver import Deliverer, TooManyAttemptsError, UnsentError
from app.deliveries.views import DeliveryView, JobDeliveries, Recovered, delivery_view
from app.instants import Instant
from app.own_job import own_life
from app.problems import FieldProblem, Problem, invalid, not_found
from app.storage.deliveries import DeliveryUnderWayError
from app.storage.delivery_list import DeliveryList, StoredDelivery

router = APIRouter(tags=["deliveries"], responses=problem_responses(401, 403, 503))

RECOVER_BACK = timedelta(days=14)  #: how far back deliveries are recovered
RETRY_AFTER = 15  #: seconds; by then the attempts under way have ended
BODY_MAX = 4096  #: bytes


class RecoverRequest(BaseModel):
    """The body of `POST /tenants/{name}/deliveries/recover`."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"since": "2026-11-01T00:00:00Z"}]})

    since: Instant = Field(description="Deliveries made since then; at most 14 days back, with an offset.")


@router.get(
    "/jobs/{job_id}/deliveries",
    response_model=JobDeliveries,
    summary="Show a job's deliveries",
    responses=problem_responses(404),
)
async def show_deliveries(request: Request, caller: CurrentCaller, job_id: str) -> Response:
    """Every attempt, with its status, time and error. Empty until the job is settled, and without a `callback_url`."""
    life = await own_life(request, caller, job_id, Scope.JOBS_READ)
    found = await _deliveries(request).of_job(life.job.job_id)
    return json_answer(JobDeliveries(deliveries=[delivery_view(d, for_admin=caller.is_admin) for d in found]))


@router.post(
    "/deliveries/{delivery_id}/redeliver",
    response_model=DeliveryView,
    summary="Send a delivery again",
    responses=problem_responses(
        404, "delivery_under_way", "too_many_redeliveries", 503, "delivery_not_ready", thing="delivery"
    ),
)
async def redeliver(request: Request, caller: CurrentCaller, delivery_id: str) -> Response:
    """Sends it at once, with the same id and body, and answers with what came of it, after 15 s at most.

    The attempt is listed as `manual` and is none of the schedule: where it fails, a finished delivery stays as it was, and one
    that is pending keeps its next attempt. 409 while it is being attempted, or is due within a minute.
    """
    found = await _own(request, caller, delivery_id, Scope.JOBS_WRITE)
    deliverer: Deliverer = request.state.gateway.deliverer
    try:
        recorded = await deliverer.redeliver(found.delivery_id, by=caller.key_id)
    except DeliveryUnderWayError:
        raise Problem.of("delivery_under_way") from None
    except TooManyAttemptsError:
        raise Problem.of("too_many_redeliveries", headers={"Retry-After": str(RETRY_AFTER)}) from None
    except UnsentError:
        raise Problem.of("delivery_not_ready", headers={"Retry-After": "60"}) from None
    after = await _deliveries(request).find(found.delivery_id)
    if recorded is None or after is None:  # its job was pruned meanwhile
        raise not_found("delivery")
    return json_answer(delivery_view(after, for_admin=caller.is_admin))


@router.post(
    "/tenants/{name}/deliveries/recover",
    status_code=202,
    response_model=Recovered,
    summary="Recover a tenant's deliveries",
    responses=problem_responses(404, 408, 413, 415, 422, thing="tenant"),
    openapi_extra=body_of(RecoverRequest),
)
async def recover_deliveries(request: Request, caller: CurrentCaller, name: str) -> Response:
    """Makes due all of the tenant's deliveries since then that were not delivered, each with the whole schedule before it.

    For after an outage of the tenant's receiver. What is attempted within a minute anyway is left alone, and what waits for a
    parked receiver waits until that is resumed.
    """
    caller.require(Scope.JOBS_WRITE)
    gateway = request.state.gateway
    known = caller.may_see(name) and "\0" not in name and await gateway.tenants.find(name) is not None
    if not known:
        raise not_found("tenant")
    since = _recent((await read_model(request, RecoverRequest, limit=BODY_MAX)).since)
    recovered = await gateway.deliveries.recover(name, since, by=caller.key_id)
    gateway.settlement.wakes.ring("deliver")
    return json_answer(Recovered(recovered=recovered), 202)


def _recent(since: datetime) -> datetime:
    if since < system_clock() - RECOVER_BACK:
        raise invalid([FieldProblem(field="since", message=f"write an instant of the last {RECOVER_BACK.days} days")])
    return since


async def _own(request: Request, caller: Caller, delivery_id: str, scope: Scope) -> StoredDelivery:
    """The delivery, if it is the caller's; whose it is stays unsaid otherwise."""
    caller.require(scope)
    try:
        parsed = UUID(delivery_id)
    except ValueError:
        raise not_found("delivery") from None
    found = await _deliveries(request).find(parsed)
    if found is None or not caller.may_see(found.receiver.tenant):
        raise not_found("delivery")
    return found


def _deliveries(request: Request) -> DeliveryList:
    found: Any = request.state.gateway.delivery_list
    assert isinstance(found, DeliveryList)
    return found
