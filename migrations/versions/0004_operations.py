"""Operations on many jobs; checks that operators ask for; the audit by key.

Revision: 0004
Follows: 0003
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from app.storage.online import hold_tables
from app.storage.types import Instant, Json, RowNumber

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    hold_tables("submissions", "audit")
    op.create_table(
        "operations",
        sa.Column("operation_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("filter", Json, nullable=True),
        sa.Column("jobs", Json, nullable=True),
        sa.Column("accept_double_billing", sa.Boolean(), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("stopped_by", sa.Text(), nullable=True),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("idempotency_key", sa.Text(), nullable=True),
        sa.Column("matched", sa.Integer(), nullable=False),
        sa.Column("matched_more", sa.Boolean(), nullable=False),
        sa.Column("seen", sa.Integer(), nullable=False),
        sa.Column("done", sa.Integer(), nullable=False),
        sa.Column("skipped", sa.Integer(), nullable=False),
        sa.Column("failed", sa.Integer(), nullable=False),
        sa.Column("codes", Json, nullable=False),
        sa.Column("reached_at", Instant(), nullable=True),
        sa.Column("reached_job", sa.Uuid(), nullable=True),
        sa.Column("due_at", Instant(), nullable=True),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("started_at", Instant(), nullable=True),
        sa.Column("finished_at", Instant(), nullable=True),
        sa.CheckConstraint("kind IN ('cancel', 'retry')", name=op.f("operations_kind_known")),
        sa.CheckConstraint("state IN ('running', 'stopped', 'done')", name=op.f("operations_state_known")),
        sa.CheckConstraint("(filter IS NULL) <> (jobs IS NULL)", name=op.f("operations_names_its_jobs")),
        sa.CheckConstraint("(state = 'running') = (due_at IS NOT NULL)", name=op.f("operations_running_is_due")),
        sa.CheckConstraint("(state = 'running') = (finished_at IS NULL)", name=op.f("operations_finished_has_a_time")),
        sa.CheckConstraint("seen = done + skipped + failed", name=op.f("operations_counts_add_up")),
        sa.PrimaryKeyConstraint("operation_id", name="operations_pk"),
    )
    op.create_index(
        "operations_due",
        "operations",
        ["due_at"],
        unique=False,
        sqlite_where=sa.text("due_at IS NOT NULL"),
        postgresql_where=sa.text("due_at IS NOT NULL"),
    )
    op.create_index(
        "operations_key",
        "operations",
        ["key_id", "idempotency_key"],
        unique=True,
        sqlite_where=sa.text("idempotency_key IS NOT NULL"),
        postgresql_where=sa.text("idempotency_key IS NOT NULL"),
    )
    op.create_index(
        "operations_same",
        "operations",
        ["fingerprint"],
        unique=True,
        sqlite_where=sa.text("idempotency_key IS NULL AND due_at IS NOT NULL"),
        postgresql_where=sa.text("idempotency_key IS NULL AND due_at IS NOT NULL"),
    )
    op.create_table(
        "operation_refusals",
        sa.Column("refusal_id", RowNumber, autoincrement=True, nullable=False),
        sa.Column("operation_id", sa.Uuid(), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("result", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.CheckConstraint("result IN ('skipped', 'failed')", name=op.f("operation_refusals_result_known")),
        sa.ForeignKeyConstraint(
            ["operation_id"], ["operations.operation_id"], name="operation_refusals_operations_fk", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("refusal_id", name="operation_refusals_pk"),
        sqlite_autoincrement=True,
    )
    op.create_index("operation_refusals_operation", "operation_refusals", ["operation_id", "refusal_id"], unique=False)
    op.add_column("submissions", sa.Column("asked_at", Instant(), nullable=True))
    op.create_index("audit_key", "audit", ["key_id", "audit_id"], unique=False)  # acts of operators: a small table


def downgrade() -> None:
    op.drop_index("audit_key", table_name="audit")
    op.drop_column("submissions", "asked_at")
    op.drop_index("operation_refusals_operation", table_name="operation_refusals")
    op.drop_table("operation_refusals")
    op.drop_index(
        "operations_same",
        table_name="operations",
        sqlite_where=sa.text("idempotency_key IS NULL AND due_at IS NOT NULL"),
        postgresql_where=sa.text("idempotency_key IS NULL AND due_at IS NOT NULL"),
    )
    op.drop_index(
        "operations_key",
        table_name="operations",
        sqlite_where=sa.text("idempotency_key IS NOT NULL"),
        postgresql_where=sa.text("idempotency_key IS NOT NULL"),
    )
    op.drop_index(
        "operations_due",
        table_name="operations",
        sqlite_where=sa.text("due_at IS NOT NULL"),
        postgresql_where=sa.text("due_at IS NOT NULL"),
    )
    op.drop_table("operations")
