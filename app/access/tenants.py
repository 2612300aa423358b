"""`/tenants`: operators set limits and rotate delivery secrets; a tenant sees its own."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field, StrictInt

from app.access.callers import Caller, CurrentCaller
from app.access.names import tenant_name
from app.access.scope import Scope
from app.answers import base_url, body_of, json_answer, problem_responses
from app.bodies import read_model
from app.lifecycle.limits import Limits
from app.problems import FieldProblem, invalid, not_found
from app.response_headers import headers
from app.storage.tenants import DeliverySecrets, Tenant, TenantStore
from app.whole_number import WHOLE

router = APIRouter(prefix="/tenants", tags=["operators"], responses=problem_responses(401, 403, 503))

BODY_MAX = 16 * 1024  #: bytes
COUNT_MAX = 2**31 - 1  #: what the columns hold
RATE_MIN, RATE_MAX = 0.001, 100_000.0  #: requests a second

Count = Annotated[StrictInt, Field(ge=0, le=COUNT_MAX), WHOLE]
Rate = Annotated[float, Field(strict=True, ge=RATE_MIN, le=RATE_MAX, allow_inf_nan=False)]


class LimitsRequest(BaseModel):
    """The body of `PUT /tenants/{name}`: all limits of the tenant. What is null or left out is not limited."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"monthly_credits": 5000, "open_jobs_max": 200, "requests_per_second": 5}]},
    )

    monthly_credits: Count | None = Field(None, description="Credits of a calendar month (UTC), open jobs included.")
    open_jobs_max: Count | None = Field(None, description="Unsettled jobs at once.")
    requests_per_second: Rate | None = Field(None, description="Accepting requests, on average.")

    def limits(self) -> Limits:
        return Limits(self.monthly_credits, self.open_jobs_max, self.requests_per_second)


class TenantView(BaseModel):
    """A tenant and its limits; null: not limited."""

    name: str = Field(examples=["design"])
    monthly_credits: int | None
    open_jobs_max: int | None
    requests_per_second: float | None
    created_at: datetime


class TenantList(BaseModel):
    tenants: list[TenantView]


class DeliverySecretView(BaseModel):
    """The secret that signs a tenant's deliveries (Standard Webhooks)."""

    secret: str = Field(examples=["whsec_" + "x" * 43 + "="])
    created_at: datetime
    previous_valid_until: datetime | None = Field(description="Until then every delivery is signed with the one before, too.")


@router.get("", response_model=TenantList, summary="List tenants", responses={200: {"description": "All of them."}})
async def list_tenants(request: Request, caller: CurrentCaller) -> Response:
    """By name."""
    caller.require(Scope.ADMIN)
    return json_answer(TenantList(tenants=[tenant_view(tenant) for tenant in await _tenants(request).all()]))


@router.get(
    "/{name}",
    response_model=TenantView,
    summary="Show a tenant",
    responses={200: {"description": "The tenant."}, **problem_responses(404, thing="tenant")},
)
async def show_tenant(request: Request, caller: CurrentCaller, name: str) -> Response:
    """Admin keys see any tenant; others their own."""
    return json_answer(tenant_view(await _seen(request, caller, name)))


@router.put(
    "/{name}",
    response_model=TenantView,
    summary="Set a tenant's limits",
    responses={
        200: {"description": "The tenant, as it is now."},
        201: {"model": TenantView, "description": "The tenant is new.", "headers": headers("Location")},
        **problem_responses(408, 413, 415, 422),
    },
    openapi_extra=body_of(LimitsRequest),
)
async def set_limits(request: Request, caller: CurrentCaller, name: str) -> Response:
    """All of them at once; they hold from the next request on. The tenant is made where it is new."""
    caller.require(Scope.ADMIN)
    try:
        tenant_name(name)
    except ValueError as error:
        raise invalid([FieldProblem(field="name", message=str(error))]) from None
    limits = (await read_model(request, LimitsRequest, limit=BODY_MAX)).limits()
    tenant, created = await _tenants(request).change_limits(name, lambda _: limits, by=caller.key_id)
    location = {"Location": f"{base_url(request)}/tenants/{name}"} if created else {}
    return json_answer(tenant_view(tenant), 201 if created else 200, location)


@router.get(
    "/{name}/delivery-secret", response_model=DeliverySecretView, summary="Show a delivery secret",
    responses={200: {"description": "The secret."}, **problem_responses(404, thing="tenant")},
)  # fmt: skip
async def show_delivery_secret(request: Request, caller: CurrentCaller, name: str) -> Response:
    """The current one, which is made when it is first asked for. For admin keys, and the tenant's own that may write jobs."""
    caller.require(Scope.JOBS_WRITE)
    await _seen(request, caller, name)
    return json_answer(_secret_view(await _tenants(request).secrets(name)))


@router.post(
    "/{name}/delivery-secret/rotate",
    response_model=DeliverySecretView,
    summary="Rotate a delivery secret",
    responses={200: {"description": "The new secret."}, **problem_responses(404, thing="tenant")},
)
async def rotate_delivery_secret(request: Request, caller: CurrentCaller, name: str) -> Response:
    """Makes a new secret. For 24 hours deliveries are signed with the one before as well; one before that ends at once."""
    caller.require(Scope.ADMIN)
    await _seen(request, caller, name)
    return json_answer(_secret_view(await _tenants(request).rotate_secret(name, by=caller.key_id)))


async def _seen(request: Request, caller: Caller, name: str) -> Tenant:
    """The tenant, if the caller may know of it."""
    tenant = await _tenants(request).find(name) if caller.may_see(name) and "\0" not in name else None
    if tenant is None:
        raise not_found("tenant")
    return tenant


def _tenants(request: Request) -> TenantStore:
    found: TenantStore = request.state.gateway.tenants
    return found


def tenant_view(tenant: Tenant) -> TenantView:
    return TenantView(
        name=tenant.name,
        monthly_credits=tenant.limits.monthly_credits,
        open_jobs_max=tenant.limits.open_jobs_max,
        requests_per_second=tenant.limits.requests_per_second,
        created_at=tenant.created_at,
    )


def _secret_view(secrets: DeliverySecrets) -> DeliverySecretView:
    return DeliverySecretView(
        secret=secrets.current, created_at=secrets.created_at, previous_valid_until=secrets.previous_until
    )  # fmt: skip
