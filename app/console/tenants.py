"""`/console/tenants`: limits, credits, and the secrets that sign deliveries."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from decimal import Decimal

from fastapi import APIRouter, Request, Response

from app.access.callers import Caller
from app.access.tenants import (
    DeliverySecretView,
    TenantList,
    TenantView,
    list_tenants,
    rotate_delivery_secret,
    set_limits,
    show_delivery_secret,
    show_tenant,
)
from app.clock import system_clock
from app.console.asking import asked, request_with
from app.console.form import read_form
from app.console.page import PageRoute, go_to, page
from app.console.query import query_of
from app.console.refusal import reason
from app.console.visitor import Visitor
from app.instants import first_of_month
from app.problems import FieldProblem, Problem, invalid
from app.usage.router import UsageQuery, UsageView, show_usage

router = APIRouter(prefix="/console", include_in_schema=False, route_class=PageRoute)

HERE = "/console/tenants"
WHOLE_LIMITS = ("monthly_credits", "open_jobs_max")
LIMITS = (*WHOLE_LIMITS, "requests_per_second")
_WHOLE = re.compile(r"[0-9]{1,12}")
_NUMBER = re.compile(r"[0-9]{1,12}(\.[0-9]{1,20})?")


@router.get("/tenants")
async def show_the_tenants(request: Request, caller: Visitor) -> Response:
    return await _list(request, caller)


@router.post("/tenants")
async def make_tenant(request: Request, caller: Visitor) -> Response:
    form = await read_form(request)
    name = form.get("name", "").strip()
    try:
        await _refuse_a_known(request, caller, name)
        await _set(request, caller, name, form)
    except Problem as problem:
        return await _list(request, caller, form, _faults(problem))
    return go_to(request, f"{HERE}/{name}", f"Tenant {name} has these limits now.")


@router.get("/tenants/{name}")
async def show_a_tenant(request: Request, caller: Visitor, name: str) -> Response:
    return await _tenant(request, caller, name)


@router.post("/tenants/{name}")
async def limit(request: Request, caller: Visitor, name: str) -> Response:
    form = await read_form(request)
    await show_tenant(request, caller, name)  # a name that was mistyped in the address makes no tenant
    try:
        await _set(request, caller, name, form)
    except Problem as problem:
        return await _tenant(request, caller, name, form, _faults(problem))
    return go_to(request, f"{HERE}/{name}", "The limits hold from the next request on.")


@router.post("/tenants/{name}/rotate-secret")
async def rotate(request: Request, caller: Visitor, name: str) -> Response:
    """The answer is the page itself: a secret goes into no cookie and no address. So nothing is to fail once it was made."""
    tenant = await asked(show_tenant(request, caller, name), TenantView)
    secret = await asked(rotate_delivery_secret(request, caller, name), DeliverySecretView)
    return page(request, "new_secret.html", caller, now=system_clock(), secret=secret, tenant=tenant)


async def _list(
    request: Request, caller: Caller, form: Mapping[str, str] | None = None, wrong: Mapping[str, str] | None = None
) -> Response:
    tenants = (await asked(list_tenants(request, caller), TenantList)).tenants
    usage = await _usage_of_this_month(request, caller)
    consumed: Counter[str] = Counter()
    for day in usage.days:
        consumed[day.tenant] += day.credits_consumed
    return page(
        request, "tenants.html", caller, 422 if wrong else 200,
        now=system_clock(), tenants=tenants, consumed=consumed, form=_shown(form or {}), wrong=wrong or {},
    )  # fmt: skip


async def _tenant(
    request: Request, caller: Caller, name: str, form: Mapping[str, str] | None = None, wrong: Mapping[str, str] | None = None
) -> Response:
    tenant = await asked(show_tenant(request, caller, name), TenantView)
    secret = await asked(show_delivery_secret(request, caller, name), DeliverySecretView) if caller.is_admin else None
    limits = {limit: _written(getattr(tenant, limit)) for limit in LIMITS}
    return page(
        request, "tenant.html", caller, 422 if wrong else 200,
        now=system_clock(), tenant=tenant, secret=secret, usage=await _usage_of_this_month(request, caller, name),
        form=_shown(form if form is not None else limits), wrong=wrong or {},
    )  # fmt: skip


async def _usage_of_this_month(request: Request, caller: Caller, tenant: str | None = None) -> UsageView:
    first = first_of_month(system_clock()).isoformat()
    query = query_of(UsageQuery, tenant=tenant, **{"from": first})
    return await asked(show_usage(request, caller, query), UsageView)


async def _refuse_a_known(request: Request, caller: Caller, name: str) -> None:
    """Empty fields would take the limits of the tenant away. Raises Problem: 422, there is one of this name."""
    tenants = (await asked(list_tenants(request, caller), TenantList)).tenants
    if any(tenant.name == name for tenant in tenants):
        raise invalid([FieldProblem(field="name", message="there is one already; its own page sets its limits")])


async def _set(request: Request, caller: Caller, name: str, form: Mapping[str, str]) -> None:
    await set_limits(request_with(request, body=_read(form)), caller, name)


def _read(form: Mapping[str, str]) -> dict[str, int | float | None]:
    """The limits; an empty field is none.

    Raises:
        Problem: 422 with every field that is no number.
    """
    given = {limit: form.get(limit, "").strip() for limit in LIMITS}
    wrong = [
        FieldProblem(field=limit, message=f"write a {'whole ' if limit in WHOLE_LIMITS else ''}number, or nothing")
        for limit, text in given.items()
        if text and not _shape(limit).fullmatch(text)
    ]
    if wrong:
        raise invalid(wrong)
    return {limit: (int if limit in WHOLE_LIMITS else float)(text) if text else None for limit, text in given.items()}


def _written(value: float | None) -> str:
    """As `_read` reads it again, to the last digit and without an exponent."""
    return "" if value is None else f"{Decimal(repr(value)).normalize():f}"


def _shape(limit: str) -> re.Pattern[str]:
    return _WHOLE if limit in WHOLE_LIMITS else _NUMBER


def _faults(problem: Problem) -> dict[str, str]:
    """By field; what belongs to no field of the form stands under its own name.

    Raises:
        Problem: it is none of the form's.
    """
    if problem.status != 422:
        raise problem
    return {error.field: error.message for error in problem.errors} or {"": reason(problem)}


def _shown(form: Mapping[str, str]) -> dict[str, str]:
    return {name: form.get(name, "") for name in ("name", *LIMITS)}
