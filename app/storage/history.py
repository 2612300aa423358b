"""What was: lists of jobs, a job's timeline, and the figures over them. Only reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Select, Uuid, func, literal, literal_column, select, tuple_, union_all

from app.lifecycle.callback_health import Closed
from app.lifecycle.job import Life
from app.lifecycle.states import JobState
from app.storage import tables as t
from app.storage.database import Database
from app.storage.lives import lives_of
from app.storage.queue import count_open
from app.storage.types import Instant

Key = tuple[datetime, UUID]  #: the place of a job in a list, newest first


@dataclass(frozen=True, slots=True)
class StoredEvent:
    event_id: int
    at: datetime
    type: str
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class HistoryStore:
    database: Database

    async def page(
        self, *, limit: int, after: Key | None = None, tenant: str | None = None, states: Sequence[JobState] = ()
    ) -> list[Life]:
        """Up to `limit` jobs, newest first, from behind `after` on. Row values keep a deep page as cheap as the first."""
        if len(states) > 1:
            query = _newest_of_several(limit, after, tenant, states)
        else:
            query = _newest(select(t.jobs), limit, after, tenant, *states)
        async with self.database.reading() as connection:
            return await lives_of(connection, (await connection.execute(query)).all())

    async def events(self, job_id: UUID, *, after: int = 0, limit: int = 1000) -> list[StoredEvent]:
        e = t.events.c
        query = select(e.event_id, e.at, e.type, e.data).where(e.job_id == job_id, e.event_id > after)
        async with self.database.reading() as connection:
            rows = await connection.execute(query.order_by(e.event_id).limit(limit))
            return [StoredEvent(*row) for row in rows]

    async def recently_closed(self, since: timedelta, limit: int = 200) -> tuple[list[Closed], datetime]:
        """The last submissions that a check read to their end, for judging whether callbacks arrive; and the time now."""
        s = t.submissions.c
        async with self.database.reading() as connection:
            now = await self.database.now(connection)
            rows = await connection.execute(
                select(s.closed_at, s.answered_at, s.callbacks)
                .where(s.outcome.in_([literal_column("'succeeded'"), literal_column("'failed'")]), s.closed_at > now - since)
                .order_by(s.closed_at.desc())
                .limit(limit)
            )
            return [Closed(r.closed_at, r.answered_at, r.callbacks > 0) for r in rows], now

    async def count_open(self, at_most: int) -> int:
        """Open submissions, counted no further than one past `at_most`."""
        async with self.database.reading() as connection:
            found, _ = await count_open(connection, at_most)
            return found

    async def counts(self) -> dict[JobState, int]:
        """Jobs in each unsettled state; each is read from an index of its own."""
        j = t.jobs.c
        found: dict[JobState, int] = {}
        async with self.database.reading() as connection:
            for state in (JobState.QUEUED, JobState.SUBMITTING, JobState.UNCONFIRMED, JobState.RUNNING):
                query = select(func.count()).select_from(t.jobs).where(j.state == literal_column(repr(state.value)))
                found[state] = (await connection.execute(query)).scalar_one()
        return found


def _newest(
    query: Select[Any], limit: int, after: Key | None, tenant: str | None, state: JobState | None = None
) -> Select[Any]:
    j = t.jobs.c
    if after is not None:
        place = tuple_(literal(after[0], Instant), literal(after[1], Uuid))
        query = query.where(tuple_(j.created_at, j.job_id) < place)
    if tenant is not None:
        query = query.where(j.tenant == tenant)
    if state is not None:
        query = query.where(j.state == literal_column(repr(state.value)))
    return query.order_by(j.created_at.desc(), j.job_id.desc()).limit(limit)


def _newest_of_several(limit: int, after: Key | None, tenant: str | None, states: Sequence[JobState]) -> Select[Any]:
    """The newest of each state, merged: an index walked a state, where `IN` would sort all that ever was in them."""
    j, keys = t.jobs.c, select(t.jobs.c.created_at, t.jobs.c.job_id)
    of_each = [select(_newest(keys, limit, after, tenant, state).subquery()) for state in dict.fromkeys(states)]
    merged = union_all(*of_each).subquery()
    newest = select(merged.c.job_id).order_by(merged.c.created_at.desc(), merged.c.job_id.desc()).limit(limit)
    return select(t.jobs).where(j.job_id.in_(newest)).order_by(j.created_at.desc(), j.job_id.desc())
