"""The queue: jobs accepted and not yet sent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import func, literal_column, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.lifecycle.gate import Gate, GatePolicy, submit_permits
from app.lifecycle.news import Claimed, QueueDeadlinePassed
from app.lifecycle.states import Priority
from app.lifecycle.transitions import Change
from app.storage import tables as t
from app.storage.database import Database
from app.storage.gate_row import lock_gate, write_gate
from app.storage.lives import Decide, apply_locked, lock

#: Literals, not parameters: a state as a parameter defeats the partial indexes.
_QUEUED = t.jobs.c.state == literal_column("'queued'")
#: Named one by one, so that the claims' index is sought once a priority, past what is not due yet; without its first column
#: SQLite takes another index and sorts the whole queue.
_ANY_PRIORITY = t.jobs.c.priority.in_([literal_column(str(int(p))) for p in Priority])
_OPEN = t.submissions.c.outcome == literal_column("'open'")
_HAS_CANDIDATE = (
    select(literal_column("1"))
    .where(t.submissions.c.job_id == t.jobs.c.job_id, t.submissions.c.candidates != literal_column("'[]'"))
    .exists()
)


@dataclass(frozen=True, slots=True)
class Claim:
    """What one claim took, and what it saw."""

    taken: tuple[tuple[Change, str], ...]  #: what was claimed, each with its callback token in the clear
    gate: Gate
    now: datetime
    retry_at: datetime | None  #: when asking again may succeed; None when only news can help


@dataclass(frozen=True, slots=True)
class QueueStore:
    database: Database

    async def claim_due(
        self, limit: int, policy: GatePolicy, decide: Decide, new_token: Callable[[], tuple[str, bytes]]
    ) -> Claim:
        """Takes up to `limit` due jobs, as many as the gate permits: commits their intent, with a token each.

        The gate's row is held meanwhile, so permits are exact over all replicas; a job that another claim holds is skipped.
        """
        async with self.database.writing() as connection:
            gate = await lock_gate(connection)
            now = await self.database.now(connection)
            ids = await self._due(connection, now, limit)
            open_submissions = await count_open(connection, policy.max_in_flight)
            permits = submit_permits(gate, len(ids), open_submissions, now, policy)
            lives = await lock(connection, ids[: permits.count]) if permits.count else {}
            tokens = {job_id: new_token() for job_id in ids[: permits.count] if job_id in lives}
            changes = await apply_locked(
                connection, lives, [(job_id, Claimed(token_hash)) for job_id, (_, token_hash) in tokens.items()], decide, now
            )
            await write_gate(connection, gate, permits.gate, now)
            next_due = permits.retry_at if ids else await self._next_due(connection, now)
        taken = tuple(
            (change, token)
            for change, (token, _) in zip(changes, tokens.values(), strict=True)
            if change is not None and change.events
        )
        return Claim(taken, permits.gate, now, next_due)

    async def drop_overdue(self, queue_deadline: timedelta, decide: Decide, limit: int = 100) -> list[Change]:
        """Fails up to `limit` jobs that waited in the queue past their deadline.

        Not those for which a callback named a task: its check decides, and meanwhile they must not fill the sweep.
        """
        async with self.database.writing() as connection:
            now = await self.database.now(connection)
            query = (
                select(t.jobs.c.job_id)
                .where(_QUEUED, t.jobs.c.created_at <= now - queue_deadline, ~_HAS_CANDIDATE)
                .order_by(t.jobs.c.created_at)
                .limit(limit)
            )
            ids = (await connection.execute(query)).scalars().all()
            lives = await lock(connection, ids) if ids else {}
            changes = await apply_locked(connection, lives, [(i, QueueDeadlinePassed()) for i in ids], decide, now)
        return [change for change in changes if change is not None]

    async def _due(self, connection: AsyncConnection, now: datetime, limit: int) -> Sequence[UUID]:
        j = t.jobs.c
        query = (
            select(j.job_id)
            .where(_QUEUED, _ANY_PRIORITY, j.due_at <= now)
            .order_by(j.priority, j.due_at, j.job_id)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        return (await connection.execute(query)).scalars().all()

    async def _next_due(self, connection: AsyncConnection, now: datetime) -> datetime | None:
        query = select(func.min(t.jobs.c.due_at)).where(_QUEUED, _ANY_PRIORITY, t.jobs.c.due_at > now)
        found: datetime | None = (await connection.execute(query)).scalar_one()
        return found


async def count_open(connection: AsyncConnection, at_most: int) -> int:
    """Open submissions, counted no further than one past `at_most`, so that the count stays cheap."""
    some = select(literal_column("1")).select_from(t.submissions).where(_OPEN).limit(at_most + 1).subquery()
    found: int = (await connection.execute(select(func.count()).select_from(some))).scalar_one()
    return found
