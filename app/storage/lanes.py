"""Whose turn it is: queued jobs wait in lanes, one for each priority of a tenant, and tenants are served in turn.

So a tenant with thousands of queued jobs delays another's first by one claim at most, and a tenant's priorities order its own
jobs alone.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from uuid import UUID

from sqlalchemy import ColumnElement, Integer, Text, Uuid, column, literal, literal_column, select, text, tuple_, values
from sqlalchemy.ext.asyncio import AsyncConnection

from app.lifecycle.states import Priority
from app.storage import tables as t
from app.storage.horizon import Horizon
from app.storage.types import Instant

_J = t.jobs.c
#: Literals, not parameters: a state as a parameter defeats the partial indexes.
_QUEUED = _J.state == literal_column("'queued'")
_LITERAL: dict[Priority, ColumnElement[int]] = {p: literal_column(str(int(p))) for p in Priority}

Lane = tuple[str, Priority]
_BEFORE_ALL: tuple[str, int] = ("", -1)
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


_LANES_MAX = 300  #: lanes that are remembered; with more, new ones are looked for only now and then


@dataclass(slots=True)
class Lanes:
    """The lanes that this process has seen, how far each was served, and which tenant waited longest for its turn.

    Known lanes are asked from where they were left, and new ones looked for in between: neither walks over what is done.
    """

    _horizons: dict[Lane, Horizon] = field(default_factory=dict)
    _looked: Horizon = field(default_factory=Horizon)
    _turns: dict[str, int] = field(default_factory=dict)
    _turn: itertools.count[int] = field(default_factory=itertools.count)

    async def take(self, connection: AsyncConnection, limit: int, now: datetime) -> list[UUID]:
        """Up to `limit` due jobs, held; what somebody else holds is skipped."""
        claim = _Claim(connection, now, limit)
        if limit > 0:
            await self._serve(claim, await self._with_due_jobs(connection, now))
        return claim.found

    async def _with_due_jobs(self, connection: AsyncConnection, now: datetime) -> dict[Lane, datetime | None]:
        """The lanes in which something may be due, each with the instant to look from."""
        if connection.dialect.name == "sqlite":  # it has no old versions to walk over, and keeps no list of values in order
            return {lane: self._horizon(lane, now) for lane in await _behind(connection, _BEFORE_ALL)}
        if len(self._horizons) > _LANES_MAX and self._looked.floor(now) is None:
            self._horizons.clear()
        self._looked.reached(now)
        floors = {lane: horizon.floor(now) for lane, horizon in self._horizons.items()}
        known = await _ask(connection, floors, now) if floors else []
        if len(self._horizons) <= _LANES_MAX:
            lanes = [lane for lane, _ in known]
            for lane in [*await _between(connection, lanes), *await _behind(connection, lanes[-1] if lanes else _BEFORE_ALL)]:
                floors[lane] = self._horizon(lane, now)
        idle = {lane for lane, is_due in known if not is_due}
        return {lane: floor for lane, floor in floors.items() if lane not in idle}

    def _horizon(self, lane: Lane, now: datetime) -> datetime | None:
        return self._horizons.setdefault(lane, Horizon()).floor(now)

    async def _serve(self, claim: _Claim, lanes: dict[Lane, datetime | None]) -> None:
        """Equal shares for all who wait, and what one leaves over for the others."""
        tenants = sorted({tenant for tenant, _ in lanes}, key=lambda tenant: (self._turns.get(tenant, -1), tenant))
        while tenants and claim.room:
            share = max(1, claim.room // len(tenants))
            hungry = []
            for tenant in tenants[: claim.room]:
                taken = await self._serve_one(claim, tenant, share, lanes)
                if taken:
                    self._turns[tenant] = next(self._turn)
                if taken == share:
                    hungry.append(tenant)
            tenants = hungry

    async def _serve_one(self, claim: _Claim, tenant: str, share: int, lanes: dict[Lane, datetime | None]) -> int:
        taken = 0
        for priority in Priority:
            lane = tenant, priority
            if lane in lanes and taken < share:
                taken += await claim.take(lane, min(share - taken, claim.room), lanes[lane])
                if lane in claim.reached:
                    self._horizons[lane].reached(claim.reached[lane][0])
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

    async def take(self, lane: Lane, limit: int, floor: datetime | None) -> int:
        tenant, priority = lane
        query = select(_J.job_id, _J.due_at).where(_QUEUED, _J.tenant == tenant, _J.priority == _LITERAL[priority])
        query = query.where(_J.due_at <= self.now)
        if after := self.reached.get(lane):
            query = query.where(tuple_(_J.due_at, _J.job_id) > tuple_(literal(after[0], Instant), literal(after[1], Uuid)))
        elif floor is not None:
            query = query.where(_J.due_at >= floor)
        query = query.order_by(_J.due_at, _J.job_id).limit(limit).with_for_update(skip_locked=True)
        rows = (await self.connection.execute(query)).all()
        if rows:
            self.found += [row.job_id for row in rows]
            self.reached[lane] = rows[-1].due_at, rows[-1].job_id
        return len(rows)


async def _ask(connection: AsyncConnection, floors: dict[Lane, datetime | None], now: datetime) -> list[tuple[Lane, bool]]:
    """Whether something is due in each of these lanes; in the index's order."""
    columns = column("tenant", Text), column("priority", Integer), column("floor", Instant)
    rows = [(tenant, int(priority), floor or _LONG_AGO) for (tenant, priority), floor in floors.items()]
    lane = values(*columns, name="lane").data(rows).cte("lane")
    first = select(_J.job_id).where(_QUEUED, _J.tenant == lane.c.tenant, _J.priority == lane.c.priority)
    # A subquery with a LIMIT stays what it is; an EXISTS may be planned as a join with all of the queue.
    first = first.where(_J.due_at >= lane.c.floor, _J.due_at <= now).order_by(_J.due_at).limit(1)
    query = select(lane.c.tenant, lane.c.priority, first.scalar_subquery().is_not(None).label("is_due"))
    found = await connection.execute(query.order_by(lane.c.tenant, lane.c.priority))
    return [((row.tenant, Priority(row.priority)), bool(row.is_due)) for row in found]


