"""Whether the books of the tenants say what the jobs say: the sums of the usage, against the open jobs and submissions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, ScalarSelect, Select, exists, func, literal_column, select
from sqlalchemy.sql.expression import SQLColumnExpression

from app.lifecycle.request import PRICE
from app.lifecycle.states import SETTLED, JobState
from app.storage import tables as t
from app.storage.counted import number_of
from app.storage.database import Database
from app.storage.literals import OPEN, literal_of
from app.storage.usage import UNBOOKED

COUNTED_MAX = 100_000  #: of a kind; with more, nothing is compared


@dataclass(frozen=True, slots=True)
class Difference:
    """What the books say more than the jobs; all 0 while they are in balance."""

    open_jobs: int
    held_credits: int


@dataclass(frozen=True, slots=True)
class BalanceStore:
    database: Database
    counted_max: int = COUNTED_MAX

    async def difference(self) -> Difference | None:
        """The difference at one instant; None while there are jobs to be booked still, or too many to count.

        One statement, so that everything is seen at the same moment. It reads every day of every tenant once: ask seldom.

        Raises:
            StorageUnavailableError: the database is out of reach.
        """
        counts = {s: self._count(t.jobs.c.state == literal_of(s)) for s in JobState if s not in SETTLED}
        submissions = self._count(OPEN)
        unbooked = exists().where(UNBOOKED)
        query = select(_booked("open"), _booked("held"), submissions, unbooked, *counts.values())
        async with self.database.reading() as connection:
            open_booked, held, sent, some_unbooked, *found = (await connection.execute(query)).one()
        if some_unbooked or max(sent, *found) > self.counted_max:
            return None
        queued = found[list(counts).index(JobState.QUEUED)]
        return Difference(int(open_booked) - sum(found), int(held) - PRICE * (queued + sent))

    def _count(self, which: ColumnElement[bool]) -> ScalarSelect[int]:
        return number_of(select(literal_column("1")).where(which), self.counted_max).scalar_subquery()


def _booked(figure: str) -> SQLColumnExpression[Any]:
    """Summed up, and still to be summed up."""
    return _sum(select(func.sum(t.usage_days.c[figure]))) + _sum(select(func.sum(t.usage_entries.c[figure])))


def _sum(query: Select[Any]) -> SQLColumnExpression[Any]:
    return func.coalesce(query.scalar_subquery(), 0)
