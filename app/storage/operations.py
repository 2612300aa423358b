"""Operations on many jobs: made once, claimed with a lease, done in batches, and stopped.

A batch is one transaction: the operation's row is held, the jobs are changed, and what became of them is counted. So a batch is
done and counted or neither, whoever dies; and once a stop is committed, no batch follows. The lease is the due time itself,
pushed ahead, as it is of deliveries; a batch is recorded only where its lease still stands.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Select, func, insert, null, select, update
from sqlalchemy.engine import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from app.lifecycle.news import By, CancelAsked
from app.lifecycle.operation import JobOutcome, JobResult, OperationKind, OperationState, Progress, after_cancel
from app.lifecycle.transitions import Change
from app.storage import tables as t
from app.storage.audit import Act, write_act
from app.storage.counted import Counted
from app.storage.database import Database
from app.storage.intake import Order, Taken, take_orders
from app.storage.lives import Decide, apply_locked, lock
from app.storage.many import insert_for
from app.storage.search import Key

LEASE = timedelta(seconds=30)  #: how long a batch may take, with what goes before it
PAUSE = timedelta(milliseconds=500)  #: between two batches of an operation, so that others have their turn
REFUSALS_MAX = 200  #: jobs of an operation that are listed as skipped, and as failed; all of them are counted

_O = t.operations.c
_DUE = _O.due_at.is_not(None)

#: What became of an order of a retry.
Judge = Callable[[UUID, Taken], JobOutcome]


@dataclass(frozen=True, slots=True)
class NewOperation:
    """What an operator asked for: either a filter or a list of jobs."""

    operation_id: UUID
    kind: OperationKind
    filter: Mapping[str, Any] | None  #: by the names of `GET /jobs`, in values of JSON
    jobs: tuple[UUID, ...] | None
    accept_double_billing: bool
    key_id: str  #: whose act it is
    fingerprint: bytes  #: SHA-256 of what was asked for
    idempotency_key: str | None
    matched: Counted  #: how many jobs it will look at, as far as that was counted


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation as it stands. It covers jobs that were made before it, so it ends."""

    operation_id: UUID
    kind: OperationKind
    state: OperationState
    filter: Mapping[str, Any] | None
    jobs: tuple[UUID, ...] | None  #: left out in lists
    accept_double_billing: bool
    key_id: str
    stopped_by: str | None
    fingerprint: bytes
    matched: Counted
    progress: Progress
    reached: Key | None  #: the place of the last job that a filter has found
    due_at: datetime | None  #: of the next batch, or until when somebody is at it; None once it is over
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None

    @property
    def by(self) -> By:
        """Who does what it does to each job."""
        return By(self.key_id, is_operator=True, operation_id=self.operation_id)


@dataclass(frozen=True, slots=True)
class Reached:
    """How far an operation is after a batch."""

    place: Key | None = None  #: in the list that its filter makes
    at_end: bool = False


@dataclass(frozen=True, slots=True)
class OperationClaim:
    """An operation whose next batch this process alone may do, until its lease ends; else when asking again may succeed."""

    operation: Operation | None
    now: datetime
    retry_at: datetime | None


@dataclass(frozen=True, slots=True)
class Refused:
    """A job that was not done."""

    job_id: UUID
    at: datetime
    result: JobResult
    code: str


