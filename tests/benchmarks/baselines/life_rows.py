"""What the baselines of the whole life write down, and the statements that do it: SQLAlchemy Core, for any engine.

A step is one transaction, and leaves an event. What must still be true is in the WHERE: a queue may hand out a task twice.
"""

from __future__ import annotations

import secrets
import uuid
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    DateTime,
    ForeignKey,
    Index,
    Insert,
    Integer,
    MetaData,
    Select,
    Table,
    Text,
    Update,
    Uuid,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.sql.dml import ReturningUpdate

from tests.benchmarks.baselines.stores_nothing import JobIn

END_STATES = {"SUCCESS": "succeeded", "FAILED": "failed"}  #: of the upstream, in our words

metadata = MetaData()

jobs = Table(
    "jobs",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("prompt", Text, nullable=False),
    Column("size", Text, nullable=False),
    Column("seed", BigInteger, nullable=False),
    Column("output_format", Text, nullable=False),
    Column("priority", Text, nullable=False),
    Column("metadata", JSON, nullable=False),
    Column("callback_token", Text, nullable=False, unique=True),
    Column("task_id", Text, unique=True),
    Column("image_url", Text),
    Column("credits", Integer),
    Column("error", Text),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("updated_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Index("jobs_by_state", "tenant", "state", "created_at"),
)

events = Table(
    "events",
    metadata,
    Column("id", BigInteger, primary_key=True),
    Column("job_id", Uuid, ForeignKey("jobs.id", ondelete="CASCADE"), nullable=False),
    Column("at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("type", Text, nullable=False),
    Column("data", JSON, nullable=False),
    Index("events_by_job", "job_id", "id"),
)


def happened(job_id: uuid.UUID, kind: str, **data: Any) -> Insert:
    return insert(events).values(job_id=job_id, type=kind, data=data)


def accepted(job_id: uuid.UUID, job: JobIn, now: datetime) -> Insert:
    return insert(jobs).values(
        id=job_id, tenant="bench", state="queued", prompt=job.prompt, size=job.size, seed=job.seed,
        output_format=job.output_format, priority=job.priority, metadata=job.metadata,
        callback_token=secrets.token_urlsafe(32), created_at=now,
    )  # fmt: skip


def sending(job_id: uuid.UUID) -> ReturningUpdate[Any]:
    """Marks it before it is sent, so that a task that is handed out twice does not pay twice; returns what to send."""
    return _changed(job_id, "queued", state="submitting").returning(
        jobs.c.prompt, jobs.c.size, jobs.c.seed, jobs.c.output_format, jobs.c.callback_token
    )


def sent(job_id: uuid.UUID, task_id: str) -> Update:
    return _changed(job_id, "submitting", state="running", task_id=task_id)


def called_back(token: str) -> Select[Any]:
    """Whose token it is."""
    return select(jobs.c.id).where(jobs.c.callback_token == token)


def task_of(job_id: uuid.UUID) -> Select[Any]:
    """What to ask the upstream for, while there is something to ask; NULL until the answer to the submit is written down."""
    return select(jobs.c.task_id).where(jobs.c.id == job_id, jobs.c.state.in_(("submitting", "running")))


def settled(job_id: uuid.UUID, state: str, data: dict[str, Any]) -> ReturningUpdate[Any]:
    """From what a status answer said; returns nothing where it was settled before."""
    return _changed(
        job_id, "running", state=state, image_url=(data["response"] or [None])[0], credits=data["consumed_credits"],
        error=data["error_message"],
    ).returning(jobs.c.id)  # fmt: skip


def _changed(job_id: uuid.UUID, state_before: str, **values: Any) -> Update:
    return update(jobs).where(jobs.c.id == job_id, jobs.c.state == state_before).values(**values, updated_at=datetime.now(UTC))
