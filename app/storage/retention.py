"""Letting go of what is long over: settled jobs with closed books, and all that hangs on them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, Uuid, delete, literal, literal_column, select, tuple_
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
_ITS_PICTURES: Select[Any] = select(literal_column("1")).where(t.images.c.job_id == _J.job_id)
_HAS_PICTURES = _ITS_PICTURES.where(t.images.c.sha256.is_not(None)).exists()
_IS_STILL_STORED = _ITS_PICTURES.where(t.images.c.due_at.is_not(None)).exists()
_MEMBER = t.jobs.alias("member").c
_MAY_GO = _J.finished_at.is_not(None) & _J.booked_open.is_not(None) & ~_CAN_STILL_CHANGE & ~_IS_STILL_DELIVERED


@dataclass(frozen=True, slots=True)
class Pruned:
    """What one batch let go of."""

    jobs: int
    reached: Place | None  #: where to go on; None when nothing so old is left


@dataclass(frozen=True, slots=True)
class RetentionStore:
    """Never takes a job whose books are open, that a check may still change, whose delivery is due, or that is not booked;
    nor one that has pictures in the store, which nobody would find any more. The jobs of a batch wait for each other, and the
    one that bears its key goes last: a key that were gone before would make the whole batch once more.
    """

    database: Database

    async def pictured(self, older_than: timedelta, *, after: Place | None = None, limit: int = 100) -> list[Place]:
        """Jobs that may go once the archive has let go of their pictures, from behind `after` on."""
        async with self.database.reading() as connection:
            now = await self.database.now(connection)
            query = _over(now - older_than, after).where(_HAS_PICTURES, ~_IS_STILL_STORED).limit(limit)
            return [(row.finished_at, row.job_id) for row in await connection.execute(query)]

    async def prune(self, older_than: timedelta, *, archiving: bool, after: Place | None = None, limit: int = 100) -> Pruned:
        """Deletes up to `limit` jobs that were settled longer ago than `older_than`, from behind `after` on.

        Args:
            archiving: the archive is there, so what has pictures that are still to be stored stays too.
        """
        may_go = _MAY_GO & ~_HAS_PICTURES & ~_IS_STILL_STORED if archiving else _MAY_GO & ~_HAS_PICTURES
        async with self.database.writing() as connection:
            now = await self.database.now(connection)
            query = _over(now - older_than, after).where(may_go).limit(limit).with_for_update(skip_locked=True)
            rows = (await connection.execute(query)).all()
            # Looked at again now that they are held: what hangs on one may have changed before.
            gone = await connection.execute(delete(t.jobs).where(_J.job_id.in_([row.job_id for row in rows]), may_go))
            return Pruned(gone.rowcount, (rows[-1].finished_at, rows[-1].job_id) if len(rows) == limit else None)


async def hold_what_may_go(connection: AsyncConnection, job_id: UUID) -> bool:
    """Whether this job's pictures may go; it stays so while the transaction lasts, as who revives a job holds it first."""
    this = select(_J.job_id).where(_J.job_id == job_id)
    await connection.execute(this.with_for_update())
    return (await connection.execute(this.where(_MAY_GO, ~_IS_STILL_STORED))).first() is not None


def _over(before: datetime, after: Place | None) -> Select[Any]:
    query = select(_J.finished_at, _J.job_id).where(_J.finished_at <= before, _MAY_GO, ~_its_batch_stays(before))
    if after is not None:
        place = tuple_(literal(after[0], Instant), literal(after[1], Uuid))
        query = query.where(tuple_(_J.finished_at, _J.job_id) > place)
    return query.order_by(_J.finished_at, _J.job_id)


def _its_batch_stays(before: datetime) -> ColumnElement[bool]:
    """Whether the job must wait for others of its batch: for the young and unsettled ones, the first job for all of them.

    Who waits for nobody waits never again, so this needs no second look. Of a job without a batch nothing is looked up.
    """
    waited_for = _MEMBER.finished_at.is_(None) | (_MEMBER.finished_at > before) | (_J.batch_place == literal_column("0"))
    others = (_MEMBER.batch_id == _J.batch_id) & _MEMBER.batch_id.is_not(None) & (_MEMBER.job_id != _J.job_id)
    return _J.batch_id.is_not(None) & select(literal_column("1")).where(others, waited_for).exists()