@dataclass(frozen=True, slots=True)
class OperationStore:
    database: Database
    lease: timedelta = LEASE
    pause: timedelta = PAUSE

    async def make(self, new: NewOperation) -> tuple[Operation, bool]:
        """Writes it down, or finds the one that there is: with the same key, or, without one, the same that still runs.

        Returns:
            The operation, and whether it was made just now.
        """
        async with self.database.writing() as connection:
            now = await self.database.now(connection)
            statement = insert_for(connection, t.operations).on_conflict_do_nothing().returning(_O.operation_id)
            while True:
                if (await connection.execute(statement, [_new_row(new, now)])).first() is not None:
                    await write_act(connection, _made(new), now)
                    return await _read(connection, new.operation_id), True
                if (found := await _the_same(connection, new)) is not None:  # else it has just ended
                    return found, False

    async def find(self, operation_id: UUID) -> Operation | None:
        async with self.database.reading() as connection:
            row = (await connection.execute(select(t.operations).where(_O.operation_id == operation_id))).first()
            return None if row is None else _operation(row)

    async def newest(self, limit: int, before: UUID | None = None) -> list[Operation]:
        """Newest first, from before the operation `before` on; without their lists of jobs."""
        columns: list[Any] = [column for column in t.operations.c if column is not _O.jobs]
        query: Select[Any] = select(*columns, null().label("jobs")).order_by(_O.operation_id.desc()).limit(limit)
        async with self.database.reading() as connection:
            rows = await connection.execute(query if before is None else query.where(_O.operation_id < before))
            return [_operation(row) for row in rows.all()]

    async def refusals(self, operation_id: UUID) -> list[Refused]:
        """The first jobs that were skipped and that failed, in the order in which they were looked at."""
        r = t.operation_refusals.c
        query = select(r.job_id, r.at, r.result, r.code).where(r.operation_id == operation_id).order_by(r.refusal_id)
        async with self.database.reading() as connection:
            return [Refused(row.job_id, row.at, JobResult(row.result), row.code) for row in await connection.execute(query)]

    async def stop(self, operation_id: UUID, *, by: str) -> Operation | None:
        """Lets no further batch begin; a batch under way is committed before this, or not at all. None: no such operation."""
        async with self.database.writing() as connection:
            row = (await connection.execute(_held(operation_id))).first()
            if row is None:
                return None
            if row.state == OperationState.RUNNING:
                now = await self.database.now(connection)
                over = {"state": OperationState.STOPPED.value, "due_at": None, "finished_at": now, "stopped_by": by}
                await connection.execute(update(t.operations).where(_O.operation_id == operation_id).values(over))
                await write_act(connection, Act(by, "operation.stop", data={"operation_id": str(operation_id)}), now)
            return await _read(connection, operation_id)

    async def claim_due(self) -> OperationClaim:
        """Takes the operation that has been due for longest, by pushing its due time past a lease."""
        due = select(_O.operation_id, _O.started_at).where(_DUE).order_by(_O.due_at).limit(1)
        async with self.database.writing() as connection:
            now = await self.database.now(connection)
            row = (await connection.execute(due.where(_O.due_at <= now).with_for_update(skip_locked=True))).first()
            if row is None:
                first = (await connection.execute(select(func.min(_O.due_at)).where(_DUE))).scalar_one()
                return OperationClaim(None, now, first)
            leased = {"due_at": now + self.lease, "started_at": row.started_at or now}
            await connection.execute(update(t.operations).where(_O.operation_id == row.operation_id).values(leased))
            return OperationClaim(await _read(connection, row.operation_id), now, None)

    async def cancel(
        self, claimed: Operation, job_ids: Sequence[UUID], then: Reached, decide: Decide
    ) -> list[Change | None] | None:
        """Asks for the cancel of these jobs. None: the lease is over, or the operation was stopped; nothing was done."""
        async with self.database.writing() as connection:
            if not await self._is_ours(connection, claimed):
                return None
            lives, now = await lock(connection, job_ids), await self.database.now(connection)
            asked = CancelAsked(claimed.by)
            changes = await apply_locked(connection, lives, [(job_id, asked) for job_id in job_ids], decide, now)
            outcomes = [after_cancel(job_id, change) for job_id, change in zip(job_ids, changes, strict=True)]
            await self._record(connection, claimed, outcomes, then)
            return changes

    async def retry(
        self, claimed: Operation, orders: Mapping[UUID, Order], refused: Sequence[JobOutcome], then: Reached, judge: Judge
    ) -> list[Taken] | None:
        """Takes these orders, each by the job that it repeats, as far as limits allow. None: as for `cancel`.

        Args:
            refused: jobs of the batch against which something stood before.
        """
        async with self.database.writing() as connection:
            if not await self._is_ours(connection, claimed):
                return None
            taken = await take_orders(self.database, connection, list(orders.values())) if orders else []
            outcomes = [judge(job_id, one) for job_id, one in zip(orders, taken, strict=True)]
            await self._record(connection, claimed, [*outcomes, *refused], then)
            return taken

    async def record(self, claimed: Operation, outcomes: Sequence[JobOutcome], then: Reached) -> bool:
        """Counts jobs to which nothing was done. False: as for `cancel`."""
        async with self.database.writing() as connection:
            if not await self._is_ours(connection, claimed):
                return False
            await self._record(connection, claimed, outcomes, then)
            return True

    async def _is_ours(self, connection: AsyncConnection, claimed: Operation) -> bool:
        """Whether the lease still stands; then the row is held until the batch is committed."""
        row = (await connection.execute(_held(claimed.operation_id))).first()
        return row is not None and row.due_at is not None and row.due_at == claimed.due_at

    async def _record(
        self, connection: AsyncConnection, claimed: Operation, outcomes: Sequence[JobOutcome], then: Reached
    ) -> None:
        now = await self.database.now(connection)
        progress, place = claimed.progress.after(outcomes), then.place or claimed.reached
        values: dict[str, Any] = {
            **_counts(progress),
            "reached_at": place[0] if place else None,
            "reached_job": place[1] if place else None,
            "due_at": now + self.pause,
        }
        if then.at_end:
            values |= {"state": OperationState.DONE.value, "due_at": None, "finished_at": now}
        await connection.execute(update(t.operations).where(_O.operation_id == claimed.operation_id).values(values))
        if rows := _listed(claimed, outcomes, now):
            await connection.execute(insert(t.operation_refusals), rows)


