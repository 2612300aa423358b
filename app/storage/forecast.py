"""What recent jobs tell about the next ones: how long they waited and ran, and how many wait now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, literal, select, tuple_, union_all
from sqlalchemy.types import Uuid

from app.lifecycle.forecast import Ran
from app.lifecycle.job import Job
from app.lifecycle.states import Priority
from app.storage import tables as t
from app.storage.counted import count_up_to
from app.storage.database import Database
from app.storage.literals import PRIORITY, QUEUED
from app.storage.types import Instant

COUNTED = 1000  #: places are counted so far, no further
SAMPLE = 200  #: jobs that are looked at
WINDOW = timedelta(hours=1)

_J = t.jobs.c


@dataclass(frozen=True, slots=True)
class ForecastStore:
    database: Database

    async def recent(self) -> tuple[Sequence[Ran], datetime]:
        """The last jobs that succeeded, and the time now."""
        async with self.database.reading() as connection:
            now = await self.database.now(connection)
            recent = _J.finished_at.is_not(None) & (_J.finished_at > now - WINDOW)
            query = select(_J.state, _J.created_at, _J.submitted_at, _J.finished_at).where(recent)
            rows = await connection.execute(query.order_by(_J.finished_at.desc(), _J.job_id.desc()).limit(SAMPLE))
            ran = [Ran(r.created_at, r.submitted_at, r.finished_at) for r in rows if r.state == "succeeded" and r.submitted_at]
            return ran, now

    async def place(self, job: Job) -> int:
        """How many queued jobs of its tenant go before this one, and one more; counted up to `COUNTED`."""
        before = tuple_(_J.due_at, _J.job_id) < tuple_(literal(job.due_at, Instant), literal(job.job_id, Uuid))
        lanes = [_in(job.tenant, p) for p in Priority if p < job.priority]
        return 1 + await self._count([*lanes, _in(job.tenant, job.priority) & before])

    async def depth(self, tenant: str, priority: Priority) -> int:
        """How many queued jobs of the tenant go before a new one of this priority; counted up to `COUNTED`."""
        return await self._count([_in(tenant, p) for p in Priority if p <= priority])

    async def _count(self, lanes: Sequence[ColumnElement[bool]]) -> int:
        each = [select(select(_J.job_id).where(lane).limit(COUNTED).subquery().c.job_id) for lane in lanes]
        async with self.database.reading() as connection:
            return (await count_up_to(connection, union_all(*each), COUNTED)).found


def _in(tenant: str, priority: Priority) -> ColumnElement[bool]:
    return QUEUED & (_J.tenant == tenant) & (_J.priority == PRIORITY[priority])
