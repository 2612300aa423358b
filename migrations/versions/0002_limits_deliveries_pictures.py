"""What callers may spend, and what leaves and stays: limits, usage, deliveries, pictures.

Revision: 0002
Follows: 0001
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from app.storage.online import hold_tables
from app.storage.types import Instant, Json, RowNumber

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    hold_tables("tenants", "api_keys", "jobs")
    op.create_table(
        "audit",
        sa.Column("audit_id", RowNumber, autoincrement=True, nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=True),
        sa.Column("job_id", sa.Uuid(), nullable=True),
        sa.Column("data", Json, nullable=False),
        sa.PrimaryKeyConstraint("audit_id", name="audit_pk"),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "audit_job",
        "audit",
        ["job_id"],
        unique=False,
        sqlite_where=sa.text("job_id IS NOT NULL"),
        postgresql_where=sa.text("job_id IS NOT NULL"),
    )
    op.create_table(
        "receivers",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("failing_since", Instant(), nullable=True),
        sa.Column("failed_at", Instant(), nullable=True),
        sa.Column("parked_at", Instant(), nullable=True),
        sa.PrimaryKeyConstraint("tenant", "origin", name="receivers_pk"),
    )
    op.create_table(
        "usage_days",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("open", RowNumber, nullable=False),
        sa.Column("held", RowNumber, nullable=False),
        sa.Column("consumed", RowNumber, nullable=False),
        sa.Column("accepted", RowNumber, nullable=False),
        sa.Column("succeeded", RowNumber, nullable=False),
        sa.Column("failed", RowNumber, nullable=False),
        sa.Column("canceled", RowNumber, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "day", name="usage_days_pk"),
    )
    op.create_index("usage_days_day", "usage_days", ["day"], unique=False)
    op.create_table(
        "usage_entries",
        sa.Column("entry_id", RowNumber, autoincrement=True, nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("open", RowNumber, nullable=False),
        sa.Column("held", RowNumber, nullable=False),
        sa.Column("consumed", RowNumber, nullable=False),
        sa.Column("accepted", RowNumber, nullable=False),
        sa.Column("succeeded", RowNumber, nullable=False),
        sa.Column("failed", RowNumber, nullable=False),
        sa.Column("canceled", RowNumber, nullable=False),
        sa.PrimaryKeyConstraint("entry_id", name="usage_entries_pk"),
        sqlite_autoincrement=True,
    )
    op.create_index("usage_entries_tenant", "usage_entries", ["tenant", "day"], unique=False)
    op.create_table(
        "deliveries",
        sa.Column("delivery_id", sa.Uuid(), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=True),
        sa.Column("format", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("due_at", Instant(), nullable=True),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("finished_at", Instant(), nullable=True),
        sa.Column("last_status", sa.Integer(), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.CheckConstraint("(state = 'pending') = (finished_at IS NULL)", name=op.f("deliveries_finished_has_a_time")),
        sa.CheckConstraint("due_at IS NULL OR state = 'pending'", name=op.f("deliveries_due_is_pending")),
        sa.CheckConstraint("format IN ('signed', 'drop_in')", name=op.f("deliveries_format_known")),
        sa.CheckConstraint("state IN ('pending', 'delivered', 'gone', 'exhausted')", name=op.f("deliveries_state_known")),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.job_id"], name="deliveries_jobs_fk", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("delivery_id", name="deliveries_pk"),
    )
    op.create_index(
        "deliveries_due",
        "deliveries",
        ["due_at"],
        unique=False,
        sqlite_where=sa.text("due_at IS NOT NULL"),
        postgresql_where=sa.text("due_at IS NOT NULL"),
    )
    op.create_index("deliveries_job", "deliveries", ["job_id"], unique=False)
    op.create_index("deliveries_newest", "deliveries", ["created_at", "delivery_id"], unique=False)
    op.create_index(
        "deliveries_lanes",
        "deliveries",
        ["tenant", "origin", "due_at", "delivery_id"],
        unique=False,
        sqlite_where=sa.text("due_at IS NOT NULL"),
        postgresql_where=sa.text("due_at IS NOT NULL"),
    )
    op.create_index("deliveries_state_newest", "deliveries", ["state", "created_at", "delivery_id"], unique=False)
    op.create_index("deliveries_tenant_newest", "deliveries", ["tenant", "created_at", "delivery_id"], unique=False)
    op.create_index(
        "deliveries_unfinished",
        "deliveries",
        ["tenant", "origin"],
        unique=False,
        sqlite_where=sa.text("state = 'pending'"),
        postgresql_where=sa.text("state = 'pending'"),
    )
    op.create_table(
        "delivery_secrets",
        sa.Column("secret_id", sa.Uuid(), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("expires_at", Instant(), nullable=True),
        sa.ForeignKeyConstraint(["tenant"], ["tenants.name"], name="delivery_secrets_tenants_fk"),
        sa.PrimaryKeyConstraint("secret_id", name="delivery_secrets_pk"),
    )
    op.create_index("delivery_secrets_tenant", "delivery_secrets", ["tenant"], unique=False)
    op.create_table(
        "images",
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("index", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("source_url", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("due_at", Instant(), nullable=True),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("stored_at", Instant(), nullable=True),
        sa.Column("sha256", sa.Text(), nullable=True),
        sa.Column("media_type", sa.Text(), nullable=True),
        sa.Column("width", sa.Integer(), nullable=True),
        sa.Column("height", sa.Integer(), nullable=True),
        sa.Column("bytes", sa.Integer(), nullable=True),
        sa.Column("has_thumbnail", sa.Boolean(), nullable=True),
        sa.Column("size_matches", sa.Boolean(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.CheckConstraint("(state = 'stored') = (sha256 IS NOT NULL)", name=op.f("images_stored_has_a_hash")),
        sa.CheckConstraint("due_at IS NULL OR state = 'pending'", name=op.f("images_due_is_pending")),
        sa.CheckConstraint("state IN ('pending', 'stored', 'unusable', 'given_up')", name=op.f("images_state_known")),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.job_id"], name="images_jobs_fk", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job_id", "index", name="images_pk"),
    )
    op.create_index(
        "images_due",
        "images",
        ["due_at"],
        unique=False,
        sqlite_where=sa.text("due_at IS NOT NULL"),
        postgresql_where=sa.text("due_at IS NOT NULL"),
    )
    op.create_index(
        "images_sha256",
        "images",
        ["sha256"],
        unique=False,
        sqlite_where=sa.text("sha256 IS NOT NULL"),
        postgresql_where=sa.text("sha256 IS NOT NULL"),
    )
    op.create_table(
        "job_metadata",
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.job_id"], name="job_metadata_jobs_fk", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job_id", "key", name="job_metadata_pk"),
    )
    op.create_index("job_metadata_newest", "job_metadata", ["tenant", "key", "value", "created_at", "job_id"], unique=False)
    op.create_table(
        "delivery_attempts",
        sa.Column("attempt_id", RowNumber, autoincrement=True, nullable=False),
        sa.Column("delivery_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("milliseconds", sa.Integer(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("excerpt", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["delivery_id"], ["deliveries.delivery_id"], name="delivery_attempts_deliveries_fk", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("attempt_id", name="delivery_attempts_pk"),
        sqlite_autoincrement=True,
    )
    op.create_index("delivery_attempts_delivery", "delivery_attempts", ["delivery_id", "attempt_id"], unique=False)
    op.add_column("api_keys", sa.Column("expires_at", Instant(), nullable=True))
    op.add_column("api_keys", sa.Column("last_used_at", Instant(), nullable=True))
    op.add_column("jobs", sa.Column("callback_url", sa.Text(), nullable=True))
    op.add_column("jobs", sa.Column("callback_format", sa.Text(), nullable=True))
    op.add_column("jobs", sa.Column("retry_of", sa.Uuid(), nullable=True))
    op.add_column("jobs", sa.Column("reused_from", sa.Uuid(), nullable=True))
    op.add_column("jobs", sa.Column("request_hash", sa.LargeBinary(), nullable=True))
    op.add_column("jobs", sa.Column("batch_key", sa.Text(), nullable=True))
    op.add_column("jobs", sa.Column("batch_id", sa.Uuid(), nullable=True))
    op.add_column("jobs", sa.Column("batch_place", sa.SmallInteger(), nullable=True))
    op.add_column("jobs", sa.Column("booked_open", sa.SmallInteger(), nullable=True))
    op.add_column("jobs", sa.Column("booked_held", sa.Integer(), nullable=True))
    op.add_column("jobs", sa.Column("booked_consumed", sa.Integer(), nullable=True))
    op.add_column("tenants", sa.Column("monthly_credits", sa.Integer(), nullable=True))
    op.add_column("tenants", sa.Column("open_jobs_max", sa.Integer(), nullable=True))
    op.add_column("tenants", sa.Column("requests_per_second", sa.Float(), nullable=True))
    op.add_column("tenants", sa.Column("request_tat", Instant(), nullable=True))


def downgrade() -> None:
    op.drop_column("tenants", "request_tat")
    op.drop_column("tenants", "requests_per_second")
    op.drop_column("tenants", "open_jobs_max")
    op.drop_column("tenants", "monthly_credits")
    op.drop_column("jobs", "booked_consumed")
    op.drop_column("jobs", "booked_held")
    op.drop_column("jobs", "booked_open")
    op.drop_column("jobs", "batch_place")
    op.drop_column("jobs", "batch_id")
    op.drop_column("jobs", "batch_key")
    op.drop_column("jobs", "request_hash")
    op.drop_column("jobs", "reused_from")
    op.drop_column("jobs", "retry_of")
    op.drop_column("jobs", "callback_format")
    op.drop_column("jobs", "callback_url")
    op.drop_column("api_keys", "last_used_at")
    op.drop_column("api_keys", "expires_at")
    op.drop_index("delivery_attempts_delivery", table_name="delivery_attempts")
    op.drop_table("delivery_attempts")
    op.drop_index("job_metadata_newest", table_name="job_metadata")
    op.drop_table("job_metadata")
    op.drop_index(
        "images_sha256",
        table_name="images",
        sqlite_where=sa.text("sha256 IS NOT NULL"),
        postgresql_where=sa.text("sha256 IS NOT NULL"),
    )
    op.drop_index(
        "images_due",
        table_name="images",
        sqlite_where=sa.text("due_at IS NOT NULL"),
        postgresql_where=sa.text("due_at IS NOT NULL"),
    )
    op.drop_table("images")
    op.drop_index("delivery_secrets_tenant", table_name="delivery_secrets")
    op.drop_table("delivery_secrets")
    op.drop_index(
        "deliveries_unfinished",
        table_name="deliveries",
        sqlite_where=sa.text("state = 'pending'"),
        postgresql_where=sa.text("state = 'pending'"),
    )
    op.drop_index("deliveries_tenant_newest", table_name="deliveries")
    op.drop_index("deliveries_newest", table_name="deliveries")
    op.drop_index("deliveries_job", table_name="deliveries")
    op.drop_index(
        "deliveries_due",
        table_name="deliveries",
        sqlite_where=sa.text("due_at IS NOT NULL"),
        postgresql_where=sa.text("due_at IS NOT NULL"),
    )
    op.drop_table("deliveries")
    op.drop_index("usage_entries_tenant", table_name="usage_entries")
    op.drop_table("usage_entries")
    op.drop_index("usage_days_day", table_name="usage_days")
    op.drop_table("usage_days")
    op.drop_table("receivers")
    op.drop_index(
        "audit_job",
        table_name="audit",
        sqlite_where=sa.text("job_id IS NOT NULL"),
        postgresql_where=sa.text("job_id IS NOT NULL"),
    )
    op.drop_table("audit")
