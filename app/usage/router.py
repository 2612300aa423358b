"""`GET /usage`: credits and jobs by day and tenant."""

from __future__ import annotations

import re
from datetime import date, timedelta
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from app.access.callers import CurrentCaller, Scope
from app.answers import json_answer, problem_responses
from app.clock import system_clock
from app.lifecycle.limits import credits_left
from app.problems import FieldProblem, invalid
from app.storage.usage import UsageStore
from app.texts import Text

DAYS_MAX = 400  #: in one answer
_DEFAULT_DAYS = 30
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")

router = APIRouter(tags=["usage"], responses=problem_responses(401, 403, 422, 503))


class UsageDayView(BaseModel):
    """A day (UTC) of a tenant. Jobs count on the day they were accepted or settled, credits on the day they were told."""

    day: date
    tenant: str
    jobs_accepted: int
    jobs_succeeded: int
    jobs_failed: int
    jobs_canceled: int
    credits_consumed: int


class StandingView(BaseModel):
    """How the tenant stands now, against its limits."""

    open_jobs: int
    open_jobs_max: int | None
    credits_held: int = Field(description="Reserved, and unresolved: they count against the budget until they are known.")
    credits_consumed: int = Field(description="In this calendar month (UTC).")
    monthly_credits: int | None
    credits_left: int | None = Field(description="What may still be reserved this month; null without a limit.")


class UsageView(BaseModel):
    days: list[UsageDayView] = Field(description="Days on which something happened, the oldest first.")
    now: StandingView | None = Field(description="Of the one tenant that was asked for; null for all of them.")


def _written_as_a_day(value: object) -> object:
    """Pydantic would take a number for seconds since 1970."""
    if not isinstance(value, str) or not _DAY.fullmatch(value):
        raise ValueError("write a day as 2026-01-31")
    return value


Day = Annotated[date, BeforeValidator(_written_as_a_day)]


class UsageQuery(BaseModel):
    """What is not named here is refused."""

    model_config = ConfigDict(extra="forbid")

    from_: Day | None = Field(None, alias="from", description="First day (UTC); 30 days before `to` by default.")
    to: Day | None = Field(None, description="Last day (UTC), included; today by default.")
    tenant: Annotated[Text, Field(min_length=1, max_length=200)] | None = Field(None, description="One tenant; for admin keys.")


@router.get(
    "/usage",
    response_model=UsageView,
    summary="Show credits and jobs by day",
    responses={200: {"description": "The days, and how the tenant stands now."}},
)
async def show_usage(request: Request, caller: CurrentCaller, query: Annotated[UsageQuery, Query()]) -> Response:
    """The caller's own tenant; with an admin key all tenants, or one."""
    caller.require(Scope.JOBS_READ)
    first, last = _period(query)
    tenant = query.tenant if caller.is_admin else caller.tenant
    if query.tenant is not None and not caller.may_see(query.tenant):
        return json_answer(UsageView(days=[], now=None))
    usage = request.state.gateway.usage
    days = [
        UsageDayView(
            day=d.day,
            tenant=d.tenant,
            jobs_accepted=d.accepted,
            jobs_succeeded=d.succeeded,
            jobs_failed=d.failed,
            jobs_canceled=d.canceled,
            credits_consumed=d.credits_consumed,
        )
        for d in await usage.days(first, last, tenant)
    ]
    return json_answer(UsageView(days=days, now=await _standing(usage, tenant) if tenant is not None else None))


def _period(query: UsageQuery) -> tuple[date, date]:
    last = query.to or system_clock().date()
    first = query.from_ or max(date.min + timedelta(days=_DEFAULT_DAYS), last) - timedelta(days=_DEFAULT_DAYS)
    if first > last:
        raise invalid([FieldProblem(field="from", message="use a day that is not after `to`")])
    if last - first > timedelta(days=DAYS_MAX):
        raise invalid([FieldProblem(field="from", message=f"ask for at most {DAYS_MAX} days at once")])
    return first, last


async def _standing(usage: UsageStore, tenant: str) -> StandingView:
    limits, standing, _ = await usage.standing(tenant)
    return StandingView(
        open_jobs=standing.open_jobs,
        open_jobs_max=limits.open_jobs_max,
        credits_held=standing.credits_held,
        credits_consumed=standing.credits_consumed,
        monthly_credits=limits.monthly_credits,
        credits_left=credits_left(limits, standing),
    )
