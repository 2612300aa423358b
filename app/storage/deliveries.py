"""Deliveries to make: claimed with a lease, recorded under a guard, asked for again.

The lease is the due time itself, pushed ahead: whoever died with a delivery in hand leaves it due again. It is the guard of the
record too: an attempt moves the schedule on only where its lease still stands.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Uuid,
    and_,
    bindparam,
    func,
    insert,
    literal,
    or_,
    select,
    tuple_,
    update,
)
from sqlalchemy.engine import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from app.errors import GatewayError
from app.lifecycle.delivery import AttemptOutcome, DeliveryState, decide_next
from app.lifecycle.job import CallbackFormat, Life
from app.lifecycle.news import By
from app.lifecycle.receiver import Receiver, ReceiverHealth, after_attempt
from app.lifecycle.senders import Room, Turns
from app.lifecycle.transitions import Event
from app.storage import tables as t
from app.storage.audit import Act, write_act
from app.storage.database import Database
from app.storage.delivery_lanes import Lane, due_lanes
from app.storage.literals import PENDING, literal_of
from app.storage.lives import load, lock, write_events
from app.storage.receivers import bring_back, lock_health, put_away, write_health
from app.storage.types import Instant

LEASE = timedelta(seconds=60)  #: how long one attempt may take, with what goes before and after the call
MANUAL = 0  #: in the place of an attempt's number: somebody asked for it, and the schedule does not count it
RECOVER_BATCH = 1000  #: deliveries of one transaction

#: Writes the body of a delivery; None where it cannot.
WriteBody = Callable[[CallbackFormat, Life], bytes | None]

_D = t.deliveries.c


class DeliveryUnderWayError(GatewayError):
    """The delivery is being attempted, or will be within a minute."""


@dataclass(frozen=True, slots=True)
class ClaimedDelivery:
    """A delivery that this process alone may attempt until its lease ends."""

    delivery_id: UUID
    job_id: UUID
    receiver: Receiver
    url: str = field(repr=False)
    format: CallbackFormat
    body: bytes | None = field(repr=False)  #: the same in every attempt; None where it could not be written
    number: int  #: of the attempt in the schedule: 1, 2, …; or MANUAL
    claimed_at: datetime
    lease_until: datetime | None  #: None for a finished one: nobody else would attempt it
    failing: bool = False  #: whether the receiver's last attempt failed
    was_due_at: datetime | None = None  #: before the claim
    traceparent: str | None = None  #: of the request that the job came by


@dataclass(frozen=True, slots=True)
class DeliveryClaim:
    taken: tuple[ClaimedDelivery, ...]
    now: datetime
    retry_at: datetime | None  #: when asking again may succeed; None where nothing waits
    crowded: bool = False  #: more is due, to receivers that have all the senders that they may have


@dataclass(frozen=True, slots=True)
class Attempt:
    """An attempt that was made."""

    delivery: ClaimedDelivery
    outcome: AttemptOutcome
    milliseconds: int
    error: str | None = None  #: why there was no answer, or why it is a failure
    excerpt: str | None = field(default=None, repr=False)  #: of the answer's body


@dataclass(frozen=True, slots=True)
class Recorded:
    """How a delivery stands after an attempt."""

    state: DeliveryState
    due_at: datetime | None
    parked: bool  #: this attempt parked the receiver
    resumed: bool  #: this attempt proved a parked receiver alive


@dataclass(frozen=True, slots=True)
class DeliveryStore:
    database: Database
    lease: timedelta = LEASE
    turns: Turns = field(default_factory=Turns)

    async def claim_due(self, room: Room, write_body: WriteBody) -> DeliveryClaim:
        """Takes due deliveries for which there is room, receivers in turn, and commits their bodies where they have none yet.

        What is due to a parked receiver is put away.
        """
        async with self.database.writing() as connection:
            now = await self.database.now(connection)
            first = await _next_due(connection)
            if first is None or first > now:
                return DeliveryClaim((), now, first)
            lanes = {lane.receiver: lane for lane in await due_lanes(connection, now)}
            away = sum([await put_away(connection, lane.receiver, now) for lane in lanes.values() if lane.parked])
            rows, crowded = await self._take(connection, [lane for lane in lanes.values() if not lane.parked], room, now)
            bodies = await _written_bodies(connection, rows, write_body)
            traced = await _traceparents(connection, rows)
            await self._lease(connection, rows, bodies, now)
            retry_at = now if away else await _next_due(connection, after=now)
        taken = tuple(
            _claimed(row, bodies, traced, now, number=row.attempts + 1, lease_until=now + self.lease,
                     failing=lanes[Receiver(row.tenant, row.origin)].failing)
            for row in rows
        )  # fmt: skip
        return DeliveryClaim(taken, now, retry_at, crowded)

    async def claim(self, delivery_id: UUID, write_body: WriteBody, *, by: str) -> ClaimedDelivery | None:
        """Takes this one for an attempt that somebody asked for, whether it is due, parked or finished; None: no such delivery.

        Args:
            by: whose act it is; see `audit`.

        Raises:
            DeliveryUnderWayError: it may be in another sender's hands.
        """
        async with self.database.writing() as connection:
            # Its job first, in the order of whoever prunes; and a timeline is written with the job held.
            its_job = await connection.execute(select(_D.job_id).where(_D.delivery_id == delivery_id))
            await lock(connection, its_job.scalars().all())
            row = (await connection.execute(_held(_D.delivery_id == delivery_id))).first()
            if row is None:
                return None
            now = await self.database.now(connection)
            if row.due_at is not None and now < row.due_at <= now + self.lease:
                raise DeliveryUnderWayError
            bodies = await _written_bodies(connection, [row], write_body)
            traced = await _traceparents(connection, [row])
            pending = row.state == DeliveryState.PENDING
            await self._lease(connection, [row], bodies, now, pending=pending)
            data = {"delivery_id": str(delivery_id)}
            await write_act(connection, Act(by, "delivery.redeliver", row.tenant, data, row.job_id), now)
            await write_events(connection, [(row.job_id, Event("redelivery_asked", {**data, **By(by).told}))], now)
        return _claimed(row, bodies, traced, now, number=MANUAL, lease_until=now + self.lease if pending else None)

    async def record(self, attempts: Sequence[Attempt]) -> list[Recorded | None]:
        """Writes down what was attempted, and what follows for the delivery and its receiver; None: the delivery is gone."""
        async with self.database.writing() as connection:
            before = await lock_health(connection, {attempt.delivery.receiver for attempt in attempts})
            rows = await connection.execute(_held(_D.delivery_id.in_({a.delivery.delivery_id for a in attempts})))
            standing = {row.delivery_id: _Standing.of(row) for row in rows}
            now = await self.database.now(connection)
            health, recorded = dict(before), list[Recorded | None]()
            for attempt in attempts:
                recorded.append(_apply(attempt, standing, health, now))
            await _write_attempts(connection, [a for a in attempts if a.delivery.delivery_id in standing], standing)
            known = {receiver: before.get(receiver, ReceiverHealth()) for receiver in health}
            await write_health(connection, {r: h for r, h in health.items() if h != known[r]})
            for receiver in (r for r, h in known.items() if h.parked_at and not health[r].parked_at):
                await bring_back(connection, receiver, now)
        return recorded

    async def note_unsent(self, delivery: ClaimedDelivery, reason: str) -> None:
        """Says why one that waits was not sent. It is no attempt: when its lease ends, it is due as before."""
        noted = update(t.deliveries).where(_D.delivery_id == delivery.delivery_id, PENDING).values(last_error=reason)
        async with self.database.writing() as connection:
            await connection.execute(noted)

    async def recover(self, tenant: str, since: datetime, *, by: str) -> int:
        """Makes due all that was not delivered since then, each with the whole schedule before it; returns how many.

        What is attempted within a minute anyway is left as it is, and so is what waits for a parked receiver.
        """
        recovered, after = 0, (since, UUID(int=0))
        async with self.database.writing() as connection:
            now = await self.database.now(connection)
            await write_act(connection, Act(by, "deliveries.recover", tenant, {"since": since.isoformat()}), now)
        while True:
            async with self.database.writing() as connection:
                found = (await connection.execute(_next_since(tenant, after, now + self.lease))).all()
                await lock(connection, {row.job_id for row in found})  # as in `claim`: whoever prunes would take what is due
                held = _D.delivery_id.in_([row.delivery_id for row in found]) & _recoverable(now + self.lease)
                ids = [row.delivery_id for row in await connection.execute(_held(held))]  # in the order of all who hold some
                again = {"state": DeliveryState.PENDING.value, "due_at": now, "finished_at": None, "attempts": 0}
                await connection.execute(update(t.deliveries).where(_D.delivery_id.in_(ids)).values(again))
                recovered += len(ids)
            if len(found) < RECOVER_BATCH:
                return recovered
            after = found[-1].created_at, found[-1].delivery_id

    async def _take(
        self, connection: AsyncConnection, lanes: Sequence[Lane], room: Room, now: datetime
    ) -> tuple[list[Row[Any]], bool]:
        """Rows to attempt, held, receivers in turn; and whether some must wait for room."""
        rows, crowded, by_receiver = list[Row[Any]](), False, {lane.receiver: lane for lane in lanes}
        for receiver in self.turns.in_order(by_receiver):
            failing = by_receiver[receiver].failing
            share = room.for_receiver(receiver, failing=failing)
            if not share:
                crowded = True
                continue
            found = await _first_due(connection, receiver, share, now)
            room.take(receiver, len(found), failing=failing)
            if found:
                self.turns.served(receiver)
            crowded, rows = crowded or len(found) == share, [*rows, *found]
        return rows, crowded

    async def _lease(
        self, connection: AsyncConnection, rows: Sequence[Row[Any]], bodies: Mapping[UUID, bytes], now: datetime,
        *, pending: bool = True,
    ) -> None:  # fmt: skip
        if rows and pending:
            ids = [row.delivery_id for row in rows]
            pushed = update(t.deliveries).where(_D.delivery_id.in_(ids), PENDING).values(due_at=now + self.lease)
            await connection.execute(pushed)
        if bodies:
            kept = update(t.deliveries).where(_D.delivery_id == bindparam("its_id"), _D.body.is_(None))
            written = [{"its_id": delivery_id, "body": body} for delivery_id, body in bodies.items()]
            await connection.execute(kept.values(body=bindparam("body")), written)


@dataclass(frozen=True, slots=True)
class _Standing:
    """What an attempt may change of a delivery."""

    state: DeliveryState
    attempts: int
    due_at: datetime | None
    finished_at: datetime | None
    last_status: int | None = None
    last_error: str | None = None

    @classmethod
    def of(cls, row: Row[Any]) -> _Standing:
        return cls(DeliveryState(row.state), row.attempts, row.due_at, row.finished_at)

    def after(self, attempt: Attempt, now: datetime) -> _Standing:
        """A success counts whenever it comes; a failure moves only the schedule that it was made for."""
        told = replace(self, last_status=attempt.outcome.status, last_error=attempt.error)
        lease = attempt.delivery.lease_until
        ours = self.state is DeliveryState.PENDING and lease is not None and self.due_at == lease
        if attempt.outcome.succeeded:
            counted = self.attempts + (1 if ours and attempt.delivery.number != MANUAL else 0)
            since = self.finished_at if self.state is DeliveryState.DELIVERED else now
            return replace(told, state=DeliveryState.DELIVERED, attempts=counted, due_at=None, finished_at=since)
        if not ours:
            return told
        number = attempt.delivery.number
        step = decide_next(attempt.outcome, delivery_id=attempt.delivery.delivery_id, attempt=max(number, 1), now=now)
        finished_at = None if step.state is DeliveryState.PENDING else now
        if number != MANUAL:
            return replace(told, state=step.state, attempts=number, due_at=step.attempt_at, finished_at=finished_at)
        if step.state is DeliveryState.GONE:
            return replace(told, state=step.state, due_at=None, finished_at=finished_at)
        # One that was put away is looked at again: its receiver may have been resumed meanwhile.
        return replace(told, due_at=attempt.delivery.was_due_at or now)


def _apply(
    attempt: Attempt, standing: dict[UUID, _Standing], health: dict[Receiver, ReceiverHealth], now: datetime
) -> Recorded | None:
    """Takes one attempt into what is known of deliveries and receivers."""
    delivery_id, receiver = attempt.delivery.delivery_id, attempt.delivery.receiver
    was = health.get(receiver, ReceiverHealth())
    health[receiver] = then = after_attempt(was, attempt.outcome, now)
    if delivery_id not in standing:
        return None
    standing[delivery_id] = after = standing[delivery_id].after(attempt, now)
    return Recorded(
        after.state,
        after.due_at,
        parked=then.parked_at is not None and was.parked_at is None,
        resumed=then.parked_at is None and was.parked_at is not None,
    )


async def _write_attempts(connection: AsyncConnection, attempts: Sequence[Attempt], standing: Mapping[UUID, _Standing]) -> None:
    if not attempts:
        return
    made = [
        {
            "delivery_id": a.delivery.delivery_id, "number": a.delivery.number, "at": a.delivery.claimed_at,
            "status": a.outcome.status, "milliseconds": a.milliseconds, "error": a.error, "excerpt": a.excerpt,
        }
        for a in attempts
    ]  # fmt: skip
    await connection.execute(insert(t.delivery_attempts), made)
    columns = ("state", "attempts", "due_at", "finished_at", "last_status", "last_error")
    rows = [
        {"its_id": delivery_id, **{name: getattr(after, name) for name in columns}, "state": after.state.value}
        for delivery_id, after in standing.items()
    ]
    changed = update(t.deliveries).where(_D.delivery_id == bindparam("its_id"))
    await connection.execute(changed.values({name: bindparam(name) for name in columns}), rows)


def _held(which: Any) -> Any:
    return select(t.deliveries).where(which).order_by(_D.delivery_id).with_for_update()


async def _first_due(connection: AsyncConnection, receiver: Receiver, limit: int, now: datetime) -> list[Row[Any]]:
    lane = and_(PENDING, _D.due_at.is_not(None), _D.tenant == receiver.tenant, _D.origin == receiver.origin)
    query = select(t.deliveries).where(lane, _D.due_at <= now).order_by(_D.due_at, _D.delivery_id).limit(limit)
    return list((await connection.execute(query.with_for_update(skip_locked=True))).all())


async def _next_due(connection: AsyncConnection, *, after: datetime | None = None) -> datetime | None:
    query = select(func.min(_D.due_at)).where(_D.due_at.is_not(None))
    found: datetime | None = (await connection.execute(query if after is None else query.where(_D.due_at > after))).scalar_one()
    return found


async def _written_bodies(connection: AsyncConnection, rows: Sequence[Row[Any]], write_body: WriteBody) -> dict[UUID, bytes]:
    """Bodies for those that have none: written once, and kept before anything is sent."""
    bare = [row for row in rows if row.body is None]
    lives = await load(connection, {row.job_id for row in bare}) if bare else {}
    written = {row.delivery_id: write_body(CallbackFormat(row.format), lives[row.job_id]) for row in bare}
    return {delivery_id: body for delivery_id, body in written.items() if body is not None}


async def _traceparents(connection: AsyncConnection, rows: Sequence[Row[Any]]) -> dict[UUID, str]:
    """Of the jobs of these deliveries, where they have one."""
    if not rows:
        return {}
    j = t.jobs.c
    query = select(j.job_id, j.traceparent).where(j.job_id.in_({row.job_id for row in rows}), j.traceparent.is_not(None))
    return {row.job_id: row.traceparent for row in await connection.execute(query)}


def _claimed(
    row: Row[Any],
    bodies: Mapping[UUID, bytes],
    traced: Mapping[UUID, str],
    now: datetime,
    *,
    number: int,
    lease_until: datetime | None,
    failing: bool = False,
) -> ClaimedDelivery:
    return ClaimedDelivery(
        row.delivery_id, row.job_id, Receiver(row.tenant, row.origin), row.url, CallbackFormat(row.format),
        row.body or bodies.get(row.delivery_id), number, now, lease_until, failing, row.due_at,
        traced.get(row.job_id),
    )  # fmt: skip


def _next_since(tenant: str, after: tuple[datetime, UUID], soon: datetime) -> Any:
    place = tuple_(literal(after[0], Instant), literal(after[1], Uuid))
    query = select(_D.delivery_id, _D.job_id, _D.created_at).where(_D.tenant == tenant, _recoverable(soon))
    query = query.where(tuple_(_D.created_at, _D.delivery_id) > place).order_by(_D.created_at, _D.delivery_id)
    return query.limit(RECOVER_BATCH)


def _recoverable(soon: datetime) -> ColumnElement[bool]:
    return and_(_D.state != literal_of(DeliveryState.DELIVERED), or_(~PENDING, _D.due_at > soon))
