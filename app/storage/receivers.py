"""Receivers of deliveries: which are failing, which are parked. One without a row is well.

Whoever changes a receiver's row and deliveries of it holds the row first, so that no delivery is put away behind the back of
whoever brings them all back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, delete, literal_column, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.lifecycle.receiver import Receiver, ReceiverHealth
from app.storage import tables as t
from app.storage.audit import Act, write_act
from app.storage.counted import count_up_to
from app.storage.database import Database
from app.storage.literals import PENDING
from app.storage.many import insert_for

_D, _R = t.deliveries.c, t.receivers.c
PUT_AWAY_MAX = 1000  #: deliveries of a parked receiver that one look puts away
COUNTED_MAX = 10_000  #: waiting deliveries are counted no further


@dataclass(frozen=True, slots=True)
class TroubledReceiver:
    """A receiver that is failing or parked, as operators see it."""

    receiver: Receiver
    health: ReceiverHealth
    pending: int  #: deliveries that wait for it, counted up to COUNTED_MAX


@dataclass(frozen=True, slots=True)
class ReceiverStore:
    database: Database

    async def troubled(
        self, *, tenant: str | None = None, origin: str | None = None, parked: bool | None = None, limit: int = 200
    ) -> list[TroubledReceiver]:
        """Up to `limit` receivers that fail or are parked, by tenant and origin."""
        query: Select[Any] = select(t.receivers)
        for column, value in ((_R.tenant, tenant), (_R.origin, origin)):
            query = query if value is None else query.where(column == value)
        if parked is not None:
            query = query.where(_R.parked_at.is_not(None) if parked else _R.parked_at.is_(None))
        async with self.database.reading() as connection:
            rows = (await connection.execute(query.order_by(_R.tenant, _R.origin).limit(limit))).all()
            found = [Receiver(row.tenant, row.origin) for row in rows]
            counts = [await _count_pending(connection, receiver) for receiver in found]
        return [
            TroubledReceiver(receiver, ReceiverHealth(row.failing_since, row.failed_at, row.parked_at), n)
            for receiver, row, n in zip(found, rows, counts, strict=True)
        ]

    async def resume(self, receiver: Receiver, *, by: str) -> int | None:
        """Forgets that it ever failed, and makes its deliveries due; returns how many, None where nothing was wrong with it.

        Args:
            by: whose act it is; see `audit`.
        """
        async with self.database.writing() as connection:
            if not await lock_health(connection, [receiver]):
                return None
            now = await self.database.now(connection)
            await write_health(connection, {receiver: ReceiverHealth()})
            count = await bring_back(connection, receiver, now)
            await write_act(connection, Act(by, "receiver.resume", receiver.tenant, {"origin": receiver.origin}), now)
        return count


async def lock_health(connection: AsyncConnection, receivers: Iterable[Receiver]) -> dict[Receiver, ReceiverHealth]:
    """What is known of those that have a row, held until the transaction ends."""
    keys = [(receiver.tenant, receiver.origin) for receiver in receivers]
    query = select(t.receivers).where(tuple_(_R.tenant, _R.origin).in_(keys)).order_by(_R.tenant, _R.origin)
    rows = await connection.execute(query.with_for_update())
    return {Receiver(r.tenant, r.origin): ReceiverHealth(r.failing_since, r.failed_at, r.parked_at) for r in rows}


async def write_health(connection: AsyncConnection, changed: Mapping[Receiver, ReceiverHealth]) -> None:
    """Writes what is known now of receivers that the caller holds; of one that is well, nothing is kept."""
    for receiver, health in sorted(changed.items(), key=lambda item: (item[0].tenant, item[0].origin)):
        if health == ReceiverHealth():
            await connection.execute(delete(t.receivers).where(_is(receiver)))
            continue
        values = {"failing_since": health.failing_since, "failed_at": health.failed_at, "parked_at": health.parked_at}
        added = insert_for(connection, t.receivers).values(tenant=receiver.tenant, origin=receiver.origin, **values)
        await connection.execute(added.on_conflict_do_update(index_elements=["tenant", "origin"], set_=values))


async def put_away(connection: AsyncConnection, receiver: Receiver, now: datetime) -> int:
    """Takes due deliveries of a parked receiver out of everybody's way until it is resumed; returns how many, 1000 at most."""
    held = select(_R.parked_at).where(_is(receiver), _R.parked_at.is_not(None)).with_for_update(skip_locked=True)
    if (await connection.execute(held)).first() is None:
        return 0
    due = select(_D.delivery_id).where(*_waiting_for(receiver), _D.due_at <= now).order_by(_D.due_at).limit(PUT_AWAY_MAX)
    ids = (await connection.execute(due.with_for_update(skip_locked=True))).scalars().all()
    await connection.execute(update(t.deliveries).where(_D.delivery_id.in_(ids), PENDING).values(due_at=None))
    return len(ids)


async def bring_back(connection: AsyncConnection, receiver: Receiver, now: datetime) -> int:
    """Makes all that was put away due again; returns how many."""
    away = (*_waiting_for(receiver), _D.due_at.is_(None))
    return (await connection.execute(update(t.deliveries).where(*away).values(due_at=now))).rowcount


async def _count_pending(connection: AsyncConnection, receiver: Receiver) -> int:
    waiting: Select[Any] = select(literal_column("1")).select_from(t.deliveries).where(*_waiting_for(receiver))
    return (await count_up_to(connection, waiting, COUNTED_MAX)).found


def _waiting_for(receiver: Receiver) -> tuple[ColumnElement[bool], ...]:
    return PENDING, _D.tenant == receiver.tenant, _D.origin == receiver.origin


def _is(receiver: Receiver) -> ColumnElement[bool]:
    return and_(_R.tenant == receiver.tenant, _R.origin == receiver.origin)
