"""Submissions that somebody must look at again: a check, or a timer that ran out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import func, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.lifecycle.gate import Gate, GatePolicy, check_permits
from app.lifecycle.job import Life
from app.storage import tables as t
from app.storage.database import Database
from app.storage.gate_row import lock_gate, write_gate
from app.storage.lives import load

_S = t.submissions.c
_DUE = _S.due_at.is_not(None)


@dataclass(frozen=True, slots=True)
class DueSubmission:
    """A submission to look at, as it was when it was claimed."""

    life: Life
    number: int
    poked: bool  #: a callback came since the last check began


@dataclass(frozen=True, slots=True)
class DueClaim:
    taken: tuple[DueSubmission, ...]
    gate: Gate
    now: datetime
    retry_at: datetime | None
    may_check: bool  #: the gate gave permits; without them, only timers


@dataclass(frozen=True, slots=True)
class DueStore:
    database: Database

    async def claim_due(self, limit: int, policy: GatePolicy, lease: timedelta) -> DueClaim:
        """Takes up to `limit` due submissions by pushing their due time past `lease`; as many as the gate permits checks.

        While checks are shut, only submissions whose sender's lease ran out are taken: they need no check.
        """
        async with self.database.writing() as connection:
            gate = await lock_gate(connection)
            now = await self.database.now(connection)
            permits = check_permits(gate, limit, now, policy)
            wanted = _DUE & (_S.due_at <= now)
            if not permits.count:
                wanted &= _S.lease_until <= now
            query = select(_S.job_id, _S.number, _S.poked_at, _S.checked_at).where(wanted).order_by(_S.due_at)
            query = query.limit(permits.count or limit).with_for_update(skip_locked=True)
            rows = (await connection.execute(query)).all()
            # As they were before the claim: whether somebody has looked already must not be answered by this claim.
            lives = await load(connection, {r.job_id for r in rows}) if rows else {}
            if rows:
                await self._lease(connection, [(r.job_id, r.number) for r in rows], now, lease)
                gate_after = check_permits(gate, len(rows), now, policy).gate if permits.count else permits.gate
                await write_gate(connection, gate, gate_after, now)
            retry_at = permits.retry_at if not permits.count else await self._next_due(connection)
        taken = tuple(
            DueSubmission(
                lives[r.job_id], r.number, r.poked_at is not None and (r.checked_at is None or r.poked_at >= r.checked_at)
            )
            for r in rows
        )
        return DueClaim(taken, gate, now, retry_at, may_check=permits.count > 0)

    async def leased(self) -> list[tuple[UUID, int]]:
        """Submissions whose sender has not reported yet."""
        async with self.database.reading() as connection:
            rows = await connection.execute(select(_S.job_id, _S.number).where(_DUE, _S.lease_until.is_not(None)))
            return [(row.job_id, row.number) for row in rows]

    async def _lease(self, connection: AsyncConnection, keys: list[tuple[UUID, int]], now: datetime, lease: timedelta) -> None:
        await connection.execute(
            update(t.submissions)
            # By the jobs first: SQLite finds no index for a list of pairs, and would read the whole table.
            .where(_S.job_id.in_({job_id for job_id, _ in keys}), tuple_(_S.job_id, _S.number).in_(keys))
            .values(due_at=now + lease, checked_at=now)
        )

    async def _next_due(self, connection: AsyncConnection) -> datetime | None:
        found: datetime | None = (await connection.execute(select(func.min(_S.due_at)).where(_DUE))).scalar_one()
        return found
