"""The first release.

Revision: 0001
Follows: nothing
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from app.storage.types import Duration, Instant, Json, RowNumber

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "gate",
        sa.Column("gate_id", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("paused_at", Instant(), nullable=True),
        sa.Column("paused_by", sa.Text(), nullable=True),
        sa.Column("shut", sa.Text(), nullable=True),
        sa.Column("shut_at", Instant(), nullable=True),
        sa.Column("shut_until", Instant(), nullable=True),
        sa.Column("shut_detail", sa.Text(), nullable=True),
        sa.Column("shut_times", sa.Integer(), server_default="0", nullable=False),
        sa.Column("failures", sa.Integer(), server_default="0", nullable=False),
        sa.Column("probe_until", Instant(), nullable=True),
        sa.Column("checks_shut", sa.Text(), nullable=True),
        sa.Column("checks_shut_at", Instant(), nullable=True),
        sa.Column("check_probe_at", Instant(), nullable=True),
        sa.Column("misses", sa.Integer(), server_default="0", nullable=False),
        sa.Column("found_at", Instant(), nullable=True),
        sa.Column("key_fingerprint", sa.Text(), nullable=True),
        sa.Column("submit_tat", Instant(), nullable=True),
        sa.Column("check_tat", Instant(), nullable=True),
        sa.CheckConstraint("gate_id = 1", name=op.f("gate_single_row")),
        sa.PrimaryKeyConstraint("gate_id", name=op.f("gate_pk")),
    )
    op.create_table(
        "jobs",
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("due_at", Instant(), nullable=True),
        sa.Column("submission", sa.Integer(), nullable=False),
        sa.Column("cancel_requested", sa.Boolean(), nullable=False),
        sa.Column("prompt", sa.Text(), nullable=False),
        sa.Column("size", sa.Text(), nullable=False),
        sa.Column("seed", RowNumber, nullable=False),
        sa.Column("output_format", sa.Text(), nullable=False),
        sa.Column("priority", sa.SmallInteger(), nullable=False),
        sa.Column("metadata", Json, nullable=False),
        sa.Column("idempotency_key", sa.Text(), nullable=True),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("images", Json, nullable=False),
        sa.Column("error_code", sa.Text(), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("completed_via", sa.Text(), nullable=True),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("submitted_at", Instant(), nullable=True),
        sa.Column("finished_at", Instant(), nullable=True),
        sa.Column("updated_at", Instant(), nullable=False),
        sa.CheckConstraint("priority IN (0, 1, 2)", name=op.f("jobs_priority_known")),
        sa.CheckConstraint("(state = 'queued') = (due_at IS NOT NULL)", name=op.f("jobs_queued_is_due")),
        sa.CheckConstraint(
            "(state IN ('succeeded', 'failed', 'canceled')) = (finished_at IS NOT NULL)", name=op.f("jobs_settled_is_over")
        ),
        sa.CheckConstraint("state <> 'failed' OR error_code IS NOT NULL", name=op.f("jobs_failed_says_why")),
        sa.CheckConstraint("state <> 'succeeded' OR error_code IS NULL", name=op.f("jobs_succeeded_has_no_error")),
        sa.CheckConstraint(
            "state IN ('queued', 'submitting', 'unconfirmed', 'running', 'succeeded', 'failed', 'canceled')",
            name=op.f("jobs_state_known"),
        ),
        sa.CheckConstraint(
            "state NOT IN ('submitting', 'unconfirmed', 'running') OR submission > 0", name=op.f("jobs_sent_has_submission")
        ),
        sa.PrimaryKeyConstraint("job_id", name=op.f("jobs_pk")),
    )
    op.create_index(
        "jobs_idempotency_key",
        "jobs",
        ["tenant", "idempotency_key"],
        unique=True,
        sqlite_where=sa.text("idempotency_key IS NOT NULL"),
        postgresql_where=sa.text("idempotency_key IS NOT NULL"),
    )
    op.create_index(
        "jobs_queue_age",
        "jobs",
        ["created_at"],
        unique=False,
        sqlite_where=sa.text("state = 'queued'"),
        postgresql_where=sa.text("state = 'queued'"),
    )
    op.create_index("jobs_newest", "jobs", ["created_at", "job_id"], unique=False)
    op.create_index(
        "jobs_queue",
        "jobs",
        ["priority", "due_at", "job_id"],
        unique=False,
        sqlite_where=sa.text("state = 'queued'"),
        postgresql_where=sa.text("state = 'queued'"),
    )
    op.create_index("jobs_state_newest", "jobs", ["state", "created_at", "job_id"], unique=False)
    op.create_index("jobs_tenant_newest", "jobs", ["tenant", "created_at", "job_id"], unique=False)
    op.create_index("jobs_tenant_state_newest", "jobs", ["tenant", "state", "created_at", "job_id"], unique=False)

    op.create_table(
        "tenants",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("tenants_pk")),
    )
    op.create_table(
        "api_keys",
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("secret_hash", sa.LargeBinary(), nullable=False),
        sa.Column("scopes", Json, nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("revoked_at", Instant(), nullable=True),
        sa.ForeignKeyConstraint(["tenant"], ["tenants.name"], name=op.f("api_keys_tenants_fk")),
        sa.PrimaryKeyConstraint("key_id", name=op.f("api_keys_pk")),
        sa.UniqueConstraint("secret_hash", name=op.f("api_keys_secret_hash_key")),
    )
    op.create_table(
        "events",
        sa.Column("event_id", RowNumber, autoincrement=True, nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("data", Json, nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.job_id"], name=op.f("events_jobs_fk"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("event_id", name=op.f("events_pk")),
        sqlite_autoincrement=True,
    )
    op.create_index("events_job", "events", ["job_id", "event_id"], unique=False)

    op.create_table(
        "submissions",
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("sent_at", Instant(), nullable=False),
        sa.Column("lease_until", Instant(), nullable=True),
        sa.Column("due_at", Instant(), nullable=True),
        sa.Column("check_at", Instant(), nullable=True),
        sa.Column("checked_at", Instant(), nullable=True),
        sa.Column("checks", sa.Integer(), nullable=False),
        sa.Column("poked_at", Instant(), nullable=True),
        sa.Column("callbacks", sa.Integer(), nullable=False),
        sa.Column("task_id", sa.Text(), nullable=True),
        sa.Column("candidates", Json, nullable=False),
        sa.Column("refusal", sa.Text(), nullable=True),
        sa.Column("upstream_status", sa.Text(), nullable=True),
        sa.Column("last_reading", sa.Text(), nullable=True),
        sa.Column("not_found_since", Instant(), nullable=True),
        sa.Column("not_found_count", sa.Integer(), nullable=False),
        sa.Column("credits", sa.Integer(), nullable=True),
        sa.Column("late_result", Json, nullable=True),
        sa.Column("answered_at", Instant(), nullable=True),
        sa.Column("closed_at", Instant(), nullable=True),
        sa.Column("excused", Duration(), nullable=False),
        sa.CheckConstraint("(outcome = 'open') = (closed_at IS NULL)", name=op.f("submissions_closed_has_a_time")),
        sa.CheckConstraint("lease_until IS NULL OR outcome = 'open'", name=op.f("submissions_lease_is_open")),
        sa.CheckConstraint(
            "outcome IN ('open', 'unsent', 'released', 'rejected', 'succeeded', 'failed', 'written_off')",
            name=op.f("submissions_outcome_known"),
        ),
        sa.CheckConstraint(
            "outcome NOT IN ('succeeded', 'failed') OR (credits IS NOT NULL AND task_id IS NOT NULL)",
            name=op.f("submissions_read_to_the_end_is_told"),
        ),
        sa.CheckConstraint(
            "outcome NOT IN ('unsent', 'released', 'rejected') OR (credits IS NULL AND task_id IS NULL)",
            name=op.f("submissions_not_accepted_costs_nothing"),
        ),
        sa.CheckConstraint("number > 0", name=op.f("submissions_number_positive")),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.job_id"], name=op.f("submissions_jobs_fk"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job_id", "number", name=op.f("submissions_pk")),
        sa.UniqueConstraint("token_hash", name=op.f("submissions_token_hash_key")),
    )
    op.create_index(
        "submissions_closed",
        "submissions",
        ["closed_at"],
        unique=False,
        sqlite_where=sa.text("outcome IN ('succeeded', 'failed')"),
        postgresql_where=sa.text("outcome IN ('succeeded', 'failed')"),
    )
    op.create_index(
        "submissions_due",
        "submissions",
        ["due_at"],
        unique=False,
        sqlite_where=sa.text("due_at IS NOT NULL"),
        postgresql_where=sa.text("due_at IS NOT NULL"),
    )
    op.create_index(
        "submissions_leased",
        "submissions",
        ["lease_until"],
        unique=False,
        sqlite_where=sa.text("lease_until IS NOT NULL"),
        postgresql_where=sa.text("lease_until IS NOT NULL"),
    )
    op.create_index(
        "submissions_open",
        "submissions",
        ["sent_at"],
        unique=False,
        sqlite_where=sa.text("outcome = 'open'"),
        postgresql_where=sa.text("outcome = 'open'"),
    )
    op.create_index(
        "submissions_task",
        "submissions",
        ["task_id"],
        unique=True,
        sqlite_where=sa.text("task_id IS NOT NULL"),
        postgresql_where=sa.text("task_id IS NOT NULL"),
    )

    op.create_table(
        "callbacks",
        sa.Column("callback_id", RowNumber, autoincrement=True, nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("received_at", Instant(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("named_task_id", sa.Text(), nullable=True),
        sa.Column("content_type", sa.Text(), nullable=True),
        sa.Column("body_bytes", sa.Integer(), nullable=False),
        sa.Column("sample", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["job_id", "number"],
            ["submissions.job_id", "submissions.number"],
            name="callbacks_submissions_fk",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("callback_id", name=op.f("callbacks_pk")),
        sqlite_autoincrement=True,
    )
    op.create_index("callbacks_job", "callbacks", ["job_id", "callback_id"], unique=False)
    op.execute("INSERT INTO gate (gate_id) VALUES (1)")


def downgrade() -> None:

    op.drop_table("callbacks")

    op.drop_table("submissions")

    op.drop_table("events")
    op.drop_table("api_keys")
    op.drop_table("tenants")

    op.drop_table("jobs")
    op.drop_table("gate")
