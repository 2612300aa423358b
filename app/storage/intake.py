"""Accepted jobs are written here, many at once.

An order is what one request asks for: a job, a batch, or a retry. All orders of a group are decided and written in one
transaction: what came before is found, limits are taken, the rest is inserted. The order of decisions is the contract's:
idempotency, reuse, request rate, open jobs, budget.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Table, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from app.lifecycle.job import Job, Life
from app.lifecycle.limits import Admission, Limits, admit
from app.lifecycle.news import By
from app.lifecycle.transitions import Event
from app.storage import books
from app.storage import tables as t
from app.storage.audit import write_acts
from app.storage.database import Database
from app.storage.lives import act_on_job, lives_of, lock, write_events
from app.storage.many import insert_absent, insert_many, insert_together
from app.storage.reuse import Wanted, hold, reusable, taken_over
from app.storage.rows import event_rows, job_row, metadata_rows, outbox_rows

Mark = tuple[str, str | UUID]  #: a tenant, and what no two of its orders may share: an idempotency key, or the job they repeat


@dataclass(frozen=True, slots=True)
class Order:
    """What one request asks for: its jobs are accepted together, or none of them."""

    jobs: tuple[Job, ...]
    reuse: frozenset[int] = frozenset()  #: places of jobs for which the result of an identical one will do
    by: By | None = None  #: who asked for it, where that is told: of a retry

    @property
    def tenant(self) -> str:
        return self.jobs[0].tenant

    @property
    def mark(self) -> Mark | None:
        """The first job bears it; a batch has one for the whole."""
        first = self.jobs[0]
        mark = first.idempotency_key or first.retry_of
        return (first.tenant, mark) if mark is not None else None

    @property
    def is_request(self) -> bool:
        """Whether it counts for the tenant's rate of requests. What an operation makes is no request of the tenant's."""
        return self.by is None or self.by.operation_id is None


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of an order."""

    lives: tuple[Life, ...]  #: its jobs as they now stand; empty where a limit stood in the way
    created: bool = False  #: False where an earlier request with the same mark had made them
    admission: Admission | None = None  #: what the limits said, where the tenant has some and they were asked


@dataclass(frozen=True, slots=True)
class IntakeStore:
    database: Database

    async def take(self, orders: Sequence[Order]) -> list[Taken]:
        """Writes the new jobs of these orders in one transaction; what came before yields the jobs that it made.

        The jobs' instants are replaced by the database's.
        """
        return await self.database.transact(lambda connection: take_orders(self.database, connection, orders))

    async def knows(self, tenant: str, idempotency_key: str) -> bool:
        """Whether an order with this key was taken."""
        j = t.jobs.c
        query = select(j.job_id).where(j.tenant == tenant, j.idempotency_key == idempotency_key)
        async with self.database.reading() as connection:
            return (await connection.execute(query.where(j.idempotency_key.is_not(None)))).first() is not None

    async def retried(self, job_ids: Collection[UUID]) -> set[UUID]:
        """Those of these jobs that were retried."""
        retry_of = t.jobs.c.retry_of
        async with self.database.reading() as connection:
            rows = await connection.execute(select(retry_of).where(retry_of.in_(job_ids), retry_of.is_not(None)))
            return {row.retry_of for row in rows}

    async def has_result(self, job: Job) -> bool:
        """Whether an identical job of the tenant has brought stored pictures."""
        if job.request_hash is None:
            return False
        async with self.database.reading() as connection:
            return bool(await reusable(connection, [(job.tenant, job.request_hash)]))


async def take_orders(database: Database, connection: AsyncConnection, orders: Sequence[Order]) -> list[Taken]:
    """The same, in a transaction of the caller's."""
    limits = await books.lock_limits(connection, sorted({order.tenant for order in orders}))
    now = await database.now(connection) if limits else database.began(connection)
    return await _Group(database, connection, now, limits).take([_at(order, now) for order in orders])