def _listed(claimed: Operation, outcomes: Sequence[JobOutcome], now: datetime) -> list[dict[str, Any]]:
    """Rows for the first jobs of each result that were not done."""
    rows: list[dict[str, Any]] = []
    for result in (JobResult.SKIPPED, JobResult.FAILED):
        room = max(0, REFUSALS_MAX - claimed.progress.count_of(result))
        found = [outcome for outcome in outcomes if outcome.result is result][:room]
        rows += [
            {
                "operation_id": claimed.operation_id, "job_id": outcome.job_id, "at": now, "result": result.value,
                "code": outcome.code or "",
            }
            for outcome in found
        ]  # fmt: skip
    return rows


def _held(operation_id: UUID) -> Any:
    return select(_O.state, _O.due_at).where(_O.operation_id == operation_id).with_for_update()


async def _read(connection: AsyncConnection, operation_id: UUID) -> Operation:
    return _operation((await connection.execute(select(t.operations).where(_O.operation_id == operation_id))).one())


async def _the_same(connection: AsyncConnection, new: NewOperation) -> Operation | None:
    if new.idempotency_key is not None:
        same = (_O.key_id == new.key_id) & (_O.idempotency_key == new.idempotency_key)
    else:
        same = (_O.fingerprint == new.fingerprint) & _O.idempotency_key.is_(None) & _DUE
    row = (await connection.execute(select(t.operations).where(same))).first()
    return None if row is None else _operation(row)


def _made(new: NewOperation) -> Act:
    what = {"filter": dict(new.filter)} if new.filter is not None else {"jobs": len(new.jobs or ())}
    billing = {"accept_double_billing": True} if new.accept_double_billing else {}
    matched = {"matched": new.matched.found, **({"at_least": True} if new.matched.more else {})}
    data = {"operation_id": str(new.operation_id), "kind": new.kind.value, **matched, **what, **billing}
    return Act(new.key_id, "operation.create", (new.filter or {}).get("tenant"), data)


def _new_row(new: NewOperation, now: datetime) -> dict[str, Any]:
    return {
        "operation_id": new.operation_id,
        "kind": new.kind.value,
        "state": OperationState.RUNNING.value,
        "filter": dict(new.filter) if new.filter is not None else None,
        "jobs": [str(job_id) for job_id in new.jobs] if new.jobs is not None else None,
        "accept_double_billing": new.accept_double_billing,
        "key_id": new.key_id,
        "fingerprint": new.fingerprint,
        "idempotency_key": new.idempotency_key,
        "matched": new.matched.found,
        "matched_more": new.matched.more,
        **_counts(Progress()),
        "due_at": now,
        "created_at": now,
    }


def _counts(progress: Progress) -> dict[str, Any]:
    return {
        "seen": progress.seen, "done": progress.done, "skipped": progress.skipped, "failed": progress.failed,
        "codes": dict(progress.codes),
    }  # fmt: skip


def _operation(row: Row[Any]) -> Operation:
    return Operation(
        operation_id=row.operation_id,
        kind=OperationKind(row.kind),
        state=OperationState(row.state),
        filter=row.filter,
        jobs=tuple(map(UUID, row.jobs)) if row.jobs is not None else None,
        accept_double_billing=row.accept_double_billing,
        key_id=row.key_id,
        stopped_by=row.stopped_by,
        fingerprint=row.fingerprint,
        matched=Counted(row.matched, row.matched_more),
        progress=Progress(row.seen, row.done, row.skipped, row.failed, row.codes),
        reached=(row.reached_at, row.reached_job) if row.reached_job is not None else None,
        due_at=row.due_at,
        created_at=row.created_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
    )
