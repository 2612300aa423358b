"""`/deliveries` and `/receivers`: operators see what was not delivered and who does not take it, and resume receivers."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from app.access.callers import CurrentCaller, Scope
from app.access.names import TenantName
from app.answers import body_of, json_answer, next_link, problem_responses
from app.bodies import read_model
from app.cursors import read_cursor, write_cursor
from app.deliveries.views import (
    DeliveryPage,
    ReceiverList,
    Resumed,
    delivery_summary,
    receiver_view,
)
from app.lifecycle.delivery import DeliveryState
from app.lifecycle.receiver import Receiver, receiver_of
from app.problems import FieldProblem, invalid, not_found
from app.texts import Text

router = APIRouter(tags=["operators"], responses=problem_responses(401, 403, 422, 503))

RECEIVERS_MAX = 1000
BODY_MAX = 4096  #: bytes
RESUMABLE = "receiver that is failing or parked"

Origin = Annotated[
    Text,
    Field(max_length=300, description="Scheme, host and port, as lists show it.", examples=["https://hooks.example"]),
]


class DeliveryQuery(BaseModel):
    """The query of `GET /deliveries`. What is not named here is refused, never ignored."""

    model_config = ConfigDict(extra="forbid")

    tenant: TenantName | None = None
    state: DeliveryState | None = None
    origin: Origin | None = None
    limit: Annotated[int, Field(ge=1, le=200)] = 50
    cursor: Annotated[str, Field(max_length=100)] | None = None


class ReceiverQuery(BaseModel):
    """The query of `GET /receivers`."""

    model_config = ConfigDict(extra="forbid")

    tenant: TenantName | None = None
    origin: Origin | None = None
    parked: bool | None = Field(None, description="Only those that are parked, or only those that are not.")


class ResumeRequest(BaseModel):
    """The body of `POST /receivers/resume`."""

    model_config = ConfigDict(extra="forbid")

    tenant: TenantName
    origin: Origin


@router.get("/deliveries", response_model=DeliveryPage, summary="List deliveries")
async def list_deliveries(request: Request, caller: CurrentCaller, query: Annotated[DeliveryQuery, Query()]) -> Response:
    """Newest first, without their attempts, which `GET /jobs/{id}/deliveries` has. All filters given must hold."""
    caller.require(Scope.ADMIN)
    found = await request.state.gateway.delivery_list.page(
        tenant=query.tenant,
        state=query.state,
        origin=_origin_of(query),
        limit=query.limit + 1,
        after=read_cursor(query.cursor)[0] if query.cursor is not None else None,
    )
    page = found[: query.limit]
    cursor = write_cursor(page[-1].key) if len(found) > query.limit else None
    views = [delivery_summary(delivery) for delivery in page]
    answer = DeliveryPage(deliveries=views, next_cursor=cursor, has_more=cursor is not None)
    return json_answer(answer, headers=next_link(request, cursor))


@router.get("/receivers", response_model=ReceiverList, summary="List receivers that fail")
async def list_receivers(request: Request, caller: CurrentCaller, query: Annotated[ReceiverQuery, Query()]) -> Response:
    """Those that are failing or parked, by tenant and origin; the first 1000. One that is well is not listed."""
    caller.require(Scope.ADMIN)
    origin = _origin_of(query)
    found = await request.state.gateway.receivers.troubled(
        tenant=query.tenant, origin=origin, parked=query.parked, limit=RECEIVERS_MAX + 1
    )
    views = [receiver_view(troubled) for troubled in found[:RECEIVERS_MAX]]
    return json_answer(ReceiverList(receivers=views, has_more=len(found) > RECEIVERS_MAX))


@router.post(
    "/receivers/resume",
    response_model=Resumed,
    summary="Resume a receiver",
    responses=problem_responses(404, 408, 413, 415, thing=RESUMABLE),
    openapi_extra=body_of(ResumeRequest),
)
async def resume_receiver(request: Request, caller: CurrentCaller) -> Response:
    """Its deliveries are attempted again from now on, and its failures are forgotten. 404 where nothing was wrong with it."""
    caller.require(Scope.ADMIN)
    body = await read_model(request, ResumeRequest, limit=BODY_MAX)
    resumed = await request.state.gateway.receivers.resume(_spelled(body.tenant, body.origin), by=caller.key_id)
    if resumed is None:
        raise not_found(RESUMABLE)
    request.state.gateway.settlement.wakes.ring("deliver")
    return json_answer(Resumed(resumed=resumed))


def _origin_of(query: DeliveryQuery | ReceiverQuery) -> str | None:
    return _spelled(query.tenant or "", query.origin).origin if query.origin is not None else None


def _spelled(tenant: str, origin: str) -> Receiver:
    """The receiver as the tables spell it.

    Raises:
        Problem: 422, it is no origin.
    """
    try:
        return receiver_of(tenant, origin)
    except ValueError:
        message = "write scheme, host and port, like https://hooks.example"
        raise invalid([FieldProblem(field="origin", message=message)]) from None