async def _between(connection: AsyncConnection, lanes: list[Lane]) -> list[Lane]:
    """The first lane that nobody here has seen before each of these, which are in the index's order."""
    if not lanes:
        return []
    names = ("tenant", Text), ("priority", Integer), ("next_tenant", Text), ("next_priority", Integer)
    marks: list[tuple[str, int]] = [_BEFORE_ALL, *((tenant, int(priority)) for tenant, priority in lanes)]
    rows = [(*a, *b) for a, b in pairwise(marks)]
    gap = values(*(column(*name) for name in names), name="gap").data(rows).cte("gap")
    here = tuple_(_J.tenant, _J.priority)
    first = select(_J.job_id).where(_QUEUED, here > tuple_(gap.c.tenant, gap.c.priority))
    first = first.where(here < tuple_(gap.c.next_tenant, gap.c.next_priority)).order_by(_J.tenant, _J.priority).limit(1)
    query = select(_J.tenant, _J.priority).where(_J.job_id.in_(select(first.scalar_subquery()).select_from(gap)))
    return [(row.tenant, Priority(row.priority)) for row in await connection.execute(query)]


async def _behind(connection: AsyncConnection, lane: tuple[str, int]) -> list[Lane]:
    """All lanes behind this one, hop by hop. SQLite must be told the index: it thinks any with the state is as good."""
    hint = "INDEXED BY jobs_lanes" if connection.dialect.name == "sqlite" else ""
    hop = text(
        f"SELECT tenant, priority FROM jobs {hint} WHERE state = 'queued' AND (tenant, priority) > (:tenant, :priority) "  # noqa: S608
        "ORDER BY tenant, priority LIMIT 1"
    )
    found: list[Lane] = []
    while row := (await connection.execute(hop, {"tenant": lane[0], "priority": int(lane[1])})).first():
        lane = row.tenant, row.priority
        found.append((row.tenant, Priority(row.priority)))
    return found
