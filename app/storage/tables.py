"""The schema, as both databases have it. The CHECK constraints say the law of the states; `lifecycle` keeps it."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    Date,
    Float,
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

from app.lifecycle.delivery import DeliveryState
from app.lifecycle.job import CallbackFormat, PictureState
from app.lifecycle.operation import JobResult, OperationKind, OperationState
from app.lifecycle.states import JobState, Outcome, Priority
from app.storage.types import Duration, Instant, Json, RowNumber

metadata = MetaData(
    naming_convention={
        "pk": "%(table_name)s_pk",
        "fk": "%(table_name)s_%(referred_table_name)s_fk",
        "uq": "%(table_name)s_%(column_0_name)s_key",
        "ck": "%(table_name)s_%(constraint_name)s",
    }
)


def _one_of(column: str, words: Iterable[Enum]) -> str:
    return f"{column} IN ({', '.join(repr(w.value) for w in words)})"


def _partial(name: str, *columns: str, where: str, unique: bool = False) -> Index:
    """An index of the rows that fit the condition only."""
    return Index(name, *columns, unique=unique, sqlite_where=text(where), postgresql_where=text(where))


#: What is counted by tenant and day; each is a sum of changes.
USAGE_FIGURES = ("open", "held", "consumed", "accepted", "succeeded", "failed", "canceled")

tenants = Table(
    "tenants",
    metadata,
    Column("name", Text, primary_key=True),
    Column("created_at", Instant, nullable=False),
    Column("monthly_credits", Integer),
    Column("open_jobs_max", Integer),
    Column("requests_per_second", Float),
    Column("request_tat", Instant),
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
    Column("expires_at", Instant),
    Column("last_used_at", Instant),
    Index("api_keys_tenant", "tenant"),
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
    Column("callback_url", Text),
    Column("callback_format", Text),
    Column("retry_of", Uuid),
    Column("reused_from", Uuid),
    Column("request_hash", LargeBinary),
    Column("batch_key", Text),
    Column("batch_id", Uuid),
    Column("batch_place", SmallInteger),
    Column("booked_open", SmallInteger),
    Column("booked_held", Integer),
    Column("booked_consumed", Integer),
    Column("traceparent", Text),
    CheckConstraint(_one_of("state", JobState), name="state_known"),
    CheckConstraint(_one_of("priority", Priority), name="priority_known"),
    CheckConstraint("(state = 'queued') = (due_at IS NOT NULL)", name="queued_is_due"),
    CheckConstraint("(state IN ('succeeded', 'failed', 'canceled')) = (finished_at IS NOT NULL)", name="settled_is_over"),
    CheckConstraint("state <> 'failed' OR error_code IS NOT NULL", name="failed_says_why"),
    CheckConstraint("state <> 'succeeded' OR error_code IS NULL", name="succeeded_has_no_error"),
    CheckConstraint("state NOT IN ('submitting', 'unconfirmed', 'running') OR submission > 0", name="sent_has_submission"),
    _partial("jobs_idempotency_key", "tenant", "idempotency_key", where="idempotency_key IS NOT NULL", unique=True),
    _partial("jobs_queue", "priority", "due_at", "job_id", where="state = 'queued'"),
    # PostgreSQL's choice; without it, it would walk all of history by its dates.
    _partial("jobs_queue_age", "created_at", where="state = 'queued'"),
    _partial("jobs_lanes", "tenant", "priority", "due_at", "job_id", where="state = 'queued'"),
    _partial("jobs_retry_of", "retry_of", where="retry_of IS NOT NULL", unique=True),
    # Each reuse adds one: the newest must be found at once.
    _partial("jobs_reusable", "tenant", "request_hash", "created_at", where="request_hash IS NOT NULL AND state = 'succeeded'"),
    _partial("jobs_batch", "batch_id", "batch_place", where="batch_id IS NOT NULL"),
    _partial("jobs_batch_key", "tenant", "batch_key", "created_at", "job_id", where="batch_key IS NOT NULL"),
    _partial("jobs_unbooked", "job_id", where="booked_open IS NULL OR (booked_open = 1 AND finished_at IS NOT NULL)"),
    _partial("jobs_finished", "finished_at", "job_id", where="finished_at IS NOT NULL"),
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
    Column("asked_at", Instant),
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
    _partial("submissions_task", "task_id", where="task_id IS NOT NULL", unique=True),
    _partial("submissions_due", "due_at", where="due_at IS NOT NULL"),
    _partial("submissions_leased", "lease_until", where="lease_until IS NOT NULL"),
    _partial("submissions_open", "sent_at", where="outcome = 'open'"),
    _partial("submissions_closed", "closed_at", where="outcome IN ('succeeded', 'failed')"),
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

job_metadata = Table(
    "job_metadata",
    metadata,
    Column("job_id", Uuid, ForeignKey("jobs.job_id", ondelete="CASCADE"), primary_key=True),
    Column("key", Text, primary_key=True),
    Column("value", Text, nullable=False),
    Column("tenant", Text, nullable=False),
    Column("created_at", Instant, nullable=False),
    Index("job_metadata_newest", "tenant", "key", "value", "created_at", "job_id"),
)

usage_entries = Table(
    "usage_entries",
    metadata,
    Column("entry_id", RowNumber, primary_key=True, autoincrement=True),
    Column("tenant", Text, nullable=False),
    Column("day", Date, nullable=False),
    *(Column(name, RowNumber, nullable=False) for name in USAGE_FIGURES),
    Index("usage_entries_tenant", "tenant", "day"),
    sqlite_autoincrement=True,
)

usage_days = Table(
    "usage_days",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("day", Date, primary_key=True),
    *(Column(name, RowNumber, nullable=False) for name in USAGE_FIGURES),
    Index("usage_days_day", "day"),
)

delivery_secrets = Table(
    "delivery_secrets",
    metadata,
    Column("secret_id", Uuid, primary_key=True),
    Column("tenant", Text, ForeignKey("tenants.name"), nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("expires_at", Instant),
    Index("delivery_secrets_tenant", "tenant"),
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("delivery_id", Uuid, primary_key=True),
    Column("job_id", Uuid, ForeignKey("jobs.job_id", ondelete="CASCADE"), nullable=False),
    Column("tenant", Text, nullable=False),
    Column("origin", Text, nullable=False),
    Column("url", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("body", LargeBinary),
    Column("format", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("due_at", Instant),
    Column("created_at", Instant, nullable=False),
    Column("finished_at", Instant),
    Column("last_status", Integer),
    Column("last_error", Text),
    CheckConstraint(_one_of("state", DeliveryState), name="state_known"),
    CheckConstraint(_one_of("format", CallbackFormat), name="format_known"),
    CheckConstraint("(state = 'pending') = (finished_at IS NULL)", name="finished_has_a_time"),
    CheckConstraint("due_at IS NULL OR state = 'pending'", name="due_is_pending"),
    _partial("deliveries_due", "due_at", where="due_at IS NOT NULL"),
    Index("deliveries_job", "job_id"),
    Index("deliveries_tenant_newest", "tenant", "created_at", "delivery_id"),
    Index("deliveries_newest", "created_at", "delivery_id"),
    _partial("deliveries_lanes", "tenant", "origin", "due_at", "delivery_id", where="due_at IS NOT NULL"),
    Index("deliveries_state_newest", "state", "created_at", "delivery_id"),
    _partial("deliveries_unfinished", "tenant", "origin", where="state = 'pending'"),
)  # fmt: skip

delivery_attempts = Table(
    "delivery_attempts",
    metadata,
    Column("attempt_id", RowNumber, primary_key=True, autoincrement=True),
    Column("delivery_id", Uuid, ForeignKey("deliveries.delivery_id", ondelete="CASCADE"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("at", Instant, nullable=False),
    Column("status", Integer),
    Column("milliseconds", Integer, nullable=False),
    Column("error", Text),
    Column("excerpt", Text),
    Index("delivery_attempts_delivery", "delivery_id", "attempt_id"),
    sqlite_autoincrement=True,
)

receivers = Table(
    "receivers",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("origin", Text, primary_key=True),
    Column("failing_since", Instant),
    Column("failed_at", Instant),
    Column("parked_at", Instant),
)

images = Table(
    "images",
    metadata,
    Column("job_id", Uuid, ForeignKey("jobs.job_id", ondelete="CASCADE"), primary_key=True),
    Column("index", SmallInteger, primary_key=True, autoincrement=False),
    Column("source_url", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("due_at", Instant),
    Column("created_at", Instant, nullable=False),
    Column("stored_at", Instant),
    Column("sha256", Text),
    Column("media_type", Text),
    Column("width", Integer),
    Column("height", Integer),
    Column("bytes", Integer),
    Column("has_thumbnail", Boolean),
    Column("size_matches", Boolean),
    Column("error", Text),
    CheckConstraint(_one_of("state", PictureState), name="state_known"),
    CheckConstraint("(state = 'stored') = (sha256 IS NOT NULL)", name="stored_has_a_hash"),
    CheckConstraint("due_at IS NULL OR state = 'pending'", name="due_is_pending"),
    _partial("images_due", "due_at", where="due_at IS NOT NULL"),
    _partial("images_sha256", "sha256", where="sha256 IS NOT NULL"),
)  # fmt: skip

audit = Table(
    "audit",
    metadata,
    Column("audit_id", RowNumber, primary_key=True, autoincrement=True),
    Column("at", Instant, nullable=False),
    Column("key_id", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("tenant", Text),
    Column("job_id", Uuid),
    Column("data", Json, nullable=False),
    _partial("audit_job", "job_id", where="job_id IS NOT NULL"),
    Index("audit_key", "key_id", "audit_id"),
    sqlite_autoincrement=True,
)

operations = Table(
    "operations",
    metadata,
    Column("operation_id", Uuid, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("filter", Json),
    Column("jobs", Json),
    Column("accept_double_billing", Boolean, nullable=False),
    Column("key_id", Text, nullable=False),
    Column("stopped_by", Text),
    Column("fingerprint", LargeBinary, nullable=False),
    Column("idempotency_key", Text),
    Column("matched", Integer, nullable=False),
    Column("matched_more", Boolean, nullable=False),
    Column("seen", Integer, nullable=False),
    Column("done", Integer, nullable=False),
    Column("skipped", Integer, nullable=False),
    Column("failed", Integer, nullable=False),
    Column("codes", Json, nullable=False),
    Column("reached_at", Instant),
    Column("reached_job", Uuid),
    Column("due_at", Instant),
    Column("created_at", Instant, nullable=False),
    Column("started_at", Instant),
    Column("finished_at", Instant),
    CheckConstraint(_one_of("kind", OperationKind), name="kind_known"),
    CheckConstraint(_one_of("state", OperationState), name="state_known"),
    CheckConstraint("(filter IS NULL) <> (jobs IS NULL)", name="names_its_jobs"),
    CheckConstraint("(state = 'running') = (due_at IS NOT NULL)", name="running_is_due"),
    CheckConstraint("(state = 'running') = (finished_at IS NULL)", name="finished_has_a_time"),
    CheckConstraint("seen = done + skipped + failed", name="counts_add_up"),
    _partial("operations_due", "due_at", where="due_at IS NOT NULL"),
    _partial("operations_key", "key_id", "idempotency_key", where="idempotency_key IS NOT NULL", unique=True),
    _partial("operations_same", "fingerprint", where="idempotency_key IS NULL AND due_at IS NOT NULL", unique=True),
)  # fmt: skip

operation_refusals = Table(
    "operation_refusals",
    metadata,
    Column("refusal_id", RowNumber, primary_key=True, autoincrement=True),
    Column("operation_id", Uuid, ForeignKey("operations.operation_id", ondelete="CASCADE"), nullable=False),
    Column("job_id", Uuid, nullable=False),
    Column("at", Instant, nullable=False),
    Column("result", Text, nullable=False),
    Column("code", Text, nullable=False),
    CheckConstraint(_one_of("result", (JobResult.SKIPPED, JobResult.FAILED)), name="result_known"),
    Index("operation_refusals_operation", "operation_id", "refusal_id"),
    sqlite_autoincrement=True,
)
