"""Lives as the rows of their tables, and back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Table
from sqlalchemy.engine import Row
from uuid_utils.compat import uuid7

from app.lifecycle.delivery import DeliveryState
from app.lifecycle.job import BatchPlace, Books, CallbackFormat, Job, JobError, Life, Picture, PictureState, Submission
from app.lifecycle.receiver import receiver_of
from app.lifecycle.request import GenerationRequest
from app.lifecycle.states import CompletedVia, ErrorCode, JobState, Outcome, Priority
from app.lifecycle.transitions import Event
from app.storage import tables as t

Values = dict[str, Any]

_SUBMISSION_COLUMNS = (
    "outcome", "lease_until", "due_at", "check_at", "checked_at", "checks", "poked_at", "asked_at", "callbacks", "task_id",
    "candidates", "refusal", "upstream_status", "last_reading", "not_found_since", "not_found_count", "credits", "late_result",
    "answered_at", "closed_at", "excused",
)  # fmt: skip

_PICTURE_COLUMNS = (
    "index", "source_url", "state", "sha256", "media_type", "width", "height", "bytes", "has_thumbnail", "size_matches",
)  # fmt: skip


# --- to rows ---


def job_row(job: Job) -> Values:
    """A whole new row of `jobs`."""
    return {
        "job_id": job.job_id,
        "tenant": job.tenant,
        "prompt": job.request.prompt,
        "size": job.request.size,
        "seed": job.request.seed,
        "output_format": job.request.output_format,
        "priority": int(job.priority),
        "metadata": dict(job.metadata),
        "idempotency_key": job.idempotency_key,
        "fingerprint": job.fingerprint,
        "created_at": job.created_at,
        "callback_url": job.callback_url,
        "callback_format": job.callback_format.value if job.callback_format else None,
        "retry_of": job.retry_of,
        "reused_from": job.reused_from,
        "request_hash": job.request_hash,
        "batch_id": job.batch.batch_id if job.batch else None,
        "batch_place": job.batch.place if job.batch else None,
        "batch_key": job.batch.idempotency_key if job.batch else None,
        "traceparent": job.traceparent,
        **job_values(job),
    }


def job_values(job: Job) -> Values:
    return {
        "state": job.state.value,
        "due_at": job.due_at,
        "submission": job.submission,
        "cancel_requested": job.cancel_requested,
        "images": list(job.images),
        "error_code": job.error.code.value if job.error else None,
        "error_message": job.error.message if job.error else None,
        "completed_via": job.completed_via.value if job.completed_via else None,
        "submitted_at": job.submitted_at,
        "finished_at": job.finished_at,
        "updated_at": job.updated_at,
        "booked_open": job.booked.open if job.booked else None,
        "booked_held": job.booked.held if job.booked else None,
        "booked_consumed": job.booked.consumed if job.booked else None,
    }


def metadata_rows(job: Job) -> list[Values]:
    """The caller's pairs, as lists find them."""
    shared = {"job_id": job.job_id, "tenant": job.tenant, "created_at": job.created_at}
    return [{**shared, "key": key, "value": value} for key, value in job.metadata.items()]


def _delivery_row(job: Job, now: datetime) -> Values:
    assert job.callback_url is not None
    assert job.callback_format is not None
    return {
        "delivery_id": uuid7(),
        "job_id": job.job_id,
        "tenant": job.tenant,
        "origin": receiver_of(job.tenant, job.callback_url).origin,
        "url": job.callback_url,
        "type": f"job.{job.state}",
        "format": job.callback_format.value,
        "state": DeliveryState.PENDING.value,
        "attempts": 0,
        "due_at": now,
        "created_at": now,
    }


def _picture_rows(life: Life, now: datetime) -> Iterable[Values]:
    """Pictures to fetch; one that came with the life, from the job whose result it took over, is there already."""
    archived = {picture.index: picture for picture in life.pictures if picture.is_stored}
    for index, url in enumerate(life.job.images):
        picture = archived.get(index) or Picture(index, url, PictureState.PENDING)
        yield {
            **{name: getattr(picture, name) for name in _PICTURE_COLUMNS},
            "job_id": life.job.job_id,
            "attempts": 0,
            "due_at": None if picture.is_stored else now,
            "created_at": now,
            "stored_at": now if picture.is_stored else None,
        }


def submission_row(s: Submission) -> Values:
    return {
        "job_id": s.job_id,
        "number": s.number,
        "token_hash": s.token_hash,
        "sent_at": s.sent_at,
        **submission_values(s),
    }


def submission_values(s: Submission) -> Values:
    values = {name: getattr(s, name) for name in _SUBMISSION_COLUMNS}
    return {
        **values,
        "outcome": s.outcome.value,
        "candidates": list(s.candidates),
        "late_result": dict(s.late_result) if s.late_result is not None else None,
    }


def event_rows(happened: Iterable[tuple[UUID, Event]], now: datetime) -> list[Values]:
    return [{"job_id": job_id, "at": now, "type": e.type, "data": dict(e.data)} for job_id, e in happened]


def outbox_rows(settled: Sequence[Life], now: datetime) -> dict[Table, list[Values]]:
    """What the settling of these jobs makes due, in the same transaction: a delivery to the caller, pictures to fetch."""
    deliveries = [_delivery_row(life.job, now) for life in settled if life.job.callback_url is not None]
    return {t.deliveries: deliveries, t.images: [row for life in settled for row in _picture_rows(life, now)]}


# --- from rows ---


def job_of(row: Row[Any]) -> Job:
    return Job(
        job_id=row.job_id,
        tenant=row.tenant,
        state=JobState(row.state),
        request=GenerationRequest(row.prompt, row.size, row.seed, row.output_format),
        created_at=row.created_at,
        updated_at=row.updated_at,
        due_at=row.due_at,
        priority=Priority(row.priority),
        metadata=row.metadata,
        idempotency_key=row.idempotency_key,
        fingerprint=row.fingerprint,
        submission=row.submission,
        cancel_requested=row.cancel_requested,
        images=tuple(row.images),
        error=JobError(ErrorCode(row.error_code), row.error_message or "") if row.error_code else None,
        completed_via=CompletedVia(row.completed_via) if row.completed_via else None,
        submitted_at=row.submitted_at,
        finished_at=row.finished_at,
        callback_url=row.callback_url,
        callback_format=CallbackFormat(row.callback_format) if row.callback_format else None,
        retry_of=row.retry_of,
        reused_from=row.reused_from,
        request_hash=row.request_hash,
        batch=BatchPlace(row.batch_id, row.batch_place, row.batch_key) if row.batch_id else None,
        traceparent=row.traceparent,
        booked=Books(row.booked_open, row.booked_held, row.booked_consumed) if row.booked_open is not None else None,
    )


def picture_of(row: Row[Any]) -> Picture:
    columns = row._mapping  # noqa: SLF001 - its public way to a column that is named like a method of rows
    values = {name: columns[name] for name in _PICTURE_COLUMNS}
    return Picture(**{**values, "state": PictureState(row.state)})


def submission_of(row: Row[Any]) -> Submission:
    values = {name: getattr(row, name) for name in _SUBMISSION_COLUMNS}
    return Submission(
        job_id=row.job_id,
        number=row.number,
        token_hash=row.token_hash,
        sent_at=row.sent_at,
        **{**values, "outcome": Outcome(row.outcome), "candidates": tuple(row.candidates)},
    )
