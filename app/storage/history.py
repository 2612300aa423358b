"""What was: lists of jobs, a job's timeline, and the figures over them. Only reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import Select, func, select

from app.lifecycle.callback_health import ReadToTheEnd
from app.storage import tables as t
from app.storage.among import among, select_among
from app.storage.counted import Counted
from app.storage.database import Database
from app.storage.job_filter import JobFilter
from app.storage.literals import READ_TO_THE_END
from app.storage.queue import count_open
from app.storage.search import LOOKED_AT_MAX, Key, Page, count, search


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
        self, wanted: JobFilter = JobFilter(), *, limit: int, after: Key | None = None, look_at: int = LOOKED_AT_MAX
    ) -> Page:
        """Up to `limit` wanted jobs, newest first, from behind `after` on; see `search`.

        Raises:
            StorageUnavailableError: the database is out of reach.
        """
        async with self.database.reading() as connection:
            return await search(connection, wanted, limit=limit, after=after, look_at=look_at)

    async def count(self, wanted: JobFilter, *, at_most: int, look_at: int = LOOKED_AT_MAX) -> Counted:
        """How many jobs are wanted, counted no further than `at_most`; at most `look_at` jobs are tested for it.

        Raises:
            StorageUnavailableError: the database is out of reach.
        """
        async with self.database.reading() as connection:
            return await count(connection, wanted, at_most=at_most, look_at=look_at)

    async def events(self, job_id: UUID, *, after: int = 0, limit: int = 1000) -> list[StoredEvent]:
        """Up to `limit` events of the job's timeline, oldest first, from behind the event `after` on.

        None appears later in front of one that was read: PostgreSQL hands out ids before the commit, but whoever writes to a
        timeline holds the job's row until the commit, so that the ids of one job become visible in their order.
        """
        e = t.events.c
        query = select(e.event_id, e.at, e.type, e.data).where(e.job_id == job_id, e.event_id > after)
        async with self.database.reading() as connection:
            rows = await connection.execute(query.order_by(e.event_id).limit(limit))
            return [StoredEvent(*row) for row in rows]

    async def newest_events(self, job_ids: Sequence[UUID]) -> dict[UUID, int]:
        """The id of the last event of each of these jobs: one step into an index a job, however long its timeline."""
        rows = await self.database.ask(lambda connection: select_among(connection, _newest, job_ids))
        return {row.job_id: row.newest for row in rows if row.newest is not None}

    async def recently_read(self, since: timedelta, limit: int = 200) -> tuple[list[ReadToTheEnd], datetime]:
        """The last submissions that a check read to their end, for judging whether callbacks arrive; and the time now."""
        s = t.submissions.c
        async with self.database.reading() as connection:
            now = await self.database.now(connection)
            rows = await connection.execute(
                select(s.closed_at, s.answered_at, s.callbacks)
                .where(READ_TO_THE_END, s.closed_at > now - since)
                .order_by(s.closed_at.desc())
                .limit(limit)
            )
            return [ReadToTheEnd(r.closed_at, r.answered_at, r.callbacks > 0) for r in rows], now

    async def count_open(self, at_most: int) -> int:
        """Open submissions, counted no further than one past `at_most`."""
        async with self.database.reading() as connection:
            found, _ = await count_open(connection, at_most)
            return found


@cache
def _newest(dialect: str) -> Select[Any]:
    j, e = t.jobs.c, t.events.c
    newest = select(func.max(e.event_id)).where(e.job_id == j.job_id).scalar_subquery()
    return select(j.job_id, newest.label("newest")).where(among(dialect, j.job_id))
