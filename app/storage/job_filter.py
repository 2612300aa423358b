"""What to look for among the jobs. Source: the public contract, "`GET /jobs` filters"."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from app.lifecycle.states import CompletedVia, ErrorCode, JobState


@dataclass(frozen=True, slots=True)
class JobFilter:
    """A job is wanted when all that is set here is true of it; by default, every job is."""

    tenant: str | None = None
    states: tuple[JobState, ...] = ()  #: one of them
    words: tuple[str, ...] = ()  #: each occurs in the prompt, in capitals or not; a phrase is a word with blanks
    task_id: str | None = None  #: of any of its submissions
    idempotency_key: str | None = None  #: its own, or that of the batch it came with
    completed_via: CompletedVia | None = None
    error_code: ErrorCode | None = None
    metadata: tuple[tuple[str, str], ...] = ()  #: pairs that it has, each key once
    created_after: datetime | None = None  #: at that instant or later
    created_before: datetime | None = None  #: before that instant