class _Group:
    """The orders of one transaction, each known by its place."""

    def __init__(
        self, database: Database, connection: AsyncConnection, now: datetime, limits: dict[str, tuple[Limits, datetime | None]]
    ) -> None:
        self.database, self.connection, self.now, self.limits = database, connection, now, limits

    async def take(self, orders: Sequence[Order]) -> list[Taken]:
        known = await self._known({order.mark for order in orders if order.mark})
        fresh = {n: order for n, order in _first_of_each(orders) if order.mark not in known}
        results = await self._results(fresh.values())
        lives = {n: _lives(order, results) for n, order in fresh.items()}
        admissions = await self._admissions({n: _unsettled(made) for n, made in lives.items()}, fresh)
        created = await self._insert({n: made for n, made in lives.items() if n not in admissions or not admissions[n].excess})
        # Another replica may have been first meanwhile, and doubles in this group come after the one that was taken.
        known |= await self._known({order.mark for order in orders if order.mark} - known.keys())
        await self._tell_repeated([fresh[n] for n in created])
        refused = {order.mark: admissions[n] for n, order in fresh.items() if n in admissions}
        return [
            Taken(created[n], True, admissions.get(n))
            if n in created
            else Taken(known[order.mark])
            if order.mark in known
            else Taken((), False, admissions.get(n) or refused[order.mark])
            for n, order in enumerate(orders)
        ]

    async def _known(self, marks: Collection[Mark]) -> dict[Mark | None, tuple[Life, ...]]:
        """The jobs that earlier requests with these marks made."""
        j, rows = t.jobs.c, list[Any]()
        if keys := [(tenant, key) for tenant, key in marks if isinstance(key, str)]:
            query = select(t.jobs).where(tuple_(j.tenant, j.idempotency_key).in_(keys), j.idempotency_key.is_not(None))
            rows += (await self.connection.execute(query)).all()
        if repeated := [job_id for _, job_id in marks if isinstance(job_id, UUID)]:
            query = select(t.jobs).where(j.retry_of.in_(repeated), j.retry_of.is_not(None))
            rows += (await self.connection.execute(query)).all()
        lives = await lives_of(self.connection, rows)
        batches = await self._batches([life.job.job_id for life in lives if life.job.batch])
        found: dict[Mark | None, tuple[Life, ...]] = {}
        for life in lives:
            found[Order((life.job,)).mark] = batches.get(life.job.job_id, (life,))
        return found

    async def _batches(self, batch_ids: Collection[UUID]) -> dict[UUID, tuple[Life, ...]]:
        """Batches by the ids of their first jobs."""
        if not batch_ids:
            return {}
        j, found = t.jobs.c, dict[UUID, tuple[Life, ...]]()
        query = select(t.jobs).where(j.batch_id.in_(batch_ids), j.batch_id.is_not(None)).order_by(j.batch_id, j.batch_place)
        for life in await lives_of(self.connection, (await self.connection.execute(query)).all()):
            assert life.job.batch is not None
            found[life.job.batch.batch_id] = (*found.get(life.job.batch.batch_id, ()), life)
        return found

    async def _results(self, orders: Iterable[Order]) -> dict[Wanted, Life]:
        """What is there already for those jobs that may reuse it, held until they refer to its pictures too."""
        wanted = {(job.tenant, job.request_hash) for order in orders for n, job in enumerate(order.jobs) if n in order.reuse}
        known = [(tenant, request_hash) for tenant, request_hash in wanted if request_hash is not None]
        return await hold(self.connection, await reusable(self.connection, known))

    async def _admissions(self, new_jobs: dict[int, int], orders: dict[int, Order]) -> dict[int, Admission]:
        """What their limits say to the orders of tenants that have some; what they allow is taken."""
        decided: dict[int, Admission] = {}
        for tenant, (limits, tat) in self.limits.items():
            asking = {n: new_jobs[n] for n, order in orders.items() if order.tenant == tenant and new_jobs[n]}
            if not asking:
                continue
            standing = await books.standing_of(self.connection, tenant, tat, self.now)
            for n, count in asking.items():
                asked = limits if orders[n].is_request else replace(limits, requests_per_second=None)
                decided[n] = admit(asked, standing, count, self.now)
                standing = decided[n].standing
            if standing.request_tat != tat:
                await books.keep_request_tat(self.connection, tenant, standing.request_tat)
        return decided

    async def _insert(self, orders: dict[int, tuple[Life, ...]]) -> dict[int, tuple[Life, ...]]:
        """Writes these lives; returns those of the orders that nobody else was faster with."""
        # In the order of the marks: two groups that hold the same ones would otherwise wait for each other.
        jobs = {n: tuple(books.booked(life) for life in lives) for n, lives in orders.items()}
        firsts = sorted((made[0] for made in jobs.values()), key=lambda job: str(Order((job,)).mark))
        inserted = await insert_absent(self.connection, t.jobs, [job_row(job) for job in firsts])
        created = {n: made for n, made in jobs.items() if made[0].job_id in inserted}
        await insert_many(self.connection, t.jobs, [job_row(job) for made in created.values() for job in made[1:]])
        await self._write_what_goes_with([life for n in created for life in orders[n]])
        return {n: tuple(map(Life.with_job, orders[n], made)) for n, made in created.items()}

    async def _tell_repeated(self, orders: Sequence[Order]) -> None:
        """The timelines of the jobs that these new ones repeat say so, and who asked for it; see `HistoryStore.events`."""
        retries = {order.jobs[0].retry_of: order for order in orders if order.jobs[0].retry_of is not None}
        if not retries:
            return
        old = await lock(self.connection, [job_id for job_id in retries if job_id is not None])
        happened, acts = [], []
        for job_id, life in old.items():
            order = retries[job_id]
            data = {"retry": str(order.jobs[0].job_id)}
            happened.append((job_id, Event("retried", {**data, **(order.by.told if order.by else {})})))
            acts += act_on_job(order.by, "job.retry", life.job, data)
        await write_events(self.connection, happened, self.now)
        await write_acts(self.connection, acts, self.now)

    async def _write_what_goes_with(self, lives: Sequence[Life]) -> None:
        happened = [(life.job.job_id, event) for life in lives for event in _events(life.job)]
        rows: dict[Table, list[dict[str, Any]]] = {
            t.usage_entries: books.entries(lives, self.now),
            t.events: event_rows(happened, self.now),
            t.job_metadata: [row for life in lives for row in metadata_rows(life.job)],
            **outbox_rows([life for life in lives if life.job.is_settled], self.now),
        }
        await insert_together(self.connection, rows)


