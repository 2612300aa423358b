"""`/api`: the upstream's own contract, so that a client of it moves by changing its base URL."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from app.access.callers import Caller, CurrentCaller, Scope
from app.answers import base_url
from app.bodies import read_body
from app.clock import system_clock
from app.drop_in.envelope import GenerateAnswer, StartedTask, StatusAnswer, enveloped, errors
from app.drop_in.enveloped_route import EnvelopedRoute
from app.drop_in.generate_request import BODY_MAX, SCHEMA, BadRequestError, GenerateRequest
from app.drop_in.picture_link import picture_link
from app.drop_in.task_data import task_data
from app.idempotency import IdempotencyKey, key_reused
from app.intake import headers_of
from app.outbound.errors import ForbiddenAddressError
from app.outbound.guard import Guard
from app.own_job import own_life
from app.response_headers import headers
from app.storage.intake import Taken

router = APIRouter(prefix="/api", tags=["drop-in"], route_class=EnvelopedRoute, responses=errors(400, 401, 403, 500, 503))


@router.post(
    "/generate",
    response_model=GenerateAnswer,
    summary="Start a generation, as the upstream has it",
    responses={
        200: {"description": "The job is on disk.", "headers": headers("Idempotent-Replayed", "RateLimit", "RateLimit-Policy")},
        **errors(402, 408, 413, 422, 429),
    },
    openapi_extra={"requestBody": {"required": True, "content": {"application/json": {"schema": SCHEMA}}}},
)
async def generate(request: Request, caller: CurrentCaller, idempotency_key: IdempotencyKey) -> Response:
    """The task is a job, and is on disk when this answers; `task_id` is the job's id."""
    caller.require(Scope.JOBS_WRITE)
    taken = await _take(request, caller, idempotency_key)
    started = StartedTask(task_id=str(taken.lives[0].job.job_id))
    return enveloped(GenerateAnswer(data=started), headers_of(taken))


@router.get(
    "/status", response_model=StatusAnswer, summary="Ask for a task, as the upstream has it", responses=errors(404)
)  # fmt: skip
async def status(
    request: Request,
    caller: CurrentCaller,
    task_id: Annotated[str | None, Query(description="Required; what `POST /api/generate` answered, or any job's id.")] = None,
) -> Response:
    """The task as our own records have it: this never causes a request upstream."""
    caller.require(Scope.JOBS_READ)
    if not task_id:
        raise BadRequestError("'task_id' is required.")
    life = await own_life(request, caller, task_id, Scope.JOBS_READ)
    link = picture_link(request.state.gateway.picture_links.signed_url, base_url(request), system_clock())
    return enveloped(StatusAnswer(data=task_data(life, link)))


async def _take(request: Request, caller: Caller, idempotency_key: str | None) -> Taken:
    """Reads the body and accepts its job.

    What an earlier request with this key was given, a repetition gets, whatever is wrong with it today.
    """
    gateway = request.state.gateway

    async def is_known() -> bool:
        return idempotency_key is not None and await gateway.intake.knows(caller.tenant, idempotency_key)

    try:
        wanted = GenerateRequest.read(await read_body(request, limit=BODY_MAX))
    except BadRequestError:
        if await is_known():
            raise key_reused() from None
        raise
    if (wrong := _wrong_address(wanted, gateway.delivery_guard)) and not await is_known():
        raise wrong
    taken: Taken = await gateway.intake.accept([wanted], caller, idempotency_key)
    return taken


def _wrong_address(wanted: GenerateRequest, guard: Guard) -> BadRequestError | None:
    """What the address alone tells against its being called."""
    try:
        if wanted.callback_url is not None:
            guard.check_url(wanted.callback_url)
    except ForbiddenAddressError as error:
        return BadRequestError(f"'callback_url' is not allowed: {error}.")
    return None
