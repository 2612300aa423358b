"""Deliveries and receivers as callers and operators see them."""

from __future__ import annotations

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, Field

from app.lifecycle.delivery import DeliveryState
from app.lifecycle.job import CallbackFormat
from app.storage.delivery_list import StoredAttempt, StoredDelivery
from app.storage.receivers import COUNTED_MAX, TroubledReceiver


class AttemptView(BaseModel):
    """One attempt."""

    trigger: Literal["schedule", "manual"] = Field(description="What caused it: the schedule, or somebody who asked for it.")
    number: int | None = Field(description="Its number in the schedule; null for one that somebody asked for.")
    at: datetime
    status: int | None = Field(description="The HTTP status; null where no answer came.")
    milliseconds: int
    error: str | None = Field(description="Why no answer came, or why it counts as a failure.")
    excerpt: str | None = Field(None, description="How the answer's body began; for admin keys.")


class DeliverySummary(BaseModel):
    """A delivery, without its attempts."""

    id: UUID = Field(description="What the receiver sees as `webhook-id`.")
    job_id: UUID
    tenant: str
    origin: str = Field(description="The receiver: scheme, host and port of the callback URL.")
    type: str = Field(examples=["job.succeeded"])
    format: CallbackFormat
    state: DeliveryState
    tries: int = Field(description="Attempts of the schedule so far; recovering begins it anew.")
    created_at: datetime
    next_attempt_at: datetime | None = Field(
        description="Null for one that is finished, and while it waits for a parked receiver."
    )
    finished_at: datetime | None
    last_status: int | None
    last_error: str | None


class DeliveryView(DeliverySummary):
    """A delivery with its attempts, oldest first; at most the 200 newest."""

    attempts: list[AttemptView]


class JobDeliveries(BaseModel):
    deliveries: list[DeliveryView]


class DeliveryPage(BaseModel):
    deliveries: list[DeliverySummary]
    next_cursor: str | None = Field(description="Where to go on; null when there is nothing more.")
    has_more: bool


class Recovered(BaseModel):
    recovered: int = Field(description="Deliveries that are due again.")


class ReceiverView(BaseModel):
    """A receiver that is failing or parked."""

    tenant: str
    origin: str
    failing_since: datetime | None
    failed_at: datetime | None = Field(description="Its last failure.")
    parked_at: datetime | None = Field(description="While set, its deliveries are kept and not attempted.")
    pending: int = Field(description=f"Deliveries that wait for it, counted up to {COUNTED_MAX}.")


class ReceiverList(BaseModel):
    receivers: list[ReceiverView]
    has_more: bool


class Resumed(BaseModel):
    resumed: int = Field(description="Deliveries that are due again.")


def delivery_view(delivery: StoredDelivery, *, for_admin: bool) -> DeliveryView:
    """With excerpts of what receivers answered only for admins: a callback URL may be pointed at somebody else's server."""
    attempts = [_attempt_view(attempt, for_admin=for_admin) for attempt in delivery.attempts]
    return DeliveryView(**delivery_summary(delivery).model_dump(), attempts=attempts)


def delivery_summary(delivery: StoredDelivery) -> DeliverySummary:
    return DeliverySummary(
        id=delivery.delivery_id,
        job_id=delivery.job_id,
        tenant=delivery.receiver.tenant,
        origin=delivery.receiver.origin,
        type=delivery.type,
        format=delivery.format,
        state=delivery.state,
        tries=delivery.tries,
        created_at=delivery.created_at,
        next_attempt_at=delivery.due_at,
        finished_at=delivery.finished_at,
        last_status=delivery.last_status,
        last_error=delivery.last_error,
    )


def receiver_view(troubled: TroubledReceiver) -> ReceiverView:
    health = troubled.health
    return ReceiverView(
        tenant=troubled.receiver.tenant,
        origin=troubled.receiver.origin,
        failing_since=health.failing_since,
        failed_at=health.failed_at,
        parked_at=health.parked_at,
        pending=troubled.pending,
    )


def _attempt_view(attempt: StoredAttempt, *, for_admin: bool) -> AttemptView:
    return AttemptView(
        trigger="manual" if attempt.number is None else "schedule",
        number=attempt.number,
        at=attempt.at,
        status=attempt.status,
        milliseconds=attempt.milliseconds,
        error=attempt.error,
        excerpt=attempt.excerpt if for_admin else None,
    )
