"""The schema, as both databases have it. The CHECK constraints say the law of the states; `lifecycle` keeps it."""

from __future__ import annotations

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    Uuid,
    text,
)

from app.lifecycle.states import JobState, Outcome
from app.storage.types import Duration, Instant, Json, RowNumber

metadata = MetaData(
    naming_convention={
        "pk": "%(table_name)s_pk",
        "fk": "%(table_name)s_%(referred_table_name)s_fk",
        "uq": "%(table_name)s_%(column_0_name)s_key",
        "ck": "%(table_name)s_%(constraint_name)s",
    }
)


def _one_of(column: str, words: type[JobState] | type[Outcome]) -> str:
    return f"{column} IN ({', '.join(repr(w.value) for w in words)})"


tenants = Table(
    "tenants",
    metadata,
    Column("name", Text, primary_key=True),
    Column("created_at", Instant, nullable=False),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("key_id", Text, primary_key=True),
    Column("tenant", Text, ForeignKey("tenants.name"), nullable=False),
    Column("name", Text, nullable=False),
    Column("secret_hash", LargeBinary, nullable=False, unique=True),
    Column("scopes", Json, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("revoked_at", Instant),
)

jobs = Table(
    "jobs",
    metadata,
    Column("job_id", Uuid, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("due_at", Instant),
    Column("submission", Integer, nullable=False),
    Column("cancel_requested", Boolean, nullable=False),
    Column("prompt", Text, nullable=False),
    Column("size", Text, nullable=False),
    Column("seed", RowNumber, nullable=False),
    Column("output_format", Text, nullable=False),
    Column("priority", SmallInteger, nullable=False),
    Column("metadata", Json, nullable=False),
    Column("idempotency_key", Text),
    Column("fingerprint", LargeBinary, nullable=False),
    Column("images", Json, nullable=False),
    Column("error_code", Text),
    Column("error_message", Text),
    Column("completed_via", Text),
    Column("created_at", Instant, nullable=False),
    Column("submitted_at", Instant),
    Column("finished_at", Instant),
    Column("updated_at", Instant, nullable=False),
    CheckConstraint(_one_of("state", JobState), name="state_known"),
    CheckConstraint("priority IN (0, 1, 2)", name="priority_known"),
    CheckConstraint("(state = 'queued') = (due_at IS NOT NULL)", name="queued_is_due"),
    CheckConstraint("(state IN ('succeeded', 'failed', 'canceled')) = (finished_at IS NOT NULL)", name="settled_is_over"),
    CheckConstraint("state <> 'failed' OR error_code IS NOT NULL", name="failed_says_why"),
    CheckConstraint("state <> 'succeeded' OR error_code IS NULL", name="succeeded_has_no_error"),
    CheckConstraint("state NOT IN ('submitting', 'unconfirmed', 'running') OR submission > 0", name="sent_has_submission"),
    Index("jobs_idempotency_key", "tenant", "idempotency_key", unique=True,
          sqlite_where=text("idempotency_key IS NOT NULL"), postgresql_where=text("idempotency_key IS NOT NULL")),
    Index("jobs_queue", "priority", "due_at", "job_id",
          sqlite_where=text("state = 'queued'"), postgresql_where=text("state = 'queued'")),
    Index("jobs_queue_age", "created_at",  # PostgreSQL's choice; without it, it would walk all of history by its dates
          sqlite_where=text("state = 'queued'"), postgresql_where=text("state = 'queued'")),
    Index("jobs_newest", "created_at", "job_id"),
    Index("jobs_state_newest", "state", "created_at", "job_id"),
    Index("jobs_tenant_newest", "tenant", "created_at", "job_id"),
    Index("jobs_tenant_state_newest", "tenant", "state", "created_at", "job_id"),
)  # fmt: skip

submissions = Table(
    "submissions",
    metadata,
    Column("job_id", Uuid, ForeignKey("jobs.job_id", ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("outcome", Text, nullable=False),
    Column("token_hash", LargeBinary, nullable=False, unique=True),
    Column("sent_at", Instant, nullable=False),
    Column("lease_until", Instant),
    Column("due_at", Instant),
    Column("check_at", Instant),
    Column("checked_at", Instant),
    Column("checks", Integer, nullable=False),
    Column("poked_at", Instant),
    Column("callbacks", Integer, nullable=False),
    Column("task_id", Text),
    Column("candidates", Json, nullable=False),
    Column("refusal", Text),
    Column("upstream_status", Text),
    Column("last_reading", Text),
    Column("not_found_since", Instant),
    Column("not_found_count", Integer, nullable=False),
    Column("credits", Integer),
    Column("late_result", Json),
    Column("answered_at", Instant),
    Column("closed_at", Instant),
    Column("excused", Duration, nullable=False),
    CheckConstraint(_one_of("outcome", Outcome), name="outcome_known"),
    CheckConstraint("number > 0", name="number_positive"),
    CheckConstraint("(outcome = 'open') = (closed_at IS NULL)", name="closed_has_a_time"),
    CheckConstraint("lease_until IS NULL OR outcome = 'open'", name="lease_is_open"),
    CheckConstraint("outcome NOT IN ('succeeded', 'failed') OR (credits IS NOT NULL AND task_id IS NOT NULL)",
                    name="read_to_the_end_is_told"),
    CheckConstraint("outcome NOT IN ('unsent', 'released', 'rejected') OR (credits IS NULL AND task_id IS NULL)",
                    name="not_accepted_costs_nothing"),
    Index("submissions_task", "task_id", unique=True,
          sqlite_where=text("task_id IS NOT NULL"), postgresql_where=text("task_id IS NOT NULL")),
    Index("submissions_due", "due_at",
          sqlite_where=text("due_at IS NOT NULL"), postgresql_where=text("due_at IS NOT NULL")),
    Index("submissions_leased", "lease_until",
          sqlite_where=text("lease_until IS NOT NULL"), postgresql_where=text("lease_until IS NOT NULL")),
    Index("submissions_open", "sent_at",
          sqlite_where=text("outcome = 'open'"), postgresql_where=text("outcome = 'open'")),
    Index("submissions_closed", "closed_at",
          sqlite_where=text("outcome IN ('succeeded', 'failed')"),
          postgresql_where=text("outcome IN ('succeeded', 'failed')")),
)  # fmt: skip

events = Table(
    "events",
    metadata,
    Column("event_id", RowNumber, primary_key=True, autoincrement=True),
    Column("job_id", Uuid, ForeignKey("jobs.job_id", ondelete="CASCADE"), nullable=False),
    Column("at", Instant, nullable=False),
    Column("type", Text, nullable=False),
    Column("data", Json, nullable=False),
    Index("events_job", "job_id", "event_id"),
    sqlite_autoincrement=True,
)

callbacks = Table(
    "callbacks",
    metadata,
    Column("callback_id", RowNumber, primary_key=True, autoincrement=True),
    Column("job_id", Uuid, nullable=False),
    Column("number", Integer, nullable=False),
    Column("received_at", Instant, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("named_task_id", Text),
    Column("content_type", Text),
    Column("body_bytes", Integer, nullable=False),
    Column("sample", Text, nullable=False),
    ForeignKeyConstraint(
        ["job_id", "number"],
        ["submissions.job_id", "submissions.number"],
        ondelete="CASCADE",
        name="callbacks_submissions_fk",
    ),
    Index("callbacks_job", "job_id", "callback_id"),
    sqlite_autoincrement=True,
)

gate = Table(
    "gate",
    metadata,
    Column("gate_id", SmallInteger, primary_key=True, autoincrement=False),
    Column("paused_at", Instant),
    Column("paused_by", Text),
    Column("shut", Text),
    Column("shut_at", Instant),
    Column("shut_until", Instant),
    Column("shut_detail", Text),
    Column("shut_times", Integer, nullable=False, server_default="0"),
    Column("failures", Integer, nullable=False, server_default="0"),
    Column("probe_until", Instant),
    Column("checks_shut", Text),
    Column("checks_shut_at", Instant),
    Column("check_probe_at", Instant),
    Column("misses", Integer, nullable=False, server_default="0"),
    Column("found_at", Instant),
    Column("key_fingerprint", Text),
    Column("submit_tat", Instant),
    Column("check_tat", Instant),
    CheckConstraint("gate_id = 1", name="single_row"),
)
