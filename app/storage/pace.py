"""How jobs went lately, slice of time by slice: how many were settled, and a few of them to see how long they took.

Whatever lies in a slice, only so many rows of it are read. Of all tenants a job belongs to the slice in which it was settled;
of one tenant, for which there is no such index, to the one in which it was accepted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from sqlalchemy import ColumnElement, func, literal_column, select, union_all

from app.lifecycle.states import JobState
from app.storage import tables as t
from app.storage.database import Database

COUNTED = 5_000  #: jobs of a slice that are counted; from then on its number is estimated
SAMPLE = 50  #: jobs of a slice that are looked at

_J = t.jobs.c


@dataclass(frozen=True, slots=True)
class Went:
    """A settled job."""

    state: JobState
    created_at: datetime
    submitted_at: datetime | None  #: the last send; None where it was never sent
    finished_at: datetime


@dataclass(frozen=True, slots=True)
class Slice:
    """A stretch of time."""

    begins_at: datetime
    settled: int
    estimated: bool  #: `settled` was worked out from as many as were counted
    sample: tuple[Went, ...]


@dataclass(frozen=True, slots=True)
class PaceStore:
    database: Database
    counted: int = COUNTED

    async def slices(self, edges: Sequence[datetime], tenant: str | None = None) -> list[Slice]:
        """The slices between each two of these instants, which are in order.

        Raises:
            StorageUnavailableError: the database is out of reach.
        """
        stretches = list(pairwise(edges))
        async with self.database.reading() as connection:
            counts = await connection.execute(union_all(*(self._count(n, s, tenant) for n, s in enumerate(stretches))))
            counted = {row.n: (row.found, row.last_at) for row in counts}
            samples: dict[int, list[Went]] = {n: [] for n in counted}
            for row in await connection.execute(union_all(*(_sample(n, s, tenant) for n, s in enumerate(stretches)))):
                samples[row.n].append(Went(JobState(row.state), row.created_at, row.submitted_at, row.finished_at))
        return [
            Slice(begin, *self._estimate(*counted[n], begin, end), tuple(samples[n]))
            for n, (begin, end) in enumerate(stretches)
        ]

    def _count(self, number: int, stretch: tuple[datetime, datetime], tenant: str | None) -> Any:
        at = _placed_at(tenant)
        some = select(at.label("at")).where(*_in(stretch, tenant)).order_by(at, _J.job_id).limit(self.counted).subquery()
        last_at = func.max(some.c.at).label("last_at")
        return select(literal_column(str(number)).label("n"), func.count().label("found"), last_at).select_from(some)

    def _estimate(self, found: int, last_at: datetime | None, begin: datetime, end: datetime) -> tuple[int, bool]:
        if found < self.counted or last_at is None:
            return found, False
        share = max(last_at - begin, timedelta(microseconds=1)) / (end - begin)
        return round(found / share), True


def _sample(number: int, stretch: tuple[datetime, datetime], tenant: str | None) -> Any:
    columns = (_J.state, _J.created_at, _J.submitted_at, _J.finished_at)
    query = select(literal_column(str(number)).label("n"), *columns).where(*_in(stretch, tenant))
    return select(query.order_by(_placed_at(tenant), _J.job_id).limit(SAMPLE).subquery())


def _in(stretch: tuple[datetime, datetime], tenant: str | None) -> list[ColumnElement[bool]]:
    at = _placed_at(tenant)
    wanted = [_J.finished_at.is_not(None), at >= stretch[0], at < stretch[1]]
    return wanted if tenant is None else [_J.tenant == tenant, *wanted]


def _placed_at(tenant: str | None) -> ColumnElement[datetime]:
    return _J.finished_at if tenant is None else _J.created_at
