"""Indexes for lanes, retries, batches, reuse and the books, made while others write.

Revision: 0003
Follows: 0002
"""

from __future__ import annotations

import sqlalchemy as sa

from app.storage.online import create_index, drop_index

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    create_index("api_keys_tenant", "api_keys", ["tenant"])
    create_index("jobs_batch", "jobs", ["batch_id", "batch_place"], where=sa.text("batch_id IS NOT NULL"))
    create_index(
        "jobs_batch_key", "jobs", ["tenant", "batch_key", "created_at", "job_id"], where=sa.text("batch_key IS NOT NULL")
    )
    create_index("jobs_finished", "jobs", ["finished_at", "job_id"], where=sa.text("finished_at IS NOT NULL"))
    create_index("jobs_lanes", "jobs", ["tenant", "priority", "due_at", "job_id"], where=sa.text("state = 'queued'"))
    create_index("jobs_retry_of", "jobs", ["retry_of"], unique=True, where=sa.text("retry_of IS NOT NULL"))
    create_index(
        "jobs_reusable",
        "jobs",
        ["tenant", "request_hash", "created_at"],
        where=sa.text("request_hash IS NOT NULL AND state = 'succeeded'"),
    )
    create_index("jobs_unbooked", "jobs", ["job_id"], where=sa.text("booked_open IS NULL OR (booked_open = 1 AND finished_at IS NOT NULL)"))


def downgrade() -> None:
    drop_index("jobs_unbooked", "jobs")
    drop_index("jobs_reusable", "jobs")
    drop_index("jobs_retry_of", "jobs")
    drop_index("jobs_lanes", "jobs")
    drop_index("jobs_finished", "jobs")
    drop_index("jobs_batch_key", "jobs")
    drop_index("jobs_batch", "jobs")
    drop_index("api_keys_tenant", "api_keys")
