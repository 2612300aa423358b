"""The queue: jobs accepted and not yet sent."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from uuid import UUID

from sqlalchemy import Integer, Select, bindparam, func, literal_column, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.lifecycle.gate import Gate, GatePolicy, submit_permits
from app.lifecycle.news import Claimed, QueueDeadlinePassed
from app.lifecycle.transitions import Change
from app.storage import tables as t
from app.storage.database import Database
from app.storage.gate_row import lock_gate, write_gate
from app.storage.horizon import Horizon
from app.storage.lanes import Lanes
from app.storage.literals import NAMES_A_TASK, OPEN, PRIORITY, QUEUED
from app.storage.lives import Decide, apply_locked, lock
from app.storage.types import Instant

#: Named one by one: without its first column SQLite takes another index.
_ANY_PRIORITY = t.jobs.c.priority.in_(PRIORITY.values())
_NEXT = select(func.min(t.jobs.c.due_at)).where(QUEUED, _ANY_PRIORITY, t.jobs.c.due_at > bindparam("now", type_=Instant))
_HAS_CANDIDATE = select(literal_column("1")).where(t.submissions.c.job_id == t.jobs.c.job_id, NAMES_A_TASK).exists()


@dataclass(frozen=True, slots=True)
class Claim:
    """What one claim took, and what it saw."""

    taken: tuple[tuple[Change, str], ...]  #: what was claimed, each with its callback token in the clear
    gate: Gate
    now: datetime
    retry_at: datetime | None  #: when asking again may succeed; None when only news can help
    is_full: bool = False  #: as many submissions are open as may be


@dataclass(frozen=True, slots=True)
class QueueStore:
    database: Database
    lanes: Lanes = field(default_factory=Lanes)
    open_horizon: Horizon = field(default_factory=Horizon)

    async def claim_due(
        self, limit: int, policy: GatePolicy, decide: Decide, new_token: Callable[[], tuple[str, bytes]]
    ) -> Claim:
        """Takes up to `limit` due jobs, as many as the gate permits: commits their intent, with a token each.

        The gate's row is held meanwhile, so permits are exact over all replicas; a job that another claim holds is skipped.
        """
        async with self.database.writing() as connection:
            gate = await lock_gate(connection)
            now = await self.database.now(connection)
            open_submissions = await self._count_open(connection, policy.max_in_flight, now)
            may = submit_permits(gate, limit, open_submissions, now, policy)
            ids = await self.lanes.take(connection, may.count, now)
            permits = submit_permits(gate, len(ids), open_submissions, now, policy) if ids else may
            lives = await lock(connection, ids) if ids else {}
            tokens = {job_id: new_token() for job_id in ids if job_id in lives}
            changes = await apply_locked(
                connection, lives, [(job_id, Claimed(token_hash)) for job_id, (_, token_hash) in tokens.items()], decide, now
            )
            if ids:
                await write_gate(connection, gate, permits.gate, now)
            if len(ids) == limit:
                next_due: datetime | None = now  # there may be more
            else:
                next_due = may.retry_at if len(ids) == may.count else await self._next_due(connection, now)
        taken = tuple(
            (change, token)
            for change, (token, _) in zip(changes, tokens.values(), strict=True)
            if change is not None and change.events
        )
        return Claim(taken, permits.gate if ids else gate, now, next_due, open_submissions + len(ids) >= policy.max_in_flight)

    async def claimed_with(self, token_hashes: Collection[bytes]) -> list[tuple[UUID, int]]:
        """The submissions that were committed with these tokens."""
        s = t.submissions.c
        async with self.database.reading() as connection:
            rows = await connection.execute(select(s.job_id, s.number).where(s.token_hash.in_(token_hashes)))
            return [(row.job_id, row.number) for row in rows]

    async def drop_overdue(self, queue_deadline: timedelta, decide: Decide, limit: int = 100) -> list[Change]:
        """Fails up to `limit` jobs that waited in the queue past their deadline.

        Not those for which somebody named a task: its check decides, and meanwhile they must not fill the sweep.
        """
        async with self.database.writing() as connection:
            now = await self.database.now(connection)
            query = (
                select(t.jobs.c.job_id)
                .where(QUEUED, t.jobs.c.created_at <= now - queue_deadline, ~_HAS_CANDIDATE)
                .order_by(t.jobs.c.created_at)
                .limit(limit)
            )
            ids = (await connection.execute(query)).scalars().all()
            lives = await lock(connection, ids) if ids else {}
            changes = await apply_locked(connection, lives, [(i, QueueDeadlinePassed()) for i in ids], decide, now)
        return [change for change in changes if change is not None]

    async def _count_open(self, connection: AsyncConnection, at_most: int, now: datetime) -> int:
        """What is sent from here on is sent later than all that is open; so the oldest open one is where to count from."""
        found, oldest = await count_open(connection, at_most, self.open_horizon.floor(now))
        self.open_horizon.reached(oldest or now)
        return found

    async def _next_due(self, connection: AsyncConnection, now: datetime) -> datetime | None:
        found: datetime | None = (await connection.execute(_NEXT, {"now": now})).scalar_one()
        return found


async def count_open(
    connection: AsyncConnection, at_most: int, sent_since: datetime | None = None
) -> tuple[int, datetime | None]:
    """Open submissions, counted no further than one past `at_most`, so that the count stays cheap; and the oldest's send."""
    given = {"limit": at_most + 1, **({"since": sent_since} if sent_since else {})}
    found, oldest = (await connection.execute(_count(since=sent_since is not None), given)).one()
    return found, oldest


@cache
def _count(*, since: bool) -> Select[int, datetime | None]:
    sent_at = t.submissions.c.sent_at
    some = select(sent_at).where(OPEN).order_by(sent_at).limit(bindparam("limit", type_=Integer))
    if since:
        some = some.where(sent_at >= bindparam("since", type_=Instant))
    counted = some.subquery()
    return select(func.count(), func.min(counted.c.sent_at))
