"""How jobs went lately, stretch of time by stretch: how many there were, and a few of them to see how long they took.

Whatever lies in a stretch, only so many rows of it are read: counts walk an index alone, states and times are its first jobs'.
Of all tenants, a settled job belongs to the stretch in which it was settled; of one tenant, for which there is no such index,
to the one in which it was accepted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any

from sqlalchemy import ColumnElement, Integer, ScalarSelect, column, func, literal_column, select, union_all, values
from sqlalchemy.ext.asyncio import AsyncConnection

from app.lifecycle.states import SETTLED, JobState
from app.storage import tables as t
from app.storage.database import Database
from app.storage.types import Instant

COUNTED = 10_000  #: jobs of a stretch that are counted, no further
LOOKED_AT = 500  #: those of a stretch whose states are read; of more, theirs are the shares
SAMPLE = 25  #: those of a stretch whose times are read

_J = t.jobs.c


@dataclass(frozen=True, slots=True)
class Went:
    """A settled job."""

    state: JobState
    created_at: datetime
    submitted_at: datetime | None  #: the last send; None where it was never sent
    finished_at: datetime


@dataclass(frozen=True, slots=True)
class Stretch:
    """A stretch of time."""

    begins_at: datetime
    accepted: int
    settled: Mapping[JobState, int]
    estimated: bool  #: there were more than were counted, or looked at
    sample: tuple[Went, ...]


@dataclass(frozen=True, slots=True)
class PaceStore:
    database: Database
    counted: int = COUNTED
    looked_at: int = LOOKED_AT

    async def stretches(self, edges: Sequence[datetime], tenant: str | None = None) -> list[Stretch]:
        """The stretches between each two of these instants, which are in order; SQLite unites at most 500.

        Raises:
            StorageUnavailableError: the database is out of reach.
        """
        spans = list(pairwise(edges))
        async with self.database.reading() as connection:
            counts = (await connection.execute(self._counts(spans, tenant))).all()
            samples = await _samples(connection, spans, tenant)
        return [
            Stretch(spans[row.n][0], row.accepted, *self._settled(row), tuple(samples[row.n]))
            for row in sorted(counts, key=lambda row: row.n)
        ]

    def _counts(self, spans: Sequence[_Span], tenant: str | None) -> Any:
        """One short statement, however many stretches there are: it is built anew each time."""
        columns = (column("n", Integer), column("begins_at", Instant), column("ends_at", Instant))
        span = values(*columns).data([(n, *span) for n, span in enumerate(spans)]).cte("span")
        within, at = (span.c.begins_at, span.c.ends_at), _placed_at(tenant)

        def count(what: ColumnElement[Any], at: ColumnElement[datetime], limit: int, **only: JobState) -> ScalarSelect[int]:
            some = select(what.label("it")).where(*_in(within, tenant, at)).order_by(at).limit(limit).correlate(span).subquery()
            query = select(func.count()).select_from(some)
            return (query.where(some.c.it == only["state"].value) if only else query).scalar_subquery()

        states = (count(_J.state, at, self.looked_at, state=state).label(state.value) for state in sorted(SETTLED))
        return select(
            span.c.n,
            count(_J.created_at, _J.created_at, self.counted).label("accepted"),
            count(at, at, self.counted).label("placed"),
            count(_J.state, at, self.looked_at).label("looked_at"),
            *states,
        )

    def _settled(self, row: Any) -> tuple[dict[JobState, int], bool]:
        """By state; and whether they were estimated."""
        share = max(1.0, row.placed / row.looked_at) if row.looked_at >= self.looked_at else 1.0
        found = {state: getattr(row, state.value) for state in SETTLED}
        settled = {state: round(count * share) for state, count in found.items() if count}
        return settled, share > 1 or max(row.accepted, row.placed) >= self.counted


_Span = tuple[datetime, datetime]


async def _samples(connection: AsyncConnection, spans: Sequence[_Span], tenant: str | None) -> dict[int, list[Went]]:
    at, columns = _placed_at(tenant), (_J.state, _J.created_at, _J.submitted_at, _J.finished_at)

    def sample(number: int, span: _Span) -> Any:
        query = select(literal_column(str(number)).label("n"), *columns).where(*_in(span, tenant, at))
        return select(query.where(_J.finished_at.is_not(None)).order_by(at).limit(SAMPLE).subquery())

    found: dict[int, list[Went]] = {number: [] for number in range(len(spans))}
    for row in await connection.execute(union_all(*(sample(*numbered) for numbered in enumerate(spans)))):
        found[row.n].append(Went(JobState(row.state), row.created_at, row.submitted_at, row.finished_at))
    return found


def _in(span: tuple[Any, Any], tenant: str | None, at: ColumnElement[datetime]) -> list[ColumnElement[bool]]:
    wanted = [at >= span[0], at < span[1]]
    if at is _J.finished_at:
        wanted.append(at.is_not(None))  # says to SQLite that the partial index will do
    return wanted if tenant is None else [_J.tenant == tenant, *wanted]


def _placed_at(tenant: str | None) -> ColumnElement[datetime]:
    return _J.finished_at if tenant is None else _J.created_at
