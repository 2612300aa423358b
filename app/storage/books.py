"""The books of tenants: what they hold, what they consumed, how many jobs, by day.

Every transaction that changes a job writes the difference as an entry of its own, so nobody waits for anybody; now and then
the entries are summed up into days. A job remembers what is booked of it, so that what a release before this one did to it is
made up for by the next change, or by `book_the_unbooked`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Select, Table, case, func, select, union_all, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.instants import first_of_month
from app.lifecycle.job import Books, Job, Life
from app.lifecycle.limits import Limits, Standing
from app.lifecycle.states import JobState
from app.storage import tables as t
from app.storage.among import among, select_among
from app.storage.many import update_many

_FIGURES = t.USAGE_FIGURES
_SETTLED = {JobState.SUCCEEDED: "succeeded", JobState.FAILED: "failed", JobState.CANCELED: "canceled"}


def entries(lives: Iterable[Life], now: datetime) -> list[dict[str, Any]]:
    """Rows of `usage_entries`: what these changed lives differ by from what is booked of them.

    They go with the jobs that `booked` tells.
    """
    sums: defaultdict[tuple[str, date], dict[str, int]] = defaultdict(lambda: dict.fromkeys(_FIGURES, 0))
    for life in lives:
        for day, figures in _differences(life, now):
            for name, amount in figures.items():
                sums[life.job.tenant, day][name] += amount
    return [{"tenant": tenant, "day": day, **figures} for (tenant, day), figures in sums.items() if any(figures.values())]


def booked(life: Life) -> Job:
    """The job, as it is once its difference is written."""
    books = life.books
    return life.job if life.job.booked == books else replace(life.job, booked=books)


async def mark(connection: AsyncConnection, lives: Sequence[Life]) -> None:
    """Notes on the jobs that `entries` of them are written."""
    rows = [(life.job.job_id, life.books) for life in lives]
    values = [{"was_job_id": i, "booked_open": b.open, "booked_held": b.held, "booked_consumed": b.consumed} for i, b in rows]
    await update_many(connection, t.jobs, values)


async def limits_of(connection: AsyncConnection, tenants: Sequence[str]) -> dict[str, tuple[Limits, datetime | None]]:
    """The limits of these tenants, with the state of their request rate; of those that exist."""
    rows = await select_among(connection, _limits, tenants)
    return {r.name: (Limits(r.monthly_credits, r.open_jobs_max, r.requests_per_second), r.request_tat) for r in rows}


async def lock_limits(connection: AsyncConnection, tenants: Sequence[str]) -> dict[str, tuple[Limits, datetime | None]]:
    """Holds those of these tenants that have limits, in one order, and returns them; who has none waits for nobody."""
    limited = sorted(name for name, (limits, _) in (await limits_of(connection, tenants)).items() if limits.any)
    if not limited:
        return {}
    held = select(t.tenants.c.name).where(t.tenants.c.name.in_(limited)).order_by(t.tenants.c.name)
    await connection.execute(held.with_for_update(key_share=True))  # new keys and secrets refer to the row, and need not wait
    return await limits_of(connection, limited)


@cache
def _limits(dialect: str) -> Select[Any]:
    n = t.tenants.c
    wanted = select(n.name, n.monthly_credits, n.open_jobs_max, n.requests_per_second, n.request_tat)
    return wanted.where(among(dialect, n.name))


async def standing_of(connection: AsyncConnection, tenant: str, request_tat: datetime | None, now: datetime) -> Standing:
    month = first_of_month(now)
    both = union_all(
        *(
            select(*(_sum(table, name, month) for name in ("open", "held", "consumed"))).where(table.c.tenant == tenant)
            for table in (t.usage_days, t.usage_entries)
        )
    ).subquery()
    query = select(func.sum(both.c.open), func.sum(both.c.held), func.sum(both.c.consumed))
    open_jobs, held, consumed = (await connection.execute(query)).one()
    return Standing(int(open_jobs or 0), int(held or 0), int(consumed or 0), request_tat)


async def keep_request_tat(connection: AsyncConnection, tenant: str, tat: datetime | None) -> None:
    await connection.execute(update(t.tenants).where(t.tenants.c.name == tenant).values(request_tat=tat))


def _sum(table: Table, name: str, month: date) -> ColumnElement[Any]:
    amount: ColumnElement[Any] = table.c[name]
    if name == "consumed":
        amount = case((table.c.day >= month, amount), else_=0)
    return func.sum(amount).label(name)


def _differences(life: Life, now: datetime) -> Iterable[tuple[date, dict[str, int]]]:
    """What is not booked yet, by day: an acceptance on its own day, a settlement on its own, credits when they are told."""
    job, books = life.job, life.books
    was = job.booked or Books(0, 0, 0)
    told_on = job.finished_at if job.booked is None and job.finished_at is not None else now
    yield _day(told_on), {"held": books.held - was.held, "consumed": books.consumed - was.consumed}
    yield _day(now), {"open": books.open - was.open}
    if job.booked is None:
        yield _day(job.created_at), {"accepted": 1}
    if job.is_settled and (job.booked is None or was.open):
        yield _day(job.finished_at or now), {_SETTLED[job.state]: 1}


def _day(at: datetime) -> date:
    return at.astimezone(UTC).date()
