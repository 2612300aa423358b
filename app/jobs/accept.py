"""Accept: a valid request becomes a job on disk. The answer is given once it is committed, not before."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import structlog
from uuid_utils.compat import uuid7

from app.access.callers import Caller
from app.clock import system_clock
from app.jobs.job_request import PRIORITIES, JobRequest
from app.lifecycle.job import Job
from app.lifecycle.states import JobState
from app.problems import Problem
from app.settlement.settle import Wakes
from app.storage.grouped import GroupedWriter
from app.storage.intake import Inserted, IntakeStore

log = structlog.get_logger()


class Intake:
    """Accepts jobs; requests that arrive together share one commit."""

    def __init__(self, store: IntakeStore, wakes: Wakes) -> None:
        self._store, self._wakes = store, wakes
        flushers = 1 if store.database.is_sqlite else 2
        self._writer: GroupedWriter[Job, Inserted] = GroupedWriter(self._write, flushers=flushers)

    async def accept(self, request: JobRequest, caller: Caller, idempotency_key: str | None) -> Inserted:
        """Writes the job down; the same key and body yield the first job again.

        Raises:
            Problem: 422 `idempotency_key_reused`: the key belongs to another request.
            StorageUnavailableError: nothing was accepted.
        """
        job = _new_job(request, caller, idempotency_key)
        inserted = await self._writer.put(job)
        if inserted.created:
            log.info("accepted", job_id=str(job.job_id), tenant=job.tenant)
            self._wakes.ring("dispatch")
        elif inserted.life.job.fingerprint != job.fingerprint:
            raise Problem(422, "idempotency_key_reused", "This Idempotency-Key was used for another request.")
        return inserted

    async def drained(self) -> None:
        await self._writer.drained()

    async def _write(self, jobs: Sequence[Job]) -> Sequence[Inserted]:
        return await self._store.insert_if_absent(jobs)


def _new_job(request: JobRequest, caller: Caller, idempotency_key: str | None) -> Job:
    now: datetime = system_clock()  # the store puts the database's instant in its place
    job_id: UUID = uuid7()
    return Job(
        job_id=job_id,
        tenant=caller.tenant,
        state=JobState.QUEUED,
        request=request.generation(),
        created_at=now,
        updated_at=now,
        due_at=now,
        priority=PRIORITIES[request.priority],
        metadata=request.metadata,
        idempotency_key=idempotency_key,
        fingerprint=request.fingerprint(),
    )
