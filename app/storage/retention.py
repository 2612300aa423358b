"""Letting go of what is long over: settled jobs with closed books, and all that hangs on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import Uuid, delete, literal, literal_column, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from app.storage import tables as t
from app.storage.database import Database
from app.storage.types import Instant

Place = tuple[datetime, UUID]  #: of a job among the settled ones, the longest settled first

_J = t.jobs.c
_CAN_STILL_CHANGE = (
    select(literal_column("1"))
    .where(t.submissions.c.job_id == _J.job_id)
    .where(t.submissions.c.due_at.is_not(None) | (t.submissions.c.outcome == literal_column("'open'")))
    .exists()
)
_IS_STILL_DELIVERED = (
    select(literal_column("1"))
    .where(t.deliveries.c.job_id == _J.job_id, t.deliveries.c.state == literal_column("'pending'"))
    .exists()
)


@dataclass(frozen=True, slots=True)
class Pruned:
    """What one batch let go of."""

    jobs: int
    pictures: tuple[str, ...]  #: SHA-256 of stored pictures that these jobs referred to; others may still do
    reached: Place | None  #: where to go on; None when nothing so old is left


@dataclass(frozen=True, slots=True)
class RetentionStore:
    database: Database

    async def prune(self, older_than: timedelta, *, after: Place | None = None, limit: int = 100) -> Pruned:
        """Deletes up to `limit` jobs that were settled longer ago than `older_than`, from behind `after` on.

        Never one whose books are open, that a check may still change, whose delivery is due, or whose usage is not booked.
        """
        async with self.database.writing() as connection:
            now = await self.database.now(connection)
            query = (
                select(_J.finished_at, _J.job_id)
                .where(_J.finished_at.is_not(None), _J.finished_at <= now - older_than, _J.booked_open.is_not(None))
                .where(~_CAN_STILL_CHANGE, ~_IS_STILL_DELIVERED)
                .order_by(_J.finished_at, _J.job_id)
                .limit(limit)
                .with_for_update(skip_locked=True)
            )
            if after is not None:
                place = tuple_(literal(after[0], Instant), literal(after[1], Uuid))
                query = query.where(tuple_(_J.finished_at, _J.job_id) > place)
            rows = (await connection.execute(query)).all()
            ids = [row.job_id for row in rows]
            pictures = await self._pictures_of(connection, ids)
            if ids:
                await connection.execute(delete(t.jobs).where(_J.job_id.in_(ids)))
            last = (rows[-1].finished_at, rows[-1].job_id) if len(rows) == limit else None
            return Pruned(len(ids), pictures, last)

    async def _pictures_of(self, connection: AsyncConnection, ids: Sequence[UUID]) -> tuple[str, ...]:
        i = t.images.c
        if not ids:
            return ()
        query = select(i.sha256).where(i.job_id.in_(ids), i.sha256.is_not(None)).distinct().order_by(i.sha256)
        return tuple((await connection.execute(query)).scalars())
