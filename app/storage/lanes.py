"""Whose turn it is: queued jobs wait in lanes, one for each priority of a tenant, and tenants are served in turn.

So a tenant with thousands of queued jobs delays another's first by one claim at most, and a tenant's priorities order its own
jobs alone.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import Executable, Integer, Select, Text, Uuid, bindparam, select, text, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from app.lifecycle.states import Priority
from app.storage import tables as t
from app.storage.literals import PRIORITY, QUEUED
from app.storage.types import Instant

_J = t.jobs.c
_SLACK = timedelta(seconds=1)  #: jobs that were accepted meanwhile may lie this far behind the last one served

Lane = tuple[str, Priority]


@dataclass(slots=True)
class Lanes:
    """The lanes in which something is due, from where on to look in each, and which tenant waited longest for its turn.

    Every claim looks for all of them, hopping along their index. While somebody keeps an old snapshot open (a report, a dump),
    PostgreSQL cannot forget what was claimed since, and each hop walks over it. So a look that took long is not repeated at
    once: meanwhile the lanes that are known are served from where they were left.
    """

    costly: float = 0.02  #: seconds; a look that takes longer is made less often
    monotonic: Callable[[], float] = time.monotonic
    _from: dict[Lane, datetime] = field(default_factory=dict)
    _look_at: float = 0.0
    _turns: dict[str, int] = field(default_factory=dict)
    _turn: itertools.count[int] = field(default_factory=itertools.count)

    async def take(self, connection: AsyncConnection, limit: int, now: datetime) -> list[UUID]:
        """Up to `limit` due jobs, held; what somebody else holds is skipped."""
        claim = _Claim(connection, now, limit)
        if limit > 0:
            if self.monotonic() >= self._look_at:
                await self._look(connection, now)
            await self._serve(claim)
        return claim.found

    async def _look(self, connection: AsyncConnection, now: datetime) -> None:
        began = self.monotonic()
        self._from = await _due_lanes(connection, now)
        took = self.monotonic() - began
        self._look_at = began + took + (min(20 * took, 1.0) if took > self.costly else 0.0)
        waiting = {tenant for tenant, _ in self._from}
        self._turns = {tenant: turn for tenant, turn in self._turns.items() if tenant in waiting}

    async def _serve(self, claim: _Claim) -> None:
        """Equal shares for all who wait, and what one leaves over for the others."""
        tenants = sorted({tenant for tenant, _ in self._from}, key=lambda tenant: (self._turns.get(tenant, -1), tenant))
        while tenants and claim.room:
            share, hungry = max(1, claim.room // len(tenants)), []
            for tenant in tenants:
                taken = await self._serve_one(claim, tenant, min(share, claim.room)) if claim.room else 0
                if taken:
                    self._turns[tenant] = next(self._turn)
                if taken == share:
                    hungry.append(tenant)
            tenants = hungry

    async def _serve_one(self, claim: _Claim, tenant: str, share: int) -> int:
        taken = 0
        for priority in Priority:
            lane = tenant, priority
            if lane in self._from and taken < share:
                taken += await claim.take(lane, share - taken, self._from[lane])
                if lane in claim.reached:
                    self._from[lane] = max(self._from[lane], claim.reached[lane][0] - _SLACK)
        return taken


@dataclass(slots=True)
class _Claim:
    """What one claim has taken so far, and where it stands in each lane."""

    connection: AsyncConnection
    now: datetime
    limit: int
    found: list[UUID] = field(default_factory=list)
    reached: dict[Lane, tuple[datetime, UUID]] = field(default_factory=dict)

    @property
    def room(self) -> int:
        return self.limit - len(self.found)

    async def take(self, lane: Lane, limit: int, first: datetime) -> int:
        tenant, priority = lane
        after = self.reached.get(lane)
        where = {"after": after[0], "after_id": after[1]} if after else {"first": first}
        given = {"tenant": tenant, "now": self.now, "limit": limit, **where}
        rows = (await self.connection.execute(_due_in(priority, again=after is not None), given)).all()
        if rows:
            self.found += [row.job_id for row in rows]
            self.reached[lane] = rows[-1].due_at, rows[-1].job_id
        return len(rows)


@cache
def _due_in(priority: Priority, *, again: bool) -> Select[Any]:
    """The due jobs of one lane: from an instant on, or again, behind the last that was taken."""
    query = select(_J.job_id, _J.due_at).where(QUEUED, _J.tenant == bindparam("tenant"), _J.priority == PRIORITY[priority])
    query = query.where(_J.due_at <= bindparam("now", type_=Instant))
    if again:
        behind = tuple_(bindparam("after", type_=Instant), bindparam("after_id", type_=Uuid))
        query = query.where(tuple_(_J.due_at, _J.job_id) > behind)
    else:
        query = query.where(_J.due_at >= bindparam("first", type_=Instant))
    query = query.order_by(_J.due_at, _J.job_id).limit(bindparam("limit", type_=Integer))
    return query.with_for_update(skip_locked=True)


#: Hops from lane to lane, not from job to job: the first job of each, which is its longest due.
_HOPS = {
    "postgresql": """
        WITH RECURSIVE lane AS (
            (SELECT tenant, priority, due_at FROM jobs WHERE state = 'queued' ORDER BY tenant, priority, due_at LIMIT 1)
            UNION ALL
            SELECT next.* FROM lane, LATERAL (
                SELECT tenant, priority, due_at FROM jobs
                WHERE state = 'queued' AND (tenant, priority) > (lane.tenant, lane.priority)
                ORDER BY tenant, priority, due_at LIMIT 1
            ) AS next
        )
        SELECT tenant, priority, due_at FROM lane WHERE due_at <= :now""",
    # It must be told the index: it thinks that any with the state is as good.
    "sqlite": """
        WITH RECURSIVE lane(tenant, priority, due_at) AS (
            SELECT * FROM (
                SELECT tenant, priority, due_at FROM jobs INDEXED BY jobs_lanes
                WHERE state = 'queued' ORDER BY tenant, priority, due_at LIMIT 1
            )
            UNION ALL
            SELECT next.tenant, next.priority, next.due_at FROM lane JOIN jobs AS next ON next.job_id = (
                SELECT job_id FROM jobs INDEXED BY jobs_lanes
                WHERE state = 'queued' AND (tenant, priority) > (lane.tenant, lane.priority)
                ORDER BY tenant, priority, due_at LIMIT 1
            )
        )
        SELECT tenant, priority, due_at FROM lane WHERE due_at <= :now""",
}


async def _due_lanes(connection: AsyncConnection, now: datetime) -> dict[Lane, datetime]:
    """The lanes in which something is due, each with the instant at which its first job was."""
    rows = await connection.execute(_hops(connection.dialect.name), {"now": now})
    return {(row.tenant, Priority(row.priority)): row.due_at for row in rows}


@cache
def _hops(dialect: str) -> Executable:
    hops = text(_HOPS[dialect]).columns(tenant=Text, priority=Integer, due_at=Instant)
    return hops.bindparams(bindparam("now", type_=Instant))
