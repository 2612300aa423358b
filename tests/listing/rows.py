"""Jobs as rows, written straight into the tables: lists read them, whoever wrote them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import insert, select
from uuid_utils.compat import uuid7

from app.lifecycle.states import CompletedVia, ErrorCode, JobState
from app.storage import tables as t
from app.storage.database import Database
from app.storage.job_filter import JobFilter

START = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
OVER = (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELED)


@dataclass(frozen=True, kw_only=True)
class JobRow:
    """What a list can see of a job."""

    created_at: datetime = START
    tenant: str = "acme"
    state: JobState = JobState.SUCCEEDED
    prompt: str = "a lighthouse at dusk"
    task_id: str | None = None
    idempotency_key: str | None = None
    batch_key: str | None = None
    completed_via: CompletedVia | None = None
    error_code: ErrorCode | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    images: Sequence[str] = ()
    job_id: UUID = field(default_factory=uuid7)

    def fits(self, wanted: JobFilter) -> bool:
        """The filters as the contract tells them, one by one: what the statements are judged by."""
        return all(
            (
                wanted.tenant in (None, self.tenant),
                not wanted.states or self.state in wanted.states,
                all(word.casefold() in self.prompt.casefold() for word in wanted.words),
                wanted.task_id in (None, self.task_id),
                wanted.idempotency_key is None or wanted.idempotency_key in (self.idempotency_key, self.batch_key),
                wanted.completed_via in (None, self.completed_via),
                wanted.error_code in (None, self.error_code),
                all(self.metadata.get(key) == value for key, value in wanted.metadata),
                wanted.created_after is None or self.created_at >= wanted.created_after,
                wanted.created_before is None or self.created_at < wanted.created_before,
            )
        )


async def add(database: Database, *jobs: JobRow) -> None:
    await add_tenants(database, *{job.tenant for job in jobs})
    pairs = [
        {"job_id": j.job_id, "key": k, "value": v, "tenant": j.tenant, "created_at": j.created_at}
        for j in jobs
        for k, v in j.metadata.items()
    ]
    async with database.writing() as connection:
        await connection.execute(insert(t.jobs), [_job(job) for job in jobs])
        if sent := [_submission(job) for job in jobs if job.task_id is not None]:
            await connection.execute(insert(t.submissions), sent)
        if pairs:
            await connection.execute(insert(t.job_metadata), pairs)


async def add_tenants(database: Database, *names: str) -> None:
    async with database.writing() as connection:
        there = set((await connection.execute(select(t.tenants.c.name))).scalars())
        if new := [{"name": name, "created_at": START} for name in names if name not in there]:
            await connection.execute(insert(t.tenants), new)


def in_order(jobs: Sequence[JobRow]) -> list[UUID]:
    """Their ids as a list has them."""
    return [job_id for _, job_id in sorted(((j.created_at, j.job_id) for j in jobs), reverse=True)]


def _job(job: JobRow) -> dict[str, Any]:
    failed = job.state is JobState.FAILED
    return {
        "job_id": job.job_id, "tenant": job.tenant, "state": job.state.value, "prompt": job.prompt, "size": "1024*1024",
        "due_at": job.created_at if job.state is JobState.QUEUED else None, "seed": -1, "output_format": "jpeg", "priority": 1,
        "submission": 0 if job.state is JobState.QUEUED else 1, "cancel_requested": False, "metadata": dict(job.metadata),
        "idempotency_key": job.idempotency_key, "batch_key": job.batch_key, "fingerprint": b"f", "images": list(job.images),
        "error_code": job.error_code.value if job.error_code else ("task_lost" if failed else None),
        "error_message": "=no luck" if job.error_code else None,
        "completed_via": job.completed_via.value if job.completed_via else None, "created_at": job.created_at,
        "updated_at": job.created_at, "finished_at": job.created_at + timedelta(seconds=9) if job.state in OVER else None,
    }  # fmt: skip


def _submission(job: JobRow) -> dict[str, Any]:
    return {
        "job_id": job.job_id, "number": 1, "outcome": "written_off", "token_hash": job.job_id.bytes, "sent_at": job.created_at,
        "closed_at": job.created_at, "task_id": job.task_id, "checks": 0, "callbacks": 0, "not_found_count": 0,
        "candidates": [], "excused": timedelta(0),
    }  # fmt: skip
