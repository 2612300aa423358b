"""Submissions that somebody must look at again: a check, or a timer that ran out."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import Integer, Select, bindparam, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.lifecycle import schedule
from app.lifecycle.gate import Gate, GatePolicy, check_permits
from app.lifecycle.job import Life
from app.lifecycle.news import Timer
from app.lifecycle.policy import Policy
from app.storage import tables as t
from app.storage.database import Database
from app.storage.gate_row import lock_gate, write_gate
from app.storage.horizon import Horizon
from app.storage.literals import NAMES_A_TASK, UNCONFIRMED
from app.storage.lives import load
from app.storage.many import update_many
from app.storage.types import Instant

TOGETHER = timedelta(seconds=0.2)  #: what becomes due within it is claimed at once; a poke rings, and waits for nothing

_S = t.submissions.c
_DUE = _S.due_at.is_not(None)
_LEASED = _S.lease_until.is_not(None)
_UNANSWERED = _S.task_id.is_(None)  #: where a check adopted a candidate meanwhile, nobody waits for the sender any more
_NOW, _FLOOR, _LIMIT = bindparam("now", type_=Instant), bindparam("floor", type_=Instant), bindparam("limit", type_=Integer)

_LOST_FROM_THE_FIRST = (
    select(_S.job_id, _S.number, _S.lease_until)
    .where(_LEASED, _UNANSWERED, _S.lease_until <= _NOW, _S.due_at <= _NOW)
    .order_by(_S.lease_until)
    .limit(_LIMIT)
    .with_for_update(skip_locked=True)
)
_LOST_FROM_THE_FLOOR = _LOST_FROM_THE_FIRST.where(_S.lease_until >= _FLOOR)
_IN_TIME = _S.lease_until.is_(None) | (_S.lease_until > _NOW) | ~_UNANSWERED  #: the others are lost senders
_FROM_THE_FIRST = (
    select(_S.job_id, _S.number, _S.due_at)
    .where(_DUE, _S.due_at <= _NOW, _IN_TIME)
    .order_by(_S.due_at)
    .limit(_LIMIT)
    .with_for_update(skip_locked=True)
)
_FROM_THE_FLOOR = _FROM_THE_FIRST.where(_S.due_at >= _FLOOR)
_NEXT = select(func.min(_S.due_at)).where(_DUE, _S.due_at > _NOW)

#: Nobody has named a task of them, so only their time can end them. They are few, and found among the unconfirmed jobs.
_AWAITS_CALLBACK = (t.jobs.c.job_id == _S.job_id) & UNCONFIRMED & _DUE & ~NAMES_A_TASK & _UNANSWERED
_WAITED_OUT = (
    select(_S.job_id, _S.number)
    .where(_AWAITS_CALLBACK, _S.due_at <= _NOW)
    .order_by(_S.due_at)
    .limit(_LIMIT)
    .with_for_update(skip_locked=True, of=t.submissions)
)
_NEXT_WAITED_OUT = select(func.min(_S.due_at)).where(_AWAITS_CALLBACK, _S.due_at > _NOW)


@dataclass(frozen=True, slots=True)
class DueSubmission:
    """A submission to look at, as it was just before it was claimed, and what is to be done: a timer, a check, or nothing."""

    life: Life
    number: int
    timer: Timer | None  #: a timer of it ran out
    task_id: str | None  #: otherwise, the task to check
    poked: bool  #: a callback came since the last check began
    asked: bool = False  #: an operator asked for a check since then


@dataclass(frozen=True, slots=True)
class DueClaim:
    taken: tuple[DueSubmission, ...]
    gate: Gate
    now: datetime
    retry_at: datetime | None  #: when asking again is worth it; None when only news can help
    took: float  #: seconds since `now`

    @property
    def again_in(self) -> float | None:
        """Seconds until asking again is worth it: what the claim itself took is over."""
        return (self.retry_at - self.now).total_seconds() - self.took if self.retry_at else None


@dataclass(frozen=True, slots=True)
class DueStore:
    database: Database
    horizon: Horizon = field(default_factory=Horizon)
    lost_horizon: Horizon = field(default_factory=Horizon)

    async def claim_due(self, limit: int, gate_policy: GatePolicy, policy: Policy) -> DueClaim:
        """Takes up to `limit` due submissions by pushing their due time past a lease; as many as the gate permits checks.

        Senders whose lease ran out need no permit, and are looked for also while checks are shut or too many. While checks are
        shut, those are taken too that wait for nothing but a callback: no check can end their wait.
        """
        async with self.database.writing() as connection:
            gate = await lock_gate(connection)
            now, began = await self.database.now(connection), time.monotonic()
            reopened = check_permits(gate, limit, now, gate_policy).gate
            if gate.checks_shut is not None and reopened.checks_shut is None:  # before any row is held: it holds them all
                await write_gate(connection, gate, reopened, now)
                gate = reopened
            lost = await self._lost_senders(connection, limit, now)
            permits = check_permits(gate, limit - len(lost), now, gate_policy)
            if shut := not (permits.count or gate.checks_possible):
                due = await self._waited_out(connection, limit - len(lost), now)
            else:
                due = await self._due(connection, permits.count, now)
            rows = [*lost, *due]
            lives = await load(connection, {job_id for job_id, _ in rows}) if rows else {}
            taken = tuple(
                _what_is_due(lives[job_id], number, gate, now, policy, may_check=permits.count > 0) for job_id, number in rows
            )
            if taken:
                await self._lease(connection, taken, now, policy)
                gate_after = check_permits(gate, len(due), now, gate_policy).gate if permits.count else permits.gate
                await write_gate(connection, gate, gate_after, now)
            if len(rows) == limit:
                retry_at: datetime | None = now  # there may be more
            elif shut:
                next_out = await self._next_due(connection, _NEXT_WAITED_OUT, now)
                retry_at = min(filter(None, (permits.retry_at, next_out)), default=None)
            else:
                retry_at = permits.retry_at if len(due) == permits.count else await self._next_due(connection, _NEXT, now)
        return DueClaim(taken, gate, now, retry_at, time.monotonic() - began)

    async def leased(self) -> list[tuple[UUID, int]]:
        """Submissions whose sender has not reported yet."""
        async with self.database.reading() as connection:
            rows = await connection.execute(select(_S.job_id, _S.number).where(_LEASED))
            return [(row.job_id, row.number) for row in rows]

    async def _lost_senders(self, connection: AsyncConnection, limit: int, now: datetime) -> list[tuple[UUID, int]]:
        """Where none is found, the next to be lost holds a lease that ends later than now."""
        floor = self.lost_horizon.floor(now)
        given = {"now": now, "limit": limit, **({"floor": floor} if floor else {})}
        rows = (await connection.execute(_LOST_FROM_THE_FLOOR if floor else _LOST_FROM_THE_FIRST, given)).all()
        self.lost_horizon.reached(rows[-1].lease_until if rows else now)
        return [(row.job_id, row.number) for row in rows]

    async def _due(self, connection: AsyncConnection, limit: int, now: datetime) -> list[tuple[UUID, int]]:
        if not limit:
            return []
        floor = self.horizon.floor(now)
        given = {"now": now, "limit": limit, **({"floor": floor} if floor else {})}
        rows = (await connection.execute(_FROM_THE_FLOOR if floor else _FROM_THE_FIRST, given)).all()
        if rows:
            self.horizon.reached(rows[-1].due_at)
        return [(row.job_id, row.number) for row in rows]

    async def _waited_out(self, connection: AsyncConnection, limit: int, now: datetime) -> list[tuple[UUID, int]]:
        if not limit:
            return []
        rows = await connection.execute(_WAITED_OUT, {"now": now, "limit": limit})
        return [(row.job_id, row.number) for row in rows]

    async def _lease(self, connection: AsyncConnection, taken: Sequence[DueSubmission], now: datetime, policy: Policy) -> None:
        """A timer is no look: `checked_at` is written only where a check follows."""
        leased = [
            {
                "was_job_id": due.life.job.job_id,
                "was_number": due.number,
                "due_at": now + policy.check_lease,
                "checked_at": due.life.submission(due.number).checked_at if due.task_id is None else now,
            }
            for due in taken
        ]
        await update_many(connection, t.submissions, leased)

    async def _next_due(self, connection: AsyncConnection, of: Select[datetime], now: datetime) -> datetime | None:
        """What is due already and was not taken is held by somebody, who will not be done sooner for being asked at once."""
        found: datetime | None = (await connection.execute(of, {"now": now})).scalar_one()
        return max(found, now + TOGETHER) if found else None


def _what_is_due(life: Life, number: int, gate: Gate, now: datetime, policy: Policy, *, may_check: bool) -> DueSubmission:
    s = life.submission(number)
    timer = schedule.overdue(life, s, now, policy, checks_possible=gate.checks_possible)
    task_id = s.task_id or (s.candidates[0] if s.candidates else None)
    check = timer is None and may_check and s.can_be_checked
    poked, asked = (at is not None and (s.checked_at is None or at >= s.checked_at) for at in (s.poked_at, s.asked_at))
    return DueSubmission(life, number, timer, task_id if check else None, poked, asked)
