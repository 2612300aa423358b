"""Accepted jobs are written here, many at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import select, tuple_
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.ext.asyncio import AsyncConnection

from app.lifecycle.job import Job, Life
from app.lifecycle.transitions import Event
from app.storage import tables as t
from app.storage.database import Database
from app.storage.lives import job_row, lives_of, write_events


@dataclass(frozen=True, slots=True)
class Inserted:
    """The job as it now stands; `created` is False when its idempotency key was already there."""

    life: Life
    created: bool


@dataclass(frozen=True, slots=True)
class IntakeStore:
    database: Database

    async def insert_if_absent(self, jobs: Sequence[Job]) -> list[Inserted]:
        """Writes new jobs in one transaction; a job whose (tenant, idempotency key) exists yields the existing one.

        The jobs' instants are replaced by the database's.
        """
        insert_for = sqlite_insert if self.database.is_sqlite else postgresql_insert
        async with self.database.writing() as connection:
            now = await self.database.now(connection)
            jobs = [_at(job, now) for job in jobs]
            statement = insert_for(t.jobs).on_conflict_do_nothing().returning(t.jobs.c.job_id)
            # In the order of the keys: two groups that hold the same ones would otherwise wait for each other.
            rows = [job_row(job) for job in sorted(jobs, key=lambda job: (job.tenant, job.idempotency_key or ""))]
            created = set((await connection.execute(statement, rows)).scalars())
            await write_events(connection, [(j.job_id, Event("accepted")) for j in jobs if j.job_id in created], now)
            existing = await self._existing(connection, [job for job in jobs if job.job_id not in created])
        return [
            Inserted(Life(job), True)
            if job.job_id in created
            else Inserted(existing[job.tenant, job.idempotency_key or ""], False)
            for job in jobs
        ]

    async def find_by_key(self, tenant: str, idempotency_key: str) -> Life | None:
        async with self.database.reading() as connection:
            return (await self._lookup(connection, [(tenant, idempotency_key)])).get((tenant, idempotency_key))

    async def _existing(self, connection: AsyncConnection, jobs: Sequence[Job]) -> dict[tuple[str, str], Life]:
        if not jobs:
            return {}
        return await self._lookup(connection, [(job.tenant, job.idempotency_key or "") for job in jobs])

    async def _lookup(self, connection: AsyncConnection, keys: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Life]:
        j = t.jobs.c
        query = select(t.jobs).where(tuple_(j.tenant, j.idempotency_key).in_(keys), j.idempotency_key.is_not(None))
        lives = await lives_of(connection, (await connection.execute(query)).all())
        return {(life.job.tenant, life.job.idempotency_key or ""): life for life in lives}


def _at(job: Job, now: datetime) -> Job:
    return replace(job, created_at=now, updated_at=now, due_at=now)