def _first_of_each(orders: Sequence[Order]) -> Iterable[tuple[int, Order]]:
    """The orders with their places, without the doubles of earlier ones in the group."""
    seen: set[Mark] = set()
    for n, order in enumerate(orders):
        if order.mark is None or order.mark not in seen:
            yield n, order
        if order.mark is not None:
            seen.add(order.mark)


def _lives(order: Order, results: Mapping[Wanted, Life]) -> tuple[Life, ...]:
    """The order's new lives; some are settled at once by what is there already."""
    found = [
        results.get((job.tenant, job.request_hash or b"")) if n in order.reuse else None for n, job in enumerate(order.jobs)
    ]
    return tuple(taken_over(Life(job), source) if source else Life(job) for job, source in zip(order.jobs, found, strict=True))


def _unsettled(lives: Sequence[Life]) -> int:
    return sum(not life.job.is_settled for life in lives)


def _at(order: Order, now: datetime) -> Order:
    return replace(order, jobs=tuple(_job_at(job, now) for job in order.jobs))


def _job_at(job: Job, now: datetime) -> Job:
    if job.is_settled:
        return replace(job, created_at=now, updated_at=now, finished_at=now)
    return replace(job, created_at=now, updated_at=now, due_at=now)


def _events(job: Job) -> Iterable[Event]:
    yield Event("accepted", {"retry_of": str(job.retry_of)} if job.retry_of else {})
    if job.is_settled:
        yield Event(job.state.value, {"via": job.completed_via, "reused_from": str(job.reused_from), "images": len(job.images)})
