"""What tenants used, by day; and the care of their books."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import case, delete, func, literal_column, select, union_all
from sqlalchemy.ext.asyncio import AsyncConnection

from app.instants import first_of_month
from app.lifecycle.job import Life
from app.lifecycle.limits import Limits, Standing
from app.storage import books
from app.storage import tables as t
from app.storage.database import Database
from app.storage.lives import lock
from app.storage.many import insert_for, insert_together
from app.storage.rows import metadata_rows, outbox_rows

SPENDERS = 100  #: tenants whose credits are told, those that consumed most

_FIGURES = t.USAGE_FIGURES
_J = t.jobs.c
_SETTLED_BY_OTHERS = (_J.booked_open == literal_column("1")) & _J.finished_at.is_not(None)
#: Jobs that are not booked as they are; as the index `jobs_unbooked` says it.
UNBOOKED = _J.booked_open.is_(None) | _SETTLED_BY_OTHERS


@dataclass(frozen=True, slots=True)
class UsageDay:
    """A tenant's day (UTC)."""

    tenant: str
    day: date
    accepted: int
    succeeded: int
    failed: int
    canceled: int
    credits_consumed: int


@dataclass(frozen=True, slots=True)
class TenantCredits:
    """A tenant's credits: consumed in this month (UTC), and held now."""

    tenant: str
    consumed: int
    held: int


@dataclass(frozen=True, slots=True)
class UsageStore:
    database: Database

    async def days(self, first: date, last: date, tenant: str | None) -> list[UsageDay]:
        """The days from `first` to `last`, both included, in which something happened; by day, then tenant."""
        async with self.database.reading() as connection:
            rows = await connection.execute(_by_day(first, last, tenant))
            return [
                UsageDay(r.tenant, r.day, r.accepted, r.succeeded, r.failed, r.canceled, r.consumed)
                for r in rows
                if r.accepted or r.succeeded or r.failed or r.canceled or r.consumed
            ]

    async def standing(self, tenant: str) -> tuple[Limits, Standing, datetime]:
        """A tenant's limits, how it stands against them, and the time now."""
        async with self.database.reading() as connection:
            now = await self.database.now(connection)
            limits, tat = (await books.limits_of(connection, [tenant])).get(tenant, (Limits(), None))
            return limits, await books.standing_of(connection, tenant, tat, now), now

    async def credits_this_month(self, tenant: str | None) -> list[TenantCredits]:
        """The tenants with credits this month or held now, those that consumed most first."""
        async with self.database.reading() as connection:
            month = first_of_month(await self.database.now(connection))
            rows = await connection.execute(_by_tenant(month, tenant).limit(SPENDERS))
            return [TenantCredits(r.tenant, int(r.consumed), int(r.held)) for r in rows if r.consumed or r.held]

    async def sum_up(self, limit: int = 1000) -> int:
        """Moves up to `limit` entries into their days; returns how many. What another replica is moving is skipped."""
        e = t.usage_entries
        oldest = select(e.c.entry_id).order_by(e.c.entry_id).limit(limit).with_for_update(skip_locked=True).cte("oldest")
        async with self.database.writing() as connection:
            taken = delete(e).where(e.c.entry_id.in_(select(oldest.c.entry_id))).returning(*e.c)
            rows = (await connection.execute(taken)).all()
            sums: defaultdict[tuple[str, date], dict[str, int]] = defaultdict(lambda: dict.fromkeys(_FIGURES, 0))
            for row in rows:
                for name in _FIGURES:
                    sums[row.tenant, row.day][name] += getattr(row, name)
            await self._add(connection, sums)
        return len(rows)

    async def book_the_unbooked(self, limit: int = 200) -> int:
        """Makes up for up to `limit` jobs that a release before this one accepted or settled; returns how many.

        What this one had accepted and that one settled has not been told to anybody, nor its pictures kept: that is made due.
        """
        async with self.database.writing() as connection:
            now = await self.database.now(connection)
            query = select(t.jobs.c.job_id).where(UNBOOKED).order_by(t.jobs.c.job_id).limit(limit)
            ids = (await connection.execute(query)).scalars().all()
            lives = [life for life in (await lock(connection, ids)).values() if _is_unbooked(life)] if ids else []
            outbox = outbox_rows([life for life in lives if life.job.booked is not None], now)
            await insert_together(connection, {t.usage_entries: books.entries(lives, now), **outbox})
            await books.mark(connection, lives)
            await self._index_metadata(connection, [life for life in lives if life.job.booked is None])
        return len(lives)

    async def _index_metadata(self, connection: AsyncConnection, lives: Sequence[Life]) -> None:
        rows = [row for life in lives for row in metadata_rows(life.job)]
        if rows:
            await connection.execute(insert_for(connection, t.job_metadata).on_conflict_do_nothing(), rows)

    async def _add(self, connection: AsyncConnection, sums: dict[tuple[str, date], dict[str, int]]) -> None:
        if not sums:
            return
        statement = insert_for(connection, t.usage_days)
        added = {name: t.usage_days.c[name] + statement.excluded[name] for name in _FIGURES}
        statement = statement.on_conflict_do_update(index_elements=["tenant", "day"], set_=added)
        # In one order, so that two replicas never wait for each other.
        rows = [{"tenant": tenant, "day": day, **figures} for (tenant, day), figures in sorted(sums.items())]
        await connection.execute(statement, rows)


def _by_tenant(month: date, tenant: str | None) -> Any:
    parts = []
    for table in (t.usage_days, t.usage_entries):
        consumed = case((table.c.day >= month, table.c.consumed), else_=0).label("consumed")
        part = select(table.c.tenant, consumed, table.c.held)
        parts.append(part if tenant is None else part.where(table.c.tenant == tenant))
    both = union_all(*parts).subquery()
    consumed, held = func.sum(both.c.consumed).label("consumed"), func.sum(both.c.held).label("held")
    some = (consumed != 0) | (held != 0)
    return select(both.c.tenant, consumed, held).group_by(both.c.tenant).having(some).order_by(consumed.desc(), both.c.tenant)


def _is_unbooked(life: Life) -> bool:
    return life.job.booked is None or (life.job.is_settled and life.job.booked.open == 1)


def _by_day(first: date, last: date, tenant: str | None) -> Any:
    parts = []
    for table in (t.usage_days, t.usage_entries):
        part = select(table.c.tenant, table.c.day, *(table.c[name] for name in _FIGURES))
        part = part.where(table.c.day >= first, table.c.day <= last)
        parts.append(part.where(table.c.tenant == tenant) if tenant is not None else part)
    both = union_all(*parts).subquery()
    sums = (func.sum(both.c[name]).label(name) for name in _FIGURES)
    return select(both.c.tenant, both.c.day, *sums).group_by(both.c.tenant, both.c.day).order_by(both.c.day, both.c.tenant)
