"""How things stand now: what waits, and since when. Counts are capped, and ages come from the front of an index."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Select, case, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.lifecycle.delivery import DeliveryState
from app.lifecycle.request import PRICE
from app.lifecycle.states import SETTLED, JobState
from app.storage import tables as t
from app.storage.counted import Counted, capped, count_up_to
from app.storage.database import Database
from app.storage.literals import OPEN, PENDING, READ_TO_THE_END, literal_of

UNSETTLED_MAX = 100_000  #: unsettled jobs of a state are counted so far, no further
COUNTED_MAX = 10_000  #: everything else
LOOKED_AT = 10_000  #: open submissions and pending pictures that are looked at, of all tenants
LAGS = 200  #: callbacks whose lags are looked at

_J, _S, _D, _I, _R = t.jobs.c, t.submissions.c, t.deliveries.c, t.images.c, t.receivers.c
#: Literals, not parameters: a state as a parameter defeats the partial indexes.
_EXHAUSTED = _D.state == literal_of(DeliveryState.EXHAUSTED)
_GOING = _J.state.in_([literal_of(JobState.SUBMITTING), literal_of(JobState.RUNNING)])


@dataclass(frozen=True, slots=True)
class Standings:
    """How things stand, of all tenants or of one. Where an instant is None, there is no such thing."""

    now: datetime
    jobs: Mapping[JobState, Counted]
    oldest: Mapping[JobState, datetime]  #: unsettled ones: accepted, where queued; otherwise the last send
    open_submissions: Counted
    credits_unresolved: int
    unresolved_since: datetime | None  #: the send of the oldest submission whose credits are unresolved
    look_due_at: datetime | None  #: when the next check or timer is due; of all tenants
    deliveries: Counted  #: pending, those of parked receivers included
    deliveries_exhausted: Counted  #: given up after their last attempt, and not made since
    delivery_due_at: datetime | None  #: the next attempt of all
    receivers_failing: Counted  #: not parked yet
    receivers_parked: Counted
    images: Counted  #: pending
    image_since: datetime | None  #: since when the longest pending picture waits, of the first `LOOKED_AT`


@dataclass(frozen=True, slots=True)
class StatsStore:
    database: Database
    unsettled_max: int = UNSETTLED_MAX
    counted_max: int = COUNTED_MAX

    async def standings(self, tenant: str | None = None) -> Standings:
        """How things stand, of one tenant or of all.

        Raises:
            StorageUnavailableError: the database is out of reach.
        """
        async with self.database.reading() as connection:
            submissions, unresolved, since = await _open_submissions(connection, tenant)
            images, image_since = await _images(connection, tenant)
            return Standings(
                now=await self.database.now(connection),
                jobs={state: await self._jobs(connection, state, tenant) for state in JobState},
                oldest=await _oldest(connection, tenant),
                open_submissions=submissions,
                credits_unresolved=unresolved,
                unresolved_since=since,
                look_due_at=await _first(connection, _S.due_at, _S.due_at.is_not(None)) if tenant is None else None,
                deliveries=await self._pending(connection, tenant),
                deliveries_exhausted=await self._exhausted(connection, tenant),
                delivery_due_at=await _first(connection, _D.due_at, _D.due_at.is_not(None)) if tenant is None else None,
                receivers_failing=await self._receivers(connection, _R.parked_at.is_(None), tenant),
                receivers_parked=await self._receivers(connection, _R.parked_at.is_not(None), tenant),
                images=images,
                image_since=image_since,
            )

    async def now(self) -> datetime:
        async with self.database.reading() as connection:
            return await self.database.now(connection)

    async def callback_lags(self, since: timedelta) -> list[timedelta]:
        """From a callback's arrival to the end of its books, of the last submissions that a check read to their end."""
        async with self.database.reading() as connection:
            now = await self.database.now(connection)
            query = select(_S.poked_at, _S.closed_at).where(READ_TO_THE_END, _S.closed_at > now - since)
            rows = await connection.execute(query.order_by(_S.closed_at.desc()).limit(LAGS))
            return [r.closed_at - r.poked_at for r in rows if r.poked_at is not None and r.poked_at <= r.closed_at]

    async def _jobs(self, connection: AsyncConnection, state: JobState, tenant: str | None) -> Counted:
        query = _of(select(_J.created_at).where(_in(state)), _J.tenant, tenant).order_by(_J.created_at, _J.job_id)
        return await self._count(connection, query, self.counted_max if state in SETTLED else self.unsettled_max)

    async def _pending(self, connection: AsyncConnection, tenant: str | None) -> Counted:
        return await self._count(connection, _of(select(_D.tenant).where(PENDING), _D.tenant, tenant))

    async def _exhausted(self, connection: AsyncConnection, tenant: str | None) -> Counted:
        """No index has them by tenant: the newest of all are looked at."""
        newest = select(_D.tenant).where(_EXHAUSTED).order_by(_D.created_at.desc(), _D.delivery_id.desc())
        some = newest.limit(LOOKED_AT + 1).subquery()
        return await self._count(connection, _of(select(some.c.tenant), some.c.tenant, tenant))

    async def _receivers(self, connection: AsyncConnection, which: ColumnElement[bool], tenant: str | None) -> Counted:
        return await self._count(connection, _of(select(_R.tenant).where(which), _R.tenant, tenant))

    async def _count(self, connection: AsyncConnection, query: Select[Any], at_most: int | None = None) -> Counted:
        return await count_up_to(connection, query, at_most or self.counted_max)


