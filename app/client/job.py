"""A job, as the gateway tells it. Source: the public contract, "A job"."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import Field

from app.client.told import Told

SETTLED = frozenset({"succeeded", "failed", "canceled"})


class Image(Told):
    url: str  #: where the gateway serves it; needs the API key
    source_url: str | None = None  #: where the upstream serves it, for as long as it does
    stored: bool = False  #: whether the gateway keeps a copy
    media_type: str | None = None
    width: int | None = None  #: pixels
    height: int | None = None  #: pixels
    bytes: int | None = None
    sha256: str | None = None


class JobError(Told):
    code: str
    message: str = ""
    retryable: bool = False  #: whether the same request may succeed when it is sent again


class Credits(Told):
    reserved: int = 0  #: set aside for work that is under way
    consumed: int = 0  #: told by the upstream
    unresolved: int = 0  #: may have been spent; nobody knows yet


class Upstream(Told):
    task_id: str | None = None
    status: str | None = None


class Links(Told):
    self: str | None = None
    events: str | None = None
    cancel: str | None = None  #: present while the job can still be canceled
    retry: str | None = None  #: present once it is settled and did not succeed


class Estimate(Told):
    """Judged by recent jobs; no promise."""

    p50_at: datetime | None = None  #: by then, half of such jobs are settled
    p90_at: datetime | None = None  #: by then, nine in ten are


class Job(Told):
    """One generation request. `state` is a string, so that a later gateway may add to the seven that there are."""

    id: UUID
    state: str
    tenant: str | None = None
    prompt: str = ""
    size: str | None = None
    seed: int | None = None
    output_format: str | None = None
    callback_url: str | None = None
    metadata: dict[str, str] = Field(default_factory=dict)
    priority: str | None = None
    idempotency_key: str | None = None
    images: list[Image] = Field(default_factory=list)
    error: JobError | None = None
    credits: Credits = Credits()
    upstream: Upstream = Upstream()
    attempts: int = 0  #: sends
    submissions: int = 0  #: sends not proven unaccepted
    completed_via: str | None = None
    cancel_requested: bool = False
    retry_of: UUID | None = None
    created_at: datetime | None = None
    submitted_at: datetime | None = None
    finished_at: datetime | None = None
    updated_at: datetime | None = None
    poll_after_ms: int | None = None  #: when asking again is worth it; None once settled
    place: int | None = None  #: while queued, in the tenant's queue, 1 being next; not in lists
    estimate: Estimate | None = None  #: when it will probably be settled; not in lists
    links: Links = Links()

    @property
    def is_settled(self) -> bool:
        """It never changes again."""
        return self.state in SETTLED or self.finished_at is not None

    @property
    def succeeded(self) -> bool:
        """Its pictures are there."""
        return self.state == "succeeded"

    def as_told(self) -> dict[str, Any]:
        """As JSON has it, with what this version does not know."""
        return self.model_dump(mode="json", exclude_unset=True)


class CanceledJob(Job):
    """A job after a cancel request."""

    upstream_will_bill: str | None = None  #: `no`, `yes` or `unknown`


class JobPage(Told):
    """Part of a list, newest first."""

    jobs: list[Job]
    next_cursor: str | None = None
    has_more: bool = False


class JobBatch(Told):
    """The jobs of a batch, in the order they were sent."""

    jobs: list[Job]


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture's file."""

    content: bytes
    media_type: str | None
