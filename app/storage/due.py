"""Submissions that somebody must look at again: a check, or a timer that ran out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import func, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.lifecycle import schedule
from app.lifecycle.gate import Gate, GatePolicy, check_permits
from app.lifecycle.job import Life
from app.lifecycle.news import Timer
from app.lifecycle.policy import Policy
from app.storage import tables as t
from app.storage.database import Database
from app.storage.gate_row import lock_gate, write_gate
from app.storage.lives import load

_S = t.submissions.c
_DUE = _S.due_at.is_not(None)


@dataclass(frozen=True, slots=True)
class DueSubmission:
    """A submission to look at, as it was just before it was claimed, and what is to be done: a timer, a check, or nothing."""

    life: Life
    number: int
    timer: Timer | None  #: a timer of it ran out
    task_id: str | None  #: otherwise, the task to check
    poked: bool  #: a callback came since the last check began


@dataclass(frozen=True, slots=True)
class DueClaim:
    taken: tuple[DueSubmission, ...]
    gate: Gate
    now: datetime
    retry_at: datetime | None


@dataclass(frozen=True, slots=True)
class DueStore:
    database: Database

    async def claim_due(self, limit: int, gate_policy: GatePolicy, policy: Policy) -> DueClaim:
        """Takes up to `limit` due submissions by pushing their due time past a lease; as many as the gate permits checks.

        While checks are shut, only submissions whose sender's lease ran out are taken: they need no check.
        """
        async with self.database.writing() as connection:
            gate = await lock_gate(connection)
            now = await self.database.now(connection)
            permits = check_permits(gate, limit, now, gate_policy)
            wanted = _DUE & (_S.due_at <= now)
            if not permits.count:
                wanted &= _S.lease_until <= now
            query = select(_S.job_id, _S.number).where(wanted).order_by(_S.due_at)
            query = query.limit(permits.count or limit).with_for_update(skip_locked=True)
            rows = (await connection.execute(query)).all()
            lives = await load(connection, {r.job_id for r in rows}) if rows else {}
            taken = tuple(_what_is_due(lives[r.job_id], r.number, gate, now, policy, may_check=permits.count > 0) for r in rows)
            if taken:
                await self._lease(connection, taken, now, policy)
                gate_after = check_permits(gate, len(rows), now, gate_policy).gate if permits.count else permits.gate
                await write_gate(connection, gate, gate_after, now)
            retry_at = permits.retry_at if not permits.count else await self._next_due(connection)
        return DueClaim(taken, gate, now, retry_at)

    async def leased(self) -> list[tuple[UUID, int]]:
        """Submissions whose sender has not reported yet."""
        async with self.database.reading() as connection:
            rows = await connection.execute(select(_S.job_id, _S.number).where(_DUE, _S.lease_until.is_not(None)))
            return [(row.job_id, row.number) for row in rows]

    async def _lease(self, connection: AsyncConnection, taken: Sequence[DueSubmission], now: datetime, policy: Policy) -> None:
        """A timer is no look: `checked_at` is written only where a check follows."""
        later: dict[str, datetime] = {"due_at": now + policy.check_lease}
        for checked, values in ((True, {**later, "checked_at": now}), (False, later)):
            keys = [(d.life.job.job_id, d.number) for d in taken if (d.task_id is not None) is checked]
            if keys:
                await connection.execute(
                    update(t.submissions)
                    # By the jobs first: SQLite finds no index for a list of pairs, and would read the whole table.
                    .where(_S.job_id.in_({job_id for job_id, _ in keys}), tuple_(_S.job_id, _S.number).in_(keys))
                    .values(values)
                )

    async def _next_due(self, connection: AsyncConnection) -> datetime | None:
        found: datetime | None = (await connection.execute(select(func.min(_S.due_at)).where(_DUE))).scalar_one()
        return found


def _what_is_due(life: Life, number: int, gate: Gate, now: datetime, policy: Policy, *, may_check: bool) -> DueSubmission:
    s = life.submission(number)
    timer = schedule.overdue(life, s, now, policy, checks_possible=gate.checks_possible)
    task_id = s.task_id or (s.candidates[0] if s.candidates else None)
    check = timer is None and may_check and s.can_be_checked
    poked = s.poked_at is not None and (s.checked_at is None or s.poked_at >= s.checked_at)
    return DueSubmission(life, number, timer, task_id if check else None, poked)