async def _oldest(connection: AsyncConnection, tenant: str | None) -> dict[JobState, datetime]:
    found: dict[JobState, datetime] = {}
    for state in JobState:
        if state in SETTLED:
            continue
        queued = state is JobState.QUEUED
        since = _J.created_at if queued else func.coalesce(_J.submitted_at, _J.created_at, type_=_J.created_at.type)
        query = _of(select(since.label("since")).where(_in(state)), _J.tenant, tenant).order_by(_J.created_at)
        first = query.limit(1 if queued else LOOKED_AT).subquery()
        oldest = (await connection.execute(select(func.min(first.c.since)))).scalar_one()
        if oldest is not None:
            found[state] = oldest
    return found


async def _open_submissions(connection: AsyncConnection, tenant: str | None) -> tuple[Counted, int, datetime | None]:
    """How many there are; the credits of those that are unresolved, as `Life.credits` says it; and their oldest send.

    What is open is unresolved, but for what goes as it should.
    """
    oldest = select(_S.job_id, _S.number, _S.task_id, _S.sent_at).where(OPEN).order_by(_S.sent_at)
    first = oldest.limit(LOOKED_AT + 1).subquery()
    s = first.c
    unresolved = case((_GOING & ((s.number == _J.submission) | s.task_id.is_not(None)), 0), else_=1)
    since = func.min(case((unresolved == 1, s.sent_at)), type_=_S.sent_at.type)
    query = select(func.count(), func.sum(unresolved), since).join_from(first, t.jobs, _J.job_id == s.job_id)
    if tenant is not None:
        query = query.where(_J.tenant == tenant)
    found, count, sent_at = (await connection.execute(query)).one()
    return capped(found, LOOKED_AT), PRICE * int(count or 0), sent_at


async def _images(connection: AsyncConnection, tenant: str | None) -> tuple[Counted, datetime | None]:
    """Those that have been pending for longest have no index: those that are due first are looked at."""
    first = select(_I.job_id, _I.created_at).where(_I.due_at.is_not(None)).order_by(_I.due_at).limit(LOOKED_AT + 1).subquery()
    query = select(func.count(), func.min(first.c.created_at)).select_from(first)
    if tenant is not None:
        query = query.join(t.jobs, _J.job_id == first.c.job_id).where(_J.tenant == tenant)
    found, since = (await connection.execute(query)).one()
    return capped(found, LOOKED_AT), since


async def _first(connection: AsyncConnection, column: ColumnElement[Any], where: ColumnElement[bool]) -> datetime | None:
    found: datetime | None = (await connection.execute(select(func.min(column)).where(where))).scalar_one()
    return found


def _of(query: Select[Any], column: ColumnElement[str], tenant: str | None) -> Select[Any]:
    return query if tenant is None else query.where(column == tenant)


def _in(state: JobState) -> ColumnElement[bool]:
    return _J.state == literal_of(state)
