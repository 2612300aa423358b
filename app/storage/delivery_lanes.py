"""Which receivers have due deliveries: each is a lane, and lanes are found by hops, however long each of them is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from app.lifecycle.delivery import DeliveryState
from app.lifecycle.receiver import Receiver
from app.storage import tables as t
from app.storage.literals import literal_of


@dataclass(frozen=True, slots=True)
class Lane:
    """A receiver with something due."""

    receiver: Receiver
    failing: bool  #: its last attempt failed
    parked: bool


async def due_lanes(connection: AsyncConnection, now: datetime) -> list[Lane]:
    """The lanes whose first delivery is due. One step into the index a lane; what is behind the first is not looked at."""
    lane = _first_of_each_lane()
    d, r = t.deliveries.alias("d"), t.receivers.c
    heads = lane.join(d, d.c.delivery_id == lane.c.delivery_id)
    known = heads.outerjoin(t.receivers, and_(r.tenant == d.c.tenant, r.origin == d.c.origin))
    query = select(d.c.tenant, d.c.origin, r.failing_since, r.parked_at).select_from(known).where(d.c.due_at <= now)
    return [
        Lane(Receiver(row.tenant, row.origin), row.failing_since is not None, row.parked_at is not None)
        for row in await connection.execute(query)
    ]


def _first_of_each_lane() -> Any:
    """A recursive walk: from each lane's first delivery to the first of the next lane."""
    first, here, there = (t.deliveries.alias(name) for name in ("first", "here", "there"))
    in_order = select(first.c.delivery_id).where(_waits(first)).order_by(*_order(first)).limit(1)
    lane = select(in_order.scalar_subquery().label("delivery_id")).cte("lane", recursive=True)
    behind = tuple_(there.c.tenant, there.c.origin) > tuple_(here.c.tenant, here.c.origin)
    hop = select(there.c.delivery_id).where(_waits(there), behind).order_by(*_order(there)).limit(1).correlate(here)
    step = select(hop.scalar_subquery()).select_from(lane.join(here, here.c.delivery_id == lane.c.delivery_id))
    return lane.union_all(step)


def _waits(d: Any) -> ColumnElement[bool]:
    return and_(d.c.state == literal_of(DeliveryState.PENDING), d.c.due_at.is_not(None))


def _order(d: Any) -> tuple[Any, ...]:
    return d.c.tenant, d.c.origin, d.c.due_at
