"""The archive's rows: which pictures are still to be fetched, what became of each, and who still refers to an object.

An object of the picture store is named by its hash, so several rows may refer to one. It may be deleted when the last of them
lets go, and never while somebody is about to refer to it anew. Taking it away is three steps: `withdraw`, deletion, `forget`;
keeping it is three steps too: the put, `record_stored`, and a look whether the object is there. Why no picture is lost between
them, on both databases:

- `withdraw` and `record_stored` of one hash exclude each other: each is a short transaction alone with that hash (an advisory
  lock in PostgreSQL; SQLite has a single writer). No transaction is open while the picture store works.
- a withdrawn row keeps its hash until the deletion is over, and while it does, `record_stored` refuses that hash. So once a row
  is recorded, every deletion that began before it is over; and none begins after it, since the row is seen by `withdraw`.
- what a deletion took away between the put and the record is therefore missing at the look that follows, and is put again; from
  then on nothing takes it away.
- a job that takes over stored pictures (`reuse`) is alone with their hashes too, from its look at them until it refers to them.
- a job that is to be delivered after all keeps its pictures: `withdraw` holds it, as whoever revives one does, and looks again.
- each step may be repeated after a crash. A withdrawal that nobody finished within `WITHDRAWAL` holds nobody up any longer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, func, literal_column, select, text, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.lifecycle.job import PictureState
from app.storage import tables as t
from app.storage.database import Database
from app.storage.horizon import Horizon
from app.storage.retention import hold_what_may_go

WITHDRAWAL = timedelta(hours=1)  #: how long one withdrawal may take; far longer than a deletion does

_I = t.images.c
_DUE = _I.due_at.is_not(None)
_WITHDRAWN = "withdrawn"
_IS_WITHDRAWN = _I.error == literal_column(f"'{_WITHDRAWN}'")


@dataclass(frozen=True, slots=True)
class DuePicture:
    """A picture to fetch. Whoever holds it may write its row until `lease_until`, when somebody else may claim it."""

    job_id: UUID
    index: int
    source_url: str
    size: str  #: as the job asked for it
    attempts: int  #: tries, with this one
    created_at: datetime
    lease_until: datetime
    tenant: str
    traceparent: str | None  #: of the request that the job came by

    def age(self, now: datetime) -> timedelta:
        return now - self.created_at


@dataclass(frozen=True, slots=True)
class PictureClaim:
    taken: tuple[DuePicture, ...]
    now: datetime
    retry_at: datetime | None  #: when the next one is due


@dataclass(frozen=True, slots=True)
class PictureFacts:
    """What is known of a picture that is stored; named as the columns are."""

    sha256: str
    media_type: str
    width: int
    height: int
    bytes: int
    has_thumbnail: bool
    size_matches: bool | None


class Recorded(StrEnum):
    """What came of recording a picture."""

    STORED = "stored"
    STALE = "stale"  #: somebody else has claimed the row since, or it is gone
    WITHDRAWN = "withdrawn"  #: the object is being deleted just now; try again soon


@dataclass(frozen=True, slots=True)
class Reference:
    """A row that refers to an object."""

    job_id: UUID
    index: int
    sha256: str
    media_type: str


@dataclass(frozen=True, slots=True)
class PictureRows:
    """Every call raises StorageUnavailableError where the database is out of reach."""

    database: Database
    horizon: Horizon = field(default_factory=Horizon)

    async def claim_due(self, limit: int, lease: timedelta) -> PictureClaim:
        """Takes up to `limit` due pictures by pushing their due time past a lease, and counts a try for each."""
        async with self.database.writing() as connection:
            now = await self.database.now(connection)
            rows = await self._due(connection, limit, now)
            jobs = await _jobs(connection, {row["job_id"] for row in rows})
            await _lease(connection, [(row["job_id"], row["index"]) for row in rows], now + lease)
            taken = tuple(
                DuePicture(**{**row, "attempts": row["attempts"] + 1}, **jobs[row["job_id"]], lease_until=now + lease)
                for row in rows
            )
            return PictureClaim(taken, now, await self._next_due(connection, now))

    async def record_stored(self, due: DuePicture, facts: PictureFacts) -> Recorded:
        """Writes down that the object is in the picture store, where it must be by now."""
        async with self.database.writing() as connection:
            await alone_with(connection, facts.sha256)
            now = await self.database.now(connection)
            if await _is_being_deleted(connection, facts.sha256, now):
                return Recorded.WITHDRAWN
            values = {"state": PictureState.STORED.value, "due_at": None, "stored_at": now, "error": None, **asdict(facts)}
            done = await connection.execute(update(t.images).where(*_held(due)).values(values))
            return Recorded.STORED if done.rowcount else Recorded.STALE

    async def postpone(self, due: DuePicture, error: str, pause: timedelta, *, counts: bool = True) -> bool:
        """To be tried again after `pause`. False where somebody else has claimed it since.

        Args:
            counts: whether this was a try; otherwise it is given back.
        """
        async with self.database.writing() as connection:
            values = {"due_at": await self.database.now(connection) + pause, "error": error}
            values |= {} if counts else {"attempts": due.attempts - 1}
            done = await connection.execute(update(t.images).where(*_held(due)).values(values))
            return bool(done.rowcount)

    async def end(self, due: DuePicture, state: PictureState, error: str) -> bool:
        """No more tries. False where somebody else has claimed it since."""
        async with self.database.writing() as connection:
            values = {"state": state.value, "due_at": None, "error": error}
            done = await connection.execute(update(t.images).where(*_held(due)).values(values))
            return bool(done.rowcount)

    async def references(self, job_id: UUID) -> list[Reference]:
        """The objects that the rows of this job refer to, withdrawn ones too."""
        query = select(_I.job_id, _I.index, _I.sha256, _I.media_type)
        query = query.where(_I.job_id == job_id, _I.sha256.is_not(None)).order_by(_I.index)
        async with self.database.reading() as connection:
            return [Reference(*row) for row in await connection.execute(query)]

    async def withdraw(self, reference: Reference) -> bool:
        """True where this was the last reference: now delete the object, then `forget`.

        Otherwise the row has let go of it, or its job is to stay after all, and it with it.
        """
        this = (_I.job_id == reference.job_id) & (_I.index == reference.index) & (_I.sha256 == reference.sha256)
        others = select(_I.job_id).where(_I.sha256 == reference.sha256, ~this, _I.error.is_(None)).limit(1)
        async with self.database.writing() as connection:
            await alone_with(connection, reference.sha256)
            if not await hold_what_may_go(connection, reference.job_id):
                return False
            if (await connection.execute(others)).first() is not None:
                await connection.execute(update(t.images).where(this).values(_NOTHING))
                return False
            values = {"error": _WITHDRAWN, "stored_at": await self.database.now(connection)}
            return bool((await connection.execute(update(t.images).where(this).values(values))).rowcount)

    async def forget(self, reference: Reference) -> None:
        """The object of a withdrawn row is deleted: the row lets go of it."""
        this = (_I.job_id == reference.job_id, _I.index == reference.index, _I.sha256 == reference.sha256, _IS_WITHDRAWN)
        async with self.database.writing() as connection:
            await connection.execute(update(t.images).where(*this).values(_NOTHING))

    async def _due(self, connection: AsyncConnection, limit: int, now: datetime) -> Sequence[dict[str, Any]]:
        query = select(_I.job_id, _I.index, _I.source_url, _I.attempts, _I.created_at, _I.due_at)
        query = query.where(_DUE, _I.due_at <= now).order_by(_I.due_at).limit(limit)
        if floor := self.horizon.floor(now):
            query = query.where(_I.due_at >= floor)
        rows = [dict(row) for row in (await connection.execute(query.with_for_update(skip_locked=True))).mappings()]
        for row in rows:
            self.horizon.reached(row.pop("due_at"))
        return rows

    async def _next_due(self, connection: AsyncConnection, now: datetime) -> datetime | None:
        """What is due already and was not taken is held by somebody, who will not be done sooner for being asked at once."""
        query = select(func.min(_I.due_at)).where(_DUE, _I.due_at > now)
        found: datetime | None = (await connection.execute(query)).scalar_one()
        return found


async def alone_with(connection: AsyncConnection, sha256: str) -> None:
    """Returns when no other transaction is at this hash; it holds until this one ends. Ask for several in sorted order."""
    if connection.dialect.name == "postgresql":
        key = int.from_bytes(bytes.fromhex(sha256)[:8], signed=True)
        await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": key})


#: What a row without an object says; the same as of a picture that could not be fetched.
_NOTHING: dict[str, Any] = {
    "state": PictureState.GIVEN_UP.value, "error": "deleted", "stored_at": None, "sha256": None, "media_type": None,
    "width": None, "height": None, "bytes": None, "has_thumbnail": None, "size_matches": None,
}  # fmt: skip


def _held(due: DuePicture) -> tuple[ColumnElement[bool], ...]:
    """Its lease is still the row's: nobody has claimed it since."""
    return _I.job_id == due.job_id, _I.index == due.index, _DUE, _I.due_at == due.lease_until


async def _is_being_deleted(connection: AsyncConnection, sha256: str, now: datetime) -> bool:
    query = select(_I.job_id).where(_I.sha256 == sha256, _IS_WITHDRAWN, _I.stored_at > now - WITHDRAWAL).limit(1)
    return (await connection.execute(query)).first() is not None


async def _jobs(connection: AsyncConnection, job_ids: set[UUID]) -> dict[UUID, dict[str, Any]]:
    """What a fetcher wants to know of the jobs of its pictures."""
    if not job_ids:
        return {}
    j = t.jobs.c
    query = select(j.job_id, j.size, j.tenant, j.traceparent).where(j.job_id.in_(job_ids))
    rows = [dict(row) for row in (await connection.execute(query)).mappings()]
    return {row.pop("job_id"): row for row in rows}


async def _lease(connection: AsyncConnection, keys: Sequence[tuple[UUID, int]], until: datetime) -> None:
    if keys:
        # By the jobs first: SQLite finds no index for a list of pairs, and would read the whole table.
        these = (_I.job_id.in_({job_id for job_id, _ in keys}), tuple_(_I.job_id, _I.index).in_(keys))
        await connection.execute(update(t.images).where(*these).values(due_at=until, attempts=_I.attempts + 1))
