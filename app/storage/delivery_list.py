"""Deliveries as callers and operators see them: of a job with every attempt, and lists. Only reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Select, Uuid, literal, select, tuple_
from sqlalchemy.engine import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from app.lifecycle.delivery import DeliveryState
from app.lifecycle.job import CallbackFormat
from app.lifecycle.receiver import Receiver
from app.storage import tables as t
from app.storage.database import Database
from app.storage.deliveries import MANUAL
from app.storage.literals import literal_of
from app.storage.types import Instant

_D, _A = t.deliveries.c, t.delivery_attempts.c
#: All but the bodies, which are long and nobody's business here.
_COLUMNS = [column for column in _D if column.name != "body"]
ATTEMPTS_SHOWN = 200  #: of one delivery, the newest; the schedule makes eight, people may ask for more

Key = tuple[datetime, UUID]  #: the place of a delivery in a list


@dataclass(frozen=True, slots=True)
class StoredAttempt:
    number: int | None  #: in the schedule; None for one that somebody asked for
    at: datetime
    status: int | None  #: of HTTP; None where no answer came
    milliseconds: int
    error: str | None
    excerpt: str | None  #: of the answer's body; for operators


@dataclass(frozen=True, slots=True)
class StoredDelivery:
    delivery_id: UUID
    job_id: UUID
    receiver: Receiver
    type: str
    format: CallbackFormat
    state: DeliveryState
    tries: int  #: attempts of the schedule so far
    created_at: datetime
    due_at: datetime | None  #: the next attempt; None for a finished one, and while the receiver is parked
    finished_at: datetime | None
    last_status: int | None
    last_error: str | None
    attempts: tuple[StoredAttempt, ...] = ()  #: oldest first

    @property
    def key(self) -> Key:
        return self.created_at, self.delivery_id


@dataclass(frozen=True, slots=True)
class DeliveryList:
    database: Database

    async def of_job(self, job_id: UUID) -> list[StoredDelivery]:
        """The job's deliveries with their attempts, oldest first."""
        query = select(*_COLUMNS).where(_D.job_id == job_id).order_by(_D.created_at, _D.delivery_id)
        async with self.database.reading() as connection:
            return await _with_attempts(connection, (await connection.execute(query)).all())

    async def find(self, delivery_id: UUID) -> StoredDelivery | None:
        async with self.database.reading() as connection:
            rows = (await connection.execute(select(*_COLUMNS).where(_D.delivery_id == delivery_id))).all()
            return next(iter(await _with_attempts(connection, rows)), None)

    async def page(
        self,
        *,
        tenant: str | None = None,
        state: DeliveryState | None = None,
        origin: str | None = None,
        limit: int,
        after: Key | None = None,
    ) -> list[StoredDelivery]:
        """Up to `limit` deliveries without their attempts, newest first, from behind `after` on."""
        query: Select[Any] = select(*_COLUMNS)
        if tenant is not None:
            query = query.where(_D.tenant == tenant)
        if state is not None:
            query = query.where(_D.state == literal_of(state))
        if origin is not None:
            query = query.where(_D.origin == origin)
        if after is not None:
            place = tuple_(literal(after[0], Instant), literal(after[1], Uuid))
            query = query.where(tuple_(_D.created_at, _D.delivery_id) < place)
        query = query.order_by(_D.created_at.desc(), _D.delivery_id.desc()).limit(limit)
        async with self.database.reading() as connection:
            return [_delivery(row) for row in await connection.execute(query)]


async def _with_attempts(connection: AsyncConnection, rows: Sequence[Row[Any]]) -> list[StoredDelivery]:
    return [_delivery(row, await _attempts(connection, row.delivery_id)) for row in rows]


async def _attempts(connection: AsyncConnection, delivery_id: UUID) -> tuple[StoredAttempt, ...]:
    newest = select(t.delivery_attempts).where(_A.delivery_id == delivery_id).order_by(_A.attempt_id.desc())
    rows = (await connection.execute(newest.limit(ATTEMPTS_SHOWN))).all()
    return tuple(
        StoredAttempt(None if r.number == MANUAL else r.number, r.at, r.status, r.milliseconds, r.error, r.excerpt)
        for r in reversed(rows)
    )


def _delivery(row: Row[Any], attempts: tuple[StoredAttempt, ...] = ()) -> StoredDelivery:
    return StoredDelivery(
        row.delivery_id, row.job_id, Receiver(row.tenant, row.origin), row.type, CallbackFormat(row.format),
        DeliveryState(row.state), row.attempts, row.created_at, row.due_at, row.finished_at, row.last_status, row.last_error,
        attempts,
    )  # fmt: skip
