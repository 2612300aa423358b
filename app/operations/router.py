"""`/operations`: operators cancel or retry many jobs, watch how far it is, and stop it."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from uuid_utils.compat import uuid7

from app.access.callers import CurrentCaller, Scope
from app.answers import base_url, body_of, json_answer, next_link, problem_responses
from app.bodies import read_model
from app.cursors import refused
from app.idempotency import IdempotencyKey, key_reused
from app.lifecycle.operation import OperationState
from app.operations.operation_request import BODY_MAX, OperationRequest
from app.operations.scope import stored
from app.operations.views import (
    OperationCount,
    OperationDetailView,
    OperationPage,
    OperationView,
    matched_view,
    operation_detail,
    operation_view,
)
from app.problems import Problem, not_found
from app.response_headers import headers
from app.storage.counted import Counted
from app.storage.history import HistoryStore
from app.storage.operations import NewOperation

router = APIRouter(prefix="/operations", tags=["operators"], responses=problem_responses(401, 403, 503))

COUNTED_MAX = 10_000  #: jobs; the count before an operation ends there
COUNT_LOOKS_AT = 50_000  #: jobs that are tested for it


class OperationQuery(BaseModel):
    """The query of `GET /operations`. What is not named here is refused, never ignored."""

    model_config = ConfigDict(extra="forbid")

    limit: Annotated[int, Field(ge=1, le=200)] = 50
    cursor: Annotated[str, Field(max_length=100)] | None = None


@router.post(
    "",
    status_code=202,
    response_model=OperationView,
    summary="Cancel or retry many jobs",
    responses={
        200: {
            "model": OperationView | OperationCount,
            "description": "The count, for a dry run; or the operation that an earlier request had made, as it is now.",
            "headers": headers("Idempotent-Replayed"),
        },
        202: {"description": "The operation is on disk, and begins.", "headers": headers("Location")},
        **problem_responses(408, 413, 415, 422, "idempotency_key_reused"),
    },
    openapi_extra=body_of(OperationRequest),
)
async def create_operation(request: Request, caller: CurrentCaller, idempotency_key: IdempotencyKey) -> Response:
    """Works in the background, in small batches, newest jobs first, and survives restarts. Ask with `dry_run` first how many
    jobs it will look at. Each job is dealt with as by `POST /jobs/{job_id}/cancel` or `/retry`: the open jobs and the credits
    of its tenant are limited as always, while the tenant's rate of requests is left alone.

    Pressed twice, it is made once: the same `Idempotency-Key` yields the first operation, and so does the same request without
    a key while that runs.
    """
    caller.require(Scope.ADMIN)
    body = await read_model(request, OperationRequest, limit=BODY_MAX)
    gateway = request.state.gateway
    matched = await _count(gateway.history, body)
    if body.dry_run:
        return json_answer(OperationCount(kind=body.kind, matched=matched_view(matched)))
    new = NewOperation(
        operation_id=uuid7(),
        kind=body.kind,
        filter=stored(body.filter) if body.filter is not None else None,
        jobs=body.job_ids(),
        accept_double_billing=body.accept_double_billing,
        key_id=caller.key_id,
        fingerprint=body.fingerprint(),
        idempotency_key=idempotency_key,
        matched=matched,
    )
    operation, made = await gateway.operations.make(new)
    if operation.fingerprint != new.fingerprint:
        raise key_reused()
    if made:
        gateway.settlement.wakes.ring("operate")
    view = operation_view(operation, base_url(request))
    replayed = {} if made else {"Idempotent-Replayed": "true"}
    return json_answer(view, 202 if made else 200, {"Location": view.links.self, **replayed})


@router.get("", response_model=OperationPage, summary="List operations", responses=problem_responses(422))
async def list_operations(request: Request, caller: CurrentCaller, query: Annotated[OperationQuery, Query()]) -> Response:
    """Newest first."""
    caller.require(Scope.ADMIN)
    before = _read_cursor(query.cursor) if query.cursor is not None else None
    found = await request.state.gateway.operations.newest(query.limit + 1, before)
    page = found[: query.limit]
    cursor = str(page[-1].operation_id) if len(found) > query.limit else None
    views = [operation_view(operation, base_url(request)) for operation in page]
    answer = OperationPage(operations=views, next_cursor=cursor, has_more=cursor is not None)
    return json_answer(answer, headers=next_link(request, cursor))


@router.get(
    "/{operation_id}",
    response_model=OperationDetailView,
    summary="Show an operation",
    responses=problem_responses(404, thing="operation"),
)
async def show_operation(request: Request, caller: CurrentCaller, operation_id: str) -> Response:
    """How far it is, and which jobs were not done."""
    caller.require(Scope.ADMIN)
    operations = request.state.gateway.operations
    operation = await operations.find(_read_id(operation_id))
    if operation is None:
        raise not_found("operation")
    refused = await operations.refusals(operation.operation_id)
    return json_answer(operation_detail(operation, refused, base_url(request)))


@router.post(
    "/{operation_id}/stop",
    response_model=OperationView,
    summary="Stop an operation",
    responses={
        200: {"description": "It is stopped."},
        **problem_responses(404, "operation_done", thing="operation"),
    },
)
async def stop_operation(request: Request, caller: CurrentCaller, operation_id: str) -> Response:
    """No job is touched after this answers; what was done stays done. Repeating it changes nothing."""
    caller.require(Scope.ADMIN)
    operation = await request.state.gateway.operations.stop(_read_id(operation_id), by=caller.key_id)
    if operation is None:
        raise not_found("operation")
    if operation.state is OperationState.DONE:
        raise Problem.of("operation_done")
    return json_answer(operation_view(operation, base_url(request)))


async def _count(history: HistoryStore, body: OperationRequest) -> Counted:
    wanted = body.wanted()
    if wanted is None:
        return Counted(len(body.job_ids() or ()), more=False)
    return await history.count(wanted, at_most=COUNTED_MAX, look_at=COUNT_LOOKS_AT)


def _read_id(operation_id: str) -> UUID:
    try:
        return UUID(operation_id)
    except ValueError:
        raise not_found("operation") from None


def _read_cursor(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise refused() from None
